/* merged.c - changed tensors of the base, out of the node's shared weights and back. */
#include "merged.h"
#include <stdio.h>

static void put(const fc_federation *fed, const char *group, const fc_tensor *t, fc_store_file *f) {
  fc_store_put_matrix(f, group, t->name, "weights of the base as the run has changed them",
                      fc_model_weights(fed->task.model) + t->offset, t->rows, t->cols);
}

void fc_merged_put(const fc_federation *fed, const char *group, fc_store_file *f) {
  size_t n = 0, tensors = 0;
  const fc_trainable_part *part = fc_trainable_parts(fed->task.trainable, &n);
  const fc_tensor *tensor = fc_model_tensors(fed->task.model, &tensors);
  for (size_t i = 0; i < n; i++)
    if (part[i].kind == 'A') put(fed, group, &tensor[part[i].tensor], f);
}

void fc_merged_put_blocks(const fc_federation *fed, int next_block, const char *group,
                          fc_store_file *f) {
  size_t n = 0;
  const fc_tensor *tensor = fc_model_tensors(fed->task.model, &n);
  for (size_t i = 0; i < n; i++)
    if (tensor[i].layer >= 0 && tensor[i].layer < next_block) put(fed, group, &tensor[i], f);
}

typedef struct {
  const fc_task_setup *task;
  const char *group;
  const fc_store_reader *r;
} reading;

static fc_err read_all(void *arg, float *weights) {
  const reading *g = arg;
  size_t n = 0, found = 0;
  const fc_tensor *t = fc_model_tensors(g->task->model, &n);
  for (size_t i = 0; i < n; i++) {
    char path[256];
    int64_t count = 0, size = t[i].rows * t[i].cols;
    snprintf(path, sizeof path, "%s/%s", g->group, t[i].name);
    if (!fc_store_has(g->r, path)) continue;
    found++;
    FC_TRY(fc_store_count(g->r, path, &count));
    FC_CHECK(count == size, SHAPE, "%s has %lld weights, the base needs %lld", path,
             (long long)count, (long long)size);
    FC_TRY(fc_store_get_f32(g->r, path, 0, size, weights + t[i].offset));
  }
  FC_CHECK(found > 0, DATA, "%s has no tensor of the base", g->group);
  return FC_ERR_OK;
}

fc_err fc_merged_get(const fc_comm *comm, fc_task_setup *task, const char *group,
                     const fc_store_reader *r) {
  reading g = {.task = task, .group = group, .r = r};
  return fc_weights_change(comm, task->weights, task->model, read_all, &g);
}
