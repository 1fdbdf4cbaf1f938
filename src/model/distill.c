/* distill.c - learning from another model's hidden states and logits [FedBiOT; Hinton+ 2015]:
 *   hidden_weight |h - h*|^2/|h*|^2 + kl_weight mean over rows of KL(softmax z* || softmax z)
 * The first term's gradient, 2 hidden_weight (h - h*)/|h*|^2, joins that of the second on its way
 * down where both are gradients of h. */
#include "internal.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static fc_err check_block(const char *whose, const fc_model *m, int block) {
  FC_CHECK(block >= 0 && block <= m->shape.layers, USAGE,
           "the %s's block %d for distillation: allowed is 0 to %d", whose, block, m->shape.layers);
  return FC_ERR_OK;
}

static fc_err check(const fc_work *student, fc_loss_kind kind, const fc_distillation *d) {
  FC_CHECK(student->training, USAGE, "this workspace was made for forward passes only");
  FC_CHECK(d->teacher != student, USAGE, "the teacher needs a workspace of its own");
  const fc_model_shape *s = &student->model->shape, *t = &d->teacher->model->shape;
  FC_CHECK(t->width == s->width, SHAPE, "the teacher's width is %d, the student's %d", t->width,
           s->width);
  FC_CHECK(t->vocab == s->vocab, SHAPE, "the teacher's vocabulary has %d words, the student's %d",
           t->vocab, s->vocab);
  FC_CHECK(kind != FC_LOSS_CLASSIFY || t->labels == s->labels, SHAPE,
           "the teacher knows %d labels, the student %d", t->labels, s->labels);
  FC_TRY(check_block("teacher", d->teacher->model, d->teacher_block));
  return check_block("student", student->model, d->student_block);
}

/* Where it begins: both run forward once more, as after a loss that is not finite. */
static const char *first_not_finite(fc_work *w) {
  w->watching = true;
  fc_trunk_fwd(w);
  w->watching = false;
  return w->found[0] ? w->found : "nothing in the trunk";
}

static fc_err fail_not_finite(fc_work *student, fc_work *teacher, const char *what) {
  return fc_fail(FC_ERR_NUMERIC,
                 "%s is not finite; first not finite: of the teacher %s, of the student %s", what,
                 first_not_finite(teacher), first_not_finite(student));
}

/* Both trunks stand at their blocks. student->gap becomes the term's gradient. */
static fc_err hidden_term(fc_work *student, const fc_distillation *d, fc_distill_result *result) {
  const float *h = fc_trunk_at(student, d->student_block);
  const float *h_teacher = fc_trunk_at(d->teacher, d->teacher_block);
  int64_t n = student->n_rows * student->model->shape.width;
  memcpy(student->gap, h, (size_t)n * sizeof *h);
  fc_k_axpy(student->gap, -1.0F, h_teacher, n);
  double norm = fc_k_sum_squares(h_teacher, n);
  FC_CHECK(norm != 0.0, NUMERIC, "distillation: all inputs of the teacher's block %d are zero",
           d->teacher_block);
  double share = fc_k_sum_squares(student->gap, n) / norm;
  if (!isfinite(share))
    return fail_not_finite(student, d->teacher, "distillation: the hidden states' difference");
  fc_k_scale(student->gap, (float)(2.0 * (double)d->hidden_weight / norm), n);
  result->hidden_sum += share * (double)n;
  result->elements += n;
  return FC_ERR_OK;
}

static fc_err add_divergence(fc_work *student, fc_work *teacher, int64_t M,
                             fc_distill_result *result) {
  int64_t bad = fc_k_first_not_finite(student->loss, M);
  if (bad < M) {
    const fc_batch *b = student->batch;
    int64_t row = student->rows[bad];
    int32_t sequence = fc_batch_sequence_of(b, row);
    char what[96];
    snprintf(what, sizeof what, "distillation: the divergence at sequence %d, token %lld", sequence,
             (long long)(row - b->start[sequence]));
    return fail_not_finite(student, teacher, what);
  }
  for (int64_t i = 0; i < M; i++) result->kl_sum += (double)student->loss[i];
  result->rows += M;
  return FC_ERR_OK;
}

/* Both models from their blocks on, and back to the student's: *arrives tells whether student->d is
 * the gradient of its input. */
static fc_err divergence_term(fc_work *student, fc_loss_kind kind, const fc_distillation *d,
                              bool *arrives, fc_distill_result *result) {
  int64_t M;
  fc_trunk_fwd_from(student, d->student_block);
  fc_trunk_fwd_from(d->teacher, d->teacher_block);
  bool goes_on = fc_head_distill(student, d->teacher, kind, d->kl_weight, &M);
  FC_TRY(add_divergence(student, d->teacher, M, result));
  *arrives = goes_on && fc_trunk_bwd_to(student, d->student_block);
  return FC_ERR_OK;
}

fc_err fc_model_distill_grad(fc_work *student, fc_member *member, const fc_batch *batch,
                             fc_loss_kind kind, const fc_distillation *d,
                             fc_distill_result *result) {
  int nobody;
  bool arrives = false, has_gap = d->hidden_weight != 0.0F;
  FC_TRY(check(student, kind, d));
  FC_TRY(fc_work_begin(d->teacher, batch, kind, false));
  FC_TRY(fc_work_begin(student, batch, kind, false));
  if (batch->sequences == 0) return FC_ERR_OK;
  FC_TRY(fc_work_join(student, member, 1, &nobody));
  fc_work_join_alone(d->teacher, d->teacher_theta);
  student->backward = true;
  student->dropping = student->dropped != NULL;
  fc_trunk_fwd_to(student, d->student_block);
  fc_trunk_fwd_to(d->teacher, d->teacher_block);
  if (has_gap) FC_TRY(hidden_term(student, d, result));
  if (d->kl_weight != 0.0F) FC_TRY(divergence_term(student, kind, d, &arrives, result));

  if (!fc_work_goes_below(student, fc_model_first_stage(d->student_block))) return FC_ERR_OK;
  int64_t n = student->n_rows * student->model->shape.width;
  if (!arrives) memset(student->d, 0, (size_t)n * sizeof *student->d);
  if (has_gap) fc_k_axpy(student->d, 1.0F, student->gap, n);
  if (arrives || has_gap) fc_trunk_bwd_from(student, d->student_block);
  return FC_ERR_OK;
}
