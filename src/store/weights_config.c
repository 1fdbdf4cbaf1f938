/* weights_config.c - config.json of Hugging Face model folders, to and from a model's shape.
 *
 * One table a family says which key holds what, and which keys change the computation in a way
 * that only one value of is implemented here; reading and writing both follow it. */
#include "weights.h"
#include "llama2c.h"
#include "publish.h"
#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A size in the shape and its key. */
typedef struct {
  const char *key;
  size_t offset; /* of an int in fc_model_shape */
  bool required; /* else the family's default stands where the key is missing or null */
} size_key;

/* A key that must hold one of these values (JSON texts) where it is given; the first is written. */
typedef struct {
  const char *key;
  const char *allowed[3];
} fixed_key;

typedef struct {
  const char *name;                 /* model_type */
  const char *class_name;           /* beginning of the names in "architectures" */
  const char *base, *lm, *classify; /* "architectures" of what we write */
  const char *norm_eps;
  size_key sizes[8];
  fixed_key fixed[8];
  bool rotary; /* rope_theta, rope_scaling, head_dim */
  bool unties; /* tie_word_embeddings may be false, and is where it is missing */
} family;

#define FIELD(name) offsetof(fc_model_shape, name)

#define ENCODER_KEYS                                                                               \
  {                                                                                                \
    {"num_hidden_layers", FIELD(layers), true}, {"hidden_size", FIELD(width), true},               \
        {"num_attention_heads", FIELD(heads), true}, {"intermediate_size", FIELD(ffn), true},      \
        {"vocab_size", FIELD(vocab), true}, {"max_position_embeddings", FIELD(positions), true},   \
        {"type_vocab_size", FIELD(types), false},                                                  \
  }

static const family FAMILIES[] = {
    {.name = "gpt2",
     .class_name = "GPT2",
     .base = "GPT2LMHeadModel",
     .lm = "GPT2LMHeadModel",
     .classify = "GPT2ForSequenceClassification",
     .norm_eps = "layer_norm_epsilon",
     .sizes = {{"n_layer", FIELD(layers), true},
               {"n_embd", FIELD(width), true},
               {"n_head", FIELD(heads), true},
               {"n_inner", FIELD(ffn), false},
               {"vocab_size", FIELD(vocab), true},
               {"n_positions", FIELD(positions), true}},
     .fixed = {{"activation_function", {"\"gelu_new\"", "\"gelu_pytorch_tanh\""}},
               {"scale_attn_weights", {"true"}},
               {"scale_attn_by_inverse_layer_idx", {"false"}},
               {"add_cross_attention", {"false"}},
               {"tie_word_embeddings", {"true"}}}},
    {.name = "llama",
     .class_name = "Llama",
     .base = "LlamaForCausalLM",
     .lm = "LlamaForCausalLM",
     .classify = "LlamaForSequenceClassification",
     .norm_eps = "rms_norm_eps",
     .sizes = {{"num_hidden_layers", FIELD(layers), true},
               {"hidden_size", FIELD(width), true},
               {"num_attention_heads", FIELD(heads), true},
               {"num_key_value_heads", FIELD(kv_heads), false},
               {"intermediate_size", FIELD(ffn), true},
               {"vocab_size", FIELD(vocab), true},
               {"max_position_embeddings", FIELD(positions), true}},
     .fixed = {{"hidden_act", {"\"silu\""}},
               {"attention_bias", {"false"}},
               {"mlp_bias", {"false"}}},
     .rotary = true,
     .unties = true},
    {.name = "bert",
     .class_name = "Bert",
     .base = "BertModel",
     .lm = "BertForMaskedLM",
     .classify = "BertForSequenceClassification",
     .norm_eps = "layer_norm_eps",
     .sizes = ENCODER_KEYS,
     .fixed = {{"hidden_act", {"\"gelu\""}},
               {"position_embedding_type", {"\"absolute\""}},
               {"is_decoder", {"false"}},
               {"add_cross_attention", {"false"}},
               {"tie_word_embeddings", {"true"}}}},
    {.name = "roberta",
     .class_name = "Roberta",
     .base = "RobertaModel",
     .lm = "RobertaForMaskedLM",
     .classify = "RobertaForSequenceClassification",
     .norm_eps = "layer_norm_eps",
     .sizes = ENCODER_KEYS,
     /* positions count from pad_token_id + 1 */
     .fixed = {{"hidden_act", {"\"gelu\""}},
               {"position_embedding_type", {"\"absolute\""}},
               {"is_decoder", {"false"}},
               {"add_cross_attention", {"false"}},
               {"tie_word_embeddings", {"true"}},
               {"pad_token_id", {"1"}}}},
};
enum { N_FAMILIES = sizeof FAMILIES / sizeof FAMILIES[0] };

/* ---- reading ----------------------------------------------------------------------------------
 */

static const char *architecture(const json_t *config) {
  const char *name = json_string_value(json_array_get(json_object_get(config, "architectures"), 0));
  return name ? name : "";
}

static fc_err find_family(const char *path, const json_t *config, const family **out) {
  const char *type = json_string_value(json_object_get(config, "model_type"));
  const char *class_name = architecture(config);
  for (int i = 0; i < N_FAMILIES; i++) {
    const family *f = &FAMILIES[i];
    bool match =
        type ? strcmp(type, f->name) == 0 : strstr(class_name, f->class_name) == class_name;
    if (match) {
      *out = f;
      return FC_ERR_OK;
    }
  }
  return fc_fail(FC_ERR_DATA,
                 "%s: model_type %.40s is not supported; allowed are gpt2, llama, bert, roberta",
                 path,
                 type          ? type
                 : *class_name ? class_name
                               : "(missing)");
}

static fc_err read_sizes(const char *path, const json_t *config, const family *f,
                         fc_model_shape *shape) {
  for (const size_key *k = f->sizes; k->key; k++) {
    const json_t *value = json_object_get(config, k->key);
    if (!value || json_is_null(value)) {
      FC_CHECK(!k->required, DATA, "%s: %s is missing", path, k->key);
      continue;
    }
    FC_CHECK(json_is_integer(value), DATA, "%s: %s is not a whole number", path, k->key);
    json_int_t number = json_integer_value(value);
    FC_CHECK(number >= 1 && number <= INT_MAX, DATA, "%s: %s is %lld, allowed is 1 to %d", path,
             k->key, (long long)number, INT_MAX);
    *(int *)((char *)shape + k->offset) = (int)number;
  }
  const json_t *eps = json_object_get(config, f->norm_eps);
  if (!eps || json_is_null(eps)) return FC_ERR_OK;
  FC_CHECK(json_is_number(eps) && json_number_value(eps) > 0.0 && json_number_value(eps) < 1.0,
           DATA, "%s: %s is not a number between 0 and 1", path, f->norm_eps);
  shape->norm_eps = (float)json_number_value(eps);
  return FC_ERR_OK;
}

static fc_err check_fixed(const char *path, const json_t *config, const family *f) {
  for (const fixed_key *k = f->fixed; k->key; k++) {
    const json_t *value = json_object_get(config, k->key);
    if (!value || json_is_null(value)) continue;
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    FC_CHECK(text, NOMEM, "%s: out of memory", path);
    bool allowed = false;
    for (int i = 0; i < 3 && k->allowed[i]; i++) allowed = allowed || !strcmp(text, k->allowed[i]);
    fc_err err = FC_ERR_OK;
    if (!allowed)
      err = fc_fail(FC_ERR_DATA, "%s: %s is %.60s, implemented for %s is %s", path, k->key, text,
                    f->name, k->allowed[0]);
    free(text);
    FC_TRY(err);
  }
  return FC_ERR_OK;
}

/* LLaMA-3's keys of rope_scaling. */
static const struct {
  const char *key;
  size_t offset; /* of a float in fc_rope_scaling */
} SCALING[] = {{"factor", offsetof(fc_rope_scaling, factor)},
               {"low_freq_factor", offsetof(fc_rope_scaling, low_freq_factor)},
               {"high_freq_factor", offsetof(fc_rope_scaling, high_freq_factor)}};
enum { N_SCALING = sizeof SCALING / sizeof SCALING[0] };
#define ORIGINAL_POSITIONS "original_max_position_embeddings"

static fc_err read_scaling(const char *path, const json_t *scaling, fc_rope_scaling *out) {
  const char *type = json_string_value(json_object_get(scaling, "rope_type"));
  if (!type) type = json_string_value(json_object_get(scaling, "type"));
  if (!json_is_object(scaling) || (type && strcmp(type, "default") == 0)) return FC_ERR_OK;
  FC_CHECK(type && strcmp(type, "llama3") == 0, DATA,
           "%s: rope_scaling of type %.40s is not implemented; implemented is llama3", path,
           type ? type : "(missing)");
  for (int i = 0; i < N_SCALING; i++) {
    const json_t *value = json_object_get(scaling, SCALING[i].key);
    FC_CHECK(json_is_number(value) && json_number_value(value) > 0.0, DATA,
             "%s: rope_scaling has no %s above 0", path, SCALING[i].key);
    *(float *)((char *)out + SCALING[i].offset) = (float)json_number_value(value);
  }
  json_int_t original = json_integer_value(json_object_get(scaling, ORIGINAL_POSITIONS));
  FC_CHECK(original >= 1 && original <= INT_MAX, DATA,
           "%s: rope_scaling has no " ORIGINAL_POSITIONS " above 0", path);
  out->original_positions = (int)original;
  return FC_ERR_OK;
}

static fc_err read_rotary(const char *path, const json_t *config, fc_model_shape *shape) {
  const json_t *theta = json_object_get(config, "rope_theta");
  const json_t *width = json_object_get(config, "head_dim");
  const json_t *scaling = json_object_get(config, "rope_scaling");
  /* newer folders hold both in one object */
  const json_t *all = json_object_get(config, "rope_parameters");
  if (!theta) theta = json_object_get(all, "rope_theta");
  if (!scaling) scaling = all;
  if (theta && !json_is_null(theta)) {
    FC_CHECK(json_is_number(theta) && json_number_value(theta) >= 1.0, DATA,
             "%s: rope_theta is not a number of 1 or more", path);
    shape->rope_theta = (float)json_number_value(theta);
  }
  FC_CHECK(!json_is_integer(width) ||
               json_integer_value(width) * shape->heads == (json_int_t)shape->width,
           DATA, "%s: head_dim is %lld, implemented is hidden_size / num_attention_heads", path,
           (long long)json_integer_value(width));
  return read_scaling(path, scaling, &shape->rope_scaling);
}

static fc_err read_pool(const char *path, const json_t *config, fc_model_shape *shape) {
  const char *pool = json_string_value(json_object_get(config, "fedcell_pooling"));
  shape->pool = pool && strcmp(pool, "mean") == 0 ? FC_POOL_MEAN : FC_POOL_FIRST;
  FC_CHECK(!pool || shape->pool == FC_POOL_MEAN || strcmp(pool, "first") == 0, DATA,
           "%s: fedcell_pooling is %.40s, allowed is first or mean", path, pool);
  return FC_ERR_OK;
}

/* Without a classification head asked for, an encoder brings its masked-LM head if it has one. */
static void read_heads(const json_t *config, int labels, fc_model_shape *shape) {
  const char *name = architecture(config);
  if (labels < 0) {
    const json_t *names = json_object_get(config, "id2label");
    labels = !strstr(name, "ForSequenceClassification") ? 0
             : json_is_object(names)                    ? (int)json_object_size(names)
                                                        : 2; /* Hugging Face's default */
  }
  shape->labels = labels;
  shape->lm_head = labels == 0 && !fc_arch_is_causal(shape->arch) &&
                   (strstr(name, "ForMaskedLM") || strstr(name, "ForPreTraining"));
}

static fc_err read_config(const char *path, const json_t *config, int labels,
                          fc_model_shape *shape) {
  const family *f = NULL;
  FC_CHECK(json_is_object(config), DATA, "%s is not a JSON object", path);
  FC_TRY(find_family(path, config, &f));
  shape->arch = fc_arch_find(f->name);
  FC_CHECK(shape->arch, DATA, "%s: this program was built without the family %s", path, f->name);
  FC_TRY(read_sizes(path, config, f, shape));
  FC_TRY(check_fixed(path, config, f));
  FC_TRY(read_pool(path, config, shape));
  if (f->rotary) FC_TRY(read_rotary(path, config, shape));
  read_heads(config, labels, shape);
  /* a classifier has no use for the language-model head */
  shape->untied_head = f->unties && shape->labels == 0 &&
                       !json_is_true(json_object_get(config, "tie_word_embeddings"));
  fc_err err = fc_model_shape_check(shape);
  return err == FC_ERR_OK ? err : fc_fail(err, "%s: %s", path, fc_err_message());
}

bool fc_weights_is_file(const char *path) {
  struct stat s;
  return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

fc_err fc_weights_read_shape(const char *folder, int labels, fc_model_shape *shape) {
  char path[4096];
  json_error_t problem;
  *shape = (fc_model_shape){0};
  if (fc_weights_is_file(folder)) return fc_llama2c_read_shape(folder, labels, shape);
  snprintf(path, sizeof path, "%s/config.json", folder);
  json_t *config = json_load_file(path, JSON_REJECT_DUPLICATES, &problem);
  if (!config && json_error_code(&problem) == json_error_cannot_open_file)
    return fc_fail(FC_ERR_IO, "cannot read %s: is it a model folder?", path);
  FC_CHECK(config, DATA, "%s:%d: %s", path, problem.line, problem.text);
  fc_err err = read_config(path, config, labels, shape);
  json_decref(config);
  return err;
}

/* ---- writing ----------------------------------------------------------------------------------
 */

static json_t *label_names(int labels, bool number_to_name) {
  json_t *names = json_object();
  for (int i = 0; i < labels; i++) {
    char number[16], name[32];
    snprintf(number, sizeof number, "%d", i);
    snprintf(name, sizeof name, "LABEL_%d", i);
    if (number_to_name)
      json_object_set_new(names, number, json_string(name));
    else
      json_object_set_new(names, name, json_integer(i));
  }
  return names;
}

/* The shortest decimal number that reads back as x: 1e-05, not 9.99999974e-06. */
static json_t *short_real(float x) {
  char text[32];
  for (int digits = 6; digits <= 9; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, (double)x);
    if (strtof(text, NULL) == x) break;
  }
  return json_real(strtod(text, NULL));
}

static void add_rotary(const fc_model_shape *shape, json_t *config) {
  const fc_rope_scaling *r = &shape->rope_scaling;
  json_t *scaling = r->factor == 0.0F ? json_null() : json_object();
  json_object_set_new(config, "rope_theta", short_real(shape->rope_theta));
  json_object_set_new(config, "rope_scaling", scaling);
  json_object_set_new(config, "tie_word_embeddings", json_boolean(!shape->untied_head));
  if (!json_is_object(scaling)) return;
  json_object_set_new(scaling, "rope_type", json_string("llama3"));
  for (int i = 0; i < N_SCALING; i++)
    json_object_set_new(scaling, SCALING[i].key,
                        short_real(*(const float *)((const char *)r + SCALING[i].offset)));
  json_object_set_new(scaling, ORIGINAL_POSITIONS, json_integer(r->original_positions));
}

static json_t *make_config(const fc_model_shape *shape, fc_dtype dtype, const family *f) {
  json_t *config = json_object();
  const char *name = shape->labels > 0 ? f->classify : shape->lm_head ? f->lm : f->base;
  json_object_set_new(config, "architectures", json_pack("[s]", name));
  json_object_set_new(config, "model_type", json_string(f->name));
  for (const size_key *k = f->sizes; k->key; k++) {
    int number = *(const int *)((const char *)shape + k->offset);
    json_object_set_new(config, k->key, json_integer(number));
  }
  json_object_set_new(config, f->norm_eps, short_real(shape->norm_eps));
  if (f->rotary) add_rotary(shape, config);
  for (const fixed_key *k = f->fixed; k->key; k++)
    json_object_set_new(config, k->key, json_loads(k->allowed[0], JSON_DECODE_ANY, NULL));
  if (shape->labels > 0) {
    json_object_set_new(config, "id2label", label_names(shape->labels, true));
    json_object_set_new(config, "label2id", label_names(shape->labels, false));
  }
  json_object_set_new(config, "torch_dtype", json_string(fc_dtype_torch_name(dtype)));
  json_object_set_new(config, "fedcell_pooling",
                      json_string(shape->pool == FC_POOL_MEAN ? "mean" : "first"));
  return config;
}

fc_err fc_weights_write_text(const char *path, const char *text) {
  fc_publish *file = NULL;
  FC_TRY(fc_publish_open(path, &file));
  fc_err err = fc_publish_write(file, text, strlen(text));
  if (err == FC_ERR_OK) err = fc_publish_write(file, "\n", 1);
  if (err == FC_ERR_OK) return fc_publish_commit(&file);
  fc_publish_abandon(&file);
  return err;
}

fc_err fc_weights_write_shape(const fc_model_shape *shape, fc_dtype dtype, const char *folder) {
  const family *f = NULL;
  char path[4096];
  for (int i = 0; i < N_FAMILIES; i++)
    if (fc_arch_find(FAMILIES[i].name) == shape->arch) f = &FAMILIES[i];
  FC_CHECK(f, SHAPE, "cannot write a model of this family to %s", folder);
  json_t *config = make_config(shape, dtype, f);
  char *text = json_dumps(config, JSON_INDENT(2));
  json_decref(config);
  FC_CHECK(text, NOMEM, "config.json: out of memory");
  snprintf(path, sizeof path, "%s/config.json", folder);
  fc_err err = fc_weights_write_text(path, text);
  free(text);
  return err;
}
