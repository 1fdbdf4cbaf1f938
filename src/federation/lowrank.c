/* lowrank.c - stacked thin matrices: QR of both sides, then all that is asked of the small core.
 *
 * With B = Qb Rb and A^T = Qa Ra, B A = Qb (Rb Ra^T) Qa^T, and Qb, Qa change neither norms nor
 * singular values. LAPACK wants columns next to each other: bt and a, read so, are B and A^T. */
#include "lowrank.h"
#include "fedcell/fc_mem.h"
#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

fc_err fc_stack_create(int64_t m, int64_t n, int64_t R, fc_stack *out) {
  *out = (fc_stack){.m = m, .n = n, .R = R};
  FC_CHECK(R <= INT32_MAX && m <= INT32_MAX && n <= INT32_MAX, SHAPE,
           "%lld x %lld factors of rank %lld together are too large", (long long)m, (long long)n,
           (long long)R);
  fc_err err = fc_alloc((size_t)(R * m), sizeof(double), &out->bt);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)(R * n), sizeof(double), &out->a);
  if (err != FC_ERR_OK) fc_stack_destroy(out);
  return err;
}

void fc_stack_destroy(fc_stack *s) {
  fc_free(s->bt);
  fc_free(s->a);
  *s = (fc_stack){0};
}

static int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/* Both sides; the upper triangles, the core with its own vectors, and U and V. */
double fc_stack_bytes(int64_t m, int64_t n, int64_t R) {
  double kb = (double)least(m, R), ka = (double)least(n, R), k = kb < ka ? kb : ka;
  return sizeof(double) *
         ((double)(m + n) * (double)R + (kb + ka) * (double)R + 4 * kb * ka + k * (double)(m + n));
}

void fc_stack_put(fc_stack *s, int64_t at, int64_t r, double weight, const float *B, int64_t ldb,
                  const float *A) {
  for (int64_t j = 0; j < r; j++) {
    double *b = s->bt + (at + j) * s->m, *a = s->a + (at + j) * s->n;
    for (int64_t i = 0; i < s->m; i++) b[i] = weight * (double)B[i * ldb + j];
    for (int64_t i = 0; i < s->n; i++) a[i] = (double)A[j * s->n + i];
  }
}

/* ---- the core -------------------------------------------------------------------------------- */

/* One side after its QR. */
typedef struct {
  int rows, k; /* of the side; k = min(rows, R) */
  double *x;   /* (R,rows) the side: the reflectors of Q below its triangle */
  double *tau; /* (k) */
  double *tri; /* (R,k): the triangle alone, its columns next to each other */
} side;

static void side_destroy(side *q) {
  fc_free(q->tau);
  fc_free(q->tri);
}

/* `info` of LAPACK: below 0 for a NaN among its input. */
static fc_err from_lapack(lapack_int info, const char *what) {
  FC_CHECK(info != LAPACK_WORK_MEMORY_ERROR && info != LAPACK_TRANSPOSE_MEMORY_ERROR, NOMEM,
           "out of memory (%s of stacked factors)", what);
  FC_CHECK(info == 0, NUMERIC, "the %s of stacked factors failed: one is not finite", what);
  return FC_ERR_OK;
}

static fc_err factorise(side *q, double *x, int64_t rows, int64_t R) {
  *q = (side){.rows = (int)rows, .k = (int)least(rows, R), .x = x};
  FC_TRY(fc_alloc((size_t)q->k, sizeof *q->tau, &q->tau));
  FC_TRY(fc_alloc((size_t)R * (size_t)q->k, sizeof *q->tri, &q->tri));
  FC_TRY(from_lapack(LAPACKE_dgeqrf(LAPACK_COL_MAJOR, q->rows, (int)R, x, q->rows, q->tau), "QR"));
  for (int64_t j = 0; j < R; j++)
    memcpy(q->tri + j * q->k, x + j * rows, (size_t)least(j + 1, q->k) * sizeof *x);
  return FC_ERR_OK;
}

/* core (ka,kb), columns of Rb Ra^T next to each other, of the first `first` columns of both. */
static void make_core(const side *b, const side *a, int64_t first, double *core) {
  cblas_dgemm(CblasColMajor, CblasNoTrans, CblasTrans, b->k, a->k, (int)first, 1.0, b->tri, b->k,
              a->tri, a->k, 0.0, core, b->k);
}

typedef struct {
  side b, a;
  double *core; /* (ka,kb) */
} cored;

static void cored_destroy(cored *c) {
  side_destroy(&c->b);
  side_destroy(&c->a);
  fc_free(c->core);
}

static fc_err factorise_both(fc_stack *s, cored *c) {
  FC_TRY(factorise(&c->b, s->bt, s->m, s->R));
  FC_TRY(factorise(&c->a, s->a, s->n, s->R));
  return fc_alloc((size_t)c->b.k * (size_t)c->a.k, sizeof *c->core, &c->core);
}

static double core_norm(const cored *c) {
  return cblas_dnrm2(c->b.k * c->a.k, c->core, 1);
}

/* R's first columns are the R of the first columns: one QR serves both norms. */
fc_err fc_stack_norms(fc_stack *s, int64_t first, double *part, double *whole) {
  cored c = {0};
  *part = *whole = 0;
  if (s->R == 0) return FC_ERR_OK;
  fc_err err = factorise_both(s, &c);
  if (err == FC_ERR_OK) {
    make_core(&c.b, &c.a, first, c.core);
    *part = core_norm(&c);
    make_core(&c.b, &c.a, s->R, c.core);
    *whole = core_norm(&c);
    if (!isfinite(*part) || !isfinite(*whole))
      err = fc_fail(FC_ERR_NUMERIC, "the norm of stacked factors is not finite");
  }
  cored_destroy(&c);
  return err;
}

/* ---- singular values ------------------------------------------------------------------------- */

/* out (k,rows) <- Q x of each of the k columns of x (k of them, q->k long, `ld` apart). */
static fc_err rotate(const side *q, const double *x, int64_t step, int64_t ld, int64_t k,
                     double *out) {
  for (int64_t j = 0; j < k; j++)
    for (int64_t i = 0; i < q->k; i++) out[j * q->rows + i] = x[j * step + i * ld];
  return from_lapack(LAPACKE_dormqr(LAPACK_COL_MAJOR, 'L', 'N', q->rows, (int)k, q->k, q->x,
                                    q->rows, q->tau, out, q->rows),
                     "rotation");
}

static int64_t largest_at(const double *x, int64_t n) {
  int64_t at = 0;
  for (int64_t i = 1; i < n; i++)
    if (fabs(x[i]) > fabs(x[at])) at = i;
  return at;
}

/* LAPACK's signs are anybody's. */
static void fix_signs(fc_stack_values *v, int64_t m, int64_t n) {
  for (int64_t j = 0; j < v->k; j++) {
    double *u = v->u + j * m;
    if (u[largest_at(u, m)] >= 0) continue;
    cblas_dscal((int)m, -1.0, u, 1);
    cblas_dscal((int)n, -1.0, v->v + j * n, 1);
  }
}

static fc_err decompose(fc_stack *s, cored *c, double **own, fc_stack_values *v) {
  FC_TRY(factorise_both(s, c));
  make_core(&c->b, &c->a, s->R, c->core);
  int kb = c->b.k, ka = c->a.k;
  v->k = least(kb, ka);
  FC_TRY(fc_alloc((size_t)v->k, sizeof(double), &v->values));
  FC_TRY(fc_alloc((size_t)(v->k * s->m), sizeof(double), &v->u));
  FC_TRY(fc_alloc((size_t)(v->k * s->n), sizeof(double), &v->v));
  FC_TRY(fc_alloc((size_t)(v->k * (kb + ka)), sizeof(double), own));
  double *u = *own, *vt = *own + v->k * kb; /* (k,kb) U'; (ka,k) V'^T */
  FC_TRY(from_lapack(
      LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'S', kb, ka, c->core, kb, v->values, u, kb, vt, (int)v->k),
      "SVD"));
  FC_TRY(rotate(&c->b, u, kb, 1, v->k, v->u));
  FC_TRY(rotate(&c->a, vt, 1, v->k, v->k, v->v));
  fix_signs(v, s->m, s->n);
  return FC_ERR_OK;
}

fc_err fc_stack_svd(fc_stack *s, fc_stack_values *out) {
  cored c = {0};
  double *own = NULL;
  *out = (fc_stack_values){0};
  if (s->R == 0) return FC_ERR_OK;
  fc_err err = decompose(s, &c, &own, out);
  cored_destroy(&c);
  fc_free(own);
  if (err != FC_ERR_OK) fc_stack_values_destroy(out);
  return err;
}

void fc_stack_values_destroy(fc_stack_values *v) {
  fc_free(v->values);
  fc_free(v->u);
  fc_free(v->v);
  *v = (fc_stack_values){0};
}

/* ---- one pair -------------------------------------------------------------------------------- */

double fc_product_norm(int64_t m, int64_t n, int64_t r, const float *B, int64_t ldb,
                       const float *A) {
  double sum = 0;
  for (int64_t i = 0; i < r; i++) {
    for (int64_t j = 0; j <= i; j++) {
      double b = 0, a = 0;
      for (int64_t k = 0; k < m; k++) b += (double)B[k * ldb + i] * (double)B[k * ldb + j];
      for (int64_t k = 0; k < n; k++) a += (double)A[i * n + k] * (double)A[j * n + k];
      sum += (i == j ? 1 : 2) * b * a;
    }
  }
  return isnan(sum) || sum > 0 ? sqrt(sum) : 0.0; /* rounding may leave a little below 0 */
}
