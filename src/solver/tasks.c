/* tasks.c - the bandwidths with which tasks that compute and send end soonest together.
 *
 * At a trial latency T a task needs the band B_k(T) = load_k / (T - compute_k); their sum falls in
 * T, and at the least T it is the band that there is. */
#include "solver.h"
#include <math.h>

typedef struct {
  fc_task_of *task;
  const void *arg;
  double bandwidth_hz, T;
} trial;

static void bound_terms(const void *arg, int64_t k, double *term) {
  const trial *t = arg;
  const fc_task task = t->task(t->arg, k);
  term[0] = task.load;
  term[1] = task.compute_s;
  term[2] = task.compute_s + fc_band_of(task.load, t->bandwidth_hz); /* the whole band alone */
}

static void band_terms(const void *arg, int64_t k, double *term) {
  const trial *t = arg;
  const fc_task task = t->task(t->arg, k);
  const double left_s = t->T - task.compute_s;
  term[0] = fc_band_of(task.load, left_s);
  term[1] = term[0] > 0 ? term[0] / left_s : 0.0; /* -dB/dT */
}

fc_err fc_tasks_bandwidths(const fc_reduction *over, int64_t n, fc_task_of *task, const void *arg,
                           double B, double *bandwidth_hz, double *latency_s) {
  trial t = {task, arg, B, 0};
  double bound[3], sum[2];
  FC_TRY(fc_rows_reduce(over, n, bound_terms, &t, 1, 2, bound));
  const double hi = bound[1] + fc_band_of(bound[0], B), lo = fmin(bound[2], hi);
  FC_CHECK(isfinite(hi), NUMERIC, "latencies beyond the range of numbers");
  /* B / sum B_k(T) - 1 is concave in T: Newton's steps come from below and never leap far. */
  fc_root r = fc_root_begin(lo, hi, lo, 1e-13);
  for (; !r.done; fc_root_tell(&r, B / sum[0] - 1, B * sum[1] / (sum[0] * sum[0]))) {
    t.T = r.x;
    FC_TRY(fc_rows_reduce(over, n, band_terms, &t, 2, 0, sum));
  }
  *latency_s = t.T = r.hi;
  for (int64_t k = 0; k < n; k++) {
    double term[2];
    band_terms(&t, k, term);
    bandwidth_hz[k] = term[0];
  }
  return FC_ERR_OK;
}
