/* A cohort gives every device the bits that it would get alone: gradients and losses, for every
 * family and loss, for adapters of different rank with dropout and for tensors trained whole. */
#include "fixture.h"

enum { MEMBERS = 3 };
static const int member_sequences[MEMBERS] = {2, 1, 1}; /* of the ragged batch */

/* As `s` was made, but of another adapter rank. */
static fc_trainable *of_rank(const setup *s, fc_trainable_spec spec, int rank) {
  fc_trainable *t = NULL;
  spec.lora_rank = rank;
  OK(fc_trainable_create(s->model, &spec, &t));
  return t;
}

static float *random_theta(const fc_trainable *t, uint64_t seed) {
  float *theta = new_floats(fc_trainable_count(t));
  fc_trainable_init(t, seed, theta);
  fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 2, 0);
  for (size_t i = 0; i < fc_trainable_count(t); i++) theta[i] += (float)(0.2 * fc_rng_normal(&rng));
  return theta;
}

/* The batch of `n` sequences from `first` on, with its own `start` (n + 1). */
static fc_batch part_of(const fc_batch *b, int first, int n, int64_t *start) {
  int64_t row = b->start[first];
  for (int i = 0; i <= n; i++) start[i] = b->start[first + i] - row;
  return (fc_batch){.sequences = n,
                    .start = start,
                    .tokens = b->tokens + row,
                    .types = b->types ? b->types + row : NULL,
                    .targets = b->targets + row,
                    .labels = b->labels + first};
}

static fc_rng dropout_of(int member) {
  return fc_rng_open(9, FC_RNG_DROPOUT, 3, (uint64_t)member);
}

static void assert_same_as_alone(setup *s, fc_trainable *const t[MEMBERS], fc_loss_kind kind,
                                 const fc_batch *batch) {
  fc_member members[MEMBERS];
  float *theta[MEMBERS];
  for (int j = 0; j < MEMBERS; j++) {
    theta[j] = random_theta(t[j], 20 + (uint64_t)j);
    members[j] = (fc_member){.sequences = member_sequences[j],
                             .trainable = t[j],
                             .theta = theta[j],
                             .dropout = dropout_of(j),
                             .dtheta = new_floats(fc_trainable_count(t[j]))};
  }
  int failed = 7;
  OK(fc_model_cohort_grad(s->work, members, MEMBERS, batch, kind, &failed));
  assert_int_equal(failed, -1);
  for (int j = 0, first = 0; j < MEMBERS; first += member_sequences[j++]) {
    int64_t start[SEQUENCES + 1];
    fc_batch own = part_of(batch, first, member_sequences[j], start);
    size_t P = fc_trainable_count(t[j]);
    float *dtheta = new_floats(P);
    fc_loss_result r = {0};
    fc_work *w = NULL;
    OK(fc_work_create(s->model, t[j], ROWS, SEQUENCES, LONGEST, FC_WORK_TRAIN, &w));
    OK(fc_model_grad(w, theta[j], &own, kind, dropout_of(j), dtheta, &r));
    assert_memory_equal(members[j].dtheta, dtheta, P * sizeof *dtheta);
    assert_memory_equal(&members[j].result, &r, sizeof r);
    assert_true(r.count > 0 && r.loss_sum > 0);
    double largest = 0;
    for (size_t i = 0; i < P; i++) largest = fmax(largest, fabs((double)dtheta[i]));
    assert_true(largest > 0);
    fc_work_destroy(&w);
    fc_free(dtheta);
    fc_free(members[j].dtheta);
    fc_free(theta[j]);
  }
}

static void every_family_in(bool bf16, fc_trainable_spec spec, const int ranks[MEMBERS]) {
  for (int f = 0; f < N_FAMILIES; f++) {
    fc_model_shape shape = full_shape(all_families[f]);
    spec.lora_rank = 4; /* the workspace's */
    setup s = open_setup(&shape, &spec, true);
    fc_bf16 *panels = bf16 ? new_panels(s.model) : NULL;
    fc_trainable *t[MEMBERS];
    for (int j = 0; j < MEMBERS; j++) t[j] = of_rank(&s, spec, ranks[j]);
    fc_batch batch = batch_for(all_families[f]);
    assert_same_as_alone(&s, t, f < FIRST_ENCODER ? FC_LOSS_CAUSAL_LM : FC_LOSS_MASKED_LM, &batch);
    assert_same_as_alone(&s, t, FC_LOSS_CLASSIFY, &batch);
    for (int j = 0; j < MEMBERS; j++) fc_trainable_destroy(&t[j]);
    close_setup(&s);
    fc_free(panels);
  }
}

static void every_family(fc_trainable_spec spec, const int ranks[MEMBERS]) {
  every_family_in(false, spec, ranks);
  every_family_in(true, spec, ranks);
}

static const char *const all_linear[] = {"all-linear"};
static const char *const all[] = {"all"};
static const char *const head[] = {"head"};

static void adapters_of_different_rank(void **state) {
  (void)state;
  fc_trainable_spec spec = {
      .targets = all_linear, .n_targets = 1, .alpha = 8, .saved = head, .n_saved = 1};
  every_family(spec, (const int[]){4, 1, 3});
}

static void adapters_with_dropout(void **state) {
  (void)state;
  fc_trainable_spec spec = {.targets = all_linear,
                            .n_targets = 1,
                            .alpha = 8,
                            .dropout = 0.25F,
                            .saved = head,
                            .n_saved = 1};
  every_family(spec, (const int[]){2, 4, 4});
}

static void whole_tensors(void **state) {
  (void)state;
  fc_trainable_spec spec = {.saved = all, .n_saved = 1};
  every_family(spec, (const int[]){0, 0, 0});
}

/* ---- what is refused ------------------------------------------------------------------------- */

static const fc_trainable_spec two = {
    .targets = all_linear, .n_targets = 1, .lora_rank = 2, .alpha = 8};

static void misfits_are_named(void **state) {
  (void)state;
  fc_model_shape shape = full_shape("gpt2");
  setup s = open_setup(&shape, &two, true);
  fc_trainable *larger = of_rank(&s, two, 3), *other = NULL;
  OK(fc_trainable_create(s.model, &(fc_trainable_spec){.saved = head, .n_saved = 1}, &other));
  fc_batch batch = ragged_batch();
  float *theta = random_theta(larger, 1), *dtheta = new_floats(fc_trainable_count(larger));
  fc_member m[2] = {{.sequences = 3, .theta = theta, .dtheta = dtheta},
                    {.sequences = 1, .theta = theta, .dtheta = dtheta}};
  int failed = 0;
  m[1].trainable = larger;
  FAILS(fc_model_cohort_grad(s.work, m, 2, &batch, FC_LOSS_CAUSAL_LM, &failed), SHAPE,
        "member 1 of the cohort trains something else than the workspace was made for");
  assert_int_equal(failed, 1);
  m[1].trainable = other;
  FAILS(fc_model_cohort_grad(s.work, m, 2, &batch, FC_LOSS_CAUSAL_LM, &failed), SHAPE,
        "member 1 of the cohort trains something else than the workspace was made for");
  m[1].trainable = NULL;
  m[1].sequences = 0;
  FAILS(fc_model_cohort_grad(s.work, m, 2, &batch, FC_LOSS_CAUSAL_LM, &failed), SHAPE,
        "member 1 of the cohort has 0 sequences, allowed is 1 or more");
  m[1].sequences = 2;
  FAILS(fc_model_cohort_grad(s.work, m, 2, &batch, FC_LOSS_CAUSAL_LM, &failed), SHAPE,
        "the first 2 members of the cohort have 5 sequences, the batch has 4");
  FAILS(fc_model_cohort_grad(s.work, m, 1, &batch, FC_LOSS_CAUSAL_LM, &failed), SHAPE,
        "the cohort's members have 3 sequences, the batch has 4");
  assert_int_equal(failed, -1);
  fc_trainable_destroy(&larger);
  fc_trainable_destroy(&other);
  fc_free(theta);
  fc_free(dtheta);
  close_setup(&s);
}

static void a_loss_that_is_not_finite_names_its_member(void **state) {
  (void)state;
  fc_model_shape shape = full_shape("gpt2");
  setup s = open_setup(&shape, &two, true);
  fc_batch batch = ragged_batch();
  float *theta = random_theta(s.trainable, 1), *bad = random_theta(s.trainable, 1);
  float *dtheta = new_floats(fc_trainable_count(s.trainable));
  bad[0] = (float)NAN;
  fc_member m[2] = {{.sequences = 2, .theta = theta, .dtheta = dtheta},
                    {.sequences = 2, .theta = bad, .dtheta = dtheta}};
  int failed = 0;
  FAILS(fc_model_cohort_grad(s.work, m, 2, &batch, FC_LOSS_CAUSAL_LM, &failed), NUMERIC,
        "causal-LM loss is nan at sequence 0, token 0; first not finite: the output of block 0");
  assert_int_equal(failed, 1);
  assert_true(m[0].result.count > 0);
  assert_int_equal(m[1].result.count, 0);
  fc_free(theta);
  fc_free(bad);
  fc_free(dtheta);
  close_setup(&s);
}

/* A device without any target among others: its gradient stays. */
static void a_member_without_targets(void **state) {
  (void)state;
  fc_model_shape shape = full_shape("gpt2");
  setup s = open_setup(&shape, &two, true);
  fc_batch batch = ragged_batch(); /* the second sequence has one token, without a target here */
  int32_t targets[ROWS];
  memcpy(targets, batch.targets, sizeof targets);
  targets[3] = FC_TARGET_IGNORE;
  batch.targets = targets;
  size_t P = fc_trainable_count(s.trainable);
  float *theta = random_theta(s.trainable, 1), *d[MEMBERS];
  fc_member m[MEMBERS];
  for (int j = 0; j < MEMBERS; j++) {
    d[j] = new_floats(P);
    m[j] = (fc_member){.sequences = j == 2 ? 2 : 1, .theta = theta, .dtheta = d[j]};
  }
  OK(fc_model_cohort_grad(s.work, m, MEMBERS, &batch, FC_LOSS_CAUSAL_LM, NULL));
  assert_true(m[0].result.count == 2 && m[1].result.count == 0 && m[2].result.count == 6);
  for (size_t i = 0; i < P; i++) assert_true(d[1][i] == 0.0F);
  for (int j = 0; j < MEMBERS; j++) fc_free(d[j]);
  fc_free(theta);
  close_setup(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(adapters_of_different_rank),
      cmocka_unit_test(adapters_with_dropout),
      cmocka_unit_test(whole_tensors),
      cmocka_unit_test(misfits_are_named),
      cmocka_unit_test(a_loss_that_is_not_finite_names_its_member),
      cmocka_unit_test(a_member_without_targets),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
