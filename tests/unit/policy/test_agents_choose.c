/* test_agents_choose.c - whom the tools select: how many, at random, by trying; in environments
 * made up here, whose accuracy follows from who is served. */
#include "policy_fixture.h"
#include "fedcell/fc_rng.h"

/* ---- an environment made up -------------------------------------------------------------------
 */

typedef enum { TABLE, INVESTMENT } world_kind;

typedef struct {
  world_kind kind;
  int devices, rounds;
  bool invested; /* device 0 was served in some round before */
} world;

/* TABLE: some number for every set and nothing of the past. INVESTMENT: nearly nothing is learned
 * unless device 0 has taken part before. */
static double accuracy_of(const world *w, const uint8_t *select) {
  uint64_t subset = 0;
  for (int d = 0; d < w->devices; d++) subset |= (uint64_t)select[d] << d;
  if (w->kind == INVESTMENT) return select[0] ? 0.01 : w->invested ? 0.9 : 0.05;
  fc_rng rng = fc_rng_open(3, FC_RNG_TEST, subset, 0);
  return 0.3 + 0.6 * fc_rng_uniform(&rng);
}

static fc_err world_reset(void *own, const fc_episode *episode, int n, fc_fl_state *const *states) {
  world *w = own;
  (void)episode;
  w->invested = false;
  for (int i = 0; i < n; i++) states[i]->accuracy = 0.1;
  return FC_ERR_OK;
}

static fc_err world_step(void *own, const int *which, int n, const uint8_t *select,
                         fc_fl_state *const *states) {
  world *w = own;
  (void)which;
  for (int i = 0; i < n; i++) {
    const uint8_t *mine = select + (size_t)i * (size_t)w->devices;
    states[i]->accuracy = accuracy_of(w, mine);
    w->invested |= mine[0] == 1;
    for (int d = 0; d < w->devices; d++) states[i]->loss_rms[d] = mine[d] ? 1.0 + d : (double)NAN;
  }
  return FC_ERR_OK;
}

static fc_err world_peek(void *own, int which, const uint8_t *select, double *accuracy) {
  (void)which;
  *accuracy = accuracy_of(own, select);
  return FC_ERR_OK;
}

static void world_destroy(void *own) {
  (void)own;
}

static const fc_environment_kind world_is = {
    .reset = world_reset, .step = world_step, .peek = world_peek, .destroy = world_destroy};

typedef struct {
  fc_config *cfg;
  fc_scenario *scenario;
  world world;
  fc_environment *environment;
  fc_agent *agent;
} fixture;

static void make(fixture *f, const char *agent, world_kind kind, int episodes,
                 const char *const *sets) {
  *f = (fixture){.cfg = tools_config(sets)};
  assert_ok(fc_scenario_create(f->cfg, FC_TRAINING, &f->scenario));
  f->world = (world){.kind = kind, .devices = fc_scenario_settings(f->scenario)->devices};
  assert_ok(fc_environment_open(f->scenario, episodes, &world_is, &f->world, &f->environment));
  const fc_agent_context c = {.cfg = f->cfg,
                              .scenario = f->scenario,
                              .seed = 1,
                              .episodes = episodes,
                              .environment = f->environment};
  assert_ok(fc_agent_create(agent, &c, &f->agent));
}

static void drop(fixture *f) {
  fc_agent_destroy(&f->agent);
  fc_environment_close(&f->environment);
  fc_scenario_destroy(&f->scenario);
  fc_config_destroy(&f->cfg);
}

/* One episode; select (rounds, devices). Returns the rewards' sum. */
static double live(fixture *f, fc_episode episode, uint8_t *select) {
  const int devices = f->world.devices, which = 0;
  double sum = 0;
  assert_ok(fc_agent_begin(f->agent, &episode, 1));
  assert_ok(fc_environment_reset(f->environment, &episode));
  for (; !fc_environment_is_over(f->environment); select += devices) {
    const fc_fl_state *state = fc_environment_state(f->environment, 0);
    fc_choice choice = {.select = select, .invalid = true};
    const fc_decision decision = {.select = select};
    fc_outcome outcome;
    memset(select, 7, (size_t)devices);
    assert_ok(fc_agent_choose(f->agent, &state, &which, 1, &choice));
    assert_false(choice.invalid);
    assert_ok(fc_environment_step(f->environment, &decision, &outcome));
    sum += outcome.reward;
  }
  return sum;
}

static int count(const uint8_t *select, int n) {
  int sum = 0;
  for (int i = 0; i < n; i++) {
    assert_in_range(select[i], 0, 1);
    sum += select[i];
  }
  return sum;
}

/* ---- at random --------------------------------------------------------------------------------
 */

enum { ROUNDS = 200 };
#define MANY_ROUNDS "environment.rounds=200"

static void fedavg_takes_two_fifths(void **state) {
  static const struct {
    const char *devices;
    int n, selected;
  } cases[] = {{"environment.devices=5", 5, 2}, {"environment.devices=6", 6, 3}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fixture f;
    uint8_t select[ROUNDS][6];
    int times[6] = {0};
    make(&f, "fedavg", TABLE, 1, SETS(cases[i].devices, MANY_ROUNDS));
    live(&f, (fc_episode){4, 4}, &select[0][0]);
    const uint8_t *all = &select[0][0];
    for (int t = 0; t < ROUNDS; t++) {
      assert_int_equal(count(all + t * cases[i].n, cases[i].n), cases[i].selected);
      for (int d = 0; d < cases[i].n; d++) times[d] += all[t * cases[i].n + d];
    }
    for (int d = 0; d < cases[i].n; d++) /* within five standard deviations of the mean */
      assert_in_range(times[d], ROUNDS * cases[i].selected / cases[i].n - 35,
                      ROUNDS * cases[i].selected / cases[i].n + 35);
    drop(&f);
  }
}

static void fedavg_share_is_an_option(void **state) {
  fixture f;
  uint8_t select[3][6];
  (void)state;
  make(&f, "fedavg", TABLE, 1, SETS("fedavg.fraction=0.84"));
  live(&f, (fc_episode){4, 4}, &select[0][0]);
  for (int t = 0; t < 3; t++) assert_int_equal(count(select[t], 6), 6);
  drop(&f);
}

static void random_takes_any_number_from_the_least_on(void **state) {
  fixture f;
  uint8_t select[ROUNDS][6];
  int times[7] = {0};
  (void)state;
  make(&f, "random", TABLE, 1, SETS(MANY_ROUNDS));
  live(&f, (fc_episode){4, 4}, &select[0][0]);
  for (int t = 0; t < ROUNDS; t++) times[count(select[t], 6)]++;
  assert_int_equal(times[0] + times[1], 0); /* environment.select_min=2 */
  for (int n = 2; n <= 6; n++) assert_in_range(times[n], 15, 65);
  drop(&f);
}

/* How many of the rounds after the first choose as the first; each device's times and numbers. */
static int live_by_habit(const char *strength, fc_episode e, int *times, int *numbers) {
  fixture f;
  uint8_t select[ROUNDS][6];
  int same = 0;
  make(&f, "habitual", TABLE, 1, SETS(MANY_ROUNDS, strength));
  live(&f, e, &select[0][0]);
  for (int t = 0; t < ROUNDS; t++) {
    numbers[count(select[t], 6)]++;
    same += t > 0 && memcmp(select[t], select[0], 6) == 0;
    for (int d = 0; d < 6; d++) times[d] += select[t][d];
  }
  drop(&f);
  return same;
}

static void without_strength_there_is_no_habit(void **state) {
  int times[6] = {0}, numbers[7] = {0};
  (void)state;
  assert_in_range(live_by_habit("habitual.strength=0", (fc_episode){4, 4}, times, numbers), 0, 70);
  assert_int_equal(numbers[0] + numbers[1], 0); /* environment.select_min=2 */
  for (int n = 2; n <= 6; n++) assert_in_range(numbers[n], 15, 65);
  for (int d = 0; d < 6; d++) assert_in_range(times[d], 2 * ROUNDS / 3 - 35, 2 * ROUNDS / 3 + 35);
}

/* Other episodes have other habits. */
static void a_strong_habit_lasts_an_episode(void **state) {
  int numbers[7] = {0}, rare = 0;
  (void)state;
  for (uint64_t id = 1; id <= 8; id++) {
    int times[6] = {0};
    assert_in_range(live_by_habit("habitual.strength=1000", (fc_episode){4, id}, times, numbers),
                    ROUNDS * 3 / 4, ROUNDS);
    for (int d = 0; d < 6; d++) rare |= (times[d] < ROUNDS / 4) << d;
  }
  assert_int_equal(rare, 63); /* nobody is a favourite of all episodes */
  int usual = 0;              /* numbers that are some episode's own */
  for (int n = 2; n <= 6; n++) usual += numbers[n] > ROUNDS / 2;
  assert_true(usual > 2);
}

static void all_are_all(void **state) {
  fixture f;
  uint8_t select[3][6];
  (void)state;
  make(&f, "all", TABLE, 1, SETS("environment.rounds=3"));
  live(&f, (fc_episode){4, 4}, &select[0][0]);
  for (int t = 0; t < 3; t++) assert_int_equal(count(select[t], 6), 6);
  drop(&f);
}

/* ---- a choice depends on its own episode ------------------------------------------------------
 */

/* Several episodes side by side, listed in another order, choose as each of them alone. */
static void expect_episodes_apart(const char *agent) {
  enum { E = 3, K = 3, N = 6 };
  const fc_episode episode[E] = {{7, 1}, {7, 2}, {8, 1}};
  static const int order[E] = {2, 0, 1};
  uint8_t alone[E][K * N], together[E][K * N];
  fixture f;
  for (int e = 0; e < E; e++) {
    make(&f, agent, TABLE, 1, SETS("environment.rounds=3"));
    live(&f, episode[e], alone[e]);
    drop(&f);
  }
  make(&f, agent, TABLE, E, SETS("environment.rounds=3"));
  assert_ok(fc_agent_begin(f.agent, episode, E));
  assert_ok(fc_environment_reset(f.environment, episode));
  for (int t = 0; t < K; t++) {
    const fc_fl_state *states[E];
    fc_choice choices[E];
    fc_decision decisions[E];
    fc_outcome outcomes[E];
    for (int i = 0; i < E; i++) {
      states[i] = fc_environment_state(f.environment, order[i]);
      choices[i] = (fc_choice){.select = together[order[i]] + t * N};
      decisions[i] = (fc_decision){.select = together[i] + t * N};
    }
    assert_ok(fc_agent_choose(f.agent, states, order, E, choices));
    assert_ok(fc_environment_step(f.environment, decisions, outcomes));
  }
  drop(&f);
  for (int e = 0; e < E; e++) assert_memory_equal(alone[e], together[e], K * N);
  assert_memory_not_equal(alone[0], alone[1], K * N); /* other ids, other draws */
}

static void episodes_do_not_meet(void **state) {
  (void)state;
  expect_episodes_apart("fedavg");
  expect_episodes_apart("random");
  expect_episodes_apart("habitual");
  expect_episodes_apart("eps-greedy");
}

/* ---- the eps-greedy tool ----------------------------------------------------------------------
 */

static void eps_greedy_takes_as_many_as_the_task_asks_for(void **state) {
  fixture f;
  uint8_t select[3][6];
  (void)state;
  make(&f, "eps-greedy", TABLE, 1, SETS("environment.select_min=4"));
  live(&f, (fc_episode){4, 4}, &select[0][0]);
  for (int t = 0; t < 3; t++) assert_int_equal(count(select[t], 6), 4);
  drop(&f);
  make(&f, "eps-greedy", TABLE, 1, SETS("environment.select_min=1"));
  live(&f, (fc_episode){4, 4}, &select[0][0]);
  for (int t = 0; t < 3; t++) assert_int_equal(count(select[t], 6), 3); /* two fifths */
  drop(&f);
  make(&f, "eps-greedy", TABLE, 1, SETS("eps_greedy.devices=9"));
  live(&f, (fc_episode){4, 4}, &select[0][0]);
  for (int t = 0; t < 3; t++) assert_int_equal(count(select[t], 6), 6);
  drop(&f);
}

/* Its memory is of one episode: the second is as the first, from a fresh start. */
static void eps_greedy_forgets(void **state) {
  fixture f;
  uint8_t first[ROUNDS][6], again[ROUNDS][6];
  (void)state;
  make(&f, "eps-greedy", TABLE, 1, SETS(MANY_ROUNDS));
  live(&f, (fc_episode){4, 4}, &first[0][0]);
  live(&f, (fc_episode){4, 4}, &again[0][0]);
  assert_memory_equal(first, again, sizeof first);
  drop(&f);
}

/* Device 5 has the largest utility and costs are alike: it is selected most. */
static void eps_greedy_prefers_utility(void **state) {
  fixture f;
  uint8_t select[ROUNDS][6];
  int times[6] = {0};
  (void)state;
  make(&f, "eps-greedy", TABLE, 1,
       SETS(MANY_ROUNDS, "eps_greedy.time_penalty=0", "eps_greedy.energy_penalty=0",
            "eps_greedy.uncertainty=0", "data.split=iid", "eps_greedy.devices=2"));
  live(&f, (fc_episode){4, 4}, &select[0][0]);
  for (int t = 0; t < ROUNDS; t++)
    for (int d = 0; d < 6; d++) times[d] += select[t][d];
  for (int d = 0; d < 5; d++) assert_true(times[5] > times[d]);
  drop(&f);
}

/* ---- trying all -------------------------------------------------------------------------------
 */

/* The largest reward of all 2^N selections, also those that cannot be served whole. */
static double try_all(fixture *f) {
  double most = fc_scenario_settings(f->scenario)->idle_reward;
  for (unsigned subset = 0; subset < 1u << f->world.devices; subset++) {
    uint8_t select[16];
    const fc_decision decision = {.select = select};
    fc_outcome outcome;
    for (int d = 0; d < f->world.devices; d++) select[d] = subset >> d & 1;
    assert_ok(fc_environment_peek(f->environment, 0, &decision, &outcome));
    most = fmax(most, outcome.reward);
  }
  return most;
}

static void expect_best(const char *const *sets) {
  fixture f;
  const int which = 0;
  make(&f, "exhaustive", TABLE, 1, sets);
  for (uint64_t seed = 0; seed < 10; seed++) {
    const fc_episode episode = {seed, 0};
    uint8_t select[16];
    fc_choice choice = {.select = select};
    const fc_decision decision = {.select = select};
    fc_outcome outcome;
    assert_ok(fc_environment_reset(f.environment, &episode));
    const fc_fl_state *state = fc_environment_state(f.environment, 0);
    assert_ok(fc_agent_choose(f.agent, &state, &which, 1, &choice));
    assert_ok(fc_environment_peek(f.environment, 0, &decision, &outcome));
    assert_close(outcome.reward, try_all(&f), 0);
    assert_int_equal(outcome.served, outcome.selected);
  }
  drop(&f);
}

static void exhaustive_is_the_best_of_all(void **state) {
  (void)state;
  expect_best(SETS("environment.rounds=3"));
  expect_best(SETS("environment.sigma=0"));         /* energy decides */
  expect_best(SETS("environment.deadline_s=6"));    /* few can be served */
  expect_best(SETS("environment.deadline_s=0.1"));  /* nobody can */
  expect_best(SETS("environment.idle_reward=0.7")); /* idling is often better */
}

/* The largest sum of rewards from here on, over all sequences of selections. */
static double best_sequence(fixture *f, fc_episode episode, const uint8_t *before, int64_t done) {
  const fc_environment_settings *set = fc_scenario_settings(f->scenario);
  uint8_t sequence[3 * 6];
  double most = -INFINITY;
  if (done == set->rounds) return 0;
  memcpy(sequence, before, (size_t)(done * set->devices));
  for (unsigned subset = 0; subset < 1u << set->devices; subset++) {
    fc_outcome outcome;
    uint8_t *mine = sequence + done * set->devices;
    for (int d = 0; d < set->devices; d++) mine[d] = subset >> d & 1;
    assert_ok(fc_environment_reset(f->environment, &episode));
    for (int64_t t = 0; t <= done; t++) {
      const fc_decision decision = {.select = sequence + t * set->devices};
      assert_ok(fc_environment_step(f->environment, &decision, &outcome));
    }
    most = fmax(most, outcome.reward + best_sequence(f, episode, sequence, done + 1));
  }
  return most;
}

static void compare_with_optimum(world_kind kind, double *greedy, double *optimum) {
  fixture f;
  const fc_episode episode = {2, 0};
  uint8_t select[3 * 6];
  make(&f, "exhaustive", kind, 1, SETS("environment.devices=3", "environment.rounds=3"));
  *greedy = live(&f, episode, select);
  *optimum = best_sequence(&f, episode, select, 0);
  drop(&f);
}

static void exhaustive_is_optimal_where_the_past_does_not_count(void **state) {
  double greedy, optimum;
  (void)state;
  compare_with_optimum(TABLE, &greedy, &optimum);
  assert_close(greedy, optimum, 1e-12);
  compare_with_optimum(INVESTMENT, &greedy, &optimum);
  assert_true(optimum > greedy + 0.5); /* it sees this round alone */
}

/* ---- failures ---------------------------------------------------------------------------------
 */

static void says_what_is_wrong(void **state) {
  fc_config *cfg = tools_config(SETS("environment.devices=13", "data.min_samples=1"));
  fc_scenario *s = NULL;
  fc_environment *e = NULL;
  fc_agent *a = NULL;
  (void)state;
  assert_ok(fc_scenario_create(cfg, FC_TRAINING, &s));
  world w = {.devices = 13};
  assert_ok(fc_environment_open(s, 1, &world_is, &w, &e));
  fc_agent_context c = {.cfg = cfg, .scenario = s, .episodes = 1};
  assert_fails(fc_agent_create("eps-greed", &c, &a), FC_ERR_USAGE,
               "eps-greed: no such agent; did you mean eps-greedy");
  assert_fails(fc_agent_create("exhaustive", &c, &a), FC_ERR_USAGE,
               "exhaustive: needs an environment to try in");
  c.environment = e;
  assert_fails(fc_agent_create("exhaustive", &c, &a), FC_ERR_USAGE,
               "exhaustive: tries all subsets of at most 12 devices, not of 13");
  assert_null(a);
  fc_agent_destroy(&a);
  fc_environment_close(&e);
  fc_scenario_destroy(&s);
  fc_config_destroy(&cfg);
}

static void table_is_complete(void **state) {
  size_t n = 0;
  (void)state;
  for (; fc_agent_name(n); n++) {
    const fc_agent_kind *kind = fc_agent_find(fc_agent_name(n));
    assert_non_null(kind);
    assert_true(strlen(fc_agent_meaning(n)) > 10);
    assert_non_null(kind->create);
    assert_non_null(kind->destroy);
    assert_non_null(kind->choose);
  }
  assert_true(n >= 5);
  assert_null(fc_agent_meaning(n));
  assert_null(fc_agent_find("nobody"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fedavg_takes_two_fifths),
      cmocka_unit_test(fedavg_share_is_an_option),
      cmocka_unit_test(random_takes_any_number_from_the_least_on),
      cmocka_unit_test(without_strength_there_is_no_habit),
      cmocka_unit_test(a_strong_habit_lasts_an_episode),
      cmocka_unit_test(all_are_all),
      cmocka_unit_test(episodes_do_not_meet),
      cmocka_unit_test(eps_greedy_takes_as_many_as_the_task_asks_for),
      cmocka_unit_test(eps_greedy_forgets),
      cmocka_unit_test(eps_greedy_prefers_utility),
      cmocka_unit_test(exhaustive_is_the_best_of_all),
      cmocka_unit_test(exhaustive_is_optimal_where_the_past_does_not_count),
      cmocka_unit_test(says_what_is_wrong),
      cmocka_unit_test(table_is_complete),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
