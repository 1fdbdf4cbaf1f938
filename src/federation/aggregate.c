/* aggregate.c - the weighted mean of what devices trained, in 64-bit fixed point.
 *
 * theta <- theta + sum_k p_k (theta_k - theta), p_k = |D_k| / sum_j |D_j| over the delivered ones
 * [FedAvg; JCPBA (4)]. As sum_k p_k = 1, no sum exceeds the largest single change, whose maximum
 * over all ranks fixes the common scale: integer sums are exact, so ranks and order do not matter.
 */
#include "federation.h"
#include <math.h>

/* round->theta <- theta_k - theta, in place; *largest its greatest magnitude. */
static fc_err changes(fc_federation *fed, fc_round *round, double *largest) {
  for (uint32_t i = 0; i < round->count; i++) {
    const fc_participant *p = &round->all[round->first + i];
    if (!p->cost.delivered) continue;
    float *theta = round->theta + (size_t)i * fed->P;
    fc_k_axpy(theta, -1.0f, fed->theta, (int64_t)fed->P);
    float own = fc_k_max_abs(theta, (int64_t)fed->P);
    FC_CHECK(isfinite(own), NUMERIC,
             "round %lld: the update of device %u is not finite (learning rate %g too high?)",
             (long long)round->number, p->device, (double)fed->set.local.optimizer.learning_rate);
    *largest = fc_exact_larger(*largest, (double)own);
  }
  return FC_ERR_OK;
}

static double weight_of(const fc_federation *fed, const fc_participant *p) {
  if (!p->cost.delivered) return 0.0;
  return fed->set.weight_by_samples ? p->samples : 1.0;
}

fc_err fc_aggregate_mean(fc_federation *fed, fc_round *round) {
  double largest = 0;
  FC_TRY(fc_agree(fed->comm, changes(fed, round, &largest)));
  FC_TRY(fc_comm_max(fed->comm, &largest, 1));
  int64_t weights = 0; /* whole numbers: exact */
  for (uint32_t i = 0; i < round->count; i++)
    weights += llrint(weight_of(fed, &round->all[round->first + i]));
  FC_TRY(fc_comm_sum_i64(fed->comm, &weights, 1));
  if (weights == 0 || largest == 0) return FC_ERR_OK; /* nothing arrived: the model stays */

  int64_t *sum = NULL;
  float *mean = NULL;
  double scale = fc_exact_scale(largest, 61);
  fc_err err = fc_alloc(fed->P, sizeof *sum, &sum);
  if (err == FC_ERR_OK) err = fc_alloc(fed->P, sizeof *mean, &mean);
  FC_TRY_GOTO(err, fc_agree(fed->comm, err), done);
  for (uint32_t i = 0; i < round->count; i++) {
    double p = weight_of(fed, &round->all[round->first + i]) / (double)weights;
    if (p > 0) fc_k_fixed_add(sum, round->theta + (size_t)i * fed->P, p, scale, (int64_t)fed->P);
  }
  FC_TRY_GOTO(err, fc_comm_sum_i64_root(fed->comm, sum, fed->P, 0), done);
  if (fed->comm->rank == 0) { /* the base station */
    fc_k_fixed_get(mean, sum, scale, (int64_t)fed->P);
    fc_k_axpy(fed->theta, 1.0f, mean, (int64_t)fed->P);
  }
  err = fc_comm_broadcast(fed->comm, fed->theta, fed->P * sizeof(float), 0);
done:
  fc_free(sum);
  fc_free(mean);
  return err;
}
