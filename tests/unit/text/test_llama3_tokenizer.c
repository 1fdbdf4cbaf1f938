/* LLaMA-3's tokeniser: merging by ids, special tokens, files, the real vocabulary. */
#include "text_helpers.h"

static const char real_folder[] = "../shared/tokenizers/llama3";

/* tokenizer.model of the 256 bytes and then these, in base64. */
static const char *folder_with(const char *const *more, size_t n) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  static char text[16384];
  const char *folder = temporary_folder();
  size_t used = 0;
  for (unsigned b = 0; b < 256; b++)
    used += (size_t)snprintf(text + used, sizeof text - used, "%c%c== %u\n", digits[b >> 2],
                             digits[(b & 3) << 4], b);
  for (size_t i = 0; i < n; i++)
    used += (size_t)snprintf(text + used, sizeof text - used, "%s %zu\n", more[i], 256 + i);
  put_file(folder, "tokenizer.model", text);
  return folder;
}

static fc_tokenizer *load(const char *folder) {
  fc_tokenizer *tok = NULL;
  expect_ok(fc_tokenizer_load(folder, NULL, &tok));
  return tok;
}

static void test_lowest_id_first(void **state) {
  (void)state;
  /* "bc", "ab", "abcd", "cd", "xaX" from "x", "aX"; "aa", "aaa" */
  static const char *const more[] = {"YmM=", "YWI=", "YWJjZA==", "Y2Q=", "YWE=", "YWFh"};
  fc_tokenizer *tok = load(folder_with(more, 6));
  assert_string_equal(fc_tokenizer_kind(tok), "llama3");
  assert_int_equal(fc_tokenizer_vocab_size(tok), 256 + 6 + 256);
  expect_ids(tok, TEXT("abc"), IDS('a', 256));
  expect_ids(tok, TEXT("ab"), IDS(257));
  expect_ids(tok, TEXT("abcd"), IDS(258)); /* a word that is a token, though no merges lead there */
  expect_ids(tok, TEXT("abcde"), IDS('a', 256, 'd', 'e'));
  expect_ids(tok, TEXT("aaab"), IDS(260, 257)); /* "ab" before "aa" */
  expect_ids(tok, TEXT("aaaa!"), IDS(260, 260, '!'));
  expect_ids(tok, TEXT("aaaaa"), IDS(260, 261)); /* "aaa" of "aa" and "a" */
  expect_ids(tok, TEXT("a\xFF"), IDS('a', 0xEF, 0xBF, 0xBD));
  expect_ids(
      tok, TEXT("<|begin_of_text|>"), /* no special tokens come from text */
      IDS('<', '|', 'b', 'e', 'g', 'i', 'n', '_', 'o', 'f', '_', 't', 'e', 'x', 't', '|', '>'));
  fc_tokenizer_destroy(&tok);
}

static void test_specials(void **state) {
  (void)state;
  fc_tokenizer *tok = load(folder_with(NULL, 0));
  fc_special_tokens s = fc_tokenizer_specials(tok);
  assert_int_equal(s.bos, 256);
  assert_int_equal(s.eos, 257);
  assert_int_equal(s.pad, -1);
  assert_true(fc_tokenizer_begins_with_bos(tok));
  expect_decoded(tok, (const int32_t[]){256, 'h', 'i', 265, 257}, 5, "hi<|eot_id|>");
  expect_decoded(tok, (const int32_t[]){262, 258}, 2,
                 "<|start_header_id|><|reserved_special_token_0|>");
  fc_tokenizer_destroy(&tok);
}

static void test_saves_what_it_reads(void **state) {
  (void)state;
  static const char *const more[] = {"YmM=", "YWI=", "4oKs"};
  fc_tokenizer *tok = load(folder_with(more, 3));
  const char *folder = temporary_folder();
  expect_ok(fc_tokenizer_save(tok, folder));
  fc_tokenizer_destroy(&tok);
  tok = load(folder);
  assert_int_equal(fc_tokenizer_vocab_size(tok), 256 + 3 + 256);
  expect_ids(tok, TEXT("abc\n\xE2\x82\xAC"), IDS('a', 256, '\n', 258));
  fc_tokenizer_destroy(&tok);
}

static void refuse(const char *content, const char *problem) {
  const char *folder = temporary_folder();
  char expected[256];
  fc_tokenizer *tok = NULL;
  put_file(folder, "tokenizer.model", content);
  snprintf(expected, sizeof expected, "%s/tokenizer.model:%s", folder, problem);
  expect_failure(fc_tokenizer_load(folder, NULL, &tok), FC_ERR_DATA, expected);
  assert_null(tok);
}

static void test_malformed_files(void **state) {
  (void)state;
  refuse("", "1: the vocabulary is empty");
  refuse("IQ== 0\n\nIg== 1\n", "2: \"\" is no token in base64");
  refuse("IQ== 0\nI?== 1\n", "2: \"I?==\" is no token in base64");
  refuse("IQ= 0\n", "1: \"IQ=\" is no token in base64");
  refuse("IQ== 0\nIg== 2\n", "2: expected a space and the id 1 behind the token");
  refuse("IQ==\n", "1: expected a space and the id 0 behind the token");
  refuse("IQ== 0\nIg== 1\nIQ== 2\n", "3: the token of line 1 again");
  refuse("IQ== 0\n", " the vocabulary has no entry \"\xC4\x80\" for byte 0 and no <unk> to stand "
                     "for it");
}

/* Ids that are published for GPT-4's vocabulary, with which LLaMA-3's begins. */
static void test_real_vocabulary(void **state) {
  (void)state;
  char path[128];
  snprintf(path, sizeof path, "%s/tokenizer.model", real_folder);
  if (access(path, R_OK) != 0) skip();
  fc_tokenizer *tok = load(real_folder);
  assert_int_equal(fc_tokenizer_vocab_size(tok), 128256);
  assert_int_equal(fc_tokenizer_specials(tok).bos, 128000);
  assert_int_equal(fc_tokenizer_specials(tok).eos, 128001);
  expect_ids(tok, TEXT("hello world"), IDS(15339, 1917));
  expect_ids(tok, TEXT("antidisestablishmentarianism"), IDS(519, 85342, 34500, 479, 8997, 2191));
  expect_ids(tok, TEXT("2 + 2 = 4"), IDS(17, 489, 220, 17, 284, 220, 19));
  expect_decoded(tok, (const int32_t[]){128000, 15339, 1917, 128009, 128001}, 5,
                 "hello world<|eot_id|>");
  fc_tokenizer_destroy(&tok);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_lowest_id_first),     cmocka_unit_test(test_specials),
      cmocka_unit_test(test_saves_what_it_reads), cmocka_unit_test(test_malformed_files),
      cmocka_unit_test(test_real_vocabulary),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
