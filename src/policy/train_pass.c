/* train_pass.c - batches of prompts with answers, and a linear head on what the model makes of
 * them.
 */
#include "fedcell/fc_mem.h"
#include "train.h"
#include <string.h>

/* ---- batches --------------------------------------------------------------------------------- */

fc_text_pair fc_answers_get(const fc_answers *a, int64_t i) {
  return (fc_text_pair){.prefix = a->prefix,
                        .prompt = a->prompt + i * a->prompt_max,
                        .answer = a->answer + i * a->answer_max,
                        .prompt_n = a->prompt_n[i],
                        .answer_n = a->answer_n[i]};
}

static fc_err pass_create(const fc_model *m, const fc_trainable *t, int sequences, int length,
                          fc_pass *p) {
  size_t rows = (size_t)sequences * (size_t)length;
  FC_TRY(fc_alloc((size_t)sequences + 2, sizeof *p->start, &p->start)); /* with the prefix */
  FC_TRY(fc_alloc(rows, sizeof *p->tokens, &p->tokens));
  FC_TRY(fc_alloc(rows, sizeof *p->targets, &p->targets));
  p->batch = (fc_batch){.start = p->start, .tokens = p->tokens, .targets = p->targets};
  return fc_work_create(m, t, (int64_t)rows, sequences + 1, length, FC_WORK_TRAIN, &p->work);
}

fc_err fc_passes_create(const fc_model *m, const fc_trainable *t, int sequences, int length,
                        int threads, fc_pass **out) {
  *out = NULL;
  FC_TRY(fc_alloc((size_t)threads, sizeof **out, out));
  fc_err err = FC_ERR_OK;
  for (int i = 0; i < threads && err == FC_ERR_OK; i++)
    err = pass_create(m, t, sequences, length, &(*out)[i]);
  if (err != FC_ERR_OK) fc_passes_destroy(out, threads);
  return err;
}

void fc_passes_destroy(fc_pass **passes, int threads) {
  fc_pass *p = *passes;
  for (int i = 0; p && i < threads; i++) {
    fc_work_destroy(&p[i].work);
    fc_free(p[i].start);
    fc_free(p[i].tokens);
    fc_free(p[i].targets);
  }
  fc_free(p);
  *passes = NULL;
}

void fc_pass_clear(fc_pass *p) {
  p->batch.sequences = 0;
  p->batch.shares_first = false;
  p->start[0] = 0;
}

int fc_pass_texts(const fc_pass *p) {
  return p->batch.sequences - p->batch.shares_first;
}

int64_t fc_pass_last_row(const fc_pass *p, int text) {
  return p->start[text + p->batch.shares_first + 1] - 1;
}

/* Rows for a next sequence of n tokens, the first of it; no targets yet. */
static int64_t begin_sequence(fc_pass *p, int64_t n) {
  int64_t first = p->start[p->batch.sequences++];
  p->start[p->batch.sequences] = first + n;
  for (int64_t r = first; r < first + n; r++) p->targets[r] = FC_TARGET_IGNORE;
  return first;
}

static void add_prefix(fc_pass *p, const fc_tokens *prefix) {
  int64_t first = begin_sequence(p, (int64_t)prefix->n);
  memcpy(p->tokens + first, prefix->id, prefix->n * sizeof *p->tokens);
  p->batch.shares_first = true;
}

void fc_pass_add(fc_pass *p, fc_text_pair x, bool with_last) {
  if (p->batch.sequences == 0 && x.prefix->n > 0) add_prefix(p, x.prefix);
  int64_t n = x.prompt_n + x.answer_n - !with_last, first = begin_sequence(p, n);
  int64_t answer = first + x.prompt_n;
  memcpy(p->tokens + first, x.prompt, (size_t)x.prompt_n * sizeof *p->tokens);
  memcpy(p->tokens + answer, x.answer, (size_t)(first + n - answer) * sizeof *p->tokens);
  memcpy(p->targets + answer - 1, x.answer, (size_t)x.answer_n * sizeof *p->targets);
}

/* ---- a linear head --------------------------------------------------------------------------- */

double fc_linear_head_fwd(const fc_linear_head *v, const float *hidden) {
  double sum = (double)v->weight[v->width];
  for (int c = 0; c < v->width; c++) sum += (double)v->weight[c] * (double)hidden[c];
  return v->speed * sum;
}

void fc_linear_head_bwd(const fc_linear_head *v, double slope, const float *hidden, float *dhidden,
                        float *gradient) {
  double d = slope * v->speed;
  for (int c = 0; c < v->width; c++) {
    dhidden[c] += (float)(d * (double)v->weight[c]);
    gradient[c] += (float)(d * (double)hidden[c]);
  }
  gradient[v->width] += (float)d;
}
