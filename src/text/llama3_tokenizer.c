/* llama3_tokenizer.c - kind `llama3`: LLaMA-3's tokenizer.model, a line for each token with its
 * bytes in base64 (RFC 4648) and its id, in the order of ids; 256 special tokens follow that the
 * file does not name.
 *
 * The file knows no merges: any two neighbours whose joint bytes are a token may be merged, the
 * lowest id first. All ways to make each token of two others are therefore listed as merges. */
#include "bpe.h"
#include "fedcell/fc_mem.h"
#include <stdio.h>
#include <string.h>

enum { SPECIALS = 256 };

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* ---- base64 ---------------------------------------------------------------------------------- */

/* Appends the bytes; false where the text is no base64 of at least one byte. */
static bool decode_base64(fc_text text, fc_buffer *out, fc_err *err) {
  uint32_t bits = 0;
  size_t n = text.length;
  if (n == 0 || n % 4 != 0) return false;
  while (n > 0 && text.length - n < 2 && text.text[n - 1] == '=') n--;
  for (size_t i = 0; i < n; i++) {
    const char *digit = memchr(digits, text.text[i], sizeof digits - 1);
    if (!digit) return false;
    bits = bits << 6 | (uint32_t)(digit - digits);
    if (i % 4 == 0) continue;
    char byte = (char)(bits >> (6 - 2 * (i % 4)) & 0xFF);
    *err = fc_buffer_add(out, &byte, 1);
    if (*err != FC_ERR_OK) return true;
  }
  return true;
}

static fc_err encode_base64(fc_text bytes, fc_buffer *out) {
  for (size_t i = 0; i < bytes.length; i += 3) {
    size_t n = bytes.length - i < 3 ? bytes.length - i : 3;
    uint32_t bits = 0;
    char four[4] = "===";
    for (size_t k = 0; k < 3; k++)
      bits = bits << 8 | (k < n ? (unsigned char)bytes.text[i + k] : 0U);
    for (size_t k = 0; k < 4; k++) four[k] = k <= n ? digits[bits >> (18 - 6 * k) & 63] : '=';
    FC_TRY(fc_buffer_add(out, four, sizeof four));
  }
  return FC_ERR_OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* One line's bytes, appended to *bytes. */
static fc_err parse_line(const fc_text_file *file, size_t number, fc_text line, fc_buffer *bytes) {
  const char *space = memchr(line.text, ' ', line.length);
  size_t base64 = space ? (size_t)(space - line.text) : line.length;
  char expected[24];
  size_t n = (size_t)snprintf(expected, sizeof expected, " %zu", number - 1);
  fc_err err = FC_ERR_OK;
  FC_CHECK(decode_base64((fc_text){line.text, base64}, bytes, &err), DATA,
           "%s:%zu: \"%.*s\" is no token in base64", file->name, number,
           fc_shown((fc_text){line.text, base64}), line.text);
  FC_TRY(err);
  FC_CHECK(line.length - base64 == n && memcmp(line.text + base64, expected, n) == 0, DATA,
           "%s:%zu: expected a space and the id %zu behind the token", file->name, number,
           number - 1);
  return FC_ERR_OK;
}

static fc_err add_name(fc_bpe *bpe, fc_text bytes) {
  fc_buffer name = {0};
  int32_t id;
  fc_err err = fc_bpe_name_add(bytes, &name);
  if (err == FC_ERR_OK)
    err = fc_string_table_add(&bpe->names, (fc_text){name.data, name.size}, &id);
  fc_buffer_free(&name);
  return err;
}

/* tokens: the bytes of each, number = id. */
static fc_err parse_tokens(const fc_text_file *file, fc_string_table *tokens, fc_bpe *bpe) {
  fc_buffer bytes = {0};
  fc_text line;
  fc_err err = FC_ERR_OK;
  size_t number = 0;
  for (size_t at = 0; err == FC_ERR_OK && fc_text_file_line(file, &at, &line);) {
    if (line.length == 0 && at >= file->content.length) break; /* an empty last line */
    int32_t id = -1;
    number++;
    bytes.size = 0;
    err = parse_line(file, number, line, &bytes);
    if (err == FC_ERR_OK) err = fc_string_table_add(tokens, (fc_text){bytes.data, bytes.size}, &id);
    if (err == FC_ERR_OK && (size_t)id != number - 1)
      err = fc_fail(FC_ERR_DATA, "%s:%zu: the token of line %d again", file->name, number, id + 1);
    if (err == FC_ERR_OK) err = add_name(bpe, (fc_text){bytes.data, bytes.size});
  }
  fc_buffer_free(&bytes);
  if (err == FC_ERR_OK && number == 0)
    err = fc_fail(FC_ERR_DATA, "%s:1: the vocabulary is empty", file->name);
  return err;
}

static fc_err add_merges(const fc_string_table *tokens, fc_bpe *bpe) {
  for (int32_t id = 0; id < tokens->n; id++) {
    fc_text whole = fc_string_table_get(tokens, id);
    for (size_t k = 1; k < whole.length; k++) {
      int32_t left = fc_string_table_find(tokens, (fc_text){whole.text, k});
      int32_t right =
          left < 0 ? -1 : fc_string_table_find(tokens, (fc_text){whole.text + k, whole.length - k});
      if (right < 0) continue;
      FC_TRY(
          fc_grow(bpe->merge_count + 1, sizeof *bpe->merges, &bpe->merge_capacity, &bpe->merges));
      bpe->merges[bpe->merge_count++] = (fc_bpe_merge){left, right, id};
    }
  }
  return FC_ERR_OK;
}

/* The published names, and what fills up to SPECIALS. */
static fc_err add_specials(fc_bpe *bpe) {
  static const char *const known[] = {"begin_of_text",
                                      "end_of_text",
                                      NULL,
                                      NULL,
                                      "finetune_right_pad_id",
                                      NULL,
                                      "start_header_id",
                                      "end_header_id",
                                      "eom_id",
                                      "eot_id",
                                      "python_tag"};
  int reserved = 0;
  for (size_t i = 0; i < SPECIALS; i++) {
    char name[48];
    int32_t id;
    if (i < sizeof known / sizeof *known && known[i])
      snprintf(name, sizeof name, "<|%s|>", known[i]);
    else
      snprintf(name, sizeof name, "<|reserved_special_token_%d|>", reserved++);
    FC_TRY(fc_string_table_add(&bpe->names, (fc_text){name, strlen(name)}, &id));
  }
  return FC_ERR_OK;
}

static fc_err parse(const fc_text_file *file, fc_tokenizer **out) {
  fc_bpe bpe = {.by_ids = true};
  fc_string_table tokens = {0};
  fc_err err = parse_tokens(file, &tokens, &bpe);
  if (err == FC_ERR_OK) err = add_merges(&tokens, &bpe);
  if (err == FC_ERR_OK) err = add_specials(&bpe);
  fc_string_table_free(&tokens);
  if (err == FC_ERR_OK) return fc_bpe_finish(&bpe, file->name, out);
  fc_bpe_free(&bpe);
  return err;
}

static fc_err load(const char *folder, const char *path, fc_tokenizer **out) {
  fc_text_file file = {0};
  (void)folder;
  *out = NULL;
  FC_TRY(fc_text_file_read(path, &file));
  fc_err err = parse(&file, out);
  fc_text_file_free(&file);
  return err;
}

/* ---- writing --------------------------------------------------------------------------------- */

static fc_err save(const fc_tokenizer *tok, const char *folder) {
  fc_buffer text = {0};
  fc_err err = FC_ERR_OK;
  for (int32_t id = 0; id < tok->vocab_size - SPECIALS && err == FC_ERR_OK; id++) {
    char number[16];
    size_t n = (size_t)snprintf(number, sizeof number, " %d\n", id);
    err = encode_base64(fc_bpe_token_bytes(tok->model, id), &text);
    if (err == FC_ERR_OK) err = fc_buffer_add(&text, number, n);
  }
  if (err == FC_ERR_OK)
    err = fc_text_file_write(folder, "tokenizer.model", (fc_text){text.data, text.size});
  fc_buffer_free(&text);
  return err;
}

const fc_tokenizer_kind_ops fc_llama3_kind = {
    .name = "llama3",
    .signature_files = {"tokenizer.model"},
    .load = load,
    .save = save,
    .encode = fc_bpe_encode,
    .decode = fc_bpe_decode,
    .destroy_model = fc_bpe_destroy_model,
    .needs_file = true,
    .begins_with_bos = true,
};
