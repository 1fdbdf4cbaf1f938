/* What a round takes: bills against plain formulas, limits, who is dropped, rewards. */
#include "environment_fixture.h"

typedef struct {
  fc_scenario *s;
  fc_fl_state *state;
  fc_service *service;
  uint8_t select[64];
} setting;

static const fc_episode episode = {.seed = 3, .id = 0};

static void begin(setting *x, const char *settings) {
  memset(x, 0, sizeof *x);
  x->s = scenario_of(settings);
  assert_ok(fc_fl_state_create(x->s, &x->state));
  assert_ok(fc_service_create(x->state->devices, &x->service));
  assert_ok(fc_scenario_observe(x->s, &episode, 1, NULL, x->state));
}

static void end(setting *x) {
  fc_fl_state_destroy(&x->state);
  fc_service_destroy(&x->service);
  fc_scenario_destroy(&x->s);
  assert_null(x->service);
}

static void select_all(setting *x) {
  memset(x->select, 1, (size_t)x->state->devices);
}

static fc_err serve(setting *x) {
  return fc_scenario_serve(x->s, x->state, &(fc_decision){.select = x->select}, x->service);
}

/* [TELLM (5)-(9)] with decimal logarithms and powers, as printed. */
static void check_bill(const setting *x, int n) {
  const fc_environment_settings *set = fc_scenario_settings(x->s);
  const fc_service *v = x->service;
  const double f = v->frequency_hz[n], p = v->power_w[n], B = v->bandwidth_hz[n];
  const double cycles = set->cycles_per_sample * x->state->samples[n] * set->iterations;
  const double rate = B * log10(1 + p * x->state->gain[n] / (3.98107170553497e-21 * B)) / log10(2);
  assert_relative(v->cmp_j[n], 1e-28 * cycles * pow(f, 2), 1e-12);
  assert_relative(v->com_j[n], p * (53.21e6 / rate), 1e-9);
  assert_relative(v->device_time_s[n], cycles / f + 53.21e6 / rate, 1e-9);
  assert_true(f > 0 && f <= x->state->f_max_hz[n] * (1 + 1e-12));
  assert_true(p > 0 && p <= x->state->p_max_w[n] * (1 + 1e-12));
  assert_true(v->device_time_s[n] <= set->deadline_s * (1 + 1e-9));
}

static void check_sums(const setting *x) {
  const fc_service *v = x->service;
  double energy = 0, time = 0, band = 0;
  int served = 0;
  for (int n = 0; n < x->state->devices; n++) {
    if (v->takes_part[n]) {
      check_bill(x, n);
      assert_true(x->select[n]);
    } else {
      assert_true(v->frequency_hz[n] == 0 && v->power_w[n] == 0 && v->bandwidth_hz[n] == 0);
      assert_true(v->com_j[n] == 0 && v->cmp_j[n] == 0 && v->device_time_s[n] == 0);
    }
    energy += v->com_j[n] + v->cmp_j[n];
    time = fmax(time, v->device_time_s[n]);
    band += v->bandwidth_hz[n];
    served += v->takes_part[n];
  }
  assert_relative(v->energy_j, energy, 1e-12);
  assert_true(v->time_s == time);
  assert_int_equal(v->served, served);
  if (served > 0) assert_relative(band, 2e6, 1e-9);
}

static void bills_follow_the_formulas(void **unused) {
  (void)unused;
  static const char *const ways[] = {"", "environment.tool=exact", "environment.bandwidth=optimal"};
  double energy[3];
  for (int i = 0; i < 3; i++) {
    setting x;
    begin(&x, ways[i]);
    x.select[1] = x.select[2] = x.select[4] = 1;
    assert_ok(serve(&x));
    assert_int_equal(x.service->selected, 3);
    assert_int_equal(x.service->served, 3);
    check_sums(&x);
    energy[i] = x.service->energy_j;
    end(&x);
  }
  assert_relative(energy[0], energy[1], 1e-6);
  assert_true(energy[2] < energy[1]); /* bands chosen for it take less */
}

/* No other frequency takes less energy by the deadline. */
static void the_tool_finds_the_least_energy(void **unused) {
  (void)unused;
  setting x;
  begin(&x, "");
  x.select[0] = 1;
  assert_ok(serve(&x));
  const double gain = x.state->gain[0], best = x.service->energy_j;
  const double cycles = 7e5 * x.state->samples[0] * 3;
  for (double f = 1e8; f <= x.state->f_max_hz[0]; f *= 1.01) {
    const double left_s = 15 - cycles / f;
    if (left_s <= 0) continue;
    const double snr = pow(2, 53.21e6 / (left_s * 2e6)) - 1, p = snr * 3.98107e-21 * 2e6 / gain;
    if (p > x.state->p_max_w[0]) continue;
    assert_true(1e-28 * cycles * f * f + p * left_s >= best * (1 - 1e-5));
  }
  end(&x);
}

/* Devices with little power; the band serves some of them. */
static void who_misses_the_deadline_is_dropped(void **unused) {
  (void)unused;
  static const char *const ways[] = {"", "\nenvironment.bandwidth=optimal"};
  int served[2];
  for (int i = 0; i < 2; i++) {
    char settings[256];
    setting x;
    snprintf(settings, sizeof settings,
             "environment.devices=14\nenvironment.p_max_w={log_uniform: [1e-3, 1]}%s", ways[i]);
    begin(&x, settings);
    select_all(&x);
    assert_ok(serve(&x));
    assert_int_equal(x.service->selected, 14);
    served[i] = x.service->served;
    assert_in_range(served[i], 2, 13);
    check_sums(&x);
    /* those that are left are served again as they are */
    memcpy(x.select, x.service->takes_part, 14);
    const double energy_j = x.service->energy_j;
    assert_ok(serve(&x));
    assert_int_equal(x.service->selected, served[i]);
    assert_int_equal(x.service->served, served[i]);
    assert_true(x.service->energy_j == energy_j);
    end(&x);
  }
  assert_true(served[1] >= served[0]);
}

/* Of 14 devices no equal-band set is larger than the one that is left (all sets of that size and
 * one more, by what each device needs). */
static void no_more_could_be_served(void **unused) {
  (void)unused;
  setting x;
  begin(&x, "environment.devices=14\nenvironment.p_max_w={log_uniform: [1e-3, 1]}");
  select_all(&x);
  assert_ok(serve(&x));
  const int more = x.service->served + 1;
  int able = 0;
  for (int n = 0; n < 14; n++) {
    const double B = 2e6 / more;
    const double rate =
        B * log2(1 + x.state->p_max_w[n] * x.state->gain[n] / (3.98107170553497e-21 * B));
    const double cycles = 7e5 * x.state->samples[n] * 3;
    able += cycles / x.state->f_max_hz[n] + 53.21e6 / rate <= 15;
  }
  assert_true(able < more);
  end(&x);
}

static void nobody_left_is_idle(void **unused) {
  (void)unused;
  setting x;
  begin(&x, "environment.deadline_s=0.1\nenvironment.idle_reward=-0.5");
  for (int n = 0; n < DEVICES; n++)
    assert_true(isinf(x.state->com_j[n]) && isinf(x.state->cmp_j[n]));
  select_all(&x);
  assert_ok(serve(&x));
  assert_int_equal(x.service->selected, DEVICES);
  assert_int_equal(x.service->served, 0);
  check_sums(&x);
  fc_outcome o = fc_scenario_outcome(x.s, x.service, 0.7);
  assert_true(o.idle && o.reward == -0.5 && o.printed_reward == 0 && o.accuracy == 0.7);
  assert_true(o.energy_j == 0 && o.time_s == 0 && o.selected == DEVICES && o.served == 0);
  memset(x.select, 0, DEVICES);
  assert_ok(serve(&x));
  assert_int_equal(x.service->selected, 0);
  assert_int_equal(x.service->served, 0);
  end(&x);
}

static void agents_may_allocate_themselves(void **unused) {
  (void)unused;
  setting x;
  double f[DEVICES], p[DEVICES];
  begin(&x, "");
  x.select[0] = x.select[3] = x.select[5] = 1;
  for (int n = 0; n < DEVICES; n++) {
    f[n] = x.state->f_max_hz[n];
    p[n] = 0.9 * x.state->p_max_w[n];
  }
  p[3] = 1e-9;
  const fc_decision d = {.select = x.select, .frequency_hz = f, .power_w = p};
  assert_ok(fc_scenario_serve(x.s, x.state, &d, x.service));
  assert_int_equal(x.service->selected, 3);
  assert_int_equal(x.service->served, 2);
  assert_false(x.service->takes_part[3]);
  assert_true(x.service->bandwidth_hz[0] == 1e6 && x.service->bandwidth_hz[5] == 1e6);
  assert_true(x.service->frequency_hz[5] == f[5] && x.service->power_w[5] == p[5]);
  check_sums(&x);
  f[0] = 2e10;
  char message[256];
  snprintf(message, sizeof message, "device 0 is given a frequency of 2e+10 Hz, allowed is 0 to %g",
           x.state->f_max_hz[0]);
  assert_fails(fc_scenario_serve(x.s, x.state, &d, x.service), FC_ERR_NUMERIC, message);
  f[0] = x.state->f_max_hz[0];
  p[5] = NAN;
  snprintf(message, sizeof message, "device 5 is given a power of nan W, allowed is 0 to %g",
           x.state->p_max_w[5]);
  assert_fails(fc_scenario_serve(x.s, x.state, &d, x.service), FC_ERR_NUMERIC, message);
  p[5] = f[5] = f[0] = 0; /* nothing arrives, nobody computes */
  assert_ok(fc_scenario_serve(x.s, x.state, &d, x.service));
  assert_int_equal(x.service->served, 0);
  end(&x);
}

static void states_tell_what_was_and_would_be_spent(void **unused) {
  (void)unused;
  setting x;
  begin(&x, "");
  assert_int_equal(x.state->round, 1);
  const double gain = x.state->gain[2];
  x.select[2] = x.select[4] = 1; /* select_min of them: what was expected is what they spend */
  assert_ok(serve(&x));
  assert_relative(x.service->com_j[2], x.state->com_j[2], 1e-9);
  assert_relative(x.service->cmp_j[2], x.state->cmp_j[2], 1e-9);
  assert_ok(fc_scenario_observe(x.s, &episode, 2, x.service, x.state));
  assert_int_equal(x.state->round, 2);
  assert_true(x.state->gain[2] != gain);
  assert_true(x.state->com_j[2] == x.service->com_j[2]);
  assert_true(x.state->cmp_j[4] == x.service->cmp_j[4]);
  memset(x.select, 0, DEVICES);
  x.select[0] = x.select[1] = 1;
  const double expected = x.state->com_j[0] + x.state->cmp_j[0];
  assert_ok(serve(&x));
  assert_relative(x.service->com_j[0] + x.service->cmp_j[0], expected, 1e-9);
  /* channels are of the episode's seed and the round */
  fc_fl_state *again;
  assert_ok(fc_fl_state_create(x.s, &again));
  assert_ok(fc_scenario_observe(x.s, &(fc_episode){3, 77}, 2, NULL, again));
  assert_memory_equal(again->gain, x.state->gain, DEVICES * sizeof(double));
  assert_ok(fc_scenario_observe(x.s, &(fc_episode){4, 0}, 2, NULL, again));
  assert_memory_not_equal(again->gain, x.state->gain, DEVICES * sizeof(double));
  for (int n = 0; n < DEVICES; n++) assert_true(again->gain[n] >= 1e-7 && again->gain[n] <= 1e-6);
  fc_fl_state_destroy(&again);
  end(&x);
}

static void rewards_are_the_papers_and_ours(void **unused) {
  (void)unused;
  setting x;
  begin(&x, "environment.sigma=0.75\nenvironment.energy_offset_j=2");
  x.select[1] = 1;
  assert_ok(serve(&x));
  const double E = x.service->energy_j;
  const fc_outcome o = fc_scenario_outcome(x.s, x.service, 0.5);
  assert_relative(o.printed_reward, 0.25 * 0.5 / E + 0.75 * 0.5, 1e-12);
  assert_relative(o.reward, 0.25 * 0.5 / (E + 2) + 0.75 * 0.5, 1e-12);
  assert_true(!o.idle && o.served == 1 && o.energy_j == E && o.time_s == x.service->time_s);
  end(&x);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bills_follow_the_formulas),
      cmocka_unit_test(the_tool_finds_the_least_energy),
      cmocka_unit_test(who_misses_the_deadline_is_dropped),
      cmocka_unit_test(no_more_could_be_served),
      cmocka_unit_test(nobody_left_is_idle),
      cmocka_unit_test(agents_may_allocate_themselves),
      cmocka_unit_test(states_tell_what_was_and_would_be_spent),
      cmocka_unit_test(rewards_are_the_papers_and_ours),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
