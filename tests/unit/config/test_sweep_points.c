/* test_sweep_points.c - which points a sweep file has, what their configurations and labels are,
 * and how its faults are told. */
#include "config_test.h"
#include "fedcell/fc_sweep.h"

static fc_sweep *open_with(const char *text, const char *base) {
  fc_sweep *s = NULL;
  if (fc_sweep_create(all_tables, N_TABLES, "dir/some.yaml", text, strlen(text), &s) != FC_ERR_OK)
    fail_msg("%s", fc_err_message());
  if (base) fc_sweep_set_base(s, base, strlen(base), NULL);
  return s;
}

static fc_config *point(const fc_sweep *s, size_t number) {
  fc_config *cfg = NULL;
  if (fc_sweep_point(s, number, &cfg) != FC_ERR_OK || fc_config_finish(cfg) != FC_ERR_OK)
    fail_msg("%s", fc_err_message());
  return cfg;
}

static void expect_label(const fc_sweep *s, size_t number, const char *expected) {
  char label[FC_SWEEP_LABEL_SIZE];
  fc_config *cfg = point(s, number);
  assert_int_equal(fc_sweep_label(s, number, cfg, label), FC_ERR_OK);
  assert_string_equal(label, expected);
  fc_config_destroy(&cfg);
}

static void numbering_and_order(void **state) {
  (void)state;
  fc_sweep *s = open_with("seeds: 2\n" /* the file's order does not matter */
                          "grid: {cell.fading: [none, rician], federation: {rounds: [5, 6, 7]}}\n"
                          "zip: {cell.delay_s: [1, 2], cell.bandwidth_hz: [1e6, 2e6]}\n"
                          "list: [{federation.stop: true}, {federation.stop: false}]\n"
                          "set: {federation.local: {iterations: 9}}\n",
                          NULL);
  assert_int_equal(fc_sweep_count(s), 2 * 2 * 2 * 3 * 2);
  assert_string_equal(fc_sweep_name(s), "some");
  assert_null(fc_sweep_base(s));
  expect_label(s, 1, "stop=true-delay_s=1-bandwidth_hz=1.0e+06-fading=none-rounds=5-seed=1");
  expect_label(s, 2, "stop=true-delay_s=1-bandwidth_hz=1.0e+06-fading=none-rounds=5-seed=2");
  expect_label(s, 3, "stop=true-delay_s=1-bandwidth_hz=1.0e+06-fading=none-rounds=6-seed=1");
  expect_label(s, 7, "stop=true-delay_s=1-bandwidth_hz=1.0e+06-fading=rician-rounds=5-seed=1");
  expect_label(s, 13, "stop=true-delay_s=2-bandwidth_hz=2.0e+06-fading=none-rounds=5-seed=1");
  expect_label(s, 48, "stop=false-delay_s=2-bandwidth_hz=2.0e+06-fading=rician-rounds=7-seed=2");
  fc_config *cfg = point(s, 48);
  assert_int_equal(fc_config_int(cfg, "federation.local.iterations"), 9);
  assert_int_equal(fc_config_int(cfg, "federation.rounds"), 7);
  assert_int_equal(fc_config_int(cfg, "seed"), 2);
  assert_true(fc_config_real(cfg, "cell.bandwidth_hz") == 2e6);
  fc_config_destroy(&cfg);
  fc_sweep_destroy(&s);
}

static void base_size_and_overrides(void **state) {
  (void)state;
  const char *base = "federation.rounds: 3\ncell.delay_s: 4\nseed: 8\n"
                     "sizes: {big: {federation.rounds: 30}, huge: {federation.rounds: 300}}\n";
  fc_sweep *s = open_with("base: ../b.yaml\nsize: big\nset: {cell.delay_s: 5}\n"
                          "list: [{}, {cell.delay_s: 6, federation.rounds: 2}]\n",
                          base);
  assert_string_equal(fc_sweep_name(s), "some");
  assert_string_equal(fc_sweep_base(s), "dir/../b.yaml");
  fc_config *cfg = point(s, 1);
  assert_int_equal(fc_config_int(cfg, "federation.rounds"), 30);
  assert_true(fc_config_real(cfg, "cell.delay_s") == 5);
  assert_int_equal(fc_config_int(cfg, "seed"), 8);
  fc_config_destroy(&cfg);
  expect_label(s, 1, "base");
  expect_label(s, 2, "delay_s=6-rounds=2");
  fc_sweep_set_base(s, base, strlen(base), "huge");
  cfg = point(s, 1);
  assert_int_equal(fc_config_int(cfg, "federation.rounds"), 300);
  fc_config_destroy(&cfg);
  fc_sweep_destroy(&s);
}

static void an_unknown_size_is_told_where_it_was_chosen(void **state) {
  (void)state;
  static const char base[] = "sizes: {big: {seed: 2}, huge: {seed: 3}}\n";
  fc_sweep *s = open_with("base: b.yaml\nsize: bigg\nseeds: 2\n", base);
  fc_config *cfg = NULL;
  assert_int_equal(fc_sweep_point(s, 1, &cfg), FC_ERR_OK);
  assert_int_equal(fc_config_finish(cfg), FC_ERR_USAGE);
  assert_string_equal(fc_err_message(),
                      "dir/some.yaml:2: size = bigg: must be one of big, huge; did you mean big?");
  fc_config_destroy(&cfg);
  fc_sweep_set_base(s, base, strlen(base), "small"); /* the command line's comes before */
  assert_int_equal(fc_sweep_point(s, 1, &cfg), FC_ERR_OK);
  assert_int_equal(fc_config_finish(cfg), FC_ERR_USAGE);
  assert_string_equal(fc_err_message(), "dir/b.yaml: --size small: must be one of big, huge");
  fc_config_destroy(&cfg);
  fc_sweep_set_base(s, "seed: 1\n", 8, NULL);
  assert_int_equal(fc_sweep_point(s, 1, &cfg), FC_ERR_OK);
  assert_int_equal(fc_config_finish(cfg), FC_ERR_USAGE);
  assert_string_equal(fc_err_message(), "dir/some.yaml:2: size = bigg: dir/b.yaml has no sizes");
  fc_config_destroy(&cfg);
  fc_sweep_destroy(&s);
}

static void labels_are_short_plain_and_different(void **state) {
  (void)state;
  /* the last words are the same: full names; 1e6 and 1000000 are one value */
  fc_sweep *s = open_with("grid: {federation.target: [0.1], experiment: [\"a/b c\", \"a_b_c\"],\n"
                          "       population.compute_flops: [{uniform: [1e12, 2e12]}, 1000000]}",
                          NULL);
  expect_label(s, 2, "target=0.1-experiment=a_b_c-compute_flops=1.0e+06-998ce9616dd5");
  expect_label(s, 4, "target=0.1-experiment=a_b_c-compute_flops=1.0e+06");
  fc_config *cfg = point(s, 1);
  char label[FC_SWEEP_LABEL_SIZE];
  assert_int_equal(fc_sweep_label(s, 1, cfg, label), FC_ERR_OK);
  assert_int_equal(
      strncmp(label, "target=0.1-experiment=a_b_c-compute_flops=uniform_1.0e+12_2.0e+12-", 62), 0);
  fc_config_destroy(&cfg);
  fc_sweep_destroy(&s);

  char text[700], x[301];
  memset(x, 'x', 300);
  x[300] = '\0';
  snprintf(text, sizeof text, "grid: {experiment: [%sa, %sb]}", x, x);
  s = open_with(text, NULL);
  char other[FC_SWEEP_LABEL_SIZE];
  fc_config *a = point(s, 1), *b = point(s, 2);
  assert_int_equal(fc_sweep_label(s, 1, a, label), FC_ERR_OK);
  assert_int_equal(fc_sweep_label(s, 2, b, other), FC_ERR_OK);
  assert_int_equal(strlen(label), FC_SWEEP_LABEL_SIZE - 1);
  assert_string_not_equal(label, other);
  fc_config_destroy(&a);
  fc_config_destroy(&b);
  fc_sweep_destroy(&s);
}

static void ranges(void **state) {
  (void)state;
  const bool in[] = {false, false, true, false, true, true, true, false, true, true};
  char *text = NULL;
  assert_int_equal(fc_sweep_ranges(in, 10, &text), FC_ERR_OK);
  assert_string_equal(text, "3,5-7,9-10");
  fc_free(text);
  assert_int_equal(fc_sweep_ranges(in, 2, &text), FC_ERR_OK);
  assert_string_equal(text, "");
  fc_free(text);
}

/* ---- faults ---------------------------------------------------------------------------------- */

static void expect_create_fault(const char *text, const char *message) {
  fc_sweep *s = NULL;
  assert_int_equal(fc_sweep_create(all_tables, N_TABLES, "s.yaml", text, strlen(text), &s),
                   FC_ERR_USAGE);
  assert_null(s);
  assert_string_equal(fc_err_message(), message);
}

static void faults_of_the_form(void **state) {
  (void)state;
  expect_create_fault("grid: [1", "s.yaml:2: not valid YAML: did not find expected ',' or ']'");
  expect_create_fault("3", "s.yaml:1: must be a map with the parts of a sweep, such as grid and "
                           "seeds");
  expect_create_fault("set: {seed: 3}", "s.yaml:1: nothing varies: needs list, zip, grid or seeds");
  expect_create_fault("grids: {seed: [1]}\nfederation.rounds: 3\ngrid: {seed: 1}\n",
                      "s.yaml:1: grids: no such part of a sweep; did you mean grid?\n"
                      "s.yaml:2: federation.rounds: no such part of a sweep; options of all points "
                      "stand under set\n"
                      "s.yaml:3: seed: must be a list of values");
  expect_create_fault("seeds: 0\nlist: {}\nset: [1]\nbase: [x]\nsize:\n",
                      "s.yaml:4: base: must be a text\n"
                      "s.yaml:5: size: must be a text\n"
                      "s.yaml:3: set: must be a map of options\n"
                      "s.yaml:2: list: must be a list of maps of options\n"
                      "s.yaml:1: seeds: must be a list of seeds, or how many: 5 stands for 1 to 5");
  expect_create_fault("zip: {cell.delay_s: [1, 2],\n cell.fading: [none]}",
                      "s.yaml:2: cell.fading: has 1 values where cell.delay_s has 2: lists under "
                      "zip go together");
  expect_create_fault("grid: {seed: [1, 2],\n seed: [3]}\nseeds: 3",
                      "s.yaml:2: seed: is given twice, first on line 1\n"
                      "s.yaml:3: seed: varies in two places");
  expect_create_fault("list: [{cell.delay_s: 1,\n cell: {delay_s: 2}}]",
                      "s.yaml:2: cell.delay_s: is given twice");
  expect_create_fault("grid: {seed: [1, 2]}\nzip: {cell: {delay_s: [1]},\n cell.delay_s: [2]}",
                      "s.yaml:3: cell.delay_s: is given twice");
  expect_create_fault("seeds: 1000\ngrid: {federation.rounds: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],\n"
                      "cell.delay_s: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]}",
                      "s.yaml:1: more than 100000 points");
}

static void expect_point_faults(const char *text, const char *message) {
  fc_sweep *s = open_with(text, "federation.rounds: 3\ncell.delai_s: 1\n");
  fc_sweep_labels *labels = NULL;
  assert_int_equal(fc_sweep_check(s, fc_config_finish, &labels), FC_ERR_USAGE);
  assert_string_equal(fc_err_message(), message);
  fc_free(labels);
  fc_sweep_destroy(&s);
}

static void faults_of_the_points(void **state) {
  (void)state;
  expect_point_faults(
      "base: b\nset: {federation.round: 1}\nlist:\n"
      "  - {cell.fading: none}\n  - {cell.fading: nine}\n  - {cell.fading: none}\n"
      "grid: {cell.bandwidth_hz: [1e6,\n -1]}\n",
      "dir/b:2: cell.delai_s: no such option; did you mean cell.delay_s?\n"
      "dir/some.yaml:2: federation.round: no such option; did you mean federation.rounds?\n"
      "dir/some.yaml:8: cell.bandwidth_hz = -1: must be 1 to 1e12 Hz (points 2,4,6)\n"
      "dir/some.yaml:5: cell.fading = nine: must be one of none, rayleigh, rician; did you mean "
      "none? (points 3-4)");
}

static void equal_points_are_a_fault(void **state) {
  (void)state;
  fc_sweep *s = open_with("grid: {cell.delay_s: [1, 2, 1.0]}", NULL);
  fc_sweep_labels *labels = NULL;
  assert_int_equal(fc_sweep_check(s, fc_config_finish, &labels), FC_ERR_USAGE);
  assert_string_equal(fc_err_message(),
                      "dir/some.yaml: the settings delay_s=1 are there twice (points 1,3)");
  fc_free(labels);
  fc_sweep_destroy(&s);
}

static void a_right_sweep_has_labels(void **state) {
  (void)state;
  fc_sweep *s = open_with("grid: {cell.delay_s: [1, 2]}\nseeds: [7, 9]", NULL);
  fc_sweep_labels *labels = NULL;
  assert_int_equal(fc_sweep_check(s, fc_config_finish, &labels), FC_ERR_OK);
  assert_string_equal(labels[0], "delay_s=1-seed=7");
  assert_string_equal(labels[3], "delay_s=2-seed=9");
  fc_free(labels);
  fc_sweep_destroy(&s);
}

/* Memory that ends at any allocation: told, nothing leaks. */
static void starved(void **state) {
  (void)state;
  const char text[] = "base: b\nset: {federation.rounds: 2}\nlist: [{cell.fading: none}]\n"
                      "zip: {cell.delay_s: [1, 2]}\nseeds: 2\n";
  size_t before = fc_mem_current_bytes();
  bool passed = false;
  for (size_t at = 1; !passed && at < 100000; at++) {
    fc_sweep *s = NULL;
    fc_sweep_labels *labels = NULL;
    fc_mem_fail_at(at);
    fc_err err = fc_sweep_create(all_tables, N_TABLES, "s.yaml", text, sizeof text - 1, &s);
    if (err == FC_ERR_OK) {
      fc_sweep_set_base(s, "seed: 2", 7, NULL);
      err = fc_sweep_check(s, fc_config_finish, &labels);
    }
    passed = err == FC_ERR_OK;
    if (!passed) assert_int_equal(err, FC_ERR_NOMEM);
    fc_mem_fail_at(0);
    fc_free(labels);
    fc_sweep_destroy(&s);
    assert_int_equal(fc_mem_current_bytes(), before);
  }
  assert_true(passed);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(numbering_and_order),
      cmocka_unit_test(base_size_and_overrides),
      cmocka_unit_test(an_unknown_size_is_told_where_it_was_chosen),
      cmocka_unit_test(labels_are_short_plain_and_different),
      cmocka_unit_test(ranges),
      cmocka_unit_test(faults_of_the_form),
      cmocka_unit_test(faults_of_the_points),
      cmocka_unit_test(equal_points_are_a_fault),
      cmocka_unit_test(a_right_sweep_has_labels),
      cmocka_unit_test(starved),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
