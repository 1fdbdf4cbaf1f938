/* swiglu.c - the gated activation silu(gate) up [Shazeer 2020, (6)], silu(x) = x sigma(x). */
#include "approx.h"
#include "kernel.h"
#include <math.h>

/* sigma(x) and 1 - sigma(x), each without cancellation. */
static inline float sigmoid(float x, float *rest) {
  const float e = fc_exp_negative(x < 0.0f ? x : -x), whole = 1.0f / (1.0f + e);
  *rest = (x < 0.0f ? 1.0f : e) * whole;
  return (x < 0.0f ? e : 1.0f) * whole;
}

FC_K_CLONES
void fc_k_swiglu_fwd(float *y, const float *x, int64_t N, int F) {
  for (int64_t n = 0; n < N; n++, x += 2 * (int64_t)F, y += F)
#pragma omp simd
    for (int f = 0; f < F; f++) {
      float rest;
      y[f] = x[f] * sigmoid(x[f], &rest) * x[F + f];
    }
}

void fc_k_swiglu_fwd_ref(float *y, const float *x, int64_t N, int F) {
  for (int64_t n = 0; n < N; n++)
    for (int f = 0; f < F; f++) {
      double gate = x[n * 2 * F + f], up = x[n * 2 * F + F + f];
      y[n * F + f] = (float)(gate / (1.0 + exp(-gate)) * up);
    }
}

/* silu'(x) = sigma (1 + x (1 - sigma)) */
FC_K_CLONES
void fc_k_swiglu_bwd(float *dx, const float *dy, const float *x, int64_t N, int F) {
  for (int64_t n = 0; n < N; n++, dx += 2 * (int64_t)F, x += 2 * (int64_t)F, dy += F)
#pragma omp simd
    for (int f = 0; f < F; f++) {
      float rest, s = sigmoid(x[f], &rest);
      dx[f] = dy[f] * x[F + f] * s * FC_K_FMA(x[f], rest, 1.0f);
      dx[F + f] = dy[f] * x[f] * s;
    }
}

void fc_k_swiglu_bwd_ref(float *dx, const float *dy, const float *x, int64_t N, int F) {
  for (int64_t n = 0; n < N; n++)
    for (int f = 0; f < F; f++) {
      double gate = x[n * 2 * F + f], up = x[n * 2 * F + F + f];
      double s = 1.0 / (1.0 + exp(-gate));
      dx[n * 2 * F + f] = (float)(dy[n * F + f] * up * (s + gate * s * (1.0 - s)));
      dx[n * 2 * F + F + f] = (float)(dy[n * F + f] * gate * s);
    }
}
