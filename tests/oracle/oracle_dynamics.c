/* oracle_dynamics.c - the network of the learned dynamics for test_dynamics_parity.py.
 *
 *   oracle_dynamics JOB.json DATA.safetensors OUT.safetensors
 *
 * JOB: sizes, where sequences begin (`start`), the optimiser. DATA: "x" (rows, F) and "y" (rows,
 * D), NaN where not known. OUT gets "begin/NAME", the first weights; of them "out", means and log
 * variances as the network gives them, "loss" (statistics, accuracy, likelihood; means over rows)
 * and "grad/NAME"; after the steps "losses" and "theta/NAME". Names as transformers' GPT2Model has
 * them, in the layout of theta: (rows, cols). Exit code 1 with a message when anything fails. */
#include "../../src/environment/dynamics.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_safetensors.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { TENSORS = 400 };

typedef struct {
  json_t *json;
  fc_network network;
  fc_network_work work;
  fc_optimizer optimizer;
  fc_network_batch batch;
  int64_t rows, *start;
  float *x, *y, *theta, *gradient, *losses;
  fc_safetensor_source tensors[TENSORS];
  char names[TENSORS][160];
  size_t n;
} job;

static double number(const job *j, const char *key) {
  return json_number_value(json_object_get(j->json, key));
}

static fc_err read_array(const fc_safetensors *file, const char *name, float **out) {
  const fc_safetensor *t = fc_safetensors_find(file, name);
  FC_CHECK(t, DATA, "the data have no tensor %s", name);
  FC_TRY(fc_alloc((size_t)fc_safetensor_elements(t), sizeof **out, out));
  return fc_safetensor_read_f32(t, *out);
}

static fc_err read_data(job *j, const char *path) {
  const json_t *list = json_object_get(j->json, "start");
  fc_safetensors *file = NULL;
  size_t n = json_array_size(list);
  FC_CHECK(n >= 2, DATA, "the job has no sequences");
  FC_TRY(fc_alloc(n, sizeof *j->start, &j->start));
  for (size_t i = 0; i < n; i++) j->start[i] = json_integer_value(json_array_get(list, i));
  j->rows = j->start[n - 1];
  FC_TRY(fc_safetensors_open(path, &file));
  fc_err err = read_array(file, "x", &j->x);
  if (err == FC_ERR_OK) err = read_array(file, "y", &j->y);
  fc_safetensors_close(&file);
  j->batch =
      (fc_network_batch){.sequences = (int32_t)n - 1, .start = j->start, .x = j->x, .y = j->y};
  return err;
}

/* Nothing keeps a value that a fault could hide behind, as biases of 0 would. */
static void stir(float *theta, size_t n) {
  fc_rng rng = fc_rng_open(2, FC_RNG_TEST, 0, 0);
  for (size_t i = 0; i < n; i++) theta[i] += (float)(0.1 * fc_rng_normal(&rng));
}

static fc_err make_network(job *j) {
  const fc_dynamics_settings set = {.layers = (int)number(j, "layers"),
                                    .width = (int)number(j, "width"),
                                    .heads = (int)number(j, "heads")};
  const fc_model_shape shape = fc_network_shape(&set, (int64_t)number(j, "rounds"));
  const fc_optimizer_settings o = {.kind = fc_optimizer_find("adamw"),
                                   .learning_rate = (float)number(j, "learning_rate"),
                                   .beta1 = 0.9F,
                                   .beta2 = 0.999F,
                                   .eps = 1e-8F,
                                   .weight_decay = (float)number(j, "weight_decay"),
                                   .schedule = "constant"};
  fc_network *n = &j->network;
  float *state = NULL;
  FC_TRY(fc_network_create(&shape, (int)number(j, "devices"), number(j, "variance_floor"), n));
  FC_TRY(fc_network_work_create(n, j->rows, j->batch.sequences, shape.positions, true, &j->work));
  FC_TRY(fc_alloc(n->count, sizeof(float), &j->theta));
  FC_TRY(fc_alloc(n->count, sizeof(float), &j->gradient));
  FC_TRY(fc_alloc(fc_optimizer_state_count(&o, n->count), sizeof(float), &state));
  j->optimizer = fc_optimizer_bind(&o, n->count, state);
  fc_network_init(n, 1, j->theta);
  stir(j->theta, n->count);
  return FC_ERR_OK;
}

/* ---- writing ----------------------------------------------------------------------------------
 */

static fc_err put(job *j, const char *before, const char *name, int64_t rows, int64_t cols,
                  const float *values) {
  float *copy = NULL;
  FC_CHECK(j->n < TENSORS, SHAPE, "more than %d tensors", TENSORS);
  FC_TRY(fc_alloc((size_t)(rows * cols), sizeof *copy, &copy));
  memcpy(copy, values, (size_t)(rows * cols) * sizeof *copy);
  snprintf(j->names[j->n], sizeof j->names[0], "%s%s", before, name);
  j->tensors[j->n] = (fc_safetensor_source){
      .name = j->names[j->n], .dims = 2, .shape = {rows, cols}, .data = copy};
  j->n++;
  return FC_ERR_OK;
}

static fc_err put_parts(job *j, const char *before, const float *theta) {
  const fc_network *n = &j->network;
  int64_t C = n->width, F = n->features, O = 2 * (int64_t)n->values;
  const float *w1 = theta + n->linear1, *w2 = theta + n->linear2;
  size_t parts = 0, tensors = 0;
  const fc_trainable_part *p = fc_trainable_parts(n->trainable, &parts);
  const fc_tensor *t = fc_model_tensors(n->model, &tensors);
  for (size_t i = 0; i < parts; i++)
    FC_TRY(put(j, before, t[p[i].tensor].name, p[i].rows, p[i].cols, theta + p[i].offset));
  FC_TRY(put(j, before, "linear1.weight", C, F, w1));
  FC_TRY(put(j, before, "linear1.bias", 1, C, w1 + C * F));
  FC_TRY(put(j, before, "linear2.weight", O, C, w2));
  return put(j, before, "linear2.bias", 1, O, w2 + O * C);
}

/* ---- computing --------------------------------------------------------------------------------
 */

/* The gradient of the mean over rows. */
static fc_err gradient(job *j, fc_network_loss *loss) {
  *loss = (fc_network_loss){0};
  memset(j->gradient, 0, j->network.count * sizeof(float));
  FC_TRY(fc_network_run(&j->work, j->theta, &j->batch, j->gradient, loss));
  fc_k_scale(j->gradient, 1.0F / (float)j->rows, (int64_t)j->network.count);
  return FC_ERR_OK;
}

static fc_err compute(job *j) {
  const int64_t steps = (int64_t)number(j, "steps");
  const double rows = (double)j->rows;
  fc_network_loss loss;
  FC_TRY(put_parts(j, "begin/", j->theta));
  FC_TRY(gradient(j, &loss));
  const float parts[] = {(float)(loss.statistics_mse / rows), (float)(loss.accuracy_mse / rows),
                         (float)(loss.nll / rows)};
  FC_TRY(put(j, "", "out", j->rows, 2 * (int64_t)j->network.values, j->work.out));
  FC_TRY(put(j, "", "loss", 1, 3, parts));
  FC_TRY(put_parts(j, "grad/", j->gradient));
  FC_TRY(fc_alloc((size_t)steps, sizeof *j->losses, &j->losses));
  for (int64_t k = 0; k < steps; k++) {
    FC_TRY(gradient(j, &loss));
    j->losses[k] = (float)((loss.statistics_mse + loss.accuracy_mse + loss.nll) / rows);
    FC_TRY(fc_optimizer_step(&j->optimizer, j->theta, j->gradient));
  }
  FC_TRY(put(j, "", "losses", 1, steps, j->losses));
  return put_parts(j, "theta/", j->theta);
}

static fc_err run(job *j, char **argv) {
  json_error_t problem;
  j->json = json_load_file(argv[1], 0, &problem);
  FC_CHECK(j->json, DATA, "%s:%d: %s", argv[1], problem.line, problem.text);
  FC_TRY(read_data(j, argv[2]));
  FC_TRY(make_network(j));
  FC_TRY(compute(j));
  return fc_safetensors_write(argv[3], j->tensors, j->n, NULL);
}

int main(int argc, char **argv) {
  static job j; /* the process's end frees what it holds */
  if (argc != 4) {
    fprintf(stderr, "usage: oracle_dynamics JOB.json DATA.safetensors OUT.safetensors\n");
    return 1;
  }
  if (run(&j, argv) == FC_ERR_OK) return 0;
  fprintf(stderr, "oracle_dynamics: %s\n", fc_err_message());
  return 1;
}
