/* Data-parallel steps on several ranks: every rank gets what one rank alone computes.
 * RANKS: 1 2 3 */
#include "mpi_test.h"
#include "fedcell/fc_descent.h"
#include "fedcell/fc_rng.h"

enum { P = 301, UNITS = 23, STEPS = 4 };

static fc_err unit(void *arg, int thread, int64_t u, float *gradient, double *sums) {
  const float *theta = arg;
  fc_rng rng = fc_rng_open(7, FC_RNG_TEST, (uint64_t)u, 0);
  (void)thread;
  for (int w = 0; w < P; w++) {
    float x = (float)fc_rng_normal(&rng);
    gradient[w] += x * (x * theta[w] - 1.0f);
    sums[1] += (double)x * (double)theta[w];
  }
  sums[0] += 1;
  return FC_ERR_OK;
}

static void run(const fc_comm *over, float *theta, double *sums) {
  fc_optimizer_settings o = {.kind = fc_optimizer_find("adamw"),
                             .learning_rate = 0.05f,
                             .beta1 = 0.9f,
                             .beta2 = 0.99f,
                             .eps = 1e-8f,
                             .clip_norm = 1.0f};
  fc_descent *d = NULL;
  memset(theta, 0, P * sizeof *theta);
  assert_ok(fc_descent_create(over, &o, P, 2, &d));
  for (int i = 0; i < STEPS; i++) assert_ok(fc_descent_step(d, theta, UNITS, unit, theta, sums, 2));
  fc_descent_destroy(&d);
}

static void ranks_do_not_matter(void **state) {
  (void)state;
  fc_comm alone = *comm;
  float together[P], single[P];
  double sums[2], single_sums[2];
  alone.world = alone.node = alone.end = MPI_COMM_SELF;
  alone.rank = alone.node_rank = 0;
  alone.size = alone.node_size = 1;
  run(comm, together, sums);
  run(&alone, single, single_sums);
  assert_memory_equal(together, single, sizeof single);
  assert_memory_equal(sums, single_sums, sizeof sums);
  assert_true(together[0] != 0);
}

static fc_err fails_on_the_last(void *arg, int thread, int64_t u, float *gradient, double *sums) {
  (void)arg, (void)thread, (void)gradient, (void)sums;
  return u == UNITS - 1 ? fc_fail(FC_ERR_DATA, "the last unit") : FC_ERR_OK;
}

static void all_ranks_fail_together(void **state) {
  (void)state;
  fc_optimizer_settings o = {.kind = fc_optimizer_find("sgd"), .learning_rate = 1};
  fc_descent *d = NULL;
  float theta[P] = {0};
  double sums[1];
  assert_ok(fc_descent_create(comm, &o, P, 1, &d));
  assert_fails(fc_descent_step(d, theta, UNITS, fails_on_the_last, NULL, sums, 1), FC_ERR_DATA,
               "the last unit");
  fc_descent_destroy(&d);
}

static void a_checkpoint_is_every_ranks(void **state) {
  (void)state;
  fc_optimizer_settings o = {.kind = fc_optimizer_find("adamw"), .learning_rate = 1};
  fc_descent *d = NULL;
  float theta[P], again[P];
  double number = 0;
  for (int i = 0; i < P; i++) theta[i] = (float)i;
  assert_ok(fc_descent_create(comm, &o, P, 1, &d));
  for (int i = 0; i < 2 * P; i++) fc_descent_optimizer(d)->state[i] = (float)(i * i);
  fc_descent_optimizer(d)->step = 5;
  assert_ok(fc_descent_save(d, scratch_path("d.h5"), "key", theta, 3));
  fc_descent_destroy(&d);
  assert_ok(fc_descent_create(comm, &o, P, 1, &d));
  assert_ok(fc_descent_load(d, scratch_path("d.h5"), "key", again, &number));
  assert_true(number == 3 && fc_descent_optimizer(d)->step == 5);
  assert_memory_equal(theta, again, sizeof theta);
  for (int i = 0; i < 2 * P; i++) assert_true(fc_descent_optimizer(d)->state[i] == (float)(i * i));
  fc_descent_destroy(&d);
}

static int run_all(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(ranks_do_not_matter),
                                     cmocka_unit_test(all_ranks_fail_together),
                                     cmocka_unit_test(a_checkpoint_is_every_ranks)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return mpi_test_main(argc, argv, run_all);
}
