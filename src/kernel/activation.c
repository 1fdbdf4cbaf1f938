/* activation.c - GELU in both forms [Hendrycks+Gimpel 2016], tanh and ReLU.
 *
 * GELU is x Phi(x); its tanh form is x sigma(2u), u = sqrt(2/pi) (x + 0.044715 x^3), since
 * (1 + tanh u)/2 = sigma(2u), which loses no digits for negative x. Products, not selections, keep
 * NaN and infinities visible. */
#include "approx.h"
#include "kernel.h"
#include <math.h>

#define SQRT_2_OVER_PI   0.797884560802865f
#define INVERSE_SQRT_2PI 0.398942280401433f
#define GELU_CUBIC       0.044715f

/* Beyond this GELU's derivative is 0 or 1 in f32; keeps NaN. */
static inline float clamped(float x) {
  x = x > 15.0f ? 15.0f : x;
  return x < -15.0f ? -15.0f : x;
}

/* sigma(2u) = e/(1 + e) or 1/(1 + e) with e = exp(-2|u|). */
static inline float gelu_tanh_sigma(float x) {
  const float u = x * FC_K_FMA(x * x, 2.0f * SQRT_2_OVER_PI * GELU_CUBIC, 2.0f * SQRT_2_OVER_PI);
  const float e = fc_exp_negative(u < 0.0f ? u : -u);
  return (u < 0.0f ? e : 1.0f) / (1.0f + e);
}

FC_K_CLONES
static void gelu_tanh_fwd(float *y, const float *x, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) y[i] = x[i] * gelu_tanh_sigma(x[i]);
}

FC_K_CLONES
static void gelu_tanh_bwd(float *dx, const float *dy, const float *x, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    float c = clamped(x[i]);
    float s = gelu_tanh_sigma(c);
    float du = FC_K_FMA(c * c, 6.0f * SQRT_2_OVER_PI * GELU_CUBIC, 2.0f * SQRT_2_OVER_PI);
    dx[i] = dy[i] * FC_K_FMA(c * s * (1.0f - s), du, s);
  }
}

FC_K_CLONES
static void gelu_erf_fwd(float *y, const float *x, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    float gauss;
    y[i] = x[i] * fc_normal_cdf(x[i], &gauss);
  }
}

FC_K_CLONES
static void gelu_erf_bwd(float *dx, const float *dy, const float *x, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    float gauss, c = clamped(x[i]);
    float cdf = fc_normal_cdf(c, &gauss);
    dx[i] = dy[i] * FC_K_FMA(c * INVERSE_SQRT_2PI, gauss, cdf);
  }
}

FC_K_CLONES
static void tanh_fwd(float *y, const float *x, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) y[i] = fc_tanh(x[i]);
}

FC_K_CLONES
static void tanh_bwd(float *dx, const float *dy, const float *x, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    /* 1 - tanh^2 = 4 e/(1 + e)^2 with e = exp(-2|x|): no cancellation for large |x| */
    float e = fc_exp_negative(-2.0f * (x[i] < 0.0f ? -x[i] : x[i]));
    dx[i] = dy[i] * (4.0f * e / ((1.0f + e) * (1.0f + e)));
  }
}

FC_K_CLONES
static void relu_fwd(float *y, const float *x, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) y[i] = x[i] < 0.0f ? 0.0f : x[i];
}

FC_K_CLONES
static void relu_bwd(float *dx, const float *dy, const float *x, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    float step = x[i] > 0.0f ? 1.0f : 0.0f;
    dx[i] = dy[i] * (x[i] == x[i] ? step : x[i]);
  }
}

static const struct {
  void (*fwd)(float *y, const float *x, int64_t n);
  void (*bwd)(float *dx, const float *dy, const float *x, int64_t n);
} activations[] = {
    [FC_ACT_GELU_TANH] = {gelu_tanh_fwd, gelu_tanh_bwd},
    [FC_ACT_GELU_ERF] = {gelu_erf_fwd, gelu_erf_bwd},
    [FC_ACT_TANH] = {tanh_fwd, tanh_bwd},
    [FC_ACT_RELU] = {relu_fwd, relu_bwd},
};

void fc_k_act_fwd(float *y, const float *x, fc_act act, int64_t n) {
  activations[act].fwd(y, x, n);
}

void fc_k_act_bwd(float *dx, const float *dy, const float *x, fc_act act, int64_t n) {
  activations[act].bwd(dx, dy, x, n);
}

/* ---- reference twins ------------------------------------------------------------------------ */

static double value_ref(double x, fc_act act) {
  switch (act) {
  case FC_ACT_GELU_TANH:
    return x / (1.0 + exp(-2.0 * sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
  case FC_ACT_GELU_ERF:
    return 0.5 * x * erfc(-x * M_SQRT1_2);
  case FC_ACT_TANH:
    return tanh(x);
  case FC_ACT_RELU:
    return x < 0.0 ? 0.0 : x;
  }
  return NAN;
}

static double derivative_ref(double x, fc_act act) {
  switch (act) {
  case FC_ACT_GELU_TANH: {
    double c = x < -30.0 ? -30.0 : x > 30.0 ? 30.0 : x; /* 0 or 1 beyond, and no inf - inf */
    double s = 1.0 / (1.0 + exp(-2.0 * sqrt(2.0 / M_PI) * (c + 0.044715 * c * c * c)));
    return s + 2.0 * c * s * (1.0 - s) * sqrt(2.0 / M_PI) * (1.0 + 3.0 * 0.044715 * c * c);
  }
  case FC_ACT_GELU_ERF: {
    double c = x < -30.0 ? -30.0 : x > 30.0 ? 30.0 : x;
    return 0.5 * erfc(-c * M_SQRT1_2) + c * exp(-0.5 * c * c) / sqrt(2.0 * M_PI);
  }
  case FC_ACT_TANH:
    return 1.0 / (cosh(x) * cosh(x));
  case FC_ACT_RELU:
    return x > 0.0 ? 1.0 : x <= 0.0 ? 0.0 : x;
  }
  return NAN;
}

void fc_k_act_fwd_ref(float *y, const float *x, fc_act act, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = (float)value_ref(x[i], act);
}

void fc_k_act_bwd_ref(float *dx, const float *dy, const float *x, fc_act act, int64_t n) {
  for (int64_t i = 0; i < n; i++) dx[i] = (float)(dy[i] * derivative_ref(x[i], act));
}
