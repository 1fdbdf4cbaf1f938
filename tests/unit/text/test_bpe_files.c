/* vocab.json and merges.txt: what malformed ones are told, and that saving keeps everything. */
#include "text_helpers.h"

static void expect_bad(const char *vocabulary, const char *merges, const char *message) {
  fc_text_file v = file_of("vocab.json", vocabulary), m = file_of("merges.txt", merges);
  fc_tokenizer *tok = (fc_tokenizer *)&v;
  expect_failure(fc_bpe_parse(&v, &m, &tok), FC_ERR_DATA, message);
  assert_null(tok);
}

static void test_malformed_vocabulary(void **state) {
  (void)state;
  expect_bad("{\"a\": 0,\n \"b\": }", "", "vocab.json:2: unexpected token near '}'");
  expect_bad("{\"a\": 0,\n \"b\": 1", "", "vocab.json:2: '}' expected near end of file");
  expect_bad("", "", "vocab.json:1: '[' or '{' expected near end of file");
  expect_bad("[1, 2]", "", "vocab.json:1: expected a JSON object");
  expect_bad("{}", "", "vocab.json:1: the vocabulary is empty");
  expect_bad("{\"a\": 0,\n \"a\": 1}", "", "vocab.json:2: duplicate object key near '\"a\"'");
  expect_bad("{\"a\": 0,\n \"b\": 1,\n \"c\": 1}", "",
             "vocab.json:3: token \"c\" has id 1, which \"b\" has too");
  expect_bad("{\"a\": 0,\n \"b\": 2}", "",
             "vocab.json:2: token \"b\" has id 2, but 2 tokens need the ids 0 to 1");
  expect_bad("{\"a\": 0,\n\n \"\\u0120b\": -1}", "",
             "vocab.json:3: token \"\xC4\xA0"
             "b\" has id -1, but 2 tokens need the ids 0 to 1");
  expect_bad("{\"a\": 0, \"b\": 1.5}", "",
             "vocab.json:1: token \"b\" has an id that is no integer");
  expect_bad("{\"a\": 0, \"b\": \"1\"}", "",
             "vocab.json:1: token \"b\" has an id that is no integer");
  expect_bad("{\"\xFF\": 0}", "", "vocab.json:1: unable to decode byte 0xff near '\"'");
  expect_bad(
      "{\"a\": 0}", "",
      "vocab.json: the vocabulary has no entry \"\xC4\x80\" for byte 0 and no <unk> to stand "
      "for it");
}

static void test_malformed_merges(void **state) {
  (void)state;
  static const char v[] = "{\"<unk>\": 0, \"a\": 1, \"b\": 2, \"ab\": 3, \"ba\": 4, \"#\": 5}";
  expect_bad(v, "a b\nab\n",
             "merges.txt:2: expected two tokens with one space between them, found 1 field");
  expect_bad(v, "#version: 0.2\na b a\n",
             "merges.txt:2: expected two tokens with one space between them, found 3 fields");
  expect_bad(v, "a  b\n",
             "merges.txt:1: expected two tokens with one space between them, found 2 fields");
  expect_bad(v, " a b\n",
             "merges.txt:1: expected two tokens with one space between them, found 2 fields");
  expect_bad(v, "a b\n\nb a\n",
             "merges.txt:2: expected two tokens with one space between them, found 0 fields");
  expect_bad(v, "a b\nb c\n", "merges.txt:2: \"c\" is not in the vocabulary");
  expect_bad(v, "a b\n#version: 0.2\n", "merges.txt:2: \"#version:\" is not in the vocabulary");
  expect_bad(v, "# a\n", "merges.txt:1: \"#a\" is not in the vocabulary");
  expect_bad(v, "#version\nb a\na b\nb a\n", "merges.txt:4: the merge of line 2 again");
  expect_bad(v, "b a\r\na b\r\nb a\r\n", "merges.txt:3: the merge of line 1 again");
}

static void test_line_ends(void **state) {
  (void)state;
  static const char *const merges[] = {"a b", "a b\n", "a b\r\n", "#version: 0.2\r\na b\r\n",
                                       "a b\n\n"};
  for (size_t i = 0; i < sizeof merges / sizeof merges[0]; i++) {
    fc_tokenizer *tok = bpe_of(", \"ab\": 256", merges[i]);
    expect_ids(tok, TEXT("abab"), IDS(256, 256));
    fc_tokenizer_destroy(&tok);
  }
}

static void test_save_and_load(void **state) {
  (void)state;
  const char *folder = temporary_folder();
  static const char extra[] = ", \"ab\": 256, \"\\u0120ab\": 257, \"<|endoftext|>\": 258";
  fc_tokenizer *tok = bpe_of(extra, "a b\n\xC4\xA0 ab\n"), *again;
  expect_ok(fc_tokenizer_save(tok, folder));
  expect_ok(fc_tokenizer_load(folder, NULL, &again));
  assert_string_equal(fc_tokenizer_kind(again), "bpe");
  assert_int_equal(fc_tokenizer_vocab_size(again), 259);
  assert_int_equal(fc_tokenizer_specials(again).eos, 258);
  for (int32_t id = 0; id < 259; id++) {
    fc_text a = fc_string_table_get(&((fc_bpe *)tok->model)->names, id);
    fc_text b = fc_string_table_get(&((fc_bpe *)again->model)->names, id);
    assert_int_equal(a.length, b.length);
    assert_memory_equal(a.text, b.text, a.length);
  }
  expect_ids(again, TEXT("ab ab \"\\"), IDS(256, 257, ' ', '"', '\\'));
  fc_tokenizer_destroy(&again);
  fc_tokenizer_destroy(&tok);
  remove_folder(folder);
}

/* GPT-2's own file names; merges.txt goes before vocab.bpe where both are there. */
static void test_file_names(void **state) {
  (void)state;
  const char *folder = temporary_folder();
  fc_tokenizer *tok;
  char message[FC_PATH_SIZE + 100];
  put_file(folder, "encoder.json", "{\"<unk>\": 0, \"a\": 1, \"aa\": 2}");
  snprintf(message, sizeof message, "%s/merges.txt: cannot be opened: No such file or directory",
           folder);
  expect_failure(fc_tokenizer_load(folder, NULL, &tok), FC_ERR_IO, message);
  put_file(folder, "vocab.bpe", "a a\n");
  expect_ok(fc_tokenizer_load(folder, NULL, &tok));
  expect_ids(tok, TEXT("aa"), IDS(2));
  fc_tokenizer_destroy(&tok);
  put_file(folder, "merges.txt", "");
  expect_ok(fc_tokenizer_load(folder, "bpe", &tok));
  expect_ids(tok, TEXT("aa"), IDS(1, 1));
  fc_tokenizer_destroy(&tok);
  remove_folder(folder);
  snprintf(message, sizeof message, "/nowhere: cannot be opened: No such file or directory");
  expect_failure(fc_tokenizer_load("/nowhere", "bpe", &tok), FC_ERR_IO, message);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_malformed_vocabulary),
      cmocka_unit_test(test_malformed_merges),
      cmocka_unit_test(test_line_ends),
      cmocka_unit_test(test_save_and_load),
      cmocka_unit_test(test_file_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
