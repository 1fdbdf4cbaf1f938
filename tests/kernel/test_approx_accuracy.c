/* The vectorisable exp, tanh and normal distribution function against libm in double, over the
 * whole range of f32, and the activations built on them. */
#include "approx.h"
#include "kernel_test.h"
#include <float.h>

/* Largest |f(x) - exact(x)| / (|exact(x)| + floor) over `count` points of [low, high]. NaN stays.
 */
typedef double (*exact_function)(double x);
typedef float (*fast_function)(float x);
static double largest_error(fast_function f, exact_function exact, double low, double high,
                            double floor) {
  enum { COUNT = 400001 };
  double largest = 0.0;
  for (int i = 0; i < COUNT; i++) {
    const float x = (float)(low + (high - low) * i / (COUNT - 1));
    const double e = exact(x), error = fabs(f(x) - e) / (fabs(e) + floor);
    if (!(error <= largest)) largest = error;
    if (isnan(error)) return NAN;
  }
  return largest;
}

static void exp_is_accurate(void **state) {
  (void)state;
  assert_true(largest_error(fc_exp, exp, -87.3, 88.7, 0) <= 1e-7);
  assert_true(largest_error(fc_exp, exp, -1, 1, 0) <= 1e-7);
  /* denormal results: within one unit of the last place */
  assert_true(largest_error(fc_exp, exp, -104, -87.3, FLT_MIN) <= 1.2e-7);
}

static void exp_extremes(void **state) {
  (void)state;
  assert_true(fc_exp(0.0f) == 1.0f);
  assert_true(fc_exp(-0.0f) == 1.0f);
  assert_true(fc_exp(-INFINITY) == 0.0f);
  assert_true(fc_exp(-FLT_MAX) == 0.0f);
  assert_true(fc_exp(-105.0f) == 0.0f);
  assert_true(fc_exp(INFINITY) == INFINITY);
  assert_true(fc_exp(FLT_MAX) == INFINITY);
  assert_true(fc_exp(89.0f) == INFINITY);
  assert_true(isnan(fc_exp(NAN)));
  assert_true(isnan(fc_exp(-NAN)));
}

static void exp_of_negative_is_accurate(void **state) {
  (void)state;
  assert_true(largest_error(fc_exp_negative, exp, -87, 1e-3, 0) <=
              1e-7); /* a little above 0, too */
  assert_true(fc_exp_negative(0.0f) == 1.0f);
  assert_true(fc_exp_negative(-87.1f) == 0.0f);
  assert_true(fc_exp_negative(-FLT_MAX) == 0.0f);
  assert_true(fc_exp_negative(-INFINITY) == 0.0f);
  assert_true(isnan(fc_exp_negative(NAN)));
}

static void tanh_is_accurate(void **state) {
  (void)state;
  assert_true(largest_error(fc_tanh, tanh, -20, 20, 1e-40) <= 2e-7);
  assert_true(largest_error(fc_tanh, tanh, -0.7, 0.7, 1e-40) <= 2e-7);
  assert_true(largest_error(fc_tanh, tanh, -1e-6, 1e-6, 1e-45) <= 1.2e-7);
  assert_true(fc_tanh(INFINITY) == 1.0f);
  assert_true(fc_tanh(-INFINITY) == -1.0f);
  assert_true(fc_tanh(FLT_MAX) == 1.0f);
  assert_true(isnan(fc_tanh(NAN)));
}

static double normal_cdf_exact(double x) {
  return 0.5 * erfc(-x * M_SQRT1_2);
}

static float normal_cdf(float x) {
  float gauss;
  return fc_normal_cdf(x, &gauss);
}

static void normal_cdf_is_accurate(void **state) {
  (void)state;
  /* the square in exp(-x^2/2) costs x^2/2 units of the last place far out in the tail */
  assert_true(largest_error(normal_cdf, normal_cdf_exact, -5, 15, 0) <= 2e-6);
  assert_true(largest_error(normal_cdf, normal_cdf_exact, -13, -5, 0) <= 8e-6);
  assert_true(normal_cdf(INFINITY) == 1.0f);
  assert_true(normal_cdf(-INFINITY) == 0.0f);
  assert_true(isnan(normal_cdf(NAN)));
}

/* ---- activations ----------------------------------------------------------------------------- */

static const fc_act acts[] = {FC_ACT_GELU_TANH, FC_ACT_GELU_ERF, FC_ACT_TANH, FC_ACT_RELU};

/* Errors of forward and backward relative to the value, with a floor of 1e-9. */
static void activations_match_twin(void **state) {
  (void)state;
  enum { COUNT = 100003 };
  float *x = zeros(COUNT), *y = zeros(COUNT), *expected = zeros(COUNT);
  const float *dy = normals(COUNT, 1, 1);
  for (int i = 0; i < COUNT; i++) x[i] = -25.0f + 50.0f * (float)i / (COUNT - 1);
  for (int a = 0; a < LENGTH_OF(acts); a++) {
    fc_k_act_fwd(y, x, acts[a], COUNT);
    fc_k_act_fwd_ref(expected, x, acts[a], COUNT);
    assert_close(y, expected, COUNT, 1e-11, 2e-6);
    fc_k_act_bwd(y, dy, x, acts[a], COUNT);
    fc_k_act_bwd_ref(expected, dy, x, acts[a], COUNT);
    assert_close(y, expected, COUNT, 1e-6, 2e-6);
  }
}

static void activations_of_odd_lengths_and_in_place(void **state) {
  (void)state;
  for (int n = 0; n < 70; n++)
    for (int a = 0; a < LENGTH_OF(acts); a++) {
      const float *x = normals(n, 2, 7), *dy = normals(n, 1, 8);
      float *y = copy_of(x, n), *expected = zeros(n), *dx = copy_of(dy, n);
      fc_k_act_fwd(y, y, acts[a], n);
      fc_k_act_fwd_ref(expected, x, acts[a], n);
      assert_close(y, expected, n, 1e-7, 2e-6);
      fc_k_act_bwd(dx, dx, x, acts[a], n);
      fc_k_act_bwd_ref(expected, dy, x, acts[a], n);
      assert_close(dx, expected, n, 1e-6, 2e-6);
      free_arrays();
    }
}

static void activations_at_extremes(void **state) {
  (void)state;
  const float huge = FLT_MAX;
  const struct {
    fc_act act;
    float x, y, slope;
  } cases[] = {
      {FC_ACT_GELU_TANH, 0, 0, 0.5f},
      {FC_ACT_GELU_TANH, huge, huge, 1},
      {FC_ACT_GELU_TANH, -huge, 0, 0},
      {FC_ACT_GELU_TANH, INFINITY, INFINITY, 1},
      {FC_ACT_GELU_ERF, 0, 0, 0.5f},
      {FC_ACT_GELU_ERF, huge, huge, 1},
      {FC_ACT_GELU_ERF, -huge, 0, 0},
      {FC_ACT_GELU_ERF, INFINITY, INFINITY, 1},
      {FC_ACT_TANH, 0, 0, 1},
      {FC_ACT_TANH, INFINITY, 1, 0},
      {FC_ACT_TANH, -huge, -1, 0},
      {FC_ACT_RELU, -1e-30f, 0, 0},
      {FC_ACT_RELU, INFINITY, INFINITY, 1},
      {FC_ACT_RELU, 0, 0, 0},
  };
  for (int i = 0; i < LENGTH_OF(cases); i++) {
    const float one = 1.0f;
    float y, dx;
    fc_k_act_fwd(&y, &cases[i].x, cases[i].act, 1);
    fc_k_act_bwd(&dx, &one, &cases[i].x, cases[i].act, 1);
    if (!(y == cases[i].y || fabsf(y) < 1e-30f) || !(fabsf(dx - cases[i].slope) <= 1e-7f))
      fail_msg("case %d: x %g gives y %g, slope %g", i, cases[i].x, y, dx);
    fc_k_act_fwd_ref(&y, &cases[i].x, cases[i].act, 1);
    fc_k_act_bwd_ref(&dx, &one, &cases[i].x, cases[i].act, 1);
    if (!(y == cases[i].y || fabsf(y) < 1e-30f) || !(fabsf(dx - cases[i].slope) <= 1e-7f))
      fail_msg("case %d of the twin: x %g gives y %g, slope %g", i, cases[i].x, y, dx);
  }
}

static void activations_keep_nan(void **state) {
  (void)state;
  for (int a = 0; a < LENGTH_OF(acts); a++)
    for (int at = 0; at < 40; at++) {
      float x[40], dy[40], y[40];
      for (int i = 0; i < 40; i++) x[i] = i == at ? NAN : -1.0f, dy[i] = 1.0f;
      fc_k_act_fwd(y, x, acts[a], 40);
      for (int i = 0; i < 40; i++) assert_int_equal(isnan(y[i]) != 0, i == at);
      fc_k_act_bwd(y, dy, x, acts[a], 40);
      for (int i = 0; i < 40; i++) assert_int_equal(isnan(y[i]) != 0, i == at);
      x[at] = -1.0f;
      dy[at] = NAN;
      fc_k_act_bwd(y, dy, x, acts[a], 40);
      for (int i = 0; i < 40; i++) assert_int_equal(isnan(y[i]) != 0, i == at);
    }
}

typedef struct {
  fc_act act;
  float *x, *y, *projection;
} point_set;

static double activation_value(void *context) {
  point_set *p = context;
  fc_k_act_fwd_ref(p->y, p->x, p->act, 40);
  return project(p->y, p->projection, 40);
}

static void activation_backward_is_the_derivative(void **state) {
  (void)state;
  for (int a = 0; a < LENGTH_OF(acts); a++) {
    point_set p = {.act = acts[a], .x = normals(40, 1.5, 3), .y = zeros(40)};
    for (int i = 0; i < 40; i++) /* keep away from ReLU's kink */
      if (fabsf(p.x[i]) < 0.02f) p.x[i] = 0.5f;
    p.projection = normals(40, 1, 4);
    float *dx = zeros(40);
    fc_k_act_bwd(dx, p.projection, p.x, p.act, 40);
    assert_gradient(activation_value, &p, p.x, dx, 40, 0.01f, 3e-4);
    free_arrays();
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      KERNEL_TEST(exp_is_accurate),
      KERNEL_TEST(exp_extremes),
      KERNEL_TEST(exp_of_negative_is_accurate),
      KERNEL_TEST(tanh_is_accurate),
      KERNEL_TEST(normal_cdf_is_accurate),
      KERNEL_TEST(activations_match_twin),
      KERNEL_TEST(activations_of_odd_lengths_and_in_place),
      KERNEL_TEST(activations_at_extremes),
      KERNEL_TEST(activations_keep_nan),
      KERNEL_TEST(activation_backward_is_the_derivative),
  };
  return cmocka_run_group_tests_name("approx_accuracy", tests, NULL, NULL);
}
