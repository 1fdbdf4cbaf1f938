/* fldlt3_file.c - a trained agent's folder: model.safetensors with the networks, fldlt3.json with
 * what turns states into numbers. */
#include "fedcell/fc_kernel.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_safetensors.h"
#include "fldlt3.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PATH = 4096, NAME = 64, NETWORKS = 3, TENSORS = NETWORKS * FC_RECURRENT_PARTS };

/* source <- the tensor, called network.part; biases have one dimension. */
static void tensor_of(const char *network, const fc_recurrent_part *part, const float *theta,
                      char name[NAME], fc_safetensor_source *source) {
  const bool is_bias = part->rows == 1 && strstr(part->name, "bias");
  snprintf(name, NAME, "%s.%s", network, part->name);
  *source = (fc_safetensor_source){.name = name,
                                   .dims = is_bias ? 1 : 2,
                                   .shape = {is_bias ? part->cols : part->rows, part->cols},
                                   .data = theta + part->offset};
}

/* ---- saving ---------------------------------------------------------------------------------- */

static fc_err write_networks(const fc_td3 *t, const char *path) {
  const struct {
    const char *name;
    const fc_recurrent_shape *shape;
    const float *theta;
  } networks[NETWORKS] = {{"actor", &t->actor_shape, t->actor},
                          {"critic_1", &t->critic_shape, t->critics},
                          {"critic_2", &t->critic_shape, t->critics + t->critic_count}};
  fc_safetensor_source tensors[TENSORS];
  char names[TENSORS][NAME];
  int n = 0;
  for (int i = 0; i < NETWORKS; i++) {
    fc_recurrent_part part[FC_RECURRENT_PARTS];
    fc_recurrent_parts(networks[i].shape, part);
    for (int k = 0; k < FC_RECURRENT_PARTS; k++, n++)
      tensor_of(networks[i].name, &part[k], networks[i].theta, names[n], &tensors[n]);
  }
  return fc_safetensors_write(path, tensors, TENSORS, NULL);
}

static json_t *reals(const double *x) {
  json_t *array = json_array();
  for (int i = 0; i < FC_FLDLT3_KINDS; i++) json_array_append_new(array, json_real(x[i]));
  return array;
}

fc_err fc_fldlt3_save(const fc_fldlt3_code *code, const fc_td3 *t, const char *folder) {
  char path[PATH];
  snprintf(path, sizeof path, "%s/model.safetensors", folder);
  FC_TRY(write_networks(t, path));
  json_t *json = json_object();
  json_object_set_new(json, "devices", json_integer(code->devices));
  json_object_set_new(json, "rounds", json_integer(code->rounds));
  json_object_set_new(json, "hidden", json_integer(t->set.hidden));
  json_object_set_new(json, "predict", json_boolean(t->set.predict));
  json_object_set_new(json, "mean", reals(code->mean));
  json_object_set_new(json, "deviation", reals(code->deviation));
  snprintf(path, sizeof path, "%s/fldlt3.json", folder);
  const int failed = json_dump_file(json, path, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
  json_decref(json);
  FC_CHECK(!failed, IO, "%s: cannot be written", path);
  return FC_ERR_OK;
}

/* ---- loading --------------------------------------------------------------------------------- */

static fc_err read_reals(const json_t *json, const char *key, bool positive, const char *path,
                         double *x) {
  const json_t *array = json_object_get(json, key);
  FC_CHECK(json_array_size(array) == FC_FLDLT3_KINDS, DATA, "%s: %s is not a list of %d numbers",
           path, key, FC_FLDLT3_KINDS);
  for (int i = 0; i < FC_FLDLT3_KINDS; i++) {
    const json_t *item = json_array_get(array, (size_t)i);
    x[i] = json_number_value(item);
    FC_CHECK(json_is_number(item) && (!positive || x[i] > 0), DATA,
             "%s: %s: number %d is out of range", path, key, i);
  }
  return FC_ERR_OK;
}

static fc_err read_whole(const json_t *json, const char *key, int64_t most, const char *path,
                         int64_t *x) {
  const json_t *item = json_object_get(json, key);
  *x = json_integer_value(item);
  FC_CHECK(json_is_integer(item) && *x >= 1 && *x <= most, DATA,
           "%s: %s is not a whole number from 1 to %lld", path, key, (long long)most);
  return FC_ERR_OK;
}

static fc_err read_description(const json_t *json, const char *path, int devices, fc_fldlt3 *f) {
  const json_t *predict = json_object_get(json, "predict");
  int64_t N = 0, hidden = 0;
  FC_TRY(read_whole(json, "devices", 1000000, path, &N));
  FC_CHECK(N == devices, DATA, "%s: made for %lld devices, the environment has %d", path,
           (long long)N, devices);
  FC_TRY(read_whole(json, "rounds", INT32_MAX, path, &f->code.rounds));
  FC_TRY(read_whole(json, "hidden", 65536, path, &hidden));
  FC_CHECK(json_is_boolean(predict), DATA, "%s: predict is not true or false", path);
  f->code.devices = devices;
  const fc_td3_settings sizes = {.states = fc_fldlt3_states(devices),
                                 .actions = fc_fldlt3_actions(devices),
                                 .hidden = (int)hidden,
                                 .predict = json_is_true(predict)};
  f->shape = fc_td3_actor_shape(&sizes);
  FC_TRY(read_reals(json, "mean", false, path, f->code.mean));
  return read_reals(json, "deviation", true, path, f->code.deviation);
}

static fc_err read_tensor(const fc_safetensors *file, const fc_recurrent_part *part,
                          const char *path, float *theta) {
  fc_safetensor_source wanted;
  char name[NAME];
  tensor_of("actor", part, theta, name, &wanted);
  const fc_safetensor *t = fc_safetensors_find(file, name);
  FC_CHECK(t && t->dims == wanted.dims &&
               memcmp(t->shape, wanted.shape, (size_t)t->dims * sizeof t->shape[0]) == 0,
           DATA, "%s: %s is missing or has another shape", path, name);
  return fc_safetensor_read_f32(t, theta + part->offset);
}

static fc_err read_actor(const char *path, fc_fldlt3 *f) {
  const size_t n = fc_recurrent_count(&f->shape);
  fc_recurrent_part part[FC_RECURRENT_PARTS];
  fc_safetensors *file = NULL;
  fc_recurrent_parts(&f->shape, part);
  FC_TRY(fc_alloc(n, sizeof *f->actor, &f->actor));
  FC_TRY(fc_safetensors_open(path, &file));
  fc_err err = FC_ERR_OK;
  for (int k = 0; k < FC_RECURRENT_PARTS && err == FC_ERR_OK; k++)
    err = read_tensor(file, &part[k], path, f->actor);
  fc_safetensors_close(&file);
  FC_TRY(err);
  FC_CHECK(fc_k_first_not_finite(f->actor, (int64_t)n) == (int64_t)n, DATA,
           "%s: a weight is not finite", path);
  return FC_ERR_OK;
}

static fc_err load(const char *folder, int devices, fc_fldlt3 *f) {
  char path[PATH];
  json_error_t problem;
  snprintf(path, sizeof path, "%s/fldlt3.json", folder);
  json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, &problem);
  if (!json && json_error_code(&problem) == json_error_cannot_open_file)
    return fc_fail(FC_ERR_IO, "cannot read %s", path);
  FC_CHECK(json, DATA, "%s:%d: %s", path, problem.line, problem.text);
  fc_err err = read_description(json, path, devices, f);
  json_decref(json);
  FC_TRY(err);
  snprintf(path, sizeof path, "%s/model.safetensors", folder);
  return read_actor(path, f);
}

fc_err fc_fldlt3_load(const char *folder, const fc_scenario *s, fc_fldlt3 *f) {
  *f = (fc_fldlt3){0};
  fc_err err = load(folder, fc_scenario_settings(s)->devices, f);
  if (err != FC_ERR_OK) fc_fldlt3_drop(f);
  return err;
}

void fc_fldlt3_drop(fc_fldlt3 *f) {
  fc_free(f->actor);
  *f = (fc_fldlt3){0};
}
