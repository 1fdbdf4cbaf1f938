/* The least common delay: against halving, the Lambert-W form of [SW (20)], and what the optimum
 * must look like; saturated links, extreme ratios, links without bits, signal or noise; links that
 * are promised a share. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "fedcell/fc_rng.h"
#include "fedcell/fc_solver.h"
#include <gsl/gsl_sf_lambert.h>
#include <math.h>
#include <string.h>

enum { LINKS_MAX = 100000 };
static double signal_w[LINKS_MAX], interference_w[LINKS_MAX], bits[LINKS_MAX], share[LINKS_MAX];

static fc_bandwidth_problem problem_of(int n, uint64_t seed, double decades) {
  for (int l = 0; l < n; l++) {
    fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 0, (uint64_t)l);
    signal_w[l] = 1e-11 * pow(10, decades * (fc_rng_uniform(&rng) - 0.5));
    interference_w[l] = 1e-13 * pow(10, decades * (fc_rng_uniform(&rng) - 0.5));
    bits[l] = 1e7 * fc_rng_uniform(&rng);
  }
  return (fc_bandwidth_problem){{n, 0}, signal_w, interference_w, bits, 1e7 * n, 6.3e-20, NULL};
}

static double rate(const fc_bandwidth_problem *p, int l, double d) {
  double W = p->bandwidth_hz, noise = W * p->noise_psd_w_per_hz * d;
  return d > 0 ? W * d * log1p(p->signal_w[l] / (p->interference_w[l] + noise)) / M_LN2 : 0;
}

static fc_bandwidth_solution solve_here(const fc_bandwidth_problem *p) {
  fc_bandwidth_solution s = {.share = share};
  if (fc_bandwidth_solve(p, NULL, &s) != FC_ERR_OK) fail_msg("%s", fc_err_message());
  return s;
}

/* The share that serves link l within E, by halving in the logarithm; 2 if there is none. */
static double share_needed(const fc_bandwidth_problem *p, int l, double E) {
  double lo = -700, hi = 0;
  if (p->bits[l] == 0) return 0;
  if (rate(p, l, 1) * E < p->bits[l]) return 2;
  for (int i = 0; i < 100; i++) {
    double mid = lo + (hi - lo) / 2;
    *(rate(p, l, exp(mid)) * E < p->bits[l] ? &lo : &hi) = mid;
  }
  return exp(hi);
}

static double delay_by_halving(const fc_bandwidth_problem *p) {
  double lo = log(1e-12), hi = log(1e15);
  for (int i = 0; i < 100; i++) {
    double mid = lo + (hi - lo) / 2, sum = 0;
    for (int l = 0; l < p->rows.n && sum <= 1; l++)
      sum += fmax(share_needed(p, l, exp(mid)), p->least_share ? p->least_share[l] : 0);
    *(sum > 1 ? &lo : &hi) = mid;
  }
  return exp(hi);
}

/* Every link ends at the same time, and the shares sum to 1 ([SW, Theorem 2]). */
static void check_solution(const fc_bandwidth_problem *p, const fc_bandwidth_solution *s) {
  double sum = 0;
  assert_int_equal(s->answer.status, FC_OPTIMAL);
  for (int l = 0; l < p->rows.n; l++) {
    sum += share[l];
    if (p->bits[l] == 0) assert_true(share[l] == 0);
    if (p->bits[l] == 0) continue;
    double E = p->bits[l] / rate(p, l, share[l]);
    if (!(fabs(E - s->delay_s) <= 1e-9 * E)) fail_msg("link %d ends at %.12g", l, E);
  }
  assert_true(sum <= 1 + 1e-9 && sum >= 1 - 1e-6); /* near saturation one bit of E is much band */
}

static void small_problems_agree_with_halving(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 12; seed++)
    for (int n = 1; n <= 5; n += 2) {
      fc_bandwidth_problem p = problem_of(n, seed, (double)(seed % 4) * 4);
      fc_bandwidth_solution s = solve_here(&p);
      check_solution(&p, &s);
      double expected = delay_by_halving(&p);
      assert_true(fabs(s.delay_s - expected) <= 1e-9 * expected);
    }
}

static void large_problems_end_together(void **state) {
  (void)state;
  for (int n = 100; n <= LINKS_MAX; n *= 10) {
    fc_bandwidth_problem p = problem_of(n, 3, 4);
    fc_bandwidth_solution s = solve_here(&p);
    check_solution(&p, &s);
    assert_in_range(s.steps, 1, 64); /* the bits of a double, however many links [SW, Fig. 3] */
  }
}

/* I = 0: d = S / (W N0 (u - 1)) with u = -W_{-1}(-c e^{-c})/c, c = (bits/E) N0 ln 2 / S  [SW (20)],
 * whose other root, by W_0, is the trivial one. */
static void without_interference_the_lambert_form_holds(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 10; seed++) {
    fc_bandwidth_problem p = problem_of(4, seed, 3);
    memset(interference_w, 0, sizeof interference_w);
    fc_bandwidth_solution s = solve_here(&p);
    check_solution(&p, &s);
    for (int l = 0; l < 4; l++) {
      double c = bits[l] / s.delay_s * p.noise_psd_w_per_hz * M_LN2 / signal_w[l];
      double u = -gsl_sf_lambert_Wm1(-c * exp(-c)) / c;
      double d = signal_w[l] / (p.bandwidth_hz * p.noise_psd_w_per_hz * (u - 1));
      assert_true(fabs(d - share[l]) <= 1e-6 * d);
    }
  }
}

/* So little signal that even the whole band is far into saturation. */
static void saturated_links(void **state) {
  (void)state;
  for (int decades = 10; decades <= 40; decades += 10) {
    fc_bandwidth_problem p = problem_of(3, 1, 1);
    signal_w[1] = pow(10, -11 - decades);
    interference_w[1] = 0;
    fc_bandwidth_solution s = solve_here(&p);
    double limit = p.bits[1] / (signal_w[1] / (p.noise_psd_w_per_hz * M_LN2));
    assert_int_equal(s.answer.status, FC_OPTIMAL);
    assert_true(s.delay_s >= limit * (1 - 1e-12) && s.delay_s <= limit * 1.01);
    for (int l = 0; l < 3; l++) /* at the limit the share is ill-defined, the delay is not */
      assert_true(bits[l] / rate(&p, l, share[l]) <= s.delay_s * (1 + 1e-9));
    assert_true(share[0] + share[1] + share[2] <= 1 + 1e-9);
  }
}

static void links_that_need_nothing(void **state) {
  (void)state;
  fc_bandwidth_problem p = problem_of(4, 2, 2);
  bits[1] = bits[3] = 0;
  fc_bandwidth_solution s = solve_here(&p);
  check_solution(&p, &s);
  memset(bits, 0, sizeof bits);
  p.bandwidth_hz = 0;
  s = solve_here(&p);
  assert_true(s.answer.status == FC_OPTIMAL && s.delay_s == 0 && share[0] == 0);
  p = problem_of(4, 2, 2);
  p.noise_psd_w_per_hz = 0; /* interference alone: the rate is linear in the share */
  s = solve_here(&p);
  check_solution(&p, &s);
  interference_w[2] = 0; /* no noise at all: any share */
  s = solve_here(&p);
  assert_true(s.answer.status == FC_OPTIMAL && share[2] == 0 && share[0] > 0);
}

static void refused(const fc_bandwidth_problem *p, const char *reason) {
  fc_bandwidth_solution s = solve_here(p);
  assert_int_equal(s.answer.status, FC_INFEASIBLE);
  assert_string_equal(s.answer.reason, reason);
}

/* Promised shares: the others wait for what is left, and who is promised enough ends before them.
 */
static void promised_shares(void **state) {
  (void)state;
  double least[5];
  for (uint64_t seed = 1; seed <= 12; seed++) {
    fc_bandwidth_problem p = problem_of(5, seed, (double)(seed % 4) * 2);
    double without_s = solve_here(&p).delay_s, sum = 0;
    memset(least, 0, sizeof least);
    p.least_share = least;
    assert_true(solve_here(&p).delay_s == without_s); /* nothing is promised */
    least[seed % 5] = 0.5;
    least[(seed + 1) % 5] = 0.3;
    fc_bandwidth_solution s = solve_here(&p);
    double expected = delay_by_halving(&p);
    assert_int_equal(s.answer.status, FC_OPTIMAL);
    assert_true(fabs(s.delay_s - expected) <= 1e-9 * expected);
    for (int l = 0; l < 5; l++) {
      double E = bits[l] / rate(&p, l, share[l]);
      sum += share[l];
      assert_true(share[l] >= least[l] && E <= s.delay_s * (1 + 1e-9));
      assert_true(share[l] == least[l] || E >= s.delay_s * (1 - 1e-9));
    }
    assert_true(fabs(sum - 1) <= 1e-6);
  }
}

/* The whole band is promised, or more. */
static void everything_is_promised(void **state) {
  (void)state;
  const double least[4] = {0.5, 0.25, 0.125, 0.125}, more[4] = {0.5, 0.25, 0.125, 0.25};
  fc_bandwidth_problem p = problem_of(4, 2, 2);
  double slowest = 0;
  p.least_share = least;
  fc_bandwidth_solution s = solve_here(&p);
  for (int l = 0; l < 4; l++) {
    assert_true(fabs(share[l] - least[l]) <= 1e-9);
    slowest = fmax(slowest, bits[l] / rate(&p, l, share[l]));
  }
  assert_true(s.answer.status == FC_OPTIMAL && fabs(s.delay_s - slowest) <= 1e-9 * slowest);
  p.least_share = more;
  refused(&p, "links[].least_share sum to 1.125, more than the band");
  bits[3] = 0; /* promised in vain */
  s = solve_here(&p);
  assert_true(s.answer.status == FC_OPTIMAL && share[3] == 0);
}

static void what_nothing_serves_is_named(void **state) {
  (void)state;
  fc_bandwidth_problem p = problem_of(4, 2, 2);
  signal_w[1] = signal_w[3] = 0;
  p.rows.first = 10;
  refused(&p, "links[11].signal_w is 0: no finite delay at any share");
  signal_w[1] = 5e-324;
  interference_w[1] = 1e300;
  refused(&p, "links[11].signal_w is 4.94066e-324: no finite delay at any share");
  p = problem_of(4, 2, 2);
  p.bandwidth_hz = 0;
  refused(&p, "bandwidth_hz is 0 and there are bits to send");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(small_problems_agree_with_halving),
      cmocka_unit_test(large_problems_end_together),
      cmocka_unit_test(without_interference_the_lambert_form_holds),
      cmocka_unit_test(saturated_links),
      cmocka_unit_test(links_that_need_nothing),
      cmocka_unit_test(promised_shares),
      cmocka_unit_test(everything_is_promised),
      cmocka_unit_test(what_nothing_serves_is_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
