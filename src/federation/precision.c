/* precision.c - f32 or bf16 for the products with frozen weights, the same way on all ranks. */
#include "federation.h"
#include <string.h>

/* The worst of the ranks' paths. */
static fc_err use_worst_path(const fc_comm *comm) {
  int own = 0;
  while (strcmp(fc_k_bf16_path_name(own), fc_k_bf16_path()) != 0) own++;
  double worst = own;
  FC_TRY(fc_comm_max(comm, &worst, 1));
  const char *path = fc_k_bf16_path_name((int)worst);
  FC_CHECK(fc_k_bf16_use_path(path), PEER, "the bf16 path %s of another rank cannot run here",
           path);
  return FC_ERR_OK;
}

fc_err fc_precision_agree(const fc_comm *comm) {
  return fc_agree(comm, use_worst_path(comm));
}

fc_err fc_precision_pick(const fc_comm *comm, const fc_config *cfg, bool *is_bf16) {
  const char *precision = fc_config_string(cfg, "model.precision");
  bool has_frozen = !fc_task_trains_all(cfg);
  if (comm) FC_TRY(fc_precision_agree(comm));
  *is_bf16 = strcmp(precision, "bf16") == 0 ||
             (strcmp(precision, "auto") == 0 && has_frozen && fc_k_bf16_is_fast());
  return FC_ERR_OK;
}
