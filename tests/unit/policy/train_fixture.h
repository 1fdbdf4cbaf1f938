/* train_fixture.h - training with rewards in seconds: a toy environment in which some devices are
 * good and some are bad, and a small language model that writes valid answers. */
#ifndef TRAIN_FIXTURE_H
#define TRAIN_FIXTURE_H

#include "llm_fixture.h"
#include "../../../src/policy/reward.h"
#include "../../../src/policy/train.h"

/* ---- the toy environment --------------------------------------------------------------------- */

/* Accuracy 0.5, and 0.08 more for each served device of an even number, less for each other. A
 * state's losses tell nothing but the round; nothing of a round depends on those before it. */
static inline fc_err toy_reset(void *own, const fc_episode *episode, int n,
                               fc_fl_state *const *states) {
  (void)own, (void)episode;
  for (int i = 0; i < n; i++) {
    states[i]->accuracy = 0.5;
    states[i]->round = 1;
    fc_fl_state_no_participants(states[i]);
    for (int d = 0; d < DEVICES; d++) states[i]->loss[d] = 1;
  }
  return FC_ERR_OK;
}

static inline fc_err toy_step(void *own, const int *which, int n, const uint8_t *select,
                              fc_fl_state *const *states) {
  (void)own, (void)which;
  for (int i = 0; i < n; i++) {
    states[i]->accuracy = 0.5;
    fc_fl_state_no_participants(states[i]);
    for (int d = 0; d < DEVICES; d++)
      if (select[i * DEVICES + d]) states[i]->accuracy += d % 2 ? -0.08 : 0.08;
  }
  return FC_ERR_OK;
}

static inline void toy_destroy(void *own) {
  (void)own;
}

static const fc_environment_kind toy = {
    .reset = toy_reset, .step = toy_step, .destroy = toy_destroy};

/* arg: the scenario. */
static inline fc_err open_toy(void *arg, int episodes, fc_environment **out) {
  return fc_environment_open(arg, episodes, &toy, NULL, out);
}

/* ---- the policy ------------------------------------------------------------------------------ */

/* settings: "key=value", one a line. */
static inline fc_config *train_config(const char *prompts, const char *settings) {
  static const char *const small[] = {
      "environment.rounds=3", "environment.sigma=1",     "policy.agent=eps-greedy",
      "policy.layers=2",      "policy.width=32",         "policy.heads=2",
      "policy.ffn=64",        "policy.precision=f32",    "warm_up.steps=120",
      "warm_up.batch=16",     "warm_up.micro_batch=4",   "warm_up.learning_rate=5e-3",
      "grpo.episodes=32",     "grpo.iterations=20",      "grpo.minibatch=48",
      "grpo.micro_batch=6",   "grpo.learning_rate=1e-3", "grpo.gamma=0",
      "grpo.clip_norm=1",     "grpo.epochs=2",           "grpo.value.learning_rate=1e-2"};
  static const fc_option seed[] = {
      {"data.seed", FC_OPT_INT, "", "1", 0, 1e9, NULL, "as the run's table has it"}};
  const fc_option_table tables[] = {
      FC_OPTION_TABLE("run", seed), fc_data_options,       fc_split_options,
      fc_environment_options,       fc_evaluation_options, fc_policy_options,
      fc_warm_up_options,           fc_grpo_options,       fc_reward_options};
  enum { TABLES = sizeof tables / sizeof *tables };
  static fc_option_table kept[TABLES];
  fc_config *cfg = NULL;
  char line[512];
  memcpy(kept, tables, sizeof kept);
  OK(fc_config_create(kept, TABLES, &cfg));
  for (size_t i = 0; i < sizeof small_scenario / sizeof *small_scenario; i++)
    fc_config_set(cfg, small_scenario[i]);
  for (size_t i = 0; i < sizeof small / sizeof *small; i++) fc_config_set(cfg, small[i]);
  snprintf(line, sizeof line, "policy.prompts=%s", prompts);
  fc_config_set(cfg, line);
  for (const char *at = settings; *at;) {
    const size_t length = strcspn(at, "\n");
    snprintf(line, sizeof line, "%.*s", (int)length, at);
    fc_config_set(cfg, line);
    at += length + (at[length] == '\n');
  }
  OK(fc_config_finish(cfg));
  return cfg;
}

/* What all trainings of a program begin with. */
typedef struct {
  char folder[64];
  fc_config *cfg;
  fc_scenario *scenario;
  fc_trajectories *t;
  char warm[96]; /* the warm policy's folder */
} ground;

/* Collective over `over`. Rank 0 makes the folders. */
static inline ground make_ground(const fc_comm *over, const char *folder) {
  ground g = {0};
  fc_llm *llm = NULL;
  snprintf(g.folder, sizeof g.folder, "%s", folder);
  snprintf(g.warm, sizeof g.warm, "%s/warm", folder);
  if (over->rank == 0) {
    char command[128];
    write_short_prompts(folder);
    snprintf(command, sizeof command, "mkdir '%s'", g.warm);
    assert_int_equal(system(command), 0);
  }
  OK(fc_comm_barrier(over));
  g.cfg = train_config(folder, "");
  OK(fc_scenario_create(g.cfg, FC_TRAINING, &g.scenario));
  OK(fc_trajectories_create(g.scenario, TRAJECTORIES, &g.t));
  for (int i = 0; i < TRAJECTORIES; i++) make_up(g.t, i);
  OK(fc_llm_create(g.cfg, g.scenario, g.t, &llm));
  OK(fc_llm_warm_up(over, g.cfg, g.scenario, g.t, &(fc_warm_request){0}, llm));
  OK(fc_agree(over, over->rank == 0 ? fc_llm_save(llm, NULL, NULL, g.warm) : FC_ERR_OK));
  fc_llm_destroy(&llm);
  return g;
}

static inline void drop_ground(ground *g) {
  fc_trajectories_destroy(&g->t);
  fc_scenario_destroy(&g->scenario);
  fc_config_destroy(&g->cfg);
}

/* ---- answers without playing ------------------------------------------------------------------
 */

enum { ANSWERS = 12 };

/* Which devices answer i has chosen, as bits: one to all. */
static inline unsigned chosen(int i) {
  return (unsigned)(29 * i + 5) % 63 + 1;
}

static inline int number(int i) {
  return __builtin_popcount(chosen(i));
}

/* Two episodes; the last answer is no selection. */
static inline fc_answers make_answers(const ground *g, const fc_llm *llm) {
  fc_answers a;
  fc_tokens tokens = {0};
  fc_fl_state *state = NULL;
  OK(fc_answers_create(llm, (fc_episodes){2, ANSWERS / 2}, &a));
  OK(fc_fl_state_create(g->scenario, &state));
  for (int i = 0; i < ANSWERS; i++) {
    uint8_t select[DEVICES];
    for (int d = 0; d < DEVICES; d++) select[d] = (uint8_t)(chosen(i) >> d & 1);
    OK(fc_trajectories_state(g->t, g->scenario, i % TRAJECTORIES, 1 + i % 3, state));
    tokens.n = 0;
    OK(fc_llm_observe(llm, state, &tokens));
    memcpy(a.prompt + i * a.prompt_max, tokens.id, tokens.n * sizeof *tokens.id);
    a.prompt_n[i] = (int32_t)tokens.n;
    tokens.n = 0;
    OK(fc_llm_answer_tokens(llm, select, &tokens));
    if (i == ANSWERS - 1) tokens.n = 1;
    memcpy(a.answer + i * a.answer_max, tokens.id, tokens.n * sizeof *tokens.id);
    a.answer_n[i] = (int32_t)tokens.n;
    a.rule[i] = 0.1 * i;
  }
  fc_fl_state_destroy(&state);
  fc_tokens_free(&tokens);
  return a;
}

/* ---- one training ---------------------------------------------------------------------------- */

typedef struct {
  fc_err err;
  fc_train_report *reports;
  int64_t n;
  float *weights; /* of the trained policy */
  size_t n_weights;
} trained;

static inline trained train_with(const fc_comm *over, const ground *g,
                                 const fc_train_request *request, const char *settings,
                                 fc_environment_opener *open, void *arg) {
  trained out = {0};
  fc_config *cfg = train_config(g->folder, settings);
  fc_llm *llm = NULL;
  OK(fc_llm_load(cfg, g->warm, g->scenario, &llm));
  out.err =
      fc_train_run(over, cfg, g->scenario, g->t, open, arg, request, llm, &out.reports, &out.n);
  out.n_weights = fc_model_weight_count(fc_llm_model(llm));
  OK(fc_alloc(out.n_weights, sizeof *out.weights, &out.weights));
  memcpy(out.weights, fc_model_weights(fc_llm_model(llm)), out.n_weights * sizeof *out.weights);
  fc_llm_destroy(&llm);
  fc_config_destroy(&cfg);
  return out;
}

static inline trained train_in_toy(const fc_comm *over, const ground *g, const char *algorithm,
                                   const char *settings) {
  return train_with(over, g, &(fc_train_request){.algorithm = algorithm}, settings, open_toy,
                    g->scenario);
}

/* Same bits: weights, and reports but for their times. */
static inline void assert_same_training(const trained *a, const trained *b) {
  assert_int_equal(a->n, b->n);
  for (int64_t i = 0; i < a->n; i++) {
    fc_train_report x = a->reports[i], y = b->reports[i];
    x.rollout_s = x.update_s = x.tokens_per_s = 0;
    y.rollout_s = y.update_s = y.tokens_per_s = 0;
    assert_memory_equal(&x, &y, sizeof x);
  }
  assert_int_equal(a->n_weights, b->n_weights);
  assert_memory_equal(a->weights, b->weights, a->n_weights * sizeof *a->weights);
}

static inline void drop_trained(trained *t) {
  fc_free(t->reports);
  fc_free(t->weights);
}

#endif
