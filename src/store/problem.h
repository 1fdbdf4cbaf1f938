/* problem.h - what reading, generating and writing of optimisation problems share. */
#ifndef PROBLEM_H
#define PROBLEM_H

#include "fedcell/fc_mem.h"
#include "fedcell/fc_problem.h"
#include <stdbool.h>

static inline bool fc_field_is_column(const fc_solver_field *f) {
  return f->kind == FC_FIELD_COLUMN || f->kind == FC_FIELD_OPTIONAL_COLUMN ||
         f->kind == FC_FIELD_LIST;
}

/* What the problem says under "generate". */
typedef struct {
  bool given;
  double seed, count; /* NAN until given */
  fc_draw draw[FC_FIELDS_MAX];
  int parts[FC_FIELDS_MAX]; /* numbers of the draw that were given so far */
} fc_generate_wish;

void fc_generate_begin(fc_generate_wish *g, const fc_solver *solver);
/* The number at `path` below "generate": "seed", "tx_power_w", "tx_power_w.uniform[]", ... DATA
 * with a message about the value only. */
fc_err fc_generate_take(fc_generate_wish *g, const fc_solver *solver, const char *path, double x);
/* May an object or list stand at `path` below "generate"? */
bool fc_generate_opens(const fc_solver *solver, const char *path);
/* Is this field a column to make up? */
bool fc_generate_makes(const fc_generate_wish *g, const fc_solver *solver, int field);
/* Is all there that rows are made from? DATA names what is wrong. */
fc_err fc_generate_check(const fc_generate_wish *g, const fc_solver *solver);
/* Value of a field: of row `row`, or (row -1) of the problem. */
double fc_generate_value(const fc_generate_wish *g, const fc_solver *solver, int field,
                         int64_t row);

/* A problem while it is read. */
typedef struct {
  const fc_solver *solver;
  void *problem;
  fc_generate_wish generate;
  bool seen[FC_FIELDS_MAX];     /* single fields, and lists of numbers that were opened */
  int64_t count[FC_FIELDS_MAX]; /* of a column's values */
} fc_problem_draft;
/* Makes up what is wished for; DATA names the first field that is still missing, or too short. */
fc_err fc_problem_complete(fc_problem_draft *d);

#endif
