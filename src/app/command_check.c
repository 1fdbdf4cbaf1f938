/* command_check.c - fedcell check, options, list: what would run, and what there is. */
#include "app.h"
#include "fedcell/fc_data.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_model.h"
#include "fedcell/fc_solver.h"
#include <dirent.h>
#include <jansson.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* ---- check ----------------------------------------------------------------------------------- */

static void show_estimate(const fc_estimate *e, int ranks, int threads) {
  char a[FC_HUMAN], b[FC_HUMAN];
#define BYTES(buffer, field) fc_app_human(buffer, e->field, "B")
  fc_app_say("\n# ---- what it needs (%d rank%s of %d thread%s on one node) ----\n", ranks,
             ranks == 1 ? "" : "s", threads, threads == 1 ? "" : "s");
  fc_app_say("# samples:    %lld on %u devices, %lld public, %lld test\n",
             (long long)e->samples_train, e->devices, (long long)e->samples_public,
             (long long)e->samples_test);
  fc_app_say("# weights:    %zu in the base, %zu trained\n", e->base_weights, e->trained_weights);
  fc_app_say("# memory:     %s a node: %s a rank", BYTES(a, node_bytes), BYTES(b, rank_bytes));
  fc_app_say(" and %s of base weights shared by all\n", BYTES(a, node_shared_bytes));
  fc_app_say("#             of a rank's: %s a training thread (cohort of %d device%s), %s a "
             "participant of its rounds\n",
             BYTES(a, thread_bytes), e->cohort_devices, e->cohort_devices == 1 ? "" : "s",
             BYTES(b, participant_bytes));
  fc_app_say("#             recommended: federation.cohort %d", e->best_cohort);
  if (e->memory_bytes > 0) fc_app_say("; this node has %s", BYTES(a, memory_bytes));
  fc_app_say("%s\n", e->memory_bytes > 0 && e->node_bytes > 0.8 * e->memory_bytes
                         ? ": too little, try federation.recompute: true"
                         : "");
  fc_app_say("#             each further simulated device: %s\n", BYTES(a, idle_device_bytes));
  fc_app_say("# one round:  %u participants, %s", e->participants,
             fc_app_human(a, e->flop_per_round, "FLOP"));
  fc_app_say(", up %s, down %s\n", fc_app_human(a, e->uplink_bits_per_round / 8, "B"),
             fc_app_human(b, e->downlink_bits_per_round / 8, "B"));
#undef BYTES
}

/* The same figures for programs. */
static fc_err show_estimate_json(const fc_estimate *e) {
  json_t *o = json_pack(
      "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}",
      "devices", (json_int_t)e->devices, "participants", (json_int_t)e->participants,
      "samples_train", (json_int_t)e->samples_train, "samples_public",
      (json_int_t)e->samples_public, "samples_test", (json_int_t)e->samples_test, "base_weights",
      (json_int_t)e->base_weights, "trained_weights", (json_int_t)e->trained_weights,
      "cohort_devices", e->cohort_devices, "best_cohort", e->best_cohort, "node_bytes",
      e->node_bytes, "rank_bytes", e->rank_bytes, "node_shared_bytes", e->node_shared_bytes,
      "thread_bytes", e->thread_bytes, "participant_bytes", e->participant_bytes,
      "idle_device_bytes", e->idle_device_bytes, "flop_per_round", e->flop_per_round,
      "uplink_bits_per_round", e->uplink_bits_per_round, "downlink_bits_per_round",
      e->downlink_bits_per_round);
  return fc_app_say_json(o);
}

/* What stands under `sizes` is laid over silently: say which. */
static void show_size(const fc_config *cfg) {
  const char *size = fc_config_size(cfg);
  if (*size) fc_app_say("# size %s; another one: --size\n", size);
}

static fc_err check(const fc_comm *comm, const fc_arguments *a, fc_config *cfg) {
  fc_estimate estimate;
  char *text = NULL;
  int ranks = a->ranks ? a->ranks : comm->size;
  int threads = a->threads ? a->threads : omp_get_max_threads();
  FC_TRY(fc_federation_estimate(cfg, ranks, threads, &estimate));
  if (a->json) return show_estimate_json(&estimate);
  FC_TRY(fc_config_dump(cfg, &text));
  show_size(cfg);
  fc_app_say("%s", text);
  show_estimate(&estimate, ranks, threads);
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
  const fc_option_table *tables = fc_federation_tables(&n);
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
