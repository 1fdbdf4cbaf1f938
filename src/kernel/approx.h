/* approx.h - exp, tanh and the normal distribution function, written so that loops over them
 * vectorise: no calls, no branches, no tables. Coefficients are minimax fits (Lawson iteration) of
 * the named functions on the named intervals; the bounds are relative. NaN gives NaN.
 * tests/kernel/test_kernel_approx.c holds them against libm over the whole range. */
#ifndef FC_KERNEL_APPROX_H
#define FC_KERNEL_APPROX_H

#include "kernel.h"

static inline float fc_float_of_bits(uint32_t u) {
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}

static inline uint32_t fc_bits_of_float(float f) {
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  return u;
}

/* exp(x) = 2^n p, |r| <= ln(2)/2, p = exp(r). *n holds n + 1.5 2^23 as bits of a float: adding that
 * number rounds to an integer in the low bits. x must be within [-120, 100] or NaN. */
static inline float fc_exp_parts(float x, uint32_t *n) {
  const float round = 12582912.0f;
  const float ln2_high = 0.693145752f, ln2_low = 1.42860677e-6f;
  float z = FC_K_FMA(x, 1.44269504f, round);
  float whole = z - round;
  float r = FC_K_FMA(whole, -ln2_high, x);
  r = FC_K_FMA(whole, -ln2_low, r);
  float p = 0.0013814611f;
  p = FC_K_FMA(p, r, 0.00836871004f);
  p = FC_K_FMA(p, r, 0.0416683874f);
  p = FC_K_FMA(p, r, 0.166665207f);
  p = FC_K_FMA(p, r, 0.499999935f);
  p = FC_K_FMA(p, r, 1.0f);
  *n = fc_bits_of_float(z) - 0x4b400000u;
  return FC_K_FMA(p, r, 1.0f);
}

/* exp over all of f32. The two halves of 2^n are multiplied one after the other, so that results
 * below FLT_MIN are denormal and those above FLT_MAX infinite, as libm's. Relative error <= 1e-7
 * for normal results. */
static inline float fc_exp(float x) {
  uint32_t n;
  /* comparisons that keep NaN; beyond these limits the result is 0 or infinite anyway */
  x = x > 100.0f ? 100.0f : x;
  x = x < -120.0f ? -120.0f : x;
  float p = fc_exp_parts(x, &n);
  uint32_t half = (uint32_t)((int32_t)n >> 1);
  float a = fc_float_of_bits((half + 127) << 23);
  float b = fc_float_of_bits((n - half + 127) << 23);
  return p * a * b;
}

/* exp for x <= 0, with 0 instead of denormal results: what a softmax or an odd function needs, and
 * a third cheaper. */
static inline float fc_exp_negative(float x) {
  uint32_t n;
  float c = x < -87.0f ? -87.0f : x;
  float e = fc_exp_parts(c, &n) * fc_float_of_bits((n + 127) << 23);
  return x < -87.0f ? 0.0f : e;
}

/* Odd polynomial near 0 (where 1 - exp cancels), (1 - e)/(1 + e) with e = exp(-2|x|) elsewhere. */
static inline float fc_tanh(float x) {
  float u = x * x;
  float p = 0.00206466204f;
  p = FC_K_FMA(p, u, -0.00809196439f);
  p = FC_K_FMA(p, u, 0.021666345f);
  p = FC_K_FMA(p, u, -0.0539405628f);
  p = FC_K_FMA(p, u, 0.133331579f);
  p = FC_K_FMA(p, u, -0.333333296f);
  float small = FC_K_FMA(x * u, p, x);
  float a = x < 0.0f ? -x : x;
  float e = fc_exp_negative(-2.0f * a);
  float large = (1.0f - e) / (1.0f + e);
  large = x < 0.0f ? -large : large;
  return a < 0.65f ? small : large;
}

/* Phi(x) = erfc(-x/sqrt 2)/2, the standard normal distribution function, and exp(-x^2/2), which the
 * density needs too. With z = |x|/sqrt 2 and t = 1/(1 + 0.4 z): erfc(z) = exp(-z^2) t P(t), P a fit
 * of erfcx(z)/t on z in [0, 10.5]. */
static inline float fc_normal_cdf(float x, float *gauss) {
  float a = x < 0.0f ? -x : x;
  a = a > 15.0f ? 15.0f : a;
  float t = 1.0f / FC_K_FMA(a, 0.282842712f, 1.0f);
  float p = 0.0421188099f;
  p = FC_K_FMA(p, t, -0.144552848f);
  p = FC_K_FMA(p, t, 0.0927857426f);
  p = FC_K_FMA(p, t, 0.0778417708f);
  p = FC_K_FMA(p, t, 0.0867876805f);
  p = FC_K_FMA(p, t, 0.190382741f);
  p = FC_K_FMA(p, t, 0.202661249f);
  p = FC_K_FMA(p, t, 0.226334287f);
  p = FC_K_FMA(p, t, 0.225640633f);
  float e = fc_exp_negative(-0.5f * a * a);
  float tail = 0.5f * e * t * p;
  *gauss = e;
  return x < 0.0f ? tail : 1.0f - tail;
}

#endif
