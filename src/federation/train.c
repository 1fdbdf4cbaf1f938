/* train.c - local training. The devices of a cohort take their steps together: the tokens of all
 * go through the frozen weights in one product, everything else is each device's own. Cohorts are
 * dealt to threads; where there is only one, the threads work inside its products. */
#include "federation.h"
#include <math.h>
#include <omp.h>
#include <stdatomic.h>
#include <string.h>

struct fc_trainee {
  fc_participant *p;
  float *theta; /* (P) trained in place */
  size_t first; /* its floats [first, first + optimizer.n) are stepped */
  fc_optimizer optimizer;
};
typedef struct fc_trainee trainee;

/* Rows from which a product with the frozen weights gains nothing from more, with room to spare.
 * CPU time of `fedcell bench train --case` (field "cohort", 32 tokens a device, one thread, bf16,
 * on a machine with other work): from 32 rows on nothing was gained at width 64, from 64 on at
 * width 256, from 512 on at 768 (GPT-2), where 512 rows were about 1.5 times as fast as 32. */
enum { ROWS_FOR_SPEED = 1024 };

/* ---- room ------------------------------------------------------------------------------------ */

static int64_t rows_of_device(const fc_task_setup *task, int batch) {
  return (int64_t)batch * fc_corpus_longest(task->corpus);
}

static int cohort_devices(const fc_task_setup *task, const fc_federation_settings *s,
                          uint32_t participants, int ranks, int threads) {
  int64_t most = s->cohort ? s->cohort : ROWS_FOR_SPEED / rows_of_device(task, s->local.batch);
  int64_t workers = (int64_t)ranks * threads, share = (participants + workers - 1) / workers;
  if (most > share) most = share;
  return most > 1 ? (int)most : 1;
}

fc_thread_room fc_room_of_run(const fc_task_setup *task, const fc_federation_settings *s,
                              uint32_t participants, int ranks, int threads) {
  fc_thread_room r = {.cohort = 1,
                      .batch = s->local.batch,
                      .kind = s->recompute ? FC_WORK_RECOMPUTE : FC_WORK_TRAIN};
  if (fc_method_find(s->method)->pools_data) return r;
  r.cohort = cohort_devices(task, s, participants, ranks, threads);
  r.optimizer = &s->local.optimizer;
  return r;
}

static fc_err thread_create(const fc_task_setup *task, const fc_thread_room *r, fc_thread *t) {
  size_t P = fc_trainable_count(task->trainable), cohort = (size_t)r->cohort;
  int64_t rows = r->cohort * rows_of_device(task, r->batch);
  int sequences = r->cohort * r->batch;
  FC_TRY(fc_work_create(task->model, task->trainable, rows, sequences,
                        fc_corpus_longest(task->corpus), r->kind, &t->work));
  FC_TRY(fc_batcher_create(sequences, rows, &t->batcher));
  FC_TRY(fc_alloc((size_t)sequences, sizeof *t->samples, &t->samples));
  if (!r->optimizer) return FC_ERR_OK;
  FC_TRY(fc_alloc(cohort, sizeof *t->trainees, &t->trainees));
  FC_TRY(fc_alloc(cohort, sizeof *t->members, &t->members));
  FC_TRY(fc_alloc(cohort, sizeof *t->parts, &t->parts));
  FC_TRY(fc_alloc(cohort * P, sizeof(float), &t->gradients));
  return fc_alloc(cohort * fc_optimizer_state_count(r->optimizer, P), sizeof(float),
                  &t->optimizer_states);
}

fc_err fc_threads_create(const fc_task_setup *task, const fc_thread_room *room, int n,
                         fc_threads *out) {
  FC_TRY(fc_alloc((size_t)n, sizeof *out->thread, &out->thread));
  out->n = n;
  out->cohort = room->cohort;
  for (int i = 0; i < n; i++) FC_TRY(thread_create(task, room, &out->thread[i]));
  return FC_ERR_OK;
}

void fc_threads_destroy(fc_threads *t) {
  for (int i = 0; i < t->n; i++) {
    fc_work_destroy(&t->thread[i].work);
    fc_batcher_destroy(&t->thread[i].batcher);
    fc_free(t->thread[i].trainees);
    fc_free(t->thread[i].members);
    fc_free(t->thread[i].parts);
    fc_free(t->thread[i].samples);
    fc_free(t->thread[i].gradients);
    fc_free(t->thread[i].optimizer_states);
  }
  fc_free(t->thread);
  *t = (fc_threads){0};
}

size_t fc_threads_bytes(const fc_task_setup *task, const fc_thread_room *r, int n) {
  size_t P = fc_trainable_count(task->trainable), cohort = (size_t)r->cohort;
  int64_t rows = r->cohort * rows_of_device(task, r->batch);
  size_t one = fc_work_bytes(task->model, task->trainable, rows, r->cohort * r->batch,
                             fc_corpus_longest(task->corpus), r->kind);
  one += (size_t)rows * 3 * sizeof(int32_t); /* the batcher's tokens, types, targets */
  if (r->optimizer) one += cohort * (P + fc_optimizer_state_count(r->optimizer, P)) * sizeof(float);
  return one * (size_t)n;
}

/* ---- one cohort ------------------------------------------------------------------------------ */

/* `failed` names the device, unless all are at fault. */
static fc_err named_failure(const fc_round *round, const trainee *failed, fc_err err) {
  if (err == FC_ERR_OK || !failed) return err;
  return fc_fail(err, "round %lld, device %u: %s", (long long)round->number, failed->p->device,
                 fc_err_message());
}

/* Draws the trainee's next mini-batch. Every mini-batch has random streams of its own; options.c
 * keeps their number below 2^32. */
static void draw(const fc_federation *fed, fc_thread *t, const fc_round *round, int64_t iteration,
                 int j) {
  const trainee *e = &t->trainees[j];
  size_t n = 0;
  const uint32_t *own = fc_split_device(fed->task.split, e->p->device, &n);
  uint32_t *samples = t->samples + (size_t)j * (size_t)fed->set.local.batch;
  uint64_t stream = (uint64_t)iteration << 32 | e->p->device, number = (uint64_t)round->number;
  int drawn = fc_batch_draw(own, n, fed->set.local.batch, fed->seed, number, e->p->device,
                            iteration, samples);
  t->parts[j] = (fc_batch_part){.samples = samples,
                                .n = drawn,
                                .masking = fc_rng_open(fed->seed, FC_RNG_MASKING, number, stream)};
  t->members[j] = (fc_member){.sequences = drawn,
                              .trainable = e->p->trainable,
                              .theta = e->theta,
                              .scope = e->p->scope,
                              .dropout = fc_rng_open(fed->seed, FC_RNG_DROPOUT, number, stream),
                              .dtheta = t->gradients + (size_t)j * fed->P,
                              .result = e->p->loss};
}

/* Adds the gradient of one mini-batch of each. */
static fc_err add_gradients(const fc_federation *fed, fc_thread *t, const fc_round *round, int n,
                            int64_t iteration) {
  const fc_batch *batch = NULL;
  for (int j = 0; j < n; j++) draw(fed, t, round, iteration, j);
  FC_TRY(fc_batcher_fill_parts(t->batcher, fed->task.corpus, fed->task.tokenizer, t->parts, n,
                               fed->task.loss, &batch));
  int failed = -1;
  fc_err err = fc_model_cohort_grad(t->work, t->members, n, batch, fed->task.loss, &failed);
  FC_TRY(named_failure(round, failed < 0 ? NULL : &t->trainees[failed], err));
  for (int j = 0, first = 0; j < n; first += t->members[j++].sequences) {
    fc_participant *p = t->trainees[j].p;
    p->loss = t->members[j].result;
    p->tokens += (double)(batch->start[first + t->members[j].sequences] - batch->start[first]);
  }
  return FC_ERR_OK;
}

static fc_err step(const fc_federation *fed, trainee *e, float *gradient, int64_t iteration,
                   int64_t round) {
  const fc_local_settings *local = &fed->set.local;
  int64_t n = (int64_t)fc_trainable_count(fc_trainable_of(fed, e->p));
  if (local->accumulate > 1) fc_k_scale(gradient, 1.0f / (float)local->accumulate, n);
  if (fed->method->regularise) fed->method->regularise(fed, e->p, e->theta, gradient);
  double factor =
      fc_schedule_factor(&local->optimizer, (round - 1) * local->iterations + iteration);
  e->optimizer.settings.learning_rate = (float)((double)local->optimizer.learning_rate * factor);
  return fc_optimizer_step(&e->optimizer, e->theta + e->first, gradient + e->first);
}

static fc_err train_trainees(const fc_federation *fed, fc_thread *t, const fc_round *round, int n) {
  const fc_local_settings *local = &fed->set.local;
  for (int64_t i = 0; i < local->iterations; i++) {
    memset(t->gradients, 0, (size_t)n * fed->P * sizeof(float));
    for (int64_t a = 0; a < local->accumulate; a++)
      FC_TRY(add_gradients(fed, t, round, n, i * local->accumulate + a));
    for (int j = 0; j < n; j++) {
      trainee *e = &t->trainees[j];
      fc_err err = step(fed, e, t->gradients + (size_t)j * fed->P, i, round->number);
      FC_TRY(named_failure(round, e, err));
    }
  }
  return FC_ERR_OK;
}

/* The trainee whose arrays are the thread's j-th. The schedule and its warm-up run over the whole
 * federation, the moments only over this round. */
static trainee bind(const fc_federation *fed, fc_thread *t, int j, fc_participant *p,
                    float *theta) {
  const fc_optimizer_settings *o = &fed->set.local.optimizer;
  float *state = t->optimizer_states + (size_t)j * fc_optimizer_state_count(o, fed->P);
  trainee e = {.p = p, .theta = theta};
  size_t n = fc_trainable_window(fc_trainable_of(fed, p), &p->scope, &e.first);
  e.optimizer = fc_optimizer_bind(o, n, state);
  e.optimizer.settings.schedule = "constant";
  e.optimizer.settings.warmup_steps = 0;
  return e;
}

/* Own participants [first, first + count); one without samples has nothing to learn from. */
static fc_err train_cohort(const fc_federation *fed, fc_thread *t, fc_round *round, int64_t first,
                           int64_t count) {
  int n = 0;
  for (int64_t i = first; i < first + count; i++) {
    fc_participant *p = &round->all[round->first + i];
    if (p->samples == 0) continue;
    t->trainees[n] = bind(fed, t, n, p, round->theta + (size_t)i * fed->P);
    n++;
  }
  if (n > 0) FC_TRY(train_trainees(fed, t, round, n));
  for (int j = 0; j < n; j++) fc_measure_change(fed, t->trainees[j].p, t->trainees[j].theta);
  return FC_ERR_OK;
}

/* ---- all of this rank ------------------------------------------------------------------------ */

/* As few cohorts as have room, but one for every thread, all of nearly the same size. */
static int cohorts_of(const fc_threads *t, uint32_t count) {
  int64_t n = ((int64_t)count + t->cohort - 1) / t->cohort;
  if (n < t->n) n = t->n;
  return (int)(n < count ? n : count);
}

fc_err fc_train_participants(fc_federation *fed, fc_round *round) {
  fc_err_carry carry = {0};
  atomic_bool failed = false;
  int cohorts = cohorts_of(&fed->threads, round->count);
  if (cohorts == 0) return FC_ERR_OK;
#pragma omp parallel for schedule(dynamic, 1)                                                      \
    num_threads(cohorts < fed->threads.n ? cohorts : fed->threads.n)
  for (int c = 0; c < cohorts; c++) {
    if (atomic_load(&failed)) continue;
    int64_t first = 0, count = 0;
    fc_comm_share(round->count, cohorts, c, &first, &count);
    fc_err err = train_cohort(fed, &fed->threads.thread[omp_get_thread_num()], round, first, count);
    if (err != FC_ERR_OK) atomic_store(&failed, true);
    fc_err_carry_put(&carry, err);
  }
  return fc_err_carry_raise(&carry);
}

fc_err fc_train_from_global(fc_federation *fed, fc_round *round) {
  for (uint32_t i = 0; i < round->count; i++)
    memcpy(round->theta + (size_t)i * fed->P,
           fed->theta + (size_t)round->all[round->first + i].module * fed->P,
           fed->P * sizeof(float));
  FC_TRY(fc_agree(fed->comm, fc_train_participants(fed, round)));
  return fc_plan_deliver(fed, round);
}
