/* jcpba_fixture.h - JCPBA problems for tests, solved again by plain means. */
#ifndef JCPBA_FIXTURE_H
#define JCPBA_FIXTURE_H

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

enum { CLIENTS_MAX = 200000 };
static double compute_flops[CLIENTS_MAX], downlink_gain[CLIENTS_MAX], uplink_gain[CLIENTS_MAX],
    tx_power_w[CLIENTS_MAX], memory_bytes[CLIENTS_MAX], pruning[CLIENTS_MAX],
    bandwidth[CLIENTS_MAX];

/* The paper's setting with n clients: f = 1e12 U[spread], Rayleigh gains over 60 dB. */
static fc_jcpba_problem problem_of(int n, uint64_t seed, double slow, double fast) {
  for (int k = 0; k < n; k++) {
    fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 0, (uint64_t)k);
    compute_flops[k] = 1e12 * (slow + (fast - slow) * fc_rng_uniform(&rng));
    downlink_gain[k] = 1e-6 * fc_rng_exponential(&rng);
    uplink_gain[k] = 1e-6 * fc_rng_exponential(&rng);
    tx_power_w[k] = 0.2;
    memory_bytes[k] = 4e9 + 4e9 * fc_rng_uniform(&rng);
  }
  return (fc_jcpba_problem){.rows = {n, 0},
                            .compute_flops = compute_flops,
                            .downlink_gain = downlink_gain,
                            .uplink_gain = uplink_gain,
                            .tx_power_w = tx_power_w,
                            .memory_bytes = memory_bytes,
                            .server_power_w = 10,
                            .bandwidth_hz = 12.5e6 * n,
                            .noise_power_w = 4e-13,
                            .iterations = 10,
                            .adapter_flop = 1.55e11,
                            .emulator_flop = 5.7e11,
                            .adapter_bits = 4.03e8,
                            .emulator_bits = 4.43e9,
                            .update_bits = 4.03e8,
                            .adapter_bytes = 5.04e7,
                            .emulator_bytes = 5.54e8,
                            .fixed_bytes = 3.8e9,
                            .pruning_min = 0.1,
                            .pruning_max = 0.9,
                            .pruning_mean_max = 0.5};
}

static fc_jcpba_solution solve_here(const fc_jcpba_problem *p) {
  fc_jcpba_solution s = {.pruning = pruning, .bandwidth_hz = bandwidth};
  OK(fc_jcpba_solve(p, NULL, &s));
  return s;
}

/* ---- the model once more, straight from the paper ----------------------------------------------
 */

static double compute_s(const fc_jcpba_problem *p, int k, double beta) {
  return p->iterations * (p->adapter_flop + p->emulator_flop * (1 - beta)) / p->compute_flops[k];
}

/* Seconds on the air at 1 Hz. */
static double air(const fc_jcpba_problem *p, int k, double beta) {
  double down = log1p(p->server_power_w * p->downlink_gain[k] / p->noise_power_w) / log(2);
  double up = log1p(p->tx_power_w[k] * p->uplink_gain[k] / p->noise_power_w) / log(2);
  return (p->adapter_bits + (1 - beta) * p->emulator_bits) / down + p->update_bits / up;
}

/* The least pruning that client k's memory allows (C3, C4). */
static inline double least_pruning(const fc_jcpba_problem *p, int k) {
  double room = p->memory_bytes[k] - p->adapter_bytes - p->fixed_bytes;
  return p->emulator_bytes > 0 ? fmax(p->pruning_min, 1 - room / p->emulator_bytes)
                               : p->pruning_min;
}

/* The least latency at these pruning rates, by halving. */
static inline double latency_of(const fc_jcpba_problem *p, const double *beta) {
  int n = (int)p->rows.n;
  double lo = 0, total = 0;
  for (int k = 0; k < n; k++) {
    lo = fmax(lo, compute_s(p, k, beta[k]));
    total += air(p, k, beta[k]);
  }
  double hi = lo + total / p->bandwidth_hz;
  while (total > 0 && hi - lo > 1e-13 * hi) {
    double T = lo + (hi - lo) / 2, needed = 0;
    if (T <= lo || T >= hi) break;
    for (int k = 0; k < n; k++) needed += air(p, k, beta[k]) / (T - compute_s(p, k, beta[k]));
    *(needed > p->bandwidth_hz ? &lo : &hi) = T;
  }
  return hi;
}

/* C1-C5 to 1e-9 and the latency that the solution claims. */
static void check_solution(const fc_jcpba_problem *p, const fc_jcpba_solution *s) {
  int n = (int)p->rows.n;
  assert_int_equal(s->answer.status, FC_OPTIMAL);
  assert_string_equal(s->answer.reason, "");
  double band = 0, mean = 0, slowest = 0;
  for (int k = 0; k < n; k++) {
    double beta = s->pruning[k], Bk = s->bandwidth_hz[k];
    assert_true(Bk >= 0 && beta >= p->pruning_min && beta <= p->pruning_max);
    double needed = p->adapter_bytes + p->fixed_bytes + (1 - beta) * p->emulator_bytes;
    assert_true(needed <= p->memory_bytes[k] * (1 + 1e-9));
    band += Bk;
    mean += beta / n;
    double bits_s = air(p, k, beta) > 0 ? air(p, k, beta) / Bk : 0;
    slowest = fmax(slowest, compute_s(p, k, beta) + bits_s);
  }
  assert_true(band <= p->bandwidth_hz * (1 + 1e-9));
  assert_true(mean <= p->pruning_mean_max * (1 + 1e-9));
  assert_true(fabs(slowest - s->latency_s) <= 1e-9 * slowest);
  assert_true(s->lower_bound_s <= s->latency_s);
}

#endif
