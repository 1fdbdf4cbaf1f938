/* lowrank.h - a sum of products of thin matrices, sum_k w_k B_k A_k = B A, with the B_k side by
 * side and the A_k below each other, so that the (m,n) matrix itself is never formed.
 *
 *   FC_TRY(fc_stack_create(m, n, R, &s));             // R: columns of all B_k together
 *   fc_stack_put(&s, at, r, w, B, ldb, A);            // for every k, at its place
 *   FC_TRY(fc_stack_norms(&s, R, &part, &whole));     // or fc_stack_svd; either uses the stack up
 *   fc_stack_destroy(&s);
 *
 * Thin QR of B and of A^T leaves a core Rb Ra^T no larger than R or than the sides, which has the
 * norm and the singular values of B A: O((m + n) R min(R, m, n)) [Bai+ 2024]. All Local; in a
 * parallel region, so that LAPACK stays on one thread and its bits do not depend on how many there
 * are. */
#ifndef LOWRANK_H
#define LOWRANK_H

#include "fedcell/fc_err.h"
#include <stddef.h>
#include <stdint.h>

typedef struct {
  int64_t m, n, R;
  double *bt; /* (R,m): B^T */
  double *a;  /* (R,n) */
} fc_stack;

/* Zeros. *out is empty on failure. */
fc_err fc_stack_create(int64_t m, int64_t n, int64_t R, fc_stack *out);
void fc_stack_destroy(fc_stack *s); /* accepts an empty one, and empties it */
/* What fc_stack_create takes, and what the functions below take beside it. */
double fc_stack_bytes(int64_t m, int64_t n, int64_t R);
/* Columns [at, at + r) <- weight B, rows <- A; B (m,r) with rows ldb apart, A (r,n). */
void fc_stack_put(fc_stack *s, int64_t at, int64_t r, double weight, const float *B, int64_t ldb,
                  const float *A);
/* *whole <- |B A|_F, *part <- the same of the first `first` columns of B and rows of A alone.
 * NUMERIC if an element is not finite. */
fc_err fc_stack_norms(fc_stack *s, int64_t first, double *part, double *whole);

/* B A = U S V^T by singular value. The largest element of each column of U is positive. */
typedef struct {
  int64_t k;      /* min(R, m, n) */
  double *values; /* (k) falling */
  double *u;      /* (k,m): U^T */
  double *v;      /* (k,n): V^T */
} fc_stack_values;
/* *out is empty on failure. NUMERIC if an element is not finite. */
fc_err fc_stack_svd(fc_stack *s, fc_stack_values *out);
void fc_stack_values_destroy(fc_stack_values *v); /* accepts an empty one, and empties it */

/* |B A|_F of one pair, by Gram matrices: the root of sum((B^T B) o (A A^T)) [Cho+ 2024]. B (m,r)
 * with rows ldb apart, A (r,n). */
double fc_product_norm(int64_t m, int64_t n, int64_t r, const float *B, int64_t ldb,
                       const float *A);

#endif
