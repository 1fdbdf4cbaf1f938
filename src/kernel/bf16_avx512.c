/* bf16_avx512.c - the bf16 product with AVX-512 BF16: vdpbf16ps adds two products to each of 16
 * sums. Eight rows' sums with two panels stay in registers. */
#include "bf16.h"
#if defined(__x86_64__)
#include "bf16_avx512.h"

enum { ROWS = 8 };

/* The pair of bf16 at p in all lanes. */
TARGET_AVX512_BF16 static inline __m512bh pair(const fc_bf16 *p) {
  int32_t both;
  memcpy(&both, p, sizeof both);
  return (__m512bh)_mm512_set1_epi32(both);
}

/* `rows` rows from the first one on, with panels from `panel` on. */
TARGET_AVX512_BF16 static inline __attribute__((always_inline)) void
run_rows(const fc_bf16_tiles *t, int first, const int rows, int panel, const int panels) {
  const float *start = t->start ? t->start + first * t->ld_start + panel * BF16_PANEL : NULL;
  float *c = t->c + first * t->ldc + panel * BF16_PANEL;
  const fc_bf16 *a = t->a + first * BF16_DEPTH, *b = t->b + panel * t->b_next;
  __m512 sum[ROWS][2];
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (int p = 0; p < panels; p++)
      sum[r][p] =
          start ? _mm512_loadu_ps(start + r * t->ld_start + p * BF16_PANEL) : _mm512_setzero_ps();
  for (int64_t k = 0; k < t->blocks; k++, a += BF16_TILE)
    for (int i = 0; i < BF16_DEPTH; i += 2, b += 2 * BF16_PANEL) {
      __m512bh w[2];
#pragma GCC unroll 2
      for (int p = 0; p < panels; p++) w[p] = (__m512bh)_mm512_loadu_si512(b + p * t->b_next);
#pragma GCC unroll 8
      for (int r = 0; r < rows; r++) {
        const __m512bh x = pair(a + r * BF16_DEPTH + i);
#pragma GCC unroll 2
        for (int p = 0; p < panels; p++) sum[r][p] = _mm512_dpbf16_ps(sum[r][p], x, w[p]);
      }
    }
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (int p = 0; p < panels; p++) _mm512_storeu_ps(c + r * t->ldc + p * BF16_PANEL, sum[r][p]);
}

TARGET_AVX512_BF16 static inline __attribute__((always_inline)) void
run_panels(const fc_bf16_tiles *t, int rows, int panel, const int panels) {
  int r = 0;
  for (; r + ROWS <= rows; r += ROWS) run_rows(t, r, ROWS, panel, panels);
  for (; r + 2 <= rows; r += 2) run_rows(t, r, 2, panel, panels);
  if (r < rows) run_rows(t, r, 1, panel, panels);
}

TARGET_AVX512_BF16 static void run(const fc_bf16_tiles *t, int rows, int panels) {
  int p = 0;
  for (; p + 2 <= panels; p += 2) run_panels(t, rows, p, 2);
  if (p < panels) run_panels(t, rows, p, 1);
}

/* 32 elements of x, n of them there. */
TARGET_AVX512_BF16 static inline __m512i convert_block(const float *x, int64_t n) {
  const uint32_t there = n >= BF16_DEPTH ? ~0u : (1u << n) - 1u;
  const __m512 low = _mm512_maskz_loadu_ps((__mmask16)there, x);
  const __m512 high = _mm512_maskz_loadu_ps((__mmask16)(there >> 16), x + 16);
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

TARGET_AVX512_BF16 void fc_bf16_convert_avx512(fc_bf16 *a, const float *x, int64_t ldx, int rows,
                                               int I) {
  const int64_t blocks = fc_bf16_blocks(I);
  const int padded = (rows + BF16_PANEL - 1) / BF16_PANEL * BF16_PANEL;
  for (int r = 0; r < padded; r++) {
    fc_bf16 *to = a + (r / BF16_PANEL * blocks * BF16_PANEL + r % BF16_PANEL) * BF16_DEPTH;
    for (int64_t i = 0; i < I; i += BF16_DEPTH, to += BF16_TILE)
      _mm512_storeu_si512(to, r < rows ? convert_block(x + r * ldx + i, I - i)
                                       : _mm512_setzero_si512());
  }
}

/* Chains enough to hide the latency on two units. */
TARGET_AVX512_BF16 static double peak(int64_t n) {
  enum { CHAINS = 16 };
  __m512 sum[CHAINS];
  const __m512bh one = (__m512bh)_mm512_set1_epi16(0x3f80);
  for (int c = 0; c < CHAINS; c++) sum[c] = _mm512_setzero_ps();
  for (int64_t i = 0; i < n; i++)
#pragma GCC unroll 16
    for (int c = 0; c < CHAINS; c++) sum[c] = _mm512_dpbf16_ps(sum[c], one, one);
  for (int c = 1; c < CHAINS; c++) sum[0] = _mm512_add_ps(sum[0], sum[c]);
  volatile float kept = _mm512_reduce_add_ps(sum[0]);
  (void)kept;
  return 2.0 * 2.0 * BF16_PANEL * CHAINS * (double)n;
}

static bool available(void) {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bf16");
}

const fc_bf16_path fc_bf16_avx512 = {.name = "avx512bf16",
                                     .fast = true,
                                     .available = available,
                                     .convert = fc_bf16_convert_avx512,
                                     .run = run,
                                     .peak = peak};
#endif
