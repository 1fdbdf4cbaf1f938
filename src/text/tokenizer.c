/* tokenizer.c - the kinds' table, what all kinds share, and the growing list of ids. */
#include "fedcell/fc_mem.h"
#include "text_file.h"
#include "tokenizer_kind.h"
#include <stdio.h>
#include <string.h>

static const fc_tokenizer_kind_ops *const kinds[] = {
    &fc_byte_kind, &fc_bpe_kind, &fc_wordpiece_kind, &fc_llama2c_kind, &fc_llama3_kind, NULL};

fc_err fc_tokens_push(fc_tokens *t, int32_t id) {
  FC_TRY(fc_grow(t->n + 1, sizeof *t->id, &t->capacity, &t->id));
  t->id[t->n++] = id;
  return FC_ERR_OK;
}

void fc_tokens_free(fc_tokens *t) {
  fc_free(t->id);
  *t = (fc_tokens){0};
}

const char *fc_tokenizer_name(size_t i) {
  return i < sizeof kinds / sizeof kinds[0] - 1 ? kinds[i]->name : NULL;
}

fc_err fc_tokenizer_wrap(const fc_tokenizer_kind_ops *ops, void *model, int32_t vocab_size,
                         fc_special_tokens specials, fc_tokenizer **out) {
  *out = NULL;
  fc_tokenizer *tok = NULL;
  fc_err err = fc_alloc(1, sizeof *tok, &tok);
  if (err != FC_ERR_OK) {
    ops->destroy_model(model);
    return err;
  }
  *tok = (fc_tokenizer){ops, model, vocab_size, specials};
  *out = tok;
  return FC_ERR_OK;
}

void fc_tokenizer_destroy(fc_tokenizer **tok) {
  if (!*tok) return;
  (*tok)->ops->destroy_model((*tok)->model);
  fc_free(*tok);
  *tok = NULL;
}

/* The first signature file of a kind that the folder holds, NULL if none. */
static const char *signature_in(const fc_tokenizer_kind_ops *kind, const char *folder) {
  char path[FC_PATH_SIZE];
  for (size_t f = 0; kind->signature_files[f]; f++)
    if (fc_path_join(folder, kind->signature_files[f], path) == FC_ERR_OK && fc_path_is_file(path))
      return kind->signature_files[f];
  return NULL;
}

static bool has_signature(const fc_tokenizer_kind_ops *kind, const char *file) {
  for (size_t f = 0; kind->signature_files[f]; f++)
    if (strcmp(kind->signature_files[f], file) == 0) return true;
  return false;
}

/* Appends to a list "a, b or c" in a message of limited size. */
static void list_add(char *list, size_t size, const char *item, const char *kind) {
  size_t used = strlen(list);
  snprintf(list + used, size - used, "%s%s%s%s%s", used ? ", " : "", item, kind ? " (" : "",
           kind ? kind : "", kind ? ")" : "");
}

static fc_err kind_named(const char *name, const fc_tokenizer_kind_ops **out) {
  char known[256] = "";
  for (size_t i = 0; kinds[i]; i++) {
    *out = kinds[i];
    if (strcmp(kinds[i]->name, name) == 0) return FC_ERR_OK;
    list_add(known, sizeof known, kinds[i]->name, NULL);
  }
  return fc_fail(FC_ERR_USAGE, "tokeniser kind \"%s\" is unknown, known are: %s", name, known);
}

static fc_err unknown_files(const char *path, const char *problem) {
  char expected[512] = "";
  for (size_t i = 0; kinds[i]; i++)
    for (size_t f = 0; kinds[i]->signature_files[f]; f++)
      list_add(expected, sizeof expected, kinds[i]->signature_files[f], kinds[i]->name);
  return fc_fail(FC_ERR_USAGE, "%s: %s; expected one of: %s", path, problem, expected);
}

/* *out NULL where no kind's files are there. */
static fc_err kind_of_folder(const char *folder, const fc_tokenizer_kind_ops **out) {
  *out = NULL;
  for (size_t i = 0; kinds[i]; i++) {
    if (!signature_in(kinds[i], folder)) continue;
    FC_CHECK(!*out, USAGE,
             "%s: the folder holds both %s and %s: name the tokeniser's kind, %s or %s", folder,
             signature_in(*out, folder), signature_in(kinds[i], folder), (*out)->name,
             kinds[i]->name);
    *out = kinds[i];
  }
  return FC_ERR_OK;
}

static const fc_tokenizer_kind_ops *kind_of_file(const char *base) {
  for (size_t i = 0; kinds[i]; i++)
    if (has_signature(kinds[i], base)) return kinds[i];
  return NULL;
}

static fc_err load_folder(const char *path, const fc_tokenizer_kind_ops *kind, fc_tokenizer **out) {
  if (!kind) FC_TRY(kind_of_folder(path, &kind));
  if (!kind) return unknown_files(path, "the folder holds no tokeniser");
  const char *name = signature_in(kind, path);
  /* Without any, the reader of the usual name tells that it is missing. */
  char file[FC_PATH_SIZE];
  FC_TRY(fc_path_join(path, name ? name : kind->signature_files[0], file));
  return kind->load(path, file, out);
}

/* The folder that a file lies in. */
static fc_err folder_of(const char *path, char folder[FC_PATH_SIZE]) {
  const char *slash = strrchr(path, '/');
  size_t length = slash ? (size_t)(slash - path) : 0;
  FC_CHECK(length < FC_PATH_SIZE, IO, "a path longer than %d characters", FC_PATH_SIZE - 1);
  memcpy(folder, path, length);
  folder[length] = '\0';
  if (length == 0) strcpy(folder, slash ? "/" : ".");
  return FC_ERR_OK;
}

static fc_err load_file(const char *path, const fc_tokenizer_kind_ops *kind, fc_tokenizer **out) {
  const char *slash = strrchr(path, '/');
  if (!kind) kind = kind_of_file(slash ? slash + 1 : path);
  if (!kind) return unknown_files(path, "the file's name does not tell the tokeniser's kind");
  char folder[FC_PATH_SIZE];
  FC_TRY(folder_of(path, folder));
  return kind->load(folder, path, out);
}

fc_err fc_tokenizer_load(const char *path, const char *kind_name, fc_tokenizer **out) {
  *out = NULL;
  const fc_tokenizer_kind_ops *kind = NULL;
  if (kind_name) FC_TRY(kind_named(kind_name, &kind));
  if (kind && !kind->needs_file) return kind->load(NULL, NULL, out);
  FC_CHECK(path, USAGE, "a tokeniser needs a path");
  return fc_path_is_folder(path) ? load_folder(path, kind, out) : load_file(path, kind, out);
}

fc_err fc_tokenizer_load_of_model(const char *model, fc_tokenizer **out) {
  char folder[FC_PATH_SIZE];
  *out = NULL;
  if (fc_path_is_folder(model)) return load_folder(model, NULL, out);
  FC_TRY(folder_of(model, folder));
  return load_folder(folder, NULL, out);
}

fc_err fc_tokenizer_save(const fc_tokenizer *tok, const char *folder) {
  FC_CHECK(fc_path_is_folder(folder), IO, "%s: there is no such folder", folder);
  return tok->ops->save(tok, folder);
}

int fc_tokenizer_vocab_size(const fc_tokenizer *tok) {
  return tok->vocab_size;
}

const char *fc_tokenizer_kind(const fc_tokenizer *tok) {
  return tok->ops->name;
}

fc_special_tokens fc_tokenizer_specials(const fc_tokenizer *tok) {
  return tok->specials;
}

bool fc_tokenizer_begins_with_bos(const fc_tokenizer *tok) {
  return tok->ops->begins_with_bos;
}

fc_err fc_tokenizer_encode(const fc_tokenizer *tok, const char *text, size_t length,
                           fc_tokens *out) {
  size_t before = out->n;
  if (length == 0) return FC_ERR_OK;
  fc_err err = tok->ops->encode(tok, (fc_text){text, length}, out);
  if (err != FC_ERR_OK) out->n = before;
  return err;
}

static bool is_special(const fc_special_tokens *s, int32_t id) {
  return id == s->cls || id == s->sep || id == s->pad || id == s->mask || id == s->unk ||
         id == s->bos || id == s->eos;
}

static fc_err keep_ordinary(const fc_tokenizer *tok, const int32_t *ids, size_t n,
                            fc_tokens *kept) {
  for (size_t i = 0; i < n; i++) {
    FC_CHECK(ids[i] >= 0 && ids[i] < tok->vocab_size, USAGE,
             "token id %d at position %zu, the vocabulary has ids 0 to %d", ids[i], i,
             tok->vocab_size - 1);
    if (!is_special(&tok->specials, ids[i])) FC_TRY(fc_tokens_push(kept, ids[i]));
  }
  return FC_ERR_OK;
}

fc_err fc_tokenizer_decode_text(const fc_tokenizer *tok, const int32_t *ids, size_t n,
                                fc_buffer *out) {
  fc_tokens kept = {0};
  fc_err err = keep_ordinary(tok, ids, n, &kept);
  if (err == FC_ERR_OK) err = tok->ops->decode(tok, kept.id, kept.n, out);
  fc_tokens_free(&kept);
  return err;
}

fc_err fc_tokenizer_decode(const fc_tokenizer *tok, const int32_t *ids, size_t n, char **out) {
  *out = NULL;
  fc_buffer text = {0};
  fc_err err = fc_tokenizer_decode_text(tok, ids, n, &text);
  if (err == FC_ERR_OK) err = fc_buffer_terminate(&text);
  if (err != FC_ERR_OK)
    fc_buffer_free(&text);
  else
    *out = text.data;
  return err;
}
