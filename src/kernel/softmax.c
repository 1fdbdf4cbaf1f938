/* softmax.c - row operations of the softmax. */
#include "softmax.h"
#include "approx.h"
#include "kernel.h"
#include <math.h>

FC_K_CLONES
float fc_k_row_max(const float *x, int64_t n) {
  float largest = -INFINITY;
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < n; i++) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

FC_K_CLONES
static float short_exp_sum(const float *x, float shift, int64_t n) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; i++) sum += fc_exp(x[i] - shift);
  return sum;
}

double fc_k_row_exp_sum(const float *x, float shift, int64_t n) {
  enum { BLOCK = 512 };
  double sum = 0.0;
  for (int64_t i = 0; i < n; i += BLOCK) sum += short_exp_sum(x + i, shift, fc_k_min(BLOCK, n - i));
  return sum;
}

FC_K_CLONES
float fc_k_row_exp(float *p, const float *x, float shift, float factor, int64_t n) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; i++) {
    p[i] = factor * fc_exp(x[i] - shift);
    sum += p[i];
  }
  return sum;
}
