/* evaluate.h - what the files of the evaluation share: the trials' records and their file. */
#ifndef POLICY_EVALUATE_H
#define POLICY_EVALUATE_H

#include "fedcell/fc_policy.h"

/* Columns of a round, in the order of the file. */
enum {
  FC_TRIAL_TRIAL,
  FC_TRIAL_ROUND,
  FC_TRIAL_REWARD,
  FC_TRIAL_PRINTED_REWARD,
  FC_TRIAL_CWPEM,
  FC_TRIAL_PRINTED_CWPEM,
  FC_TRIAL_TEST_ACCURACY,
  FC_TRIAL_ENERGY,
  FC_TRIAL_TOTAL_ENERGY,
  FC_TRIAL_ROUND_TIME,
  FC_TRIAL_SIM_TIME,
  FC_TRIAL_SELECTED,
  FC_TRIAL_SERVED,
  FC_TRIAL_INVALID,
  FC_TRIAL_WALL_TIME,
  FC_TRIAL_COLUMNS
};

/* Of all trials: rounds on every rank, participation where the trial was run. */
typedef struct {
  const fc_scenario *scenario;
  int64_t trials, rounds; /* of a trial, without round 0 */
  int devices;
  double *round;   /* (trials, rounds+1, FC_TRIAL_COLUMNS) */
  double *pending; /* (rounds, devices, participation columns) of the trial being run here */
  fc_table *participation;
} fc_trials;
fc_err fc_trials_create(const fc_scenario *s, int64_t trials, fc_trials *t);
void fc_trials_destroy(fc_trials *t);

/* A round of a trial: round 0, before anything; each that was stepped. The state is the one that
 * was decided on. */
void fc_trials_put_start(fc_trials *t, int64_t trial, double accuracy);
void fc_trials_put_round(fc_trials *t, int64_t trial, const fc_fl_state *state,
                         const fc_choice *choice, const fc_service *service,
                         const fc_outcome *outcome, double wall_time_s);
const double *fc_trials_row(const fc_trials *t, int64_t trial, int64_t round);
/* The pending trial is whole: its participation joins the table. */
fc_err fc_trials_keep(fc_trials *t, int64_t trial);
/* Collective. Trial first + r, which rank r has, on all ranks. */
fc_err fc_trials_share(const fc_comm *comm, fc_trials *t, int64_t first, int64_t n);

/* Collective. The first `done` trials as a result, or as the checkpoint of one. */
fc_err fc_trials_write(const fc_comm *comm, const fc_config *cfg, const fc_run_request *request,
                       const fc_trials *t, int64_t done, bool is_checkpoint, const char *path);
/* Collective. *done: trials that the checkpoint has, 0 if there is none. */
fc_err fc_trials_read(const fc_comm *comm, const fc_config *cfg, const char *path, fc_trials *t,
                      int64_t *done);

#endif
