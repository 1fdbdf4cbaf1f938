/* The option reference in its four forms. */
#include "config_test.h"
#include <jansson.h>

static char *reference(const char *format, size_t n) {
  char *text;
  assert_int_equal(fc_config_reference(all_tables, n, format, &text), FC_ERR_OK);
  return text;
}

static void assert_contains(const char *text, const char *part) {
  if (!strstr(text, part)) fail_msg("no \"%s\" in:\n%s", part, text);
}

static void every_option_is_in_every_form(void **state) {
  (void)state;
  static const char *const formats[] = {"text", "md", "json"};
  for (size_t f = 0; f < TABLE_LENGTH(formats); f++) {
    char *text = reference(formats[f], N_ALL_TABLES);
    for (size_t t = 0; t < N_ALL_TABLES; t++) {
      assert_contains(text, all_tables[t].title);
      for (size_t k = 0; k < all_tables[t].n; k++) {
        assert_contains(text, all_tables[t].options[k].name);
      }
    }
    fc_free(text);
  }
}

static void yaml_loads_without_faults_to_the_defaults(void **state) {
  (void)state;
  char *text = reference("yaml", N_ALL_TABLES);
  fc_config *cfg;
  assert_int_equal(fc_config_create(all_tables, N_ALL_TABLES, &cfg), FC_ERR_OK);
  if (load(cfg, text, NULL) != FC_ERR_OK || fc_config_finish(cfg) != FC_ERR_OK) {
    fail_msg("%s\n%s", fc_err_message(), text);
  }
  for (size_t t = 0; t < N_ALL_TABLES; t++) {
    for (size_t k = 0; k < all_tables[t].n; k++) {
      assert_true(fc_config_is_given(cfg, all_tables[t].options[k].name));
    }
  }
  /* Required options have an example within their range. */
  assert_int_equal(fc_config_int(cfg, "data.samples"), 5);
  assert_true(fc_config_dist(cfg, "data.size").a == 10);
  assert_string_equal(fc_config_string(cfg, "data.split"), "none");
  fc_free(text);
  fc_config_destroy(&cfg);

  text = reference("yaml", N_TABLES);
  fc_config *written = config_of(text, NULL), *fresh = new_config();
  char *a, *b;
  assert_int_equal(fc_config_dump(written, &a), FC_ERR_OK);
  assert_int_equal(fc_config_dump(fresh, &b), FC_ERR_OK);
  assert_string_equal(a, b);
  fc_free(a);
  fc_free(b);
  fc_free(text);
  fc_config_destroy(&written);
  fc_config_destroy(&fresh);
}

static void lines_of_each_form(void **state) {
  (void)state;
  char *text = reference("text", N_ALL_TABLES);
  assert_contains(text, "cell: radio and devices\n\n  cell.bandwidth_hz = 20e6\n"
                        "      real, 1 to 1e12 Hz\n      Total bandwidth.\n");
  assert_contains(text, "cell.noise_dbm_per_hz = -174\n      real in dBm/Hz\n");
  assert_contains(text, "  data.dataset  (required)\n      text\n      Which data.\n");
  fc_free(text);
  text = reference("md", N_ALL_TABLES);
  assert_contains(text, "## cell: radio and devices\n\n"
                        "| Option | Type | Unit | Default | Allowed | Meaning |\n"
                        "| --- | --- | --- | --- | --- | --- |\n"
                        "| `cell.bandwidth_hz` | real | Hz | `20e6` | 1 to 1e12 Hz | Total "
                        "bandwidth. |\n");
  assert_contains(text, "| Free words; a \\| b. |\n");
  assert_contains(text, "| `adapter.tags` | list of names |  | `[]` |");
  assert_contains(text, "| `data.dataset` | text |  | required |  | Which data. |\n");
  fc_free(text);
  text = reference("yaml", N_ALL_TABLES);
  assert_contains(text, "cell:\n  # Total bandwidth. (1 to 1e12 Hz)\n  bandwidth_hz: 20e6\n");
  assert_contains(text, "  # Noise. (real in dBm/Hz)\n  noise_dbm_per_hz: -174\n");
  assert_contains(text, "  # Which data. (required; text)\n  dataset: change-me\n");
  fc_free(text);
}

static void json_has_every_field(void **state) {
  (void)state;
  char *text = reference("json", N_ALL_TABLES);
  json_error_t error;
  json_t *list = json_loads(text, 0, &error);
  assert_non_null(list);
  size_t n = 0;
  for (size_t t = 0; t < N_ALL_TABLES; t++) n += all_tables[t].n;
  assert_int_equal(json_array_size(list), n);
  json_t *rounds = json_array_get(list, 2);
  assert_string_equal(json_string_value(json_object_get(rounds, "name")), "federation.rounds");
  assert_string_equal(json_string_value(json_object_get(rounds, "default")), "10");
  assert_string_equal(json_string_value(json_object_get(rounds, "type")), "int");
  assert_true(json_number_value(json_object_get(rounds, "max")) == 1e9);
  assert_true(json_is_false(json_object_get(rounds, "required")));
  assert_true(json_is_null(json_object_get(json_array_get(list, 1), "min"))); /* seed: no bounds */
  assert_true(json_is_null(json_object_get(json_array_get(list, 3), "max"))); /* infinite */
  json_t *targets = json_object_get(json_array_get(list, 6), "choices");
  assert_int_equal(json_array_size(targets), 4);
  json_t *dataset = json_array_get(list, n - TABLE_LENGTH(required_options));
  assert_true(json_is_true(json_object_get(dataset, "required")));
  assert_true(json_is_null(json_object_get(dataset, "default")));
  json_decref(list);
  fc_free(text);
}

static void an_unknown_format_is_told(void **state) {
  (void)state;
  char *text;
  assert_int_equal(fc_config_reference(all_tables, N_TABLES, "html", &text), FC_ERR_USAGE);
  assert_null(text);
  assert_string_equal(fc_err_message(), "format = html: must be one of text, md, yaml, json");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_option_is_in_every_form),
      cmocka_unit_test(yaml_loads_without_faults_to_the_defaults),
      cmocka_unit_test(lines_of_each_form),
      cmocka_unit_test(json_has_every_field),
      cmocka_unit_test(an_unknown_format_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
