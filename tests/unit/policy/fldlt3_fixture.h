/* fldlt3_fixture.h - the agent FL-DLT3 trained in seconds, in an environment made up here. */
#ifndef FLDLT3_FIXTURE_H
#define FLDLT3_FIXTURE_H

#include "../environment/environment_fixture.h"
#include "../../../src/policy/fldlt3.h" /* MPI tests know no room's folder */
#include <stdlib.h>

/* ---- an environment made up -------------------------------------------------------------------
 */

/* Who takes part learns; nothing else matters, so that energy is all there is to save. */
static inline fc_err flat_reset(void *own, const fc_episode *episode, int n,
                                fc_fl_state *const *states) {
  (void)own, (void)episode;
  for (int i = 0; i < n; i++) {
    states[i]->accuracy = 0.1;
    fc_fl_state_no_participants(states[i]);
    for (int d = 0; d < states[i]->devices; d++) states[i]->loss[d] = 2;
  }
  return FC_ERR_OK;
}

static inline fc_err flat_step(void *own, const int *which, int n, const uint8_t *select,
                               fc_fl_state *const *states) {
  (void)own, (void)which, (void)select;
  for (int i = 0; i < n; i++) states[i]->accuracy = 1;
  return FC_ERR_OK;
}

static inline void flat_destroy(void *own) {
  (void)own;
}

static const fc_environment_kind flat = {
    .reset = flat_reset, .step = flat_step, .destroy = flat_destroy};

/* arg: the scenario. */
static inline fc_err open_flat(void *arg, int episodes, fc_environment **out) {
  return fc_environment_open(arg, episodes, &flat, NULL, out);
}

/* ---- configuration, recorded trajectories -----------------------------------------------------
 */

/* settings: "key=value", one a line. */
static inline fc_config *fldlt3_config(const char *settings) {
  static const char *const small[] = {"grpo.iterations=4", "grpo.episodes=8",
                                      "fldlt3.hidden=16",  "fldlt3.random_episodes=16",
                                      "fldlt3.wave=3", /* so 2 */
                                      "fldlt3.batch=5",    "fldlt3.predict=true"};
  static const fc_option run[] = {
      {"data.seed", FC_OPT_INT, "", "1", 0, 1e9, NULL, "as the run's table has it"}};
  static fc_option_table kept[9];
  const fc_option_table tables[] = {
      FC_OPTION_TABLE("run", run), fc_data_options,   fc_split_options,
      fc_environment_options,      fc_fldlt3_options, fc_evaluation_options,
      fc_policy_options,           fc_grpo_options,   fc_reward_options};
  fc_config *cfg = NULL;
  char line[256];
  memcpy(kept, tables, sizeof tables);
  assert_ok(fc_config_create(kept, sizeof tables / sizeof *tables, &cfg));
  for (size_t i = 0; i < sizeof small_scenario / sizeof *small_scenario; i++)
    fc_config_set(cfg, small_scenario[i]);
  for (size_t i = 0; i < sizeof small / sizeof *small; i++) fc_config_set(cfg, small[i]);
  for (const char *at = settings; *at;) {
    const size_t length = strcspn(at, "\n");
    snprintf(line, sizeof line, "%.*s", (int)length, at);
    fc_config_set(cfg, line);
    at += length + (at[length] == '\n');
  }
  assert_ok(fc_config_finish(cfg));
  return cfg;
}

typedef struct {
  fc_config *cfg;
  fc_scenario *s;
  fc_trajectories *t;
} ground;

/* All devices are chosen in every round of the recorded trajectories, and the tool allocates. */
static inline void record(const fc_scenario *s, fc_trajectories *t, int i) {
  uint8_t select[64];
  const fc_decision decision = {.select = select};
  fc_environment *e = NULL;
  fc_outcome outcome;
  memset(select, 1, sizeof select);
  t->episode[i] = (fc_episode){.seed = 100 + (uint64_t)i, .id = (uint64_t)i};
  assert_ok(fc_environment_open(s, 1, &flat, NULL, &e));
  assert_ok(fc_environment_reset(e, &t->episode[i]));
  while (!fc_environment_is_over(e)) {
    const int64_t round = fc_environment_state(e, 0)->round;
    fc_trajectories_put_state(t, i, fc_environment_state(e, 0));
    assert_ok(fc_environment_step(e, &decision, &outcome));
    fc_trajectories_put_step(t, i, round, select, fc_environment_service(e, 0), &outcome);
  }
  fc_trajectories_put_state(t, i, fc_environment_state(e, 0));
  fc_environment_close(&e);
}

static inline ground make_ground(const char *settings) {
  ground g = {.cfg = fldlt3_config(settings)};
  assert_ok(fc_scenario_create(g.cfg, FC_TRAINING, &g.s));
  assert_ok(fc_trajectories_create(g.s, 4, &g.t));
  for (int i = 0; i < 4; i++) record(g.s, g.t, i);
  return g;
}

static inline void drop_ground(ground *g) {
  fc_trajectories_destroy(&g->t);
  fc_scenario_destroy(&g->s);
  fc_config_destroy(&g->cfg);
}

/* ---- training -------------------------------------------------------------------------------- */

typedef struct {
  fc_err err;
  fc_train_report *reports;
  int64_t n;
} trained;

/* The networks lie in `folder` then. */
static inline trained train_in(const fc_comm *over, const ground *g, fc_environment_opener *open,
                               const fc_train_request *request, const char *folder) {
  trained out = {0};
  out.err =
      fc_fldlt3_run(over, g->cfg, g->s, g->t, open, g->s, request, folder, &out.reports, &out.n);
  return out;
}

/* Same bits, but for times. */
static inline void assert_same_reports(const trained *a, const trained *b) {
  assert_int_equal(a->n, b->n);
  for (int64_t i = 0; i < a->n; i++) {
    fc_train_report x = a->reports[i], y = b->reports[i];
    x.rollout_s = x.update_s = y.rollout_s = y.update_s = 0;
    assert_memory_equal(&x, &y, sizeof x);
  }
}

static inline void assert_same_folders(const char *a, const char *b) {
  char command[1200];
  snprintf(command, sizeof command, "diff -r '%s' '%s'", a, b);
  assert_int_equal(system(command), 0);
}

#endif
