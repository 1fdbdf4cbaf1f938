/* Poisson interferers against the Laplace transform of their field, the closed form behind the
 * success probability [SW (15)] in its corrected reading. */
#include "cell_fixture.h"

static const double phi = 1e-5; /* base stations per m^2 */

/* P(|h|^2 P d^-alpha >= theta I) for a device at d, all powers equal: |h|^2 is exponential, so it
 * is E exp(-s I), s = theta d^alpha / P, = exp(-int 2 pi lambda(r) r s r^-alpha / (1 + s r^-alpha)
 * dr) with lambda(r) = phi (1 - exp(-12/5 pi phi r^2)). Integrated over u = ln r by Simpson's rule.
 */
static double success_closed_form(double d, double alpha, double theta) {
  enum { N = 20000 };
  double lo = log(1e-2), hi = log(1e40), step = (hi - lo) / N, sum = 0;
  double s = theta * pow(d, alpha);
  for (int i = 0; i <= N; i++) {
    double r = exp(lo + i * step), weak = s * pow(r, -alpha);
    double density = -phi * expm1(-2.4 * M_PI * phi * r * r);
    double value = 2 * M_PI * density * r * r * weak / (1 + weak);
    sum += value * (i == 0 || i == N ? 1 : i % 2 ? 4 : 2);
  }
  return exp(-sum * step / 3);
}

static void success_probability(void **state) {
  (void)state;
  enum { N = 20000 };
  /* at 2.2 the far field, which is not drawn but counted by its mean, is most of the interference
   */
  static const double alphas[] = {3.8, 2.2}, distances[] = {60, 150},
                      thresholds_db[] = {-15, 0, 15};
  for (int a = 0; a < 2; a++) {
    char yaml[256];
    snprintf(yaml, sizeof yaml,
             "cell: {pathloss: power-law, pathloss_exponent: %g, interferer_density_per_m2: 1e-5, "
             "interferer_power_w: 0.2}\npopulation: {devices: 20000}\n",
             alphas[a]);
    fixture f = fixture_make(yaml);
    fc_profile p = {.pathloss = 1};
    int heard[6] = {0};
    for (uint32_t k = 0; k < N; k++) {
      fc_channel h = fc_cell_channel(f.cell, &p, 1, k);
      assert_true(h.interference_up_w > 0 && isfinite(h.interference_up_w));
      for (int i = 0; i < 6; i++) {
        double gain = h.gain_up * pow(distances[i / 3], -alphas[a]);
        heard[i] += 0.2 * gain >= pow(10, thresholds_db[i % 3] / 10) * h.interference_up_w;
      }
    }
    for (int i = 0; i < 6; i++) {
      double theta = pow(10, thresholds_db[i % 3] / 10);
      double q = success_closed_form(distances[i / 3], alphas[a], theta);
      assert_close(heard[i] / (double)N, q, 4 * sqrt(q * (1 - q) / N));
    }
    fixture_drop(&f);
  }
}

static void averaged_over_the_distance_as_published(void **state) {
  (void)state;
  enum { N = 20000 };
  /* interference only, distances Rayleigh with density 1.25 phi: 0.907, 0.525, 0.144 */
  fixture f = fixture_make("cell: {pathloss: power-law, pathloss_exponent: 3.8, "
                           "interferer_density_per_m2: 1e-5, interferer_power_w: 0.2}\n"
                           "population: {devices: 20000}\n");
  static const double thresholds_db[] = {-15, 0, 15}, expected[] = {0.907, 0.525, 0.144};
  int heard[3] = {0};
  for (uint32_t k = 0; k < N; k++) {
    fc_rng rng = fc_rng_open(FIXTURE_SEED, FC_RNG_TEST, 0, k);
    double d = sqrt(fc_rng_exponential(&rng) / (M_PI * 1.25 * phi));
    fc_profile p = {.pathloss = fmin(1, pow(d, -3.8))};
    fc_channel h = fc_cell_channel(f.cell, &p, 2, k);
    for (int j = 0; j < 3; j++)
      heard[j] += 0.2 * h.gain_up >= pow(10, thresholds_db[j] / 10) * h.interference_up_w;
  }
  for (int j = 0; j < 3; j++) {
    double q = expected[j];
    assert_close(heard[j] / (double)N, q, 4 * sqrt(q * (1 - q) / N) + 5e-4); /* three digits */
  }
  fixture_drop(&f);
}

static void interference_is_a_function_of_round_and_device(void **state) {
  (void)state;
  const char *yaml = "cell: {pathloss: power-law, interferer_density_per_m2: 1e-5}";
  fixture a = fixture_make(yaml), b = fixture_make(yaml);
  fixture none = fixture_make("cell: {pathloss: power-law}");
  fixture loud = fixture_make("cell: {pathloss: power-law, interferer_density_per_m2: 1e-5, "
                              "interferer_power_w: 0.4}");
  fc_profile p = fc_cell_profile(a.cell, 5);
  fc_channel h = fc_cell_channel(a.cell, &p, 9, 5), again = fc_cell_channel(b.cell, &p, 9, 5);
  assert_true(h.interference_up_w == again.interference_up_w);
  assert_true(h.interference_up_w != fc_cell_channel(a.cell, &p, 10, 5).interference_up_w);
  assert_true(h.interference_up_w != fc_cell_channel(a.cell, &p, 9, 6).interference_up_w);
  /* its draws lie apart from those of the fading */
  fc_channel quiet = fc_cell_channel(none.cell, &p, 9, 5);
  assert_true(quiet.interference_up_w == 0);
  assert_true(quiet.gain_up == h.gain_up && quiet.gain_down == h.gain_down);
  assert_relative(fc_cell_channel(loud.cell, &p, 9, 5).interference_up_w, 2 * h.interference_up_w,
                  1e-14);
  fixture_drop(&a);
  fixture_drop(&b);
  fixture_drop(&none);
  fixture_drop(&loud);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(success_probability),
      cmocka_unit_test(averaged_over_the_distance_as_published),
      cmocka_unit_test(interference_is_a_function_of_round_and_device),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
