/* lowrank_fixture.h - dense products of adapters, for the tests of methods that mix low-rank ones.
 */
#ifndef LOWRANK_FIXTURE_H
#define LOWRANK_FIXTURE_H

#include "single_rank.h"

#include "../../../src/federation/factors.h"
#include "../../../src/federation/ranks.h"

/* Elements of all layers' products together. */
static inline size_t dense_count(const fc_trainable *t) {
  size_t n = 0, sum = 0;
  const fc_trainable_part *p = fc_trainable_parts(t, &n);
  for (size_t i = 0; i < n; i++)
    if (p[i].kind == 'A') sum += (size_t)(p[i + 1].rows * p[i].cols);
  return sum;
}

/* dense += weight g B A of all layers one after the other, in plain loops. */
static inline void add_products(const fc_trainable *t, const float *theta, double weight,
                                double *dense) {
  size_t n = 0;
  const fc_trainable_part *p = fc_trainable_parts(t, &n);
  fc_lora_settings lora = fc_trainable_lora(t);
  double g = (double)lora.alpha / lora.rank;
  for (size_t l = 0; l < n; l++) {
    if (p[l].kind != 'A') continue;
    const float *A = theta + p[l].offset, *B = theta + p[l + 1].offset;
    int64_t R = p[l].rows, in = p[l].cols, out = p[l + 1].rows;
    for (int64_t o = 0; o < out; o++)
      for (int64_t i = 0; i < in; i++)
        for (int64_t r = 0; r < R; r++)
          dense[o * in + i] += weight * g * (double)B[o * R + r] * (double)A[r * in + i];
    dense += out * in;
  }
}

static inline double norm_of(const double *x, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
  return sqrt(sum);
}

/* p_k by samples of participant i among those that arrived. */
static inline double share_of(const fc_round *round, uint32_t i) {
  double total = 0;
  for (uint32_t k = 0; k < round->n; k++)
    if (round->all[k].cost.delivered) total += round->all[k].samples;
  return round->all[i].cost.delivered ? round->all[i].samples / total : 0.0;
}

/* (dense_count) the exact weighted mean of the products of the rows of round->theta, which have the
 * run's layout. */
static inline double *mean_product(const fc_federation *fed, const fc_round *round) {
  const fc_trainable *t = fed->task.trainable;
  double *mean = new_memory(dense_count(t), sizeof *mean);
  for (uint32_t i = 0; i < round->n; i++)
    add_products(t, round->theta + i * fed->P, share_of(round, i), mean);
  return mean;
}

/* |products of the global model - mean| / |mean| */
static inline double error_of(const fc_federation *fed, const double *mean) {
  size_t n = dense_count(fed->task.trainable);
  double *x = new_memory(n, sizeof *x);
  for (size_t i = 0; i < n; i++) x[i] = -mean[i];
  add_products(fed->task.trainable, fed->theta, 1, x);
  double error = norm_of(x, n) / norm_of(mean, n);
  fc_free(x);
  return error;
}

/* Row i of the round becomes random numbers, in the layout of the device's own rank; then it is
 * widened, as after training. */
static inline void train_at_random(fc_federation *fed, fc_round *round, uint64_t seed) {
  for (uint32_t i = 0; i < round->n; i++) {
    const fc_trainable *t = fc_trainable_of(fed, &round->all[i]);
    random_floats(seed + i, fc_trainable_count(t), round->theta + i * fed->P);
    round->all[i].cost.delivered = true;
  }
  OK(fc_ranks_widen(fed, round, NULL));
}

#endif
