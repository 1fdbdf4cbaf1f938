/* fc_problem.h - optimisation problems and solutions as JSON, driven by the solvers' tables.
 *
 *   void *problem = NULL, *solution = NULL;
 *   FC_TRY(fc_problem_read(solver, "problem.json", &problem));   // "-": standard input
 *   FC_TRY(fc_solution_create(solver, n, &solution));
 *   ... solver->solve(problem, over, solution) ...
 *   FC_TRY(fc_solution_write(solver, n, solution, put, arg));
 *
 * Problems are read as they stream by, so that ten million rows take their columns' memory and no
 * more. Whatever is not as the table wants it is DATA, with file, line and field: missing, unknown,
 * given twice, not a number, not finite, out of range, lists of different length.
 *
 * In place of the rows, and of any single numbers, a problem may say
 *   "generate": {"seed": 1, "count": 1000, "tx_power_w": {"uniform": [0.1, 0.2]}}
 * Each column is a number or one of {"uniform": [a, b]}, {"log_uniform": [a, b]} and
 * {"exponential": mean}; columns and numbers that are not given are made up as the solver's table
 * says, optional columns not at all. A generated value depends on seed, column and row alone. All
 * Local. */
#ifndef FC_PROBLEM_H
#define FC_PROBLEM_H

#include "fedcell/fc_solver.h"

/* *problem: a struct of the solver with all its rows; on error NULL. */
fc_err fc_problem_read(const fc_solver *solver, const char *path, void **problem);
/* The same of `n` bytes in memory; `name` stands for the file in messages. */
fc_err fc_problem_parse(const fc_solver *solver, const char *name, const char *text, size_t n,
                        void **problem);
/* Accepts NULL; leaves *problem == NULL. */
void fc_problem_destroy(const fc_solver *solver, void **problem);

/* The column (or list) that belongs to a field of a problem or solution; NULL if there is none. */
double **fc_field_column(const fc_solver_field *field, void *structure);

/* *solution: a struct of the solver with columns of n zeros. */
fc_err fc_solution_create(const fc_solver *solver, int64_t n, void **solution);
void fc_solution_destroy(const fc_solver *solver, void **solution);
/* One JSON object in one line, 17 digits a number, handed over in pieces. */
typedef fc_err fc_text_sink(void *arg, const char *text, size_t n);
fc_err fc_solution_write(const fc_solver *solver, int64_t n, const void *solution,
                         fc_text_sink *put, void *arg);

#endif
