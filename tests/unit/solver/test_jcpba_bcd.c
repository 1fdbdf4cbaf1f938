/* Algorithm 1 of [JCPBA]: feasible, never below the optimum, on average above it by what was seen
 * when it was first studied; and its steps against plain means. */
#include "jcpba_fixture.h"

enum { DRAWS = 300 };

/* Mean and largest excess over the optimum, on draws of the paper's setting with 8 clients. */
static void excess(double slow, double fast, double *mean, double *worst) {
  *mean = *worst = 0;
  for (uint64_t seed = 1; seed <= DRAWS; seed++) {
    fc_jcpba_problem p = problem_of(8, seed, slow, fast);
    fc_jcpba_solution exact = solve_here(&p);
    p.method = FC_JCPBA_BCD;
    fc_jcpba_solution bcd = solve_here(&p);
    check_solution(&p, &bcd);
    assert_true(exact.latency_s <= bcd.latency_s * (1 + 1e-9));
    assert_true(bcd.lower_bound_s <= exact.latency_s);
    assert_true(bcd.lower_bound_s >= exact.latency_s * (1 - 1e-9)); /* the optimum's own */
    assert_true(bcd.iterations >= 1 && bcd.iterations <= 3);
    *mean += (bcd.latency_s / exact.latency_s - 1) / DRAWS;
    *worst = fmax(*worst, bcd.latency_s / exact.latency_s - 1);
  }
}

static void stops_above_the_optimum(void **state) {
  (void)state;
  double mean, worst;
  excess(0.5, 2.0, &mean, &worst);
  print_message("f in U[0.5,2.0]: BCD %.2f %% above the optimum on average, %.1f %% at worst\n",
                100 * mean, 100 * worst);
  assert_true(mean > 0.01 && mean < 0.05 && worst > 0.03 && worst < 0.15);
  excess(0.2, 2.5, &mean, &worst);
  print_message("f in U[0.2,2.5]: BCD %.2f %% above the optimum on average, %.1f %% at worst\n",
                100 * mean, 100 * worst);
  assert_true(mean > 0.02 && mean < 0.08 && worst > 0.06 && worst < 0.3);
}

/* The first alternation by hand: equal bands, the min-max over pruning, then the best bands. */
static void is_the_alternation_it_claims_to_be(void **state) {
  (void)state;
  enum { N = 8 };
  int compared = 0;
  for (uint64_t seed = 1; seed <= 20; seed++) {
    fc_jcpba_problem p = problem_of(N, seed, 0.2, 2.5);
    const double each = p.bandwidth_hz / N;
    double lo = 0, hi = 1e6, beta[N];
    for (int i = 0; i < 200; i++) { /* the least T at which C5 can be kept, bands fixed */
      double T = lo + (hi - lo) / 2, sum = 0;
      for (int k = 0; k < N; k++) {
        double at0 = compute_s(&p, k, 0) + air(&p, k, 0) / each;
        double at1 = compute_s(&p, k, 1) + air(&p, k, 1) / each;
        double needed = (at0 - T) / (at0 - at1);
        beta[k] = fmax(needed, least_pruning(&p, k));
        sum += needed > p.pruning_max ? INFINITY : beta[k];
      }
      *(sum > N * p.pruning_mean_max ? &lo : &hi) = T;
    }
    double mean = 0, bound = 0; /* where a client at its bound decides, budget is left */
    for (int k = 0; k < N; k++) {
      mean += beta[k] / N;
      bound = fmax(bound, beta[k]);
    }
    if (bound > p.pruning_max - 1e-9 || mean < 0.5 - 1e-9) continue;
    double expected = latency_of(&p, beta);
    p.method = FC_JCPBA_BCD;
    fc_jcpba_solution s = solve_here(&p);
    assert_true(fabs(s.latency_s - expected) <= 1e-7 * expected);
    compared++;
  }
  assert_true(compared >= 3);
}

/* A client that no pruning brings down to the others' latency: what it leaves of C5's budget goes
 * to the others. */
static void spends_what_is_left_of_the_budget(void **state) {
  (void)state;
  fc_jcpba_problem p = problem_of(4, 7, 1, 1);
  p.method = FC_JCPBA_BCD;
  compute_flops[0] = 1e10;
  fc_jcpba_solution s = solve_here(&p);
  check_solution(&p, &s);
  double sum = 0;
  for (int k = 0; k < 4; k++) sum += s.pruning[k];
  assert_true(s.pruning[0] == p.pruning_max && fabs(sum - 4 * 0.5) <= 1e-9);
}

static void edges(void **state) {
  (void)state;
  fc_jcpba_problem p = problem_of(1, 1, 0.2, 2.5);
  fc_jcpba_solution exact = solve_here(&p);
  p.method = FC_JCPBA_BCD;
  fc_jcpba_solution s = solve_here(&p);
  check_solution(&p, &s);
  assert_true(fabs(s.latency_s - exact.latency_s) <= 1e-9 * s.latency_s);
  p = problem_of(3, 3, 0.2, 2.5);
  p.method = FC_JCPBA_BCD;
  p.adapter_bits = p.update_bits = p.emulator_bits = 0;
  s = solve_here(&p);
  check_solution(&p, &s);
  p.emulator_flop = p.adapter_flop = 0;
  s = solve_here(&p);
  assert_true(s.latency_s == 0);
  p = problem_of(3, 3, 0.2, 2.5);
  p.method = FC_JCPBA_BCD;
  p.pruning_min = 0;
  p.pruning_max = p.pruning_mean_max = 1;
  p.adapter_bits = p.update_bits = 0; /* with all pruned, nothing is left to send */
  s = solve_here(&p);
  assert_int_equal(s.answer.status, FC_OPTIMAL);
  assert_true(isfinite(s.latency_s));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(stops_above_the_optimum),
      cmocka_unit_test(is_the_alternation_it_claims_to_be),
      cmocka_unit_test(spends_what_is_left_of_the_budget),
      cmocka_unit_test(edges),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
