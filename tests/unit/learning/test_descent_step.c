/* Data-parallel steps: the mean over all units whatever the threads, sums, checkpoints, failures.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fedcell/fc_descent.h"
#include "fedcell/fc_mem.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OK(call)                                                                                   \
  do {                                                                                             \
    fc_err e_ = (call);                                                                            \
    if (e_ != FC_ERR_OK) fail_msg("%s: %s", #call, fc_err_message());                              \
  } while (0)

enum { P = 37, UNITS = 29 };
static fc_comm *comm;

/* Unit u has the weight u % 3 (so some have none) and the gradient of weight * |theta - c_u|^2/2,
 * where c_u is u everywhere. */
typedef struct {
  const float *theta;
  int64_t fails, spoils; /* units; -1: none */
} job;

static fc_err unit(void *arg, int thread, int64_t u, float *gradient, double *sums) {
  const job *j = arg;
  float weight = (float)(u % 3);
  (void)thread;
  if (u == j->fails) return fc_fail(FC_ERR_DATA, "unit %lld fails", (long long)u);
  for (int w = 0; gradient && w < P; w++)
    gradient[w] += u == j->spoils ? NAN : weight * (j->theta[w] - (float)u);
  sums[0] += weight;
  sums[1] += (double)u;
  return FC_ERR_OK;
}

static fc_optimizer_settings sgd(void) {
  return (fc_optimizer_settings){.kind = fc_optimizer_find("sgd"), .learning_rate = 1.0f};
}

static fc_descent *open_descent(fc_optimizer_settings o, int threads) {
  fc_descent *d = NULL;
  OK(fc_descent_create(comm, &o, P, threads, &d));
  return d;
}

static void fill(float *theta) {
  for (int w = 0; w < P; w++) theta[w] = 0.37f * (float)w;
}

/* One step of rate 1 takes theta to the weighted mean of the c_u. */
static void a_step_follows_the_mean_of_all_units(void **state) {
  (void)state;
  fc_descent *d = open_descent(sgd(), 2);
  float theta[P];
  double sums[2], weight = 0, mean = 0;
  fill(theta);
  for (int u = 0; u < UNITS; u++) {
    weight += u % 3;
    mean += u % 3 * u;
  }
  job j = {theta, -1, -1};
  OK(fc_descent_step(d, theta, UNITS, unit, &j, sums, 2));
  assert_true(sums[0] == weight);
  assert_true(sums[1] == UNITS * (UNITS - 1) / 2);
  for (int w = 0; w < P; w++) assert_true(fabs((double)theta[w] - mean / weight) < 1e-5);
  fc_descent_destroy(&d);
  assert_null(d);
}

/* AdamW, several steps, fewer and more units than lanes. */
static void threads_do_not_matter(void **state) {
  (void)state;
  fc_optimizer_settings o = {.kind = fc_optimizer_find("adamw"),
                             .learning_rate = 0.1f,
                             .beta1 = 0.9f,
                             .beta2 = 0.99f,
                             .eps = 1e-8f};
  float theta[3][P];
  for (int threads = 1; threads <= 3; threads++) {
    fc_descent *d = open_descent(o, threads);
    double sums[1];
    job j = {theta[threads - 1], -1, -1};
    fill(theta[threads - 1]);
    for (int64_t n = 3; n < 50; n += 9)
      OK(fc_descent_step(d, theta[threads - 1], n, unit, &j, sums, 1));
    assert_int_equal(fc_descent_optimizer(d)->step, 6);
    assert_memory_equal(theta[threads - 1], theta[0], sizeof theta[0]);
    fc_descent_destroy(&d);
  }
}

static void without_weight_nothing_changes(void **state) {
  (void)state;
  fc_descent *d = open_descent(sgd(), 2);
  float theta[P], before[P];
  double sums[2];
  fill(theta);
  memcpy(before, theta, sizeof theta);
  job j = {theta, -1, -1};
  OK(fc_descent_step(d, theta, 1, unit, &j, sums, 2)); /* unit 0 weighs nothing */
  assert_true(sums[0] == 0 && sums[1] == 0);
  OK(fc_descent_step(d, theta, 0, unit, &j, sums, 2));
  OK(fc_descent_measure(d, UNITS, unit, &j, sums, 2));
  assert_true(sums[1] == UNITS * (UNITS - 1) / 2);
  assert_memory_equal(theta, before, sizeof theta);
  assert_int_equal(fc_descent_optimizer(d)->step, 0);
  fc_descent_destroy(&d);
}

static void failures_are_told(void **state) {
  (void)state;
  fc_descent *d = open_descent(sgd(), 2);
  float theta[P], before[P];
  double sums[1];
  fill(theta);
  memcpy(before, theta, sizeof theta);
  job fails = {theta, 17, -1}, spoils = {theta, -1, 5};
  assert_int_equal(fc_descent_step(d, theta, UNITS, unit, &fails, sums, 1), FC_ERR_DATA);
  assert_string_equal(fc_err_message(), "unit 17 fails");
  assert_int_equal(fc_descent_measure(d, UNITS, unit, &fails, sums, 1), FC_ERR_DATA);
  assert_int_equal(fc_descent_step(d, theta, UNITS, unit, &spoils, sums, 1), FC_ERR_NUMERIC);
  assert_string_equal(fc_err_message(), "a gradient is not finite (learning rate 1 too high?)");
  assert_memory_equal(theta, before, sizeof theta);
  fc_descent_destroy(&d);
}

static void a_checkpoint_continues(void **state) {
  (void)state;
  fc_optimizer_settings o = {.kind = fc_optimizer_find("adamw"),
                             .learning_rate = 0.1f,
                             .beta1 = 0.9f,
                             .beta2 = 0.99f,
                             .eps = 1e-8f};
  char path[] = "/tmp/fedcell-descent-XXXXXX.h5", message[256];
  int file = mkstemps(path, 3);
  float theta[P], again[P] = {0};
  double sums[1], number = 0;
  assert_true(file >= 0);
  close(file);
  unlink(path);
  fc_descent *d = open_descent(o, 2), *e = open_descent(o, 2);
  job j = {theta, -1, -1}, k = {again, -1, -1};
  fill(theta);
  OK(fc_descent_load(e, path, "same", again, &number)); /* none is there */
  assert_true(isnan(number));
  for (int i = 0; i < 3; i++) OK(fc_descent_step(d, theta, UNITS, unit, &j, sums, 1));
  OK(fc_descent_save(d, path, "same", theta, 42.5));
  OK(fc_descent_load(e, path, "same", again, &number));
  assert_true(number == 42.5);
  assert_memory_equal(theta, again, sizeof theta);
  OK(fc_descent_step(d, theta, UNITS, unit, &j, sums, 1));
  OK(fc_descent_step(e, again, UNITS, unit, &k, sums, 1));
  assert_memory_equal(theta, again, sizeof theta);
  assert_int_equal(fc_descent_load(e, path, "another", again, &number), FC_ERR_USAGE);
  snprintf(message, sizeof message,
           "%s was made with another configuration; continue with the same one, or remove it to "
           "start anew",
           path);
  assert_string_equal(fc_err_message(), message);
  unlink(path);
  fc_descent_destroy(&d);
  fc_descent_destroy(&e);
}

static void memory_is_as_told(void **state) {
  (void)state;
  size_t before = fc_mem_current_bytes();
  fc_optimizer_settings o = {.kind = fc_optimizer_find("adamw"), .learning_rate = 1};
  fc_descent *d = NULL;
  enum { MANY = 100000 };
  OK(fc_descent_create(comm, &o, MANY, 2, &d));
  double took = (double)(fc_mem_current_bytes() - before),
         told = (double)fc_descent_bytes(&o, MANY, 1);
  assert_true(fabs(took / told - 1) < 0.01);
  fc_descent_destroy(&d);
  assert_int_equal(fc_mem_current_bytes(), before);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_step_follows_the_mean_of_all_units),
      cmocka_unit_test(threads_do_not_matter),
      cmocka_unit_test(without_weight_nothing_changes),
      cmocka_unit_test(failures_are_told),
      cmocka_unit_test(a_checkpoint_continues),
      cmocka_unit_test(memory_is_as_told),
  };
  /* one process without a launcher: no daemon of its own, no file in a shared session folder */
  setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);
  setenv("OMPI_MCA_sharedfp", "individual", 0);
  MPI_Init(&argc, &argv);
  if (fc_comm_create(&comm) != FC_ERR_OK) return 1;
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  fc_comm_destroy(&comm);
  MPI_Finalize();
  return failed;
}
