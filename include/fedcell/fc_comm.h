/* fc_comm.h - the ranks, and how they stay together.
 *
 * Rooms that work over ranks get an fc_comm. Every phase that can fail on one rank alone ends with
 * fc_agree(), so that all ranks leave together:
 *
 *   fc_err err = read_my_shard(...);
 *   FC_TRY(fc_agree(comm, err));      // all ranks get the failure, and its message
 *
 * Sums that must not depend on the number of ranks are taken in 64-bit fixed point
 * (fc_comm_sum_i64), or exactly (fc_sum.h). */
#ifndef FC_COMM_H
#define FC_COMM_H

#include "fedcell/fc_err.h"
#include "fedcell/fc_sum.h"
#include <mpi.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  MPI_Comm world; /* all ranks */
  MPI_Comm node;  /* the ranks that share this node's memory */
  MPI_Comm end;   /* all ranks again, for fc_agree_at_end alone */
  int rank, size;
  int node_rank, node_size;
} fc_comm;

/* Collective. Duplicates MPI_COMM_WORLD (already initialised) and splits off the node's ranks.
 * After a failure the ranks may no longer be in step: the caller ends them all (MPI_Abort). */
fc_err fc_comm_create(fc_comm **out);
/* Collective. Accepts NULL; leaves *comm == NULL. */
void fc_comm_destroy(fc_comm **comm);

/* Collective. The worst fc_err over the ranks; its message becomes every rank's message. A rank
 * that is ok itself gets the failing rank's code. Of several failures the lowest rank's stands. */
fc_err fc_agree(const fc_comm *comm, fc_err mine);
#ifdef __clang_analyzer__
/* The static analyser does not see into fc_agree: told that it never makes a failure good. */
#define fc_agree(comm, mine) fc_agree_or_fail((comm), (mine))
static inline fc_err fc_agree_or_fail(const fc_comm *comm, fc_err mine) {
  fc_err all = (fc_agree)(comm, mine);
  return mine != FC_ERR_OK && all == FC_ERR_OK ? mine : all;
}
#endif

/* Collective, the program's last agreement. A rank that failed where nothing was agreed may have
 * left the others waiting for it in the middle of their work, so it waits for them here for
 * `patience_s` only. *together true: as fc_agree. *together false: they did not come; the failing
 * rank has its own code and message back, and has to tell them and end all ranks (MPI_Abort). */
fc_err fc_agree_at_end(const fc_comm *comm, fc_err mine, double patience_s, bool *together);

/* Collective. x (n) <- the sum over ranks, on all ranks; exact in 64-bit integers, any n. */
fc_err fc_comm_sum_i64(const fc_comm *comm, int64_t *x, size_t n);
/* Collective. As above, the sum on `root` only; others keep their input. */
fc_err fc_comm_sum_i64_root(const fc_comm *comm, int64_t *x, size_t n, int root);
/* Collective. *before: the sum of `mine` over lower ranks; *total: over all. */
fc_err fc_comm_prefix(const fc_comm *comm, int64_t mine, int64_t *before, int64_t *total);
/* Collective. x (n) <- the largest over ranks; a NaN counts as +infinity, so that it is never lost.
 */
fc_err fc_comm_max(const fc_comm *comm, double *x, size_t n);
/* Collective. *any: some rank's flag is set. Flags that signals set may be NULL, for never; a
 * signal may have reached some ranks only. */
fc_err fc_comm_any(const fc_comm *comm, const volatile sig_atomic_t *flag, bool *any);
/* Collective. Bytes from root to all; any size (sent in pieces below 2 GiB). */
fc_err fc_comm_broadcast(const fc_comm *comm, void *data, size_t bytes, int root);
fc_err fc_comm_barrier(const fc_comm *comm);

/* Which of `n` items in order belong to `rank`: [*first, *first + *count), sizes differ by <= 1. */
void fc_comm_share(int64_t n, int size, int rank, int64_t *first, int64_t *count);
/* Collective. n doubles in order lie on rank 0 in `all` (elsewhere not looked at); each rank's
 * share of them in `own`. Scatter: from `all` to `own`; gather: back. */
fc_err fc_comm_scatter(const fc_comm *comm, const double *all, int64_t n, double *own);
fc_err fc_comm_gather(const fc_comm *comm, const double *own, int64_t n, double *all);

/* Collective. On `root`, all <- the ranks' own n floats in rank order; there counts (size) says how
 * many each has. Elsewhere counts and all are not looked at. */
fc_err fc_comm_join(const fc_comm *comm, const float *own, int64_t n, const int64_t *counts,
                    float *all, int root);

/* Local. How rooms that know no MPI join their values over these ranks. Borrows comm. */
fc_reduction fc_comm_reduction(const fc_comm *comm);

#endif
