/* method_flora.c - FLoRA [Wang+ 2024]: devices of their own LoRA rank r_k, scale g_k = alpha/r_k,
 * whose factors are stacked instead of averaged:
 *   B = [p_k g_k B_k side by side], A = [A_k below each other],   B A = sum_k p_k g_k B_k A_k,
 * exact, without the cross terms of averaged factors. All add B A to their base and begin the next
 * round with new factors: A drawn by each device, B zero.
 *
 * The merged base is the same for all, so it is the node's shared one that changes. fed->theta
 * holds the modules trained whole, averaged as FedAvg does, and an adapter whose B stays zero. What
 * users need to rebuild the model is /final/base beside it.
 *
 * A round's stack goes down to all devices; the participants of the next round are billed for it
 * (those of the first get the modules alone). */
#include "factors.h"
#include "merged.h"
#include "ranks.h"
#include <string.h>

typedef struct {
  fc_ranks *ranks;
  int64_t stacked; /* columns of the latest stack */
  float *start;    /* (P) the global model before a round */
} flora_state;

static void destroy(void *state) {
  flora_state *s = state;
  if (!s) return;
  fc_ranks_destroy(&s->ranks);
  fc_free(s->start);
  fc_free(s);
}

static fc_err create(fc_federation *fed, void **state) {
  flora_state *s = NULL;
  fc_err err = fc_alloc(1, sizeof *s, &s);
  *state = s;
  if (err == FC_ERR_OK) err = fc_alloc(fed->P, sizeof *s->start, &s->start);
  if (err == FC_ERR_OK) err = fc_ranks_create(fed, false, &s->ranks);
  return fc_agree(fed->comm, err);
}

static void check(fc_config *cfg) {
  fc_ranks_check(cfg);
  if (*fc_config_string(cfg, "adapter.init"))
    fc_config_fault(cfg, "adapter.init", "must be empty for federation.method = flora");
}

/* ---- the devices ------------------------------------------------------------------------------
 */

static fc_err plan(fc_federation *fed, fc_round *round) {
  const flora_state *s = fed->method_state;
  return fc_ranks_plan(fed, s->ranks, round);
}

/* theta (P) <- new factors, the global model's whole modules. */
static void begin(const fc_federation *fed, const fc_round *round, const fc_participant *p,
                  float *theta) {
  const fc_trainable *t = fc_trainable_of(fed, p);
  fc_rng rng = fc_rng_open(fed->seed, FC_RNG_ADAPTER_INIT, (uint64_t)round->number, p->device);
  size_t n = 0;
  const fc_trainable_part *own = fc_trainable_parts(t, &n);
  const fc_trainable_part *run = fc_trainable_parts(fed->task.trainable, &n);
  fc_trainable_init(t, fc_rng_u64(&rng), theta);
  for (size_t i = 0; i < n; i++)
    if (own[i].kind == 'W')
      memcpy(theta + own[i].offset, fed->theta + run[i].offset,
             (size_t)own[i].rows * (size_t)own[i].cols * sizeof *theta);
}

static fc_err train(fc_federation *fed, fc_round *round) {
  for (uint32_t i = 0; i < round->count; i++)
    begin(fed, round, &round->all[round->first + i], round->theta + (size_t)i * fed->P);
  FC_TRY(fc_agree(fed->comm, fc_train_participants(fed, round)));
  FC_TRY(fc_ranks_widen(fed, round, NULL));
  return fc_plan_deliver(fed, round);
}

static void bill(const fc_federation *fed, const fc_round *round, fc_participant *p) {
  const flora_state *s = fed->method_state;
  (void)round;
  fc_ranks_bill(fed, s->ranks, p, fc_ranks_weights(fed, (double)s->stacked),
                (double)fc_trainable_count(fc_trainable_of(fed, p)));
}

/* A device of the mean rank, a stack of as many as take part. */
static fc_err expect(const fc_federation *fed, fc_participant *p) {
  int64_t n = fc_participants_per_round(&fed->set, fc_cell_devices(fed->cell));
  double modules = fc_ranks_weights(fed, 0) * fed->set.bits_per_weight;
  FC_TRY(fc_ranks_expect(fed, p));
  p->load.downlink_bits = modules + (double)n * (p->load.uplink_bits - modules);
  return FC_ERR_OK;
}

/* ---- the server -------------------------------------------------------------------------------
 */

typedef struct {
  fc_federation *fed;
  bool is_measured;
  fc_layer_squares *own; /* (fc_layers_own) */
  fc_layer *layer;       /* (layers) what merging needs to know */
  float **stack;         /* (layers) on the node's first rank: B (out,R), then A (R,in) */
} stacking;

static size_t stack_count(const fc_layer *l) {
  return (size_t)l->columns * (size_t)(l->out + l->in);
}

/* The owner's stack in f32, as it is sent, and how far that is from the sum. */
static fc_err round_stack(void *arg, fc_layer *l) {
  stacking *s = arg;
  FC_TRY(fc_alloc(stack_count(l), sizeof(float), &s->stack[l->number]));
  float *B = s->stack[l->number], *A = B + l->out * l->columns;
  for (int64_t r = 0; r < l->columns; r++) {
    for (int64_t o = 0; o < l->out; o++) B[o * l->columns + r] = (float)l->stack.bt[r * l->out + o];
    for (int64_t i = 0; i < l->in; i++) A[r * l->in + i] = (float)l->stack.a[r * l->in + i];
  }
  if (!s->is_measured) return FC_ERR_OK;
  double exact = 0, distance = 0;
  fc_stack_put(&l->stack, l->columns, l->columns, -1, B, l->columns, A);
  FC_TRY(fc_stack_norms(&l->stack, l->columns, &exact, &distance));
  s->own[l->number / s->fed->comm->size] = (fc_layer_squares){exact * exact, distance * distance};
  return FC_ERR_OK;
}

/* To the ranks that merge it. */
static fc_err share(void *arg, const fc_layer *l) {
  stacking *s = arg;
  const fc_comm *comm = s->fed->comm;
  float **stack = &s->stack[l->number];
  fc_err err = FC_ERR_OK;
  s->layer[l->number] = *l;
  if (comm->rank != l->owner) err = fc_alloc(stack_count(l), sizeof(float), stack);
  FC_TRY(fc_agree(comm, err));
  FC_TRY(fc_comm_broadcast(comm, *stack, stack_count(l) * sizeof(float), l->owner));
  if (comm->node_rank == 0) return FC_ERR_OK;
  fc_free(*stack);
  *stack = NULL;
  return FC_ERR_OK;
}

/* W += B A of every layer. */
static fc_err merge(void *arg, float *weights) {
  const stacking *s = arg;
  size_t n = 0;
  const fc_tensor *tensor = fc_model_tensors(s->fed->task.model, &n);
  for (int64_t i = 0; i < fc_layers_count(s->fed->task.trainable); i++) {
    const fc_layer *l = &s->layer[i];
    int R = (int)l->columns, in = (int)l->in;
    const float *B = s->stack[i], *A = B + l->out * l->columns;
    fc_k_linear_bwd_input(weights + tensor[l->tensor].offset, in, B, R, A, in, l->out, in, R, true);
  }
  return FC_ERR_OK;
}

static fc_err stacking_create(fc_federation *fed, stacking *s) {
  size_t layers = (size_t)fc_layers_count(fed->task.trainable);
  *s = (stacking){.fed = fed,
                  .is_measured = fc_config_bool(fed->cfg, "federation.aggregation_error")};
  FC_TRY(fc_alloc((size_t)fc_layers_own(fed), sizeof *s->own, &s->own));
  FC_TRY(fc_alloc(layers, sizeof *s->layer, &s->layer));
  return fc_alloc(layers, sizeof *s->stack, &s->stack);
}

static void stacking_destroy(stacking *s) {
  for (int64_t l = 0; s->stack && l < fc_layers_count(s->fed->task.trainable); l++)
    fc_free(s->stack[l]);
  fc_free(s->own);
  fc_free(s->layer);
  fc_free(s->stack);
}

static fc_err stack_and_merge(fc_federation *fed, fc_round *round, const fc_delivery *d) {
  stacking s;
  fc_err err = fc_agree(fed->comm, stacking_create(fed, &s));
  const fc_layer_visitor v = {
      .room = s.is_measured ? d->columns : 0, .work = round_stack, .share = share, .arg = &s};
  if (err == FC_ERR_OK) err = fc_layers_visit(fed, round, d, &v);
  if (err == FC_ERR_OK && s.is_measured) err = fc_layers_note_error(fed, round, s.own);
  if (err == FC_ERR_OK)
    err = fc_weights_change(fed->comm, fed->task.weights, fed->task.model, merge, &s);
  stacking_destroy(&s);
  return err;
}

/* The factors of the global model stay as they were. */
static void restore_factors(fc_federation *fed, const float *start) {
  size_t n = 0;
  const fc_trainable_part *part = fc_trainable_parts(fed->task.trainable, &n);
  for (size_t i = 0; i < n; i++)
    if (part[i].kind != 'W')
      memcpy(fed->theta + part[i].offset, start + part[i].offset,
             (size_t)part[i].rows * (size_t)part[i].cols * sizeof *start);
}

static fc_err server(fc_federation *fed, fc_round *round) {
  flora_state *s = fed->method_state;
  fc_delivery d = {0};
  memcpy(s->start, fed->theta, fed->P * sizeof *s->start);
  FC_TRY(fc_aggregate_mean(fed, round)); /* for the modules trained whole */
  restore_factors(fed, s->start);
  fc_err err = fc_delivery_find(fed, round, NULL, &d);
  if (err == FC_ERR_OK && d.any) err = stack_and_merge(fed, round, &d);
  s->stacked = d.any ? d.columns : 0;
  fc_delivery_destroy(&d);
  return err;
}

/* Stacks of all layers lie on the node once. */
static fc_err more_bytes(const fc_federation *fed, int ranks, int threads, double *rank_bytes,
                         double *node_bytes) {
  const fc_trainable *t = fed->task.trainable;
  int64_t n = fc_participants_per_round(&fed->set, fc_cell_devices(fed->cell));
  int64_t columns = n * fc_trainable_lora(t).rank;
  bool is_measured = fc_config_bool(fed->cfg, "federation.aggregation_error");
  (void)threads;
  *rank_bytes = fc_layers_bytes(t, columns, is_measured ? columns : 0, ranks);
  *node_bytes = sizeof(float) * (fc_ranks_weights(fed, (double)columns) - fc_ranks_weights(fed, 0));
  return FC_ERR_OK;
}

/* ---- files ------------------------------------------------------------------------------------
 */

static void save(fc_federation *fed, fc_store_file *f) {
  const flora_state *s = fed->method_state;
  fc_merged_put(fed, "/state/base", f);
  fc_store_put_number(f, "/state", "flora_stacked", (double)s->stacked);
}

static fc_err load(fc_federation *fed, const fc_store_reader *r) {
  flora_state *s = fed->method_state;
  double stacked = 0;
  fc_err err = fc_store_get_number(r, "/state", "flora_stacked", &stacked);
  s->stacked = (int64_t)stacked;
  FC_TRY(fc_agree(fed->comm, err));
  return fc_merged_get(fed->comm, &fed->task, "/state/base", r);
}

static void put_final(fc_federation *fed, fc_store_file *f) {
  fc_merged_put(fed, "/final/base", f);
}

const fc_method fc_method_flora = {
    .name = "flora",
    .meaning =
        "devices of their own LoRA rank: their factors are stacked and merged into the base, "
        "which every round adapts anew",
    .uses_radio = true,
    .create = create,
    .destroy = destroy,
    .check = check,
    .plan = plan,
    .train = train,
    .server = server,
    .evaluate = fc_evaluate_theta,
    .bill = bill,
    .expect = expect,
    .more_bytes = more_bytes,
    .save = save,
    .load = load,
    .put_final = put_final,
};
