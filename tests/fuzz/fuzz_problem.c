/* Any bytes as an optimisation problem: no crash, no leak; a problem is either refused with a
 * message that begins with the file's name, or every solver's answer to it is an answer: solved,
 * infeasible with a reason, or beyond the range of numbers. The first byte picks the solver. */
#include "fedcell/fc_mem.h"
#include "fedcell/fc_problem.h"
#include <stdlib.h>
#include <string.h>

static void require(int condition) {
  if (!condition) abort();
}

static fc_err drop(void *arg, const char *text, size_t n) {
  (void)arg;
  require(n > 0 && text != NULL);
  return FC_ERR_OK;
}

/* Problems that take long on purpose (many rows made up) are not what is looked for. */
enum { ROWS_MAX = 20 };

static void solve(const fc_solver *solver, void *problem) {
  const int64_t n = ((const fc_rows_here *)problem)->n;
  void *solution = NULL;
  if (n > ROWS_MAX) return;
  require(fc_solution_create(solver, n, &solution) == FC_ERR_OK);
  fc_err err = solver->solve(problem, NULL, solution);
  const fc_answer *answer = solution;
  require(err == FC_ERR_OK || err == FC_ERR_NUMERIC || err == FC_ERR_DATA);
  require(err != FC_ERR_OK || (answer->status == FC_INFEASIBLE) == (answer->reason[0] != '\0'));
  if (err == FC_ERR_OK) require(fc_solution_write(solver, n, solution, drop, NULL) == FC_ERR_OK);
  fc_solution_destroy(solver, &solution);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static size_t solvers;
  if (size == 0) return 0;
  while (fc_solver_at(solvers)) solvers++;
  require(solvers > 0);
  const fc_solver *solver = fc_solver_at(data[0] % solvers);
  size_t before = fc_mem_current_bytes();
  void *problem = NULL;
  fc_mem_set_limit_bytes(64 << 20);
  fc_err err = fc_problem_parse(solver, "fuzz", (const char *)data + 1, size - 1, &problem);
  if (err == FC_ERR_OK)
    solve(solver, problem);
  else
    require(err == FC_ERR_NOMEM ||
            (err == FC_ERR_DATA && strncmp(fc_err_message(), "fuzz:", 5) == 0));
  fc_problem_destroy(solver, &problem);
  require(fc_mem_current_bytes() == before);
  return 0;
}
