/* compute.c - the public passes: checks of the batch, forward, loss, backward, and what to say when
 * a loss is not finite. */
#include "internal.h"
#include <limits.h>
#include <math.h>
#include <string.h>

/* ---- what may come in ------------------------------------------------------------------------ */

static const char *const loss_names[] = {[FC_LOSS_CAUSAL_LM] = "causal-LM",
                                         [FC_LOSS_MASKED_LM] = "masked-LM",
                                         [FC_LOSS_CLASSIFY] = "classification"};

static fc_err check_kind(const fc_model_shape *s, fc_loss_kind kind) {
  const char *family = s->arch->name;
  FC_CHECK(kind != FC_LOSS_CAUSAL_LM || s->arch->causal, USAGE,
           "a causal-LM loss needs a decoder; %s is an encoder", family);
  FC_CHECK(kind != FC_LOSS_MASKED_LM || (s->lm_head && !s->arch->causal), USAGE,
           "a masked-LM loss needs an encoder with its masked-LM head; this %s has none", family);
  FC_CHECK(kind != FC_LOSS_CLASSIFY || s->labels > 0, USAGE,
           "a classification loss needs a classification head; this %s has none", family);
  return FC_ERR_OK;
}

static fc_err check_sequences(const fc_work *w, const fc_batch *b) {
  const fc_model_shape *s = &w->model->shape;
  int positions = s->positions - s->arch->position_offset;
  FC_CHECK(b->sequences >= 0 && b->sequences <= w->max_sequences, SHAPE,
           "the batch has %d sequences, the workspace takes at most %d", b->sequences,
           w->max_sequences);
  if (b->sequences == 0) return FC_ERR_OK;
  FC_CHECK(b->start[0] == 0, SHAPE, "the batch's first sequence starts at row %lld, not 0",
           (long long)b->start[0]);
  FC_CHECK(!b->shares_first || s->arch->causal, USAGE,
           "sequences with a shared beginning need a decoder; %s is an encoder", s->arch->name);
  for (int32_t i = 0; i < b->sequences; i++) {
    long long length = (long long)(b->start[i + 1] - b->start[i]);
    FC_CHECK(length >= 1, SHAPE, "sequence %d of the batch has %lld tokens, allowed is 1 or more",
             i, length);
    if (b->shares_first && i > 0) length += (long long)b->start[1];
    FC_CHECK(length <= positions, SHAPE,
             "sequence %d of the batch has %lld tokens, %s has %d positions", i, length,
             s->arch->name, positions);
    FC_CHECK(length <= w->max_length, SHAPE,
             "sequence %d of the batch has %lld tokens, the workspace takes at most %d", i, length,
             w->max_length);
  }
  FC_CHECK(b->start[b->sequences] <= w->max_rows, SHAPE,
           "the batch has %lld tokens, the workspace takes at most %lld",
           (long long)b->start[b->sequences], (long long)w->max_rows);
  return FC_ERR_OK;
}

/* Every one of n values in [low, high]. */
static fc_err check_values(const char *what, const char *where, const int32_t *values, int64_t n,
                           int low, int high) {
  for (int64_t i = 0; i < n; i++) {
    FC_CHECK(values[i] >= low && values[i] <= high, DATA,
             "%s %d at %s %lld of the batch, allowed is %d to %d", what, values[i], where,
             (long long)i, low, high);
  }
  return FC_ERR_OK;
}

static fc_err check_inputs(const fc_work *w, const fc_batch *b, int64_t N) {
  const fc_model_shape *s = &w->model->shape;
  if (!b->inputs) FC_TRY(check_values("token", "row", b->tokens, N, 0, s->vocab - 1));
  if (b->types && s->types > 0)
    FC_TRY(check_values("token type", "row", b->types, N, 0, s->types - 1));
  return FC_ERR_OK;
}

static fc_err check_targets(const fc_work *w, const fc_batch *b, int64_t N, fc_loss_kind kind) {
  const fc_model_shape *s = &w->model->shape;
  if (kind == FC_LOSS_CLASSIFY) {
    FC_CHECK(b->labels, DATA, "a classification loss needs labels; the batch has none");
    return check_values("label", "sequence", b->labels, b->sequences, 0, s->labels - 1);
  }
  FC_CHECK(b->targets, DATA, "a %s loss needs targets; the batch has none", loss_names[kind]);
  return check_values("target", "row", b->targets, N, FC_TARGET_IGNORE, s->vocab - 1);
}

fc_err fc_work_begin(fc_work *w, const fc_batch *batch, fc_loss_kind kind, bool with_targets) {
  FC_TRY(check_kind(&w->model->shape, kind));
  FC_CHECK(!batch->shares_first || kind != FC_LOSS_CLASSIFY, USAGE,
           "sequences with a shared beginning have no classification loss");
  FC_TRY(check_sequences(w, batch));
  int64_t N = batch->sequences > 0 ? batch->start[batch->sequences] : 0;
  if (N > 0) FC_TRY(check_inputs(w, batch, N));
  if (N > 0 && with_targets) FC_TRY(check_targets(w, batch, N, kind));
  w->batch = batch;
  w->n_rows = N;
  w->backward = w->dropping = w->watching = false;
  w->goal = INT_MAX;
  w->head_importance = w->neuron_importance = NULL;
  w->dinputs = NULL;
  w->found[0] = '\0';
  return FC_ERR_OK;
}

void fc_work_join_alone(fc_work *w, const float *theta) {
  w->members[0] = (fc_work_member){.trainable = w->trainable, .theta = theta};
  w->n_members = 1;
  w->first_sequence[0] = 0;
  w->first_sequence[1] = w->batch->sequences;
  w->bounds[0] = 0;
  w->bounds[1] = w->n_rows;
}

static fc_err check_member(const fc_work *w, const fc_member *m, int j) {
  int layers = w->model->shape.layers, first = m->scope.first_block, next = m->scope.next_block;
  FC_CHECK(m->sequences >= 1, SHAPE,
           "member %d of the cohort has %d sequences, allowed is 1 or more", j, m->sequences);
  FC_CHECK(fc_trainable_fits(m->trainable ? m->trainable : w->trainable, w->trainable), SHAPE,
           "member %d of the cohort trains something else than the workspace was made for", j);
  FC_CHECK((first == 0 && next == 0) || (first >= 0 && first < next && next <= layers), SHAPE,
           "member %d of the cohort trains the blocks from %d to before %d of %d", j, first, next,
           layers);
  return fc_view_check(w->model, m->scope.view);
}

fc_err fc_work_join(fc_work *w, const fc_member *members, int n, int *failed) {
  const fc_batch *b = w->batch;
  int64_t sequences = 0;
  w->first_sequence[0] = 0;
  w->bounds[0] = 0;
  *failed = -1;
  FC_CHECK(!b->shares_first || n <= 1, USAGE,
           "a cohort of %d members cannot share a beginning of sequences", n);
  for (int j = 0; j < n; j++) {
    const fc_member *m = &members[j];
    const fc_trainable *t = m->trainable ? m->trainable : w->trainable;
    *failed = j;
    FC_TRY(check_member(w, m, j));
    sequences += m->sequences;
    FC_CHECK(sequences <= b->sequences, SHAPE,
             "the first %d members of the cohort have %lld sequences, the batch has %d", j + 1,
             (long long)sequences, b->sequences);
    fc_rng dropout = m->dropout;
    w->members[j] = (fc_work_member){.trainable = t,
                                     .theta = m->theta,
                                     .scope = m->scope,
                                     .dtheta = m->dtheta,
                                     .dropout_seed = fc_rng_u64(&dropout)};
    w->first_sequence[j + 1] = (int32_t)sequences;
    w->bounds[j + 1] = b->start[sequences];
    int lowest = fc_trainable_lowest_stage(t, &m->scope);
    if (lowest < w->goal) w->goal = lowest;
  }
  *failed = -1;
  FC_CHECK(sequences == b->sequences, SHAPE,
           "the cohort's members have %lld sequences, the batch has %d", (long long)sequences,
           b->sequences);
  w->n_members = n;
  return FC_ERR_OK;
}

/* ---- not finite ------------------------------------------------------------------------------ */

int32_t fc_batch_sequence_of(const fc_batch *b, int64_t row) {
  int32_t i = 0;
  while (b->start[i + 1] <= row) i++;
  return i;
}

fc_err fc_work_fail_not_finite(fc_work *w, fc_loss_kind kind, int j, int64_t i) {
  float loss = w->loss[i];
  const char *value = isnan(loss) ? "nan" : loss > 0.0F ? "inf" : "-inf"; /* never "-nan" */
  int64_t row = w->rows[i];
  int32_t sequence = kind == FC_LOSS_CLASSIFY ? (int32_t)i : fc_batch_sequence_of(w->batch, row);
  w->watching = true;
  fc_trunk_fwd(w);
  w->watching = false;
  return fc_fail(FC_ERR_NUMERIC, "%s loss is %s at sequence %d, token %lld; first not finite: %s",
                 loss_names[kind], value, sequence - w->first_sequence[j],
                 (long long)(row - w->batch->start[sequence]), w->found[0] ? w->found : "the head");
}

/* Sums the losses of member j's head rows; nothing is added if one is not finite. */
static fc_err add_result(fc_work *w, fc_loss_kind kind, int j, fc_loss_result *result) {
  int64_t first = w->head_bounds[j], M = w->head_bounds[j + 1] - first;
  int64_t bad = fc_k_first_not_finite(w->loss + first, M);
  if (bad < M) return fc_work_fail_not_finite(w, kind, j, first + bad);
  for (int64_t i = first; i < first + M; i++) {
    result->loss_sum += (double)w->loss[i];
    result->correct += w->best[i] == w->targets[i];
  }
  result->count += M;
  return FC_ERR_OK;
}

/* ---- passes ---------------------------------------------------------------------------------- */

static bool has_target(const fc_work *w, fc_loss_kind kind) {
  if (kind == FC_LOSS_CLASSIFY) return w->n_rows > 0;
  for (int64_t n = 0; n < w->n_rows; n++) {
    if (w->batch->targets[n] != FC_TARGET_IGNORE) return true;
  }
  return false;
}

fc_err fc_model_loss(fc_work *w, const float *theta, const fc_batch *batch, fc_loss_kind kind,
                     fc_loss_result *result) {
  FC_TRY(fc_work_begin(w, batch, kind, true));
  if (!has_target(w, kind)) return FC_ERR_OK;
  fc_work_join_alone(w, theta);
  fc_trunk_fwd(w);
  fc_head_loss(w, kind, fc_head_gather(w, kind));
  return add_result(w, kind, 0, result);
}

/* The losses of all members, after the head. */
static fc_err add_results(fc_work *w, fc_loss_kind kind, fc_member *members, int n, int *failed) {
  for (int j = 0; j < n; j++) {
    *failed = j;
    FC_TRY(add_result(w, kind, j, &members[j].result));
  }
  *failed = -1;
  return FC_ERR_OK;
}

fc_err fc_model_cohort_loss(fc_work *w, fc_member *members, int n, const fc_batch *batch,
                            fc_loss_kind kind, int *failed) {
  int nobody;
  if (!failed) failed = &nobody;
  *failed = -1;
  FC_TRY(fc_work_begin(w, batch, kind, true));
  FC_TRY(fc_work_join(w, members, n, failed));
  if (!has_target(w, kind)) return FC_ERR_OK;
  fc_trunk_fwd(w);
  fc_head_loss(w, kind, fc_head_gather(w, kind));
  return add_results(w, kind, members, n, failed);
}

fc_err fc_model_cohort_grad(fc_work *w, fc_member *members, int n, const fc_batch *batch,
                            fc_loss_kind kind, int *failed) {
  int nobody;
  if (!failed) failed = &nobody;
  *failed = -1;
  FC_CHECK(w->training, USAGE, "this workspace was made for forward passes only");
  FC_TRY(fc_work_begin(w, batch, kind, true));
  FC_TRY(fc_work_join(w, members, n, failed));
  if (!has_target(w, kind)) return FC_ERR_OK;
  w->backward = true;
  w->dropping = w->dropped != NULL;
  fc_trunk_fwd(w);
  bool goes_on = fc_head_loss(w, kind, fc_head_gather(w, kind));
  FC_TRY(add_results(w, kind, members, n, failed));
  if (goes_on) fc_trunk_bwd(w);
  return FC_ERR_OK;
}

/* Each sequence is a device of its own, which trains nothing. */
static void join_sequences(fc_work *w) {
  w->n_members = w->batch->sequences;
  for (int32_t i = 0; i <= w->n_members; i++) {
    if (i < w->n_members) w->members[i] = (fc_work_member){0};
    w->first_sequence[i] = i;
    w->bounds[i] = w->batch->start[i];
  }
}

fc_err fc_model_importance(fc_work *w, const fc_batch *batch, fc_loss_kind kind, double *heads,
                           double *neurons) {
  fc_loss_result ignored = {0};
  FC_CHECK(w->mask_gradient, USAGE, "this workspace was not made for importance");
  FC_CHECK(!batch->shares_first, USAGE, "importance is of sequences without a shared beginning");
  FC_TRY(fc_work_begin(w, batch, kind, true));
  if (!has_target(w, kind)) return FC_ERR_OK;
  join_sequences(w);
  w->backward = true;
  w->goal = w->lowest_stage;
  w->head_importance = heads;
  w->neuron_importance = neurons;
  fc_trunk_fwd(w);
  bool goes_on = fc_head_loss(w, kind, fc_head_gather(w, kind));
  for (int j = 0; j < w->n_members; j++) FC_TRY(add_result(w, kind, j, &ignored));
  if (goes_on) fc_trunk_bwd(w);
  return FC_ERR_OK;
}

fc_err fc_model_grad(fc_work *w, const float *theta, const fc_batch *batch, fc_loss_kind kind,
                     fc_rng dropout_rng, float *dtheta, fc_loss_result *result) {
  fc_member alone = {.sequences = batch->sequences,
                     .theta = theta,
                     .dropout = dropout_rng,
                     .dtheta = dtheta,
                     .result = *result};
  fc_err err = fc_model_cohort_grad(w, &alone, batch->sequences > 0, batch, kind, NULL);
  *result = alone.result;
  return err;
}

fc_err fc_model_next_logits(fc_work *w, const float *theta, const fc_batch *batch, float *logits) {
  FC_TRY(fc_work_begin(w, batch, FC_LOSS_CAUSAL_LM, false));
  fc_work_join_alone(w, theta);
  fc_trunk_fwd(w);
  fc_head_last_logits(w, logits);
  fc_cache_advance(w);
  return FC_ERR_OK;
}

fc_err fc_model_view_logits(fc_work *w, const float *theta, const fc_block_view *view,
                            const fc_batch *batch, fc_loss_kind kind, float *logits) {
  FC_TRY(fc_work_begin(w, batch, kind, false));
  FC_TRY(fc_view_check(w->model, view));
  if (w->n_rows == 0) return FC_ERR_OK;
  fc_work_join_alone(w, theta);
  w->members[0].scope.view = view;
  fc_trunk_fwd(w);
  fc_head_logits(w, kind, logits);
  return FC_ERR_OK;
}

fc_err fc_model_logits(fc_work *w, const float *theta, const fc_batch *batch, fc_loss_kind kind,
                       float *logits) {
  return fc_model_view_logits(w, theta, NULL, batch, kind, logits);
}
