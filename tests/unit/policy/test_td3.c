/* TD3's rules one by one: targets, delay, replay, prediction; and an action that is best. */
#include "llm_fixture.h"
#include "td3.h"

enum { S = 3, A = 2, K = 4, THREADS = 1 };
static const fc_td3_settings settings = {.states = S,
                                         .actions = A,
                                         .rounds = K,
                                         .hidden = 8,
                                         .learning_rate = 1e-2,
                                         .gamma = 0.9,
                                         .tau = 0.25,
                                         .delay = 3,
                                         .noise = 0.2,
                                         .noise_limit = 0.5,
                                         .batch = 4,
                                         .seed = 1};

typedef struct {
  fc_td3 td3;
  fc_replay replay;
} fixture;

/* `episodes` of random states and actions; an action's first number is best at 0.3. */
static void fill(fc_replay *r, int episodes) {
  for (int e = 0; e < episodes; e++) {
    fc_rng rng = fc_rng_open(5, FC_RNG_TEST, (uint64_t)r->count, 0);
    fc_replay_episode x = fc_replay_put(r);
    for (int i = 0; i < K * S; i++) x.state[i] = (float)fc_rng_normal(&rng);
    for (int i = 0; i < K * A; i++) x.action[i] = (float)(2 * fc_rng_uniform(&rng) - 1);
    for (int k = 0; k < K; k++)
      x.reward[k] = (float)(-4 * pow((double)x.action[(ptrdiff_t)k * A] - 0.3, 2));
  }
}

static void begin(fixture *f, const fc_td3_settings *s, int64_t steps, int episodes) {
  OK(fc_td3_create(comm, s, THREADS, &f->td3));
  OK(fc_replay_create(s, steps, &f->replay));
  fill(&f->replay, episodes);
}

static void end(fixture *f) {
  fc_td3_destroy(&f->td3);
  fc_replay_destroy(&f->replay);
}

/* ---- targets --------------------------------------------------------------------------------- */

/* A target critic that says `value` whatever it sees. */
static void fix_twin(fc_td3 *t, int c, float value) {
  float *theta = t->critics_target + (size_t)c * t->critic_count;
  memset(theta, 0, t->critic_count * sizeof *theta);
  theta[t->critic_count - 1] = value;
}

static void targets_take_the_smaller_twin(void **state) {
  (void)state;
  static const float twins[][2] = {{2, 5}, {5, 2}};
  fixture f;
  begin(&f, &settings, 100, 1);
  const fc_replay_episode x = fc_replay_get(&f.replay, 0);
  for (int i = 0; i < 2; i++) {
    float y[K];
    fix_twin(&f.td3, 0, twins[i][0]);
    fix_twin(&f.td3, 1, twins[i][1]);
    fc_td3_targets(&f.td3, 0, x, 0, y);
    for (int k = 0; k < K; k++) {
      const double wanted = (double)x.reward[k] + (k + 1 < K ? 0.9 * 2 : 0); /* K ends it */
      assert_true(fabs((double)y[k] - wanted) <= 1e-6);
    }
  }
  end(&f);
}

static void noise_moves_targets_within_its_limit(void **state) {
  (void)state;
  fc_td3_settings still = settings, limited = settings;
  still.noise = 0;
  limited.noise_limit = 0;
  const fc_td3_settings *const all[] = {&settings, &still, &limited};
  float y[3][K], again[K], other[K];
  for (int i = 0; i < 3; i++) {
    fixture f;
    begin(&f, all[i], 100, 1);
    fc_td3_targets(&f.td3, 0, fc_replay_get(&f.replay, 0), 7, y[i]);
    fc_td3_targets(&f.td3, 0, fc_replay_get(&f.replay, 0), 7, again);
    fc_td3_targets(&f.td3, 0, fc_replay_get(&f.replay, 0), 8, other);
    assert_memory_equal(y[i], again, sizeof again);
    if (i == 0) assert_memory_not_equal(again, other, sizeof other);
    end(&f);
  }
  assert_memory_equal(y[1], y[2], sizeof y[1]);
  assert_memory_not_equal(y[0], y[1], sizeof y[0]);
}

/* ---- delay ----------------------------------------------------------------------------------- */

static float *copy_of(const float *x, size_t n) {
  float *copy = malloc(n * sizeof *copy);
  assert_non_null(copy);
  return memcpy(copy, x, n * sizeof *copy);
}

/* In two runs through the delay of 3. */
static void the_actor_moves_every_third_time(void **state) {
  (void)state;
  fixture f;
  begin(&f, &settings, 100, 6);
  for (int u = 1; u <= 6; u++) {
    const size_t a = f.td3.actor_count, c = 2 * f.td3.critic_count;
    float *actor = copy_of(f.td3.actor, a), *actor_target = copy_of(f.td3.actor_target, a);
    float *critics = copy_of(f.td3.critics, c), *target = copy_of(f.td3.critics_target, c);
    fc_td3_report r;
    OK(fc_td3_update(&f.td3, &f.replay, &r));
    assert_memory_not_equal(critics, f.td3.critics, c * sizeof *critics);
    assert_true(r.value_loss > 0 && r.critic_gradient > 0);
    if (u % 3 != 0) {
      assert_memory_equal(actor, f.td3.actor, a * sizeof *actor);
      assert_memory_equal(actor_target, f.td3.actor_target, a * sizeof *actor);
      assert_memory_equal(target, f.td3.critics_target, c * sizeof *target);
      assert_true(isnan(r.actor_value));
    } else {
      assert_memory_not_equal(actor, f.td3.actor, a * sizeof *actor);
      assert_true(isfinite(r.actor_value));
      for (size_t i = 0; i < c; i++) {
        const double wanted = 0.75 * (double)target[i] + 0.25 * (double)f.td3.critics[i];
        if (!(fabs((double)f.td3.critics_target[i] - wanted) <= 1e-6))
          fail_msg("weight %zu: %g, expected %g", i, (double)f.td3.critics_target[i], wanted);
      }
    }
    free(actor), free(actor_target), free(critics), free(target);
  }
  end(&f);
}

/* ---- learning -------------------------------------------------------------------------------- */

static void the_best_action_is_found(void **state) {
  (void)state;
  fc_td3_settings s = settings;
  fixture f;
  s.hidden = 24;
  s.delay = 2;
  s.learning_rate = 5e-3;
  s.gamma = 0; /* the present round alone */
  s.batch = 16;
  begin(&f, &s, 1000, 100);
  fc_recurrent *r = NULL;
  fc_td3_report report;
  for (int u = 0; u < 500; u++) OK(fc_td3_update(&f.td3, &f.replay, &report));
  OK(fc_recurrent_create(&f.td3.actor_shape, 1, 1, false, &r));
  double gap = 0; /* mean */
  for (int e = 0; e < 100; e++) {
    float past[S + A] = {0};
    const fc_replay_episode x = fc_replay_get(&f.replay, e);
    memcpy(past, x.state, S * sizeof *past);
    const float *out = fc_recurrent_forward(r, f.td3.actor, x.state, past, 1, 1);
    gap += fabs(tanh((double)out[0]) - 0.3) / 100;
  }
  print_message("from the best action: %.3f\n", gap);
  assert_true(gap <= 0.1);
  fc_recurrent_destroy(&r);
  end(&f);
}

/* States that follow from the ones before can be told, noise cannot. */
static void the_actor_predicts(void **state) {
  (void)state;
  fc_td3_settings s = settings;
  fixture f;
  fc_td3_report report;
  double first = 0, last = 0;
  s.predict = true;
  s.delay = 1;
  s.batch = 8;
  begin(&f, &s, 1000, 40);
  for (int64_t e = 0; e < 40; e++) {
    const fc_replay_episode x = fc_replay_get(&f.replay, e);
    for (int i = S; i < K * S; i++) x.state[i] = 0.5F * x.state[i - S] + 0.5F;
  }
  for (int u = 0; u < 300; u++) {
    OK(fc_td3_update(&f.td3, &f.replay, &report));
    if (u == 0) first = report.prediction_error;
    last = report.prediction_error;
  }
  print_message("error of the next state: %.4f, then %.4f\n", first, last);
  assert_true(last < 0.05 && last < 0.1 * first);
  end(&f);
}

/* ---- replay ---------------------------------------------------------------------------------- */

static void the_oldest_episode_goes_first(void **state) {
  (void)state;
  fc_replay r;
  OK(fc_replay_create(&settings, 3 * K + 1, &r)); /* three whole episodes */
  assert_int_equal(r.capacity, 3);
  for (int e = 0; e < 5; e++) {
    fc_replay_episode x = fc_replay_put(&r);
    x.reward[0] = (float)e;
    assert_int_equal(fc_replay_held(&r), e < 3 ? e + 1 : 3);
  }
  static const float held[] = {3, 4, 2};
  for (int i = 0; i < 3; i++) assert_true(fc_replay_get(&r, i).reward[0] == held[i]);
  fc_replay_destroy(&r);
}

static void a_number_that_is_none_is_told(void **state) {
  (void)state;
  fixture f;
  fc_td3_report report;
  begin(&f, &settings, 100, 1);
  fc_replay_get(&f.replay, 0).reward[1] = NAN;
  assert_int_equal(fc_td3_update(&f.td3, &f.replay, &report), FC_ERR_NUMERIC);
  end(&f);
}

static int run(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(targets_take_the_smaller_twin),
      cmocka_unit_test(noise_moves_targets_within_its_limit),
      cmocka_unit_test(the_actor_moves_every_third_time),
      cmocka_unit_test(the_best_action_is_found),
      cmocka_unit_test(the_actor_predicts),
      cmocka_unit_test(the_oldest_episode_goes_first),
      cmocka_unit_test(a_number_that_is_none_is_told),
  };
  return cmocka_run_group_tests_name("policy.td3", tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return one_rank_main(argc, argv, run);
}
