/* dynamics_fidelity.c - how far the learned dynamics are from recorded trajectories when the same
 * devices are chosen, beside the bound of [TELLM, Theorem 2]. */
#include "dynamics.h"
#include "fedcell/fc_mem.h"
#include <math.h>
#include <string.h>

enum { SIDE_BY_SIDE = 32 };

typedef struct {
  const fc_dynamics *d;
  const fc_scenario *s;
  const fc_trajectories *t;
  int *which, n;              /* the trajectories to look at */
  double *mean, *sd, largest; /* (K) of their rewards; largest normalised one */
  fc_rollout rollout;
  double *statistics, *predicted; /* (SIDE_BY_SIDE, S), (SIDE_BY_SIDE, D) */
  double *accuracy;               /* (SIDE_BY_SIDE) */
  float *values, *real;           /* (D) */
} comparison;

/* ---- total variation ---------------------------------------------------------------------------
 */

static double normal_cdf(double x) {
  return 0.5 * erfc(-x / sqrt(2.0));
}

/* Between N(0,1) and N(b,s^2): the two densities cross where a x^2 + p x + c = 0. */
static double total_variation(double b, double s) {
  if (!(s > 0)) return isnan(s) ? s : 1.0;
  double a = 1 - 1 / (s * s), p = 2 * b / (s * s), c = -b * b / (s * s) - 2 * log(s);
  double q = -0.5 * (p + copysign(sqrt(p * p - 4 * a * c), p));
  if (q == 0) return 0.0;      /* the same */
  double x = q / a, y = c / q; /* a = 0: one of them lies infinitely far out */
  return fabs(normal_cdf(x) - normal_cdf(y) - normal_cdf((x - b) / s) + normal_cdf((y - b) / s));
}

typedef struct {
  double n, sum, squares;
} spread;

/* Errors of one step, in the model's own standard deviations. */
static fc_err add_spreads(const comparison *c, const fc_dynamics_rows *rows, fc_network_work *w,
                          spread *z) {
  int D = w->network->values;
  for (int i = 0; i < c->n; i++) {
    const int64_t *start = rows->start + c->which[i];
    const int64_t own[2] = {0, start[1] - start[0]};
    const float *x = rows->x + start[0] * w->network->features, *y = rows->y + start[0] * D;
    const fc_network_batch batch = {.sequences = 1, .start = own, .x = x};
    FC_TRY(fc_network_run(w, c->d->theta, &batch, NULL, NULL));
    for (int64_t r = 0; r < own[1]; r++)
      for (int d = 0; d < D; d++) {
        if (isnan(y[r * D + d])) continue;
        double e =
            ((double)y[r * D + d] - fc_network_mean(w, r, d)) / sqrt(fc_network_variance(w, r, d));
        z[d] = (spread){z[d].n + 1, z[d].sum + e, z[d].squares + e * e};
      }
  }
  return FC_ERR_OK;
}

static fc_err epsilons(const comparison *c, double *epsilon, double *accuracy_epsilon) {
  int D = c->d->network.values;
  fc_dynamics_rows rows = {0};
  fc_network_work w = {0};
  spread *z = NULL;
  fc_err err = fc_alloc((size_t)D, sizeof *z, &z);
  if (err == FC_ERR_OK) err = fc_dynamics_rows_create(&c->d->encoding, c->t, &rows);
  if (err == FC_ERR_OK)
    err = fc_network_work_create(&c->d->network, c->d->rounds, 1, (int)c->d->rounds, false, &w);
  if (err == FC_ERR_OK) err = add_spreads(c, &rows, &w, z);
  double none = 1; /* of the values differs */
  for (int d = 0; d < D && err == FC_ERR_OK; d++) {
    double b = z[d].n > 0 ? z[d].sum / z[d].n : 0;
    double s = z[d].n > 0 ? sqrt(fmax(z[d].squares / z[d].n - b * b, 0)) : 1;
    *accuracy_epsilon = total_variation(b, s); /* the last one is the accuracy's */
    none *= 1 - *accuracy_epsilon;
  }
  *epsilon = 1 - none;
  fc_network_work_destroy(&w);
  fc_dynamics_rows_destroy(&rows);
  fc_free(z);
  return err;
}

/* ---- rewards ----------------------------------------------------------------------------------
 */

/* Where all rewards of a round are alike, as in the first ones, any error would be a huge multiple
 * of their spread: it counts as at least this share of the widest one. */
static const double LEAST_SPREAD = 0.05;

static void normalise_rewards(comparison *c) {
  int64_t K = c->t->rounds;
  double widest = 0;
  for (int64_t k = 0; k < K; k++) {
    double sum = 0, squares = 0;
    for (int i = 0; i < c->n; i++) sum += c->t->reward[c->which[i] * K + k];
    c->mean[k] = sum / c->n;
    for (int i = 0; i < c->n; i++) {
      double e = c->t->reward[c->which[i] * K + k] - c->mean[k];
      squares += e * e;
    }
    c->sd[k] = sqrt(squares / c->n);
    widest = fmax(widest, c->sd[k]);
  }
  for (int64_t k = 0; k < K; k++) {
    c->sd[k] = widest > 0 ? fmax(c->sd[k], LEAST_SPREAD * widest) : 1.0;
    for (int i = 0; i < c->n; i++)
      c->largest =
          fmax(c->largest, fabs(c->t->reward[c->which[i] * K + k] - c->mean[k]) / c->sd[k]);
  }
}

/* By how much the normalised reward of a recorded round changes with the accuracy predicted. */
static double reward_error(const comparison *c, int i, int64_t k, double accuracy) {
  int64_t at = i * c->t->rounds + k;
  int N = c->t->devices;
  fc_service service = {.energy_j = c->t->energy_j[at], .time_s = c->t->time_s[at]};
  for (int n = 0; n < N; n++) {
    service.selected += c->t->selected[at * N + n];
    service.served += c->t->served[at * N + n];
  }
  double reward = fc_scenario_outcome(c->s, &service, accuracy).reward;
  return (reward - c->t->reward[at]) / c->sd[k];
}

/* ---- running freely ---------------------------------------------------------------------------
 */

typedef struct {
  double steps, accuracy, values, statistics, rewards, windows, returns; /* sums */
} errors;

/* Steps of one trajectory that begin at round first + 1. */
typedef struct {
  int trajectory;
  int64_t first;
  double error; /* of the return so far */
} window;

static const uint8_t *served(const comparison *c, int i, int64_t k) {
  return c->t->served + (i * c->t->rounds + k) * c->t->devices;
}

static bool is_idle(const comparison *c, int i, int64_t k) {
  return !memchr(served(c, i, k), 1, (size_t)c->t->devices);
}

/* The recorded state after k rounds. */
static const double *recorded(const comparison *c, int i, int64_t k, double *accuracy) {
  int64_t at = i * (c->t->rounds + 1) + k;
  *accuracy = c->t->accuracy[at];
  return c->t->statistics + at * FC_STATISTICS * c->t->devices;
}

static void push(comparison *c, int slot, const double *statistics, double accuracy,
                 const uint8_t *select) {
  fc_encoding_values(&c->d->encoding, statistics, accuracy, c->values);
  fc_rollout_push(&c->rollout, slot, c->values, select);
}

/* The real history of a window, and the state that it begins in. */
static void begin(comparison *c, int slot, const window *w) {
  size_t S = (size_t)(FC_STATISTICS * c->t->devices);
  double accuracy = 0;
  c->rollout.length[slot] = 0;
  for (int64_t k = 0; k < w->first; k++) {
    if (is_idle(c, w->trajectory, k)) continue;
    const double *statistics = recorded(c, w->trajectory, k, &accuracy);
    push(c, slot, statistics, accuracy, served(c, w->trajectory, k));
  }
  memcpy(c->statistics + (size_t)slot * S, recorded(c, w->trajectory, w->first, &c->accuracy[slot]),
         S * sizeof(double));
}

/* Devices that do not take part have no such statistics. */
static void forget_others(const comparison *c, double *statistics, const uint8_t *select) {
  for (int d = 0; d < FC_STATISTICS * c->t->devices; d++)
    if (d % FC_STATISTICS > 0 && !(select && select[d / FC_STATISTICS])) statistics[d] = NAN;
}

static void compare(comparison *c, int slot, window *w, int64_t k, errors *sum) {
  int D = c->d->network.values;
  double accuracy = 0;
  const double *real = recorded(c, w->trajectory, k + 1, &accuracy);
  const double *statistics = c->statistics + (size_t)slot * (size_t)(D - 1);
  fc_encoding_values(&c->d->encoding, statistics, c->accuracy[slot], c->values);
  fc_encoding_values(&c->d->encoding, real, accuracy, c->real);
  for (int d = 0; d < D - 1; d++) {
    if (isnan(c->real[d])) continue;
    double e = (double)c->values[d] - (double)c->real[d];
    sum->statistics += e * e;
    sum->values++;
  }
  double reward = reward_error(c, w->trajectory, k, c->accuracy[slot]);
  sum->accuracy += (c->accuracy[slot] - accuracy) * (c->accuracy[slot] - accuracy);
  sum->rewards += fabs(reward);
  sum->steps++;
  w->error += reward;
}

/* One round of n windows, `step` rounds after their begin. */
static fc_err step_windows(comparison *c, window *w, int n, int64_t step, errors *sum) {
  int D = c->d->network.values, moving[SIDE_BY_SIDE] = {0}, m = 0;
  for (int i = 0; i < n; i++) {
    double *statistics = c->statistics + (size_t)i * (size_t)(D - 1);
    int64_t k = w[i].first + step;
    if (is_idle(c, w[i].trajectory, k)) {
      forget_others(c, statistics, NULL);
    } else {
      push(c, i, statistics, c->accuracy[i], served(c, w[i].trajectory, k));
      moving[m++] = i;
    }
  }
  FC_TRY(fc_rollout_predict(&c->rollout, moving, m, c->predicted, NULL));
  for (int j = 0; j < m; j++) {
    int i = moving[j];
    double *statistics = c->statistics + (size_t)i * (size_t)(D - 1);
    fc_encoding_decode(&c->d->encoding, c->predicted + (size_t)j * (size_t)D, statistics,
                       &c->accuracy[i]);
    forget_others(c, statistics, served(c, w[i].trajectory, w[i].first + step));
  }
  for (int i = 0; i < n; i++) compare(c, i, &w[i], w[i].first + step, sum);
  return FC_ERR_OK;
}

static fc_err run_windows(comparison *c, window *w, int n, int64_t horizon, errors *sum) {
  for (int i = 0; i < n; i++) begin(c, i, &w[i]);
  for (int64_t step = 0; step < horizon; step++) FC_TRY(step_windows(c, w, n, step, sum));
  for (int i = 0; i < n; i++) sum->returns += fabs(w[i].error);
  sum->windows += n;
  return FC_ERR_OK;
}

/* Windows follow each other, so that every round counts once; what is left at the end does not. */
static fc_err run_horizon(comparison *c, int64_t horizon, errors *sum) {
  window w[SIDE_BY_SIDE];
  int n = 0;
  for (int i = 0; i < c->n; i++)
    for (int64_t first = 0; first + horizon <= c->t->rounds; first += horizon) {
      w[n++] = (window){.trajectory = c->which[i], .first = first};
      if (n < SIDE_BY_SIDE) continue;
      FC_TRY(run_windows(c, w, n, horizon, sum));
      n = 0;
    }
  return n > 0 ? run_windows(c, w, n, horizon, sum) : FC_ERR_OK;
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static bool is_seen(const fc_dynamics *d, const fc_episode *e) {
  for (int i = 0; i < d->n_seen; i++)
    if (d->seen[i].seed == e->seed && d->seen[i].id == e->id) return true;
  return false;
}

static fc_err create(comparison *c) {
  size_t D = (size_t)c->d->network.values, K = (size_t)c->t->rounds, n = SIDE_BY_SIDE;
  FC_TRY(fc_alloc((size_t)c->t->n, sizeof *c->which, &c->which));
  for (int i = 0; i < c->t->n; i++)
    if (!is_seen(c->d, &c->t->episode[i])) c->which[c->n++] = i;
  FC_CHECK(c->n > 0, DATA, "none of the %d trajectories was held out of the dynamics' training",
           c->t->n);
  FC_TRY(fc_alloc(K, sizeof *c->mean, &c->mean));
  FC_TRY(fc_alloc(K, sizeof *c->sd, &c->sd));
  FC_TRY(fc_alloc(n * (D - 1), sizeof *c->statistics, &c->statistics));
  FC_TRY(fc_alloc(n * D, sizeof *c->predicted, &c->predicted));
  FC_TRY(fc_alloc(n, sizeof *c->accuracy, &c->accuracy));
  FC_TRY(fc_alloc(D, sizeof *c->values, &c->values));
  FC_TRY(fc_alloc(D, sizeof *c->real, &c->real));
  return fc_rollout_create(c->d, SIDE_BY_SIDE, &c->rollout);
}

static void destroy(comparison *c) {
  fc_rollout_destroy(&c->rollout);
  fc_free(c->which);
  fc_free(c->mean);
  fc_free(c->sd);
  fc_free(c->statistics);
  fc_free(c->predicted);
  fc_free(c->accuracy);
  fc_free(c->values);
  fc_free(c->real);
}

static fc_err measure(comparison *c, const int64_t *horizon, int n, fc_fidelity *fidelity) {
  double epsilon = 0, accuracy_epsilon = 0;
  normalise_rewards(c);
  FC_TRY(epsilons(c, &epsilon, &accuracy_epsilon));
  for (int i = 0; i < n; i++) {
    double h = (double)horizon[i];
    errors sum = {0};
    FC_CHECK(horizon[i] >= 1 && horizon[i] <= c->t->rounds, USAGE,
             "a horizon of %lld rounds, allowed is 1 to %lld", (long long)horizon[i],
             (long long)c->t->rounds);
    FC_TRY(run_horizon(c, horizon[i], &sum));
    fidelity[i] = (fc_fidelity){.horizon = horizon[i],
                                .accuracy_rmse = sqrt(sum.accuracy / sum.steps),
                                .statistics_rmse = sqrt(sum.statistics / sum.values),
                                .reward_mae = sum.rewards / sum.steps,
                                .return_mae = sum.returns / sum.windows,
                                .bound = (h * h - h) * c->largest * epsilon,
                                .epsilon = epsilon,
                                .accuracy_epsilon = accuracy_epsilon,
                                .vacuous = (h - 1) * epsilon >= 2};
  }
  return FC_ERR_OK;
}

fc_err fc_dynamics_fidelity(const fc_dynamics *d, const fc_scenario *s, const fc_trajectories *t,
                            const int64_t *horizon, int n, fc_fidelity *fidelity) {
  comparison c = {.d = d, .s = s, .t = t};
  FC_TRY(fc_dynamics_check(d, s));
  FC_CHECK(t->devices == d->encoding.devices && t->rounds <= d->rounds, DATA,
           "trajectories of %d devices and %lld rounds, the dynamics are of %d and %lld",
           t->devices, (long long)t->rounds, d->encoding.devices, (long long)d->rounds);
  fc_err err = create(&c);
  if (err == FC_ERR_OK) err = measure(&c, horizon, n, fidelity);
  destroy(&c);
  return err;
}
