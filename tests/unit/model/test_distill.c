/* Learning from another model: the gradient against finite differences of the loss, in every family
 * and with either term or both, what happens where nothing is trained, and what is refused. */
#include "fixture.h"

static const char *const all_linear[] = {"all-linear"};
static const char *const all[] = {"all"};
static const fc_trainable_spec adapters = {
    .targets = all_linear, .n_targets = 1, .lora_rank = 2, .alpha = 4.0F};
static const fc_trainable_spec adapters_with_dropout = {
    .targets = all_linear, .n_targets = 1, .lora_rank = 2, .alpha = 4.0F, .dropout = 0.3F};
static const fc_trainable_spec whole = {.saved = all, .n_saved = 1};

/* A student of two blocks and a teacher of three with other weights. */
typedef struct {
  setup student, teacher;
  fc_distillation d;
  fc_loss_kind kind;
  fc_batch batch;
  uint64_t stream; /* of dropout */
  fc_scope scope;  /* the student's */
  size_t count;    /* floats of its theta */
  fc_distill_result result;
} pair;

static pair open_pair(const char *family, const fc_trainable_spec *spec, bool classify) {
  fc_model_shape shape = full_shape(family), larger = shape;
  larger.layers = 3;
  pair p = {.student = open_setup(&shape, spec, true),
            .teacher = open_setup(&larger, &adapters, false),
            .kind = classify ? FC_LOSS_CLASSIFY : lm_kind(&shape),
            .batch = batch_for(family)};
  p.batch.targets = p.batch.labels = NULL; /* nobody looks at them */
  random_lora_b(p.student.trainable, p.student.theta);
  random_weights(p.teacher.model, 8, p.teacher.weights);
  random_lora_b(p.teacher.trainable, p.teacher.theta);
  p.d = (fc_distillation){.teacher = p.teacher.work,
                          .teacher_theta = p.teacher.theta,
                          .teacher_block = 2,
                          .student_block = 1,
                          .hidden_weight = 1.0F,
                          .kl_weight = 0.9F};
  p.count = fc_trainable_count(p.student.trainable);
  return p;
}

/* The teacher becomes what the student is. */
static void teacher_like_student(pair *p, const fc_trainable_spec *spec) {
  close_setup(&p->teacher);
  p->teacher = open_setup(fc_model_get_shape(p->student.model), spec, false);
  memcpy(p->teacher.theta, p->student.theta, p->count * sizeof(float));
  p->d.teacher = p->teacher.work;
  p->d.teacher_theta = p->teacher.theta;
  p->d.teacher_block = p->d.student_block;
}

static void close_pair(pair *p) {
  close_setup(&p->student);
  close_setup(&p->teacher);
}

static fc_err run(pair *p, float *dtheta) {
  fc_member m = {.sequences = p->batch.sequences,
                 .theta = p->student.theta,
                 .scope = p->scope,
                 .dropout = fc_rng_open(3, FC_RNG_DROPOUT, 4, p->stream),
                 .dtheta = dtheta};
  return fc_model_distill_grad(p->student.work, &m, &p->batch, p->kind, &p->d, &p->result);
}

static float *gradient_of(pair *p) {
  float *dtheta = new_floats(p->count);
  p->result = (fc_distill_result){0};
  OK(run(p, dtheta));
  return dtheta;
}

static double norm_of(const float *x, size_t n) {
  return sqrt(fc_k_sum_squares(x, (int64_t)n));
}

/* |a - b|/|b| */
static double distance(const float *a, const float *b, size_t n) {
  double sum = 0.0;
  for (size_t i = 0; i < n; i++) sum += pow((double)a[i] - (double)b[i], 2);
  return sqrt(sum) / norm_of(b, n);
}

/* ---- the derivative -------------------------------------------------------------------------- */

static double loss(pair *p, float *ignored) {
  p->result = (fc_distill_result){0};
  OK(run(p, ignored));
  const fc_distill_result *r = &p->result;
  double sum = 0.0;
  if (p->d.hidden_weight > 0)
    sum += (double)p->d.hidden_weight * r->hidden_sum / (double)r->elements;
  if (p->d.kl_weight > 0) sum += (double)p->d.kl_weight * r->kl_sum / (double)r->rows;
  return sum;
}

/* Fourth-order central difference. */
static double difference(pair *p, size_t i, float *ignored) {
  const float h = 1.0F / 128.0F;
  static const int at[4] = {1, -1, 2, -2};
  static const double factor[4] = {8.0, -8.0, -1.0, 1.0};
  float *x = &p->student.theta[i], kept = *x;
  double sum = 0.0;
  for (int k = 0; k < 4; k++) {
    *x = kept + (float)at[k] * h;
    sum += factor[k] * loss(p, ignored);
  }
  *x = kept;
  return sum / (12.0 * (double)h);
}

static void check_part(pair *p, const fc_trainable_part *part, const float *gradient,
                       float *ignored) {
  double error = 0.0, norm = 0.0;
  size_t size = (size_t)(part->rows * part->cols), n = 0;
  size_t stride = size > 80 ? 13 : size > 16 ? 5 : 1; /* of no row's length: columns in turn */
  for (size_t k = 0; k < size; k += stride, n++) {
    double want = difference(p, part->offset + k, ignored);
    error += pow((double)gradient[part->offset + k] - want, 2);
    norm += want * want;
  }
  /* f32 losses of 1 to 5 leave about 3e-5 of noise in each difference. */
  double tolerance = 4e-3 * sqrt(norm) + 8e-5 * sqrt((double)n);
  if (!(sqrt(error) <= tolerance))
    fail_msg("%s: gradient off by %g, norm %g, tolerance %g", part->name, sqrt(error), sqrt(norm),
             tolerance);
}

static void check_gradient(pair *p) {
  size_t n = 0;
  const fc_trainable_part *part = fc_trainable_parts(p->student.trainable, &n);
  float *gradient = gradient_of(p), *ignored = new_floats(p->count);
  assert_true(norm_of(gradient, p->count) > 1e-2);
  for (size_t i = 0; i < n; i++) check_part(p, &part[i], gradient, ignored);
  fc_free(gradient);
  fc_free(ignored);
}

/* Both terms, and each alone. */
static void check_terms(const char *family, const fc_trainable_spec *spec, bool classify) {
  static const float weights[3][2] = {{1.0F, 0.9F}, {2.0F, 0.0F}, {0.0F, 0.7F}};
  for (int i = 0; i < 3; i++) {
    pair p = open_pair(family, spec, classify);
    p.d.hidden_weight = weights[i][0];
    p.d.kl_weight = weights[i][1];
    check_gradient(&p);
    close_pair(&p);
  }
}

static void adapters_of_every_family(void **state) {
  (void)state;
  for (int f = 0; f < N_FAMILIES; f++)
    for (int classify = 0; classify < 2; classify++) {
      pair p = open_pair(all_families[f], &adapters, classify);
      check_gradient(&p);
      close_pair(&p);
    }
}

static void adapters_that_drop_out(void **state) {
  (void)state;
  check_terms("gpt2", &adapters_with_dropout, false);
  check_terms("bert", &adapters_with_dropout, true);
}

static void whole_models(void **state) {
  (void)state;
  for (int classify = 0; classify < 2; classify++) {
    check_terms("gpt2", &whole, classify);
    check_terms("bert", &whole, classify);
  }
}

/* From the embeddings to what goes into the final norm. */
static void blocks_at_either_end(void **state) {
  (void)state;
  static const char *const families[] = {"gpt2", "bert"};
  for (int f = 0; f < 2; f++)
    for (int end = 0; end < 2; end++) {
      pair p = open_pair(families[f], &whole, false);
      p.d.student_block = end ? 2 : 0;
      p.d.teacher_block = end ? 3 : 0;
      check_gradient(&p);
      close_pair(&p);
    }
}

/* A student that is a part of its teacher. */
static void a_pruned_student(void **state) {
  (void)state;
  static const fc_block_view view[2] = {{1, 5}, {1, 9}};
  for (int f = 0; f < N_FAMILIES; f++) {
    pair p = open_pair(all_families[f], &adapters, f % 2);
    teacher_like_student(&p, &adapters);
    p.scope.view = view;
    check_gradient(&p);
    assert_true(p.result.hidden_sum > 1e-3 && p.result.kl_sum > 1e-3);
    close_pair(&p);
  }
}

/* ---- what it adds up to ---------------------------------------------------------------------- */

static void all_tokens_are_rows(void **state) {
  (void)state;
  for (int classify = 0; classify < 2; classify++) {
    pair p = open_pair("bert", &adapters, classify);
    fc_free(gradient_of(&p));
    assert_int_equal(p.result.rows, classify ? SEQUENCES : ROWS);
    assert_int_equal(p.result.elements, ROWS * 8);
    assert_true(p.result.kl_sum > 0 && p.result.hidden_sum > 0);
    close_pair(&p);
  }
}

/* What goes into block 0 of GPT-2: its token's embedding and its position's. */
static double embedded(const setup *s, const fc_batch *b, int64_t row, int64_t position, int c) {
  const float *wte = s->weights + fc_model_find_tensor(s->model, "wte.weight")->offset;
  const float *wpe = s->weights + fc_model_find_tensor(s->model, "wpe.weight")->offset;
  return (double)wte[b->tokens[row] * 8 + c] + (double)wpe[position * 8 + c];
}

static void the_hidden_term_by_hand(void **state) {
  (void)state;
  pair p = open_pair("gpt2", &adapters, false);
  p.d.teacher_block = p.d.student_block = 0;
  double gap = 0.0, norm = 0.0;
  for (int s = 0; s < SEQUENCES; s++)
    for (int64_t n = p.batch.start[s]; n < p.batch.start[s + 1]; n++)
      for (int c = 0; c < 8; c++) {
        double teacher = embedded(&p.teacher, &p.batch, n, n - p.batch.start[s], c);
        gap += pow(teacher - embedded(&p.student, &p.batch, n, n - p.batch.start[s], c), 2);
        norm += teacher * teacher;
      }
  double want = gap / (norm / (ROWS * 8));
  fc_free(gradient_of(&p));
  assert_true(fabs(p.result.hidden_sum - want) <= 1e-5 * want);
  close_pair(&p);
}

static void the_divergence_is_that_of_the_logits(void **state) {
  (void)state;
  pair p = open_pair("roberta", &adapters, false);
  enum { COUNT = ROWS * VOCAB };
  float z[COUNT], z_teacher[COUNT], kl[ROWS];
  double sum = 0.0;
  OK(fc_model_logits(p.student.work, p.student.theta, &p.batch, p.kind, z));
  OK(fc_model_logits(p.teacher.work, p.teacher.theta, &p.batch, p.kind, z_teacher));
  fc_k_kl_ref(kl, NULL, z, z_teacher, 1, ROWS, VOCAB);
  for (int n = 0; n < ROWS; n++) sum += (double)kl[n];
  fc_free(gradient_of(&p));
  assert_true(fabs(p.result.kl_sum - sum) <= 1e-5 * sum);
  close_pair(&p);
}

static void a_student_like_its_teacher(void **state) {
  (void)state;
  for (int f = 0; f < N_FAMILIES; f++)
    for (int classify = 0; classify < 2; classify++) {
      pair p = open_pair(all_families[f], &whole, classify);
      teacher_like_student(&p, &whole);
      float *dtheta = gradient_of(&p);
      assert_true(p.result.kl_sum == 0.0 && p.result.hidden_sum == 0.0);
      for (size_t i = 0; i < p.count; i++) assert_true(dtheta[i] == 0.0F);
      fc_free(dtheta);
      close_pair(&p);
    }
}

static void gradients_and_results_add_up(void **state) {
  (void)state;
  pair p = open_pair("gpt2", &adapters, false);
  float *once = gradient_of(&p), *twice = gradient_of(&p);
  fc_distill_result r = p.result;
  OK(run(&p, twice));
  assert_true(p.result.kl_sum == 2 * r.kl_sum && p.result.hidden_sum == 2 * r.hidden_sum);
  assert_true(p.result.rows == 2 * r.rows && p.result.elements == 2 * r.elements);
  for (size_t i = 0; i < p.count; i++)
    assert_true(fabsf(twice[i] - 2.0F * once[i]) <= 1e-5F * fabsf(once[i]) + 1e-7F);
  fc_free(once);
  fc_free(twice);
  close_pair(&p);
}

static void terms_are_left_out_and_add_up(void **state) {
  (void)state;
  pair p = open_pair("gpt2", &adapters, false);
  float *both = gradient_of(&p);
  p.d.kl_weight = 0.0F;
  float *hidden = gradient_of(&p);
  assert_true(p.result.rows == 0 && p.result.kl_sum == 0.0 && p.result.elements > 0);
  p.d.kl_weight = 0.9F;
  p.d.hidden_weight = 0.0F;
  float *divergence = gradient_of(&p);
  assert_true(p.result.elements == 0 && p.result.hidden_sum == 0.0 && p.result.rows > 0);
  fc_k_axpy(hidden, 1.0F, divergence, (int64_t)p.count);
  assert_true(distance(hidden, both, p.count) <= 1e-5);
  fc_free(both);
  fc_free(hidden);
  fc_free(divergence);
  close_pair(&p);
}

/* Dropout is the student's alone, and follows the member's stream. */
static void dropout_follows_its_stream(void **state) {
  (void)state;
  double sum[3];
  for (int i = 0; i < 3; i++) {
    pair p = open_pair("gpt2", i == 0 ? &adapters : &adapters_with_dropout, false);
    p.stream = (uint64_t)i;
    fc_free(gradient_of(&p));
    sum[i] = p.result.kl_sum;
    close_pair(&p);
  }
  assert_true(sum[0] != sum[1] && sum[1] != sum[2] && sum[0] != sum[2]);
}

static void a_batch_without_sequences_changes_nothing(void **state) {
  (void)state;
  pair p = open_pair("gpt2", &adapters, false);
  p.batch.sequences = 0;
  float *dtheta = gradient_of(&p);
  assert_true(p.result.rows == 0 && p.result.elements == 0 && norm_of(dtheta, p.count) == 0.0);
  fc_free(dtheta);
  close_pair(&p);
}

/* Trained at and above the student's block only: hidden states below are what they are. */
static void hidden_states_below_what_is_trained(void **state) {
  (void)state;
  static const char *const upper[] = {"h.1", "ln_f"};
  const fc_trainable_spec spec = {.saved = upper, .n_saved = 2};
  pair p = open_pair("gpt2", &spec, false);
  float *both = gradient_of(&p);
  assert_true(p.result.hidden_sum > 0);
  p.d.hidden_weight = 0.0F;
  float *alone = gradient_of(&p);
  assert_true(norm_of(alone, p.count) > 0);
  assert_memory_equal(both, alone, p.count * sizeof *both);
  fc_free(both);
  fc_free(alone);
  close_pair(&p);
}

/* A scope's gradients are those of all, and the rest stays. */
static void scopes_train_their_blocks(void **state) {
  (void)state;
  for (int block = 0; block < 2; block++) {
    pair p = open_pair("gpt2", &adapters, false);
    float *every = gradient_of(&p);
    p.scope = (fc_scope){.first_block = block, .next_block = block + 1};
    float *own = gradient_of(&p);
    size_t first, n = fc_trainable_window(p.student.trainable, &p.scope, &first);
    assert_true(n > 0 && n < p.count && norm_of(own + first, n) > 0);
    assert_memory_equal(own + first, every + first, n * sizeof *own);
    memset(own + first, 0, n * sizeof *own);
    assert_true(norm_of(own, p.count) == 0.0);
    assert_true(p.result.hidden_sum > 0);
    fc_free(every);
    fc_free(own);
    close_pair(&p);
  }
}

static void recomputing_changes_nothing(void **state) {
  (void)state;
  for (int only_hidden = 0; only_hidden < 2; only_hidden++) {
    pair p = open_pair("bert", &adapters_with_dropout, false);
    if (only_hidden) p.d.kl_weight = 0.0F;
    float *kept = gradient_of(&p);
    fc_work_destroy(&p.student.work);
    OK(fc_work_create(p.student.model, p.student.trainable, ROWS, SEQUENCES, LONGEST,
                      FC_WORK_RECOMPUTE, &p.student.work));
    float *computed = gradient_of(&p);
    assert_memory_equal(kept, computed, p.count * sizeof *kept);
    fc_free(kept);
    fc_free(computed);
    close_pair(&p);
  }
}

static void bf16_panels_are_close(void **state) {
  (void)state;
  for (int f = 0; f < N_FAMILIES; f++) {
    pair p = open_pair(all_families[f], &adapters, false);
    float *want = gradient_of(&p);
    const fc_distill_result r = p.result;
    fc_bf16 *student = new_panels(p.student.model), *teacher = new_panels(p.teacher.model);
    float *got = gradient_of(&p);
    assert_true(distance(got, want, p.count) > 1e-6); /* they are in use */
    assert_true(distance(got, want, p.count) <= 0.05);
    assert_true(fabs(p.result.kl_sum - r.kl_sum) <= 0.03 * r.kl_sum);
    assert_true(fabs(p.result.hidden_sum - r.hidden_sum) <= 0.03 * r.hidden_sum);
    fc_free(want);
    fc_free(got);
    close_pair(&p);
    fc_free(student);
    fc_free(teacher);
  }
}

/* ---- what is refused ------------------------------------------------------------------------- */

static fc_err run_once(pair *p) {
  float *dtheta = new_floats(p->count);
  fc_err err = run(p, dtheta);
  fc_free(dtheta);
  return err;
}

static void another_teacher(pair *p, const fc_model_shape *shape) {
  close_setup(&p->teacher);
  p->teacher = open_setup(shape, &adapters, false);
  p->d.teacher = p->teacher.work;
  p->d.teacher_theta = p->teacher.theta;
}

static void misfits_are_named(void **state) {
  (void)state;
  pair p = open_pair("gpt2", &adapters, true);
  fc_model_shape shape = full_shape("gpt2");
  shape.width = 16;
  another_teacher(&p, &shape);
  FAILS(run_once(&p), SHAPE, "the teacher's width is 16, the student's 8");
  shape = full_shape("gpt2");
  shape.vocab = 18;
  another_teacher(&p, &shape);
  FAILS(run_once(&p), SHAPE, "the teacher's vocabulary has 18 words, the student's 17");
  shape = full_shape("gpt2");
  shape.labels = 2;
  another_teacher(&p, &shape);
  FAILS(run_once(&p), SHAPE, "the teacher knows 2 labels, the student 3");
  p.kind = FC_LOSS_CAUSAL_LM; /* labels are no matter */
  OK(run_once(&p));
  p.d.teacher_block = 3;
  FAILS(run_once(&p), USAGE, "the teacher's block 3 for distillation: allowed is 0 to 2");
  p.d.teacher_block = 0;
  p.d.student_block = -1;
  FAILS(run_once(&p), USAGE, "the student's block -1 for distillation: allowed is 0 to 2");
  p.d.teacher = p.student.work;
  FAILS(run_once(&p), USAGE, "the teacher needs a workspace of its own");
  close_pair(&p);
}

static void a_workspace_for_training_is_asked_for(void **state) {
  (void)state;
  pair p = open_pair("gpt2", &adapters, true);
  close_setup(&p.student);
  fc_model_shape shape = full_shape("gpt2");
  p.student = open_setup(&shape, &adapters, false);
  FAILS(run_once(&p), USAGE, "this workspace was made for forward passes only");
  close_pair(&p);
}

static void the_whole_batch_is_the_members(void **state) {
  (void)state;
  pair p = open_pair("gpt2", &adapters, true);
  fc_member m = {.sequences = 3, .theta = p.student.theta};
  FAILS(fc_model_distill_grad(p.student.work, &m, &p.batch, p.kind, &p.d, &p.result), SHAPE,
        "the cohort's members have 3 sequences, the batch has 4");
  close_pair(&p);
}

/* NaN in the weights of a named tensor. */
static void spoil(const setup *s, const char *tensor) {
  const fc_tensor *t = fc_model_find_tensor(s->model, tensor);
  assert_non_null(t);
  s->weights[t->offset] = NAN;
}

static void what_is_not_finite_is_traced(void **state) {
  (void)state;
  pair p = open_pair("gpt2", &adapters, false);
  spoil(&p.teacher, "h.0.ln_1.weight");
  FAILS(run_once(&p), NUMERIC,
        "distillation: the hidden states' difference is not finite; first not finite: of the "
        "teacher the output of block 0, of the student nothing in the trunk");
  close_pair(&p);
  p = open_pair("gpt2", &adapters, false);
  spoil(&p.student, "h.1.ln_1.weight");
  FAILS(run_once(&p), NUMERIC,
        "distillation: the divergence at sequence 0, token 0 is not finite; first not finite: of "
        "the teacher nothing in the trunk, of the student the output of block 1");
  assert_int_equal(p.result.rows, 0);
  close_pair(&p);
}

static void hidden_states_of_zero_have_no_scale(void **state) {
  (void)state;
  pair p = open_pair("gpt2", &adapters, false);
  memset(p.teacher.weights, 0, fc_model_weight_count(p.teacher.model) * sizeof(float));
  p.d.teacher_block = 0;
  FAILS(run_once(&p), NUMERIC, "distillation: all inputs of the teacher's block 0 are zero");
  close_pair(&p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(adapters_of_every_family),
      cmocka_unit_test(adapters_that_drop_out),
      cmocka_unit_test(whole_models),
      cmocka_unit_test(blocks_at_either_end),
      cmocka_unit_test(a_pruned_student),
      cmocka_unit_test(all_tokens_are_rows),
      cmocka_unit_test(the_hidden_term_by_hand),
      cmocka_unit_test(the_divergence_is_that_of_the_logits),
      cmocka_unit_test(a_student_like_its_teacher),
      cmocka_unit_test(gradients_and_results_add_up),
      cmocka_unit_test(terms_are_left_out_and_add_up),
      cmocka_unit_test(dropout_follows_its_stream),
      cmocka_unit_test(a_batch_without_sequences_changes_nothing),
      cmocka_unit_test(hidden_states_below_what_is_trained),
      cmocka_unit_test(scopes_train_their_blocks),
      cmocka_unit_test(recomputing_changes_nothing),
      cmocka_unit_test(bf16_panels_are_close),
      cmocka_unit_test(misfits_are_named),
      cmocka_unit_test(a_workspace_for_training_is_asked_for),
      cmocka_unit_test(the_whole_batch_is_the_members),
      cmocka_unit_test(what_is_not_finite_is_traced),
      cmocka_unit_test(hidden_states_of_zero_have_no_scale),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
