/* product_tile.h - the innermost loop of the products, for one instruction set. product.c includes
 * it once for each, with these defined:
 *   TILE_NAME(x)   gives the functions their suffix
 *   TILE_TARGET    function attribute that turns the instruction set on
 *   TILE_VECTOR    vector type of TILE_LANES floats, TILE_LOOSE the same unaligned
 *   TILE_SET1(x), TILE_FMA(a, b, c)   broadcast, a * b + c
 *   TILE_ROWS      most rows of a tile two vectors wide, 6 or 12
 *
 * A tile holds TILE_ROWS x 2 vectors of C in registers, or MAX_TILE_ROWS x 1. Each element of C is
 * one chain of multiply-adds over k in ascending order, whatever the tile's size: that is why a
 * row's bits do not depend on its neighbours. */

/* The row addresses are p[r / 3] + (r % 3) * a_row: x86 adds 1 x and 2 x a_row for free, which
 * leaves registers for the loop. */
TILE_TARGET static inline __attribute__((always_inline)) void
TILE_NAME(tile)(const tile_task *t, const int rows, const int vectors) {
  TILE_VECTOR sum[MAX_TILE_ROWS][2];
  const float *p[MAX_TILE_ROWS / 3];
  const int64_t a_row = t->a_row, a_k = t->a_k, b_k = t->b_k;
  const float *b = t->b;
#pragma GCC unroll 12
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) sum[r][v] = TILE_SET1(0.0f);
#pragma GCC unroll 4
  for (int g = 0; g < (rows + 2) / 3; g++) p[g] = t->a + 3 * g * a_row;
  if (t->K <= SHORT_K || t->K >= LONG_K) {
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) __builtin_prefetch(t->c + r * t->ldc + v * TILE_LANES, 1);
  }
  for (int64_t k = 0; k < t->K; k++) {
    TILE_VECTOR bk[2];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) bk[v] = *(const TILE_LOOSE *)(b + v * TILE_LANES);
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
      const TILE_VECTOR a = TILE_SET1(p[r / 3][(r % 3) * a_row]);
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) sum[r][v] = TILE_FMA(a, bk[v], sum[r][v]);
    }
#pragma GCC unroll 4
    for (int g = 0; g < (rows + 2) / 3; g++) p[g] += a_k;
    b += b_k;
  }
  const TILE_VECTOR alpha = TILE_SET1(t->alpha);
#pragma GCC unroll 12
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) {
      TILE_LOOSE *c = (TILE_LOOSE *)(t->c + r * t->ldc + v * TILE_LANES);
      TILE_VECTOR value = alpha * sum[r][v];
      if (t->bias) value += *(const TILE_LOOSE *)(t->bias + v * TILE_LANES);
      if (t->accumulate) value += *c;
      *c = value;
    }
}

/* Tiles of `side` products at once. One of few rows waits for its own sums and for B, which nothing
 * else uses: several have more sums on the way, and read memory at several places. */
TILE_TARGET static inline __attribute__((always_inline)) void
TILE_NAME(side_tile)(const tile_task *t, const int side, const int rows, const int vectors) {
  TILE_VECTOR sum[MAX_SIDE][MAX_SIDE_ROWS][2];
  const float *a[MAX_SIDE], *b[MAX_SIDE];
  const int64_t a_row = t->a_row, a_k = t->a_k, b_k = t->b_k;
#pragma GCC unroll 4
  for (int s = 0; s < side; s++) {
    a[s] = t->a + s * t->d.a;
    b[s] = t->b + s * t->d.b;
#pragma GCC unroll 3
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) sum[s][r][v] = TILE_SET1(0.0f);
  }
  for (int64_t k = 0; k < t->K; k++)
#pragma GCC unroll 4
    for (int s = 0; s < side; s++) {
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) {
        const TILE_VECTOR bk = *(const TILE_LOOSE *)(b[s] + v * TILE_LANES);
#pragma GCC unroll 3
        for (int r = 0; r < rows; r++)
          sum[s][r][v] = TILE_FMA(TILE_SET1(a[s][r * a_row]), bk, sum[s][r][v]);
      }
      a[s] += a_k;
      b[s] += b_k;
    }
  const TILE_VECTOR alpha = TILE_SET1(t->alpha);
#pragma GCC unroll 4
  for (int s = 0; s < side; s++)
#pragma GCC unroll 3
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) {
        TILE_LOOSE *c = (TILE_LOOSE *)(t->c + s * t->d.c + r * t->ldc + v * TILE_LANES);
        TILE_VECTOR value = alpha * sum[s][r][v];
        if (t->accumulate) value += *c;
        *c = value;
      }
}

#define SIDE_CASE(side, r)                                                                         \
  case side *(MAX_SIDE_ROWS + 1) + r:                                                              \
    if (vectors == 1)                                                                              \
      TILE_NAME(side_tile)(t, side, r, 1);                                                         \
    else                                                                                           \
      TILE_NAME(side_tile)(t, side, r, 2);                                                         \
    break;

TILE_TARGET static void TILE_NAME(run_side)(const tile_task *t, int side, int rows, int vectors) {
  switch (side * (MAX_SIDE_ROWS + 1) + rows) {
    SIDE_CASE(2, 1)
    SIDE_CASE(2, 2)
    SIDE_CASE(2, 3)
    SIDE_CASE(3, 1)
    SIDE_CASE(3, 2)
    SIDE_CASE(4, 1)
#if TILE_ROWS >= 12
    SIDE_CASE(3, 3)
    SIDE_CASE(4, 2)
    SIDE_CASE(4, 3)
#endif
  default:
    assert(!"side by side: 2 to MAX_SIDE tiles, TILE_ROWS rows in all");
  }
}

#define TILE_CASE(r)                                                                               \
  case r:                                                                                          \
    if (vectors == 1)                                                                              \
      TILE_NAME(tile)(t, r, 1);                                                                    \
    else                                                                                           \
      TILE_NAME(tile)(t, r > TILE_ROWS ? TILE_ROWS : r, 2); /* more never come */                  \
    break;

TILE_TARGET static void TILE_NAME(run_tile)(const tile_task *t, int rows, int vectors) {
  assert(rows <= (vectors == 1 ? MAX_TILE_ROWS : TILE_ROWS));
  switch (rows) {
    TILE_CASE(1)
    TILE_CASE(2)
    TILE_CASE(3)
    TILE_CASE(4)
    TILE_CASE(5)
    TILE_CASE(6)
    TILE_CASE(7)
    TILE_CASE(8)
    TILE_CASE(9)
    TILE_CASE(10)
    TILE_CASE(11)
    TILE_CASE(12)
  default:
    assert(!"a tile has 1 to MAX_TILE_ROWS rows");
  }
}

#undef TILE_CASE
#undef SIDE_CASE
#undef TILE_NAME
#undef TILE_TARGET
#undef TILE_VECTOR
#undef TILE_LOOSE
#undef TILE_LANES
#undef TILE_SET1
#undef TILE_FMA
#undef TILE_ROWS
