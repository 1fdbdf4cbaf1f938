/* byte_tokenizer.c - kind `byte`: a text's bytes are its ids, behind them four special tokens with
 * the names and the order they have in RoBERTa. Bytes are kept as they are, valid UTF-8 or not. */
#include "text_file.h"
#include "tokenizer_kind.h"
#include <string.h>

enum { BYTE_CLS = 256, BYTE_PAD, BYTE_SEP, BYTE_MASK, BYTE_VOCAB_SIZE };

static void byte_destroy_model(void *model) {
  (void)model; /* there is none */
}

fc_err fc_tokenizer_create_byte(fc_tokenizer **out) {
  fc_special_tokens specials = {.cls = BYTE_CLS,
                                .sep = BYTE_SEP,
                                .pad = BYTE_PAD,
                                .mask = BYTE_MASK,
                                .unk = -1,
                                .bos = BYTE_CLS,
                                .eos = BYTE_SEP};
  return fc_tokenizer_wrap(&fc_byte_kind, NULL, BYTE_VOCAB_SIZE, specials, out);
}

/* The file only tells the kind. */
static fc_err check_file(const fc_text_file *file) {
  json_t *root = NULL;
  FC_TRY(fc_text_file_json(file, &root));
  const char *kind = json_string_value(json_object_get(root, "kind"));
  fc_err err = FC_ERR_OK;
  if (!kind || strcmp(kind, fc_byte_kind.name) != 0)
    err = fc_fail(FC_ERR_DATA, "%s:1: expected \"kind\": \"byte\"", file->name);
  json_decref(root);
  return err;
}

static fc_err byte_load(const char *folder, const char *path, fc_tokenizer **out) {
  (void)folder;
  if (path) {
    fc_text_file file;
    FC_TRY(fc_text_file_read(path, &file));
    fc_err err = check_file(&file);
    fc_text_file_free(&file);
    FC_TRY(err);
  }
  return fc_tokenizer_create_byte(out);
}

static fc_err byte_save(const fc_tokenizer *tok, const char *folder) {
  (void)tok;
  static const char text[] = "{\"kind\": \"byte\", \"specials\": [\"<s>\", \"<pad>\", \"</s>\", "
                             "\"<mask>\"], \"vocab_size\": 260}\n";
  return fc_text_file_write(folder, fc_byte_kind.signature_files[0],
                            (fc_text){text, sizeof text - 1});
}

static fc_err byte_encode(const fc_tokenizer *tok, fc_text text, fc_tokens *out) {
  (void)tok;
  FC_TRY(fc_grow(out->n + text.length, sizeof *out->id, &out->capacity, &out->id));
  for (size_t i = 0; i < text.length; i++) out->id[out->n++] = (uint8_t)text.text[i];
  return FC_ERR_OK;
}

static fc_err byte_decode(const fc_tokenizer *tok, const int32_t *ids, size_t n, fc_buffer *out) {
  (void)tok;
  for (size_t i = 0; i < n; i++) {
    char byte = (char)ids[i];
    FC_TRY(fc_buffer_add(out, &byte, 1));
  }
  return FC_ERR_OK;
}

const fc_tokenizer_kind_ops fc_byte_kind = {
    .name = "byte",
    .signature_files = {"byte_tokenizer.json"},
    .load = byte_load,
    .save = byte_save,
    .encode = byte_encode,
    .decode = byte_decode,
    .destroy_model = byte_destroy_model,
};
