/* peft_read.c - theta from a folder that PEFT wrote; see fc_peft.h.
 *
 * The configuration is checked for what changes the computation; which layers are adapted is told
 * by the tensors, so target_modules may be a list, a pattern or "all-linear". */
#include "fedcell/fc_log.h"
#include "fedcell/fc_mem.h"
#include "peft.h"
#include "weights.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  fc_peft_marks marks;
  const fc_trainable_part *parts;
  size_t n_parts;
  bool *seen; /* (n_parts) */
  const char *folder;
  char config_path[FC_PEFT_PATH], tensors_path[FC_PEFT_PATH];
  json_t *config;
  float *theta;
  float *scratch, *value; /* of the largest tensor of the model */
} reader;

/* ---- the configuration ----------------------------------------------------------------------- */

/* Keys that change the computation, with the values that do not; a missing key, null, false, {} and
 * [] do not either. */
static const struct {
  const char *key;
  const char *allowed[4];
} NEUTRAL[] = {
    {"bias", {"\"none\""}},
    {"use_rslora", {NULL}},
    {"use_dora", {NULL}},
    {"use_qalora", {NULL}},
    {"lora_bias", {NULL}},
    {"rank_pattern", {NULL}},
    {"alpha_pattern", {NULL}},
    {"layer_replication", {NULL}},
    {"trainable_token_indices", {NULL}},
    {"target_parameters", {NULL}},
    /* others of these change the base's weights */
    {"init_lora_weights", {"true", "\"gaussian\"", "\"eva\"", "\"orthogonal\""}},
};

static bool is_nothing(const json_t *value) {
  return !value || json_is_null(value) || json_is_false(value) ||
         (json_is_object(value) && json_object_size(value) == 0) ||
         (json_is_array(value) && json_array_size(value) == 0);
}

static fc_err check_neutral(const reader *r, const char *key, const char *const *allowed) {
  const json_t *value = json_object_get(r->config, key);
  if (is_nothing(value)) return FC_ERR_OK;
  char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
  FC_CHECK(text, NOMEM, "%s: out of memory", r->config_path);
  bool fine = false;
  for (int i = 0; i < 4 && allowed[i]; i++) fine = fine || strcmp(text, allowed[i]) == 0;
  fc_err err = FC_ERR_OK;
  if (!fine)
    err =
        fc_fail(FC_ERR_DATA, "%s: %s is %.60s, which is not supported", r->config_path, key, text);
  free(text);
  return err;
}

static fc_err check_number(const reader *r, const char *key, const char *option, double here) {
  const json_t *value = json_object_get(r->config, key);
  FC_CHECK(json_is_number(value), DATA, "%s: %s is missing or not a number", r->config_path, key);
  /* the option is kept as a float */
  FC_CHECK((float)json_number_value(value) == (float)here, DATA,
           "%s: %s is %.9g, but %s is %.9g here", r->config_path, key, json_number_value(value),
           option, here);
  return FC_ERR_OK;
}

/* null: all blocks; else a block's number or a list of them */
static bool lists_block(const json_t *layers, int block) {
  size_t i;
  json_t *entry;
  if (json_is_integer(layers)) return json_integer_value(layers) == block;
  json_array_foreach((json_t *)(uintptr_t)layers, i, entry) {
    if (json_is_integer(entry) && json_integer_value(entry) == block) return true;
  }
  return false;
}

/* The blocks that PEFT would adapt; that it would adapt no others the tensors tell. */
static fc_err check_layers(const reader *r) {
  const json_t *layers = json_object_get(r->config, "layers_to_transform");
  if (is_nothing(layers)) return FC_ERR_OK;
  for (int b = 0; b < fc_model_get_shape(r->marks.model)->layers; b++)
    FC_CHECK(!r->marks.block[b] || lists_block(layers, b), DATA,
             "%s: layers_to_transform leaves out block %d, which has an adapter here: see "
             "adapter.targets and adapter.last_blocks",
             r->config_path, b);
  return FC_ERR_OK;
}

static fc_err check_config(const reader *r) {
  FC_CHECK(json_is_object(r->config), DATA, "%s is not a JSON object", r->config_path);
  const char *type = json_string_value(json_object_get(r->config, "peft_type"));
  FC_CHECK(type && strcmp(type, "LORA") == 0, DATA, "%s: peft_type is %.40s, supported is LORA",
           r->config_path, type ? type : "missing");
  fc_lora_settings here = fc_trainable_lora(r->marks.trainable);
  FC_CHECK(here.rank > 0, DATA, "%s: holds a low-rank adapter, but none is trained here",
           r->folder);
  FC_TRY(check_number(r, "r", "adapter.rank", here.rank));
  FC_TRY(check_number(r, "lora_alpha", "adapter.alpha", (double)here.alpha));
  for (size_t i = 0; i < sizeof NEUTRAL / sizeof NEUTRAL[0]; i++)
    FC_TRY(check_neutral(r, NEUTRAL[i].key, NEUTRAL[i].allowed));
  return check_layers(r);
}

static fc_err read_config(reader *r) {
  json_error_t problem;
  r->config = json_load_file(r->config_path, JSON_REJECT_DUPLICATES, &problem);
  if (!r->config && json_error_code(&problem) == json_error_cannot_open_file)
    return fc_fail(FC_ERR_IO, "cannot read %s: is it an adapter's folder?", r->config_path);
  FC_CHECK(r->config, DATA, "%s:%d: %s", r->config_path, problem.line, problem.text);
  return check_config(r);
}

/* ---- the tensors ----------------------------------------------------------------------------- */

/* What a name in the file means: the model's tensor (NULL: none of it) and 'A', 'B' or 'W'. */
static const fc_tensor *meaning(const reader *r, const char *name, char *kind) {
  char own[256];
  size_t prefix = strlen(FC_PEFT_PREFIX);
  *kind = 'W';
  if (strncmp(name, FC_PEFT_PREFIX, prefix) != 0 || strlen(name) >= sizeof own) return NULL;
  snprintf(own, sizeof own, "%s", name + prefix);
  char *factor = strstr(own, ".lora_");
  if (factor) {
    *kind = factor[6];
    if (strcmp(factor, ".lora_A.weight") != 0 && strcmp(factor, ".lora_B.weight") != 0) return NULL;
    strcpy(factor, ".weight");
  }
  return fc_model_find_tensor(r->marks.model, own);
}

static fc_trainable_part const *find_part(const reader *r, const fc_tensor *t, char kind) {
  for (size_t p = 0; p < r->n_parts; p++)
    if (&r->marks.tensors[r->parts[p].tensor] == t && r->parts[p].kind == kind) return &r->parts[p];
  return NULL;
}

/* What is in the file but not trained here must be what the base has, or the model would be another
 * one. */
static fc_err check_same(reader *r, const char *name, const float *value, const float *weights,
                         size_t n) {
  for (size_t i = 0; i < n; i++)
    FC_CHECK(value[i] == weights[i], DATA,
             "%s: tensor %s differs from the base model's and is not trained here: name its module "
             "in adapter.saved",
             r->tensors_path, name);
  return FC_ERR_OK;
}

static fc_err read_factor(reader *r, const fc_trainable_part *p, const fc_safetensor *found) {
  const fc_tensor matrix = {.name = "lora.weight", .rows = p->rows, .cols = p->cols};
  return fc_weights_read_tensor(r->tensors_path, &matrix, found, NULL, r->theta + p->offset);
}

static fc_err read_one(reader *r, const fc_safetensor *found) {
  char kind = 0;
  const fc_tensor *t = meaning(r, found->name, &kind);
  FC_CHECK(
      t, DATA,
      "%s: tensor %s is neither a factor of a linear layer's adapter nor a weight of the model",
      r->tensors_path, found->name);
  const fc_trainable_part *p = find_part(r, t, kind);
  if (p) r->seen[p - r->parts] = true;
  if (kind != 'W') {
    FC_CHECK(p || t->layer < 0 || r->marks.block[t->layer], DATA,
             "%s: %s has an adapter, but nothing in block %d has one here: see adapter.targets and "
             "adapter.last_blocks",
             r->tensors_path, t->name, t->layer);
    FC_CHECK(p, DATA, "%s: %s has an adapter, but adapter.targets does not name it here",
             r->tensors_path, t->name);
    return read_factor(r, p, found);
  }
  if (p) return fc_weights_read_tensor(r->tensors_path, t, found, r->scratch, r->theta + p->offset);
  FC_TRY(fc_weights_read_tensor(r->tensors_path, t, found, r->scratch, r->value));
  return check_same(r, found->name, r->value, fc_model_weights(r->marks.model) + t->offset,
                    (size_t)(t->rows * t->cols));
}

/* Output weights of a language model: they are tied to the token table here. */
static fc_err read_tied(reader *r, const fc_safetensor *found) {
  const fc_tensor *table = &r->marks.tensors[0];
  const float *now = r->marks.whole[0] >= 0 ? r->theta + r->parts[r->marks.whole[0]].offset
                                            : fc_model_weights(r->marks.model) + table->offset;
  FC_TRY(fc_weights_read_tensor(r->tensors_path, table, found, r->scratch, r->value));
  for (size_t i = 0; i < (size_t)(table->rows * table->cols); i++)
    FC_CHECK(r->value[i] == now[i], DATA,
             "%s: %s differs from %s: output weights that are not tied to the embedding are not "
             "supported",
             r->tensors_path, found->name, table->name);
  return FC_ERR_OK;
}

static bool is_in_modules_to_save(const reader *r, const char *tensor) {
  size_t i;
  json_t *module;
  json_array_foreach(json_object_get(r->config, "modules_to_save"), i, module) {
    if (json_is_string(module) && fc_peft_lies_in(tensor, json_string_value(module))) return true;
  }
  return false;
}

/* Every factor must have come; a whole tensor that PEFT did not train is the base's, as in theta.
 */
static fc_err check_missing(const reader *r) {
  for (size_t p = 0; p < r->n_parts; p++) {
    const fc_trainable_part *part = &r->parts[p];
    const char *tensor = r->marks.tensors[part->tensor].name;
    if (r->seen[p]) continue;
    FC_CHECK(part->kind == 'W', DATA, "%s: tensor %s is missing: adapter.targets names %s",
             r->tensors_path, part->name, tensor);
    FC_CHECK(!is_in_modules_to_save(r, tensor), DATA,
             "%s: tensor %s is missing: %s lists its module under modules_to_save", r->tensors_path,
             part->name, "adapter_config.json");
    fc_log(FC_LOG_INFO, "%s has no %s: the base model's is kept", r->tensors_path, part->name);
  }
  return FC_ERR_OK;
}

static fc_err read_tensors(reader *r, const fc_safetensors *file) {
  const char *tied = fc_peft_output_is_tied(r->marks.model) ? FC_PEFT_PREFIX "lm_head.weight" : "";
  for (size_t i = 0; i < fc_safetensors_count(file); i++) {
    const fc_safetensor *found = fc_safetensors_get(file, i);
    if (strcmp(found->name, tied) != 0) FC_TRY(read_one(r, found));
  }
  FC_TRY(check_missing(r));
  const fc_safetensor *output = fc_safetensors_find(file, tied); /* after the table itself */
  return output ? read_tied(r, output) : FC_ERR_OK;
}

static fc_err make_room(reader *r) {
  size_t floats = 0;
  for (size_t i = 0; i < r->marks.n; i++) {
    size_t own = (size_t)(r->marks.tensors[i].rows * r->marks.tensors[i].cols);
    if (own > floats) floats = own;
  }
  FC_TRY(fc_alloc(r->n_parts, sizeof *r->seen, &r->seen));
  FC_TRY(fc_alloc(floats, sizeof *r->scratch, &r->scratch));
  return fc_alloc(floats, sizeof *r->value, &r->value);
}

static fc_err open_tensors(const reader *r, fc_safetensors **file) {
  char pickled[FC_PEFT_PATH];
  snprintf(pickled, sizeof pickled, "%s/adapter_model.bin", r->folder);
  FC_CHECK(access(r->tensors_path, F_OK) == 0 || access(pickled, F_OK) != 0, DATA,
           "%s: adapter_model.bin is not read; save it again with safe_serialization=True",
           r->folder);
  return fc_safetensors_open(r->tensors_path, file);
}

static fc_err read_folder(reader *r) {
  fc_safetensors *file = NULL;
  FC_CHECK(strlen(r->folder) + 64 < FC_PEFT_PATH, USAGE, "%s: the path is too long", r->folder);
  snprintf(r->config_path, FC_PEFT_PATH, "%s/adapter_config.json", r->folder);
  snprintf(r->tensors_path, FC_PEFT_PATH, "%s/adapter_model.safetensors", r->folder);
  FC_TRY(read_config(r));
  FC_TRY(make_room(r));
  FC_TRY(open_tensors(r, &file));
  fc_err err = read_tensors(r, file);
  fc_safetensors_close(&file);
  return err;
}

fc_err fc_peft_read(const fc_model *model, const fc_trainable *t, const char *folder,
                    float *theta) {
  reader *r = NULL;
  FC_TRY(fc_alloc(1, sizeof *r, &r));
  r->folder = folder;
  r->theta = theta;
  r->parts = fc_trainable_parts(t, &r->n_parts);
  fc_err err = fc_peft_marks_create(model, t, &r->marks);
  if (err == FC_ERR_OK) err = read_folder(r);
  json_decref(r->config);
  fc_free(r->seen);
  fc_free(r->scratch);
  fc_free(r->value);
  fc_peft_marks_destroy(&r->marks);
  fc_free(r);
  return err;
}
