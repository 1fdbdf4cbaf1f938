/* oracle_model.c - fedcell's model for test_model_parity.py.
 *
 *   oracle_model FOLDER JOB.json OUT.safetensors [THETA.safetensors]
 *
 * FOLDER is a Hugging Face model. JOB names the loss, what is trained, the batches and the
 * optimiser. OUT gets of the first batch "logits", "loss" and "grad/PART", and after `steps`
 * optimiser steps over the batches in turn "losses" and "theta/PART". THETA gives the parts' first
 * values; without it they are the initial ones. Parts are named as PEFT names them and have the
 * layout of theta: (rows, cols). JOB's `view`, [heads, neurons] of every block, prunes the model;
 * with `distill` it learns from another one, a folder `teacher`, instead of from targets; with
 * `hook`, a safetensors file, from a loss of its own on rows of inputs (see there), and OUT gets
 * "dinputs" and "dhead" too. Exit code 1 with a message when anything fails. */
#include "fedcell/fc_mem.h"
#include "fedcell/fc_optimizer.h"
#include "fedcell/fc_safetensors.h"
#include "fedcell/fc_weights.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Of one batch, all from the hook's file: the loss sum_i weight_i ln p_i + mean((h head^T -
 * wanted)^2) of targets i and all rows of the hidden states h. */
enum { HOOK_INPUTS, HOOK_HEAD, HOOK_WANTED, HOOK_WEIGHTS, HOOK_ARRAYS };
typedef struct {
  float *data[HOOK_ARRAYS]; /* inputs (N,C), head (K,C), wanted (N,K), weights (targets) */
  float *dinputs, *dhead;
  int K, C;
  double loss;
} hook_loss;

typedef struct {
  json_t *json;
  fc_loss_kind kind;
  fc_model *model, *teacher; /* teacher NULL: learning from targets */
  float *weights, *teacher_weights;
  fc_distillation distill;
  hook_loss *hooks; /* of each batch; NULL: no such loss */
  fc_trainable *trainable;
  fc_work *work;
  fc_block_view *view; /* (layers) or NULL */
  size_t count;        /* floats of theta */
  float *theta, *dtheta, *state;
} job;

/* ---- reading the job ------------------------------------------------------------------------- */

static double number(const json_t *object, const char *key, double fallback) {
  const json_t *v = json_object_get(object, key);
  return v ? json_number_value(v) : fallback;
}

static const char *text(const json_t *object, const char *key, const char *fallback) {
  const json_t *v = json_object_get(object, key);
  return v ? json_string_value(v) : fallback;
}

/* The list's strings; *out is NULL for an empty or missing list. */
static fc_err strings(const json_t *object, const char *key, const char *const **out, size_t *n) {
  const json_t *list = json_object_get(object, key);
  const char **items = NULL;
  *n = json_array_size(list);
  *out = NULL;
  if (*n == 0) return FC_ERR_OK;
  FC_TRY(fc_alloc(*n, sizeof *items, &items));
  for (size_t i = 0; i < *n; i++) items[i] = json_string_value(json_array_get(list, i));
  *out = items;
  return FC_ERR_OK;
}

static fc_err integers(const json_t *object, const char *key, int32_t **out) {
  const json_t *list = json_object_get(object, key);
  *out = NULL;
  if (!json_is_array(list)) return FC_ERR_OK;
  FC_TRY(fc_alloc(json_array_size(list), sizeof **out, out));
  for (size_t i = 0; i < json_array_size(list); i++)
    (*out)[i] = (int32_t)json_integer_value(json_array_get(list, i));
  return FC_ERR_OK;
}

typedef struct {
  fc_batch batch;
  int64_t *start;
  int32_t *tokens, *types, *targets, *labels;
} owned_batch;

static fc_err read_batch(const json_t *object, owned_batch *b) {
  const json_t *start = json_object_get(object, "start");
  size_t n = json_array_size(start);
  FC_TRY(fc_alloc(n, sizeof *b->start, &b->start));
  for (size_t i = 0; i < n; i++) b->start[i] = json_integer_value(json_array_get(start, i));
  FC_TRY(integers(object, "tokens", &b->tokens));
  FC_TRY(integers(object, "types", &b->types));
  FC_TRY(integers(object, "targets", &b->targets));
  FC_TRY(integers(object, "labels", &b->labels));
  b->batch = (fc_batch){.sequences = (int32_t)n - 1,
                        .start = b->start,
                        .tokens = b->tokens,
                        .types = b->types,
                        .targets = b->targets,
                        .labels = b->labels};
  return FC_ERR_OK;
}

static void free_batch(owned_batch *b) {
  fc_free(b->start);
  fc_free(b->tokens);
  fc_free(b->types);
  fc_free(b->targets);
  fc_free(b->labels);
}

static fc_err read_kind(const json_t *json, fc_loss_kind *kind) {
  static const char *const names[] = {"causal_lm", "masked_lm", "classify"};
  const char *name = text(json, "loss", "");
  for (int k = FC_LOSS_CAUSAL_LM; k <= FC_LOSS_CLASSIFY; k++) {
    *kind = (fc_loss_kind)k;
    if (strcmp(names[k], name) == 0) return FC_ERR_OK;
  }
  return fc_fail(FC_ERR_USAGE, "loss \"%s\": allowed is causal_lm, masked_lm, classify", name);
}

/* ---- setting up ------------------------------------------------------------------------------ */

static fc_err open_model(const job *j, const char *folder, fc_model **model, float **weights) {
  fc_model_shape shape = {0};
  FC_TRY(fc_weights_read_shape(folder, (int)number(j->json, "labels", 0), &shape));
  shape.lm_head = j->kind == FC_LOSS_MASKED_LM;
  shape.pool = strcmp(text(j->json, "pool", "first"), "mean") == 0 ? FC_POOL_MEAN : FC_POOL_FIRST;
  FC_TRY(fc_model_create(&shape, model));
  FC_TRY(fc_alloc(fc_model_weight_count(*model), sizeof **weights, weights));
  FC_TRY(fc_weights_read(*model, folder, 1, *weights));
  fc_model_set_weights(*model, *weights);
  return FC_ERR_OK;
}

static fc_err open_teacher(job *j) {
  const json_t *d = json_object_get(j->json, "distill");
  if (!d) return FC_ERR_OK;
  j->distill = (fc_distillation){.teacher_block = (int)number(d, "teacher_block", 0),
                                 .student_block = (int)number(d, "student_block", 0),
                                 .hidden_weight = (float)number(d, "hidden_weight", 0),
                                 .kl_weight = (float)number(d, "kl_weight", 0)};
  return open_model(j, text(d, "teacher", ""), &j->teacher, &j->teacher_weights);
}

static fc_err read_view(job *j) {
  const json_t *list = json_object_get(j->json, "view");
  size_t layers = (size_t)fc_model_get_shape(j->model)->layers;
  if (!list) return FC_ERR_OK;
  FC_CHECK(json_array_size(list) == layers, DATA, "the view is not one pair for each of %zu blocks",
           layers);
  FC_TRY(fc_alloc(layers, sizeof *j->view, &j->view));
  for (size_t i = 0; i < layers; i++) {
    const json_t *pair = json_array_get(list, i);
    j->view[i] = (fc_block_view){(int)json_integer_value(json_array_get(pair, 0)),
                                 (int)json_integer_value(json_array_get(pair, 1))};
  }
  return FC_ERR_OK;
}

static fc_err open_trainable(job *j) {
  fc_trainable_spec spec = {.lora_rank = (int)number(j->json, "rank", 0),
                            .alpha = (float)number(j->json, "alpha", 0)};
  FC_TRY(strings(j->json, "target_modules", &spec.targets, &spec.n_targets));
  FC_TRY(strings(j->json, "modules_to_save", &spec.saved, &spec.n_saved));
  FC_TRY(fc_trainable_create(j->model, &spec, &j->trainable));
  fc_free((void *)spec.targets);
  fc_free((void *)spec.saved);
  j->count = fc_trainable_count(j->trainable);
  FC_TRY(fc_alloc(j->count, sizeof(float), &j->theta));
  FC_TRY(fc_alloc(j->count, sizeof(float), &j->dtheta));
  fc_trainable_init(j->trainable, 1, j->theta);
  return FC_ERR_OK;
}

/* Every part must be in the file in its shape. */
static fc_err read_theta(job *j, const char *path) {
  fc_safetensors *file = NULL;
  FC_TRY(fc_safetensors_open(path, &file));
  size_t n = 0;
  const fc_trainable_part *p = fc_trainable_parts(j->trainable, &n);
  for (size_t i = 0; i < n; i++) {
    const fc_safetensor *t = fc_safetensors_find(file, p[i].name);
    FC_CHECK(t, DATA, "%s has no tensor %s", path, p[i].name);
    FC_CHECK(fc_safetensor_elements(t) == p[i].rows * p[i].cols, SHAPE,
             "%s has %lld elements in %s, the part has %lld", path,
             (long long)fc_safetensor_elements(t), p[i].name, (long long)(p[i].rows * p[i].cols));
    FC_TRY(fc_safetensor_read_f32(t, j->theta + p[i].offset));
  }
  fc_safetensors_close(&file);
  return FC_ERR_OK;
}

static fc_err open_optimizer(job *j, fc_optimizer *out) {
  const json_t *o = json_object_get(j->json, "optimizer");
  fc_optimizer_settings s = {.kind = fc_optimizer_find(text(o, "kind", "adamw")),
                             .learning_rate = (float)number(o, "learning_rate", 1e-3),
                             .beta1 = (float)number(o, "beta1", 0.9),
                             .beta2 = (float)number(o, "beta2", 0.999),
                             .eps = (float)number(o, "eps", 1e-8),
                             .weight_decay = (float)number(o, "weight_decay", 0),
                             .momentum = (float)number(o, "momentum", 0),
                             .clip_norm = (float)number(o, "clip_norm", 0),
                             .schedule = text(o, "schedule", "constant"),
                             .warmup_steps = (int64_t)number(o, "warmup_steps", 0),
                             .total_steps = (int64_t)number(o, "total_steps", 0)};
  FC_CHECK(s.kind, USAGE, "optimizer \"%s\" is unknown", text(o, "kind", ""));
  FC_TRY(fc_alloc(fc_optimizer_state_count(&s, j->count), sizeof(float), &j->state));
  *out = fc_optimizer_bind(&s, j->count, j->state);
  return FC_ERR_OK;
}

/* ---- computing and writing ------------------------------------------------------------------- */

typedef struct {
  fc_safetensor_source *tensors;
  char (*names)[160];
  size_t n;
  float *copies;
} output;

static void put(output *out, const char *before, const char *name, int64_t rows, int64_t cols,
                const float *data) {
  snprintf(out->names[out->n], sizeof out->names[0], "%s%s", before, name);
  out->tensors[out->n] = (fc_safetensor_source){
      .name = out->names[out->n], .dims = 2, .shape = {rows, cols}, .data = data};
  out->n++;
}

static void put_parts(output *out, const job *j, const char *before, const float *values) {
  size_t n = 0;
  const fc_trainable_part *p = fc_trainable_parts(j->trainable, &n);
  for (size_t i = 0; i < n; i++)
    put(out, before, p[i].name, p[i].rows, p[i].cols, values + p[i].offset);
}

static fc_err distill_gradient(job *j, const fc_batch *b, fc_member *m, float *loss) {
  fc_distill_result r = {0};
  FC_TRY(fc_model_distill_grad(j->work, m, b, j->kind, &j->distill, &r));
  double sum = 0.0;
  if (r.elements > 0) sum += (double)j->distill.hidden_weight * r.hidden_sum / (double)r.elements;
  if (r.rows > 0) sum += (double)j->distill.kl_weight * r.kl_sum / (double)r.rows;
  *loss = (float)sum;
  return FC_ERR_OK;
}

/* ---- a loss of its own ------------------------------------------------------------------------
 */

static fc_err read_hook(const fc_safetensors *file, int batch, hook_loss *h) {
  static const char *const names[HOOK_ARRAYS] = {"inputs", "head", "wanted", "weights"};
  int64_t elements[HOOK_ARRAYS];
  char name[32];
  for (int i = 0; i < HOOK_ARRAYS; i++) {
    snprintf(name, sizeof name, "%d/%s", batch, names[i]);
    const fc_safetensor *t = fc_safetensors_find(file, name);
    FC_CHECK(t, DATA, "the hook's file has no tensor %s", name);
    elements[i] = fc_safetensor_elements(t);
    FC_TRY(fc_alloc((size_t)elements[i], sizeof(float), &h->data[i]));
    FC_TRY(fc_safetensor_read_f32(t, h->data[i]));
  }
  h->K = (int)(elements[HOOK_HEAD] / h->C);
  FC_TRY(fc_alloc((size_t)elements[HOOK_INPUTS], sizeof(float), &h->dinputs));
  return fc_alloc((size_t)elements[HOOK_HEAD], sizeof(float), &h->dhead);
}

static fc_err read_hooks(job *j, size_t n_batches) {
  const char *path = text(j->json, "hook", NULL);
  fc_safetensors *file = NULL;
  if (!path) return FC_ERR_OK;
  FC_TRY(fc_alloc(n_batches, sizeof *j->hooks, &j->hooks));
  FC_TRY(fc_safetensors_open(path, &file));
  for (size_t i = 0; i < n_batches; i++) {
    j->hooks[i].C = fc_model_get_shape(j->model)->width;
    FC_TRY(read_hook(file, (int)i, &j->hooks[i]));
  }
  fc_safetensors_close(&file);
  return FC_ERR_OK;
}

static void free_hook(hook_loss *h) {
  for (int i = 0; i < HOOK_ARRAYS; i++) fc_free(h->data[i]);
  fc_free(h->dinputs);
  fc_free(h->dhead);
}

/* mean((h head^T - wanted)^2) at row r, element k. */
static void square(hook_loss *l, const fc_head_view *v, int64_t r, int k) {
  const float *h = v->hidden + r * l->C, *head = l->data[HOOK_HEAD] + k * l->C;
  double y = 0.0, elements = (double)v->rows * l->K;
  for (int c = 0; c < l->C; c++) y += (double)h[c] * (double)head[c];
  double gap = y - (double)l->data[HOOK_WANTED][r * l->K + k], d = 2.0 * gap / elements;
  l->loss += gap * gap / elements;
  for (int c = 0; c < l->C; c++) {
    v->dhidden[r * l->C + c] += (float)(d * (double)head[c]);
    l->dhead[k * l->C + c] += (float)(d * (double)h[c]);
  }
}

static fc_err own_loss(void *arg, const fc_head_view *v) {
  hook_loss *l = arg;
  l->loss = 0.0;
  memset(l->dhead, 0, (size_t)l->K * (size_t)l->C * sizeof *l->dhead);
  for (int64_t i = 0; i < v->n; i++) {
    l->loss += (double)l->data[HOOK_WEIGHTS][i] * v->log_prob[i];
    v->weight[i] = -l->data[HOOK_WEIGHTS][i];
  }
  for (int64_t r = 0; r < v->rows; r++)
    for (int k = 0; k < l->K; k++) square(l, v, r, k);
  return FC_ERR_OK;
}

static fc_err hook_gradient(job *j, hook_loss *h, const fc_batch *b, float *dtheta, float *loss) {
  FC_TRY(fc_model_hook_grad(j->work, j->theta, b, own_loss, h, (fc_rng){0}, dtheta, h->dinputs));
  *loss = (float)h->loss;
  return FC_ERR_OK;
}

/* i: which of the batches. */
static fc_err step_gradient(job *j, size_t i, const fc_batch *b, float *dtheta, float *mean_loss) {
  fc_member m = {
      .sequences = b->sequences, .theta = j->theta, .scope = {.view = j->view}, .dtheta = dtheta};
  memset(dtheta, 0, j->count * sizeof *dtheta);
  if (j->teacher) return distill_gradient(j, b, &m, mean_loss);
  if (j->hooks) return hook_gradient(j, &j->hooks[i], b, dtheta, mean_loss);
  FC_TRY(fc_model_cohort_grad(j->work, &m, 1, b, j->kind, NULL));
  *mean_loss = (float)(m.result.loss_sum / (double)m.result.count);
  return FC_ERR_OK;
}

/* Of the first batch; `out` keeps copies, as later steps overwrite them. */
static fc_err put_hook(const job *j, int64_t rows, output *out) {
  const hook_loss *h = &j->hooks[0];
  size_t n = (size_t)(rows * h->C), n_head = (size_t)(h->K * h->C);
  FC_TRY(fc_alloc(n + n_head, sizeof *out->copies, &out->copies));
  memcpy(out->copies, h->dinputs, n * sizeof(float));
  memcpy(out->copies + n, h->dhead, n_head * sizeof(float));
  put(out, "dinputs", "", rows, h->C, out->copies);
  put(out, "dhead", "", h->K, h->C, out->copies + n);
  return FC_ERR_OK;
}

static fc_err run(job *j, owned_batch *batches, size_t n_batches, const char *path) {
  const fc_model_shape *s = fc_model_get_shape(j->model);
  const fc_batch *first = &batches[0].batch;
  int steps = (int)number(j->json, "steps", 0);
  bool classes = j->kind == FC_LOSS_CLASSIFY;
  int64_t rows = classes ? first->sequences : first->start[first->sequences];
  int64_t cols = classes ? s->labels : s->vocab;
  size_t parts = 0;
  fc_trainable_parts(j->trainable, &parts);
  float *logits = NULL, *losses = NULL, *gradient = NULL, loss = 0.0F;
  output out = {0};
  FC_TRY(fc_alloc((size_t)(rows * cols), sizeof *logits, &logits));
  FC_TRY(fc_alloc((size_t)steps, sizeof *losses, &losses));
  FC_TRY(fc_alloc(j->count, sizeof *gradient, &gradient));
  FC_TRY(fc_alloc(2 * parts + 5, sizeof *out.tensors, &out.tensors));
  FC_TRY(fc_alloc(2 * parts + 5, sizeof *out.names, &out.names));
  FC_TRY(fc_model_view_logits(j->work, j->theta, j->view, first, j->kind, logits));
  FC_TRY(step_gradient(j, 0, first, gradient, &loss));
  if (j->hooks) FC_TRY(put_hook(j, rows, &out));
  fc_optimizer optimizer;
  FC_TRY(open_optimizer(j, &optimizer));
  for (int k = 0; k < steps; k++) {
    size_t i = (size_t)k % n_batches;
    FC_TRY(step_gradient(j, i, &batches[i].batch, j->dtheta, &losses[k]));
    FC_TRY(fc_optimizer_step(&optimizer, j->theta, j->dtheta));
  }
  put(&out, "logits", "", rows, cols, logits);
  put(&out, "loss", "", 1, 1, &loss);
  put(&out, "losses", "", 1, steps, losses);
  put_parts(&out, j, "grad/", gradient);
  put_parts(&out, j, "theta/", j->theta);
  FC_TRY(fc_safetensors_write(path, out.tensors, out.n, NULL));
  fc_free(logits);
  fc_free(losses);
  fc_free(gradient);
  fc_free(out.tensors);
  fc_free(out.names);
  fc_free(out.copies);
  return FC_ERR_OK;
}

static fc_err read_job(job *j, const char *path) {
  json_error_t error;
  j->json = json_load_file(path, 0, &error);
  FC_CHECK(j->json, DATA, "%s:%d: %s", path, error.line, error.text);
  return read_kind(j->json, &j->kind);
}

static fc_err run_all(job *j, char **argv) {
  FC_TRY(read_job(j, argv[2]));
  FC_TRY(open_model(j, argv[1], &j->model, &j->weights));
  FC_TRY(open_teacher(j));
  FC_TRY(read_view(j));
  FC_TRY(open_trainable(j));
  if (argv[4]) FC_TRY(read_theta(j, argv[4]));
  const json_t *list = json_object_get(j->json, "batches");
  size_t n = json_array_size(list);
  owned_batch *batches = NULL;
  FC_CHECK(n > 0, DATA, "%s has no batches", argv[2]);
  FC_TRY(fc_alloc(n, sizeof *batches, &batches));
  int64_t rows = 1;
  int sequences = 1;
  for (size_t i = 0; i < n; i++) {
    FC_TRY(read_batch(json_array_get(list, i), &batches[i]));
    const fc_batch *b = &batches[i].batch;
    if (b->sequences > sequences) sequences = b->sequences;
    if (b->start[b->sequences] > rows) rows = b->start[b->sequences];
  }
  int length = fc_model_get_shape(j->model)->positions;
  FC_TRY(fc_work_create(j->model, j->trainable, rows, sequences, length, FC_WORK_TRAIN, &j->work));
  if (j->teacher)
    FC_TRY(fc_work_create(j->teacher, NULL, rows, sequences, length, FC_WORK_FORWARD,
                          &j->distill.teacher));
  FC_TRY(read_hooks(j, n));
  for (size_t i = 0; j->hooks && i < n; i++)
    batches[i].batch.inputs = j->hooks[i].data[HOOK_INPUTS];
  FC_TRY(run(j, batches, n, argv[3]));
  for (size_t i = 0; j->hooks && i < n; i++) free_hook(&j->hooks[i]);
  for (size_t i = 0; i < n; i++) free_batch(&batches[i]);
  fc_free(batches);
  return FC_ERR_OK;
}

int main(int argc, char **argv) {
  if (argc != 4 && argc != 5) {
    fprintf(stderr, "usage: oracle_model FOLDER JOB.json OUT.safetensors [THETA.safetensors]\n");
    return 2;
  }
  job j = {0};
  fc_err err = run_all(&j, argv);
  if (err != FC_ERR_OK)
    fprintf(stderr, "oracle_model: %s: %s\n", fc_err_text(err), fc_err_message());
  fc_work_destroy(&j.work);
  fc_work_destroy(&j.distill.teacher);
  fc_trainable_destroy(&j.trainable);
  fc_model_destroy(&j.model);
  fc_model_destroy(&j.teacher);
  fc_free(j.weights);
  fc_free(j.teacher_weights);
  fc_free(j.view);
  fc_free(j.hooks);
  fc_free(j.theta);
  fc_free(j.dtheta);
  fc_free(j.state);
  json_decref(j.json);
  return err != FC_ERR_OK;
}
