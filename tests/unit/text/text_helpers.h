/* text_helpers.h - vocabularies in memory, temporary folders and comparisons for the text tests. */
#ifndef FC_TEXT_HELPERS_H
#define FC_TEXT_HELPERS_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "bpe.h"
#include "fedcell/fc_mem.h"
#include "wordpiece.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT(literal) ((fc_text){literal, sizeof(literal) - 1})

static inline void expect_ok(fc_err err) {
  if (err != FC_ERR_OK) fail_msg("%s: %s", fc_err_text(err), fc_err_message());
}

static inline void expect_failure(fc_err err, fc_err expected, const char *message) {
  assert_string_equal(fc_err_message(), message);
  assert_int_equal(err, expected);
}

/* ids ends with -1 */
static inline void expect_ids(const fc_tokenizer *tok, fc_text text, const int32_t *ids) {
  fc_tokens got = {0};
  expect_ok(fc_tokenizer_encode(tok, text.text, text.length, &got));
  for (size_t i = 0; i < got.n; i++)
    if (ids[i] != got.id[i])
      fail_msg("\"%.*s\": token %zu is %d, expected %d", (int)text.length, text.text, i, got.id[i],
               ids[i]);
  if (ids[got.n] != -1) fail_msg("\"%.*s\": only %zu tokens", (int)text.length, text.text, got.n);
  fc_tokens_free(&got);
}
#define IDS(...) ((const int32_t[]){__VA_ARGS__, -1})

static inline void expect_decoded(const fc_tokenizer *tok, const int32_t *ids, size_t n,
                                  const char *text) {
  char *got;
  expect_ok(fc_tokenizer_decode(tok, ids, n, &got));
  assert_string_equal(got, text);
  fc_free(got);
}

static inline fc_text_file file_of(const char *name, const char *content) {
  return (fc_text_file){name, {content, strlen(content)}};
}

/* A JSON vocabulary of the 256 bytes (id = byte) and then `extra` such as ", \"ab\": 256". The
 * caller frees. */
static inline char *byte_vocabulary(const char *extra) {
  fc_buffer b = {0};
  for (int i = 0; i < 256; i++) {
    char byte = (char)i, number[16];
    expect_ok(fc_buffer_add(&b, i ? ", \"" : "{\"", i ? 3 : 2));
    if (byte == '"' || byte == '\\') expect_ok(fc_buffer_add(&b, "\\", 1));
    expect_ok(fc_bpe_name_add((fc_text){&byte, 1}, &b));
    int n = snprintf(number, sizeof number, "\": %d", i);
    expect_ok(fc_buffer_add(&b, number, (size_t)n));
  }
  expect_ok(fc_buffer_add(&b, extra, strlen(extra)));
  expect_ok(fc_buffer_add(&b, "}", 1));
  expect_ok(fc_buffer_terminate(&b));
  return b.data;
}

static inline fc_tokenizer *bpe_of(const char *extra, const char *merges) {
  char *json = byte_vocabulary(extra);
  fc_text_file vocabulary = file_of("vocab.json", json),
               merges_file = file_of("merges.txt", merges);
  fc_tokenizer *tok = NULL;
  expect_ok(fc_bpe_parse(&vocabulary, &merges_file, &tok));
  fc_free(json);
  return tok;
}

/* A new folder under /tmp in a static buffer. */
static inline const char *temporary_folder(void) {
  static char folder[64];
  strcpy(folder, "/tmp/fedcell-text-XXXXXX");
  if (!mkdtemp(folder)) fail_msg("no temporary folder");
  return folder;
}

static inline void put_file(const char *folder, const char *name, const char *content) {
  expect_ok(fc_text_file_write(folder, name, (fc_text){content, strlen(content)}));
}

/* Removes the files a test may have made, and the folder. */
static inline void remove_folder(const char *folder) {
  static const char *const names[] = {
      "vocab.json",   "merges.txt", "vocab.bpe",          "vocab.txt", "tokenizer_config.json",
      "encoder.json", "my.vocab",   "byte_tokenizer.json"};
  char path[FC_PATH_SIZE];
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (fc_path_join(folder, names[i], path) == FC_ERR_OK) (void)remove(path);
  assert_int_equal(rmdir(folder), 0);
}

#endif
