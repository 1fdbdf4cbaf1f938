/* linear_ref.c - the yardsticks of linear.c: one loop per sum, accumulated in double. */
#include "kernel.h"

void fc_k_linear_fwd_ref(float *y, int ldy, const float *x, int ldx, const float *W, int ldw,
                         const float *bias, int64_t N, int I, int O, bool accumulate) {
  for (int64_t n = 0; n < N; n++)
    for (int o = 0; o < O; o++) {
      double sum = bias ? bias[o] : 0.0;
      if (accumulate) sum += y[n * ldy + o];
      for (int i = 0; i < I; i++) sum += (double)x[n * ldx + i] * W[(int64_t)o * ldw + i];
      y[n * ldy + o] = (float)sum;
    }
}

void fc_k_linear_bwd_input_ref(float *dx, int lddx, const float *dy, int lddy, const float *W,
                               int ldw, int64_t N, int I, int O, bool accumulate) {
  for (int64_t n = 0; n < N; n++)
    for (int i = 0; i < I; i++) {
      double sum = accumulate ? dx[n * lddx + i] : 0.0;
      for (int o = 0; o < O; o++) sum += (double)dy[n * lddy + o] * W[(int64_t)o * ldw + i];
      dx[n * lddx + i] = (float)sum;
    }
}

void fc_k_linear_bwd_weight_ref(float *dW, int lddw, float *dbias, const float *dy, int lddy,
                                const float *x, int ldx, int64_t N, int I, int O) {
  for (int o = 0; o < O; o++) {
    for (int i = 0; dW && i < I; i++) {
      double sum = dW[(int64_t)o * lddw + i];
      for (int64_t n = 0; n < N; n++) sum += (double)dy[n * lddy + o] * x[n * ldx + i];
      dW[(int64_t)o * lddw + i] = (float)sum;
    }
    if (!dbias) continue;
    double sum = dbias[o];
    for (int64_t n = 0; n < N; n++) sum += dy[n * lddy + o];
    dbias[o] = (float)sum;
  }
}

void fc_k_lora_fwd_ref(float *y, int ldy, float *h, const float *x, const float *A, int lda,
                       const float *B, float s, int64_t N, int I, int O, int R) {
  for (int64_t n = 0; n < N; n++) {
    for (int r = 0; r < R; r++) {
      double sum = 0.0;
      for (int i = 0; i < I; i++) sum += (double)x[n * I + i] * A[(int64_t)r * lda + i];
      h[n * R + r] = (float)sum;
    }
    for (int o = 0; o < O; o++) {
      double sum = 0.0;
      for (int r = 0; r < R; r++) sum += (double)h[n * R + r] * B[(int64_t)o * R + r];
      y[n * ldy + o] = (float)(y[n * ldy + o] + (double)s * sum);
    }
  }
}

void fc_k_lora_bwd_ref(float *dx, float *dA, float *dB, float *dh, const float *dy, int lddy,
                       const float *x, const float *h, const float *A, int lda, const float *B,
                       float s, int64_t N, int I, int O, int R) {
  for (int64_t n = 0; n < N; n++)
    for (int r = 0; r < R; r++) {
      double sum = 0.0;
      for (int o = 0; o < O; o++) sum += (double)dy[n * lddy + o] * B[(int64_t)o * R + r];
      dh[n * R + r] = (float)(s * sum);
    }
  if (dx) fc_k_linear_bwd_input_ref(dx, I, dh, R, A, lda, N, I, R, true);
  fc_k_linear_bwd_weight_ref(dA, lda, NULL, dh, R, x, I, N, I, R);
  for (int o = 0; dB && o < O; o++)
    for (int r = 0; r < R; r++) {
      double sum = 0.0;
      for (int64_t n = 0; n < N; n++) sum += (double)dy[n * lddy + o] * h[n * R + r];
      dB[(int64_t)o * R + r] = (float)(dB[(int64_t)o * R + r] + s * sum);
    }
}
