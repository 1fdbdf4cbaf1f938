/* logs.c - how the stages went, as tables: written beside each product, and copied into results so
 * that those are whole by themselves. */
#include "fedcell/fc_mem.h"
#include "stages.h"
#include <stdio.h>
#include <string.h>

#define KIND(log, path)                                                                            \
  const fc_log_kind fc_log_##log = {path, log##_columns,                                           \
                                    sizeof log##_columns / sizeof *log##_columns}

static const fc_column dynamics_columns[] = {
    {"epoch", "", "epochs done", FC_COLUMN_I64},
    {"loss", "", "training loss, mean over the epoch", FC_COLUMN_F64},
    {"statistics_mse", "", "squared error of standardised statistics, training", FC_COLUMN_F64},
    {"accuracy_mse", "", "squared error of the standardised accuracy, training", FC_COLUMN_F64},
    {"validation_statistics_mse", "", "the same on held-out trajectories", FC_COLUMN_F64},
    {"validation_accuracy_mse", "", "the same on held-out trajectories", FC_COLUMN_F64},
};
KIND(dynamics, "/dynamics");

fc_err fc_log_dynamics_row(fc_table *t, const fc_dynamics_report *r) {
  const double row[] = {(double)r->epoch,
                        r->loss,
                        r->statistics_mse,
                        r->accuracy_mse,
                        r->validation_statistics_mse,
                        r->validation_accuracy_mse};
  return fc_table_append(t, (int64_t)fc_table_rows(t), row);
}

static const fc_column fidelity_columns[] = {
    {"horizon", "rounds", "rounds that the model ran freely from a recorded state", FC_COLUMN_I64},
    {"accuracy_rmse", "", "root mean square error of the accuracy", FC_COLUMN_F64},
    {"statistics_rmse", "", "the same of the statistics, in standard deviations", FC_COLUMN_F64},
    {"reward_mae", "", "mean error of a normalised reward", FC_COLUMN_F64},
    {"return_mae", "", "mean error of the sum of normalised rewards", FC_COLUMN_F64},
    {"bound", "", "(h^2 - h) R eps of Theorem 2", FC_COLUMN_F64},
    {"epsilon", "", "total variation between predicted and real distribution", FC_COLUMN_F64},
    {"vacuous", "", "1: the bound says no more than the rewards' range", FC_COLUMN_U8},
};
KIND(fidelity, "/fidelity");

fc_err fc_log_fidelity_row(fc_table *t, const fc_fidelity *f) {
  const double row[] = {(double)f->horizon, f->accuracy_rmse, f->statistics_rmse, f->reward_mae,
                        f->return_mae,      f->bound,         f->epsilon,         f->vacuous};
  return fc_table_append(t, (int64_t)fc_table_rows(t), row);
}

static const fc_column warm_up_columns[] = {
    {"step", "", "optimiser steps done", FC_COLUMN_I64},
    {"loss", "nat", "loss per token of the recorded answers", FC_COLUMN_F64},
    {"validation_loss", "nat", "the same on held-out answers; NaN between validations",
     FC_COLUMN_F64},
    {"validation_valid", "", "share of the likeliest answers that are valid", FC_COLUMN_F64},
};
KIND(warm_up, "/warm_up");

fc_err fc_log_warm_up_row(fc_table *t, const fc_warm_report *r) {
  const double row[] = {(double)r->step, r->loss, r->validation_loss, r->validation_valid};
  return fc_table_append(t, (int64_t)fc_table_rows(t), row);
}

static const fc_column training_columns[] = {
    {"iteration", "", "iterations done", FC_COLUMN_I64},
    {"reward_mean", "", "mean reward of a round", FC_COLUMN_F64},
    {"reward_std", "", "its standard deviation over the batch", FC_COLUMN_F64},
    {"return_mean", "", "sum of an episode's rewards, mean over the batch", FC_COLUMN_F64},
    {"accuracy", "", "test accuracy after the last round", FC_COLUMN_F64},
    {"energy_j", "J", "mean energy of a round", FC_COLUMN_F64},
    {"zero_spread", "", "share of the rounds whose rewards are all alike", FC_COLUMN_F64},
    {"kl_reference", "nat", "k3 divergence from the reference policy, per token", FC_COLUMN_F64},
    {"kl_old", "nat", "divergence from the policy that acted", FC_COLUMN_F64},
    {"entropy", "nat", "entropy of the next token", FC_COLUMN_F64},
    {"clip_low", "", "share of the ratios that the lower limit binds", FC_COLUMN_F64},
    {"clip_high", "", "share of the ratios that the upper limit binds", FC_COLUMN_F64},
    {"effective_sample", "", "(sum of ratios)^2 / (n sum of squared ratios)", FC_COLUMN_F64},
    {"gradient_norm", "", "norm of the gradient, mean over steps", FC_COLUMN_F64},
    {"value_loss", "", "loss of the value head; NaN without one", FC_COLUMN_F64},
    {"explained_variance", "", "of the returns by the value head", FC_COLUMN_F64},
    {"length_mean", "tokens", "mean length of an answer", FC_COLUMN_F64},
    {"length_max", "tokens", "longest answer", FC_COLUMN_F64},
    {"invalid", "", "share of answers that are no selection", FC_COLUMN_F64},
    {"rollout_wall_time_s", "s", "wall clock of the episodes", FC_COLUMN_F64},
    {"update_wall_time_s", "s", "wall clock of the updates", FC_COLUMN_F64},
};
KIND(training, "/training");

fc_err fc_log_training_row(fc_table *t, const fc_train_report *r) {
  const double row[] = {(double)r->iteration,
                        r->reward_mean,
                        r->reward_std,
                        r->return_mean,
                        r->accuracy,
                        r->energy_j,
                        r->zero_spread,
                        r->kl_reference,
                        r->kl_old,
                        r->entropy,
                        r->clip_low,
                        r->clip_high,
                        r->effective_sample,
                        r->gradient_norm,
                        r->value_loss,
                        r->explained_variance,
                        r->length_mean,
                        r->length_max,
                        r->invalid,
                        r->rollout_s,
                        r->update_s};
  _Static_assert(sizeof row / sizeof *row == sizeof training_columns / sizeof *training_columns,
                 "one value a column");
  return fc_table_append(t, (int64_t)fc_table_rows(t), row);
}

/* ---- files ----------------------------------------------------------------------------------- */

fc_err fc_log_write(const fc_comm *comm, const fc_config *cfg, const fc_prepare_request *request,
                    const char *folder, const fc_log_kind *const *kinds, fc_table *const *tables,
                    int n) {
  fc_store_file *file = NULL;
  char *path = NULL, *config = NULL;
  fc_err err = fc_format(&path, "%s/log.h5", folder);
  if (err == FC_ERR_OK) err = fc_config_dump(cfg, &config);
  FC_TRY_GOTO(err, fc_agree(comm, err), done);
  FC_TRY_GOTO(err, fc_store_write_begin(comm, path, &file), done);
  for (int i = 0; i < n; i++) fc_store_put_table(file, kinds[i]->group, tables[i]);
  fc_store_put_text(file, "/provenance", "config", config);
  for (size_t i = 0; i < request->n_facts; i++)
    fc_store_put_text(file, "/provenance", request->facts[i].name, request->facts[i].value);
  err = fc_store_write_end(&file);
done:
  fc_free(config);
  fc_free(path);
  return err;
}

/* One table of a stage's log, as it lies there, into a result. Rank 0 reads. */
static fc_err copy_table(const fc_comm *comm, const fc_store_reader *r, const fc_log_kind *kind,
                         fc_store_file *f) {
  fc_table *t = NULL;
  int64_t rows = 0;
  char path[64];
  fc_err err = fc_table_create(kind->columns, kind->n, &t);
  if (err == FC_ERR_OK && r) {
    snprintf(path, sizeof path, "%s/%s", kind->group, kind->columns[0].name);
    err = fc_store_count(r, path, &rows);
    if (err == FC_ERR_OK) err = fc_store_get_table(r, kind->group, 0, rows, t);
  }
  err = fc_agree(comm, err);
  if (err == FC_ERR_OK) fc_store_put_table(f, kind->group, t);
  fc_table_destroy(&t);
  return err;
}

static fc_err copy_log(const fc_comm *comm, const char *folder, const fc_log_kind *const *kinds,
                       int n, fc_store_file *f) {
  char *path = NULL;
  fc_store_reader *r = NULL;
  fc_err err = FC_ERR_OK;
  if (comm->rank == 0) {
    err = fc_format(&path, "%s/log.h5", folder);
    if (err == FC_ERR_OK) err = fc_store_open(path, &r);
  }
  err = fc_agree(comm, err);
  for (int i = 0; i < n && err == FC_ERR_OK; i++) err = copy_table(comm, r, kinds[i], f);
  fc_store_close(&r);
  fc_free(path);
  return err;
}

void fc_policy_put_logs(const fc_comm *comm, const fc_config *cfg, fc_store_file *f) {
  static const fc_log_kind *const dynamics[] = {&fc_log_dynamics, &fc_log_fidelity};
  static const fc_log_kind *const warm_up[] = {&fc_log_warm_up}, *const training[] = {
                                                                     &fc_log_training};
  static const struct {
    const fc_log_kind *const *kinds;
    int n;
  } of[FC_STAGES] = {[FC_STAGE_DYNAMICS] = {dynamics, 2},
                     [FC_STAGE_WARM_UP] = {warm_up, 1},
                     [FC_STAGE_GRPO] = {training, 1},
                     [FC_STAGE_PPO] = {training, 1},
                     [FC_STAGE_FLDLT3] = {training, 1}};
  const unsigned needed = fc_stages_needed(cfg);
  fc_err err = FC_ERR_OK;
  for (int s = 0; s < FC_STAGES && err == FC_ERR_OK; s++) {
    char *folder = NULL;
    if (of[s].n == 0 || !(needed & 1u << s)) continue;
    err = fc_agree(comm, fc_stage_path(cfg, (fc_stage)s, &folder));
    if (err == FC_ERR_OK) err = copy_log(comm, folder, of[s].kinds, of[s].n, f);
    fc_free(folder);
  }
  if (err != FC_ERR_OK) fc_store_put_failure(f, err);
}
