/* schema.c - what a result file holds, and whether a given one holds it: every column with its
 * unit, every attribute of the provenance, and what must hold between them. The columns themselves
 * are the tables of record.c. */
#include "federation.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const texts[] = {
    "experiment", "method", "precision", "version",   "git_commit",     "compiler",
    "cpu",        "mpi",    "written",   "libraries", "compiler_flags", "command_line"};
static const char *const numbers[] = {"seed", "ranks", "threads_per_rank", "peak_rank_bytes",
                                      "peak_total_bytes"};
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Not every file has these: the size of a configuration with sizes, who chooses the devices. */
static const char *const further_texts[] = {"size", "agent"};

const char *fc_result_text(size_t i) {
  if (i < COUNT_OF(texts)) return texts[i];
  i -= COUNT_OF(texts);
  return i < COUNT_OF(further_texts) ? further_texts[i] : NULL;
}

const char *fc_result_number(size_t i) {
  return i < COUNT_OF(numbers) ? numbers[i] : NULL;
}

/* ---- violations, all of them ----------------------------------------------------------------- */

typedef struct {
  const fc_store_reader *r;
  const char *path;
  const fc_result_schema *schema;
  char line[512]; /* being told */
  char text[FC_ERR_MESSAGE_SIZE];
  size_t used, n;
} check;

/* Keeps c->line, if there is room for it and for the last line. */
static void keep_line(check *c) {
  enum { LAST_LINE = 48 };
  c->n++;
  if (c->used + strlen(c->path) + strlen(c->line) + 4 + LAST_LINE < sizeof c->text)
    c->used += (size_t)snprintf(c->text + c->used, sizeof c->text - c->used, "%s%s: %s",
                                c->used ? "\n" : "", c->path, c->line);
}
#define VIOLATION(c, ...) (snprintf((c)->line, sizeof(c)->line, __VA_ARGS__), keep_line(c))

static size_t told(const check *c) {
  size_t lines = c->used > 0;
  for (size_t i = 0; i < c->used; i++) lines += c->text[i] == '\n';
  return lines;
}

static fc_err tell(check *c) {
  if (c->n == 0) return FC_ERR_OK;
  size_t further = c->n - told(c);
  if (further > 0)
    snprintf(c->text + c->used, sizeof c->text - c->used, "\n... and %zu more", further);
  return fc_fail(FC_ERR_DATA, "%s", c->text);
}

/* ---- columns --------------------------------------------------------------------------------- */

static void check_text_is(check *c, const char *dataset, const char *attribute,
                          const char *expected) {
  char *text = NULL;
  if (fc_store_get_text(c->r, dataset, attribute, &text) != FC_ERR_OK)
    VIOLATION(c, "%s has no %s", dataset, attribute);
  else if (strcmp(text, expected) != 0)
    VIOLATION(c, "%s has %s \"%.60s\", not \"%s\"", dataset, attribute, text, expected);
  fc_free(text);
}

/* Every column of the group is there, with its unit, and as long as the first; *rows: their length.
 */
static void check_group(check *c, const char *group, int64_t *rows) {
  const char *of = NULL;
  const fc_column *column = NULL;
  *rows = -1;
  for (size_t i = 0; (column = c->schema->column(i, &of)); i++) {
    char dataset[128];
    int64_t n = 0;
    if (strcmp(of, group) != 0) continue;
    snprintf(dataset, sizeof dataset, "%s/%s", group, column->name);
    if (!fc_store_has(c->r, dataset) || fc_store_count(c->r, dataset, &n) != FC_ERR_OK) {
      VIOLATION(c, "%s is missing", dataset);
      continue;
    }
    if (*rows < 0) *rows = n;
    if (n != *rows)
      VIOLATION(c, "%s has %lld rows, the columns before it %lld", dataset, (long long)n,
                (long long)*rows);
    check_text_is(c, dataset, "unit", column->unit);
    check_text_is(c, dataset, "description", column->description);
  }
}

/* The column's n values; NULL, with the violation noted by check_group, where it cannot be read. */
static fc_err read_column(const check *c, const char *dataset, int64_t n, double **out) {
  int64_t there = 0;
  *out = NULL;
  if (n < 1 || !fc_store_has(c->r, dataset)) return FC_ERR_OK;
  if (fc_store_count(c->r, dataset, &there) != FC_ERR_OK || there != n) return FC_ERR_OK;
  FC_TRY(fc_alloc((size_t)n, sizeof **out, out));
  return fc_store_get_f64(c->r, dataset, 0, n, *out);
}

static const fc_result_rule rules[] = {
    {"/rounds/round", 0, 1e15, false, true, true},
    {"/rounds/test_accuracy", 0, 1, true, false, false},
    {"/rounds/sim_time_s", 0, INFINITY, false, true, false},
    {"/rounds/energy_j", 0, INFINITY, false, false, false},
    {"/rounds/participants", 0, 4294967295.0, false, false, false},
    {"/participation/round", 1, 1e15, false, true, false},
    {"/participation/device", 0, 4294967295.0, false, false, false},
    {"/participation/module", 0, 4294967295.0, false, false, false},
    {"/participation/lora_rank", 0, 4294967295.0, false, false, false},
    {"/participation/pruning", 0, 1, false, false, false},
    {"/participation/power_w", 0, INFINITY, false, false, false},
    {"/participation/latency_s", 0, INFINITY, false, false, false},
    {"/participation/delivered", 0, 1, false, false, false},
    {"/profile/device", 0, 4294967295.0, false, true, true},
    {"/profile/compute_flops", 0, INFINITY, false, false, false},
    {"/profile/pathloss_db", 0, INFINITY, false, false, false},
};

static void check_values(check *c, const fc_result_rule *allowed, int64_t n, const double *x) {
  for (int64_t i = 0; i < n; i++) {
    bool is_fine = allowed->may_be_nan && isnan(x[i]);
    is_fine = is_fine || (x[i] >= allowed->min && x[i] <= allowed->max);
    if (allowed->counts) is_fine = is_fine && x[i] == (double)i;
    if (allowed->rises && i > 0) is_fine = is_fine && x[i] >= x[i - 1];
    if (is_fine) continue;
    VIOLATION(c, "%s: row %lld is %.10g%s", allowed->dataset, (long long)i, x[i],
              allowed->counts  ? ", not its own number"
              : allowed->rises ? ", less than the one before, or outside its range"
                               : ", outside its range");
    return; /* the first one says enough */
  }
}

static fc_err check_rules(check *c, const char *group, int64_t rows) {
  const size_t length = strlen(group);
  for (size_t i = 0; i < c->schema->n_rules; i++) {
    const fc_result_rule *rule = &c->schema->rules[i];
    double *x = NULL;
    if (strncmp(rule->dataset, group, length) != 0 || rule->dataset[length] != '/') continue;
    fc_err err = read_column(c, rule->dataset, rows, &x);
    if (err == FC_ERR_OK && x) check_values(c, rule, rows, x);
    fc_free(x);
    FC_TRY(err);
  }
  return FC_ERR_OK;
}

/* Every round has as many rows of participation as it says participants. */
static fc_err check_participants(check *c, int64_t rounds, int64_t rows) {
  double *said = NULL, *round = NULL;
  fc_err err = read_column(c, "/rounds/participants", rounds, &said);
  if (err == FC_ERR_OK) err = read_column(c, "/participation/round", rows, &round);
  for (int64_t i = 0; i < rows && said && round; i++)
    if (round[i] >= 0 && round[i] < (double)rounds) said[(int64_t)round[i]] -= 1;
  for (int64_t i = 0; i < rounds && said && (round || rows == 0); i++) {
    if (said[i] == 0) continue;
    VIOLATION(c, "/rounds/participants: round %lld says %g more than /participation has",
              (long long)i, said[i]);
    break;
  }
  fc_free(said);
  fc_free(round);
  return err;
}

/* ---- the rest -------------------------------------------------------------------------------- */

/* The attribute of the kind is the option's value, the seed the seed's. */
static void check_against(check *c, const fc_config *cfg) {
  const char *kind = c->schema->kind, *value = fc_config_string(cfg, c->schema->option);
  char *name = NULL;
  double seed = NAN;
  if (fc_store_get_number(c->r, "/provenance", "seed", &seed) == FC_ERR_OK &&
      seed != (double)fc_config_int(cfg, "seed"))
    VIOLATION(c, "/provenance: seed is %.17g, in the configuration %lld", seed,
              (long long)fc_config_int(cfg, "seed"));
  if (fc_store_get_text(c->r, "/provenance", kind, &name) == FC_ERR_OK && strcmp(name, value) != 0)
    VIOLATION(c, "/provenance: %s is %.60s, in the configuration %s", kind, name, value);
  fc_free(name);
}

/* The configuration reads back and says the same as the attributes. *out: NULL if it does not read.
 */
static fc_err check_configuration(check *c, fc_config **out) {
  char *text = NULL;
  size_t n = 0;
  fc_config *cfg = NULL;
  const fc_option_table *tables = c->schema->tables(&n);
  *out = NULL;
  if (fc_store_get_text(c->r, "/provenance", "config", &text) != FC_ERR_OK) {
    VIOLATION(c, "/provenance has no config");
    return FC_ERR_OK;
  }
  fc_err err = fc_config_create(tables, n, &cfg);
  if (err == FC_ERR_OK) err = fc_config_load_text(cfg, "config", text, strlen(text), NULL);
  if (err == FC_ERR_OK) err = fc_config_finish(cfg);
  fc_free(text);
  if (err == FC_ERR_OK) {
    check_against(c, cfg);
    *out = cfg;
    return FC_ERR_OK;
  }
  if (err == FC_ERR_USAGE) {
    VIOLATION(c, "/provenance: %.300s", fc_err_message());
    err = FC_ERR_OK;
  }
  fc_config_destroy(&cfg);
  return err;
}

static void check_attributes(check *c) {
  for (size_t i = 0; i < COUNT_OF(texts); i++) {
    char *text = NULL;
    const char *name = strcmp(texts[i], "method") == 0 ? c->schema->kind : texts[i];
    if (fc_store_get_text(c->r, "/provenance", name, &text) != FC_ERR_OK)
      VIOLATION(c, "/provenance has no %s", name);
    fc_free(text);
  }
  for (size_t i = 0; i < COUNT_OF(numbers); i++) {
    double x = 0;
    if (fc_store_get_number(c->r, "/provenance", numbers[i], &x) != FC_ERR_OK)
      VIOLATION(c, "/provenance has no %s", numbers[i]);
  }
}

typedef struct {
  check *c;
  fc_err err;
} adapter_check;

/* Trained weights are finite. */
static void check_weight(void *arg, const char *path, const char *unit, const char *description,
                         int64_t count) {
  adapter_check *a = arg;
  double *x = NULL;
  (void)unit, (void)description;
  if (a->err != FC_ERR_OK || strncmp(path, "/final/adapter/", 15) != 0) return;
  a->err = read_column(a->c, path, count, &x);
  for (int64_t i = 0; a->err == FC_ERR_OK && x && i < count; i++) {
    if (isfinite(x[i])) continue;
    VIOLATION(a->c, "%s: element %lld is not finite", path, (long long)i);
    break;
  }
  fc_free(x);
}

static fc_err check_adapter(check *c, bool keeps) {
  adapter_check a = {c, FC_ERR_OK};
  if (!keeps && !fc_store_has(c->r, "/final/adapter")) VIOLATION(c, "/final/adapter is missing");
  fc_err err = fc_store_visit(c->r, check_weight, &a);
  if (err == FC_ERR_DATA) { /* a dataset of any group without unit or description */
    VIOLATION(c, "%.300s", fc_err_message());
    return FC_ERR_OK;
  }
  return err != FC_ERR_OK ? err : a.err;
}

static const fc_result_schema federated = {.kind = "method",
                                           .option = "federation.method",
                                           .column = fc_result_column,
                                           .rules = rules,
                                           .n_rules = COUNT_OF(rules),
                                           .tables = fc_federation_tables};

/* Does the configuration's method have a model a device, and so no global adapter? */
static bool keeps_device_models(const fc_config *cfg) {
  return cfg && fc_method_find(fc_config_string(cfg, "federation.method"))->keeps_device_models;
}

static fc_err check_devices(check *c) {
  int64_t devices = 0;
  check_group(c, "/profile", &devices);
  return check_rules(c, "/profile", devices);
}

static fc_err check_file(check *c) {
  const bool is_federated = c->schema == &federated;
  int64_t rounds = 0, rows = 0;
  fc_config *cfg = NULL;
  check_group(c, "/rounds", &rounds);
  check_group(c, "/participation", &rows);
  FC_TRY(check_rules(c, "/rounds", rounds));
  FC_TRY(check_rules(c, "/participation", rows));
  if (is_federated) FC_TRY(check_participants(c, rounds, rows));
  check_attributes(c);
  FC_TRY(check_configuration(c, &cfg));
  const bool keeps = !is_federated || keeps_device_models(cfg);
  fc_config_destroy(&cfg);
  if (fc_store_has(c->r, "/state")) /* devices and adapter stand in the finished file */
    return FC_ERR_OK;
  FC_TRY(check_devices(c));
  return check_adapter(c, keeps);
}

fc_err fc_result_check_as(const char *path, const fc_result_schema *schema) {
  fc_store_reader *r = NULL;
  FC_TRY(fc_store_open(path, &r));
  check c = {.r = r, .path = path, .schema = schema};
  fc_err err = check_file(&c);
  fc_store_close(&r);
  return err != FC_ERR_OK ? err : tell(&c);
}

fc_err fc_result_check(const char *path) {
  return fc_result_check_as(path, &federated);
}
