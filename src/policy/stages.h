/* stages.h - what is prepared before a policy can be judged: a chain of stages, each with a product
 * in the cache whose name tells what it depends on. */
#ifndef STAGES_H
#define STAGES_H

#include "fedcell/fc_policy.h"

typedef enum {
  FC_STAGE_TRAJECTORIES,
  FC_STAGE_DYNAMICS,
  FC_STAGE_WARM_UP,
  FC_STAGE_GRPO,
  FC_STAGE_PPO,
  FC_STAGE_FLDLT3,
  FC_STAGES
} fc_stage;

const char *fc_stage_name(fc_stage stage);
/* The stages, bit s for stage s, that policy.agent needs and where it is judged. */
unsigned fc_stages_needed(const fc_config *cfg);
/* evaluation.environment: learned. */
bool fc_is_judged_in_learned(const fc_config *cfg);
/* Local. Where its product lies; caller frees. */
fc_err fc_stage_path(const fc_config *cfg, fc_stage stage, char **path);

/* ---- logs of training (logs.c) ----------------------------------------------------------------
 */

/* What a stage's folder tells of its course: log.h5 with one table. */
typedef struct {
  const char *group; /* in results, "/training" */
  const fc_column *columns;
  size_t n;
} fc_log_kind;
extern const fc_log_kind fc_log_dynamics, fc_log_fidelity, fc_log_warm_up, fc_log_training;
/* Local. */
fc_err fc_log_dynamics_row(fc_table *t, const fc_dynamics_report *r);
fc_err fc_log_fidelity_row(fc_table *t, const fc_fidelity *f);
fc_err fc_log_warm_up_row(fc_table *t, const fc_warm_report *r);
fc_err fc_log_training_row(fc_table *t, const fc_train_report *r);
/* Collective. Tables (rows on rank 0 alone) of kinds (n) into folder/log.h5. */
fc_err fc_log_write(const fc_comm *comm, const fc_config *cfg, const fc_prepare_request *request,
                    const char *folder, const fc_log_kind *const *kinds, fc_table *const *tables,
                    int n);

#endif
