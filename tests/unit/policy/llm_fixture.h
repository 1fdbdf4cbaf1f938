/* llm_fixture.h - the environment's small scenario, made-up trajectories in it, and a small
 * language model. MPI is there: `comm`. */
#ifndef LLM_FIXTURE_H
#define LLM_FIXTURE_H

#include "../environment/environment_fixture.h"
#include "fedcell/fc_llm.h"
#include <stdlib.h>
#include <unistd.h>

#define OK assert_ok

enum { ROUNDS = 8, TRAJECTORIES = 40 };

__attribute__((unused)) static fc_comm *comm;

/* ---- trajectories ---------------------------------------------------------------------------- */

/* Trajectory i: in every round the devices whose loss is above 0.6 took part, the first one always.
 */
static inline void make_up(fc_trajectories *t, int i) {
  const int64_t K = t->rounds, N = t->devices;
  fc_rng rng = fc_rng_open(5, FC_RNG_TEST, (uint64_t)i, 0);
  t->episode[i] = (fc_episode){.seed = 3, .id = (uint64_t)i};
  t->by_tool[i] = i % 4 != 0;
  for (int64_t k = 0; k <= K; k++) {
    t->accuracy[i * (K + 1) + k] = fc_rng_uniform(&rng);
    for (int64_t n = 0; n < N; n++) {
      double *x = t->statistics + ((i * (K + 1) + k) * N + n) * FC_STATISTICS;
      const bool served = k > 0 && t->served[(i * K + k - 1) * N + n];
      x[0] = n == 0 ? 0.7 + fc_rng_uniform(&rng) : 2 * fc_rng_uniform(&rng);
      for (int v = 1; v < FC_STATISTICS; v++) x[v] = served ? fc_rng_uniform(&rng) : NAN;
      if (k < K) t->served[(i * K + k) * N + n] = x[0] > 0.6;
      if (k < K) t->selected[(i * K + k) * N + n] = x[0] > 0.5;
    }
  }
}

typedef struct {
  fc_config *cfg;
  fc_scenario *scenario;
  fc_trajectories *t;
  fc_llm *llm;
} policy;

/* settings: "key=value", one a line; may be "". */
static inline fc_config *llm_config(const char *settings) {
  static const char *const small[] = {"environment.rounds=8", "policy.layers=2",
                                      "policy.width=48",      "policy.heads=3",
                                      "policy.ffn=96",        "policy.precision=f32"};
  static const fc_option seed[] = {
      {"data.seed", FC_OPT_INT, "", "1", 0, 1e9, NULL, "as the run's table has it"}};
  fc_option_table tables[] = {
      FC_OPTION_TABLE("run", seed), fc_data_options,   fc_split_options,  fc_environment_options,
      fc_evaluation_options,        fc_policy_options, fc_warm_up_options};
  enum { TABLES = sizeof tables / sizeof *tables };
  static fc_option_table kept[TABLES];
  fc_config *cfg;
  char line[256];
  memcpy(kept, tables, sizeof kept);
  OK(fc_config_create(kept, TABLES, &cfg));
  for (size_t i = 0; i < sizeof small_scenario / sizeof *small_scenario; i++)
    fc_config_set(cfg, small_scenario[i]);
  for (size_t i = 0; i < sizeof small / sizeof *small; i++) fc_config_set(cfg, small[i]);
  for (const char *at = settings; *at;) {
    const size_t length = strcspn(at, "\n");
    snprintf(line, sizeof line, "%.*s", (int)length, at);
    fc_config_set(cfg, line);
    at += length + (at[length] == '\n');
  }
  OK(fc_config_finish(cfg));
  return cfg;
}

static inline policy make_policy(const char *settings) {
  policy p = {.cfg = llm_config(settings)};
  OK(fc_scenario_create(p.cfg, FC_TRAINING, &p.scenario));
  OK(fc_trajectories_create(p.scenario, TRAJECTORIES, &p.t));
  for (int i = 0; i < TRAJECTORIES; i++) make_up(p.t, i);
  OK(fc_llm_create(p.cfg, p.scenario, p.t, &p.llm));
  return p;
}

static inline void drop_policy(policy *p) {
  fc_llm_destroy(&p->llm);
  assert_null(p->llm);
  fc_trajectories_destroy(&p->t);
  fc_scenario_destroy(&p->scenario);
  fc_config_destroy(&p->cfg);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* An empty folder, removed with all its files by drop_scratch. */
static inline void make_scratch(char folder[64]) {
  strcpy(folder, "/tmp/fedcell-policy-XXXXXX");
  assert_non_null(mkdtemp(folder));
}

static inline void drop_scratch(const char *folder) {
  char command[128];
  snprintf(command, sizeof command, "rm -r '%s'", folder);
  assert_int_equal(system(command), 0);
}

/* Templates of few tokens, for models that learn within seconds. */
static inline void write_short_prompts(const char *folder) {
  static const char *const file[][2] = {{"system.txt", "Choose"},
                                        {"task.txt", "of {devices}"},
                                        {"observation.txt", "round {round}\n{device_lines}"},
                                        {"device.txt", " {device} {loss}"},
                                        {"answer.txt", "Answer: {selected}"}};
  for (size_t i = 0; i < sizeof file / sizeof *file; i++) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, file[i][0]);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fprintf(f, "%s\n", file[i][1]) > 0);
    assert_int_equal(fclose(f), 0);
  }
}

/* ---- one process as all ranks ---------------------------------------------------------------- */

__attribute__((unused)) static int one_rank_main(int argc, char **argv, int (*run)(void)) {
  /* no daemon of its own for a process without a launcher */
  setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);
  /* such processes share one session folder, which the first that ends removes: no file there */
  setenv("OMPI_MCA_sharedfp", "individual", 0);
  MPI_Init(&argc, &argv);
  if (fc_comm_create(&comm) != FC_ERR_OK) return 1;
  int failed = run();
  fc_comm_destroy(&comm);
  MPI_Finalize();
  return failed;
}

#endif
