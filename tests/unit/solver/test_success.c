/* The success probability: against closed forms of its integral, against a simulation of the
 * Poisson field, and at its edges. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "fedcell/fc_rng.h"
#include "success.h"
#include <gsl/gsl_sf_expint.h>
#include <math.h>

static double integral(double c, double half) {
  double value = 0;
  if (fc_success_integral(c, half, &value) != FC_ERR_OK) fail_msg("%s", fc_err_message());
  return value;
}

#define ASSERT_CLOSE(a, b, tolerance)                                                              \
  do {                                                                                             \
    const double a_ = (a), b_ = (b);                                                               \
    if (!(fabs(a_ - b_) <= (tolerance)*fabs(b_))) fail_msg("%s: %.15g, not %.15g", #a, a_, b_);    \
  } while (0)

/* alpha = 4: int (1 - e^(-c x))/(1 + x^2) = pi/2 - Ci(c) sin c - (pi/2 - Si(c)) cos c
 * by the sine and cosine integrals, which for small c cancels to c (1 - gamma - log c). */
static void the_integral_has_a_closed_form_at_alpha_4(void **state) {
  (void)state;
  for (double c = 1e-4; c < 1e4; c *= 3) {
    double f = gsl_sf_Ci(c) * sin(c) + (M_PI_2 - gsl_sf_Si(c)) * cos(c);
    ASSERT_CLOSE(integral(c, 2), M_PI_2 - f, c < 1e-2 ? 1e-8 : 1e-10);
  }
  for (double c = 1e-300; c < 1e-9; c *= 1e20)
    ASSERT_CLOSE(integral(c, 2), c * (1 - 0.57721566490153286 - log(c)), 1e-8);
}

/* c -> infinity: int dx/(1 + x^h) = (pi/h)/sin(pi/h), also where it decays slowly. */
static void the_integral_saturates(void **state) {
  (void)state;
  const double halves[] = {1.001, 1.05, 1.25, 1.9, 2, 3, 10};
  for (int i = 0; i < 7; i++)
    for (double c = 1e16; c < 1e250; c *= 1e50)
      ASSERT_CLOSE(integral(c, halves[i]), M_PI / halves[i] / sin(M_PI / halves[i]), 1e-9);
}

static void the_integral_rises_in_c(void **state) {
  (void)state;
  for (double half = 1.01; half < 5; half *= 1.3) {
    double before = 0;
    for (double c = 1e-12; c < 1e12; c *= 1.7) {
      double now = integral(c, half);
      assert_true(now > before);
      before = now;
    }
  }
  assert_true(integral(0, 2) == 0);
}

static fc_success_problem problem(void) {
  return (fc_success_problem){.share = 0.01,
                              .bandwidth_hz = 1e9,
                              .noise_psd_w_per_hz = 6.3e-20,
                              .threshold = 1,
                              .distance_m = 100,
                              .power_w = 0.2,
                              .pathloss_exponent = 3.8,
                              .density_per_m2 = 1e-5,
                              .interferer_power_w = (double)NAN};
}

static double probability(const fc_success_problem *p) {
  fc_success_solution s;
  if (fc_success_solve(p, &s) != FC_ERR_OK) fail_msg("%s", fc_err_message());
  assert_int_equal(s.answer.status, FC_OPTIMAL);
  assert_true(s.probability >= 0 && s.probability <= 1);
  return s.probability;
}

/* [SW (15)] once more, with its integral by a plain sum over a fine grid of log x. */
static double by_hand(const fc_success_problem *p) {
  double alpha = p->pathloss_exponent, phi = p->density_per_m2, r = p->distance_m;
  bool printed = p->formulas == FC_FORMULAS_PRINTED;
  double theta = p->threshold;
  double noise = p->bandwidth_hz * p->share * p->noise_psd_w_per_hz * theta / p->power_w *
                 (printed ? r * r / pow(2 * phi, alpha / 2 - 1) : pow(r, alpha));
  if (!printed && !isnan(p->interferer_power_w)) theta *= p->interferer_power_w / p->power_w;
  double c = 12.0 / 5 * M_PI * pow(theta, 2 / alpha) * (printed ? 1 : phi * r * r), sum = 0;
  const double step = 1e-3;
  for (double y = -40; y < 40; y += step)
    sum += step * (1 - exp(-c * exp(y))) * exp(y) / (1 + exp(y * alpha / 2));
  return exp(-noise - phi * M_PI * r * r * pow(theta, 2 / alpha) * sum);
}

static void both_formulas_are_the_pages(void **state) {
  (void)state;
  fc_success_problem p = problem();
  for (p.formulas = 0; p.formulas < 2; p.formulas++)
    for (p.threshold = 0.01; p.threshold < 200; p.threshold *= 7)
      for (p.distance_m = 3; p.distance_m < 500; p.distance_m *= 5) {
        p.interferer_power_w = (double)NAN;
        ASSERT_CLOSE(probability(&p), by_hand(&p), 1e-6);
        p.interferer_power_w = 0.05;
        ASSERT_CLOSE(probability(&p), by_hand(&p), 1e-6);
      }
}

/* For one exponent, over all that the formulas can ask for; of another exponent it is not used. */
static void a_table_gives_the_same(void **state) {
  (void)state;
  static const double exponents[] = {2.2, 3.8, 6};
  for (int e = 0; e < 3; e++) {
    fc_success_table *table = NULL;
    if (fc_success_table_create(exponents[e], &table) != FC_ERR_OK)
      fail_msg("%s", fc_err_message());
    fc_success_problem p = problem();
    for (p.formulas = 0; p.formulas < 2; p.formulas++)
      for (p.threshold = 1e-3; p.threshold < 2e3; p.threshold *= 3.7)
        for (p.distance_m = 0.1; p.distance_m < 1e4; p.distance_m *= 2.9)
          for (int other = 0; other < 2; other++) {
            p.pathloss_exponent = exponents[e] + other;
            p.table = NULL;
            double plain = probability(&p);
            p.table = table;
            /* so many digits of the exponent */
            ASSERT_CLOSE(probability(&p), plain, 2e-9 * (1 - log(plain + 1e-300)));
          }
    fc_success_table_destroy(&table);
    assert_null(table);
  }
  fc_success_table *none = NULL;
  assert_int_equal(fc_success_table_create(2, &none), FC_ERR_DATA);
  assert_string_equal(fc_err_message(),
                      "a table of success probabilities needs a path-loss exponent above 2, not 2");
  fc_success_table_destroy(&none);
}

/* Mean of the closed form over the distance to the own gNB, Rayleigh of density 1.25 phi (here by
 * its quantiles); interference alone, alpha 3.8. */
static double mean_over_the_cell(int formulas, double threshold) {
  enum { STEPS = 400 };
  double mean = 0;
  fc_success_problem p = problem();
  p.formulas = formulas;
  p.noise_psd_w_per_hz = 0;
  p.threshold = threshold;
  for (int k = 0; k < STEPS; k++) {
    p.distance_m = sqrt(-log(1 - (k + 0.5) / STEPS) / (1.25 * M_PI * p.density_per_m2));
    mean += probability(&p) / STEPS;
  }
  return mean;
}

static double square(double x) {
  return x * x;
}

/* One draw of the field around a gNB at the origin: gNBs of a Poisson process, users dropped until
 * every gNB near the middle has one that is nearest to it. The chance that the origin's user gets
 * through Rayleigh fading, given the places; -1 if the origin got no user. */
static double draw_field(fc_rng *rng, double threshold) {
  enum { GNBS = 64, USERS = 500 };
  const double side = sqrt(GNBS); /* density 1; scale does not matter to a ratio of powers */
  double x[GNBS] = {0}, y[GNBS] = {0}, user[GNBS];
  for (int g = 1; g < GNBS; g++) {
    x[g] = side * (fc_rng_uniform(rng) - 0.5);
    y[g] = side * (fc_rng_uniform(rng) - 0.5);
  }
  double own = -1;
  for (int g = 0; g < GNBS; g++) user[g] = -1; /* distance of its user to the origin */
  for (int u = 0; u < USERS; u++) {
    double px = side * (fc_rng_uniform(rng) - 0.5), py = side * (fc_rng_uniform(rng) - 0.5);
    int nearest = 0;
    for (int g = 1; g < GNBS; g++)
      if (square(px - x[g]) + square(py - y[g]) < square(px - x[nearest]) + square(py - y[nearest]))
        nearest = g;
    if (user[nearest] >= 0) continue;
    user[nearest] = hypot(px, py);
    if (nearest == 0) own = user[0];
  }
  double chance = 1;
  for (int g = 1; g < GNBS && own >= 0; g++)
    if (user[g] >= 0) chance /= 1 + threshold * pow(own / user[g], 3.8);
  return own >= 0 ? chance : -1;
}

/* The corrected formula is nearer to the simulated field than the printed one. */
static void averages_over_the_cell_against_simulation(void **state) {
  (void)state;
  enum { DRAWS = 1500 };
  const double threshold_db[] = {-15, 0, 15};
  for (int i = 0; i < 3; i++) {
    const double threshold = pow(10, threshold_db[i] / 10);
    double simulated = 0, chance = -1;
    fc_rng rng = fc_rng_open(7, FC_RNG_TEST, 0, 0);
    for (int k = 0; k < DRAWS; k++) {
      do chance = draw_field(&rng, threshold);
      while (chance < 0);
      simulated += chance / DRAWS;
    }
    double printed = mean_over_the_cell(FC_FORMULAS_PRINTED, threshold);
    double corrected = mean_over_the_cell(FC_FORMULAS_CORRECTED, threshold);
    print_message("%g dB: simulated %.3f, printed %.3f, corrected %.3f\n", threshold_db[i],
                  simulated, printed, corrected);
    assert_true(fabs(corrected - simulated) <=
                0.04); /* three deviations of the draws, and the model */
    assert_true(i == 2 || fabs(corrected - simulated) < fabs(printed - simulated));
  }
}

static void edges(void **state) {
  (void)state;
  for (int formulas = 0; formulas < 2; formulas++) {
    fc_success_problem p = problem();
    p.formulas = formulas;
    p.pathloss_exponent = 2;
    assert_true(probability(&p) == 0);
    p.pathloss_exponent = 0;
    assert_true(probability(&p) == 0);
    p = problem();
    p.formulas = formulas;
    p.threshold = 0;
    assert_true(probability(&p) == 1);
    p = problem();
    p.formulas = formulas;
    p.power_w = 0;
    assert_true(probability(&p) == 0);
    p = problem();
    p.formulas = formulas;
    p.distance_m = 0;
    assert_true(probability(&p) == 1);
    p = problem();
    p.formulas = formulas;
    p.density_per_m2 = 0; /* no interferers: as printed the noise's part becomes infinite */
    double noise = formulas ? exp(-1e9 * 0.01 * 6.3e-20 * pow(100, 3.8) / 0.2) : 0;
    assert_true(fabs(probability(&p) - noise) <= 1e-12);
    p.noise_psd_w_per_hz = 0;
    assert_true(probability(&p) == 1);
    p = problem();
    p.formulas = formulas;
    p.threshold = 1e300;
    assert_true(probability(&p) == 0);
    p.threshold = 1e-300;
    assert_true(fabs(probability(&p) - 1) <= 1e-12);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_integral_has_a_closed_form_at_alpha_4),
      cmocka_unit_test(the_integral_saturates),
      cmocka_unit_test(the_integral_rises_in_c),
      cmocka_unit_test(both_formulas_are_the_pages),
      cmocka_unit_test(a_table_gives_the_same),
      cmocka_unit_test(averages_over_the_cell_against_simulation),
      cmocka_unit_test(edges),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
