/* The learned environment: episodes go by seed and id alone, and stay within what is possible. */
#include "dynamics_fixture.h"

enum { EPISODES = 5, ROUNDS = 8 };

typedef struct {
  world w;
  fc_dynamics *d;
} learned;

static int make(void **state) {
  static learned l;
  l.w = small_world("dynamics.epochs=40\ndynamics.learning_rate=3e-3\n");
  l.d = train_on(&l.w);
  *state = &l;
  return 0;
}

static int drop(void **state) {
  learned *l = *state;
  fc_dynamics_destroy(&l->d);
  drop_world(&l->w);
  return 0;
}

static const fc_episode episodes[EPISODES] = {{1, 0}, {1, 1}, {2, 0}, {14, 7}, {1, 0}};

/* Who is chosen in a round of an episode; in round 3 of episode 1 nobody. */
static void choose(const fc_episode *e, int64_t round, uint8_t *select) {
  fc_rng rng = fc_rng_open(e->seed, FC_RNG_TEST, (uint64_t)round, e->id);
  for (int d = 0; d < DEVICES; d++) select[d] = fc_rng_below(&rng, 2) == 0;
  if (e->seed == 1 && e->id == 1 && round == 3) memset(select, 0, DEVICES);
}

/* What an episode has been through: its accuracies and its last state. */
typedef struct {
  double accuracy[ROUNDS];
  double loss[DEVICES], local_loss[DEVICES], alignment[DEVICES], same_sign[DEVICES];
} story;

static void go(const learned *l, const fc_episode *e, int n, story *stories) {
  fc_environment *env;
  uint8_t select[EPISODES][DEVICES];
  fc_decision decision[EPISODES] = {0};
  fc_outcome outcome[EPISODES];
  memset(stories, 0, (size_t)n * sizeof *stories);
  assert_ok(fc_environment_open_learned(l->w.s, l->d, l->w.t, n, &env));
  assert_ok(fc_environment_reset(env, e));
  for (int64_t round = 1; round <= ROUNDS; round++) {
    for (int i = 0; i < n; i++) {
      choose(&e[i], round, select[i]);
      decision[i].select = select[i];
    }
    assert_ok(fc_environment_step(env, decision, outcome));
    for (int i = 0; i < n; i++) stories[i].accuracy[round - 1] = outcome[i].accuracy;
  }
  assert_true(fc_environment_is_over(env));
  for (int i = 0; i < n; i++) {
    const fc_fl_state *s = fc_environment_state(env, i);
    memcpy(stories[i].loss, s->loss, sizeof stories[i].loss);
    memcpy(stories[i].local_loss, s->local_loss, sizeof stories[i].loss);
    memcpy(stories[i].alignment, s->alignment, sizeof stories[i].loss);
    memcpy(stories[i].same_sign, s->same_sign, sizeof stories[i].loss);
  }
  fc_environment_close(&env);
}

static void neighbours_do_not_matter(void **state) {
  const learned *l = *state;
  story together[EPISODES], alone;
  go(l, episodes, EPISODES, together);
  for (int i = 0; i < EPISODES; i++) {
    go(l, &episodes[i], 1, &alone);
    assert_memory_equal(&alone, &together[i], sizeof alone);
  }
  assert_memory_equal(&together[0], &together[4], sizeof alone);
  assert_true(together[0].accuracy[0] != together[1].accuracy[0]); /* another id: other draws */
  assert_true(together[0].accuracy[0] != together[2].accuracy[0]); /* another start */
}

static void values_are_possible(void **state) {
  const learned *l = *state;
  story stories[EPISODES];
  uint8_t select[DEVICES];
  go(l, episodes, EPISODES, stories);
  for (int i = 0; i < EPISODES; i++) {
    choose(&episodes[i], ROUNDS, select);
    for (int k = 0; k < ROUNDS; k++)
      assert_true(stories[i].accuracy[k] >= 0 && stories[i].accuracy[k] <= 1);
    for (int d = 0; d < DEVICES; d++) {
      assert_true(stories[i].loss[d] >= 0 && isfinite(stories[i].loss[d]));
      assert_true(select[d] ? stories[i].local_loss[d] >= 0 : isnan(stories[i].local_loss[d]));
      assert_true(select[d] ? stories[i].same_sign[d] >= 0 && stories[i].same_sign[d] <= 1
                            : isnan(stories[i].same_sign[d]));
      assert_true(select[d] ? isfinite(stories[i].alignment[d]) : isnan(stories[i].alignment[d]));
    }
  }
}

static void an_episode_begins_as_recorded(void **state) {
  const learned *l = *state;
  fc_environment *env;
  assert_ok(fc_environment_open_learned(l->w.s, l->d, l->w.t, EPISODES, &env));
  assert_ok(fc_environment_reset(env, episodes));
  for (int i = 0; i < EPISODES; i++) {
    const fc_fl_state *s = fc_environment_state(env, i);
    const size_t from = episodes[i].seed % 13 * (ROUNDS + 1);
    assert_true(s->accuracy == l->w.t->accuracy[from]);
    for (int d = 0; d < DEVICES; d++) {
      assert_true(s->loss[d] == l->w.t->statistics[(from * DEVICES + (size_t)d) * FC_STATISTICS]);
      assert_true(isnan(s->local_loss[d]));
    }
  }
  fc_environment_close(&env);
}

/* The first step of an episode against the network's own words. */
static void a_step_is_a_draw_from_the_gaussian(void **state) {
  const learned *l = *state;
  const fc_encoding *e = &l->d->encoding;
  const fc_episode episode = {3, 5};
  const size_t S = DEVICES * FC_STATISTICS, from = 3 * (ROUNDS + 1);
  const uint8_t select[DEVICES] = {1, 0, 1, 1, 0, 1};
  const fc_decision decision = {.select = select};
  float values[DEVICES * FC_STATISTICS + 1];
  double mean[DEVICES * FC_STATISTICS + 1], sd[DEVICES * FC_STATISTICS + 1];
  double statistics[DEVICES * FC_STATISTICS], accuracy[2];
  fc_environment *env;
  fc_outcome peeked, taken;
  fc_rollout r;
  const int only = 0;
  assert_ok(fc_rollout_create(l->d, 1, &r));
  fc_encoding_values(e, l->w.t->statistics + from * S, l->w.t->accuracy[from], values);
  fc_rollout_push(&r, 0, values, select);
  assert_ok(fc_rollout_predict(&r, &only, 1, mean, sd));
  fc_encoding_decode(e, mean, statistics, &accuracy[0]);
  fc_rng rng = fc_rng_open(3, FC_RNG_IMAGINATION, 1, 5);
  for (size_t d = 0; d <= S; d++) mean[d] += sd[d] * fc_rng_normal(&rng);
  fc_encoding_decode(e, mean, statistics, &accuracy[1]);
  assert_ok(fc_environment_open_learned(l->w.s, l->d, l->w.t, 1, &env));
  assert_ok(fc_environment_reset(env, &episode));
  assert_ok(fc_environment_peek(env, 0, &decision, &peeked));
  assert_ok(fc_environment_step(env, &decision, &taken));
  assert_true(peeked.accuracy == accuracy[0]); /* a mean */
  assert_true(taken.accuracy == accuracy[1]);
  assert_true(accuracy[0] != accuracy[1]);
  for (int d = 0; d < DEVICES; d++) {
    const fc_fl_state *s = fc_environment_state(env, 0);
    const double before = l->w.t->statistics[from * S + (size_t)d * FC_STATISTICS];
    assert_true(s->loss[d] == statistics[d * FC_STATISTICS]);
    assert_true(select[d] ? s->loss_rms[d] == before : isnan(s->loss_rms[d]));
  }
  fc_environment_close(&env);
  fc_rollout_destroy(&r);
}

static void means_are_the_same_for_every_id(void **state) {
  learned *l = *state;
  const fc_episode e[] = {{2, 0}, {2, 1}};
  const uint8_t select[DEVICES] = {1, 1, 0, 0, 1, 1};
  const fc_decision decision[] = {{.select = select}, {.select = select}};
  fc_outcome outcome[2], peeked;
  fc_environment *env;
  l->d->sample = false;
  assert_ok(fc_environment_open_learned(l->w.s, l->d, l->w.t, 2, &env));
  assert_ok(fc_environment_reset(env, e));
  for (int k = 0; k < ROUNDS; k++) {
    assert_ok(fc_environment_peek(env, 1, &decision[1], &peeked));
    assert_ok(fc_environment_step(env, decision, outcome));
    assert_true(outcome[0].accuracy == outcome[1].accuracy);
    assert_true(peeked.accuracy == outcome[1].accuracy);
  }
  fc_environment_close(&env);
  l->d->sample = true;
}

static void what_does_not_fit_is_told(void **state) {
  const learned *l = *state;
  fc_environment *env;
  fc_scenario *fewer = scenario_of(WORLD "environment.devices=5\n");
  fc_trajectories *t = world_of(fewer, 2, 1, 0);
  assert_fails(fc_environment_open_learned(fewer, l->d, t, 1, &env), FC_ERR_DATA,
               "the dynamics were learned for 6 devices, the environment has 5");
  assert_null(env);
  assert_fails(fc_environment_open_learned(l->w.s, l->d, t, 1, &env), FC_ERR_DATA,
               "2 trajectories of 5 devices cannot begin episodes of 6 devices");
  assert_fails(fc_environment_open_learned(l->w.s, l->d, l->w.t, 0, &env), FC_ERR_USAGE,
               "an environment of 0 episodes");
  fc_trajectories_destroy(&t);
  fc_scenario_destroy(&fewer);
}

static int run(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(neighbours_do_not_matter),
      cmocka_unit_test(values_are_possible),
      cmocka_unit_test(an_episode_begins_as_recorded),
      cmocka_unit_test(a_step_is_a_draw_from_the_gaussian),
      cmocka_unit_test(means_are_the_same_for_every_id),
      cmocka_unit_test(what_does_not_fit_is_told),
  };
  return cmocka_run_group_tests(tests, make, drop);
}

int main(int argc, char **argv) {
  return single_rank_main(argc, argv, run);
}
