/* fc_descent.h - data-parallel optimiser steps: the same bits on any number of ranks and threads.
 *
 *   fc_descent_create(comm, &settings, P, threads, &d);
 *   fc_descent_step(d, theta, units, gradient_of_a_unit, arg, sums, FC_N);
 *
 * A step's work is cut into units (micro-batches), which the caller numbers. Units that follow each
 * other form a lane; lanes, of which there are at most FC_DESCENT_LANES, are dealt to ranks and
 * threads. Within a lane gradients are summed in float, unit after unit; the lanes in fixed point.
 * So the result depends on the units, not on who computed what. */
#ifndef FC_DESCENT_H
#define FC_DESCENT_H

#include "fedcell/fc_comm.h"
#include "fedcell/fc_optimizer.h"
#include "fedcell/fc_store.h"

enum {
  FC_DESCENT_LANES = 16, /* fixes the results: at most so many threads of all ranks work */
  FC_DESCENT_SUMS = 16
};

typedef struct fc_descent fc_descent;

/* Collective. Of P weights; `threads` of each rank share its lanes. */
fc_err fc_descent_create(const fc_comm *comm, const fc_optimizer_settings *o, size_t P, int threads,
                         fc_descent **out);
void fc_descent_destroy(fc_descent **d); /* accepts NULL; leaves *d == NULL */
/* What fc_descent_create takes on a rank. */
size_t fc_descent_bytes(const fc_optimizer_settings *o, size_t P, int ranks);
/* Its optimiser: state, steps taken. Borrowed. */
fc_optimizer *fc_descent_optimizer(fc_descent *d);

/* Adds a unit's part to `gradient` (P) and to `sums`. sums[0] is the unit's weight, e.g. its
 * targets: the step's gradient is the sum over units, divided by the sum of their weights, so what
 * is added here is the gradient of a sum, not of a mean. Called by several threads at once; thread:
 * from 0, below `threads`. */
typedef fc_err fc_descent_unit(void *arg, int thread, int64_t unit, float *gradient, double *sums);

/* Collective. One optimiser step on theta (P), the same on all ranks before and after. sums
 * (n_sums): over all units. Where they weigh nothing theta and optimiser stay as they are. NUMERIC
 * if a gradient or a sum is not finite. */
fc_err fc_descent_step(fc_descent *d, float *theta, int64_t units, fc_descent_unit *unit, void *arg,
                       double *sums, int n_sums);
/* Collective. The same without gradients: forward passes whose sums do not depend on the ranks;
 * `unit` is called with gradient NULL. */
fc_err fc_descent_measure(fc_descent *d, int64_t units, fc_descent_unit *unit, void *arg,
                          double *sums, int n_sums);

/* ---- checkpoints: weights, optimiser and a number of the caller's -----------------------------
 */

/* Collective. `key`: what the training depends on. */
fc_err fc_descent_save(const fc_descent *d, const char *path, const char *key, const float *theta,
                       double number);
/* Collective. *number: NAN if there is no file at `path`, and nothing changes. USAGE if it was
 * saved with another key. */
fc_err fc_descent_load(fc_descent *d, const char *path, const char *key, float *theta,
                       double *number);
/* Collective. The same into a file that is being written, and from one that is open, for callers
 * that keep more than that. `path` is for messages. */
void fc_descent_put(const fc_descent *d, fc_store_file *f, const char *key, const float *theta,
                    double number);
/* Local. */
fc_err fc_descent_get(fc_descent *d, const fc_store_reader *r, const char *path, const char *key,
                      float *theta, double *number);

#endif
