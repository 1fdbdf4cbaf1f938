/* prepare.c - the chain of stages: what is not in the cache yet is made, in order, and each product
 * appears there whole. A stage that was stopped goes on from its checkpoint beside it. */
#include "fedcell/fc_folder.h"
#include "fedcell/fc_mem.h"
#include "stages.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_SIZE = 256 };

typedef struct {
  const fc_comm *comm;
  const fc_config *cfg;
  const fc_prepare_request *request;
  fc_scenario *scenario;
  fc_trajectories *trajectories; /* NULL until a stage needs them */
  char *path[FC_STAGES], *checkpoint[FC_STAGES];
  fc_stage now;
  char *aside;      /* its product until it is published */
  fc_table *log[2]; /* of the present stage, rows on rank 0 */
  fc_err log_err;
} chain;

static void tell(const chain *c, int64_t done, int64_t all, const char *text) {
  const fc_prepare_report r = {fc_stage_name(c->now), done, all, text};
  if (c->request->on_progress && c->comm->rank == 0) c->request->on_progress(c->request->arg, &r);
}

/* ---- logs and folders ------------------------------------------------------------------------ */

static void keep(chain *c, fc_err err) {
  if (c->log_err == FC_ERR_OK) c->log_err = err;
}

static void on_trajectory(void *arg, int64_t done, int64_t all) {
  tell(arg, done, all, "");
}

static void on_epoch(void *arg, const fc_dynamics_report *r) {
  chain *c = arg;
  char line[LINE_SIZE];
  if (c->comm->rank == 0) keep(c, fc_log_dynamics_row(c->log[0], r));
  snprintf(line, sizeof line, "error of the accuracy %.4f, of the statistics %.4f (held out)",
           sqrt(r->validation_accuracy_mse), sqrt(r->validation_statistics_mse));
  tell(c, r->epoch, r->epochs, line);
}

static void on_warm_step(void *arg, const fc_warm_report *r) {
  chain *c = arg;
  char line[LINE_SIZE];
  if (c->comm->rank == 0) keep(c, fc_log_warm_up_row(c->log[0], r));
  snprintf(line, sizeof line, "loss %.4f", r->loss);
  tell(c, r->step, r->steps, line);
}

static void on_iteration(void *arg, const fc_train_report *r) {
  chain *c = arg;
  char line[LINE_SIZE];
  int n = snprintf(line, sizeof line, "reward %.4f, energy %.3g J, accuracy %.1f %%",
                   r->reward_mean, r->energy_j, 100 * r->accuracy);
  if (!isnan(r->invalid)) /* of those that answer in words */
    snprintf(line + n, sizeof line - (size_t)n, ", invalid %.2f %%, KL of a step %.3g",
             100 * r->invalid, r->kl_old);
  tell(c, r->iteration, r->iterations, line);
}

static fc_err begin_log(chain *c, int i, const fc_log_kind *kind) {
  c->log_err = FC_ERR_OK;
  return fc_agree(c->comm, fc_table_create(kind->columns, kind->n, &c->log[i]));
}

/* Collective. */
static fc_err write_log(chain *c, const fc_log_kind *const *kinds, int n) {
  FC_TRY(fc_agree(c->comm, c->log_err));
  return fc_log_write(c->comm, c->cfg, c->request, c->aside, kinds, c->log, n);
}

static void drop_logs(chain *c) {
  for (int i = 0; i < 2; i++) fc_table_destroy(&c->log[i]);
}

/* Collective. An empty folder beside the final one, its name on all ranks: where the stage's
 * product goes. Opened once that is made, so that what is killed in training leaves none. */
static fc_err open_folder(chain *c) {
  enum { PATH_SIZE = 4096 };
  char name[PATH_SIZE] = "";
  fc_err err = FC_ERR_OK;
  if (c->comm->rank == 0) {
    err = fc_folder_begin(c->path[c->now], &c->aside);
    if (err == FC_ERR_OK && snprintf(name, sizeof name, "%s", c->aside) >= PATH_SIZE)
      err = fc_fail(FC_ERR_USAGE, "%s: the path is too long", c->aside);
  }
  FC_TRY(fc_agree(c->comm, err));
  FC_TRY(fc_comm_broadcast(c->comm, name, sizeof name, 0));
  if (c->comm->rank != 0) err = fc_format(&c->aside, "%s", name);
  return fc_agree(c->comm, err);
}

/* ---- the stages ------------------------------------------------------------------------------ */

static fc_err need_trajectories(chain *c) {
  if (c->trajectories) return FC_ERR_OK;
  return fc_agree(
      c->comm, fc_trajectories_read(c->scenario, c->path[FC_STAGE_TRAJECTORIES], &c->trajectories));
}

static fc_err need_dynamics(chain *c, fc_dynamics **d) {
  return fc_agree(c->comm, fc_dynamics_load(c->path[FC_STAGE_DYNAMICS], c->scenario, d));
}

static fc_err collect(chain *c, const char *path) {
  fc_trajectories_destroy(&c->trajectories);
  FC_TRY(fc_policy_collect(c->comm, c->cfg, c->scenario, c->checkpoint[FC_STAGE_TRAJECTORIES],
                           c->request->stop, on_trajectory, c, &c->trajectories));
  return fc_trajectories_write(c->comm, c->trajectories, c->cfg, path);
}

/* Horizons 1, 2, 5, 10, ..., up to a whole episode. */
static fc_err measure_fidelity(chain *c, const fc_dynamics *d) {
  static const int64_t steps[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000};
  enum { STEPS = sizeof steps / sizeof *steps };
  fc_fidelity f[STEPS + 1];
  int64_t horizon[STEPS + 1], K = c->trajectories->rounds;
  int n = 0;
  while (n < STEPS && steps[n] < K) {
    horizon[n] = steps[n];
    n++;
  }
  horizon[n++] = K;
  fc_err err = FC_ERR_OK;
  if (c->comm->rank == 0) {
    err = fc_dynamics_fidelity(d, c->scenario, c->trajectories, horizon, n, f);
    for (int i = 0; i < n && err == FC_ERR_OK; i++) err = fc_log_fidelity_row(c->log[1], &f[i]);
  }
  return fc_agree(c->comm, err);
}

static fc_err learn_dynamics(chain *c) {
  static const fc_log_kind *const kinds[] = {&fc_log_dynamics, &fc_log_fidelity};
  const fc_dynamics_request request = {on_epoch, c, c->checkpoint[FC_STAGE_DYNAMICS],
                                       c->request->stop};
  fc_dynamics *d = NULL;
  for (int i = 0; i < 2; i++) FC_TRY(begin_log(c, i, kinds[i]));
  fc_err err = fc_dynamics_train(c->comm, c->cfg, c->scenario, c->trajectories, &request, &d);
  if (err == FC_ERR_OK) err = measure_fidelity(c, d);
  if (err == FC_ERR_OK) err = open_folder(c);
  if (err == FC_ERR_OK)
    err = fc_agree(c->comm, c->comm->rank == 0 ? fc_dynamics_save(d, c->aside) : FC_ERR_OK);
  if (err == FC_ERR_OK) err = write_log(c, kinds, 2);
  fc_dynamics_destroy(&d);
  return err;
}

static fc_err save_llm(chain *c, const fc_llm *llm) {
  FC_TRY(open_folder(c));
  return fc_agree(c->comm, c->comm->rank == 0 ? fc_llm_save(llm, NULL, NULL, c->aside) : FC_ERR_OK);
}

static fc_err warm_up(chain *c) {
  static const fc_log_kind *const kinds[] = {&fc_log_warm_up};
  const fc_warm_request request = {on_warm_step, c, c->checkpoint[FC_STAGE_WARM_UP],
                                   c->request->stop};
  fc_llm *llm = NULL;
  FC_TRY(begin_log(c, 0, kinds[0]));
  fc_err err = fc_agree(c->comm, fc_llm_create(c->cfg, c->scenario, c->trajectories, &llm));
  if (err == FC_ERR_OK)
    err = fc_llm_warm_up(c->comm, c->cfg, c->scenario, c->trajectories, &request, llm);
  if (err == FC_ERR_OK) err = save_llm(c, llm);
  if (err == FC_ERR_OK) err = write_log(c, kinds, 1);
  fc_llm_destroy(&llm);
  return err;
}

/* Of all iterations, also those before a resume. */
static fc_err log_reports(chain *c, const fc_train_report *r, int64_t n) {
  fc_err err = begin_log(c, 0, &fc_log_training);
  for (int64_t i = 0; i < n && err == FC_ERR_OK && c->comm->rank == 0; i++)
    err = fc_log_training_row(c->log[0], &r[i]);
  return fc_agree(c->comm, err);
}

static fc_train_request train_request(chain *c) {
  return (fc_train_request){.algorithm = fc_stage_name(c->now),
                            .checkpoint = c->checkpoint[c->now],
                            .stop = c->request->stop,
                            .on_iteration = on_iteration,
                            .arg = c};
}

static fc_err train(chain *c) {
  static const fc_log_kind *const kinds[] = {&fc_log_training};
  const fc_train_request request = train_request(c);
  fc_train_report *reports = NULL;
  int64_t n = 0;
  fc_dynamics *d = NULL;
  fc_llm *llm = NULL;
  fc_err err = need_dynamics(c, &d);
  if (err == FC_ERR_OK)
    err = fc_agree(c->comm, fc_llm_load(c->cfg, c->path[FC_STAGE_WARM_UP], c->scenario, &llm));
  if (err == FC_ERR_OK)
    err = fc_policy_train(c->comm, c->cfg, c->scenario, d, c->trajectories, &request, llm, &reports,
                          &n);
  if (err == FC_ERR_OK) err = log_reports(c, reports, n);
  if (err == FC_ERR_OK) err = save_llm(c, llm);
  if (err == FC_ERR_OK) err = write_log(c, kinds, 1);
  fc_free(reports);
  fc_llm_destroy(&llm);
  fc_dynamics_destroy(&d);
  return err;
}

static fc_err train_fldlt3(chain *c) {
  static const fc_log_kind *const kinds[] = {&fc_log_training};
  const fc_train_request request = train_request(c);
  fc_train_report *reports = NULL;
  int64_t n = 0;
  fc_dynamics *d = NULL;
  fc_err err = need_dynamics(c, &d);
  if (err == FC_ERR_OK) err = open_folder(c); /* the networks are written by their trainer */
  if (err == FC_ERR_OK)
    err = fc_fldlt3_train(c->comm, c->cfg, c->scenario, d, c->trajectories, &request, c->aside,
                          &reports, &n);
  if (err == FC_ERR_OK) err = log_reports(c, reports, n);
  if (err == FC_ERR_OK) err = write_log(c, kinds, 1);
  fc_free(reports);
  fc_dynamics_destroy(&d);
  return err;
}

/* All but the first make a folder. */
static fc_err (*const makers[FC_STAGES])(chain *c) = {[FC_STAGE_DYNAMICS] = learn_dynamics,
                                                      [FC_STAGE_WARM_UP] = warm_up,
                                                      [FC_STAGE_GRPO] = train,
                                                      [FC_STAGE_PPO] = train,
                                                      [FC_STAGE_FLDLT3] = train_fldlt3};

/* ---- the chain ------------------------------------------------------------------------------- */

static fc_err make_folder(chain *c, fc_stage s) {
  fc_err err = need_trajectories(c);
  if (err == FC_ERR_OK) err = makers[s](c);
  drop_logs(c);
  if (c->comm->rank != 0) {
    fc_free(c->aside);
    c->aside = NULL;
    return fc_agree(c->comm, err);
  }
  if (err == FC_ERR_OK) err = fc_folder_publish(&c->aside, c->path[s], c->request->again);
  fc_folder_drop(&c->aside);
  return fc_agree(c->comm, err);
}

/* Collective. Rank 0 looks. */
static fc_err is_there(const chain *c, fc_stage s, bool *there) {
  *there = c->comm->rank == 0 && access(c->path[s], R_OK) == 0;
  return fc_comm_broadcast(c->comm, there, sizeof *there, 0);
}

static fc_err make(chain *c, fc_stage s) {
  bool there = false;
  FC_TRY(is_there(c, s, &there));
  if (there && !c->request->again) return FC_ERR_OK;
  c->now = s;
  if (s != FC_STAGE_TRAJECTORIES) return make_folder(c, s);
  FC_TRY(fc_agree(c->comm, c->comm->rank == 0 ? fc_folder_make_parents(c->path[s]) : FC_ERR_OK));
  FC_TRY(collect(c, c->path[s]));
  if (c->comm->rank == 0) unlink(c->checkpoint[s]); /* the folders' makers remove their own */
  return FC_ERR_OK;
}

static fc_err find_paths(chain *c) {
  for (int s = 0; s < FC_STAGES; s++) {
    FC_TRY(fc_stage_path(c->cfg, (fc_stage)s, &c->path[s]));
    FC_TRY(fc_format(&c->checkpoint[s], "%s.ckpt.h5", c->path[s]));
  }
  return FC_ERR_OK;
}

fc_err fc_policy_prepare(const fc_comm *comm, const fc_config *cfg,
                         const fc_prepare_request *request, char **folder) {
  const unsigned needed = fc_stages_needed(cfg);
  chain c = {.comm = comm, .cfg = cfg, .request = request};
  *folder = NULL;
  if (!needed) return FC_ERR_OK;
  FC_TRY(fc_precision_agree(comm));
  fc_err err = fc_scenario_create(cfg, FC_TRAINING, &c.scenario);
  if (err == FC_ERR_OK) err = find_paths(&c);
  err = fc_agree(comm, err);
  int last = 0;
  for (int s = 0; s < FC_STAGES && err == FC_ERR_OK; s++)
    if (needed & 1u << s) err = make(&c, (fc_stage)(last = s));
  if (err == FC_ERR_OK) {
    *folder = c.path[last];
    c.path[last] = NULL;
  }
  for (int s = 0; s < FC_STAGES; s++) {
    fc_free(c.path[s]);
    fc_free(c.checkpoint[s]);
  }
  fc_trajectories_destroy(&c.trajectories);
  fc_scenario_destroy(&c.scenario);
  return err;
}
