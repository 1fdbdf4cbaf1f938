/* pretrain.c - the embedded base: a small transformer trained from scratch on the public split,
 * with the ranks sharing every step, and cached in a folder that its configuration names. */
#include "federation.h"
#include "fedcell/fc_folder.h"
#include "fedcell/fc_log.h"
#include "fedcell/fc_timer.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- training -------------------------------------------------------------------------------- */

/* A task of its own: learnt vocabulary, language-model head, every weight trained. The data set and
 * split are borrowed. */
static fc_err setup(const fc_config *cfg, const fc_dataset *ds, const fc_split *split,
                    fc_task_setup *task) {
  static const char *const all[] = {"all"};
  const fc_trainable_spec spec = {.saved = all, .n_saved = 1, .lora_rank = 1};
  fc_sequence_format format = fc_task_format(cfg);
  fc_model_shape shape;
  /* check.c has seen that pretrain.objective says nothing else */
  task->loss = fc_arch_is_causal(fc_arch_find(fc_config_string(cfg, "model.family")))
                   ? FC_LOSS_CAUSAL_LM
                   : FC_LOSS_MASKED_LM;
  FC_TRY(fc_base_tokenizer(cfg, ds, split, &task->tokenizer));
  FC_TRY(fc_corpus_create(ds, task->tokenizer, &format, &task->corpus));
  fc_base_shape(cfg, fc_tokenizer_vocab_size(task->tokenizer), &shape);
  shape.lm_head = true;
  shape.pool = FC_POOL_MEAN; /* what the folder will say; model.pooling of a run goes first */
  FC_TRY(fc_model_shape_check(&shape));
  FC_TRY(fc_model_create(&shape, &task->model));
  return fc_trainable_create(task->model, &spec, &task->trainable);
}

static fc_err fill_random(void *arg, float *weights) {
  const fc_parallel *p = arg;
  fc_model_init_weights(p->task->model, p->seed, false, weights);
  return FC_ERR_OK;
}

static fc_optimizer_settings optimizer(const fc_config *cfg) {
  int64_t steps = fc_config_int(cfg, "pretrain.steps");
  return (fc_optimizer_settings){
      .kind = fc_optimizer_find("adamw"),
      .learning_rate = (float)fc_config_real(cfg, "pretrain.learning_rate"),
      .beta1 = 0.9f,
      .beta2 = 0.98f, /* as RoBERTa's pretraining: short memory of the second moment */
      .eps = 1e-6f,
      .weight_decay = (float)fc_config_real(cfg, "pretrain.weight_decay"),
      .clip_norm = 1.0f,
      .schedule = "cosine",
      .warmup_steps = steps / 20,
      .total_steps = steps};
}

/* A line about every five seconds, with the time left. */
static void tell(int64_t step, int64_t steps, double loss, double start, double *told) {
  double now = fc_wall_time_s();
  if (step < steps && now - *told < 5.0) return;
  *told = now;
  fc_log(FC_LOG_INFO, "pretraining the embedded base: step %lld/%lld, loss %.3f, %.0f s left",
         (long long)step, (long long)steps, loss,
         (now - start) / (double)step * (double)(steps - step));
}

static fc_err train(fc_parallel *p, const fc_split *split, int batch, int64_t steps,
                    uint32_t *drawn) {
  size_t n = 0;
  const uint32_t *samples = fc_split_public(split, &n);
  double start = fc_wall_time_s(), told = start, recent = NAN, tokens = 0;
  for (int64_t step = 0; step < steps; step++) {
    fc_loss_result loss = {0};
    int count = fc_batch_draw(samples, n, batch, p->seed, 0, UINT64_MAX, step, drawn);
    FC_TRY(fc_parallel_step(p, drawn, count, step, &loss, &tokens));
    double now = loss.count ? loss.loss_sum / (double)loss.count : recent;
    recent = step == 0 ? now : 0.95 * recent + 0.05 * now;
    tell(step + 1, steps, recent, start, &told);
  }
  return FC_ERR_OK;
}

/* ---- publishing ------------------------------------------------------------------------------ */

static fc_err write_base(const fc_task_setup *task, const float *theta, const char *folder) {
  float *weights = NULL;
  FC_TRY(fc_alloc(fc_model_weight_count(task->model), sizeof *weights, &weights));
  fc_trainable_merge(task->trainable, theta, weights);
  fc_err err = fc_weights_write(task->model, weights, folder);
  fc_free(weights);
  FC_TRY(err);
  return fc_tokenizer_save(task->tokenizer, folder);
}

static fc_err publish(const fc_task_setup *task, const float *theta, const char *folder,
                      bool replace) {
  char *aside = NULL;
  FC_TRY(fc_folder_begin(folder, &aside));
  fc_err err = write_base(task, theta, aside);
  if (err == FC_ERR_OK) return fc_folder_publish(&aside, folder, replace);
  fc_folder_drop(&aside);
  return err;
}

static fc_err run(fc_parallel *p, fc_task_setup *task, const fc_config *cfg, const fc_split *split,
                  const char *folder, bool replace) {
  fc_optimizer_settings o = optimizer(cfg);
  int batch = (int)fc_config_int(cfg, "pretrain.batch");
  uint32_t *drawn = NULL;
  fc_threads threads = {0};
  fc_err err = fc_alloc((size_t)batch, sizeof *drawn, &drawn);
  if (err == FC_ERR_OK)
    err = fc_alloc(fc_trainable_count(task->trainable), sizeof(float), &p->theta);
  if (err == FC_ERR_OK)
    err = fc_threads_create(
        task, &(fc_thread_room){.cohort = 1, .batch = p->micro_batch, .kind = FC_WORK_TRAIN},
        omp_get_max_threads(), &threads);
  FC_TRY_GOTO(err, fc_agree(p->comm, err), done);
  p->threads = &threads;
  fc_trainable_init(task->trainable, p->seed, p->theta);
  FC_TRY_GOTO(err, fc_parallel_create(p, &o, batch), done);
  FC_TRY_GOTO(err, train(p, split, batch, fc_config_int(cfg, "pretrain.steps"), drawn), done);
  err = p->comm->rank == 0 ? publish(task, p->theta, folder, replace) : FC_ERR_OK;
  err = fc_agree(p->comm, err);
done:
  fc_threads_destroy(&threads);
  fc_free(p->theta);
  fc_free(drawn);
  fc_parallel_destroy(p);
  return err;
}

fc_err fc_base_pretrain(const fc_comm *comm, const fc_config *cfg, const fc_dataset *ds,
                        const fc_split *split, const char *folder, bool replace) {
  fc_task_setup task = {0};
  fc_parallel p = {.comm = comm,
                   .task = &task,
                   .micro_batch = (int)fc_config_int(cfg, "pretrain.micro_batch"),
                   .seed = (uint64_t)fc_config_int(cfg, "pretrain.seed")};
  const char *scratch = fc_config_string(cfg, "model.scratch");
  fc_err err = fc_agree(comm, setup(cfg, ds, split, &task));
  if (err == FC_ERR_OK)
    err = fc_weights_share(comm, task.model, *scratch ? scratch : NULL, false, fill_random, &p,
                           &task.weights);
  p.loss = task.loss;
  if (err == FC_ERR_OK) err = run(&p, &task, cfg, split, folder, replace);
  fc_task_destroy(&task);
  return err;
}

fc_err fc_federation_pretrain(const fc_comm *comm, fc_config *cfg, bool again, char **folder) {
  fc_data_settings data = fc_data_settings_read(cfg);
  fc_split_settings s = fc_split_settings_read(cfg);
  uint64_t seed = (uint64_t)fc_config_int(cfg, "data.seed");
  fc_dataset *ds = NULL;
  fc_split *split = NULL;
  fc_cell *cell = NULL;
  *folder = NULL;
  fc_err err = fc_check_configuration(cfg, &cell);
  fc_cell_destroy(&cell);
  if (err == FC_ERR_OK) err = fc_dataset_open(&data, seed, &ds);
  if (err == FC_ERR_OK)
    err = fc_split_create(&s, ds, data.public_fraction, seed, (uint64_t)fc_config_int(cfg, "seed"),
                          (uint32_t)fc_config_int(cfg, "population.devices"), &split);
  if (err == FC_ERR_OK) err = fc_base_folder(cfg, ds, split, folder);
  FC_TRY_GOTO(err, fc_agree(comm, err), done);
  int64_t made = access(*folder, R_OK) == 0;
  FC_TRY_GOTO(err, fc_comm_broadcast(comm, &made, sizeof made, 0), done);
  if (!made || again) err = fc_base_pretrain(comm, cfg, ds, split, *folder, again);
done:
  fc_split_destroy(&split);
  fc_dataset_destroy(&ds);
  return err;
}
