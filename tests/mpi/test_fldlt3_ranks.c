/* test_fldlt3_ranks.c - several ranks train the agent FL-DLT3 as one does, bit for bit, and so
 * after a stop on other ranks. RANKS: 1 2 3 */
#include "mpi_test.h"
#include "unit/policy/fldlt3_fixture.h"

#include <sys/stat.h>

static fc_comm alone = {
    .world = MPI_COMM_SELF, .node = MPI_COMM_SELF, .end = MPI_COMM_SELF, .size = 1, .node_size = 1};

static const char *new_folder(const char *name) {
  char own[64];
  snprintf(own, sizeof own, "%s-%d", name, comm->rank);
  const char *path = scratch_path(own);
  mkdir(path, 0777);
  return path;
}

static void ranks_train_as_one_does(void **state) {
  (void)state;
  ground g = make_ground("");
  char ours[512], mine[512];
  const fc_train_request request = {0};
  snprintf(ours, sizeof ours, "%s", new_folder("ours")); /* rank 0's is written */
  snprintf(mine, sizeof mine, "%s", new_folder("mine"));
  trained all = train_in(comm, &g, open_flat, &request, ours);
  trained one = train_in(&alone, &g, open_flat, &request, mine);
  assert_ok(all.err);
  assert_ok(one.err);
  assert_same_reports(&all, &one);
  assert_true(all.reports[3].value_loss > 0);
  if (comm->rank == 0) assert_same_folders(ours, mine);
  fc_free(all.reports);
  fc_free(one.reports);
  drop_ground(&g);
}

static volatile sig_atomic_t stop;

static void stop_after_two(void *arg, const fc_train_report *r) {
  (void)arg;
  if (r->iteration == 2 && comm->rank == comm->size - 1) stop = 1;
}

/* One rank alone is asked to stop; one rank alone goes on, with a ring that is full by then. */
static void a_stop_is_for_all_and_any_number_goes_on(void **state) {
  (void)state;
  ground g = make_ground("fldlt3.replay=30\nfldlt3.random_episodes=6\nfldlt3.delay=3");
  ground other = make_ground("fldlt3.replay=30\nfldlt3.random_episodes=6\nfldlt3.delay=2");
  char path[512], message[700], whole[512], parts[512];
  trained t;
  snprintf(path, sizeof path, "%s", scratch_path("fldlt3.h5"));
  snprintf(whole, sizeof whole, "%s", new_folder("whole"));
  snprintf(parts, sizeof parts, "%s", new_folder("parts"));
  const fc_train_request request = {
      .checkpoint = path, .stop = &stop, .on_iteration = stop_after_two};
  stop = 0;
  t = train_in(comm, &g, open_flat, &request, parts);
  assert_fails(t.err, FC_ERR_STOPPED,
               "stopped on request after iteration 2 of 4 of training of fldlt3");
  assert_null(t.reports);
  stop = 0;
  snprintf(message, sizeof message,
           "%s was made with another configuration; continue with the same one, or remove it to "
           "start anew",
           path);
  t = train_in(comm, &other, open_flat, &request, parts);
  assert_fails(t.err, FC_ERR_USAGE, message);
  trained all = train_in(comm, &g, open_flat, &(fc_train_request){0}, whole);
  assert_ok(all.err);
  MPI_Barrier(comm->world);
  if (comm->rank == 0) {
    t = train_in(&alone, &g, open_flat, &request, parts);
    assert_ok(t.err);
    assert_same_reports(&t, &all);
    assert_same_folders(parts, whole);
    assert_int_not_equal(access(path, F_OK), 0);
    fc_free(t.reports);
  }
  fc_free(all.reports);
  drop_ground(&g);
  drop_ground(&other);
}

/* What only one rank lacks, all ranks are told. */
static void a_lack_of_memory_on_one_rank_is_everyones(void **state) {
  (void)state;
  ground g = make_ground("grpo.iterations=1");
  for (size_t at = 1; at < 120; at += 7) {
    fc_mem_fail_at(comm->rank == 0 ? at : 0);
    trained t = train_in(comm, &g, open_flat, &(fc_train_request){0}, scratch);
    fc_mem_fail_at(0);
    assert_int_equal(t.err, FC_ERR_NOMEM);
    assert_null(t.reports);
  }
  drop_ground(&g);
}

static int run(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ranks_train_as_one_does),
      cmocka_unit_test(a_stop_is_for_all_and_any_number_goes_on),
      cmocka_unit_test(a_lack_of_memory_on_one_rank_is_everyones),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return mpi_test_main(argc, argv, run);
}
