/* What a forward pass promises: adapters and merging, independence of the batch, agreement of loss
 * and logits, and every refusal with its message. */
#include "fixture.h"

static const char *const linears[] = {"all-linear"};
static const char *const everything[] = {"all"};
static const fc_trainable_spec adapters = {
    .targets = linears, .n_targets = 1, .lora_rank = 3, .alpha = 6.0F};
static const fc_trainable_spec nothing = {0};

static float *logits_of(setup *s, const fc_batch *b, fc_loss_kind kind) {
  float *logits = new_floats((size_t)logit_count(fc_model_get_shape(s->model), kind));
  OK(fc_model_logits(s->work, s->theta, b, kind, logits));
  return logits;
}

static void assert_near(const float *a, const float *b, int64_t n, double tolerance) {
  for (int64_t i = 0; i < n; i++) {
    if (!(fabs((double)a[i] - (double)b[i]) <= tolerance))
      fail_msg("element %lld: %g and %g", (long long)i, (double)a[i], (double)b[i]);
  }
}

static void assert_same_bits(const float *a, const float *b, int64_t n) {
  assert_memory_equal(a, b, (size_t)n * sizeof *a);
}

/* Calls check for every family and loss kind. */
static void each_model(void (*check)(const fc_model_shape *shape, const fc_batch *b,
                                     fc_loss_kind kind)) {
  for (int f = 0; f < N_FAMILIES; f++) {
    fc_model_shape shape = full_shape(all_families[f]);
    fc_batch b = batch_for(all_families[f]);
    check(&shape, &b, lm_kind(&shape));
    check(&shape, &b, FC_LOSS_CLASSIFY);
    shape.pool = FC_POOL_MEAN;
    check(&shape, &b, FC_LOSS_CLASSIFY);
  }
}

static void check_fresh_adapter(const fc_model_shape *shape, const fc_batch *b, fc_loss_kind kind) {
  setup plain = open_setup(shape, &nothing, false), fresh = open_setup(shape, &adapters, false);
  float *want = logits_of(&plain, b, kind), *got = logits_of(&fresh, b, kind);
  int64_t n = logit_count(shape, kind);
  assert_same_bits(got, want, n);
  random_lora_b(fresh.trainable, fresh.theta);
  float *moved = logits_of(&fresh, b, kind);
  double difference = 0.0;
  for (int64_t i = 0; i < n; i++) difference += fabs((double)moved[i] - (double)want[i]);
  assert_true(difference > 0.1);
  fc_free(want);
  fc_free(got);
  fc_free(moved);
  close_setup(&plain);
  close_setup(&fresh);
}

static void fresh_adapter_changes_nothing(void **state) {
  (void)state;
  each_model(check_fresh_adapter);
}

static void check_merge(const fc_model_shape *shape, const fc_batch *b, fc_loss_kind kind) {
  static const char *const encoder[] = {"layer.1.output", "classifier"};
  static const char *const gpt2[] = {"h.1.ln_1", "score"};
  static const char *const llama[] = {"layers.1.input_layernorm", "score"};
  fc_trainable_spec spec = adapters;
  spec.saved = !fc_arch_is_causal(shape->arch)        ? encoder
               : shape->arch == fc_arch_find("llama") ? llama
                                                      : gpt2;
  spec.n_saved = 2;
  setup s = open_setup(shape, &spec, false);
  random_lora_b(s.trainable, s.theta);
  size_t n = 0;
  const fc_trainable_part *p = fc_trainable_parts(s.trainable, &n);
  for (size_t i = 0; i < n; i++) {
    if (p[i].kind == 'W') s.theta[p[i].offset] += 0.5F;
  }
  float *with_adapter = logits_of(&s, b, kind);
  setup merged = open_setup(shape, &nothing, false);
  float *weights = new_floats(fc_model_weight_count(s.model));
  fc_trainable_merge(s.trainable, s.theta, weights);
  fc_model_set_weights(merged.model, weights);
  float *without = logits_of(&merged, b, kind);
  assert_near(with_adapter, without, logit_count(shape, kind), 2e-5);
  fc_free(with_adapter);
  fc_free(without);
  fc_free(weights);
  close_setup(&s);
  close_setup(&merged);
}

static void merged_weights_give_the_same_logits(void **state) {
  (void)state;
  each_model(check_merge);
}

/* One sequence of a batch as a batch of its own. */
static fc_batch alone(const fc_batch *b, int sequence, int64_t start[2]) {
  fc_batch one = *b;
  int64_t first = b->start[sequence];
  start[0] = 0;
  start[1] = b->start[sequence + 1] - first;
  one.sequences = 1;
  one.start = start;
  one.tokens = b->tokens + first;
  one.types = b->types ? b->types + first : NULL;
  one.targets = b->targets + first;
  one.labels = b->labels + sequence;
  return one;
}

static void check_alone(const fc_model_shape *shape, const fc_batch *b, fc_loss_kind kind) {
  setup s = open_setup(shape, &adapters, false);
  random_lora_b(s.trainable, s.theta);
  float *together = logits_of(&s, b, kind);
  for (int i = 0; i < b->sequences; i++) {
    int64_t start[2];
    fc_batch one = alone(b, i, start);
    float *single = logits_of(&s, &one, kind);
    bool classes = kind == FC_LOSS_CLASSIFY;
    int64_t row = classes ? i : b->start[i], rows = classes ? 1 : start[1];
    int64_t width = classes ? shape->labels : shape->vocab;
    assert_same_bits(single, together + row * width, rows * width);
    fc_free(single);
  }
  fc_free(together);
  close_setup(&s);
}

static void a_sequence_does_not_see_its_batch(void **state) {
  (void)state;
  each_model(check_alone);
}

/* The same at a width where the products take their fast path, among many other rows. */
static void a_sequence_does_not_see_a_large_batch(void **state) {
  (void)state;
  enum { MANY = 40, LENGTH = 7 };
  fc_model_shape shape = full_shape("bert");
  shape.width = 64;
  shape.ffn = 256;
  setup s = open_setup(&shape, &nothing, false);
  fc_work_destroy(&s.work);
  OK(fc_work_create(s.model, s.trainable, (int64_t)MANY * LENGTH, MANY, LENGTH, FC_WORK_FORWARD,
                    &s.work));
  int64_t start[MANY + 1];
  int32_t tokens[MANY * LENGTH];
  for (int i = 0; i <= MANY; i++) start[i] = (int64_t)i * LENGTH;
  for (int i = 0; i < MANY * LENGTH; i++) tokens[i] = (i * i + i / 3) % VOCAB;
  fc_batch b = {.sequences = MANY, .start = start, .tokens = tokens};
  float *together = new_floats((size_t)MANY * LENGTH * VOCAB), *single = new_floats(LENGTH * VOCAB);
  OK(fc_model_logits(s.work, s.theta, &b, FC_LOSS_MASKED_LM, together));
  for (int i = 0; i < MANY; i += 13) {
    fc_batch one = {.sequences = 1, .start = start, .tokens = tokens + i * LENGTH};
    OK(fc_model_logits(s.work, s.theta, &one, FC_LOSS_MASKED_LM, single));
    assert_same_bits(single, together + (ptrdiff_t)i * LENGTH * VOCAB, LENGTH * VOCAB);
  }
  fc_free(together);
  fc_free(single);
  close_setup(&s);
}

/* -log softmax in double from logits. */
static double xent(const float *logits, int width, int target) {
  double sum = 0.0;
  for (int v = 0; v < width; v++) sum += exp((double)logits[v] - (double)logits[target]);
  return log(sum);
}

static int argmax(const float *x, int n) {
  int best = 0;
  for (int i = 1; i < n; i++)
    if (x[i] > x[best]) best = i;
  return best;
}

static void check_loss(const fc_model_shape *shape, const fc_batch *b, fc_loss_kind kind) {
  setup s = open_setup(shape, &nothing, false);
  float *logits = logits_of(&s, b, kind);
  bool classes = kind == FC_LOSS_CLASSIFY;
  const int32_t *targets = classes ? b->labels : b->targets;
  int rows = classes ? SEQUENCES : ROWS, width = classes ? shape->labels : shape->vocab;
  fc_loss_result want = {0}, got = {0};
  for (int i = 0; i < rows; i++) {
    if (targets[i] == FC_TARGET_IGNORE) continue;
    want.loss_sum += xent(logits + i * width, width, targets[i]);
    want.correct += argmax(logits + i * width, width) == targets[i];
    want.count++;
  }
  OK(fc_model_loss(s.work, s.theta, b, kind, &got));
  OK(fc_model_loss(s.work, s.theta, b, kind, &got)); /* adds */
  assert_true(fabs(got.loss_sum - 2.0 * want.loss_sum) <= 1e-5 * want.loss_sum);
  assert_int_equal(got.count, 2 * want.count);
  assert_int_equal(got.correct, 2 * want.correct);
  fc_free(logits);
  close_setup(&s);
}

static void loss_is_the_cross_entropy_of_the_logits(void **state) {
  (void)state;
  each_model(check_loss);
}

static void check_workspaces(const fc_model_shape *shape, const fc_batch *b, fc_loss_kind kind) {
  setup s = open_setup(shape, &adapters, false), t = open_setup(shape, &adapters, true);
  random_lora_b(s.trainable, s.theta);
  random_lora_b(t.trainable, t.theta);
  float *small = logits_of(&s, b, kind), *large = logits_of(&t, b, kind);
  assert_same_bits(small, large, logit_count(shape, kind));
  fc_loss_result forward = {0}, both = {0};
  float *gradient = new_floats(fc_trainable_count(t.trainable));
  OK(fc_model_loss(s.work, s.theta, b, kind, &forward));
  OK(fc_model_grad(t.work, t.theta, b, kind, fc_rng_open(1, FC_RNG_DROPOUT, 0, 0), gradient,
                   &both));
  assert_true(forward.loss_sum == both.loss_sum);
  assert_int_equal(forward.correct, both.correct);
  fc_free(small);
  fc_free(large);
  fc_free(gradient);
  close_setup(&s);
  close_setup(&t);
}

static void forward_only_workspace_agrees_with_training(void **state) {
  (void)state;
  each_model(check_workspaces);
}

/* A model may be used with nothing trained and no theta at all. */
static void runs_without_trainables(void **state) {
  (void)state;
  fc_model_shape shape = full_shape("gpt2");
  setup s = open_setup(&shape, &nothing, false);
  fc_batch b = ragged_batch();
  fc_work *bare = NULL;
  OK(fc_work_create(s.model, NULL, ROWS, SEQUENCES, LONGEST, FC_WORK_FORWARD, &bare));
  float *want = logits_of(&s, &b, FC_LOSS_CAUSAL_LM), *got = new_floats(ROWS * VOCAB);
  OK(fc_model_logits(bare, NULL, &b, FC_LOSS_CAUSAL_LM, got));
  assert_same_bits(got, want, ROWS * VOCAB);
  fc_work_destroy(&bare);
  fc_free(want);
  fc_free(got);
  close_setup(&s);
}

/* ---- edges and refusals ---------------------------------------------------------------------- */

static fc_err loss_of(setup *s, const fc_batch *b, fc_loss_kind kind) {
  fc_loss_result r = {0};
  return fc_model_loss(s->work, s->theta, b, kind, &r);
}

static void nothing_to_count_is_no_error(void **state) {
  (void)state;
  static const int32_t ignored[ROWS] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
  fc_model_shape shape = full_shape("gpt2");
  fc_trainable_spec spec = {.saved = everything, .n_saved = 1};
  setup s = open_setup(&shape, &spec, true);
  fc_batch b = ragged_batch(), empty = {0};
  b.targets = ignored;
  fc_loss_result r = {0};
  float *gradient = new_floats(fc_trainable_count(s.trainable));
  fc_rng rng = fc_rng_open(1, FC_RNG_DROPOUT, 0, 0);
  OK(fc_model_grad(s.work, s.theta, &b, FC_LOSS_CAUSAL_LM, rng, gradient, &r));
  OK(fc_model_grad(s.work, s.theta, &empty, FC_LOSS_CAUSAL_LM, rng, gradient, &r));
  OK(fc_model_loss(s.work, s.theta, &empty, FC_LOSS_CLASSIFY, &r));
  OK(fc_model_logits(s.work, s.theta, &empty, FC_LOSS_CLASSIFY, NULL));
  assert_int_equal(r.count, 0);
  assert_true(r.loss_sum == 0.0);
  assert_true(fc_k_sum_squares(gradient, (int64_t)fc_trainable_count(s.trainable)) == 0.0);
  fc_free(gradient);
  close_setup(&s);
}

static void refuses_batches_of_the_wrong_shape(void **state) {
  (void)state;
  fc_model_shape shape = full_shape("roberta");
  setup s = open_setup(&shape, &nothing, false);
  fc_batch good = ragged_batch(), b = good;
  b.sequences = 5;
  FAILS(loss_of(&s, &b, FC_LOSS_CLASSIFY), SHAPE,
        "the batch has 5 sequences, the workspace takes at most 4");
  b.sequences = -1;
  FAILS(loss_of(&s, &b, FC_LOSS_CLASSIFY), SHAPE,
        "the batch has -1 sequences, the workspace takes at most 4");
  b = good;
  b.start = (const int64_t[]){1, 3, 4, 10, 12};
  FAILS(loss_of(&s, &b, FC_LOSS_CLASSIFY), SHAPE,
        "the batch's first sequence starts at row 1, not 0");
  b.start = (const int64_t[]){0, 3, 3, 10, 12};
  FAILS(loss_of(&s, &b, FC_LOSS_CLASSIFY), SHAPE,
        "sequence 1 of the batch has 0 tokens, allowed is 1 or more");
  b.start = (const int64_t[]){0, 1, 2, 10, 12};
  FAILS(loss_of(&s, &b, FC_LOSS_CLASSIFY), SHAPE,
        "sequence 2 of the batch has 8 tokens, roberta has 7 positions");
  b.start = (const int64_t[]){0, 1, 3, 10, 12};
  FAILS(loss_of(&s, &b, FC_LOSS_CLASSIFY), SHAPE,
        "sequence 2 of the batch has 7 tokens, the workspace takes at most 6");
  b.start = (const int64_t[]){0, 3, 4, 10, 13};
  FAILS(loss_of(&s, &b, FC_LOSS_CLASSIFY), SHAPE,
        "the batch has 13 tokens, the workspace takes at most 12");
  assert_int_equal(loss_of(&s, &good, FC_LOSS_CLASSIFY), FC_ERR_OK);
  close_setup(&s);
}

static void refuses_values_out_of_range(void **state) {
  (void)state;
  fc_model_shape shape = full_shape("bert");
  setup s = open_setup(&shape, &nothing, false);
  fc_batch b = typed_batch();
  int32_t copy[ROWS];
  memcpy(copy, b.tokens, sizeof copy);
  copy[7] = VOCAB;
  b.tokens = copy;
  FAILS(loss_of(&s, &b, FC_LOSS_CLASSIFY), DATA,
        "token 17 at row 7 of the batch, allowed is 0 to 16");
  copy[7] = -1;
  FAILS(fc_model_logits(s.work, s.theta, &b, FC_LOSS_CLASSIFY, NULL), DATA,
        "token -1 at row 7 of the batch, allowed is 0 to 16");
  b = typed_batch();
  memcpy(copy, b.types, sizeof copy);
  copy[11] = 2;
  b.types = copy;
  FAILS(loss_of(&s, &b, FC_LOSS_CLASSIFY), DATA,
        "token type 2 at row 11 of the batch, allowed is 0 to 1");
  b = typed_batch();
  memcpy(copy, b.targets, sizeof copy);
  copy[0] = -2;
  b.targets = copy;
  FAILS(loss_of(&s, &b, FC_LOSS_MASKED_LM), DATA,
        "target -2 at row 0 of the batch, allowed is -1 to 16");
  b = typed_batch();
  b.labels = (const int32_t[]){0, 1, 2, 3};
  FAILS(loss_of(&s, &b, FC_LOSS_CLASSIFY), DATA,
        "label 3 at sequence 3 of the batch, allowed is 0 to 2");
  b.labels = b.targets = NULL;
  FAILS(loss_of(&s, &b, FC_LOSS_CLASSIFY), DATA,
        "a classification loss needs labels; the batch has none");
  FAILS(loss_of(&s, &b, FC_LOSS_MASKED_LM), DATA,
        "a masked-LM loss needs targets; the batch has none");
  close_setup(&s);
}

static void refuses_losses_the_model_cannot_have(void **state) {
  (void)state;
  fc_model_shape encoder = small_shape("bert"), decoder = small_shape("gpt2");
  setup e = open_setup(&encoder, &nothing, false), d = open_setup(&decoder, &nothing, false);
  fc_batch b = ragged_batch();
  FAILS(loss_of(&e, &b, FC_LOSS_CAUSAL_LM), USAGE,
        "a causal-LM loss needs a decoder; bert is an encoder");
  FAILS(loss_of(&e, &b, FC_LOSS_MASKED_LM), USAGE,
        "a masked-LM loss needs an encoder with its masked-LM head; this bert has none");
  FAILS(loss_of(&d, &b, FC_LOSS_CLASSIFY), USAGE,
        "a classification loss needs a classification head; this gpt2 has none");
  close_setup(&d);
  decoder.lm_head = true; /* says nothing new of a decoder */
  d = open_setup(&decoder, &nothing, false);
  FAILS(loss_of(&d, &b, FC_LOSS_MASKED_LM), USAGE,
        "a masked-LM loss needs an encoder with its masked-LM head; this gpt2 has none");
  fc_loss_result r = {0};
  FAILS(fc_model_grad(d.work, d.theta, &b, FC_LOSS_CAUSAL_LM, fc_rng_open(1, FC_RNG_DROPOUT, 0, 0),
                      NULL, &r),
        USAGE, "this workspace was made for forward passes only");
  close_setup(&e);
  close_setup(&d);
}

/* Puts a NaN into one weight and expects the place to be told. */
static void expect_nan(const char *family, const char *tensor, fc_loss_kind kind,
                       const char *message) {
  fc_model_shape shape = full_shape(family);
  setup s = open_setup(&shape, &nothing, false);
  const fc_tensor *t = fc_model_find_tensor(s.model, tensor);
  assert_non_null(t);
  s.weights[t->offset] = NAN;
  fc_batch b = batch_for(family);
  fc_loss_result r = {0};
  FAILS(fc_model_loss(s.work, s.theta, &b, kind, &r), NUMERIC, message);
  assert_int_equal(r.count, 0);
  close_setup(&s);
}

static void tells_where_a_loss_stops_being_finite(void **state) {
  (void)state;
  expect_nan("bert", "bert.encoder.layer.1.output.dense.weight", FC_LOSS_CLASSIFY,
             "classification loss is nan at sequence 0, token 0; first not finite: the output of "
             "block 1");
  expect_nan("gpt2", "h.0.mlp.c_fc.bias", FC_LOSS_CAUSAL_LM,
             "causal-LM loss is nan at sequence 0, token 0; first not finite: the output of block "
             "0");
  expect_nan("gpt2", "ln_f.weight", FC_LOSS_CLASSIFY,
             "classification loss is nan at sequence 0, token 2; first not finite: the final norm");
  expect_nan("roberta", "embeddings.LayerNorm.bias", FC_LOSS_MASKED_LM,
             "masked-LM loss is nan at sequence 0, token 0; first not finite: the embeddings");
  expect_nan("roberta", "lm_head.dense.weight", FC_LOSS_MASKED_LM,
             "masked-LM loss is nan at sequence 0, token 0; first not finite: the head");
  /* token 7 appears in sequence 2 only */
  fc_model_shape shape = full_shape("gpt2");
  setup s = open_setup(&shape, &nothing, false);
  s.weights[fc_model_find_tensor(s.model, "wte.weight")->offset + (size_t)7 * 8] = INFINITY;
  fc_batch b = ragged_batch();
  FAILS(loss_of(&s, &b, FC_LOSS_CLASSIFY), NUMERIC,
        "classification loss is nan at sequence 2, token 5; first not finite: the embeddings");
  close_setup(&s);
}

static void a_gradient_pass_tells_it_too(void **state) {
  (void)state;
  fc_trainable_spec spec = {.saved = everything, .n_saved = 1};
  fc_model_shape shape = full_shape("roberta");
  setup s = open_setup(&shape, &spec, true);
  s.theta[0] = NAN; /* word 0 */
  fc_batch b = ragged_batch();
  fc_loss_result r = {0};
  float *gradient = new_floats(fc_trainable_count(s.trainable));
  FAILS(fc_model_grad(s.work, s.theta, &b, FC_LOSS_CLASSIFY, fc_rng_open(1, FC_RNG_DROPOUT, 0, 0),
                      gradient, &r),
        NUMERIC,
        "classification loss is nan at sequence 1, token 0; first not finite: the embeddings");
  assert_int_equal(r.count, 0);
  fc_free(gradient);
  close_setup(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fresh_adapter_changes_nothing),
      cmocka_unit_test(merged_weights_give_the_same_logits),
      cmocka_unit_test(a_sequence_does_not_see_its_batch),
      cmocka_unit_test(a_sequence_does_not_see_a_large_batch),
      cmocka_unit_test(loss_is_the_cross_entropy_of_the_logits),
      cmocka_unit_test(forward_only_workspace_agrees_with_training),
      cmocka_unit_test(runs_without_trainables),
      cmocka_unit_test(nothing_to_count_is_no_error),
      cmocka_unit_test(refuses_batches_of_the_wrong_shape),
      cmocka_unit_test(refuses_values_out_of_range),
      cmocka_unit_test(refuses_losses_the_model_cannot_have),
      cmocka_unit_test(tells_where_a_loss_stops_being_finite),
      cmocka_unit_test(a_gradient_pass_tells_it_too),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
