/* solver.h - what the optimisers share: sums over rows, roots, the telling of what cannot be. */
#ifndef SOLVER_H
#define SOLVER_H

#include "fedcell/fc_mem.h"
#include "fedcell/fc_solver.h"
#include <stdbool.h>

/* ---- sums and largest values over the rows of all ranks (rows.c) ----------------------------- */

enum { FC_TERMS_MAX = 8 };
/* What row i of this rank adds. Called from several threads. */
typedef void fc_row_terms(const void *arg, int64_t i, double *term);

/* Collective. out (sums + maxima, at most FC_TERMS_MAX) <- first the exact sums of the rows' terms,
 * then largest values (-INFINITY where there are no rows, INFINITY for a NaN). */
fc_err fc_rows_reduce(const fc_reduction *over, int64_t n, fc_row_terms *terms, const void *arg,
                      int sums, int maxima, double *out);

/* Collective. *row: the number of a row of this rank about which there is something to tell, -1:
 * none. Becomes the lowest of all ranks', and facts (n) what its owner knows. */
fc_err fc_rows_lowest(const fc_reduction *over, int64_t *row, double *facts, size_t n);

/* Collective. What failed on one rank alone, a lack of memory, fails on all. */
fc_err fc_rows_agree(const fc_reduction *over, fc_err mine);

/* Collective. *all (columns, n) <- the rows of all ranks, n in all, in their order, on every rank;
 * the caller frees it, also after a failure. column (columns): of this rank's rows; NULL: zeros.
 * For problems that every rank solves as a whole. */
fc_err fc_rows_gather(const fc_reduction *over, const fc_rows_here *here,
                      const double *const *column, int columns, int64_t n, double **all);
/* Collective. How many rows there are on all ranks. */
fc_err fc_rows_count(const fc_reduction *over, const fc_rows_here *here, int64_t *n);

/* Local. Makes the answer infeasible, with this reason. */
void fc_infeasible(fc_answer *answer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- the root of an increasing function of x >= 0 (root.c) ------------------------------------
 *
 *   for (fc_root r = fc_root_begin(lo, hi, guess, 1e-12); !r.done; fc_root_tell(&r, f, slope))
 *     ... f and slope at r.x ...
 *
 * Newton's steps inside a bracket; where they are poor, halving in the order of doubles, which
 * finds any scale in at most 64 steps. A function whose sign does not change between the ends leads
 * to one of them. Whoever evaluates a function over ranks does so on all of them: same values, same
 * steps. */
typedef struct {
  double x;      /* where the function is asked for */
  double lo, hi; /* f < 0 at lo, f >= 0 at hi, once both are known */
  bool done;     /* hi - lo <= tolerance * hi, or nothing lies between */
  double tolerance, step, step_before, x_before, f_before;
} fc_root;
fc_root fc_root_begin(double lo, double hi, double guess, double tolerance);
/* slope: f'(x), or what is near it; NAN: not known, a secant takes its place. */
void fc_root_tell(fc_root *r, double f, double slope);

/* ---- bandwidths of tasks that end together (tasks.c) ------------------------------------------
 */

typedef struct {
  double compute_s;
  double load; /* what is to be sent, in Hz s: seconds at a bandwidth of 1 Hz */
} fc_task;
typedef fc_task fc_task_of(const void *arg, int64_t k);

/* Bandwidth that sends `load` in `left_s`; nothing needs none. */
static inline double fc_band_of(double load, double left_s) {
  return load > 0 ? load / left_s : 0.0;
}
/* Collective. The least latency at which the tasks' bandwidths (n here) sum to at most B, and
 * those. NUMERIC if it leaves the range of doubles. */
fc_err fc_tasks_bandwidths(const fc_reduction *over, int64_t n, fc_task_of *task, const void *arg,
                           double B, double *bandwidth_hz, double *latency_s);

/* ---- the solvers ----------------------------------------------------------------------------- */

/* Entries of the tables of fields; the last arguments are a draw (fc_draw). */
#define FC_NUMBER(type, path, member, ...)                                                         \
  { path, FC_FIELD_NUMBER, offsetof(type, member), 0, INFINITY, {__VA_ARGS__}, NULL }
#define FC_COLUMN(type, path, member, ...)                                                         \
  { path, FC_FIELD_COLUMN, offsetof(type, member), 0, INFINITY, {__VA_ARGS__}, NULL }
#define FC_CHOICE(type, path, member, choices)                                                     \
  { path, FC_FIELD_CHOICE, offsetof(type, member), 0, 0, {FC_DRAW_NONE, 0, 0}, choices }
#define FC_OUTPUT(type, path, kind, member)                                                        \
  { path, kind, offsetof(type, member), 0, 0, {FC_DRAW_NONE, 0, 0}, NULL }
#define FC_LAST_FIELD                                                                              \
  { NULL, FC_FIELD_NUMBER, 0, 0, 0, {FC_DRAW_NONE, 0, 0}, NULL }

extern const fc_solver fc_solver_jcpba, fc_solver_bandwidth, fc_solver_switch, fc_solver_altd,
    fc_solver_success, fc_solver_power, fc_solver_deft, fc_solver_split;

#endif
