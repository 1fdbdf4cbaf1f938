/* product_few.c - products of a few rows with a matrix that is stored transposed, y = x W^T: the
 * step of generation, which reads all of W for a handful of tokens. W goes from memory straight
 * into registers, 16 outputs by 16 inputs at a time, is transposed there and used at once. Every
 * element is the same chain of multiply-adds, in the same blocks, as in product.c, and so has the
 * same bits.
 */
#include "kernel.h"
#include <assert.h>

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
/* With checks in them these unrolled loops take clang minutes; gcc's sanitizers look at them. */
#define TARGET __attribute__((target("avx512f"), no_sanitize("address", "undefined", "coverage")))
#else
#define TARGET __attribute__((target("avx512f")))
#endif
enum { LANES = 16 };

/* r[k] lane o <- r[o] lane k: 4 x 4 within the quarters, then the quarters among each other. */
TARGET static inline __attribute__((always_inline)) void transpose(__m512 r[LANES]) {
  __m512 t[LANES];
#pragma GCC unroll 4
  for (int i = 0; i < LANES; i += 4) {
    const __m512 low01 = _mm512_unpacklo_ps(r[i], r[i + 1]);
    const __m512 high01 = _mm512_unpackhi_ps(r[i], r[i + 1]);
    const __m512 low23 = _mm512_unpacklo_ps(r[i + 2], r[i + 3]);
    const __m512 high23 = _mm512_unpackhi_ps(r[i + 2], r[i + 3]);
    t[i] = _mm512_shuffle_ps(low01, low23, 0x44);
    t[i + 1] = _mm512_shuffle_ps(low01, low23, 0xee);
    t[i + 2] = _mm512_shuffle_ps(high01, high23, 0x44);
    t[i + 3] = _mm512_shuffle_ps(high01, high23, 0xee);
  }
#pragma GCC unroll 4
  for (int q = 0; q < 4; q++) {
    const __m512 front = _mm512_shuffle_f32x4(t[q], t[4 + q], 0x44);
    const __m512 back = _mm512_shuffle_f32x4(t[q], t[4 + q], 0xee);
    const __m512 front2 = _mm512_shuffle_f32x4(t[8 + q], t[12 + q], 0x44);
    const __m512 back2 = _mm512_shuffle_f32x4(t[8 + q], t[12 + q], 0xee);
    r[q] = _mm512_shuffle_f32x4(front, front2, 0x88);
    r[4 + q] = _mm512_shuffle_f32x4(front, front2, 0xdd);
    r[8 + q] = _mm512_shuffle_f32x4(back, back2, 0x88);
    r[12 + q] = _mm512_shuffle_f32x4(back, back2, 0xdd);
  }
}

/* Where a product stands: `cols` outputs from W (cols, ...) on; next: the outputs after them. */
typedef struct {
  const float *x, *W, *next;
  int64_t ldx, ldw;
  int cols;
} place;

/* sum[row] += x[row] W^T over `n` inputs from k on. */
TARGET static inline __attribute__((always_inline)) void
step(__m512 *sum, const place *p, int64_t k, const int rows, const int cols, const int n) {
  __m512 w[LANES];
  const __mmask16 mask = (__mmask16)((1u << n) - 1);
#pragma GCC unroll 16
  for (int o = 0; o < LANES; o++) {
    w[o] = o < cols ? _mm512_maskz_loadu_ps(mask, p->W + o * p->ldw + k) : _mm512_setzero_ps();
    if (cols == LANES) _mm_prefetch((const char *)(p->next + o * p->ldw + k), _MM_HINT_T1);
  }
  transpose(w);
#pragma GCC unroll 16
  for (int i = 0; i < LANES; i++) {
    if (i == n) break;
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
      sum[r] = _mm512_fmadd_ps(_mm512_set1_ps(p->x[r * p->ldx + k + i]), w[i], sum[r]);
  }
}

TARGET static inline __attribute__((always_inline)) void
sum_block(__m512 *sum, const place *p, int64_t k, int64_t end, const int rows) {
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) sum[r] = _mm512_setzero_ps();
  if (p->cols == LANES)
    for (; k + LANES <= end; k += LANES) step(sum, p, k, rows, LANES, LANES);
  for (; k < end; k += LANES) step(sum, p, k, rows, p->cols, (int)fc_k_min(LANES, end - k));
}

/* C (rows, p->cols), in the order of product_tile.h. */
TARGET static inline __attribute__((always_inline)) void
column_group(const fc_product *t, const place *p, float *C, int64_t ldc, const float *bias,
             const int rows) {
  __m512 sum[FC_K_FEW_ROWS], total[FC_K_FEW_ROWS];
  const __mmask16 mask = (__mmask16)((1u << p->cols) - 1);
  const __m512 alpha = _mm512_set1_ps(t->alpha);
  int64_t k = 0;
  do { /* once also when K is 0 */
    const int64_t end = fc_k_min(t->K, k + FC_K_SUM_BLOCK);
    sum_block(sum, p, k, end, rows);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
      __m512 value = _mm512_mul_ps(alpha, sum[r]);
      if (k == 0 && bias) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, bias));
      if (k > 0) value = _mm512_add_ps(value, total[r]);
      if (k == 0 && t->accumulate)
        value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, C + r * ldc));
      total[r] = value;
    }
    k = end;
  } while (k < t->K);
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) _mm512_mask_storeu_ps(C + r * ldc, mask, total[r]);
}

TARGET static inline __attribute__((always_inline)) void all_groups(const fc_product *t, float *C,
                                                                    int64_t ldc, const float *x,
                                                                    int64_t ldx, const float *W,
                                                                    int64_t ldw, const int rows) {
  for (int64_t n = 0; n < t->N; n += LANES) {
    const place p = {.x = x,
                     .W = W + n * ldw,
                     .next = W + (n + 2 * LANES <= t->N ? n + LANES : n) * ldw,
                     .ldx = ldx,
                     .ldw = ldw,
                     .cols = (int)fc_k_min(LANES, t->N - n)};
    column_group(t, &p, C + n, ldc, t->bias ? t->bias + n : NULL, rows);
  }
}

TARGET static void few_rows_avx512(const fc_product *t, float *C, int64_t ldc, const float *x,
                                   int64_t ldx, const float *W, int64_t ldw) {
#define ROWS_CASE(n)                                                                               \
  case n:                                                                                          \
    all_groups(t, C, ldc, x, ldx, W, ldw, n);                                                      \
    break;
  switch (t->M) {
    ROWS_CASE(1)
    ROWS_CASE(2)
    ROWS_CASE(3)
    ROWS_CASE(4)
    ROWS_CASE(5)
    ROWS_CASE(6)
    ROWS_CASE(7)
    ROWS_CASE(8)
  default:
    assert(!"more rows than FC_K_FEW_ROWS");
  }
#undef ROWS_CASE
}
#endif

bool fc_k_product_few(const fc_product *p, float *C, int64_t ldc, const float *x, int64_t ldx,
                      const float *W, int64_t ldw) {
#if defined(__x86_64__)
  if (p->M >= 1 && p->M <= FC_K_FEW_ROWS && p->N >= LANES && p->transpose_b && !p->transpose_a &&
      __builtin_cpu_supports("avx512f")) {
    few_rows_avx512(p, C, ldc, x, ldx, W, ldw);
    return true;
  }
#endif
  (void)p, (void)C, (void)ldc, (void)x, (void)ldx, (void)W, (void)ldw;
  return false;
}
