/* The switching step: vertices picked in order, projections against the optimality conditions and
 * dense search. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "fedcell/fc_rng.h"
#include "fedcell/fc_solver.h"
#include <math.h>

enum { N_MAX = 5000 };
static double gradient[N_MAX], dual[N_MAX], current[N_MAX], beta[N_MAX];

static fc_switch_problem problem_of(int n, uint64_t seed, double most, double step) {
  fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 0, 0);
  for (int i = 0; i < n; i++) {
    gradient[i] = fc_rng_normal(&rng);
    dual[i] = fc_rng_uniform(&rng);
    current[i] = fc_rng_below(&rng, 2) ? 1.0 : fc_rng_uniform(&rng);
  }
  return (fc_switch_problem){{n, 0}, gradient, dual, current, most, step};
}

static void solve_here(const fc_switch_problem *p) {
  fc_switch_solution s = {.subscription = beta};
  assert_int_equal(fc_switch_solve(p, &s), FC_ERR_OK);
  assert_int_equal(s.answer.status, FC_OPTIMAL);
  double sum = 0;
  for (int i = 0; i < p->rows.n; i++) {
    assert_true(beta[i] >= 0 && beta[i] <= 1);
    sum += beta[i];
  }
  assert_true(sum <= p->max_subscriptions * (1 + 1e-12));
}

static double objective(const fc_switch_problem *p, const double *b) {
  double f = 0;
  for (int i = 0; i < p->rows.n; i++) {
    f += (gradient[i] - dual[i]) * b[i];
    if (!isnan(p->step)) f += (b[i] - current[i]) * (b[i] - current[i]) / (2 * p->step);
  }
  return f;
}

static void vertices_take_the_most_negative(void **state) {
  (void)state;
  const double g[6] = {-1.0, 0.2, -0.3, 0.1, -1.0, -2.0}, none[6] = {0};
  const struct {
    double most, expected[6];
  } cases[] = {
      {0, {0}},
      {1, {0, 0, 0, 0, 0, 1}},
      {1.5, {0.5, 0, 0, 0, 0, 1}}, /* of the two -1.0 the first */
      {2, {1, 0, 0, 0, 0, 1}},
      {100, {1, 0, 1, 0, 1, 1}}, /* never what costs */
  };
  for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
    fc_switch_problem p = {{6, 0}, g, none, NULL, cases[c].most, (double)NAN};
    solve_here(&p);
    for (int i = 0; i < 6; i++) assert_true(beta[i] == cases[c].expected[i]);
  }
  const double lifts[6] = {0, 0.5, 0, 0, 0, 0};
  fc_switch_problem p = {{4, 0}, g, lifts, NULL, 3, (double)NAN};
  solve_here(&p);
  assert_true(beta[0] == 1 && beta[1] == 1 && beta[2] == 1 && beta[3] == 0);
}

/* Three modules: no point of a fine grid is better. */
static void projections_agree_with_dense_search(void **state) {
  (void)state;
  enum { POINTS = 50 };
  for (uint64_t seed = 1; seed <= 20; seed++) {
    fc_switch_problem p = problem_of(3, seed, seed % 3 ? 1.0 : 0.7, 0.1 * (double)seed);
    solve_here(&p);
    double mine = objective(&p, beta);
    for (int i = 0; i <= POINTS; i++)
      for (int j = 0; j <= POINTS; j++)
        for (int k = 0; k <= POINTS; k++) {
          const double b[3] = {1.0 * i / POINTS, 1.0 * j / POINTS, 1.0 * k / POINTS};
          if (b[0] + b[1] + b[2] <= p.max_subscriptions)
            assert_true(mine <= objective(&p, b) + 1e-12);
        }
  }
}

/* One price for all: inside entries pay it, entries at 0 would pay less, at 1 more. */
static void projections_meet_the_optimality_conditions(void **state) {
  (void)state;
  const double steps[] = {1e-9, 0.01, 1, 1e6};
  for (int s = 0; s < 4; s++)
    for (int n = 1; n <= N_MAX; n *= 10) {
      fc_switch_problem p = problem_of(n, 7, ceil(0.2 * n), steps[s]);
      double lowest = INFINITY, highest = 0, at_zero = 0, at_one = INFINITY, sum = 0;
      solve_here(&p);
      for (int i = 0; i < n; i++) {
        double price = current[i] - p.step * (gradient[i] - dual[i]) - beta[i];
        sum += beta[i];
        if (beta[i] == 0)
          at_zero = fmax(at_zero, price);
        else if (beta[i] == 1)
          at_one = fmin(at_one, price);
        else {
          lowest = fmin(lowest, price);
          highest = fmax(highest, price);
        }
      }
      const double scale = 1e-9 * (1 + p.step), price = isfinite(lowest) ? lowest : at_zero;
      assert_true(highest <= price + scale && price >= -scale);
      assert_true(at_zero <= price + scale && price <= at_one + scale);
      assert_true(price <= scale || fabs(sum - p.max_subscriptions) <= 1e-9 * sum);
    }
}

static void edges(void **state) {
  (void)state;
  fc_switch_problem p = problem_of(4, 1, 0, 1);
  solve_here(&p); /* nothing allowed */
  p = problem_of(4, 1, 2, 0);
  solve_here(&p); /* no step: the current point, made feasible */
  double sum = 0;
  for (int i = 0; i < 4; i++) sum += current[i];
  assert_true(sum <= 2 || fabs(beta[0] + beta[1] + beta[2] + beta[3] - 2) <= 1e-12);
  p.current = NULL;
  fc_switch_solution s = {.subscription = beta};
  assert_int_equal(fc_switch_solve(&p, &s), FC_ERR_DATA);
  assert_string_equal(fc_err_message(), "current: is missing; a step needs it");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(vertices_take_the_most_negative),
      cmocka_unit_test(projections_agree_with_dense_search),
      cmocka_unit_test(projections_meet_the_optimality_conditions),
      cmocka_unit_test(edges),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
