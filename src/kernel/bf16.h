/* bf16.h - what the files of the bf16 product share: rounding, the layout of panels, and the table
 * of implementations of the innermost loop. */
#ifndef FC_KERNEL_BF16_H
#define FC_KERNEL_BF16_H

#include "approx.h"
#include "kernel.h"

enum {
  BF16_PANEL = 16, /* outputs of a panel, and rows of a tile of x */
  BF16_DEPTH = 32, /* inputs of a block */
  BF16_TILE = BF16_PANEL * BF16_DEPTH
};

/* Round to nearest even; a NaN stays one (its lost bits could make it an infinity). */
static inline fc_bf16 fc_bf16_of_float(float f) {
  const uint32_t u = fc_bits_of_float(f);
  const uint32_t rounded = (u + 0x7fffu + (u >> 16 & 1u)) >> 16, quiet_nan = u >> 16 | 0x40u;
  return (fc_bf16)((u & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded);
}

static inline float fc_float_of_bf16(fc_bf16 b) {
  return fc_float_of_bits((uint32_t)b << 16);
}

/* Blocks of BF16_DEPTH that I inputs fill, the last perhaps in part. */
static inline int64_t fc_bf16_blocks(int64_t I) {
  return (I + BF16_DEPTH - 1) / BF16_DEPTH;
}

/* Where element (o,i) of panels of I inputs lies. */
static inline int64_t fc_bf16_index(int64_t I, int64_t o, int64_t i) {
  const int64_t block = o / BF16_PANEL * fc_bf16_blocks(I) + i / BF16_DEPTH;
  return block * BF16_TILE + i % BF16_DEPTH / 2 * (2 * BF16_PANEL) + o % BF16_PANEL * 2 + i % 2;
}

/* ---- paths ----------------------------------------------------------------------------------- */

enum { BF16_MOST_PANELS = 4, BF16_COLUMNS = BF16_MOST_PANELS * BF16_PANEL };

/* C (rows, 16 panels) = start + A B over `blocks` blocks of BF16_DEPTH: up to 16 rows of x, as
 * tiles [blocks][16][32], times up to BF16_MOST_PANELS panels. C and start have room for 16 rows.
 */
typedef struct {
  const fc_bf16 *a, *b;
  int64_t b_next; /* elements from a panel to the next */
  int64_t blocks;
  const float *start; /* NULL: zero */
  int64_t ld_start;   /* 0: one row for all */
  float *c;
  int64_t ldc;
  /* To be fetched into the second cache meanwhile: so many lines of 64 bytes a block, from here on
   * and as far from there as the panels are apart. */
  const fc_bf16 *soon;
  int soon_lines;
} fc_bf16_tiles;

/* One implementation. A row of C must not depend on the other rows. */
typedef struct {
  const char *name;
  bool fast; /* faster than f32 products */
  bool (*available)(void);
  void (*begin)(void); /* before and after a thread's calls of run; may be NULL */
  void (*end)(void);
  /* x (rows, I) ldx rounded to bf16, as tiles [rows/16][I/32][16][32] padded with zeros. */
  void (*convert)(fc_bf16 *a, const float *x, int64_t ldx, int rows, int I);
  void (*run)(const fc_bf16_tiles *t, int rows, int panels);
  /* n rounds of what `run` does at best, in registers; returns how many FLOP that was. Between
   * begin and end. */
  double (*peak)(int64_t n);
} fc_bf16_path;

const fc_bf16_path *fc_bf16_current_path(void);
extern const fc_bf16_path fc_bf16_amx, fc_bf16_avx512, fc_bf16_plain;

#endif
