/* factors.h - the LoRA factors that a round's devices have trained, whatever their ranks, as the
 * server sees them.
 *
 * A device of rank r holds A (r,n), B (m,r) of every adapted layer and the scale g_k of its own
 * trainable. What arrives is widened to the run's layout: its rows and columns first, the rest
 * zero, B times g_k/g, so that the run's g B A is the device's product. From then on a row of
 * round->theta is like any other, and only the first `rank` columns of it need be looked at.
 *
 *   fc_factors_narrow(fed, p, theta);                  // down: the first r of the global model
 *   ... train ...
 *   fc_factors_widen(fed, p, keep, theta, scratch);    // up
 *   fc_delivery_find(fed, round, rank, &d);            // whose arrived
 *   fc_layers_visit(fed, round, &d, &visitor);         // all devices' factors of a layer at once
 */
#ifndef FACTORS_H
#define FACTORS_H

#include "federation.h"
#include "lowrank.h"

/* Local. What the run's adapters multiply B A with; 0: it has none. */
double fc_factors_scale(const fc_trainable *t);
/* Local. theta (P) <- the global model as p->trainable has it: the first rows of A and columns of
 * B, these times g/g_k; whole tensors as they are. */
void fc_factors_narrow(const fc_federation *fed, const fc_participant *p, float *theta);
/* Local. theta (P) as p->trainable has it <- in the run's layout, columns and rows from `keep` on
 * zero; p->change anew. scratch (P). */
void fc_factors_widen(const fc_federation *fed, fc_participant *p, int64_t keep, float *theta,
                      float *scratch);

/* Whose factors arrived, the same on all ranks. */
typedef struct {
  double *rank;    /* (n) LoRA rank of what participant i delivered; 0: nothing arrived */
  double *weight;  /* (n) p_k [FedAvg]; 0 for those */
  int64_t columns; /* sum of the ranks */
  bool any;        /* the weights are not all 0 */
} fc_delivery;
/* Collective. rank (count): of own participants' factors; NULL: all that each has trained. *out is
 * empty on failure. */
fc_err fc_delivery_find(const fc_federation *fed, const fc_round *round, const int64_t *rank,
                        fc_delivery *out);
void fc_delivery_destroy(fc_delivery *d); /* accepts an empty one, and empties it */

/* An adapted layer. */
typedef struct {
  int64_t number;    /* from 0, in theta's order */
  int owner;         /* the rank that it falls to */
  int tensor;        /* of the model */
  int64_t out, in;   /* of the layer: B (out,R), A (R,in) */
  size_t a, b, next; /* where A, B and what follows begin in theta */
  int64_t columns;   /* of the devices in the stack */
  fc_stack stack;    /* the owner's: p_k g B_k and A_k in device order, then room */
} fc_layer;
typedef struct {
  int64_t room; /* columns that the stacks have beyond the devices' */
  /* Local, on the owner, inside a parallel region; uses the stack up. */
  fc_err (*work)(void *arg, fc_layer *layer);
  /* Collective, in the layers' order; or NULL. */
  fc_err (*share)(void *arg, const fc_layer *layer);
  void *arg;
} fc_layer_visitor;
int64_t fc_layers_count(const fc_trainable *t);
/* Collective. Every layer's factors go to the rank that it falls to, a few layers at a time. The
 * same bits on any number of ranks. */
fc_err fc_layers_visit(const fc_federation *fed, const fc_round *round, const fc_delivery *d,
                       const fc_layer_visitor *v);
/* Local. What that takes on each rank, `columns` of devices. */
double fc_layers_bytes(const fc_trainable *t, int64_t columns, int64_t room, int ranks);

/* Local. The same for all participants at the run's rank, if the error is measured
 * (fc_method.more_bytes). */
fc_err fc_layers_more_bytes(const fc_federation *fed, int ranks, int threads, double *rank_bytes,
                            double *node_bytes);

/* A layer's share of the error: |mean of the products|^2, |new product - mean|^2. */
typedef struct {
  double exact, distance;
} fc_layer_squares;
/* Local. How many layers fall to this rank; layer `number` is its number / ranks-th. */
int64_t fc_layers_own(const fc_federation *fed);
/* Collective. round->notes.aggregation_error from the layers that fell to each rank. */
fc_err fc_layers_note_error(const fc_federation *fed, fc_round *round, const fc_layer_squares *own);
/* Collective. round->notes.aggregation_error: the distance of the global adapter's products from
 * the exact weighted mean of those of the devices, over all layers, relative to that mean. NAN
 * where nothing arrived, the mean is zero, or there are no adapters. */
fc_err fc_factors_error(const fc_federation *fed, fc_round *round, const fc_delivery *d);
/* Collective. fc_aggregate_mean, then the above (federation.aggregation_error). */
fc_err fc_aggregate_measured(fc_federation *fed, fc_round *round);

#endif
