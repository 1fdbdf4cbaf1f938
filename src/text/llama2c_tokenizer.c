/* llama2c_tokenizer.c - kind `llama2c`: the tokeniser files of llama2.c, which hold a SentencePiece
 * BPE vocabulary: int32 max_token_length; then for each token f32 score, int32 length, its bytes.
 *
 * A text gets a space in front, becomes one token a code point (bytes <0xNN> for what the
 * vocabulary lacks), and then the neighbours whose joint token has the highest score are merged,
 * the first of equals, until none are [Kudo+Richardson 2018]. Ids 0, 1, 2 are <unk>, <s>, </s>. */
#include "llama2c_tokenizer.h"
#include "fedcell/fc_mem.h"
#include "string_table.h"
#include "text_file.h"
#include "tokenizer_kind.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { UNKNOWN, BEGIN, END, FIRST_ORDINARY };

typedef struct {
  fc_string_table names; /* number = id */
  float *score;          /* (names.n) */
  size_t capacity;
  int32_t byte_id[256]; /* of <0xNN>; UNKNOWN where there is none */
} vocabulary;

static void destroy_model(void *model) {
  vocabulary *v = model;
  if (!v) return;
  fc_string_table_free(&v->names);
  fc_free(v->score);
  fc_free(v);
}

/* ---- encoding -------------------------------------------------------------------------------- */

/* Bytes of the code point that begins the text; 1 for what is no UTF-8. */
static size_t code_point_length(fc_text text) {
  unsigned char first = (unsigned char)text.text[0];
  size_t n = first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  if (n > text.length) return 1;
  for (size_t i = 1; i < n; i++)
    if (((unsigned char)text.text[i] & 0xC0) != 0x80) return 1;
  return n;
}

static fc_err add_code_points(const vocabulary *v, fc_text text, fc_tokens *out) {
  for (size_t at = 0, n; at < text.length; at += n) {
    fc_text rest = {text.text + at, text.length - at};
    n = code_point_length(rest);
    int32_t id = fc_string_table_find(&v->names, (fc_text){rest.text, n});
    if (id >= 0) {
      FC_TRY(fc_tokens_push(out, id));
      continue;
    }
    for (size_t i = 0; i < n; i++)
      FC_TRY(fc_tokens_push(out, v->byte_id[(unsigned char)rest.text[i]]));
  }
  return FC_ERR_OK;
}

/* The token of both ids together, -1 if there is none. joined: room for the longest token. */
static int32_t join(const vocabulary *v, int32_t left, int32_t right, char *joined) {
  fc_text a = fc_string_table_get(&v->names, left), b = fc_string_table_get(&v->names, right);
  if (a.length + b.length > v->names.longest) return -1;
  memcpy(joined, a.text, a.length);
  memcpy(joined + a.length, b.text, b.length);
  return fc_string_table_find(&v->names, (fc_text){joined, a.length + b.length});
}

/* Merges id (n) in place; returns how many are left. merged (n): what id[i] and id[i+1] give. Each
 * merge scans the text, which is quadratic, but only over numbers. */
static size_t merge(const vocabulary *v, int32_t *id, size_t n, int32_t *merged, char *joined) {
  for (size_t i = 0; i + 1 < n; i++) merged[i] = join(v, id[i], id[i + 1], joined);
  while (n > 1) {
    size_t best = n;
    for (size_t i = 0; i + 1 < n; i++)
      if (merged[i] >= 0 && (best == n || v->score[merged[i]] > v->score[merged[best]])) best = i;
    if (best == n) break;
    id[best] = merged[best];
    memmove(id + best + 1, id + best + 2, (n - best - 2) * sizeof *id);
    memmove(merged + best, merged + best + 1, (n - best - 2) * sizeof *merged);
    n--;
    if (best > 0) merged[best - 1] = join(v, id[best - 1], id[best], joined);
    if (best + 1 < n) merged[best] = join(v, id[best], id[best + 1], joined);
  }
  return n;
}

static fc_err encode(const fc_tokenizer *tok, fc_text text, fc_tokens *out) {
  const vocabulary *v = tok->model;
  size_t first = out->n;
  int32_t *merged = NULL;
  char *joined = NULL;
  FC_TRY(add_code_points(v, (fc_text){" ", 1}, out));
  FC_TRY(add_code_points(v, text, out));
  size_t n = out->n - first;
  fc_err err = fc_alloc(n, sizeof *merged, &merged);
  if (err == FC_ERR_OK) err = fc_alloc(v->names.longest + 1, 1, &joined);
  if (err == FC_ERR_OK) out->n = first + merge(v, out->id + first, n, merged, joined);
  fc_free(merged);
  fc_free(joined);
  return err;
}

/* ---- decoding -------------------------------------------------------------------------------- */

/* The byte that a token "<0xNN>" stands for, -1 for another token. */
static int byte_of(const vocabulary *v, int32_t id) {
  fc_text name = fc_string_table_get(&v->names, id);
  unsigned byte = 0;
  char copy[7] = "";
  if (name.length != 6) return -1;
  memcpy(copy, name.text, 6);
  if (sscanf(copy, "<0x%2X>", &byte) != 1 || v->byte_id[byte] != id) return -1;
  return (int)byte;
}

/* The space in front of the text is left out again. */
static fc_err decode(const fc_tokenizer *tok, const int32_t *ids, size_t n, fc_buffer *out) {
  const vocabulary *v = tok->model;
  for (size_t i = 0; i < n; i++) {
    fc_text name = fc_string_table_get(&v->names, ids[i]);
    int byte = byte_of(v, ids[i]);
    char one = (char)byte;
    bool skip = i == 0 && name.length > 0 && name.text[0] == ' ';
    FC_TRY(byte >= 0 ? fc_buffer_add(out, &one, 1)
                     : fc_buffer_add(out, name.text + skip, name.length - skip));
  }
  return FC_ERR_OK;
}

/* ---- files ----------------------------------------------------------------------------------- */

static fc_err add_token(vocabulary *v, const fc_text_file *file, float score, fc_text name) {
  int32_t id = v->names.n, there;
  FC_CHECK(isfinite(score), DATA, "%s: token %d has the score %g", file->name, id, (double)score);
  FC_TRY(fc_string_table_add(&v->names, name, &there));
  FC_CHECK(there == id, DATA, "%s: token %d \"%.*s\" is token %d again", file->name, id,
           fc_shown(name), name.text, there);
  FC_TRY(fc_grow((size_t)id + 1, sizeof *v->score, &v->capacity, &v->score));
  v->score[id] = score;
  return FC_ERR_OK;
}

static fc_err parse_tokens(vocabulary *v, const fc_text_file *file) {
  fc_text all = file->content;
  int32_t longest = 0, length = 0;
  float score = 0.0F;
  FC_CHECK(all.length >= sizeof longest, DATA, "%s: %zu bytes are no tokeniser of llama2.c",
           file->name, all.length);
  memcpy(&longest, all.text, sizeof longest);
  for (size_t at = sizeof longest; at < all.length; at += (size_t)length) {
    FC_CHECK(all.length - at >= sizeof score + sizeof length, DATA,
             "%s: the file ends within token %d", file->name, v->names.n);
    memcpy(&score, all.text + at, sizeof score);
    memcpy(&length, all.text + at + sizeof score, sizeof length);
    at += sizeof score + sizeof length;
    FC_CHECK(length >= 1 && length <= longest, DATA,
             "%s: token %d has %d bytes, allowed is 1 to %d (max_token_length)", file->name,
             v->names.n, length, longest);
    FC_CHECK(all.length - at >= (size_t)length, DATA, "%s: the file ends within token %d",
             file->name, v->names.n);
    FC_TRY(add_token(v, file, score, (fc_text){all.text + at, (size_t)length}));
  }
  FC_CHECK(v->names.n >= FIRST_ORDINARY, DATA,
           "%s: %d tokens, but <unk>, <s> and </s> must be the first", file->name, v->names.n);
  return FC_ERR_OK;
}

static void find_bytes(vocabulary *v) {
  for (int b = 0; b < 256; b++) {
    char name[8];
    snprintf(name, sizeof name, "<0x%02X>", (unsigned)b);
    int32_t id = fc_string_table_find(&v->names, (fc_text){name, 6});
    v->byte_id[b] = id < 0 ? UNKNOWN : id;
  }
}

fc_err fc_llama2c_tokenizer_parse(const fc_text_file *file, fc_tokenizer **out) {
  *out = NULL;
  vocabulary *v = NULL;
  FC_TRY(fc_alloc(1, sizeof *v, &v));
  fc_err err = parse_tokens(v, file);
  if (err != FC_ERR_OK) {
    destroy_model(v);
    return err;
  }
  find_bytes(v);
  fc_special_tokens specials = FC_NO_SPECIAL_TOKENS;
  specials.unk = UNKNOWN;
  specials.bos = BEGIN;
  specials.eos = END;
  return fc_tokenizer_wrap(&fc_llama2c_kind, v, v->names.n, specials, out);
}

static fc_err load(const char *folder, const char *path, fc_tokenizer **out) {
  (void)folder;
  fc_text_file file;
  FC_TRY(fc_text_file_read(path, &file));
  fc_err err = fc_llama2c_tokenizer_parse(&file, out);
  fc_text_file_free(&file);
  return err;
}

static fc_err write_tokens(const vocabulary *v, fc_buffer *b) {
  int32_t longest = (int32_t)v->names.longest;
  FC_TRY(fc_buffer_add(b, &longest, sizeof longest));
  for (int32_t id = 0; id < v->names.n; id++) {
    fc_text name = fc_string_table_get(&v->names, id);
    int32_t length = (int32_t)name.length;
    FC_TRY(fc_buffer_add(b, &v->score[id], sizeof v->score[id]));
    FC_TRY(fc_buffer_add(b, &length, sizeof length));
    FC_TRY(fc_buffer_add(b, name.text, name.length));
  }
  return FC_ERR_OK;
}

static fc_err save(const fc_tokenizer *tok, const char *folder) {
  fc_buffer b = {0};
  fc_err err = write_tokens(tok->model, &b);
  if (err == FC_ERR_OK)
    err = fc_text_file_write(folder, fc_llama2c_kind.signature_files[0], (fc_text){b.data, b.size});
  fc_buffer_free(&b);
  return err;
}

const fc_tokenizer_kind_ops fc_llama2c_kind = {
    .name = "llama2c",
    .signature_files = {"tokenizer.bin", "tok512.bin"},
    .load = load,
    .save = save,
    .encode = encode,
    .decode = decode,
    .destroy_model = destroy_model,
    .needs_file = true,
    .begins_with_bos = true,
};
