/* jcpba_bcd.c - [JCPBA, Algorithm 1]: pruning at fixed bandwidths and bandwidths at fixed pruning,
 * in turn.
 *
 * The paper prints a minimisation of each T_k; as C5 couples the clients, the pruning update is the
 * min-max over all of them. It is not unique where some client sits at its bound: what is then left
 * of C5's budget goes to the others, as far as it lasts. After a bandwidth update all T_k are
 * equal, so that with C5 active no change of the pruning alone helps: the alternation stops at its
 * first point, which need not be the optimum. */
#include "jcpba.h"
#include <math.h>

static const double STOP = 1e-9; /* relative change of T at which the alternation ends */
enum { ALTERNATIONS_MAX = 100 };

/* With its bandwidth fixed, a client's latency is linear in what it keeps: T_k = u + v x. */
typedef struct {
  const fc_jcpba_work *w;
  const double *bandwidth_hz;
  double T;
} fixed;

typedef struct {
  double u, v;
} line;

static line line_of(const fixed *at, int64_t k) {
  const fc_jcpba_client *c = &at->w->client[k];
  return (line){c->t0 + fc_band_of(c->n0, at->bandwidth_hz[k]),
                c->d1 + fc_band_of(c->n1, at->bandwidth_hz[k])};
}

static double kept_at(const fixed *at, int64_t k, line l) {
  const double most = at->w->client[k].kept_max, least = at->w->kept_min;
  return l.v > 0 ? fmax(least, fmin(most, (at->T - l.u) / l.v)) : most;
}

static double latency(line l, double kept) {
  return kept > 0 ? l.u + l.v * kept : l.u; /* v may be infinite: no band for an emulator */
}

static void range_terms(const void *arg, int64_t k, double *term) {
  const fixed *at = arg;
  const line l = line_of(at, k);
  term[0] = latency(l, at->w->kept_min);
  term[1] = latency(l, at->w->client[k].kept_max);
}

static void kept_terms(const void *arg, int64_t k, double *term) {
  const fixed *at = arg;
  const line l = line_of(at, k);
  const double x = kept_at(at, k, l);
  term[0] = x;
  term[1] = x > at->w->kept_min && x < at->w->client[k].kept_max ? 1.0 / l.v : 0.0;
  term[2] = x - at->w->kept_min;
}

/* Kept shares of the least max_k T_k at these bandwidths. */
static fc_err update_pruning(const fc_jcpba_work *w, const double *bandwidth_hz, double *kept) {
  fixed at = {w, bandwidth_hz, 0};
  const int64_t n = w->p->rows.n;
  double range[2], sum[3];
  FC_TRY(fc_rows_reduce(w->over, n, range_terms, &at, 0, 2, range));
  fc_root r = fc_root_begin(range[0], fmax(range[0], range[1]), range[0], 0x1p-52);
  for (; !r.done; fc_root_tell(&r, sum[0] - w->kept_sum, sum[1])) {
    at.T = r.x;
    FC_TRY(fc_rows_reduce(w->over, n, kept_terms, &at, 3, 0, sum));
  }
  at.T = r.hi;
  FC_TRY(fc_rows_reduce(w->over, n, kept_terms, &at, 3, 0, sum));
  const double surplus = sum[0] - w->kept_sum;
  const double spent = surplus > 0 && sum[2] > 0 ? fmin(1.0, surplus / sum[2]) : 0.0;
  for (int64_t k = 0; k < n; k++) {
    const double x = kept_at(&at, k, line_of(&at, k));
    kept[k] = x - spent * (x - w->kept_min);
  }
  return FC_ERR_OK;
}

fc_err fc_jcpba_bcd(const fc_jcpba_work *w, double *kept, double *bandwidth_hz,
                    int64_t *alternations) {
  double T = INFINITY, before = INFINITY;
  for (int64_t k = 0; k < w->p->rows.n; k++) bandwidth_hz[k] = w->p->bandwidth_hz / w->clients;
  *alternations = 0;
  do {
    before = T;
    FC_TRY(update_pruning(w, bandwidth_hz, kept));
    FC_TRY(fc_jcpba_bandwidths(w, kept, bandwidth_hz, &T));
    ++*alternations;
  } while (!(before - T <= STOP * T) && *alternations < ALTERNATIONS_MAX);
  return FC_ERR_OK;
}
