/* The network of the dynamics: its loss is what it says, its gradient that of the loss, and what it
 * says of a round depends on what came before alone. */
#include "environment_fixture.h"
#include "fedcell/fc_rng.h"

#include "dynamics.h"

enum { N = 3, D = FC_STATISTICS * N + 1, F = D + 3 * N, ROWS = 9 };
static const int64_t start[] = {0, 5, 9};
static const double FLOOR = 1e-2;

typedef struct {
  fc_network network;
  fc_network_work work;
  float *theta, *gradient;
  float x[ROWS * F], y[ROWS * D];
  fc_network_batch batch;
} network;

static void fill(float *x, size_t n, double scale, uint64_t stream) {
  fc_rng rng = fc_rng_open(5, FC_RNG_TEST, 0, stream);
  for (size_t i = 0; i < n; i++) x[i] = (float)(scale * fc_rng_normal(&rng));
}

static int make(void **state) {
  static network n;
  const fc_dynamics_settings set = {.layers = 2, .width = 8, .heads = 2};
  const fc_model_shape shape = fc_network_shape(&set, 6);
  assert_ok(fc_network_create(&shape, N, FLOOR, &n.network));
  assert_ok(fc_network_work_create(&n.network, ROWS, 2, 6, true, &n.work));
  assert_ok(fc_alloc(n.network.count, sizeof(float), &n.theta));
  assert_ok(fc_alloc(n.network.count, sizeof(float), &n.gradient));
  fill(n.theta, n.network.count, 0.3, 1);
  fill(n.x, ROWS * F, 1, 2);
  fill(n.y, ROWS * D, 1, 3);
  /* a device that did not take part in three rounds */
  for (int r = 0; r < 3; r++)
    for (int k = 1; k < FC_STATISTICS; k++) n.y[r * D + FC_STATISTICS + k] = NAN;
  n.batch = (fc_network_batch){.sequences = 2, .start = start, .x = n.x, .y = n.y};
  *state = &n;
  return 0;
}

static int drop(void **state) {
  network *n = *state;
  fc_network_work_destroy(&n->work);
  fc_network_destroy(&n->network);
  fc_free(n->theta);
  fc_free(n->gradient);
  return 0;
}

/* What comes out with these weights. */
static void outputs(network *n, const float *theta, double *mean, double *variance) {
  fc_network_batch batch = n->batch;
  batch.y = NULL;
  assert_ok(fc_network_run(&n->work, theta, &batch, NULL, NULL));
  for (int i = 0; i < ROWS * D; i++) {
    mean[i] = fc_network_mean(&n->work, i / D, i % D);
    variance[i] = fc_network_variance(&n->work, i / D, i % D);
  }
}

/* The sum over rows, written down anew; `at`: the means that the likelihood takes. */
static double loss_of(const network *n, const double *mean, const double *variance,
                      const double *at, fc_network_loss *parts) {
  *parts = (fc_network_loss){.rows = ROWS};
  for (int r = 0; r < ROWS; r++) {
    double square = 0, likelihood = 0, known = 0;
    for (int d = 0; d < D; d++) {
      const int i = r * D + d;
      if (isnan(n->y[i])) continue;
      const double e = (double)n->y[i] - mean[i], f = (double)n->y[i] - at[i];
      const double nll = 0.5 * log(variance[i]) + f * f / (2 * variance[i]);
      if (d == D - 1) {
        parts->accuracy_mse += e * e;
        parts->nll += nll;
      } else {
        square += e * e;
        likelihood += nll;
        known++;
      }
    }
    parts->statistics_mse += square / known;
    parts->nll += likelihood / known;
  }
  return parts->statistics_mse + parts->accuracy_mse + parts->nll;
}

static void loss_is_squared_errors_and_likelihood(void **state) {
  network *n = *state;
  double mean[ROWS * D], variance[ROWS * D];
  fc_network_loss expected, loss = {0};
  outputs(n, n->theta, mean, variance);
  loss_of(n, mean, variance, mean, &expected);
  assert_ok(fc_network_run(&n->work, n->theta, &n->batch, NULL, &loss));
  assert_int_equal(loss.rows, ROWS);
  assert_relative(loss.statistics_mse, expected.statistics_mse, 1e-12);
  assert_relative(loss.accuracy_mse, expected.accuracy_mse, 1e-12);
  assert_relative(loss.nll, expected.nll, 1e-12);
}

static void gradient_is_that_of_the_loss(void **state) {
  network *n = *state;
  double mean[ROWS * D], at[ROWS * D], variance[ROWS * D], ignored[ROWS * D], largest = 0;
  fc_network_loss parts;
  float *theta = n->theta;
  fc_rng rng = fc_rng_open(6, FC_RNG_TEST, 0, 0);
  const size_t ends[] = {0, n->network.linear1, n->network.linear2, n->network.count};
  outputs(n, theta, at, ignored);
  memset(n->gradient, 0, n->network.count * sizeof(float));
  assert_ok(fc_network_run(&n->work, theta, &n->batch, n->gradient, NULL));
  for (int part = 0; part < 3; part++)
    for (int i = 0; i < 60; i++) {
      const size_t w = ends[part] + fc_rng_below(&rng, ends[part + 1] - ends[part]);
      const float was = theta[w];
      double up, down;
      const double h = 2e-3;
      theta[w] = was + (float)h;
      outputs(n, theta, mean, variance);
      up = loss_of(n, mean, variance, at, &parts);
      theta[w] = was - (float)h;
      outputs(n, theta, mean, variance);
      down = loss_of(n, mean, variance, at, &parts);
      theta[w] = was;
      assert_close((double)n->gradient[w], (up - down) / (2 * h),
                   2e-3 + 2e-3 * fabs((double)n->gradient[w]));
      largest = fmax(largest, fabs((double)n->gradient[w]));
    }
  assert_true(largest > 1);
}

static void the_future_does_not_matter(void **state) {
  network *n = *state;
  double mean[ROWS * D], variance[ROWS * D], mean2[ROWS * D], variance2[ROWS * D];
  const float was = n->x[3 * F + 2];
  outputs(n, n->theta, mean, variance);
  n->x[3 * F + 2] += 1;
  outputs(n, n->theta, mean2, variance2);
  n->x[3 * F + 2] = was;
  assert_memory_equal(mean, mean2, 3 * D * sizeof *mean);
  assert_memory_equal(variance, variance2, 3 * D * sizeof *mean);
  assert_memory_equal(mean + 5 * D, mean2 + 5 * D, 4 * D * sizeof *mean); /* another sequence */
  for (int d = 0; d < D; d++) assert_true(variance[4 * D + d] != variance2[4 * D + d]);
}

static void dropout_is_for_training_alone(void **state) {
  network *n = *state;
  fc_network_loss plain = {0}, measured = {0}, trained = {0};
  fc_network_batch batch = n->batch;
  assert_ok(fc_network_run(&n->work, n->theta, &batch, NULL, &plain));
  batch.dropout = 0.5;
  batch.rng = fc_rng_open(7, FC_RNG_DROPOUT, 0, 0);
  assert_ok(fc_network_run(&n->work, n->theta, &batch, NULL, &measured));
  assert_ok(fc_network_run(&n->work, n->theta, &batch, n->gradient, &trained));
  assert_true(measured.statistics_mse == plain.statistics_mse);
  assert_true(fabs(trained.statistics_mse - plain.statistics_mse) > 1e-3);
}

static void nan_is_told(void **state) {
  network *n = *state;
  const float was = n->theta[n->network.linear1];
  n->theta[n->network.linear1] = NAN;
  assert_int_equal(fc_network_run(&n->work, n->theta, &n->batch, NULL, NULL), FC_ERR_NUMERIC);
  n->theta[n->network.linear1] = was;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(loss_is_squared_errors_and_likelihood),
      cmocka_unit_test(gradient_is_that_of_the_loss),
      cmocka_unit_test(the_future_does_not_matter),
      cmocka_unit_test(dropout_is_for_training_alone),
      cmocka_unit_test(nan_is_told),
  };
  return cmocka_run_group_tests(tests, make, drop);
}
