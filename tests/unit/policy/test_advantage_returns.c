/* Advantages: by hand, against the plain double loop over (30), and what normalising must do to
 * rewards that are all alike or not finite. */
#include "objective_fixture.h"

enum { EPISODES = 5, ROUNDS = 7, ALL = EPISODES * ROUNDS };
static const fc_episodes shape = {EPISODES, ROUNDS};

static void two_episodes_by_hand(void **state) {
  (void)state;
  /* round 1: 1 and 3, round 2: 5 and 1; mean 2 and 3, deviation 1 and 2 */
  const double reward[] = {1, 5, 3, 1};
  const fc_episodes of = {2, 2};
  double a[4];
  uint8_t alike[2];
  OK(fc_advantage_group(of, reward, true, 1.0, a, alike));
  CLOSE(a[0], 0.0, 2e-6); /* -1 + 1, up to the 1e-6 in the denominators */
  CLOSE(a[1], 1.0, 1e-6);
  CLOSE(a[2], 0.0, 2e-6);
  CLOSE(a[3], -1.0, 1e-6);
  OK(fc_advantage_group(of, reward, false, 0.5, a, alike));
  CLOSE(a[0], -1 + 0.5 * 2, 1e-12);
  CLOSE(a[1], 2, 1e-12);
  CLOSE(a[2], 1 - 0.5 * 2, 1e-12);
  CLOSE(a[3], -2, 1e-12);
  assert_int_equal(alike[0] + alike[1], 0);
}

static void group_is_the_sum_of_normalised_rewards(void **state) {
  (void)state;
  double reward[ALL], a[ALL];
  uint8_t alike[ROUNDS];
  random_numbers(1, ALL, reward);
  for (int e = 0; e < EPISODES; e++) reward[e * ROUNDS + 3] = 0.1; /* one round without spread */
  OK(fc_advantage_group(shape, reward, true, 1.0, a, alike));
  for (int e = 0; e < EPISODES; e++)
    for (int t = 0; t < ROUNDS; t++) {
      double sum = 0;
      for (int j = t; j < ROUNDS; j++) {
        double mean = 0, variance = 0;
        for (int i = 0; i < EPISODES; i++) mean += reward[i * ROUNDS + j] / EPISODES;
        for (int i = 0; i < EPISODES; i++)
          variance += pow(reward[i * ROUNDS + j] - mean, 2) / EPISODES;
        if (j != 3) sum += (reward[e * ROUNDS + j] - mean) / (sqrt(variance) + 1e-6);
      }
      CLOSE(a[e * ROUNDS + t], sum, 1e-12);
    }
  for (int t = 0; t < ROUNDS; t++) assert_int_equal(alike[t], t == 3);
}

static void rounds_without_spread_give_nothing(void **state) {
  (void)state;
  double reward[ALL], a[ALL];
  uint8_t alike[ROUNDS], keep[ALL];
  random_numbers(2, ALL, reward);
  /* the last two rounds: nothing comes after them, so they teach nothing; round 1 is alike too, but
   * rounds that do teach come after it. (The mean of five 0.9 is not 0.9.) */
  for (int e = 0; e < EPISODES; e++)
    reward[e * ROUNDS] = reward[e * ROUNDS + 5] = reward[e * ROUNDS + 6] = 0.9;
  OK(fc_advantage_group(shape, reward, true, 1.0, a, alike));
  assert_int_equal(fc_advantage_keep(shape, a, keep), EPISODES * 5);
  for (int i = 0; i < ALL; i++) {
    assert_int_equal(keep[i], i % ROUNDS < 5);
    if (!keep[i]) assert_true(a[i] == 0.0);
  }
  assert_true(alike[0] && !alike[1] && alike[5] && alike[6]);
}

static void one_episode_teaches_nothing(void **state) {
  (void)state;
  double reward[ROUNDS], a[ROUNDS];
  uint8_t alike[ROUNDS], keep[ROUNDS];
  const fc_episodes of = {1, ROUNDS};
  random_numbers(3, ROUNDS, reward);
  OK(fc_advantage_group(of, reward, true, 1.0, a, alike));
  assert_int_equal(fc_advantage_keep(of, a, keep), 0);
}

static void whole_returns_minus_value(void **state) {
  (void)state;
  double reward[ALL], value[ALL], a[ALL], returns[ALL];
  random_numbers(4, ALL, reward);
  random_numbers(5, ALL, value);
  OK(fc_advantage_gae(shape, reward, value, 1.0, 1.0, a, returns));
  for (int e = 0; e < EPISODES; e++) {
    double to_go = 0;
    for (int i = (e + 1) * ROUNDS - 1; i >= e * ROUNDS; i--) {
      to_go += reward[i];
      CLOSE(a[i], to_go - value[i], 1e-12);
      CLOSE(returns[i], to_go, 1e-12);
    }
  }
}

static void gae_is_the_discounted_sum_of_differences(void **state) {
  (void)state;
  const double gamma = 0.9, lambda = 0.8;
  double reward[ALL], value[ALL], a[ALL], returns[ALL];
  random_numbers(6, ALL, reward);
  random_numbers(7, ALL, value);
  OK(fc_advantage_gae(shape, reward, value, gamma, lambda, a, returns));
  for (int e = 0; e < EPISODES; e++)
    for (int t = 0; t < ROUNDS; t++) {
      double sum = 0;
      for (int j = t; j < ROUNDS; j++) {
        int i = e * ROUNDS + j;
        double next = j + 1 < ROUNDS ? value[i + 1] : 0.0;
        sum += pow(gamma * lambda, j - t) * (reward[i] + gamma * next - value[i]);
      }
      CLOSE(a[e * ROUNDS + t], sum, 1e-12);
      CLOSE(returns[e * ROUNDS + t], sum + value[e * ROUNDS + t], 1e-12);
    }
}

static void normalised_has_mean_0_and_deviation_1(void **state) {
  (void)state;
  double x[ALL], sum = 0, squares = 0;
  random_numbers(8, ALL, x);
  fc_advantage_normalise(x, ALL);
  for (int i = 0; i < ALL; i++) {
    sum += x[i];
    squares += x[i] * x[i];
  }
  CLOSE(sum, 0, 1e-12);
  CLOSE(squares / ALL, 1, 1e-7);
  for (int i = 0; i < ALL; i++) x[i] = 3.0;
  fc_advantage_normalise(x, ALL);
  for (int i = 0; i < ALL; i++) CLOSE(x[i], 0, 1e-6);
}

static void nan_is_told(void **state) {
  (void)state;
  double reward[ALL], value[ALL], a[ALL], returns[ALL];
  uint8_t alike[ROUNDS];
  random_numbers(9, ALL, reward);
  random_numbers(10, ALL, value);
  value[ALL - 1] = INFINITY;
  FAILS(fc_advantage_gae(shape, reward, value, 1.0, 1.0, a, returns), NUMERIC,
        "the value of episode 4 in round 7 is inf");
  reward[2 * ROUNDS + 1] = NAN;
  FAILS(fc_advantage_group(shape, reward, true, 1.0, a, alike), NUMERIC,
        "the reward of episode 2 in round 2 is nan");
  FAILS(fc_advantage_gae(shape, reward, value, 1.0, 1.0, a, returns), NUMERIC,
        "the reward of episode 2 in round 2 is nan");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(two_episodes_by_hand),
      cmocka_unit_test(group_is_the_sum_of_normalised_rewards),
      cmocka_unit_test(rounds_without_spread_give_nothing),
      cmocka_unit_test(one_episode_teaches_nothing),
      cmocka_unit_test(whole_returns_minus_value),
      cmocka_unit_test(gae_is_the_discounted_sum_of_differences),
      cmocka_unit_test(normalised_has_mean_0_and_deviation_1),
      cmocka_unit_test(nan_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
