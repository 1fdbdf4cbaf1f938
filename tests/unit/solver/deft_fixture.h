/* deft_fixture.h - DEFT problems for tests, solved again by plain means. */
#ifndef DEFT_FIXTURE_H
#define DEFT_FIXTURE_H

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

enum { CLIENTS_MAX = 300 };
static double compute_flops[CLIENTS_MAX], downlink[CLIENTS_MAX], uplink[CLIENTS_MAX],
    memory_bytes[CLIENTS_MAX], first_block[CLIENTS_MAX], blocks[CLIENTS_MAX],
    bandwidth[CLIENTS_MAX];

static double uniform(fc_rng *rng, double least, double most) {
  return least + (most - least) * fc_rng_uniform(rng);
}

/* The setting of [JCPBA] with n clients and L blocks; memory binds for some. */
static fc_deft_problem problem_of(int n, int L, uint64_t seed) {
  for (int k = 0; k < n; k++) {
    fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 0, (uint64_t)k);
    compute_flops[k] = 1e12 * uniform(&rng, 0.2, 2.5);
    downlink[k] = uniform(&rng, 5, 25);
    uplink[k] = uniform(&rng, 3, 20);
    memory_bytes[k] = 1e9 * uniform(&rng, 2.8, 6);
  }
  return (fc_deft_problem){.rows = {n, 0},
                           .compute_flops = compute_flops,
                           .downlink_spectral_efficiency = downlink,
                           .uplink_spectral_efficiency = uplink,
                           .memory_bytes = memory_bytes,
                           .bandwidth_hz = 12.5e6 * n,
                           .blocks = L,
                           .iterations = 10,
                           .head_flop = 1e9,
                           .forward_flop_per_block = 2.6e10,
                           .activation_flop_per_block = 2.6e10,
                           .weight_flop_per_block = 2.6e10,
                           .download_bits = 2e8 * L,
                           .upload_bits_per_block = 2e8,
                           .base_bytes = 2.2e9,
                           .activation_bytes_per_block = 5e7,
                           .optimizer_bytes_per_block = 1.5e8};
}

static fc_deft_solution solve_here(const fc_deft_problem *p) {
  fc_deft_solution s = {.first_block = first_block, .blocks = blocks, .bandwidth_hz = bandwidth};
  OK(fc_deft_solve(p, NULL, &s));
  return s;
}

/* ---- the model once more, straight from the paper ----------------------------------------------
 */

static double compute_s(const fc_deft_problem *p, int k, int q, int n) {
  return p->iterations *
         (p->head_flop + p->blocks * p->forward_flop_per_block + q * p->activation_flop_per_block +
          n * p->weight_flop_per_block) /
         p->compute_flops[k];
}

/* Seconds on the air at 1 Hz. */
static double air(const fc_deft_problem *p, int k, int n) {
  return (p->download_bits + n * p->download_bits_per_block) / p->downlink_spectral_efficiency[k] +
         n * p->upload_bits_per_block / p->uplink_spectral_efficiency[k];
}

static double needed_bytes(const fc_deft_problem *p, int q, int n) {
  return p->base_bytes + q * p->activation_bytes_per_block + n * p->optimizer_bytes_per_block;
}

/* Each block once, B, memory, the latency that the solution claims, and its bound. */
static inline void check_solution(const fc_deft_problem *p, const fc_deft_solution *s) {
  int owners[FC_DEFT_BLOCKS_MAX] = {0};
  double band = 0, slowest = 0;
  assert_int_equal(s->answer.status, FC_OPTIMAL);
  assert_string_equal(s->answer.reason, "");
  for (int k = 0; k < p->rows.n; k++) {
    const int n = (int)s->blocks[k], first = (int)s->first_block[k], q = (int)p->blocks - first;
    if (n == 0) {
      assert_true(s->first_block[k] == -1 && s->bandwidth_hz[k] == 0);
      continue;
    }
    assert_true(n == s->blocks[k] && first == s->first_block[k] && first >= 0 && n <= q);
    for (int l = first; l < first + n; l++) owners[l]++;
    assert_true(needed_bytes(p, q, n) <= p->memory_bytes[k] * (1 + 1e-9));
    band += s->bandwidth_hz[k];
    slowest = fmax(slowest, compute_s(p, k, q, n) +
                                (air(p, k, n) > 0 ? air(p, k, n) / s->bandwidth_hz[k] : 0));
  }
  for (int l = 0; l < p->blocks; l++) assert_int_equal(owners[l], 1);
  assert_true(band <= p->bandwidth_hz * (1 + 1e-9));
  assert_true(fabs(slowest - s->latency_s) <= 1e-9 * slowest);
  assert_true(s->lower_bound_s <= s->latency_s && s->lower_bound_s >= 0);
}

/* ---- exhaustive --------------------------------------------------------------------------------
 */

/* Depth and number of each client's blocks; n = 0: none. */
typedef struct {
  int q[CLIENTS_MAX], n[CLIENTS_MAX];
} owned;

static bool meets(const fc_deft_problem *p, const owned *o, double T) {
  double band = 0;
  for (int k = 0; k < p->rows.n; k++) {
    if (o->n[k] == 0) continue;
    const double left = T - compute_s(p, k, o->q[k], o->n[k]);
    if (needed_bytes(p, o->q[k], o->n[k]) > p->memory_bytes[k] || left <= 0) return false;
    const double one = air(p, k, o->n[k]) / left;
    if (p->bandwidth == FC_DEFT_EQUAL && one > p->bandwidth_hz / (double)p->rows.n) return false;
    band += one;
  }
  return p->bandwidth == FC_DEFT_EQUAL || band <= p->bandwidth_hz;
}

/* *best: the least latency so far; becomes that of o if it is less. */
static void look(const fc_deft_problem *p, const owned *o, double *best) {
  double lo = 0, hi = *best;
  if (!meets(p, o, hi * (1 - 1e-12))) return;
  while (hi - lo > 1e-13 * hi) {
    const double T = lo + (hi - lo) / 2;
    if (T <= lo || T >= hi) break;
    *(meets(p, o, T) ? &hi : &lo) = T;
  }
  *best = hi;
}

static void runs_from(const fc_deft_problem *p, int q, owned *o, double *best) {
  if (q == 0) {
    look(p, o, best);
    return;
  }
  for (int k = 0; k < p->rows.n; k++) {
    if (o->n[k] > 0) continue;
    for (int n = 1; n <= q; n++) {
      o->q[k] = q;
      o->n[k] = n;
      runs_from(p, q - n, o, best);
    }
    o->n[k] = 0;
  }
}

/* Of all ways to cut the blocks into runs; 1e30 if there is none. */
static inline double best_of_runs(const fc_deft_problem *p) {
  owned o = {{0}, {0}};
  double best = 1e30;
  runs_from(p, (int)p->blocks, &o, &best);
  return best;
}

/* Of all ways to give each block to anyone, in a row or not. */
static inline double best_of_all(const fc_deft_problem *p) {
  const int K = (int)p->rows.n, L = (int)p->blocks;
  double best = 1e30;
  long ways = 1;
  for (int l = 0; l < L; l++) ways *= K;
  for (long way = 0; way < ways; way++) {
    owned o = {{0}, {0}};
    long rest = way;
    for (int q = 1; q <= L; q++, rest /= K) {
      const int k = (int)(rest % K);
      o.q[k] = q;
      o.n[k]++;
    }
    look(p, &o, &best);
  }
  return best;
}

#endif
