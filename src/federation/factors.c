/* factors.c - the devices' LoRA factors between layouts, and whose arrived. */
#include "factors.h"
#include <string.h>

/* ---- layouts --------------------------------------------------------------------------------- */

double fc_factors_scale(const fc_trainable *t) {
  fc_lora_settings lora = fc_trainable_lora(t);
  return lora.rank ? (double)lora.alpha / lora.rank : 0.0;
}

/* The first `keep` columns of B (rows,from) and zeros <- B (rows,to), times `factor`. */
static void copy_b(float *to, int64_t wide, const float *from, int64_t narrow, int64_t keep,
                   int64_t rows, float factor) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < wide; j++)
      to[i * wide + j] = j < keep ? factor * from[i * narrow + j] : 0.0f;
}

/* to <- from, in another layout: the first `keep` rows of A and columns of B, the rest zero. */
static void copy_layout(const fc_trainable *t, float *to, const fc_trainable *source,
                        const float *from, int64_t keep) {
  size_t n = 0;
  const fc_trainable_part *p = fc_trainable_parts(t, &n), *q = fc_trainable_parts(source, &n);
  double factor = fc_factors_scale(source) / fc_factors_scale(t);
  for (size_t i = 0; i < n; i++) {
    float *x = to + p[i].offset;
    const float *y = from + q[i].offset;
    size_t all = (size_t)p[i].rows * (size_t)p[i].cols;
    size_t kept = (size_t)keep * (size_t)p[i].cols;
    if (p[i].kind == 'B') {
      copy_b(x, p[i].cols, y, q[i].cols, keep, p[i].rows, (float)factor);
    } else if (p[i].kind == 'A') {
      memcpy(x, y, kept * sizeof *x);
      memset(x + kept, 0, (all - kept) * sizeof *x);
    } else {
      memcpy(x, y, all * sizeof *x);
    }
  }
}

void fc_factors_narrow(const fc_federation *fed, const fc_participant *p, float *theta) {
  const fc_trainable *t = fc_trainable_of(fed, p);
  copy_layout(t, theta, fed->task.trainable, fed->theta, fc_trainable_lora(t).rank);
}

void fc_factors_widen(const fc_federation *fed, fc_participant *p, int64_t keep, float *theta,
                      float *scratch) {
  const fc_trainable *t = fc_trainable_of(fed, p);
  memcpy(scratch, theta, fc_trainable_count(t) * sizeof *theta);
  copy_layout(fed->task.trainable, theta, t, scratch, keep);
  fc_measure_change(fed, p, theta);
}

/* ---- what arrived ---------------------------------------------------------------------------- */

/* d->rank on all ranks; own (count) is scratch. */
static fc_err gather_ranks(const fc_federation *fed, const fc_round *round, const int64_t *rank,
                           double *own, fc_delivery *d) {
  for (uint32_t i = 0; i < round->count; i++) {
    const fc_participant *p = &round->all[round->first + i];
    int64_t all = fc_trainable_lora(fc_trainable_of(fed, p)).rank;
    own[i] = p->cost.delivered ? (double)(rank ? rank[i] : all) : 0.0;
  }
  return fc_plan_gather(fed, round, own, d->rank);
}

fc_err fc_delivery_find(const fc_federation *fed, const fc_round *round, const int64_t *rank,
                        fc_delivery *out) {
  double *own = NULL, total = 0;
  *out = (fc_delivery){0};
  fc_err err = fc_alloc(round->n, sizeof *out->rank, &out->rank);
  if (err == FC_ERR_OK) err = fc_alloc(round->n, sizeof *out->weight, &out->weight);
  if (err == FC_ERR_OK) err = fc_alloc(round->count, sizeof *own, &own);
  err = fc_agree(fed->comm, err);
  if (err == FC_ERR_OK) err = gather_ranks(fed, round, rank, own, out);
  for (uint32_t i = 0; i < round->n && err == FC_ERR_OK; i++) {
    out->columns += (int64_t)out->rank[i];
    if (out->rank[i] > 0) out->weight[i] = fed->set.weight_by_samples ? round->all[i].samples : 1;
    total += out->weight[i];
  }
  for (uint32_t i = 0; i < round->n && err == FC_ERR_OK; i++)
    out->weight[i] = total > 0 ? out->weight[i] / total : 0.0;
  out->any = total > 0;
  fc_free(own);
  if (err != FC_ERR_OK) fc_delivery_destroy(out);
  return err;
}

void fc_delivery_destroy(fc_delivery *d) {
  fc_free(d->rank);
  fc_free(d->weight);
  *d = (fc_delivery){0};
}
