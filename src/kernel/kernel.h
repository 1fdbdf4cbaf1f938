/* kernel.h - what the kernel room's files share. Not for other rooms. */
#ifndef FC_KERNEL_ROOM_H
#define FC_KERNEL_ROOM_H

#include "fedcell/fc_kernel.h"
#include <string.h>

/* A loop that is compiled once per instruction set; the CPU (cpuid) picks the clone at program
 * start, so that valgrind, which hides AVX-512, runs the AVX2 clone. Sanitizers are not ready yet
 * when the pick is made, and clang's OpenMP regions do not go with clones: both take the baseline.
 */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FC_K_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FC_K_CLONES
#endif

/* C (M,N) = alpha op(A) op(B) (+ C if accumulate), op(A) (M,K), op(B) (K,N). */
typedef struct {
  bool transpose_a, transpose_b;
  bool accumulate;
  float alpha;
  int64_t M, N, K;
} fc_product;
void fc_k_product(fc_product p, float *C, int64_t ldc, const float *A, int64_t lda, const float *B,
                  int64_t ldb);

static inline int64_t fc_k_min(int64_t a, int64_t b) {
  return a < b ? a : b;
}
static inline int64_t fc_k_max(int64_t a, int64_t b) {
  return a > b ? a : b;
}

#endif
