/* Answers: which texts name devices, and that all others are invalid. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fedcell/fc_llm.h"
#include <string.h>

enum { N = 12 };

/* The devices as they stand in `want`, a letter each: "a" is device 1. */
static void names(const char *text, const char *want) {
  uint8_t got[N], expected[N] = {0};
  memset(got, 7, sizeof got);
  for (const char *c = want; *c; c++) expected[*c - 'a'] = 1;
  if (!fc_answer_read(text, N, got)) fail_msg("\"%s\" is read as invalid", text);
  assert_memory_equal(got, expected, N);
}

static void is_invalid(const char *text) {
  static const uint8_t none[N];
  uint8_t got[N];
  memset(got, 7, sizeof got);
  if (fc_answer_read(text, N, got)) fail_msg("\"%s\" is read as an answer", text);
  assert_memory_equal(got, none, N);
}

static void lists_are_read(void **state) {
  (void)state;
  names("Selected devices: 1, 4, 7", "adg");
  names("1", "a");
  names("12", "l");
  names("3,2,1", "abc");
  names("3 2 1", "abc");
  names("[2, 5]", "be");
  names("{\"devices\":[2,5]}", "be");
  names("- 2\n- 5\n", "be");
  names("Devices 2, 5 and 12.", "bel");
  names("I choose device 9.", "i");
  names("D1, D4", "ad");
  names("#1;#2", "ab");
  names("07, 12", "gl");
  names("\xc3\xa9 3 \xe2\x80\x94 4", "cd");
}

static void all_else_is_invalid(void **state) {
  (void)state;
  is_invalid("");
  is_invalid("none");
  is_invalid("Selected devices: ");
  is_invalid("0, 1");
  is_invalid("13");
  is_invalid("1, 2, 13");
  is_invalid("1, 1");
  is_invalid("1, 4, 1");
  is_invalid("1, 01");
  is_invalid("-3");
  is_invalid("+3");
  is_invalid("1-4");
  is_invalid("1.5");
  is_invalid("1e1");
  is_invalid("0x1");
  is_invalid("3rd");
  is_invalid("1, 2 (of 20)");
  is_invalid("5\xc2\xb0");
  is_invalid("99999999999999999999999999");
  is_invalid("4294967297");           /* 1 in 32 bits */
  is_invalid("18446744073709551617"); /* 1 in 64 bits */
  is_invalid("1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13");
}

static void one_device_is_enough(void **state) {
  (void)state;
  uint8_t got[1];
  assert_true(fc_answer_read("device 1", 1, got));
  assert_int_equal(got[0], 1);
  assert_false(fc_answer_read("device 2", 1, got));
  assert_int_equal(got[0], 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(lists_are_read),
                                     cmocka_unit_test(all_else_is_invalid),
                                     cmocka_unit_test(one_device_is_enough)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
