/* test_weights_folder.c - model folders of the three families: written, read back, read under the
 * names that other programs give, and refused with the tensor's name when something is wrong. */
#include "store_test.h"

#include "fedcell/fc_mem.h"
#include "fedcell/fc_safetensors.h"
#include "fedcell/fc_weights.h"
#include <math.h>

static fc_model_shape shape_of(const char *family) {
  fc_model_shape shape = {.arch = fc_arch_find(family),
                          .layers = 2,
                          .width = 12,
                          .heads = 3,
                          .ffn = 20,
                          .vocab = 33,
                          .positions = 18,
                          .labels = 3,
                          .pool = FC_POOL_MEAN};
  assert_non_null(shape.arch);
  shape.lm_head = !fc_arch_is_causal(shape.arch);
  assert_ok(fc_model_shape_check(&shape));
  return shape;
}

/* A model with every weight different from its neighbours. */
static fc_model *make_model(const fc_model_shape *shape, float **weights) {
  fc_model *model = NULL;
  assert_ok(fc_model_create(shape, &model));
  assert_ok(fc_alloc(fc_model_weight_count(model), sizeof **weights, weights));
  for (size_t i = 0; i < fc_model_weight_count(model); i++)
    (*weights)[i] = (float)i * 0.5F - 100.0F;
  return model;
}

static void assert_reads(const fc_model *model, const float *weights, const char *folder) {
  size_t n = fc_model_weight_count(model);
  float *back = NULL;
  assert_ok(fc_alloc(n, sizeof *back, &back));
  assert_ok(fc_weights_read(model, folder, 1, back));
  for (size_t i = 0; i < n; i++)
    if (!(back[i] == weights[i]))
      fail_msg("weight %zu: %g, expected %g", i, (double)back[i], (double)weights[i]);
  fc_free(back);
}

static const char *const FAMILIES[] = {"gpt2", "bert", "roberta"};

static void every_family_comes_back(void **state) {
  (void)state;
  for (size_t f = 0; f < 3; f++) {
    fc_model_shape shape = shape_of(FAMILIES[f]), back;
    float *weights = NULL;
    fc_model *model = make_model(&shape, &weights);
    mkdir(scratch_path(FAMILIES[f]), 0755);
    assert_ok(fc_weights_write(model, weights, scratch_path(FAMILIES[f])));
    assert_ok(fc_weights_read_shape(scratch_path(FAMILIES[f]), -1, &back));
    back.lm_head = shape.lm_head; /* one name of "architectures" cannot tell of both heads */
    assert_memory_equal(&back, &shape, sizeof shape);
    assert_reads(model, weights, scratch_path(FAMILIES[f]));
    fc_model_destroy(&model);
    fc_free(weights);
  }
}

static void heads_by_request(void **state) {
  (void)state;
  fc_model_shape shape = shape_of("bert"), back;
  float *weights = NULL;
  shape.labels = 0;
  fc_model *model = make_model(&shape, &weights);
  mkdir(scratch_path("heads"), 0755);
  assert_ok(fc_weights_write(model, weights, scratch_path("heads")));
  assert_ok(fc_weights_read_shape(scratch_path("heads"), -1, &back));
  assert_true(back.lm_head && back.labels == 0);
  assert_ok(fc_weights_read_shape(scratch_path("heads"), 0, &back));
  assert_true(back.lm_head && back.labels == 0);
  assert_ok(fc_weights_read_shape(scratch_path("heads"), 4, &back));
  assert_true(!back.lm_head && back.labels == 4);
  fc_model_destroy(&model);
  fc_free(weights);
}

/* ---- files of other programs ------------------------------------------------------------------
 */

typedef struct {
  fc_safetensor_source sources[128];
  char names[128][160];
  float *data[128];
  size_t n;
} contents;

/* The written tensors of a folder, to be changed and written again. */
static contents *load_contents(const char *folder) {
  contents *c = calloc(1, sizeof *c);
  fc_safetensors *file = NULL;
  assert_ok(fc_safetensors_open(folder, &file));
  c->n = fc_safetensors_count(file);
  assert_in_range(c->n, 1, 120);
  for (size_t i = 0; i < c->n; i++) {
    const fc_safetensor *t = fc_safetensors_get(file, i);
    snprintf(c->names[i], sizeof c->names[i], "%s", t->name);
    c->data[i] = malloc((size_t)fc_safetensor_elements(t) * sizeof(float));
    assert_ok(fc_safetensor_read_f32(t, c->data[i]));
    c->sources[i] = (fc_safetensor_source){c->names[i], t->dims, {0}, c->data[i]};
    memcpy(c->sources[i].shape, t->shape, sizeof t->shape);
  }
  fc_safetensors_close(&file);
  return c;
}

static void save_contents(contents *c, const char *folder) {
  char path[600];
  snprintf(path, sizeof path, "%s/model.safetensors", folder);
  assert_ok(fc_safetensors_write(path, c->sources, c->n, NULL));
}

static void free_contents(contents *c) {
  for (size_t i = 0; i < c->n; i++) free(c->data[i]);
  free(c);
}

static size_t index_of(const contents *c, const char *name) {
  for (size_t i = 0; i < c->n; i++)
    if (strcmp(c->names[i], name) == 0) return i;
  fail_msg("no tensor %s", name);
  return 0;
}

static void rename_all(contents *c, const char *from, const char *to) {
  int found = 0;
  for (size_t i = 0; i < c->n; i++) {
    char *at = strstr(c->names[i], from), rest[160];
    if (!at) continue;
    snprintf(rest, sizeof rest, "%s", at + strlen(from));
    snprintf(at, sizeof c->names[i] - (size_t)(at - c->names[i]), "%s%s", to, rest);
    found = 1;
  }
  assert_true(found);
}

/* A copy of tensor `i` under another name. */
static void add_copy(contents *c, size_t i, const char *name) {
  size_t n = 1;
  for (int d = 0; d < c->sources[i].dims; d++) n *= (size_t)c->sources[i].shape[d];
  c->data[c->n] = malloc(n * sizeof(float));
  memcpy(c->data[c->n], c->data[i], n * sizeof(float));
  snprintf(c->names[c->n], sizeof c->names[c->n], "%s", name);
  c->sources[c->n] = c->sources[i];
  c->sources[c->n].name = c->names[c->n];
  c->sources[c->n].data = c->data[c->n];
  c->n++;
}

typedef struct {
  fc_model *model;
  float *weights;
  contents *c;
  char folder[300];
} fixture;

static fixture open_fixture(const char *family) {
  fixture x = {0};
  fc_model_shape shape = shape_of(family);
  x.model = make_model(&shape, &x.weights);
  snprintf(x.folder, sizeof x.folder, "%s/case", scratch);
  mkdir(x.folder, 0755);
  assert_ok(fc_weights_write(x.model, x.weights, x.folder));
  x.c = load_contents(x.folder);
  return x;
}

static void close_fixture(fixture *x) {
  fc_model_destroy(&x->model);
  fc_free(x->weights);
  free_contents(x->c);
}

static void names_without_prefix(void **state) {
  (void)state;
  for (size_t f = 0; f < 3; f++) {
    fixture x = open_fixture(FAMILIES[f]);
    rename_all(x.c, f == 0 ? "transformer." : f == 1 ? "bert." : "roberta.", "");
    save_contents(x.c, x.folder);
    assert_reads(x.model, x.weights, x.folder);
    close_fixture(&x);
  }
}

static void older_names(void **state) {
  (void)state;
  fixture x = open_fixture("bert");
  rename_all(x.c, "LayerNorm.weight", "LayerNorm.gamma");
  rename_all(x.c, "LayerNorm.bias", "LayerNorm.beta");
  rename_all(x.c, "cls.predictions.bias", "cls.predictions.decoder.bias");
  save_contents(x.c, x.folder);
  assert_reads(x.model, x.weights, x.folder);
  close_fixture(&x);
}

static void buffers_and_tied_weights(void **state) {
  (void)state;
  fixture x = open_fixture("gpt2");
  add_copy(x.c, index_of(x.c, "transformer.wte.weight"), "lm_head.weight");
  add_copy(x.c, index_of(x.c, "transformer.wpe.weight"), "transformer.h.0.attn.bias");
  add_copy(x.c, index_of(x.c, "transformer.wpe.weight"), "transformer.h.0.attn.masked_bias");
  save_contents(x.c, x.folder);
  assert_reads(x.model, x.weights, x.folder);
  x.c->data[index_of(x.c, "lm_head.weight")][5] += 1.0F;
  save_contents(x.c, x.folder);
  assert_ok(fc_weights_read(x.model, x.folder, 1, x.weights)); /* a classifier: no matter */
  fc_model_shape shape = shape_of("gpt2");
  shape.labels = 0;
  fc_model_destroy(&x.model);
  assert_ok(fc_model_create(&shape, &x.model));
  assert_fails(fc_weights_read(x.model, x.folder, 1, x.weights), FC_ERR_DATA,
               "%s/case: lm_head.weight differs from transformer.wte.weight: output weights that "
               "are not tied to the embedding are not supported");
  close_fixture(&x);
}

static void both_names_of_the_lm_bias(void **state) {
  (void)state;
  fixture x = open_fixture("roberta");
  size_t i = index_of(x.c, "lm_head.bias");
  add_copy(x.c, i, "lm_head.decoder.bias");
  x.c->data[x.c->n - 1][0] += 1.0F; /* the proper name goes first */
  save_contents(x.c, x.folder);
  assert_reads(x.model, x.weights, x.folder);
  close_fixture(&x);
}

/* Renames one tensor away; the model's own name stays missing. */
static void lose(contents *c, const char *name) {
  size_t i = index_of(c, name);
  snprintf(c->names[i], sizeof c->names[i], "unrelated");
}

static void a_missing_head_is_made_anew(void **state) {
  (void)state;
  fixture x = open_fixture("bert");
  size_t n = fc_model_weight_count(x.model);
  lose(x.c, "classifier.weight");
  save_contents(x.c, x.folder);
  float *one = NULL, *two = NULL, *other = NULL;
  assert_ok(fc_alloc(n, sizeof *one, &one));
  assert_ok(fc_alloc(n, sizeof *two, &two));
  assert_ok(fc_alloc(n, sizeof *other, &other));
  assert_ok(fc_weights_read(x.model, x.folder, 7, one));
  assert_ok(fc_weights_read(x.model, x.folder, 7, two));
  assert_ok(fc_weights_read(x.model, x.folder, 8, other));
  assert_memory_equal(one, two, n * sizeof *one);
  const fc_tensor *head = fc_model_find_tensor(x.model, "classifier.weight");
  size_t size = (size_t)(head->rows * head->cols);
  for (size_t i = 0; i < n; i++) {
    int in_head = i >= head->offset && i < head->offset + size;
    if (in_head)
      assert_true(fabsf(one[i]) < 0.2F && one[i] != other[i]);
    else
      assert_true(one[i] == x.weights[i]);
  }
  fc_free(one);
  fc_free(two);
  fc_free(other);
  close_fixture(&x);
}

static void what_is_wrong_is_named(void **state) {
  (void)state;
  fixture x = open_fixture("gpt2");
  size_t i = index_of(x.c, "transformer.h.1.attn.c_attn.weight");
  lose(x.c, "transformer.ln_f.bias");
  save_contents(x.c, x.folder);
  assert_fails(fc_weights_read(x.model, x.folder, 1, x.weights), FC_ERR_SHAPE,
               "%s/case: tensor transformer.ln_f.bias (1 x 12) is missing");
  rename_all(x.c, "unrelated", "transformer.ln_f.bias");
  /* as a linear layer would store it */
  x.c->sources[i].shape[0] = 36;
  x.c->sources[i].shape[1] = 12;
  save_contents(x.c, x.folder);
  assert_fails(fc_weights_read(x.model, x.folder, 1, x.weights), FC_ERR_SHAPE,
               "%s/case: tensor transformer.h.1.attn.c_attn.weight is [36, 12], the model needs "
               "[12, 36]");
  x.c->sources[i].shape[0] = 12;
  x.c->sources[i].shape[1] = 36;
  x.c->data[i][17] = NAN;
  save_contents(x.c, x.folder);
  fc_err err = fc_weights_read(x.model, x.folder, 1, x.weights);
  assert_int_equal(err, FC_ERR_NUMERIC);
  assert_non_null(strstr(fc_err_message(), "tensor transformer.h.1.attn.c_attn.weight, element "));
  x.weights[3] = INFINITY;
  err = fc_weights_write(x.model, x.weights, x.folder);
  assert_int_equal(err, FC_ERR_NUMERIC);
  close_fixture(&x);
}

static void a_missing_lm_head_matters_where_wanted(void **state) {
  (void)state;
  fixture x = open_fixture("bert");
  lose(x.c, "cls.predictions.bias");
  save_contents(x.c, x.folder);
  assert_fails(fc_weights_read(x.model, x.folder, 1, x.weights), FC_ERR_SHAPE,
               "%s/case: tensor cls.predictions.bias (1 x 33) is missing");
  fc_model_shape shape = shape_of("bert");
  shape.lm_head = false;
  fc_model *model = NULL;
  assert_ok(fc_model_create(&shape, &model));
  assert_ok(fc_weights_read(model, x.folder, 1, x.weights));
  fc_model_destroy(&model);
  close_fixture(&x);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_family_comes_back),
      cmocka_unit_test(heads_by_request),
      cmocka_unit_test(names_without_prefix),
      cmocka_unit_test(older_names),
      cmocka_unit_test(buffers_and_tied_weights),
      cmocka_unit_test(both_names_of_the_lm_bias),
      cmocka_unit_test(a_missing_head_is_made_anew),
      cmocka_unit_test(what_is_wrong_is_named),
      cmocka_unit_test(a_missing_lm_head_matters_where_wanted),
  };
  return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
