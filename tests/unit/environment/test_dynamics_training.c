/* Training the dynamics: a world is learnt, also by trajectories that were not seen; a stop and a
 * resume change nothing; what fits not is told. */
#include "dynamics_fixture.h"

#include "dynamics.h"
#include <omp.h>

static fc_dynamics_report last;
static volatile sig_atomic_t stop;
static int64_t stop_after;

static void on_epoch(void *arg, const fc_dynamics_report *r) {
  *(int64_t *)arg += 1;
  last = *r;
  if (r->epoch == stop_after) stop = 1;
}

static void keep_least(void *arg, const fc_dynamics_report *r) {
  double *losses = arg; /* the least, the last */
  losses[0] = fmin(losses[0], r->validation_loss);
  losses[1] = r->validation_loss;
}

/* Mean loss over the rows of trajectories that were not trained on. */
static double loss_on_unseen(const fc_dynamics *d, const fc_trajectories *t) {
  fc_dynamics_rows rows;
  fc_network_work work;
  fc_network_loss loss = {0};
  assert_ok(fc_dynamics_rows_create(&d->encoding, t, &rows));
  assert_ok(fc_network_work_create(&d->network, t->rounds, 1, (int)t->rounds, false, &work));
  for (int i = 0; i < t->n; i++) {
    bool seen = false;
    for (int j = 0; j < d->n_seen; j++) seen = seen || d->seen[j].id == t->episode[i].id;
    const int64_t first = rows.start[i], start[] = {0, rows.start[i + 1] - first};
    const fc_network_batch batch = {.sequences = 1,
                                    .start = start,
                                    .x = rows.x + first * d->network.features,
                                    .y = rows.y + first * d->network.values};
    if (!seen) assert_ok(fc_network_run(&work, d->theta, &batch, NULL, &loss));
  }
  fc_network_work_destroy(&work);
  fc_dynamics_rows_destroy(&rows);
  return (loss.statistics_mse + loss.accuracy_mse + loss.nll) / (double)loss.rows;
}

#define LONGER                                                                                     \
  "dynamics.width=32\ndynamics.epochs=150\ndynamics.dropout=0\ndynamics.weight_decay=0.01\n"       \
  "dynamics.learning_rate=3e-3\ndynamics.variance_floor=1e-4\n"

static void a_world_is_learnt(void **state) {
  (void)state;
  fc_config *cfg = config_of(WORLD LONGER);
  fc_scenario *s = scenario_of(WORLD);
  fc_trajectories *t = world_of(s, 60, 1, 0.0), *others = world_of(s, 10, 2, 0.0);
  int64_t epochs = 0;
  const fc_dynamics_request request = {.on_epoch = on_epoch, .arg = &epochs};
  const int64_t horizon[] = {1, 8};
  fc_fidelity f[2], g[2];
  fc_dynamics *d;
  assert_ok(fc_dynamics_train(comm, cfg, s, t, &request, &d));
  assert_int_equal(epochs, 150);
  assert_int_equal(last.epoch, 150);
  assert_int_equal(last.epochs, 150);
  assert_true(last.statistics_mse < 0.05 && last.accuracy_mse < 0.02);
  assert_true(last.validation_statistics_mse < 0.08 && last.validation_accuracy_mse < 0.02);
  assert_ok(fc_dynamics_fidelity(d, s, t, horizon, 2, f));
  assert_ok(fc_dynamics_fidelity(d, s, others, horizon, 2, g));
  for (int i = 0; i < 2; i++) { /* in points of accuracy, of 30 that it varies by */
    assert_true(f[i].accuracy_rmse < 0.025 && g[i].accuracy_rmse < 0.025);
    assert_true(f[i].statistics_rmse < 0.4 && g[i].statistics_rmse < 0.4);
  }
  fc_dynamics_destroy(&d);
  fc_trajectories_destroy(&t);
  fc_trajectories_destroy(&others);
  fc_scenario_destroy(&s);
  fc_config_destroy(&cfg);
}

/* ---- the same again ---------------------------------------------------------------------------
 */

static void threads_do_not_matter(void **state) {
  (void)state;
  world w = small_world("");
  fc_dynamics *two = train_on(&w);
  omp_set_num_threads(1);
  fc_dynamics *one = train_on(&w);
  omp_set_num_threads(2);
  assert_same(one, two);
  fc_dynamics_destroy(&one);
  fc_dynamics_destroy(&two);
  drop_world(&w);
}

static void a_stop_and_a_resume_change_nothing(void **state) {
  (void)state;
  const char *path = scratch_path("dynamics.h5");
  int64_t epochs = 0;
  fc_dynamics_request request = {
      .on_epoch = on_epoch, .arg = &epochs, .checkpoint = path, .stop = &stop};
  world w = small_world("dynamics.epochs=13\n");
  fc_dynamics *whole = train_on(&w), *d = NULL;
  for (stop_after = 1; stop_after < 13; stop_after += 5) {
    stop = 0;
    assert_fails(fc_dynamics_train(comm, w.cfg, w.s, w.t, &request, &d), FC_ERR_STOPPED,
                 stop_after == 1   ? "stopped after 1 of 13 epochs of the dynamics"
                 : stop_after == 6 ? "stopped after 6 of 13 epochs of the dynamics"
                                   : "stopped after 11 of 13 epochs of the dynamics");
    assert_null(d);
    assert_int_equal(access(path, R_OK), 0);
  }
  stop = 0;
  assert_ok(fc_dynamics_train(comm, w.cfg, w.s, w.t, &request, &d));
  assert_int_equal(epochs, 13);
  assert_int_not_equal(access(path, R_OK), 0);
  assert_same(whole, d);
  fc_dynamics_destroy(&whole);
  fc_dynamics_destroy(&d);
  drop_world(&w);
}

static void a_checkpoint_of_something_else_is_told(void **state) {
  (void)state;
  const char *path = scratch_path("dynamics.h5");
  char message[256];
  int64_t epochs = 0;
  const fc_dynamics_request request = {
      .on_epoch = on_epoch, .arg = &epochs, .checkpoint = path, .stop = &stop};
  world w = small_world(""), other = small_world("dynamics.learning_rate=0.1\n");
  fc_dynamics *d = NULL;
  stop = 1;
  assert_int_equal(fc_dynamics_train(comm, w.cfg, w.s, w.t, &request, &d), FC_ERR_STOPPED);
  stop = 0;
  snprintf(message, sizeof message,
           "%s was made with another configuration; continue with the same one, or remove it to "
           "start anew",
           path);
  assert_fails(fc_dynamics_train(comm, other.cfg, other.s, other.t, &request, &d), FC_ERR_USAGE,
               message);
  w.t->accuracy[5] += 1e-9;
  assert_fails(fc_dynamics_train(comm, w.cfg, w.s, w.t, &request, &d), FC_ERR_USAGE, message);
  assert_int_equal(epochs, 0);
  unlink(path);
  drop_world(&w);
  drop_world(&other);
}

/* ---- which weights are kept -------------------------------------------------------------------
 */

static void the_best_epoch_is_kept(void **state) {
  (void)state;
  /* steps so large that the loss jumps about */
  world w = small_world("dynamics.epochs=12\ndynamics.learning_rate=0.05\n"
                        "dynamics.schedule=constant\ndynamics.held_out=0.4\n");
  double losses[] = {INFINITY, 0};
  const fc_dynamics_request request = {.on_epoch = keep_least, .arg = losses};
  fc_dynamics *d;
  assert_ok(fc_dynamics_train(comm, w.cfg, w.s, w.t, &request, &d));
  assert_true(losses[1] > losses[0]);
  assert_int_equal(d->n_seen, 8);
  assert_close(loss_on_unseen(d, w.t), losses[0], 1e-5);
  fc_dynamics_destroy(&d);
  drop_world(&w);
}

static void without_held_out_the_last_epoch_is_kept(void **state) {
  (void)state;
  world w = small_world("dynamics.held_out=0\n");
  int64_t epochs = 0;
  fc_dynamics_request request = {.on_epoch = on_epoch, .arg = &epochs};
  fc_dynamics *d;
  assert_ok(fc_dynamics_train(comm, w.cfg, w.s, w.t, &request, &d));
  assert_int_equal(d->n_seen, 13);
  assert_true(isnan(last.validation_loss) && isnan(last.validation_statistics_mse));
  fc_fidelity f;
  const int64_t one = 1;
  assert_fails(fc_dynamics_fidelity(d, w.s, w.t, &one, 1, &f), FC_ERR_DATA,
               "none of the 13 trajectories was held out of the dynamics' training");
  fc_dynamics_destroy(&d);
  drop_world(&w);
}

/* ---- what does not fit ------------------------------------------------------------------------
 */

static void what_does_not_fit_is_told(void **state) {
  (void)state;
  world w = small_world("");
  const fc_dynamics_request request = {0};
  fc_dynamics *d;
  fc_fidelity f;
  const int64_t horizon = 9;
  fc_scenario *longer = scenario_of("environment.rounds=9\n");
  assert_fails(fc_dynamics_train(comm, w.cfg, longer, w.t, &request, &d), FC_ERR_DATA,
               "the trajectories are of 6 devices and 8 rounds, the environment has 6 and 9");
  assert_null(d);
  d = train_on(&w);
  assert_fails(fc_dynamics_fidelity(d, w.s, w.t, &horizon, 1, &f), FC_ERR_USAGE,
               "a horizon of 9 rounds, allowed is 1 to 8");
  fc_dynamics_destroy(&d);
  w.t->statistics[(2 * 9 + 4) * 6 * FC_STATISTICS] = NAN;
  assert_fails(fc_dynamics_train(comm, w.cfg, w.s, w.t, &request, &d), FC_ERR_DATA,
               "trajectory 2: the accuracy or a device's loss before round 5 is not known");
  w.t->n = 0;
  assert_fails(fc_dynamics_train(comm, w.cfg, w.s, w.t, &request, &d), FC_ERR_DATA,
               "there are no trajectories to learn the dynamics from");
  fc_scenario_destroy(&longer);
  drop_world(&w);
}

static int run(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_world_is_learnt),
      cmocka_unit_test(threads_do_not_matter),
      cmocka_unit_test(a_stop_and_a_resume_change_nothing),
      cmocka_unit_test(a_checkpoint_of_something_else_is_told),
      cmocka_unit_test(the_best_epoch_is_kept),
      cmocka_unit_test(without_held_out_the_last_epoch_is_kept),
      cmocka_unit_test(what_does_not_fit_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return single_rank_main(argc, argv, run);
}
