/* method_fedlora.c - FedAvg of LoRA factors (and of the modules trained whole): every round a
 * random part of the devices trains from the global adapter, uploads it, and the base station
 * averages what was delivered [FedAvg; SW, baseline "FedLoRA"]. */
#include "factors.h"

const fc_method fc_method_fedlora = {
    .name = "fedlora",
    .meaning = "FedAvg of LoRA factors: a random part of the devices trains from the global "
               "adapter, the base station averages what arrives",
    .uses_radio = true,
    .plan = fc_plan_random,
    .train = fc_train_from_global,
    .server = fc_aggregate_measured,
    .evaluate = fc_evaluate_theta,
    .more_bytes = fc_layers_more_bytes,
};
