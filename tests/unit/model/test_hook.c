/* The caller's own loss: what it is shown, its gradients by parameters and inputs, what is refused.
 */
#include "fixture.h"

static const char *const everything[] = {"all"};
static const char *const linears[] = {"all-linear"};
static const char *const upper[] = {"model.norm", "ln_f"};
static const char *const decoders[] = {"gpt2", "llama"};
static const fc_trainable_spec whole = {.saved = everything, .n_saved = 1};
static const fc_trainable_spec adapters = {
    .targets = linears, .n_targets = 1, .lora_rank = 3, .alpha = 6.0F};
static const fc_trainable_spec dropping = {
    .targets = linears, .n_targets = 1, .lora_rank = 2, .alpha = 4.0F, .dropout = 0.3F};
static const fc_trainable_spec nothing = {0};

static fc_rng mask_stream(void) {
  return fc_rng_open(3, FC_RNG_DROPOUT, 4, 5);
}

static setup open_decoder(const char *family, const fc_trainable_spec *spec) {
  fc_model_shape shape = small_shape(family);
  shape.untied_head = strcmp(family, "llama") == 0;
  setup s = open_setup(&shape, spec, true);
  random_lora_b(s.trainable, s.theta);
  return s;
}

/* ragged_batch with rows of its own in place of embeddings. */
static fc_batch input_batch(const float *inputs) {
  fc_batch b = ragged_batch();
  b.tokens = NULL;
  b.inputs = inputs;
  return b;
}

static float *random_floats(size_t n, uint64_t seed) {
  float *x = new_floats(n);
  fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 2, 0);
  for (size_t i = 0; i < n; i++) x[i] = (float)fc_rng_normal(&rng);
  return x;
}

/* ---- losses ---------------------------------------------------------------------------------- */

typedef struct {
  int calls, width;
  int64_t rows, n;
  double loss;
  double log_prob[ROWS], entropy[ROWS];
  int64_t row[ROWS];
  float hidden[ROWS * 64];
} seen;

static void look(seen *s, const fc_head_view *v) {
  s->calls++;
  s->rows = v->rows;
  s->n = v->n;
  for (int64_t i = 0; i < v->n; i++) {
    s->log_prob[i] = v->log_prob[i];
    s->entropy[i] = v->entropy[i];
    s->row[i] = v->row[i];
  }
  for (int64_t i = 0; i < v->rows * s->width; i++) s->hidden[i] = v->hidden[i];
}

static fc_err only_look(void *arg, const fc_head_view *v) {
  look(arg, v);
  return FC_ERR_OK;
}

/* The mean of -ln p. */
static fc_err causal(void *arg, const fc_head_view *v) {
  seen *s = arg;
  look(s, v);
  s->loss = 0.0;
  for (int64_t i = 0; i < v->n; i++) {
    s->loss -= v->log_prob[i] / (double)v->n;
    if (v->weight) v->weight[i] = 1.0F / (float)v->n;
  }
  return FC_ERR_OK;
}

/* A sum of a_i ln p_i, squares and the first elements of the hidden states. */
static fc_err mixed(void *arg, const fc_head_view *v) {
  seen *s = arg;
  look(s, v);
  s->loss = 0.0;
  for (int64_t i = 0; i < v->n; i++) {
    double a = 0.3 - 0.1 * (double)(i % 5); /* of both signs */
    s->loss += a * v->log_prob[i];
    if (v->weight) v->weight[i] = (float)-a;
  }
  for (int64_t r = 0; r < v->rows; r++)
    for (int c = 0; c < s->width; c++) {
      double h = (double)v->hidden[r * s->width + c], linear = c == 0 ? 0.2 : 0.0;
      s->loss += 0.02 * (double)(1 + r % 3) * h * h + linear * h;
      if (v->dhidden)
        v->dhidden[r * s->width + c] = (float)(0.04 * (double)(1 + r % 3) * h + linear);
    }
  return FC_ERR_OK;
}

static seen watch(const setup *s) {
  return (seen){.width = fc_model_get_shape(s->model)->width};
}

static seen run(setup *s, const fc_batch *b, fc_head_hook *hook, float *dtheta, float *dinputs) {
  seen w = watch(s);
  OK(fc_model_hook_grad(s->work, s->theta, b, hook, &w, mask_stream(), dtheta, dinputs));
  assert_int_equal(w.calls, 1);
  return w;
}

/* ---- against fc_model_grad ------------------------------------------------------------------- */

static void check_causal(const char *family, const fc_trainable_spec *spec, bool bf16,
                         fc_work_kind kind) {
  setup s = open_decoder(family, spec);
  fc_bf16 *panels = bf16 ? new_panels(s.model) : NULL;
  size_t P = fc_trainable_count(s.trainable);
  float *want = new_floats(P), *got = new_floats(P);
  fc_batch b = ragged_batch();
  fc_loss_result r = {0};
  fc_work_destroy(&s.work);
  OK(fc_work_create(s.model, s.trainable, ROWS, SEQUENCES, LONGEST, kind, &s.work));
  OK(fc_model_grad(s.work, s.theta, &b, FC_LOSS_CAUSAL_LM, mask_stream(), want, &r));
  seen w = run(&s, &b, causal, got, NULL);
  assert_int_equal(w.n, r.count);
  assert_true(fabs(w.loss - r.loss_sum / (double)r.count) <= 1e-6);
  assert_memory_equal(got, want, P * sizeof *got);
  fc_free(want);
  fc_free(got);
  fc_free(panels);
  close_setup(&s);
}

static void the_causal_loss_is_reproduced(void **state) {
  (void)state;
  const fc_trainable_spec top = {.saved = upper, .n_saved = 1};
  const fc_trainable_spec *const specs[] = {&whole, &adapters, &dropping};
  for (int f = 0; f < 2; f++)
    for (int i = 0; i < 3; i++)
      for (int bf16 = 0; bf16 < 2; bf16++) {
        check_causal(decoders[f], specs[i], bf16, FC_WORK_TRAIN);
        check_causal(decoders[f], specs[i], bf16, FC_WORK_RECOMPUTE);
      }
  check_causal("llama", &top, false, FC_WORK_TRAIN);
}

/* ---- against logits -------------------------------------------------------------------------- */

static void check_shown(setup *s, const fc_batch *b) {
  static const int32_t rows_with_target[] = {0, 1, 4, 5, 7, 8, 9, 10};
  float logits[ROWS * VOCAB];
  OK(fc_model_logits(s->work, s->theta, b, FC_LOSS_CAUSAL_LM, logits));
  seen w = run(s, b, only_look, NULL, NULL);
  assert_int_equal(w.rows, ROWS);
  assert_int_equal(w.n, 8);
  for (int i = 0; i < 8; i++) {
    const float *z = logits + rows_with_target[i] * VOCAB;
    double sum = 0.0, mean = 0.0;
    for (int v = 0; v < VOCAB; v++) sum += exp((double)z[v]);
    for (int v = 0; v < VOCAB; v++) mean += exp((double)z[v]) / sum * (double)z[v];
    assert_int_equal(w.row[i], rows_with_target[i]);
    assert_true(fabs(w.log_prob[i] - ((double)z[b->targets[w.row[i]]] - log(sum))) <= 2e-6);
    assert_true(fabs(w.entropy[i] - (log(sum) - mean)) <= 2e-6);
  }
}

/* Also with a workspace for forward passes, and of inputs that are the tokens' embeddings. */
static void shows_probabilities_and_entropies(void **state) {
  (void)state;
  for (int f = 0; f < 2; f++) {
    setup s = open_decoder(decoders[f], &adapters);
    size_t n = 0;
    const float *table = s.weights + fc_model_tensors(s.model, &n)->offset;
    fc_batch b = ragged_batch();
    int width = fc_model_get_shape(s.model)->width;
    float *inputs = new_floats((size_t)(ROWS * width));
    for (int r = 0; r < ROWS; r++)
      memcpy(inputs + r * width, table + b.tokens[r] * width, (size_t)width * sizeof *inputs);
    fc_batch same = input_batch(inputs);
    check_shown(&s, &b);
    check_shown(&s, &same);
    seen by_tokens = run(&s, &b, only_look, NULL, NULL);
    seen by_inputs = run(&s, &same, only_look, NULL, NULL);
    assert_memory_equal(by_tokens.hidden, by_inputs.hidden, sizeof by_tokens.hidden);
    assert_memory_equal(by_tokens.log_prob, by_inputs.log_prob, sizeof by_tokens.log_prob);
    fc_work_destroy(&s.work);
    OK(fc_work_create(s.model, s.trainable, ROWS, SEQUENCES, LONGEST, FC_WORK_FORWARD, &s.work));
    check_shown(&s, &same);
    fc_free(inputs);
    close_setup(&s);
  }
}

/* A row's results depend on its own sequence alone. */
static void a_row_does_not_depend_on_the_batch(void **state) {
  (void)state;
  for (int f = 0; f < 2; f++)
    for (int bf16 = 0; bf16 < 2; bf16++) {
      setup s = open_decoder(decoders[f], &adapters);
      fc_bf16 *panels = bf16 ? new_panels(s.model) : NULL;
      size_t width = (size_t)fc_model_get_shape(s.model)->width,
             P = fc_trainable_count(s.trainable);
      float *inputs = random_floats(ROWS * width, 1), *ignored = new_floats(P);
      float *d_all = new_floats(ROWS * width), *d_one = new_floats(ROWS * width);
      fc_batch all = input_batch(inputs);
      seen w = run(&s, &all, mixed, ignored, d_all);
      for (int32_t i = 0, before = 0; i < SEQUENCES; i++) {
        int64_t first = all.start[i], start[2] = {0, all.start[i + 1] - first};
        size_t at = (size_t)first * width, own = (size_t)start[1] * width;
        fc_batch one = {
            .sequences = 1, .start = start, .inputs = inputs + at, .targets = all.targets + first};
        seen alone = run(&s, &one, only_look, ignored, d_one);
        assert_memory_equal(alone.hidden, w.hidden + at, own * sizeof(float));
        assert_memory_equal(alone.log_prob, w.log_prob + before, (size_t)alone.n * sizeof(double));
        assert_memory_equal(alone.entropy, w.entropy + before, (size_t)alone.n * sizeof(double));
        before += (int32_t)alone.n;
      }
      /* the first sequence's rows and targets have the same weights in both batches */
      fc_batch head = all;
      head.sequences = 1;
      run(&s, &head, mixed, ignored, d_one);
      assert_memory_equal(d_one, d_all, 3 * width * sizeof *d_all);
      fc_free(inputs);
      fc_free(ignored);
      fc_free(d_all);
      fc_free(d_one);
      fc_free(panels);
      close_setup(&s);
    }
}

/* ---- finite differences ---------------------------------------------------------------------- */

/* The loss with dropout's masks: those of a training pass. */
static double loss_of(setup *s, const fc_batch *b, float *ignored) {
  return run(s, b, mixed, ignored, NULL).loss;
}

/* Fourth-order central differences by n values at x, against the gradient. */
static void check_gradient(setup *s, const fc_batch *b, const char *name, float *x,
                           const float *gradient, size_t n, float *ignored) {
  static const int at[4] = {1, -1, 2, -2};
  static const double factor[4] = {8.0, -8.0, -1.0, 1.0};
  const float h = 1.0F / 256.0F;
  double error = 0.0, norm = 0.0;
  size_t stride = n > 64 ? 5 : 1, counted = 0;
  for (size_t i = 0; i < n; i += stride, counted++) {
    float kept = x[i];
    double want = 0.0;
    for (int k = 0; k < 4; k++) {
      x[i] = kept + (float)at[k] * h;
      want += factor[k] * loss_of(s, b, ignored) / (12.0 * (double)h);
    }
    x[i] = kept;
    error += pow((double)gradient[i] - want, 2.0);
    norm += want * want;
  }
  double tolerance = 3e-3 * sqrt(norm) + 1e-4 * sqrt((double)counted);
  if (!(sqrt(error) <= tolerance))
    fail_msg("%s: gradient off by %g, norm %g, tolerance %g", name, sqrt(error), sqrt(norm),
             tolerance);
}

static void check_all_gradients(const char *family, const fc_trainable_spec *spec, bool targets) {
  setup s = open_decoder(family, spec);
  size_t width = (size_t)fc_model_get_shape(s.model)->width, P = fc_trainable_count(s.trainable);
  float *inputs = random_floats(ROWS * width, 1), *dinputs = random_floats(ROWS * width, 2);
  float *gradient = new_floats(P), *ignored = new_floats(P), *alone = new_floats(ROWS * width);
  fc_batch b = input_batch(inputs);
  if (!targets) b.targets = NULL;
  run(&s, &b, mixed, gradient, dinputs);
  size_t n = 0;
  const fc_trainable_part *p = fc_trainable_parts(s.trainable, &n);
  for (size_t i = 0; i < n; i++)
    check_gradient(&s, &b, p[i].name, s.theta + p[i].offset, gradient + p[i].offset,
                   (size_t)(p[i].rows * p[i].cols), ignored);
  check_gradient(&s, &b, "inputs", inputs, dinputs, ROWS * width, ignored);
  run(&s, &b, mixed, NULL, alone); /* the gradient by inputs alone */
  assert_true(fc_k_max_abs_difference(alone, dinputs, (int64_t)(ROWS * width)) <=
              1e-5F * fc_k_max_abs(dinputs, (int64_t)(ROWS * width)));
  fc_free(inputs);
  fc_free(dinputs);
  fc_free(gradient);
  fc_free(ignored);
  fc_free(alone);
  close_setup(&s);
}

static void gradients_are_the_derivatives(void **state) {
  (void)state;
  for (int f = 0; f < 2; f++) {
    check_all_gradients(decoders[f], &whole, true);
    check_all_gradients(decoders[f], &whole, false);
    check_all_gradients(decoders[f], &adapters, true);
    check_all_gradients(decoders[f], &dropping, true);
  }
}

/* Inputs can be learned while the model stays as it is, and the gradient is that of before. */
static void inputs_of_a_frozen_model(void **state) {
  (void)state;
  for (int f = 0; f < 2; f++) {
    setup s = open_decoder(decoders[f], &nothing);
    size_t n = ROWS * (size_t)fc_model_get_shape(s.model)->width;
    float *inputs = random_floats(n, 1), *dinputs = new_floats(n);
    fc_batch b = input_batch(inputs);
    seen w = watch(&s);
    FAILS(fc_model_hook_grad(s.work, NULL, &b, mixed, &w, mask_stream(), NULL, dinputs), USAGE,
          "the gradient by inputs needs a workspace that keeps all blocks: something trained in "
          "the first one, or the kind for importance");
    fc_work_destroy(&s.work);
    OK(fc_work_create(s.model, NULL, ROWS, SEQUENCES, LONGEST, FC_WORK_IMPORTANCE, &s.work));
    run(&s, &b, mixed, NULL, dinputs);
    check_gradient(&s, &b, "inputs", inputs, dinputs, n, NULL);
    fc_free(inputs);
    fc_free(dinputs);
    close_setup(&s);
  }
}

/* dtheta is added to, dinputs overwritten; a token table keeps what the tied head gives it. */
static void gradients_accumulate(void **state) {
  (void)state;
  setup s = open_decoder("gpt2", &whole);
  size_t P = fc_trainable_count(s.trainable);
  size_t n = ROWS * (size_t)fc_model_get_shape(s.model)->width;
  float *once = new_floats(P), *twice = new_floats(P), *d1 = new_floats(n), *d2 = new_floats(n);
  float *inputs = random_floats(n, 1);
  fc_batch b = input_batch(inputs);
  run(&s, &b, mixed, once, d1);
  for (int k = 0; k < 2; k++) run(&s, &b, mixed, twice, d2);
  for (size_t i = 0; i < P; i++)
    assert_true(fabsf(twice[i] - 2.0F * once[i]) <= 1e-5F + 1e-5F * fabsf(once[i]));
  assert_memory_equal(d1, d2, n * sizeof *d1);
  fc_free(once);
  fc_free(twice);
  fc_free(d1);
  fc_free(d2);
  fc_free(inputs);
  close_setup(&s);
}

/* ---- failures -------------------------------------------------------------------------------- */

static fc_err refuse(void *arg, const fc_head_view *v) {
  (void)v;
  return fc_fail(FC_ERR_DATA, "%s", (const char *)arg);
}

static fc_err spoil_weight(void *arg, const fc_head_view *v) {
  (void)arg;
  v->weight[2] = NAN;
  return FC_ERR_OK;
}

static fc_err spoil_hidden(void *arg, const fc_head_view *v) {
  (void)arg;
  v->dhidden[8 * 3 + 1] = INFINITY;
  return FC_ERR_OK;
}

static void refuses_what_cannot_be(void **state) {
  (void)state;
  setup s = open_decoder("llama", &adapters);
  float *dtheta = new_floats(fc_trainable_count(s.trainable));
  size_t n = ROWS * (size_t)fc_model_get_shape(s.model)->width;
  float *inputs = random_floats(n, 1);
  fc_batch b = input_batch(inputs), empty = {0}, outside = ragged_batch();
  seen w = watch(&s);
#define REFUSES(id, message, batch, hook, arg)                                                     \
  FAILS(fc_model_hook_grad(s.work, s.theta, batch, hook, arg, mask_stream(), dtheta, NULL), id,    \
        message)
  REFUSES(DATA, "no such reward", &b, refuse, (void *)"no such reward");
  REFUSES(NUMERIC, "the weight of target 2 of the batch is not finite", &b, spoil_weight, NULL);
  REFUSES(NUMERIC, "the gradient of the hidden state of row 3 is not finite", &b, spoil_hidden,
          NULL);
  OK(fc_model_hook_grad(s.work, s.theta, &empty, only_look, &w, mask_stream(), dtheta, NULL));
  assert_int_equal(w.calls, 1);
  assert_int_equal(w.rows + w.n, 0);
  int32_t targets[ROWS] = {0, 0, 0, 0, 0, VOCAB};
  outside.targets = targets;
  REFUSES(DATA, "target 17 at row 5 of the batch, allowed is -1 to 16", &outside, only_look, &w);
  inputs[4 * 8] = NAN;
  REFUSES(NUMERIC, "causal-LM loss is nan at sequence 2, token 0; first not finite: the embeddings",
          &b, only_look, &w);
  b.targets = NULL;
  REFUSES(NUMERIC, "the hidden state of row 4 of the batch is not finite", &b, only_look, &w);
  assert_int_equal(w.calls, 1); /* never shown */
  inputs[4 * 8] = 0.0F;
  fc_work_destroy(&s.work);
  OK(fc_work_create(s.model, s.trainable, ROWS, SEQUENCES, LONGEST, FC_WORK_FORWARD, &s.work));
  REFUSES(USAGE, "this workspace was made for forward passes only", &b, only_look, &w);
  OK(fc_model_hook_grad(s.work, s.theta, &b, only_look, &w, mask_stream(), NULL, NULL));
#undef REFUSES
  fc_free(inputs);
  fc_free(dtheta);
  close_setup(&s);
}

/* Encoders take inputs in their own losses, but have no causal head to hook. */
static void encoders_take_inputs(void **state) {
  (void)state;
  fc_model_shape shape = full_shape("bert");
  setup s = open_setup(&shape, &whole, true);
  size_t n = 0;
  const float *table = s.theta + fc_trainable_parts(s.trainable, &n)->offset;
  fc_batch b = typed_batch(), same = b;
  float *inputs = new_floats((size_t)(ROWS * shape.width));
  for (int r = 0; r < ROWS; r++)
    memcpy(inputs + r * shape.width, table + b.tokens[r] * shape.width,
           (size_t)shape.width * sizeof *inputs);
  same.tokens = NULL;
  same.inputs = inputs;
  float want[SEQUENCES * LABELS], got[SEQUENCES * LABELS];
  OK(fc_model_logits(s.work, s.theta, &b, FC_LOSS_CLASSIFY, want));
  OK(fc_model_logits(s.work, s.theta, &same, FC_LOSS_CLASSIFY, got));
  assert_memory_equal(got, want, sizeof got);
  FAILS(fc_model_hook_grad(s.work, s.theta, &same, only_look, NULL, mask_stream(), NULL, NULL),
        USAGE, "a causal-LM loss needs a decoder; bert is an encoder");
  fc_free(inputs);
  close_setup(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_causal_loss_is_reproduced),
      cmocka_unit_test(shows_probabilities_and_entropies),
      cmocka_unit_test(a_row_does_not_depend_on_the_batch),
      cmocka_unit_test(gradients_are_the_derivatives),
      cmocka_unit_test(inputs_of_a_frozen_model),
      cmocka_unit_test(gradients_accumulate),
      cmocka_unit_test(refuses_what_cannot_be),
      cmocka_unit_test(encoders_take_inputs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
