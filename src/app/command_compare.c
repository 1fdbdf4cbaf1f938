/* command_compare.c - fedcell compare: finished runs beside each other, as a table or as JSON. */
#include "app.h"
#include "fedcell/fc_compare.h"
#include "fedcell/fc_mem.h"
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- which files ----------------------------------------------------------------------------- */

typedef struct {
  char **path;
  size_t n;
} path_list;

static void free_paths(path_list *list) {
  for (size_t i = 0; i < list->n; i++) fc_free(list->path[i]);
  fc_free(list->path);
}

static fc_err add_path(path_list *list, const char *folder, const char *name) {
  FC_TRY(fc_realloc(list->n + 1, sizeof *list->path, &list->path));
  FC_TRY(fc_format(&list->path[list->n], "%s%s%s", folder, *folder ? "/" : "", name));
  list->n++;
  return FC_ERR_OK;
}

/* Results, not checkpoints. */
static int is_result(const struct dirent *entry) {
  static const char ending[] = ".h5", checkpoint[] = ".ckpt.h5";
  size_t n = strlen(entry->d_name), e = sizeof ending - 1, c = sizeof checkpoint - 1;
  return n > e && strcmp(entry->d_name + n - e, ending) == 0 &&
         !(n > c && strcmp(entry->d_name + n - c, checkpoint) == 0);
}

static fc_err add_folder(path_list *list, const char *folder) {
  struct dirent **entry = NULL;
  int n = scandir(folder, &entry, is_result, alphasort);
  fc_err err = FC_ERR_OK;
  if (n < 1) err = fc_fail(FC_ERR_IO, "%s: no result files in this folder", folder);
  for (int i = 0; i < n; i++) {
    if (err == FC_ERR_OK) err = add_path(list, folder, entry[i]->d_name);
    free(entry[i]);
  }
  free(entry);
  return err;
}

static fc_err find_paths(const fc_arguments *a, path_list *list) {
  struct stat there;
  for (size_t i = 0; i < a->n_operands; i++) {
    const char *path = a->operands[i];
    bool is_folder = stat(path, &there) == 0 && S_ISDIR(there.st_mode);
    FC_TRY(is_folder ? add_folder(list, path) : add_path(list, "", path));
  }
  return FC_ERR_OK;
}

/* ---- as text --------------------------------------------------------------------------------- */

enum { FIGURE = 64 };

/* "0.5782 [0.561, 0.595]"; a single run has no interval, a target that was missed no cost. */
static char *figure(char buffer[FIGURE], const char *sign, const fc_mean_interval *m) {
  char format[32];
  snprintf(format, sizeof format, isnan(m->low) ? "%%%s.5g" : "%%%s.5g [%%%s.4g, %%%s.4g]", sign,
           sign, sign);
  if (isnan(m->mean))
    snprintf(buffer, FIGURE, "-");
  else
    snprintf(buffer, FIGURE, format, m->mean, m->low, m->high);
  return buffer;
}

static void say_group(const fc_comparison *c, size_t i) {
  const fc_compare_group *g = &c->group[i];
  char value[FIGURE], difference[FIGURE];
  fc_app_say("\n%s: %zu run%s", g->label, g->runs, g->runs == 1 ? "" : "s");
  if (i > 0) fc_app_say(", %zu paired with the baseline", g->pairs);
  fc_app_say("; %zu reach%s the target\n", g->reached, g->reached == 1 ? "es" : "");
  for (fc_metric m = 0; m < FC_METRICS; m++) {
    const fc_mean_interval *d = &g->difference[m];
    bool is_clear = d->low > 0 || d->high < 0;
    fc_app_say("  %-18s %-4s %*s", fc_metric_names[m], fc_metric_units[m], i > 0 ? -36 : 0,
               figure(value, "", &g->value[m]));
    if (i > 0) fc_app_say(" %s%s", figure(difference, "+", d), is_clear ? " *" : "");
    fc_app_say("\n");
  }
}

static fc_err say_text(const fc_comparison *c) {
  if (!isnan(c->target.loss)) fc_app_say("target: test loss at most %.6g\n", c->target.loss);
  if (!isnan(c->target.accuracy))
    fc_app_say("target: test accuracy at least %.6g\n", c->target.accuracy);
  fc_app_say("means with 95 %% intervals over seeds; then differences to the baseline (%s) over "
             "pairs of the same seed, * where the interval leaves out 0\n",
             c->group[0].label);
  for (size_t i = 0; i < c->n; i++) say_group(c, i);
  return FC_ERR_OK;
}

/* ---- as JSON --------------------------------------------------------------------------------- */

static json_t *number(double x) {
  return isfinite(x) ? json_real(x) : json_null();
}

static json_t *interval(const fc_mean_interval *m) {
  return json_pack("{s:o, s:o, s:o}", "mean", number(m->mean), "low", number(m->low), "high",
                   number(m->high));
}

static json_t *group_json(const fc_compare_group *g) {
  json_t *metrics = json_object();
  for (fc_metric m = 0; m < FC_METRICS; m++)
    json_object_set_new(metrics, fc_metric_names[m],
                        json_pack("{s:s, s:o, s:o}", "unit", fc_metric_units[m], "value",
                                  interval(&g->value[m]), "difference",
                                  interval(&g->difference[m])));
  return json_pack("{s:s, s:I, s:I, s:I, s:o}", "label", g->label, "runs", (json_int_t)g->runs,
                   "pairs", (json_int_t)g->pairs, "reached", (json_int_t)g->reached, "metrics",
                   metrics);
}

static fc_err say_json(const fc_comparison *c) {
  json_t *groups = json_array();
  for (size_t i = 0; i < c->n; i++) json_array_append_new(groups, group_json(&c->group[i]));
  return fc_app_say_json(json_pack("{s:o, s:o, s:o}", "target_loss", number(c->target.loss),
                                   "target_accuracy", number(c->target.accuracy), "groups",
                                   groups));
}

static fc_err compare(const fc_arguments *a) {
  path_list list = {0};
  fc_comparison *c = NULL;
  fc_compare_target target = {NAN, NAN};
  FC_TRY(fc_arguments_number("compare", "target-loss", a->target_loss, &target.loss));
  FC_TRY(fc_arguments_number("compare", "target-accuracy", a->target_accuracy, &target.accuracy));
  FC_CHECK(isnan(target.loss) || isnan(target.accuracy), USAGE,
           "compare: --target-loss and --target-accuracy exclude each other");
  fc_err err = find_paths(a, &list);
  if (err == FC_ERR_OK)
    err = fc_compare_create((const char *const *)list.path, list.n, &target, &c);
  if (err == FC_ERR_OK) err = a->json ? say_json(c) : say_text(c);
  fc_compare_destroy(&c);
  free_paths(&list);
  return err;
}

fc_err fc_command_compare(const fc_comm *comm, const fc_arguments *a) {
  return fc_agree(comm, comm->rank == 0 ? compare(a) : FC_ERR_OK);
}
