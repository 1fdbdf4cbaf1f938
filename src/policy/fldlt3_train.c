/* fldlt3_train.c - training from beginning to end: waves of episodes, updates, reports,
 * checkpoints. */
#include "fedcell/fc_mem.h"
#include "fedcell/fc_timer.h"
#include "fldlt3.h"
#include <math.h>
#include <omp.h>

typedef struct {
  const fc_comm *comm;
  const fc_train_request *request;
  fc_fldlt3_settings set;
  fc_fldlt3_code code;
  fc_td3 td3;
  fc_replay replay;
  fc_fldlt3_wave wave;
  fc_outcome *outcomes;     /* (episodes, K) of an iteration */
  char *key;                /* of the checkpoint */
  fc_train_report *reports; /* (iterations) */
} trainer;

/* ---- making ---------------------------------------------------------------------------------- */

static fc_err make_key(const fc_config *cfg, char **key) {
  const fc_option_table *const tables[] = {&fc_fldlt3_options, &fc_grpo_options};
  return fc_course_key(cfg, "fldlt3", tables, sizeof tables / sizeof *tables, key);
}

static fc_err make_local(trainer *t, const fc_config *cfg, const fc_scenario *s,
                         const fc_trajectories *recorded) {
  FC_TRY(fc_fldlt3_settings_read(cfg, s, &t->set));
  const int64_t K = t->set.td3.rounds, all = t->set.iterations * t->set.episodes * K;
  const int64_t wanted = t->set.replay > t->set.wave * K ? t->set.replay : t->set.wave * K;
  FC_TRY(make_key(cfg, &t->key));
  FC_TRY(fc_fldlt3_code_fit(s, recorded, K, &t->code));
  FC_TRY(fc_replay_create(&t->set.td3, wanted < all ? wanted : all, &t->replay));
  FC_TRY(fc_alloc((size_t)(t->set.episodes * K), sizeof *t->outcomes, &t->outcomes));
  return fc_alloc((size_t)t->set.iterations, sizeof *t->reports, &t->reports);
}

static fc_err make(trainer *t, const fc_config *cfg, const fc_scenario *s,
                   const fc_trajectories *recorded, fc_environment_opener *open, void *arg) {
  FC_TRY(fc_agree(t->comm, make_local(t, cfg, s, recorded)));
  FC_TRY(fc_fldlt3_wave_create(t->comm, &t->set, &t->code, open, arg, &t->wave));
  return fc_td3_create(t->comm, &t->set.td3, omp_get_max_threads(), &t->td3);
}

static void drop(trainer *t) {
  fc_td3_destroy(&t->td3);
  fc_fldlt3_wave_destroy(&t->wave);
  fc_replay_destroy(&t->replay);
  fc_free(t->outcomes);
  fc_free(t->key);
  fc_free(t->reports);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

static void put(void *own, fc_store_file *f, int64_t done) {
  trainer *t = own;
  fc_td3_put(&t->td3, &t->replay, t->comm, f, t->key, (double)done);
}

static fc_err get(void *own, const fc_store_reader *r, const char *path, double *done) {
  trainer *t = own;
  return fc_td3_get(&t->td3, &t->replay, r, path, t->key, done);
}

/* ---- an iteration ---------------------------------------------------------------------------- */

static void report_outcomes(const trainer *t, fc_train_report *r) {
  const int64_t K = t->set.td3.rounds, n = t->set.episodes * K;
  double squares = 0;
  for (int64_t i = 0; i < n; i++) {
    r->reward_mean += t->outcomes[i].reward / (double)n;
    r->energy_j += t->outcomes[i].energy_j / (double)n;
    if (i % K == K - 1) r->accuracy += t->outcomes[i].accuracy / t->set.episodes;
  }
  for (int64_t i = 0; i < n; i++) squares += pow(t->outcomes[i].reward - r->reward_mean, 2);
  r->reward_std = sqrt(squares / (double)n);
  r->return_mean = r->reward_mean * (double)K;
}

static fc_err update(trainer *t, fc_train_report *r, int64_t *updates) {
  if (t->replay.count < t->set.random) return FC_ERR_OK;
  for (int64_t i = 0; i < (int64_t)t->set.updates * t->set.wave; i++, ++*updates) {
    fc_td3_report u;
    FC_TRY(fc_td3_update(&t->td3, &t->replay, &u));
    r->value_loss += u.value_loss;
    r->gradient_norm += u.critic_gradient;
  }
  return FC_ERR_OK;
}

/* Of what a language model has there is nothing. */
static fc_train_report empty_report(int64_t iteration, int64_t iterations) {
  return (fc_train_report){.iteration = iteration + 1,
                           .iterations = iterations,
                           .zero_spread = NAN,
                           .kl_reference = NAN,
                           .kl_old = NAN,
                           .entropy = NAN,
                           .clip_low = NAN,
                           .clip_high = NAN,
                           .effective_sample = NAN,
                           .explained_variance = NAN,
                           .length_mean = NAN,
                           .length_max = NAN,
                           .invalid = NAN,
                           .tokens_per_s = NAN};
}

static fc_err iterate(void *own, int64_t iteration, fc_train_report *r) {
  trainer *t = own;
  int64_t updates = 0;
  *r = empty_report(iteration, t->set.iterations);
  for (int first = 0; first < t->set.episodes; first += t->set.wave) {
    const double start = fc_wall_time_s();
    FC_TRY(fc_fldlt3_wave_play(&t->wave, t->td3.actor, &t->replay,
                               t->outcomes + (int64_t)first * t->set.td3.rounds));
    const double played = fc_wall_time_s();
    FC_TRY(update(t, r, &updates));
    r->rollout_s += played - start;
    r->update_s += fc_wall_time_s() - played;
  }
  report_outcomes(t, r);
  r->value_loss /= (double)updates; /* NAN where there was none */
  r->gradient_norm /= (double)updates;
  return FC_ERR_OK;
}

static fc_err run(trainer *t, const char *folder) {
  const fc_course course = {.comm = t->comm,
                            .request = t->request,
                            .what = "training of fldlt3",
                            .iterations = t->set.iterations,
                            .checkpoint_every = t->set.checkpoint_every,
                            .reports = t->reports,
                            .own = t,
                            .iterate = iterate,
                            .put = put,
                            .get = get};
  const bool writes = t->comm->rank == 0;
  FC_TRY(fc_course_run(&course));
  FC_TRY(fc_agree(t->comm, writes ? fc_fldlt3_save(&t->code, &t->td3, folder) : FC_ERR_OK));
  fc_course_end(&course);
  return FC_ERR_OK;
}

fc_err fc_fldlt3_run(const fc_comm *comm, const fc_config *cfg, const fc_scenario *s,
                     const fc_trajectories *recorded, fc_environment_opener *open, void *arg,
                     const fc_train_request *request, const char *folder, fc_train_report **reports,
                     int64_t *n_reports) {
  trainer t = {.comm = comm, .request = request};
  *reports = NULL;
  *n_reports = 0;
  fc_err err = make(&t, cfg, s, recorded, open, arg);
  if (err == FC_ERR_OK) err = run(&t, folder);
  if (err == FC_ERR_OK) {
    *reports = t.reports;
    *n_reports = t.set.iterations;
    t.reports = NULL;
  }
  drop(&t);
  return err;
}

/* ---- in learned environments ------------------------------------------------------------------
 */

fc_err fc_fldlt3_train(const fc_comm *comm, const fc_config *cfg, const fc_scenario *s,
                       const fc_dynamics *d, const fc_trajectories *starts,
                       const fc_train_request *request, const char *folder,
                       fc_train_report **reports, int64_t *n_reports) {
  fc_learned l = {s, d, starts};
  return fc_fldlt3_run(comm, cfg, s, starts, fc_learned_open, &l, request, folder, reports,
                       n_reports);
}
