/* head.c - from the trunk's hidden states to losses and logits, and back.
 *
 * Classification: one row a sequence (first, last or mean of its tokens) -> [dense -> act] ->
 * classes. Language modelling: the rows that have a target -> [dense -> act -> norm] -> the token
 * table, computed in chunks together with the loss. Only rows that count are ever computed: a
 * masked-LM batch has a target at every seventh token. */
#include "internal.h"
#include <string.h>

static const fc_head *head_of(const fc_work *w, fc_loss_kind kind) {
  return kind == FC_LOSS_CLASSIFY ? &w->model->class_head : &w->model->lm_head;
}

/* ---- rows in and out ------------------------------------------------------------------------- */

static int64_t pooled_row(const fc_work *w, int32_t sequence) {
  const int64_t *start = w->batch->start;
  return w->model->shape.arch->pool_last ? start[sequence + 1] - 1 : start[sequence];
}

static void pool_mean(fc_work *w, int32_t sequence) {
  const int64_t *start = w->batch->start;
  int64_t C = w->model->shape.width;
  float *mean = w->pooled + sequence * C;
  memset(mean, 0, (size_t)C * sizeof *mean);
  for (int64_t n = start[sequence]; n < start[sequence + 1]; n++)
    fc_k_axpy(mean, 1.0F, w->hidden + n * C, C);
  fc_k_scale(mean, 1.0F / (float)(start[sequence + 1] - start[sequence]), C);
}

static void gather_rows(fc_work *w, int64_t M) {
  size_t C = (size_t)w->model->shape.width;
  for (int64_t i = 0; i < M; i++)
    memcpy(w->pooled + (size_t)i * C, w->hidden + (size_t)w->rows[i] * C, C * sizeof(float));
}

static int64_t gather_classes(fc_work *w) {
  const fc_batch *b = w->batch;
  bool is_mean = w->model->shape.pool == FC_POOL_MEAN;
  for (int32_t s = 0; s < b->sequences; s++) {
    w->rows[s] = pooled_row(w, s);
    w->targets[s] = b->labels ? b->labels[s] : FC_TARGET_IGNORE;
    if (is_mean) pool_mean(w, s);
  }
  if (!is_mean) gather_rows(w, b->sequences);
  for (int j = 0; j <= w->n_members; j++) w->head_bounds[j] = w->first_sequence[j];
  return b->sequences;
}

static int64_t gather_targets(fc_work *w) {
  int64_t M = 0;
  for (int j = 0; j < w->n_members; j++) {
    w->head_bounds[j] = M;
    for (int64_t n = w->bounds[j]; n < w->bounds[j + 1]; n++) {
      if (w->batch->targets[n] == FC_TARGET_IGNORE) continue;
      w->rows[M] = n;
      w->targets[M++] = w->batch->targets[n];
    }
  }
  w->head_bounds[w->n_members] = M;
  gather_rows(w, M);
  return M;
}

/* Rows of the hidden states that logits are asked of: all. */
static int64_t gather_all(fc_work *w, fc_loss_kind kind) {
  if (kind == FC_LOSS_CLASSIFY) return gather_classes(w);
  for (int64_t n = 0; n < w->n_rows; n++) w->rows[n] = n;
  for (int j = 0; j <= w->n_members; j++) w->head_bounds[j] = w->bounds[j];
  gather_rows(w, w->n_rows);
  return w->n_rows;
}

int64_t fc_head_gather(fc_work *w, fc_loss_kind kind) {
  int64_t M = kind == FC_LOSS_CLASSIFY ? gather_classes(w) : gather_targets(w);
  for (int j = 0; j < w->n_members; j++)
    for (int64_t i = w->head_bounds[j]; i < w->head_bounds[j + 1]; i++)
      w->scale[i] = 1.0F / (float)(w->head_bounds[j + 1] - w->head_bounds[j]);
  return M;
}

/* w->d = gradient of the hidden states from w->t, the gradient of the pooled rows. */
static void scatter(fc_work *w, fc_loss_kind kind, int64_t M) {
  int64_t C = w->model->shape.width;
  const int64_t *start = w->batch->start;
  memset(w->d, 0, (size_t)(w->n_rows * C) * sizeof *w->d);
  if (kind != FC_LOSS_CLASSIFY || w->model->shape.pool == FC_POOL_FIRST) {
    for (int64_t i = 0; i < M; i++)
      memcpy(w->d + w->rows[i] * C, w->t + i * C, (size_t)C * sizeof *w->d);
    return;
  }
  for (int64_t i = 0; i < M; i++) {
    float share = 1.0F / (float)(start[i + 1] - start[i]);
    for (int64_t n = start[i]; n < start[i + 1]; n++)
      fc_k_axpy(w->d + n * C, share, w->t + i * C, C);
  }
}

/* ---- dense part ------------------------------------------------------------------------------ */

/* Returns the input of the head's last product, (M,C). */
static const float *dense_fwd(fc_work *w, const fc_head *h) {
  const float *x = w->pooled;
  if (h->dense.n_pieces > 0) {
    fc_linear_act_fwd(w, &h->dense, w->dense, w->dense_act, h->act, x, w->head_bounds);
    x = w->dense_act;
  }
  if (h->norm.weight != FC_TENSOR_NONE) {
    fc_norm_fwd(w, &h->norm, w->normed, w->head_mean, w->head_rstd, x, w->head_bounds);
    x = w->normed;
  }
  return x;
}

/* w->t: gradient of dense_fwd's result, then of the pooled rows. False if it ends here. */
static bool dense_bwd(fc_work *w, const fc_head *h, int64_t M) {
  if (h->norm.weight != FC_TENSOR_NONE) {
    memset(w->d, 0, (size_t)(M * w->model->shape.width) * sizeof *w->d);
    fc_norm_bwd(w, &h->norm, w->d, w->t, w->dense_act, w->head_mean, w->head_rstd, w->head_bounds);
    fc_work_swap_gradients(w);
    if (!fc_work_goes_below(w, h->norm.stage)) return false;
  }
  if (h->dense.n_pieces == 0) return true;
  fc_k_act_bwd(w->t, w->t, w->dense, h->act, M * h->dense.out);
  bool goes_on = fc_work_goes_below(w, h->dense.stage);
  fc_linear_bwd(w, &h->dense, goes_on ? w->d : NULL, w->t, w->pooled, w->head_bounds, false);
  fc_work_swap_gradients(w);
  return goes_on;
}

/* ---- losses ---------------------------------------------------------------------------------- */

/* Both leave the gradient of x in w->t where one is wanted. */
static void class_loss(fc_work *w, const fc_head *h, const float *x) {
  fc_linear_fwd(w, &h->out, w->logits, x, w->head_bounds, false);
  for (int j = 0; j < w->n_members; j++) {
    int64_t first = w->head_bounds[j];
    float *logits = w->logits + first * h->out.out;
    fc_k_xent(w->loss + first, w->best + first, w->backward ? logits : NULL, logits,
              w->targets + first, w->scale[first], w->head_bounds[j + 1] - first, h->out.out);
  }
  if (!w->backward) return;
  float *dx = fc_work_goes_below(w, h->out.stage) ? w->t : NULL;
  fc_linear_bwd(w, &h->out, dx, w->logits, x, w->head_bounds, false);
}

static fc_lm_table table_of(const fc_work *w, const fc_work_member *m, const fc_linear *out) {
  const fc_piece *p = &out->piece[0];
  bool is_packed = w->model->panels && fc_trainable_whole(w->trainable, p->weight) < 0;
  return (fc_lm_table){.W = fc_work_tensor(w, m, p->weight),
                       .bias = fc_work_tensor(w, m, p->bias),
                       .panels = is_packed ? w->model->panels + out->panels : NULL,
                       .panels_t = is_packed ? w->model->panels + out->panels_t : NULL};
}

/* All members together where the token table is the frozen one: it is by far the largest. */
static void lm_loss(fc_work *w, const fc_head *h, const float *x) {
  const fc_piece *p = &h->out.piece[0];
  bool is_whole = fc_trainable_has_whole(w->trainable, &h->out);
  for (int j = 0, next; j < w->n_members; j = next) {
    next = is_whole ? j + 1 : w->n_members;
    const fc_work_member *m = &w->members[j];
    int64_t first = w->head_bounds[j], at = first * h->out.in;
    const fc_lm_table table = table_of(w, m, &h->out);
    fc_k_lm_head(w->loss + first, w->best + first, w->backward ? w->t + at : NULL,
                 fc_work_gradient(m, p->weight), fc_work_gradient(m, p->bias), x + at, &table,
                 w->targets + first, w->scale + first, w->head_bounds[next] - first, h->out.in,
                 h->out.out, w->lm_scratch);
  }
}

/* From w->t, the gradient of the head's last input, to w->d. False if it ends in the head. */
static bool head_bwd(fc_work *w, const fc_head *h, fc_loss_kind kind, int64_t M) {
  if (!fc_work_goes_below(w, h->out.stage) || !dense_bwd(w, h, M)) return false;
  if (!fc_work_goes_below(w, w->model->head_stage)) return false;
  scatter(w, kind, M);
  return true;
}

bool fc_head_loss(fc_work *w, fc_loss_kind kind, int64_t M) {
  const fc_head *h = head_of(w, kind);
  const float *x = dense_fwd(w, h);
  if (kind == FC_LOSS_CLASSIFY)
    class_loss(w, h, x);
  else
    lm_loss(w, h, x);
  return head_bwd(w, h, kind, M);
}

/* ---- a caller's own loss: a single member ---------------------------------------------------- */

void fc_head_log_prob(fc_work *w, int64_t M) {
  const fc_head *h = &w->model->lm_head;
  const fc_lm_table table = table_of(w, &w->members[0], &h->out);
  fc_k_lm_log_prob(w->log_prob, w->entropy, dense_fwd(w, h), &table, w->targets, M, h->out.in,
                   h->out.out, w->lm_scratch);
  for (int64_t i = 0; i < M; i++) w->loss[i] = (float)-w->log_prob[i];
}

bool fc_head_hook_bwd(fc_work *w, int64_t M) {
  const fc_head *h = &w->model->lm_head;
  int64_t n = w->n_rows * w->model->shape.width;
  bool arrives = false;
  if (M > 0) {
    lm_loss(w, h, dense_fwd(w, h));
    arrives = head_bwd(w, h, FC_LOSS_CAUSAL_LM, M);
  }
  if (!fc_work_goes_below(w, w->model->head_stage)) return false;
  if (!arrives) memset(w->d, 0, (size_t)n * sizeof *w->d);
  fc_k_axpy(w->d, 1.0F, w->gap, n);
  return true;
}

/* ---- learning from a teacher: a single member ------------------------------------------------ */

/* As class_loss and lm_loss. x_teacher: input of the last product of the teacher's head. */
static void class_distill(fc_work *w, fc_work *teacher, const float *x, const float *x_teacher,
                          float scale, int64_t M) {
  const fc_linear *out = &w->model->class_head.out;
  fc_linear_fwd(w, out, w->logits, x, w->head_bounds, false);
  fc_linear_fwd(teacher, &teacher->model->class_head.out, teacher->logits, x_teacher,
                teacher->head_bounds, false);
  fc_k_kl(w->loss, w->logits, w->logits, teacher->logits, scale, M, out->out);
  float *dx = fc_work_goes_below(w, out->stage) ? w->t : NULL;
  fc_linear_bwd(w, out, dx, w->logits, x, w->head_bounds, false);
}

static void lm_distill(fc_work *w, fc_work *teacher, const float *x, const float *x_teacher,
                       float scale, int64_t M) {
  const fc_linear *out = &w->model->lm_head.out;
  const fc_work_member *m = &w->members[0];
  const fc_lm_table table = table_of(w, m, out);
  const fc_lm_table of_teacher =
      table_of(teacher, &teacher->members[0], &teacher->model->lm_head.out);
  fc_k_lm_distill(w->loss, w->t, fc_work_gradient(m, out->piece[0].weight),
                  fc_work_gradient(m, out->piece[0].bias), x, x_teacher, &table, &of_teacher, scale,
                  M, out->in, out->out, w->lm_scratch);
}

bool fc_head_distill(fc_work *w, fc_work *teacher, fc_loss_kind kind, float weight, int64_t *M) {
  const fc_head *h = head_of(w, kind);
  *M = gather_all(w, kind);
  gather_all(teacher, kind);
  const float *x = dense_fwd(w, h), *x_teacher = dense_fwd(teacher, head_of(teacher, kind));
  float scale = weight / (float)*M;
  if (kind == FC_LOSS_CLASSIFY)
    class_distill(w, teacher, x, x_teacher, scale, *M);
  else
    lm_distill(w, teacher, x, x_teacher, scale, *M);
  return head_bwd(w, h, kind, *M);
}

/* ---- logits ---------------------------------------------------------------------------------- */

/* Of a single member. */
static void logits_of_gathered(fc_work *w, const fc_head *h, int64_t M, float *logits) {
  w->head_bounds[0] = 0;
  w->head_bounds[1] = M;
  fc_linear_fwd(w, &h->out, logits, dense_fwd(w, h), w->head_bounds, false);
}

void fc_head_last_logits(fc_work *w, float *logits) {
  int32_t sequences = w->batch->sequences;
  for (int32_t i = 0; i < sequences; i++) w->rows[i] = i;
  gather_rows(w, sequences);
  logits_of_gathered(w, head_of(w, FC_LOSS_CAUSAL_LM), sequences, logits);
}

void fc_head_logits(fc_work *w, fc_loss_kind kind, float *logits) {
  logits_of_gathered(w, head_of(w, kind), gather_all(w, kind), logits);
}
