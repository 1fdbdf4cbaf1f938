/* kernel.h - what the kernel room's files share. Not for other rooms. */
#ifndef FC_KERNEL_ROOM_H
#define FC_KERNEL_ROOM_H

#include "fedcell/fc_kernel.h"
#include <string.h>

/* A function that is compiled once per instruction set; the CPU (cpuid) picks the clone at program
 * start, so that valgrind, which hides AVX-512, runs the AVX2 clone. Sanitizers are not ready yet
 * when the pick is made, and clang's OpenMP regions do not go with clones: both take the baseline.
 */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FC_K_CLONES     __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#define FC_K_HAS_CLONES 1
#else
#define FC_K_CLONES
#define FC_K_HAS_CLONES 0
#endif

/* a b + c, rounded once where the instruction set can. Spelt out, since -ffp-contract=off keeps the
 * compiler from choosing, and it might choose differently for the last elements of a loop. Among
 * clones the baseline pays a library call for it, on CPUs from before 2013. */
#if FC_K_HAS_CLONES || defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define FC_K_FMA(a, b, c) __builtin_fmaf(a, b, c)
#else
#define FC_K_FMA(a, b, c) ((a) * (b) + (c))
#endif

/* C (M,N) = alpha op(A) op(B) (+ C if accumulate) (+ bias (N) in each row unless NULL),
 * op(A) (M,K), op(B) (K,N). */
typedef struct {
  bool transpose_a, transpose_b;
  bool accumulate;
  float alpha;
  int64_t M, N, K;
  const float *bias;
} fc_product;
/* A sum over k goes in ascending blocks of so many terms, each added to the ones before it. Longer
 * blocks are faster (each reads and writes C once more) and less exact (one chain of roundings). */
enum { FC_K_SUM_BLOCK = 384 };
void fc_k_product(fc_product p, float *C, int64_t ldc, const float *A, int64_t lda, const float *B,
                  int64_t ldb);

/* n products of one shape, whose operands lie so far apart; each has the bits it has by itself.
 * Those of very few rows are taken side by side, on the calling thread (product_tile.h). */
typedef struct {
  int64_t c, a, b;
} fc_product_distance;
void fc_k_products(fc_product p, int64_t n, fc_product_distance d, float *C, int64_t ldc,
                   const float *A, int64_t lda, const float *B, int64_t ldb);

/* The same on the calling thread for at most FC_K_FEW_ROWS rows of y = x W^T, at the speed of
 * memory; false, and nothing is done, where another path must (product_few.c). */
enum { FC_K_FEW_ROWS = 8 };
bool fc_k_product_few(const fc_product *p, float *C, int64_t ldc, const float *x, int64_t ldx,
                      const float *W, int64_t ldw);

static inline int64_t fc_k_min(int64_t a, int64_t b) {
  return a < b ? a : b;
}
static inline int64_t fc_k_max(int64_t a, int64_t b) {
  return a > b ? a : b;
}

#endif
