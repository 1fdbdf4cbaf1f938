/* Errors against recorded trajectories, of a model of which they are known: one that says that all
 * stays as it is, with a variance of 1 beside the floor. */
#include "dynamics_fixture.h"

enum { K = 8, SEEN = 13, OTHERS = 9, S = DEVICES * FC_STATISTICS, D = S + 1 };

typedef struct {
  world w;
  fc_trajectories *t; /* not seen; that of number 2 has an idle round */
  fc_dynamics *d;
} persistence;

static int make(void **state) {
  static persistence p;
  p.w = small_world("dynamics.epochs=1\ndynamics.variance_floor=0.25\n");
  p.t = world_of(p.w.s, OTHERS, 2, 0.1);
  p.d = train_on(&p.w);
  memset(p.d->theta, 0, p.d->network.count * sizeof *p.d->theta);
  *state = &p;
  return 0;
}

static int drop(void **state) {
  persistence *p = *state;
  fc_dynamics_destroy(&p->d);
  fc_trajectories_destroy(&p->t);
  drop_world(&p->w);
  return 0;
}

static double accuracy(const persistence *p, int i, int k) {
  return p->t->accuracy[i * (K + 1) + k];
}

/* Standardised values after k rounds. */
static void values(const persistence *p, int i, int k, float *v) {
  const size_t at = (size_t)(i * (K + 1) + k);
  fc_encoding_values(&p->d->encoding, p->t->statistics + at * S, p->t->accuracy[at], v);
}

/* What the model says after round k (from 0) of what is `now`: the same where it is known and the
 * mean else, for those that take part. */
static void carry_over(const persistence *p, int i, int k, float *now) {
  const uint8_t *served = p->t->served + (i * K + k) * DEVICES;
  for (int d = 0; d < S; d++)
    if (d % FC_STATISTICS > 0)
      now[d] = !served[d / FC_STATISTICS] ? NAN : isnan(now[d]) ? 0.0F : now[d];
}

static void scales(const persistence *p, double *sd, double *largest) {
  *largest = 0;
  for (int k = 0; k < K; k++) {
    double mean = 0, squares = 0;
    for (int i = 0; i < OTHERS; i++) mean += p->t->reward[i * K + k] / OTHERS;
    for (int i = 0; i < OTHERS; i++) squares += pow(p->t->reward[i * K + k] - mean, 2) / OTHERS;
    sd[k] = sqrt(squares);
    for (int i = 0; i < OTHERS; i++)
      *largest = fmax(*largest, fabs(p->t->reward[i * K + k] - mean) / sd[k]);
  }
}

/* [TELLM (12)] by how much it errs. */
static double reward_error(const persistence *p, int i, int k, double error, const double *sd) {
  const fc_environment_settings *set = fc_scenario_settings(p->w.s);
  const double energy_j = p->t->energy_j[i * K + k] + set->energy_offset_j;
  if (!memchr(p->t->served + (i * K + k) * DEVICES, 1, DEVICES)) return 0; /* idle */
  return ((1 - set->sigma) / energy_j + set->sigma) * error / sd[k];
}

static void errors_are_those_of_persistence(void **state) {
  const persistence *p = *state;
  const int64_t horizon[] = {1, 3, K};
  double sd[K], largest;
  fc_fidelity f[3];
  scales(p, sd, &largest);
  assert_ok(fc_dynamics_fidelity(p->d, p->w.s, p->t, horizon, 3, f));
  for (int j = 0; j < 3; j++) {
    const int h = (int)horizon[j];
    double a = 0, s = 0, r = 0, returns = 0, steps = 0, windows = 0, known = 0;
    for (int i = 0; i < OTHERS; i++)
      for (int first = 0; first + h <= K; first += h) {
        float now[D], real[D];
        double sum = 0;
        values(p, i, first, now);
        for (int k = first; k < first + h; k++) {
          const double e = accuracy(p, i, first) - accuracy(p, i, k + 1);
          const double wrong = reward_error(p, i, k, e, sd);
          carry_over(p, i, k, now);
          values(p, i, k + 1, real);
          for (int d = 0; d < S; d++)
            if (!isnan(real[d])) {
              s += pow((double)now[d] - (double)real[d], 2);
              known++;
            }
          a += e * e;
          r += fabs(wrong);
          sum += wrong;
          steps++;
        }
        returns += fabs(sum);
        windows++;
      }
    assert_int_equal(f[j].horizon, h);
    assert_relative(f[j].accuracy_rmse, sqrt(a / steps), 1e-5);
    assert_relative(f[j].statistics_rmse, sqrt(s / known), 1e-5);
    assert_relative(f[j].reward_mae, r / steps, 1e-5);
    assert_relative(f[j].return_mae, returns / windows, 1e-5);
    assert_relative(f[j].bound, (double)(h * h - h) * largest * f[j].epsilon, 1e-12);
    assert_int_equal(f[j].vacuous, (h - 1) * f[j].epsilon >= 2);
  }
  assert_true(f[0].accuracy_rmse > 0.01 && f[2].accuracy_rmse > 2 * f[0].accuracy_rmse);
  assert_false(f[0].vacuous);
}

/* Half the area between N(0,1) and N(b,s^2), summed up. */
static double area(double b, double s) {
  double sum = 0;
  const double h = 1e-3;
  for (double x = -40; x < 40; x += h)
    sum += fabs(exp(-x * x / 2) - exp(-(x - b) * (x - b) / (2 * s * s)) / s);
  return 0.5 * sum * h / sqrt(2 * 3.14159265358979323846);
}

static void epsilon_is_the_area_between_gaussians(void **state) {
  const persistence *p = *state;
  const int64_t one = 1;
  double none = 1, tv = 0;
  fc_fidelity f;
  assert_ok(fc_dynamics_fidelity(p->d, p->w.s, p->t, &one, 1, &f));
  for (int d = 0; d < D; d++) {
    double n = 0, sum = 0, squares = 0;
    for (int i = 0; i < OTHERS; i++)
      for (int k = 0; k < K; k++) {
        float before[D], after[D];
        if (!memchr(p->t->served + (i * K + k) * DEVICES, 1, DEVICES)) continue;
        values(p, i, k, before);
        values(p, i, k + 1, after);
        if (isnan(after[d])) continue;
        const double was = isnan(before[d]) ? 0 : (double)before[d];
        const double z = ((double)after[d] - was) / sqrt(1.25);
        n++;
        sum += z;
        squares += z * z;
      }
    tv = area(sum / n, sqrt(squares / n - sum / n * sum / n));
    none *= 1 - tv;
  }
  assert_close(f.accuracy_epsilon, tv, 1e-5);
  assert_close(f.epsilon, 1 - none, 1e-5);
  assert_true(f.accuracy_epsilon > 0.05);
}

static void what_was_seen_is_passed_over(void **state) {
  const persistence *p = *state;
  const int64_t one = 1;
  fc_fidelity f, g;
  assert_ok(fc_dynamics_fidelity(p->d, p->w.s, p->t, &one, 1, &f));
  const fc_episode was = p->t->episode[4];
  p->t->episode[4] = p->d->seen[0];
  assert_ok(fc_dynamics_fidelity(p->d, p->w.s, p->t, &one, 1, &g));
  p->t->episode[4] = was;
  assert_true(f.accuracy_rmse != g.accuracy_rmse);
  p->t->n = 4;
  assert_ok(fc_dynamics_fidelity(p->d, p->w.s, p->t, &one, 1, &f));
  p->t->n = OTHERS;
  for (int i = 4; i < OTHERS; i++) p->t->episode[i] = p->d->seen[0];
  assert_ok(fc_dynamics_fidelity(p->d, p->w.s, p->t, &one, 1, &g));
  assert_true(f.accuracy_rmse == g.accuracy_rmse && f.epsilon == g.epsilon);
}

static int run(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(errors_are_those_of_persistence),
      cmocka_unit_test(epsilon_is_the_area_between_gaussians),
      cmocka_unit_test(what_was_seen_is_passed_over),
  };
  return cmocka_run_group_tests(tests, make, drop);
}

int main(int argc, char **argv) {
  return single_rank_main(argc, argv, run);
}
