/* test_allocation_failures.c - memory that runs out on one rank, at every single allocation of a
 * run: all ranks end with that failure and its message, nobody waits for ever, nothing leaks.
 * RANKS: 1 2 */
#include "mpi_test.h"

#include "../unit/federation/federation_fixture.h"
#include <sys/stat.h>

#define TINY                                                                                       \
  "federation.rounds=2", "checkpoint.every_rounds=1", "data.samples=40", "data.test_samples=8"

static fc_err run_to(fc_config *cfg, const char *output, bool resume, volatile sig_atomic_t *stop) {
  fc_federation *fed = NULL;
  fc_run_summary summary;
  const fc_run_request request = {.output = output, .resume = resume, .stop = stop};
  fc_err err = fc_federation_create(comm, cfg, &fed);
  if (err == FC_ERR_OK) err = fc_federation_run(fed, &request, &summary);
  fc_federation_destroy(&fed);
  return err;
}

static fc_err whole_run(fc_config *cfg) {
  return run_to(cfg, scratch_path("out.h5"), false, NULL);
}

static fc_err resumed_run(fc_config *cfg) {
  return run_to(cfg, scratch_path("out.h5"), true, NULL);
}

static fc_err pretraining(fc_config *cfg) {
  char *folder = NULL;
  fc_err err = fc_federation_pretrain(comm, cfg, true, &folder);
  fc_free(folder);
  return err;
}

static fc_err exporting(fc_config *cfg) {
  bool mean = false;
  return fc_federation_export(comm, cfg, scratch_path("out.h5"), scratch_path("adapter"),
                              scratch_path("base"), FC_DTYPE_F32, &mean);
}

static void remove_output(void) {
  assert_ok(fc_comm_barrier(comm));
  if (comm->rank == 0) unlink(scratch_path("out.h5"));
  assert_ok(fc_comm_barrier(comm));
}

/* The work with the n-th allocation of the last rank failing; true if it had none so far. */
static bool survives(fc_err (*work)(fc_config *cfg), const char *const *sets, size_t n) {
  fc_config *cfg = small_config(sets);
  size_t before = fc_mem_current_bytes();
  if (comm->rank == comm->size - 1) fc_mem_fail_at(n);
  fc_err err = work(cfg);
  fc_mem_fail_at(0);
  int64_t first = err;
  assert_ok(fc_comm_broadcast(comm, &first, sizeof first, 0));
  assert_int_equal(err, first);
  /* a comparison of configurations that has no memory says "different", which is safe */
  if (err != FC_ERR_OK && !strstr(fc_err_message(), "out of memory") &&
      !strstr(fc_err_message(), "another value"))
    fail_msg("allocation %zu failed, the message is: %s", n, fc_err_message());
  if (fc_mem_current_bytes() != before)
    fail_msg("allocation %zu failed: %lld bytes leak", n,
             (long long)fc_mem_current_bytes() - (long long)before);
  fc_config_destroy(&cfg);
  return err == FC_ERR_OK;
}

/* From the `first` allocation on, every stride-th; the others are like those of other tests. */
static void fail_everywhere(fc_err (*work)(fc_config *cfg), const char *const *sets, size_t first,
                            size_t stride) {
  size_t n = first;
  while (!survives(work, sets, n)) {
    if (work == whole_run) assert_int_not_equal(access(scratch_path("out.h5"), F_OK), 0);
    n += stride;
  }
  assert_true(n > first + 20); /* else the failure never came */
  remove_output();
}

static void in_fedlora(void **state) {
  (void)state;
  fail_everywhere(whole_run, SETS(TINY), 1, 1);
}

static void in_local(void **state) {
  (void)state;
  fail_everywhere(whole_run, SETS(TINY, "federation.method=local"), 50, 3);
}

static void in_centralised(void **state) {
  (void)state;
  fail_everywhere(whole_run, SETS(TINY, "federation.method=centralised"), 50, 3);
}

/* What only they allocate lies late in a round. */
static void in_methods_of_many_ranks(void **state) {
  (void)state;
  fail_everywhere(whole_run, SETS(TINY, "federation.method=hetlora", "lowrank.ranks=[1, 3]"), 40,
                  5);
  fail_everywhere(whole_run, SETS(TINY, "federation.method=flexlora", "lowrank.ranks=[1, 3]"), 42,
                  5);
  fail_everywhere(whole_run, SETS(TINY, "federation.method=flora", "lowrank.ranks=[1, 3]"), 44, 5);
}

/* Pruned, thinned, shared-out and split models; what is tuned at the server. */
#define CUT                                                                                        \
  TINY, "model.layers=3", "data.public_fraction=0.3", "jcpba.importance_samples=8",                \
      "server.first_steps=1", "server.tune_steps=1", "server.rank=2", "server.batch=8"

static void in_methods_that_cut_the_model(void **state) {
  (void)state;
  fail_everywhere(whole_run,
                  SETS(CUT, "federation.method=jcpba", "adapter.last_blocks=1", "cell.noise=total"),
                  60, 7);
  fail_everywhere(
      whole_run,
      SETS(CUT, "federation.method=fedbiot", "adapter.last_blocks=1", "fedbiot.drop=0.5"), 63, 7);
  fail_everywhere(whole_run, SETS(CUT, "federation.method=deft", "adapter.last_blocks=3"), 66, 7);
  fail_everywhere(whole_run, SETS(CUT, "federation.method=splitlora", "splitlora.budget=energy"),
                  69, 7);
}

/* Bandwidths and powers, by a deadline; the ensemble; what is kept of each device. */
static void in_switching(void **state) {
  (void)state;
  fail_everywhere(whole_run,
                  SETS(TINY, "federation.method=switching", "cell.pathloss=power-law",
                       "cell.radius_m=67", "cell.interferer_density_per_m2=1e-5",
                       "cell.outage_snr_db=0", "cell.deadline_s=8e-3"),
                  60, 11);
}

/* What was half read from the checkpoint is given back too. */
static void in_a_resumed_run(void **state) {
  (void)state;
  volatile sig_atomic_t stop = 1;
  fc_config *cfg = small_config(SETS(TINY, "federation.method=local"));
  assert_int_equal(run_to(cfg, scratch_path("out.h5"), false, &stop), FC_ERR_STOPPED);
  fc_config_destroy(&cfg);
  fail_everywhere(resumed_run, SETS(TINY, "federation.method=local"), 50, 3);
}

static void in_a_resumed_run_with_an_emulator(void **state) {
  (void)state;
  volatile sig_atomic_t stop = 1;
  const char *const *sets =
      SETS(CUT, "federation.method=fedbiot", "adapter.last_blocks=1", "fedbiot.drop=0.5");
  fc_config *cfg = small_config(sets);
  assert_int_equal(run_to(cfg, scratch_path("out.h5"), false, &stop), FC_ERR_STOPPED);
  fc_config_destroy(&cfg);
  fail_everywhere(resumed_run, sets, 61, 11);
}

static void in_pretraining(void **state) {
  (void)state;
  char cache[300];
  snprintf(cache, sizeof cache, "model.cache=%s", scratch_path("cache"));
  fail_everywhere(pretraining,
                  SETS(TINY, "model.base=embedded", "model.vocab=300", "pretrain.steps=2",
                       "pretrain.batch=8", "pretrain.micro_batch=2", cache),
                  1, 3);
}

static void in_an_export(void **state) {
  (void)state;
  fc_config *cfg = small_config(SETS(TINY));
  assert_ok(whole_run(cfg));
  fc_config_destroy(&cfg);
  if (comm->rank == 0) {
    assert_int_equal(mkdir(scratch_path("adapter"), 0777), 0);
    assert_int_equal(mkdir(scratch_path("base"), 0777), 0);
  }
  fail_everywhere(exporting, SETS(TINY), 1, 1);
}

static int run(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(in_fedlora),
                                     cmocka_unit_test(in_local),
                                     cmocka_unit_test(in_centralised),
                                     cmocka_unit_test(in_a_resumed_run),
                                     cmocka_unit_test(in_pretraining),
                                     cmocka_unit_test(in_an_export),
                                     cmocka_unit_test(in_methods_of_many_ranks),
                                     cmocka_unit_test(in_methods_that_cut_the_model),
                                     cmocka_unit_test(in_switching),
                                     cmocka_unit_test(in_a_resumed_run_with_an_emulator)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return mpi_test_main(argc, argv, run);
}
