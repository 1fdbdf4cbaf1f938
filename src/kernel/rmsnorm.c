/* rmsnorm.c - root-mean-square normalisation [Zhang+Sennrich 2019, (4)], row by row: layer
 * normalisation without its mean and shift. */
#include "kernel.h"
#include <math.h>

FC_K_CLONES
void fc_k_rmsnorm_fwd(float *y, float *rrms, const float *x, const float *gamma, float eps,
                      int64_t N, int C) {
  for (int64_t n = 0; n < N; n++, x += C, y += C) {
    float squares = 0.0f;
#pragma omp simd reduction(+ : squares)
    for (int c = 0; c < C; c++) squares += x[c] * x[c];
    const float r = 1.0f / sqrtf(squares / (float)C + eps);
#pragma omp simd
    for (int c = 0; c < C; c++) y[c] = x[c] * r * gamma[c];
    rrms[n] = r;
  }
}

void fc_k_rmsnorm_fwd_ref(float *y, float *rrms, const float *x, const float *gamma, float eps,
                          int64_t N, int C) {
  for (int64_t n = 0; n < N; n++) {
    double squares = 0.0;
    for (int c = 0; c < C; c++) squares += (double)x[n * C + c] * x[n * C + c];
    double r = 1.0 / sqrt(squares / C + eps);
    for (int c = 0; c < C; c++) y[n * C + c] = (float)(x[n * C + c] * r * gamma[c]);
    rrms[n] = (float)r;
  }
}

/* With h = x r and g = dy gamma: dx += r (g - h mean(g h)). */
FC_K_CLONES
static void add_dx(float *dx, const float *dy, const float *x, const float *gamma,
                   const float *rrms, int64_t N, int C) {
  for (int64_t n = 0; n < N; n++, dx += C, dy += C, x += C) {
    const float r = rrms[n];
    float sum_gh = 0.0f;
#pragma omp simd reduction(+ : sum_gh)
    for (int c = 0; c < C; c++) sum_gh += dy[c] * gamma[c] * (x[c] * r);
    const float mean_gh = sum_gh / (float)C;
#pragma omp simd
    for (int c = 0; c < C; c++) dx[c] += r * (dy[c] * gamma[c] - x[c] * r * mean_gh);
  }
}

FC_K_CLONES
static void add_dgamma(float *restrict dgamma, const float *dy, const float *x, const float *rrms,
                       int64_t N, int C) {
  for (int64_t n = 0; n < N; n++, dy += C, x += C) {
    const float r = rrms[n];
#pragma omp simd
    for (int c = 0; c < C; c++) dgamma[c] += dy[c] * (x[c] * r);
  }
}

void fc_k_rmsnorm_bwd(float *dx, float *dgamma, const float *dy, const float *x, const float *gamma,
                      const float *rrms, int64_t N, int C) {
  add_dx(dx, dy, x, gamma, rrms, N, C);
  if (dgamma) add_dgamma(dgamma, dy, x, rrms, N, C);
}

void fc_k_rmsnorm_bwd_ref(float *dx, float *dgamma, const float *dy, const float *x,
                          const float *gamma, const float *rrms, int64_t N, int C) {
  for (int64_t n = 0; n < N; n++) {
    double r = rrms[n], mean_gh = 0.0;
    for (int c = 0; c < C; c++) mean_gh += (double)dy[n * C + c] * gamma[c] * x[n * C + c] * r / C;
    for (int c = 0; c < C; c++) {
      double g = (double)dy[n * C + c] * gamma[c];
      dx[n * C + c] = (float)(dx[n * C + c] + r * (g - x[n * C + c] * r * mean_gh));
    }
  }
  for (int c = 0; dgamma && c < C; c++) {
    double sum = 0.0;
    for (int64_t n = 0; n < N; n++) sum += (double)dy[n * C + c] * x[n * C + c] * rrms[n];
    dgamma[c] = (float)(dgamma[c] + sum);
  }
}
