/* Running out of memory anywhere: NOMEM, nothing leaks, nothing half done is handed out. */
#include "text_helpers.h"

typedef fc_err (*attempt)(void);

static fc_text sample(void) {
  return TEXT("to be or not to be, that is the question; to be \xFF\xC3\xA9\xE6\x97\xA5!");
}

static fc_err learn(void) {
  fc_text text = sample();
  fc_tokenizer *tok = (fc_tokenizer *)&text;
  fc_err err = fc_tokenizer_learn_bpe(&text, 1, 300, &tok);
  if (err != FC_ERR_OK) assert_null(tok);
  fc_tokenizer_destroy(&tok);
  return err;
}

static fc_err read_bpe(void) {
  fc_text_file vocabulary =
      file_of("v", "{\"<unk>\": 0, \"a\": 1, \"b\": 2, \"ab\": 3, \"abab\": 4}");
  fc_text_file merges = file_of("m", "a b\nab ab\n");
  fc_tokenizer *tok = (fc_tokenizer *)&merges;
  fc_err err = fc_bpe_parse(&vocabulary, &merges, &tok);
  if (err != FC_ERR_OK) assert_null(tok);
  fc_tokenizer_destroy(&tok);
  return err;
}

static fc_err read_wordpiece(void) {
  fc_text_file file = file_of("v", "[UNK]\na\n##b\nc\n##d\n");
  fc_tokenizer *tok = (fc_tokenizer *)&file;
  fc_err err = fc_wordpiece_parse(&file, true, &tok);
  if (err != FC_ERR_OK) assert_null(tok);
  fc_tokenizer_destroy(&tok);
  return err;
}

/* Lets the attempt have more and more memory until it succeeds. */
static void starve(attempt try_once, size_t step) {
  size_t before = fc_mem_current_bytes(), failures = 0;
  for (size_t extra = 1;; extra += step) {
    fc_mem_set_limit_bytes(before + extra);
    fc_err err = try_once();
    fc_mem_set_limit_bytes(0);
    assert_int_equal(fc_mem_current_bytes(), before);
    if (err == FC_ERR_OK) break;
    assert_int_equal(err, FC_ERR_NOMEM);
    failures++;
  }
  assert_true(failures > 10);
}

static void test_learning(void **state) {
  (void)state;
  starve(learn, 97);
}

static void test_reading_bpe(void **state) {
  (void)state;
  starve(read_bpe, 61);
}

static void test_reading_wordpiece(void **state) {
  (void)state;
  starve(read_wordpiece, 31);
}

/* A failed call to encode leaves what was there before. */
static void test_encoding(void **state) {
  (void)state;
  enum { LONG = 3000 };
  static char text[LONG];
  memset(text, 'a', LONG);
  memcpy(text, "or not ", 7);
  fc_text from = sample();
  fc_tokenizer *tok;
  expect_ok(fc_tokenizer_learn_bpe(&from, 1, 300, &tok));
  size_t before = fc_mem_current_bytes(), failures = 0;
  for (size_t extra = 64;; extra += 512) {
    fc_tokens ids = {0};
    expect_ok(fc_tokens_push(&ids, 7));
    fc_mem_set_limit_bytes(fc_mem_current_bytes() + extra);
    fc_err err = fc_tokenizer_encode(tok, text, LONG, &ids);
    fc_mem_set_limit_bytes(0);
    assert_int_equal(ids.id[0], 7);
    if (err != FC_ERR_OK) assert_int_equal(ids.n, 1);
    fc_tokens_free(&ids);
    assert_int_equal(fc_mem_current_bytes(), before);
    if (err == FC_ERR_OK) break;
    assert_int_equal(err, FC_ERR_NOMEM);
    failures++;
  }
  assert_true(failures > 10);
  fc_tokenizer_destroy(&tok);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_learning),
      cmocka_unit_test(test_reading_bpe),
      cmocka_unit_test(test_reading_wordpiece),
      cmocka_unit_test(test_encoding),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
