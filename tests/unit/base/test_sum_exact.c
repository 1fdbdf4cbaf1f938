/* Exact sums: no order, sign or size of the terms changes them; they round once, to nearest. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "fedcell/fc_rng.h"
#include "fedcell/fc_sum.h"
#include <float.h>
#include <math.h>

static double sum_of(const double *x, size_t n) {
  fc_sum s = {0};
  for (size_t i = 0; i < n; i++) fc_sum_add(&s, x[i]);
  return fc_sum_value(&s);
}
#define SUM(...) sum_of((const double[]){__VA_ARGS__}, sizeof((double[]){__VA_ARGS__}) / 8)

static void single_values_come_back(void **state) {
  (void)state;
  const double values[] = {0.0,     1.0,      -1.0,           0.1,       -1e-300,        1e300, 3.0,
                           DBL_MIN, -DBL_MAX, 4.9406565e-324, 0x1p-1060, 0x1.fffffp-1023};
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
    assert_true(SUM(values[i]) == values[i]);
  fc_rng rng = fc_rng_open(1, FC_RNG_TEST, 0, 0);
  for (int i = 0; i < 100000; i++) {
    double x = ldexp(fc_rng_normal(&rng), (int)fc_rng_below(&rng, 2000) - 1000);
    assert_true(SUM(x) == x);
  }
}

static void cancellation_loses_nothing(void **state) {
  (void)state;
  assert_true(SUM(1e300, 1.0, -1e300) == 1.0);
  assert_true(SUM(1e-320, 1e308, -1e308) == 1e-320);
  assert_true(SUM(-1.0, 0x1p-80, 1.0) == 0x1p-80);
  assert_true(SUM(1.0, -1.0) == 0.0 && SUM(0.0) == 0.0);
  assert_true(SUM(DBL_MAX, DBL_MAX, -DBL_MAX) == DBL_MAX); /* no overflow on the way */
  assert_true(SUM(DBL_MAX, DBL_MAX) == INFINITY && SUM(-DBL_MAX, -DBL_MAX) == -INFINITY);
}

static void rounds_once_to_nearest_even(void **state) {
  (void)state;
  assert_true(SUM(1.0, 0x1p-53) == 1.0); /* a tie */
  assert_true(SUM(1.0, 0x1p-53, 0x1p-300) == 1.0 + DBL_EPSILON);
  assert_true(SUM(1.0, 0x1p-53, -0x1p-300) == 1.0);
  assert_true(SUM(1.0 + DBL_EPSILON, 0x1p-53) == 1.0 + 2 * DBL_EPSILON);
  assert_true(SUM(-1.0, -0x1p-53, -0x1p-300) == -1.0 - DBL_EPSILON);
  /* to the last bit what 64 bits of mantissa give, wherever those are enough */
  fc_rng rng = fc_rng_open(2, FC_RNG_TEST, 0, 0);
  for (int i = 0; i < 100000; i++) {
    double a = fc_rng_normal(&rng), b = ldexp(fc_rng_normal(&rng), -(int)fc_rng_below(&rng, 9));
    assert_true(SUM(a, b) == a + b);
  }
}

enum { N = 20000 };

static void order_and_grouping_do_not_matter(void **state) {
  (void)state;
  static double x[N];
  fc_rng rng = fc_rng_open(3, FC_RNG_TEST, 0, 0);
  for (int i = 0; i < N; i++) x[i] = ldexp(fc_rng_normal(&rng), (int)fc_rng_below(&rng, 200) - 100);
  fc_sum forward = {0}, backward = {0}, part[3] = {{{0}, 0, 0, 0}};
  for (int i = 0; i < N; i++) fc_sum_add(&forward, x[i]);
  for (int i = N - 1; i >= 0; i--) fc_sum_add(&backward, x[i]);
  for (int i = 0; i < N; i++) fc_sum_add(&part[i * 7 % 3], x[i]);
  fc_sum_merge(&part[0], &part[1]);
  fc_sum_merge(&part[0], &part[2]);
  double total = fc_sum_value(&forward);
  assert_true(isfinite(total) && total == fc_sum_value(&backward));
  assert_true(total == fc_sum_value(&part[0]));
  for (int i = 0; i < N; i++) fc_sum_add(&forward, -x[i]);
  assert_true(fc_sum_value(&forward) == 0.0);
}

static void what_is_not_finite_is_never_lost(void **state) {
  (void)state;
  assert_true(SUM(1.0, INFINITY, -2.0) == INFINITY && SUM(-INFINITY, DBL_MAX) == -INFINITY);
  assert_true(isnan(SUM(INFINITY, -INFINITY)) && isnan(SUM(1.0, (double)NAN, 1.0)));
}

static fc_err doubled(const void *arg, int64_t *x, size_t n) { /* two ranks with the same values */
  (void)arg;
  for (size_t i = 0; i < n; i++) x[i] *= 2;
  return FC_ERR_OK;
}

static fc_err broken(const void *arg, double *x, size_t n) {
  (void)x;
  return fc_fail(FC_ERR_PEER, "no %s for %zu", (const char *)arg, n);
}

static void the_hook_joins_ranks(void **state) {
  (void)state;
  fc_sum s[2] = {{{0}, 0, 0, 0}};
  double x = 3.0;
  fc_sum_add(&s[0], 0.1);
  fc_sum_add(&s[1], (double)NAN);
  assert_int_equal(fc_sum_over(NULL, s, 2), FC_ERR_OK);
  assert_true(fc_sum_value(&s[0]) == 0.1);
  const fc_reduction over = {.sum_i64 = doubled, .max = broken, .arg = "way"};
  assert_int_equal(fc_sum_over(&over, s, 2), FC_ERR_OK);
  assert_true(fc_sum_value(&s[0]) == 0.2 && isnan(fc_sum_value(&s[1])));
  assert_int_equal(fc_max_over(NULL, &x, 1), FC_ERR_OK);
  assert_int_equal(fc_max_over(&over, &x, 1), FC_ERR_PEER);
  assert_string_equal(fc_err_message(), "no way for 1");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(single_values_come_back),
      cmocka_unit_test(cancellation_loses_nothing),
      cmocka_unit_test(rounds_once_to_nearest_even),
      cmocka_unit_test(order_and_grouping_do_not_matter),
      cmocka_unit_test(what_is_not_finite_is_never_lost),
      cmocka_unit_test(the_hook_joins_ranks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
