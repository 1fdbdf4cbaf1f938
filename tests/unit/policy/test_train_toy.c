/* Training with rewards in a toy environment: rewards rise, reports say what they must, a stopped
 * training goes on as if it had not been, failures are told. */
#include "train_fixture.h"

static ground g;

/* ---- learning -------------------------------------------------------------------------------- */

static double mean_reward(const trained *t, int64_t first, int64_t n) {
  double sum = 0;
  for (int64_t i = first; i < first + n; i++) sum += t->reports[i].reward_mean;
  return sum / (double)n;
}

static void rewards_rise(void **state) {
  (void)state;
  static const struct {
    const char *algorithm, *settings;
  } forms[] = {{"grpo", ""},
               {"grpo", "grpo.ratio=token\ngrpo.average=token\ngrpo.std=false\ngrpo.dynamic=true\n"
                        "grpo.kl_beta=0.001"},
               {"grpo", "policy.lora_rank=4\ngrpo.learning_rate=4e-3"},
               {"ppo", ""}};
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    trained t = train_in_toy(comm, &g, forms[i].algorithm, forms[i].settings);
    OK(t.err);
    double first = mean_reward(&t, 0, 2), last = mean_reward(&t, t.n - 2, 2);
    print_message("%s %zu: reward %.3f to %.3f, invalid %.2f to %.2f\n", forms[i].algorithm, i,
                  first, last, t.reports[0].invalid, t.reports[t.n - 1].invalid);
    assert_true(last > first + 0.12);
    assert_true(t.reports[t.n - 1].invalid < t.reports[0].invalid);
    drop_trained(&t);
  }
}

/* ---- reports --------------------------------------------------------------------------------- */

static void a_single_step_is_on_policy(void **state) {
  (void)state;
  const char *const ratios[] = {"response", "token"};
  for (int i = 0; i < 2; i++) {
    char settings[128];
    snprintf(settings, sizeof settings,
             "grpo.ratio=%s\ngrpo.epochs=1\ngrpo.minibatch=1000\ngrpo.iterations=2", ratios[i]);
    trained t = train_in_toy(comm, &g, "grpo", settings);
    OK(t.err);
    for (int k = 0; k < 2; k++) {
      const fc_train_report *r = &t.reports[k];
      assert_true(r->kl_old == 0 && r->clip_low == 0 && r->clip_high == 0);
      assert_true(r->effective_sample == 1);
      assert_int_equal(r->iteration, k + 1);
      assert_int_equal(r->iterations, 2);
      assert_true(r->gradient_norm > 0 && r->entropy > 0 && r->rollout_s > 0 && r->update_s > 0);
      assert_true(r->length_mean > 1 && r->length_mean <= r->length_max);
      assert_close(r->tokens_per_s * r->rollout_s, r->length_mean * 32 * 3, 1e-6);
      assert_close(r->return_mean, 3 * r->reward_mean, 1e-12);
      assert_true(isnan(r->kl_reference) && isnan(r->value_loss) && isnan(r->explained_variance));
    }
    drop_trained(&t);
  }
}

/* The old policy's probabilities, from a pass of their own over other micro-batches, are those that
 * steps see as long as nothing is learned. */
static void nothing_learned_nothing_moved(void **state) {
  (void)state;
  const char *const algorithms[] = {"grpo", "ppo"};
  for (int i = 0; i < 2; i++) {
    trained t = train_in_toy(comm, &g, algorithms[i],
                             "grpo.learning_rate=1e-12\ngrpo.value.learning_rate=1e-12\n"
                             "grpo.kl_beta=0.1\ngrpo.iterations=2\ngrpo.epochs=3");
    OK(t.err);
    for (int k = 0; k < 2; k++) {
      assert_close(t.reports[k].kl_old, 0, 1e-9);
      assert_close(t.reports[k].effective_sample, 1, 1e-9);
      assert_close(t.reports[k].kl_reference, 0, 1e-9);
      assert_true(t.reports[k].clip_low == 0 && t.reports[k].clip_high == 0);
    }
    drop_trained(&t);
  }
}

/* gamma = lambda = 0 and values 0 at first: what the head is to learn is the standardised reward,
 * whose half mean square is 1/2. */
static void values_begin_at_nothing(void **state) {
  (void)state;
  trained t =
      train_in_toy(comm, &g, "ppo", "grpo.iterations=1\ngrpo.epochs=1\ngrpo.minibatch=1000");
  OK(t.err);
  assert_close(t.reports[0].value_loss, 0.5, 1e-4);
  assert_close(t.reports[0].explained_variance, 0, 1e-9);
  drop_trained(&t);
}

/* ---- edges ----------------------------------------------------------------------------------- */

static fc_err flat_step(void *own, const int *which, int n, const uint8_t *select,
                        fc_fl_state *const *states) {
  OK(toy_step(own, which, n, select, states));
  for (int i = 0; i < n; i++) states[i]->accuracy = 0.25;
  return FC_ERR_OK;
}

static fc_err open_flat(void *arg, int episodes, fc_environment **out) {
  static const fc_environment_kind flat = {
      .reset = toy_reset, .step = flat_step, .destroy = toy_destroy};
  return fc_environment_open(arg, episodes, &flat, NULL, out);
}

/* All rewards alike, also those of invalid answers. */
static void without_spread_nothing_is_learned(void **state) {
  (void)state;
  fc_scenario *s = NULL;
  fc_config *cfg = train_config(g.folder, "environment.idle_reward=0.25");
  OK(fc_scenario_create(cfg, FC_TRAINING, &s));
  ground flat = g;
  flat.scenario = s;
  const fc_train_request request = {.algorithm = "grpo"};
  trained t =
      train_with(comm, &flat, &request,
                 "reward.invalid_penalty=0\ngrpo.dynamic=true\ngrpo.iterations=2", open_flat, s);
  OK(t.err);
  assert_true(t.reports[1].zero_spread == 1 && t.reports[1].reward_std == 0);
  assert_true(t.reports[1].gradient_norm == 0 && isnan(t.reports[1].kl_old));
  fc_llm *llm = NULL;
  OK(fc_llm_load(cfg, g.warm, s, &llm));
  assert_memory_equal(t.weights, fc_model_weights(fc_llm_model(llm)),
                      t.n_weights * sizeof *t.weights);
  fc_llm_destroy(&llm);
  drop_trained(&t);
  fc_scenario_destroy(&s);
  fc_config_destroy(&cfg);
}

static fc_err nan_step(void *own, const int *which, int n, const uint8_t *select,
                       fc_fl_state *const *states) {
  OK(toy_step(own, which, n, select, states));
  states[n - 1]->accuracy = NAN;
  return FC_ERR_OK;
}

static fc_err open_nan(void *arg, int episodes, fc_environment **out) {
  static const fc_environment_kind kind = {
      .reset = toy_reset, .step = nan_step, .destroy = toy_destroy};
  return fc_environment_open(arg, episodes, &kind, NULL, out);
}

static void failures_are_told(void **state) {
  (void)state;
  const fc_train_request request = {.algorithm = "grpo"};
  trained t = train_with(comm, &g, &request, "", open_nan, g.scenario);
  assert_fails(t.err, FC_ERR_NUMERIC, "an accuracy of nan");
  assert_null(t.reports);
  drop_trained(&t);
  t = train_in_toy(comm, &g, "grpo", "grpo.rounds=4");
  assert_fails(t.err, FC_ERR_USAGE, "grpo.rounds = 4: the environment has 3 rounds");
  drop_trained(&t);
}

/* ---- stopping and going on ------------------------------------------------------------------- */

typedef struct {
  volatile sig_atomic_t stop;
  int64_t after, seen;
} stopper;

static void stop_after(void *arg, const fc_train_report *r) {
  stopper *s = arg;
  s->seen++;
  if (r->iteration == s->after) s->stop = 1;
}

static void goes_on_where_it_stopped(void **state) {
  (void)state;
  static const struct {
    const char *algorithm, *settings;
  } forms[] = {{"grpo", "grpo.iterations=4\ngrpo.kl_beta=0.01\ngrpo.schedule=linear"},
               {"ppo", "grpo.iterations=4\ngrpo.checkpoint_every=1"}};
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    char path[128];
    snprintf(path, sizeof path, "%s/train.ckpt.h5", g.folder);
    stopper s = {.after = 2};
    const fc_train_request request = {forms[i].algorithm, path, &s.stop, stop_after, &s};
    trained whole = train_in_toy(comm, &g, forms[i].algorithm, forms[i].settings);
    OK(whole.err);
    trained t = train_with(comm, &g, &request, forms[i].settings, open_toy, g.scenario);
    assert_fails(t.err, FC_ERR_STOPPED,
                 "stopped on request after iteration 2 of 4 of training with rewards");
    drop_trained(&t);
    s.stop = 0;
    t = train_with(comm, &g, &request, "grpo.iterations=4\ngrpo.gamma=0.5", open_toy, g.scenario);
    assert_int_equal(t.err, FC_ERR_USAGE);
    assert_non_null(strstr(fc_err_message(), "was made with another configuration"));
    drop_trained(&t);
    t = train_with(comm, &g, &request, forms[i].settings, open_toy, g.scenario);
    OK(t.err);
    assert_int_equal(s.seen, 4);
    assert_same_training(&t, &whole);
    assert_int_not_equal(access(path, F_OK), 0);
    drop_trained(&t);
    drop_trained(&whole);
  }
}

static int make_all(void **state) {
  char folder[64];
  (void)state;
  make_scratch(folder);
  g = make_ground(comm, folder);
  return 0;
}

static int drop_all(void **state) {
  (void)state;
  drop_scratch(g.folder);
  drop_ground(&g);
  return 0;
}

static int run_all(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rewards_rise),
      cmocka_unit_test(a_single_step_is_on_policy),
      cmocka_unit_test(nothing_learned_nothing_moved),
      cmocka_unit_test(values_begin_at_nothing),
      cmocka_unit_test(without_spread_nothing_is_learned),
      cmocka_unit_test(failures_are_told),
      cmocka_unit_test(goes_on_where_it_stopped),
  };
  return cmocka_run_group_tests(tests, make_all, drop_all);
}

int main(int argc, char **argv) {
  return one_rank_main(argc, argv, run_all);
}
