/* The exact optimum of JCPBA: against dense search on small problems, against the optimality
 * conditions on large ones, at the edges of what numbers can say. */
#include "jcpba_fixture.h"

/* ---- dense search ---------------------------------------------------------------------------- */

/* Latency with the last client pruned as much as C5 leaves (more pruning never costs time). */
static double with_last(const fc_jcpba_problem *p, double *beta) {
  int n = (int)p->rows.n;
  double left = n * p->pruning_mean_max;
  for (int k = 0; k < n - 1; k++) left -= beta[k];
  beta[n - 1] = fmin(left, p->pruning_max);
  return beta[n - 1] >= least_pruning(p, n - 1) ? latency_of(p, beta) : INFINITY;
}

/* Grids over the other clients' pruning, each finer around the best of the one before. The latency
 * is quasi-convex in the pruning rates, so nothing is passed by. */
static double dense_search(const fc_jcpba_problem *p) {
  enum { POINTS = 15, LEVELS = 14 };
  int free = (int)p->rows.n - 1;
  double centre[3] = {0}, half[3], beta[4], best = INFINITY;
  for (int k = 0; k < free; k++) {
    half[k] = 0.5 * (p->pruning_max - least_pruning(p, k));
    centre[k] = least_pruning(p, k) + half[k];
  }
  for (int level = 0; level < LEVELS; level++) {
    double at[3] = {centre[0], centre[1], centre[2]};
    int cells = free == 0 ? 1 : free == 1 ? POINTS : POINTS * POINTS;
    for (int i = 0; i < cells; i++) {
      for (int k = 0; k < free; k++) {
        int step = k == 0 ? i % POINTS : i / POINTS;
        beta[k] = centre[k] + half[k] * (2.0 * step / (POINTS - 1) - 1);
        beta[k] = fmin(fmax(beta[k], least_pruning(p, k)), p->pruning_max);
      }
      double T = with_last(p, beta);
      if (T < best) {
        best = T;
        for (int k = 0; k < free; k++) at[k] = beta[k];
      }
    }
    for (int k = 0; k < free; k++) {
      centre[k] = at[k];
      half[k] *= 0.3;
    }
  }
  return best;
}

static void compare(const fc_jcpba_problem *p) {
  fc_jcpba_solution s = solve_here(p);
  check_solution(p, &s);
  double best = dense_search(p);
  if (!(fabs(s.latency_s - best) <= 1e-6 * best))
    fail_msg("exact %.12g, dense search %.12g", s.latency_s, best);
  assert_true(s.latency_s <= s.lower_bound_s * (1 + 1e-9));
}

static void small_problems_agree_with_dense_search(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 3; seed++)
    for (int n = 1; n <= 3; n++) {
      fc_jcpba_problem p = problem_of(n, seed, 0.2, 2.5);
      compare(&p);
      p.emulator_flop = 0; /* bandwidth linear in pruning: clients fill up in order of price */
      compare(&p);
      p = problem_of(n, seed, 0.2, 2.5);
      p.bandwidth_hz *= 100; /* computing decides */
      compare(&p);
      p.bandwidth_hz *= 1e-4; /* the radio decides */
      compare(&p);
      p.pruning_mean_max = 0.95; /* C5 asks for nothing */
      compare(&p);
    }
}

static void memory_binds(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 8; seed++) {
    fc_jcpba_problem p = problem_of(3, seed, 0.5, 2);
    for (int k = 0; k < 3; k++)
      memory_bytes[k] = 3.8504e9 + 5.54e8 * (0.15 + 0.4 * (double)k); /* least pruning .85 .45 .1 */
    compare(&p);
    p.pruning_mean_max = (0.85 + 0.45 + 0.1) / 3; /* what memory asks for is all that C5 leaves */
    compare(&p);
  }
}

/* ---- optimality conditions ------------------------------------------------------------------- */

/* At the optimum all finish together, the band is spent, and there is one price of keeping: clients
 * strictly inside their range pay it, those at a bound would pay more or less. */
static void check_conditions(const fc_jcpba_problem *p, const fc_jcpba_solution *s) {
  const double inside = 1e-7;
  double lowest = INFINITY, highest = 0, from_below = 0, from_above = INFINITY, band = 0;
  for (int k = 0; k < p->rows.n; k++) {
    double beta = s->pruning[k], left = s->latency_s - compute_s(p, k, beta);
    double per_share = air(p, k, 0) - air(p, k, 1);
    double d1 = p->iterations * p->emulator_flop / p->compute_flops[k];
    double price = per_share / left + air(p, k, beta) * d1 / (left * left);
    band += s->bandwidth_hz[k];
    double T = compute_s(p, k, beta) + air(p, k, beta) / s->bandwidth_hz[k];
    if (!(fabs(T - s->latency_s) <= 1e-9 * T)) fail_msg("client %d ends at %.12g", k, T);
    if (beta > least_pruning(p, k) + inside && beta < p->pruning_max - inside) {
      lowest = fmin(lowest, price);
      highest = fmax(highest, price);
    } else if (beta >= p->pruning_max - inside) {
      from_above = fmin(from_above, price); /* keeping would cost at least the price */
    } else {
      from_below = fmax(from_below, price); /* all is kept, at no more than the price */
    }
  }
  assert_true(fabs(band - p->bandwidth_hz) <= 1e-9 * band);
  assert_true(highest > 0 && highest <= lowest * (1 + 1e-6));
  assert_true(from_below <= lowest * (1 + 1e-6) && highest <= from_above * (1 + 1e-6));
}

static void large_problems_meet_the_optimality_conditions(void **state) {
  (void)state;
  const int sizes[] = {8, 100, 3000, CLIENTS_MAX};
  for (int i = 0; i < 4; i++) {
    fc_jcpba_problem p = problem_of(sizes[i], 5, 0.2, 2.5);
    fc_jcpba_solution s = solve_here(&p);
    check_solution(&p, &s);
    check_conditions(&p, &s);
    assert_true(s.latency_s <= s.lower_bound_s * (1 + 1e-9));
    double mean = 0;
    for (int k = 0; k < sizes[i]; k++) mean += s.pruning[k] / sizes[i];
    assert_true(fabs(mean - 0.5) <= 1e-9); /* C5 is spent */
  }
}

/* ---- edges ----------------------------------------------------------------------------------- */

static void equal_clients_share_equally_at_any_size(void **state) {
  (void)state;
  double one = 0;
  for (int n = 1; n <= 10000; n *= 100)
    for (int linear = 0; linear < 2; linear++) {
      fc_jcpba_problem p = problem_of(n, 1, 1, 1);
      if (linear) p.emulator_flop = 0;
      for (int k = 0; k < n; k++) downlink_gain[k] = uplink_gain[k] = 1e-6;
      for (int k = 0; k < n; k++) memory_bytes[k] = 8e9;
      fc_jcpba_solution s = solve_here(&p);
      check_solution(&p, &s);
      double expected = compute_s(&p, 0, 0.5) + air(&p, 0, 0.5) / 12.5e6;
      assert_true(fabs(s.latency_s - expected) <= 1e-9 * expected);
      if (n == 1 && !linear) one = s.latency_s;
      if (!linear) assert_true(fabs(s.latency_s - one) <= 1e-9 * one);
    }
}

static void ratios_of_any_size(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 20; seed++) {
    enum { N = 3 };
    fc_jcpba_problem p = problem_of(N, seed, 1, 1);
    fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 1, 0);
    for (int k = 0; k < N; k++) {
      compute_flops[k] = pow(10, 3 + 15 * fc_rng_uniform(&rng));
      downlink_gain[k] = pow(10, -20 + 20 * fc_rng_uniform(&rng));
      uplink_gain[k] = pow(10, -20 + 20 * fc_rng_uniform(&rng));
    }
    compare(&p);
  }
}

static void nothing_to_send_or_to_compute(void **state) {
  (void)state;
  fc_jcpba_problem p = problem_of(3, 3, 0.2, 2.5);
  p.adapter_bits = p.emulator_bits = p.update_bits = 0;
  compare(&p);
  p.bandwidth_hz = 0; /* not needed */
  fc_jcpba_solution s = solve_here(&p);
  assert_int_equal(s.answer.status, FC_OPTIMAL);
  p = problem_of(3, 3, 0.2, 2.5);
  p.adapter_flop = p.emulator_flop = 0;
  compare(&p);
  p.adapter_bits = p.emulator_bits = p.update_bits = 0;
  s = solve_here(&p);
  assert_int_equal(s.answer.status, FC_OPTIMAL);
  assert_true(s.latency_s == 0 && s.lower_bound_s == 0);
  p = problem_of(3, 3, 0.2, 2.5);
  p.emulator_bits = p.emulator_flop = p.emulator_bytes = 0; /* nothing to prune */
  s = solve_here(&p);
  check_solution(&p, &s);
  assert_true(fabs(s.latency_s - latency_of(&p, pruning)) <= 1e-9 * s.latency_s);
}

static void pruning_that_cannot_move(void **state) {
  (void)state;
  fc_jcpba_problem p = problem_of(3, 4, 0.2, 2.5);
  p.pruning_min = p.pruning_mean_max = 0; /* C5 forbids all pruning */
  memory_bytes[0] = memory_bytes[1] = memory_bytes[2] = 8e9;
  fc_jcpba_solution s = solve_here(&p);
  check_solution(&p, &s);
  for (int k = 0; k < 3; k++) assert_true(s.pruning[k] == 0);
  p.pruning_min = p.pruning_max = p.pruning_mean_max = 0.3;
  s = solve_here(&p);
  check_solution(&p, &s);
  assert_true(fabs(s.latency_s - latency_of(&p, pruning)) <= 1e-9 * s.latency_s);
  p.pruning_min = 0;
  p.pruning_max = p.pruning_mean_max = 1; /* the whole emulator may go */
  s = solve_here(&p);
  check_solution(&p, &s);
  for (int k = 0; k < 3; k++) assert_true(s.pruning[k] == 1);
}

static void numbers_beyond_range_are_told(void **state) {
  (void)state;
  fc_jcpba_problem p = problem_of(3, 3, 0.2, 2.5);
  p.bandwidth_hz = 1e-310;
  fc_jcpba_solution s = {.pruning = pruning, .bandwidth_hz = bandwidth};
  assert_int_equal(fc_jcpba_solve(&p, NULL, &s), FC_ERR_NUMERIC);
  assert_string_equal(fc_err_message(), "jcpba: latencies beyond the range of numbers");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(small_problems_agree_with_dense_search),
      cmocka_unit_test(memory_binds),
      cmocka_unit_test(large_problems_meet_the_optimality_conditions),
      cmocka_unit_test(equal_clients_share_equally_at_any_size),
      cmocka_unit_test(ratios_of_any_size),
      cmocka_unit_test(nothing_to_send_or_to_compute),
      cmocka_unit_test(pruning_that_cannot_move),
      cmocka_unit_test(numbers_beyond_range_are_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
