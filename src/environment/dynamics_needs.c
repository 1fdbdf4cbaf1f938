/* dynamics_needs.c - what the learned dynamics will take, before anything is made. */
#include "dynamics.h"
#include "fedcell/fc_descent.h"

fc_err fc_dynamics_needs(const fc_config *cfg, const fc_scenario *s, int ranks, int threads,
                         size_t *weights, double *bytes) {
  const fc_environment_settings *set = fc_scenario_settings(s);
  const fc_dynamics_settings d = fc_dynamics_settings_read(cfg);
  const size_t F = (size_t)fc_feature_count(set->devices), D = (size_t)fc_value_count(set->devices);
  const size_t C = (size_t)d.width;
  fc_model_shape shape = fc_network_shape(&d, set->rounds);
  fc_model *model = NULL;
  FC_TRY(fc_model_shape_check(&shape));
  FC_TRY(fc_model_create(&shape, &model));
  const size_t decoder = fc_model_weight_count(model);
  *weights = decoder + C * (F + 1) + 2 * D * (C + 1);
  /* the decoder's own, theta, the best theta; a trajectory a thread */
  *bytes = (double)(decoder + 2 * *weights) * sizeof(float) +
           (double)fc_descent_bytes(&d.optimizer, *weights, ranks) +
           (double)threads * (double)fc_work_bytes(model, NULL, set->rounds, 1, (int)set->rounds,
                                                   FC_WORK_IMPORTANCE);
  fc_model_destroy(&model);
  return FC_ERR_OK;
}
