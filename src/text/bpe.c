/* bpe.c - byte-level BPE as a tokeniser: from names and merges to the tables that encoding and
 * decoding use. The model owns everything in fc_bpe. */
#include "bpe.h"
#include "fedcell/fc_mem.h"
#include "utf8.h"
#include <string.h>

static bool stands_for_itself(int32_t c) {
  return (c >= '!' && c <= '~') || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF);
}

int32_t fc_bpe_byte_to_code_point(uint8_t byte) {
  if (stands_for_itself(byte)) return byte;
  int32_t shifted = 256;
  for (int32_t c = 0; c < byte; c++) shifted += !stands_for_itself(c);
  return shifted;
}

fc_err fc_bpe_name_add(fc_text bytes, fc_buffer *out) {
  for (size_t i = 0; i < bytes.length; i++) {
    char utf8[FC_UTF8_MAX];
    size_t n = fc_utf8_put(fc_bpe_byte_to_code_point((uint8_t)bytes.text[i]), utf8);
    FC_TRY(fc_buffer_add(out, utf8, n));
  }
  return FC_ERR_OK;
}

/* Appends what a name stands for. A name with a character outside the alphabet, such as an added
 * token's, stands for itself, as in Hugging Face's decoder. */
static fc_err bytes_add(const int16_t byte_of[512], fc_text name, fc_buffer *out) {
  size_t begin = out->size;
  for (size_t i = 0; i < name.length;) {
    int32_t c = fc_utf8_next(name.text, name.length, &i);
    if (c < 0 || c >= 512 || byte_of[c] < 0) {
      out->size = begin;
      return fc_buffer_add(out, name.text, name.length);
    }
    char byte = (char)byte_of[c];
    FC_TRY(fc_buffer_add(out, &byte, 1));
  }
  return FC_ERR_OK;
}

static fc_err make_bytes(fc_bpe *bpe) {
  int16_t byte_of[512]; /* inverse of fc_bpe_byte_to_code_point; -1: no byte's */
  memset(byte_of, -1, sizeof byte_of);
  for (int byte = 0; byte < 256; byte++)
    byte_of[fc_bpe_byte_to_code_point((uint8_t)byte)] = (int16_t)byte;
  FC_TRY(fc_alloc((size_t)bpe->names.n, sizeof *bpe->bytes_end, &bpe->bytes_end));
  for (int32_t id = 0; id < bpe->names.n; id++) {
    FC_TRY(bytes_add(byte_of, fc_string_table_get(&bpe->names, id), &bpe->bytes));
    bpe->bytes_end[id] = bpe->bytes.size;
  }
  return FC_ERR_OK;
}

fc_text fc_bpe_token_bytes(const fc_bpe *bpe, int32_t id) {
  size_t begin = id ? bpe->bytes_end[id - 1] : 0;
  return (fc_text){bpe->bytes.data + begin, bpe->bytes_end[id] - begin};
}

static int32_t id_of(const fc_bpe *bpe, const char *name) {
  return fc_string_table_find(&bpe->names, (fc_text){name, strlen(name)});
}

/* RoBERTa's names; GPT-2 has one token for begin, end and unknown [transformers]. */
static fc_special_tokens find_specials(const fc_bpe *bpe) {
  if (bpe->by_ids) {
    fc_special_tokens llama3 = FC_NO_SPECIAL_TOKENS;
    llama3.bos = id_of(bpe, "<|begin_of_text|>");
    llama3.eos = id_of(bpe, "<|end_of_text|>");
    return llama3;
  }
  fc_special_tokens s = {.cls = id_of(bpe, "<s>"),
                         .sep = id_of(bpe, "</s>"),
                         .pad = id_of(bpe, "<pad>"),
                         .mask = id_of(bpe, "<mask>"),
                         .unk = id_of(bpe, "<unk>")};
  int32_t end_of_text = id_of(bpe, "<|endoftext|>");
  s.bos = s.cls >= 0 ? s.cls : end_of_text;
  s.eos = s.sep >= 0 ? s.sep : end_of_text;
  if (s.unk < 0 && s.cls < 0) s.unk = end_of_text;
  return s;
}

static fc_err find_bytes(fc_bpe *bpe, int32_t unknown, const char *source) {
  for (int byte = 0; byte < 256; byte++) {
    char name[FC_UTF8_MAX];
    size_t n = fc_utf8_put(fc_bpe_byte_to_code_point((uint8_t)byte), name);
    int32_t id = fc_string_table_find(&bpe->names, (fc_text){name, n});
    FC_CHECK(id >= 0 || unknown >= 0, DATA,
             "%s: the vocabulary has no entry \"%.*s\" for byte %d and no <unk> to stand for it",
             source, (int)n, name, byte);
    bpe->byte_id[byte] = id >= 0 ? id : unknown;
  }
  return FC_ERR_OK;
}

static fc_err make_ranks(fc_bpe *bpe) {
  for (size_t rank = 0; rank < bpe->merge_count; rank++) {
    const fc_bpe_merge *m = &bpe->merges[rank];
    int32_t there;
    FC_TRY(fc_pair_map_add(&bpe->ranks, m->left, m->right, (int32_t)rank, &there));
  }
  return FC_ERR_OK;
}

/* Of LLaMA-3's tokens: not one of the specials, which follow each other from bos on. */
static bool is_ordinary(const fc_bpe *bpe, int32_t id) {
  return id < find_specials(bpe).bos;
}

static fc_err whole_words_add(fc_bpe *bpe, int32_t id, fc_tokens *scratch) {
  fc_text word = fc_bpe_token_bytes(bpe, id);
  if (word.length == 0 || fc_string_table_find(&bpe->whole_words, word) >= 0) return FC_ERR_OK;
  scratch->n = 0;
  FC_TRY(fc_bpe_encode_word(bpe, word, scratch));
  bool is_reached = scratch->n == 1 && scratch->id[0] == id;
  if (!is_reached && !(bpe->by_ids && is_ordinary(bpe, id))) return FC_ERR_OK;
  int32_t number;
  FC_TRY(fc_string_table_add(&bpe->whole_words, word, &number));
  FC_TRY(fc_grow((size_t)number + 1, sizeof *bpe->whole_word_id, &bpe->whole_word_capacity,
                 &bpe->whole_word_id));
  bpe->whole_word_id[number] = id;
  return FC_ERR_OK;
}

static fc_err make_whole_words(fc_bpe *bpe) {
  fc_tokens scratch = {0};
  fc_err err = FC_ERR_OK;
  for (int32_t id = 0; id < bpe->names.n && err == FC_ERR_OK; id++)
    err = whole_words_add(bpe, id, &scratch);
  fc_tokens_free(&scratch);
  return err;
}

static fc_err make_tables(fc_bpe *bpe, int32_t unknown, const char *source) {
  FC_TRY(find_bytes(bpe, unknown, source));
  FC_TRY(make_bytes(bpe));
  FC_TRY(make_ranks(bpe));
  FC_TRY(make_whole_words(bpe));
  return fc_splitter_create(bpe->by_ids ? FC_SPLIT_LLAMA3 : FC_SPLIT_GPT2, &bpe->splitter);
}

void fc_bpe_destroy_model(void *model) {
  if (model) fc_bpe_free(model);
  fc_free(model);
}

fc_err fc_bpe_finish(fc_bpe *bpe, const char *source, fc_tokenizer **out) {
  *out = NULL;
  fc_bpe *model = NULL;
  fc_err err = fc_alloc(1, sizeof *model, &model);
  if (err != FC_ERR_OK) {
    fc_bpe_free(bpe);
    return err;
  }
  *model = *bpe;
  *bpe = (fc_bpe){0};
  fc_special_tokens specials = find_specials(model);
  err = make_tables(model, specials.unk, source);
  if (err != FC_ERR_OK) {
    fc_bpe_destroy_model(model);
    return err;
  }
  return fc_tokenizer_wrap(model->by_ids ? &fc_llama3_kind : &fc_bpe_kind, model, model->names.n,
                           specials, out);
}

void fc_bpe_free(fc_bpe *bpe) {
  fc_string_table_free(&bpe->names);
  fc_string_table_free(&bpe->whole_words);
  fc_pair_map_free(&bpe->ranks);
  fc_buffer_free(&bpe->bytes);
  fc_splitter_destroy(&bpe->splitter);
  fc_free(bpe->merges);
  fc_free(bpe->bytes_end);
  fc_free(bpe->whole_word_id);
  *bpe = (fc_bpe){0};
}

static fc_err encode_words(const fc_bpe *bpe, fc_split *cut, fc_tokens *out) {
  for (fc_text word;;) {
    FC_TRY(fc_split_next(cut, &word));
    if (word.length == 0) return FC_ERR_OK;
    FC_TRY(fc_bpe_encode_word(bpe, word, out));
  }
}

fc_err fc_bpe_encode(const fc_tokenizer *tok, fc_text text, fc_tokens *out) {
  const fc_bpe *bpe = tok->model;
  fc_buffer scratch = {0};
  fc_text valid;
  fc_split cut = {0};
  fc_err err = fc_utf8_repair(text, &scratch, &valid);
  if (err == FC_ERR_OK) err = fc_split_begin(bpe->splitter, valid, &cut);
  if (err == FC_ERR_OK) err = encode_words(bpe, &cut, out);
  fc_split_end(&cut);
  fc_buffer_free(&scratch);
  return err;
}

/* Exactly the bytes of the tokens; ids cut within a character give invalid UTF-8. */
fc_err fc_bpe_decode(const fc_tokenizer *tok, const int32_t *ids, size_t n, fc_buffer *out) {
  for (size_t i = 0; i < n; i++) {
    fc_text bytes = fc_bpe_token_bytes(tok->model, ids[i]);
    FC_TRY(fc_buffer_add(out, bytes.text, bytes.length));
  }
  return FC_ERR_OK;
}

const fc_tokenizer_kind_ops fc_bpe_kind = {
    .name = "bpe",
    .signature_files = {"vocab.json", "encoder.json"},
    .load = fc_bpe_load,
    .save = fc_bpe_save,
    .encode = fc_bpe_encode,
    .decode = fc_bpe_decode,
    .destroy_model = fc_bpe_destroy_model,
    .needs_file = true,
};
