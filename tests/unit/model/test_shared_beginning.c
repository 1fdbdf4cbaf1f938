/* Texts that share their beginning: the loss and the gradients of the same texts standing whole. */
#include "fixture.h"

enum { BEGINNING = 3, TEXTS = 3, WHOLE_ROWS = 18, LONGEST_TEXT = 9 };

static const char *const everything[] = {"all"};
static const char *const linears[] = {"all-linear"};
static const fc_trainable_spec specs[] = {
    {.saved = everything, .n_saved = 1},
    {.targets = linears, .n_targets = 1, .lora_rank = 3, .alpha = 6.0F},
};

/* The first sequence of ragged_batch is the beginning; it has nothing to predict. */
static fc_batch shared_batch(void) {
  static int32_t targets[ROWS];
  fc_batch b = ragged_batch();
  for (int i = 0; i < ROWS; i++) targets[i] = i < BEGINNING ? FC_TARGET_IGNORE : b.targets[i];
  b.targets = targets;
  b.shares_first = true;
  return b;
}

static fc_batch whole_batch(void) {
  static int64_t start[TEXTS + 1];
  static int32_t tokens[WHOLE_ROWS], targets[WHOLE_ROWS];
  const fc_batch s = shared_batch();
  int64_t n = 0;
  for (int b = 1; b <= TEXTS; b++) {
    for (int64_t i = 0; i < BEGINNING; i++, n++) {
      tokens[n] = s.tokens[i];
      targets[n] = FC_TARGET_IGNORE;
    }
    for (int64_t i = s.start[b]; i < s.start[b + 1]; i++, n++) {
      tokens[n] = s.tokens[i];
      targets[n] = s.targets[i];
    }
    start[b] = n;
  }
  return (fc_batch){.sequences = TEXTS, .start = start, .tokens = tokens, .targets = targets};
}

static void open_work(setup *s, fc_work_kind kind) {
  fc_work_destroy(&s->work);
  OK(fc_work_create(s->model, s->trainable, WHOLE_ROWS, SEQUENCES, LONGEST_TEXT, kind, &s->work));
}

static void compare(const char *family, const fc_trainable_spec *spec, fc_work_kind kind) {
  fc_model_shape shape = small_shape(family);
  setup s = open_setup(&shape, spec, true);
  const fc_batch shared = shared_batch(), whole = whole_batch();
  const fc_rng none = fc_rng_open(1, FC_RNG_DROPOUT, 0, 0);
  size_t P = fc_trainable_count(s.trainable);
  float *want = new_floats(P), *got = new_floats(P);
  fc_loss_result a = {0}, b = {0};
  random_lora_b(s.trainable, s.theta);
  open_work(&s, kind);
  OK(fc_model_grad(s.work, s.theta, &whole, FC_LOSS_CAUSAL_LM, none, want, &a));
  OK(fc_model_grad(s.work, s.theta, &shared, FC_LOSS_CAUSAL_LM, none, got, &b));
  assert_int_equal(a.count, b.count);
  assert_true(fabs(a.loss_sum - b.loss_sum) <= 1e-5 * a.loss_sum);
  double largest = 0;
  for (size_t i = 0; i < P; i++) largest = fmax(largest, fabs((double)want[i]));
  for (size_t i = 0; i < P; i++)
    assert_true(fabs((double)want[i] - (double)got[i]) <= 2e-6 * largest);
  fc_free(want);
  fc_free(got);
  close_setup(&s);
}

static void losses_and_gradients_are_those_of_whole_texts(void **state) {
  (void)state;
  for (int f = 0; f < FIRST_ENCODER; f++)
    for (int i = 0; i < 2; i++) {
      compare(all_families[f], &specs[i], FC_WORK_TRAIN);
      compare(all_families[f], &specs[i], FC_WORK_RECOMPUTE);
    }
}

static void what_cannot_share_is_told(void **state) {
  (void)state;
  fc_model_shape encoder = small_shape("bert"), decoder = small_shape("gpt2");
  encoder.lm_head = true;
  decoder.labels = LABELS;
  setup e = open_setup(&encoder, &specs[0], true), d = open_setup(&decoder, &specs[0], true);
  fc_batch b = shared_batch();
  fc_loss_result r = {0};
  const fc_rng none = fc_rng_open(1, FC_RNG_DROPOUT, 0, 0);
  float *g = new_floats(fc_trainable_count(e.trainable) + fc_trainable_count(d.trainable));
  FAILS(fc_model_grad(e.work, e.theta, &b, FC_LOSS_MASKED_LM, none, g, &r), USAGE,
        "sequences with a shared beginning need a decoder; bert is an encoder");
  FAILS(fc_model_grad(d.work, d.theta, &b, FC_LOSS_CLASSIFY, none, g, &r), USAGE,
        "sequences with a shared beginning have no classification loss");
  FAILS(fc_model_grad(d.work, d.theta, &b, FC_LOSS_CAUSAL_LM, none, g, &r), SHAPE,
        "sequence 2 of the batch has 9 tokens, the workspace takes at most 6");
  fc_member two[2] = {{.sequences = 2, .theta = d.theta, .dtheta = g},
                      {.sequences = 2, .theta = d.theta, .dtheta = g}};
  open_work(&d, FC_WORK_TRAIN);
  FAILS(fc_model_cohort_grad(d.work, two, 2, &b, FC_LOSS_CAUSAL_LM, NULL), USAGE,
        "a cohort of 2 members cannot share a beginning of sequences");
  open_work(&d, FC_WORK_IMPORTANCE);
  double heads[8], neurons[64];
  FAILS(fc_model_importance(d.work, &b, FC_LOSS_CAUSAL_LM, heads, neurons), USAGE,
        "importance is of sequences without a shared beginning");
  fc_free(g);
  close_setup(&e);
  close_setup(&d);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(losses_and_gradients_are_those_of_whole_texts),
      cmocka_unit_test(what_cannot_share_is_told),
  };
  return cmocka_run_group_tests_name("shared_beginning", tests, NULL, NULL);
}
