/* trainable.c - which parts of a model are trained, and where each lies in theta.
 *
 * Parts follow the model's tensors, so that Q, K and V trained whole stay one matrix. A linear
 * layer that is trained whole gets no adapter: W + s B A with a free W would only train W twice. */
#include "fedcell/fc_mem.h"
#include "internal.h"
#include "match.h"
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_LORA_RANK = 1024 };

typedef enum { TRAIN_NOT, TRAIN_ADAPTER, TRAIN_WHOLE } how;

static fc_err check_spec(const fc_trainable_spec *spec) {
  if (spec->n_targets == 0) return FC_ERR_OK;
  FC_CHECK(spec->lora_rank >= 1 && spec->lora_rank <= MAX_LORA_RANK, USAGE,
           "adapter rank is %d, allowed is 1 to %d", spec->lora_rank, MAX_LORA_RANK);
  FC_CHECK(isfinite(spec->alpha) && spec->alpha > 0.0F, USAGE,
           "adapter alpha is %g, allowed is above 0", (double)spec->alpha);
  FC_CHECK(spec->dropout >= 0.0F && spec->dropout < 1.0F, USAGE,
           "adapter dropout is %g, allowed is 0 to below 1", (double)spec->dropout);
  return FC_ERR_OK;
}

/* Whether the tensor lies in the blocks [first, next), or, where next is the number of layers, in
 * what follows them; embeddings never. 0, 0: everything does. */
static bool is_within(const fc_model *m, int tensor, int first, int next) {
  int stage = m->info[tensor].stage;
  if (next == 0) return true;
  return stage >= fc_model_first_stage(first) &&
         (next == m->shape.layers || stage < fc_model_first_stage(next));
}

/* Marks in marks (n_tensors) what the spec's names mean; every name must mean something. */
static fc_err mark_tensors(const fc_model *m, const fc_trainable_spec *spec, char *marks) {
  for (size_t k = 0; k < spec->n_targets; k++) {
    int found = 0;
    for (int i = 0; i < m->n_tensors; i++) {
      if (!is_within(m, i, spec->first_block, spec->next_block)) continue;
      if (!fc_match_target(m, i, spec->targets[k])) continue;
      marks[i] = TRAIN_ADAPTER;
      found++;
    }
    if (found == 0) return fc_match_fail_target(m, spec->targets[k]);
  }
  for (size_t k = 0; k < spec->n_saved; k++) {
    int found = 0;
    for (int i = 0; i < m->n_tensors; i++) {
      if (!is_within(m, i, spec->first_block, spec->next_block)) continue;
      if (!fc_match_saved(m, i, spec->saved[k])) continue;
      marks[i] = TRAIN_WHOLE;
      found++;
    }
    if (found == 0) return fc_match_fail_saved(m, spec->saved[k]);
  }
  return FC_ERR_OK;
}

static void add_part(fc_trainable *t, int tensor, char kind, int64_t rows, int64_t cols) {
  const fc_tensor *source = &t->model->tensors[tensor];
  fc_trainable_part *p = &t->parts[t->n_parts++];
  if (kind == 'W') {
    snprintf(p->name, sizeof p->name, "base_model.model.%s", source->name);
  } else {
    int module = (int)(strrchr(source->name, '.') - source->name);
    snprintf(p->name, sizeof p->name, "base_model.model.%.*s.lora_%c.weight", module, source->name,
             kind);
  }
  p->rows = rows;
  p->cols = cols;
  p->offset = t->count;
  p->tensor = tensor;
  p->kind = kind;
  t->count += (size_t)rows * (size_t)cols;
}

static void add_tensor(fc_trainable *t, int tensor, how mark) {
  const fc_tensor *source = &t->model->tensors[tensor];
  t->whole[tensor] = t->adapter[tensor] = -1;
  if (mark == TRAIN_NOT) return;
  int stage = t->model->info[tensor].stage;
  if (stage < t->lowest_stage) t->lowest_stage = stage;
  if (mark == TRAIN_WHOLE) {
    t->whole[tensor] = t->n_parts;
    add_part(t, tensor, 'W', source->rows, source->cols);
    return;
  }
  t->adapter[tensor] = t->n_adapters;
  t->lora_a[t->n_adapters++] = t->n_parts;
  add_part(t, tensor, 'A', t->lora_rank, source->cols);
  add_part(t, tensor, 'B', source->rows, t->lora_rank);
}

static fc_err create_parts(fc_trainable *t, const fc_trainable_spec *spec) {
  size_t n = (size_t)t->model->n_tensors;
  char *marks = NULL;
  fc_err err = FC_ERR_OK;
  FC_TRY_GOTO(err, fc_alloc(n, sizeof *marks, &marks), done);
  FC_TRY_GOTO(err, mark_tensors(t->model, spec, marks), done);
  size_t adapters = 0, wholes = 0;
  for (size_t i = 0; i < n; i++) {
    adapters += marks[i] == TRAIN_ADAPTER;
    wholes += marks[i] == TRAIN_WHOLE;
  }
  FC_TRY_GOTO(err, fc_alloc(n, sizeof *t->whole, &t->whole), done);
  FC_TRY_GOTO(err, fc_alloc(n, sizeof *t->adapter, &t->adapter), done);
  FC_TRY_GOTO(err, fc_alloc(adapters, sizeof *t->lora_a, &t->lora_a), done);
  FC_TRY_GOTO(err, fc_alloc(2 * adapters + wholes, sizeof *t->parts, &t->parts), done);
  for (size_t i = 0; i < n; i++) add_tensor(t, (int)i, (how)marks[i]);
done:
  fc_free(marks);
  return err;
}

fc_err fc_trainable_create(const fc_model *model, const fc_trainable_spec *spec,
                           fc_trainable **out) {
  *out = NULL;
  FC_TRY(check_spec(spec));
  fc_trainable *t = NULL;
  FC_TRY(fc_alloc(1, sizeof *t, &t));
  t->model = model;
  t->lowest_stage = INT_MAX;
  if (spec->n_targets > 0) {
    t->lora_rank = spec->lora_rank;
    t->alpha = spec->alpha;
    t->scale = spec->alpha / (float)spec->lora_rank;
    t->dropout = spec->dropout;
  }
  fc_err err = create_parts(t, spec);
  if (err != FC_ERR_OK) {
    fc_trainable_destroy(&t);
    return err;
  }
  *out = t;
  return FC_ERR_OK;
}

void fc_trainable_destroy(fc_trainable **t) {
  if (!*t) return;
  fc_free((*t)->parts);
  fc_free((*t)->whole);
  fc_free((*t)->adapter);
  fc_free((*t)->lora_a);
  fc_free(*t);
  *t = NULL;
}

size_t fc_trainable_count(const fc_trainable *t) {
  return t->count;
}

const fc_trainable_part *fc_trainable_parts(const fc_trainable *t, size_t *n) {
  *n = (size_t)t->n_parts;
  return t->parts;
}

/* Parts follow the blocks: those of a scope are neighbours. */
size_t fc_trainable_window(const fc_trainable *t, const fc_scope *scope, size_t *first) {
  size_t n = 0;
  *first = 0;
  for (int i = 0; i < t->n_parts; i++) {
    const fc_trainable_part *p = &t->parts[i];
    if (!fc_scope_trains(scope, t->model, p->tensor)) continue;
    if (n == 0) *first = p->offset;
    n += (size_t)p->rows * (size_t)p->cols;
  }
  return n;
}

fc_lora_settings fc_trainable_lora(const fc_trainable *t) {
  return (fc_lora_settings){t->n_adapters ? t->lora_rank : 0, t->alpha, t->dropout};
}

int fc_trainable_whole(const fc_trainable *t, int tensor) {
  return t && tensor != FC_TENSOR_NONE ? t->whole[tensor] : -1;
}

int fc_trainable_adapter(const fc_trainable *t, int tensor) {
  return t && tensor != FC_TENSOR_NONE ? t->adapter[tensor] : -1;
}

bool fc_scope_trains(const fc_scope *scope, const fc_model *m, int tensor) {
  return is_within(m, tensor, scope->first_block, scope->next_block);
}

int fc_trainable_lowest_stage(const fc_trainable *t, const fc_scope *scope) {
  int lowest = t ? t->lowest_stage : INT_MAX;
  if (!t || !scope || scope->next_block == 0) return lowest;
  lowest = INT_MAX;
  for (int i = 0; i < t->n_parts; i++) {
    int tensor = t->parts[i].tensor, stage = t->model->info[tensor].stage;
    if (stage < lowest && fc_scope_trains(scope, t->model, tensor)) lowest = stage;
  }
  return lowest;
}

bool fc_trainable_has_linear(const fc_trainable *t, const fc_linear *l) {
  for (int i = 0; i < l->n_pieces; i++) {
    int weight = l->piece[i].weight;
    if (fc_trainable_whole(t, weight) >= 0 || fc_trainable_adapter(t, weight) >= 0) return true;
  }
  return false;
}

bool fc_trainable_has_whole(const fc_trainable *t, const fc_linear *l) {
  for (int i = 0; i < l->n_pieces; i++) {
    const fc_piece *p = &l->piece[i];
    if (fc_trainable_whole(t, p->weight) >= 0 || fc_trainable_whole(t, p->bias) >= 0) return true;
  }
  return false;
}

bool fc_trainable_fits(const fc_trainable *t, const fc_trainable *of) {
  if (t == of) return true;
  if (!t || !of || t->model != of->model || t->lora_rank > of->lora_rank) return false;
  for (int i = 0; i < t->model->n_tensors; i++)
    if (t->adapter[i] != of->adapter[i] || (t->whole[i] < 0) != (of->whole[i] < 0)) return false;
  return t->dropout == of->dropout;
}

/* ---- values ---------------------------------------------------------------------------------- */

/* PEFT's kaiming_uniform_(A, a = sqrt 5): uniform in +-sqrt(6/((1 + 5) fan_in)) = +-1/sqrt(I). */
static void init_lora_a(const fc_trainable_part *p, uint64_t seed, uint64_t number, float *a) {
  fc_rng rng = fc_rng_open(seed, FC_RNG_ADAPTER_INIT, 0, number);
  double bound = 1.0 / sqrt((double)p->cols);
  for (int64_t k = 0; k < p->rows * p->cols; k++)
    a[k] = (float)(bound * (2.0 * fc_rng_uniform(&rng) - 1.0));
}

void fc_trainable_init(const fc_trainable *t, uint64_t seed, float *theta) {
  for (int i = 0; i < t->n_parts; i++) {
    const fc_trainable_part *p = &t->parts[i];
    float *part = theta + p->offset;
    size_t bytes = (size_t)p->rows * (size_t)p->cols * sizeof *part;
    if (p->kind == 'A')
      init_lora_a(p, seed, (uint64_t)i, part);
    else if (p->kind == 'B')
      memset(part, 0, bytes);
    else
      memcpy(part, t->model->weights + t->model->tensors[p->tensor].offset, bytes);
  }
}

/* W += s B A */
static void merge_adapter(const fc_trainable_part *a, const fc_trainable_part *b, float s,
                          const float *theta, float *W) {
  for (int64_t o = 0; o < b->rows; o++) {
    for (int64_t r = 0; r < a->rows; r++)
      fc_k_axpy(W + o * a->cols, s * theta[b->offset + (size_t)(o * a->rows + r)],
                theta + a->offset + (size_t)(r * a->cols), a->cols);
  }
}

void fc_trainable_merge(const fc_trainable *t, const float *theta, float *weights) {
  const fc_model *m = t->model;
  if (weights != m->weights) memcpy(weights, m->weights, m->weight_count * sizeof *weights);
  for (int i = 0; i < t->n_parts; i++) {
    const fc_trainable_part *p = &t->parts[i];
    float *W = weights + m->tensors[p->tensor].offset;
    if (p->kind == 'W')
      memcpy(W, theta + p->offset, (size_t)p->rows * (size_t)p->cols * sizeof *W);
    else if (p->kind == 'A')
      merge_adapter(p, p + 1, t->scale, theta, W);
  }
}
