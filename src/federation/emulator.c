/* emulator.c - see emulator.h. */
#include "emulator.h"
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

struct fc_emulator {
  bool distills;
  int layers, adapter;      /* blocks; of these, the last so many are the adapter's */
  int *layer;               /* (layers) block of the original that each of them is */
  fc_task_setup original;   /* model, weights and trainable alone are its own */
  fc_threads originals;     /* forward workspaces of the original, if it teaches or is evaluated */
  fc_task_setup tuned;      /* the emulator with what the server trains */
  fc_threads tuners;        /* workspaces for that */
  fc_distillation *distill; /* (threads) */
  fc_parallel parallel;
  float *psi; /* (trainable of `tuned`) */
  uint32_t *batch;
  int batch_size;
  int64_t steps; /* taken so far */
};

/* ---- weights --------------------------------------------------------------------------------- */

/* The original's tensor that this one of the emulator is. */
static const fc_tensor *source_of(const fc_emulator *e, const fc_model *emulator,
                                  const fc_tensor *t) {
  const fc_model *original = e->original.model;
  size_t n = 0, k = 0;
  const fc_tensor *all = fc_model_tensors(original, &n);
  if (t->layer < 0) return fc_model_find_tensor(original, t->name);
  /* blocks are alike: the k-th tensor of its block */
  const fc_tensor *own = fc_model_tensors(emulator, &n);
  for (const fc_tensor *before = own; before < t; before++) k += before->layer == t->layer;
  fc_model_tensors(original, &n);
  for (size_t i = 0; i < n; i++)
    if (all[i].layer == e->layer[t->layer] && k-- == 0) return &all[i];
  return NULL;
}

typedef struct {
  const fc_emulator *e;
  const fc_model *emulator;
  const fc_trainable *merged[2]; /* NULL: nothing further */
  const float *values[2];
} filling;

/* The emulator's weights <- the original's, with the low-rank factors and whole tensors of both
 * `merged` put in. */
static fc_err fill(void *arg, float *weights) {
  const filling *f = arg;
  size_t n = 0;
  const fc_tensor *t = fc_model_tensors(f->emulator, &n);
  const float *W0 = fc_model_weights(f->e->original.model);
  for (size_t i = 0; i < n; i++) {
    const fc_tensor *source = source_of(f->e, f->emulator, &t[i]);
    FC_CHECK(source && source->rows == t[i].rows && source->cols == t[i].cols, SHAPE,
             "%s of the emulator is not in the model", t[i].name);
    memcpy(weights + t[i].offset, W0 + source->offset,
           (size_t)t[i].rows * (size_t)t[i].cols * sizeof *weights);
  }
  for (int k = 0; k < 2 && f->merged[k]; k++)
    fc_trainable_merge(f->merged[k], f->values[k], weights);
  return FC_ERR_OK;
}

static fc_err refill(fc_federation *fed, const fc_emulator *e, const fc_trainable *merged,
                     const float *values) {
  filling f = {.e = e, .emulator = fed->task.model, .merged = {merged}, .values = {values}};
  return fc_weights_change(fed->comm, fed->task.weights, fed->task.model, fill, &f);
}

static int adapter_blocks(const fc_config *cfg) {
  return (int)fc_config_int(cfg, "adapter.last_blocks");
}

/* ---- creation -------------------------------------------------------------------------------- */

/* Moves the run's model into the emulator's keeping and makes the emulator the run's model. */
static fc_err make_model(fc_federation *fed, fc_emulator *e) {
  fc_task_setup *task = &fed->task;
  fc_model_shape shape = *fc_model_get_shape(task->model);
  e->original = *task;
  fed->named_as = e->original.trainable;
  task->model = NULL;
  task->weights = NULL;
  task->trainable = NULL;
  shape.layers = e->layers;
  fc_err err = fc_model_create(&shape, &task->model);
  if (err == FC_ERR_OK) err = fc_task_trainable(fed->cfg, task);
  return fc_agree(fed->comm, err);
}

static fc_err make_weights(fc_federation *fed, fc_emulator *e) {
  const char *scratch = fc_config_string(fed->cfg, "model.scratch");
  filling f = {.e = e, .emulator = fed->task.model};
  return fc_weights_share(fed->comm, fed->task.model, *scratch ? scratch : NULL, fed->task.is_bf16,
                          fill, &f, &fed->task.weights);
}

/* Low-rank factors on all linear layers of the emulator's part. */
static fc_err tuned_parts(const fc_config *cfg, const fc_model *emulator, fc_trainable **out) {
  static const char *const targets[] = {"all-linear"};
  const fc_trainable_spec spec = {.targets = targets,
                                  .n_targets = 1,
                                  .lora_rank = (int)fc_config_int(cfg, "server.rank"),
                                  .alpha = (float)fc_config_real(cfg, "server.alpha"),
                                  .next_block =
                                      fc_model_get_shape(emulator)->layers - adapter_blocks(cfg)};
  return fc_trainable_create(emulator, &spec, out);
}

static fc_err make_tuned(const fc_federation *fed, fc_emulator *e) {
  e->tuned = fed->task;
  e->tuned.trainable = NULL;
  FC_TRY(tuned_parts(fed->cfg, fed->task.model, &e->tuned.trainable));
  FC_TRY(fc_alloc(fc_trainable_count(e->tuned.trainable), sizeof *e->psi, &e->psi));
  fc_trainable_init(e->tuned.trainable, fed->seed, e->psi);
  return FC_ERR_OK;
}

static fc_err make_teachers(const fc_config *cfg, fc_emulator *e, int threads) {
  FC_TRY(fc_alloc((size_t)threads, sizeof *e->distill, &e->distill));
  int original = fc_model_get_shape(e->original.model)->layers;
  for (int i = 0; i < threads; i++)
    e->distill[i] =
        (fc_distillation){.teacher = e->originals.thread[i].work,
                          .teacher_block = original - e->adapter,
                          .student_block = e->layers - e->adapter,
                          .hidden_weight = (float)fc_config_real(cfg, "server.hidden_weight"),
                          .kl_weight = (float)fc_config_real(cfg, "server.kl_weight")};
  return FC_ERR_OK;
}

/* A micro-batch of the server is as large as a device's mini-batch. */
static fc_thread_room room_for(const fc_federation *fed, fc_work_kind kind) {
  return (fc_thread_room){.cohort = 1, .batch = fed->set.local.batch, .kind = kind};
}

static fc_err make_threads(fc_federation *fed, fc_emulator *e) {
  int threads = fed->threads.n;
  uint32_t n = (uint32_t)fc_participants_per_round(&fed->set, fc_cell_devices(fed->cell));
  fc_thread_room own = fc_room_of_run(&fed->task, &fed->set, n, fed->comm->size, threads);
  fc_thread_room forward = room_for(fed, FC_WORK_FORWARD);
  fc_thread_room tuning = room_for(fed, FC_WORK_TRAIN);
  fc_threads_destroy(&fed->threads);
  FC_TRY(fc_threads_create(&fed->task, &own, threads, &fed->threads));
  FC_TRY(fc_threads_create(&e->original, &forward, threads, &e->originals));
  FC_TRY(fc_threads_create(&e->tuned, &tuning, threads, &e->tuners));
  e->batch_size = (int)fc_config_int(fed->cfg, "server.batch");
  FC_TRY(fc_alloc((size_t)e->batch_size, sizeof *e->batch, &e->batch));
  return e->distills ? make_teachers(fed->cfg, e, threads) : FC_ERR_OK;
}

static fc_optimizer_settings optimizer_of(const fc_config *cfg) {
  return (fc_optimizer_settings){.kind = fc_optimizer_find("adamw"),
                                 .learning_rate =
                                     (float)fc_config_real(cfg, "server.learning_rate"),
                                 .beta1 = 0.9f,
                                 .beta2 = 0.999f,
                                 .eps = 1e-8f,
                                 .clip_norm = 1.0f,
                                 .schedule = "constant"};
}

static fc_err make_server(fc_federation *fed, fc_emulator *e) {
  fc_optimizer_settings o = optimizer_of(fed->cfg);
  e->parallel = (fc_parallel){.comm = fed->comm,
                              .task = &e->tuned,
                              .threads = &e->tuners,
                              .loss = fed->task.loss,
                              .micro_batch = fed->set.local.batch,
                              .seed = fed->seed,
                              .theta = e->psi,
                              .distill = e->distill};
  return fc_parallel_create(&e->parallel, &o, e->batch_size);
}

/* *emulator <- a model of the emulator's shape, without weights, and what the server trains of it;
 * also after a failure for drop_estimated. */
static fc_err estimated(const fc_federation *fed, const fc_emulator_plan *plan,
                        fc_task_setup *emulator) {
  fc_model_shape shape = *fc_model_get_shape(fed->task.model);
  *emulator = fed->task;
  emulator->model = NULL;
  emulator->trainable = NULL;
  shape.layers = plan->kept + adapter_blocks(fed->cfg);
  FC_TRY(fc_model_create(&shape, &emulator->model));
  return tuned_parts(fed->cfg, emulator->model, &emulator->trainable);
}

static void drop_estimated(fc_task_setup *emulator) {
  fc_trainable_destroy(&emulator->trainable);
  fc_model_destroy(&emulator->model);
}

fc_err fc_emulator_bytes(const fc_federation *fed, const fc_emulator_plan *plan, int ranks,
                         int threads, double *rank_bytes, double *node_bytes) {
  fc_task_setup emulator;
  fc_optimizer_settings o = optimizer_of(fed->cfg);
  fc_thread_room forward = room_for(fed, FC_WORK_FORWARD), tuning = room_for(fed, FC_WORK_TRAIN);
  fc_err err = estimated(fed, plan, &emulator);
  if (err == FC_ERR_OK) {
    size_t P = fc_trainable_count(emulator.trainable);
    *node_bytes = (double)fc_weights_share_bytes(emulator.model, fed->task.is_bf16);
    *rank_bytes = (double)(fc_threads_bytes(&fed->task, &forward, threads) +
                           fc_threads_bytes(&emulator, &tuning, threads)) +
                  (double)P * sizeof(float) +
                  fc_parallel_bytes(&o, (int)fc_config_int(fed->cfg, "server.batch"),
                                    fed->set.local.batch, ranks, P);
  }
  drop_estimated(&emulator);
  return err;
}

fc_err fc_emulator_expect_factors(const fc_federation *fed, const fc_emulator_plan *plan,
                                  double *factors) {
  fc_task_setup emulator;
  fc_err err = estimated(fed, plan, &emulator);
  if (err == FC_ERR_OK) *factors = (double)fc_trainable_count(emulator.trainable);
  drop_estimated(&emulator);
  return err;
}

void fc_emulator_check_options(fc_config *cfg) {
  if (!(fc_config_real(cfg, "data.public_fraction") > 0))
    fc_config_fault(cfg, "data.public_fraction",
                    "must be above 0 where the server learns from the public part "
                    "(server.tune_steps, server.first_steps)");
  if (!(fc_config_real(cfg, "server.alpha") > 0))
    fc_config_fault(cfg, "server.alpha", "must be above 0");
}

static fc_err check_public(const fc_federation *fed) {
  size_t n = 0;
  fc_split_public(fed->task.split, &n);
  FC_CHECK(n > 0, USAGE,
           "server.tune_steps, server.first_steps: the server learns from the public part, and "
           "there is none: set data.public_fraction");
  return FC_ERR_OK;
}

void fc_emulator_blocks(int layers, int adapter, int kept, int *layer) {
  int others = layers - adapter;
  for (int i = 0; i < kept; i++)
    layer[i] = kept > 1 ? (int)((int64_t)i * (others - 1) / (kept - 1)) : 0;
  for (int i = 0; i < adapter; i++) layer[kept + i] = others + i;
}

static fc_err keep_plan(const fc_federation *fed, const fc_emulator_plan *plan, fc_emulator *e) {
  e->distills = plan->distills;
  e->adapter = adapter_blocks(fed->cfg);
  e->layers = plan->kept + e->adapter;
  FC_TRY(fc_alloc((size_t)e->layers, sizeof *e->layer, &e->layer));
  fc_emulator_blocks(fc_model_get_shape(fed->task.model)->layers, e->adapter, plan->kept, e->layer);
  return FC_ERR_OK;
}

fc_err fc_emulator_create(fc_federation *fed, const fc_emulator_plan *plan, fc_emulator **out) {
  fc_emulator *e = NULL;
  fc_err err = check_public(fed);
  if (err == FC_ERR_OK) err = fc_alloc(1, sizeof *e, &e);
  *out = e;
  if (err == FC_ERR_OK) err = keep_plan(fed, plan, e);
  FC_TRY(fc_agree(fed->comm, err));
  FC_TRY(make_model(fed, e));
  FC_TRY(make_weights(fed, e));
  err = make_tuned(fed, e);
  if (err == FC_ERR_OK) err = make_threads(fed, e);
  FC_TRY(fc_agree(fed->comm, err));
  return make_server(fed, e);
}

void fc_emulator_destroy(fc_emulator **emulator) {
  fc_emulator *e = *emulator;
  if (!e) return;
  fc_parallel_destroy(&e->parallel);
  fc_threads_destroy(&e->originals);
  fc_threads_destroy(&e->tuners);
  fc_trainable_destroy(&e->tuned.trainable);
  fc_trainable_destroy(&e->original.trainable);
  fc_weights_unshare(&e->original.weights);
  fc_model_destroy(&e->original.model);
  fc_free(e->distill);
  fc_free(e->psi);
  fc_free(e->batch);
  fc_free(e->layer);
  fc_free(e);
  *emulator = NULL;
}

size_t fc_emulator_factors(const fc_emulator *e) {
  return fc_trainable_count(e->tuned.trainable);
}

/* ---- the server's steps ---------------------------------------------------------------------- */

static fc_err take_steps(fc_federation *fed, fc_emulator *e, int64_t steps, fc_loss_result *loss,
                         double *tokens) {
  size_t n = 0;
  const uint32_t *public_part = fc_split_public(fed->task.split, &n);
  for (int64_t i = 0; i < steps; i++, e->steps++) {
    int drawn = fc_batch_draw(public_part, n, e->batch_size, fed->seed, 0, UINT32_MAX - 1, e->steps,
                              e->batch);
    FC_TRY(fc_parallel_step(&e->parallel, e->batch, drawn, e->steps, loss, tokens));
  }
  return FC_ERR_OK;
}

/* FLOP a token: the student's both ways, and the teacher's forward. */
static double flop_per_token(const fc_federation *fed, const fc_emulator *e) {
  int64_t samples = 0;
  const fc_flop_request r = {
      .sequence_length = fc_task_mean_length(&fed->task, fc_cell_devices(fed->cell), &samples),
      .with_lm_loss = fed->task.loss != FC_LOSS_CLASSIFY};
  fc_flop_count student = fc_trainable_flop(e->tuned.trainable, &e->parallel.scope, &r);
  fc_flop_count teacher = fc_trainable_flop(e->original.trainable, NULL, &r);
  return student.forward_flop + student.backward_flop + (e->distills ? teacher.forward_flop : 0.0);
}

fc_err fc_emulator_tune(fc_federation *fed, fc_emulator *e, const fc_block_view *view,
                        int64_t steps, fc_round *round) {
  fc_loss_result loss = {0};
  double tokens = 0;
  if (steps == 0) return FC_ERR_OK;
  e->parallel.scope = (fc_scope){.view = view};
  for (int i = 0; e->distill && i < fed->threads.n; i++) e->distill[i].teacher_theta = fed->theta;
  FC_TRY(refill(fed, e, fed->task.trainable, fed->theta));
  FC_TRY(take_steps(fed, e, steps, &loss, &tokens));
  FC_TRY(refill(fed, e, e->tuned.trainable, e->psi));
  round->latency_s += tokens * flop_per_token(fed, e) / fed->set.server_flops;
  round->notes.server_loss = loss.count ? loss.loss_sum / (double)loss.count : (double)NAN;
  e->parallel.scope = (fc_scope){0};
  return FC_ERR_OK;
}

fc_err fc_emulator_evaluate_original(fc_federation *fed, fc_emulator *e, fc_metrics *m) {
  const fc_evaluated what = {.threads = &e->originals, .theta = fed->theta};
  return fc_evaluate_global(fed, &what, m);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

/* The same on all ranks: each writes its share. */
static void put_share(const fc_comm *comm, fc_store_file *f, const char *path,
                      const char *description, const float *x, size_t n) {
  int64_t first = 0, own = 0;
  fc_comm_share((int64_t)n, comm->size, comm->rank, &first, &own);
  fc_store_put_f32(f, path, "", description, x + first, first, own, (int64_t)n);
}

void fc_emulator_save(fc_federation *fed, const fc_emulator *e, fc_store_file *f) {
  const fc_optimizer *o = &e->parallel.optimizer;
  put_share(fed->comm, f, "/state/emulator", "low-rank factors that the server trained", e->psi,
            o->n);
  put_share(fed->comm, f, "/state/emulator_optimizer", "its optimiser's state", o->state,
            fc_optimizer_state_count(&o->settings, o->n));
  fc_store_put_number(f, "/state", "emulator_steps", (double)e->steps);
  fc_store_put_number(f, "/state", "emulator_optimizer_step", (double)o->step);
}

fc_err fc_emulator_load(fc_federation *fed, fc_emulator *e, const fc_store_reader *r) {
  fc_optimizer *o = &e->parallel.optimizer;
  double steps = 0, updates = 0;
  int64_t states = (int64_t)fc_optimizer_state_count(&o->settings, o->n);
  fc_err err = fc_store_get_f32(r, "/state/emulator", 0, (int64_t)o->n, e->psi);
  if (err == FC_ERR_OK) err = fc_store_get_f32(r, "/state/emulator_optimizer", 0, states, o->state);
  if (err == FC_ERR_OK) err = fc_store_get_number(r, "/state", "emulator_steps", &steps);
  if (err == FC_ERR_OK) err = fc_store_get_number(r, "/state", "emulator_optimizer_step", &updates);
  FC_TRY(fc_agree(fed->comm, err));
  e->steps = (int64_t)steps;
  o->step = (int64_t)updates;
  return refill(fed, e, e->tuned.trainable, e->psi);
}
