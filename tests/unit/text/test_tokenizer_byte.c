/* Kind `byte`, and how a tokeniser's kind is found from a path. */
#include "text_helpers.h"

static void test_bytes_are_ids(void **state) {
  (void)state;
  fc_tokenizer *tok;
  expect_ok(fc_tokenizer_create_byte(&tok));
  assert_string_equal(fc_tokenizer_kind(tok), "byte");
  assert_int_equal(fc_tokenizer_vocab_size(tok), 260);
  expect_ids(tok, TEXT("Az\n"), IDS(65, 122, 10));
  expect_ids(tok, TEXT("\0\xFF\xC3"), IDS(0, 255, 195)); /* kept although it is no UTF-8 */
  expect_ids(tok, TEXT(""), IDS(-1));
  fc_special_tokens s = fc_tokenizer_specials(tok);
  assert_int_equal(s.cls, 256);
  assert_int_equal(s.bos, 256);
  assert_int_equal(s.pad, 257);
  assert_int_equal(s.sep, 258);
  assert_int_equal(s.eos, 258);
  assert_int_equal(s.mask, 259);
  assert_int_equal(s.unk, -1);
  fc_tokenizer_destroy(&tok);
  assert_null(tok);
  fc_tokenizer_destroy(&tok);
}

static void test_decode_skips_specials(void **state) {
  (void)state;
  fc_tokenizer *tok;
  expect_ok(fc_tokenizer_create_byte(&tok));
  expect_decoded(tok, IDS(256, 'h', 'i', 258, 257, 257), 6, "hi");
  expect_decoded(tok, IDS(256), 1, "");
  expect_decoded(tok, NULL, 0, "");
  char *text;
  expect_failure(fc_tokenizer_decode(tok, IDS(65, 260), 2, &text), FC_ERR_USAGE,
                 "token id 260 at position 1, the vocabulary has ids 0 to 259");
  assert_null(text);
  expect_failure(fc_tokenizer_decode(tok, (const int32_t[]){-5}, 1, &text), FC_ERR_USAGE,
                 "token id -5 at position 0, the vocabulary has ids 0 to 259");
  fc_tokenizer_destroy(&tok);
}

static void test_encode_appends(void **state) {
  (void)state;
  fc_tokenizer *tok;
  expect_ok(fc_tokenizer_create_byte(&tok));
  fc_tokens ids = {0};
  expect_ok(fc_tokens_push(&ids, 256));
  for (int i = 0; i < 100; i++) expect_ok(fc_tokenizer_encode(tok, "abc", 3, &ids));
  assert_int_equal(ids.n, 301);
  assert_int_equal(ids.id[0], 256);
  assert_int_equal(ids.id[300], 'c');
  fc_tokens_free(&ids);
  assert_null(ids.id);
  fc_tokenizer_destroy(&tok);
}

static void test_save_and_load(void **state) {
  (void)state;
  const char *folder = temporary_folder();
  fc_tokenizer *tok;
  expect_ok(fc_tokenizer_load(NULL, "byte", &tok));
  expect_ok(fc_tokenizer_save(tok, folder));
  fc_tokenizer_destroy(&tok);
  expect_ok(fc_tokenizer_load(folder, NULL, &tok));
  assert_string_equal(fc_tokenizer_kind(tok), "byte");
  assert_int_equal(fc_tokenizer_vocab_size(tok), 260);
  fc_tokenizer_destroy(&tok);
  put_file(folder, "byte_tokenizer.json", "{\"kind\": \"bite\"}");
  char message[200];
  snprintf(message, sizeof message, "%s/byte_tokenizer.json:1: expected \"kind\": \"byte\"",
           folder);
  expect_failure(fc_tokenizer_load(folder, NULL, &tok), FC_ERR_DATA, message);
  assert_null(tok);
  remove_folder(folder);
}

static void test_names(void **state) {
  (void)state;
  assert_string_equal(fc_tokenizer_name(0), "byte");
  assert_string_equal(fc_tokenizer_name(1), "bpe");
  assert_string_equal(fc_tokenizer_name(2), "wordpiece");
  assert_string_equal(fc_tokenizer_name(3), "llama2c");
  assert_string_equal(fc_tokenizer_name(4), "llama3");
  assert_null(fc_tokenizer_name(5));
}

static void test_kind_cannot_be_found(void **state) {
  (void)state;
  fc_tokenizer *tok;
  char message[500];
  expect_failure(fc_tokenizer_load("/tmp", "bp", &tok), FC_ERR_USAGE,
                 "tokeniser kind \"bp\" is unknown, known are: byte, bpe, wordpiece, llama2c, "
                 "llama3");
  expect_failure(fc_tokenizer_load(NULL, NULL, &tok), FC_ERR_USAGE, "a tokeniser needs a path");
  const char *folder = temporary_folder();
  snprintf(message, sizeof message,
           "%s: the folder holds no tokeniser; expected one of: byte_tokenizer.json (byte), "
           "vocab.json (bpe), encoder.json (bpe), vocab.txt (wordpiece), "
           "tokenizer.bin (llama2c), tok512.bin (llama2c), tokenizer.model (llama3)",
           folder);
  expect_failure(fc_tokenizer_load(folder, NULL, &tok), FC_ERR_USAGE, message);
  put_file(folder, "vocab.txt", "[UNK]\n");
  put_file(folder, "vocab.json", "{}");
  snprintf(message, sizeof message,
           "%s: the folder holds both vocab.json and vocab.txt: name the tokeniser's kind, bpe or "
           "wordpiece",
           folder);
  expect_failure(fc_tokenizer_load(folder, NULL, &tok), FC_ERR_USAGE, message);
  expect_ok(fc_tokenizer_load(folder, "wordpiece", &tok));
  fc_tokenizer_destroy(&tok);
  expect_failure(fc_tokenizer_load("/nowhere/vocab.txt", NULL, &tok), FC_ERR_IO,
                 "/nowhere/vocab.txt: cannot be opened: No such file or directory");
  remove_folder(folder);
}

static void test_path_may_be_a_file(void **state) {
  (void)state;
  const char *folder = temporary_folder();
  fc_tokenizer *tok;
  char path[FC_PATH_SIZE], message[FC_PATH_SIZE + 200];
  put_file(folder, "vocab.txt", "[UNK]\na\n");
  expect_ok(fc_path_join(folder, "vocab.txt", path));
  expect_ok(fc_tokenizer_load(path, NULL, &tok));
  assert_string_equal(fc_tokenizer_kind(tok), "wordpiece");
  fc_tokenizer_destroy(&tok);
  put_file(folder, "my.vocab", "[UNK]\na\nb\n");
  expect_ok(fc_path_join(folder, "my.vocab", path));
  expect_ok(fc_tokenizer_load(path, "wordpiece", &tok));
  assert_int_equal(fc_tokenizer_vocab_size(tok), 3);
  fc_tokenizer_destroy(&tok);
  snprintf(message, sizeof message,
           "%s: the file's name does not tell the tokeniser's kind; expected one of: "
           "byte_tokenizer.json (byte), vocab.json (bpe), encoder.json (bpe), vocab.txt "
           "(wordpiece), tokenizer.bin (llama2c), tok512.bin (llama2c), tokenizer.model (llama3)",
           path);
  expect_failure(fc_tokenizer_load(path, NULL, &tok), FC_ERR_USAGE, message);
  remove_folder(folder);
}

static void test_save_needs_a_folder(void **state) {
  (void)state;
  fc_tokenizer *tok;
  expect_ok(fc_tokenizer_create_byte(&tok));
  expect_failure(fc_tokenizer_save(tok, "/nowhere/at/all"), FC_ERR_IO,
                 "/nowhere/at/all: there is no such folder");
  fc_tokenizer_destroy(&tok);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bytes_are_ids),
      cmocka_unit_test(test_decode_skips_specials),
      cmocka_unit_test(test_encode_appends),
      cmocka_unit_test(test_save_and_load),
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_kind_cannot_be_found),
      cmocka_unit_test(test_path_may_be_a_file),
      cmocka_unit_test(test_save_needs_a_folder),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
