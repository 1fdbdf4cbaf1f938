/* Every gradient of every family against finite differences of the loss. */
#include "fixture.h"

static const char *const everything[] = {"all"};
static const char *const linears[] = {"all-linear"};
static const char *const heads_dense[] = {"dense"};

static fc_rng mask_stream(void) {
  return fc_rng_open(3, FC_RNG_DROPOUT, 4, 5);
}

/* The loss whose gradient fc_model_grad gives, with its dropout masks. */
static double mean_loss(setup *s, const fc_batch *b, fc_loss_kind kind, float *ignored) {
  fc_loss_result r = {0};
  OK(fc_model_grad(s->work, s->theta, b, kind, mask_stream(), ignored, &r));
  assert_true(r.count > 0);
  return r.loss_sum / (double)r.count;
}

/* Fourth-order central difference. */
static double difference(setup *s, const fc_batch *b, fc_loss_kind kind, size_t i, float *ignored) {
  const float h = 1.0F / 128.0F;
  static const int at[4] = {1, -1, 2, -2};
  static const double factor[4] = {8.0, -8.0, -1.0, 1.0};
  float kept = s->theta[i];
  double sum = 0.0;
  for (int k = 0; k < 4; k++) {
    s->theta[i] = kept + (float)at[k] * h;
    sum += factor[k] * mean_loss(s, b, kind, ignored);
  }
  s->theta[i] = kept;
  return sum / (12.0 * (double)h);
}

static void check_part(setup *s, const fc_batch *b, fc_loss_kind kind, const fc_trainable_part *p,
                       const float *gradient, float *ignored, double *largest) {
  double error = 0.0, norm = 0.0;
  size_t size = (size_t)(p->rows * p->cols), n = 0;
  size_t stride = size > 64 ? 5 : 1; /* no row length is a multiple of 5: all columns in turn */
  for (size_t k = 0; k < size; k += stride, n++) {
    double want = difference(s, b, kind, p->offset + k, ignored);
    double got = (double)gradient[p->offset + k];
    error += (got - want) * (got - want);
    norm += want * want;
  }
  /* f32 losses near 3 leave about 2e-5 of noise in each difference. */
  double tolerance = 3e-3 * sqrt(norm) + 5e-5 * sqrt((double)n);
  if (!(sqrt(error) <= tolerance))
    fail_msg("%s: gradient off by %g, norm %g, tolerance %g", p->name, sqrt(error), sqrt(norm),
             tolerance);
  if (sqrt(norm) > *largest) *largest = sqrt(norm);
}

static void check_case(const fc_model_shape *shape, const fc_trainable_spec *spec,
                       fc_loss_kind kind) {
  setup s = open_setup(shape, spec, true);
  random_lora_b(s.trainable, s.theta);
  fc_batch b = batch_for(shape->arch == fc_arch_find("bert") ? "bert" : "");
  size_t count = fc_trainable_count(s.trainable), n = 0;
  float *gradient = new_floats(count), *ignored = new_floats(count);
  fc_loss_result r = {0};
  OK(fc_model_grad(s.work, s.theta, &b, kind, mask_stream(), gradient, &r));
  const fc_trainable_part *p = fc_trainable_parts(s.trainable, &n);
  assert_true(n > 0);
  double largest = 0.0;
  for (size_t i = 0; i < n; i++) check_part(&s, &b, kind, &p[i], gradient, ignored, &largest);
  assert_true(largest > 1e-2); /* the loss does depend on what is trained */
  fc_free(gradient);
  fc_free(ignored);
  close_setup(&s);
}

static void check_all_heads(const char *family, const fc_trainable_spec *spec) {
  fc_model_shape shape = full_shape(family);
  check_case(&shape, spec, lm_kind(&shape));
  check_case(&shape, spec, FC_LOSS_CLASSIFY);
  shape.pool = FC_POOL_MEAN;
  check_case(&shape, spec, FC_LOSS_CLASSIFY);
}

static void whole_model(void **state) {
  (void)state;
  fc_trainable_spec spec = {.saved = everything, .n_saved = 1};
  for (int f = 0; f < N_FAMILIES; f++) check_all_heads(all_families[f], &spec);
}

static void adapters_on_all_linears(void **state) {
  (void)state;
  fc_trainable_spec spec = {.targets = linears, .n_targets = 1, .lora_rank = 3, .alpha = 6.0F};
  for (int f = 0; f < N_FAMILIES; f++) check_all_heads(all_families[f], &spec);
}

static void adapters_with_dropout(void **state) {
  (void)state;
  fc_trainable_spec spec = {
      .targets = linears, .n_targets = 1, .lora_rank = 2, .alpha = 4.0F, .dropout = 0.3F};
  for (int f = 0; f < N_FAMILIES; f++) check_all_heads(all_families[f], &spec);
}

static void adapters_on_head_layers(void **state) {
  (void)state;
  fc_trainable_spec spec = {.targets = heads_dense, .n_targets = 1, .lora_rank = 2, .alpha = 2.0F};
  for (int f = FIRST_ENCODER; f < N_FAMILIES; f++) check_all_heads(all_families[f], &spec);
}

/* Parts of a product from different memories: query adapted, key whole, value's bias alone. */
static void mixed_query_key_value(void **state) {
  (void)state;
  static const char *const targets[] = {"query", "value"};
  static const char *const saved[] = {"key", "value.bias", "classifier"};
  fc_trainable_spec spec = {.targets = targets,
                            .n_targets = 2,
                            .lora_rank = 2,
                            .alpha = 3.0F,
                            .saved = saved,
                            .n_saved = 3};
  check_all_heads("bert", &spec);
  check_all_heads("roberta", &spec);
}

/* The backward pass may stop early, but not too early: every depth by itself. */
static void one_module_at_a_time(void **state) {
  (void)state;
  static const struct {
    const char *family, *saved;
  } cases[] = {
      {"gpt2", "score"},
      {"gpt2", "ln_f"},
      {"gpt2", "h.1.mlp.c_proj"},
      {"gpt2", "h.1.mlp.c_fc"},
      {"gpt2", "h.1.ln_2"},
      {"gpt2", "h.1.attn.c_proj"},
      {"gpt2", "h.1.attn.c_attn"},
      {"gpt2", "h.1.ln_1"},
      {"gpt2", "h.0"},
      {"gpt2", "wte"},
      {"gpt2", "wpe"},
      {"llama", "score"},
      {"llama", "model.norm"},
      {"llama", "layers.1.mlp.down_proj"},
      {"llama", "layers.1.mlp.up_proj"},
      {"llama", "layers.1.mlp.gate_proj"},
      {"llama", "layers.1.post_attention_layernorm"},
      {"llama", "layers.1.self_attn.o_proj"},
      {"llama", "layers.1.self_attn.k_proj"},
      {"llama", "layers.1.input_layernorm"},
      {"llama", "layers.0"},
      {"llama", "embed_tokens"},
      {"bert", "classifier"},
      {"bert", "pooler"},
      {"bert", "encoder.layer.1.output.LayerNorm"},
      {"bert", "layer.1.output.dense"},
      {"bert", "layer.1.intermediate"},
      {"bert", "layer.1.attention.output.LayerNorm"},
      {"bert", "layer.1.attention.output.dense"},
      {"bert", "layer.1.attention.self.value"},
      {"bert", "encoder.layer.0"},
      {"bert", "embeddings.LayerNorm"},
      {"bert", "token_type_embeddings"},
      {"roberta", "classifier.out_proj"},
      {"roberta", "classifier.dense"},
      {"roberta", "position_embeddings"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    fc_model_shape shape = full_shape(cases[i].family);
    fc_trainable_spec spec = {.saved = &cases[i].saved, .n_saved = 1};
    check_case(&shape, &spec, FC_LOSS_CLASSIFY);
  }
}

static void one_lm_module_at_a_time(void **state) {
  (void)state;
  static const struct {
    const char *family, *saved;
  } cases[] = {
      {"bert", "cls.predictions.bias"},
      {"bert", "cls.predictions.transform.LayerNorm"},
      {"bert", "predictions.transform.dense"},
      {"bert", "cls"},
      {"bert", "word_embeddings"},
      {"roberta", "lm_head.bias"},
      {"roberta", "lm_head.layer_norm.weight"},
      {"roberta", "lm_head.dense"},
      {"gpt2", "wte"},
      {"gpt2", "transformer.h.1"},
      {"llama", "lm_head"},
      {"llama", "embed_tokens"},
      {"llama", "layers.1.mlp"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    fc_model_shape shape = full_shape(cases[i].family);
    fc_trainable_spec spec = {.saved = &cases[i].saved, .n_saved = 1};
    check_case(&shape, &spec, lm_kind(&shape));
  }
}

/* dtheta is added to. */
/* Whatever is trained, what is computed again has the same bits. */
static void recomputing_changes_nothing(void **state) {
  (void)state;
  static const char *const upper[] = {"head"};
  const fc_trainable_spec specs[] = {
      {.targets = linears, .n_targets = 1, .lora_rank = 2, .alpha = 4, .dropout = 0.2F},
      {.saved = everything, .n_saved = 1},
      {.saved = upper, .n_saved = 1}};
  for (int f = 0; f < N_FAMILIES; f++)
    for (int i = 0; i < 3; i++) {
      fc_model_shape shape = full_shape(all_families[f]);
      shape.layers = 3;
      setup s = open_setup(&shape, &specs[i], true);
      fc_work *again = NULL;
      OK(fc_work_create(s.model, s.trainable, ROWS, SEQUENCES, LONGEST, FC_WORK_RECOMPUTE, &again));
      random_lora_b(s.trainable, s.theta);
      fc_batch batch = batch_for(all_families[f]);
      fc_rng rng = fc_rng_open(3, FC_RNG_DROPOUT, 0, 0);
      size_t P = fc_trainable_count(s.trainable);
      float *kept = new_floats(P), *computed = new_floats(P);
      fc_loss_result result = {0};
      OK(fc_model_grad(s.work, s.theta, &batch, FC_LOSS_CLASSIFY, rng, kept, &result));
      OK(fc_model_grad(again, s.theta, &batch, FC_LOSS_CLASSIFY, rng, computed, &result));
      assert_memory_equal(kept, computed, P * sizeof *kept);
      fc_work_destroy(&again);
      fc_free(kept);
      fc_free(computed);
      close_setup(&s);
    }
}

static void gradients_accumulate(void **state) {
  (void)state;
  fc_trainable_spec spec = {.saved = everything, .n_saved = 1};
  fc_model_shape shape = full_shape("bert");
  setup s = open_setup(&shape, &spec, true);
  size_t n = fc_trainable_count(s.trainable);
  float *once = new_floats(n), *twice = new_floats(n);
  fc_batch b = typed_batch();
  fc_loss_result r = {0};
  OK(fc_model_grad(s.work, s.theta, &b, FC_LOSS_MASKED_LM, mask_stream(), once, &r));
  for (int k = 0; k < 2; k++)
    OK(fc_model_grad(s.work, s.theta, &b, FC_LOSS_MASKED_LM, mask_stream(), twice, &r));
  for (size_t i = 0; i < n; i++)
    assert_true(fabsf(twice[i] - 2.0F * once[i]) <= 1e-5F + 1e-5F * fabsf(once[i]));
  fc_free(once);
  fc_free(twice);
  close_setup(&s);
}

/* Dropout's masks come from the stream that is handed in, and from nothing else. */
static void dropout_follows_its_stream(void **state) {
  (void)state;
  fc_trainable_spec spec = {
      .targets = linears, .n_targets = 1, .lora_rank = 2, .alpha = 4.0F, .dropout = 0.5F};
  fc_model_shape shape = full_shape("gpt2");
  setup s = open_setup(&shape, &spec, true);
  random_lora_b(s.trainable, s.theta);
  float *ignored = new_floats(fc_trainable_count(s.trainable));
  fc_batch b = ragged_batch();
  fc_rng first = mask_stream(), next = mask_stream();
  fc_rng_u64(&next);
  fc_loss_result r[3] = {{0}};
  OK(fc_model_grad(s.work, s.theta, &b, FC_LOSS_CAUSAL_LM, first, ignored, &r[0]));
  OK(fc_model_grad(s.work, s.theta, &b, FC_LOSS_CAUSAL_LM, next, ignored, &r[1]));
  OK(fc_model_grad(s.work, s.theta, &b, FC_LOSS_CAUSAL_LM, first, ignored, &r[2]));
  assert_true(r[0].loss_sum == r[2].loss_sum);
  assert_true(r[0].loss_sum != r[1].loss_sum);
  fc_free(ignored);
  close_setup(&s);
}

/* With one token, dA = (s B^T dy) x^T is zero exactly where the mask dropped x: a mask of 32 bits.
 */
static uint32_t mask_of(const fc_trainable_part *a, const float *gradient) {
  uint32_t mask = 0;
  for (int i = 0; i < 32; i++) mask |= (uint32_t)(gradient[a->offset + (size_t)i] != 0.0F) << i;
  return mask;
}

static void every_adapter_has_its_own_mask(void **state) {
  (void)state;
  enum { ADAPTERS = 6 };
  static const char *const targets[] = {"value", "attention.output.dense", "intermediate.dense"};
  static const int64_t start[] = {0, 1};
  fc_trainable_spec spec = {
      .targets = targets, .n_targets = 3, .lora_rank = 2, .alpha = 4.0F, .dropout = 0.5F};
  fc_model_shape shape = full_shape("bert");
  shape.width = 32;
  setup s = open_setup(&shape, &spec, true);
  random_lora_b(s.trainable, s.theta);
  float *gradient = new_floats(fc_trainable_count(s.trainable));
  fc_batch b = ragged_batch();
  b.sequences = 1;
  b.start = start;
  fc_loss_result r = {0};
  OK(fc_model_grad(s.work, s.theta, &b, FC_LOSS_CLASSIFY, mask_stream(), gradient, &r));
  size_t n = 0;
  const fc_trainable_part *p = fc_trainable_parts(s.trainable, &n);
  assert_int_equal(n, 2 * ADAPTERS);
  uint32_t masks[ADAPTERS];
  for (int i = 0; i < ADAPTERS; i++) {
    masks[i] = mask_of(&p[2 * i], gradient);
    assert_true(masks[i] != 0 && masks[i] != UINT32_MAX);
    for (int k = 0; k < i; k++) assert_int_not_equal(masks[i], masks[k]);
  }
  fc_free(gradient);
  close_setup(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(whole_model),
      cmocka_unit_test(adapters_on_all_linears),
      cmocka_unit_test(adapters_with_dropout),
      cmocka_unit_test(adapters_on_head_layers),
      cmocka_unit_test(mixed_query_key_value),
      cmocka_unit_test(one_module_at_a_time),
      cmocka_unit_test(one_lm_module_at_a_time),
      cmocka_unit_test(recomputing_changes_nothing),
      cmocka_unit_test(gradients_accumulate),
      cmocka_unit_test(dropout_follows_its_stream),
      cmocka_unit_test(every_adapter_has_its_own_mask),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
