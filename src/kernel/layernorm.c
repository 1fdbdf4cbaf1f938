/* layernorm.c - layer normalisation [Ba+ 2016, (4)], row by row: mean and variance in two passes.
 */
#include "kernel.h"
#include <math.h>

FC_K_CLONES
static float sum_of(const float *x, int n) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int i = 0; i < n; i++) sum += x[i];
  return sum;
}

FC_K_CLONES
static float sum_of_squared_differences(const float *x, float mean, int n) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int i = 0; i < n; i++) sum += (x[i] - mean) * (x[i] - mean);
  return sum;
}

FC_K_CLONES
static void normalise_row(float *y, const float *x, const float *gamma, const float *beta,
                          float mean, float rstd, int n) {
#pragma omp simd
  for (int i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd * gamma[i] + beta[i];
}

void fc_k_layernorm_fwd(float *y, float *mean, float *rstd, const float *x, const float *gamma,
                        const float *beta, float eps, int64_t N, int C) {
  for (int64_t n = 0; n < N; n++) {
    const float *row = x + n * C;
    float m = sum_of(row, C) / (float)C;
    float variance = sum_of_squared_differences(row, m, C) / (float)C;
    mean[n] = m;
    rstd[n] = 1.0f / sqrtf(variance + eps);
    normalise_row(y + n * C, row, gamma, beta, m, rstd[n], C);
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

/* One row of the backward pass. With h = (x - mean) rstd and g = dy gamma:
 * dx += rstd (g - mean(g) - h mean(g h)). */
FC_K_CLONES
static void backward_row(float *dx, const float *dy, const float *x, const float *gamma, float mean,
                         float rstd, int n) {
  float sum_g = 0.0f, sum_gh = 0.0f;
#pragma omp simd reduction(+ : sum_g, sum_gh)
  for (int i = 0; i < n; i++) {
    float g = dy[i] * gamma[i];
    sum_g += g;
    sum_gh += g * ((x[i] - mean) * rstd);
  }
  float mean_g = sum_g / (float)n, mean_gh = sum_gh / (float)n;
#pragma omp simd
  for (int i = 0; i < n; i++) {
    float h = (x[i] - mean) * rstd;
    dx[i] += rstd * (dy[i] * gamma[i] - mean_g - h * mean_gh);
  }
}

FC_K_CLONES
static void add_dgamma(float *dgamma, const float *dy, const float *x, float mean, float rstd,
                       int n) {
#pragma omp simd
  for (int i = 0; i < n; i++) dgamma[i] += dy[i] * ((x[i] - mean) * rstd);
}

FC_K_CLONES
static void add_dbeta(float *dbeta, const float *dy, int n) {
#pragma omp simd
  for (int i = 0; i < n; i++) dbeta[i] += dy[i];
}

void fc_k_layernorm_bwd(float *dx, float *dgamma, float *dbeta, const float *dy, const float *x,
                        const float *gamma, const float *mean, const float *rstd, int64_t N,
                        int C) {
  for (int64_t n = 0; n < N; n++) {
    backward_row(dx + n * C, dy + n * C, x + n * C, gamma, mean[n], rstd[n], C);
    if (dgamma) add_dgamma(dgamma, dy + n * C, x + n * C, mean[n], rstd[n], C);
    if (dbeta) add_dbeta(dbeta, dy + n * C, C);
  }
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
