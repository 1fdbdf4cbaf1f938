/* Optimiser steps, sums, checks and fixed point. */
#include "kernel_test.h"
#include <float.h>
#include <omp.h>

static const int lengths[] = {0, 1, 5, 16, 63, 64, 100, 5000};

/* Three steps from w = 1 with gradients 0.5, -1, 2 worked out in double by the formulas of
 * torch.optim.AdamW: lr 0.1, betas 0.9 and 0.999, eps 1e-8, decay 0.01. */
static void adamw_by_hand(void **state) {
  (void)state;
  const fc_adamw o = {0.1f, 0.9f, 0.999f, 1e-8f, 0.01f};
  const float gradients[3] = {0.5f, -1.0f, 2.0f};
  const double expected_w[3] = {0.899, 0.934711352, 0.891811079};
  float w[2] = {1, 1}, m[2] = {0}, v[2] = {0};
  for (int t = 0; t < 3; t++) {
    fc_k_adamw(w, m, v, &gradients[t], o, t + 1, 1);
    fc_k_adamw_ref(w + 1, m + 1, v + 1, &gradients[t], o, t + 1, 1);
    for (int i = 0; i < 2; i++)
      if (!(fabs(w[i] - expected_w[t]) <= 1e-6))
        fail_msg("step %d: w is %.8g, expected %.8g", t + 1, w[i], expected_w[t]);
  }
  assert_true(fabs(m[0] - (0.081 * 0.5 - 0.09 + 0.1 * 2)) <= 1e-7); /* 0.1 (0.81, 0.9, 1) g */
}

static void adamw_matches_twin(void **state) {
  (void)state;
  const fc_adamw o = {0.01f, 0.9f, 0.99f, 1e-8f, 0.1f};
  for (int l = 0; l < LENGTH_OF(lengths); l++) {
    const int n = lengths[l];
    float *w = normals(n, 1, 1), *m = zeros(n), *v = zeros(n);
    float *w_ref = copy_of(w, n), *m_ref = zeros(n), *v_ref = zeros(n);
    for (int t = 1; t <= 5; t++) {
      const float *dw = normals(n, 1, 10 + (uint64_t)t);
      fc_k_adamw(w, m, v, dw, o, t, n);
      fc_k_adamw_ref(w_ref, m_ref, v_ref, dw, o, t, n);
    }
    assert_close(w, w_ref, n, 1e-6, 2e-6);
    assert_close(m, m_ref, n, 1e-7, 2e-6);
    assert_close(v, v_ref, n, 1e-7, 2e-6);
    free_arrays();
  }
}

/* lr 0.1, momentum 0.9, decay 0.5, from w = 1:
 * g = 1.5, v = 1.5, w = 0.85; g = -0.575, v = 0.775, w = 0.7725; g = 2.38625, v = 3.08375,
 * w = 0.464125. */
static void sgd_by_hand(void **state) {
  (void)state;
  const fc_sgd o = {0.1f, 0.9f, 0.5f}, plain = {0.1f, 0.0f, 0.5f};
  const float gradients[3] = {1, -1, 2};
  const double expected[3] = {0.85, 0.7725, 0.464125};
  /* w -= 0.1 (g + 0.5 w): 0.85, 0.9075, 0.662125 */
  const double expected_plain[3] = {0.85, 0.9075, 0.662125};
  float w[2] = {1, 1}, v[2] = {7, 7}, w_plain[2] = {1, 1}; /* v of before step 1 is not used */
  for (int t = 0; t < 3; t++) {
    fc_k_sgd(w, v, &gradients[t], o, t + 1, 1);
    fc_k_sgd_ref(w + 1, v + 1, &gradients[t], o, t + 1, 1);
    fc_k_sgd(w_plain, NULL, &gradients[t], plain, t + 1, 1);
    fc_k_sgd_ref(w_plain + 1, NULL, &gradients[t], plain, t + 1, 1);
    for (int i = 0; i < 2; i++) {
      assert_true(fabs(w[i] - expected[t]) <= 1e-6);
      assert_true(fabs(w_plain[i] - expected_plain[t]) <= 1e-6);
    }
  }
}

static void sgd_matches_twin(void **state) {
  (void)state;
  for (int l = 0; l < LENGTH_OF(lengths); l++)
    for (int momentum = 0; momentum < 2; momentum++) {
      const fc_sgd o = {0.01f, momentum ? 0.9f : 0.0f, 0.1f};
      const int n = lengths[l];
      float *w = normals(n, 1, 1), *v = zeros(n), *w_ref = copy_of(w, n), *v_ref = zeros(n);
      for (int t = 1; t <= 4; t++) {
        const float *dw = normals(n, 1, 10 + (uint64_t)t);
        fc_k_sgd(w, v, dw, o, t, n);
        fc_k_sgd_ref(w_ref, v_ref, dw, o, t, n);
      }
      assert_close(w, w_ref, n, 1e-6, 1e-6);
      assert_close(v, v_ref, n, 1e-6, 1e-6);
      free_arrays();
    }
}

static void nan_gradient_spoils_its_weight_only(void **state) {
  (void)state;
  enum { n = 40 };
  float *w = normals(n, 1, 1), *m = zeros(n), *v = zeros(n), *dw = normals(n, 1, 2);
  dw[17] = NAN;
  fc_k_adamw(w, m, v, dw, (fc_adamw){0.1f, 0.9f, 0.999f, 1e-8f, 0}, 1, n);
  for (int i = 0; i < n; i++) assert_int_equal(isnan(w[i]) != 0, i == 17);
  w = normals(n, 1, 1);
  fc_k_sgd(w, v, dw, (fc_sgd){0.1f, 0.9f, 0}, 1, n);
  for (int i = 0; i < n; i++) assert_int_equal(isnan(w[i]) != 0, i == 17);
}

/* ---- vectors --------------------------------------------------------------------------------- */

static void scale_and_axpy_match_twin(void **state) {
  (void)state;
  for (int l = 0; l < LENGTH_OF(lengths); l++) {
    const int n = lengths[l];
    const float *x = normals(n, 1, 1);
    float *y = normals(n, 1, 2), *y_ref = copy_of(y, n);
    fc_k_axpy(y, 0.3f, x, n);
    fc_k_axpy_ref(y_ref, 0.3f, x, n);
    assert_close(y, y_ref, n, 2e-7, 2e-7);
    fc_k_scale(y, -1.7f, n);
    fc_k_scale_ref(y_ref, -1.7f, n);
    assert_close(y, y_ref, n, 5e-7, 5e-7);
    free_arrays();
  }
}

static void sum_squares_is_exact_enough(void **state) {
  (void)state;
  for (int l = 0; l < LENGTH_OF(lengths); l++) {
    const int n = 3 * lengths[l];
    const float *x = normals(n, 1, 1);
    long double exact = 0;
    for (int i = 0; i < n; i++) exact += (long double)x[i] * x[i];
    assert_true(fabs(fc_k_sum_squares(x, n) - (double)exact) <= 1e-13 * (double)exact);
    free_arrays();
  }
  float *x = normals(5000, 1, 1);
  x[4999] = NAN;
  assert_true(isnan(fc_k_sum_squares(x, 5000)));
  x[4999] = 2e38f; /* its square fits a double only */
  assert_true(fc_k_sum_squares(x, 5000) > 3.9e76);
}

static void checks_find_what_is_not_finite(void **state) {
  (void)state;
  enum { n = 3000 };
  float *x = normals(n, 1, 1);
  assert_int_equal(fc_k_first_not_finite(x, n), n);
  assert_int_equal(fc_k_first_not_finite(x, 0), 0);
  assert_true(fc_k_max_abs(x, 0) == 0.0f);
  for (int at = 0; at < n; at += 97) {
    const float kept = x[at];
    x[at] = at % 2 ? -INFINITY : NAN;
    assert_int_equal(fc_k_first_not_finite(x, n), at);
    assert_int_equal(fc_k_first_not_finite(x, at), at);
    assert_true(at % 2 ? fc_k_max_abs(x, n) == INFINITY : isnan(fc_k_max_abs(x, n)));
    x[at] = -FLT_MAX; /* large, but a number */
    assert_int_equal(fc_k_first_not_finite(x, n), n);
    assert_true(fc_k_max_abs(x, n) == FLT_MAX);
    x[at] = kept;
  }
}

/* ---- fixed point ----------------------------------------------------------------------------- */

/* Rows of all magnitudes, one of weight 0 that holds what must not be looked at. */
static void fixed_sums_match_twin(void **state) {
  (void)state;
  enum { ROWS = 5 };
  const double weight[ROWS] = {0.37, 1.0, 0.0, 1.0 / 3.0, 1e-9};
  for (int l = 0; l < LENGTH_OF(lengths); l++) {
    const int n = lengths[l], ldx = n + 3;
    float *x = zeros(ROWS * ldx);
    for (int k = 0; k < ROWS; k++) {
      const float *row = normals(n, ldexp(1.0, 8 * k), 1 + (uint64_t)k);
      for (int i = 0; i < n; i++) x[k * ldx + i] = weight[k] == 0 ? NAN : row[i];
    }
    for (int with_base = 0; with_base < 2; with_base++) {
      const float *base = with_base ? normals(n, 1.0, 99) : NULL;
      int64_t *sum = new_array(n, sizeof *sum), *sum_ref = new_array(n, sizeof *sum);
      for (int i = 0; i < n; i++) sum[i] = sum_ref[i] = i;
      fc_k_fixed_sum(sum, x, ldx, base, weight, ROWS, 0x1p20, n);
      fc_k_fixed_sum_ref(sum_ref, x, ldx, base, weight, ROWS, 0x1p20, n);
      for (int i = 0; i < n; i++) assert_true(sum[i] == sum_ref[i]);
      float *got = zeros(n), *got_ref = zeros(n);
      fc_k_fixed_get(got, sum, 0x1p20, n);
      fc_k_fixed_get_ref(got_ref, sum, 0x1p20, n);
      assert_same_bits(got, got_ref, n);
    }
    free_arrays();
  }
}

/* Large enough for threads; sums are the twin's for any number of them. */
static void fixed_sums_do_not_see_threads(void **state) {
  (void)state;
  enum { ROWS = 30, n = 20011 };
  double weight[ROWS];
  const float *x = normals(ROWS * n, 1, 3), *base = normals(n, 1, 4);
  int64_t *expected = new_array(n, sizeof *expected);
  for (int r = 0; r < ROWS; r++) weight[r] = (r + 1) / 465.0;
  fc_k_fixed_sum_ref(expected, x, n, base, weight, ROWS, 0x1p50, n);
  for (int threads = 1; threads <= 4; threads++) {
    int64_t *sum = new_array(n, sizeof *sum);
    omp_set_num_threads(threads);
    fc_k_fixed_sum(sum, x, n, base, weight, ROWS, 0x1p50, n);
    assert_memory_equal(sum, expected, n * sizeof *sum);
  }
}

static void fixed_point_rounds_and_restores(void **state) {
  (void)state;
  /* halves go to even; values beyond 2^52 pass unrounded */
  const float x[] = {0.5f, 1.5f, -0.5f, -2.5f, 0x1p60f, -0x1p60f, 0.49f, -0.0f};
  const int64_t expected[] = {0, 2, 0, -2, (int64_t)1 << 60, -((int64_t)1 << 60), 0, 0};
  const double one = 1.0;
  int64_t sum[8] = {0};
  fc_k_fixed_sum(sum, x, 8, NULL, &one, 1, 1.0, 8);
  for (int i = 0; i < 8; i++) assert_true(sum[i] == expected[i]);
  float back[8];
  fc_k_fixed_get(back, sum, 4.0, 8);
  assert_true(back[1] == 0.5f && back[4] == 0x1p58f);
}

/* The point of fixed point: any order gives the same bits. */
static void fixed_point_sums_in_any_order(void **state) {
  (void)state;
  enum { n = 100, DEVICES = 40 };
  const double third = 1.0 / 3.0;
  int64_t *up = new_array(n, 8), *down = new_array(n, 8);
  const float *x = normals(n * DEVICES, 1, 1);
  for (int d = 0; d < DEVICES; d++) {
    fc_k_fixed_sum(up, x + d * n, n, NULL, &third, 1, 0x1p40, n);
    fc_k_fixed_sum(down, x + (DEVICES - 1 - d) * n, n, NULL, &third, 1, 0x1p40, n);
  }
  for (int i = 0; i < n; i++) assert_true(up[i] == down[i]);
  float *mean = zeros(n);
  fc_k_fixed_get(mean, up, 0x1p40, n);
  for (int i = 0; i < n; i++) {
    double exact = 0.0;
    for (int d = 0; d < DEVICES; d++) exact += x[d * n + i] / 3.0;
    assert_true(fabs(mean[i] - exact) <= 1e-6);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      KERNEL_TEST(adamw_by_hand),
      KERNEL_TEST(adamw_matches_twin),
      KERNEL_TEST(sgd_by_hand),
      KERNEL_TEST(sgd_matches_twin),
      KERNEL_TEST(nan_gradient_spoils_its_weight_only),
      KERNEL_TEST(scale_and_axpy_match_twin),
      KERNEL_TEST(sum_squares_is_exact_enough),
      KERNEL_TEST(checks_find_what_is_not_finite),
      KERNEL_TEST(fixed_sums_match_twin),
      KERNEL_TEST(fixed_sums_do_not_see_threads),
      KERNEL_TEST(fixed_point_rounds_and_restores),
      KERNEL_TEST(fixed_point_sums_in_any_order),
  };
  return cmocka_run_group_tests_name("vector_updates", tests, NULL, NULL);
}
