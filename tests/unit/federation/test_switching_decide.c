/* A device's decisions: the bound by hand, the gradient by differences, subscriptions against all
 * subsets, rounding, participation in the long run. */
#include "../../../src/federation/switching.h"
#include "single_rank.h"

static const fc_switching_variant online = {.looks_back = true};
static const fc_switching_variant greedy = {.looks_back = false};

/* The defaults, with 100 devices in a round. */
static fc_switching_settings settings(int formulas, int modules, int most) {
  return (fc_switching_settings){.modules = modules,
                                 .most = most,
                                 .participation = 0.1,
                                 .mu = 1e5,
                                 .xi = 0.25,
                                 .eps = 0.5,
                                 .zeta1 = 3000,
                                 .zeta2 = 5e-4,
                                 .devices = 100,
                                 .formulas = formulas,
                                 .step = (double)NAN,
                                 .dual_step = 1e4};
}

/* A device's state, all of it drawn. */
static void draw_own(uint64_t seed, int modules, fc_subscription *own) {
  fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 0, 0);
  for (int n = 0; n < modules; n++) {
    own[n] = (fc_subscription){.beta = fc_rng_uniform(&rng),
                               .dual = 4e3 * fc_rng_uniform(&rng),
                               .bound = 1.2e6 + 3e4 * fc_rng_uniform(&rng),
                               .loss = 2 * fc_rng_uniform(&rng)};
    own[n].subscribed = fc_rng_uniform(&rng) < 0.4;
  }
}

static void the_bound_by_hand(void **state) {
  (void)state;
  fc_switching_settings printed = settings(FC_FORMULAS_PRINTED, 4, 1);
  fc_switching_settings corrected = settings(FC_FORMULAS_CORRECTED, 4, 1);
  /* 2 xi/eps = 1; 4 zeta2 K = 0.2; eps/2 = 0.25 */
  CLOSE(fc_switching_rate(&printed, 0), 0.55, 1e-12);
  CLOSE(fc_switching_rate(&printed, 0.5), 0.548, 1e-12);
  CLOSE(fc_switching_rate(&corrected, 0.5), 0.5 * (1 - 0.002 - 0.2), 1e-12);
  CLOSE(fc_switching_offset(&printed, 0.25), 12000 * 100.5, 1e-6);
  CLOSE(fc_switching_missing(&printed, 0.9, 0), 0.1, 1e-12);
  CLOSE(fc_switching_missing(&printed, 0.9, 1), 0, 1e-12);
  CLOSE(fc_switching_missing(&corrected, 0.9, 0), 1, 1e-12);
  CLOSE(fc_switching_missing(&corrected, 0.9, 1), 0.1, 1e-12);
}

/* Q of [SW (9)] of one module, this round's term alone for the greedy one. */
static double cost(const fc_switching_settings *s, const fc_switching_variant *v,
                   const fc_switching_seen *seen, const fc_subscription *own, double misfit,
                   double beta) {
  double missing = fc_switching_missing(s, seen->success, beta);
  double before = v->looks_back ? (1 - fc_switching_rate(s, missing)) * own->bound : 0.0;
  return before + fc_switching_offset(s, missing) + s->mu * beta * seen->energy_j +
         s->loss_weight * misfit * beta;
}

/* What subsets of modules cost at the most, by the slope of Q, less the duals. */
static double linear(const double *slope, const double *dual, int n, unsigned subset) {
  double sum = 0;
  for (int i = 0; i < n; i++)
    if (subset >> i & 1) sum += slope[i] - dual[i];
  return sum;
}

static void expect_best(uint64_t seed, int formulas, const fc_switching_variant *v, int most,
                        double loss_weight) {
  enum { N = 5 };
  fc_switching_settings s = settings(formulas, N, most);
  fc_subscription own[N];
  double slope[N], dual[N], best = 0, least = INFINITY;
  fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 1, 0);
  fc_switching_seen seen = {fc_rng_uniform(&rng), 0.4 * fc_rng_uniform(&rng)};
  s.loss_weight = loss_weight;
  draw_own(seed, N, own);
  for (int n = 0; n < N; n++) least = fmin(least, own[n].loss);
  for (int n = 0; n < N; n++) {
    double A = fc_switching_rate(&s, fc_switching_missing(&s, seen.success, own[n].subscribed));
    double misfit = (1 - A) * (own[n].loss - least);
    slope[n] = cost(&s, v, &seen, &own[n], misfit, 1) - cost(&s, v, &seen, &own[n], misfit, 0);
    dual[n] = v->looks_back ? fmax(0, own[n].dual + 1e4 * (0.1 - own[n].beta)) : 0;
  }
  for (unsigned subset = 0; subset < 1u << N; subset++)
    if (__builtin_popcount(subset) <= most) best = fmin(best, linear(slope, dual, N, subset));
  OK(fc_switching_decide(&s, v, &seen, 0.5, own));
  unsigned chosen = 0;
  for (int n = 0; n < N; n++) {
    chosen |= (unsigned)own[n].subscribed << n;
    CLOSE(own[n].dual, dual[n], 1e-9);
  }
  assert_in_range(__builtin_popcount(chosen), 0, most);
  CLOSE(linear(slope, dual, N, chosen), best, 1e-6 * (1 + fabs(best)));
}

static void subscriptions_are_the_best_subset(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 60; seed++)
    for (int formulas = 0; formulas < 2; formulas++)
      for (int most = 1; most <= 5; most += 2) {
        expect_best(seed, formulas, &online, most, 0);
        expect_best(seed, formulas, &online, most, 2e4);
        expect_best(seed, formulas, &greedy, most, 0);
      }
}

/* Over evenly spread draws every module comes as often as its beta says. */
static void rounding_keeps_mean_and_limit(void **state) {
  (void)state;
  enum { N = 6, DRAWS = 20000 };
  for (uint64_t seed = 1; seed <= 20; seed++) {
    fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 2, 0);
    int most = 1 + (int)(seed % 3), count[N] = {0};
    double beta[N], sum = 0;
    for (int n = 0; n < N; n++) sum += beta[n] = fc_rng_uniform(&rng);
    for (int n = 0; n < N; n++) beta[n] = fmin(1, beta[n] * most / sum);
    sum = 0;
    for (int n = 0; n < N; n++) sum += beta[n];
    for (int i = 0; i < DRAWS; i++) {
      bool chosen[N];
      int taken = 0;
      fc_switching_round(beta, N, most, (i + 0.5) / DRAWS, chosen);
      for (int n = 0; n < N; n++) {
        count[n] += chosen[n];
        taken += chosen[n];
      }
      assert_in_range(taken, (int)floor(sum - 1e-9), most);
    }
    for (int n = 0; n < N; n++) CLOSE((double)count[n] / DRAWS, beta[n], 2.0 / DRAWS);
  }
}

/* A sum a rounding error above the limit, at the smallest draw. */
static void rounding_never_takes_one_too_many(void **state) {
  (void)state;
  const double beta[3] = {1, 1e-15, 1};
  bool chosen[3];
  fc_switching_round(beta, 3, 1, 1e-16, chosen);
  assert_int_equal(chosen[0] + chosen[1] + chosen[2], 1);
  fc_switching_round((const double[]){0, 0, 0}, 3, 1, 0.5, chosen);
  assert_int_equal(chosen[0] + chosen[1] + chosen[2], 0);
}

/* The largest v - mean subscription after so many rounds. */
static double shortfall(const fc_switching_settings *s, const fc_switching_variant *v,
                        double energy_j, int rounds) {
  fc_subscription own[FC_MODULES_MAX];
  fc_switching_seen seen = {0.8, energy_j};
  double most = 0;
  for (int n = 0; n < s->modules; n++)
    own[n] = (fc_subscription){.beta = n == 0, .subscribed = n == 0, .bound = 1.2e6, .loss = 1 + n};
  for (int t = 0; t < rounds; t++) {
    fc_rng rng = fc_rng_open(3, FC_RNG_TEST, 3, (uint64_t)t);
    for (int n = 0; n < s->modules; n++) own[n].rounds += own[n].subscribed;
    OK(fc_switching_decide(s, v, &seen, fc_rng_uniform(&rng), own));
  }
  for (int n = 0; n < s->modules; n++) most = fmax(most, s->participation - own[n].rounds / rounds);
  return most;
}

/* Energy that is dearer than what is learned, and a strong liking for one module: the multipliers
 * see to the others all the same. */
static void participation_is_met_in_the_long_run(void **state) {
  (void)state;
  for (int formulas = 0; formulas < 2; formulas++)
    for (int stepped = 0; stepped < 2; stepped++) {
      fc_switching_settings s = settings(formulas, 4, 1);
      s.step = stepped ? 1e-5 : (double)NAN;
      s.participation = 0.2;
      assert_true(shortfall(&s, &online, 2, 4000) < 0.02);
      s.loss_weight = 1e5;
      assert_true(shortfall(&s, &online, 0.01, 4000) < 0.02);
      s.dual_step = 0;
      assert_true(shortfall(&s, &online, 2, 4000) > 0.19);
    }
}

/* Whoever is indifferent stays; looking back makes it go on to what it has not learned for. */
static void an_indifferent_device_stays(void **state) {
  (void)state;
  fc_switching_settings s = settings(FC_FORMULAS_CORRECTED, 4, 1);
  s.dual_step = s.mu = 0;
  fc_switching_seen seen = {0.8, 0};
  for (int at = 0; at < 4; at++) {
    fc_subscription own[4] = {{0}};
    for (int n = 0; n < 4; n++) own[n] = (fc_subscription){.bound = 1e6, .loss = (double)NAN};
    own[at].subscribed = true;
    own[at].beta = 1;
    for (int t = 0; t < 3; t++) OK(fc_switching_decide(&s, &greedy, &seen, 0.3, own));
    for (int n = 0; n < 4; n++) assert_int_equal(own[n].subscribed, n == at);
    OK(fc_switching_decide(&s, &online, &seen, 0.3, own)); /* now its own bound is the lowest */
    for (int n = 0; n < 4; n++) assert_int_equal(own[n].subscribed, n == (at + 1) % 4);
  }
}

static void fractions_are_rounded_with_their_mean(void **state) {
  (void)state;
  enum { DRAWS = 2000 };
  fc_switching_settings s = settings(FC_FORMULAS_CORRECTED, 4, 1);
  fc_switching_seen seen = {0.8, 0.1};
  double count[4] = {0}, beta[4] = {0};
  s.step = 2e-5;
  for (int i = 0; i < DRAWS; i++) {
    fc_subscription own[4];
    draw_own(9, 4, own);
    for (int n = 0; n < 4; n++) own[n].beta /= 4;
    OK(fc_switching_decide(&s, &online, &seen, (i + 0.5) / DRAWS, own));
    for (int n = 0; n < 4; n++) {
      count[n] += own[n].subscribed;
      beta[n] = own[n].beta;
    }
  }
  int fractional = 0;
  for (int n = 0; n < 4; n++) {
    CLOSE(count[n] / DRAWS, beta[n], 2.0 / DRAWS);
    fractional += beta[n] > 0.01 && beta[n] < 0.99;
  }
  assert_true(fractional >= 2); /* else the test shows nothing */
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_bound_by_hand),
    cmocka_unit_test(subscriptions_are_the_best_subset),
    cmocka_unit_test(rounding_keeps_mean_and_limit),
    cmocka_unit_test(rounding_never_takes_one_too_many),
    cmocka_unit_test(participation_is_met_in_the_long_run),
    cmocka_unit_test(an_indifferent_device_stays),
    cmocka_unit_test(fractions_are_rounded_with_their_mean),
};
SINGLE_RANK_MAIN(tests)
