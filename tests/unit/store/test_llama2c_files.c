/* test_llama2c_files.c - model files of llama2.c: where each weight goes, and malformed files. */
#include "store_test.h"

#include "fedcell/fc_mem.h"
#include "fedcell/fc_weights.h"
#include "llama2c.h"
#include <math.h>

/* dim 8, hidden_dim 6, 2 layers, 2 heads of 4, 1 key and value head, vocabulary 5, 3 positions */
enum { C = 8, F = 6, L = 2, KV = 4, V = 5, T = 3, HEAD = 4 };
enum { FLOATS = V * C + L * (2 * C + 2 * C * C + 2 * C * KV + 3 * C * F) + C + T * HEAD + V * C };

typedef struct {
  int32_t header[7];
  float weights[FLOATS]; /* each its own number */
} file;

static file small_file(bool untied) {
  file f = {{C, F, L, 2, 1, untied ? -V : V, T}, {0}};
  for (int i = 0; i < FLOATS; i++) f.weights[i] = (float)i;
  return f;
}

static size_t size_of(bool untied) {
  return sizeof(file) - (untied ? 0 : V * C * sizeof(float));
}

static const float *find(const fc_model *m, const float *weights, const char *name) {
  const fc_tensor *t = fc_model_find_tensor(m, name);
  assert_non_null(t);
  return weights + t->offset;
}

static void every_weight_has_its_place(void **state) {
  (void)state;
  for (int untied = 0; untied < 2; untied++) {
    file f = small_file(untied);
    const char *path = scratch_path("m.bin");
    write_bytes(path, &f, size_of(untied));
    fc_model_shape s;
    assert_ok(fc_weights_read_shape(path, 0, &s));
    assert_int_equal(s.untied_head, untied);
    assert_int_equal(s.kv_heads, 1);
    assert_int_equal(s.positions, T);
    assert_true(s.norm_eps == 1e-5F);
    fc_model *m = NULL;
    float *w = NULL;
    assert_ok(fc_model_create(&s, &m));
    assert_ok(fc_alloc(fc_model_weight_count(m), sizeof *w, &w));
    assert_ok(fc_weights_read(m, path, 1, w));
    int at = V * C; /* in the file, in its order */
    assert_true(find(m, w, "embed_tokens.weight")[9] == 9.0F);
    assert_true(find(m, w, "layers.1.input_layernorm.weight")[3] == (float)(at + C + 3));
    at += L * C;
    /* rows of a head in the file 0 1 2 3 are ours 0 2 1 3; the second layer's second head */
    const float *q = find(m, w, "layers.1.self_attn.q_proj.weight");
    static const int from[4] = {0, 2, 1, 3};
    for (int row = 0; row < 4; row++)
      assert_true(q[(4 + row) * C + 2] == (float)(at + C * C + (4 + from[row]) * C + 2));
    at += L * C * C;
    const float *k = find(m, w, "layers.0.self_attn.k_proj.weight");
    for (int row = 0; row < 4; row++) assert_true(k[row * C] == (float)(at + from[row] * C));
    at += L * KV * C;
    assert_true(find(m, w, "layers.0.self_attn.v_proj.weight")[C] == (float)(at + C));
    at += L * KV * C;
    assert_true(find(m, w, "layers.0.self_attn.o_proj.weight")[1] == (float)(at + 1));
    at += L * C * C;
    assert_true(find(m, w, "layers.1.post_attention_layernorm.weight")[0] == (float)(at + C));
    at += L * C;
    assert_true(find(m, w, "layers.1.mlp.gate_proj.weight")[0] == (float)(at + F * C));
    at += L * F * C;
    assert_true(find(m, w, "layers.0.mlp.down_proj.weight")[5] == (float)(at + 5));
    at += L * F * C;
    assert_true(find(m, w, "layers.0.mlp.up_proj.weight")[5] == (float)(at + 5));
    at += L * F * C;
    assert_true(find(m, w, "model.norm.weight")[7] == (float)(at + 7));
    at += C + T * HEAD;
    if (untied) assert_true(find(m, w, "lm_head.weight")[39] == (float)(FLOATS - 1));
    fc_free(w);
    fc_model_destroy(&m);
  }
}

static void malformed(void **state) {
  (void)state;
  fc_model_shape s;
  file f = small_file(false);
#define REFUSES(size, message)                                                                     \
  assert_fails(fc_llama2c_parse_shape("m.bin", &f, size, 0, &s), FC_ERR_DATA, message)
  REFUSES(27, "m.bin: 27 bytes are no model of llama2.c, whose header alone has 28");
  REFUSES(100, "m.bin: the file has 100 bytes, its header asks for 3084");
  REFUSES(size_of(true), "m.bin: the file has 3244 bytes, its header asks for 3084");
  f.header[0] = -1;
  REFUSES(size_of(false), "m.bin: model width is -1, allowed is 1 to 1048576");
  f = small_file(false);
  f.header[4] = 0;
  REFUSES(size_of(false),
          "m.bin: the header has 0 key and value heads, hidden_dim 6, vocab_size 5");
#undef REFUSES
  f = small_file(false);
  f.weights[V * C + 1] = NAN;
  assert_ok(fc_llama2c_parse_shape("m.bin", &f, size_of(false), 0, &s));
  fc_model *m = NULL;
  float *w = NULL;
  assert_ok(fc_model_create(&s, &m));
  assert_ok(fc_alloc(fc_model_weight_count(m), sizeof *w, &w));
  assert_fails(fc_llama2c_parse_weights(m, "m.bin", &f, w), FC_ERR_NUMERIC,
               "m.bin: tensor model.layers.0.input_layernorm.weight, element 1 is nan");
  fc_model *other = NULL;
  s.positions = 4;
  assert_ok(fc_model_create(&s, &other));
  f = small_file(false);
  write_bytes(scratch_path("m.bin"), &f, size_of(false));
  assert_fails(fc_weights_read(other, scratch_path("m.bin"), 1, w), FC_ERR_SHAPE,
               "%s/m.bin: the model has another shape than the file");
  fc_free(w);
  fc_model_destroy(&m);
  fc_model_destroy(&other);
}

/* A classifier takes the trunk; its own head is drawn. */
static void classifier(void **state) {
  (void)state;
  fc_model_shape s;
  file f = small_file(true);
  write_bytes(scratch_path("m.bin"), &f, size_of(true));
  assert_ok(fc_weights_read_shape(scratch_path("m.bin"), 2, &s));
  assert_false(s.untied_head);
  fc_model *m = NULL;
  float *w = NULL;
  assert_ok(fc_model_create(&s, &m));
  assert_ok(fc_alloc(fc_model_weight_count(m), sizeof *w, &w));
  assert_ok(fc_weights_read(m, scratch_path("m.bin"), 1, w));
  const float *score = find(m, w, "score.weight");
  assert_true(score[0] != 0.0F && score[0] != score[1]);
  fc_free(w);
  fc_model_destroy(&m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_weight_has_its_place),
      cmocka_unit_test(malformed),
      cmocka_unit_test(classifier),
  };
  return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
