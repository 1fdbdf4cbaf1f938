/* model.precision: what each value asks for, on this CPU and with all weights trained. */
#include "single_rank.h"

static bool picked(const char *const *sets) {
  fc_config *cfg = small_config(sets);
  bool alone = false, together = false;
  OK(fc_precision_pick(NULL, cfg, &alone));
  OK(fc_precision_pick(comm, cfg, &together));
  assert_int_equal(alone, together);
  fc_config_destroy(&cfg);
  return alone;
}

static void as_asked_or_as_the_cpu_is_fast(void **state) {
  (void)state;
  assert_false(picked(SETS("model.precision=f32")));
  assert_true(picked(SETS("model.precision=bf16")));
  assert_int_equal(picked(NULL), fc_k_bf16_is_fast());
  assert_true(fc_k_bf16_use_path("plain"));
  assert_false(picked(NULL));
  assert_true(picked(SETS("model.precision=bf16")));
  assert_true(fc_k_bf16_use_path("plain"));
}

static void nothing_frozen_nothing_rounded(void **state) {
  (void)state;
  assert_false(picked(SETS("adapter.kind=full")));
}

/* A run in bf16 has the panels, and trains near to the one in f32. */
static void runs_differ_by_rounding_alone(void **state) {
  (void)state;
  double loss[2];
  for (int bf16 = 0; bf16 <= 1; bf16++) {
    fixture f = fixture_make(comm, SETS(bf16 ? "model.precision=bf16" : "model.precision=f32"));
    assert_int_equal(fc_model_get_panels(f.fed->task.model) != NULL, bf16);
    fc_metrics m;
    random_floats(3, f.fed->P, f.fed->theta);
    OK(fc_evaluate_theta(f.fed, &m));
    loss[bf16] = m.loss;
    fixture_drop(&f);
  }
  assert_true(loss[0] != loss[1]);
  CLOSE_RELATIVE(loss[1], loss[0], 0.02);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(as_asked_or_as_the_cpu_is_fast),
    cmocka_unit_test(nothing_frozen_nothing_rounded),
    cmocka_unit_test(runs_differ_by_rounding_alone),
};
SINGLE_RANK_MAIN(tests)
