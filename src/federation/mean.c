/* mean.c - weighted sums in fixed point. As the weights sum to at most 1, no sum exceeds the
 * largest element, whose maximum over all ranks fixes the common scale: integer sums are exact. */
#include "fedcell/fc_mean.h"
#include "federation.h"
#include <math.h>
#include <string.h>

struct fc_mean {
  const fc_comm *comm;
  size_t n;
  double scale;
  int64_t *sum; /* (n) */
};

fc_err fc_mean_create(const fc_comm *comm, size_t n, double largest, fc_mean **out) {
  fc_mean *m = NULL;
  *out = NULL;
  FC_TRY(fc_comm_max(comm, &largest, 1));
  FC_CHECK(isfinite(largest), NUMERIC, "a weighted mean's largest element is %g", largest);
  fc_err err = fc_alloc(1, sizeof *m, &m);
  if (err == FC_ERR_OK) {
    *m = (fc_mean){.comm = comm, .n = n, .scale = fc_exact_scale(largest, 61)};
    err = fc_alloc(n, sizeof *m->sum, &m->sum);
  }
  err = fc_agree(comm, err);
  if (err != FC_ERR_OK) fc_mean_destroy(&m);
  *out = m;
  return err;
}

void fc_mean_destroy(fc_mean **mean) {
  fc_mean *m = *mean;
  if (!m) return;
  fc_free(m->sum);
  fc_free(m);
  *mean = NULL;
}

void fc_mean_add(fc_mean *m, const float *x, int64_t ldx, const float *base, const double *weight,
                 int64_t rows) {
  fc_k_fixed_sum(m->sum, x, ldx, base, weight, rows, m->scale, (int64_t)m->n);
}

fc_err fc_mean_take(fc_mean *m, float *out) {
  FC_TRY(fc_comm_sum_i64_root(m->comm, m->sum, m->n, 0));
  if (m->comm->rank != 0) return FC_ERR_OK;
  if (m->scale > 0)
    fc_k_fixed_get(out, m->sum, m->scale, (int64_t)m->n);
  else
    memset(out, 0, m->n * sizeof *out); /* nothing but zeros */
  return FC_ERR_OK;
}
