/* command_check.c - fedcell check, options, list: what would run, and what there is. */
#include "app.h"
#include "fedcell/fc_data.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_policy.h"
#include "fedcell/fc_model.h"
#include "fedcell/fc_solver.h"
#include <dirent.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* ---- check ----------------------------------------------------------------------------------- */

/* What stands under `sizes` is laid over silently: say which. */
static void show_size(const fc_config *cfg) {
  const char *size = fc_config_size(cfg);
  if (*size) fc_app_say("# size %s; another one: --size\n", size);
}

static fc_err check(const fc_comm *comm, const fc_arguments *a, fc_config *cfg) {
  const fc_study *study = fc_study_of(cfg);
  const fc_ranks on = fc_ranks_asked(comm, a);
  fc_study_estimate estimate;
  char *text = NULL;
  FC_TRY(study->estimate(cfg, on, &estimate));
  if (a->json) return study->show_estimate_json(&estimate);
  FC_TRY(fc_config_dump(cfg, &text));
  show_size(cfg);
  fc_app_say("%s", text);
  study->show_estimate(&estimate, on);
  fc_free(text);
  return FC_ERR_OK;
}

fc_err fc_command_check(const fc_comm *comm, const fc_arguments *a) {
  fc_config *cfg = NULL;
  fc_err err = fc_arguments_config(comm, a, &cfg);
  if (err == FC_ERR_OK) err = fc_agree(comm, comm->rank == 0 ? check(comm, a, cfg) : FC_ERR_OK);
  fc_config_destroy(&cfg);
  return err;
}

/* ---- options --------------------------------------------------------------------------------- */

static const char *format_name(size_t i) {
  static const char *const names[] = {"text", "md", "yaml", "json"};
  return i < sizeof names / sizeof names[0] ? names[i] : NULL;
}

fc_err fc_command_options(const fc_comm *comm, const fc_arguments *a) {
  (void)comm;
  const char *format = a->format ? a->format : format_name(0);
  size_t n = 0, i = 0;
  while (format_name(i) && strcmp(format_name(i), format) != 0) i++;
  FC_CHECK(format_name(i), USAGE, "options --format %s: allowed are text, md, yaml, json", format);
  const fc_option_table *tables = fc_policy_tables(&n);
  char *text = NULL;
  FC_TRY(fc_config_reference(tables, n, format, &text));
  fc_app_say("%s", text);
  fc_free(text);
  return FC_ERR_OK;
}

/* ---- list ------------------------------------------------------------------------------------ */

static int is_experiment(const struct dirent *entry) {
  size_t n = strlen(entry->d_name);
  return n > 5 && strcmp(entry->d_name + n - 5, ".yaml") == 0;
}

/* Experiment files of the working folder's jobs/, else those that were installed. */
static fc_err list_experiments(void) {
  static const char *const folders[] = {"jobs/experiments", FEDCELL_DATADIR "/experiments"};
  for (size_t f = 0; f < sizeof folders / sizeof folders[0]; f++) {
    struct dirent **entry = NULL;
    int n = scandir(folders[f], &entry, is_experiment, alphasort);
    for (int i = 0; i < n; i++) {
      fc_app_say("%s/%s\n", folders[f], entry[i]->d_name);
      free(entry[i]);
    }
    free(entry);
    if (n > 0) return FC_ERR_OK;
  }
  return fc_fail(FC_ERR_IO, "no experiment files in %s or %s", folders[0], folders[1]);
}

/* What result files hold. */
static void list_columns(void) {
  const char *group = NULL;
  const fc_column *c = NULL;
  for (size_t i = 0; (c = fc_result_column(i, &group)); i++) {
    char path[64];
    snprintf(path, sizeof path, "%s/%s", group, c->name);
    fc_app_say("%-30s %-13s %s\n", path, c->unit, c->description);
  }
}

typedef const char *(*text_of)(size_t i);
static const struct {
  const char *what;
  text_of name, meaning;
} lists[] = {
    {"methods", fc_method_name, fc_method_meaning},
    {"agents", fc_agent_name, fc_agent_meaning},
    {"models", fc_arch_name, fc_arch_meaning},
    {"datasets", fc_dataset_name, fc_dataset_meaning},
    {"solvers", fc_solver_name, fc_solver_meaning},
    {"benchmarks", fc_bench_name, fc_bench_meaning},
};
enum { LISTS = sizeof lists / sizeof lists[0] };

fc_err fc_command_list(const fc_comm *comm, const fc_arguments *a) {
  (void)comm;
  const char *what = a->operand;
  if (strcmp(what, "experiments") == 0) return list_experiments();
  if (strcmp(what, "columns") == 0) {
    list_columns();
    return FC_ERR_OK;
  }
  for (size_t l = 0; l < LISTS; l++) {
    if (strcmp(what, lists[l].what) != 0) continue;
    for (size_t i = 0; lists[l].name(i); i++)
      fc_app_say("%-22s %s\n", lists[l].name(i), lists[l].meaning(i));
    return FC_ERR_OK;
  }
  return fc_fail(
      FC_ERR_USAGE,
      "list %s: allowed are methods, models, datasets, solvers, experiments, benchmarks, "
      "columns",
      what);
}
