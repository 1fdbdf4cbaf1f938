/* compare.c - result files read, grouped by configuration and compared by pairs of the same seed.
 */
#include "fedcell/fc_compare.h"
#include "federation.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const fc_metric_names[FC_METRICS] = {
#define METRIC_NAME(name, unit) #name,
    FC_METRIC_LIST(METRIC_NAME)
#undef METRIC_NAME
};
const char *const fc_metric_units[FC_METRICS] = {
#define METRIC_UNIT(name, unit) unit,
    FC_METRIC_LIST(METRIC_UNIT)
#undef METRIC_UNIT
};

/* ---- one run --------------------------------------------------------------------------------- */

typedef struct {
  const char *path;
  fc_config *cfg;
  fc_table *rounds;
  size_t group;
  int64_t seed;
  bool reached;
  double value[FC_METRICS];
} run;

/* Only what is compared; units and descriptions are the file's. */
static const fc_column columns[] = {
    {"round", "", "", FC_COLUMN_F64},         {"test_loss", "", "", FC_COLUMN_F64},
    {"test_accuracy", "", "", FC_COLUMN_F64}, {"sim_time_s", "", "", FC_COLUMN_F64},
    {"energy_j", "", "", FC_COLUMN_F64},      {"uplink_bits", "", "", FC_COLUMN_F64},
    {"downlink_bits", "", "", FC_COLUMN_F64},
};
enum { ROUND, TEST_LOSS, TEST_ACCURACY, SIM_TIME_S, ENERGY_J, UPLINK, DOWNLINK, COLUMNS };
_Static_assert(COLUMNS == sizeof columns / sizeof columns[0], "one number a column");

static fc_err read_configuration(const fc_store_reader *r, run *out) {
  size_t n = 0;
  char *text = NULL;
  const fc_option_table *tables = fc_federation_tables(&n);
  fc_err err = fc_store_get_text(r, "/provenance", "config", &text);
  if (err == FC_ERR_OK) err = fc_config_create(tables, n, &out->cfg);
  if (err == FC_ERR_OK) err = fc_config_load_text(out->cfg, out->path, text, strlen(text), NULL);
  if (err == FC_ERR_OK) err = fc_config_finish(out->cfg);
  if (err == FC_ERR_OK) out->seed = fc_config_int(out->cfg, "seed");
  fc_free(text);
  return err;
}

static fc_err read_rounds(const fc_store_reader *r, run *out) {
  int64_t n = 0;
  FC_CHECK(!fc_store_has(r, "/state"), USAGE, "%s is a checkpoint: only finished runs compare",
           out->path);
  FC_CHECK(fc_store_has(r, "/rounds/test_loss"), USAGE,
           "%s holds trials of a policy: only runs of study: federation compare", out->path);
  FC_TRY(fc_store_count(r, "/rounds/round", &n));
  FC_CHECK(n > 0, DATA, "%s has no rounds", out->path);
  FC_TRY(fc_table_create(columns, COLUMNS, &out->rounds));
  return fc_store_get_table(r, "/rounds", 0, n, out->rounds);
}

static fc_err read_run(const char *path, run *out) {
  fc_store_reader *r = NULL;
  out->path = path;
  fc_err err = fc_store_open(path, &r);
  if (err == FC_ERR_OK) err = read_rounds(r, out);
  if (err == FC_ERR_OK) err = read_configuration(r, out);
  fc_store_close(&r);
  return err;
}

/* ---- its figures ----------------------------------------------------------------------------- */

/* NaN, where nothing was evaluated, meets no target. */
static bool meets(const run *r, size_t row, const fc_compare_target *t) {
  return fc_table_get(r->rounds, row, TEST_LOSS) <= t->loss ||
         fc_table_get(r->rounds, row, TEST_ACCURACY) >= t->accuracy;
}

/* Costs up to and with row `last`; first: FC_METRIC_rounds or FC_METRIC_target_rounds. */
static void take_costs(run *r, size_t last, fc_metric first) {
  double *cost = &r->value[first]; /* rounds, sim_time_s, energy_j, bits */
  cost[0] = fc_table_get(r->rounds, last, ROUND);
  cost[1] = fc_table_get(r->rounds, last, SIM_TIME_S);
  for (size_t i = 0; i <= last; i++) {
    cost[2] += fc_table_get(r->rounds, i, ENERGY_J);
    cost[3] += fc_table_get(r->rounds, i, UPLINK) + fc_table_get(r->rounds, i, DOWNLINK);
  }
}
_Static_assert(FC_METRIC_bits == FC_METRIC_rounds + 3 &&
                   FC_METRIC_target_bits == FC_METRIC_target_rounds + 3,
               "costs stand in this order");

static void take_final(run *r) {
  size_t last = fc_table_rows(r->rounds) - 1;
  r->value[FC_METRIC_test_loss] = fc_table_get(r->rounds, last, TEST_LOSS);
  r->value[FC_METRIC_test_accuracy] = fc_table_get(r->rounds, last, TEST_ACCURACY);
  take_costs(r, last, FC_METRIC_rounds);
}

static void take_costs_to_target(run *r, const fc_compare_target *target) {
  size_t rows = fc_table_rows(r->rounds), row = 0;
  while (row < rows && !meets(r, row, target)) row++;
  r->reached = row < rows;
  if (r->reached) {
    take_costs(r, row, FC_METRIC_target_rounds);
  } else {
    for (fc_metric m = FC_METRIC_target_rounds; m < FC_METRICS; m++) r->value[m] = NAN;
  }
}

/* ---- groups ---------------------------------------------------------------------------------- */

enum { DIFFERING_MAX = 24 };
/* What does not make runs different ones: the seed, and where and when things are kept. The list
 * goes on with the options in which groups differ. */
typedef struct {
  const char *name[DIFFERING_MAX];
  size_t n, own;
} option_list;
static const option_list ALIKE = {
    {"seed", "experiment", "checkpoint.every_rounds", "model.cache", "model.scratch"}, 5, 5};

/* runs[i].group <- the number of the first run like it. */
static fc_err group_runs(run *runs, size_t n) {
  for (size_t i = 0; i < n; i++) {
    runs[i].group = i;
    for (size_t k = 0; k < i; k++) {
      if (runs[k].group != k || /* not a first one */
          fc_config_first_difference(runs[i].cfg, runs[k].cfg, ALIKE.name, ALIKE.n))
        continue;
      runs[i].group = k;
      break;
    }
    for (size_t k = 0; k < i; k++)
      FC_CHECK(runs[k].group != runs[i].group || runs[k].seed != runs[i].seed, USAGE,
               "%s and %s are the same run: same settings, same seed", runs[k].path, runs[i].path);
  }
  return FC_ERR_OK;
}

/* The options in which any group differs from the first. */
static option_list find_differing(const run *runs, size_t n) {
  option_list list = ALIKE;
  for (size_t i = 1; i < n; i++) {
    const char *name = NULL;
    while (runs[i].group == i && list.n < DIFFERING_MAX &&
           (name = fc_config_first_difference(runs[i].cfg, runs[0].cfg, list.name, list.n)))
      list.name[list.n++] = name;
  }
  return list;
}

/* "method=local alpha=0.1" */
static fc_err make_label(const run *r, const option_list *list, char **out) {
  FC_TRY(fc_format(out, list->n == list->own ? "all runs" : ""));
  for (size_t i = list->own; i < list->n; i++) {
    const char *dot = strrchr(list->name[i], '.');
    char *value = NULL, *longer = NULL;
    fc_err err = fc_config_text(r->cfg, list->name[i], &value);
    if (err == FC_ERR_OK)
      err = fc_format(&longer, "%s%s%s=%s", *out, **out ? " " : "", dot ? dot + 1 : list->name[i],
                      value);
    fc_free(value);
    fc_free(*out);
    *out = longer;
    FC_TRY(err);
  }
  return FC_ERR_OK;
}

static int compare_losses(const void *a, const void *b) {
  const double *x = a, *y = b;
  return (*x > *y) - (*x < *y);
}

/* Nine tenths of the way from where all begin to where the middle group ends: the better half of
 * the groups reach it. x (n): room for the groups' final losses. */
static double choose_loss(const run *runs, size_t n, double *x) {
  double start = 0;
  size_t groups = 0;
  for (size_t i = 0; i < n; i++) {
    size_t members = 0;
    double sum = 0;
    start += fc_table_get(runs[i].rounds, 0, TEST_LOSS) / (double)n;
    for (size_t k = i; runs[i].group == i && k < n; k++) {
      if (runs[k].group != i) continue;
      sum += runs[k].value[FC_METRIC_test_loss];
      members++;
    }
    if (members > 0) x[groups++] = sum / (double)members;
  }
  qsort(x, groups, sizeof *x, compare_losses);
  return round(1e3 * (start + 0.9 * (x[(groups - 1) / 2] - start))) / 1e3;
}

static const run *partner_of(const run *runs, size_t n, const run *r) {
  for (size_t i = 0; i < n; i++)
    if (runs[i].group == 0 && runs[i].seed == r->seed) return &runs[i];
  return NULL;
}

/* x and d (n): room for values and differences. */
static void fill_group(const run *runs, size_t n, size_t first, double *x, double *d,
                       fc_compare_group *g) {
  for (fc_metric m = 0; m < FC_METRICS; m++) {
    g->runs = g->pairs = g->reached = 0;
    for (size_t i = 0; i < n; i++) {
      if (runs[i].group != first) continue;
      const run *partner = first > 0 ? partner_of(runs, n, &runs[i]) : NULL;
      x[g->runs++] = runs[i].value[m];
      if (partner) d[g->pairs++] = runs[i].value[m] - partner->value[m];
      g->reached += runs[i].reached;
    }
    g->value[m] = fc_mean_of(x, (int)g->runs);
    g->difference[m] = fc_mean_of(d, (int)g->pairs);
  }
}

static fc_err fill_groups(const run *runs, size_t n, fc_comparison *c) {
  double *x = NULL, *d = NULL;
  option_list list = find_differing(runs, n);
  fc_err err = fc_alloc(n, sizeof *c->group, &c->group);
  if (err == FC_ERR_OK) err = fc_alloc(n, sizeof *x, &x);
  if (err == FC_ERR_OK) err = fc_alloc(n, sizeof *d, &d);
  for (size_t i = 0; i < n && err == FC_ERR_OK; i++) {
    if (runs[i].group != i) continue;
    fill_group(runs, n, i, x, d, &c->group[c->n]);
    err = make_label(&runs[i], &list, &c->group[c->n++].label);
  }
  fc_free(x);
  fc_free(d);
  return err;
}

/* ---- all together ---------------------------------------------------------------------------- */

static fc_err compare(const char *const *paths, run *runs, size_t n, fc_comparison *c) {
  double *x = NULL;
  for (size_t i = 0; i < n; i++) {
    FC_TRY(read_run(paths[i], &runs[i]));
    take_final(&runs[i]);
  }
  FC_TRY(group_runs(runs, n));
  FC_TRY(fc_alloc(n, sizeof *x, &x));
  if (isnan(c->target.loss) && isnan(c->target.accuracy)) c->target.loss = choose_loss(runs, n, x);
  fc_free(x);
  for (size_t i = 0; i < n; i++) take_costs_to_target(&runs[i], &c->target);
  return fill_groups(runs, n, c);
}

fc_err fc_compare_create(const char *const *paths, size_t n, const fc_compare_target *target,
                         fc_comparison **out) {
  run *runs = NULL;
  *out = NULL;
  fc_err err = fc_alloc(1, sizeof **out, out);
  if (err == FC_ERR_OK) err = fc_alloc(n, sizeof *runs, &runs);
  if (err == FC_ERR_OK) {
    (*out)->target = *target;
    err = compare(paths, runs, n, *out);
    for (size_t i = 0; i < n; i++) {
      fc_config_destroy(&runs[i].cfg);
      fc_table_destroy(&runs[i].rounds);
    }
  }
  fc_free(runs);
  if (err != FC_ERR_OK) fc_compare_destroy(out);
  return err;
}

void fc_compare_destroy(fc_comparison **c) {
  if (!*c) return;
  for (size_t i = 0; i < (*c)->n; i++) fc_free((*c)->group[i].label);
  fc_free((*c)->group);
  fc_free(*c);
  *c = NULL;
}
