/* oracle_llm - a policy's folder and what it gives, for tests/oracle/test_llm_parity.py.
 *
 *   oracle_llm FOLDER
 *
 * Makes an embedded language model of four devices with random weights, saves it into FOLDER and
 * prints the token ids of its prompt for some state, the logits after the last of them, the ids of
 * the answer "1, 3" without the end, a line each; then the prompt's text. Exit code 1 with a
 * message when anything fails. */
#include "fedcell/fc_data.h"
#include "fedcell/fc_llm.h"
#include "fedcell/fc_mem.h"
#include <math.h>
#include <stdio.h>

static const char *const sets[] = {
    "data.dataset=generated-digits",
    "data.samples=600",
    "data.test_samples=100",
    "data.public_fraction=0",
    "environment.devices=4",
    "environment.rounds=3",
    "environment.select_min=1",
    "policy.layers=2",
    "policy.width=48",
    "policy.heads=4",
    "policy.kv_heads=2",
    "policy.ffn=80",
};

typedef struct {
  fc_config *cfg;
  fc_scenario *scenario;
  fc_trajectories *t;
  fc_fl_state *state;
  fc_llm *llm;
  fc_tokens tokens;
  float *logits;
  fc_work *work;
  char *text;
} job;

static fc_err configure(job *j) {
  static const fc_option seed[] = {
      {"data.seed", FC_OPT_INT, "", "1", 0, 1e9, NULL, "as the run's table has it"}};
  static fc_option_table tables[7];
  const fc_option_table here[] = {
      FC_OPTION_TABLE("run", seed), fc_data_options,   fc_split_options,  fc_environment_options,
      fc_evaluation_options,        fc_policy_options, fc_warm_up_options};
  for (size_t i = 0; i < sizeof here / sizeof *here; i++) tables[i] = here[i];
  FC_TRY(fc_config_create(tables, sizeof here / sizeof *here, &j->cfg));
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) fc_config_set(j->cfg, sets[i]);
  return fc_config_finish(j->cfg);
}

static void make_up(fc_trajectories *t) {
  fc_rng rng = fc_rng_open(2, FC_RNG_TEST, 0, 0);
  for (int64_t i = 0; i < (t->rounds + 1) * t->devices * FC_STATISTICS; i++)
    t->statistics[i] = fc_rng_uniform(&rng);
  for (int64_t i = 0; i < t->rounds * t->devices; i++) t->selected[i] = t->served[i] = i % 3 == 0;
}

static void print_tokens(const int32_t *id, size_t n) {
  for (size_t i = 0; i < n; i++) printf("%s%d", i ? "," : "", id[i]);
  printf("\n");
}

static fc_err print_logits(job *j) {
  const fc_model *m = fc_llm_model(j->llm);
  const int vocab = fc_model_get_shape(m)->vocab;
  const int64_t n = (int64_t)j->tokens.n, start[2] = {0, n};
  const fc_batch batch = {.sequences = 1, .start = start, .tokens = j->tokens.id};
  FC_TRY(fc_alloc((size_t)(n * vocab), sizeof *j->logits, &j->logits));
  FC_TRY(fc_work_create(m, NULL, n, 1, (int)n, FC_WORK_FORWARD, &j->work));
  FC_TRY(fc_model_logits(j->work, NULL, &batch, FC_LOSS_CAUSAL_LM, j->logits));
  for (int v = 0; v < vocab; v++)
    printf("%s%.9g", v ? "," : "", (double)j->logits[(n - 1) * vocab + v]);
  printf("\n");
  return FC_ERR_OK;
}

static fc_err run(job *j, const char *folder) {
  const uint8_t select[4] = {1, 0, 1, 0};
  FC_TRY(configure(j));
  FC_TRY(fc_scenario_create(j->cfg, FC_TRAINING, &j->scenario));
  FC_TRY(fc_trajectories_create(j->scenario, 1, &j->t));
  make_up(j->t);
  FC_TRY(fc_llm_create(j->cfg, j->scenario, j->t, &j->llm));
  FC_TRY(fc_llm_save(j->llm, NULL, NULL, folder));
  FC_TRY(fc_fl_state_create(j->scenario, &j->state));
  FC_TRY(fc_trajectories_state(j->t, j->scenario, 0, 2, j->state));
  const fc_tokens *prefix = fc_llm_prefix(j->llm);
  for (size_t i = 0; i < prefix->n; i++) FC_TRY(fc_tokens_push(&j->tokens, prefix->id[i]));
  FC_TRY(fc_llm_observe(j->llm, j->state, &j->tokens));
  print_tokens(j->tokens.id, j->tokens.n);
  FC_TRY(print_logits(j));
  size_t prompt = j->tokens.n;
  FC_TRY(fc_llm_answer_tokens(j->llm, select, &j->tokens));
  print_tokens(j->tokens.id + prompt, j->tokens.n - prompt - 1);
  FC_TRY(fc_llm_prompt_text(j->llm, j->state, &j->text));
  printf("%s", j->text);
  return FC_ERR_OK;
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: oracle_llm FOLDER\n");
    return 2;
  }
  job j = {0};
  fc_err err = run(&j, argv[1]);
  if (err != FC_ERR_OK) fprintf(stderr, "oracle_llm: %s: %s\n", fc_err_text(err), fc_err_message());
  fc_work_destroy(&j.work);
  fc_free(j.logits);
  fc_free(j.text);
  fc_tokens_free(&j.tokens);
  fc_fl_state_destroy(&j.state);
  fc_llm_destroy(&j.llm);
  fc_trajectories_destroy(&j.t);
  fc_scenario_destroy(&j.scenario);
  fc_config_destroy(&j.cfg);
  return err != FC_ERR_OK;
}
