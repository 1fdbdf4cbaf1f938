/* DEFT: the exact optimum against every way to give blocks to clients, CRUNCH and JBBA against
 * every way to cut the blocks into runs, where CRUNCH is exact, and how far they are elsewhere. */
#include "deft_fixture.h"

static fc_deft_problem draw(uint64_t seed, int clients_max, int blocks_max) {
  fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 1, 0);
  const int K = 1 + (int)fc_rng_below(&rng, (uint64_t)clients_max);
  const int L = 1 + (int)fc_rng_below(&rng, (uint64_t)blocks_max);
  fc_deft_problem p = problem_of(K, L, seed);
  p.bandwidth_hz *= pow(10, uniform(&rng, -1, 1)); /* the radio decides, or computing */
  if (seed % 3 == 0) {                             /* only what is trained is downloaded */
    p.download_bits = 0;
    p.download_bits_per_block = 2e8;
  }
  return p;
}

static void agree(const fc_deft_problem *p, const fc_deft_solution *s, double best) {
  if (best >= 1e30) {
    assert_int_equal(s->answer.status, FC_INFEASIBLE);
    return;
  }
  check_solution(p, s);
  if (!(fabs(s->latency_s - best) <= 2e-9 * best))
    fail_msg("%.12g, exhaustive %.12g", s->latency_s, best);
  assert_true(s->latency_s <= s->lower_bound_s * (1 + 2e-9));
}

/* Blocks in a row are enough: nothing is lost against any way to share them out. */
static void exact_agrees_with_all_ways(void **state) {
  (void)state;
  int infeasible = 0;
  for (uint64_t seed = 1; seed <= 60; seed++) {
    fc_deft_problem p = draw(seed, 4, 5);
    p.method = FC_DEFT_EXACT;
    for (p.bandwidth = FC_DEFT_OPTIMAL; p.bandwidth <= FC_DEFT_EQUAL; p.bandwidth++) {
      const double best = best_of_all(&p);
      infeasible += best >= 1e30;
      const fc_deft_solution s = solve_here(&p);
      agree(&p, &s, best);
    }
  }
  assert_true(infeasible > 0 && infeasible < 40);
}

static void exact_agrees_with_all_runs(void **state) {
  (void)state;
  for (uint64_t seed = 100; seed < 150; seed++) {
    fc_deft_problem p = draw(seed, 5, 8);
    p.method = FC_DEFT_EXACT;
    const double best = best_of_runs(&p);
    const fc_deft_solution s = solve_here(&p);
    agree(&p, &s, best);
  }
}

typedef struct {
  double mean, worst;
} gap;

/* Of a method, above the optimum among the same bandwidths; *bound: of its bound, below. */
static gap measure(int method, int bands, int draws, gap *bound) {
  gap g = {0, 0};
  *bound = (gap){0, 0};
  for (int i = 0; i < draws; i++) {
    fc_rng rng = fc_rng_open(7, FC_RNG_TEST, 2, (uint64_t)i);
    const int K = 2 + (int)fc_rng_below(&rng, 4), L = 3 + (int)fc_rng_below(&rng, 6);
    fc_deft_problem p = problem_of(K, L, 1000 + (uint64_t)i);
    for (int k = 0; k < K; k++) memory_bytes[k] = 9e9;
    p.bandwidth = bands;
    const double best = best_of_runs(&p);
    p.method = method;
    const fc_deft_solution s = solve_here(&p);
    check_solution(&p, &s);
    const double above = s.latency_s / best - 1, below = 1 - s.lower_bound_s / best;
    assert_true(above >= -1e-9 && below >= -1e-9);
    g.mean += above / draws;
    g.worst = fmax(g.worst, above);
    bound->mean += below / draws;
    bound->worst = fmax(bound->worst, below);
  }
  return g;
}

static void crunch_comes_close(void **state) {
  (void)state;
  gap bound;
  const gap g = measure(FC_DEFT_CRUNCH, FC_DEFT_EQUAL, 150, &bound);
  print_message("crunch, bands of B/K: %.2g %% above, at worst %.2g %%\n", 100 * g.mean,
                100 * g.worst);
  assert_true(g.mean <= 0.006 && g.worst <= 0.1 && g.worst > 0);
}

static void jbba_comes_closer(void **state) {
  (void)state;
  gap bound;
  const gap g = measure(FC_DEFT_JBBA, FC_DEFT_OPTIMAL, 150, &bound);
  print_message("jbba: %.2g %% above, at worst %.2g %%; bound %.2g %% below, at worst %.2g %%\n",
                100 * g.mean, 100 * g.worst, 100 * bound.mean, 100 * bound.worst);
  assert_true(g.mean <= 0.0005 && g.worst <= 0.01);
  assert_true(bound.mean <= 0.0007 && bound.worst <= 0.02);
}

/* Where nobody can hold two blocks, CRUNCH is an exact matching. */
static void crunch_is_exact_for_single_blocks(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 40; seed++) {
    fc_deft_problem p = problem_of(5, 1 + (int)(seed % 5), seed);
    p.optimizer_bytes_per_block = 2e9;
    for (int k = 0; k < 5; k++) memory_bytes[k] = 4.6e9 + 1e8 * k;
    p.method = FC_DEFT_CRUNCH;
    p.bandwidth = FC_DEFT_EQUAL;
    const double best = best_of_runs(&p);
    const fc_deft_solution s = solve_here(&p);
    check_solution(&p, &s);
    assert_true(fabs(s.latency_s - best) <= 2e-9 * best);
    for (int k = 0; k < 5; k++) assert_true(blocks[k] <= 1);
  }
}

/* Hundreds of clients, dozens of blocks: sound, and the bound is near. */
static void many_clients(void **state) {
  (void)state;
  for (int K = 30; K <= 300; K *= 10) {
    fc_deft_problem p = problem_of(K, 36, 3);
    const fc_deft_solution jbba = solve_here(&p);
    check_solution(&p, &jbba);
    assert_true(jbba.latency_s <= 1.01 * jbba.lower_bound_s);
    p.method = FC_DEFT_CRUNCH;
    const fc_deft_solution crunch = solve_here(&p);
    check_solution(&p, &crunch);
    assert_true(crunch.latency_s >= jbba.latency_s);
    assert_true(crunch.lower_bound_s <= jbba.latency_s);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(exact_agrees_with_all_ways),
      cmocka_unit_test(exact_agrees_with_all_runs),
      cmocka_unit_test(crunch_comes_close),
      cmocka_unit_test(jbba_comes_closer),
      cmocka_unit_test(crunch_is_exact_for_single_blocks),
      cmocka_unit_test(many_clients),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
