/* Path loss against hand-computed values, each model at distances on both sides of its breakpoint,
 * and the probability of a line of sight. */
#include "cell_fixture.h"
#include "cell.h"
#include <stdlib.h>
#include <unistd.h>

/* Loss in dB of a device that a trace puts at the distance; no shadowing. */
static double loss_db(const char *model, double distance_m, const char *more) {
  char path[] = "/tmp/fedcell_pathloss_XXXXXX", text[128], yaml[512];
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  int n = snprintf(text, sizeof text, "distance_m\n%.17g\n", distance_m);
  assert_int_equal(write(fd, text, (size_t)n), n);
  close(fd);
  snprintf(yaml, sizeof yaml,
           "cell: {pathloss: %s, shadowing_db: 0, radius_m: 5000%s}\n"
           "population: {devices: 1, trace: %s}\n",
           model, more, path);
  fixture f = fixture_make(yaml);
  fc_profile p = fc_cell_profile(f.cell, 0);
  assert_relative(p.distance_m, distance_m, 1e-12);
  fixture_drop(&f);
  unlink(path);
  return -10 * log10(p.pathloss);
}

static void models_at_3500_mhz(void **state) {
  (void)state;
  /* [TR 38.901] Table 7.4.1-1; breakpoints 560 m, 210 m, 3848 m */
  static const struct {
    const char *model;
    double distance_m, loss_db;
  } cases[] = {
      {"uma-los", 10, 69.839916},     {"uma-los", 100, 83.138157},
      {"uma-los", 1000, 109.411895},  {"uma-los", 5000, 137.366091},
      {"uma-nlos", 10, 79.415012},    {"uma-nlos", 100, 103.037524},
      {"uma-nlos", 1000, 141.666046}, {"uma-nlos", 5000, 168.977296},
      {"umi-los", 10, 66.761033},     {"umi-los", 100, 85.314189},
      {"umi-los", 1000, 119.153068},  {"umi-los", 5000, 147.111266},
      {"umi-nlos", 10, 73.456860},    {"umi-nlos", 100, 104.643832},
      {"umi-nlos", 1000, 139.889203}, {"umi-nlos", 5000, 164.562313},
      {"rma-los", 10, 74.280364},     {"rma-los", 100, 84.198415},
      {"rma-los", 1000, 105.459646},  {"rma-los", 5000, 125.969025},
      {"rma-nlos", 10, 74.280364},    {"rma-nlos", 100, 92.673797},
      {"rma-nlos", 1000, 130.424306}, {"rma-nlos", 5000, 157.418853},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_close(loss_db(cases[i].model, cases[i].distance_m, ""), cases[i].loss_db, 1e-6);
}

static void heights_streets_and_carrier(void **state) {
  (void)state;
  const char *rural = ", carrier_hz: 2e9, base_height_m: 25, device_height_m: 3, "
                      "building_height_m: 10, street_width_m: 30";
  assert_close(loss_db("rma-los", 700, rural), 98.939883, 1e-6);
  assert_close(loss_db("rma-nlos", 700, rural), 122.096799, 1e-6);
  assert_close(loss_db("rma-los", 4000, rural), 122.082061, 1e-6);
  assert_close(loss_db("rma-nlos", 4000, rural), 151.675583, 1e-6);
  assert_close(loss_db("uma-nlos", 300, ", carrier_hz: 28e9, device_height_m: 10"), 134.210248,
               1e-6);
  assert_close(loss_db("umi-los", 300, ", carrier_hz: 28e9, device_height_m: 5"), 113.363973, 1e-6);
}

static void fixed_and_power_law(void **state) {
  (void)state;
  assert_close(loss_db("fixed", 77, ", pathloss_db: 60"), 60, 1e-12);
  /* 38 dB a decade from 1 m */
  assert_close(loss_db("power-law", 100, ""), 76, 1e-11);
  assert_close(loss_db("power-law", 1000,
                       ", pathloss_exponent: 3, pathloss_reference_db: 40, "
                       "pathloss_reference_m: 10"),
               100, 1e-11);
  /* closer than the reference the gain stays 1 */
  assert_true(loss_db("power-law", 20, ", pathloss_reference_m: 50") == 0);
}

static void sight_probabilities(void **state) {
  (void)state;
  /* [TR 38.901] Table 7.4.2-1, worked out at 100 m and 500 m */
  static const struct {
    const char *model;
    double near_m, at_100_m, at_500_m;
  } cases[] = {{"uma", 18, 0.3476708368442, 0.0363445842566},
               {"umi", 18, 0.2309847496981, 0.0360008957962},
               {"rma", 10, 0.9139311852713, 0.6126263941844}};
  for (size_t i = 0; i < 3; i++) {
    size_t m = 0;
    while (strcmp(pathloss_models[m].name, cases[i].model) != 0) m++;
    assert_true(pathloss_models[m].los_probability(cases[i].near_m) == 1);
    assert_close(pathloss_models[m].los_probability(100), cases[i].at_100_m, 1e-11);
    assert_close(pathloss_models[m].los_probability(500), cases[i].at_500_m, 1e-11);
  }
}

static void sight_is_drawn_with_its_probability(void **state) {
  (void)state;
  enum { N = 20000 };
  /* everyone at 100 m: two losses only, the lower one with P(LOS) = 0.3477 */
  fixture f = fixture_make("cell: {pathloss: uma, shadowing_db: 0, radius_m: 100, "
                           "min_distance_m: 100}\npopulation: {devices: 20000}\n");
  int los = 0;
  for (uint32_t d = 0; d < N; d++) {
    double loss = -10 * log10(fc_cell_profile(f.cell, d).pathloss);
    bool near_los = fabs(loss - 83.138157) < 1e-5;
    assert_true(near_los || fabs(loss - 103.037524) < 1e-5);
    los += near_los;
  }
  /* four standard errors: 4 sqrt(p(1-p)/N) = 0.0135 */
  assert_close(los / (double)N, 0.3476708368442, 0.0135);
  fixture_drop(&f);
}

static void shadowing_is_log_normal(void **state) {
  (void)state;
  enum { N = 20000 };
  static const struct {
    const char *yaml;
    double median_db, sigma_db;
  } cases[] = {
      {"cell: {pathloss: fixed, pathloss_db: 100, shadowing_db: 8}\n"
       "population: {devices: 20000}\n",
       100, 8},
      {"cell: {pathloss: umi-nlos, radius_m: 100, min_distance_m: 100}\n" /* the model's own */
       "population: {devices: 20000}\n",
       104.643832, 7.82},
      {"cell: {pathloss: fixed, pathloss_db: 100}\npopulation: {devices: 20000}\n", 100, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fixture f = fixture_make(cases[i].yaml);
    double sum = 0, square = 0, sigma = cases[i].sigma_db;
    for (uint32_t d = 0; d < N; d++) {
      double x = -10 * log10(fc_cell_profile(f.cell, d).pathloss) - cases[i].median_db;
      sum += x;
      square += x * x;
    }
    /* four standard errors of the mean, sigma/sqrt(N), and of the variance, sigma^2 sqrt(2/N) */
    assert_close(sum / N, 0, 4 * sigma / sqrt(N) + 1e-6);
    assert_close(square / N, sigma * sigma, 4 * sigma * sigma * sqrt(2.0 / N) + 1e-6);
    fixture_drop(&f);
  }
}

static void shadowing_never_amplifies(void **state) {
  (void)state;
  fixture f = fixture_make("cell: {pathloss_db: 3, shadowing_db: 10}");
  int at_one = 0;
  for (uint32_t d = 0; d < 100; d++) {
    double gain = fc_cell_profile(f.cell, d).pathloss;
    assert_true(gain > 0 && gain <= 1);
    at_one += gain == 1;
  }
  assert_true(at_one > 10);
  fixture_drop(&f);
}

static void names_end(void **state) {
  (void)state;
  assert_string_equal(fc_pathloss_name(0), "fixed");
  assert_string_equal(fc_pathloss_name(10), "rma-nlos");
  assert_null(fc_pathloss_name(11));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(models_at_3500_mhz),
      cmocka_unit_test(heights_streets_and_carrier),
      cmocka_unit_test(fixed_and_power_law),
      cmocka_unit_test(sight_probabilities),
      cmocka_unit_test(sight_is_drawn_with_its_probability),
      cmocka_unit_test(shadowing_is_log_normal),
      cmocka_unit_test(shadowing_never_amplifies),
      cmocka_unit_test(names_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
