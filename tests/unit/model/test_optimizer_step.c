/* Optimisers, schedules and clipping against values worked out by hand. */
#include "fixture.h"
#include "fedcell/fc_optimizer.h"

static fc_optimizer_settings settings(const char *kind) {
  return (fc_optimizer_settings){.kind = fc_optimizer_find(kind),
                                 .learning_rate = 0.1F,
                                 .beta1 = 0.9F,
                                 .beta2 = 0.99F,
                                 .eps = 1e-8F,
                                 .schedule = "constant"};
}

static void assert_close(double got, double want) {
  if (!(fabs(got - want) <= 1e-6 * (1.0 + fabs(want)))) fail_msg("%.9g, not %.9g", got, want);
}

static void adamw_by_hand(void **state) {
  (void)state;
  fc_optimizer_settings s = settings("adamw");
  s.weight_decay = 0.5F;
  assert_int_equal(fc_optimizer_state_count(&s, 2), 4);
  float memory[4] = {9.0F, 9.0F, 9.0F, 9.0F}, w[2] = {1.0F, -2.0F}, dw[2] = {0.5F, -3.0F};
  fc_optimizer o = fc_optimizer_bind(&s, 2, memory);
  /* Step 1: decay by 1 - 0.1 * 0.5, then the bias-corrected m/sqrt(v) is the gradient's sign. */
  OK(fc_optimizer_step(&o, w, dw));
  assert_close((double)w[0], 0.95 - 0.1);
  assert_close((double)w[1], -1.9 + 0.1);
  /* Step 2 with gradient 1: m = 0.9 * 0.05 + 0.1 = 0.145, v = 0.99 * 0.0025 + 0.01 = 0.012475. */
  dw[0] = dw[1] = 1.0F;
  OK(fc_optimizer_step(&o, w, dw));
  double m = 0.145 / (1.0 - 0.81), v = 0.012475 / (1.0 - 0.9801);
  assert_close((double)w[0], 0.85 * 0.95 - 0.1 * m / (sqrt(v) + 1e-8));
  assert_int_equal(o.step, 2);
}

static void sgd_by_hand(void **state) {
  (void)state;
  fc_optimizer_settings s = settings("sgd");
  assert_int_equal(fc_optimizer_state_count(&s, 3), 0);
  float w[1] = {2.0F}, dw[1] = {0.5F};
  fc_optimizer o = fc_optimizer_bind(&s, 1, NULL);
  OK(fc_optimizer_step(&o, w, dw));
  assert_close((double)w[0], 1.95);
  s.momentum = 0.5F;
  s.weight_decay = 0.1F;
  float velocity[1] = {7.0F};
  assert_int_equal(fc_optimizer_state_count(&s, 1), 1);
  w[0] = 2.0F;
  o = fc_optimizer_bind(&s, 1, velocity);
  OK(fc_optimizer_step(&o, w, dw)); /* v = 0.5 + 0.2 */
  assert_close((double)w[0], 1.93);
  OK(fc_optimizer_step(&o, w, dw)); /* v = 0.35 + 0.5 + 0.193 */
  assert_close((double)w[0], 1.93 - 0.1043);
}

static void clipping_limits_the_norm(void **state) {
  (void)state;
  fc_optimizer_settings s = settings("sgd");
  s.learning_rate = 1.0F;
  s.clip_norm = 1.0F;
  float w[2] = {0.0F, 0.0F}, large[2] = {3.0F, -4.0F}, small[2] = {0.3F, -0.4F};
  fc_optimizer o = fc_optimizer_bind(&s, 2, NULL);
  OK(fc_optimizer_step(&o, w, large));
  assert_close((double)w[0], -0.6);
  assert_close((double)w[1], 0.8);
  OK(fc_optimizer_step(&o, w, small)); /* below the limit: untouched */
  assert_close((double)w[0], -0.9);
  assert_true(small[0] == 0.3F);
}

static double factor(const char *schedule, int64_t warmup, int64_t total, int64_t step) {
  fc_optimizer_settings s = {.schedule = schedule, .warmup_steps = warmup, .total_steps = total};
  return fc_schedule_factor(&s, step);
}

static void schedules_by_hand(void **state) {
  (void)state;
  assert_close(factor("constant", 0, 10, 9), 1.0);
  assert_close(factor("constant", 4, 10, 0), 0.0);
  assert_close(factor("constant", 4, 10, 3), 0.75);
  assert_close(factor("constant", 4, 10, 4), 1.0);
  assert_close(factor("linear", 0, 10, 0), 1.0);
  assert_close(factor("linear", 2, 10, 1), 0.5);
  assert_close(factor("linear", 2, 10, 4), 0.75);
  assert_close(factor("linear", 2, 10, 10), 0.0);
  assert_close(factor("linear", 2, 10, 99), 0.0);
  assert_close(factor("cosine", 0, 8, 0), 1.0);
  assert_close(factor("cosine", 0, 8, 2), 0.5 * (1.0 + sqrt(0.5)));
  assert_close(factor("cosine", 0, 8, 4), 0.5);
  assert_close(factor("cosine", 0, 8, 20), 0.0);
  assert_close(factor("cosine", 3, 0, 50), 1.0); /* no total: no decay */
  assert_close(factor(NULL, 0, 10, 5), 1.0);
}

static void the_schedule_scales_the_step(void **state) {
  (void)state;
  fc_optimizer_settings s = settings("sgd");
  s.schedule = "linear";
  s.total_steps = 4;
  float w[1] = {0.0F}, dw[1] = {1.0F};
  fc_optimizer o = fc_optimizer_bind(&s, 1, NULL);
  for (int i = 0; i < 6; i++) OK(fc_optimizer_step(&o, w, dw));
  assert_close((double)w[0], -0.1 * (1.0 + 0.75 + 0.5 + 0.25));
}

static void not_finite_gradients_stop(void **state) {
  (void)state;
  fc_optimizer_settings s = settings("adamw");
  float memory[6], w[3] = {1.0F, 2.0F, 3.0F}, dw[3] = {0.0F, NAN, 0.0F};
  fc_optimizer o = fc_optimizer_bind(&s, 3, memory);
  FAILS(fc_optimizer_step(&o, w, dw), NUMERIC,
        "the gradient is not finite at optimiser step 1: element 1 of 3 is nan");
  dw[1] = 0.0F;
  dw[2] = -INFINITY;
  FAILS(fc_optimizer_step(&o, w, dw), NUMERIC,
        "the gradient is not finite at optimiser step 1: element 2 of 3 is -inf");
  assert_true(w[1] == 2.0F && o.step == 0 && memory[1] == 0.0F);
}

static void names_are_listed(void **state) {
  (void)state;
  assert_string_equal(fc_optimizer_name(0), "adamw");
  assert_string_equal(fc_optimizer_name(1), "sgd");
  assert_null(fc_optimizer_name(2));
  assert_string_equal(fc_schedule_name(2), "cosine");
  assert_null(fc_schedule_name(3));
  assert_null(fc_optimizer_find("adam"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(adamw_by_hand),
      cmocka_unit_test(sgd_by_hand),
      cmocka_unit_test(clipping_limits_the_norm),
      cmocka_unit_test(schedules_by_hand),
      cmocka_unit_test(the_schedule_scales_the_step),
      cmocka_unit_test(not_finite_gradients_stop),
      cmocka_unit_test(names_are_listed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
