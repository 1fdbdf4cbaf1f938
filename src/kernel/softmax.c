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

enum { SUM_BLOCK = 512 };

FC_K_CLONES
double fc_k_row_exp_sum(const float *x, float shift, int64_t n) {
  double total = 0.0;
  for (int64_t i0 = 0; i0 < n; i0 += SUM_BLOCK) {
    const int64_t end = fc_k_min(n, i0 + SUM_BLOCK);
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = i0; i < end; i++) sum += fc_exp_negative(x[i] - shift);
    total += sum;
  }
  return total;
}

FC_K_CLONES
double fc_k_row_exp(float *y, const float *x, float shift, int64_t n) {
  double total = 0.0;
  for (int64_t i0 = 0; i0 < n; i0 += SUM_BLOCK) {
    const int64_t end = fc_k_min(n, i0 + SUM_BLOCK);
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = i0; i < end; i++) {
      y[i] = fc_exp_negative(x[i] - shift);
      sum += y[i];
    }
    total += sum;
  }
  return total;
}

FC_K_CLONES
void fc_k_row_scale(float *y, const float *x, float a, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) y[i] = a * x[i];
}
