/* Data-parallel steps: the gradient of the whole batch, whatever the micro-batches. */
#include "single_rank.h"

enum { BATCH = 13 };

static fc_parallel open_parallel(fixture *f, int micro_batch, const fc_optimizer_settings *o) {
  fc_parallel p = {.comm = comm,
                   .task = &f->fed->task,
                   .threads = &f->fed->threads,
                   .loss = f->fed->task.loss,
                   .micro_batch = micro_batch,
                   .seed = 4,
                   .theta = f->fed->theta};
  OK(fc_parallel_create(&p, o, BATCH));
  return p;
}

/* theta - 1 * gradient: what a step changes is the gradient. */
static fc_optimizer_settings plain_descent(void) {
  return (fc_optimizer_settings){.kind = fc_optimizer_find("sgd"), .learning_rate = 1.0f};
}

static fixture make(void) {
  fixture f = fixture_make(
      comm, SETS("adapter.dropout=0", "federation.local.batch=13", "model.precision=f32"));
  random_floats(3, f.fed->P, f.fed->theta);
  return f;
}

static const uint32_t *some_samples(const fixture *f) {
  size_t n = 0;
  const uint32_t *samples = fc_split_public(f->fed->task.split, &n);
  assert_true(n >= BATCH);
  return samples;
}

/* gradient (P) <- of the mean loss of the whole batch at once. */
static fc_loss_result whole_gradient(fixture *f, float *gradient, double *tokens) {
  fc_thread *t = &f->fed->threads.thread[0];
  const fc_batch *batch = NULL;
  fc_loss_result result = {0};
  fc_rng none = fc_rng_open(0, FC_RNG_TEST, 0, 0);
  OK(fc_batcher_fill(t->batcher, f->fed->task.corpus, f->fed->task.tokenizer, some_samples(f),
                     BATCH, f->fed->task.loss, none, &batch));
  OK(fc_model_grad(t->work, f->fed->theta, batch, f->fed->task.loss, none, gradient, &result));
  *tokens = (double)batch->start[BATCH];
  return result;
}

static void gradient_is_that_of_the_whole_batch(void **state) {
  (void)state;
  for (int micro_batch = 1; micro_batch <= BATCH; micro_batch += 3) {
    fixture f = make();
    fc_optimizer_settings o = plain_descent();
    fc_parallel p = open_parallel(&f, micro_batch, &o);
    size_t P = f.fed->P;
    float *gradient = new_memory(P, sizeof *gradient), *before = new_memory(P, sizeof *before);
    double tokens = 0, whole_tokens = 0, largest = 0;
    memcpy(before, f.fed->theta, P * sizeof *before);
    fc_loss_result whole = whole_gradient(&f, gradient, &whole_tokens), result = {0};
    OK(fc_parallel_step(&p, some_samples(&f), BATCH, 0, &result, &tokens));
    for (size_t w = 0; w < P; w++) largest = fmax(largest, fabs((double)gradient[w]));
    assert_true(largest > 1e-3);
    for (size_t w = 0; w < P; w++)
      CLOSE(before[w] - f.fed->theta[w], gradient[w], 1e-6 * (1 + largest));
    CLOSE_RELATIVE(result.loss_sum, whole.loss_sum, 1e-6);
    assert_int_equal(result.count, whole.count);
    assert_int_equal(result.correct, whole.correct);
    assert_true(tokens == whole_tokens);
    fc_free(gradient);
    fc_free(before);
    fc_parallel_destroy(&p);
    fixture_drop(&f);
  }
}

static void threads_do_not_matter(void **state) {
  (void)state;
  float *theta[2];
  for (int i = 0; i < 2; i++) {
    fixture f = make();
    fc_optimizer_settings o = plain_descent();
    fc_parallel p = open_parallel(&f, 2, &o);
    fc_loss_result result = {0};
    double tokens = 0;
    assert_true(f.fed->threads.n >= 2); /* OMP_NUM_THREADS=2 by CTest */
    f.fed->threads.n = i + 1;
    for (int step = 0; step < 3; step++)
      OK(fc_parallel_step(&p, some_samples(&f), BATCH, step, &result, &tokens));
    f.fed->threads.n = 2;
    theta[i] = new_memory(f.fed->P, sizeof(float));
    memcpy(theta[i], f.fed->theta, f.fed->P * sizeof(float));
    if (i == 1) assert_memory_equal(theta[0], theta[1], f.fed->P * sizeof(float));
    fc_parallel_destroy(&p);
    fixture_drop(&f);
  }
  fc_free(theta[0]);
  fc_free(theta[1]);
}

static void nan_is_told(void **state) {
  (void)state;
  fixture f = make();
  fc_optimizer_settings o = plain_descent();
  fc_parallel p = open_parallel(&f, 4, &o);
  fc_loss_result result = {0};
  double tokens = 0;
  f.fed->theta[0] = NAN;
  assert_int_equal(fc_parallel_step(&p, some_samples(&f), BATCH, 0, &result, &tokens),
                   FC_ERR_NUMERIC);
  assert_int_equal(result.count, 0);
  fc_parallel_destroy(&p);
  fixture_drop(&f);
}

static void memory_is_as_estimated(void **state) {
  (void)state;
  fixture f = make();
  size_t before = fc_mem_current_bytes();
  fc_optimizer_settings o = f.fed->set.local.optimizer;
  fc_parallel p = open_parallel(&f, 2, &o);
  double taken = (double)(fc_mem_current_bytes() - before);
  assert_true(fc_parallel_bytes(&o, BATCH, 2, 1, f.fed->P) == taken);
  fc_parallel_destroy(&p);
  assert_int_equal(fc_mem_current_bytes(), before);
  fixture_drop(&f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(gradient_is_that_of_the_whole_batch),
    cmocka_unit_test(threads_do_not_matter),
    cmocka_unit_test(nan_is_told),
    cmocka_unit_test(memory_is_as_estimated),
};
SINGLE_RANK_MAIN(tests)
