/* fc_config_first_difference: names the first option whose value differs, but for those excepted.
 */
#include "config_test.h"

static const char *difference(const char *a, const char *b, const char *const *except, size_t n) {
  fc_config *x = config_of(a, NULL), *y = config_of(b, NULL);
  const char *name = fc_config_first_difference(x, y, except, n);
  fc_config_destroy(&x);
  fc_config_destroy(&y);
  return name; /* borrowed from the tables */
}

static void equal_values_are_equal_however_written(void **state) {
  (void)state;
  assert_null(difference("{}", "{}", NULL, 0));
  assert_null(
      difference("cell: {bandwidth_hz: 20e6}", "cell: {bandwidth_hz: 20000000.0}", NULL, 0));
  assert_null(
      difference("adapter: {targets: [query]}", "adapter:\n  targets:\n  - query\n", NULL, 0));
}

static void the_first_difference_is_named(void **state) {
  (void)state;
  assert_string_equal(difference("seed: 1", "{seed: 2, cell: {delay_s: 1}}", NULL, 0), "seed");
  assert_string_equal(
      difference("cell: {delay_s: 1}", "cell: {delay_s: 1.0000000000000002}", NULL, 0),
      "cell.delay_s");
  assert_string_equal(difference("population: {compute_flops: {uniform: [1, 2]}}",
                                 "population: {compute_flops: {uniform: [1, 3]}}", NULL, 0),
                      "population.compute_flops");
}

static void excepted_options_may_differ(void **state) {
  (void)state;
  static const char *const except[] = {"seed", "cell.delay_s"};
  assert_null(difference("seed: 1", "{seed: 2, cell: {delay_s: 1}}", except, 2));
  assert_string_equal(difference("seed: 1", "{seed: 2, cell: {delay_s: 1}}", except, 1),
                      "cell.delay_s");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(equal_values_are_equal_however_written),
      cmocka_unit_test(the_first_difference_is_named),
      cmocka_unit_test(excepted_options_may_differ),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
