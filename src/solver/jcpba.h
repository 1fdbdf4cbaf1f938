/* jcpba.h - the problem of [JCPBA (10)] in the form in which it is solved.
 *
 * With x = 1 - beta, the kept share of the emulator, a client that has to finish within T needs
 *   B(x) = (n0 + n1 x) / (T - t0 - d1 x)                         from [JCPBA (6), (8)]
 *   t0 = M a/f, d1 = M e0/f, n0 = |wA|/e_dn + |dwA|/e_up, n1 = |wE|/e_dn
 * where nothing cancels but T - t0 - d1 x itself: in B it is the time that is left for the radio.
 * C3 and C4 bound x from above and below, C5 is sum x >= K (1 - mean_max). */
#ifndef JCPBA_H
#define JCPBA_H

#include "solver.h"

typedef struct {
  double t0, d1; /* s, s per kept share */
  double n0, n1; /* Hz s, Hz s per kept share */
  double kept_max;
} fc_jcpba_client;

typedef struct {
  const fc_jcpba_problem *p;
  const fc_reduction *over;
  fc_jcpba_client *client; /* (p->rows.n) */
  double clients;          /* K, of all ranks */
  double kept_min;         /* of every client */
  double kept_sum;         /* at least, of all clients */
  double kept_slack;       /* by which the sum may be missed: far below 1e-9 of the mean's cap */
} fc_jcpba_work;

static inline double fc_jcpba_compute_s(const fc_jcpba_client *c, double kept) {
  return c->t0 + c->d1 * kept;
}
/* What is to be sent, in Hz s: seconds at a bandwidth of 1 Hz. */
static inline double fc_jcpba_load(const fc_jcpba_client *c, double kept) {
  return c->n0 + c->n1 * kept;
}

/* Collective. T such that the kept shares `kept` (n) with the best bandwidths take at most T, and
 * those bandwidths; *latency_s: T. */
fc_err fc_jcpba_bandwidths(const fc_jcpba_work *w, const double *kept, double *bandwidth_hz,
                           double *latency_s);
/* Collective. The best kept shares and bandwidths, and the proved bound. */
fc_err fc_jcpba_exact(const fc_jcpba_work *w, double *kept, double *bandwidth_hz,
                      double *lower_bound_s, int64_t *trials);
/* Collective. [JCPBA, Algorithm 1]. */
fc_err fc_jcpba_bcd(const fc_jcpba_work *w, double *kept, double *bandwidth_hz,
                    int64_t *alternations);

#endif
