/* image.c - what turns a 5x5 convolution into a matrix product (unfold and its adjoint, fold), and
 * max-pooling by two. Channels lie side by side, so that the inner loops run over vectors. */
#include "kernel.h"

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

/* One window row of `from`, an image row or NULL beyond the image. */
static inline void unfold_row(float *to, const float *from, int col, int W, int C) {
  const size_t pixel = (size_t)C * sizeof *to;
  if (!from) {
    memset(to, 0, W5 * pixel);
    return;
  }
  const overlap o = overlap_at(col, W);
  if (o.n == W5 && C == 1) { /* of known length: no call */
    memcpy(to, from + o.first, W5 * sizeof *to);
    return;
  }
  memset(to, 0, (size_t)o.skip * pixel);
  memcpy(to + o.skip * C, from + (int64_t)o.first * C, (size_t)o.n * pixel);
  memset(to + (o.skip + o.n) * C, 0, (size_t)(W5 - o.skip - o.n) * pixel);
}

void fc_k_unfold(float *y, const float *x, int64_t n, int H, int W, int C) {
  const int64_t row_size = (int64_t)W * C;
  for (int64_t s = 0; s < n; s++, x += H * row_size)
    for (int row = 0; row < H; row++)
      for (int col = 0; col < W; col++)
        for (int r = row - REACH; r <= row + REACH; r++, y += W5 * C)
          unfold_row(y, r >= 0 && r < H ? x + r * row_size : NULL, col, W, C);
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

/* Keeps a NaN: no number is larger. */
static inline bool beats(float x, float best) {
  return x > best || x != x;
}

/* One row of outputs from the two rows of inputs at x. */
FC_K_CLONES
static void maxpool_row(float *restrict y, uint8_t *restrict at, const float *restrict x, int W,
                        int C) {
  const float *below = x + (int64_t)W * C;
  for (int col = 0; col < W / 2; col++, y += C, at += C, x += 2 * C, below += 2 * C)
#pragma omp simd
    for (int c = 0; c < C; c++) {
      const float v[4] = {x[c], x[C + c], below[c], below[C + c]};
      float best = v[0];
      int k = 0;
      k = beats(v[1], best) ? 1 : k;
      best = beats(v[1], best) ? v[1] : best;
      k = beats(v[2], best) ? 2 : k;
      best = beats(v[2], best) ? v[2] : best;
      k = beats(v[3], best) ? 3 : k;
      best = beats(v[3], best) ? v[3] : best;
      y[c] = best;
      at[c] = (uint8_t)k;
    }
}

void fc_k_maxpool_fwd(float *y, uint8_t *at, const float *x, int64_t n, int H, int W, int C) {
  const int64_t out = (int64_t)(W / 2) * C, rows = n * (H / 2);
  for (int64_t r = 0; r < rows; r++) maxpool_row(y + r * out, at + r * out, x + r * 4 * out, W, C);
}

FC_K_CLONES
static void maxpool_row_bwd(float *restrict dx, const float *restrict dy,
                            const uint8_t *restrict at, int W, int C) {
  float *below = dx + (int64_t)W * C;
  for (int col = 0; col < W / 2; col++, dy += C, at += C, dx += 2 * C, below += 2 * C)
#pragma omp simd
    for (int c = 0; c < C; c++) {
      dx[c] = at[c] == 0 ? dy[c] : 0.0f;
      dx[C + c] = at[c] == 1 ? dy[c] : 0.0f;
      below[c] = at[c] == 2 ? dy[c] : 0.0f;
      below[C + c] = at[c] == 3 ? dy[c] : 0.0f;
    }
}

void fc_k_maxpool_bwd(float *dx, const float *dy, const uint8_t *at, int64_t n, int H, int W,
                      int C) {
  const int64_t out = (int64_t)(W / 2) * C, rows = n * (H / 2);
  for (int64_t r = 0; r < rows; r++)
    maxpool_row_bwd(dx + r * 4 * out, dy + r * out, at + r * out, W, C);
}
