/* Test loss and accuracy against a plain loop, one sample at a time. */
#include "single_rank.h"

static fc_loss_result one_by_one(fixture *f, const float *theta) {
  fc_thread *t = &f->fed->threads.thread[0];
  fc_loss_result result = {0};
  size_t n = 0;
  const uint32_t *test = fc_split_test(f->fed->task.split, &n);
  fc_rng none = fc_rng_open(0, FC_RNG_TEST, 0, 0);
  for (size_t i = 0; i < n; i++) {
    const fc_batch *batch = NULL;
    OK(fc_batcher_fill(t->batcher, f->fed->task.corpus, f->fed->task.tokenizer, test + i, 1,
                       f->fed->task.loss, none, &batch));
    OK(fc_model_loss(t->work, theta, batch, f->fed->task.loss, &result));
  }
  return result;
}

static void expect_plain(const char *const *sets) {
  fixture f = fixture_make(comm, sets);
  random_floats(8, f.fed->P, f.fed->theta);
  fc_loss_result plain = one_by_one(&f, f.fed->theta), alone = {0};
  fc_metrics m;
  OK(fc_evaluate_theta(f.fed, &m));
  CLOSE_RELATIVE(m.loss, plain.loss_sum / (double)plain.count, 1e-6);
  assert_true(m.accuracy == (double)plain.correct / (double)plain.count);
  OK(fc_evaluate_alone(f.fed, &f.fed->threads.thread[0], f.fed->theta, &alone));
  CLOSE_RELATIVE(alone.loss_sum, plain.loss_sum, 1e-6);
  assert_int_equal(alone.count, plain.count);
  assert_int_equal(alone.correct, plain.correct);
  fixture_drop(&f);
}

static void classification(void **state) {
  (void)state;
  expect_plain(NULL);
  expect_plain(SETS("federation.local.batch=7")); /* the last block is smaller */
}

static void language_modelling(void **state) {
  (void)state;
  expect_plain(SETS("model.family=gpt2", "data.dataset=generated-problems", "data.split=iid",
                    "adapter.targets=[c_attn]"));
  expect_plain(SETS("model.family=llama", "model.kv_heads=1", "data.dataset=generated-problems",
                    "data.split=iid", "adapter.targets=[q_proj, v_proj]"));
}

static void dropout_is_off(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS("adapter.dropout=0.5"));
  fc_metrics a, b;
  random_floats(8, f.fed->P, f.fed->theta);
  OK(fc_evaluate_theta(f.fed, &a));
  OK(fc_evaluate_theta(f.fed, &b));
  assert_true(a.loss == b.loss && a.accuracy == b.accuracy);
  fixture_drop(&f);
}

/* Each device's model in `local`, of which some differ from the base. */
static void means_over_device_models(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS("federation.method=local"));
  fc_round round = {.number = 1};
  fc_metrics m;
  double loss = 0, accuracy = 0;
  size_t n = 0;
  fc_split_test(f.fed->task.split, &n);
  OK(f.fed->method->plan(f.fed, &round));
  OK(f.fed->method->train(f.fed, &round));
  for (uint32_t d = 0; d < 12; d++) {
    const float *theta = f.fed->theta;
    for (uint32_t i = 0; i < round.n; i++)
      if (round.all[i].device == d) theta = round.theta + i * f.fed->P;
    fc_loss_result r = one_by_one(&f, theta);
    loss += r.loss_sum / (double)n / 12;
    accuracy += (double)r.correct / (double)n / 12;
  }
  OK(f.fed->method->evaluate(f.fed, &m));
  CLOSE_RELATIVE(m.loss, loss, 1e-6);
  CLOSE(m.accuracy, accuracy, 1e-12);
  drop_round(&round);
  fixture_drop(&f);
}

static void a_loss_that_is_not_finite_is_told(void **state) {
  (void)state;
  fixture f = fixture_make(comm, NULL);
  fc_metrics m;
  for (size_t w = 0; w < f.fed->P; w++) f.fed->theta[w] = NAN;
  assert_int_equal(fc_evaluate_theta(f.fed, &m), FC_ERR_NUMERIC);
  fixture_drop(&f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(classification),
    cmocka_unit_test(language_modelling),
    cmocka_unit_test(dropout_is_off),
    cmocka_unit_test(means_over_device_models),
    cmocka_unit_test(a_loss_that_is_not_finite_is_told),
};
SINGLE_RANK_MAIN(tests)
