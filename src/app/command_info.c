/* command_info.c - fedcell info: what a result file holds. */
#include "app.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_store.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Everything is collected as JSON; the text form is printed from it. */
typedef struct {
  json_t *datasets;
  bool failed;
} visited;

static void visit(void *arg, const char *path, const char *unit, const char *description,
                  int64_t count) {
  visited *v = arg;
  json_t *one = json_pack("{s:s, s:s, s:s, s:I}", "path", path, "unit", unit, "description",
                          description, "count", (json_int_t)count);
  if (json_array_append_new(v->datasets, one) != 0) v->failed = true;
}

static const char *const finals[] = {"round",         "train_loss", "test_loss",
                                     "test_accuracy", "sim_time_s", "cwpem"};
static const char *const totals[] = {"energy_j", "uplink_bits", "downlink_bits", "flop",
                                     "wall_time_s"};
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* JSON has no NaN: null stands for it. */
static json_t *number(double x) {
  return isfinite(x) ? json_real(x) : json_null();
}

static json_t *provenance(const fc_store_reader *r) {
  json_t *p = json_object();
  const char *name = NULL;
  for (size_t i = 0; (name = fc_result_text(i)); i++) {
    char *text = NULL;
    if (fc_store_get_text(r, "/provenance", name, &text) == FC_ERR_OK)
      json_object_set_new(p, name, json_string(text));
    fc_free(text);
  }
  for (size_t i = 0; (name = fc_result_number(i)); i++) {
    double x = 0;
    if (fc_store_get_number(r, "/provenance", name, &x) == FC_ERR_OK)
      json_object_set_new(p, name, number(x));
  }
  return p;
}

/* A column of /rounds, NULL where this kind of file has none of that name. */
static fc_err read_column(const fc_store_reader *r, const char *name, double **x, int64_t *n) {
  char path[64];
  *x = NULL;
  snprintf(path, sizeof path, "/rounds/%s", name);
  if (!fc_store_has(r, path)) return FC_ERR_OK;
  FC_TRY(fc_store_count(r, path, n));
  FC_TRY(fc_alloc((size_t)*n, sizeof **x, x));
  return fc_store_get_f64(r, path, 0, *n, *x);
}

/* The value after the last round; of several trials, each of which begins with round 0, the mean.
 */
static double last_value(const double *x, const double *round, int64_t n) {
  double total = 0;
  int64_t trials = 0;
  for (int64_t i = 0; i < n; i++) {
    if (i + 1 < n && round[i + 1] != 0) continue;
    total += x[i];
    trials++;
  }
  return trials > 0 ? total / (double)trials : (double)NAN;
}

static double sum_of(const double *x, int64_t n) {
  double total = 0;
  for (int64_t i = 0; i < n; i++) total += x[i];
  return total;
}

/* The last values of columns, or with `sum` the sums over all rounds. */
static fc_err figures(const fc_store_reader *r, const char *const *names, size_t n, bool sum,
                      json_t **out) {
  double *round = NULL;
  int64_t rows = 0, rounds = 0;
  *out = json_object();
  fc_err err = read_column(r, "round", &round, &rounds);
  if (err == FC_ERR_OK && !round) err = fc_fail(FC_ERR_DATA, "there is no /rounds/round");
  for (size_t i = 0; i < n && err == FC_ERR_OK; i++) {
    double *x = NULL;
    err = read_column(r, names[i], &x, &rows);
    if (err == FC_ERR_OK && x && rows != rounds)
      err = fc_fail(FC_ERR_DATA, "/rounds/%s and /rounds/round differ in length", names[i]);
    if (err == FC_ERR_OK && x)
      json_object_set_new(*out, names[i],
                          number(sum ? sum_of(x, rows) : last_value(x, round, rows)));
    fc_free(x);
  }
  fc_free(round);
  return err;
}

static void show_object(const char *title, const json_t *object) {
  const char *key = NULL;
  json_t *value = NULL;
  fc_app_say("%s\n", title);
  json_object_foreach((json_t *)(uintptr_t)object, key, value) {
    if (json_is_string(value))
      fc_app_say("  %-18s %s\n", key, json_string_value(value));
    else if (json_is_null(value))
      fc_app_say("  %-18s -\n", key);
    else
      fc_app_say("  %-18s %.10g\n", key, json_number_value(value));
  }
}

static void show_text(const json_t *info) {
  size_t i = 0;
  json_t *d = NULL;
  show_object("provenance", json_object_get(info, "provenance"));
  show_object("after the last round", json_object_get(info, "final"));
  show_object("totals", json_object_get(info, "total"));
  fc_app_say("datasets\n");
  json_array_foreach(json_object_get(info, "datasets"), i, d) {
    const char *unit = json_string_value(json_object_get(d, "unit"));
    fc_app_say("  %-44s %8lld %-7s %s\n", json_string_value(json_object_get(d, "path")),
               (long long)json_integer_value(json_object_get(d, "count")), unit,
               json_string_value(json_object_get(d, "description")));
  }
}

static fc_err collect(const char *path, json_t **info) {
  fc_store_reader *r = NULL;
  json_t *final = NULL, *total = NULL;
  visited v = {.datasets = json_array()};
  fc_err err = fc_store_open(path, &r);
  if (err == FC_ERR_OK) err = figures(r, finals, COUNT_OF(finals), false, &final);
  if (err == FC_ERR_OK) err = figures(r, totals, COUNT_OF(totals), true, &total);
  if (err == FC_ERR_OK) err = fc_store_visit(r, visit, &v);
  if (err == FC_ERR_OK && !v.failed)
    *info = json_pack("{s:s, s:o, s:O, s:O, s:O}", "file", path, "provenance", provenance(r),
                      "final", final, "total", total, "datasets", v.datasets);
  if (err == FC_ERR_OK && !*info)
    err = fc_fail(FC_ERR_DATA, "%s: cannot be told as JSON: a name is not UTF-8", path);
  json_decref(final);
  json_decref(total);
  json_decref(v.datasets);
  fc_store_close(&r);
  return err;
}

static fc_err check_result(const char *path) {
  fc_config *cfg = NULL;
  fc_err err = fc_result_config_read(path, &cfg);
  const fc_study *study = err == FC_ERR_OK ? fc_study_of(cfg) : &fc_study_federation;
  fc_config_destroy(&cfg);
  return study->check_result(path); /* which tells whatever is wrong with the configuration */
}

static fc_err show(const fc_arguments *a) {
  json_t *info = NULL;
  if (a->check) {
    FC_TRY(check_result(a->operand));
    fc_app_say("%s holds what a result file of format 1 must\n", a->operand);
    return FC_ERR_OK;
  }
  FC_TRY(collect(a->operand, &info));
  if (a->json) return fc_app_say_json(info);
  show_text(info);
  json_decref(info);
  return FC_ERR_OK;
}

fc_err fc_command_info(const fc_comm *comm, const fc_arguments *a) {
  return fc_agree(comm, comm->rank == 0 ? show(a) : FC_ERR_OK);
}
