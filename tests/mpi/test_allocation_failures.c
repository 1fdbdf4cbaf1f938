/* test_allocation_failures.c - memory that runs out on one rank, at every single allocation of a
 * run: all ranks end with that failure and its message, nobody waits for ever, nothing leaks.
 * RANKS: 1 3 */
#include "mpi_test.h"

#include "../unit/federation/federation_fixture.h"

static const char OUT_OF_MEMORY[] = "out of memory: this allocation was to fail";

/* A whole run with a checkpoint, to the result file. */
static fc_err whole_run(fc_config *cfg, const char *output, bool resume) {
  fc_federation *fed = NULL;
  fc_run_summary summary;
  const fc_run_request request = {.output = output, .resume = resume};
  fc_err err = fc_federation_create(comm, cfg, &fed);
  if (err == FC_ERR_OK) err = fc_federation_run(fed, &request, &summary);
  fc_federation_destroy(&fed);
  return err;
}

/* The same on all ranks, or the test fails. */
static int64_t same_everywhere(int64_t x) {
  int64_t first = x;
  assert_ok(fc_comm_broadcast(comm, &first, sizeof first, 0));
  assert_int_equal(x, first);
  return x;
}

/* Lets the n-th allocation of the last rank fail, for n = 1, 2, ... until the run succeeds. Beyond
 * the first `dense`, only every seventh: reading data allocates a lot in one place. */
static void fail_everywhere(const char *const *sets, bool resume, int dense) {
  const char *output = scratch_path("out.h5");
  int failures = 0;
  for (size_t n = 1;; n += failures < dense ? 1 : 7) {
    fc_config *cfg = small_config(sets);
    size_t before = fc_mem_current_bytes();
    if (comm->rank == comm->size - 1) fc_mem_fail_at(n);
    fc_err err = whole_run(cfg, output, resume);
    fc_mem_fail_at(0);
    same_everywhere(err);
    if (err != FC_ERR_OK && !strstr(fc_err_message(), OUT_OF_MEMORY))
      fail_msg("allocation %zu failed, the message is: %s", n, fc_err_message());
    if (fc_mem_current_bytes() != before)
      fail_msg("allocation %zu failed: %zd bytes leak", n,
               (ssize_t)(fc_mem_current_bytes() - before));
    fc_config_destroy(&cfg);
    if (err == FC_ERR_OK) break;
    assert_int_equal(err, FC_ERR_NOMEM);
    failures++;
    assert_int_not_equal(access(output, F_OK), 0); /* no half-written result */
  }
  if (getenv("COUNT") && comm->rank == 0) printf("%d failures\n", failures);
  assert_true(failures > 50);
  assert_ok(fc_comm_barrier(comm));
  if (comm->rank == 0) unlink(output);
  assert_ok(fc_comm_barrier(comm));
}

#define TINY                                                                                       \
  "federation.rounds=2", "checkpoint.every_rounds=1", "data.samples=40", "data.test_samples=8"

static void in_fedlora(void **state) {
  (void)state;
  fail_everywhere(SETS(TINY), false, 400);
}

static void in_local(void **state) {
  (void)state;
  fail_everywhere(SETS(TINY, "federation.method=local"), false, 400);
}

static void in_centralised(void **state) {
  (void)state;
  fail_everywhere(SETS(TINY, "federation.method=centralised"), false, 400);
}

static int run(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(in_fedlora), cmocka_unit_test(in_local),
                                     cmocka_unit_test(in_centralised)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return mpi_test_main(argc, argv, run);
}
