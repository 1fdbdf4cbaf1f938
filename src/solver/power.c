/* power.c - a device's transmit power: the global minimum of [SW (14)].
 *
 * With the success probability lambda_n rising in P the objective is
 *   Q(P) = constant - g(P) + c P,   g = sum_n weight_n lambda_n(P) rising, c = mu E sum beta_n,
 * the difference of two rising functions, with as many local minima as there are modules of
 * different shares. So on [l, u] Q is at least constant - g(u) + c l, and branch and bound over
 * intervals, the most promising first, proves the global minimum. [SW (22)] is not needed (as
 * printed it lacks a factor). */
#include "success.h"
#include <math.h>

static const double TOLERANCE = 1e-7; /* of the objective's scale, unless the problem says more */
enum { INTERVALS_MAX = 1 << 20 };

typedef struct {
  const fc_power_problem *p;
  fc_success_settings success;
  double constant, scale; /* sum of all weights: what Q is measured by */
  double tolerance;       /* of Q */
  double slope;           /* c */
  double interference;    /* as printed: the same at any power */
} objective;

static double weight_of(const fc_power_problem *p, int64_t n) {
  const double factor = p->formulas == FC_FORMULAS_PRINTED ? 16 : 8;
  return (factor * p->xi * p->zeta2 * p->previous_bound[n] + 4 * p->zeta1) / p->eps;
}

/* The part of the weight that the module's success takes away, and that is there in any case. */
static double at_stake(const fc_power_problem *p, int64_t n) {
  const double beta = p->selected[n];
  return weight_of(p, n) * (p->formulas == FC_FORMULAS_PRINTED ? 1 - beta : beta);
}

static fc_err gain(const objective *o, double P, double *out) {
  const fc_power_problem *p = o->p;
  double interference = o->interference;
  *out = 0;
  if (!(P > 0) || p->pathloss_exponent <= 2) return FC_ERR_OK; /* nothing arrives */
  if (p->formulas == FC_FORMULAS_CORRECTED)
    FC_TRY(fc_success_interference(&o->success, P, &interference));
  for (int64_t n = 0; n < p->rows.n; n++)
    *out += at_stake(p, n) * exp(-fc_success_noise(&o->success, p->share[n]) / P - interference);
  return FC_ERR_OK;
}

static fc_err prepare(objective *o) {
  const fc_power_problem *p = o->p;
  const double other_w = isnan(p->interferer_power_w) ? p->max_power_w : p->interferer_power_w;
  o->success = (fc_success_settings){p->bandwidth_hz, p->noise_psd_w_per_hz, p->threshold,
                                     p->distance_m,   p->pathloss_exponent,  p->density_per_m2,
                                     other_w,         p->formulas,           p->table};
  for (int64_t n = 0; n < p->rows.n; n++) {
    const double rest = p->formulas == FC_FORMULAS_PRINTED ? at_stake(p, n) : weight_of(p, n);
    o->constant += rest;
    o->slope += p->mu * p->selected[n] * p->delay_s;
  }
  o->scale = o->constant;
  o->tolerance = fmax(TOLERANCE, p->tolerance) * o->scale;
  FC_CHECK(isfinite(o->constant + o->slope * p->max_power_w), NUMERIC,
           "power: objectives beyond the range of numbers");
  if (p->formulas == FC_FORMULAS_CORRECTED || p->pathloss_exponent <= 2) return FC_ERR_OK;
  return fc_success_interference(&o->success, p->max_power_w, &o->interference);
}

/* ---- branch and bound ------------------------------------------------------------------------ */

/* An interval of powers whose ends' gains are known. */
typedef struct {
  double l, u, gain_l, gain_u, bound;
} interval;

typedef struct {
  const objective *o;
  interval *heap; /* the lowest bound first */
  int64_t n, capacity;
  double best_w, best; /* the lowest objective seen, and where */
} search;

static void look(search *s, double P, double gain_at) {
  const double Q = s->o->constant - gain_at + s->o->slope * P;
  if (!(P > 0) || !(Q < s->best)) return;
  s->best = Q;
  s->best_w = P;
}

static fc_err push(search *s, interval i) {
  i.bound = s->o->constant - i.gain_u + s->o->slope * i.l;
  if (i.bound >= s->best - s->o->tolerance) return FC_ERR_OK; /* nothing to win there */
  if (s->n == s->capacity) {
    FC_CHECK(s->n < INTERVALS_MAX, NUMERIC, "power: the minimum is not found among %d intervals",
             INTERVALS_MAX);
    s->capacity = s->capacity > 0 ? 2 * s->capacity : 64;
    FC_TRY(fc_realloc((size_t)s->capacity, sizeof *s->heap, &s->heap));
  }
  int64_t at = s->n++;
  for (; at > 0 && s->heap[(at - 1) / 2].bound > i.bound; at = (at - 1) / 2)
    s->heap[at] = s->heap[(at - 1) / 2];
  s->heap[at] = i;
  return FC_ERR_OK;
}

static interval pop(search *s) {
  const interval first = s->heap[0], last = s->heap[--s->n];
  int64_t at = 0, child = 1;
  for (; child < s->n; child = 2 * at + 1) {
    if (child + 1 < s->n && s->heap[child + 1].bound < s->heap[child].bound) child++;
    if (last.bound <= s->heap[child].bound) break;
    s->heap[at] = s->heap[child];
    at = child;
  }
  s->heap[at] = last;
  return first;
}

/* Halves by the ratio, as powers of any size count; from 0, far down. */
static double split(const interval *i) {
  return i->l > 0 ? sqrt(i->l) * sqrt(i->u) : i->u * 1e-3;
}

static fc_err branch(search *s) {
  while (s->n > 0) {
    const interval i = pop(s);
    if (i.bound >= s->best - s->o->tolerance) return FC_ERR_OK; /* nor any after it */
    const double middle = split(&i);
    double gain_at = 0;
    if (!(middle > i.l && middle < i.u)) continue;
    FC_TRY(gain(s->o, middle, &gain_at));
    look(s, middle, gain_at);
    FC_TRY(push(s, (interval){i.l, middle, i.gain_l, gain_at, 0}));
    FC_TRY(push(s, (interval){middle, i.u, gain_at, i.gain_u, 0}));
  }
  return FC_ERR_OK;
}

/* So little power that its cost is nothing beside the objective. */
static double least_power(const objective *o) {
  const double free_cost = 1e-9 * (o->scale > 0 ? o->scale : 1.0);
  return o->slope > 0 ? fmin(o->p->max_power_w, free_cost / o->slope) : o->p->max_power_w;
}

fc_err fc_power_solve(const fc_power_problem *p, fc_power_solution *out) {
  objective o = {.p = p};
  search s = {.o = &o, .best = INFINITY};
  double gain_at = 0;
  out->answer = (fc_answer){FC_OPTIMAL, ""};
  if (p->max_power_w <= 0) {
    fc_infeasible(&out->answer, "max_power_w is 0: no power above 0 is allowed");
    return FC_ERR_OK;
  }
  FC_TRY(prepare(&o));
  const double least_w = least_power(&o);
  FC_TRY(gain(&o, least_w, &gain_at));
  look(&s, least_w, gain_at);
  interval whole = {.u = p->max_power_w};
  FC_TRY(gain(&o, whole.u, &whole.gain_u));
  look(&s, whole.u, whole.gain_u);
  fc_err err = push(&s, whole);
  if (err == FC_ERR_OK) err = branch(&s);
  fc_free(s.heap);
  out->power_w = s.best_w;
  out->objective = s.best;
  return err;
}

/* ---- the descriptor -------------------------------------------------------------------------- */

static fc_err solve(const void *problem, const fc_reduction *over, void *solution) {
  (void)over;
  return fc_power_solve(problem, solution);
}

#define NUMBER(member) FC_NUMBER(fc_power_problem, #member, member, FC_DRAW_NONE, 0, 0)
#define COLUMN(member, most)                                                                       \
  {                                                                                                \
    "modules[]." #member, FC_FIELD_COLUMN, offsetof(fc_power_problem, member), 0, most,            \
        {FC_DRAW_NONE, 0, 0}, NULL                                                                 \
  }
static const fc_solver_field input[] = {
    COLUMN(selected, 1),
    COLUMN(share, INFINITY),
    COLUMN(previous_bound, INFINITY),
    NUMBER(max_power_w),
    NUMBER(delay_s),
    NUMBER(mu),
    NUMBER(xi),
    {"eps",
     FC_FIELD_NUMBER,
     offsetof(fc_power_problem, eps),
     0x1p-1022,
     INFINITY,
     {FC_DRAW_NONE, 0, 0},
     NULL},
    NUMBER(zeta1),
    NUMBER(zeta2),
    NUMBER(bandwidth_hz),
    NUMBER(noise_psd_w_per_hz),
    NUMBER(threshold),
    NUMBER(distance_m),
    NUMBER(pathloss_exponent),
    NUMBER(density_per_m2),
    {"interferer_power_w",
     FC_FIELD_OPTIONAL,
     offsetof(fc_power_problem, interferer_power_w),
     0,
     INFINITY,
     {FC_DRAW_NONE, 0, 0},
     NULL},
    FC_CHOICE(fc_power_problem, "formulas", formulas, "printed corrected"),
    FC_LAST_FIELD,
};
static const fc_solver_field output[] = {
    FC_OUTPUT(fc_power_solution, "power_w", FC_FIELD_NUMBER, power_w),
    FC_OUTPUT(fc_power_solution, "objective", FC_FIELD_NUMBER, objective),
    FC_LAST_FIELD,
};

const fc_solver fc_solver_power = {
    "power",
    "transmit power that weighs arrival against energy",
    sizeof(fc_power_problem),
    sizeof(fc_power_solution),
    input,
    output,
    true,
    solve,
};
