/* test_dynamics_ranks.c - the dynamics that several ranks learn are those that one rank learns, bit
 * for bit, and so after a stop on other ranks. RANKS: 1 2 3 */
#include "mpi_test.h"
#include "unit/environment/dynamics_world.h"

#include <sys/stat.h>

static fc_comm alone = {
    .world = MPI_COMM_SELF, .node = MPI_COMM_SELF, .end = MPI_COMM_SELF, .size = 1, .node_size = 1};

static void same_file(const char *a, const char *b, const char *name) {
  char command[1200];
  snprintf(command, sizeof command, "cmp '%s/%s' '%s/%s'", a, name, b, name);
  assert_int_equal(system(command), 0);
}

/* By what is saved. */
static void assert_same(const fc_dynamics *a, const fc_dynamics *b) {
  char one[512], two[512], name[32];
  snprintf(name, sizeof name, "a%d", comm->rank);
  snprintf(one, sizeof one, "%s", scratch_path(name));
  snprintf(name, sizeof name, "b%d", comm->rank);
  snprintf(two, sizeof two, "%s", scratch_path(name));
  mkdir(one, 0777);
  mkdir(two, 0777);
  assert_ok(fc_dynamics_save(a, one));
  assert_ok(fc_dynamics_save(b, two));
  same_file(one, two, "model.safetensors");
  same_file(one, two, "linear.safetensors");
  same_file(one, two, "dynamics.json");
}

static void ranks_learn_as_one_does(void **state) {
  (void)state;
  world w = small_world("");
  fc_dynamics *ours = train_over(comm, &w), *mine = train_over(&alone, &w);
  assert_same(ours, mine);
  fc_dynamics_destroy(&ours);
  fc_dynamics_destroy(&mine);
  drop_world(&w);
}

static volatile sig_atomic_t stop;

static void on_epoch(void *arg, const fc_dynamics_report *r) {
  double *losses = arg;
  losses[r->epoch - 1] = r->loss + r->validation_loss;
  if (r->epoch == 2 && comm->rank == comm->size - 1) stop = 1;
}

/* One rank alone is asked to stop; one rank alone goes on. */
static void a_stop_is_for_all_and_any_number_goes_on(void **state) {
  (void)state;
  world w = small_world("dynamics.epochs=5\n");
  double losses[5] = {0}, whole[5] = {0};
  char path[512];
  snprintf(path, sizeof path, "%s", scratch_path("dynamics.h5"));
  fc_dynamics_request request = {
      .on_epoch = on_epoch, .arg = losses, .checkpoint = path, .stop = &stop};
  fc_dynamics_request other = {.on_epoch = on_epoch, .arg = whole};
  fc_dynamics *d = NULL, *all = NULL;
  stop = 0;
  assert_fails(fc_dynamics_train(comm, w.cfg, w.s, w.t, &request, &d), FC_ERR_STOPPED,
               "stopped after 2 of 5 epochs of the dynamics");
  stop = 0;
  MPI_Barrier(comm->world);
  if (comm->rank == 0) assert_ok(fc_dynamics_train(&alone, w.cfg, w.s, w.t, &request, &d));
  stop = 0;
  assert_ok(fc_dynamics_train(comm, w.cfg, w.s, w.t, &other, &all));
  if (comm->rank == 0) {
    assert_same(d, all);
    assert_memory_equal(losses, whole, sizeof losses);
  }
  fc_dynamics_destroy(&d);
  fc_dynamics_destroy(&all);
  drop_world(&w);
}

/* What only one rank lacks, all ranks are told. */
static void a_lack_of_memory_on_one_rank_is_everyones(void **state) {
  (void)state;
  world w = small_world("");
  const fc_dynamics_request request = {0};
  fc_dynamics *d = NULL;
  for (size_t at = 1; at < 60; at += 7) {
    fc_mem_fail_at(comm->rank == 0 ? at : 0);
    fc_err err = fc_dynamics_train(comm, w.cfg, w.s, w.t, &request, &d);
    fc_mem_fail_at(0);
    assert_int_equal(err, FC_ERR_NOMEM);
    assert_null(d);
  }
  drop_world(&w);
}

static int run(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ranks_learn_as_one_does),
      cmocka_unit_test(a_stop_is_for_all_and_any_number_goes_on),
      cmocka_unit_test(a_lack_of_memory_on_one_rank_is_everyones),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return mpi_test_main(argc, argv, run);
}
