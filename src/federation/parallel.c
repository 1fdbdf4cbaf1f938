/* parallel.c - data-parallel training of one model, for pretraining and the centralised yardstick.
 *
 * A step's samples are cut into micro-batches of fixed size. Each gives the gradient of its mean
 * loss; the step's gradient is their mean weighted by counted targets. Micro-batches are dealt to
 * ranks and threads and summed in fixed point, so the result depends on the micro-batch size but
 * not on who computed what. */
#include "federation.h"
#include <math.h>
#include <omp.h>
#include <string.h>

static int micro_batches(const fc_parallel *p, int n) {
  return (int)(((int64_t)n + p->micro_batch - 1) / p->micro_batch);
}

double fc_parallel_bytes(const fc_optimizer_settings *o, int max_batch, int micro_batch, int ranks,
                         size_t P) {
  double micro = ceil((double)max_batch / micro_batch), own = ceil(micro / ranks);
  return (double)P * (own * sizeof(float) + sizeof(int64_t)) +
         (double)fc_optimizer_state_count(o, P) * sizeof(float);
}

fc_err fc_parallel_create(fc_parallel *p, const fc_optimizer_settings *o, int max_batch) {
  size_t P = fc_trainable_count(p->task->trainable);
  int64_t first = 0, own = 0;
  fc_comm_share(micro_batches(p, max_batch), p->comm->size, 0, &first, &own);
  float *state = NULL;
  /* the first micro-batch's place also takes the sum */
  fc_err err = fc_alloc((size_t)(own > 0 ? own : 1) * P, sizeof(float), &p->gradients);
  if (err == FC_ERR_OK) err = fc_alloc(P, sizeof(int64_t), &p->sum);
  if (err == FC_ERR_OK) err = fc_alloc(fc_optimizer_state_count(o, P), sizeof(float), &state);
  if (err == FC_ERR_OK) p->optimizer = fc_optimizer_bind(o, P, state);
  return fc_agree(p->comm, err);
}

void fc_parallel_destroy(fc_parallel *p) {
  fc_free(p->gradients);
  fc_free(p->sum);
  fc_free(p->optimizer.state);
  *p = (fc_parallel){0};
}

typedef struct {
  fc_loss_result loss;
  int64_t tokens;
} micro_result;

/* Its result counts tokens, or a classifier's answers, where that of targets counts targets. */
static fc_err learn_from_teacher(const fc_parallel *p, fc_member *student, const fc_batch *batch,
                                 fc_loss_result *result) {
  int i = omp_get_thread_num();
  const fc_distillation *d = &p->distill[i];
  fc_distill_result r = {0};
  FC_TRY(fc_model_distill_grad(p->threads->thread[i].work, student, batch, p->loss, d, &r));
  double hidden = r.elements > 0 ? r.hidden_sum / (double)r.elements : 0.0;
  double divergence = r.rows > 0 ? r.kl_sum / (double)r.rows : 0.0;
  result->count = p->loss == FC_LOSS_CLASSIFY ? batch->sequences : batch->start[batch->sequences];
  result->loss_sum = ((double)d->hidden_weight * hidden + (double)d->kl_weight * divergence) *
                     (double)result->count;
  return FC_ERR_OK;
}

/* Gradient of micro-batch m into `gradient` (overwritten). */
static fc_err one_micro_batch(const fc_parallel *p, fc_thread *t, const uint32_t *samples, int n,
                              int m, int64_t step, float *gradient, micro_result *out) {
  int first = m * p->micro_batch;
  int count = n - first < p->micro_batch ? n - first : p->micro_batch;
  fc_rng masking = fc_rng_open(p->seed, FC_RNG_MASKING, (uint64_t)step, (uint64_t)m);
  fc_rng dropout = fc_rng_open(p->seed, FC_RNG_DROPOUT, (uint64_t)step, (uint64_t)m);
  const fc_batch *batch = NULL;
  FC_TRY(fc_batcher_fill(t->batcher, p->task->corpus, p->task->tokenizer, samples + first, count,
                         p->loss, masking, &batch));
  memset(gradient, 0, p->optimizer.n * sizeof(float));
  *out = (micro_result){.tokens = batch->start[batch->sequences]};
  fc_member alone = {.sequences = batch->sequences,
                     .theta = p->theta,
                     .scope = p->scope,
                     .dropout = dropout,
                     .dtheta = gradient};
  if (p->distill) return learn_from_teacher(p, &alone, batch, &out->loss);
  fc_err err = fc_model_cohort_grad(t->work, &alone, 1, batch, p->loss, NULL);
  out->loss = alone.result;
  return err;
}

static fc_err own_micro_batches(const fc_parallel *p, const uint32_t *samples, int n, int64_t step,
                                int first, int own, micro_result *results) {
  fc_err_carry carry = {0};
#pragma omp parallel for schedule(dynamic, 1) num_threads(p->threads->n)
  for (int i = 0; i < own; i++)
    fc_err_carry_put(
        &carry, one_micro_batch(p, &p->threads->thread[omp_get_thread_num()], samples, n, first + i,
                                step, p->gradients + (size_t)i * p->optimizer.n, &results[i]));
  return fc_err_carry_raise(&carry);
}

/* gradients[0] <- mean over all micro-batches of all ranks, weighted by their counts. */
static fc_err sum_gradients(fc_parallel *p, const micro_result *results, int own, double count) {
  int64_t P = (int64_t)p->optimizer.n;
  double largest = 0;
  for (int i = 0; i < own; i++)
    largest = fc_exact_larger(largest,
                              (double)fc_k_max_abs(p->gradients + (size_t)i * p->optimizer.n, P));
  FC_TRY(fc_comm_max(p->comm, &largest, 1));
  FC_CHECK(isfinite(largest), NUMERIC, "a gradient is not finite (learning rate %g too high?)",
           (double)p->optimizer.settings.learning_rate);
  double scale = fc_exact_scale(largest, 61);
  memset(p->sum, 0, p->optimizer.n * sizeof *p->sum);
  for (int i = 0; i < own; i++) {
    const double weight = (double)results[i].loss.count / count;
    fc_k_fixed_sum(p->sum, p->gradients + (size_t)i * p->optimizer.n, P, NULL, &weight, 1, scale,
                   P);
  }
  FC_TRY(fc_comm_sum_i64(p->comm, p->sum, p->optimizer.n));
  fc_k_fixed_get(p->gradients, p->sum, scale > 0 ? scale : 1.0, P);
  return FC_ERR_OK;
}

fc_err fc_parallel_step(fc_parallel *p, const uint32_t *samples, int n, int64_t step,
                        fc_loss_result *result, double *tokens) {
  enum { LOSS, COUNT, CORRECT, TOKENS, SUMS };
  int64_t first = 0, own = 0;
  fc_comm_share(micro_batches(p, n), p->comm->size, p->comm->rank, &first, &own);
  micro_result *results = NULL;
  double *x = NULL, sums[SUMS];
  fc_err err = fc_alloc((size_t)own, sizeof *results, &results);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)own * SUMS, sizeof *x, &x);
  if (err == FC_ERR_OK) err = own_micro_batches(p, samples, n, step, (int)first, (int)own, results);
  FC_TRY_GOTO(err, fc_agree(p->comm, err), done);
  for (int64_t i = 0; i < own; i++) {
    const double row[SUMS] = {results[i].loss.loss_sum, (double)results[i].loss.count,
                              (double)results[i].loss.correct, (double)results[i].tokens};
    memcpy(x + i * SUMS, row, sizeof row);
  }
  FC_TRY_GOTO(err, fc_exact_sums(p->comm, x, own, SUMS, sums), done);
  if (sums[COUNT] > 0) {
    FC_TRY_GOTO(err, sum_gradients(p, results, (int)own, sums[COUNT]), done);
    FC_TRY_GOTO(err, fc_optimizer_step(&p->optimizer, p->theta, p->gradients), done);
  }
  result->loss_sum += sums[LOSS];
  result->count += llrint(sums[COUNT]);
  result->correct += llrint(sums[CORRECT]);
  *tokens += sums[TOKENS];
done:
  fc_free(results);
  fc_free(x);
  return err;
}
