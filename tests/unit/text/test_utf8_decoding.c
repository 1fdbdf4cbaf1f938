/* UTF-8: code points, replacement of ill-formed sequences as Python does, white space. */
#include "text_helpers.h"
#include "utf8.h"

static void expect_repaired(fc_text text, const char *expected) {
  fc_buffer scratch = {0};
  fc_text got;
  expect_ok(fc_utf8_repair(text, &scratch, &got));
  assert_int_equal(got.length, strlen(expected));
  assert_memory_equal(got.text, expected, got.length);
  fc_buffer_free(&scratch);
}

#define R "\xEF\xBF\xBD" /* U+FFFD */

/* Expected values: Python's bytes.decode("utf-8", errors="replace"). */
static void test_repair(void **state) {
  (void)state;
  expect_repaired(TEXT("plain ascii, more than eight bytes"), "plain ascii, more than eight bytes");
  expect_repaired(TEXT("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"),
                  "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
  expect_repaired(TEXT("a\xFFz"), "a" R "z");
  expect_repaired(TEXT("\x80\xBF"), R R);
  expect_repaired(TEXT("\xC0\xAF"), R R);
  expect_repaired(TEXT("\xE0\x80\x80"), R R R);
  expect_repaired(TEXT("\xED\xA0\x80"), R R R);
  expect_repaired(TEXT("\xF4\x90\x80\x80"), R R R R);
  expect_repaired(TEXT("\xF5\x80"), R R);
  expect_repaired(TEXT("\xE2\x82x"), R "x");
  expect_repaired(TEXT("\xF0\x9F\x98"), R);
  expect_repaired(TEXT("\xF0\x9F\x98\xC3\xA9"), R "\xC3\xA9");
  expect_repaired(TEXT("\xE1\x80\xE2\xF0\x91\x92\xF1\xBFx"), R R R R "x");
  expect_repaired(TEXT("12345678\xC3"), "12345678" R);
}

static void test_valid_text_is_not_copied(void **state) {
  (void)state;
  fc_buffer scratch = {0};
  fc_text text = TEXT("gr\xC3\xBC\xC3\x9F dich"), got;
  expect_ok(fc_utf8_repair(text, &scratch, &got));
  assert_ptr_equal(got.text, text.text);
  assert_null(scratch.data);
}

static void test_every_code_point_there_and_back(void **state) {
  (void)state;
  for (int32_t c = 0; c < 0x110000; c++) {
    if (c >= 0xD800 && c < 0xE000) continue;
    char bytes[FC_UTF8_MAX];
    size_t n = fc_utf8_put(c, bytes), at = 0;
    if (fc_utf8_next(bytes, n, &at) != c || at != n) fail_msg("U+%04X", (unsigned)c);
    for (size_t cut = 1; cut < n; cut++) {
      at = 0;
      if (fc_utf8_next(bytes, cut, &at) != -1 || at != cut) fail_msg("U+%04X cut", (unsigned)c);
    }
  }
}

static void test_white_space(void **state) {
  (void)state;
  static const int32_t spaces[] = {9,      10,     11,     12,     13,     32,     0x85,
                                   0xA0,   0x1680, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004,
                                   0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200A, 0x2028,
                                   0x2029, 0x202F, 0x205F, 0x3000};
  size_t found = 0;
  for (int32_t c = 0; c < 0x110000; c++) {
    if (!fc_utf8_is_space(c)) continue;
    assert_true(found < sizeof spaces / sizeof spaces[0]);
    assert_int_equal(c, spaces[found++]);
  }
  assert_int_equal(found, sizeof spaces / sizeof spaces[0]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_repair),
      cmocka_unit_test(test_valid_text_is_not_copied),
      cmocka_unit_test(test_every_code_point_there_and_back),
      cmocka_unit_test(test_white_space),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
