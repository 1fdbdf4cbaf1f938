/* Training with rewards on several ranks: every rank gets what one rank alone computes, a stopped
 * training goes on on any number, and all leave together when one fails.
 * RANKS: 1 2 3 */
#include "../../src/policy/train.h"
#include "../unit/policy/train_fixture.h"

static ground g;
static char scratch[64];

static fc_comm this_rank(void) {
  fc_comm alone = *comm;
  alone.world = alone.node = alone.end = MPI_COMM_SELF;
  alone.rank = alone.node_rank = 0;
  alone.size = alone.node_size = 1;
  return alone;
}

static void ranks_do_not_matter(void **state) {
  (void)state;
  static const struct {
    const char *algorithm, *settings;
  } forms[] = {{"grpo", "grpo.iterations=2\ngrpo.kl_beta=0.01"},
               {"ppo", "grpo.iterations=2\nreward.source=model\nreward.pairs=40"},
               /* fewer episodes than ranks; a judge */
               {"grpo", "grpo.iterations=2\ngrpo.episodes=2\nreward.source=judge\n"
                        "reward.judge=awk '{ print NR % 3 }'"}};
  const fc_comm alone = this_rank();
  for (int64_t i = 0; i < (int64_t)g.t->n * g.t->rounds; i++) g.t->reward[i] = (double)(i % 7);
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    trained together = train_in_toy(comm, &g, forms[i].algorithm, forms[i].settings);
    OK(together.err);
    trained single = train_in_toy(&alone, &g, forms[i].algorithm, forms[i].settings);
    OK(single.err);
    assert_same_training(&together, &single);
    assert_true(together.reports[1].gradient_norm > 0);
    drop_trained(&together);
    drop_trained(&single);
  }
}

static void stop_at_once(void *arg, const fc_train_report *r) {
  volatile sig_atomic_t *stop = arg;
  (void)r;
  *stop = 1;
}

/* One rank is told to stop: all do. */
static void goes_on_with_all_ranks(void **state) {
  (void)state;
  const char *settings = "grpo.iterations=3";
  char path[128];
  volatile sig_atomic_t stop = 0;
  const fc_comm alone = this_rank();
  snprintf(path, sizeof path, "%s/train.ckpt.h5", scratch);
  fc_train_request request = {.algorithm = "grpo", .checkpoint = path, .stop = &stop};
  request.arg = (void *)&stop;
  if (comm->rank == comm->size - 1) request.on_iteration = stop_at_once;
  trained t = train_with(comm, &g, &request, settings, open_toy, g.scenario);
  assert_fails(t.err, FC_ERR_STOPPED,
               "stopped on request after iteration 1 of 3 of training with rewards");
  drop_trained(&t);
  request.stop = NULL;
  t = train_with(comm, &g, &request, settings, open_toy, g.scenario);
  OK(t.err);
  trained single = train_in_toy(&alone, &g, "grpo", settings);
  assert_same_training(&t, &single);
  drop_trained(&t);
  drop_trained(&single);
}

static fc_err open_but_not_on_the_last(void *arg, int episodes, fc_environment **out) {
  FC_CHECK(comm->rank != comm->size - 1, IO, "no environment here");
  return open_toy(arg, episodes, out);
}

static void all_ranks_fail_together(void **state) {
  (void)state;
  const fc_train_request request = {.algorithm = "grpo"};
  trained t = train_with(comm, &g, &request, "", open_but_not_on_the_last, g.scenario);
  assert_fails(t.err, FC_ERR_IO, "no environment here");
  drop_trained(&t);
  t = train_in_toy(comm, &g, "grpo", "reward.source=judge\nreward.judge=exit 3");
  assert_fails(t.err, FC_ERR_IO, "the judge ended after 0 of 96 rewards");
  drop_trained(&t);
}

static int make_all(void **state) {
  (void)state;
  if (comm->rank == 0) make_scratch(scratch);
  MPI_Bcast(scratch, sizeof scratch, MPI_CHAR, 0, comm->world);
  g = make_ground(comm, scratch);
  return 0;
}

static int drop_all(void **state) {
  (void)state;
  drop_ground(&g);
  MPI_Barrier(comm->world);
  if (comm->rank == 0) drop_scratch(scratch);
  return 0;
}

static int run_all(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(ranks_do_not_matter),
                                     cmocka_unit_test(goes_on_with_all_ranks),
                                     cmocka_unit_test(all_ranks_fail_together)};
  return cmocka_run_group_tests(tests, make_all, drop_all);
}

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  if (fc_comm_create(&comm) != FC_ERR_OK) MPI_Abort(MPI_COMM_WORLD, 1);
  int failed = run_all();
  fc_comm_destroy(&comm);
  MPI_Finalize();
  return failed;
}
