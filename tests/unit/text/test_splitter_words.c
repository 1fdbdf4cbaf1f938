/* GPT-2's word pattern; expected pieces: Python's `regex` with the original pattern. */
#include "splitter.h"
#include "text_helpers.h"

static fc_splitter *splitter;

static int setup(void **state) {
  (void)state;
  return fc_splitter_create(FC_SPLIT_GPT2, &splitter) != FC_ERR_OK;
}

static int teardown(void **state) {
  (void)state;
  fc_splitter_destroy(&splitter);
  return splitter != NULL;
}

/* `expected` has the pieces with '|' between them. */
static void expect_pieces(fc_text text, const char *expected) {
  fc_split cut;
  fc_buffer got = {0};
  fc_text piece;
  expect_ok(fc_split_begin(splitter, text, &cut));
  for (;;) {
    expect_ok(fc_split_next(&cut, &piece));
    if (piece.length == 0) break;
    if (got.size) expect_ok(fc_buffer_add(&got, "|", 1));
    expect_ok(fc_buffer_add(&got, piece.text, piece.length));
  }
  expect_ok(fc_buffer_terminate(&got));
  assert_string_equal(got.data, expected);
  fc_split_end(&cut);
  fc_buffer_free(&got);
}

static void test_pieces(void **state) {
  (void)state;
  expect_pieces(TEXT(""), "");
  expect_pieces(TEXT("Hello world"), "Hello| world");
  expect_pieces(TEXT("don't we'll I'M"), "don|'t| we|'ll| I|'|M");
  expect_pieces(TEXT("a  b   "), "a| | b|   ");
  expect_pieces(TEXT("x\n\n y"), "x|\n\n| y");
  expect_pieces(TEXT("12abc3.5!?"), "12|abc|3|.|5|!?");
  expect_pieces(TEXT(" !a"), " !|a");
  expect_pieces(TEXT("!\xC2\xBD\xE2\x85\xA7!"), "!|\xC2\xBD\xE2\x85\xA7|!"); /* No and Nl */
  expect_pieces(TEXT("\xC3\xA9t\xC3\xA9 \xE6\x97\xA5\xE6\x9C\xAC\xE3\x80\x82"),
                "\xC3\xA9t\xC3\xA9| \xE6\x97\xA5\xE6\x9C\xAC|\xE3\x80\x82");
  /* no-break space, and U+180E, which is no space although PCRE2's \s takes it for one */
  expect_pieces(TEXT("a\xC2\xA0z\xE1\xA0\x8Ez"), "a|\xC2\xA0|z|\xE1\xA0\x8E|z");
  expect_pieces(TEXT("e\xCC\x81 x"), "e|\xCC\x81| x");
}

/* Runs of a million characters must not exhaust the matcher's stack. */
static void test_long_runs(void **state) {
  (void)state;
  enum { N = 1000000 };
  static char run[N + 1];
  static const char kinds[] = {'a', '1', '!', ' ', '\n'};
  for (size_t k = 0; k < sizeof kinds; k++) {
    memset(run, kinds[k], N);
    run[N] = '\0';
    expect_pieces((fc_text){run, N}, run);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_pieces),
      cmocka_unit_test(test_long_runs),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
