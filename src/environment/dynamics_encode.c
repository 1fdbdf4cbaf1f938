/* dynamics_encode.c - statistics and accuracies as the standardised numbers that the network sees.
 * Losses span decades and inner products of gradients have long tails: each statistic has a
 * transformation of its own, and so has the range that a prediction may have. */
#include "dynamics.h"
#include "fedcell/fc_mem.h"
#include <math.h>
#include <string.h>

static double as_it_is(double x) {
  return x;
}

enum { PER_NAT = 1000 }; /* losses below 1/1000 nat are all alike */

static double to_log(double x) {
  return log1p(PER_NAT * x);
}

static double from_log(double z) {
  return expm1(z) / PER_NAT;
}

/* In the order of fc_trajectories' statistics; the accuracy last. */
static const struct {
  size_t offset; /* of a double * in fc_fl_state */
  double (*to)(double), (*from)(double);
  double low, high;
} KINDS[FC_STATISTICS + 1] = {
    {offsetof(fc_fl_state, loss), to_log, from_log, 0, INFINITY},
    {offsetof(fc_fl_state, local_loss), to_log, from_log, 0, INFINITY},
    {offsetof(fc_fl_state, alignment), asinh, sinh, -INFINITY, INFINITY},
    {offsetof(fc_fl_state, same_sign), as_it_is, as_it_is, 0, 1},
    {0, as_it_is, as_it_is, 0, 1},
};
enum { LOSS = 0, LOCAL_LOSS = 1, ACCURACY = FC_STATISTICS };

static double *column(const fc_fl_state *s, int kind) {
  double *values = NULL;
  memcpy(&values, (const char *)s + KINDS[kind].offset, sizeof values);
  return values;
}

/* mean and scale (n) of x (rows, n), NAN left out; scale 1 for what does not vary. */
static void moments(const double *x, size_t rows, int n, double *mean, double *scale) {
  for (int d = 0; d < n; d++) {
    double sum = 0, squares = 0, count = 0;
    for (size_t r = 0; r < rows; r++)
      if (!isnan(x[r * (size_t)n + (size_t)d])) {
        sum += x[r * (size_t)n + (size_t)d];
        count++;
      }
    mean[d] = count > 0 ? sum / count : 0.0;
    for (size_t r = 0; r < rows; r++)
      if (!isnan(x[r * (size_t)n + (size_t)d])) {
        double e = x[r * (size_t)n + (size_t)d] - mean[d];
        squares += e * e;
      }
    double sd = count > 0 ? sqrt(squares / count) : 0.0;
    scale[d] = sd > 1e-9 * (1 + fabs(mean[d])) ? sd : 1.0;
  }
}

fc_err fc_encoding_create(const fc_scenario *s, fc_encoding *e) {
  int N = fc_scenario_settings(s)->devices, D = fc_value_count(N);
  *e = (fc_encoding){.devices = N};
  fc_err err = fc_alloc((size_t)D, sizeof *e->mean, &e->mean);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)D, sizeof *e->scale, &e->scale);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)N, sizeof *e->log_samples, &e->log_samples);
  if (err != FC_ERR_OK) {
    fc_encoding_destroy(e);
    return err;
  }
  for (int d = 0; d < D; d++) e->scale[d] = 1.0;
  for (int n = 0; n < N; n++) e->log_samples[n] = log(fc_scenario_samples(s)[n]);
  double mean = 0, sd = 1;
  moments(e->log_samples, (size_t)N, 1, &mean, &sd);
  for (int n = 0; n < N; n++) e->log_samples[n] = (e->log_samples[n] - mean) / sd;
  return FC_ERR_OK;
}

void fc_encoding_destroy(fc_encoding *e) {
  fc_free(e->mean);
  fc_free(e->scale);
  fc_free(e->log_samples);
  *e = (fc_encoding){0};
}

static int kind_of(const fc_encoding *e, int d) {
  return d == FC_STATISTICS * e->devices ? ACCURACY : d % FC_STATISTICS;
}

fc_err fc_encoding_fit(fc_encoding *e, const fc_trajectories *t, const uint32_t *which, size_t n) {
  size_t D = (size_t)fc_value_count(e->devices), S = D - 1, steps = (size_t)t->rounds + 1;
  double *x = NULL;
  FC_TRY(fc_alloc(n * steps * D, sizeof *x, &x));
  for (size_t r = 0; r < n * steps; r++) {
    size_t from = which[r / steps] * steps + r % steps;
    double *row = x + r * D;
    memcpy(row, t->statistics + from * S, S * sizeof *row);
    row[S] = t->accuracy[from];
    for (size_t d = 0; d < D; d++) row[d] = KINDS[kind_of(e, (int)d)].to(row[d]);
  }
  moments(x, n * steps, (int)D, e->mean, e->scale);
  fc_free(x);
  return FC_ERR_OK;
}

void fc_encoding_values(const fc_encoding *e, const double *statistics, double accuracy,
                        float *values) {
  int D = fc_value_count(e->devices);
  for (int d = 0; d < D; d++) {
    double x = d < D - 1 ? statistics[d] : accuracy;
    values[d] = (float)((KINDS[kind_of(e, d)].to(x) - e->mean[d]) / e->scale[d]);
  }
}

void fc_encoding_features(const fc_encoding *e, const float *values, const uint8_t *select,
                          float *features) {
  int N = e->devices, D = fc_value_count(N);
  for (int d = 0; d < D; d++) features[d] = isnan(values[d]) ? 0.0F : values[d];
  float *before = features + D, *now = before + N, *samples = now + N;
  for (int n = 0; n < N; n++) {
    before[n] = !isnan(values[n * FC_STATISTICS + LOCAL_LOSS]);
    now[n] = select[n];
    samples[n] = (float)e->log_samples[n];
  }
}

/* A model that is wrong must not run away: no prediction is further out, in standard deviations. */
enum { FAR = 10 };

void fc_encoding_decode(const fc_encoding *e, const double *values, double *statistics,
                        double *accuracy) {
  int D = fc_value_count(e->devices);
  for (int d = 0; d < D; d++) {
    int k = kind_of(e, d);
    double z = fmin(fmax(values[d], -FAR), FAR);
    double x = KINDS[k].from(e->mean[d] + e->scale[d] * z);
    x = fmin(fmax(x, KINDS[k].low), KINDS[k].high);
    *(d < D - 1 ? &statistics[d] : accuracy) = x;
  }
}

void fc_statistics_of_state(const fc_fl_state *state, double *statistics) {
  for (int d = 0; d < FC_STATISTICS * state->devices; d++)
    statistics[d] = column(state, d % FC_STATISTICS)[d / FC_STATISTICS];
}

void fc_statistics_to_state(const double *statistics, const uint8_t *select, fc_fl_state *state) {
  fc_fl_state_no_participants(state);
  for (int d = 0; d < FC_STATISTICS * state->devices; d++) {
    int kind = d % FC_STATISTICS, device = d / FC_STATISTICS;
    if (kind == LOSS || select[device]) column(state, kind)[device] = statistics[d];
  }
}

/* ---- rows of trajectories ---------------------------------------------------------------------
 */

static bool anybody(const uint8_t *served, int N) {
  return memchr(served, 1, (size_t)N) != NULL;
}

static fc_err check_known(const fc_trajectories *t, size_t step) {
  size_t steps = (size_t)t->rounds + 1, S = (size_t)(FC_STATISTICS * t->devices);
  bool ok = isfinite(t->accuracy[step]);
  for (size_t d = 0; d < S; d += FC_STATISTICS) ok = ok && isfinite(t->statistics[step * S + d]);
  FC_CHECK(ok, DATA,
           "trajectory %zu: the accuracy or a device's loss before round %zu is not known",
           step / steps, step % steps + 1);
  return FC_ERR_OK;
}

static fc_err fill_rows(const fc_encoding *e, const fc_trajectories *t, int i,
                        fc_dynamics_rows *out) {
  size_t N = (size_t)t->devices, S = FC_STATISTICS * N, D = S + 1;
  size_t F = (size_t)fc_feature_count(t->devices), r = (size_t)out->start[i];
  size_t state = (size_t)i * (size_t)(t->rounds + 1);
  const uint8_t *served = t->served + (size_t)(i * t->rounds) * N;
  FC_TRY(check_known(t, state));
  for (int64_t round = 1; round <= t->rounds; round++, served += N, state++) {
    FC_TRY(check_known(t, state + 1));
    if (!anybody(served, t->devices)) continue;
    /* the row's place in y takes the values before the round first */
    float *y = out->y + r * D;
    fc_encoding_values(e, t->statistics + state * S, t->accuracy[state], y);
    fc_encoding_features(e, y, served, out->x + r * F);
    fc_encoding_values(e, t->statistics + (state + 1) * S, t->accuracy[state + 1], y);
    out->round[r++] = (int32_t)round;
  }
  out->start[i + 1] = (int64_t)r;
  return FC_ERR_OK;
}

fc_err fc_dynamics_rows_create(const fc_encoding *e, const fc_trajectories *t,
                               fc_dynamics_rows *out) {
  size_t most = (size_t)(t->n * t->rounds);
  size_t D = (size_t)fc_value_count(t->devices), F = (size_t)fc_feature_count(t->devices);
  *out = (fc_dynamics_rows){.n = t->n};
  fc_err err = fc_alloc((size_t)t->n + 1, sizeof *out->start, &out->start);
  if (err == FC_ERR_OK) err = fc_alloc(most * F, sizeof *out->x, &out->x);
  if (err == FC_ERR_OK) err = fc_alloc(most * D, sizeof *out->y, &out->y);
  if (err == FC_ERR_OK) err = fc_alloc(most, sizeof *out->round, &out->round);
  for (int i = 0; i < t->n && err == FC_ERR_OK; i++) err = fill_rows(e, t, i, out);
  if (err != FC_ERR_OK) fc_dynamics_rows_destroy(out);
  return err;
}

void fc_dynamics_rows_destroy(fc_dynamics_rows *rows) {
  fc_free(rows->start);
  fc_free(rows->x);
  fc_free(rows->y);
  fc_free(rows->round);
  *rows = (fc_dynamics_rows){0};
}
