/* Fading: distribution against closed forms, correlation over rounds, reciprocity, pairing. Bounds
 * are four standard errors of the sample, so a right program fails one check in 16,000. */
#include "cell_fixture.h"

enum { DEVICES = 200, ROUNDS = 500, SAMPLES = DEVICES * ROUNDS };

/* Uplink power of the fading alone. */
static double power(const fc_cell *cell, uint64_t round, uint32_t device) {
  fc_profile p = {.pathloss = 1};
  return fc_cell_channel(cell, &p, round, device).gain_up;
}

static void no_fading(void **state) {
  (void)state;
  fixture f = fixture_make("cell: {fading: none}");
  fc_profile p = {.pathloss = 0.25};
  fc_channel h = fc_cell_channel(f.cell, &p, 3, 5);
  assert_true(h.gain_up == 0.25 && h.gain_down == 0.25);
  assert_true(h.interference_up_w == 0);
  fixture_drop(&f);
}

static void rayleigh_power_is_exponential(void **state) {
  (void)state;
  fixture f = fixture_make("cell: {fading: rayleigh}\npopulation: {devices: 200}\n");
  static const double thresholds[] = {0.01, 0.1, 0.5, 1, 3};
  int below[5] = {0};
  double sum = 0, square = 0;
  for (uint32_t d = 0; d < DEVICES; d++)
    for (uint64_t t = 0; t < ROUNDS; t++) {
      double x = power(f.cell, t, d);
      sum += x;
      square += x * x;
      for (int i = 0; i < 5; i++) below[i] += x < thresholds[i];
    }
  assert_close(sum / SAMPLES, 1, 4 / sqrt(SAMPLES));           /* variance 1 */
  assert_close(square / SAMPLES, 2, 4 * sqrt(20.0 / SAMPLES)); /* var x^2 = 24 - 4 */
  for (int i = 0; i < 5; i++) {
    double q = 1 - exp(-thresholds[i]); /* outage: P(|h|^2 < theta) */
    assert_close(below[i] / (double)SAMPLES, q, 4 * sqrt(q * (1 - q) / SAMPLES));
  }
  fixture_drop(&f);
}

static void rayleigh_outage_through_the_whole_chain(void **state) {
  (void)state;
  /* mean SNR of 0.2 W over 100 dB and 1 MHz is 5023.77; threshold 30 dB = 1000 */
  fixture f = fixture_make("cell: {fading: rayleigh, outage_snr_db: 30, pathloss_db: 100}\n"
                           "population: {devices: 200, tx_power_w: 0.2}\n");
  fc_work_load load = {.uplink_bits = 1e6};
  int lost = 0;
  for (uint32_t d = 0; d < DEVICES; d++) {
    fc_profile p = fc_cell_profile(f.cell, d);
    for (uint64_t t = 0; t < ROUNDS; t++) {
      fc_channel h = fc_cell_channel(f.cell, &p, t, d);
      lost += !fc_cell_cost(f.cell, &p, &h, &load, 1e6).delivered;
    }
  }
  double q = 1 - exp(-1000 / 5023.772863019160);
  assert_close(lost / (double)SAMPLES, q, 4 * sqrt(q * (1 - q) / SAMPLES));
  fixture_drop(&f);
}

static void rician_moments(void **state) {
  (void)state;
  /* E|h|^2 = 1, var |h|^2 = (2K+1)/(K+1)^2 [Simon+Alouini 2005, table 2.2] */
  static const struct {
    const char *yaml;
    double k;
  } cases[] = {{"cell: {fading: rician, rician_k_db: 0}\npopulation: {devices: 200}\n", 1},
               {"cell: {fading: rician, rician_k_db: 10}\npopulation: {devices: 200}\n", 10}};
  for (int i = 0; i < 2; i++) {
    fixture f = fixture_make(cases[i].yaml);
    double sum = 0, square = 0, fourth = 0, k = cases[i].k;
    for (uint32_t d = 0; d < DEVICES; d++)
      for (uint64_t t = 0; t < ROUNDS; t++) {
        double x = power(f.cell, t, d) - 1;
        sum += x;
        square += x * x;
        fourth += x * x * x * x;
      }
    double variance = (2 * k + 1) / ((k + 1) * (k + 1));
    assert_close(sum / SAMPLES, 0, 4 * sqrt(variance / SAMPLES));
    assert_close(square / SAMPLES, variance,
                 4 * sqrt((fourth / SAMPLES - variance * variance) / SAMPLES));
    fixture_drop(&f);
  }
}

static void rician_limits(void **state) {
  (void)state;
  fixture rayleigh = fixture_make("cell: {fading: rayleigh}");
  fixture weak = fixture_make("cell: {fading: rician, rician_k_db: -100}");
  fixture strong = fixture_make("cell: {fading: rician, rician_k_db: 100}");
  for (uint64_t t = 0; t < 50; t++) {
    double x = power(rayleigh.cell, t, 7);
    assert_close(power(weak.cell, t, 7), x, 1e-4);
    assert_close(power(strong.cell, t, 7), 1, 1e-4);
  }
  fixture_drop(&rayleigh);
  fixture_drop(&weak);
  fixture_drop(&strong);
}

/* For Gauss-Markov h the powers correlate with r^(2 lag): E|h(t)|^2 |h(t+lag)|^2 = 1 + r^(2 lag).
 */
static double power_correlation(const char *yaml, uint64_t lag, uint64_t first) {
  enum { N = 20000 };
  fixture f = fixture_make(yaml);
  double sum = 0;
  for (uint32_t d = 0; d < N; d++) {
    /* one pair a device, at a place of the grid of its own: the pairs are independent */
    uint64_t t = first + d % 977;
    sum += (power(f.cell, t, d) - 1) * (power(f.cell, t + lag, d) - 1);
  }
  fixture_drop(&f);
  return sum / N;
}

static void gauss_markov_correlation(void **state) {
  (void)state;
  /* var of (x-1)(y-1) is at most E(x-1)^4 = 9 */
  double bound = 4 * 3 / sqrt(20000);
  static const struct {
    double r;
    uint64_t lag;
  } cases[] = {{0.5, 1}, {0.9, 0}, {0.9, 1}, {0.9, 6}, {0.99, 5}, {0.99, 33}, {0.99, 128}};
  char yaml[128];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    snprintf(yaml, sizeof yaml, "cell: {fading_correlation: %g}\npopulation: {devices: 20000}\n",
             cases[i].r);
    assert_close(power_correlation(yaml, cases[i].lag, 0), pow(cases[i].r, 2.0 * cases[i].lag),
                 bound);
  }
  /* the same far from the start */
  assert_close(power_correlation(yaml, 20, 1000000000), pow(0.99, 40), bound);
}

static void correlated_power_stays_exponential(void **state) {
  (void)state;
  enum { N = 20000 };
  fixture f = fixture_make("cell: {fading_correlation: 0.97}\npopulation: {devices: 20000}\n");
  for (uint64_t t = 0; t < 130; t += 43) {
    int below = 0;
    double sum = 0;
    for (uint32_t d = 0; d < N; d++) {
      double x = power(f.cell, t, d);
      sum += x;
      below += x < 0.1;
    }
    double q = 1 - exp(-0.1);
    assert_close(sum / N, 1, 4 / sqrt(N));
    assert_close(below / (double)N, q, 4 * sqrt(q * (1 - q) / N));
  }
  fixture_drop(&f);
}

static void nearly_constant_fading_moves_slowly(void **state) {
  (void)state;
  fixture f = fixture_make("cell: {fading_correlation: 0.999999}");
  for (uint32_t d = 0; d < 20; d++)
    for (uint64_t t = 0; t < 100; t++) /* |dh| ~ sqrt(2e-6), at most a few times that */
      assert_close(power(f.cell, t + 1, d), power(f.cell, t, d), 0.05);
  fixture_drop(&f);
}

static void up_and_down(void **state) {
  (void)state;
  fixture same = fixture_make("cell: {reciprocal: true}\npopulation: {devices: 20000}\n");
  fixture apart = fixture_make("cell: {reciprocal: false}\npopulation: {devices: 20000}\n");
  fc_profile p = {.pathloss = 0.5};
  double sum = 0, mean = 0;
  for (uint32_t d = 0; d < 20000; d++) {
    fc_channel h = fc_cell_channel(same.cell, &p, 1, d);
    assert_true(h.gain_up == h.gain_down);
    fc_channel g = fc_cell_channel(apart.cell, &p, 1, d);
    assert_true(g.gain_up == h.gain_up); /* the option changes the downlink alone */
    assert_true(g.gain_up != g.gain_down);
    mean += g.gain_down;
    sum += (g.gain_up / 0.5 - 1) * (g.gain_down / 0.5 - 1);
  }
  assert_close(mean / 20000, 0.5, 4 * 0.5 / sqrt(20000));
  assert_close(sum / 20000, 0, 4 / sqrt(20000));
  fixture_drop(&same);
  fixture_drop(&apart);
}

static void channels_depend_on_seed_round_and_device_alone(void **state) {
  (void)state;
  const char *correlated = "cell: {fading_correlation: 0.9}";
  fixture a = fixture_make(correlated), b = fixture_make(correlated);
  fixture c = fixture_seeded(correlated, FIXTURE_SEED + 1);
  double forward[40];
  for (int t = 0; t < 40; t++) forward[t] = power(a.cell, (uint64_t)t, 9);
  for (int t = 39; t >= 0; t--) { /* another order, another cell */
    assert_true(power(b.cell, (uint64_t)t, 9) == forward[t]);
    assert_true(power(b.cell, (uint64_t)t, 8) != forward[t]);
    assert_true(power(c.cell, (uint64_t)t, 9) != forward[t]);
  }
  fixture_drop(&a);
  fixture_drop(&b);
  fixture_drop(&c);
}

static void names_end(void **state) {
  (void)state;
  assert_string_equal(fc_fading_name(0), "none");
  assert_string_equal(fc_fading_name(2), "rician");
  assert_null(fc_fading_name(3));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_fading),
      cmocka_unit_test(rayleigh_power_is_exponential),
      cmocka_unit_test(rayleigh_outage_through_the_whole_chain),
      cmocka_unit_test(rician_moments),
      cmocka_unit_test(rician_limits),
      cmocka_unit_test(gauss_markov_correlation),
      cmocka_unit_test(correlated_power_stays_exponential),
      cmocka_unit_test(nearly_constant_fading_moves_slowly),
      cmocka_unit_test(up_and_down),
      cmocka_unit_test(channels_depend_on_seed_round_and_device_alone),
      cmocka_unit_test(names_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
