/* switch.c - which modules a device subscribes to: the step of [SW (12)] on the capped simplex.
 *
 * Without the second term the optimum is a vertex: the most negative entries, below 0, as many as
 * are allowed. With it the optimum is the projection of z = current - step (gradient - dual),
 *   beta = clip(z - price, 0, 1),
 * with the least price >= 0 at which sum beta <= max_subscriptions. */
#include "solver.h"
#include <math.h>
#include <stdlib.h>

typedef struct {
  double value;
  int64_t index;
} entry;

static int by_value(const void *a, const void *b) {
  const entry *x = a, *y = b;
  if (x->value != y->value) return x->value < y->value ? -1 : 1;
  return x->index < y->index ? -1 : 1;
}

static fc_err pick_vertex(const fc_switch_problem *p, double *subscription) {
  entry *e = NULL;
  double left = p->max_subscriptions;
  FC_TRY(fc_alloc((size_t)p->rows.n, sizeof *e, &e));
  for (int64_t i = 0; i < p->rows.n; i++) e[i] = (entry){p->gradient[i] - p->dual[i], i};
  qsort(e, (size_t)p->rows.n, sizeof *e, by_value);
  for (int64_t i = 0; i < p->rows.n; i++) {
    const double taken = e[i].value < 0 ? fmin(left, 1.0) : 0.0;
    subscription[e[i].index] = taken;
    left -= taken;
  }
  fc_free(e);
  return FC_ERR_OK;
}

typedef struct {
  const fc_switch_problem *p;
  double price;
} priced;

static double wish(const fc_switch_problem *p, int64_t i) {
  return p->current[i] - p->step * (p->gradient[i] - p->dual[i]);
}

static void price_terms(const void *arg, int64_t i, double *term) {
  const priced *at = arg;
  const double z = wish(at->p, i), left = z - at->price;
  term[0] = fmin(fmax(left, 0.0), 1.0);
  term[1] = left > 0 && left < 1;
  term[2] = z;
}

static fc_err project(const fc_switch_problem *p, double *subscription) {
  priced at = {p, 0};
  double found[3]; /* sum of beta, how many are strictly inside, the largest z */
  FC_TRY(fc_rows_reduce(NULL, p->rows.n, price_terms, &at, 2, 1, found));
  FC_CHECK(isfinite(found[2]), NUMERIC, "switch: steps beyond the range of numbers");
  fc_root r = fc_root_begin(0, fmax(found[2], 0.0), 0, 0x1p-52);
  for (; !r.done; fc_root_tell(&r, p->max_subscriptions - found[0], found[1])) {
    at.price = r.x;
    FC_TRY(fc_rows_reduce(NULL, p->rows.n, price_terms, &at, 2, 1, found));
  }
  at.price = r.hi;
  for (int64_t i = 0; i < p->rows.n; i++) {
    price_terms(&at, i, found);
    subscription[i] = found[0];
  }
  return FC_ERR_OK;
}

fc_err fc_switch_solve(const fc_switch_problem *p, fc_switch_solution *out) {
  out->answer = (fc_answer){FC_OPTIMAL, ""};
  if (isnan(p->step)) return pick_vertex(p, out->subscription);
  FC_CHECK(p->current, DATA, "current: is missing; a step needs it");
  return project(p, out->subscription);
}

/* ---- the descriptor -------------------------------------------------------------------------- */

static fc_err solve(const void *problem, const fc_reduction *over, void *solution) {
  (void)over;
  return fc_switch_solve(problem, solution);
}

#define COLUMN(member, kind, least, most, ...)                                                     \
  { #member "[]", kind, offsetof(fc_switch_problem, member), least, most, {__VA_ARGS__ }, NULL }
static const fc_solver_field input[] = {
    COLUMN(gradient, FC_FIELD_COLUMN, -INFINITY, INFINITY, FC_DRAW_UNIFORM, -1, 1),
    COLUMN(dual, FC_FIELD_COLUMN, -INFINITY, INFINITY, FC_DRAW_UNIFORM, 0, 1),
    COLUMN(current, FC_FIELD_OPTIONAL_COLUMN, 0, 1, FC_DRAW_NONE, 0, 0),
    FC_NUMBER(fc_switch_problem, "max_subscriptions", max_subscriptions, FC_DRAW_CONSTANT, 1, 0),
    {"step",
     FC_FIELD_OPTIONAL,
     offsetof(fc_switch_problem, step),
     0,
     INFINITY,
     {FC_DRAW_NONE, 0, 0},
     NULL},
    FC_LAST_FIELD,
};
static const fc_solver_field output[] = {
    FC_OUTPUT(fc_switch_solution, "subscription[]", FC_FIELD_COLUMN, subscription),
    FC_LAST_FIELD,
};

const fc_solver fc_solver_switch = {
    "switch",
    "modules that a device subscribes to next",
    sizeof(fc_switch_problem),
    sizeof(fc_switch_solution),
    input,
    output,
    true,
    solve,
};
