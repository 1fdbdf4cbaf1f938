/* evaluate.c - loss and accuracy on the test part. Blocks of test samples are dealt to ranks and
 * threads; their sums are exact, so the figures do not depend on who computed what. */
#include "federation.h"
#include <math.h>
#include <omp.h>

static fc_err evaluate_block(const fc_federation *fed, fc_thread *t, const float *theta,
                             const fc_block_view *view, int64_t block, fc_loss_result *result) {
  size_t n = 0;
  const uint32_t *test = fc_split_test(fed->task.split, &n);
  int64_t size = fed->set.local.batch, first = block * size;
  int count = (int)((int64_t)n - first < size ? (int64_t)n - first : size);
  fc_rng masking = fc_rng_open(fed->seed, FC_RNG_MASKING, UINT64_MAX, (uint64_t)block);
  const fc_batch *batch = NULL;
  FC_TRY(fc_batcher_fill(t->batcher, fed->task.corpus, fed->task.tokenizer, test + first, count,
                         fed->task.loss, masking, &batch));
  fc_member alone = {
      .sequences = batch->sequences, .theta = theta, .scope.view = view, .result = *result};
  fc_err err = fc_model_cohort_loss(t->work, &alone, 1, batch, fed->task.loss, NULL);
  *result = alone.result;
  return err;
}

static int64_t blocks_of(const fc_federation *fed) {
  size_t n = 0;
  fc_split_test(fed->task.split, &n);
  return ((int64_t)n + fed->set.local.batch - 1) / fed->set.local.batch;
}

fc_err fc_evaluate_alone(fc_federation *fed, fc_thread *thread, const float *theta,
                         fc_loss_result *result) {
  for (int64_t b = 0; b < blocks_of(fed); b++)
    FC_TRY(evaluate_block(fed, thread, theta, NULL, b, result));
  return FC_ERR_OK;
}

static fc_err own_blocks(fc_federation *fed, const fc_evaluated *what, int64_t first, int64_t own,
                         fc_loss_result *results) {
  fc_err_carry carry = {0};
#pragma omp parallel for schedule(dynamic, 1) num_threads(what->threads->n)
  for (int64_t b = 0; b < own; b++)
    fc_err_carry_put(&carry, evaluate_block(fed, &what->threads->thread[omp_get_thread_num()],
                                            what->theta, what->view, first + b, &results[b]));
  return fc_err_carry_raise(&carry);
}

fc_err fc_evaluate_global(fc_federation *fed, const fc_evaluated *what, fc_metrics *m) {
  enum { LOSS, COUNT, CORRECT, SUMS };
  int64_t first = 0, own = 0;
  fc_comm_share(blocks_of(fed), fed->comm->size, fed->comm->rank, &first, &own);
  fc_loss_result *results = NULL;
  double *x = NULL, sums[SUMS];
  fc_err err = fc_alloc((size_t)own, sizeof *results, &results);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)own * SUMS, sizeof *x, &x);
  if (err == FC_ERR_OK) err = own_blocks(fed, what, first, own, results);
  FC_TRY_GOTO(err, fc_agree(fed->comm, err), done);
  for (int64_t b = 0; b < own; b++) {
    x[b * SUMS + LOSS] = results[b].loss_sum;
    x[b * SUMS + COUNT] = (double)results[b].count;
    x[b * SUMS + CORRECT] = (double)results[b].correct;
  }
  FC_TRY_GOTO(err, fc_exact_sums(fed->comm, x, own, SUMS, sums), done);
  m->loss = sums[COUNT] > 0 ? sums[LOSS] / sums[COUNT] : (double)NAN;
  m->accuracy = sums[COUNT] > 0 ? sums[CORRECT] / sums[COUNT] : (double)NAN;
done:
  fc_free(results);
  fc_free(x);
  return err;
}

fc_err fc_evaluate_theta(fc_federation *fed, fc_metrics *m) {
  const fc_evaluated what = {.threads = &fed->threads, .theta = fed->theta};
  return fc_evaluate_global(fed, &what, m);
}
