/* test_stats_mean.c - means with the interval of Student's t. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fedcell/fc_stats.h"
#include <math.h>

static void near(double x, double expected) {
  assert_true(fabs(x - expected) <= 1e-12 * (1 + fabs(expected)));
}

/* half = t(0.975, 3) s / 2 with t = 3.182446305284263 and s^2 = 5/3 */
static void four_values(void **state) {
  (void)state;
  fc_mean_interval m = fc_mean_of((const double[]){4, 1, 3, 2}, 4);
  near(m.mean, 2.5);
  near(m.low, 2.5 - 3.182446305284263 * sqrt(5.0 / 3.0) / 2);
  near(m.high, 2.5 + 3.182446305284263 * sqrt(5.0 / 3.0) / 2);
}

static void equal_values_leave_no_doubt(void **state) {
  (void)state;
  fc_mean_interval m = fc_mean_of((const double[]){7, 7, 7}, 3);
  near(m.mean, 7);
  near(m.low, 7);
  near(m.high, 7);
}

static void too_few_and_nan(void **state) {
  (void)state;
  fc_mean_interval m = fc_mean_of((const double[]){7}, 1);
  near(m.mean, 7);
  assert_true(isnan(m.low) && isnan(m.high));
  m = fc_mean_of(NULL, 0);
  assert_true(isnan(m.mean) && isnan(m.low) && isnan(m.high));
  m = fc_mean_of((const double[]){7, NAN, 7}, 3);
  assert_true(isnan(m.mean) && isnan(m.low) && isnan(m.high));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(four_values),
      cmocka_unit_test(equal_values_leave_no_doubt),
      cmocka_unit_test(too_few_and_nan),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
