/* Errors against recorded trajectories, of a model of which they are known: one that says the mean
 * of what it was trained on, whatever happens, with a variance of 1 beside the floor. */
#include "dynamics_fixture.h"

enum { K = 8, SEEN = 13, OTHERS = 9, S = DEVICES * FC_STATISTICS, D = S + 1 };

typedef struct {
  world w;
  fc_trajectories *t; /* not seen; that of number 2 has an idle round */
  fc_dynamics *d;
} constant;

static int make(void **state) {
  static constant p;
  p.w = small_world("dynamics.epochs=1\ndynamics.variance_floor=0.25\n");
  p.t = world_of(p.w.s, OTHERS, 2, 0.1);
  p.d = train_on(&p.w);
  memset(p.d->theta, 0, p.d->network.count * sizeof *p.d->theta);
  *state = &p;
  return 0;
}

static int drop(void **state) {
  constant *p = *state;
  fc_dynamics_destroy(&p->d);
  fc_trajectories_destroy(&p->t);
  drop_world(&p->w);
  return 0;
}

static double accuracy(const constant *p, int i, int k) {
  return p->t->accuracy[i * (K + 1) + k];
}

/* Standardised values after k rounds. */
static void values(const constant *p, int i, int k, float *v) {
  const size_t at = (size_t)(i * (K + 1) + k);
  fc_encoding_values(&p->d->encoding, p->t->statistics + at * S, p->t->accuracy[at], v);
}

static bool is_idle(const constant *p, int i, int k) {
  return !memchr(p->t->served + (i * K + k) * DEVICES, 1, DEVICES);
}

static void scales(const constant *p, double *sd, double *largest) {
  *largest = 0;
  for (int k = 0; k < K; k++) {
    double mean = 0, squares = 0;
    for (int i = 0; i < OTHERS; i++) mean += p->t->reward[i * K + k] / OTHERS;
    for (int i = 0; i < OTHERS; i++) squares += pow(p->t->reward[i * K + k] - mean, 2) / OTHERS;
    sd[k] = sqrt(squares);
    assert_true(sd[k] > 0.01);
    for (int i = 0; i < OTHERS; i++)
      *largest = fmax(*largest, fabs(p->t->reward[i * K + k] - mean) / sd[k]);
  }
}

/* [TELLM (12)] by how much it errs. */
static double reward_error(const constant *p, int i, int k, double error, const double *sd) {
  const fc_environment_settings *set = fc_scenario_settings(p->w.s);
  const double energy_j = p->t->energy_j[i * K + k] + set->energy_offset_j;
  if (is_idle(p, i, k)) return 0;
  return ((1 - set->sigma) / energy_j + set->sigma) * error / sd[k];
}

static void errors_are_those_of_a_constant(void **state) {
  const constant *p = *state;
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
        double sum = 0, says = accuracy(p, i, first);
        values(p, i, first, now);
        for (int k = first; k < first + h; k++) {
          if (!is_idle(p, i, k)) { /* else all stays as it is */
            says = p->d->encoding.mean[D - 1];
            memset(now, 0, sizeof now);
          }
          const double e = says - accuracy(p, i, k + 1);
          const double wrong = reward_error(p, i, k, e, sd);
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
  assert_true(f[0].accuracy_rmse > 0.01);
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
  const constant *p = *state;
  const int64_t one = 1;
  double none = 1, tv = 0;
  fc_fidelity f;
  assert_ok(fc_dynamics_fidelity(p->d, p->w.s, p->t, &one, 1, &f));
  for (int d = 0; d < D; d++) {
    double n = 0, sum = 0, squares = 0;
    for (int i = 0; i < OTHERS; i++)
      for (int k = 0; k < K; k++) {
        float after[D];
        values(p, i, k + 1, after);
        if (is_idle(p, i, k) || isnan(after[d])) continue;
        const double z = (double)after[d] / sqrt(1.25);
        n++;
        sum += z;
        squares += z * z;
      }
    tv = area(sum / n, sqrt(squares / n - sum / n * sum / n));
    none *= 1 - tv;
  }
  assert_close(f.accuracy_epsilon, tv, 1e-5);
  assert_close(f.epsilon, 1 - none, 1e-5);
  assert_true(f.accuracy_epsilon > 0.01);
}

static void what_was_seen_is_passed_over(void **state) {
  const constant *p = *state;
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
      cmocka_unit_test(errors_are_those_of_a_constant),
      cmocka_unit_test(epsilon_is_the_area_between_gaussians),
      cmocka_unit_test(what_was_seen_is_passed_over),
  };
  return cmocka_run_group_tests(tests, make, drop);
}

int main(int argc, char **argv) {
  return single_rank_main(argc, argv, run);
}
