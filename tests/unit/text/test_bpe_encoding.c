/* Byte-level BPE: merging, decoding, special tokens, GPT-2's real vocabulary. */
#include "text_helpers.h"
#include <pthread.h>

static const char gpt2_folder[] = "../shared/tokenizers/gpt2";

static void test_merges_by_rank(void **state) {
  (void)state;
  fc_tokenizer *tok =
      bpe_of(", \"ab\": 256, \"bc\": 257, \"abc\": 258, \"aa\": 259, \"\\u0120a\": 260",
             "#version: 0.2\nb c\na b\na a\n\xC4\xA0 a\n");
  expect_ids(tok, TEXT("ab"), IDS(256));
  expect_ids(tok, TEXT("abc"), IDS('a', 257)); /* an entry, but no merge leads to it */
  expect_ids(tok, TEXT("aab"), IDS('a', 256));
  expect_ids(tok, TEXT("aaa"), IDS(259, 'a')); /* the leftmost of equals */
  expect_ids(tok, TEXT("aaaa"), IDS(259, 259));
  expect_ids(tok, TEXT("ab abc a"), IDS(256, 260, 257, 260));
  expect_ids(tok, TEXT("b\nc"), IDS('b', '\n', 'c')); /* no merge across words */
  expect_ids(tok, TEXT("\xC3\xA9"), IDS(0xC3, 0xA9));
  expect_ids(tok, TEXT("a\0\xFF"), IDS('a', 0, 0xEF, 0xBF, 0xBD));
  expect_ids(tok, TEXT(""), IDS(-1));
  fc_tokenizer_destroy(&tok);
}

/* A merge makes a better one possible while a worse candidate waits, which is void afterwards. */
static void test_merges_make_merges(void **state) {
  (void)state;
  fc_tokenizer *tok =
      bpe_of(", \"ab\": 256, \"abc\": 257, \"cd\": 258, \"abcd\": 259, \"bcd\": 260",
             "a b\nab c\nc d\nb cd\nabc d\n");
  expect_ids(tok, TEXT("abcd"), IDS(259));
  expect_ids(tok, TEXT("abcdcd"), IDS(259, 258));
  expect_ids(tok, TEXT("bcd"), IDS(260));
  fc_tokenizer_destroy(&tok);
}

/* Words beyond the workspace on the stack, up to a megabyte. */
static void test_long_words(void **state) {
  (void)state;
  enum { N = 1 << 20 };
  static char text[N];
  fc_tokenizer *tok = bpe_of(", \"aa\": 256, \"aaaa\": 257", "a a\naa aa\n");
  memset(text, 'a', N);
  for (size_t n = 1; n <= N; n = n < 200 ? n + 1 : n * 2 + 1) {
    fc_tokens ids = {0};
    expect_ok(fc_tokenizer_encode(tok, text, n, &ids));
    assert_int_equal(ids.n, n / 4 + (n & 2) / 2 + (n & 1));
    for (size_t i = 0; i < n / 4; i++) assert_int_equal(ids.id[i], 257);
    if (n & 1) assert_int_equal(ids.id[ids.n - 1], 'a');
    fc_tokens_free(&ids);
  }
  fc_tokenizer_destroy(&tok);
}

static void test_roberta_special_tokens(void **state) {
  (void)state;
  fc_tokenizer *tok = bpe_of(", \"<s>\": 256, \"<pad>\": 257, \"</s>\": 258, \"<unk>\": 259, "
                             "\"<mask>\": 260, \"<|endoftext|>\": 261",
                             "");
  fc_special_tokens s = fc_tokenizer_specials(tok);
  assert_int_equal(s.cls, 256);
  assert_int_equal(s.bos, 256);
  assert_int_equal(s.pad, 257);
  assert_int_equal(s.sep, 258);
  assert_int_equal(s.eos, 258);
  assert_int_equal(s.unk, 259);
  assert_int_equal(s.mask, 260);
  expect_ids(tok, TEXT("<s>"), IDS('<', 's', '>')); /* not parsed in text */
  expect_decoded(tok, IDS(256, 'o', 'k', 258, 257, 261), 6, "ok<|endoftext|>");
  fc_tokenizer_destroy(&tok);
}

static void test_gpt2_special_tokens(void **state) {
  (void)state;
  fc_tokenizer *tok = bpe_of(", \"<|endoftext|>\": 256", "");
  fc_special_tokens s = fc_tokenizer_specials(tok);
  assert_int_equal(s.bos, 256);
  assert_int_equal(s.eos, 256);
  assert_int_equal(s.unk, 256);
  assert_int_equal(s.cls, -1);
  assert_int_equal(s.sep, -1);
  assert_int_equal(s.pad, -1);
  assert_int_equal(s.mask, -1);
  fc_tokenizer_destroy(&tok);
}

/* Where the vocabulary lacks a byte, the unknown token stands for it. */
static void test_missing_byte_is_unknown(void **state) {
  (void)state;
  fc_text_file vocabulary = file_of("v", "{\"a\": 0, \"b\": 1, \"<unk>\": 2, \"ab\": 3}");
  fc_text_file merges = file_of("m", "a b\n");
  fc_tokenizer *tok;
  expect_ok(fc_bpe_parse(&vocabulary, &merges, &tok));
  expect_ids(tok, TEXT("abba!"), IDS(3, 1, 0, 2));
  fc_tokenizer_destroy(&tok);
}

/* Added tokens may have characters that stand for no byte; such a name stands for itself. */
static void test_decode_of_foreign_names(void **state) {
  (void)state;
  fc_tokenizer *tok = bpe_of(", \"\\u4e2d a\": 256, \"\\u0120x\": 257", "");
  expect_decoded(tok, IDS(257, 256, 0xC3, 0xA9), 4, " x\xE4\xB8\xAD a\xC3\xA9");
  fc_tokenizer_destroy(&tok);
}

static void test_gpt2(void **state) {
  (void)state;
  if (!fc_path_is_folder(gpt2_folder)) skip();
  fc_tokenizer *tok;
  expect_ok(fc_tokenizer_load(gpt2_folder, NULL, &tok));
  assert_int_equal(fc_tokenizer_vocab_size(tok), 50257);
  assert_int_equal(fc_tokenizer_specials(tok).eos, 50256);
  fc_text text = TEXT("Hello world's  test 123 !!  \xC3\xBCn\xC3\xAF"
                      "code \xE6\x97\xA5\xE6\x9C\xAC");
  const int32_t *ids = IDS(15496, 995, 338, 220, 1332, 17031, 37867, 220, 6184, 120, 77, 26884,
                           8189, 10545, 245, 98, 17312, 105);
  expect_ids(tok, text, ids);
  expect_decoded(tok, ids, 18, text.text);
  fc_tokenizer_destroy(&tok);
}

/* One tokeniser, several threads. */
typedef struct {
  const fc_tokenizer *tok;
  fc_text text;
  const fc_tokens *expected;
  int wrong;
} job;

static void *encode_often(void *argument) {
  job *j = argument;
  for (int i = 0; i < 200; i++) {
    fc_tokens ids = {0};
    fc_err err = fc_tokenizer_encode(j->tok, j->text.text, j->text.length, &ids);
    j->wrong += err != FC_ERR_OK || ids.n != j->expected->n ||
                memcmp(ids.id, j->expected->id, ids.n * sizeof *ids.id) != 0;
    fc_tokens_free(&ids);
  }
  return NULL;
}

static void test_threads_share_a_tokeniser(void **state) {
  (void)state;
  enum { THREADS = 4 };
  static const char text[] = "the cat sat on the mat, the cats sat on the mats \xF0\x9F\x98\x80";
  fc_text learned_from = {text, sizeof text - 1};
  fc_tokenizer *tok;
  expect_ok(fc_tokenizer_learn_bpe(&learned_from, 1, 290, &tok));
  fc_tokens expected = {0};
  expect_ok(fc_tokenizer_encode(tok, text, sizeof text - 1, &expected));
  job jobs[THREADS];
  pthread_t threads[THREADS];
  for (int t = 0; t < THREADS; t++) {
    jobs[t] = (job){tok, learned_from, &expected, 0};
    assert_int_equal(pthread_create(&threads[t], NULL, encode_often, &jobs[t]), 0);
  }
  for (int t = 0; t < THREADS; t++) {
    pthread_join(threads[t], NULL);
    assert_int_equal(jobs[t].wrong, 0);
  }
  fc_tokens_free(&expected);
  fc_tokenizer_destroy(&tok);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_merges_by_rank),
      cmocka_unit_test(test_merges_make_merges),
      cmocka_unit_test(test_long_words),
      cmocka_unit_test(test_roberta_special_tokens),
      cmocka_unit_test(test_gpt2_special_tokens),
      cmocka_unit_test(test_missing_byte_is_unknown),
      cmocka_unit_test(test_decode_of_foreign_names),
      cmocka_unit_test(test_gpt2),
      cmocka_unit_test(test_threads_share_a_tokeniser),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
