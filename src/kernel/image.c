/* image.c - what turns a 5x5 convolution into a matrix product (unfold and its adjoint, fold), and
 * max-pooling by two. Channels lie side by side, so that the inner loops run over vectors. */
#include "kernel.h"
#include <math.h>

enum { W5 = FC_K_WINDOW, REACH = FC_K_WINDOW / 2 };

/* Columns [first, first + n) of the image lie in the window row around column `col`, from its pixel
 * `skip` on. */
typedef struct {
  int first, n, skip;
} overlap;

static inline overlap overlap_at(int col, int W) {
  const int first = col < REACH ? 0 : col - REACH, end = col + REACH < W ? col + REACH + 1 : W;
  return (overlap){.first = first, .n = end - first, .skip = first - (col - REACH)};
}

/* y: one window row of each pixel of an image row; `from`: the image row it shows, or NULL beyond
 * the image. */
static inline __attribute__((always_inline)) void unfold_row(float *y, const float *from, int W,
                                                             const int C) {
  const size_t pixel = (size_t)C * sizeof *y;
  for (int col = 0; col < W; col++, y += W5 * W5 * C) {
    if (from && col >= REACH && col < W - REACH) {
      memcpy(y, from + (int64_t)(col - REACH) * C, W5 * pixel);
      continue;
    }
    memset(y, 0, W5 * pixel);
    const overlap o = overlap_at(col, W);
    for (int i = 0; from && i < o.n; i++)
      memcpy(y + (o.skip + i) * C, from + (int64_t)(o.first + i) * C, pixel);
  }
}

static inline __attribute__((always_inline)) void unfold_sample(float *y, const float *x, int H,
                                                                int W, const int C) {
  for (int row = 0; row < H; row++, y += (int64_t)W * W5 * W5 * C)
    for (int k = 0; k < W5; k++) {
      const int r = row + k - REACH;
      unfold_row(y + k * W5 * C, r >= 0 && r < H ? x + (int64_t)r * W * C : NULL, W, C);
    }
}

/* With one channel the copies are of known length: calls for five numbers would take longer. */
void fc_k_unfold(float *y, const float *x, int64_t n, int H, int W, int C) {
  const int64_t size = (int64_t)H * W * C;
  for (int64_t s = 0; s < n; s++, x += size, y += size * W5 * W5) {
    if (C == 1)
      unfold_sample(y, x, H, W, 1);
    else
      unfold_sample(y, x, H, W, C);
  }
}

FC_K_CLONES
static void fold_sample(float *dx, const float *dy, int H, int W, int C) {
  for (int row = 0; row < H; row++)
    for (int col = 0; col < W; col++) {
      const overlap o = overlap_at(col, W);
      for (int r = row - REACH; r <= row + REACH; r++, dy += W5 * C) {
        if (r < 0 || r >= H) continue;
        float *to = dx + ((int64_t)r * W + o.first) * C;
        const float *from = dy + o.skip * C;
#pragma omp simd
        for (int i = 0; i < o.n * C; i++) to[i] += from[i];
      }
    }
}

void fc_k_fold(float *dx, const float *dy, int64_t n, int H, int W, int C) {
  const int64_t size = (int64_t)H * W * C;
  for (int64_t s = 0; s < n; s++) fold_sample(dx + s * size, dy + s * size * W5 * W5, H, W, C);
}

/* ---- max-pooling: LANES channels at a time, the rest one by one ------------------------------ */

enum { LANES = 8 };
typedef float lanes __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t mask __attribute__((vector_size(32)));
typedef uint8_t places __attribute__((vector_size(8), aligned(1), may_alias));

/* A NaN beats all, and no number beats it. */
static inline bool beats(float x, float best) {
  return x > best || x != x;
}

static inline void larger_channel(float *y, uint8_t *at, const float *x, const float *below,
                                  int C) {
  const float v[4] = {x[0], x[C], below[0], below[C]};
  int best = 0;
  for (int k = 1; k < 4; k++)
    if (beats(v[k], v[best])) best = k;
  *y = v[best];
  *at = (uint8_t)best;
}

/* One row of outputs from the two rows of inputs at x. Bits are blended, since gcc makes branches
 * of selections. */
FC_K_CLONES
static void maxpool_row(float *y, uint8_t *at, const float *x, int W, int C) {
  const float *below = x + (int64_t)W * C;
  const lanes infinity = (lanes){0} + INFINITY;
  for (int col = 0; col < W / 2; col++, y += C, at += C, x += 2 * C, below += 2 * C) {
    int c = 0;
    for (; c + LANES <= C; c += LANES) {
      const float *from[4] = {x + c, x + C + c, below + c, below + C + c};
      mask best = (mask) * (const lanes *)from[0], place = {0};
      for (int k = 1; k < 4; k++) {
        const lanes v = *(const lanes *)from[k];
        const mask better = (v > (lanes)best) | ~(v <= infinity);
        best = ((mask)v & better) | (best & ~better);
        place = (k & better) | (place & ~better);
      }
      *(lanes *)(y + c) = (lanes)best;
      *(places *)(at + c) = __builtin_convertvector(place, places);
    }
    for (; c < C; c++) larger_channel(y + c, at + c, x + c, below + c, C);
  }
}

void fc_k_maxpool_fwd(float *y, uint8_t *at, const float *x, int64_t n, int H, int W, int C) {
  const int64_t out = (int64_t)(W / 2) * C, rows = n * (H / 2);
  for (int64_t r = 0; r < rows; r++) maxpool_row(y + r * out, at + r * out, x + r * 4 * out, W, C);
}

FC_K_CLONES
static void maxpool_row_bwd(float *dx, const float *dy, const uint8_t *at, int W, int C) {
  float *below = dx + (int64_t)W * C;
  for (int col = 0; col < W / 2; col++, dy += C, at += C, dx += 2 * C, below += 2 * C) {
    int c = 0;
    for (; c + LANES <= C; c += LANES) {
      const mask place = __builtin_convertvector(*(const places *)(at + c), mask);
      const mask d = (mask) * (const lanes *)(dy + c);
      *(lanes *)(dx + c) = (lanes)(d & (place == 0));
      *(lanes *)(dx + C + c) = (lanes)(d & (place == 1));
      *(lanes *)(below + c) = (lanes)(d & (place == 2));
      *(lanes *)(below + C + c) = (lanes)(d & (place == 3));
    }
    for (; c < C; c++) {
      dx[c] = dx[C + c] = below[c] = below[C + c] = 0.0f;
      (at[c] < 2 ? dx : below)[at[c] % 2 * C + c] = dy[c];
    }
  }
}

void fc_k_maxpool_bwd(float *dx, const float *dy, const uint8_t *at, int64_t n, int H, int W,
                      int C) {
  const int64_t out = (int64_t)(W / 2) * C, rows = n * (H / 2);
  for (int64_t r = 0; r < rows; r++)
    maxpool_row_bwd(dx + r * 4 * out, dy + r * out, at + r * out, W, C);
}
