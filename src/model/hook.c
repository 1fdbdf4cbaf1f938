/* hook.c - a decoder's passes around the caller's own loss L: forward; the caller sees the hidden
 * states h and ln p of the targets and gives dL/dh and the weights -dL/d(ln p); backward from both.
 */
#include "internal.h"
#include <string.h>

enum { BELOW_ALL = -1 }; /* a stage: the backward pass goes down to the inputs */

static fc_err check(const fc_work *w, const float *dtheta, const float *dinputs) {
  FC_CHECK(w->training || (!dtheta && !dinputs), USAGE,
           "this workspace was made for forward passes only");
  FC_CHECK(w->first_kept == 0 || !dinputs, USAGE,
           "the gradient by inputs needs a workspace that keeps all blocks: something trained in "
           "the first one, or the kind for importance");
  return FC_ERR_OK;
}

/* One device, whose gradients may be wanted, also if nothing is trained. */
static fc_err join(fc_work *w, const float *theta, fc_rng dropout, float *dtheta, float *dinputs) {
  int nobody;
  fc_member alone = {
      .sequences = w->batch->sequences, .theta = theta, .dropout = dropout, .dtheta = dtheta};
  FC_TRY(fc_work_join(w, &alone, 1, &nobody));
  w->backward = dtheta || dinputs;
  w->dropping = w->backward && w->dropped;
  w->dinputs = dinputs;
  if (dinputs) w->goal = BELOW_ALL;
  return FC_ERR_OK;
}

static fc_err check_forward(fc_work *w, int64_t M) {
  int64_t C = w->model->shape.width, n = w->n_rows * C;
  int64_t bad = fc_k_first_not_finite(w->loss, M);
  if (bad < M) return fc_work_fail_not_finite(w, FC_LOSS_CAUSAL_LM, 0, bad);
  bad = fc_k_first_not_finite(w->hidden, n);
  FC_CHECK(bad == n, NUMERIC, "the hidden state of row %lld of the batch is not finite",
           (long long)(bad / C));
  return FC_ERR_OK;
}

static fc_err check_gradients(const fc_work *w, int64_t M) {
  int64_t C = w->model->shape.width, n = w->n_rows * C;
  int64_t bad = fc_k_first_not_finite(w->scale, M);
  FC_CHECK(bad == M, NUMERIC, "the weight of target %lld of the batch is not finite",
           (long long)bad);
  bad = fc_k_first_not_finite(w->gap, n);
  FC_CHECK(bad == n, NUMERIC, "the gradient of the hidden state of row %lld is not finite",
           (long long)(bad / C));
  return FC_ERR_OK;
}

static fc_err call(fc_work *w, int64_t M, fc_head_hook *hook, void *arg) {
  size_t n = (size_t)(w->n_rows * w->model->shape.width);
  fc_head_view view = {.rows = w->n_rows,
                       .hidden = w->hidden,
                       .n = M,
                       .row = w->rows,
                       .log_prob = w->log_prob,
                       .entropy = w->entropy};
  if (w->backward) {
    view.dhidden = memset(w->gap, 0, n * sizeof *w->gap);
    view.weight = memset(w->scale, 0, (size_t)M * sizeof *w->scale);
  }
  FC_TRY(hook(arg, &view));
  return w->backward ? check_gradients(w, M) : FC_ERR_OK;
}

fc_err fc_model_hook_grad(fc_work *w, const float *theta, const fc_batch *batch, fc_head_hook *hook,
                          void *arg, fc_rng dropout_rng, float *dtheta, float *dinputs) {
  FC_TRY(check(w, dtheta, dinputs));
  FC_TRY(fc_work_begin(w, batch, FC_LOSS_CAUSAL_LM, batch->targets != NULL));
  if (w->n_rows == 0) return hook(arg, &(fc_head_view){0});
  FC_TRY(join(w, theta, dropout_rng, dtheta, dinputs));
  fc_trunk_fwd(w);
  int64_t M = batch->targets ? fc_head_gather(w, FC_LOSS_CAUSAL_LM) : 0;
  fc_head_log_prob(w, M);
  FC_TRY(check_forward(w, M));
  FC_TRY(call(w, M, hook, arg));
  if (w->backward && fc_head_hook_bwd(w, M)) fc_trunk_bwd(w);
  return FC_ERR_OK;
}
