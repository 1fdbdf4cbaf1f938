/* With panels the products with frozen weights run in bf16: losses and gradients stay near those of
 * f32, further away than f32's own rounding; what is trained whole is read from theta. */
#include "fixture.h"

static const char *const all_linear[] = {"all-linear"};
static const char *const all[] = {"all"};
static const char *const query[] = {"query"};
static const char *const value[] = {"value", "head"};

typedef struct {
  fc_loss_result loss;
  float *dtheta;
} pass;

static pass run(setup *s, fc_loss_kind kind, const fc_batch *batch, bool bf16) {
  pass p = {.dtheta = new_floats(fc_trainable_count(s->trainable))};
  fc_bf16 *panels = bf16 ? new_panels(s->model) : NULL;
  fc_rng rng = fc_rng_open(7, FC_RNG_DROPOUT, 0, 0);
  OK(fc_model_grad(s->work, s->theta, batch, kind, rng, p.dtheta, &p.loss));
  fc_model_set_panels(s->model, NULL);
  fc_free(panels);
  return p;
}

static double norm(const float *a, const float *b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) {
    double d = (double)a[i] - (b ? (double)b[i] : 0.0);
    sum += d * d;
  }
  return sqrt(sum);
}

/* bf16 keeps 8 bits: each product is off by about 2^-9 of its terms' size. */
static void expect_near(const fc_trainable_spec *spec, double least) {
  for (int f = 0; f < N_FAMILIES; f++) {
    fc_model_shape shape = full_shape(all_families[f]);
    if (spec->targets == query && f < FIRST_ENCODER) continue; /* a name of encoders */
    setup s = open_setup(&shape, spec, true);
    random_lora_b(s.trainable, s.theta);
    fc_batch batch = batch_for(all_families[f]);
    fc_loss_kind kind = f < FIRST_ENCODER ? FC_LOSS_CAUSAL_LM : FC_LOSS_MASKED_LM;
    pass exact = run(&s, kind, &batch, false), rounded = run(&s, kind, &batch, true);
    size_t n = fc_trainable_count(s.trainable);
    double off = norm(rounded.dtheta, exact.dtheta, n) / norm(exact.dtheta, NULL, n);
    if (!(off >= least && off < 0.05))
      fail_msg("%s: gradient is off by %g of its norm", all_families[f], off);
    double loss = rounded.loss.loss_sum / exact.loss.loss_sum - 1.0;
    if (!(fabs(loss) < 0.02)) fail_msg("%s: loss is off by %g", all_families[f], loss);
    assert_int_equal(rounded.loss.count, exact.loss.count);
    fc_free(exact.dtheta);
    fc_free(rounded.dtheta);
    close_setup(&s);
  }
}

static void adapters_on_rounded_weights(void **state) {
  (void)state;
  expect_near(
      &(fc_trainable_spec){.targets = all_linear, .n_targets = 1, .lora_rank = 2, .alpha = 4},
      1e-4);
}

static void adapters_with_dropout(void **state) {
  (void)state;
  expect_near(
      &(fc_trainable_spec){
          .targets = all_linear, .n_targets = 1, .lora_rank = 2, .alpha = 4, .dropout = 0.3F},
      1e-4);
}

/* Value's weights come from theta, query's and key's from the panels. */
static void a_piece_trained_whole(void **state) {
  (void)state;
  expect_near(&(fc_trainable_spec){.targets = query,
                                   .n_targets = 1,
                                   .lora_rank = 2,
                                   .alpha = 4,
                                   .saved = value,
                                   .n_saved = 2},
              1e-5);
}

static void nothing_is_rounded_where_all_is_trained(void **state) {
  (void)state;
  fc_model_shape shape = full_shape("gpt2");
  setup s = open_setup(&shape, &(fc_trainable_spec){.saved = all, .n_saved = 1}, true);
  fc_batch batch = ragged_batch();
  pass exact = run(&s, FC_LOSS_CAUSAL_LM, &batch, false);
  pass same = run(&s, FC_LOSS_CAUSAL_LM, &batch, true);
  assert_memory_equal(exact.dtheta, same.dtheta, fc_trainable_count(s.trainable) * sizeof(float));
  fc_free(exact.dtheta);
  fc_free(same.dtheta);
  close_setup(&s);
}

/* A workspace without gradients keeps fewer arrays, and the same bits. */
static void forward_passes_alone_are_the_same(void **state) {
  (void)state;
  const fc_trainable_spec spec = {
      .targets = all_linear, .n_targets = 1, .lora_rank = 2, .alpha = 4};
  for (int f = 0; f < N_FAMILIES; f++) {
    fc_model_shape shape = full_shape(all_families[f]);
    setup s = open_setup(&shape, &spec, true), forward = open_setup(&shape, &spec, false);
    fc_bf16 *panels = new_panels(s.model), *others = new_panels(forward.model);
    fc_batch batch = batch_for(all_families[f]);
    random_lora_b(s.trainable, s.theta);
    float trained[ROWS * VOCAB], alone[ROWS * VOCAB];
    OK(fc_model_logits(s.work, s.theta, &batch, lm_kind(&shape), trained));
    OK(fc_model_logits(forward.work, s.theta, &batch, lm_kind(&shape), alone));
    assert_memory_equal(trained, alone, sizeof alone);
    close_setup(&s);
    close_setup(&forward);
    fc_free(panels);
    fc_free(others);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(adapters_on_rounded_weights),
      cmocka_unit_test(adapters_with_dropout),
      cmocka_unit_test(a_piece_trained_whole),
      cmocka_unit_test(forward_passes_alone_are_the_same),
      cmocka_unit_test(nothing_is_rounded_where_all_is_trained),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
