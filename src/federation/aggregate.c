/* aggregate.c - the weighted mean of what devices trained.
 *
 * theta <- theta + sum_k p_k (theta_k - theta), p_k = |D_k| / sum_j |D_j| over the delivered ones
 * [FedAvg; JCPBA (4)], summed in fixed point (fc_mean.h).
 */
#include "federation.h"
#include "fedcell/fc_mean.h"
#include <assert.h>
#include <math.h>

/* The global model that the participant learns for. */
static float *global_of(const fc_federation *fed, int module) {
  return fed->theta + (size_t)module * fed->P;
}

static double weight_of(const fc_federation *fed, const fc_participant *p, int module) {
  if (!p->cost.delivered || p->module != module) return 0.0;
  return fed->set.weight_by_samples ? p->samples : 1.0;
}

/* weight (count) <- p_k of own participants, 0 where nothing arrived; *any: something did. */
static fc_err find_weights(const fc_federation *fed, const fc_round *round, int module,
                           double *weight, bool *any) {
  int64_t total = 0; /* whole numbers: exact */
  for (uint32_t i = 0; i < round->count; i++)
    total += llrint(weight_of(fed, &round->all[round->first + i], module));
  FC_TRY(fc_comm_sum_i64(fed->comm, &total, 1));
  for (uint32_t i = 0; i < round->count; i++)
    weight[i] = total ? weight_of(fed, &round->all[round->first + i], module) / (double)total : 0.0;
  *any = total > 0;
  return FC_ERR_OK;
}

/* The same for parts that no two devices share: each counts whole. */
static fc_err find_ones(const fc_federation *fed, const fc_round *round, int module, double *weight,
                        bool *any) {
  int64_t delivered = 0;
  for (uint32_t i = 0; i < round->count; i++) {
    weight[i] = round->all[round->first + i].cost.delivered &&
                round->all[round->first + i].module == module;
    delivered += weight[i] > 0;
  }
  FC_TRY(fc_comm_sum_i64(fed->comm, &delivered, 1));
  *any = delivered > 0;
  return FC_ERR_OK;
}

void fc_measure_change(const fc_federation *fed, fc_participant *p, const float *theta) {
  p->change = (double)fc_k_max_abs_difference(theta, global_of(fed, p->module), (int64_t)fed->P);
}

/* The greatest change of what was delivered here. */
static fc_err largest_change(const fc_federation *fed, const fc_round *round, int module,
                             double *largest) {
  *largest = 0;
  for (uint32_t i = 0; i < round->count; i++) {
    const fc_participant *p = &round->all[round->first + i];
    if (!p->cost.delivered || p->module != module) continue;
    FC_CHECK(isfinite(p->change), NUMERIC,
             "round %lld: the update of device %u is not finite (learning rate %g too high?)",
             (long long)round->number, p->device, (double)fed->set.local.optimizer.learning_rate);
    assert(p->change == (double)fc_k_max_abs_difference(round->theta + (size_t)i * fed->P,
                                                        global_of(fed, module), (int64_t)fed->P));
    *largest = fc_exact_larger(*largest, p->change);
  }
  return FC_ERR_OK;
}

/* On rank 0, the base station, theta takes the mean change; then it goes to all. */
static fc_err take_step(fc_federation *fed, float *theta, fc_mean *mean, float *step) {
  FC_TRY(fc_mean_take(mean, step));
  if (fed->comm->rank == 0) fc_k_axpy(theta, 1.0f, step, (int64_t)fed->P);
  return fc_comm_broadcast(fed->comm, theta, fed->P * sizeof(float), 0);
}

typedef fc_err weigher(const fc_federation *fed, const fc_round *round, int module, double *weight,
                       bool *any);

static fc_err aggregate(fc_federation *fed, fc_round *round, int module, weigher *weigh) {
  double *weight = NULL, largest = 0;
  float *theta = global_of(fed, module), *step = NULL;
  fc_mean *mean = NULL;
  bool any = false;
  fc_err err = fc_alloc(round->count, sizeof *weight, &weight);
  if (err == FC_ERR_OK) err = fc_alloc(fed->P, sizeof *step, &step);
  if (err == FC_ERR_OK) err = largest_change(fed, round, module, &largest);
  FC_TRY_GOTO(err, fc_agree(fed->comm, err), done);
  FC_TRY_GOTO(err, weigh(fed, round, module, weight, &any), done);
  if (!any) goto done; /* nothing arrived: the model stays */
  FC_TRY_GOTO(err, fc_mean_create(fed->comm, fed->P, largest, &mean), done);
  fc_mean_add(mean, round->theta, (int64_t)fed->P, theta, weight, round->count);
  err = take_step(fed, theta, mean, step);
done:
  fc_mean_destroy(&mean);
  fc_free(weight);
  fc_free(step);
  return err;
}

fc_err fc_aggregate_mean(fc_federation *fed, fc_round *round) {
  for (int m = 0; m < fed->set.modules; m++) FC_TRY(aggregate(fed, round, m, find_weights));
  return FC_ERR_OK;
}

fc_err fc_aggregate_disjoint(fc_federation *fed, fc_round *round) {
  return aggregate(fed, round, 0, find_ones);
}
