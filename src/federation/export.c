/* export.c - the trained adapter of a result file, or several (switching), and the base they belong
 * to, as folders that other programs open. */
#include "federation.h"
#include "fedcell/fc_folder.h"
#include "fedcell/fc_log.h"
#include "fedcell/fc_peft.h"
#include "merged.h"
#include <stdio.h>
#include <string.h>

/* theta <- module m */
static fc_err read_theta(const fc_trainable *t, const char *path, const fc_store_reader *file,
                         int m, float *theta) {
  size_t n = 0;
  const fc_group_name group = fc_record_adapter_group(m);
  const fc_trainable_part *part = fc_trainable_parts(t, &n);
  for (size_t i = 0; i < n; i++) {
    char name[256];
    int64_t count = 0, size = part[i].rows * part[i].cols;
    snprintf(name, sizeof name, "%s/%s", group.text, part[i].name);
    FC_CHECK(fc_store_has(file, name), DATA,
             "%s has no %s: it is a checkpoint, or its devices kept models of their own", path,
             name);
    FC_TRY(fc_store_count(file, name, &count));
    FC_CHECK(count == size, SHAPE, "%s: %s has %lld weights, its configuration needs %lld", path,
             name, (long long)count, (long long)size);
    FC_TRY(fc_store_get_f32(file, name, 0, size, theta + part[i].offset));
  }
  return FC_ERR_OK;
}

static fc_err write_base(const fc_task_setup *task, const char *folder, fc_dtype dtype) {
  FC_TRY(fc_weights_write_as(task->model, fc_model_weights(task->model), dtype, folder));
  return fc_tokenizer_save(task->tokenizer, folder);
}

/* Of several modules, m goes into a folder of its own. */
static fc_err write_module(const fc_task_setup *task, int m, int modules, const float *theta,
                           const char *base, const char *folder) {
  char *own = NULL;
  if (modules == 1)
    return fc_peft_write(task->model, task->trainable, theta, task->loss, base, folder);
  FC_TRY(fc_format(&own, "%s/module_%d/", folder, m));
  fc_err err = fc_folder_make_parents(own);
  own[strlen(own) - 1] = '\0';
  if (err == FC_ERR_OK)
    err = fc_peft_write(task->model, task->trainable, theta, task->loss, base, own);
  fc_free(own);
  return err;
}

static fc_err write_modules(const fc_config *cfg, const fc_task_setup *task, const char *result,
                            const char *base_folder, const char *folder) {
  const int modules = fc_federation_settings_read(cfg).modules;
  const char *base = fc_config_string(cfg, "model.base");
  bool named = strcmp(base, "embedded") != 0 && strcmp(base, "random") != 0;
  fc_store_reader *file = NULL;
  float *theta = NULL;
  fc_err err = fc_store_open(result, &file);
  if (err == FC_ERR_OK) err = fc_alloc(fc_trainable_count(task->trainable), sizeof *theta, &theta);
  for (int m = 0; m < modules && err == FC_ERR_OK; m++) {
    err = read_theta(task->trainable, result, file, m, theta);
    if (err == FC_ERR_OK)
      err = write_module(task, m, modules, theta,
                         base_folder ? base_folder
                         : named     ? base
                                     : NULL,
                         folder);
  }
  if (err == FC_ERR_OK && modules > 1)
    fc_log(FC_LOG_INFO, "%d modules, in folders module_0 to module_%d of it", modules, modules - 1);
  fc_free(theta);
  fc_store_close(&file);
  return err;
}

static fc_err export(const fc_config *cfg, const fc_task_setup *task, const char *result,
                     const char *folder, const char *base_folder, fc_dtype dtype) {
  if (base_folder) FC_TRY(write_base(task, base_folder, dtype));
  return write_modules(cfg, task, result, base_folder, folder);
}

/* Collective. The base as the run has left it, where its method changed it. */
static fc_err take_base(const fc_comm *comm, fc_task_setup *task, const char *result,
                        const char *base_folder) {
  fc_store_reader *file = NULL;
  fc_err err = fc_agree(comm, fc_store_open(result, &file));
  if (err == FC_ERR_OK && fc_store_has(file, "/final/base"))
    err = base_folder ? fc_merged_get(comm, task, "/final/base", file)
                      : fc_fail(FC_ERR_USAGE,
                                "%s: the run has changed the base that its adapter belongs to; "
                                "export that too (--base FOLDER)",
                                result);
  fc_store_close(&file);
  return err;
}

fc_err fc_federation_export(const fc_comm *comm, fc_config *cfg, const char *result,
                            const char *folder, const char *base_folder, fc_dtype base_dtype,
                            bool *mean_pooling) {
  fc_task_setup task = {0};
  fc_err err = fc_task_create(comm, cfg, &task);
  if (err == FC_ERR_OK) err = take_base(comm, &task, result, base_folder);
  if (err == FC_ERR_OK) {
    *mean_pooling =
        task.loss == FC_LOSS_CLASSIFY && fc_model_get_shape(task.model)->pool == FC_POOL_MEAN;
    err = comm->rank == 0 ? export(cfg, &task, result, folder, base_folder, base_dtype) : FC_ERR_OK;
    err = fc_agree(comm, err);
  }
  fc_task_destroy(&task);
  return err;
}
