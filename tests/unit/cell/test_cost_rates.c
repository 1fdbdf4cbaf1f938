/* Rates, latency, energy and outage against values computed by hand with 40 digits. */
#include "cell_fixture.h"

/* N0 = -174 dBm/Hz = 3.981071705534972507702523e-21 W/Hz; 1 MHz, 0.2 W, gain 1e-10: SNR 5023.77 */
static const double snr_1mhz = 5023.772863019160222170064;
static const double rate_1mhz = 12294842.66765970481576;

static void rate_over_the_allocated_share(void **state) {
  (void)state;
  fixture f = fixture_make("cell: {bandwidth_hz: 20e6}");
  assert_relative(fc_cell_noise_w(f.cell, 1e6), 3.981071705534972507702523e-15, 1e-14);
  assert_relative(fc_cell_sinr(f.cell, 1e6, 0.2, 1e-10, 0), snr_1mhz, 1e-13);
  assert_relative(fc_cell_rate_bps(f.cell, 1e6, 0.2, 1e-10), rate_1mhz, 1e-13);
  assert_relative(fc_cell_bandwidth_hz(f.cell), 20e6, 0);
  fixture_drop(&f);
}

static void rate_with_the_noise_of_the_whole_band(void **state) {
  (void)state;
  fixture f = fixture_make("cell: {bandwidth_hz: 20e6, noise: total}");
  assert_relative(fc_cell_rate_bps(f.cell, 1e6, 0.2, 1e-10), 7978359.497801247624747, 1e-13);
  /* [JCPBA (5)]: then the rate is proportional to the share */
  assert_relative(fc_cell_rate_bps(f.cell, 3e6, 0.2, 1e-10),
                  3 * fc_cell_rate_bps(f.cell, 1e6, 0.2, 1e-10), 1e-14);
  fixture_drop(&f);
}

static void constant_interference_adds_to_the_noise(void **state) {
  (void)state;
  fixture f = fixture_make("cell: {interference_dbm_per_hz: -170}");
  assert_relative(fc_cell_rate_bps(f.cell, 1e6, 0.2, 1e-10), 10483317.50011623536731, 1e-13);
  fixture_drop(&f);
}

static void tiny_snr_keeps_its_digits(void **state) {
  (void)state;
  fixture f = fixture_make("{}");
  /* SNR 5.02e-17: log2(1 + SNR) would be 0 */
  assert_relative(fc_cell_rate_bps(f.cell, 1e6, 0.2, 1e-30), 7.247772196030291937546e-11, 1e-13);
  fixture_drop(&f);
}

static void efficiency_is_capped(void **state) {
  (void)state;
  fixture f = fixture_make("cell: {spectral_efficiency_max: 7.5}");
  assert_relative(fc_cell_rate_bps(f.cell, 1e6, 0.2, 1e-10), 7.5e6, 1e-15);
  assert_relative(fc_cell_rate_bps(f.cell, 1e6, 1e6, 1), 7.5e6, 1e-15);
  assert_relative(fc_cell_rate_bps(f.cell, 1e6, 0.2, 1e-30), 7.247772196030291937546e-11, 1e-13);
  fixture_drop(&f);
}

static void server_power_full_or_shared(void **state) {
  (void)state;
  fixture full = fixture_make("cell: {server_power_w: 10}");
  fixture shared = fixture_make("cell: {server_power_w: 10, server_power: shared}");
  fc_profile p = {.compute_flops = 1e12, .tx_power_w = 0.2};
  fc_channel h = {.gain_down = 1e-10, .gain_up = 1e-10};
  fc_work_load load = {.downlink_bits = 1};
  fc_cost c = fc_cell_cost(full.cell, &p, &h, &load, 1e6);
  assert_relative(c.rate_down_bps, 17938417.45585273111977, 1e-13);
  c = fc_cell_cost(shared.cell, &p, &h, &load, 1e6);
  assert_relative(c.rate_down_bps, 13616598.48237974193245, 1e-13);
  assert_relative(fc_cell_server_power_w(shared.cell, 1e6), 0.5, 1e-15);
  fixture_drop(&full);
  fixture_drop(&shared);
}

/* A device whose three steps take 2 s, 5 s and 4 s at 1 MHz under an efficiency cap of 1 bit/s/Hz.
 */
static const char simple_cell[] = "cell: {spectral_efficiency_max: 1}";
static const fc_profile simple_profile = {
    .compute_flops = 2e12, .tx_power_w = 0.25, .energy_per_flop_j = 3e-12};
static const fc_channel good_channel = {.gain_down = 1e-10, .gain_up = 1e-10};
static const fc_work_load simple_load = {.flop = 1e13, .downlink_bits = 2e6, .uplink_bits = 4e6};

static void latency_and_energy(void **state) {
  (void)state;
  fixture f = fixture_make(simple_cell);
  fc_cost c = fc_cell_cost(f.cell, &simple_profile, &good_channel, &simple_load, 1e6);
  assert_relative(c.downlink_s, 2, 1e-15);
  assert_relative(c.compute_s, 5, 1e-15);
  assert_relative(c.uplink_s, 4, 1e-15);
  assert_relative(c.latency_s, 11, 1e-15);
  assert_relative(c.compute_j, 30, 1e-15);
  assert_relative(c.uplink_j, 1, 1e-15);
  assert_relative(c.energy_j, 31, 1e-15);
  assert_relative(c.rate_up_bps, 1e6, 1e-15);
  assert_relative(c.rate_down_bps, 1e6, 1e-15);
  assert_true(c.delivered);
  fixture_drop(&f);
}

static void deadline_cuts_where_it_falls(void **state) {
  (void)state;
  static const struct {
    const char *yaml;
    double down_s, compute_s, up_s, compute_j, up_j;
    bool delivered;
  } cases[] = {
      {"cell: {spectral_efficiency_max: 1, deadline_s: 11}", 2, 5, 4, 30, 1, true},
      {"cell: {spectral_efficiency_max: 1, deadline_s: 9}", 2, 5, 2, 30, 0.5, false},
      {"cell: {spectral_efficiency_max: 1, deadline_s: 3}", 2, 1, 0, 6, 0, false},
      {"cell: {spectral_efficiency_max: 1, deadline_s: 0.5}", 0.5, 0, 0, 0, 0, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fixture f = fixture_make(cases[i].yaml);
    fc_cost c = fc_cell_cost(f.cell, &simple_profile, &good_channel, &simple_load, 1e6);
    assert_close(c.downlink_s, cases[i].down_s, 1e-12);
    assert_close(c.compute_s, cases[i].compute_s, 1e-12);
    assert_close(c.uplink_s, cases[i].up_s, 1e-12);
    assert_close(c.latency_s, cases[i].down_s + cases[i].compute_s + cases[i].up_s, 1e-12);
    assert_close(c.compute_j, cases[i].compute_j, 1e-12);
    assert_close(c.uplink_j, cases[i].up_j, 1e-12);
    assert_close(c.energy_j, cases[i].compute_j + cases[i].up_j, 1e-12);
    assert_int_equal(c.delivered, cases[i].delivered);
    fixture_drop(&f);
  }
}

static void outage_below_the_snr_threshold(void **state) {
  (void)state;
  /* SNR of 1 MHz, 0.2 W, 1e-10 is 37.0103 dB */
  static const struct {
    const char *yaml;
    bool delivered;
  } cases[] = {{"cell: {outage_snr_db: 37.01}", true}, {"cell: {outage_snr_db: 37.011}", false}};
  fc_profile p = {.compute_flops = 1e12, .tx_power_w = 0.2};
  for (size_t i = 0; i < 2; i++) {
    fixture f = fixture_make(cases[i].yaml);
    fc_cost c = fc_cell_cost(f.cell, &p, &good_channel, &simple_load, 1e6);
    assert_int_equal(c.delivered, cases[i].delivered);
    /* lost, but spent all the same */
    assert_relative(c.uplink_j, 0.2 * 4e6 / rate_1mhz, 1e-12);
    fc_work_load silent = {.flop = 1e12, .downlink_bits = 1e6};
    assert_true(fc_cell_cost(f.cell, &p, &good_channel, &silent, 1e6).delivered);
    fixture_drop(&f);
  }
}

static void interferers_lower_the_upload_only(void **state) {
  (void)state;
  fixture f = fixture_make("{}");
  fc_profile p = {.compute_flops = 1e12, .tx_power_w = 0.2};
  fc_channel h = good_channel;
  /* as much as the noise of -170 dBm/Hz over 1 MHz */
  h.interference_up_w = 1e-14;
  fc_cost c = fc_cell_cost(f.cell, &p, &h, &simple_load, 1e6);
  assert_relative(c.rate_up_bps, 10483317.50011623536731, 1e-13);
  assert_relative(c.rate_down_bps, 17938417.45585273111977, 1e-13);
  fixture_drop(&f);
}

static void assert_no_nan(const fc_cost *c) {
  assert_false(isnan(c->compute_s) || isnan(c->downlink_s) || isnan(c->uplink_s));
  assert_false(isnan(c->latency_s) || isnan(c->compute_j) || isnan(c->uplink_j));
  assert_false(isnan(c->energy_j) || isnan(c->rate_up_bps) || isnan(c->rate_down_bps));
}

static void no_bandwidth_is_an_endless_outage(void **state) {
  (void)state;
  static const char *const noises[] = {"cell: {noise: allocated}", "cell: {noise: total}"};
  for (int i = 0; i < 2; i++) {
    fixture f = fixture_make(noises[i]);
    assert_true(fc_cell_rate_bps(f.cell, 0, 0.2, 1e-10) == 0);
    assert_true(fc_cell_sinr(f.cell, 0, 0.2, 1e-10, 0) == 0);
    assert_true(fc_cell_sinr(f.cell, 0, 0, 0, 0) == 0);
    fc_cost c = fc_cell_cost(f.cell, &simple_profile, &good_channel, &simple_load, 0);
    assert_no_nan(&c);
    assert_true(isinf(c.latency_s) && c.latency_s > 0);
    assert_false(c.delivered);
    assert_true(c.energy_j == 0); /* never got the model: neither computed nor sent */
    fixture_drop(&f);
  }
}

static void no_gain_is_an_endless_outage(void **state) {
  (void)state;
  fixture f = fixture_make("{}");
  fc_channel h = {.gain_down = 1e-10, .gain_up = 0};
  fc_cost c = fc_cell_cost(f.cell, &simple_profile, &h, &simple_load, 1e6);
  assert_no_nan(&c);
  assert_true(isinf(c.latency_s));
  assert_false(c.delivered);
  assert_relative(c.energy_j, 30, 1e-15); /* computed in vain, nothing sent */
  fixture_drop(&f);

  f = fixture_make("cell: {deadline_s: 7}");
  c = fc_cell_cost(f.cell, &simple_profile, &h, &simple_load, 1e6);
  assert_no_nan(&c);
  assert_relative(c.latency_s, 7, 1e-15);
  assert_false(c.delivered);
  fixture_drop(&f);
}

static void no_work_takes_no_time(void **state) {
  (void)state;
  fixture f = fixture_make("{}");
  fc_profile p = {0};
  fc_channel h = {0};
  fc_work_load nothing = {0};
  fc_cost c = fc_cell_cost(f.cell, &p, &h, &nothing, 0);
  assert_no_nan(&c);
  assert_true(c.latency_s == 0 && c.energy_j == 0 && c.delivered);
  /* a device that cannot compute */
  fc_work_load work = {.flop = 1};
  c = fc_cell_cost(f.cell, &p, &h, &work, 0);
  assert_no_nan(&c);
  assert_true(isinf(c.latency_s) && !c.delivered);
  fixture_drop(&f);
}

static void huge_snr_is_finite_under_the_cap(void **state) {
  (void)state;
  fixture f = fixture_make("cell: {noise_dbm_per_hz: -250, spectral_efficiency_max: 10}");
  fc_profile p = {.compute_flops = 1e12, .tx_power_w = 1e6};
  fc_channel h = {.gain_down = 1e300, .gain_up = 1e300}; /* SNR overflows */
  fc_cost c = fc_cell_cost(f.cell, &p, &h, &simple_load, 1e6);
  assert_no_nan(&c);
  assert_relative(c.rate_up_bps, 1e7, 1e-15);
  assert_true(c.delivered);
  fixture_drop(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rate_over_the_allocated_share),
      cmocka_unit_test(rate_with_the_noise_of_the_whole_band),
      cmocka_unit_test(constant_interference_adds_to_the_noise),
      cmocka_unit_test(tiny_snr_keeps_its_digits),
      cmocka_unit_test(efficiency_is_capped),
      cmocka_unit_test(server_power_full_or_shared),
      cmocka_unit_test(latency_and_energy),
      cmocka_unit_test(deadline_cuts_where_it_falls),
      cmocka_unit_test(outage_below_the_snr_threshold),
      cmocka_unit_test(interferers_lower_the_upload_only),
      cmocka_unit_test(no_bandwidth_is_an_endless_outage),
      cmocka_unit_test(no_gain_is_an_endless_outage),
      cmocka_unit_test(no_work_takes_no_time),
      cmocka_unit_test(huge_snr_is_finite_under_the_cap),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
