/* train.c - local training: one device a thread, each with its own activations and gradient. */
#include "federation.h"
#include <omp.h>
#include <stdatomic.h>
#include <string.h>

static fc_err thread_create(const fc_task_setup *task, int batch, const fc_optimizer_settings *o,
                            fc_thread *t) {
  size_t P = fc_trainable_count(task->trainable);
  int longest = fc_corpus_longest(task->corpus);
  int64_t rows = (int64_t)batch * longest;
  FC_TRY(fc_work_create(task->model, task->trainable, rows, batch, longest, true, &t->work));
  FC_TRY(fc_batcher_create(batch, rows, &t->batcher));
  FC_TRY(fc_alloc((size_t)batch, sizeof *t->samples, &t->samples));
  if (!o) return FC_ERR_OK;
  FC_TRY(fc_alloc(P, sizeof(float), &t->gradient));
  return fc_alloc(fc_optimizer_state_count(o, P), sizeof(float), &t->optimizer_state);
}

fc_err fc_threads_create(const fc_task_setup *task, int batch, const fc_optimizer_settings *o,
                         int n, fc_threads *out) {
  FC_TRY(fc_alloc((size_t)n, sizeof *out->thread, &out->thread));
  out->n = n;
  for (int i = 0; i < n; i++) FC_TRY(thread_create(task, batch, o, &out->thread[i]));
  return FC_ERR_OK;
}

void fc_threads_destroy(fc_threads *t) {
  for (int i = 0; i < t->n; i++) {
    fc_work_destroy(&t->thread[i].work);
    fc_batcher_destroy(&t->thread[i].batcher);
    fc_free(t->thread[i].samples);
    fc_free(t->thread[i].gradient);
    fc_free(t->thread[i].optimizer_state);
  }
  fc_free(t->thread);
  *t = (fc_threads){0};
}

size_t fc_threads_bytes(const fc_task_setup *task, int batch, const fc_optimizer_settings *o,
                        int n) {
  size_t P = fc_trainable_count(task->trainable);
  int longest = fc_corpus_longest(task->corpus);
  int64_t rows = (int64_t)batch * longest;
  size_t one = fc_work_bytes(task->model, task->trainable, rows, batch, longest, true);
  one += (size_t)rows * 3 * sizeof(int32_t); /* the batcher's tokens, types, targets */
  if (o) one += (P + fc_optimizer_state_count(o, P)) * sizeof(float);
  return one * (size_t)n;
}

/* One mini-batch of the device: draws it, adds its gradient. */
static fc_err add_gradient(const fc_federation *fed, fc_thread *t, const fc_round *round,
                           fc_participant *p, int64_t iteration, const float *theta) {
  size_t n = 0;
  const uint32_t *own = fc_split_device(fed->task.split, p->device, &n);
  int drawn = fc_batch_draw(own, n, fed->set.local.batch, fed->seed, (uint64_t)round->number,
                            p->device, iteration, t->samples);
  /* every mini-batch has streams of its own; options.c keeps their number below 2^32 */
  uint64_t stream = (uint64_t)iteration << 32 | p->device;
  fc_rng masking = fc_rng_open(fed->seed, FC_RNG_MASKING, (uint64_t)round->number, stream);
  fc_rng dropout = fc_rng_open(fed->seed, FC_RNG_DROPOUT, (uint64_t)round->number, stream);
  const fc_batch *batch = NULL;
  FC_TRY(fc_batcher_fill(t->batcher, fed->task.corpus, fed->task.tokenizer, t->samples, drawn,
                         fed->task.loss, masking, &batch));
  p->tokens += (double)batch->start[batch->sequences];
  return fc_model_grad(t->work, theta, batch, fed->task.loss, dropout, t->gradient, &p->loss);
}

static fc_err train_device(const fc_federation *fed, fc_thread *t, const fc_round *round,
                           fc_participant *p, float *theta) {
  const fc_local_settings *local = &fed->set.local;
  if (p->samples == 0) return FC_ERR_OK; /* nothing to learn from: its model stays */
  fc_optimizer optimizer = fc_optimizer_bind(&local->optimizer, fed->P, t->optimizer_state);
  /* the schedule and its warm-up run over the whole federation, the moments only over this round */
  int64_t base = (round->number - 1) * local->iterations;
  optimizer.settings.schedule = "constant";
  optimizer.settings.warmup_steps = 0;
  for (int64_t i = 0; i < local->iterations; i++) {
    memset(t->gradient, 0, fed->P * sizeof(float));
    for (int64_t a = 0; a < local->accumulate; a++)
      FC_TRY(add_gradient(fed, t, round, p, i * local->accumulate + a, theta));
    if (local->accumulate > 1)
      fc_k_scale(t->gradient, 1.0f / (float)local->accumulate, (int64_t)fed->P);
    optimizer.settings.learning_rate = (float)((double)local->optimizer.learning_rate *
                                               fc_schedule_factor(&local->optimizer, base + i));
    FC_TRY(fc_optimizer_step(&optimizer, theta, t->gradient));
  }
  return FC_ERR_OK;
}

static fc_err named_failure(const fc_round *round, const fc_participant *p, fc_err err) {
  if (err == FC_ERR_OK) return err;
  return fc_fail(err, "round %lld, device %u: %s", (long long)round->number, p->device,
                 fc_err_message());
}

fc_err fc_train_participants(fc_federation *fed, fc_round *round) {
  fc_err_carry carry = {0};
  atomic_bool failed = false;
#pragma omp parallel for schedule(dynamic, 1) num_threads(fed->threads.n)
  for (uint32_t i = 0; i < round->count; i++) {
    if (atomic_load(&failed)) continue;
    fc_participant *p = &round->all[round->first + i];
    fc_err err = train_device(fed, &fed->threads.thread[omp_get_thread_num()], round, p,
                              round->theta + (size_t)i * fed->P);
    if (err != FC_ERR_OK) atomic_store(&failed, true);
    fc_err_carry_put(&carry, named_failure(round, p, err));
  }
  return fc_err_carry_raise(&carry);
}
