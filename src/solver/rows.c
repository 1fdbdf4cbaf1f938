/* rows.c - sums and largest values over the rows of all threads and ranks. */
#include "solver.h"
#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ROWS_WORTH_THREADS = 4096 };

typedef struct {
  fc_sum sum[FC_TERMS_MAX];
  double largest[FC_TERMS_MAX];
} totals;

static double larger(double a, double b) {
  return isnan(b) || b > a ? b : a;
}

static void add(totals *t, const double *term, int sums, int maxima) {
  for (int c = 0; c < sums; c++) fc_sum_add(&t->sum[c], term[c]);
  for (int c = 0; c < maxima; c++) t->largest[c] = larger(t->largest[c], term[sums + c]);
}

static void merge(totals *t, const totals *other, int sums, int maxima) {
  for (int c = 0; c < sums; c++) fc_sum_merge(&t->sum[c], &other->sum[c]);
  for (int c = 0; c < maxima; c++) t->largest[c] = larger(t->largest[c], other->largest[c]);
}

static totals nothing(void) {
  totals t = {0};
  for (int c = 0; c < FC_TERMS_MAX; c++) t.largest[c] = -INFINITY;
  return t;
}

fc_err fc_rows_reduce(const fc_reduction *over, int64_t n, fc_row_terms *terms, const void *arg,
                      int sums, int maxima, double *out) {
  assert(sums + maxima <= FC_TERMS_MAX);
  totals all = nothing();
#pragma omp parallel if (n >= ROWS_WORTH_THREADS)
  {
    totals own = nothing();
#pragma omp for schedule(static) nowait
    for (int64_t i = 0; i < n; i++) {
      double term[FC_TERMS_MAX];
      terms(arg, i, term);
      add(&own, term, sums, maxima);
    }
#pragma omp critical(fc_rows)
    merge(&all, &own, sums, maxima);
  }
  if (sums > 0) FC_TRY(fc_sum_over(over, all.sum, (size_t)sums));
  for (int c = 0; c < sums; c++) out[c] = fc_sum_value(&all.sum[c]);
  for (int c = 0; c < maxima; c++)
    out[sums + c] = isnan(all.largest[c]) ? INFINITY : all.largest[c];
  return maxima > 0 ? fc_max_over(over, out + sums, (size_t)maxima) : FC_ERR_OK;
}

fc_err fc_rows_lowest(const fc_reduction *over, int64_t *row, double *facts, size_t n) {
  const double mine = *row < 0 ? -INFINITY : -(double)*row;
  double lowest = mine;
  FC_TRY(fc_max_over(over, &lowest, 1));
  *row = lowest == -INFINITY ? -1 : (int64_t)-lowest;
  if (*row < 0) return FC_ERR_OK;
  for (size_t i = 0; i < n && mine != lowest; i++) facts[i] = -INFINITY;
  return fc_max_over(over, facts, n);
}

fc_err fc_rows_agree(const fc_reduction *over, fc_err mine) {
  double failed = mine != FC_ERR_OK;
  FC_TRY(fc_max_over(over, &failed, 1));
  FC_TRY(mine);
  FC_CHECK(failed == 0, PEER, "another rank is out of memory for its part of the problem");
  return FC_ERR_OK;
}

fc_err fc_rows_count(const fc_reduction *over, const fc_rows_here *here, int64_t *n) {
  *n = here->n;
  return over && over->sum_i64 ? over->sum_i64(over->arg, n, 1) : FC_ERR_OK;
}

static fc_err gather(const fc_reduction *over, const fc_rows_here *here,
                     const double *const *column, int64_t *bits, int columns, int64_t n) {
  for (int c = 0; c < columns; c++)
    if (column[c] && here->n > 0)
      memcpy(bits + c * n + here->first, column[c], (size_t)here->n * sizeof *bits);
  /* The bits of the rank that holds a row, and of all others 0, sum to these bits. */
  return over && over->sum_i64 ? over->sum_i64(over->arg, bits, (size_t)columns * (size_t)n)
                               : FC_ERR_OK;
}

fc_err fc_rows_gather(const fc_reduction *over, const fc_rows_here *here,
                      const double *const *column, int columns, int64_t n, double **all) {
  int64_t *bits = NULL;
  const size_t values = (size_t)columns * (size_t)n;
  fc_err err = fc_alloc(values, sizeof *bits, &bits);
  *all = NULL;
  if (err == FC_ERR_OK) err = fc_alloc(values, sizeof **all, all);
  err = fc_rows_agree(over, err);
  if (err == FC_ERR_OK) err = gather(over, here, column, bits, columns, n);
  if (err == FC_ERR_OK) memcpy(*all, bits, values * sizeof *bits);
  fc_free(bits);
  return err;
}

void fc_infeasible(fc_answer *answer, const char *format, ...) {
  va_list args;
  answer->status = FC_INFEASIBLE;
  va_start(args, format);
  vsnprintf(answer->reason, sizeof answer->reason, format, args);
  va_end(args);
}
