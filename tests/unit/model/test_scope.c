/* Devices with views and windows of their own in one cohort: each gets the bits that it would get
 * alone, and only what its window holds is trained. */
#include "view_fixture.h"

enum { MEMBERS = 4 };

static const char *const all_linear[] = {"all-linear"};
static const char *const head[] = {"head"};
static const char *const all[] = {"all"};

typedef struct {
  fc_block_view view[MEMBERS][BLOCKS];
  fc_scope scope[MEMBERS];
} scopes;

/* The first two keep the same of the first block, the last one is whole. */
static void make_scopes(const fc_model_shape *s, scopes *all_of) {
  const int heads = s->kv_heads, neurons = s->ffn;
  const fc_block_view views[MEMBERS][BLOCKS] = {
      {{1, 33}, {heads, neurons}, {heads - 1, 1}},
      {{1, 33}, {heads - 1, 7}, {1, neurons}},
      {{heads, 40}, {heads, neurons}, {1, neurons}},
  };
  const fc_scope windows[MEMBERS] = {
      {.first_block = 1, .next_block = 3},
      {0},
      {.first_block = 0, .next_block = 2},
      {.first_block = 2, .next_block = 3},
  };
  memcpy(all_of->view, views, sizeof views);
  for (int j = 0; j < MEMBERS; j++) {
    all_of->scope[j] = windows[j];
    if (j < 3) all_of->scope[j].view = all_of->view[j];
  }
}

static fc_member member_of(const setup *s, const scopes *all_of, int j, float *dtheta) {
  return (fc_member){.sequences = 1,
                     .theta = s->theta,
                     .scope = all_of->scope[j],
                     .dropout = fc_rng_open(9, FC_RNG_DROPOUT, 3, (uint64_t)j),
                     .dtheta = dtheta};
}

static void assert_cohort_as_alone(setup *s, const scopes *of, fc_loss_kind kind,
                                   const fc_batch *batch) {
  size_t P = fc_trainable_count(s->trainable);
  float *together = new_floats(MEMBERS * P), *alone = new_floats(P);
  fc_member m[MEMBERS];
  int failed = 7;
  for (int j = 0; j < MEMBERS; j++) m[j] = member_of(s, of, j, together + (size_t)j * P);
  OK(fc_model_cohort_grad(s->work, m, MEMBERS, batch, kind, &failed));
  assert_int_equal(failed, -1);
  fc_member losses[MEMBERS];
  for (int j = 0; j < MEMBERS; j++) losses[j] = member_of(s, of, j, NULL);
  OK(fc_model_cohort_loss(s->work, losses, MEMBERS, batch, kind, NULL));
  for (int j = 0; j < MEMBERS; j++) {
    int64_t row = batch->start[j], start[2] = {0, batch->start[j + 1] - row};
    fc_batch own = {.sequences = 1,
                    .start = start,
                    .tokens = batch->tokens + row,
                    .types = batch->types ? batch->types + row : NULL,
                    .targets = batch->targets + row,
                    .labels = batch->labels + j};
    memset(alone, 0, P * sizeof *alone);
    fc_member single = member_of(s, of, j, alone);
    OK(fc_model_cohort_grad(s->work, &single, 1, &own, kind, NULL));
    assert_memory_equal(alone, m[j].dtheta, P * sizeof *alone);
    assert_memory_equal(&single.result, &m[j].result, sizeof single.result);
    single = member_of(s, of, j, NULL);
    OK(fc_model_cohort_loss(s->work, &single, 1, &own, kind, NULL));
    assert_memory_equal(&single.result, &losses[j].result, sizeof single.result);
    assert_true(kind != FC_LOSS_CLASSIFY || single.result.count == 1);
    assert_true(kind != FC_LOSS_CLASSIFY || fc_k_max_abs(alone, (int64_t)P) > 0.0F);
  }
  fc_free(together);
  fc_free(alone);
}

static void every_family(const fc_trainable_spec *spec) {
  for (int f = 0; f < 2 * N_FAMILIES; f++) {
    const char *family = all_families[f / 2];
    fc_model_shape shape = view_shape(family, 64);
    scopes of;
    make_scopes(&shape, &of);
    setup s = open_setup(&shape, spec, true);
    random_lora_b(s.trainable, s.theta);
    fc_bf16 *panels = f % 2 ? new_panels(s.model) : NULL;
    fc_batch batch = batch_for(family);
    assert_cohort_as_alone(&s, &of, FC_LOSS_CLASSIFY, &batch);
    bool causal = fc_arch_is_causal(shape.arch);
    assert_cohort_as_alone(&s, &of, causal ? FC_LOSS_CAUSAL_LM : FC_LOSS_MASKED_LM, &batch);
    close_setup(&s);
    fc_free(panels);
  }
}

static void adapters_as_alone(void **state) {
  (void)state;
  every_family(&(fc_trainable_spec){.targets = all_linear,
                                    .n_targets = 1,
                                    .lora_rank = 3,
                                    .alpha = 6,
                                    .dropout = 0.25F,
                                    .saved = head,
                                    .n_saved = 1});
}

static void whole_tensors_as_alone(void **state) {
  (void)state;
  every_family(&(fc_trainable_spec){.saved = all, .n_saved = 1});
}

/* ---- windows --------------------------------------------------------------------------------- */

static void a_window_cuts_the_gradient(const char *family, const fc_trainable_spec *spec,
                                       fc_work_kind kind) {
  fc_model_shape shape = view_shape(family, 40);
  setup s = open_setup(&shape, spec, true);
  random_lora_b(s.trainable, s.theta);
  fc_work_destroy(&s.work);
  OK(fc_work_create(s.model, s.trainable, ROWS, SEQUENCES, LONGEST, kind, &s.work));
  fc_batch batch = batch_for(family);
  size_t P = fc_trainable_count(s.trainable);
  float *full = new_floats(P), *part = new_floats(P);
  fc_member m = {.sequences = SEQUENCES, .theta = s.theta, .dtheta = full};
  OK(fc_model_cohort_grad(s.work, &m, 1, &batch, FC_LOSS_CLASSIFY, NULL));
  for (int first = 0; first < BLOCKS; first++)
    for (int next = first + 1; next <= BLOCKS; next++) {
      fc_scope scope = {.first_block = first, .next_block = next};
      size_t from = 0, n = fc_trainable_window(s.trainable, &scope, &from);
      memset(part, 0, P * sizeof *part);
      m = (fc_member){.sequences = SEQUENCES, .theta = s.theta, .scope = scope, .dtheta = part};
      OK(fc_model_cohort_grad(s.work, &m, 1, &batch, FC_LOSS_CLASSIFY, NULL));
      assert_true(n > 0 && (n < P || next - first == BLOCKS));
      assert_memory_equal(part + from, full + from, n * sizeof *part);
      assert_true(fc_k_max_abs(part + from, (int64_t)n) > 0.0F);
      for (size_t i = 0; i < P; i++)
        if (i < from || i >= from + n) assert_true(part[i] == 0.0F);
    }
  fc_free(full);
  fc_free(part);
  close_setup(&s);
}

static void windows_cut_the_gradient(void **state) {
  (void)state;
  const fc_trainable_spec adapters = {.targets = all_linear,
                                      .n_targets = 1,
                                      .lora_rank = 3,
                                      .alpha = 6,
                                      .saved = head,
                                      .n_saved = 1},
                          whole = {.saved = all, .n_saved = 1};
  for (int f = 0; f < N_FAMILIES; f++) {
    a_window_cuts_the_gradient(all_families[f], &adapters, FC_WORK_TRAIN);
    a_window_cuts_the_gradient(all_families[f], &whole, FC_WORK_RECOMPUTE);
  }
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void impossible_scopes_are_named(void **state) {
  (void)state;
  fc_model_shape shape = view_shape("llama", 64);
  setup s = open_setup(&shape, &(fc_trainable_spec){.saved = head, .n_saved = 1}, true);
  fc_batch batch = ragged_batch();
  fc_block_view view[BLOCKS] = {{2, 96}, {3, 96}, {2, 96}};
  fc_member m = {.sequences = SEQUENCES, .theta = s.theta, .scope = {.view = view}};
  int failed = -1;
  FAILS(fc_model_cohort_loss(s.work, &m, 1, &batch, FC_LOSS_CLASSIFY, &failed), SHAPE,
        "the view of block 1 keeps 3 groups of heads, allowed is 1 to 2");
  assert_int_equal(failed, 0);
  view[1] = (fc_block_view){2, 0};
  FAILS(fc_model_cohort_loss(s.work, &m, 1, &batch, FC_LOSS_CLASSIFY, NULL), SHAPE,
        "the view of block 1 keeps 0 neurons, allowed is 1 to 96");
  m.scope = (fc_scope){.first_block = 2, .next_block = 4};
  FAILS(fc_model_cohort_loss(s.work, &m, 1, &batch, FC_LOSS_CLASSIFY, NULL), SHAPE,
        "member 0 of the cohort trains the blocks from 2 to before 4 of 3");
  m.scope = (fc_scope){.first_block = 1};
  FAILS(fc_model_cohort_loss(s.work, &m, 1, &batch, FC_LOSS_CLASSIFY, NULL), SHAPE,
        "member 0 of the cohort trains the blocks from 1 to before 0 of 3");
  close_setup(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(adapters_as_alone),
      cmocka_unit_test(whole_tensors_as_alone),
      cmocka_unit_test(windows_cut_the_gradient),
      cmocka_unit_test(impossible_scopes_are_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
