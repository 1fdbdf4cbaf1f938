/* Sums over devices: exact, told when they are not finite; the scale of sums in fixed point. */
#include "single_rank.h"

static void scale_is_the_largest_power_of_two(void **state) {
  (void)state;
  const double largest[] = {1.0, 0.75, 1.5, 3e8, 7e-5, 1e300, 0x1p-900};
  for (size_t i = 0; i < sizeof largest / sizeof largest[0]; i++) {
    double scale = fc_exact_scale(largest[i], 61);
    int exponent = 0;
    assert_true(frexp(scale, &exponent) == 0.5); /* a power of two */
    assert_true(largest[i] * scale <= 0x1p61);
    assert_true(largest[i] * scale >= 0x1p60);
  }
}

static void scale_of_nothing_and_of_the_tiniest(void **state) {
  (void)state;
  assert_true(fc_exact_scale(0.0, 61) == 0.0);
  assert_true(fc_exact_scale(NAN, 61) == 0.0);
  double scale = fc_exact_scale(0x1p-1074, 61); /* the smallest double */
  assert_true(isfinite(scale) && scale > 0);
}

static void whole_numbers_are_summed_exactly(void **state) {
  (void)state;
  enum { N = 1000 };
  double x[N], sum = 0;
  int64_t expected = 0;
  for (int i = 0; i < N; i++) {
    int64_t value = (int64_t)(i * i) * (i % 2 ? 1000003 : -999983);
    x[i] = (double)value;
    expected += value;
  }
  OK(fc_exact_sums(comm, x, N, 1, &sum));
  assert_true(sum == (double)expected);
}

static void cancellation_loses_nothing(void **state) {
  (void)state;
  const double x[] = {1e15, 1.0, -1e15, 0.25};
  double sum = 0;
  OK(fc_exact_sums(comm, x, 4, 1, &sum));
  assert_true(sum == 1.25);
}

static void the_smallest_stands_beside_the_largest(void **state) {
  (void)state;
  const double x[] = {1e300, 1e-300, -1e300, 0x1p-1074};
  double sum = 0;
  OK(fc_exact_sums(comm, x, 4, 1, &sum));
  assert_true(sum == 1e-300);
  OK(fc_exact_sums(comm, x + 3, 1, 1, &sum));
  assert_true(sum == 0x1p-1074);
}

static void order_does_not_matter(void **state) {
  (void)state;
  enum { N = 501 };
  double x[N], backwards[N], a = 0, b = 0, plain = 0, largest = 0;
  fc_rng rng = fc_rng_open(1, FC_RNG_TEST, 0, 0);
  for (int i = 0; i < N; i++) {
    x[i] = fc_rng_normal(&rng);
    backwards[N - 1 - i] = x[i];
    plain += x[i];
    largest = fmax(largest, fabs(x[i]));
  }
  OK(fc_exact_sums(comm, x, N, 1, &a));
  OK(fc_exact_sums(comm, backwards, N, 1, &b));
  assert_true(a == b);
  CLOSE(a, plain, N * largest * 0x1p-50);
}

static void sixteen_columns_keep_apart(void **state) {
  (void)state;
  enum { K = 16, N = 7 };
  double x[N * K], sums[K];
  for (int i = 0; i < N; i++)
    for (int c = 0; c < K; c++) x[i * K + c] = ldexp(i + 1, 3 * c) * (c % 3 ? 1 : -1);
  OK(fc_exact_sums(comm, x, N, K, sums));
  for (int c = 0; c < K; c++)
    assert_true(sums[c] == ldexp(N * (N + 1) / 2, 3 * c) * (c % 3 ? 1 : -1));
}

static void zero_columns_and_no_rows_give_zero(void **state) {
  (void)state;
  const double x[] = {0, 3, 0, 4};
  double sums[2] = {7, 7};
  OK(fc_exact_sums(comm, x, 2, 2, sums));
  assert_true(sums[0] == 0.0 && sums[1] == 7.0);
  OK(fc_exact_sums(comm, x, 0, 2, sums));
  assert_true(sums[0] == 0.0 && sums[1] == 0.0);
}

static void what_is_not_finite_is_told(void **state) {
  (void)state;
  const double with_nan[] = {1, 2, 3, NAN, 5, 6}, with_inf[] = {-INFINITY, 2};
  const double too_large[] = {1e308, 1e308};
  double sums[2];
  FAILS(fc_exact_sums(comm, with_nan, 3, 2, sums), NUMERIC,
        "a sum over devices (column 1) is not finite");
  FAILS(fc_exact_sums(comm, with_inf, 1, 2, sums), NUMERIC,
        "a sum over devices (column 0) is not finite");
  FAILS(fc_exact_sums(comm, too_large, 2, 1, sums), NUMERIC,
        "a sum over devices (column 0) is not finite");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(scale_is_the_largest_power_of_two),
    cmocka_unit_test(scale_of_nothing_and_of_the_tiniest),
    cmocka_unit_test(whole_numbers_are_summed_exactly),
    cmocka_unit_test(cancellation_loses_nothing),
    cmocka_unit_test(the_smallest_stands_beside_the_largest),
    cmocka_unit_test(order_does_not_matter),
    cmocka_unit_test(sixteen_columns_keep_apart),
    cmocka_unit_test(zero_columns_and_no_rows_give_zero),
    cmocka_unit_test(what_is_not_finite_is_told),
};
SINGLE_RANK_MAIN(tests)
