/* Importance of heads and neurons against finite differences of a mask and against weights summed
 * by hand; reordering leaves the function and sorts. */
#include "view_fixture.h"

static const fc_trainable_spec nothing = {0};

enum { NO_ROW = -1 }; /* that a view could leave out */

/* Every weight that carries the unit's output to the residual sum, times `factor`. */
static void scale_unit(const fc_model *m, int block, bool is_head, int unit, float factor,
                       float *weights) {
  const fc_model_shape *s = fc_model_get_shape(m);
  size_t n = 0;
  const fc_tensor *t = fc_model_tensors(m, &n);
  int step = is_head ? s->width / s->kv_heads : 1;
  fc_block_view before[BLOCKS], upto[BLOCKS]; /* the unit is what the second keeps more */
  for (int b = 0; b < BLOCKS; b++) before[b] = upto[b] = (fc_block_view){s->kv_heads, s->ffn};
  if (is_head)
    before[block].heads = unit, upto[block].heads = unit + 1;
  else
    before[block].neurons = unit, upto[block].neurons = unit + 1;
  for (size_t k = 0; k < n; k++) {
    if (t[k].layer != block || t[k].rows != s->width) continue; /* leads to the residual sum */
    if (t[k].cols != (int64_t)step * (is_head ? s->kv_heads : s->ffn)) continue;
    for (int64_t r = 0; r < t[k].rows; r++)
      for (int64_t c = 0; c < t[k].cols; c++)
        if (keeps(s, &t[k], upto, NO_ROW, c) && !keeps(s, &t[k], before, NO_ROW, c))
          weights[t[k].offset + (size_t)(r * t[k].cols + c)] *= factor;
  }
}

static double loss_of(setup *s, const fc_batch *batch, int sequence, fc_loss_kind kind) {
  int64_t row = batch->start[sequence], start[2] = {0, batch->start[sequence + 1] - row};
  fc_batch own = {.sequences = 1,
                  .start = start,
                  .tokens = batch->tokens + row,
                  .types = batch->types ? batch->types + row : NULL,
                  .targets = batch->targets + row,
                  .labels = batch->labels + sequence};
  fc_loss_result r = {0};
  OK(fc_model_loss(s->work, NULL, &own, kind, &r));
  return r.count > 0 ? r.loss_sum / (double)r.count : 0.0;
}

/* The sum over sequences of the squared slope of the loss by a mask on the unit. */
static double by_differences(setup *s, const fc_batch *batch, fc_loss_kind kind, int block,
                             bool is_head, int unit) {
  const float step = 0.005F;
  size_t n = fc_model_weight_count(s->model);
  float *kept = new_floats(n);
  double loss[2][SEQUENCES], sum = 0.0;
  memcpy(kept, s->weights, n * sizeof *kept);
  for (int side = 0; side < 2; side++) {
    scale_unit(s->model, block, is_head, unit, side ? 1.0F + step : 1.0F - step, s->weights);
    for (int i = 0; i < SEQUENCES; i++) loss[side][i] = loss_of(s, batch, i, kind);
    memcpy(s->weights, kept, n * sizeof *kept);
  }
  for (int i = 0; i < SEQUENCES; i++) {
    double slope = (loss[1][i] - loss[0][i]) / (2.0 * (double)step);
    sum += slope * slope;
  }
  fc_free(kept);
  return sum;
}

/* Rounding of the losses, a few 1e-6, over the steps, times twice the slope. */
static void assert_score(const char *family, const char *what, int unit, double got, double want) {
  double tolerance = 0.01 * want + 1e-3 * sqrt(want) + 1e-6;
  if (!(fabs(got - want) <= tolerance))
    fail_msg("%s, %s %d: importance %g, by differences %g", family, what, unit, got, want);
}

static void compare_family(const char *family, fc_loss_kind kind) {
  fc_model_shape shape = view_shape(family, 40);
  shape.ffn = 7;
  setup s = open_setup(&shape, &nothing, true);
  fc_batch batch = batch_for(family);
  double heads[BLOCKS * 5] = {0}, neurons[BLOCKS * 7] = {0}, largest = 0.0;
  fc_work *w = NULL;
  OK(fc_work_create(s.model, NULL, ROWS, SEQUENCES, LONGEST, FC_WORK_IMPORTANCE, &w));
  OK(fc_model_importance(w, &batch, kind, heads, neurons));
  for (int b = 0; b < BLOCKS; b++) {
    for (int u = 0; u < shape.kv_heads; u++) {
      double want = by_differences(&s, &batch, kind, b, true, u);
      assert_score(family, "head", u, heads[b * shape.kv_heads + u], want);
      largest = fmax(largest, want);
    }
    for (int u = 0; u < shape.ffn; u++)
      assert_score(family, "neuron", u, neurons[b * shape.ffn + u],
                   by_differences(&s, &batch, kind, b, false, u));
  }
  assert_true(largest > 1e-3);
  double once = neurons[3];
  OK(fc_model_importance(w, &batch, kind, heads, neurons)); /* adds */
  assert_true(fabs(neurons[3] - 2.0 * once) <= 1e-12 * once);
  fc_work_destroy(&w);
  close_setup(&s);
}

static void importance_is_the_squared_slope(void **state) {
  (void)state;
  for (int f = 0; f < N_FAMILIES; f++) {
    bool causal = f < FIRST_ENCODER;
    compare_family(all_families[f], causal ? FC_LOSS_CAUSAL_LM : FC_LOSS_MASKED_LM);
    compare_family(all_families[f], FC_LOSS_CLASSIFY);
  }
}

static void importance_is_refused(void **state) {
  (void)state;
  fc_model_shape shape = full_shape("gpt2");
  setup s = open_setup(&shape, &nothing, true);
  fc_batch batch = ragged_batch();
  double heads[4] = {0}, neurons[24] = {0};
  FAILS(fc_model_importance(s.work, &batch, FC_LOSS_CAUSAL_LM, heads, neurons), USAGE,
        "this workspace was not made for importance");
  fc_work *w = NULL;
  OK(fc_work_create(s.model, NULL, ROWS, SEQUENCES, LONGEST, FC_WORK_IMPORTANCE, &w));
  s.weights[fc_model_find_tensor(s.model, "wte.weight")->offset + 16 * 8] = (float)NAN;
  FAILS(fc_model_importance(w, &batch, FC_LOSS_CAUSAL_LM, heads, neurons), NUMERIC,
        "causal-LM loss is nan at sequence 0, token 0; first not finite: the embeddings");
  fc_work_destroy(&w);
  close_setup(&s);
}

/* ---- weights --------------------------------------------------------------------------------- */

static double squares(const setup *s, const char *name, int64_t row, int64_t col, int64_t rows,
                      int64_t cols) {
  const fc_tensor *t = fc_model_find_tensor(s->model, name);
  double sum = 0.0;
  for (int64_t r = row; r < row + rows; r++)
    for (int64_t c = col; c < col + cols; c++) {
      double x = (double)s->weights[t->offset + (size_t)(r * t->cols + c)];
      sum += x * x;
    }
  return sum;
}

/* Width 8, two heads of 4, 12 neurons; llama has one group of both heads. */
static void weight_importance_by_hand(void **state) {
  (void)state;
  double heads[4], neurons[24];
  fc_model_shape shape = full_shape("gpt2");
  setup s = open_setup(&shape, &nothing, false);
  fc_model_weight_importance(s.model, heads, neurons);
  double want = squares(&s, "h.1.attn.c_proj.weight", 0, 4, 8, 4);
  for (int band = 0; band < 3; band++)
    want += squares(&s, "h.1.attn.c_attn.weight", 8 * band + 4, 0, 4, 8) +
            squares(&s, "h.1.attn.c_attn.bias", 0, 8 * band + 4, 1, 4);
  assert_true(fabs(heads[3] - want) <= 1e-6 * want);
  want = squares(&s, "h.1.mlp.c_fc.weight", 5, 0, 1, 8) +
         squares(&s, "h.1.mlp.c_fc.bias", 0, 5, 1, 1) +
         squares(&s, "h.1.mlp.c_proj.weight", 0, 5, 8, 1);
  assert_true(fabs(neurons[17] - want) <= 1e-6 * want);
  close_setup(&s);

  shape = full_shape("llama");
  s = open_setup(&shape, &nothing, false);
  fc_model_weight_importance(s.model, heads, neurons);
  want = squares(&s, "layers.1.self_attn.q_proj.weight", 0, 0, 8, 8) +
         squares(&s, "layers.1.self_attn.k_proj.weight", 0, 0, 4, 8) +
         squares(&s, "layers.1.self_attn.v_proj.weight", 0, 0, 4, 8) +
         squares(&s, "layers.1.self_attn.o_proj.weight", 0, 0, 8, 8);
  assert_true(fabs(heads[1] - want) <= 1e-6 * want);
  want = squares(&s, "layers.0.mlp.gate_proj.weight", 11, 0, 1, 8) +
         squares(&s, "layers.0.mlp.up_proj.weight", 11, 0, 1, 8) +
         squares(&s, "layers.0.mlp.down_proj.weight", 0, 11, 8, 1);
  assert_true(fabs(neurons[11] - want) <= 1e-6 * want);
  close_setup(&s);
}

/* ---- order ----------------------------------------------------------------------------------- */

static void logits_of(setup *s, const fc_batch *batch, float *logits) {
  OK(fc_model_logits(s->work, NULL, batch, FC_LOSS_CLASSIFY, logits));
}

static bool falls(const double *x, int n) {
  for (int i = 1; i < n; i++)
    if (!(x[i] <= x[i - 1])) return false;
  return true;
}

/* Blocks 1 and 2 are put in order, block 0 stays. */
static void reordering_sorts_and_keeps_the_function(void **state) {
  (void)state;
  for (int f = 0; f < N_FAMILIES; f++) {
    enum { LOGITS = SEQUENCES * LABELS, MOST_HEADS = 4, NEURONS = 96 };
    fc_model_shape shape = view_shape(all_families[f], 64);
    setup s = open_setup(&shape, &nothing, false);
    fc_batch batch = batch_for(all_families[f]);
    int kv = shape.kv_heads;
    float before[LOGITS], after[LOGITS];
    double heads[BLOCKS * MOST_HEADS], neurons[BLOCKS * NEURONS], again[BLOCKS * NEURONS];
    logits_of(&s, &batch, before);
    fc_model_weight_importance(s.model, heads, neurons);
    OK(fc_model_reorder(s.model, 1, BLOCKS, heads, neurons, s.weights));
    logits_of(&s, &batch, after);
    double off = (double)fc_k_max_abs_difference(before, after, LOGITS);
    if (!(off <= 1e-4)) fail_msg("%s: logits move by %g", all_families[f], off);
    assert_true(off > 0.0); /* sums go in another order */

    memcpy(again, neurons, sizeof again);
    fc_model_weight_importance(s.model, heads, neurons);
    assert_memory_equal(again, neurons, NEURONS * sizeof *again);
    assert_false(falls(neurons, NEURONS));
    for (int b = 1; b < BLOCKS; b++)
      assert_true(falls(heads + b * kv, kv) && falls(neurons + b * NEURONS, NEURONS));
    close_setup(&s);
  }
}

static void equals_keep_their_order(void **state) {
  (void)state;
  fc_model_shape shape = view_shape("llama", 40);
  setup s = open_setup(&shape, &nothing, false);
  size_t n = fc_model_weight_count(s.model);
  float *before = new_floats(n);
  double heads[BLOCKS * 5] = {0}, neurons[BLOCKS * 50] = {0};
  memcpy(before, s.weights, n * sizeof *before);
  OK(fc_model_reorder(s.model, 0, BLOCKS, heads, neurons, s.weights));
  assert_memory_equal(before, s.weights, n * sizeof *before);
  neurons[50 + 7] = 1.0; /* block 1: neuron 7 goes first, the others stay as they were */
  OK(fc_model_reorder(s.model, 0, BLOCKS, heads, neurons, s.weights));
  const fc_tensor *up = fc_model_find_tensor(s.model, "layers.1.mlp.up_proj.weight");
  const float *was = before + up->offset, *is = s.weights + up->offset;
  assert_memory_equal(is, was + 7 * 40, 40 * sizeof *is);
  assert_memory_equal(is + 40, was, 7 * 40 * sizeof *is);
  assert_memory_equal(is + 8 * 40, was + 8 * 40, 42 * 40 * sizeof *is);
  fc_free(before);
  close_setup(&s);
}

static void orders_that_are_refused(void **state) {
  (void)state;
  fc_model_shape shape = full_shape("gpt2");
  setup s = open_setup(&shape, &nothing, false);
  double heads[4] = {0}, neurons[24] = {0};
  FAILS(fc_model_reorder(s.model, 1, 3, heads, neurons, s.weights), USAGE,
        "reordering the blocks from 1 to before 3 of 2");
  neurons[12 + 4] = (double)NAN;
  FAILS(fc_model_reorder(s.model, 0, 2, heads, neurons, s.weights), NUMERIC,
        "the importance of neuron 4 of block 1 is nan");
  heads[1] = (double)INFINITY;
  FAILS(fc_model_reorder(s.model, 0, 2, heads, neurons, s.weights), NUMERIC,
        "the importance of head group 1 of block 0 is inf");
  close_setup(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(importance_is_the_squared_slope),
      cmocka_unit_test(importance_is_refused),
      cmocka_unit_test(weight_importance_by_hand),
      cmocka_unit_test(reordering_sorts_and_keeps_the_function),
      cmocka_unit_test(equals_keep_their_order),
      cmocka_unit_test(orders_that_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
