/* layers.c - all devices' factors of a layer at once, on the rank that the layer falls to.
 *
 * Layers are dealt to the ranks in turn and taken in waves, so that a rank holds the stacks of a
 * few layers only. A layer's owner receives from all ranks in rank order, which is device order:
 * what it computes does not depend on the ranks. */
#include "factors.h"
#include <assert.h>
#include <math.h>
#include <omp.h>
#include <string.h>

/* A rank takes as many layers at a time as fit into this, one at least. */
enum { WAVE_BYTES = 1 << 26, WAVE_LAYERS = 16 };

typedef struct {
  const fc_federation *fed;
  const fc_round *round;
  const fc_delivery *d;
  const fc_layer_visitor *v;
  int64_t layers, at_a_time;
  fc_layer *layer;       /* (layers) */
  float *own, *all;      /* the factors of a layer: of own participants, of everybody's */
  int64_t own_columns;   /* delivered by own participants */
  int64_t *counts;       /* (size) floats of each rank */
  int64_t *rank_columns; /* (size) */
} visit;

int64_t fc_layers_count(const fc_trainable *t) {
  size_t n = 0;
  int64_t layers = 0;
  const fc_trainable_part *part = fc_trainable_parts(t, &n);
  for (size_t i = 0; i < n; i++) layers += part[i].kind == 'A';
  return layers;
}

/* The most that out + in comes to, and the most bytes of a stack. */
static int64_t widest(const fc_trainable *t, int64_t R, double *stack_bytes) {
  size_t n = 0;
  int64_t sides = 0;
  const fc_trainable_part *p = fc_trainable_parts(t, &n);
  *stack_bytes = 0;
  for (size_t i = 0; i < n; i++) {
    if (p[i].kind != 'A') continue;
    int64_t out = p[i + 1].rows, in = p[i].cols;
    if (out + in > sides) sides = out + in;
    *stack_bytes = fmax(*stack_bytes, fc_stack_bytes(out, in, R));
  }
  return sides;
}

static int64_t layers_at_a_time(const fc_trainable *t, int64_t R) {
  double bytes = 0;
  widest(t, R, &bytes);
  double fit = bytes > 0 ? WAVE_BYTES / bytes : 1;
  return fit >= WAVE_LAYERS ? WAVE_LAYERS : fit >= 1 ? (int64_t)fit : 1;
}

double fc_layers_bytes(const fc_trainable *t, int64_t columns, int64_t room, int ranks) {
  double stack = 0, sides = (double)widest(t, columns + room, &stack);
  double layers = ceil((double)fc_layers_count(t) / ranks);
  double held = fmin(layers, (double)layers_at_a_time(t, columns + room));
  return held * stack + sides * (double)columns * sizeof(float) * (1 + 1.0 / ranks);
}

fc_err fc_layers_more_bytes(const fc_federation *fed, int ranks, int threads, double *rank_bytes,
                            double *node_bytes) {
  const fc_trainable *t = fed->task.trainable;
  int64_t R = fc_trainable_lora(t).rank;
  int64_t n = fc_participants_per_round(&fed->set, fc_cell_devices(fed->cell));
  (void)threads;
  *node_bytes = 0;
  *rank_bytes = R && fc_config_bool(fed->cfg, "federation.aggregation_error")
                    ? fc_layers_bytes(t, n * R, R, ranks)
                    : 0.0;
  return FC_ERR_OK;
}

/* ---- set-up ---------------------------------------------------------------------------------- */

static void find_layers(visit *x) {
  size_t n = 0;
  const fc_trainable_part *p = fc_trainable_parts(x->fed->task.trainable, &n);
  int64_t number = 0;
  for (size_t i = 0; i < n; i++) {
    if (p[i].kind != 'A') continue;
    const fc_trainable_part *b = &p[i + 1];
    x->layer[number] = (fc_layer){.number = number,
                                  .owner = (int)(number % x->fed->comm->size),
                                  .tensor = p[i].tensor,
                                  .out = b->rows,
                                  .in = p[i].cols,
                                  .a = p[i].offset,
                                  .b = b->offset,
                                  .next = b->offset + (size_t)b->rows * (size_t)b->cols,
                                  .columns = x->d->columns};
    number++;
  }
}

static void count_columns(visit *x) {
  const fc_comm *c = x->fed->comm;
  for (int rank = 0; rank < c->size; rank++) {
    int64_t first = 0, count = 0;
    fc_comm_share(x->round->n, c->size, rank, &first, &count); /* as fc_plan_share_out deals them */
    assert(rank != c->rank || (first == x->round->first && count == x->round->count));
    for (int64_t i = first; i < first + count; i++) x->rank_columns[rank] += (int64_t)x->d->rank[i];
  }
  x->own_columns = x->rank_columns[c->rank];
}

static fc_err create(visit *x) {
  const fc_trainable *t = x->fed->task.trainable;
  size_t size = (size_t)x->fed->comm->size;
  double bytes = 0;
  x->layers = fc_layers_count(t);
  x->at_a_time = layers_at_a_time(t, x->d->columns + x->v->room);
  size_t sides = (size_t)widest(t, 1, &bytes);
  FC_TRY(fc_alloc((size_t)x->layers, sizeof *x->layer, &x->layer));
  FC_TRY(fc_alloc(size, sizeof *x->counts, &x->counts));
  FC_TRY(fc_alloc(size, sizeof *x->rank_columns, &x->rank_columns));
  find_layers(x);
  count_columns(x);
  FC_TRY(fc_alloc((size_t)x->own_columns * sides, sizeof(float), &x->own));
  return fc_alloc((size_t)x->d->columns * sides, sizeof(float), &x->all);
}

static void destroy(visit *x) {
  for (int64_t l = 0; x->layer && l < x->layers; l++) fc_stack_destroy(&x->layer[l].stack);
  fc_free(x->layer);
  fc_free(x->counts);
  fc_free(x->rank_columns);
  fc_free(x->own);
  fc_free(x->all);
}

/* ---- one layer ------------------------------------------------------------------------------- */

/* Own participants' A (r,in) and B (out,r) of the layer one after the other. */
static void pack(const visit *x, const fc_layer *l) {
  float *to = x->own;
  int64_t wide = (int64_t)(l->next - l->b) / l->out;
  for (uint32_t i = 0; i < x->round->count; i++) {
    const float *theta = x->round->theta + (size_t)i * x->fed->P;
    int64_t r = (int64_t)x->d->rank[x->round->first + i];
    memcpy(to, theta + l->a, (size_t)(r * l->in) * sizeof *to);
    to += r * l->in;
    for (int64_t o = 0; o < l->out; o++, to += r)
      memcpy(to, theta + l->b + o * wide, (size_t)r * sizeof *to);
  }
}

static void unpack(const visit *x, fc_layer *l) {
  const float *from = x->all;
  double g = fc_factors_scale(x->fed->task.trainable);
  int64_t at = 0;
  for (uint32_t i = 0; i < x->round->n; i++) {
    int64_t r = (int64_t)x->d->rank[i];
    fc_stack_put(&l->stack, at, r, x->d->weight[i] * g, from + r * l->in, r, from);
    from += r * (l->in + l->out);
    at += r;
  }
}

/* Collective. */
static fc_err gather(visit *x, fc_layer *l) {
  const fc_comm *c = x->fed->comm;
  fc_err err = FC_ERR_OK;
  if (c->rank == l->owner) err = fc_stack_create(l->out, l->in, l->columns + x->v->room, &l->stack);
  FC_TRY(fc_agree(c, err));
  pack(x, l);
  for (int rank = 0; rank < c->size; rank++)
    x->counts[rank] = x->rank_columns[rank] * (l->in + l->out);
  FC_TRY(fc_comm_join(c, x->own, x->counts[c->rank], x->counts, x->all, l->owner));
  if (c->rank == l->owner) unpack(x, l);
  return FC_ERR_OK;
}

/* ---- waves ----------------------------------------------------------------------------------- */

/* Own layers among [first, next). LAPACK stays on one thread inside a parallel region. */
static fc_err work(const visit *x, int64_t first, int64_t next) {
  fc_err_carry carry = {0};
  int64_t size = x->fed->comm->size;
#pragma omp parallel for schedule(dynamic, 1) num_threads(x->fed->threads.n)
  for (int64_t l = first + x->fed->comm->rank; l < next; l += size)
    fc_err_carry_put(&carry, x->v->work(x->v->arg, &x->layer[l]));
  return fc_err_carry_raise(&carry);
}

/* Collective. `first` is a multiple of the ranks. */
static fc_err wave(visit *x, int64_t first, int64_t next) {
  for (int64_t l = first; l < next; l++) FC_TRY(gather(x, &x->layer[l]));
  FC_TRY(fc_agree(x->fed->comm, work(x, first, next)));
  for (int64_t l = first; l < next; l++) {
    if (x->v->share) FC_TRY(x->v->share(x->v->arg, &x->layer[l]));
    fc_stack_destroy(&x->layer[l].stack);
  }
  return FC_ERR_OK;
}

fc_err fc_layers_visit(const fc_federation *fed, const fc_round *round, const fc_delivery *d,
                       const fc_layer_visitor *v) {
  visit x = {.fed = fed, .round = round, .d = d, .v = v};
  fc_err err = fc_agree(fed->comm, create(&x));
  int64_t step = x.at_a_time * fed->comm->size;
  for (int64_t l = 0; err == FC_ERR_OK && l < x.layers; l += step)
    err = wave(&x, l, l + step < x.layers ? l + step : x.layers);
  destroy(&x);
  return err;
}

/* ---- how far the new adapter is from the mean -------------------------------------------------
 */

int64_t fc_layers_own(const fc_federation *fed) {
  const fc_comm *c = fed->comm;
  return (fc_layers_count(fed->task.trainable) + c->size - 1 - c->rank) / c->size;
}

fc_err fc_layers_note_error(const fc_federation *fed, fc_round *round,
                            const fc_layer_squares *own) {
  double sums[2];
  FC_TRY(fc_exact_sums(fed->comm, &own->exact, fc_layers_own(fed), 2, sums));
  if (sums[0] > 0) round->notes.aggregation_error = sqrt(sums[1] / sums[0]);
  return FC_ERR_OK;
}

typedef struct {
  const fc_federation *fed;
  fc_layer_squares *own; /* (fc_layers_own) */
} comparison;

/* The new product is taken away from the devices', in the room beside them. */
static fc_err compare(void *arg, fc_layer *l) {
  const comparison *c = arg;
  const fc_federation *fed = c->fed;
  double g = fc_factors_scale(fed->task.trainable), exact = 0, distance = 0;
  int64_t R = (int64_t)(l->next - l->b) / l->out;
  fc_stack_put(&l->stack, l->columns, R, -g, fed->theta + l->b, R, fed->theta + l->a);
  FC_TRY(fc_stack_norms(&l->stack, l->columns, &exact, &distance));
  c->own[l->number / fed->comm->size] = (fc_layer_squares){exact * exact, distance * distance};
  return FC_ERR_OK;
}

fc_err fc_factors_error(const fc_federation *fed, fc_round *round, const fc_delivery *d) {
  comparison c = {.fed = fed};
  const fc_layer_visitor v = {
      .room = fc_trainable_lora(fed->task.trainable).rank, .work = compare, .arg = &c};
  if (!d->any) return FC_ERR_OK;
  fc_err err = fc_alloc((size_t)fc_layers_own(fed), sizeof *c.own, &c.own);
  err = fc_agree(fed->comm, err);
  if (err == FC_ERR_OK) err = fc_layers_visit(fed, round, d, &v);
  if (err == FC_ERR_OK) err = fc_layers_note_error(fed, round, c.own);
  fc_free(c.own);
  return err;
}

fc_err fc_aggregate_measured(fc_federation *fed, fc_round *round) {
  fc_delivery d = {0};
  FC_TRY(fc_aggregate_mean(fed, round));
  if (!fc_config_bool(fed->cfg, "federation.aggregation_error")) return FC_ERR_OK;
  fc_err err = fc_delivery_find(fed, round, NULL, &d);
  if (err == FC_ERR_OK) err = fc_factors_error(fed, round, &d);
  fc_delivery_destroy(&d);
  return err;
}
