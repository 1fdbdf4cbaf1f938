/* linear.c - linear layers and the LoRA path [LoRA (3)], forward and backward, by products. */
#include "kernel.h"

void fc_k_linear_fwd(float *y, int ldy, const float *x, int ldx, const float *W, int ldw,
                     const float *bias, int64_t N, int I, int O, bool accumulate) {
  fc_product p = {.transpose_b = true,
                  .accumulate = accumulate,
                  .alpha = 1,
                  .M = N,
                  .N = O,
                  .K = I,
                  .bias = bias};
  fc_k_product(p, y, ldy, x, ldx, W, ldw);
}

void fc_k_linear_bwd_input(float *dx, int lddx, const float *dy, int lddy, const float *W, int ldw,
                           int64_t N, int I, int O, bool accumulate) {
  fc_product p = {.accumulate = accumulate, .alpha = 1, .M = N, .N = I, .K = O};
  fc_k_product(p, dx, lddx, dy, lddy, W, ldw);
}

FC_K_CLONES
static void add_column_sums(float *restrict sum, const float *restrict x, int ld, int64_t N,
                            int C) {
  for (int64_t n = 0; n < N; n++, x += ld)
#pragma omp simd
    for (int c = 0; c < C; c++) sum[c] += x[c];
}

void fc_k_linear_bwd_weight(float *dW, int lddw, float *dbias, const float *dy, int lddy,
                            const float *x, int ldx, int64_t N, int I, int O) {
  fc_product p = {.transpose_a = true, .accumulate = true, .alpha = 1, .M = O, .N = I, .K = N};
  if (dW) fc_k_product(p, dW, lddw, dy, lddy, x, ldx);
  if (dbias) add_column_sums(dbias, dy, lddy, N, O);
}

void fc_k_lora_fwd(float *y, int ldy, float *h, const float *x, const float *A, int lda,
                   const float *B, float s, int64_t N, int I, int O, int R) {
  fc_product down = {.transpose_b = true, .alpha = 1, .M = N, .N = R, .K = I};
  fc_product up = {.transpose_b = true, .accumulate = true, .alpha = s, .M = N, .N = O, .K = R};
  fc_k_product(down, h, R, x, I, A, lda);
  fc_k_product(up, y, ldy, h, R, B, R);
}

void fc_k_lora_bwd(float *dx, float *dA, float *dB, float *dh, const float *dy, int lddy,
                   const float *x, const float *h, const float *A, int lda, const float *B, float s,
                   int64_t N, int I, int O, int R) {
  fc_product to_dh = {.alpha = s, .M = N, .N = R, .K = O};
  fc_product to_dx = {.accumulate = true, .alpha = 1, .M = N, .N = I, .K = R};
  fc_product to_dA = {.transpose_a = true, .accumulate = true, .alpha = 1, .M = R, .N = I, .K = N};
  fc_product to_dB = {.transpose_a = true, .accumulate = true, .alpha = s, .M = O, .N = R, .K = N};
  fc_k_product(to_dh, dh, R, dy, lddy, B, R);
  if (dx) fc_k_product(to_dx, dx, I, dh, R, A, lda);
  if (dA) fc_k_product(to_dA, dA, lda, dh, R, x, I);
  if (dB) fc_k_product(to_dB, dB, R, dy, lddy, h, R);
}
