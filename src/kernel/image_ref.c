/* image_ref.c - the yardsticks of image.c: element by element, as the definitions read. */
#include "kernel.h"
#include <math.h>

/* Where pixel (row, col), channel c of sample s lies in (n,H,W,C). */
static int64_t place(int64_t s, int row, int col, int c, int H, int W, int C) {
  return ((s * H + row) * W + col) * C + c;
}

/* Element (row, col) of the window, channel c, around each pixel p of the n samples, and the
 * image's element it shows: both indices, or -1 for the latter beyond the image. */
static int64_t window_element(int64_t column, int64_t p, int H, int W, int C) {
  const int64_t s = p / ((int64_t)H * W);
  const int row = (int)(p / W % H) + (int)(column / C / FC_K_WINDOW) - FC_K_WINDOW / 2;
  const int col = (int)(p % W) + (int)(column / C % FC_K_WINDOW) - FC_K_WINDOW / 2;
  const bool inside = row >= 0 && row < H && col >= 0 && col < W;
  return inside ? place(s, row, col, (int)(column % C), H, W, C) : -1;
}

void fc_k_unfold_ref(float *y, const float *x, int64_t n, int H, int W, int C) {
  const int64_t columns = (int64_t)FC_K_WINDOW * FC_K_WINDOW * C;
  for (int64_t p = 0; p < n * H * W; p++)
    for (int64_t i = 0; i < columns; i++) {
      const int64_t from = window_element(i, p, H, W, C);
      y[p * columns + i] = from < 0 ? 0.0f : x[from];
    }
}

void fc_k_fold_ref(float *dx, const float *dy, int64_t n, int H, int W, int C) {
  const int64_t columns = (int64_t)FC_K_WINDOW * FC_K_WINDOW * C;
  for (int64_t p = 0; p < n * H * W; p++)
    for (int64_t i = 0; i < columns; i++) {
      const int64_t to = window_element(i, p, H, W, C);
      if (to >= 0) dx[to] += dy[p * columns + i];
    }
}

void fc_k_maxpool_fwd_ref(float *y, uint8_t *at, const float *x, int64_t n, int H, int W, int C) {
  for (int64_t s = 0; s < n; s++)
    for (int row = 0; row < H / 2; row++)
      for (int col = 0; col < W / 2; col++)
        for (int c = 0; c < C; c++) {
          const int64_t to = place(s, row, col, c, H / 2, W / 2, C);
          at[to] = 0;
          y[to] = x[place(s, 2 * row, 2 * col, c, H, W, C)];
          for (int k = 1; k < 4; k++) {
            const float v = x[place(s, 2 * row + k / 2, 2 * col + k % 2, c, H, W, C)];
            if (!isnan(v) && !(v > y[to])) continue;
            y[to] = v;
            at[to] = (uint8_t)k;
          }
        }
}

void fc_k_maxpool_bwd_ref(float *dx, const float *dy, const uint8_t *at, int64_t n, int H, int W,
                          int C) {
  memset(dx, 0, (size_t)(n * H * W * C) * sizeof *dx);
  for (int64_t s = 0; s < n; s++)
    for (int row = 0; row < H / 2; row++)
      for (int col = 0; col < W / 2; col++)
        for (int c = 0; c < C; c++) {
          const int64_t from = place(s, row, col, c, H / 2, W / 2, C);
          const int k = at[from];
          dx[place(s, 2 * row + k / 2, 2 * col + k % 2, c, H, W, C)] = dy[from];
        }
}
