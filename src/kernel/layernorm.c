/* layernorm.c - layer normalisation [Ba+ 2016, (4)], row by row: mean and variance in two passes.
 */
#include "kernel.h"
#include <math.h>

FC_K_CLONES
void fc_k_layernorm_fwd(float *y, float *mean, float *rstd, const float *x, const float *gamma,
                        const float *beta, float eps, int64_t N, int C) {
  for (int64_t n = 0; n < N; n++, x += C, y += C) {
    float sum = 0.0f, squares = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int c = 0; c < C; c++) sum += x[c];
    const float m = sum / (float)C;
#pragma omp simd reduction(+ : squares)
    for (int c = 0; c < C; c++) squares += (x[c] - m) * (x[c] - m);
    const float r = 1.0f / sqrtf(squares / (float)C + eps);
#pragma omp simd
    for (int c = 0; c < C; c++) y[c] = (x[c] - m) * r * gamma[c] + beta[c];
    mean[n] = m;
    rstd[n] = r;
  }
}

void fc_k_layernorm_fwd_ref(float *y, float *mean, float *rstd, const float *x, const float *gamma,
                            const float *beta, float eps, int64_t N, int C) {
  for (int64_t n = 0; n < N; n++) {
    const float *row = x + n * C;
    double m = 0.0, variance = 0.0;
    for (int c = 0; c < C; c++) m += row[c];
    m /= C;
    for (int c = 0; c < C; c++) variance += (row[c] - m) * (row[c] - m);
    variance /= C;
    double r = 1.0 / sqrt(variance + eps);
    for (int c = 0; c < C; c++) y[n * C + c] = (float)((row[c] - m) * r * gamma[c] + beta[c]);
    mean[n] = (float)m;
    rstd[n] = (float)r;
  }
}

/* With h = (x - mean) rstd and g = dy gamma: dx += rstd (g - mean(g) - h mean(g h)). */
FC_K_CLONES
static void add_dx(float *dx, const float *dy, const float *x, const float *gamma,
                   const float *mean, const float *rstd, int64_t N, int C) {
  for (int64_t n = 0; n < N; n++, dx += C, dy += C, x += C) {
    const float m = mean[n], r = rstd[n];
    float sum_g = 0.0f, sum_gh = 0.0f;
#pragma omp simd reduction(+ : sum_g, sum_gh)
    for (int c = 0; c < C; c++) {
      const float g = dy[c] * gamma[c];
      sum_g += g;
      sum_gh += g * ((x[c] - m) * r);
    }
    const float mean_g = sum_g / (float)C, mean_gh = sum_gh / (float)C;
#pragma omp simd
    for (int c = 0; c < C; c++) dx[c] += r * (dy[c] * gamma[c] - mean_g - (x[c] - m) * r * mean_gh);
  }
}

FC_K_CLONES
static void add_dgamma(float *restrict dgamma, const float *dy, const float *x, const float *mean,
                       const float *rstd, int64_t N, int C) {
  for (int64_t n = 0; n < N; n++, dy += C, x += C) {
    const float m = mean[n], r = rstd[n];
#pragma omp simd
    for (int c = 0; c < C; c++) dgamma[c] += dy[c] * ((x[c] - m) * r);
  }
}

FC_K_CLONES
static void add_dbeta(float *restrict dbeta, const float *dy, int64_t N, int C) {
  for (int64_t n = 0; n < N; n++, dy += C)
#pragma omp simd
    for (int c = 0; c < C; c++) dbeta[c] += dy[c];
}

void fc_k_layernorm_bwd(float *dx, float *dgamma, float *dbeta, const float *dy, const float *x,
                        const float *gamma, const float *mean, const float *rstd, int64_t N,
                        int C) {
  add_dx(dx, dy, x, gamma, mean, rstd, N, C);
  if (dgamma) add_dgamma(dgamma, dy, x, mean, rstd, N, C);
  if (dbeta) add_dbeta(dbeta, dy, N, C);
}

void fc_k_layernorm_bwd_ref(float *dx, float *dgamma, float *dbeta, const float *dy, const float *x,
                            const float *gamma, const float *mean, const float *rstd, int64_t N,
                            int C) {
  for (int64_t n = 0; n < N; n++) {
    double mean_g = 0.0, mean_gh = 0.0;
    for (int c = 0; c < C; c++) {
      double h = ((double)x[n * C + c] - mean[n]) * rstd[n];
      double g = (double)dy[n * C + c] * gamma[c];
      mean_g += g / C;
      mean_gh += g * h / C;
    }
    for (int c = 0; c < C; c++) {
      double h = ((double)x[n * C + c] - mean[n]) * rstd[n];
      double g = (double)dy[n * C + c] * gamma[c];
      dx[n * C + c] = (float)(dx[n * C + c] + rstd[n] * (g - mean_g - h * mean_gh));
    }
  }
  for (int c = 0; c < C; c++) {
    double sum_gamma = 0.0, sum_beta = 0.0;
    for (int64_t n = 0; n < N; n++) {
      sum_gamma += dy[n * C + c] * (((double)x[n * C + c] - mean[n]) * rstd[n]);
      sum_beta += dy[n * C + c];
    }
    if (dgamma) dgamma[c] = (float)(dgamma[c] + sum_gamma);
    if (dbeta) dbeta[c] = (float)(dbeta[c] + sum_beta);
  }
}
