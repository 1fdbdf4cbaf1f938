/* Draws of quantities that vary over devices. */
#include "config_test.h"

enum { N_DRAWS = 200000 };

static fc_dist dist(fc_dist_kind kind, double a, double b) {
  return (fc_dist){.kind = kind, .a = a, .b = b, .min = 1, .max = 0};
}

/* All draws within [lo, hi]; their mean within 5 standard errors of fc_dist_mean. */
static void check_draws(fc_dist d, double lo, double hi) {
  fc_rng rng = fc_rng_open(7, FC_RNG_TEST, (uint64_t)d.kind, 0);
  double sum = 0.0, squares = 0.0;
  for (int i = 0; i < N_DRAWS; i++) {
    double x = fc_dist_draw(&d, &rng);
    assert_true(x >= lo && x <= hi);
    sum += x;
    squares += x * x;
  }
  double mean = sum / N_DRAWS, sd = sqrt(fmax(squares / N_DRAWS - mean * mean, 0.0));
  double allowed = 5.0 * sd / sqrt(N_DRAWS) + 1e-9 * fabs(mean);
  if (!(fabs(mean - fc_dist_mean(&d)) <= allowed)) {
    fail_msg("kind %d: mean of draws %.9g, expected %.9g", (int)d.kind, mean, fc_dist_mean(&d));
  }
}

static void draws_have_their_mean_and_range(void **state) {
  (void)state;
  static const double choices[] = {-3.0, 0.0, 2.5};
  fc_dist normal = dist(FC_DIST_NORMAL, 1.0, 2.0), choice = dist(FC_DIST_CHOICE, 0, 0);
  choice.choices = choices;
  choice.n = 3;
  check_draws(dist(FC_DIST_CONSTANT, 4.25, 0), 4.25, 4.25);
  check_draws(dist(FC_DIST_UNIFORM, -2, 6), -2, 6);
  check_draws(dist(FC_DIST_UNIFORM, 3, 3), 3, 3);
  check_draws(dist(FC_DIST_LOG_UNIFORM, 0.1, 1000), 0.1, 1000);
  check_draws(dist(FC_DIST_LOG_UNIFORM, 3, 3), 3, 3);
  check_draws(dist(FC_DIST_LOG_UNIFORM, 1, 1.0000001), 1, 1.0000001);
  check_draws(choice, -3, 2.5);
  check_draws(normal, -INFINITY, INFINITY);
  normal.min = 0.0, normal.max = 1.5;
  check_draws(normal, 0.0, 1.5);
  normal.max = INFINITY;
  check_draws(normal, 0.0, INFINITY);
  normal.b = 0.0;
  check_draws(normal, 1.0, 1.0);
}

static void the_median_of_log_uniform_is_the_geometric_mean(void **state) {
  (void)state;
  fc_dist d = dist(FC_DIST_LOG_UNIFORM, 0.01, 100);
  fc_rng rng = fc_rng_open(7, FC_RNG_TEST, 9, 0);
  int n_below = 0;
  for (int i = 0; i < N_DRAWS; i++) n_below += fc_dist_draw(&d, &rng) < 1.0;
  assert_true(abs(n_below - N_DRAWS / 2) < 5 * 0.5 * sqrt(N_DRAWS));
}

static void each_choice_comes_equally_often(void **state) {
  (void)state;
  static const double choices[] = {0, 1, 2, 3, 4};
  fc_dist d = dist(FC_DIST_CHOICE, 0, 0);
  d.choices = choices;
  d.n = 5;
  fc_rng rng = fc_rng_open(7, FC_RNG_TEST, 10, 0);
  int n[5] = {0};
  for (int i = 0; i < N_DRAWS; i++) n[(int)fc_dist_draw(&d, &rng)]++;
  for (int i = 0; i < 5; i++) {
    assert_true(abs(n[i] - N_DRAWS / 5) < 5 * sqrt(N_DRAWS * 0.2 * 0.8));
  }
}

static void words_consumed_are_fixed(void **state) {
  (void)state;
  static const double choices[] = {1, 2};
  static const uint64_t words[] = {[FC_DIST_CONSTANT] = 0,
                                   [FC_DIST_UNIFORM] = 1,
                                   [FC_DIST_LOG_UNIFORM] = 1,
                                   [FC_DIST_NORMAL] = 2,
                                   [FC_DIST_CHOICE] = 1};
  for (int kind = FC_DIST_CONSTANT; kind <= FC_DIST_CHOICE; kind++) {
    fc_dist d = dist((fc_dist_kind)kind, 1, 2);
    d.choices = choices;
    d.n = 2;
    fc_rng rng = fc_rng_open(3, FC_RNG_TEST, 0, 0);
    for (uint64_t i = 1; i <= 10; i++) {
      fc_dist_draw(&d, &rng);
      assert_int_equal(rng.index, i * words[kind]);
    }
  }
}

static void extreme_ends_stay_finite(void **state) {
  (void)state;
  fc_dist wide = dist(FC_DIST_UNIFORM, -1.7e308, 1.7e308);
  fc_dist log_wide = dist(FC_DIST_LOG_UNIFORM, 1e-308, 1e308);
  fc_rng rng = fc_rng_open(5, FC_RNG_TEST, 0, 0);
  for (int i = 0; i < 1000; i++) {
    assert_true(isfinite(fc_dist_draw(&wide, &rng)));
    assert_true(isfinite(fc_dist_draw(&log_wide, &rng)));
  }
  assert_true(fc_dist_mean(&wide) == 0.0);
  fc_dist narrow = dist(FC_DIST_LOG_UNIFORM, 1e6, 1e6 * (1.0 + 1e-9));
  assert_true(fabs(fc_dist_mean(&narrow) - (1e6 + 0.5e-3)) <= 1e-8);
  assert_true(isfinite(fc_dist_mean(&log_wide)));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(draws_have_their_mean_and_range),
      cmocka_unit_test(the_median_of_log_uniform_is_the_geometric_mean),
      cmocka_unit_test(each_choice_comes_equally_often),
      cmocka_unit_test(words_consumed_are_fixed),
      cmocka_unit_test(extreme_ends_stay_finite),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
