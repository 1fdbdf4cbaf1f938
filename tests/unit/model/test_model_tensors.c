/* The table of tensors: Hugging Face's names, the published sizes, the order in the blob, initial
 * values, and which shapes are refused. */
#include "fixture.h"

static fc_model *new_model(fc_model_shape shape) {
  fc_model *m = NULL;
  OK(fc_model_create(&shape, &m));
  return m;
}

static fc_model_shape base_shape(const char *family, int vocab, int positions, int labels) {
  return (fc_model_shape){.arch = fc_arch_find(family),
                          .layers = 12,
                          .width = 768,
                          .heads = 12,
                          .vocab = vocab,
                          .positions = positions,
                          .labels = labels};
}

/* Llama 3.2 1B */
static fc_model_shape llama_1b(void) {
  return (fc_model_shape){.arch = fc_arch_find("llama"),
                          .layers = 16,
                          .width = 2048,
                          .heads = 32,
                          .kv_heads = 8,
                          .ffn = 8192,
                          .vocab = 128256,
                          .positions = 131072};
}

static void sizes_are_the_published_ones(void **state) {
  (void)state;
  const struct {
    fc_model_shape shape;
    size_t count;
  } cases[] = {
      {base_shape("gpt2", 50257, 1024, 0), 124439808},
      {llama_1b(), 1235814400},
      {base_shape("bert", 30522, 512, 2), 109483778}, /* 109482240 with pooler, and 2 classes */
      {base_shape("roberta", 50265, 514, 2), 124647170},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    fc_model *m = new_model(cases[i].shape);
    assert_int_equal(fc_model_weight_count(m), cases[i].count);
    fc_model_destroy(&m);
    assert_null(m);
  }
}

static void expect_tensor(const fc_model *m, const char *name, int64_t rows, int64_t cols,
                          int layer, bool is_head, bool is_transposed) {
  const fc_tensor *t = fc_model_find_tensor(m, name);
  if (!t) fail_msg("no tensor %s", name);
  assert_string_equal(t->name, name);
  assert_int_equal(t->rows, rows);
  assert_int_equal(t->cols, cols);
  assert_int_equal(t->layer, layer);
  assert_int_equal(t->is_head, is_head);
  assert_int_equal(t->is_transposed_in_file, is_transposed);
}

static void names_are_hugging_faces(void **state) {
  (void)state;
  fc_model *m = new_model(full_shape("gpt2"));
  expect_tensor(m, "transformer.wte.weight", 17, 8, -1, false, false);
  expect_tensor(m, "transformer.wpe.weight", 9, 8, -1, false, false);
  expect_tensor(m, "transformer.h.0.attn.c_attn.weight", 24, 8, 0, false, true);
  expect_tensor(m, "transformer.h.1.attn.c_attn.bias", 1, 24, 1, false, false);
  expect_tensor(m, "transformer.h.1.mlp.c_proj.weight", 8, 12, 1, false, true);
  expect_tensor(m, "transformer.ln_f.bias", 1, 8, -1, false, false);
  expect_tensor(m, "score.weight", 3, 8, -1, true, false);
  assert_null(fc_model_find_tensor(m, "score.bias"));
  fc_model_destroy(&m);
  m = new_model(full_shape("bert"));
  expect_tensor(m, "bert.embeddings.token_type_embeddings.weight", 2, 8, -1, false, false);
  expect_tensor(m, "bert.encoder.layer.0.attention.self.query.weight", 8, 8, 0, false, false);
  expect_tensor(m, "bert.encoder.layer.1.intermediate.dense.weight", 12, 8, 1, false, false);
  expect_tensor(m, "bert.pooler.dense.bias", 1, 8, -1, true, false);
  expect_tensor(m, "classifier.weight", 3, 8, -1, true, false);
  expect_tensor(m, "cls.predictions.transform.LayerNorm.weight", 1, 8, -1, false, false);
  expect_tensor(m, "cls.predictions.bias", 1, 17, -1, false, false);
  fc_model_destroy(&m);
  m = new_model(full_shape("llama"));
  expect_tensor(m, "model.embed_tokens.weight", 17, 8, -1, false, false);
  expect_tensor(m, "model.layers.0.input_layernorm.weight", 1, 8, 0, false, false);
  expect_tensor(m, "model.layers.0.self_attn.q_proj.weight", 8, 8, 0, false, false);
  expect_tensor(m, "model.layers.1.self_attn.k_proj.weight", 4, 8, 1, false, false);
  expect_tensor(m, "model.layers.1.self_attn.o_proj.weight", 8, 8, 1, false, false);
  expect_tensor(m, "model.layers.1.mlp.gate_proj.weight", 12, 8, 1, false, false);
  expect_tensor(m, "model.layers.1.mlp.down_proj.weight", 8, 12, 1, false, false);
  expect_tensor(m, "model.norm.weight", 1, 8, -1, false, false);
  expect_tensor(m, "lm_head.weight", 17, 8, -1, false, false);
  expect_tensor(m, "score.weight", 3, 8, -1, true, false);
  assert_null(fc_model_find_tensor(m, "model.layers.0.self_attn.q_proj.bias"));
  fc_model_destroy(&m);
  fc_model_shape tied = full_shape("llama");
  tied.untied_head = false;
  m = new_model(tied);
  assert_null(fc_model_find_tensor(m, "lm_head.weight"));
  fc_model_destroy(&m);
  m = new_model(full_shape("roberta"));
  expect_tensor(m, "roberta.embeddings.token_type_embeddings.weight", 1, 8, -1, false, false);
  expect_tensor(m, "classifier.dense.weight", 8, 8, -1, true, false);
  expect_tensor(m, "classifier.out_proj.bias", 1, 3, -1, true, false);
  expect_tensor(m, "lm_head.layer_norm.weight", 1, 8, -1, false, false);
  expect_tensor(m, "lm_head.bias", 1, 17, -1, false, false);
  fc_model_destroy(&m);
}

static void names_may_lack_the_prefix(void **state) {
  (void)state;
  fc_model *m = new_model(full_shape("bert"));
  const fc_tensor *t = fc_model_find_tensor(m, "encoder.layer.1.output.LayerNorm.bias");
  assert_non_null(t);
  assert_string_equal(t->name, "bert.encoder.layer.1.output.LayerNorm.bias");
  assert_null(fc_model_find_tensor(m, "encoder.layer.2.output.LayerNorm.bias"));
  assert_null(fc_model_find_tensor(m, "output.LayerNorm.bias"));
  fc_model_destroy(&m);
}

static void the_blob_has_no_gaps_and_qkv_is_one_matrix(void **state) {
  (void)state;
  for (int f = 0; f < N_FAMILIES; f++) {
    fc_model *m = new_model(full_shape(all_families[f]));
    size_t n = 0, offset = 0;
    const fc_tensor *t = fc_model_tensors(m, &n);
    for (size_t i = 0; i < n; i++) {
      assert_int_equal(t[i].offset, offset);
      offset += (size_t)(t[i].rows * t[i].cols);
      if (strstr(t[i].name, "q_proj.")) {
        assert_non_null(strstr(t[i + 1].name, "k_proj."));
        assert_non_null(strstr(t[i + 2].name, "v_proj."));
      }
      if (strstr(t[i].name, "gate_proj.")) assert_non_null(strstr(t[i + 1].name, "up_proj."));
      if (!strstr(t[i].name, "self.query.")) continue;
      assert_non_null(strstr(t[i + 1].name, "self.key."));
      assert_non_null(strstr(t[i + 2].name, "self.value."));
    }
    assert_int_equal(fc_model_weight_count(m), offset);
    fc_model_destroy(&m);
  }
}

static double deviation(const fc_model *m, const float *w, const char *name) {
  const fc_tensor *t = fc_model_find_tensor(m, name);
  int64_t n = t->rows * t->cols;
  return sqrt(fc_k_sum_squares(w + t->offset, n) / (double)n);
}

static void initial_values_follow_the_family(void **state) {
  (void)state;
  fc_model_shape shape = full_shape("gpt2");
  shape.width = 64;
  shape.ffn = 256;
  fc_model *m = new_model(shape);
  float *w = new_floats(fc_model_weight_count(m));
  fc_model_init_weights(m, 7, false, w);
  /* 4096 and more draws: the deviation is known to about 1.1 % */
  assert_true(fabs(deviation(m, w, "h.0.attn.c_attn.weight") / 0.02 - 1.0) < 0.05);
  assert_true(fabs(deviation(m, w, "h.1.attn.c_proj.weight") / 0.01 - 1.0) < 0.06); /* /sqrt(4) */
  assert_true(fabs(deviation(m, w, "h.1.mlp.c_proj.weight") / 0.01 - 1.0) < 0.05);
  assert_true(deviation(m, w, "h.0.ln_1.weight") == 1.0);
  assert_true(deviation(m, w, "h.0.ln_1.bias") == 0.0);
  assert_true(deviation(m, w, "h.0.mlp.c_fc.bias") == 0.0);
  float *heads = new_floats(fc_model_weight_count(m));
  fc_model_init_weights(m, 7, true, heads);
  size_t n = 0;
  const fc_tensor *t = fc_model_tensors(m, &n);
  for (size_t i = 0; i < n; i++) {
    const float *want = t[i].is_head ? w + t[i].offset : NULL;
    for (int64_t k = 0; k < t[i].rows * t[i].cols; k++)
      assert_true(heads[t[i].offset + (size_t)k] == (want ? want[k] : 0.0F));
  }
  fc_free(w);
  fc_free(heads);
  fc_model_destroy(&m);
}

static void defaults_come_from_the_family(void **state) {
  (void)state;
  fc_model_shape s = small_shape("bert");
  s.ffn = 0;
  OK(fc_model_shape_check(&s));
  assert_int_equal(s.types, 2);
  assert_int_equal(s.ffn, 32);
  assert_int_equal(s.kv_heads, 2);
  assert_true(s.norm_eps == 1e-12F);
  s = small_shape("roberta");
  OK(fc_model_shape_check(&s));
  assert_int_equal(s.types, 1);
  assert_true(s.norm_eps == 1e-5F);
  s = small_shape("llama");
  OK(fc_model_shape_check(&s));
  assert_true(s.norm_eps == 1e-6F);
  assert_true(s.rope_theta == 10000.0F);
  assert_string_equal(fc_arch_name(0), "gpt2");
  assert_null(fc_arch_name(N_FAMILIES));
  assert_null(fc_arch_meaning(N_FAMILIES));
  assert_null(fc_arch_find("llamb"));
}

static void refuses_impossible_shapes(void **state) {
  (void)state;
  fc_model *m = NULL;
#define REFUSES(family, field, value, message)                                                     \
  do {                                                                                             \
    fc_model_shape s = small_shape(family);                                                        \
    s.field = value;                                                                               \
    FAILS(fc_model_create(&s, &m), SHAPE, message);                                                \
    assert_null(m);                                                                                \
  } while (0)
  REFUSES("bert", arch, NULL, "the model's shape names no family");
  REFUSES("bert", layers, 0, "model layers is 0, allowed is 1 to 1024");
  REFUSES("bert", width, -8, "model width is -8, allowed is 1 to 1048576");
  REFUSES("bert", heads, 0, "model heads is 0, allowed is 1 to 8");
  REFUSES("bert", heads, 3, "model width 8 is not a multiple of its 3 heads");
  REFUSES("bert", kv_heads, 3, "model kv_heads is 3, allowed is 1 to 2");
  REFUSES("bert", kv_heads, 1, "model kv_heads is 1, but bert has no grouped heads: allowed is 2");
  REFUSES("bert", vocab, 0, "model vocab is 0, allowed is 1 to 134217728");
  REFUSES("roberta", positions, 2, "model positions is 2, allowed is 3 to 134217728");
  REFUSES("bert", untied_head, true, "the head of bert is tied to its token table");
  REFUSES("llama", heads, 8,
          "model width 8 in 8 heads is 1 a head: rotary positions need an even number");
  REFUSES("llama", rope_theta, NAN, "model rope_theta is nan, allowed is 1 or more");
  REFUSES("llama", rope_scaling.factor, 0.5F,
          "model rope_scaling factor is 0.5, allowed is 1 or more");
  REFUSES("llama", rope_scaling.factor, 8.0F,
          "model rope_scaling has low_freq_factor 0 and high_freq_factor 0: needed is 0 < low < "
          "high");
  REFUSES("llama", rope_scaling, ((fc_rope_scaling){8.0F, 1.0F, 4.0F, 0}),
          "model rope_scaling original_max_position_embeddings is 0, allowed is 1 to 134217728");
  REFUSES("gpt2", types, 2, "model types is 2, allowed is 0 to 0");
  REFUSES("gpt2", labels, -1, "model labels is -1, allowed is 0 to 1048576");
  REFUSES("gpt2", norm_eps, -1.0F, "model norm_eps is -1, allowed is above 0");
  REFUSES("gpt2", norm_eps, NAN, "model norm_eps is nan, allowed is above 0");
#undef REFUSES
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sizes_are_the_published_ones),
      cmocka_unit_test(names_are_hugging_faces),
      cmocka_unit_test(names_may_lack_the_prefix),
      cmocka_unit_test(the_blob_has_no_gaps_and_qkv_is_one_matrix),
      cmocka_unit_test(initial_values_follow_the_family),
      cmocka_unit_test(defaults_come_from_the_family),
      cmocka_unit_test(refuses_impossible_shapes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
