/* The objective: its weights against finite differences in every form, its limits, its first step,
 * its averages, and the value loss. */
#include "objective_fixture.h"
#include <string.h>

enum { LONGEST = 6 };

typedef struct {
  double log_prob[LONGEST], old[LONGEST], reference[LONGEST];
} tokens;

/* Log-probabilities that have moved by about `step` since the answer was given. */
static tokens some_tokens(uint64_t seed, double step) {
  tokens t;
  double x[3 * LONGEST];
  random_numbers(seed, 3 * LONGEST, x);
  for (int j = 0; j < LONGEST; j++) {
    t.old[j] = -0.2 - fabs(x[j]);
    t.log_prob[j] = t.old[j] + step * x[LONGEST + j];
    t.reference[j] = t.old[j] + 2 * step * x[2 * LONGEST + j];
  }
  return t;
}

static fc_objective_answer answer_of(const tokens *t, int n, double advantage) {
  return (fc_objective_answer){.n = n,
                               .log_prob = t->log_prob,
                               .old = t->old,
                               .reference = t->reference,
                               .advantage = advantage};
}

static const double mean_length = 4.5;
static const fc_objective plain = {.clip_low = 0.2, .clip_high = 0.2, .longest = LONGEST};

static double loss_of(const fc_objective *o, const tokens *t, int n, double advantage) {
  float weight[LONGEST];
  fc_objective_sums sums;
  fc_objective_answer a = answer_of(t, n, advantage);
  return fc_objective_of(o, mean_length, &a, weight, &sums);
}

/* Far enough from a limit that central differences do not cross it. */
static bool near_a_limit(const fc_objective *o, const tokens *t, int n) {
  double whole = 0;
  for (int j = 0; j < n; j++) {
    double one = exp(t->log_prob[j] - t->old[j]);
    whole += t->log_prob[j] - t->old[j];
    if (o->token_ratio &&
        (fabs(one - 1 + o->clip_low) < 1e-3 || fabs(one - 1 - o->clip_high) < 1e-3))
      return true;
  }
  return fabs(exp(whole) - 1 + o->clip_low) < 1e-3 || fabs(exp(whole) - 1 - o->clip_high) < 1e-3;
}

static void weights_are_derivatives(void **state) {
  (void)state;
  int compared = 0, cut_off = 0;
  for (int form = 0; form < 2 * 3 * 2; form++)
    for (uint64_t seed = 1; seed <= 20; seed++) {
      fc_objective o = plain;
      o.token_ratio = form % 2;
      o.average = (fc_average)(form / 2 % 3);
      o.kl_beta = form / 6 ? 0.3 : 0.0;
      o.clip_high = 0.28;
      int n = 1 + (int)(seed % LONGEST);
      double advantage = seed % 2 ? 1.7 : -0.6;
      tokens t = some_tokens(seed, 0.3);
      if (near_a_limit(&o, &t, n)) continue;
      float weight[LONGEST];
      fc_objective_sums sums;
      fc_objective_answer a = answer_of(&t, n, advantage);
      fc_objective_of(&o, mean_length, &a, weight, &sums);
      cut_off += (int)(sums.clip_low + sums.clip_high);
      for (int j = 0; j < n; j++) {
        tokens up = t, down = t;
        up.log_prob[j] += 1e-5;
        down.log_prob[j] -= 1e-5;
        double slope = (loss_of(&o, &up, n, advantage) - loss_of(&o, &down, n, advantage)) / 2e-5;
        CLOSE((double)weight[j], -slope, 1e-6); /* by -ln p */
        compared++;
      }
    }
  assert_true(compared > 500 && cut_off > 20);
}

static void first_step_is_the_policy_gradient(void **state) {
  (void)state;
  for (int token = 0; token < 2; token++) {
    fc_objective o = plain;
    o.token_ratio = token;
    tokens t = some_tokens(3, 0);
    float weight[LONGEST];
    fc_objective_sums sums;
    fc_objective_answer a = answer_of(&t, 4, -1.5);
    double loss = fc_objective_of(&o, mean_length, &a, weight, &sums);
    int terms = token ? 4 : 1;
    assert_true(sums.terms == terms && sums.ratio == terms && sums.ratio_squared == terms);
    assert_true(sums.kl_old == 0 && sums.clip_low == 0 && sums.clip_high == 0);
    CLOSE(loss, 1.5, 1e-12);
    for (int j = 0; j < 4; j++) CLOSE((double)weight[j], -1.5 / terms, 1e-7);
  }
}

/* Of whole answers: the ratio is the product of the tokens' ratios. */
static void limits_cut_off_one_side(void **state) {
  (void)state;
  const struct {
    double ratio, advantage;
    int low, high;
  } cases[] = {{1.25, 1, 0, 1}, {1.25, -1, 0, 0}, {0.75, -1, 1, 0}, {0.75, 1, 0, 0},
               {1.23, 1, 0, 0}, {0.85, -1, 0, 0}, {1.25, 0, 0, 0}};
  fc_objective o = plain;
  o.clip_high = 0.24;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    tokens t = some_tokens(4, 0);
    t.log_prob[0] += 0.7;
    t.log_prob[2] += log(cases[i].ratio) - 0.7;
    float weight[LONGEST];
    fc_objective_sums sums;
    fc_objective_answer a = answer_of(&t, 3, cases[i].advantage);
    a.reference = NULL;
    double loss = fc_objective_of(&o, 3, &a, weight, &sums);
    double limited = cases[i].low ? 0.8 : cases[i].high ? 1.24 : cases[i].ratio;
    CLOSE(loss, -limited * cases[i].advantage, 1e-12);
    CLOSE(sums.ratio, cases[i].ratio, 1e-12);
    CLOSE(sums.kl_old, cases[i].ratio - 1 - log(cases[i].ratio), 1e-12);
    assert_true(sums.clip_low == cases[i].low && sums.clip_high == cases[i].high);
    double slope = cases[i].low || cases[i].high ? 0 : cases[i].ratio * cases[i].advantage;
    for (int j = 0; j < 3; j++) CLOSE((double)weight[j], slope, 1e-7);
  }
}

/* Token weights over a step's answers sum to the mean advantage as each average has it. */
static void averages(void **state) {
  (void)state;
  const int length[] = {2, 5};
  const double expected[] = {(1 + 2) / 2.0, (2 * 1 + 5 * 2) / 7.0, (2 * 1 + 5 * 2) / 12.0};
  tokens t = some_tokens(5, 0);
  for (int average = 0; average < 3; average++) {
    fc_objective o = plain;
    o.token_ratio = true;
    o.average = (fc_average)average;
    double sum = 0;
    for (int i = 0; i < 2; i++) {
      float weight[LONGEST];
      fc_objective_sums sums;
      fc_objective_answer a = answer_of(&t, length[i], 1.0 + i);
      fc_objective_of(&o, 3.5, &a, weight, &sums);
      for (int j = 0; j < length[i]; j++) sum += (double)weight[j];
    }
    CLOSE(sum / 2, expected[average], 1e-6);
  }
}

static void penalty_is_never_negative(void **state) {
  (void)state;
  fc_objective o = plain;
  o.kl_beta = 1;
  for (uint64_t seed = 1; seed <= 20; seed++) {
    tokens t = some_tokens(seed, 0.5);
    float weight[LONGEST];
    fc_objective_sums sums;
    fc_objective_answer a = answer_of(&t, LONGEST, 0);
    double loss = fc_objective_of(&o, LONGEST, &a, weight, &sums);
    double k3 = 0;
    for (int j = 0; j < LONGEST; j++) {
      double x = t.reference[j] - t.log_prob[j];
      k3 += exp(x) - x - 1;
    }
    assert_true(loss > 0);
    CLOSE(sums.kl_reference, k3, 1e-10 * (1 + k3));
    CLOSE(loss, k3 / LONGEST, 1e-10 * (1 + k3));
    memcpy(t.reference, t.log_prob, sizeof t.reference);
    loss = fc_objective_of(&o, LONGEST, &a, weight, &sums);
    assert_true(loss == 0 && sums.kl_reference == 0);
  }
}

static void nan_reaches_the_weights(void **state) {
  (void)state;
  tokens t = some_tokens(6, 0.1);
  t.log_prob[1] = NAN;
  float weight[LONGEST];
  fc_objective_sums sums;
  fc_objective_answer a = answer_of(&t, 3, 1);
  assert_true(isnan(fc_objective_of(&plain, mean_length, &a, weight, &sums)));
  assert_true(isnan(weight[0])); /* which fc_model_hook_grad refuses */
}

static void value_loss(void **state) {
  (void)state;
  double derivative = 0;
  CLOSE(fc_value_loss(3, 1, 2.5, 0, &derivative), 0.125, 1e-12);
  CLOSE(derivative, 0.5, 1e-12);
  /* V has moved from 1 to 3, beyond the target: limited to 1.2, which is further off it */
  CLOSE(fc_value_loss(3, 1, 2.5, 0.2, &derivative), 0.5 * 1.3 * 1.3, 1e-12);
  CLOSE(derivative, 0, 0);
  /* moved away from the target: the limited value is nearer, the larger loss counts */
  CLOSE(fc_value_loss(3, 1, 0, 0.2, &derivative), 4.5, 1e-12);
  CLOSE(derivative, 3, 1e-12);
  double x[3];
  for (uint64_t seed = 1; seed <= 50; seed++) {
    random_numbers(seed, 3, x);
    fc_value_loss(x[0], x[1], x[2], 0.2, &derivative);
    double unused, up = fc_value_loss(x[0] + 1e-6, x[1], x[2], 0.2, &unused);
    double down = fc_value_loss(x[0] - 1e-6, x[1], x[2], 0.2, &unused);
    CLOSE(derivative, (up - down) / 2e-6, 1e-5);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(weights_are_derivatives),
      cmocka_unit_test(first_step_is_the_policy_gradient),
      cmocka_unit_test(limits_cut_off_one_side),
      cmocka_unit_test(averages),
      cmocka_unit_test(penalty_is_never_negative),
      cmocka_unit_test(nan_reaches_the_weights),
      cmocka_unit_test(value_loss),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
