/* The option tables of the data room, read by way of a configuration. */
#include "data_test.h"

static fc_config *config;

static int start(void **state) {
  (void)state;
  static fc_option_table tables[2];
  tables[0] = fc_data_options;
  tables[1] = fc_split_options;
  return fc_config_create(tables, 2, &config) != FC_ERR_OK;
}

static int stop(void **state) {
  (void)state;
  fc_config_destroy(&config);
  return 0;
}

static fc_err load(const char *text) {
  FC_TRY(fc_config_load_text(config, "run.yaml", text, strlen(text), NULL));
  return fc_config_finish(config);
}

static void defaults_make_an_experiment(void **state) {
  (void)state;
  assert_ok(load("data: {samples: 500}\n"));
  fc_data_settings s = fc_data_settings_read(config);
  assert_string_equal(s.dataset, "generated-sentiment");
  assert_string_equal(s.dir, "");
  assert_string_equal(s.column_a, "text");
  assert_int_equal(s.samples, 500);
  assert_true(s.public_fraction == 0.2 && s.test_fraction == 0.1);
  assert_int_equal(fc_config_int(config, "data.max_length"), 128);
  fc_split_settings split = fc_split_settings_read(config);
  assert_string_equal(split.split, "dirichlet");
  assert_true(split.alpha == 0.5 && split.size_alpha == 1.0 && split.device_test_fraction == 0.0);
  assert_int_equal(split.shards_per_device, 2);
  assert_int_equal(split.min_samples, 1);
  fc_dataset *ds;
  fc_split *parts;
  assert_ok(fc_dataset_open(&s, 1, &ds));
  assert_int_equal(fc_dataset_test_count(ds), 1024);
  assert_ok(fc_split_create(&split, ds, s.public_fraction, 1, 1, 20, &parts));
  fc_split_destroy(&parts);
  fc_dataset_destroy(&ds);
}

static void given_values_arrive(void **state) {
  (void)state;
  assert_ok(load("data: {dataset: csv, dir: d, train_file: a.csv, test_file: b.csv, column_a: p,\n"
                 "  column_b: q, column_label: r, task: lm, test_samples: 5, split: shards,\n"
                 "  shards_per_device: 3, min_samples: 4, device_test_fraction: 0.25}\n"));
  fc_data_settings s = fc_data_settings_read(config);
  assert_string_equal(s.train_file, "a.csv");
  assert_string_equal(s.test_file, "b.csv");
  assert_string_equal(s.column_b, "q");
  assert_string_equal(s.column_label, "r");
  assert_string_equal(s.task, "lm");
  assert_int_equal(s.test_samples, 5);
  fc_split_settings split = fc_split_settings_read(config);
  assert_string_equal(split.split, "shards");
  assert_int_equal(split.shards_per_device, 3);
  assert_true(split.device_test_fraction == 0.25);
}

static void faults_name_line_and_option(void **state) {
  (void)state;
  assert_int_equal(load("data:\n  dataset: sst3\n  alpha: 0\n"), FC_ERR_USAGE);
  assert_non_null(strstr(fc_err_message(), "run.yaml:2: data.dataset"));
  assert_non_null(strstr(fc_err_message(), "sst2"));
  assert_non_null(strstr(fc_err_message(), "run.yaml:3: data.alpha"));
}

static void every_dataset_has_a_meaning(void **state) {
  (void)state;
  size_t n = 0;
  for (; fc_dataset_name(n) != NULL; n++) assert_true(strlen(fc_dataset_meaning(n)) > 10);
  assert_int_equal(n, 13);
  assert_null(fc_dataset_meaning(n));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(defaults_make_an_experiment, start, stop),
      cmocka_unit_test_setup_teardown(given_values_arrive, start, stop),
      cmocka_unit_test_setup_teardown(faults_name_line_and_option, start, stop),
      cmocka_unit_test(every_dataset_has_a_meaning),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
