/* The warm start: answers become valid, and right where the rule is plain; threads, checkpoints,
 * what cannot be learned. */
#include "llm_fixture.h"
#include "fedcell/fc_generate.h"
#include <signal.h>

typedef struct {
  int64_t steps, validations, stop_at; /* stop_at: sets `stop` after that step; 0: never */
  double first_loss, last_loss, valid, validation_loss;
  volatile sig_atomic_t stop;
} progress;

static void watch(void *arg, const fc_warm_report *r) {
  progress *p = arg;
  p->steps++;
  assert_true(r->step >= 1 && r->step <= r->steps && isfinite(r->loss));
  if (r->step == 1) p->first_loss = r->loss;
  p->last_loss = r->loss;
  assert_int_equal(isnan(r->validation_loss), isnan(r->validation_valid));
  if (!isnan(r->validation_valid)) {
    p->validations++;
    p->valid = r->validation_valid;
    p->validation_loss = r->validation_loss;
  }
  if (p->stop_at && r->step == p->stop_at) p->stop = 1;
}

static char prompts[64];

static int make_prompts(void **state) {
  (void)state;
  make_scratch(prompts);
  write_short_prompts(prompts);
  return 0;
}

static int drop_prompts(void **state) {
  (void)state;
  drop_scratch(prompts);
  return 0;
}

static policy short_policy(const char *more) {
  char settings[512];
  snprintf(settings, sizeof settings, "policy.prompts=%s\nwarm_up.batch=16\n%s", prompts, more);
  return make_policy(settings);
}

static fc_err learn(policy *p, progress *seen, const char *checkpoint) {
  const fc_warm_request request = {
      .on_step = watch, .arg = seen, .checkpoint = checkpoint, .stop = &seen->stop};
  return fc_llm_warm_up(comm, p->cfg, p->scenario, p->t, &request, p->llm);
}

/* ---- learning -------------------------------------------------------------------------------- */

/* Shares of greedy answers to states that nobody has seen: valid ones, and devices that are told
 * as the rule has it. */
static void judge(const policy *p, double *valid, double *right) {
  enum { FRESH = 16 };
  fc_trajectories *t = NULL;
  fc_fl_state *s = NULL;
  fc_tokens tokens = {0};
  const int most = fc_llm_answer_max(p->llm);
  const fc_generate_settings greedy = {.steps = most, .top_p = 1, .stop = {fc_llm_end(p->llm), -1}};
  int32_t *answer = NULL;
  int n_valid = 0, n_right = 0, n = 0;
  OK(fc_alloc((size_t)most, sizeof *answer, &answer));
  OK(fc_trajectories_create(p->scenario, TRAJECTORIES + FRESH, &t));
  OK(fc_fl_state_create(p->scenario, &s));
  for (int i = TRAJECTORIES; i < TRAJECTORIES + FRESH; i++) {
    make_up(t, i);
    for (int64_t k = 0; k < ROUNDS; k++, n++) {
      uint8_t select[DEVICES];
      int length = 0;
      tokens.n = 0;
      for (size_t j = 0; j < fc_llm_prefix(p->llm)->n; j++)
        OK(fc_tokens_push(&tokens, fc_llm_prefix(p->llm)->id[j]));
      OK(fc_trajectories_state(t, p->scenario, i, k + 1, s));
      OK(fc_llm_observe(p->llm, s, &tokens));
      const fc_prompt prompt = {.tokens = tokens.id, .n = (int)tokens.n};
      OK(fc_model_generate(fc_llm_model(p->llm), NULL, NULL, &prompt, 1, &greedy, answer, &length));
      n_valid += fc_llm_read_answer(p->llm, answer, length, select);
      for (int d = 0; d < DEVICES; d++)
        n_right += select[d] == t->served[(i * ROUNDS + k) * DEVICES + d];
    }
  }
  *valid = (double)n_valid / n;
  *right = (double)n_right / n / DEVICES;
  fc_free(answer);
  fc_tokens_free(&tokens);
  fc_fl_state_destroy(&s);
  fc_trajectories_destroy(&t);
}

static void answers_become_valid_and_right(void **state) {
  (void)state;
  policy p = short_policy("warm_up.steps=260\nwarm_up.learning_rate=4e-3\n"
                          "warm_up.validate_every=130\nwarm_up.permute=false\n");
  progress seen = {0};
  double valid = 0, right = 0;
  OK(learn(&p, &seen, NULL));
  assert_int_equal(seen.steps, 260);
  assert_int_equal(seen.validations, 2);
  assert_true(seen.first_loss > 4); /* ln of the vocabulary is about 5.6 */
  assert_true(seen.last_loss < 0.3 * seen.first_loss);
  judge(&p, &valid, &right);
  if (!(valid > 0.99 && right > 0.85 && seen.valid > 0.99))
    fail_msg("valid %g (%g in the end), right %g, loss %g", valid, seen.valid, right,
             seen.validation_loss);
  drop_policy(&p);
}

/* ---- the same bits --------------------------------------------------------------------------- */

static float *weights_after(const char *settings, const char *checkpoint, int64_t stop_at,
                            int64_t *steps) {
  policy p = short_policy(settings);
  progress seen = {.stop_at = stop_at};
  float *copy = NULL;
  fc_err err = learn(&p, &seen, checkpoint);
  *steps = seen.steps;
  if (stop_at) {
    char message[128];
    assert_int_equal(err, FC_ERR_STOPPED);
    snprintf(message, sizeof message, "stopped after step %lld of 9 of the warm start",
             (long long)stop_at);
    assert_string_equal(fc_err_message(), message);
  } else {
    OK(err);
    size_t n = fc_model_weight_count(fc_llm_model(p.llm));
    OK(fc_alloc(n + 1, sizeof *copy, &copy));
    memcpy(copy, fc_model_weights(fc_llm_model(p.llm)), n * sizeof *copy);
    copy[n] = -1;
  }
  drop_policy(&p);
  return copy;
}

static bool same(const float *a, const float *b) {
  size_t i = 0;
  for (; a[i] != -1 || b[i] != -1; i++)
    if (memcmp(&a[i], &b[i], sizeof *a) != 0) return false;
  return i > 1000;
}

static const char few_steps[] = "warm_up.steps=9\nwarm_up.checkpoint_every=4\n";

static void a_stopped_one_continues(void **state) {
  (void)state;
  char path[128];
  int64_t steps = 0;
  snprintf(path, sizeof path, "%s/warm.ckpt.h5", prompts);
  float *whole = weights_after(few_steps, NULL, 0, &steps);
  assert_int_equal(steps, 9);
  assert_null(weights_after(few_steps, path, 6, &steps));
  assert_int_equal(access(path, R_OK), 0);
  /* not with other options */
  policy p = short_policy("warm_up.steps=10\n");
  progress seen = {0};
  assert_int_equal(learn(&p, &seen, path), FC_ERR_USAGE);
  assert_non_null(strstr(fc_err_message(), "made with another configuration"));
  drop_policy(&p);
  float *continued = weights_after(few_steps, path, 0, &steps);
  assert_int_equal(steps, 3);
  assert_true(same(whole, continued));
  assert_int_not_equal(access(path, R_OK), 0);
  fc_free(whole);
  fc_free(continued);
}

static void options_matter(void **state) {
  (void)state;
  static const char *const other[] = {
      "warm_up.steps=9\nwarm_up.permute=false\n", "warm_up.steps=9\nwarm_up.seed=2\n",
      "warm_up.steps=9\nwarm_up.answers=selected\n", "warm_up.steps=9\nwarm_up.held_out=0.5\n"};
  int64_t steps = 0;
  float *usual = weights_after(few_steps, NULL, 0, &steps);
  float *again = weights_after(few_steps, NULL, 0, &steps);
  assert_true(same(usual, again));
  for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
    float *theirs = weights_after(other[i], NULL, 0, &steps);
    assert_false(same(usual, theirs));
    fc_free(theirs);
  }
  fc_free(usual);
  fc_free(again);
}

/* ---- edges ------------------------------------------------------------------------------------
 */

static void nothing_to_learn_is_told(void **state) {
  (void)state;
  policy p = short_policy("");
  progress seen = {0};
  memset(p.t->by_tool, 0, TRAJECTORIES);
  assert_fails(learn(&p, &seen, NULL), FC_ERR_USAGE,
               "the warm start has nothing to learn from: 0 of 40 trajectories have answers of "
               "warm_up.teacher = tool, warm_up.held_out = 0.1 of them are kept for validation");
  p.t->by_tool[3] = 1; /* one alone, and that is held out */
  assert_int_equal(learn(&p, &seen, NULL), FC_ERR_USAGE);
  assert_int_equal(seen.steps, 0);
  drop_policy(&p);
}

/* What is nobody's of the tool teaches all the same where all do. */
static void all_trajectories_may_teach(void **state) {
  (void)state;
  policy p = short_policy("warm_up.steps=2\nwarm_up.teacher=all\n");
  progress seen = {0};
  memset(p.t->by_tool, 0, TRAJECTORIES);
  OK(learn(&p, &seen, NULL));
  assert_int_equal(seen.steps, 2);
  drop_policy(&p);
}

/* Idle rounds are no examples; without held-out trajectories nothing is validated. */
static void idle_rounds_are_left_out(void **state) {
  (void)state;
  policy p = short_policy("warm_up.steps=2\nwarm_up.held_out=0\n");
  progress seen = {0};
  memset(p.t->served, 0, (size_t)TRAJECTORIES * ROUNDS * DEVICES);
  assert_int_equal(learn(&p, &seen, NULL), FC_ERR_USAGE);
  p.t->served[(1 * ROUNDS + 3) * DEVICES + 2] = 1;
  OK(learn(&p, &seen, NULL));
  assert_int_equal(seen.steps, 2);
  assert_int_equal(seen.validations, 0);
  drop_policy(&p);
}

static void no_steps_change_nothing(void **state) {
  (void)state;
  int64_t steps = 0;
  float *after = weights_after("warm_up.steps=0\n", NULL, 0, &steps);
  policy p = short_policy("");
  size_t n = fc_model_weight_count(fc_llm_model(p.llm));
  assert_memory_equal(after, fc_model_weights(fc_llm_model(p.llm)), n * sizeof *after);
  assert_int_equal(steps, 0);
  drop_policy(&p);
  fc_free(after);
}

/* A model from a folder: adapters alone are trained, so the norms stay. */
static void a_foreign_model_keeps_what_no_adapter_reaches(void **state) {
  (void)state;
  char folder[64], settings[256];
  policy small = short_policy("");
  make_scratch(folder);
  OK(fc_llm_save(small.llm, NULL, NULL, folder));
  snprintf(settings, sizeof settings,
           "policy.model=%s\npolicy.lora_rank=4\nwarm_up.steps=3\nwarm_up.learning_rate=0.1\n",
           folder);
  policy p = short_policy(settings);
  progress seen = {0};
  OK(learn(&p, &seen, NULL));
  const fc_model *a = fc_llm_model(small.llm), *b = fc_llm_model(p.llm);
  const fc_tensor *norm = fc_model_find_tensor(a, "model.norm.weight");
  const fc_tensor *linear = fc_model_find_tensor(a, "model.layers.0.mlp.down_proj.weight");
  assert_non_null(norm);
  assert_non_null(linear);
  assert_memory_equal(fc_model_weights(a) + norm->offset, fc_model_weights(b) + norm->offset,
                      (size_t)norm->cols * sizeof(float));
  assert_memory_not_equal(fc_model_weights(a) + linear->offset,
                          fc_model_weights(b) + linear->offset,
                          (size_t)(linear->rows * linear->cols) * sizeof(float));
  drop_scratch(folder);
  drop_policy(&small);
  drop_policy(&p);
}

static void nothing_is_left(void **state) {
  (void)state;
  size_t before = fc_mem_current_bytes();
  int64_t steps = 0;
  float *w = weights_after("warm_up.steps=2\n", NULL, 0, &steps);
  fc_free(w);
  assert_int_equal(fc_mem_current_bytes(), before);
}

static int run_all(void) {
#define WITH_PROMPTS(test) cmocka_unit_test_setup_teardown(test, make_prompts, drop_prompts)
  const struct CMUnitTest tests[] = {
      WITH_PROMPTS(answers_become_valid_and_right),
      WITH_PROMPTS(a_stopped_one_continues),
      WITH_PROMPTS(options_matter),
      WITH_PROMPTS(nothing_to_learn_is_told),
      WITH_PROMPTS(all_trajectories_may_teach),
      WITH_PROMPTS(idle_rounds_are_left_out),
      WITH_PROMPTS(no_steps_change_nothing),
      WITH_PROMPTS(a_foreign_model_keeps_what_no_adapter_reaches),
      WITH_PROMPTS(nothing_is_left),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return one_rank_main(argc, argv, run_all);
}
