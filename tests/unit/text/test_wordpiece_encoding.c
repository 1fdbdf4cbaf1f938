/* WordPiece: BERT's words, the greedy match, vocab.txt. */
#include "text_helpers.h"

static fc_err collect(void *context, fc_text word, size_t code_points) {
  char count[32];
  int n = snprintf(count, sizeof count, ":%zu|", code_points);
  FC_TRY(fc_buffer_add(context, word.text, word.length));
  return fc_buffer_add(context, count, (size_t)n);
}

/* Words with their length in code points: "word:4|..." */
static void expect_words(fc_text text, bool lower_case, const char *expected) {
  fc_buffer got = {0};
  expect_ok(fc_bert_words(text, lower_case, collect, &got));
  expect_ok(fc_buffer_terminate(&got));
  assert_string_equal(got.data, expected);
  fc_buffer_free(&got);
}

/* Expected words: Hugging Face's BertNormalizer and BertPreTokenizer. */
static void test_words(void **state) {
  (void)state;
  expect_words(TEXT(""), true, "");
  expect_words(TEXT(" \t\r\n "), true, "");
  expect_words(TEXT("Hello, World!"), true, "hello:5|,:1|world:5|!:1|");
  expect_words(TEXT("don't"), true, "don:3|':1|t:1|");
  expect_words(TEXT("a_b$c~`^"), true, "a:1|_:1|b:1|$:1|c:1|~:1|`:1|^:1|");
  expect_words(TEXT("H\xC3\xA9llo na\xC3\xAFve"), true, "hello:5|naive:5|");
  expect_words(TEXT("e\xCC\x81"), true, "e:1|");
  expect_words(TEXT("\xC4\xB0I"), true, "ii:2|"); /* Turkish dotted I */
  expect_words(TEXT("\xEA\xB0\x81"), true, "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8:3|"); /* Hangul */
  expect_words(TEXT("ab\xE4\xB8\xAD\xE6\x96\x87z"), true,
               "ab:2|\xE4\xB8\xAD:1|\xE6\x96\x87:1|z:1|");
  expect_words(TEXT("\xEF\xAC\x81"), true, "\xEF\xAC\x81:1|"); /* ligature fi: only canonical */
  expect_words(TEXT("a\x01"
                    "b\x7F"
                    "c\xC2\xAD"
                    "d\xE2\x80\x8B"
                    "e"),
               true, "abcde:5|");
  expect_words(TEXT("a\0b\xEF\xBF\xBD"
                    "c\xFF"
                    "d"),
               true, "abcd:4|");
  expect_words(TEXT("a\xC2\xA0"
                    "b\xE2\x80\xA8"
                    "c\xE3\x80\x80"
                    "d"),
               true, "a:1|b:1|c:1|d:1|");
  expect_words(TEXT("\xC2\xBFqu\xC3\xA9? \xC2\xAB"
                    "a\xC2\xBB \xE2\x80\x94"),
               true, "\xC2\xBF:1|que:3|?:1|\xC2\xAB:1|a:1|\xC2\xBB:1|\xE2\x80\x94:1|");
  expect_words(TEXT("\xC2\xA3"
                    "5 a+b"),
               true,
               "\xC2\xA3"
               "5:2|a:1|+:1|b:1|");
}

static void test_cased_words(void **state) {
  (void)state;
  expect_words(TEXT("H\xC3\xA9LLO e\xCC\x81"), false, "H\xC3\xA9LLO:5|e\xCC\x81:2|");
}

/* Marks that are no Mn (here Mc, classes 224 and 226) are put into canonical order. */
static void test_marks_are_ordered(void **state) {
  (void)state;
  expect_words(TEXT("a\xF0\x9D\x85\xAD\xE3\x80\xAE"), true, "a\xE3\x80\xAE\xF0\x9D\x85\xAD:3|");
}

static fc_tokenizer *vocabulary_of(const char *content) {
  fc_text_file file = file_of("vocab.txt", content);
  fc_tokenizer *tok = NULL;
  expect_ok(fc_wordpiece_parse(&file, true, &tok));
  return tok;
}

static const char small[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##aff\n##able\nun##\n,\n"
                            "##\xC3\x9F\ngro\n##a\n";

static void test_longest_match(void **state) {
  (void)state;
  fc_tokenizer *tok = vocabulary_of(small);
  assert_string_equal(fc_tokenizer_kind(tok), "wordpiece");
  assert_int_equal(fc_tokenizer_vocab_size(tok), 13);
  expect_ids(tok, TEXT("unaffable"), IDS(5, 6, 7));
  expect_ids(tok, TEXT("Unaffa, UN"), IDS(5, 6, 12, 9, 5));
  expect_ids(tok, TEXT("unaffx un"), IDS(1, 5)); /* one unknown piece: the word is unknown */
  expect_ids(tok, TEXT("gro\xC3\x9F"), IDS(11, 10));
  expect_ids(tok, TEXT("aff"), IDS(1));
  expect_ids(tok, TEXT("[MASK]"), IDS(1, 1, 1)); /* not parsed in text */
  expect_ids(tok, TEXT(""), IDS(-1));
  fc_special_tokens s = fc_tokenizer_specials(tok);
  assert_int_equal(s.pad, 0);
  assert_int_equal(s.unk, 1);
  assert_int_equal(s.cls, 2);
  assert_int_equal(s.sep, 3);
  assert_int_equal(s.mask, 4);
  assert_int_equal(s.bos, -1);
  assert_int_equal(s.eos, -1);
  fc_tokenizer_destroy(&tok);
}

static void test_long_words_are_unknown(void **state) {
  (void)state;
  fc_tokenizer *tok = vocabulary_of("[UNK]\na\n##a\n\xE4\xB8\xAD\n\xC4\x91\n##\xC4\x91\n");
  char word[2 * 101];
  memset(word, 'a', sizeof word);
  fc_tokens ids = {0};
  expect_ok(fc_tokenizer_encode(tok, word, 100, &ids));
  assert_int_equal(ids.n, 100);
  assert_int_equal(ids.id[99], 2);
  ids.n = 0;
  expect_ok(fc_tokenizer_encode(tok, word, 101, &ids));
  assert_int_equal(ids.n, 1);
  assert_int_equal(ids.id[0], 0);
  for (size_t i = 0; i < sizeof word; i += 2) memcpy(word + i, "\xC4\x91", 2);
  ids.n = 0; /* code points count, not bytes */
  expect_ok(fc_tokenizer_encode(tok, word, 200, &ids));
  assert_int_equal(ids.n, 100);
  ids.n = 0;
  expect_ok(fc_tokenizer_encode(tok, word, 202, &ids));
  assert_int_equal(ids.n, 1);
  fc_tokens_free(&ids);
  fc_tokenizer_destroy(&tok);
}

static void test_decode(void **state) {
  (void)state;
  fc_tokenizer *tok = vocabulary_of(small);
  expect_decoded(tok, IDS(2, 5, 6, 7, 9, 5, 3, 0), 8, "unaffable , un");
  expect_decoded(tok, IDS(7, 5), 2, "##able un"); /* nothing before it to join */
  expect_decoded(tok, NULL, 0, "");
  fc_tokenizer_destroy(&tok);
}

static void expect_bad(const char *content, const char *message) {
  fc_text_file file = file_of("vocab.txt", content);
  fc_tokenizer *tok = (fc_tokenizer *)&file;
  expect_failure(fc_wordpiece_parse(&file, true, &tok), FC_ERR_DATA, message);
  assert_null(tok);
}

static void test_malformed_vocabulary(void **state) {
  (void)state;
  expect_bad("", "vocab.txt:1: the vocabulary is empty");
  expect_bad("[UNK]\na\n\nb\n", "vocab.txt:3: an empty token");
  expect_bad("[UNK]\na\r\n\r\n", "vocab.txt:3: an empty token");
  expect_bad("[UNK]\na\nb\na\n", "vocab.txt:4: token \"a\" is already on line 2");
  expect_bad("a\nb\n", "vocab.txt:2: the vocabulary ends without a token [UNK]");
  expect_bad("[UNK]\ncaf\xE9\n", "vocab.txt:2: the token is not valid UTF-8");
}

static void test_save_and_load(void **state) {
  (void)state;
  const char *folder = temporary_folder();
  fc_tokenizer *tok = vocabulary_of(small), *again;
  expect_ok(fc_tokenizer_save(tok, folder));
  expect_ok(fc_tokenizer_load(folder, NULL, &again));
  assert_int_equal(fc_tokenizer_vocab_size(again), 13);
  expect_ids(again, TEXT("UNaffable"), IDS(5, 6, 7));
  fc_tokenizer_destroy(&again);
  put_file(folder, "tokenizer_config.json", "{\"do_lower_case\": false}");
  expect_ok(fc_tokenizer_load(folder, NULL, &again));
  expect_ids(again, TEXT("UNaffable unaffable"), IDS(1, 5, 6, 7));
  expect_ok(fc_tokenizer_save(again, folder)); /* stays cased */
  fc_tokenizer_destroy(&again);
  expect_ok(fc_tokenizer_load(folder, NULL, &again));
  expect_ids(again, TEXT("UN un"), IDS(1, 5));
  fc_tokenizer_destroy(&again);
  put_file(folder, "tokenizer_config.json", "{\n\"do_lower_case\": fal");
  char message[200];
  snprintf(message, sizeof message, "%s/tokenizer_config.json:2: invalid token near 'fal'", folder);
  expect_failure(fc_tokenizer_load(folder, NULL, &again), FC_ERR_DATA, message);
  fc_tokenizer_destroy(&tok);
  remove_folder(folder);
}

static void test_bert(void **state) {
  (void)state;
  static const char folder[] = "../shared/tokenizers/bert-base-uncased";
  if (!fc_path_is_folder(folder)) skip();
  fc_tokenizer *tok;
  expect_ok(fc_tokenizer_load(folder, NULL, &tok));
  assert_int_equal(fc_tokenizer_vocab_size(tok), 30522);
  assert_int_equal(fc_tokenizer_specials(tok).cls, 101);
  expect_ids(tok,
             TEXT("Hello world's  test 123 !!  \xC3\xBCn\xC3\xAF"
                  "code \xE6\x97\xA5\xE6\x9C\xAC"),
             IDS(7592, 2088, 1005, 1055, 3231, 13138, 999, 999, 27260, 1864, 1876));
  fc_tokenizer_destroy(&tok);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_words),
      cmocka_unit_test(test_cased_words),
      cmocka_unit_test(test_marks_are_ordered),
      cmocka_unit_test(test_longest_match),
      cmocka_unit_test(test_long_words_are_unknown),
      cmocka_unit_test(test_decode),
      cmocka_unit_test(test_malformed_vocabulary),
      cmocka_unit_test(test_save_and_load),
      cmocka_unit_test(test_bert),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
