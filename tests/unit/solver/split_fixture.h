/* split_fixture.h - split learning problems for tests, solved again by plain means. */
#ifndef SPLIT_FIXTURE_H
#define SPLIT_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "fedcell/fc_rng.h"
#include "fedcell/fc_solver.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define OK(call)                                                                                   \
  do {                                                                                             \
    if ((call) != FC_ERR_OK) fail_msg("%s: %s", #call, fc_err_message());                          \
  } while (0)

enum { CLIENTS_MAX = 200 };
static double compute_flops[CLIENTS_MAX], downlink[CLIENTS_MAX], uplink[CLIENTS_MAX],
    tx_power_w[CLIENTS_MAX], compute_energy_j[CLIENTS_MAX], energy_queue[CLIENTS_MAX],
    participation_queue[CLIENTS_MAX], selected[CLIENTS_MAX], bandwidth[CLIENTS_MAX];

static double uniform(fc_rng *rng, double least, double most) {
  return least + (most - least) * fc_rng_uniform(rng);
}

/* n clients of which some are slow, queues that weigh about as much as the penalty. */
static fc_split_problem problem_of(int n, uint64_t seed, int budget) {
  for (int k = 0; k < n; k++) {
    fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 3, (uint64_t)k);
    compute_flops[k] = 1e10 * uniform(&rng, 0.2, 2.5);
    downlink[k] = uniform(&rng, 1, 10);
    uplink[k] = uniform(&rng, 0.3, 8);
    tx_power_w[k] = uniform(&rng, 0.1, 0.5);
    compute_energy_j[k] = uniform(&rng, 0, 1);
    energy_queue[k] = 5 * fc_rng_exponential(&rng);
    participation_queue[k] = uniform(&rng, 0, 3);
  }
  return (fc_split_problem){.rows = {n, 0},
                            .compute_flops = compute_flops,
                            .downlink_spectral_efficiency = downlink,
                            .uplink_spectral_efficiency = uplink,
                            .tx_power_w = tx_power_w,
                            .compute_energy_j = compute_energy_j,
                            .energy_queue = energy_queue,
                            .participation_queue = participation_queue,
                            .bandwidth_hz = 1e8,
                            .server_flops = 1e14,
                            .iterations = 10,
                            .device_flop = 1e9,
                            .server_flop = 3.5e11,
                            .uplink_bits = 2.5e7,
                            .downlink_bits = 1.25e7,
                            .penalty_weight = 100,
                            .round_weight = 0.8,
                            .latency_queue = 3,
                            .deadline_s = budget == FC_SPLIT_LATENCY ? (double)NAN : 8,
                            .budget = budget};
}

static fc_split_solution solve_here(const fc_split_problem *p) {
  fc_split_solution s = {.selected = selected, .bandwidth_hz = bandwidth};
  OK(fc_split_solve(p, NULL, &s));
  return s;
}

/* ---- the model once more, straight from the paper ----------------------------------------------
 */

static double compute_s(const fc_split_problem *p, int k) {
  return p->iterations * p->device_flop / p->compute_flops[k];
}

/* Seconds on the air at 1 Hz. */
static double air(const fc_split_problem *p, int k) {
  return p->iterations * (p->uplink_bits / p->uplink_spectral_efficiency[k] +
                          p->downlink_bits / p->downlink_spectral_efficiency[k]);
}

static double server_s(const fc_split_problem *p, int m) {
  return p->server_flop > 0 ? p->iterations * m * p->server_flop / p->server_flops : 0;
}

static double energy_j(const fc_split_problem *p, int k, double bandwidth_hz) {
  const double load = p->iterations * p->uplink_bits / p->uplink_spectral_efficiency[k];
  const double uplink_s = load > 0 ? load / bandwidth_hz : 0;
  return p->tx_power_w[k] * uplink_s + p->compute_energy_j[k];
}

static int count(const fc_split_problem *p, const double *in) {
  int m = 0;
  for (int k = 0; k < p->rows.n; k++) m += in[k] == 1;
  return m;
}

/* What the budget minimises, at these bandwidths. */
static inline double objective_of(const fc_split_problem *p, const double *in,
                                  const double *bandwidth_hz, double latency_s) {
  double sum = p->penalty_weight * p->round_weight / count(p, in);
  if (p->budget == FC_SPLIT_LATENCY) return sum + p->latency_queue * latency_s;
  for (int k = 0; k < p->rows.n; k++) {
    if (in[k] == 0) continue;
    if (p->budget == FC_SPLIT_PARTICIPATION)
      sum -= p->participation_queue[k];
    else
      sum += p->energy_queue[k] * energy_j(p, k, bandwidth_hz[k]);
  }
  return sum;
}

/* Whole participants, B, the deadline, the latency and the objective that the solution claims. */
static inline void check_solution(const fc_split_problem *p, const fc_split_solution *s) {
  double band = 0, slowest = 0;
  assert_int_equal(s->answer.status, FC_OPTIMAL);
  assert_string_equal(s->answer.reason, "");
  for (int k = 0; k < p->rows.n; k++) {
    assert_true(s->selected[k] == 0 || s->selected[k] == 1);
    assert_true(s->selected[k] == 1 || s->bandwidth_hz[k] == 0);
    if (s->selected[k] == 0) continue;
    band += s->bandwidth_hz[k];
    slowest = fmax(slowest, compute_s(p, k) + (air(p, k) > 0 ? air(p, k) / s->bandwidth_hz[k] : 0));
  }
  const int m = count(p, s->selected);
  slowest += server_s(p, m);
  assert_true(m > 0 && band <= p->bandwidth_hz * (1 + 1e-9));
  assert_true(fabs(slowest - s->latency_s) <= 1e-9 * slowest);
  if (p->budget != FC_SPLIT_LATENCY) assert_true(slowest <= p->deadline_s * (1 + 1e-9));
  const double objective = objective_of(p, s->selected, s->bandwidth_hz, s->latency_s);
  assert_true(fabs(objective - s->objective) <= 1e-9 * fmax(1, fabs(objective)));
}

/* ---- exhaustive --------------------------------------------------------------------------------
 */

/* The least latency of a set, by halving. */
static inline double latency_of(const fc_split_problem *p, const double *in) {
  double lo = 0, load = 0;
  for (int k = 0; k < p->rows.n; k++) {
    if (in[k] == 0) continue;
    lo = fmax(lo, compute_s(p, k));
    load += air(p, k);
  }
  double hi = lo + (load > 0 ? load / p->bandwidth_hz : 0);
  while (hi - lo > 1e-14 * hi) {
    const double T = lo + (hi - lo) / 2;
    double needed = 0;
    if (T <= lo || T >= hi) break;
    for (int k = 0; k < p->rows.n; k++)
      if (in[k] == 1) needed += air(p, k) / (T - compute_s(p, k));
    *(needed > p->bandwidth_hz ? &lo : &hi) = T;
  }
  return hi + server_s(p, count(p, in));
}

/* Bandwidths of a set by the deadline with the least energies: the price of band, by halving. */
static inline bool cheapest_bands(const fc_split_problem *p, const double *in, double *band) {
  double least[CLIENTS_MAX], weight[CLIENTS_MAX], asked = 0;
  for (int k = 0; k < p->rows.n; k++) {
    const double left = p->deadline_s - server_s(p, count(p, in)) - compute_s(p, k);
    band[k] = least[k] = in[k] == 0 ? 0 : left > 0 ? air(p, k) / left : INFINITY;
    weight[k] = p->budget == FC_SPLIT_ENERGY && in[k] == 1
                    ? p->energy_queue[k] * p->tx_power_w[k] * p->iterations * p->uplink_bits /
                          p->uplink_spectral_efficiency[k]
                    : 0;
    asked += least[k];
  }
  double lo = 0, hi = 1e40;
  for (int i = 0; i < 2000 && hi > lo * (1 + 1e-15); i++) {
    const double price = lo > 0 ? sqrt(lo) * sqrt(hi) : hi * 1e-6;
    double sum = 0;
    for (int k = 0; k < p->rows.n; k++) sum += fmax(least[k], sqrt(weight[k] / price));
    *(sum > p->bandwidth_hz ? &lo : &hi) = price;
    if (hi < 1e-40) break; /* no energy counts */
  }
  for (int k = 0; k < p->rows.n; k++) band[k] = fmax(least[k], sqrt(weight[k] / hi));
  return asked <= p->bandwidth_hz;
}

/* The least objective of all sets; INFINITY if none meets the deadline. */
static inline double best_of_sets(const fc_split_problem *p) {
  const int K = (int)p->rows.n;
  double best = INFINITY, in[CLIENTS_MAX], band[CLIENTS_MAX];
  for (int set = 1; set < 1 << K; set++) {
    double latency_s = 0;
    for (int k = 0; k < K; k++) in[k] = set >> k & 1;
    if (p->budget == FC_SPLIT_LATENCY)
      latency_s = latency_of(p, in);
    else if (!cheapest_bands(p, in, band))
      continue;
    best = fmin(best, objective_of(p, in, band, latency_s));
  }
  return best;
}

#endif
