/* fc_mean.h - the weighted sum of many vectors that lie on many ranks, in 64-bit fixed point: its
 * bits depend neither on the ranks nor on the order in which vectors come.
 *
 *   FC_TRY(fc_mean_create(comm, P, largest, &m));
 *   while (more) fc_mean_add(m, x, P, base, weight, rows);    // a few at a time, or all at once
 *   FC_TRY(fc_mean_take(m, out));                             // on rank 0
 */
#ifndef FC_MEAN_H
#define FC_MEAN_H

#include "fedcell/fc_comm.h"
#include "fedcell/fc_err.h"
#include <stddef.h>
#include <stdint.h>

typedef struct fc_mean fc_mean;

/* Collective. Of vectors of n elements, none larger than `largest` on this rank, with weights whose
 * sum over all ranks is at most 1. NUMERIC if `largest` is not finite. *out is NULL on failure. */
fc_err fc_mean_create(const fc_comm *comm, size_t n, double largest, fc_mean **out);
void fc_mean_destroy(fc_mean **m); /* accepts NULL; leaves *m == NULL */
/* Local. += sum over rows of weight[row] (x[row] - base); x (rows,n) ldx, base (n) or NULL. Rows of
 * weight 0 are not looked at. */
void fc_mean_add(fc_mean *m, const float *x, int64_t ldx, const float *base, const double *weight,
                 int64_t rows);
/* Collective. On rank 0, out (n) <- what all ranks have added. Once. */
fc_err fc_mean_take(fc_mean *m, float *out);

#endif
