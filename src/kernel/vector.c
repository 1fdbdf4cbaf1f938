/* vector.c - sums, scalings, checks and fixed-point conversion of flat vectors. */
#include "approx.h"
#include "kernel.h"
#include <math.h>
#include <omp.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { SUM_BLOCK = 4096, SUM_LANES = 16 };

/* Lanes are spelt out, so that every instruction set adds in the same order. */
FC_K_CLONES
static double block_sum_squares(const float *x, int64_t n) {
  double lane[SUM_LANES] = {0};
  int64_t i = 0;
  for (; i + SUM_LANES <= n; i += SUM_LANES)
    for (int l = 0; l < SUM_LANES; l++) lane[l] += (double)x[i + l] * x[i + l];
  for (int l = 0; i < n; i++, l++) lane[l] += (double)x[i] * x[i];
  double sum = 0.0;
  for (int l = 0; l < SUM_LANES; l++) sum += lane[l];
  return sum;
}

double fc_k_sum_squares(const float *x, int64_t n) {
  double sum = 0.0;
  for (int64_t i = 0; i < n; i += SUM_BLOCK)
    sum += block_sum_squares(x + i, fc_k_min(SUM_BLOCK, n - i));
  return sum;
}

FC_K_CLONES
void fc_k_scale(float *x, float a, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) x[i] *= a;
}

void fc_k_scale_ref(float *x, float a, int64_t n) {
  for (int64_t i = 0; i < n; i++) x[i] = (float)((double)x[i] * a);
}

FC_K_CLONES
void fc_k_axpy(float *y, float a, const float *x, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) y[i] += a * x[i];
}

void fc_k_axpy_ref(float *y, float a, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = (float)(y[i] + (double)a * x[i]);
}

/* Largest bit pattern of |x|: as integers these are ordered like the numbers, with infinity and
 * then NaN on top. */
FC_K_CLONES
static uint32_t max_abs_bits(const float *x, int64_t n) {
  uint32_t largest = 0;
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < n; i++) {
    const uint32_t bits = fc_bits_of_float(x[i]) & 0x7fffffffu;
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

float fc_k_max_abs(const float *x, int64_t n) {
  return fc_float_of_bits(max_abs_bits(x, n));
}

FC_K_CLONES
float fc_k_max_abs_difference(const float *x, const float *y, int64_t n) {
  uint32_t largest = 0;
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < n; i++) {
    const uint32_t bits = fc_bits_of_float(x[i] - y[i]) & 0x7fffffffu;
    largest = bits > largest ? bits : largest;
  }
  return fc_float_of_bits(largest);
}

int64_t fc_k_first_not_finite(const float *x, int64_t n) {
  enum { BLOCK = 1024, EXPONENT = 0x7f800000 };
  for (int64_t i = 0; i < n; i += BLOCK) {
    const int64_t end = fc_k_min(n, i + BLOCK);
    if (max_abs_bits(x + i, end - i) < EXPONENT) continue;
    while (isfinite(x[i])) i++;
    return i;
  }
  return n;
}

/* ---- fixed point ----------------------------------------------------------------------------- */

/* llrint for |v| < 2^63 in operations that vectorise: v is split into a multiple of 2^32 and the
 * rest, both exact; adding 1.5 2^52 then leaves an integer in a double's low bits, rounded to even.
 */
static inline int64_t rounded(double v) {
  const double split = 0x1.8p84, round = 0x1.8p52;
  const double high = (v + split) - split;
  const double shifted_high = high * 0x1p-32 + round, shifted_low = (v - high) + round;
  uint64_t h, l, zero;
  memcpy(&h, &shifted_high, sizeof h);
  memcpy(&l, &shifted_low, sizeof l);
  memcpy(&zero, &round, sizeof zero);
  return (int64_t)(((h - zero) << 32) + (l - zero));
}

/* sum += rounded(factor (x - base)) of one row; factor = weight * scale, exact as the scale is a
 * power of two. */
FC_K_CLONES
static void add_row(int64_t *restrict sum, const float *restrict x, const float *restrict base,
                    double factor, int64_t n) {
  if (base) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) sum[i] += rounded(factor * (x[i] - base[i]));
  } else {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) sum[i] += rounded(factor * x[i]);
  }
}

#if defined(__x86_64__)
/* The same for n rounded down to a multiple of 8, which it returns: AVX-512DQ has the rounding.
 * Meanwhile the block of the next row, which lies far away, is called from memory. */
__attribute__((target("avx512f,avx512dq"))) static int64_t
add_row_avx512(int64_t *sum, const float *x, const float *next, const float *base, double factor,
               int64_t n) {
  const __m512d factors = _mm512_set1_pd(factor);
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    __m256 v = _mm256_loadu_ps(x + i);
    _mm_prefetch((const char *)(next + i), _MM_HINT_T1);
    if (base) v = _mm256_sub_ps(v, _mm256_loadu_ps(base + i));
    const __m512i whole = _mm512_cvtpd_epi64(_mm512_mul_pd(factors, _mm512_cvtps_pd(v)));
    _mm512_storeu_si512(sum + i, _mm512_add_epi64(_mm512_loadu_si512(sum + i), whole));
  }
  return i;
}
#endif

/* All rows pass over a block of sums while it stays in the cache. */
static void add_block(int64_t *sum, const float *x, int64_t ldx, const float *base,
                      const double *weight, int64_t N, double scale, int64_t n) {
  for (int64_t r = 0; r < N; r++, x += ldx) {
    int64_t done = 0;
    if (weight[r] == 0) continue;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512dq"))
      done = add_row_avx512(sum, x, r + 1 < N ? x + ldx : x, base, weight[r] * scale, n);
#endif
    add_row(sum + done, x + done, base ? base + done : NULL, weight[r] * scale, n - done);
  }
}

void fc_k_fixed_sum(int64_t *sum, const float *x, int64_t ldx, const float *base,
                    const double *weight, int64_t N, double scale, int64_t n) {
  enum { BLOCK = 4096, PARALLEL_FROM = 1 << 18 };
#pragma omp parallel for schedule(static) if (N * n >= PARALLEL_FROM && !omp_in_parallel())
  for (int64_t i = 0; i < n; i += BLOCK)
    add_block(sum + i, x + i, ldx, base ? base + i : NULL, weight, N, scale,
              fc_k_min(BLOCK, n - i));
}

void fc_k_fixed_sum_ref(int64_t *sum, const float *x, int64_t ldx, const float *base,
                        const double *weight, int64_t N, double scale, int64_t n) {
  for (int64_t r = 0; r < N; r++, x += ldx)
    for (int64_t i = 0; i < n && weight[r] != 0; i++)
      sum[i] += llrint(weight[r] * (base ? x[i] - base[i] : x[i]) * scale);
}

FC_K_CLONES
void fc_k_fixed_get(float *x, const int64_t *sum, double scale, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) x[i] = (float)((double)sum[i] / scale);
}

void fc_k_fixed_get_ref(float *x, const int64_t *sum, double scale, int64_t n) {
  for (int64_t i = 0; i < n; i++) x[i] = (float)((double)sum[i] / scale);
}
