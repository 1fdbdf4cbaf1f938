/* Recorded episodes: the states that they went through, their file, files that do not fit. */
#include "environment_fixture.h"
#include "fedcell/fc_store.h"
#include "fedcell/fc_trajectory.h"
#include <stdlib.h>
#include <unistd.h>

enum { TRAJECTORIES = 3, ROUNDS = 3 };
static fc_comm *comm;
static char folder[] = "/tmp/fedcell-trajectories-XXXXXX";
static char path[256];

static void choose(int trajectory, int round, uint8_t *select) {
  fc_rng rng = fc_rng_open(7, FC_RNG_TEST, (uint64_t)round, (uint64_t)trajectory);
  for (int n = 0; n < DEVICES; n++) select[n] = (uint8_t)fc_rng_below(&rng, 2);
  if (trajectory == 1 && round == 2) memset(select, 0, DEVICES); /* idle */
}

static void assert_states_equal(const fc_fl_state *a, const fc_fl_state *b) {
  assert_int_equal(a->round, b->round);
  assert_true(a->accuracy == b->accuracy);
  const double *const x[] = {a->gain,       a->com_j,     a->cmp_j,     a->loss,
                             a->local_loss, a->alignment, a->same_sign, a->samples};
  const double *const y[] = {b->gain,       b->com_j,     b->cmp_j,     b->loss,
                             b->local_loss, b->alignment, b->same_sign, b->samples};
  for (int i = 0; i < 8; i++) assert_memory_equal(x[i], y[i], DEVICES * sizeof(double));
}

/* Records episodes; seen (TRAJECTORIES (ROUNDS+1)) the states as they were, NULL: not wanted. */
static fc_trajectories *record(const fc_scenario *s, fc_fl_state **seen) {
  fc_trajectories *t;
  fc_environment *e;
  assert_ok(fc_trajectories_create(s, TRAJECTORIES, &t));
  assert_ok(fc_environment_open_real(s, 1, &e));
  for (int i = 0; i < TRAJECTORIES; i++) {
    t->episode[i] = (fc_episode){.seed = UINT64_MAX - (uint64_t)i, .id = 10 + (uint64_t)i};
    t->by_tool[i] = i == 2;
    assert_ok(fc_environment_reset(e, &t->episode[i]));
    for (int round = 1; round <= ROUNDS + 1; round++) {
      const fc_fl_state *state = fc_environment_state(e, 0);
      fc_trajectories_put_state(t, i, state);
      if (seen) {
        fc_fl_state **copy = &seen[i * (ROUNDS + 1) + round - 1];
        assert_ok(fc_fl_state_create(s, copy));
        fc_fl_state_copy(*copy, state);
      }
      if (round > ROUNDS) break;
      uint8_t select[DEVICES];
      fc_outcome o;
      choose(i, round, select);
      assert_ok(fc_environment_step(e, &(fc_decision){.select = select}, &o));
      fc_trajectories_put_step(t, i, round, select, fc_environment_service(e, 0), &o);
    }
  }
  fc_environment_close(&e);
  return t;
}

static void states_come_back(void **unused) {
  (void)unused;
  fc_scenario *s = scenario_of("environment.p_max_w={log_uniform: [0.01, 1]}");
  fc_fl_state *seen[TRAJECTORIES * (ROUNDS + 1)], *state;
  fc_trajectories *t = record(s, seen);
  assert_ok(fc_fl_state_create(s, &state));
  for (int i = 0; i < TRAJECTORIES; i++)
    for (int round = 1; round <= ROUNDS + 1; round++) {
      fc_fl_state **was = &seen[i * (ROUNDS + 1) + round - 1];
      assert_ok(fc_trajectories_state(t, s, i, round, state));
      assert_states_equal(state, *was);
      fc_fl_state_destroy(was);
    }
  fc_fl_state_destroy(&state);
  fc_trajectories_destroy(&t);
  assert_null(t);
  fc_scenario_destroy(&s);
}

static void write_file(const fc_trajectories *t) {
  fc_config *cfg = config_of("");
  assert_ok(fc_trajectories_write(comm, t, cfg, path));
  fc_config_destroy(&cfg);
}

static void a_file_holds_them_all(void **unused) {
  (void)unused;
  fc_scenario *s = scenario_of("");
  fc_trajectories *t = record(s, NULL), *back;
  write_file(t);
  assert_ok(fc_trajectories_read(s, path, &back));
  const size_t steps = TRAJECTORIES * ROUNDS, states = TRAJECTORIES * (ROUNDS + 1);
  assert_int_equal(back->n, TRAJECTORIES);
  assert_int_equal(back->devices, DEVICES);
  assert_int_equal(back->rounds, ROUNDS);
  assert_memory_equal(back->episode, t->episode, TRAJECTORIES * sizeof *t->episode);
  assert_memory_equal(back->by_tool, t->by_tool, TRAJECTORIES);
  assert_memory_equal(back->accuracy, t->accuracy, states * sizeof(double));
  for (size_t i = 0; i < states * DEVICES * FC_STATISTICS; i++)
    assert_true(back->statistics[i] == t->statistics[i] ||
                (isnan(back->statistics[i]) && isnan(t->statistics[i])));
  assert_memory_equal(back->selected, t->selected, steps * DEVICES);
  assert_memory_equal(back->served, t->served, steps * DEVICES);
  assert_memory_equal(back->reward, t->reward, steps * sizeof(double));
  assert_memory_equal(back->energy_j, t->energy_j, steps * sizeof(double));
  assert_memory_equal(back->time_s, t->time_s, steps * sizeof(double));
  fc_trajectories_destroy(&back);
  fc_trajectories_destroy(&t);
  fc_scenario_destroy(&s);
}

static void count_described(void *arg, const char *dataset, const char *unit, const char *text,
                            int64_t count) {
  (void)unit, (void)count;
  if (!*text) fail_msg("%s is not described", dataset);
  ++*(int *)arg;
}

static void the_file_explains_itself(void **unused) {
  (void)unused;
  fc_store_reader *r;
  char *text;
  double ranks;
  int datasets = 0;
  assert_ok(fc_store_open(path, &r)); /* of the test before */
  assert_ok(fc_store_visit(r, count_described, &datasets));
  assert_int_equal(datasets, 3 + 6 + 9 + 3);
  assert_ok(fc_store_get_text(r, "/provenance", "config", &text));
  assert_non_null(strstr(text, "devices: 6"));
  fc_free(text);
  assert_ok(fc_store_get_text(r, "/provenance", "written", &text));
  fc_free(text);
  assert_ok(fc_store_get_number(r, "/provenance", "ranks", &ranks));
  assert_true(ranks == 1);
  fc_store_close(&r);
}

static void check_refused(const char *settings, const char *format) {
  fc_scenario *s = scenario_of(settings);
  fc_trajectories *t = (void *)s;
  char message[512];
  snprintf(message, sizeof message, format, path);
  assert_fails(fc_trajectories_read(s, path, &t), FC_ERR_DATA, message);
  assert_null(t);
  fc_scenario_destroy(&s);
}

static void other_scenarios_do_not_fit(void **unused) {
  (void)unused;
  check_refused("environment.devices=7",
                "%s is of another scenario: its devices is 6, here it is 7");
  check_refused("environment.hidden=17",
                "%s is of another scenario: its weights is 7370, here it is 7773");
  check_refused("environment.pixels=unit",
                "%s is of another scenario: its standard_pixels is 1, here it is 0");
  check_refused("environment.deadline_s=20",
                "%s is of another scenario: its deadline_s is 15, here it is 20");
  fc_scenario *s = scenario_of("environment.p_max_w={uniform: [0.2, 2]}"), *own = scenario_of("");
  fc_trajectories *t;
  char message[512];
  snprintf(message, sizeof message,
           "%s is of another scenario: its device 0 has a p_max_w of %.17g, here it has %.17g",
           path, fc_scenario_p_max_w(own)[0], fc_scenario_p_max_w(s)[0]);
  assert_fails(fc_trajectories_read(s, path, &t), FC_ERR_DATA, message);
  fc_scenario_destroy(&s);
  fc_scenario_destroy(&own);
}

static void damaged_files_are_told(void **unused) {
  (void)unused;
  assert_int_equal(truncate(path, 9000), 0);
  fc_scenario *s = scenario_of("");
  fc_trajectories *t;
  assert_int_equal(fc_trajectories_read(s, path, &t), FC_ERR_DATA);
  assert_non_null(strstr(fc_err_message(), "is damaged"));
  assert_null(t);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(fc_trajectories_read(s, path, &t), FC_ERR_IO);
  fc_store_file *f; /* one of ours, but of something else */
  assert_ok(fc_store_write_begin(comm, path, &f));
  fc_store_put_number(f, "/scenario", "devices", DEVICES);
  assert_ok(fc_store_write_end(&f));
  assert_int_equal(fc_trajectories_read(s, path, &t), FC_ERR_DATA);
  assert_non_null(strstr(fc_err_message(), "/scenario has no attribute rounds"));
  fc_trajectories *short_ones = record(s, NULL);
  short_ones->rounds = ROUNDS - 1;
  write_file(short_ones);
  char message[512];
  snprintf(message, sizeof message, "%s: /rounds/accuracy has 9 rows, expected 12", path);
  assert_fails(fc_trajectories_read(s, path, &t), FC_ERR_DATA, message);
  fc_trajectories_destroy(&short_ones);
  fc_scenario_destroy(&s);
}

static void writing_fails_whole(void **unused) {
  (void)unused;
  fc_scenario *s = scenario_of("");
  fc_trajectories *t = record(s, NULL);
  fc_config *cfg = config_of("");
  assert_int_equal(fc_trajectories_write(comm, t, cfg, "/nowhere/at/all.h5"), FC_ERR_IO);
  const size_t before = fc_mem_current_bytes();
  for (size_t at = 1; at < 12; at++) {
    fc_mem_fail_at(at);
    const fc_err err = fc_trajectories_write(comm, t, cfg, path);
    fc_mem_fail_at(0);
    assert_int_equal(err, FC_ERR_NOMEM);
    assert_int_equal(fc_mem_current_bytes(), before);
  }
  fc_config_destroy(&cfg);
  fc_trajectories_destroy(&t);
  fc_scenario_destroy(&s);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(states_come_back),         cmocka_unit_test(a_file_holds_them_all),
      cmocka_unit_test(the_file_explains_itself), cmocka_unit_test(other_scenarios_do_not_fit),
      cmocka_unit_test(damaged_files_are_told),   cmocka_unit_test(writing_fails_whole),
  };
  setenv("OMPI_MCA_ess_singleton_isolated", "1", 0); /* no daemon for a process without launcher */
  setenv("OMPI_MCA_sharedfp", "individual", 0);      /* no file in a folder that others remove */
  MPI_Init(&argc, &argv);
  if (fc_comm_create(&comm) != FC_ERR_OK || !mkdtemp(folder)) return 1;
  snprintf(path, sizeof path, "%s/trajectories.h5", folder);
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  unlink(path);
  rmdir(folder);
  fc_comm_destroy(&comm);
  MPI_Finalize();
  return failed;
}
