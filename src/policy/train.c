/* train.c - GRPO and PPO from beginning to end [TELLM, Algorithm 1]: play, reward, learn, report.
 */
#include "fedcell/fc_mem.h"
#include "fedcell/fc_timer.h"
#include "reward.h"
#include "train.h"
#include <math.h>
#include <omp.h>
#include <string.h>

typedef struct {
  const fc_comm *comm;
  const fc_config *cfg;
  const fc_train_request *request;
  fc_llm *llm;
  fc_train_settings set;
  fc_trainable *trainable;
  fc_reward *reward;
  fc_play play;
  fc_learner learner;
  fc_answers answers;
  float *reference; /* (P) the policy that training began with; NULL: no penalty */
  uint8_t *keep;    /* (answers) */
  uint8_t *alike;   /* (rounds) */
  /* PPO's unit of rewards: mean and standard deviation of the first batch, so that a value head
   * that starts at 0 starts in the middle. deviation 0: not known yet. */
  double reward_mean, reward_deviation;
  char *key;                /* of the checkpoint */
  fc_train_report *reports; /* (iterations) */
} trainer;

/* ---- making ---------------------------------------------------------------------------------- */

static fc_err make_key(trainer *t) {
  const fc_option_table *const tables[] = {&fc_grpo_options, &fc_reward_options,
                                           &fc_policy_options};
  return fc_course_key(t->cfg, t->request->algorithm, tables, sizeof tables / sizeof tables[0],
                       &t->key);
}

static size_t theta_count(const trainer *t) {
  size_t width = (size_t)fc_model_get_shape(t->learner.model)->width;
  return t->learner.P + (t->set.is_ppo ? width + 1 : 0);
}

/* theta: what is trained of the model, as it is now, and a value head of zeros. */
static fc_err make_theta(trainer *t) {
  fc_learner *l = &t->learner;
  l->P = fc_trainable_count(t->trainable);
  FC_TRY(fc_alloc(theta_count(t), sizeof *l->theta, &l->theta));
  fc_trainable_init(t->trainable, t->set.seed, l->theta);
  if (t->set.objective.kl_beta > 0) {
    FC_TRY(fc_alloc(l->P, sizeof *t->reference, &t->reference));
    memcpy(t->reference, l->theta, l->P * sizeof *l->theta);
  }
  return FC_ERR_OK;
}

static fc_err make_local(trainer *t) {
  fc_learner *l = &t->learner;
  const fc_episodes of = {t->set.episodes, t->set.rounds};
  FC_TRY(make_key(t));
  FC_TRY(fc_llm_trainable(t->llm, t->cfg, &t->trainable));
  *l = (fc_learner){.comm = t->comm,
                    .set = &t->set,
                    .model = fc_llm_model(t->llm),
                    .threads = omp_get_max_threads()};
  FC_TRY(make_theta(t));
  FC_TRY(fc_passes_create(l->model, t->trainable, t->set.micro_batch, fc_llm_length_max(t->llm),
                          l->threads, &l->passes));
  FC_TRY(fc_answers_create(t->llm, of, &t->answers));
  FC_TRY(fc_alloc((size_t)t->answers.n, sizeof *t->keep, &t->keep));
  FC_TRY(fc_alloc((size_t)of.rounds, sizeof *t->alike, &t->alike));
  return fc_alloc((size_t)t->set.iterations, sizeof *t->reports, &t->reports);
}

static fc_err make(trainer *t, const fc_reward_context *reward, fc_environment_opener *open,
                   void *arg) {
  t->set.objective.longest = fc_llm_answer_max(t->llm);
  FC_TRY(fc_agree(t->comm, make_local(t)));
  t->play = (fc_play){.comm = t->comm, .llm = t->llm, .trainable = t->trainable, .set = &t->set};
  FC_TRY(fc_play_create(&t->play, open, arg));
  FC_TRY(fc_reward_create(reward, &t->reward));
  return fc_descent_create(t->comm, &t->set.optimizer, theta_count(t), t->learner.threads,
                           &t->learner.descent);
}

static void drop(trainer *t) {
  fc_descent_destroy(&t->learner.descent);
  fc_reward_destroy(&t->reward);
  fc_play_destroy(&t->play);
  fc_answers_destroy(&t->answers);
  fc_passes_destroy(&t->learner.passes, t->learner.threads);
  fc_trainable_destroy(&t->trainable);
  fc_free(t->learner.theta);
  fc_free(t->reference);
  fc_free(t->keep);
  fc_free(t->alike);
  fc_free(t->key);
  fc_free(t->reports);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

static void put(void *own, fc_store_file *f, int64_t done) {
  trainer *t = own;
  fc_descent_put(t->learner.descent, f, t->key, t->learner.theta, (double)done);
  fc_store_put_number(f, "/state", "reward_mean", t->reward_mean);
  fc_store_put_number(f, "/state", "reward_deviation", t->reward_deviation);
  fc_reward_put(t->reward, f);
}

static fc_err get(void *own, const fc_store_reader *r, const char *path, double *done) {
  trainer *t = own;
  FC_TRY(fc_descent_get(t->learner.descent, r, path, t->key, t->learner.theta, done));
  FC_TRY(fc_store_get_number(r, "/state", "reward_mean", &t->reward_mean));
  FC_TRY(fc_store_get_number(r, "/state", "reward_deviation", &t->reward_deviation));
  return fc_reward_get(t->reward, r);
}

/* What rewards need is learned first. */
static fc_err start(void *own) {
  trainer *t = own;
  return fc_reward_learn(t->reward, t->request->stop);
}

/* ---- an iteration ---------------------------------------------------------------------------- */

static fc_err group_advantages(trainer *t, int64_t *kept) {
  fc_answers *a = &t->answers;
  FC_TRY(fc_advantage_group(a->of, a->reward, t->set.divide, t->set.gamma, a->advantage, t->alike));
  *kept = a->n;
  memset(t->keep, 1, (size_t)a->n);
  if (t->set.drops) *kept = fc_advantage_keep(a->of, a->advantage, t->keep);
  return FC_ERR_OK;
}

/* Values and returns are in units of the first batch's rewards. */
static fc_err value_advantages(trainer *t) {
  fc_answers *a = &t->answers;
  if (!(t->reward_deviation > 0)) {
    double squares = 0;
    t->reward_mean = 0;
    for (int64_t i = 0; i < a->n; i++) t->reward_mean += a->reward[i] / (double)a->n;
    for (int64_t i = 0; i < a->n; i++) squares += pow(a->reward[i] - t->reward_mean, 2);
    t->reward_deviation = sqrt(squares / (double)a->n) + 1e-6;
  }
  double *unit = a->returns; /* which the estimation overwrites behind what it has read */
  for (int64_t i = 0; i < a->n; i++)
    unit[i] = (a->reward[i] - t->reward_mean) / t->reward_deviation;
  FC_TRY(fc_advantage_gae(a->of, unit, a->value, t->set.gamma, t->set.lambda, a->advantage,
                          a->returns));
  fc_advantage_normalise(a->advantage, a->n);
  return FC_ERR_OK;
}

static fc_err rewards(trainer *t) {
  fc_answers *a = &t->answers;
  FC_TRY(fc_reward_score(t->reward, a, a->reward));
  for (int64_t i = 0; i < a->n; i++)
    if (a->invalid[i]) a->reward[i] -= t->set.penalty;
  return FC_ERR_OK;
}

static fc_err learn(trainer *t, int64_t iteration, fc_train_report *r) {
  fc_answers *a = &t->answers;
  fc_learner *l = &t->learner;
  double sums[FC_STEP_SUMS];
  int64_t kept = 0;
  FC_TRY(rewards(t));
  FC_TRY(group_advantages(t, &kept));
  /* the first step sees the old policy itself */
  if (t->set.is_ppo || fc_train_steps(&t->set) > 1)
    FC_TRY(fc_learner_look(l, l->theta, a, a->old, t->set.is_ppo ? a->value : NULL));
  if (t->reference) FC_TRY(fc_learner_look(l, t->reference, a, a->reference, NULL));
  if (t->set.is_ppo) FC_TRY(value_advantages(t));
  FC_TRY(fc_learner_update(l, iteration, a, t->keep, kept, sums, &r->gradient_norm));
  fc_train_report_fill(a, &t->set, t->alike, sums, r);
  return FC_ERR_OK;
}

static fc_err iterate(void *own, int64_t iteration, fc_train_report *r) {
  trainer *t = own;
  double start_s = fc_wall_time_s();
  *r = (fc_train_report){.iteration = iteration + 1, .iterations = t->set.iterations};
  FC_TRY(fc_play_run(&t->play, iteration, t->learner.theta, &t->answers));
  r->rollout_s = fc_wall_time_s() - start_s;
  start_s = fc_wall_time_s();
  FC_TRY(learn(t, iteration, r));
  r->update_s = fc_wall_time_s() - start_s;
  return FC_ERR_OK;
}

static fc_err run(trainer *t) {
  const fc_course course = {.comm = t->comm,
                            .request = t->request,
                            .what = "training with rewards",
                            .iterations = t->set.iterations,
                            .checkpoint_every = t->set.checkpoint_every,
                            .reports = t->reports,
                            .own = t,
                            .iterate = iterate,
                            .start = start,
                            .put = put,
                            .get = get};
  FC_TRY(fc_course_run(&course));
  FC_TRY(fc_agree(t->comm, fc_llm_merge(t->llm, t->trainable, t->learner.theta)));
  fc_course_end(&course);
  return FC_ERR_OK;
}

fc_err fc_train_run(const fc_comm *comm, const fc_config *cfg, const fc_scenario *s,
                    const fc_trajectories *starts, fc_environment_opener *open, void *arg,
                    const fc_train_request *request, fc_llm *llm, fc_train_report **reports,
                    int64_t *n_reports) {
  trainer t = {.comm = comm, .cfg = cfg, .request = request, .llm = llm};
  const fc_reward_context reward = {comm, cfg, s, starts, llm};
  *reports = NULL;
  *n_reports = 0;
  FC_TRY(fc_agree(comm, fc_train_settings_read(cfg, s, request->algorithm, &t.set)));
  fc_err err = make(&t, &reward, open, arg);
  if (err == FC_ERR_OK) err = run(&t);
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

fc_err fc_policy_train(const fc_comm *comm, const fc_config *cfg, const fc_scenario *s,
                       const fc_dynamics *d, const fc_trajectories *starts,
                       const fc_train_request *request, fc_llm *llm, fc_train_report **reports,
                       int64_t *n_reports) {
  fc_learned l = {s, d, starts};
  return fc_train_run(comm, cfg, s, starts, fc_learned_open, &l, request, llm, reports, n_reports);
}
