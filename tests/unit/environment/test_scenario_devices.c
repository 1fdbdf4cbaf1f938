/* Who the devices are: their limits and their data, scenario 2, what is told of options that do not
 * fit. */
#include "environment_fixture.h"

static void devices_follow_the_options(void **state) {
  (void)state;
  fc_scenario *s = scenario_of("");
  const fc_environment_settings *set = fc_scenario_settings(s);
  assert_int_equal(set->devices, DEVICES);
  assert_int_equal(set->rounds, 3);
  assert_int_equal(set->batch, 16);
  assert_int_equal(set->cnn.height, 28);
  assert_int_equal(set->cnn.classes, 10);
  assert_int_equal(set->cnn.channels[0], 4);
  assert_int_equal(set->cnn.channels[1], 8);
  assert_int_equal(set->test_samples, 150);
  assert_int_equal(set->tool, FC_ALTD_ALTERNATING);
  assert_int_equal(set->allocation, FC_ALTD_EQUAL);
  assert_false(set->normalise_by_all);
  assert_relative(set->noise_psd_w_per_hz, 3.9810717055349725e-21, 1e-12); /* -174 dBm */
  double total = 0;
  for (int n = 0; n < DEVICES; n++) {
    const double samples = fc_scenario_samples(s)[n];
    double labels = 0;
    assert_true(samples >= 64);
    assert_in_range((int64_t)fc_scenario_f_max_hz(s)[n], 500000000, 4000000000);
    assert_true(fc_scenario_p_max_w(s)[n] >= 0.2 && fc_scenario_p_max_w(s)[n] <= 1);
    for (int c = 0; c < 10; c++) labels += fc_scenario_labels(s)[n * 10 + c];
    assert_true(labels == samples);
    total += samples;
  }
  assert_true(total == 900);
  assert_true(fc_scenario_bytes(s) > 1100 * 28 * 28);
  fc_scenario_destroy(&s);
  assert_null(s);
}

/* Their mean and spread over the training images, straight. */
static void pixels_are_measured(void **state) {
  (void)state;
  fc_config *cfg = config_of("");
  const fc_data_settings data = fc_data_settings_read(cfg);
  fc_scenario *s = scenario_of(""), *raw = scenario_of("environment.pixels=unit");
  fc_dataset *d;
  assert_ok(fc_dataset_open(&data, 1, &d));
  enum { PIXELS = 28 * 28 };
  const size_t images = fc_dataset_train_count(d);
  double sum = 0, squares = 0;
  for (size_t i = 0; i < images; i++)
    for (int p = 0; p < PIXELS; p++) sum += fc_dataset_sample(d, i).pixels[p] / 255.0;
  const double mean = sum / (double)(images * PIXELS);
  for (size_t i = 0; i < images; i++)
    for (int p = 0; p < PIXELS; p++)
      squares += pow(fc_dataset_sample(d, i).pixels[p] / 255.0 - mean, 2);
  assert_true(fc_scenario_settings(s)->standard_pixels);
  assert_relative(fc_scenario_settings(s)->pixel_mean, mean, 1e-10);
  assert_relative(fc_scenario_settings(s)->pixel_sd, sqrt(squares / (double)(images * PIXELS)),
                  1e-10);
  assert_false(fc_scenario_settings(raw)->standard_pixels);
  fc_dataset_destroy(&d);
  fc_config_destroy(&cfg);
  fc_scenario_destroy(&s);
  fc_scenario_destroy(&raw);
}

static void paper_values_are_the_defaults(void **state) {
  (void)state;
  fc_config *cfg;
  assert_ok(fc_config_create(&fc_environment_options, 1, &cfg));
  assert_ok(fc_config_finish(cfg));
  assert_int_equal(fc_config_int(cfg, "environment.devices"), 20);
  assert_int_equal(fc_config_int(cfg, "environment.rounds"), 100);
  assert_int_equal(fc_config_int(cfg, "environment.iterations"), 5);
  assert_true(fc_config_real(cfg, "environment.model_bits") == 53.21e6);
  assert_true(fc_config_real(cfg, "environment.deadline_s") == 15);
  assert_true(fc_config_real(cfg, "environment.bandwidth_hz") == 2e6);
  assert_true(fc_config_real(cfg, "environment.sigma") == 0.8);
  assert_int_equal(fc_config_dist(cfg, "environment.p_max_w").kind, FC_DIST_LOG_UNIFORM);
  fc_config_destroy(&cfg);
}

static void seeds_make_other_devices(void **state) {
  (void)state;
  fc_scenario *a = scenario_of(""), *again = scenario_of(""),
              *b = scenario_of("environment.seed=2");
  const size_t bytes = DEVICES * sizeof(double);
  assert_memory_equal(fc_scenario_f_max_hz(a), fc_scenario_f_max_hz(again), bytes);
  assert_memory_equal(fc_scenario_p_max_w(a), fc_scenario_p_max_w(again), bytes);
  assert_memory_equal(fc_scenario_labels(a), fc_scenario_labels(again), 10 * bytes);
  assert_memory_not_equal(fc_scenario_f_max_hz(a), fc_scenario_f_max_hz(b), bytes);
  assert_memory_not_equal(fc_scenario_labels(a), fc_scenario_labels(b), 10 * bytes);
  fc_scenario_destroy(&a);
  fc_scenario_destroy(&again);
  fc_scenario_destroy(&b);
}

static void scenario_2_mirrors_and_draws_anew(void **state) {
  (void)state;
  fc_scenario *a = scenario_of("");
  fc_scenario *b = scenario_for("evaluation.scenario=2", FC_EVALUATION);
  for (int n = 0; n < DEVICES; n++) {
    assert_relative(fc_scenario_f_max_hz(a)[n] + fc_scenario_f_max_hz(b)[n], 4.5e9, 1e-12);
    assert_true(fc_scenario_p_max_w(a)[n] != fc_scenario_p_max_w(b)[n]);
  }
  assert_memory_equal(fc_scenario_labels(a), fc_scenario_labels(b), DEVICES * 10 * sizeof(double));
  fc_scenario_destroy(&b);
  /* for training it stays as it is */
  b = scenario_of("evaluation.scenario=2\nevaluation.deadline_s=20\nevaluation.alpha=10");
  assert_memory_equal(fc_scenario_p_max_w(a), fc_scenario_p_max_w(b), DEVICES * sizeof(double));
  assert_memory_equal(fc_scenario_labels(a), fc_scenario_labels(b), DEVICES * 10 * sizeof(double));
  assert_true(fc_scenario_settings(b)->deadline_s == 15);
  fc_scenario_destroy(&b);
  b = scenario_for("environment.f_max_hz={log_uniform: [1e9, 4e9]}\nevaluation.scenario=2",
                   FC_EVALUATION);
  for (int n = 0; n < DEVICES; n++)
    assert_true(fc_scenario_f_max_hz(b)[n] >= 1e9 && fc_scenario_f_max_hz(b)[n] <= 4e9);
  fc_scenario_destroy(&a);
  fc_scenario_destroy(&b);
}

static void evaluation_has_its_own_deadline_rounds_and_mixes(void **state) {
  (void)state;
  fc_scenario *a = scenario_of("");
  fc_scenario *b = scenario_for(
      "evaluation.deadline_s=20\nevaluation.rounds=7\nevaluation.alpha=50", FC_EVALUATION);
  assert_true(fc_scenario_settings(b)->deadline_s == 20);
  assert_int_equal(fc_scenario_settings(b)->rounds, 7);
  assert_memory_equal(fc_scenario_samples(a), fc_scenario_samples(b), DEVICES * sizeof(double));
  assert_memory_not_equal(fc_scenario_labels(a), fc_scenario_labels(b),
                          DEVICES * 10 * sizeof(double));
  fc_scenario_destroy(&a);
  fc_scenario_destroy(&b);
}

static void check_refused(const char *settings, fc_environment_use use, const char *message) {
  fc_config *cfg = config_of(settings);
  fc_scenario *s = (void *)cfg;
  assert_fails(fc_scenario_create(cfg, use, &s), FC_ERR_USAGE, message);
  assert_null(s);
  fc_config_destroy(&cfg);
}

static void what_does_not_fit_is_told(void **state) {
  (void)state;
  check_refused("data.dataset=generated-topics", FC_TRAINING,
                "data.dataset = generated-topics: the environment's devices classify images; "
                "allowed are mnist and generated-digits");
  check_refused("environment.channels=[4]", FC_TRAINING,
                "environment.channels has 1 numbers, must have 2");
  check_refused("environment.channels=[4, 8.5]", FC_TRAINING,
                "environment.channels: 8.5 is not a whole number");
  check_refused("environment.select_min=7", FC_TRAINING,
                "environment.select_min is 7, but environment.devices only 6");
  check_refused("environment.f_max_hz=1e9\nevaluation.scenario=2", FC_EVALUATION,
                "evaluation.scenario 2 mirrors environment.f_max_hz in its range: it must be "
                "uniform or log_uniform");
  check_refused("data.min_samples=151", FC_TRAINING,
                "6 devices with data.min_samples = 151 each need 906 samples, but only 900 are "
                "left for them");
}

static void a_failed_allocation_leaves_nothing(void **state) {
  (void)state;
  fc_config *cfg = config_of("");
  const size_t before = fc_mem_current_bytes();
  bool failed = true;
  for (size_t at = 1; failed && at < 1000; at += 7) {
    fc_scenario *s;
    fc_mem_fail_at(at);
    const fc_err err = fc_scenario_create(cfg, FC_TRAINING, &s);
    fc_mem_fail_at(0);
    failed = err != FC_ERR_OK;
    if (failed) assert_int_equal(err, FC_ERR_NOMEM);
    fc_scenario_destroy(&s);
    assert_int_equal(fc_mem_current_bytes(), before);
  }
  assert_false(failed);
  fc_config_destroy(&cfg);
}

static void states_are_copied_whole(void **state) {
  (void)state;
  fc_scenario *s = scenario_of("");
  fc_fl_state *a, *b;
  assert_ok(fc_fl_state_create(s, &a));
  assert_ok(fc_fl_state_create(s, &b));
  assert_true(isnan(a->local_loss[0]) && isnan(a->alignment[3]) && isnan(a->same_sign[5]));
  assert_true(a->gain[0] == 0 && a->loss[DEVICES - 1] == 0 && isnan(a->loss_rms[2]));
  double *const array[] = {a->gain,       a->com_j,     a->cmp_j,     a->loss,
                           a->local_loss, a->alignment, a->same_sign, a->loss_rms};
  for (int i = 0; i < 8; i++)
    for (int n = 0; n < DEVICES; n++) array[i][n] = 100 * i + n;
  a->round = 9;
  a->accuracy = 0.25;
  fc_fl_state_copy(b, a);
  a->gain[0] = -1;
  assert_true(b->gain[0] == 0 && b->loss_rms[DEVICES - 1] == 705 && b->alignment[2] == 502);
  assert_true(b->round == 9 && b->accuracy == 0.25 && b->samples == fc_scenario_samples(s));
  fc_fl_state_destroy(&a);
  fc_fl_state_destroy(&b);
  assert_null(b);
  fc_fl_state_destroy(&b);
  fc_scenario_destroy(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(devices_follow_the_options),
      cmocka_unit_test(pixels_are_measured),
      cmocka_unit_test(paper_values_are_the_defaults),
      cmocka_unit_test(seeds_make_other_devices),
      cmocka_unit_test(scenario_2_mirrors_and_draws_anew),
      cmocka_unit_test(evaluation_has_its_own_deadline_rounds_and_mixes),
      cmocka_unit_test(what_does_not_fit_is_told),
      cmocka_unit_test(a_failed_allocation_leaves_nothing),
      cmocka_unit_test(states_are_copied_whole),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
