/* solver.c - the table of solvers. */
#include "solver.h"
#include <string.h>

static const fc_solver *const solvers[] = {
    &fc_solver_jcpba,   &fc_solver_bandwidth, &fc_solver_switch, &fc_solver_altd,
    &fc_solver_success, &fc_solver_power,     &fc_solver_deft,   &fc_solver_split};

const fc_solver *fc_solver_at(size_t i) {
  return i < sizeof solvers / sizeof solvers[0] ? solvers[i] : NULL;
}

const fc_solver *fc_solver_find(const char *name) {
  for (size_t i = 0; fc_solver_at(i); i++)
    if (strcmp(solvers[i]->name, name) == 0) return solvers[i];
  return NULL;
}

const char *fc_solver_name(size_t i) {
  return fc_solver_at(i) ? solvers[i]->name : NULL;
}

const char *fc_solver_meaning(size_t i) {
  return fc_solver_at(i) ? solvers[i]->meaning : NULL;
}
