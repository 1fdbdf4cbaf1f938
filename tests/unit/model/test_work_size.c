/* The workspace takes what fc_work_bytes says, and no more than what is trained asks for. */
#include "fixture.h"

static const char *const everything[] = {"all"};
static const char *const linears[] = {"all-linear"};
static const char *const head[] = {"score", "classifier"};
static const fc_trainable_spec specs[] = {
    {0},
    {.saved = everything, .n_saved = 1},
    {.targets = linears, .n_targets = 1, .lora_rank = 3, .alpha = 1.0F},
    {.targets = linears, .n_targets = 1, .lora_rank = 3, .alpha = 1.0F, .dropout = 0.1F},
};
enum { N_SPECS = sizeof specs / sizeof specs[0] };

static void check_bytes(const fc_model *m, const fc_trainable *t, int64_t rows, int sequences,
                        int length, fc_work_kind kind) {
  size_t want = fc_work_bytes(m, t, rows, sequences, length, kind);
  size_t before = fc_mem_current_bytes();
  fc_work *w = NULL;
  OK(fc_work_create(m, t, rows, sequences, length, kind, &w));
  assert_int_equal(fc_mem_current_bytes() - before, want);
  fc_work_destroy(&w);
  assert_null(w);
  assert_int_equal(fc_mem_current_bytes(), before);
}

static void bytes_are_what_is_allocated(void **state) {
  (void)state;
  for (int f = 0; f < N_FAMILIES; f++) {
    fc_model_shape shape = full_shape(all_families[f]);
    fc_model *m = NULL;
    OK(fc_model_create(&shape, &m));
    for (size_t i = 0; i < N_SPECS; i++) {
      fc_trainable *t = NULL;
      OK(fc_trainable_create(m, &specs[i], &t));
      for (fc_work_kind kind = FC_WORK_FORWARD; kind <= FC_WORK_IMPORTANCE; kind++) {
        check_bytes(m, t, 100, 7, 9, kind);
        check_bytes(m, t, 1, 1, 1, kind);
        check_bytes(m, t, 3, 50, 3, kind);
      }
      fc_trainable_destroy(&t);
    }
    fc_model_destroy(&m);
  }
}

static size_t bytes_for(int layers, const fc_trainable_spec *spec, fc_work_kind kind) {
  fc_model_shape shape = full_shape("bert");
  shape.layers = layers;
  shape.vocab = 5;
  fc_model *m = NULL;
  fc_trainable *t = NULL;
  OK(fc_model_create(&shape, &m));
  OK(fc_trainable_create(m, spec, &t));
  size_t bytes = fc_work_bytes(m, t, 1000, 100, 9, kind);
  fc_trainable_destroy(&t);
  fc_model_destroy(&m);
  return bytes;
}

static void forward_only_keeps_one_block(void **state) {
  (void)state;
  size_t two = bytes_for(2, &specs[1], FC_WORK_FORWARD),
         twelve = bytes_for(12, &specs[1], FC_WORK_FORWARD);
  assert_true(twelve - two < 10 * 1024); /* the table of blocks, no activations */
  assert_true(bytes_for(12, &specs[1], FC_WORK_TRAIN) > 4 * twelve);
}

static void blocks_below_the_lowest_trained_are_not_kept(void **state) {
  (void)state;
  static const char *const top[] = {"encoder.layer.11"};
  fc_trainable_spec last = {.saved = top, .n_saved = 1};
  fc_trainable_spec only_head = {.saved = head + 1, .n_saved = 1};
  size_t all = bytes_for(12, &specs[1], FC_WORK_TRAIN), one = bytes_for(12, &last, FC_WORK_TRAIN);
  assert_true(one < all / 3);
  assert_true(bytes_for(12, &only_head, FC_WORK_TRAIN) < one);
}

/* Beyond the first, a block costs its output alone, (N, width). */
static void recomputing_keeps_the_inputs_alone(void **state) {
  (void)state;
  size_t two = bytes_for(2, &specs[1], FC_WORK_RECOMPUTE);
  size_t twelve = bytes_for(12, &specs[1], FC_WORK_RECOMPUTE);
  size_t block = 1000 * sizeof(float) * 8;
  assert_in_range((twelve - two) / 10, block, block + 1024);
  assert_true(3 * (twelve - two) < bytes_for(12, &specs[1], FC_WORK_TRAIN) - twelve);
}

static void refuses_impossible_limits(void **state) {
  (void)state;
  fc_model_shape shape = full_shape("gpt2");
  fc_model *m = NULL;
  fc_work *w = NULL;
  OK(fc_model_create(&shape, &m));
  FAILS(fc_work_create(m, NULL, 0, 1, 1, FC_WORK_FORWARD, &w), SHAPE,
        "a workspace for 0 rows: allowed is 1 to 2147483647");
  FAILS(fc_work_create(m, NULL, 1, 0, 1, FC_WORK_FORWARD, &w), SHAPE,
        "a workspace for 0 sequences: allowed is 1 or more");
  FAILS(fc_work_create(m, NULL, 1, 1, -1, FC_WORK_FORWARD, &w), SHAPE,
        "a workspace for sequences of -1 tokens: allowed is 1 or more");
  fc_mem_set_limit_bytes(fc_mem_current_bytes() + 1000);
  assert_int_equal(fc_work_create(m, NULL, 100, 1, 1, FC_WORK_FORWARD, &w), FC_ERR_NOMEM);
  fc_mem_set_limit_bytes(0);
  assert_null(w);
  fc_model_destroy(&m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bytes_are_what_is_allocated),
      cmocka_unit_test(forward_only_keeps_one_block),
      cmocka_unit_test(blocks_below_the_lowest_trained_are_not_kept),
      cmocka_unit_test(recomputing_keeps_the_inputs_alone),
      cmocka_unit_test(refuses_impossible_limits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
