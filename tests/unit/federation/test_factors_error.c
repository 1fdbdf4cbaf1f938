/* Factors between layouts, and how far an average of factors is from the average of their products,
 * against dense sums. */
#include "lowrank_fixture.h"

static void a_device_sees_the_first_columns(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS("federation.method=hetlora", "lowrank.ranks=[2]"));
  fc_federation *fed = f.fed;
  fc_round round = {.number = 1};
  OK(fed->method->plan(fed, &round));
  random_floats(1, fed->P, fed->theta);
  fc_participant *p = &round.all[0];
  const fc_trainable *t = fc_trainable_of(fed, p);
  size_t n = 0, m = 0;
  const fc_trainable_part *own = fc_trainable_parts(t, &n);
  const fc_trainable_part *run = fc_trainable_parts(fed->task.trainable, &m);
  assert_int_equal(n, m);
  assert_int_equal(fc_trainable_lora(t).rank, 2);
  fc_factors_narrow(fed, p, round.theta);
  for (size_t i = 0; i < n; i++) {
    int64_t rows = own[i].rows, cols = own[i].cols;
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = 0; c < cols; c++)
        assert_true(round.theta[own[i].offset + (size_t)(r * cols + c)] ==
                    fed->theta[run[i].offset + (size_t)(r * run[i].cols + c)]);
  }
  drop_round(&round);
  fixture_drop(&f);
}

/* The product, with its scale, is the same in both layouts. */
static void expect_same_product(const char *method) {
  char set[64];
  snprintf(set, sizeof set, "federation.method=%s", method);
  fixture f = fixture_make(comm, SETS(set, "lowrank.ranks=[1, 3]"));
  fc_federation *fed = f.fed;
  fc_round round = {.number = 1};
  OK(fed->method->plan(fed, &round));
  for (uint32_t i = 0; i < round.n; i++) {
    fc_participant *p = &round.all[i];
    const fc_trainable *t = fc_trainable_of(fed, p);
    size_t n = dense_count(t);
    double *dense = new_memory(n, sizeof *dense);
    float *theta = round.theta + i * fed->P;
    random_floats(20 + i, fc_trainable_count(t), theta);
    add_products(t, theta, 1, dense);
    double before = norm_of(dense, n);
    float *scratch = new_memory(fed->P, sizeof *scratch);
    fc_factors_widen(fed, p, fc_trainable_lora(t).rank, theta, scratch);
    add_products(fed->task.trainable, theta, -1, dense);
    CLOSE(norm_of(dense, n), 0, 1e-6 * before);
    CLOSE(p->change, fc_k_max_abs_difference(theta, fed->theta, (int64_t)fed->P), 0);
    fc_free(scratch);
    fc_free(dense);
  }
  drop_round(&round);
  fixture_drop(&f);
}

static void widening_keeps_the_product(void **state) {
  (void)state;
  expect_same_product("hetlora");
  expect_same_product("flexlora");
}

static void the_error_is_that_of_dense_sums(void **state) {
  (void)state;
  fixture f = fixture_make(comm, NULL);
  fc_round round = {.number = 1, .notes = fc_round_notes_none};
  OK(fc_plan_random(f.fed, &round));
  train_at_random(f.fed, &round, 40);
  round.all[1].cost.delivered = false;
  double *mean = mean_product(f.fed, &round);
  OK(fc_aggregate_measured(f.fed, &round));
  assert_true(round.notes.aggregation_error > 0.1); /* factors of strangers */
  CLOSE_RELATIVE(round.notes.aggregation_error, error_of(f.fed, mean), 1e-6);
  fc_free(mean);
  drop_round(&round);
  fixture_drop(&f);
}

static void equal_devices_make_no_error(void **state) {
  (void)state;
  fixture f = fixture_make(comm, NULL);
  fc_round round = {.number = 1, .notes = fc_round_notes_none};
  OK(fc_plan_random(f.fed, &round));
  train_at_random(f.fed, &round, 40);
  for (uint32_t i = 1; i < round.n; i++)
    memcpy(round.theta + i * f.fed->P, round.theta, f.fed->P * sizeof(float));
  for (uint32_t i = 0; i < round.n; i++)
    fc_measure_change(f.fed, &round.all[i], round.theta + i * f.fed->P);
  OK(fc_aggregate_measured(f.fed, &round));
  CLOSE(round.notes.aggregation_error, 0, 1e-6);
  drop_round(&round);
  fixture_drop(&f);
}

static void expect_unmeasured(const char *const *sets, bool delivered) {
  fixture f = fixture_make(comm, sets);
  fc_round round = {.number = 1, .notes = fc_round_notes_none};
  OK(f.fed->method->plan(f.fed, &round));
  OK(f.fed->method->train(f.fed, &round));
  for (uint32_t i = 0; i < round.n; i++) round.all[i].cost.delivered = delivered;
  OK(f.fed->method->server(f.fed, &round));
  assert_true(isnan(round.notes.aggregation_error));
  drop_round(&round);
  fixture_drop(&f);
}

static void where_there_is_nothing_to_measure(void **state) {
  (void)state;
  expect_unmeasured(NULL, false);
  expect_unmeasured(SETS("adapter.kind=full"), true);
  expect_unmeasured(SETS("federation.aggregation_error=false"), true);
  expect_unmeasured(SETS("federation.method=hetlora"), false);
  expect_unmeasured(SETS("federation.local.learning_rate=0"), true); /* all products are zero */
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_device_sees_the_first_columns),
    cmocka_unit_test(widening_keeps_the_product),
    cmocka_unit_test(the_error_is_that_of_dense_sums),
    cmocka_unit_test(equal_devices_make_no_error),
    cmocka_unit_test(where_there_is_nothing_to_measure),
};
SINGLE_RANK_MAIN(tests)
