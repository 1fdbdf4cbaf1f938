/* importance.c - which heads and neurons of the emulator matter most, found once by the server on
 * public samples, and the order that it gives them, in which every pruned emulator is a prefix. */
#include "cut.h"
#include <omp.h>
#include <string.h>

typedef struct {
  fc_federation *fed;
  const uint32_t *samples; /* the public ones that are looked at */
  int64_t n;               /* 0: the weights' norms are looked at */
  size_t heads, neurons;   /* of all blocks: layers x groups of heads, layers x neurons */
  fc_sum *sums;            /* (heads + neurons): exact, so no order of blocks shows */
  double *values;          /* (heads + neurons) */
} scores;

static fc_err score_block(const scores *s, fc_work *work, fc_batcher *batcher, int64_t block,
                          double *values) {
  const fc_federation *fed = s->fed;
  const fc_task_setup *task = &fed->task;
  int64_t first = block * fed->set.local.batch, left = s->n - first;
  int n = left < fed->set.local.batch ? (int)left : fed->set.local.batch;
  fc_rng masking = fc_rng_open(fed->seed, FC_RNG_MASKING, UINT64_MAX - 1, (uint64_t)block);
  const fc_batch *batch = NULL;
  memset(values, 0, (s->heads + s->neurons) * sizeof *values);
  FC_TRY(fc_batcher_fill(batcher, task->corpus, task->tokenizer, s->samples + first, n, task->loss,
                         masking, &batch));
  FC_TRY(fc_model_importance(work, batch, task->loss, values, values + s->heads));
#pragma omp critical(fc_scores)
  for (size_t i = 0; i < s->heads + s->neurons; i++) fc_sum_add(&s->sums[i], values[i]);
  return FC_ERR_OK;
}

/* One thread's share of this rank's blocks. */
static fc_err score_blocks(const scores *s, int64_t first, int64_t count) {
  const fc_task_setup *task = &s->fed->task;
  int batch = s->fed->set.local.batch, longest = fc_corpus_longest(task->corpus);
  int64_t rows = (int64_t)batch * longest;
  fc_work *work = NULL;
  fc_batcher *batcher = NULL;
  double *values = NULL;
  fc_err err = fc_work_create(task->model, NULL, rows, batch, longest, FC_WORK_IMPORTANCE, &work);
  if (err == FC_ERR_OK) err = fc_batcher_create(batch, rows, &batcher);
  if (err == FC_ERR_OK) err = fc_alloc(s->heads + s->neurons, sizeof *values, &values);
  for (int64_t b = first; b < first + count && err == FC_ERR_OK; b++)
    err = score_block(s, work, batcher, b, values);
  fc_work_destroy(&work);
  fc_batcher_destroy(&batcher);
  fc_free(values);
  return err;
}

static fc_err score_own_blocks(const scores *s) {
  const fc_comm *comm = s->fed->comm;
  int64_t blocks = (s->n + s->fed->set.local.batch - 1) / s->fed->set.local.batch, first, count;
  fc_err_carry carry = {0};
  fc_comm_share(blocks, comm->size, comm->rank, &first, &count);
#pragma omp parallel num_threads(s->fed->threads.n)
  {
    int64_t from = 0, own = 0;
    fc_comm_share(count, omp_get_num_threads(), omp_get_thread_num(), &from, &own);
    if (own > 0) fc_err_carry_put(&carry, score_blocks(s, first + from, own));
  }
  return fc_err_carry_raise(&carry);
}

static fc_err fisher_scores(scores *s) {
  fc_reduction over = fc_comm_reduction(s->fed->comm);
  fc_err err = fc_alloc(s->heads + s->neurons, sizeof *s->sums, &s->sums);
  if (err == FC_ERR_OK) err = score_own_blocks(s);
  FC_TRY(fc_agree(s->fed->comm, err));
  FC_TRY(fc_sum_over(&over, s->sums, s->heads + s->neurons));
  for (size_t i = 0; i < s->heads + s->neurons; i++) s->values[i] = fc_sum_value(&s->sums[i]);
  return FC_ERR_OK;
}

typedef struct {
  const fc_model *model;
  int blocks;
  const double *heads, *neurons;
} reordering;

static fc_err reorder(void *arg, float *weights) {
  const reordering *r = arg;
  return fc_model_reorder(r->model, 0, r->blocks, r->heads, r->neurons, weights);
}

static fc_err sort(scores *s, const fc_cut *cut) {
  fc_task_setup *task = &s->fed->task;
  FC_TRY(fc_agree(s->fed->comm, fc_alloc(s->heads + s->neurons, sizeof *s->values, &s->values)));
  if (s->n > 0)
    FC_TRY(fisher_scores(s));
  else
    fc_model_weight_importance(task->model, s->values, s->values + s->heads);
  reordering r = {task->model, cut->first, s->values, s->values + s->heads};
  return fc_weights_change(s->fed->comm, task->weights, task->model, reorder, &r);
}

/* The public samples to look at; 0: the weights' norms tell. */
static int64_t samples_of(const fc_federation *fed, const uint32_t **samples) {
  size_t n = 0;
  *samples = fc_split_public(fed->task.split, &n);
  int64_t most = fc_config_int(fed->cfg, "jcpba.importance_samples");
  if (fc_config_string(fed->cfg, "jcpba.importance")[0] != 'f') return 0;
  return (int64_t)n < most ? (int64_t)n : most;
}

double fc_sort_bytes(const fc_federation *fed, int threads) {
  const fc_model_shape *s = fc_model_get_shape(fed->task.model);
  const uint32_t *samples = NULL;
  int batch = fed->set.local.batch, longest = fc_corpus_longest(fed->task.corpus);
  double values = (double)s->layers * ((double)s->kv_heads + s->ffn);
  double bytes = values * sizeof(double);
  if (samples_of(fed, &samples) == 0) return bytes;
  size_t work = fc_work_bytes(fed->task.model, NULL, (int64_t)batch * longest, batch, longest,
                              FC_WORK_IMPORTANCE);
  return bytes + values * sizeof(fc_sum) + threads * ((double)work + values * sizeof(double));
}

fc_err fc_sort_emulator(fc_federation *fed, const fc_cut *cut) {
  const fc_model_shape *shape = fc_model_get_shape(fed->task.model);
  scores s = {.fed = fed,
              .heads = (size_t)shape->layers * (size_t)shape->kv_heads,
              .neurons = (size_t)shape->layers * (size_t)shape->ffn};
  s.n = samples_of(fed, &s.samples);
  fc_err err = sort(&s, cut);
  fc_free(s.sums);
  fc_free(s.values);
  return err;
}
