/* What is trained: PEFT's names and shapes, the order in theta, initial values, refusals. */
#include "fixture.h"

static fc_model *new_model(const char *family) {
  fc_model *m = NULL;
  fc_model_shape shape = full_shape(family);
  OK(fc_model_create(&shape, &m));
  return m;
}

static const fc_trainable_part *find_part(const fc_trainable *t, const char *name) {
  size_t n = 0;
  const fc_trainable_part *p = fc_trainable_parts(t, &n);
  for (size_t i = 0; i < n; i++) {
    if (strcmp(p[i].name, name) == 0) return &p[i];
  }
  return NULL;
}

static void expect_part(const fc_trainable *t, const char *name, char kind, int64_t rows,
                        int64_t cols) {
  const fc_trainable_part *p = find_part(t, name);
  if (!p) fail_msg("no part %s", name);
  assert_int_equal(p->kind, kind);
  assert_int_equal(p->rows, rows);
  assert_int_equal(p->cols, cols);
}

/* Parts follow each other without gaps; returns their number. */
static size_t check_layout(const fc_trainable *t) {
  size_t n = 0, offset = 0;
  const fc_trainable_part *p = fc_trainable_parts(t, &n);
  for (size_t i = 0; i < n; i++) {
    assert_int_equal(p[i].offset, offset);
    offset += (size_t)(p[i].rows * p[i].cols);
  }
  assert_int_equal(fc_trainable_count(t), offset);
  return n;
}

static fc_trainable *train(const fc_model *m, const char *const *targets, size_t n_targets,
                           const char *const *saved, size_t n_saved) {
  fc_trainable_spec spec = {.targets = targets,
                            .n_targets = n_targets,
                            .lora_rank = 4,
                            .alpha = 8.0F,
                            .saved = saved,
                            .n_saved = n_saved};
  fc_trainable *t = NULL;
  OK(fc_trainable_create(m, &spec, &t));
  return t;
}

static void parts_are_named_as_peft_names_them(void **state) {
  (void)state;
  static const char *const targets[] = {"query", "value"}, *const saved[] = {"classifier"};
  fc_model *m = new_model("bert");
  fc_trainable *t = train(m, targets, 2, saved, 1);
  assert_int_equal(check_layout(t), 2 * 2 * 2 + 2);
  expect_part(t, "base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight", 'A', 4,
              8);
  expect_part(t, "base_model.model.bert.encoder.layer.1.attention.self.value.lora_B.weight", 'B', 8,
              4);
  expect_part(t, "base_model.model.classifier.weight", 'W', 3, 8);
  expect_part(t, "base_model.model.classifier.bias", 'W', 1, 3);
  assert_int_equal(fc_trainable_count(t), 4 * (4 * 8 + 8 * 4) + 3 * 8 + 3);
  size_t n = 0;
  const fc_tensor *tensors = fc_model_tensors(m, &n);
  const fc_trainable_part *p =
      find_part(t, "base_model.model.bert.encoder.layer.1.attention.self.value.lora_B.weight");
  assert_string_equal(tensors[p->tensor].name, "bert.encoder.layer.1.attention.self.value.weight");
  fc_trainable_destroy(&t);
  assert_null(t);
  fc_model_destroy(&m);
}

static void fused_c_attn_is_one_adapter(void **state) {
  (void)state;
  static const char *const targets[] = {"c_attn", "mlp.c_proj"};
  fc_model *m = new_model("gpt2");
  fc_trainable *t = train(m, targets, 2, NULL, 0);
  assert_int_equal(check_layout(t), 2 * 2 * 2);
  expect_part(t, "base_model.model.transformer.h.1.attn.c_attn.lora_A.weight", 'A', 4, 8);
  expect_part(t, "base_model.model.transformer.h.1.attn.c_attn.lora_B.weight", 'B', 24, 4);
  expect_part(t, "base_model.model.transformer.h.0.mlp.c_proj.lora_A.weight", 'A', 4, 12);
  fc_trainable_destroy(&t);
  fc_model_destroy(&m);
}

/* Number of parts for one target or one saved module. */
static void expect_count(const char *family, const char *target, const char *saved, size_t parts) {
  fc_model *m = new_model(family);
  fc_trainable *t = train(m, &target, target != NULL, &saved, saved != NULL);
  size_t n = check_layout(t);
  if (n != parts) fail_msg("%s %s: %zu parts, not %zu", family, target ? target : saved, n, parts);
  fc_trainable_destroy(&t);
  fc_model_destroy(&m);
}

static void names_match_by_suffix_at_dots(void **state) {
  (void)state;
  expect_count("bert", "attention.output.dense", NULL, 4);
  expect_count("bert", "output.dense", NULL, 8);         /* attention.output.dense too, as PEFT */
  expect_count("bert", "layer.0.output.dense", NULL, 2); /* that one alone */
  expect_count("bert", "dense", NULL, 12 + 4);           /* and pooler, masked-LM head */
  expect_count("bert", "all-linear", NULL, 2 * 6 * 2);
  expect_count("gpt2", "all-linear", NULL, 2 * 4 * 2);
  expect_count("gpt2", "c_proj", NULL, 8);
  expect_count("gpt2", "attn.c_proj", NULL, 4);
  expect_count("llama", "q_proj", NULL, 4);
  expect_count("llama", "all-linear", NULL, 28);
  expect_count("llama", NULL, "mlp", 6);
  expect_count("roberta", "classifier.dense", NULL, 2);
  expect_count("bert", NULL, "encoder.layer.1", 16);
  expect_count("bert", NULL, "bert.encoder.layer.1", 16);
  expect_count("bert", NULL, "pooler", 2);
  expect_count("bert", NULL, "embeddings", 5);
  expect_count("bert", NULL, "cls", 5);
  expect_count("roberta", NULL, "classifier", 4);
  expect_count("roberta", NULL, "encoder", 32);
  expect_count("gpt2", NULL, "h.0", 12);
  expect_count("gpt2", NULL, "transformer.wte.weight", 1);
  expect_count("gpt2", NULL, "all", 2 + 2 * 12 + 2 + 1);
  expect_count("bert", NULL, "head", 4);
}

static void a_block_number_is_not_a_prefix(void **state) {
  (void)state;
  static const char *const saved[] = {"layer.1"};
  fc_model_shape shape = small_shape("bert");
  shape.layers = 12; /* layer.1 is neither layer.10 nor layer.11 */
  fc_model *m = NULL;
  OK(fc_model_create(&shape, &m));
  fc_trainable *t = train(m, NULL, 0, saved, 1);
  assert_int_equal(check_layout(t), 16);
  fc_trainable_destroy(&t);
  fc_model_destroy(&m);
}

static void part_of_a_name_is_no_match(void **state) {
  (void)state;
  static const char *const part[] = {"uery", ""};
  fc_model *m = new_model("bert");
  fc_trainable *t = NULL;
  for (int i = 0; i < 2; i++) {
    fc_trainable_spec adapter = {
        .targets = part + i, .n_targets = 1, .lora_rank = 4, .alpha = 8.0F};
    fc_trainable_spec whole = {.saved = part + i, .n_saved = 1};
    assert_int_equal(fc_trainable_create(m, &adapter, &t), FC_ERR_USAGE);
    assert_int_equal(fc_trainable_create(m, &whole, &t), FC_ERR_USAGE);
  }
  fc_model_destroy(&m);
}

static void a_layer_trained_whole_has_no_adapter(void **state) {
  (void)state;
  static const char *const targets[] = {"query"}, *const saved[] = {"encoder.layer.1"};
  fc_model *m = new_model("roberta");
  fc_trainable *t = train(m, targets, 1, saved, 1);
  assert_int_equal(check_layout(t), 2 + 16);
  assert_non_null(
      find_part(t, "base_model.model.roberta.encoder.layer.0.attention.self.query.lora_A.weight"));
  assert_null(
      find_part(t, "base_model.model.roberta.encoder.layer.1.attention.self.query.lora_A.weight"));
  fc_trainable_destroy(&t);
  fc_model_destroy(&m);
}

static void nothing_trained_is_allowed(void **state) {
  (void)state;
  fc_model *m = new_model("gpt2");
  fc_trainable *t = train(m, NULL, 0, NULL, 0);
  assert_int_equal(check_layout(t), 0);
  assert_int_equal(fc_trainable_count(t), 0);
  fc_trainable_destroy(&t);
  fc_model_destroy(&m);
}

static void initial_values_are_pefts(void **state) {
  (void)state;
  static const char *const targets[] = {"intermediate.dense"}, *const saved[] = {"classifier"};
  fc_model_shape shape = full_shape("bert");
  fc_trainable_spec spec = {.targets = targets,
                            .n_targets = 1,
                            .lora_rank = 64,
                            .alpha = 1.0F,
                            .saved = saved,
                            .n_saved = 1};
  setup s = open_setup(&shape, &spec, false);
  size_t n = 0;
  const fc_trainable_part *p = fc_trainable_parts(s.trainable, &n);
  size_t count = 0;
  const fc_tensor *tensors = fc_model_tensors(s.model, &count);
  for (size_t i = 0; i < n; i++) {
    int64_t size = p[i].rows * p[i].cols;
    const float *x = s.theta + p[i].offset;
    if (p[i].kind == 'A') { /* uniform in +-1/sqrt(8): deviation bound/sqrt(3) */
      double bound = 1.0 / sqrt(8.0), std = sqrt(fc_k_sum_squares(x, size) / (double)size);
      double largest = (double)fc_k_max_abs(x, size);
      assert_true(largest <= bound && largest > 0.97 * bound);
      assert_true(fabs(std * sqrt(3.0) / bound - 1.0) < 0.1);
    } else if (p[i].kind == 'B') {
      assert_true(fc_k_max_abs(x, size) == 0.0F);
    } else {
      assert_memory_equal(x, s.weights + tensors[p[i].tensor].offset, (size_t)size * sizeof *x);
    }
  }
  float *again = new_floats(fc_trainable_count(s.trainable));
  fc_trainable_init(s.trainable, 2, again);
  assert_memory_equal(again, s.theta, fc_trainable_count(s.trainable) * sizeof *again);
  fc_trainable_init(s.trainable, 3, again);
  assert_memory_not_equal(again, s.theta, fc_trainable_count(s.trainable) * sizeof *again);
  fc_free(again);
  close_setup(&s);
}

static void refuses_what_does_not_exist(void **state) {
  (void)state;
  static const char *const targets[] = {"query", "quary"}, *const saved[] = {"clasifier"};
  fc_model *bert = new_model("bert"), *gpt2 = new_model("gpt2");
  fc_trainable *t = NULL;
  fc_trainable_spec spec = {.targets = targets, .n_targets = 2, .lora_rank = 4, .alpha = 8.0F};
  FAILS(fc_trainable_create(bert, &spec, &t), USAGE,
        "adapter target \"quary\" matches no linear layer of bert; there are: "
        "attention.self.query, attention.self.key, attention.self.value, attention.output.dense, "
        "intermediate.dense, output.dense, pooler.dense, classifier, "
        "cls.predictions.transform.dense, all-linear");
  assert_null(t);
  FAILS(fc_trainable_create(gpt2, &spec, &t), USAGE,
        "adapter target \"query\" matches no linear layer of gpt2; there are: attn.c_attn, "
        "attn.c_proj, mlp.c_fc, mlp.c_proj, score, all-linear");
  spec = (fc_trainable_spec){.saved = saved, .n_saved = 1};
  FAILS(fc_trainable_create(bert, &spec, &t), USAGE,
        "saved module \"clasifier\" matches nothing in bert; there are: "
        "embeddings.word_embeddings, embeddings.position_embeddings, "
        "embeddings.token_type_embeddings, embeddings.LayerNorm, pooler.dense, classifier, "
        "cls.predictions.transform.dense, cls.predictions.transform.LayerNorm, cls.predictions, "
        "encoder.layer.0 to encoder.layer.1 and what is in them, head, all");
  FAILS(fc_trainable_create(gpt2, &spec, &t), USAGE,
        "saved module \"clasifier\" matches nothing in gpt2; there are: wte, wpe, ln_f, score, h.0 "
        "to h.1 and what is in them, head, all");
  fc_model_destroy(&bert);
  fc_model_destroy(&gpt2);
}

static void refuses_numbers_out_of_range(void **state) {
  (void)state;
  static const char *const targets[] = {"all-linear"};
  fc_model *m = new_model("bert");
  fc_trainable *t = NULL;
  fc_trainable_spec good = {.targets = targets, .n_targets = 1, .lora_rank = 4, .alpha = 8.0F};
  fc_trainable_spec spec = good;
  spec.lora_rank = 0;
  FAILS(fc_trainable_create(m, &spec, &t), USAGE, "adapter rank is 0, allowed is 1 to 1024");
  spec.lora_rank = 1025;
  FAILS(fc_trainable_create(m, &spec, &t), USAGE, "adapter rank is 1025, allowed is 1 to 1024");
  spec = good;
  spec.alpha = NAN;
  FAILS(fc_trainable_create(m, &spec, &t), USAGE, "adapter alpha is nan, allowed is above 0");
  spec = good;
  spec.dropout = 1.0F;
  FAILS(fc_trainable_create(m, &spec, &t), USAGE, "adapter dropout is 1, allowed is 0 to below 1");
  assert_null(t);
  fc_model_destroy(&m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(parts_are_named_as_peft_names_them),
      cmocka_unit_test(fused_c_attn_is_one_adapter),
      cmocka_unit_test(names_match_by_suffix_at_dots),
      cmocka_unit_test(a_block_number_is_not_a_prefix),
      cmocka_unit_test(part_of_a_name_is_no_match),
      cmocka_unit_test(a_layer_trained_whole_has_no_adapter),
      cmocka_unit_test(nothing_trained_is_allowed),
      cmocka_unit_test(initial_values_are_pefts),
      cmocka_unit_test(refuses_what_does_not_exist),
      cmocka_unit_test(refuses_numbers_out_of_range),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
