/* The transmit power: global minimum against dense search on problems with several local minima,
 * infimum at no power, ends of the range. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "fedcell/fc_rng.h"
#include "fedcell/fc_solver.h"
#include <math.h>

enum { MODULES = 4 };
static double selected[MODULES], share[MODULES], bound[MODULES];

static fc_power_problem problem_of(uint64_t seed) {
  fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 0, 0);
  for (int n = 0; n < MODULES; n++) {
    selected[n] = fc_rng_below(&rng, 3) == 0 ? 0.3 : (double)fc_rng_below(&rng, 2);
    share[n] = pow(10, -6 + 5 * fc_rng_uniform(&rng));
    bound[n] = 4 * fc_rng_uniform(&rng);
  }
  return (fc_power_problem){.rows = {MODULES, 0},
                            .selected = selected,
                            .share = share,
                            .previous_bound = bound,
                            .max_power_w = 0.2,
                            .delay_s = 0.05,
                            .mu = pow(10, -1 + 4 * fc_rng_uniform(&rng)),
                            .xi = 0.5,
                            .eps = 1,
                            .zeta1 = 1,
                            .zeta2 = 1e-3,
                            .bandwidth_hz = 1e9,
                            .noise_psd_w_per_hz = 6.3e-19,
                            .threshold = 1,
                            .distance_m = 100,
                            .pathloss_exponent = 3.8,
                            .density_per_m2 = 1e-6,
                            .interferer_power_w = (double)NAN,
                            .formulas = (int)(seed % 2)};
}

/* [SW (14)], as the page has it, at any P. */
static double objective(const fc_power_problem *p, double P) {
  double Q = 0;
  bool printed = p->formulas == FC_FORMULAS_PRINTED;
  for (int n = 0; n < p->rows.n; n++) {
    fc_success_problem with = {{0, 0},
                               p->share[n],
                               p->bandwidth_hz,
                               p->noise_psd_w_per_hz,
                               p->threshold,
                               p->distance_m,
                               P,
                               p->pathloss_exponent,
                               p->density_per_m2,
                               isnan(p->interferer_power_w) ? p->max_power_w
                                                            : p->interferer_power_w,
                               p->formulas,
                               p->table};
    fc_success_solution s;
    assert_int_equal(fc_success_solve(&with, &s), FC_ERR_OK);
    double beta = p->selected[n], lambda = s.probability;
    double w = (printed ? 16 : 8) * p->xi * p->zeta2 / p->eps * p->previous_bound[n] +
               4 * p->zeta1 / p->eps;
    Q += (printed ? (1 - beta) * (1 - lambda) : 1 - beta * lambda) * w +
         p->mu * beta * P * p->delay_s;
  }
  return Q;
}

static fc_power_solution solve_here(const fc_power_problem *p) {
  fc_power_solution s;
  if (fc_power_solve(p, &s) != FC_ERR_OK) fail_msg("%s", fc_err_message());
  return s;
}

/* The claimed objective is that of the power, and nothing on a grid is lower. */
static void compare(const fc_power_problem *p, int points) {
  fc_power_solution s = solve_here(p);
  assert_int_equal(s.answer.status, FC_OPTIMAL);
  assert_true(s.power_w > 0 && s.power_w <= p->max_power_w);
  double at = objective(p, s.power_w), best = INFINITY;
  assert_true(fabs(at - s.objective) <= 1e-9 * (1 + fabs(at)));
  for (int k = 0; k < points; k++)
    best = fmin(best, objective(p, p->max_power_w * pow(10, -12.0 * k / points)));
  if (!(s.objective <= best + 1e-6 * fabs(best)))
    fail_msg("%.12g at %g W, dense search %.12g", s.objective, s.power_w, best);
}

static void is_the_global_minimum(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 40; seed++) {
    fc_power_problem p = problem_of(seed);
    compare(&p, 300);
  }
}

/* Two modules of very different shares: two local minima, each of which is the global one at some
 * price of energy. */
static void of_two_local_minima_the_lower(void **state) {
  (void)state;
  double low = INFINITY, high = 0;
  for (double mu = 10; mu < 1e5; mu *= 1.5) {
    fc_power_problem p = problem_of(2);
    p.formulas = FC_FORMULAS_PRINTED;
    p.mu = mu;
    p.noise_psd_w_per_hz = 1e-17;
    for (int n = 0; n < MODULES; n++) {
      selected[n] = n == 0;
      share[n] = n < 2 ? 1e-6 : 3e-2;
      bound[n] = 1;
    }
    compare(&p, 500);
    fc_power_solution s = solve_here(&p);
    low = fmin(low, s.power_w);
    high = fmax(high, s.power_w);
  }
  assert_true(high > 0.1 && low < 0.01);
}

static void edges(void **state) {
  (void)state;
  fc_power_problem p = problem_of(2);
  p.formulas = FC_FORMULAS_PRINTED;
  for (int n = 0; n < MODULES; n++) selected[n] = 1; /* nothing is won by power */
  fc_power_solution s = solve_here(&p);
  assert_true(s.power_w > 0 && s.objective >= 0 && s.objective <= 1e-6);
  for (int n = 0; n < MODULES; n++) selected[n] = 0; /* power costs nothing */
  s = solve_here(&p);
  assert_true(s.power_w == p.max_power_w);
  compare(&p, 300);
  p.pathloss_exponent = 2; /* nothing ever arrives */
  compare(&p, 300);
  p = problem_of(3);
  p.mu = 1e9; /* P -> 0 is the infimum */
  s = solve_here(&p);
  compare(&p, 300);
  assert_true(s.power_w < 1e-6);
  p = problem_of(3);
  p.noise_psd_w_per_hz = 0;
  compare(&p, 300);
  p = problem_of(3);
  p.max_power_w = 0;
  s = solve_here(&p);
  assert_int_equal(s.answer.status, FC_INFEASIBLE);
  assert_string_equal(s.answer.reason, "max_power_w is 0: no power above 0 is allowed");
  p = problem_of(3);
  p.zeta1 = 1e308;
  p.eps = 1e-300;
  assert_int_equal(fc_power_solve(&p, &s), FC_ERR_NUMERIC);
  assert_string_equal(fc_err_message(), "power: objectives beyond the range of numbers");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(is_the_global_minimum),
      cmocka_unit_test(of_two_local_minima_the_lower),
      cmocka_unit_test(edges),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
