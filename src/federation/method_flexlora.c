/* method_flexlora.c - FlexLoRA [Bai+ 2024]: devices of their own LoRA rank r_k, scale g_k =
 * alpha/r_k.
 *
 * The base station makes of every layer's mean product
 *   W = sum_k p_k g_k B_k A_k = U S V^T
 * its best approximation of the run's rank R, B = U_R S_R/g, A = V_R^T, and a device gets the best
 * one of its own rank, the first r_k columns and rows of these. W is never formed (lowrank.h).
 * Where W has fewer singular values than R, B is zero and A is what the plain mean has there.
 * aggregation_error is the root of the dropped s_i^2 relative to all; the base stays as it is. */
#include "factors.h"
#include "ranks.h"
#include <math.h>

static void destroy(void *state) {
  fc_ranks *ranks = state;
  fc_ranks_destroy(&ranks);
}

static fc_err create(fc_federation *fed, void **state) {
  fc_ranks *ranks = NULL;
  fc_err err = fc_ranks_create(fed, false, &ranks);
  *state = ranks;
  return fc_agree(fed->comm, err);
}

static fc_err plan(fc_federation *fed, fc_round *round) {
  return fc_ranks_plan(fed, fed->method_state, round);
}

static fc_err train(fc_federation *fed, fc_round *round) {
  fc_ranks_narrow(fed, round);
  FC_TRY(fc_agree(fed->comm, fc_train_participants(fed, round)));
  FC_TRY(fc_ranks_widen(fed, round, NULL));
  return fc_plan_deliver(fed, round);
}

static void bill(const fc_federation *fed, const fc_round *round, fc_participant *p) {
  double weights = (double)fc_trainable_count(fc_trainable_of(fed, p));
  (void)round;
  fc_ranks_bill(fed, fed->method_state, p, weights, weights);
}

/* ---- the server -------------------------------------------------------------------------------
 */

typedef struct {
  fc_federation *fed;
  fc_layer_squares *own; /* (fc_layers_own) */
} redistribution;

/* The first R singular values of the layer, in the owner's theta. */
static void take_largest(const fc_federation *fed, const fc_layer *l, const fc_stack_values *v) {
  int64_t R = (int64_t)(l->next - l->b) / l->out;
  double g = fc_factors_scale(fed->task.trainable);
  float *A = fed->theta + l->a, *B = fed->theta + l->b;
  for (int64_t j = 0; j < R; j++) {
    bool is_there = j < v->k;
    for (int64_t o = 0; o < l->out; o++)
      B[o * R + j] = is_there ? (float)(v->u[j * l->out + o] * v->values[j] / g) : 0.0f;
    for (int64_t i = 0; is_there && i < l->in; i++) A[j * l->in + i] = (float)v->v[j * l->in + i];
  }
}

static fc_err decompose(void *arg, fc_layer *l) {
  const redistribution *r = arg;
  fc_stack_values v;
  FC_TRY(fc_stack_svd(&l->stack, &v));
  take_largest(r->fed, l, &v);
  int64_t R = (int64_t)(l->next - l->b) / l->out;
  fc_layer_squares *s = &r->own[l->number / r->fed->comm->size];
  for (int64_t j = v.k - 1; j >= 0; j--) {
    s->exact += v.values[j] * v.values[j];
    if (j >= R) s->distance = s->exact;
  }
  fc_stack_values_destroy(&v);
  return FC_ERR_OK;
}

static fc_err share(void *arg, const fc_layer *l) {
  const redistribution *r = arg;
  return fc_comm_broadcast(r->fed->comm, r->fed->theta + l->a, (l->next - l->a) * sizeof(float),
                           l->owner);
}

static fc_err redistribute(fc_federation *fed, fc_round *round, const fc_delivery *d) {
  redistribution r = {.fed = fed};
  const fc_layer_visitor v = {.work = decompose, .share = share, .arg = &r};
  fc_err err = fc_alloc((size_t)fc_layers_own(fed), sizeof *r.own, &r.own);
  err = fc_agree(fed->comm, err);
  if (err == FC_ERR_OK) err = fc_layers_visit(fed, round, d, &v);
  if (err == FC_ERR_OK) err = fc_layers_note_error(fed, round, r.own);
  fc_free(r.own);
  return err;
}

/* The mean first, for the modules trained whole; then the decomposition replaces its factors. */
static fc_err server(fc_federation *fed, fc_round *round) {
  fc_delivery d = {0};
  FC_TRY(fc_aggregate_mean(fed, round));
  fc_err err = fc_delivery_find(fed, round, NULL, &d);
  if (err == FC_ERR_OK && d.any) err = redistribute(fed, round, &d);
  fc_delivery_destroy(&d);
  return err;
}

static fc_err more_bytes(const fc_federation *fed, int ranks, int threads, double *rank_bytes,
                         double *node_bytes) {
  const fc_trainable *t = fed->task.trainable;
  int64_t n = fc_participants_per_round(&fed->set, fc_cell_devices(fed->cell));
  (void)threads;
  *node_bytes = 0;
  *rank_bytes = fc_layers_bytes(t, n * fc_trainable_lora(t).rank, 0, ranks);
  return FC_ERR_OK;
}

const fc_method fc_method_flexlora = {
    .name = "flexlora",
    .meaning = "devices of their own LoRA rank: the base station decomposes the mean of their "
               "products, a device gets the largest singular values up to its rank",
    .uses_radio = true,
    .create = create,
    .destroy = destroy,
    .check = fc_ranks_check,
    .plan = plan,
    .train = train,
    .server = server,
    .evaluate = fc_evaluate_theta,
    .bill = bill,
    .expect = fc_ranks_expect,
    .more_bytes = more_bytes,
};
