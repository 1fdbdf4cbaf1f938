/* method_fedfull.c - FedAvg of all weights, without adapters: the "full-parameter" baseline of
 * [SW].
 *
 * Its bill is the common rule of thumb, 6 FLOP per weight and token (2 each for the forward pass
 * and the gradients of activations and weights), every weight sent both ways; embeddings count,
 * though looking them up takes no work. */
#include "federation.h"

static void bill(const fc_federation *fed, const fc_round *round, fc_participant *p) {
  (void)round;
  double bits = (double)fed->P * fed->set.bits_per_weight;
  p->load = (fc_work_load){
      .flop = 6.0 * (double)fed->P * p->tokens, .downlink_bits = bits, .uplink_bits = bits};
}

const fc_method fc_method_fedfull = {
    .name = "fedfull",
    .meaning = "FedAvg of all weights, trained and sent in full: what adapters save",
    .uses_radio = true,
    .trains_all = true,
    .plan = fc_plan_random,
    .train = fc_train_from_global,
    .server = fc_aggregate_mean,
    .evaluate = fc_evaluate_theta,
    .bill = bill,
};
