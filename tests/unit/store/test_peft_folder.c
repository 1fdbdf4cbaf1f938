/* test_peft_folder.c - adapters' folders: written and read back, names, and what is refused with
 * which message. That PEFT itself opens them is tested beside PEFT (tests/oracle). */
#include "store_test.h"

#include "fedcell/fc_mem.h"
#include "fedcell/fc_peft.h"
#include "fedcell/fc_safetensors.h"
#include <jansson.h>
#include <math.h>
#include <stdbool.h>

typedef struct {
  fc_model *model;
  fc_trainable *trainable;
  float *weights, *theta;
} setup;

/* Of blocks [first, next) and what follows; 0, 0: of all. */
static setup open_limited(const char *family, const char *target, const char *saved, int rank,
                          int first, int next) {
  setup s = {0};
  fc_model_shape shape = {.arch = fc_arch_find(family),
                          .layers = 2,
                          .width = 8,
                          .heads = 2,
                          .ffn = 12,
                          .vocab = 17,
                          .positions = 10,
                          .labels = 3};
  const fc_trainable_spec spec = {.targets = &target,
                                  .n_targets = target != NULL,
                                  .saved = &saved,
                                  .n_saved = saved != NULL,
                                  .first_block = first,
                                  .next_block = next,
                                  .lora_rank = rank,
                                  .alpha = 5,
                                  .dropout = 0.1F};
  assert_ok(fc_model_create(&shape, &s.model));
  assert_ok(fc_alloc(fc_model_weight_count(s.model), sizeof *s.weights, &s.weights));
  for (size_t i = 0; i < fc_model_weight_count(s.model); i++) s.weights[i] = (float)i * 0.25F;
  fc_model_set_weights(s.model, s.weights);
  assert_ok(fc_trainable_create(s.model, &spec, &s.trainable));
  assert_ok(fc_alloc(fc_trainable_count(s.trainable), sizeof *s.theta, &s.theta));
  for (size_t i = 0; i < fc_trainable_count(s.trainable); i++) s.theta[i] = -1.0F - (float)i;
  return s;
}

static setup open_setup(const char *family, const char *target, const char *saved, int rank) {
  return open_limited(family, target, saved, rank, 0, 0);
}

static void close_setup(setup *s) {
  fc_trainable_destroy(&s->trainable);
  fc_model_destroy(&s->model);
  fc_free(s->weights);
  fc_free(s->theta);
}

static fc_err write_setup(const setup *s, fc_loss_kind kind, const char *folder) {
  mkdir(scratch_path(folder), 0755);
  return fc_peft_write(s->model, s->trainable, s->theta, kind, "the/base", scratch_path(folder));
}

/* theta, initial values first. */
static fc_err read_setup(const setup *s, const char *folder) {
  float *theta = NULL;
  size_t n = fc_trainable_count(s->trainable);
  assert_ok(fc_alloc(n, sizeof *theta, &theta));
  fc_trainable_init(s->trainable, 1, theta);
  fc_err err = fc_peft_read(s->model, s->trainable, scratch_path(folder), theta);
  if (err == FC_ERR_OK) assert_memory_equal(theta, s->theta, n * sizeof *theta);
  fc_free(theta);
  return err;
}

static json_t *load_config(const char *folder) {
  char name[256];
  snprintf(name, sizeof name, "%s/adapter_config.json", folder);
  json_t *config = json_load_file(scratch_path(name), 0, NULL);
  assert_non_null(config);
  return config;
}

static void save_config(const char *folder, json_t *config) {
  char name[256];
  snprintf(name, sizeof name, "%s/adapter_config.json", folder);
  assert_int_equal(json_dump_file(config, scratch_path(name), 0), 0);
  json_decref(config);
}

static void comes_back(void **state) {
  (void)state;
  const struct {
    const char *family, *target, *saved;
    fc_loss_kind kind;
  } cases[] = {{"gpt2", "c_attn", "head", FC_LOSS_CLASSIFY},
               {"gpt2", "all-linear", "wte", FC_LOSS_CAUSAL_LM},
               {"gpt2", "c_attn", "h.1.mlp", FC_LOSS_CAUSAL_LM},
               {"bert", "query", "embeddings", FC_LOSS_CLASSIFY},
               {"roberta", "all-linear", "head", FC_LOSS_CLASSIFY},
               {"llama", "q_proj", "head", FC_LOSS_CLASSIFY}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    setup s = open_setup(cases[i].family, cases[i].target, cases[i].saved, 2);
    assert_ok(write_setup(&s, cases[i].kind, "back"));
    assert_ok(read_setup(&s, "back"));
    close_setup(&s);
  }
}

static void assert_config_of(setup s, const char *expected) {
  assert_ok(write_setup(&s, FC_LOSS_CLASSIFY, "config"));
  json_t *config = load_config("config"), *wanted = json_loads(expected, 0, NULL), *value;
  const char *key;
  assert_non_null(wanted);
  json_object_foreach(wanted, key, value) {
    if (!json_equal(json_object_get(config, key), value))
      fail_msg("%s: %s", key, json_dumps(json_object_get(config, key), JSON_ENCODE_ANY));
  }
  json_decref(config);
  json_decref(wanted);
  close_setup(&s);
}

static void assert_config(const char *family, const char *target, const char *saved,
                          const char *expected) {
  assert_config_of(open_setup(family, target, saved, 2), expected);
}

/* Target names are as short as can be without meaning a layer that has no adapter. */
static void configuration(void **state) {
  (void)state;
  assert_config("bert", "all-linear", "head",
                "{\"r\": 2, \"lora_alpha\": 5, \"lora_dropout\": 0.1, \"bias\": \"none\","
                "\"fan_in_fan_out\": false, \"task_type\": \"SEQ_CLS\", \"peft_type\": \"LORA\","
                "\"base_model_name_or_path\": \"the/base\", \"target_modules\": [\"query\", "
                "\"key\", \"value\", \"output.dense\", \"intermediate.dense\"],"
                "\"layers_to_transform\": null, \"layers_pattern\": null,"
                "\"modules_to_save\": [\"bert.pooler.dense\", \"classifier\"]}");
  assert_config("gpt2", "h.1.attn.c_proj", "head",
                "{\"fan_in_fan_out\": true, \"target_modules\": [\"attn.c_proj\"],"
                "\"layers_to_transform\": [1], \"layers_pattern\": \"h\","
                "\"modules_to_save\": [\"score\"]}");
  assert_config("roberta", "key", "classifier.out_proj",
                "{\"target_modules\": [\"key\"], \"modules_to_save\": [\"classifier\"]}");
}

/* Blocks with the same adapters are listed; what lies behind them goes by its whole name, as PEFT
 * finds nothing else outside of the listed blocks. */
static void configuration_of_the_last_blocks(void **state) {
  (void)state;
  assert_config_of(open_limited("bert", "dense", "classifier", 2, 1, 2),
                   "{\"target_modules\": [\"dense\", \"bert.pooler.dense\"],"
                   "\"layers_to_transform\": [1], \"layers_pattern\": \"layer\"}");
  assert_config_of(open_limited("bert", "attention.output.dense", "head", 2, 1, 2),
                   "{\"target_modules\": [\"attention.output.dense\"],"
                   "\"layers_to_transform\": [1]}");
  assert_config_of(open_limited("llama", "q_proj", "head", 2, 1, 2),
                   "{\"target_modules\": [\"q_proj\"], \"layers_to_transform\": [1],"
                   "\"layers_pattern\": \"layers\"}");
  assert_config_of(open_limited("gpt2", "c_proj", "head", 2, 0, 2),
                   "{\"target_modules\": [\"c_proj\"], \"layers_to_transform\": null}");
  /* blocks that differ cannot be listed: names with the blocks in them mean the same layers */
  assert_config("bert", "attention.output.dense", "layer.0.attention.output.dense",
                "{\"target_modules\": [\"attention.output.dense\"],"
                "\"layers_to_transform\": [1]}");
  static const char *const unlike[] = {"h.0.attn.c_attn", "h.1.mlp.c_fc"};
  setup s = open_setup("gpt2", "c_attn", "head", 2);
  const fc_trainable_spec spec = {.targets = unlike, .n_targets = 2, .lora_rank = 2, .alpha = 5};
  fc_trainable_destroy(&s.trainable);
  assert_ok(fc_trainable_create(s.model, &spec, &s.trainable));
  assert_config_of(s, "{\"target_modules\": [\"0.attn.c_attn\", \"1.mlp.c_fc\"],"
                      "\"layers_to_transform\": null, \"layers_pattern\": null}");
}

/* The adapter of the last block and that of all blocks are not taken for each other; a list of
 * blocks that is not what the tensors are is noticed. */
static void other_blocks(void **state) {
  (void)state;
  setup last = open_limited("bert", "query", "classifier", 2, 1, 2);
  setup all = open_setup("bert", "query", "classifier", 2);
  assert_ok(write_setup(&last, FC_LOSS_CLASSIFY, "last"));
  assert_ok(write_setup(&all, FC_LOSS_CLASSIFY, "all"));
  assert_ok(read_setup(&last, "last"));
  assert_fails(read_setup(&last, "all"), FC_ERR_DATA,
               "%s/all/adapter_model.safetensors: bert.encoder.layer.0.attention.self.query.weight "
               "has an adapter, but nothing in block 0 has one here: see adapter.targets and "
               "adapter.last_blocks");
  assert_fails(read_setup(&all, "last"), FC_ERR_DATA,
               "%s/last/adapter_config.json: layers_to_transform leaves out block 0, which has an "
               "adapter here: see adapter.targets and adapter.last_blocks");
  const struct {
    json_t *layers;
    fc_err err;
  } cases[] = {{json_integer(1), FC_ERR_OK},
               {json_pack("[i,i]", 0, 1), FC_ERR_OK},
               {json_integer(0), FC_ERR_DATA},
               {json_string("1"), FC_ERR_DATA}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    json_t *config = load_config("last");
    json_object_set_new(config, "layers_to_transform", cases[i].layers);
    save_config("last", config);
    assert_int_equal(read_setup(&last, "last"), cases[i].err);
  }
  assert_string_equal(strrchr(fc_err_message(), ':'),
                      ": see adapter.targets and adapter.last_blocks");
  close_setup(&last);
  close_setup(&all);
}

static void not_expressible(void **state) {
  (void)state;
  setup s = open_setup("bert", NULL, "all", 2);
  assert_fails(write_setup(&s, FC_LOSS_CLASSIFY, "full"), FC_ERR_USAGE,
               "nothing has a low-rank adapter, and PEFT's format needs one");
  assert_int_not_equal(access(scratch_path("full/adapter_config.json"), F_OK), 0);
  close_setup(&s);
  s = open_setup("roberta", "out_proj", NULL, 2);
  assert_fails(write_setup(&s, FC_LOSS_CLASSIFY, "inside"), FC_ERR_USAGE,
               "classifier.out_proj.weight has an adapter inside of a module that is saved whole, "
               "which PEFT cannot express: leave it out of adapter.targets or name the module in "
               "adapter.saved");
  close_setup(&s);
}

/* ---- refused folders -------------------------------------------------------------------------
 */

static void no_folder(void **state) {
  (void)state;
  setup s = open_setup("bert", "query", "classifier", 2);
  assert_fails(read_setup(&s, "nowhere"), FC_ERR_IO,
               "cannot read %s/nowhere/adapter_config.json: is it an adapter's folder?");
  assert_ok(write_setup(&s, FC_LOSS_CLASSIFY, "pickled"));
  assert_int_equal(unlink(scratch_path("pickled/adapter_model.safetensors")), 0);
  write_text(scratch_path("pickled/adapter_model.bin"), "x");
  assert_fails(read_setup(&s, "pickled"), FC_ERR_DATA,
               "%s/pickled: adapter_model.bin is not read; save it again with "
               "safe_serialization=True");
  write_text(scratch_path("pickled/adapter_config.json"), "{\"r\": 2,");
  assert_fails(read_setup(&s, "pickled"), FC_ERR_DATA,
               "%s/pickled/adapter_config.json:1: string or '}' expected near end of file");
  write_text(scratch_path("pickled/adapter_config.json"), "[]");
  assert_fails(read_setup(&s, "pickled"), FC_ERR_DATA,
               "%s/pickled/adapter_config.json is not a JSON object");
  close_setup(&s);
}

static void refused_configuration(void **state) {
  (void)state;
  const struct {
    const char *change, *message;
  } cases[] = {
      {"{\"r\": 4}", "r is 4, but adapter.rank is 2 here"},
      {"{\"r\": \"2\"}", "r is missing or not a number"},
      {"{\"lora_alpha\": 16}", "lora_alpha is 16, but adapter.alpha is 5 here"},
      {"{\"peft_type\": \"IA3\"}", "peft_type is IA3, supported is LORA"},
      {"{\"use_rslora\": true}", "use_rslora is true, which is not supported"},
      {"{\"use_dora\": true}", "use_dora is true, which is not supported"},
      {"{\"bias\": \"all\"}", "bias is \"all\", which is not supported"},
      {"{\"rank_pattern\": {\"query\": 1}}",
       "rank_pattern is {\"query\":1}, which is not supported"},
      {"{\"alpha_pattern\": {\"query\": 1}}",
       "alpha_pattern is {\"query\":1}, which is not supported"},
      {"{\"init_lora_weights\": \"pissa\"}",
       "init_lora_weights is \"pissa\", which is not supported"},
  };
  setup s = open_setup("bert", "query", "classifier", 2);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char message[256];
    assert_ok(write_setup(&s, FC_LOSS_CLASSIFY, "refused"));
    json_t *config = load_config("refused"), *change = json_loads(cases[i].change, 0, NULL);
    assert_int_equal(json_object_update(config, change), 0);
    json_decref(change);
    save_config("refused", config);
    snprintf(message, sizeof message, "%%s/refused/adapter_config.json: %s", cases[i].message);
    assert_fails(read_setup(&s, "refused"), FC_ERR_DATA, message);
  }
  close_setup(&s);
}

/* The file of one adapter, the configuration of another. */
static void other_layers(void **state) {
  (void)state;
  setup file = open_setup("bert", "query", "classifier", 2);
  setup key = open_setup("bert", "key", "classifier", 2);
  setup one = open_setup("bert", "attention.output.dense", "classifier", 2);
  setup both = open_setup("bert", "output.dense", "classifier", 2);
  setup frozen = open_setup("bert", "query", "pooler", 2);
  assert_ok(write_setup(&file, FC_LOSS_CLASSIFY, "other"));
  assert_fails(read_setup(&key, "other"), FC_ERR_DATA,
               "%s/other/adapter_model.safetensors: bert.encoder.layer.0.attention.self.query."
               "weight has an adapter, but adapter.targets does not name it here");
  assert_fails(
      read_setup(&frozen, "other"), FC_ERR_DATA,
      "%s/other/adapter_model.safetensors: tensor base_model.model.classifier.bias differs "
      "from the base model's and is not trained here: name its module in adapter.saved");
  assert_ok(write_setup(&one, FC_LOSS_CLASSIFY, "one"));
  assert_fails(read_setup(&both, "one"), FC_ERR_DATA,
               "%s/one/adapter_model.safetensors: tensor base_model.model.bert.encoder.layer.0."
               "output.dense.lora_A.weight is missing: adapter.targets names "
               "bert.encoder.layer.0.output.dense.weight");
  close_setup(&file);
  close_setup(&key);
  close_setup(&one);
  close_setup(&both);
  close_setup(&frozen);
}

/* Writes the folder's tensors again after `change` had one of them. */
static void rewrite(const char *folder, const char *name, void (*change)(fc_safetensor_source *)) {
  enum { MOST = 64 };
  char path[256];
  fc_safetensors *file = NULL;
  fc_safetensor_source sources[MOST];
  float *data[MOST];
  snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
  assert_ok(fc_safetensors_open(scratch_path(path), &file));
  size_t n = fc_safetensors_count(file);
  assert_in_range(n, 1, MOST);
  bool found = false;
  for (size_t i = 0; i < n; i++) {
    const fc_safetensor *t = fc_safetensors_get(file, i);
    data[i] = malloc((size_t)fc_safetensor_elements(t) * sizeof(float));
    assert_ok(fc_safetensor_read_f32(t, data[i]));
    sources[i] = (fc_safetensor_source){t->name, t->dims, {0}, data[i]};
    memcpy(sources[i].shape, t->shape, sizeof t->shape);
    if (strcmp(t->name, name) != 0) continue;
    change(&sources[i]);
    found = true;
  }
  assert_true(found);
  char *aside = strdup(scratch_path("aside.safetensors"));
  assert_ok(fc_safetensors_write(aside, sources, n, NULL));
  assert_int_equal(rename(aside, scratch_path(path)), 0);
  free(aside);
  for (size_t i = 0; i < n; i++) free(data[i]);
  fc_safetensors_close(&file);
}

#define FIRST_B "base_model.model.bert.encoder.layer.0.attention.self.query.lora_B.weight"

static void turn(fc_safetensor_source *t) {
  int64_t rows = t->shape[0];
  t->shape[0] = t->shape[1];
  t->shape[1] = rows;
}

static void spoil(fc_safetensor_source *t) {
  ((float *)(uintptr_t)t->data)[3] = NAN;
}

static void rename_to_magnitude(fc_safetensor_source *t) {
  t->name = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_magnitude_vector";
}

static void rename_to_unknown(fc_safetensor_source *t) {
  t->name = "base_model.model.bert.unknown.weight";
}

static void refused_tensors(void **state) {
  (void)state;
  const struct {
    void (*change)(fc_safetensor_source *);
    const char *tensor, *message;
    fc_err err;
  } cases[] = {
      {turn, FIRST_B, "tensor " FIRST_B " is [2, 8], the model needs [8, 2]", FC_ERR_SHAPE},
      {spoil, FIRST_B, "tensor " FIRST_B ", element 3 is nan", FC_ERR_NUMERIC},
      {rename_to_magnitude, FIRST_B,
       "tensor base_model.model.bert.encoder.layer.0.attention.self.query.lora_magnitude_vector is "
       "neither a factor of a linear layer's adapter nor a weight of the model",
       FC_ERR_DATA},
      {rename_to_unknown, "base_model.model.bert.pooler.dense.bias",
       "tensor base_model.model.bert.unknown.weight is neither a factor of a linear layer's "
       "adapter "
       "nor a weight of the model",
       FC_ERR_DATA},
  };
  setup s = open_setup("bert", "query", "classifier", 2);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char message[512];
    assert_ok(write_setup(&s, FC_LOSS_CLASSIFY, "tensors"));
    rewrite("tensors", cases[i].tensor, cases[i].change);
    snprintf(message, sizeof message, "%%s/tensors/adapter_model.safetensors: %s",
             cases[i].message);
    assert_fails(read_setup(&s, "tensors"), cases[i].err, message);
  }
  close_setup(&s);
}

/* PEFT's list says it is there. */
static void saved_module_missing(void **state) {
  (void)state;
  setup s = open_setup("gpt2", "c_attn", "score", 2), less = open_setup("gpt2", "c_attn", NULL, 2);
  memcpy(less.theta, s.theta, fc_trainable_count(less.trainable) * sizeof(float));
  assert_ok(write_setup(&less, FC_LOSS_CAUSAL_LM, "missing"));
  json_t *config = load_config("missing");
  json_object_set_new(config, "modules_to_save", json_pack("[s]", "score"));
  save_config("missing", config);
  assert_fails(read_setup(&s, "missing"), FC_ERR_DATA,
               "%s/missing/adapter_model.safetensors: tensor base_model.model.score.weight is "
               "missing: adapter_config.json lists its module under modules_to_save");
  close_setup(&s);
  close_setup(&less);
}

/* What PEFT did not train is the base's: theta's initial value stays. */
static void untrained_module_keeps_the_base(void **state) {
  (void)state;
  setup s = open_setup("gpt2", "c_attn", "score", 2), less = open_setup("gpt2", "c_attn", NULL, 2);
  size_t n = 0;
  const fc_trainable_part *p = fc_trainable_parts(s.trainable, &n);
  memcpy(s.theta, less.theta, fc_trainable_count(less.trainable) * sizeof(float));
  assert_int_equal(p[n - 1].kind, 'W');
  assert_int_equal(p[n - 1].offset, fc_trainable_count(less.trainable));
  memcpy(s.theta + p[n - 1].offset,
         s.weights + fc_model_find_tensor(s.model, "score.weight")->offset,
         (size_t)(p[n - 1].rows * p[n - 1].cols) * sizeof(float));
  assert_ok(write_setup(&less, FC_LOSS_CAUSAL_LM, "base"));
  assert_ok(read_setup(&s, "base"));
  close_setup(&s);
  close_setup(&less);
}

/* A language model's output is tied to its table: one that is not is another model. */
static void nudge(fc_safetensor_source *t) {
  ((float *)(uintptr_t)t->data)[0] += 1.0F;
}

static void untied_output(void **state) {
  (void)state;
  setup s = open_setup("gpt2", "c_attn", "wte", 2);
  assert_ok(write_setup(&s, FC_LOSS_CAUSAL_LM, "untied"));
  rewrite("untied", "base_model.model.lm_head.weight", nudge);
  assert_fails(read_setup(&s, "untied"), FC_ERR_DATA,
               "%s/untied/adapter_model.safetensors: base_model.model.lm_head.weight differs from "
               "transformer.wte.weight: output weights that are not tied to the embedding are not "
               "supported");
  close_setup(&s);
}

/* Starved at every allocation in turn, both say so, and an older folder stays whole. */
static void starved(void **state) {
  (void)state;
  setup s = open_setup("gpt2", "c_attn", "h.0.mlp", 2);
  fc_err err = FC_ERR_NOMEM;
  assert_ok(write_setup(&s, FC_LOSS_CLASSIFY, "starved"));
  for (size_t n = 1; err != FC_ERR_OK; n++) {
    assert_in_range(n, 1, 100);
    fc_mem_fail_at(n);
    err = write_setup(&s, FC_LOSS_CLASSIFY, "starved");
    fc_mem_fail_at(0);
    if (err != FC_ERR_OK) assert_int_equal(err, FC_ERR_NOMEM);
    assert_ok(read_setup(&s, "starved"));
  }
  err = FC_ERR_NOMEM;
  for (size_t n = 1; err != FC_ERR_OK; n++) {
    assert_in_range(n, 1, 100);
    fc_mem_fail_at(n);
    err = fc_peft_read(s.model, s.trainable, scratch_path("starved"), s.theta);
    fc_mem_fail_at(0);
    if (err != FC_ERR_OK) assert_int_equal(err, FC_ERR_NOMEM);
  }
  close_setup(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(comes_back),
      cmocka_unit_test(configuration),
      cmocka_unit_test(configuration_of_the_last_blocks),
      cmocka_unit_test(other_blocks),
      cmocka_unit_test(not_expressible),
      cmocka_unit_test(no_folder),
      cmocka_unit_test(refused_configuration),
      cmocka_unit_test(other_layers),
      cmocka_unit_test(refused_tensors),
      cmocka_unit_test(saved_module_missing),
      cmocka_unit_test(untrained_module_keeps_the_base),
      cmocka_unit_test(untied_output),
      cmocka_unit_test(starved),
  };
  return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
