/* dynamics.c - a trained model of the dynamics and its folder: the decoder as transformers has it
 * (config.json, model.safetensors), the two linear layers, and what turns values into numbers. */
#include "dynamics.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_safetensors.h"
#include "fedcell/fc_weights.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

void fc_dynamics_destroy(fc_dynamics **dynamics) {
  fc_dynamics *d = *dynamics;
  if (!d) return;
  fc_encoding_destroy(&d->encoding);
  fc_network_destroy(&d->network);
  fc_free(d->theta);
  fc_free(d->seen);
  fc_free(d);
  *dynamics = NULL;
}

size_t fc_dynamics_weight_count(const fc_dynamics *d) {
  return d->network.count;
}

fc_err fc_dynamics_check(const fc_dynamics *d, const fc_scenario *s) {
  const fc_environment_settings *set = fc_scenario_settings(s);
  FC_CHECK(d->encoding.devices == set->devices, DATA,
           "the dynamics were learned for %d devices, the environment has %d", d->encoding.devices,
           set->devices);
  FC_CHECK(d->rounds >= set->rounds, DATA,
           "the dynamics were learned for %lld rounds, the environment has %lld",
           (long long)d->rounds, (long long)set->rounds);
  return FC_ERR_OK;
}

/* ---- saving -----------------------------------------------------------------------------------
 */

enum { LINEAR_TENSORS = 4, PATH = 4096 };

/* The linear layers' tensors, pointing into theta. */
static void linear_tensors(const fc_network *n, const float *theta, fc_safetensor_source *t) {
  int64_t C = n->width, F = n->features, O = 2 * (int64_t)n->values;
  const float *w1 = theta + n->linear1, *w2 = theta + n->linear2;
  const fc_safetensor_source all[LINEAR_TENSORS] = {
      {"linear1.weight", 2, {C, F}, w1},
      {"linear1.bias", 1, {C}, w1 + C * F},
      {"linear2.weight", 2, {O, C}, w2},
      {"linear2.bias", 1, {O}, w2 + O * C},
  };
  memcpy(t, all, sizeof all);
}

static json_t *real_array(const double *x, int n) {
  json_t *array = json_array();
  for (int i = 0; i < n; i++) json_array_append_new(array, json_real(x[i]));
  return array;
}

static fc_err write_description(const fc_dynamics *d, const char *path) {
  const fc_encoding *e = &d->encoding;
  json_t *seen = json_array(), *json = json_object();
  for (int i = 0; i < d->n_seen; i++)
    json_array_append_new(
        seen, json_pack("[II]", (json_int_t)d->seen[i].seed, (json_int_t)d->seen[i].id));
  json_object_set_new(json, "devices", json_integer(e->devices));
  json_object_set_new(json, "sample", json_boolean(d->sample));
  json_object_set_new(json, "variance_floor", json_real(d->network.variance_floor));
  json_object_set_new(json, "mean", real_array(e->mean, d->network.values));
  json_object_set_new(json, "scale", real_array(e->scale, d->network.values));
  json_object_set_new(json, "trained_on", seen);
  int failed = json_dump_file(json, path, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
  json_decref(json);
  FC_CHECK(!failed, IO, "%s: cannot be written", path);
  return FC_ERR_OK;
}

fc_err fc_dynamics_save(const fc_dynamics *d, const char *folder) {
  const fc_network *n = &d->network;
  fc_safetensor_source tensors[LINEAR_TENSORS];
  char path[PATH];
  float *weights = NULL;
  linear_tensors(n, d->theta, tensors);
  snprintf(path, sizeof path, "%s/linear.safetensors", folder);
  FC_TRY(fc_safetensors_write(path, tensors, LINEAR_TENSORS, NULL));
  FC_TRY(fc_alloc(fc_model_weight_count(n->model), sizeof *weights, &weights));
  fc_trainable_merge(n->trainable, d->theta, weights);
  fc_err err = fc_weights_write(n->model, weights, folder);
  fc_free(weights);
  FC_TRY(err);
  snprintf(path, sizeof path, "%s/dynamics.json", folder);
  return write_description(d, path);
}

/* ---- loading ----------------------------------------------------------------------------------
 */

static fc_err read_reals(const json_t *json, const char *key, double least, const char *path, int n,
                         double *x) {
  const json_t *array = json_object_get(json, key);
  FC_CHECK(json_array_size(array) == (size_t)n, DATA, "%s: %s is not a list of %d numbers", path,
           key, n);
  for (int i = 0; i < n; i++) {
    const json_t *item = json_array_get(array, (size_t)i);
    x[i] = json_number_value(item);
    FC_CHECK(json_is_number(item) && x[i] > least, DATA, "%s: %s: number %d is out of range", path,
             key, i);
  }
  return FC_ERR_OK;
}

static fc_err read_seen(const json_t *json, const char *path, fc_dynamics *d) {
  const json_t *list = json_object_get(json, "trained_on");
  d->n_seen = (int)json_array_size(list);
  FC_CHECK(d->n_seen > 0, DATA, "%s: trained_on is not a list of episodes", path);
  FC_TRY(fc_alloc((size_t)d->n_seen, sizeof *d->seen, &d->seen));
  for (int i = 0; i < d->n_seen; i++) {
    const json_t *pair = json_array_get(list, (size_t)i);
    const json_t *seed = json_array_get(pair, 0), *id = json_array_get(pair, 1);
    FC_CHECK(json_is_integer(seed) && json_is_integer(id), DATA,
             "%s: trained_on: item %d is not a seed and an id", path, i);
    d->seen[i] = (fc_episode){(uint64_t)json_integer_value(seed), (uint64_t)json_integer_value(id)};
  }
  return FC_ERR_OK;
}

static fc_err read_description(const json_t *json, const char *path, const fc_scenario *s,
                               const fc_model_shape *shape, fc_dynamics *d) {
  const json_t *devices = json_object_get(json, "devices");
  const json_t *sample = json_object_get(json, "sample");
  double floor = json_number_value(json_object_get(json, "variance_floor"));
  FC_CHECK(json_is_integer(devices), DATA, "%s: devices is not a whole number", path);
  d->encoding.devices = (int)json_integer_value(devices);
  d->rounds = shape->positions;
  FC_TRY(fc_dynamics_check(d, s));
  FC_TRY(fc_encoding_create(s, &d->encoding));
  int D = fc_value_count(d->encoding.devices);
  FC_TRY(read_reals(json, "mean", -(double)INFINITY, path, D, d->encoding.mean));
  FC_TRY(read_reals(json, "scale", 0, path, D, d->encoding.scale));
  FC_CHECK(floor > 0, DATA, "%s: variance_floor is not a number above 0", path);
  FC_CHECK(json_is_boolean(sample), DATA, "%s: sample is not true or false", path);
  d->sample = json_is_true(sample);
  FC_TRY(read_seen(json, path, d));
  return fc_network_create(shape, d->encoding.devices, floor, &d->network);
}

static fc_err read_linear(const fc_dynamics *d, const char *path) {
  fc_safetensor_source needed[LINEAR_TENSORS];
  fc_safetensors *file = NULL;
  linear_tensors(&d->network, d->theta, needed);
  FC_TRY(fc_safetensors_open(path, &file));
  fc_err err = FC_ERR_OK;
  for (int i = 0; i < LINEAR_TENSORS && err == FC_ERR_OK; i++) {
    const fc_safetensor *t = fc_safetensors_find(file, needed[i].name);
    bool fits = t && t->dims == needed[i].dims &&
                memcmp(t->shape, needed[i].shape, (size_t)t->dims * sizeof t->shape[0]) == 0;
    float *place = d->theta + (needed[i].data - d->theta);
    err =
        fits ? fc_safetensor_read_f32(t, place)
             : fc_fail(FC_ERR_DATA, "%s: %s is missing or has another shape", path, needed[i].name);
  }
  fc_safetensors_close(&file);
  FC_TRY(err);
  size_t n = d->network.count - d->network.linear1;
  FC_CHECK(fc_k_first_not_finite(d->theta + d->network.linear1, (int64_t)n) == (int64_t)n, DATA,
           "%s: a weight is not finite", path);
  return FC_ERR_OK;
}

static fc_err load(const char *folder, const fc_scenario *s, fc_dynamics *d) {
  fc_model_shape shape = {0};
  char path[PATH];
  json_error_t problem;
  snprintf(path, sizeof path, "%s/dynamics.json", folder);
  FC_TRY(fc_weights_read_shape(folder, 0, &shape));
  json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, &problem);
  if (!json && json_error_code(&problem) == json_error_cannot_open_file)
    return fc_fail(FC_ERR_IO, "cannot read %s", path);
  FC_CHECK(json, DATA, "%s:%d: %s", path, problem.line, problem.text);
  fc_err err = read_description(json, path, s, &shape, d);
  json_decref(json);
  FC_TRY(err);
  FC_TRY(fc_alloc(d->network.count, sizeof(float), &d->theta));
  FC_TRY(fc_weights_read(d->network.model, folder, 0, d->network.weights));
  fc_trainable_init(d->network.trainable, 0, d->theta);
  snprintf(path, sizeof path, "%s/linear.safetensors", folder);
  return read_linear(d, path);
}

fc_err fc_dynamics_load(const char *folder, const fc_scenario *s, fc_dynamics **out) {
  *out = NULL;
  FC_TRY(fc_alloc(1, sizeof **out, out));
  fc_err err = load(folder, s, *out);
  if (err != FC_ERR_OK) fc_dynamics_destroy(out);
  return err;
}
