/* command_solve.c - fedcell solve: one optimisation problem from a file, its solution to stdout.
 *
 * Rank 0 reads the problem and hands every rank its share of the rows; what couples the rows is
 * reduced over the ranks exactly, so the answer does not depend on their number. Rank 0 collects
 * and prints. A problem whose rows belong to one device it solves alone. */
#include "app.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_problem.h"
#include <string.h>

typedef struct {
  const fc_comm *comm;
  const fc_solver *solver;
  int64_t n; /* rows of all ranks */
  void *problem, *solution;
} task;

/* Rank 0's column (of any kind) becomes every rank's share of it. */
static fc_err share_column(const task *t, double **column) {
  int64_t first = 0, count = 0;
  double *own = NULL;
  unsigned char there = *column != NULL;
  FC_TRY(fc_comm_broadcast(t->comm, &there, 1, 0));
  if (!there) return FC_ERR_OK;
  fc_comm_share(t->n, t->comm->size, t->comm->rank, &first, &count);
  FC_TRY(fc_agree(t->comm, fc_alloc((size_t)count, sizeof *own, &own)));
  fc_err err = fc_comm_scatter(t->comm, *column, t->n, own);
  fc_free(*column);
  *column = own;
  return err;
}

static fc_err share_problem(task *t) {
  const fc_comm *comm = t->comm;
  const fc_solver_field *input = t->solver->input;
  FC_TRY(fc_comm_broadcast(comm, &t->n, sizeof t->n, 0));
  if (comm->size == 1) return FC_ERR_OK;
  fc_err err = comm->rank == 0 ? FC_ERR_OK : fc_alloc(1, t->solver->problem_bytes, &t->problem);
  FC_TRY(fc_agree(comm, err));
  double *column[FC_FIELDS_MAX] = {NULL}; /* rank 0's, while the plain values travel */
  for (int i = 0; input[i].path; i++)
    if (fc_field_column(&input[i], t->problem)) column[i] = *fc_field_column(&input[i], t->problem);
  FC_TRY(fc_comm_broadcast(comm, t->problem, t->solver->problem_bytes, 0));
  for (int i = 0; input[i].path; i++)
    if (fc_field_column(&input[i], t->problem)) *fc_field_column(&input[i], t->problem) = column[i];
  for (int i = 0; input[i].path; i++)
    if (fc_field_column(&input[i], t->problem))
      FC_TRY(share_column(t, fc_field_column(&input[i], t->problem)));
  fc_rows_here *rows = t->problem;
  fc_comm_share(t->n, comm->size, comm->rank, &rows->first, &rows->n);
  return FC_ERR_OK;
}

/* Every rank's part of a solution's column, in order, on rank 0. */
static fc_err collect_solution(task *t) {
  const fc_solver_field *output = t->solver->output;
  if (t->comm->size == 1) return FC_ERR_OK;
  for (int i = 0; output[i].path; i++) {
    double **column = fc_field_column(&output[i], t->solution), *all = NULL;
    if (!column) continue;
    int64_t held = t->comm->rank == 0 ? t->n : 0;
    FC_TRY(fc_agree(t->comm, fc_alloc((size_t)held, sizeof *all, &all)));
    fc_err err = fc_comm_gather(t->comm, *column, t->n, all);
    fc_free(*column);
    *column = all;
    FC_TRY(err);
  }
  return FC_ERR_OK;
}

static fc_err say(void *arg, const char *text, size_t n) {
  (void)arg;
  fc_app_say("%.*s", (int)n, text);
  return FC_ERR_OK;
}

/* Rank 0 alone. */
static fc_err write_solution(const task *t) {
  return fc_solution_write(t->solver, t->n, t->solution, say, NULL);
}

/* Rank 0 alone: reads the problem, and solves it if its rows belong to one device. */
static fc_err begin(task *t, const char *path) {
  FC_TRY(fc_problem_read(t->solver, path, &t->problem));
  t->n = ((const fc_rows_here *)t->problem)->n;
  if (!t->solver->local) return FC_ERR_OK;
  FC_TRY(fc_solution_create(t->solver, t->n, &t->solution));
  FC_TRY(t->solver->solve(t->problem, NULL, t->solution));
  return write_solution(t);
}

static fc_err solve(task *t, const char *path) {
  const fc_comm *comm = t->comm;
  const fc_reduction over = fc_comm_reduction(comm);
  FC_TRY(fc_agree(comm, comm->rank == 0 ? begin(t, path) : FC_ERR_OK));
  if (t->solver->local) return FC_ERR_OK;
  FC_TRY(share_problem(t));
  const int64_t own = ((const fc_rows_here *)t->problem)->n;
  FC_TRY(fc_agree(comm, fc_solution_create(t->solver, own, &t->solution)));
  FC_TRY(fc_agree(comm, t->solver->solve(t->problem, &over, t->solution)));
  FC_TRY(collect_solution(t));
  return fc_agree(comm, comm->rank == 0 ? write_solution(t) : FC_ERR_OK);
}

fc_err fc_command_solve(const fc_comm *comm, const fc_arguments *a) {
  task t = {.comm = comm, .solver = fc_solver_find(a->operand)};
  const char *near = fc_nearest_name(a->operand, fc_solver_name);
  FC_CHECK(t.solver || near, USAGE, "no solver %s; see fedcell list solvers", a->operand);
  FC_CHECK(t.solver, USAGE, "no solver %s; did you mean %s?", a->operand, near);
  fc_err err = solve(&t, a->operand2);
  fc_problem_destroy(t.solver, &t.problem);
  fc_solution_destroy(t.solver, &t.solution);
  return err;
}
