/* problem_generate.c - made-up rows and numbers: what may be asked for, and the draws. */
#include "problem.h"
#include "fedcell/fc_rng.h"
#include <math.h>
#include <string.h>

static const struct {
  const char *name;
  fc_draw_kind kind;
  int parts;
} draws[] = {
    {"", FC_DRAW_CONSTANT, 1},
    {".uniform[]", FC_DRAW_UNIFORM, 2},
    {".log_uniform[]", FC_DRAW_LOG_UNIFORM, 2},
    {".exponential", FC_DRAW_EXPONENTIAL, 1},
};
enum { DRAWS = sizeof draws / sizeof draws[0] };
static const double ROWS_MAX = 1e9;

void fc_generate_begin(fc_generate_wish *g, const fc_solver *solver) {
  *g = (fc_generate_wish){.seed = (double)NAN, .count = (double)NAN};
  for (int i = 0; solver->input[i].path; i++) g->draw[i] = solver->input[i].draw;
}

/* A column that nobody needs is made up only where that is asked for. */
bool fc_generate_makes(const fc_generate_wish *g, const fc_solver *solver, int field) {
  const fc_field_kind kind = solver->input[field].kind;
  return kind == FC_FIELD_COLUMN || (kind == FC_FIELD_OPTIONAL_COLUMN && g->parts[field] > 0);
}

/* "tx_power_w" of "clients[].tx_power_w", "gradient[]" of "gradient[]"; its length. */
static const char *column_name(const fc_solver_field *f, size_t *n) {
  const char *dot = strchr(f->path, '.');
  const char *name = dot ? dot + 1 : f->path;
  *n = strcspn(name, "[");
  return name;
}

/* The column that the path begins with, and what follows its name; -1 if none does. */
static int find_column(const fc_solver *solver, const char *path, const char **rest) {
  for (int i = 0; solver->input[i].path; i++) {
    size_t n = 0;
    const char *name = column_name(&solver->input[i], &n);
    if (!fc_field_is_column(&solver->input[i]) || strncmp(path, name, n) != 0) continue;
    *rest = path + n;
    if (**rest == '\0' || **rest == '.') return i;
  }
  return -1;
}

fc_err fc_generate_take(fc_generate_wish *g, const fc_solver *solver, const char *path, double x) {
  const char *rest = NULL;
  double *single = strcmp(path, "seed") == 0    ? &g->seed
                   : strcmp(path, "count") == 0 ? &g->count
                                                : NULL;
  FC_CHECK(isfinite(x), DATA, "must be finite");
  if (single) {
    FC_CHECK(isnan(*single), DATA, "is given twice");
    FC_CHECK(x >= 0 && x == floor(x) && x < 0x1p53, DATA, "is %g, must be a whole number", x);
    *single = x;
    return FC_ERR_OK;
  }
  int i = find_column(solver, path, &rest), d = 0;
  while (i >= 0 && d < DRAWS && strcmp(rest, draws[d].name) != 0) d++;
  FC_CHECK(i >= 0 && d < DRAWS, DATA, "unknown field");
  FC_CHECK(x >= solver->input[i].least && x <= solver->input[i].most, DATA,
           "is %g, must be in the range of the column", x);
  FC_CHECK(g->parts[i] == 0 || (g->draw[i].kind == draws[d].kind && g->parts[i] < draws[d].parts),
           DATA, "has too many numbers");
  g->draw[i].kind = draws[d].kind;
  *(g->parts[i]++ == 0 ? &g->draw[i].a : &g->draw[i].b) = x;
  return FC_ERR_OK;
}

bool fc_generate_opens(const fc_solver *solver, const char *path) {
  const char *rest = NULL;
  if (find_column(solver, path, &rest) < 0) return false;
  if (!*rest) return true; /* the object that names the draw */
  for (int d = 0; d < DRAWS; d++) {
    size_t n = strlen(rest);
    if (strncmp(draws[d].name, rest, n) == 0 && strcmp(draws[d].name + n, "[]") == 0) return true;
  }
  return false;
}

fc_err fc_generate_check(const fc_generate_wish *g, const fc_solver *solver) {
  FC_CHECK(!isnan(g->seed), DATA, "generate.seed: is missing");
  FC_CHECK(g->count >= 1 && g->count <= ROWS_MAX, DATA,
           "generate.count: must be given, from 1 to %g", ROWS_MAX);
  for (int i = 0; solver->input[i].path; i++) {
    const fc_draw *draw = &g->draw[i];
    const bool range = draw->kind == FC_DRAW_UNIFORM || draw->kind == FC_DRAW_LOG_UNIFORM;
    size_t n = 0;
    const char *name = column_name(&solver->input[i], &n);
    if (!fc_generate_makes(g, solver, i)) continue;
    FC_CHECK(g->parts[i] != 1 || !range, DATA, "generate.%.*s: needs two numbers", (int)n, name);
    FC_CHECK(!range || draw->a <= draw->b, DATA, "generate.%.*s: %g is above %g", (int)n, name,
             draw->a, draw->b);
    FC_CHECK(draw->kind != FC_DRAW_LOG_UNIFORM || draw->a > 0, DATA,
             "generate.%.*s: log_uniform needs numbers above 0", (int)n, name);
    FC_CHECK(draw->kind != FC_DRAW_NONE, DATA, "generate.%.*s: is missing", (int)n, name);
  }
  return FC_ERR_OK;
}

double fc_generate_value(const fc_generate_wish *g, const fc_solver *solver, int field,
                         int64_t row) {
  const fc_draw d = g->draw[field];
  fc_rng rng = fc_rng_open((uint64_t)g->seed, FC_RNG_PROBLEM, (uint64_t)field, (uint64_t)row);
  double x = d.a;
  if (d.kind == FC_DRAW_PER_ROW) x = d.a * g->count;
  if (d.kind == FC_DRAW_UNIFORM) x = d.a + (d.b - d.a) * fc_rng_uniform(&rng);
  if (d.kind == FC_DRAW_LOG_UNIFORM) x = d.a * pow(d.b / d.a, fc_rng_uniform(&rng));
  if (d.kind == FC_DRAW_EXPONENTIAL) x = d.a * fc_rng_exponential(&rng);
  return fmin(fmax(x, solver->input[field].least), solver->input[field].most);
}
