/* method_fedlora.c - FedAvg of LoRA factors (and of the modules trained whole): every round a
 * random part of the devices trains from the global adapter, uploads it, and the base station
 * averages what was delivered [FedAvg; SW, baseline "FedLoRA"]. */
#include "federation.h"
#include <string.h>

static fc_err train(fc_federation *fed, fc_round *round) {
  for (uint32_t i = 0; i < round->count; i++)
    memcpy(round->theta + (size_t)i * fed->P, fed->theta, fed->P * sizeof(float));
  FC_TRY(fc_agree(fed->comm, fc_train_participants(fed, round)));
  return fc_plan_deliver(fed, round);
}

static fc_err evaluate(fc_federation *fed, fc_metrics *m) {
  return fc_evaluate_global(fed, fed->theta, m);
}

const fc_method fc_method_fedlora = {
    .name = "fedlora",
    .meaning = "FedAvg of LoRA factors: a random part of the devices trains from the global "
               "adapter, the base station averages what arrives",
    .uses_radio = true,
    .plan = fc_plan_random,
    .train = train,
    .server = fc_aggregate_mean,
    .evaluate = evaluate,
};
