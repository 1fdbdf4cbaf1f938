/* wordpiece.c - kind `wordpiece`: vocab.txt and the greedy longest match of [Devlin+ 2019]. */
#include "wordpiece.h"
#include "fedcell/fc_mem.h"
#include "string_table.h"
#include "utf8.h"
#include <string.h>

enum {
  MAX_WORD_CODE_POINTS = 100
}; /* longer words are unknown [Devlin+ 2019, WordpieceTokenizer] */

typedef struct {
  fc_string_table tokens; /* number = id; all as vocab.txt writes them */
  fc_string_table inside; /* the tokens that begin with "##", without it */
  int32_t *inside_id;     /* their ids */
  size_t inside_capacity;
  int32_t unknown;
  bool lower_case;
} wordpiece;

static void wordpiece_destroy_model(void *model) {
  wordpiece *w = model;
  if (!w) return;
  fc_string_table_free(&w->tokens);
  fc_string_table_free(&w->inside);
  fc_free(w->inside_id);
  fc_free(w);
}

static bool is_inside_token(fc_text token) {
  return token.length > 2 && token.text[0] == '#' && token.text[1] == '#';
}

/* ---- encoding -------------------------------------------------------------------------------- */

typedef struct {
  const wordpiece *model;
  fc_tokens *out;
} encoding;

/* The longest token that begins `rest`; -1 if none. Tokens end between code points because rest
 * begins between two and both are valid UTF-8. */
static int32_t longest_match(const wordpiece *w, fc_text rest, bool inside, size_t *length) {
  const fc_string_table *table = inside ? &w->inside : &w->tokens;
  uint64_t hash[4 * MAX_WORD_CODE_POINTS + 1]; /* of each beginning */
  size_t longest = rest.length < table->longest ? rest.length : table->longest;
  hash[0] = FC_HASH_START;
  for (size_t i = 0; i < longest; i++) hash[i + 1] = fc_hash_step(hash[i], rest.text[i]);
  for (size_t n = longest; n > 0; n--) {
    int32_t number = fc_string_table_find_hashed(table, (fc_text){rest.text, n}, hash[n]);
    if (number < 0) continue;
    *length = n;
    return inside ? w->inside_id[number] : number;
  }
  return -1;
}

static fc_err encode_word(void *context, fc_text word, size_t code_points) {
  const encoding *e = context;
  const wordpiece *w = e->model;
  size_t before = e->out->n;
  if (code_points > MAX_WORD_CODE_POINTS) return fc_tokens_push(e->out, w->unknown);
  for (size_t at = 0, length; at < word.length; at += length) {
    fc_text rest = {word.text + at, word.length - at};
    int32_t id = longest_match(w, rest, at > 0, &length);
    if (id < 0) {
      e->out->n = before; /* one piece unknown makes the word unknown */
      return fc_tokens_push(e->out, w->unknown);
    }
    FC_TRY(fc_tokens_push(e->out, id));
  }
  return FC_ERR_OK;
}

static fc_err wordpiece_encode(const fc_tokenizer *tok, fc_text text, fc_tokens *out) {
  encoding e = {tok->model, out};
  return fc_bert_words(text, e.model->lower_case, encode_word, &e);
}

/* Words with a space between them, "##" pieces joined to the word before. Hugging Face's clean-up
 * of spaces before punctuation is English only and not done. */
static fc_err wordpiece_decode(const fc_tokenizer *tok, const int32_t *ids, size_t n,
                               fc_buffer *out) {
  const wordpiece *w = tok->model;
  for (size_t i = 0; i < n; i++) {
    fc_text token = fc_string_table_get(&w->tokens, ids[i]);
    bool joined = i > 0 && is_inside_token(token);
    if (i > 0 && !joined) FC_TRY(fc_buffer_add(out, " ", 1));
    size_t skip = joined ? 2 : 0;
    FC_TRY(fc_buffer_add(out, token.text + skip, token.length - skip));
  }
  return FC_ERR_OK;
}

/* ---- files ----------------------------------------------------------------------------------- */

static fc_err add_inside_token(wordpiece *w, fc_text token, int32_t id) {
  int32_t number;
  FC_TRY(fc_string_table_add(&w->inside, (fc_text){token.text + 2, token.length - 2}, &number));
  FC_TRY(fc_grow((size_t)number + 1, sizeof *w->inside_id, &w->inside_capacity, &w->inside_id));
  w->inside_id[number] = id;
  return FC_ERR_OK;
}

static fc_err add_token(wordpiece *w, const fc_text_file *file, fc_text line) {
  int32_t id = w->tokens.n, there;
  FC_CHECK(line.length > 0, DATA, "%s:%d: an empty token", file->name, id + 1);
  FC_CHECK(fc_utf8_is_valid(line.text, line.length), DATA, "%s:%d: the token is not valid UTF-8",
           file->name, id + 1);
  FC_TRY(fc_string_table_add(&w->tokens, line, &there));
  FC_CHECK(there == id, DATA, "%s:%d: token \"%.*s\" is already on line %d", file->name, id + 1,
           fc_shown(line), line.text, there + 1);
  return is_inside_token(line) ? add_inside_token(w, line, id) : FC_ERR_OK;
}

static int32_t id_of(const wordpiece *w, const char *token) {
  return fc_string_table_find(&w->tokens, (fc_text){token, strlen(token)});
}

static fc_err parse(wordpiece *w, const fc_text_file *file) {
  fc_text line;
  for (size_t at = 0; fc_text_file_line(file, &at, &line);) FC_TRY(add_token(w, file, line));
  FC_CHECK(w->tokens.n > 0, DATA, "%s:1: the vocabulary is empty", file->name);
  w->unknown = id_of(w, "[UNK]");
  FC_CHECK(w->unknown >= 0, DATA, "%s:%d: the vocabulary ends without a token [UNK]", file->name,
           w->tokens.n);
  return FC_ERR_OK;
}

fc_err fc_wordpiece_parse(const fc_text_file *vocabulary, bool lower_case, fc_tokenizer **out) {
  *out = NULL;
  wordpiece *w = NULL;
  FC_TRY(fc_alloc(1, sizeof *w, &w));
  w->lower_case = lower_case;
  fc_err err = parse(w, vocabulary);
  if (err != FC_ERR_OK) {
    wordpiece_destroy_model(w);
    return err;
  }
  fc_special_tokens specials = {.cls = id_of(w, "[CLS]"),
                                .sep = id_of(w, "[SEP]"),
                                .pad = id_of(w, "[PAD]"),
                                .mask = id_of(w, "[MASK]"),
                                .unk = w->unknown,
                                .bos = -1,
                                .eos = -1};
  return fc_tokenizer_wrap(&fc_wordpiece_kind, w, w->tokens.n, specials, out);
}

/* A cased model says so in its tokenizer_config.json; without one it is BERT uncased. */
static fc_err read_lower_case(const char *folder, bool *lower_case) {
  *lower_case = true;
  char path[FC_PATH_SIZE];
  FC_TRY(fc_path_join(folder, "tokenizer_config.json", path));
  if (!fc_path_is_file(path)) return FC_ERR_OK;
  fc_text_file file;
  json_t *root = NULL;
  FC_TRY(fc_text_file_read(path, &file));
  fc_err err = fc_text_file_json(&file, &root);
  fc_text_file_free(&file);
  if (err == FC_ERR_OK) *lower_case = !json_is_false(json_object_get(root, "do_lower_case"));
  json_decref(root);
  return err;
}

static fc_err wordpiece_load(const char *folder, const char *path, fc_tokenizer **out) {
  bool lower_case;
  fc_text_file file;
  FC_TRY(read_lower_case(folder, &lower_case));
  FC_TRY(fc_text_file_read(path, &file));
  fc_err err = fc_wordpiece_parse(&file, lower_case, out);
  fc_text_file_free(&file);
  return err;
}

static fc_err wordpiece_save(const fc_tokenizer *tok, const char *folder) {
  const wordpiece *w = tok->model;
  fc_buffer b = {0};
  fc_err err = FC_ERR_OK;
  for (int32_t id = 0; id < w->tokens.n && err == FC_ERR_OK; id++) {
    fc_text token = fc_string_table_get(&w->tokens, id);
    err = fc_buffer_add(&b, token.text, token.length);
    if (err == FC_ERR_OK) err = fc_buffer_add(&b, "\n", 1);
  }
  if (err == FC_ERR_OK) err = fc_text_file_write(folder, "vocab.txt", (fc_text){b.data, b.size});
  fc_buffer_free(&b);
  FC_TRY(err);
  static const char cased[] =
      "{\"tokenizer_class\": \"BertTokenizer\", \"do_lower_case\": false}\n";
  static const char uncased[] =
      "{\"tokenizer_class\": \"BertTokenizer\", \"do_lower_case\": true}\n";
  const char *config = w->lower_case ? uncased : cased;
  return fc_text_file_write(folder, "tokenizer_config.json", (fc_text){config, strlen(config)});
}

const fc_tokenizer_kind_ops fc_wordpiece_kind = {
    .name = "wordpiece",
    .signature_files = {"vocab.txt"},
    .load = wordpiece_load,
    .save = wordpiece_save,
    .encode = wordpiece_encode,
    .decode = wordpiece_decode,
    .destroy_model = wordpiece_destroy_model,
    .needs_file = true,
};
