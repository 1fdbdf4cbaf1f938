/* A view of a model computes what the model computes in which all that the view leaves out is zero,
 * or which was built without it: losses, logits and every gradient, whatever lies beyond the view.
 */
#include "view_fixture.h"

static const char *const all_linear[] = {"all-linear"};
static const char *const head[] = {"head"};
static const char *const all[] = {"all"};
static const fc_trainable_spec adapters = {
    .targets = all_linear, .n_targets = 1, .lora_rank = 3, .alpha = 6, .saved = head, .n_saved = 1};
static const fc_trainable_spec whole = {.saved = all, .n_saved = 1};

enum { BEYOND = 100 }; /* what lies outside the view */

typedef struct {
  float *dtheta;
  fc_loss_result result;
} pass;

static pass run(setup *s, const fc_block_view *view, const fc_batch *batch, fc_loss_kind kind) {
  pass p = {.dtheta = new_floats(fc_trainable_count(s->trainable))};
  fc_member m = {.sequences = batch->sequences,
                 .theta = s->theta,
                 .scope = {.view = view},
                 .dtheta = p.dtheta};
  OK(fc_model_cohort_grad(s->work, &m, 1, batch, kind, NULL));
  p.result = m.result;
  fc_member alone = {.sequences = batch->sequences, .theta = s->theta, .scope = {.view = view}};
  OK(fc_model_cohort_loss(s->work, &alone, 1, batch, kind, NULL));
  assert_memory_equal(&alone.result, &m.result, sizeof m.result);
  return p;
}

static setup open_filled(const fc_model_shape *shape, const fc_trainable_spec *spec,
                         const fc_block_view *view, float value) {
  setup s = open_setup(shape, spec, true);
  random_lora_b(s.trainable, s.theta);
  fill_outside(s.model, view, value, s.weights);
  fill_outside_theta(s.model, s.trainable, view, value, s.theta);
  return s;
}

static double largest_of(const float *x, int64_t n) {
  return (double)fc_k_max_abs(x, n);
}

/* Gradients differ by at most `share` of their part's largest, or a tenth of that of all (the
 * derivative by keys' biases is zero but for rounding); outside the view they are zero. */
static void assert_gradients(const setup *s, const fc_block_view *view, const pass *got,
                             const pass *want, double share) {
  size_t n = 0;
  const fc_trainable_part *p = fc_trainable_parts(s->trainable, &n);
  double loss = got->result.loss_sum / want->result.loss_sum - 1.0;
  double of_all = largest_of(want->dtheta, (int64_t)fc_trainable_count(s->trainable));
  if (!(fabs(loss) < share)) fail_msg("%s: the loss is off by %g", p->name, loss);
  assert_true(of_all > 0.0);
  for (size_t i = 0; i < n; i++) {
    int64_t floats = p[i].rows * p[i].cols;
    double largest = fmax(largest_of(want->dtheta + p[i].offset, floats), 0.1 * of_all), off = 0.0;
    for (int64_t k = 0; k < floats; k++) {
      size_t at = p[i].offset + (size_t)k;
      if (!keeps_of_part(s->model, &p[i], view, k)) {
        if (got->dtheta[at] != 0.0F) fail_msg("%s: a gradient outside the view", p[i].name);
        continue;
      }
      double d = fabs((double)got->dtheta[at] - (double)want->dtheta[at]);
      if (!(d <= off)) off = d;
    }
    if (!(off <= share * largest))
      fail_msg("%s: off by %g, the largest is %g", p[i].name, off, largest);
  }
}

static void compare_with_zeros(const char *family, int width, const fc_trainable_spec *spec,
                               bool bf16, double tolerance) {
  fc_model_shape shape = view_shape(family, width);
  fc_block_view view[BLOCKS];
  unequal_view(&shape, view);
  setup cut = open_filled(&shape, spec, view, BEYOND), zero = open_filled(&shape, spec, view, 0);
  fc_bf16 *panels[2] = {NULL, NULL};
  if (bf16) {
    panels[0] = new_panels(cut.model);
    panels[1] = new_panels(zero.model);
  }
  fc_batch batch = batch_for(family);
  fc_loss_kind lm = fc_arch_is_causal(shape.arch) ? FC_LOSS_CAUSAL_LM : FC_LOSS_MASKED_LM;
  const fc_loss_kind kinds[] = {lm, FC_LOSS_CLASSIFY};
  for (int k = 0; k < 2; k++) {
    pass got = run(&cut, view, &batch, kinds[k]), want = run(&zero, NULL, &batch, kinds[k]);
    assert_gradients(&cut, view, &got, &want, tolerance);
    fc_free(got.dtheta);
    fc_free(want.dtheta);
  }
  close_setup(&cut);
  close_setup(&zero);
  fc_free(panels[0]);
  fc_free(panels[1]);
}

static void zeros_outside_with_adapters(void **state) {
  (void)state;
  for (int f = 0; f < N_FAMILIES; f++) {
    compare_with_zeros(all_families[f], 40, &adapters, false, 1e-5);
    compare_with_zeros(all_families[f], 64, &adapters, false, 1e-5);
  }
}

static void zeros_outside_trained_whole(void **state) {
  (void)state;
  for (int f = 0; f < N_FAMILIES; f++) {
    compare_with_zeros(all_families[f], 40, &whole, false, 1e-5);
    compare_with_zeros(all_families[f], 64, &whole, false, 1e-5);
  }
}

/* Width 40 has K and V where no panel begins: they are read in f32, and rounding differs. */
static void zeros_outside_in_bf16(void **state) {
  (void)state;
  for (int f = 0; f < N_FAMILIES; f++) {
    compare_with_zeros(all_families[f], 40, &adapters, true, 0.2);
    compare_with_zeros(all_families[f], 64, &adapters, true, 0.02);
  }
}

/* ---- a smaller model --------------------------------------------------------------------------
 */

/* small's weights <- the first rows and columns of those of the same names. */
static void copy_first(const fc_model *small, float *to, const fc_model *large, const float *from) {
  size_t n = 0;
  const fc_tensor *t = fc_model_tensors(small, &n);
  for (size_t i = 0; i < n; i++) {
    const fc_tensor *source = fc_model_find_tensor(large, t[i].name);
    for (int64_t r = 0; r < t[i].rows; r++)
      memcpy(to + t[i].offset + (size_t)(r * t[i].cols),
             from + source->offset + (size_t)(r * source->cols), (size_t)t[i].cols * sizeof *to);
  }
}

/* The gradient of the small model's part against the first rows and columns of the view's. */
static void assert_part(const fc_trainable_part *small, const float *want,
                        const fc_trainable_part *large, const float *got) {
  double largest = largest_of(want, small->rows * small->cols);
  assert_string_equal(small->name, large->name);
  for (int64_t r = 0; r < small->rows; r++)
    for (int64_t c = 0; c < small->cols; c++) {
      double d = (double)got[r * large->cols + c] - (double)want[r * small->cols + c];
      if (!(fabs(d) <= 1e-5 * largest + 1e-6)) fail_msg("%s: off by %g", small->name, d);
    }
}

static void a_model_built_with_fewer_neurons(void **state) {
  (void)state;
  enum { NEURONS = 21 };
  for (int f = 0; f < N_FAMILIES; f++) {
    fc_model_shape shape = view_shape(all_families[f], 40), fewer = shape;
    fc_block_view view[BLOCKS];
    for (int b = 0; b < BLOCKS; b++) view[b] = (fc_block_view){shape.kv_heads, NEURONS};
    fewer.ffn = NEURONS;
    setup large = open_setup(&shape, &whole, true), small = open_setup(&fewer, &whole, true);
    copy_first(small.model, small.weights, large.model, large.weights);
    fc_trainable_init(small.trainable, 2, small.theta);
    fc_batch batch = batch_for(all_families[f]);
    pass got = run(&large, view, &batch, FC_LOSS_CLASSIFY);
    pass want = run(&small, NULL, &batch, FC_LOSS_CLASSIFY);
    size_t n = 0;
    const fc_trainable_part *p = fc_trainable_parts(large.trainable, &n);
    const fc_trainable_part *q = fc_trainable_parts(small.trainable, &n);
    for (size_t i = 0; i < n; i++)
      assert_part(&q[i], want.dtheta + q[i].offset, &p[i], got.dtheta + p[i].offset);
    enum { LOGITS = SEQUENCES * LABELS };
    float of_view[LOGITS], of_small[LOGITS];
    OK(fc_model_view_logits(large.work, large.theta, view, &batch, FC_LOSS_CLASSIFY, of_view));
    OK(fc_model_logits(small.work, small.theta, &batch, FC_LOSS_CLASSIFY, of_small));
    assert_true(fc_k_max_abs_difference(of_view, of_small, LOGITS) <= 1e-4F);
    fc_free(got.dtheta);
    fc_free(want.dtheta);
    close_setup(&large);
    close_setup(&small);
  }
}

/* ---- derivatives ----------------------------------------------------------------------------- */

static double loss_at(setup *s, const fc_block_view *view, const fc_batch *batch, size_t at,
                      float step) {
  float before = s->theta[at];
  s->theta[at] += step;
  fc_member m = {.sequences = batch->sequences, .theta = s->theta, .scope = {.view = view}};
  OK(fc_model_cohort_loss(s->work, &m, 1, batch, FC_LOSS_CAUSAL_LM, NULL));
  s->theta[at] = before;
  return m.result.loss_sum / (double)m.result.count;
}

static void gradients_are_derivatives(void **state) {
  (void)state;
  fc_model_shape shape = full_shape("gpt2");
  fc_block_view view[] = {{1, 5}, {2, 7}};
  setup s = open_setup(&shape, &adapters, true);
  random_lora_b(s.trainable, s.theta);
  fc_batch batch = ragged_batch();
  pass p = run(&s, view, &batch, FC_LOSS_CAUSAL_LM);
  int checked = 0;
  for (size_t i = 0; i < fc_trainable_count(s.trainable); i += 3) {
    const float step = 0.02F;
    double slope = (loss_at(&s, view, &batch, i, step) - loss_at(&s, view, &batch, i, -step)) /
                   (2.0 * (double)step);
    if (!(fabs(slope - (double)p.dtheta[i]) <= 2e-3 + 0.01 * fabs(slope)))
      fail_msg("float %zu: %g, the slope is %g", i, (double)p.dtheta[i], slope);
    checked += fabs(slope) > 0.01;
  }
  assert_true(checked > 20);
  fc_free(p.dtheta);
  close_setup(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(zeros_outside_with_adapters),
      cmocka_unit_test(zeros_outside_trained_whole),
      cmocka_unit_test(zeros_outside_in_bf16),
      cmocka_unit_test(a_model_built_with_fewer_neurons),
      cmocka_unit_test(gradients_are_derivatives),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
