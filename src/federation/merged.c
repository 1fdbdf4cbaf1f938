/* merged.c - adapted tensors of the base, out of the node's shared weights and back. */
#include "merged.h"
#include <stdio.h>

/* Calls visit for the weight tensor of every adapter. */
static fc_err each_tensor(const fc_task_setup *task,
                          fc_err (*visit)(void *arg, const fc_tensor *tensor), void *arg) {
  size_t n = 0, tensors = 0;
  const fc_trainable_part *part = fc_trainable_parts(task->trainable, &n);
  const fc_tensor *tensor = fc_model_tensors(task->model, &tensors);
  for (size_t i = 0; i < n; i++)
    if (part[i].kind == 'A') FC_TRY(visit(arg, &tensor[part[i].tensor]));
  return FC_ERR_OK;
}

typedef struct {
  const char *group;
  const float *weights;
  fc_store_file *f;
} writing;

static fc_err put(void *arg, const fc_tensor *t) {
  const writing *w = arg;
  fc_store_put_matrix(w->f, w->group, t->name, "weights of the base, adapters merged",
                      w->weights + t->offset, t->rows, t->cols);
  return FC_ERR_OK;
}

void fc_merged_put(const fc_federation *fed, const char *group, fc_store_file *f) {
  writing w = {.group = group, .weights = fc_model_weights(fed->task.model), .f = f};
  each_tensor(&fed->task, put, &w);
}

typedef struct {
  const fc_task_setup *task;
  const char *group;
  const fc_store_reader *r;
  float *weights;
} reading;

static fc_err get(void *arg, const fc_tensor *t) {
  const reading *g = arg;
  char path[256];
  int64_t count = 0, size = t->rows * t->cols;
  snprintf(path, sizeof path, "%s/%s", g->group, t->name);
  FC_TRY(fc_store_count(g->r, path, &count));
  FC_CHECK(count == size, SHAPE, "%s has %lld weights, the base needs %lld", path, (long long)count,
           (long long)size);
  return fc_store_get_f32(g->r, path, 0, size, g->weights + t->offset);
}

static fc_err read_all(void *arg, float *weights) {
  reading *g = arg;
  g->weights = weights;
  return each_tensor(g->task, get, g);
}

fc_err fc_merged_get(const fc_comm *comm, fc_task_setup *task, const char *group,
                     const fc_store_reader *r) {
  reading g = {.task = task, .group = group, .r = r};
  return fc_weights_change(comm, task->weights, task->model, read_all, &g);
}
