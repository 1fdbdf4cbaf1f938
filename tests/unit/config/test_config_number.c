/* Numbers: exact integers, finite doubles, shortest text that reads back equal. */
#include "config_test.h"
#include "config_private.h"
#include <float.h>

static void integers_are_exact(void **state) {
  (void)state;
  static const struct {
    const char *text;
    fc_number_result result;
    int64_t value;
  } cases[] = {
      {"0", FC_NUMBER_OK, 0},
      {"-0", FC_NUMBER_OK, 0},
      {"+7", FC_NUMBER_OK, 7},
      {"010", FC_NUMBER_OK, 10}, /* not octal */
      {"1e6", FC_NUMBER_OK, 1000000},
      {"1E+6", FC_NUMBER_OK, 1000000},
      {"2.5e1", FC_NUMBER_OK, 25},
      {"3.", FC_NUMBER_OK, 3},
      {".5e1", FC_NUMBER_OK, 5},
      {"120e-1", FC_NUMBER_OK, 12},
      {"1200.00", FC_NUMBER_OK, 1200},
      {"0e999999999999", FC_NUMBER_OK, 0},
      {"9007199254740993", FC_NUMBER_OK, 9007199254740993}, /* 2^53 + 1 */
      {"9007199254740993.0", FC_NUMBER_OK, 9007199254740993},
      {"9223372036854775807", FC_NUMBER_OK, INT64_MAX},
      {"-9223372036854775808", FC_NUMBER_OK, INT64_MIN},
      {"9223372036854775808", FC_NUMBER_TOO_LARGE, 0},
      {"-9223372036854775809", FC_NUMBER_TOO_LARGE, 0},
      {"1e19", FC_NUMBER_TOO_LARGE, 0},
      {"1e999999999999", FC_NUMBER_TOO_LARGE, 0},
      {"1.5", FC_NUMBER_NOT_WHOLE, 0},
      {"1e-1", FC_NUMBER_NOT_WHOLE, 0},
      {"1e-999999999999", FC_NUMBER_NOT_WHOLE, 0},
      {"9007199254740993.5", FC_NUMBER_NOT_WHOLE, 0},
      {"", FC_NUMBER_NONE, 0},
      {"-", FC_NUMBER_NONE, 0},
      {".", FC_NUMBER_NONE, 0},
      {"e5", FC_NUMBER_NONE, 0},
      {"1e", FC_NUMBER_NONE, 0},
      {"1e+", FC_NUMBER_NONE, 0},
      {"1 ", FC_NUMBER_NONE, 0},
      {"1_000", FC_NUMBER_NONE, 0},
      {"0x1F", FC_NUMBER_NONE, 0},
      {"--1", FC_NUMBER_NONE, 0},
  };
  for (size_t i = 0; i < TABLE_LENGTH(cases); i++) {
    int64_t value = 99;
    fc_number_result result = fc_number_int(cases[i].text, &value);
    if (result != cases[i].result || value != cases[i].value) {
      fail_msg("%s gave %d, %lld", cases[i].text, (int)result, (long long)value);
    }
  }
}

static void reals_are_finite(void **state) {
  (void)state;
  static const struct {
    const char *text;
    fc_number_result result;
    double value;
  } cases[] = {
      {"1.5e3", FC_NUMBER_OK, 1500},      {"-.25", FC_NUMBER_OK, -0.25},
      {"20e6", FC_NUMBER_OK, 20e6},       {"0e9999", FC_NUMBER_OK, 0},
      {"1e308", FC_NUMBER_OK, 1e308},     {"5e-324", FC_NUMBER_OK, 4.9406564584124654e-324},
      {"1e309", FC_NUMBER_TOO_LARGE, 0},  {"-1e309", FC_NUMBER_TOO_LARGE, 0},
      {"1e-400", FC_NUMBER_TOO_SMALL, 0}, {"nan", FC_NUMBER_NONE, 0},
      {".nan", FC_NUMBER_NONE, 0},        {"inf", FC_NUMBER_NONE, 0},
      {"-.inf", FC_NUMBER_NONE, 0},       {"infinity", FC_NUMBER_NONE, 0},
      {"0x1p3", FC_NUMBER_NONE, 0},       {"1,5", FC_NUMBER_NONE, 0},
  };
  for (size_t i = 0; i < TABLE_LENGTH(cases); i++) {
    double value = 99;
    fc_number_result result = fc_number_real(cases[i].text, &value);
    if (result != cases[i].result || !(value == cases[i].value)) {
      fail_msg("%s gave %d, %g", cases[i].text, (int)result, value);
    }
  }
}

static void writing_reads_back_equal(void **state) {
  (void)state;
  char text[FC_NUMBER_SIZE];
  fc_number_write(0.1, text);
  assert_string_equal(text, "0.1");
  fc_number_write(20e6, text);
  assert_string_equal(text, "2.0e+07");
  fc_number_write(1e100, text);
  assert_string_equal(text, "1.0e+100");
  fc_rng rng = fc_rng_open(1, FC_RNG_TEST, 0, 0);
  for (int i = 0; i < 20000; i++) {
    union {
      uint64_t bits;
      double x;
    } any = {.bits = fc_rng_u64(&rng)};
    if (!isfinite(any.x)) continue;
    double back;
    fc_number_write(any.x, text);
    assert_true(strlen(text) < FC_NUMBER_SIZE - 1);
    assert_int_equal(fc_number_real(text, &back), FC_NUMBER_OK);
    assert_true(back == any.x);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(integers_are_exact),
      cmocka_unit_test(reals_are_finite),
      cmocka_unit_test(writing_reads_back_equal),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
