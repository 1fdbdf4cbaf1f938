/* product.c - matrix products, our own, because a row's bits must depend on nothing but the row and
 * the weights: BLAS libraries choose another summation for few rows, and for other thread counts.
 *
 * op(B) is cut into panels of two vectors' width and PANEL_K rows, copied so that a panel lies
 * contiguously in the first-level cache; tiles of A's rows pass over it (product_tile.h). Sums
 * longer than PANEL_K are added up in C block by block, in ascending order. Thread and row
 * boundaries lie between elements of C and never inside a sum. */
#include "kernel.h"
#include <assert.h>
#include <omp.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum {
  PANEL_K = FC_K_SUM_BLOCK,
  MAX_LANES = 16,
  MAX_WIDTH = 2 * MAX_LANES,
  MAX_TILE_ROWS = 12,
  SHORT_K = 16,    /* C's lines, far apart, are fetched ahead: short sums do little but wait for */
  LONG_K = 128,    /* them, long ones have the time; in between it costs more than it brings */
  ROW_BLOCK = 384, /* rows of A that pass over a panel: PANEL_K of each fit the second cache */
  PACK_FROM_ROWS = 96, /* fewer rows read an untransposed B where it lies */
  MAX_SIDE = 4,        /* products side by side, of at most MAX_SIDE_ROWS rows */
  MAX_SIDE_ROWS = 3
};
/* Below both, threads cost more than they bring. Few rows are limited by reading B. */
static const double parallel_from_flop = 4e6, parallel_from_elements = 2e5;

/* C (rows, width) = alpha A B (+ bias) (+ C): element (r,k) of A at a[r a_row + k a_k], (k,j) of B
 * at b[k b_k + j]. The products beside it lie at distances d. */
typedef struct {
  const float *a, *b, *bias;
  float *c;
  int64_t a_row, a_k, b_k, ldc, K;
  float alpha;
  bool accumulate;
  fc_product_distance d;
} tile_task;

typedef float vector4 __attribute__((vector_size(16)));
typedef float loose4 __attribute__((vector_size(16), aligned(4), may_alias));
#define TILE_NAME(x) x##_baseline
#define TILE_TARGET
#define TILE_VECTOR       vector4
#define TILE_LOOSE        loose4
#define TILE_LANES        4
#define TILE_SET1(x)      ((vector4){(x), (x), (x), (x)})
#define TILE_FMA(a, b, c) ((c) + (a) * (b))
#define TILE_ROWS         6
#include "product_tile.h"

#if defined(__x86_64__)
typedef float loose8 __attribute__((vector_size(32), aligned(4), may_alias));
#define TILE_NAME(x)      x##_avx2
#define TILE_TARGET       __attribute__((target("avx2,fma")))
#define TILE_VECTOR       __m256
#define TILE_LOOSE        loose8
#define TILE_LANES        8
#define TILE_SET1(x)      _mm256_set1_ps(x)
#define TILE_FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define TILE_ROWS         6
#include "product_tile.h"

typedef float loose16 __attribute__((vector_size(64), aligned(4), may_alias));
#define TILE_NAME(x)      x##_avx512
#define TILE_TARGET       __attribute__((target("avx512f")))
#define TILE_VECTOR       __m512
#define TILE_LOOSE        loose16
#define TILE_LANES        16
#define TILE_SET1(x)      _mm512_set1_ps(x)
#define TILE_FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define TILE_ROWS         12
#include "product_tile.h"
#endif

typedef struct {
  void (*run)(const tile_task *t, int rows, int vectors);
  void (*run_side)(const tile_task *t, int side, int rows, int vectors);
  int lanes, rows; /* rows of a tile two vectors wide; MAX_TILE_ROWS if one */
} tile_kind;

/* The widest vectors that the CPU has and a product of N columns fills: LoRA's thin products fit
 * AVX2's better. */
static tile_kind pick_tile(int64_t N) {
#if defined(__x86_64__)
  if (N > 8 && __builtin_cpu_supports("avx512f"))
    return (tile_kind){run_tile_avx512, run_side_avx512, 16, 12};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return (tile_kind){run_tile_avx2, run_side_avx2, 8, 6};
#endif
  (void)N;
  return (tile_kind){run_tile_baseline, run_side_baseline, 4, 6};
}

/* ---- packing --------------------------------------------------------------------------------- */

#if defined(__x86_64__)
/* Rows 0, 4, 8 and 12 of a block of 16, four elements each. */
__attribute__((target("avx512f"))) static inline __m512 four_rows(const float *row, int64_t ldb) {
  __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(row));
  v = _mm512_insertf32x4(v, _mm_loadu_ps(row + 4 * ldb), 1);
  v = _mm512_insertf32x4(v, _mm_loadu_ps(row + 8 * ldb), 2);
  return _mm512_insertf32x4(v, _mm_loadu_ps(row + 12 * ldb), 3);
}

/* pack_transposed's work for 16 columns and K rounded down to a multiple of 4, which it returns:
 * 4 x 4 transpositions in all four quarters at once. */
__attribute__((target("avx512f"))) static int64_t
pack_transposed_16(float *panel, const float *B, int64_t ldb, int64_t K, int width) {
  int64_t k = 0;
  for (; k + 4 <= K; k += 4) {
    const __m512 r0 = four_rows(B + k, ldb), r1 = four_rows(B + ldb + k, ldb);
    const __m512 r2 = four_rows(B + 2 * ldb + k, ldb), r3 = four_rows(B + 3 * ldb + k, ldb);
    const __m512 low01 = _mm512_unpacklo_ps(r0, r1), high01 = _mm512_unpackhi_ps(r0, r1);
    const __m512 low23 = _mm512_unpacklo_ps(r2, r3), high23 = _mm512_unpackhi_ps(r2, r3);
    float *to = panel + k * width;
    _mm512_storeu_ps(to, _mm512_shuffle_ps(low01, low23, 0x44));
    _mm512_storeu_ps(to + width, _mm512_shuffle_ps(low01, low23, 0xee));
    _mm512_storeu_ps(to + 2 * width, _mm512_shuffle_ps(high01, high23, 0x44));
    _mm512_storeu_ps(to + 3 * width, _mm512_shuffle_ps(high01, high23, 0xee));
  }
  return k;
}

static int64_t pack_transposed_4(float *panel, const float *B, int64_t ldb, int64_t K, int width) {
  int64_t k = 0;
  for (; k + 4 <= K; k += 4) {
    __m128 r0 = _mm_loadu_ps(B + k), r1 = _mm_loadu_ps(B + ldb + k);
    __m128 r2 = _mm_loadu_ps(B + 2 * ldb + k), r3 = _mm_loadu_ps(B + 3 * ldb + k);
    _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
    float *to = panel + k * width;
    _mm_storeu_ps(to, r0);
    _mm_storeu_ps(to + width, r1);
    _mm_storeu_ps(to + 2 * width, r2);
    _mm_storeu_ps(to + 3 * width, r3);
  }
  return k;
}
#endif

/* panel[k * width + j] = B[j * ldb + k] for j < cols: B is stored transposed. */
static void pack_transposed(tile_kind kind, float *panel, const float *B, int64_t ldb, int64_t K,
                            int cols, int width) {
  int step = 1;
  for (int j = 0; j < cols; j += step) {
    int64_t k = 0;
    step = 1;
#if defined(__x86_64__)
    if (kind.lanes == 16 && j + 16 <= cols) {
      step = 16;
      k = pack_transposed_16(panel + j, B + j * ldb, ldb, K, width);
    } else if (j + 4 <= cols) {
      step = 4;
      k = pack_transposed_4(panel + j, B + j * ldb, ldb, K, width);
    }
#endif
    for (; k < K; k++)
      for (int i = j; i < j + step; i++) panel[k * width + i] = B[i * ldb + k];
  }
  (void)kind;
}

/* panel[k * width + j] = B[k * ldb + j] for j < cols, in fours of which the last may overlap. */
static void pack_straight(float *panel, const float *B, int64_t ldb, int64_t K, int cols,
                          int width) {
  for (int64_t k = 0; k < K; k++, panel += width, B += ldb) {
    for (int j = 0; j + 4 <= cols; j += 4) *(loose4 *)(panel + j) = *(const loose4 *)(B + j);
    if (cols >= 4) {
      *(loose4 *)(panel + cols - 4) = *(const loose4 *)(B + cols - 4);
    } else {
      panel[0] = B[0];
      if (cols > 1) panel[1] = B[1];
      if (cols > 2) panel[2] = B[2];
    }
  }
}

/* ---- loops ----------------------------------------------------------------------------------- */

/* A tile at C's right edge goes through a buffer of full width, so that its elements take the same
 * path as all others. */
static void edge_tile(tile_kind kind, tile_task t, int rows, int cols, int vectors) {
  float buffer[MAX_TILE_ROWS * MAX_WIDTH];
  float *c = t.c;
  const int64_t ldc = t.ldc, width = (int64_t)vectors * kind.lanes;
  t.c = buffer;
  t.ldc = width;
  if (t.accumulate)
    for (int r = 0; r < rows; r++)
      for (int j = 0; j < width; j++) buffer[r * width + j] = j < cols ? c[r * ldc + j] : 0.0f;
  kind.run(&t, rows, vectors);
  for (int r = 0; r < rows; r++) memcpy(c + r * ldc, buffer + r * width, (size_t)cols * sizeof *c);
}

/* All row tiles of one panel; rows are spread evenly over the tiles. t stands at the first. */
static void panel_tiles(tile_kind kind, tile_task t, int64_t M, int cols, int vectors) {
  const int most = vectors == 1 ? MAX_TILE_ROWS : kind.rows;
  int64_t tiles = (M + most - 1) / most;
  for (; tiles > 0; tiles--) {
    const int rows = (int)((M + tiles - 1) / tiles);
    if (cols == vectors * kind.lanes)
      kind.run(&t, rows, vectors);
    else
      edge_tile(kind, t, rows, cols, vectors);
    t.a += rows * t.a_row;
    t.c += rows * t.ldc;
    M -= rows;
  }
}

static void one_panel(tile_kind kind, const fc_product *p, tile_task t, const float *B, int64_t ldb,
                      int cols) {
  _Alignas(64) float panel[PANEL_K * MAX_WIDTH];
  float bias[MAX_WIDTH] = {0};
  const int vectors = cols > kind.lanes ? 2 : 1, width = vectors * kind.lanes;
  if (t.bias && cols < width) t.bias = memcpy(bias, t.bias, (size_t)cols * sizeof *bias);
  if (cols < width) memset(panel, 0, (size_t)(t.K * width) * sizeof *panel);
  t.b = panel;
  t.b_k = width;
  if (p->transpose_b) {
    pack_transposed(kind, panel, B, ldb, t.K, cols, width);
  } else if (p->M >= PACK_FROM_ROWS || cols < width) {
    pack_straight(panel, B, ldb, t.K, cols, width);
  } else {
    t.b = B;
    t.b_k = ldb;
  }
  panel_tiles(kind, t, p->M, cols, vectors);
}

/* Up to ROW_BLOCK rows on the calling thread. */
static void row_block(tile_kind kind, const fc_product *p, float *C, int64_t ldc, const float *A,
                      int64_t lda, const float *B, int64_t ldb) {
  const int width = 2 * kind.lanes;
  const int64_t a_row = p->transpose_a ? 1 : lda, a_k = p->transpose_a ? lda : 1;
  const int64_t b_k = p->transpose_b ? 1 : ldb, b_column = p->transpose_b ? ldb : 1;
  int64_t k0 = 0;
  do { /* once also when K is 0: C must be cleared */
    for (int64_t n0 = 0; n0 < p->N; n0 += width) {
      const tile_task t = {.a = A + k0 * a_k,
                           .bias = p->bias && k0 == 0 ? p->bias + n0 : NULL,
                           .a_row = a_row,
                           .a_k = a_k,
                           .c = C + n0,
                           .ldc = ldc,
                           .K = fc_k_min(PANEL_K, p->K - k0),
                           .alpha = p->alpha,
                           .accumulate = p->accumulate || k0 > 0};
      one_panel(kind, p, t, B + k0 * b_k + n0 * b_column, ldb, (int)fc_k_min(width, p->N - n0));
    }
    k0 += PANEL_K;
  } while (k0 < p->K);
}

static void serial_product(fc_product p, float *C, int64_t ldc, const float *A, int64_t lda,
                           const float *B, int64_t ldb) {
  const int64_t a_row = p.transpose_a ? 1 : lda, rows = p.M;
  if (fc_k_product_few(&p, C, ldc, A, lda, B, ldb)) return;
  for (int64_t m0 = 0; m0 < rows; m0 += ROW_BLOCK) {
    p.M = fc_k_min(ROW_BLOCK, rows - m0);
    row_block(pick_tile(p.N), &p, C + m0 * ldc, ldc, A + m0 * a_row, lda, B, ldb);
  }
}

/* The share of thread i of n: whole tiles (multiples of `unit`), [*first, *first + count). */
static int64_t share(int64_t total, int64_t unit, int i, int n, int64_t *first) {
  const int64_t units = (total + unit - 1) / unit;
  *first = fc_k_min(total, units * i / n * unit);
  return fc_k_min(total, units * (i + 1) / n * unit) - *first;
}

static void thread_share(fc_product p, float *C, int64_t ldc, const float *A, int64_t lda,
                         const float *B, int64_t ldb, int i, int n) {
  int64_t first;
  if (p.M >= p.N) {
    p.M = share(p.M, MAX_TILE_ROWS, i, n, &first);
    serial_product(p, C + first * ldc, ldc, A + first * (p.transpose_a ? 1 : lda), lda, B, ldb);
  } else {
    p.N = share(p.N, MAX_WIDTH, i, n, &first);
    if (p.bias) p.bias += first;
    serial_product(p, C + first, ldc, A, lda, B + first * (p.transpose_b ? ldb : 1), ldb);
  }
}

void fc_k_product(fc_product p, float *C, int64_t ldc, const float *A, int64_t lda, const float *B,
                  int64_t ldb) {
  const double elements = (double)p.N * (double)p.K, flop = 2.0 * (double)p.M * elements;
  const bool small = flop < parallel_from_flop && elements < parallel_from_elements;
  if (small || omp_in_parallel() || omp_get_max_threads() == 1) {
    serial_product(p, C, ldc, A, lda, B, ldb);
    return;
  }
#pragma omp parallel
  thread_share(p, C, ldc, A, lda, B, ldb, omp_get_thread_num(), omp_get_num_threads());
}

/* ---- many of one shape ----------------------------------------------------------------------- */

/* How many products of n go side by side first: all the same number, which the registers hold. */
static int side_of(tile_kind kind, const fc_product *p, int64_t n) {
  const bool few = p->M >= 1 && p->M <= MAX_SIDE_ROWS && p->N % kind.lanes == 0;
  if (!few || p->transpose_a || p->transpose_b || p->bias) return 1;
  const int64_t most = fc_k_min(MAX_SIDE, kind.rows / p->M), times = (n + most - 1) / most;
  return (int)((n + times - 1) / times);
}

static void side_by_side(tile_kind kind, const fc_product *p, int side, fc_product_distance d,
                         float *C, int64_t ldc, const float *A, int64_t lda, const float *B,
                         int64_t ldb) {
  int64_t k0 = 0;
  do { /* as in row_block */
    for (int64_t n0 = 0; n0 < p->N; n0 += 2 * kind.lanes) {
      const tile_task t = {.a = A + k0,
                           .b = B + k0 * ldb + n0,
                           .c = C + n0,
                           .a_row = lda,
                           .a_k = 1,
                           .b_k = ldb,
                           .ldc = ldc,
                           .K = fc_k_min(PANEL_K, p->K - k0),
                           .alpha = p->alpha,
                           .accumulate = p->accumulate || k0 > 0,
                           .d = d};
      kind.run_side(&t, side, (int)p->M, p->N - n0 > kind.lanes ? 2 : 1);
    }
    k0 += PANEL_K;
  } while (k0 < p->K);
}

void fc_k_products(fc_product p, int64_t n, fc_product_distance d, float *C, int64_t ldc,
                   const float *A, int64_t lda, const float *B, int64_t ldb) {
  const tile_kind kind = pick_tile(p.N);
  for (int64_t i = 0, side; i < n; i += side) {
    float *c = C + i * d.c;
    const float *a = A + i * d.a, *b = B + i * d.b;
    side = side_of(kind, &p, n - i);
    if (side > 1)
      side_by_side(kind, &p, (int)side, d, c, ldc, a, lda, b, ldb);
    else
      fc_k_product(p, c, ldc, a, lda, b, ldb);
  }
}
