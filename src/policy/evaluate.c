/* evaluate.c - a policy is judged: trials in the real environment, or in the learned one, shared
 * out over the ranks.
 *
 * In a wave every rank runs one trial; the wave is kept once all have ended theirs, so that a
 * checkpoint holds the first trials whatever the ranks, and any number of them can go on. */
#include "evaluate.h"
#include "fedcell/fc_log.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_stats.h"
#include "fedcell/fc_timer.h"
#include "stages.h"
#include <math.h>
#include <unistd.h>

typedef struct {
  const fc_comm *comm;
  const fc_config *cfg;
  const fc_run_request *request;
  uint64_t seed;
  fc_scenario *scenario;
  fc_environment *environment;
  /* What the learned environment is made of, and the scenario in which that was recorded. */
  fc_scenario *recorded;
  fc_trajectories *starts;
  fc_dynamics *dynamics;
  fc_agent *agent;
  fc_fl_state *state; /* that a choice is made for: a step changes the environment's own */
  fc_choice choice;
  fc_trials trials;
} evaluation;

/* ---- one trial ------------------------------------------------------------------------------- */

/* For a person who watches: as if the wave's other trials were as far. */
static void report(const evaluation *e, int64_t first, int64_t n, int64_t trial, int64_t round) {
  const double *row = fc_trials_row(&e->trials, trial, round);
  if (!e->request->on_round || e->comm->rank != 0) return;
  const fc_round_report r = {.round = first * e->trials.rounds + round * n,
                             .rounds = e->trials.trials * e->trials.rounds,
                             .train_loss = NAN,
                             .test_loss = NAN,
                             .test_accuracy = row[FC_TRIAL_TEST_ACCURACY],
                             .sim_time_s = row[FC_TRIAL_SIM_TIME],
                             .energy_j = row[FC_TRIAL_ENERGY],
                             .total_energy_j = row[FC_TRIAL_TOTAL_ENERGY],
                             .wall_time_s = row[FC_TRIAL_WALL_TIME],
                             .participants = (int64_t)row[FC_TRIAL_SELECTED],
                             .delivered = (int64_t)row[FC_TRIAL_SERVED]};
  e->request->on_round(e->request->arg, &r);
}

static fc_err run_round(evaluation *e, int64_t trial) {
  const double start_s = fc_wall_time_s();
  const fc_choice *c = &e->choice;
  const bool allocates = fc_agent_get_kind(e->agent)->allocates;
  const fc_decision decision = {.select = c->select,
                                .frequency_hz = allocates ? c->frequency_hz : NULL,
                                .power_w = allocates ? c->power_w : NULL};
  const fc_fl_state *state = e->state;
  const int which = 0;
  fc_outcome outcome;
  fc_fl_state_copy(e->state, fc_environment_state(e->environment, 0));
  FC_TRY(fc_agent_choose(e->agent, &state, &which, 1, &e->choice));
  FC_TRY(fc_environment_step(e->environment, &decision, &outcome));
  fc_trials_put_round(&e->trials, trial, state, c, fc_environment_service(e->environment, 0),
                      &outcome, fc_wall_time_s() - start_s);
  return FC_ERR_OK;
}

static bool stop_is_wanted(const evaluation *e) {
  return e->request->stop && *e->request->stop;
}

/* Trial `first` + rank of a wave of n. *finished false: a stop was wanted. */
static fc_err run_trial(evaluation *e, int64_t first, int64_t n, bool *finished) {
  const int64_t trial = first + e->comm->rank;
  const fc_episode episode = {e->seed + (uint64_t)trial, (uint64_t)trial};
  *finished = false;
  FC_TRY(fc_agent_begin(e->agent, &episode, 1));
  FC_TRY(fc_environment_reset(e->environment, &episode));
  fc_trials_put_start(&e->trials, trial, fc_environment_state(e->environment, 0)->accuracy);
  report(e, first, n, trial, 0);
  for (int64_t round = 1; !fc_environment_is_over(e->environment); round++) {
    if (stop_is_wanted(e)) return FC_ERR_OK;
    FC_TRY(run_round(e, trial));
    report(e, first, n, trial, round);
  }
  *finished = true;
  return FC_ERR_OK;
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* Collective. *next: the first trial after the wave; the wave's own first where it was not ended.
 */
static fc_err run_wave(evaluation *e, int64_t *next, bool *stop) {
  const int64_t left = e->trials.trials - *next, n = left < e->comm->size ? left : e->comm->size;
  const bool has_one = e->comm->rank < n;
  bool finished = true;
  fc_err err = has_one ? run_trial(e, *next, n, &finished) : FC_ERR_OK;
  FC_TRY(fc_agree(e->comm, err));
  double flags[] = {!finished, stop_is_wanted(e)}; /* a signal may have reached some ranks only */
  FC_TRY(fc_comm_max(e->comm, flags, 2));
  *stop = flags[0] > 0 || flags[1] > 0;
  if (flags[0] > 0) return FC_ERR_OK;
  err = has_one ? fc_trials_keep(&e->trials, *next + e->comm->rank) : FC_ERR_OK;
  FC_TRY(fc_agree(e->comm, err));
  FC_TRY(fc_trials_share(e->comm, &e->trials, *next, n));
  *next += n;
  return FC_ERR_OK;
}

static fc_err run_all(evaluation *e, const char *checkpoint) {
  int64_t next = 0;
  if (e->request->resume) FC_TRY(fc_trials_read(e->comm, e->cfg, checkpoint, &e->trials, &next));
  if (next > 0)
    fc_log(FC_LOG_INFO, "continuing after %lld of %lld trials from %s", (long long)next,
           (long long)e->trials.trials, checkpoint);
  while (next < e->trials.trials) {
    bool stop = false;
    FC_TRY(run_wave(e, &next, &stop));
    if (next == e->trials.trials) break;
    FC_TRY(fc_trials_write(e->comm, e->cfg, e->request, &e->trials, next, true, checkpoint));
    FC_CHECK(!stop, STOPPED,
             "stopped on request after %lld of %lld trials; checkpoint in %s; continue with "
             "--resume",
             (long long)next, (long long)e->trials.trials, checkpoint);
  }
  FC_TRY(fc_trials_write(e->comm, e->cfg, e->request, &e->trials, next, false, e->request->output));
  if (e->comm->rank == 0) unlink(checkpoint); /* gone already if none was written */
  return FC_ERR_OK;
}

/* ---- the summary ----------------------------------------------------------------------------- */

/* Mean and half of the 95 % interval over the trials' last rows. */
static fc_err mean_of_last(const fc_trials *t, int column, double divisor, double *mean,
                           double *half) {
  double *x = NULL;
  FC_TRY(fc_alloc((size_t)t->trials, sizeof *x, &x));
  for (int64_t i = 0; i < t->trials; i++) x[i] = fc_trials_row(t, i, t->rounds)[column] / divisor;
  const fc_mean_interval m = fc_mean_of(x, (int)t->trials);
  *mean = m.mean;
  if (half) *half = m.high - m.mean;
  fc_free(x);
  return FC_ERR_OK;
}

static fc_err summarise(const evaluation *e, fc_policy_summary *s) {
  const fc_trials *t = &e->trials;
  double selected = 0, served = 0, invalid = 0;
  for (int64_t i = 0; i < t->trials; i++)
    for (int64_t k = 1; k <= t->rounds; k++) {
      const double *row = fc_trials_row(t, i, k);
      selected += row[FC_TRIAL_SELECTED];
      served += row[FC_TRIAL_SERVED];
      invalid += row[FC_TRIAL_INVALID];
    }
  *s = (fc_policy_summary){.agent = fc_agent_get_kind(e->agent)->name,
                           .environment = fc_config_string(e->cfg, "evaluation.environment"),
                           .trials = t->trials,
                           .rounds = t->rounds,
                           .invalid = invalid / (double)(t->trials * t->rounds),
                           .infeasible = selected > 0 ? 1 - served / selected : 0};
  FC_TRY(mean_of_last(t, FC_TRIAL_CWPEM, 1, &s->cwpem, &s->cwpem_half));
  FC_TRY(mean_of_last(t, FC_TRIAL_PRINTED_CWPEM, 1, &s->cwpem_printed, NULL));
  FC_TRY(mean_of_last(t, FC_TRIAL_TEST_ACCURACY, 1, &s->accuracy, &s->accuracy_half));
  return mean_of_last(t, FC_TRIAL_TOTAL_ENERGY, (double)t->rounds, &s->energy_j, &s->energy_half);
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* From the cache. Statistics and accuracy are as they were learned; who is served, time and energy
 * as evaluation.* has it. */
static fc_err open_learned(evaluation *e) {
  char *trajectories = NULL, *dynamics = NULL;
  fc_err err = fc_scenario_create(e->cfg, FC_TRAINING, &e->recorded);
  if (err == FC_ERR_OK) err = fc_stage_path(e->cfg, FC_STAGE_TRAJECTORIES, &trajectories);
  if (err == FC_ERR_OK) err = fc_stage_path(e->cfg, FC_STAGE_DYNAMICS, &dynamics);
  if (err == FC_ERR_OK) err = fc_trajectories_read(e->recorded, trajectories, &e->starts);
  if (err == FC_ERR_OK) err = fc_dynamics_load(dynamics, e->recorded, &e->dynamics);
  fc_free(trajectories);
  fc_free(dynamics);
  FC_TRY(err);
  return fc_environment_open_learned(e->scenario, e->dynamics, e->starts, 1, &e->environment);
}

static fc_err prepare(evaluation *e, const char *folder) {
  FC_TRY(fc_is_judged_in_learned(e->cfg)
             ? open_learned(e)
             : fc_environment_open_real(e->scenario, 1, &e->environment));
  const char *agent = fc_config_string(e->cfg, "policy.agent");
  const fc_agent_context context = {.cfg = e->cfg,
                                    .scenario = e->scenario,
                                    .seed = e->seed,
                                    .episodes = 1,
                                    .greedy = true,
                                    .folder = fc_agent_find(agent)->is_trained ? folder : NULL,
                                    .environment = e->environment};
  FC_TRY(fc_agent_create(agent, &context, &e->agent));
  const size_t n = (size_t)fc_scenario_settings(e->scenario)->devices;
  FC_TRY(fc_fl_state_create(e->scenario, &e->state));
  FC_TRY(fc_alloc(n, sizeof *e->choice.select, &e->choice.select));
  FC_TRY(fc_alloc(n, sizeof *e->choice.frequency_hz, &e->choice.frequency_hz));
  FC_TRY(fc_alloc(n, sizeof *e->choice.power_w, &e->choice.power_w));
  return fc_trials_create(e->scenario, fc_config_int(e->cfg, "evaluation.trials"), &e->trials);
}

static void clear(evaluation *e) {
  fc_trials_destroy(&e->trials);
  fc_free(e->choice.select);
  fc_free(e->choice.frequency_hz);
  fc_free(e->choice.power_w);
  fc_fl_state_destroy(&e->state);
  fc_agent_destroy(&e->agent);
  fc_environment_close(&e->environment);
  fc_dynamics_destroy(&e->dynamics);
  fc_trajectories_destroy(&e->starts);
  fc_scenario_destroy(&e->recorded);
  fc_scenario_destroy(&e->scenario);
}

fc_err fc_policy_run(const fc_comm *comm, const fc_config *cfg, const fc_run_request *request,
                     const fc_prepare_request *prepare_request, fc_policy_summary *summary) {
  evaluation e = {
      .comm = comm, .cfg = cfg, .request = request, .seed = (uint64_t)fc_config_int(cfg, "seed")};
  char *folder = NULL, *checkpoint = NULL;
  fc_err err = fc_precision_agree(comm);
  /* before what may take hours: an environment that cannot be is told at once */
  if (err == FC_ERR_OK) err = fc_agree(comm, fc_scenario_create(cfg, FC_EVALUATION, &e.scenario));
  if (err == FC_ERR_OK) err = fc_policy_prepare(comm, cfg, prepare_request, &folder);
  if (err == FC_ERR_OK) err = fc_agree(comm, fc_checkpoint_path(request->output, &checkpoint));
  if (err == FC_ERR_OK) err = fc_agree(comm, prepare(&e, folder));
  if (err == FC_ERR_OK) err = run_all(&e, checkpoint);
  if (err == FC_ERR_OK) err = fc_agree(comm, summarise(&e, summary));
  clear(&e);
  fc_free(checkpoint);
  fc_free(folder);
  return err;
}
