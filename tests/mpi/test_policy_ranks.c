/* test_policy_ranks.c - trajectories and trials, in the real environment and in the learned one,
 * come out the same on any number of ranks, also after a stop; their files; failures.
 * RANKS: 1 2 3 4
 */
#include "mpi_test.h"

#include "fedcell/fc_mem.h"
#include "fedcell/fc_policy.h"
#include <math.h>

static const char *const settings[] = {
    "study=policy",
    "seed=11",
    "policy.agent=eps-greedy",
    "data.dataset=generated-digits",
    "data.samples=700",
    "data.test_samples=100",
    "data.public_fraction=0",
    "data.split=both",
    "data.alpha=0.5",
    "data.min_samples=64",
    "environment.devices=5",
    "environment.rounds=3",
    "environment.iterations=2",
    "environment.batch=8",
    "environment.channels=[2, 4]",
    "environment.hidden=8",
    "environment.probe_samples=8",
    "environment.test_samples=50",
    "environment.select_min=2",
    "trajectories.count=5",
    "evaluation.trials=5",
    "dynamics.layers=1",
    "dynamics.width=16",
    "dynamics.heads=2",
    "dynamics.epochs=2",
};
enum { DEVICES = 5, ROUNDS = 3, TRIALS = 5, COUNT = 5 };

/* sets: "key=value", NULL at the end. */
static fc_config *make_config(const char *const *sets) {
  size_t n = 0;
  fc_config *cfg = NULL;
  const fc_option_table *tables = fc_policy_tables(&n);
  assert_ok(fc_config_create(tables, n, &cfg));
  for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) fc_config_set(cfg, settings[i]);
  for (; *sets; sets++) fc_config_set(cfg, *sets);
  assert_ok(fc_config_finish(cfg));
  return cfg;
}
#define SETS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define LEARNED   "evaluation.environment=learned", cache_of_test()

/* The learned environment is kept where no other test looks. */
static const char *cache_of_test(void) {
  static char set[512];
  snprintf(set, sizeof set, "model.cache=%s", scratch_path("cache"));
  return set;
}

static fc_comm alone(void) {
  fc_comm self = *comm;
  self.world = self.node = self.end = MPI_COMM_SELF;
  self.rank = self.node_rank = 0;
  self.size = self.node_size = 1;
  return self;
}

/* ---- collecting -------------------------------------------------------------------------------
 */

static volatile sig_atomic_t stop;
static int64_t stop_after;

static void count_trajectories(void *arg, int64_t done, int64_t all) {
  int64_t *last = arg;
  assert_int_equal(all, COUNT);
  assert_true(done > *last || stop);
  *last = done;
  if (done >= stop_after) stop = 1;
}

static fc_err collect(const fc_comm *c, const fc_config *cfg, const char *checkpoint,
                      fc_trajectories **t) {
  fc_scenario *s = NULL;
  int64_t last = 0;
  assert_ok(fc_scenario_create(cfg, FC_TRAINING, &s));
  stop = 0;
  fc_err err = fc_policy_collect(c, cfg, s, checkpoint, &stop, count_trajectories, &last, t);
  fc_scenario_destroy(&s);
  return err;
}

#define SAME(a, b, member, count)                                                                  \
  assert_memory_equal((a)->member, (b)->member, (size_t)(count) * sizeof *(a)->member)

static void expect_same(const fc_trajectories *a, const fc_trajectories *b) {
  assert_int_equal(a->n, COUNT);
  assert_int_equal(b->n, COUNT);
  SAME(a, b, episode, COUNT);
  SAME(a, b, by_tool, COUNT);
  SAME(a, b, accuracy, COUNT * (ROUNDS + 1));
  SAME(a, b, statistics, COUNT * (ROUNDS + 1) * DEVICES * FC_STATISTICS);
  SAME(a, b, selected, COUNT * ROUNDS * DEVICES);
  SAME(a, b, served, COUNT * ROUNDS * DEVICES);
  SAME(a, b, reward, COUNT * ROUNDS);
  SAME(a, b, energy_j, COUNT * ROUNDS);
  SAME(a, b, time_s, COUNT * ROUNDS);
}

static void trajectories_do_not_depend_on_ranks(void **state) {
  const fc_comm self = alone();
  fc_config *cfg = make_config(SETS("trajectories.random=0.6"));
  fc_trajectories *a = NULL, *b = NULL;
  (void)state;
  stop_after = COUNT + 1;
  assert_ok(collect(&self, cfg, NULL, &a));
  assert_ok(collect(comm, cfg, NULL, &b));
  expect_same(a, b);
  for (int i = 0; i < COUNT; i++) {
    assert_int_equal(a->by_tool[i], i == 2 || i == 4); /* two fifths of any first ones */
    assert_int_equal(a->episode[i].seed, 1000 + i);
    for (int k = 0; k < ROUNDS; k++) assert_true(a->time_s[i * ROUNDS + k] > 0);
    assert_true(a->accuracy[i * (ROUNDS + 1) + ROUNDS] > 0);
  }
  fc_trajectories_destroy(&a);
  fc_trajectories_destroy(&b);
  fc_config_destroy(&cfg);
}

static void collecting_goes_on_after_a_stop(void **state) {
  fc_config *cfg = make_config(SETS("trajectories.random=0.6"));
  fc_trajectories *whole = NULL, *part = NULL;
  char message[256];
  const char *checkpoint = scratch_path("collect.h5");
  const int done = comm->size < 2 ? 2 : comm->size;
  (void)state;
  stop_after = COUNT + 1;
  assert_ok(collect(comm, cfg, NULL, &whole));
  stop_after = 2;
  snprintf(message, sizeof message, "stopped on request after %d of 5 trajectories", done);
  assert_fails(collect(comm, cfg, checkpoint, &part), FC_ERR_STOPPED, message);
  assert_null(part);
  fc_config *other = make_config(SETS("trajectories.random=0"));
  snprintf(message, sizeof message,
           "%s was made with other trajectories.*; remove it to start anew", checkpoint);
  assert_fails(collect(comm, other, checkpoint, &part), FC_ERR_USAGE, message);
  stop_after = COUNT + 1;
  assert_ok(collect(comm, cfg, checkpoint, &part));
  expect_same(whole, part);
  fc_trajectories_destroy(&whole);
  fc_trajectories_destroy(&part);
  fc_config_destroy(&other);
  fc_config_destroy(&cfg);
}

/* ---- trials -----------------------------------------------------------------------------------
 */

static int64_t reports, stop_at_report;

static void count_reports(void *arg, const fc_round_report *r) {
  int64_t *last = arg;
  assert_int_equal(comm->rank, 0);
  assert_int_equal(r->rounds, TRIALS * ROUNDS);
  assert_true(r->round >= *last);
  *last = r->round;
  if (++reports >= stop_at_report) stop = 1;
}

static fc_err judge(const fc_comm *c, const fc_config *cfg, const char *output, bool resume,
                    fc_policy_summary *summary) {
  int64_t last = 0;
  const fc_fact facts[] = {{"version", "0"},   {"git_commit", "0"},     {"compiler", "c"},
                           {"libraries", "l"}, {"compiler_flags", "f"}, {"command_line", "test"}};
  const fc_run_request request = {.output = output,
                                  .resume = resume,
                                  .facts = facts,
                                  .n_facts = sizeof facts / sizeof *facts,
                                  .stop = &stop,
                                  .on_round = c == comm ? count_reports : NULL,
                                  .arg = &last};
  const fc_prepare_request prepare = {.stop = &stop};
  stop = 0;
  reports = 0;
  return fc_policy_run(c, cfg, &request, &prepare, summary);
}

/* All columns of both files, but the wall clock's. */
static void expect_same_files(const char *one, const char *other) {
  fc_store_reader *a = NULL, *b = NULL;
  const char *group = NULL;
  const fc_column *column = NULL;
  assert_ok(fc_store_open(one, &a));
  assert_ok(fc_store_open(other, &b));
  for (size_t i = 0; (column = fc_policy_result_column(i, &group)); i++) {
    char path[128];
    int64_t n = 0, m = 0;
    double x[TRIALS * (ROUNDS + 1) * DEVICES], y[TRIALS * (ROUNDS + 1) * DEVICES];
    snprintf(path, sizeof path, "%s/%s", group, column->name);
    assert_ok(fc_store_count(a, path, &n));
    assert_ok(fc_store_count(b, path, &m));
    assert_int_equal(n, m);
    assert_in_range(n, 1, TRIALS * (ROUNDS + 1) * DEVICES);
    assert_ok(fc_store_get_f64(a, path, 0, n, x));
    assert_ok(fc_store_get_f64(b, path, 0, n, y));
    if (strcmp(column->name, "wall_time_s") != 0) assert_memory_equal(x, y, (size_t)n * sizeof *x);
  }
  fc_store_close(&a);
  fc_store_close(&b);
}

static double value(const fc_store_reader *r, const char *path, int64_t row) {
  double x = NAN;
  assert_ok(fc_store_get_f64(r, path, row, 1, &x));
  return x;
}

/* Sums and counts of the columns fit each other, and the summary. */
static void check_file(const char *path, const fc_policy_summary *s) {
  fc_store_reader *r = NULL;
  double cwpem = 0, energy = 0, served = 0, selected = 0;
  int64_t n = 0;
  assert_ok(fc_store_open(path, &r));
  assert_ok(fc_store_count(r, "/rounds/round", &n));
  assert_int_equal(n, TRIALS * (ROUNDS + 1));
  for (int trial = 0; trial < TRIALS; trial++) {
    double reward = 0, spent = 0;
    for (int round = 0; round <= ROUNDS; round++) {
      const int64_t row = trial * (ROUNDS + 1) + round;
      assert_true(value(r, "/rounds/trial", row) == trial);
      assert_true(value(r, "/rounds/round", row) == round);
      reward += value(r, "/rounds/reward", row);
      spent += value(r, "/rounds/energy_j", row);
      assert_true(value(r, "/rounds/cwpem", row) == reward);
      assert_true(value(r, "/rounds/total_energy_j", row) == spent);
      assert_true(value(r, "/rounds/test_accuracy", row) >= 0);
      double devices[2] = {0, 0}, bill = 0;
      for (int d = 0; round > 0 && d < DEVICES; d++) {
        const int64_t at = (trial * ROUNDS + round - 1) * DEVICES + d;
        assert_true(value(r, "/participation/device", at) == d);
        assert_true(value(r, "/participation/round", at) == round);
        devices[0] += value(r, "/participation/selected", at);
        devices[1] += value(r, "/participation/served", at);
        bill += value(r, "/participation/com_j", at) + value(r, "/participation/cmp_j", at);
      }
      assert_true(value(r, "/rounds/selected", row) == devices[0]);
      assert_true(value(r, "/rounds/served", row) == devices[1]);
      assert_true(fabs(value(r, "/rounds/energy_j", row) - bill) <= 1e-12 * bill);
      selected += devices[0];
      served += devices[1];
    }
    cwpem += reward / TRIALS;
    energy += spent / (TRIALS * ROUNDS);
  }
  assert_true(selected >= TRIALS * ROUNDS * 2);
  assert_true(fabs(s->cwpem - cwpem) <= 1e-12 * cwpem);
  assert_true(fabs(s->energy_j - energy) <= 1e-12 * energy);
  assert_true(fabs(s->infeasible - (1 - served / selected)) <= 1e-12);
  assert_true(s->cwpem_half > 0 && s->accuracy_half > 0 && s->energy_half > 0);
  assert_true(s->invalid == 0 && s->trials == TRIALS && s->rounds == ROUNDS);
  assert_string_equal(s->agent, "eps-greedy");
  fc_store_close(&r);
}

/* Trials of cfg in that environment are the same on one rank, and when they go on after a stop;
 * `other` differs from cfg in one option. All ranks together first: they fill the cache. */
static void expect_same_trials(fc_config *cfg, const char *environment, fc_config *other,
                               const char *differs) {
  const fc_comm self = alone();
  fc_policy_summary a, b;
  char message[512], own[64], name[64], *checkpoint = NULL;
  snprintf(own, sizeof own, "alone-%d.h5", comm->rank);
  snprintf(name, sizeof name, "part-%s.h5", environment);
  const char *whole = scratch_path("whole.h5"), *one = scratch_path(own);
  const char *part = scratch_path(name);
  assert_ok(fc_checkpoint_path(part, &checkpoint));
  stop_at_report = INT64_MAX;
  assert_ok(judge(comm, cfg, whole, false, &a));
  assert_string_equal(a.environment, environment);
  check_file(whole, &a);
  assert_ok(fc_policy_check_result(whole));
  assert_int_equal(fc_result_check(whole), FC_ERR_DATA); /* it is no federation's */
  assert_ok(judge(&self, cfg, one, false, &b));
  assert_memory_equal(&a, &b, sizeof a);
  expect_same_files(whole, one);
  /* in the second wave's second round, if there is one; else at once */
  stop_at_report = comm->size < TRIALS ? ROUNDS + 1 + 2 : 1;
  snprintf(message, sizeof message,
           "stopped on request after %d of 5 trials; checkpoint in %s; continue with --resume",
           comm->size < TRIALS ? comm->size : 0, checkpoint);
  assert_fails(judge(comm, cfg, part, false, &b), FC_ERR_STOPPED, message);
  assert_int_not_equal(access(part, F_OK), 0);
  assert_ok(fc_policy_check_result(checkpoint));
  snprintf(message, sizeof message,
           "%s was made with another value of %s; continue with the same configuration, or remove "
           "it to start anew",
           checkpoint, differs);
  assert_fails(judge(comm, other, part, true, &b), FC_ERR_USAGE, message);
  stop_at_report = INT64_MAX;
  assert_ok(judge(comm, cfg, part, true, &b));
  assert_memory_equal(&a, &b, sizeof a);
  expect_same_files(whole, part);
  assert_int_not_equal(access(checkpoint, F_OK), 0);
  fc_free(checkpoint);
  fc_config_destroy(&other);
  fc_config_destroy(&cfg);
}

static void trials_do_not_depend_on_ranks_or_stops(void **state) {
  (void)state;
  expect_same_trials(make_config(SETS("seed=11")), "real",
                     make_config(SETS("eps_greedy.cut_off=0.5")), "eps_greedy.cut_off");
}

static void neither_do_those_of_the_learned_environment(void **state) {
  (void)state;
  expect_same_trials(make_config(SETS(LEARNED)), "learned", make_config(SETS("seed=11")),
                     "evaluation.environment");
}

static void expect_same_column(const fc_store_reader *a, const fc_store_reader *b, const char *path,
                               int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (!(value(a, path, i) == value(b, path, i)))
      fail_msg("%s, row %lld: %g and %g", path, (long long)i, value(a, path, i), value(b, path, i));
}

/* An agent that looks at nothing makes the same choices in both: all but what the devices learn is
 * the same too, also where evaluation.* differs from training. */
static void learned_trials_differ_in_what_is_learned_alone(void **state) {
#define ELSEWHERE "policy.agent=fedavg", "evaluation.scenario=2", "evaluation.deadline_s=40"
  static const char *const same[] = {"/rounds/energy_j", "/rounds/round_time_s", "/rounds/served",
                                     "/rounds/selected"};
  fc_config *real = make_config(SETS(ELSEWHERE)), *learned = make_config(SETS(ELSEWHERE, LEARNED));
  const char *one = scratch_path("real.h5"), *other = scratch_path("learned.h5");
  fc_store_reader *a = NULL, *b = NULL;
  fc_policy_summary s;
  int apart = 0;
  (void)state;
  stop_at_report = INT64_MAX;
  assert_ok(judge(comm, real, one, false, &s));
  assert_ok(judge(comm, learned, other, false, &s));
  assert_ok(fc_store_open(one, &a));
  assert_ok(fc_store_open(other, &b));
  for (size_t i = 0; i < sizeof same / sizeof *same; i++)
    expect_same_column(a, b, same[i], TRIALS * (ROUNDS + 1));
  expect_same_column(a, b, "/participation/gain", TRIALS * ROUNDS * DEVICES);
  for (int64_t row = 0; row < TRIALS * (ROUNDS + 1); row++)
    apart += value(a, "/rounds/test_accuracy", row) != value(b, "/rounds/test_accuracy", row);
  assert_true(apart >= TRIALS * ROUNDS);
  fc_store_close(&a);
  fc_store_close(&b);
  fc_config_destroy(&real);
  fc_config_destroy(&learned);
}

static void result_without_provenance(void **state) {
  fc_config *cfg = make_config(SETS("evaluation.trials=1"));
  fc_policy_summary s;
  const char *path = scratch_path("bare.h5");
  char message[512];
  (void)state;
  const fc_fact facts[] = {{"version", "0"}, {"git_commit", "0"}, {"compiler", "c"}};
  const fc_run_request request = {.output = path, .facts = facts, .n_facts = 3};
  assert_ok(fc_policy_run(comm, cfg, &request, NULL, &s));
  assert_true(isnan(s.cwpem_half) && s.cwpem > 0); /* one trial has no interval */
  snprintf(message, sizeof message,
           "%s: /provenance has no libraries\n%s: /provenance has no compiler_flags\n"
           "%s: /provenance has no command_line",
           path, path, path);
  assert_fails(fc_policy_check_result(path), FC_ERR_DATA, message);
  fc_config_destroy(&cfg);
}

static void policy_that_is_missing(void **state) {
  fc_config *cfg = make_config(SETS("policy.agent=grpo"));
  fc_scenario *s = NULL;
  fc_agent *a = NULL;
  (void)state;
  assert_ok(fc_scenario_create(cfg, FC_EVALUATION, &s));
  fc_agent_context c = {.cfg = cfg, .scenario = s, .episodes = 1};
  assert_fails(fc_agent_create("grpo", &c, &a), FC_ERR_USAGE, "grpo: has to be trained first");
  c.folder = scratch_path("nothing");
  assert_int_equal(fc_agent_create("grpo", &c, &a), FC_ERR_IO);
  assert_non_null(strstr(fc_err_message(), c.folder));
  assert_null(a);
  fc_scenario_destroy(&s);
  fc_config_destroy(&cfg);
}

static void output_that_cannot_be_written(void **state) {
  fc_config *cfg = make_config(SETS("evaluation.trials=1"));
  fc_policy_summary s;
  (void)state;
  stop_at_report = INT64_MAX;
  const fc_run_request request = {.output = "/nowhere/at/all.h5"};
  assert_int_equal(fc_policy_run(comm, cfg, &request, NULL, &s), FC_ERR_IO);
  assert_non_null(strstr(fc_err_message(), "/nowhere/at"));
  fc_config_destroy(&cfg);
}

static int run(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(trajectories_do_not_depend_on_ranks),
      cmocka_unit_test(collecting_goes_on_after_a_stop),
      cmocka_unit_test(trials_do_not_depend_on_ranks_or_stops),
      cmocka_unit_test(neither_do_those_of_the_learned_environment),
      cmocka_unit_test(learned_trials_differ_in_what_is_learned_alone),
      cmocka_unit_test(result_without_provenance),
      cmocka_unit_test(policy_that_is_missing),
      cmocka_unit_test(output_that_cannot_be_written),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return mpi_test_main(argc, argv, run);
}
