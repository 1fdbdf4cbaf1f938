/* test_stats_median.c - the median and its interval of order statistics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* first the headers that cmocka needs */
#include "fedcell/fc_rng.h"
#include "fedcell/fc_stats.h"
#include <cmocka.h>
#include <math.h>

static void check(double *x, int n, double median, double low, double high) {
  fc_interval i = fc_median_interval(x, n);
  assert_true(i.median == median && i.low == low && i.high == high);
}

static void ranks_of_known_lists(void **state) {
  (void)state;
  double one[] = {3}, two[] = {5, 1}, six[] = {6, 2, 4, 1, 5, 3},
         eight[] = {8, 7, 6, 5, 4, 3, 2, 1};
  double nine[] = {9, 8, 7, 6, 5, 4, 3, 2, 1}, thirty[30];
  for (int i = 0; i < 30; i++) thirty[i] = (i * 7) % 30 + 1; /* 1 to 30, mixed */
  check(one, 1, 3, 3, 3);
  check(two, 2, 3, 1, 5);
  check(six, 6, 3.5, 1, 6);
  /* Conover's table: 1st and 8th of 8, 2nd and 8th of 9, 10th and 21st of 30 */
  check(eight, 8, 4.5, 1, 8);
  check(nine, 9, 5, 2, 8);
  check(thirty, 30, 15.5, 10, 21);
}

static void interval_covers_the_median(void **state) {
  (void)state;
  enum { N = 25, TIMES = 4000 };
  int missed = 0;
  fc_rng rng = fc_rng_open(1, FC_RNG_TEST, 0, 0);
  for (int t = 0; t < TIMES; t++) {
    double x[N];
    for (int i = 0; i < N; i++) x[i] = exp(fc_rng_normal(&rng)); /* skew, median 1 */
    fc_interval i = fc_median_interval(x, N);
    missed += !(i.low <= 1 && 1 <= i.high);
  }
  /* exact coverage at 25: 0.957; four standard errors are 0.013 */
  assert_in_range(missed, (int)(TIMES * 0.030), (int)(TIMES * 0.056));
}

static void not_a_number_shows(void **state) {
  (void)state;
  double x[] = {1, NAN, 2};
  fc_interval i = fc_median_interval(x, 3);
  assert_true(isnan(i.median) && isnan(i.low) && isnan(i.high));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(ranks_of_known_lists),
                                     cmocka_unit_test(interval_covers_the_median),
                                     cmocka_unit_test(not_a_number_shows)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
