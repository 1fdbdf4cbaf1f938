/* Profiles: distributions, determinism, prefix stability, energy per FLOP, and the faults that two
 * options make together. */
#include "cell_fixture.h"

static const char varied[] = "population:\n"
                             "  devices: %d\n"
                             "  compute_flops: {log_uniform: [1e11, 1e13]}\n"
                             "  tx_power_w: {choice: [0.1, 0.2]}\n"
                             "  memory_bytes: {uniform: [4e9, 8e9]}\n"
                             "  battery_j: {normal: [40e3, 5e3]}\n"
                             "cell: {pathloss: umi, fading: rician}\n";

static fixture make_varied(int devices, uint64_t seed) {
  char yaml[512];
  snprintf(yaml, sizeof yaml, varied, devices);
  return fixture_seeded(yaml, seed);
}

static void assert_same_profile(const fc_profile *a, const fc_profile *b) {
  assert_true(a->compute_flops == b->compute_flops && a->tx_power_w == b->tx_power_w);
  assert_true(a->energy_per_flop_j == b->energy_per_flop_j && a->battery_j == b->battery_j);
  assert_true(a->memory_bytes == b->memory_bytes && a->distance_m == b->distance_m);
  assert_true(a->pathloss == b->pathloss);
}

static void a_device_does_not_depend_on_how_many_there_are(void **state) {
  (void)state;
  fixture few = make_varied(10, 1), many = make_varied(1000000, 1), other = make_varied(10, 2);
  assert_int_equal(fc_cell_devices(few.cell), 10);
  assert_int_equal(fc_cell_devices(many.cell), 1000000);
  for (uint32_t d = 0; d < 10; d++) {
    fc_profile a = fc_cell_profile(few.cell, d), b = fc_cell_profile(many.cell, d);
    fc_profile c = fc_cell_profile(other.cell, d);
    assert_same_profile(&a, &b);
    assert_true(a.compute_flops != c.compute_flops && a.distance_m != c.distance_m);
    fc_channel g = fc_cell_channel(few.cell, &a, 5, d), h = fc_cell_channel(many.cell, &b, 5, d);
    assert_true(g.gain_up == h.gain_up && g.gain_down == h.gain_down);
  }
  fixture_drop(&few);
  fixture_drop(&many);
  fixture_drop(&other);
}

static void draws_follow_their_distributions(void **state) {
  (void)state;
  enum { N = 20000 };
  fixture f = make_varied(N, 3);
  double log_speed = 0, memory = 0, battery = 0;
  int strong = 0;
  for (uint32_t d = 0; d < N; d++) {
    fc_profile p = fc_cell_profile(f.cell, d);
    assert_true(p.compute_flops >= 1e11 && p.compute_flops <= 1e13);
    assert_true(p.tx_power_w == 0.1 || p.tx_power_w == 0.2);
    log_speed += log10(p.compute_flops);
    memory += p.memory_bytes;
    battery += p.battery_j;
    strong += p.tx_power_w == 0.2;
  }
  assert_close(log_speed / N, 12, 4 * 2 / sqrt(12.0 * N));
  assert_close(memory / N, 6e9, 4 * 4e9 / sqrt(12.0 * N));
  assert_close(battery / N, 40e3, 4 * 5e3 / sqrt(N));
  assert_close(strong / (double)N, 0.5, 4 * 0.5 / sqrt(N));
  fixture_drop(&f);
}

static void fields_are_drawn_apart(void **state) {
  (void)state;
  /* a field that takes other words leaves the rest as it was */
  fixture a = fixture_make("population: {compute_flops: {uniform: [1e12, 2e12]}, "
                           "memory_bytes: {uniform: [4e9, 8e9]}}");
  fixture b = fixture_make("population: {compute_flops: {normal: [1e12, 1e11]}, "
                           "memory_bytes: {uniform: [4e9, 8e9]}}");
  double product = 0;
  for (uint32_t d = 0; d < 100; d++) {
    fc_profile p = fc_cell_profile(a.cell, d), q = fc_cell_profile(b.cell, d);
    assert_true(p.memory_bytes == q.memory_bytes && p.distance_m == q.distance_m);
    product += (p.memory_bytes / 4e9 - 1.5) * (p.compute_flops / 1e12 - 1.5) * 12;
  }
  assert_close(product / 100, 0, 0.4); /* independent: standard error 0.1 */
  fixture_drop(&a);
  fixture_drop(&b);
}

static void energy_has_a_constant_and_a_kappa_part(void **state) {
  (void)state;
  fixture f = fixture_make("population: {compute_flops: 2e12, energy_per_flop_j: 3e-12, "
                           "energy_kappa: 1e-36}");
  /* 3e-12 + 1e-36 (2e12)^2 = 7e-12 */
  assert_relative(fc_cell_profile(f.cell, 0).energy_per_flop_j, 7e-12, 1e-14);
  fixture_drop(&f);
}

static void no_battery_option_means_mains(void **state) {
  (void)state;
  fixture mains = fixture_make("{}"), small = fixture_make("population: {battery_j: 5}");
  assert_true(isinf(fc_cell_profile(mains.cell, 0).battery_j));
  assert_true(fc_cell_profile(small.cell, 0).battery_j == 5);
  fixture_drop(&mains);
  fixture_drop(&small);
}

/* Worked out apart from this program, from NumPy's Philox 4x64-10 and the formulas (umi without
 * line of sight, Rician 9 dB): a change of any stream's layout shows here. */
static void golden_device(void **state) {
  (void)state;
  fixture f = make_varied(5, 42);
  fc_profile p = fc_cell_profile(f.cell, 3);
  fc_channel h = fc_cell_channel(f.cell, &p, 7, 3);
  assert_relative(p.compute_flops, 292828266720.96954, 1e-12);
  assert_relative(p.distance_m, 389.6719550485725, 1e-12);
  assert_relative(p.pathloss, 3.5151217648569093e-12, 1e-11);
  assert_relative(h.gain_up, 1.4256536346989166e-12, 1e-11);
  assert_relative(h.gain_down, 4.3673198165704251e-13, 1e-11);
  fixture_drop(&f);
}

static void faults_of_two_options(void **state) {
  (void)state;
  static const struct {
    const char *yaml, *first, *told;
  } cases[] = {
      {"cell:\n  min_distance_m: 600\n", "cell.min_distance_m: must be at most cell.radius_m = 500",
       "test.yaml:2: cell.min_distance_m = 600: must be at most cell.radius_m = 500"},
      {"cell:\n  pathloss: uma\n  min_distance_m: 5\n",
       "cell.min_distance_m: must be at least 10 with cell.pathloss = uma",
       "test.yaml:3: cell.min_distance_m = 5: must be at least 10 with cell.pathloss = uma"},
      {"cell:\n  pathloss: rma\n  radius_m: 6000\n",
       "cell.radius_m: must be at most 5000 with cell.pathloss = rma",
       "test.yaml:3: cell.radius_m = 6000: must be at most 5000 with cell.pathloss = rma"},
      {"cell:\n  pathloss: umi\n  device_height_m: 1\n",
       "cell.device_height_m: must be at least 1.5 with cell.pathloss = umi",
       "test.yaml:3: cell.device_height_m = 1: must be at least 1.5 with cell.pathloss = umi"},
      {"cell:\n  pathloss: umi\n  device_height_m: 11\n",
       "cell.base_height_m: must be above cell.device_height_m = 11",
       "test.yaml: cell.base_height_m = 0 (default): must be above cell.device_height_m = 11"},
      {"cell:\n  pathloss: rma-los\n  carrier_hz: 31e9\n",
       "cell.carrier_hz: must be at most 30000000000 with cell.pathloss = rma-los",
       "test.yaml:3: cell.carrier_hz = 3.1e+10: must be at most 30000000000 with "
       "cell.pathloss = rma-los"},
      {"cell:\n  interferer_density_per_m2: 0.5\n",
       "cell.interferer_density_per_m2: needs cell.pathloss = power-law, not fixed",
       "test.yaml:2: cell.interferer_density_per_m2 = 0.5: needs cell.pathloss = power-law, "
       "not fixed"},
      {"cell:\n  pathloss: power-law\n  pathloss_exponent: 2\n  interferer_density_per_m2: 0.5\n",
       "cell.pathloss_exponent: must be above 2 with interferers: their sum has no end otherwise",
       "test.yaml:3: cell.pathloss_exponent = 2: must be above 2 with interferers: their sum has "
       "no "
       "end otherwise"},
      {"cell:\n  mobility: waypoint\n  mobility_period_s: 60000\n",
       "cell.mobility_period_s: a device moves 84000 m in it, more than 100 times cell.radius_m; "
       "use cell.mobility = redraw",
       "test.yaml:3: cell.mobility_period_s = 60000: a device moves 84000 m in it, more than "
       "100 times cell.radius_m; use cell.mobility = redraw"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fc_config *cfg = fixture_config(cases[i].yaml);
    fc_cell *cell = (fc_cell *)cfg;
    assert_int_equal(fc_cell_create(cfg, 1, &cell), FC_ERR_USAGE);
    assert_null(cell);
    assert_string_equal(fc_err_message(), cases[i].first);
    assert_int_equal(fc_config_finish(cfg), FC_ERR_USAGE);
    if (strstr(fc_err_message(), cases[i].told) == NULL)
      fail_msg("\"%s\" is not in \"%s\"", cases[i].told, fc_err_message());
    fc_config_destroy(&cfg);
  }
}

static void several_faults_are_told_together(void **state) {
  (void)state;
  fc_config *cfg =
      fixture_config("cell:\n  pathloss: uma\n  radius_m: 6000\n  min_distance_m: 1\n");
  fc_cell *cell;
  assert_int_equal(fc_cell_create(cfg, 1, &cell), FC_ERR_USAGE);
  assert_int_equal(fc_config_finish(cfg), FC_ERR_USAGE);
  assert_non_null(strstr(fc_err_message(), "cell.min_distance_m = 1: must be at least 10"));
  assert_non_null(strstr(fc_err_message(), "cell.radius_m = 6000: must be at most 5000"));
  fc_config_destroy(&cfg);
}

static void bad_values_do_not_stop_the_other_checks(void **state) {
  (void)state;
  fc_config *cfg = fixture_config("cell:\n  radius_m: -5\n  fading: strong\n  min_distance_m: 600\n"
                                  "population: {devices: many}\n");
  fc_cell *cell;
  assert_int_equal(fc_cell_create(cfg, 1, &cell), FC_ERR_USAGE);
  assert_int_equal(fc_config_finish(cfg), FC_ERR_USAGE);
  assert_non_null(strstr(fc_err_message(), "cell.radius_m = -5"));
  assert_non_null(strstr(fc_err_message(), "cell.fading = strong"));
  assert_non_null(strstr(fc_err_message(), "population.devices = many"));
  assert_non_null(strstr(fc_err_message(), "must be at most cell.radius_m = 500"));
  fc_config_destroy(&cfg);
}

static void destroy_accepts_nothing(void **state) {
  (void)state;
  fc_cell *none = NULL;
  fc_cell_destroy(&none);
  assert_null(none);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_device_does_not_depend_on_how_many_there_are),
      cmocka_unit_test(draws_follow_their_distributions),
      cmocka_unit_test(fields_are_drawn_apart),
      cmocka_unit_test(energy_has_a_constant_and_a_kappa_part),
      cmocka_unit_test(no_battery_option_means_mains),
      cmocka_unit_test(golden_device),
      cmocka_unit_test(faults_of_two_options),
      cmocka_unit_test(several_faults_are_told_together),
      cmocka_unit_test(bad_values_do_not_stop_the_other_checks),
      cmocka_unit_test(destroy_accepts_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
