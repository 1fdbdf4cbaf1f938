/* product.c - matrix products. */
#include "kernel.h"
#include <cblas.h>

void fc_k_product(fc_product p, float *C, int64_t ldc, const float *A, int64_t lda, const float *B,
                  int64_t ldb) {
  if (p.M == 0 || p.N == 0) return;
  cblas_sgemm(CblasRowMajor, p.transpose_a ? CblasTrans : CblasNoTrans,
              p.transpose_b ? CblasTrans : CblasNoTrans, (int)p.M, (int)p.N, (int)p.K, p.alpha, A,
              (int)lda, B, (int)ldb, p.accumulate ? 1.0f : 0.0f, C, (int)ldc);
}
