/* switching_ensemble.c - what the modules say together on the test part [SW (3)]: the risk is the
 * mean of their losses, the answer the class of the greatest mean probability. Blocks of samples
 * are dealt to ranks and threads, sums are exact. */
#include "switching.h"
#include <math.h>
#include <omp.h>

enum { LOSS, COUNT, CORRECT, SUMS };

/* mean (labels) += the module's probabilities of one sample; its loss. */
static double add_probabilities(const float *logits, int labels, int label, double *mean) {
  double top = logits[0], sum = 0;
  for (int c = 1; c < labels; c++) top = fmax(top, (double)logits[c]);
  for (int c = 0; c < labels; c++) sum += exp((double)logits[c] - top);
  for (int c = 0; c < labels; c++) mean[c] += exp((double)logits[c] - top) / sum;
  return log(sum) + top - (double)logits[label];
}

static int greatest(const double *x, int n) {
  int at = 0;
  for (int i = 1; i < n; i++)
    if (x[i] > x[at]) at = i;
  return at;
}

typedef struct {
  float *logits; /* (batch, labels) */
  double *mean;  /* (batch, labels) */
} room;

/* row (SUMS) <- of one block of test samples. */
static fc_err evaluate_block(const fc_federation *fed, fc_thread *t, const room *r, int64_t block,
                             double *row) {
  const int labels = fc_model_get_shape(fed->task.model)->labels, N = fed->set.modules;
  const fc_batch *batch = NULL;
  size_t n = 0;
  const uint32_t *test = fc_split_test(fed->task.split, &n);
  int64_t size = fed->set.local.batch, first = block * size, left = (int64_t)n - first;
  fc_rng unused = fc_rng_open(fed->seed, FC_RNG_MASKING, UINT64_MAX, (uint64_t)block);
  FC_TRY(fc_batcher_fill(t->batcher, fed->task.corpus, fed->task.tokenizer, test + first,
                         (int)(left < size ? left : size), fed->task.loss, unused, &batch));
  for (int i = 0; i < batch->sequences * labels; i++) r->mean[i] = 0;
  for (int m = 0; m < N; m++) {
    FC_TRY(fc_model_logits(t->work, fed->theta + (size_t)m * fed->P, batch, fed->task.loss,
                           r->logits));
    for (int i = 0; i < batch->sequences; i++)
      row[LOSS] += add_probabilities(r->logits + i * labels, labels, batch->labels[i],
                                     r->mean + i * labels) /
                   N;
  }
  for (int i = 0; i < batch->sequences; i++)
    row[CORRECT] += greatest(r->mean + i * labels, labels) == batch->labels[i];
  row[COUNT] = batch->sequences;
  return FC_ERR_OK;
}

/* x (own,SUMS) of the blocks from `first` on; room for each thread. */
static fc_err evaluate_own(const fc_federation *fed, const room *rooms, int64_t first, int64_t own,
                           double *x) {
  fc_err_carry carry = {0};
#pragma omp parallel for schedule(dynamic, 1) num_threads(fed->threads.n)
  for (int64_t b = 0; b < own; b++) {
    int t = omp_get_thread_num();
    fc_err_carry_put(
        &carry, evaluate_block(fed, &fed->threads.thread[t], &rooms[t], first + b, x + b * SUMS));
  }
  return fc_err_carry_raise(&carry);
}

static fc_err rooms_create(const fc_federation *fed, room **out) {
  size_t cells = (size_t)fed->set.local.batch * (size_t)fc_model_get_shape(fed->task.model)->labels;
  FC_TRY(fc_alloc((size_t)fed->threads.n, sizeof **out, out));
  for (int t = 0; t < fed->threads.n; t++) {
    FC_TRY(fc_alloc(cells, sizeof(float), &(*out)[t].logits));
    FC_TRY(fc_alloc(cells, sizeof(double), &(*out)[t].mean));
  }
  return FC_ERR_OK;
}

static void rooms_destroy(const fc_federation *fed, room *rooms) {
  for (int t = 0; rooms && t < fed->threads.n; t++) {
    fc_free(rooms[t].logits);
    fc_free(rooms[t].mean);
  }
  fc_free(rooms);
}

fc_err fc_evaluate_ensemble(fc_federation *fed, fc_metrics *m) {
  size_t n = 0;
  int64_t first = 0, own = 0, size = fed->set.local.batch;
  double *x = NULL, sums[SUMS];
  room *rooms = NULL;
  fc_split_test(fed->task.split, &n);
  fc_comm_share(((int64_t)n + size - 1) / size, fed->comm->size, fed->comm->rank, &first, &own);
  fc_err err = fc_alloc((size_t)own * SUMS, sizeof *x, &x);
  if (err == FC_ERR_OK) err = rooms_create(fed, &rooms);
  if (err == FC_ERR_OK) err = evaluate_own(fed, rooms, first, own, x);
  err = fc_agree(fed->comm, err);
  if (err == FC_ERR_OK) err = fc_exact_sums(fed->comm, x, own, SUMS, sums);
  if (err == FC_ERR_OK) {
    m->loss = sums[COUNT] > 0 ? sums[LOSS] / sums[COUNT] : (double)NAN;
    m->accuracy = sums[COUNT] > 0 ? sums[CORRECT] / sums[COUNT] : (double)NAN;
  }
  rooms_destroy(fed, rooms);
  fc_free(x);
  return err;
}
