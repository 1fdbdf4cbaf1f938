/* Checkpoints: where they lie, what may continue them, and that a continued run ends as one that
 * was never stopped. */
#include "single_rank.h"

static char folder[] = "/tmp/fedcell-federation-XXXXXX";

static const char *in_folder(const char *name) {
  static char path[2][128];
  static int next;
  next = 1 - next;
  snprintf(path[next], sizeof path[next], "%s/%s", folder, name);
  return path[next];
}

static int make_folder(void **state) {
  (void)state;
  return mkdtemp(folder) ? 0 : 1;
}

static int remove_folder(void **state) {
  (void)state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  return system(command);
}

static void path_beside_the_result(void **state) {
  (void)state;
  const char *const paths[][2] = {{"x.h5", "x.ckpt.h5"},
                                  {"a.b/x.h5", "a.b/x.ckpt.h5"},
                                  {"x", "x.ckpt.h5"},
                                  {"x.hdf5", "x.hdf5.ckpt.h5"},
                                  {".h5", ".h5.ckpt.h5"}};
  for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
    char *path = NULL;
    OK(fc_checkpoint_path(paths[i][0], &path));
    assert_string_equal(path, paths[i][1]);
    fc_free(path);
  }
}

/* What a run gives the test: its end, the model, and the rounds that it reported. */
typedef struct {
  fc_err err;
  float theta[4096];
  fc_run_summary summary;
  int64_t reported[32];
  int n;
  volatile sig_atomic_t stop;
  int64_t stop_after; /* -1: never */
} outcome;

static void on_round(void *arg, const fc_round_report *r) {
  outcome *o = arg;
  assert_in_range(o->n, 0, 31);
  o->reported[o->n++] = r->round;
  if (r->round == o->stop_after) o->stop = 1;
}

static void run(const char *const *sets, const char *output, bool resume, int64_t stop_after,
                outcome *o) {
  fixture f = fixture_make(comm, sets);
  *o = (outcome){.stop_after = stop_after};
  fc_run_request request = {.output = in_folder(output),
                            .resume = resume,
                            .stop = &o->stop,
                            .on_round = on_round,
                            .arg = o};
  o->err = fc_federation_run(f.fed, &request, &o->summary);
  assert_in_range(f.fed->P, 1, 4096);
  memcpy(o->theta, f.fed->theta, f.fed->P * sizeof(float));
  fixture_drop(&f);
}

static void expect_same_end(const char *const *sets, int64_t stop_after) {
  static outcome whole, first, second;
  unlink(in_folder("out.h5"));
  run(sets, "whole.h5", false, -1, &whole);
  OK(whole.err);
  run(sets, "out.h5", false, stop_after, &first);
  assert_int_equal(first.err, FC_ERR_STOPPED);
  assert_int_not_equal(access(in_folder("out.h5"), F_OK), 0);
  run(sets, "out.h5", true, -1, &second);
  OK(second.err);
  assert_int_equal(second.reported[0], stop_after + 1);
  assert_memory_equal(second.theta, whole.theta, sizeof whole.theta);
  assert_true(second.summary.last.test_loss == whole.summary.last.test_loss);
  assert_true(second.summary.last.sim_time_s == whole.summary.last.sim_time_s);
  assert_true(second.summary.last.total_energy_j == whole.summary.last.total_energy_j);
  assert_true(second.summary.flop == whole.summary.flop);
  assert_true(second.summary.first.test_loss == whole.summary.first.test_loss);
  assert_int_not_equal(access(in_folder("out.ckpt.h5"), F_OK), 0); /* it has served */
}

static void stopped_and_continued(void **state) {
  (void)state;
  expect_same_end(NULL, 1);
  expect_same_end(NULL, 0); /* before the first round: nobody has taken part */
  expect_same_end(SETS("federation.method=local", "federation.eval_every=2"), 2);
  expect_same_end(SETS("federation.method=local"), 0);
  expect_same_end(SETS("federation.method=centralised"), 1);
  expect_same_end(SETS("federation.method=centralised", "federation.local.optimizer=sgd"), 1);
}

static void told_how_to_continue(void **state) {
  (void)state;
  static outcome o;
  char message[300];
  run(NULL, "out.h5", false, 1, &o);
  snprintf(message, sizeof message,
           "stopped on request after round 1 of 3; checkpoint in %s; continue with --resume",
           in_folder("out.ckpt.h5"));
  assert_int_equal(o.err, FC_ERR_STOPPED);
  assert_string_equal(fc_err_message(), message);
}

static void another_configuration_is_refused(void **state) {
  (void)state;
  static outcome o;
  const char *const others[][2] = {{"federation.local.batch=5", "federation.local.batch"},
                                   {"seed=6", "seed"},
                                   {"cell.bandwidth_hz=10e6", "cell.bandwidth_hz"},
                                   {"adapter.targets=[query]", "adapter.targets"}};
  run(NULL, "out.h5", false, 1, &o);
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    char message[300];
    run(SETS(others[i][0]), "out.h5", true, -1, &o);
    snprintf(message, sizeof message,
             "%s was made with another value of %s; continue with the same configuration, or "
             "remove it to start anew",
             in_folder("out.ckpt.h5"), others[i][1]);
    assert_int_equal(o.err, FC_ERR_USAGE);
    assert_string_equal(fc_err_message(), message);
  }
}

static void when_to_stop_may_differ(void **state) {
  (void)state;
  static outcome o;
  run(NULL, "out.h5", false, 2, &o);
  run(SETS("federation.rounds=4", "checkpoint.every_rounds=7", "stop.target_loss=1e-9"), "out.h5",
      true, -1, &o);
  OK(o.err);
  assert_int_equal(o.summary.last.round, 4);
  assert_string_equal(o.summary.ended_by, "rounds");
  run(NULL, "out.h5", false, 2, &o); /* fewer rounds than are done */
  run(SETS("federation.rounds=1"), "out.h5", true, -1, &o);
  OK(o.err);
  assert_int_equal(o.n, 0);
  assert_int_equal(o.summary.last.round, 2);
}

static void no_checkpoint_is_a_beginning(void **state) {
  (void)state;
  static outcome o;
  run(NULL, "fresh.h5", true, -1, &o);
  OK(o.err);
  assert_int_equal(o.reported[0], 0);
  assert_int_equal(o.n, 4);
}

static void targets_end_the_run(void **state) {
  (void)state;
  static outcome o;
  run(SETS("stop.target_loss=1000"), "t.h5", false, -1, &o);
  assert_string_equal(o.summary.ended_by, "target_loss");
  assert_int_equal(o.summary.last.round, 0);
  run(SETS("stop.target_accuracy=0.0001", "federation.eval_every=2"), "t.h5", false, -1, &o);
  assert_string_equal(o.summary.ended_by, "target_accuracy");
  run(SETS("stop.target_accuracy=1", "stop.target_loss=1e-9"), "t.h5", false, -1, &o);
  assert_string_equal(o.summary.ended_by, "rounds");
}

static void a_result_is_no_checkpoint(void **state) {
  (void)state;
  static outcome o;
  run(NULL, "out.ckpt.h5", false, -1, &o); /* a finished result of that name */
  OK(o.err);
  run(NULL, "out.h5", true, -1, &o);
  assert_int_equal(o.err, FC_ERR_DATA);
  assert_non_null(strstr(fc_err_message(), "out.ckpt.h5"));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(path_beside_the_result),  cmocka_unit_test(stopped_and_continued),
    cmocka_unit_test(told_how_to_continue),    cmocka_unit_test(another_configuration_is_refused),
    cmocka_unit_test(when_to_stop_may_differ), cmocka_unit_test(no_checkpoint_is_a_beginning),
    cmocka_unit_test(targets_end_the_run),     cmocka_unit_test(a_result_is_no_checkpoint),
};
static int run_all(void) {
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

int main(int argc, char **argv) {
  return single_rank_main(argc, argv, run_all);
}
