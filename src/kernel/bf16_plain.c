/* bf16_plain.c - the bf16 product for any CPU: a bf16 becomes a float by a shift. Two rows' sums
 * with a panel stay in registers. */
#include "bf16.h"
#include "fedcell/fc_peak.h"

FC_K_CLONES
static void convert(fc_bf16 *a, const float *x, int64_t ldx, int rows, int I) {
  const int64_t blocks = fc_bf16_blocks(I);
  for (int r = 0; r < (rows + BF16_PANEL - 1) / BF16_PANEL * BF16_PANEL; r++) {
    fc_bf16 *to = a + (r / BF16_PANEL * blocks * BF16_PANEL + r % BF16_PANEL) * BF16_DEPTH;
    for (int i = 0; i < I || i % BF16_DEPTH; i += BF16_DEPTH, to += BF16_TILE) {
      const int n = r < rows ? (int)fc_k_min(BF16_DEPTH, I - i) : 0;
#pragma omp simd
      for (int j = 0; j < n; j++) to[j] = fc_bf16_of_float(x[r * ldx + i + j]);
      for (int j = n; j < BF16_DEPTH; j++) to[j] = 0;
    }
  }
}

enum { ROWS = 4 }; /* whose sums with one panel stay in registers */

/* sum (ROWS,16) += rows r.. of A times one panel. */
FC_K_CLONES
static void run_rows(float *restrict sum, const fc_bf16 *restrict a, const fc_bf16 *restrict b,
                     int64_t blocks) {
  for (int64_t k = 0; k < blocks * BF16_DEPTH; k += 2, b += 2 * BF16_PANEL) {
    const fc_bf16 *pair = a + k / BF16_DEPTH * BF16_TILE + k % BF16_DEPTH;
    for (int r = 0; r < ROWS; r++) {
      const float x0 = fc_float_of_bf16(pair[r * BF16_DEPTH]);
      const float x1 = fc_float_of_bf16(pair[r * BF16_DEPTH + 1]);
#pragma omp simd
      for (int o = 0; o < BF16_PANEL; o++) {
        const float w0 = fc_float_of_bf16(b[2 * o]), w1 = fc_float_of_bf16(b[2 * o + 1]);
        sum[r * BF16_PANEL + o] = FC_K_FMA(x1, w1, FC_K_FMA(x0, w0, sum[r * BF16_PANEL + o]));
      }
    }
  }
}

static void run(const fc_bf16_tiles *t, int rows, int panels) {
  float sum[ROWS * BF16_PANEL];
  for (int r = 0; r < rows; r += ROWS)
    for (int p = 0; p < panels; p++) {
      memset(sum, 0, sizeof sum);
      for (int i = 0; t->start && i < ROWS; i++)
        memcpy(sum + i * BF16_PANEL, t->start + (r + i) * t->ld_start + p * BF16_PANEL,
               BF16_PANEL * sizeof *sum);
      run_rows(sum, t->a + r * BF16_DEPTH, t->b + p * t->b_next, t->blocks);
      for (int i = 0; i < ROWS; i++)
        memcpy(t->c + (r + i) * t->ldc + p * BF16_PANEL, sum + i * BF16_PANEL,
               BF16_PANEL * sizeof *sum);
    }
}

static bool available(void) {
  return true;
}

const fc_bf16_path fc_bf16_plain = {
    .name = "plain", .available = available, .convert = convert, .run = run, .peak = fc_k_peak_fma};
