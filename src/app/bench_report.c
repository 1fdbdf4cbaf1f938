/* bench_report.c - rows of figures, kept as JSON, and the table printed from it. */
#include "bench_private.h"
#include "fedcell/fc_machine.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_peak.h"
#include <math.h>
#include <omp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- collecting -------------------------------------------------------------------------------
 */

/* JSON has no NaN: null stands for it. */
static json_t *number(double x) {
  return isfinite(x) ? json_real(x) : json_null();
}

static void keep(fc_bench *b, json_t *object, const char *name, json_t *value) {
  if (json_object_set_new(object, name, value) != 0) b->failed = true;
}

void fc_bench_row(fc_bench *b, const char *format, ...) {
  char text[128];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  b->row = json_pack("{s:s}", "case", text);
  if (json_array_append_new(json_object_get(b->told, "rows"), b->row) != 0) b->failed = true;
}

void fc_bench_figure(fc_bench *b, const char *name, const char *unit, fc_interval x) {
  keep(b, b->row, name,
       json_pack("{s:o, s:o, s:o, s:s}", "value", number(x.median), "low", number(x.low), "high",
                 number(x.high), "unit", unit));
}

void fc_bench_number(fc_bench *b, const char *name, const char *unit, double value) {
  keep(b, b->row, name, json_pack("{s:o, s:s}", "value", number(value), "unit", unit));
}

void fc_bench_text(fc_bench *b, const char *name, const char *text) {
  keep(b, b->row, name, json_string(text));
}

fc_err fc_bench_tokens(fc_bench *b, const int32_t *tokens, size_t n) {
  const size_t room = 12; /* "2147483647 " */
  char *text = NULL;
  size_t used = 0;
  FC_TRY(fc_alloc(n * room, 1, &text));
  for (size_t i = 0; i < n; i++)
    used += (size_t)snprintf(text + used, room, "%s%d", i ? " " : "", tokens[i]);
  fc_bench_text(b, "tokens", text);
  fc_free(text);
  return FC_ERR_OK;
}

static json_t *provenance(fc_bench *b, const fc_fact *facts, size_t n) {
  char cpu[256];
  fc_machine_cpu(cpu, sizeof cpu);
  json_t *p = json_pack("{s:s, s:i, s:s}", "cpu", cpu, "threads", omp_get_max_threads(), "kernels",
                        fc_k_path());
  for (size_t i = 0; i < n; i++) keep(b, p, facts[i].name, json_string(facts[i].value));
  return p;
}

fc_err fc_bench_create(const fc_comm *comm, const char *name, const fc_arguments *a,
                       const fc_fact *facts, size_t n_facts, fc_bench **out) {
  FC_TRY(fc_alloc(1, sizeof **out, out));
  fc_bench *b = *out;
  b->comm = comm;
  b->quick = a->quick;
  b->case_path = a->bench_case;
  b->told = json_pack("{s:s, s:b, s:o, s:[]}", "benchmark", name, "quick", (int)a->quick,
                      "provenance", provenance(b, facts, n_facts), "rows");
  if (!b->told) b->failed = true;
  return FC_ERR_OK;
}

void fc_bench_destroy(fc_bench **bench) {
  fc_bench *b = *bench;
  if (!b) return;
  json_decref(b->told);
  fc_free(b->memory);
  fc_free(b->copy);
  fc_free(b);
  *bench = NULL;
}

bool fc_bench_quick(const fc_bench *b) {
  return b->quick;
}

const char *fc_bench_case(const fc_bench *b) {
  return b->case_path;
}

const fc_comm *fc_bench_comm(const fc_bench *b) {
  return b->comm;
}

/* ---- the table --------------------------------------------------------------------------------
 */

enum { CELL = 160, COLUMNS = 32 };

/* "12.3 GB/s [11.9, 12.8]" */
static void cell(char *out, const json_t *row, const char *column) {
  json_t *f = json_object_get(row, column);
  snprintf(out, CELL, "%s", json_is_string(f) ? json_string_value(f) : "");
  if (!json_is_object(f)) return;
  const json_t *low = json_object_get(f, "low"), *high = json_object_get(f, "high");
  const json_t *value = json_object_get(f, "value");
  const char *unit = json_string_value(json_object_get(f, "unit"));
  if (!json_is_number(value)) {
    snprintf(out, CELL, "-");
    return;
  }
  int n = snprintf(out, CELL, "%.4g%s%s", json_number_value(value), *unit ? " " : "", unit);
  if (low)
    snprintf(out + n, CELL - (size_t)n, " [%.4g, %.4g]", json_number_value(low),
             json_number_value(high));
}

/* Names of all rows' figures, in the order in which they come up; returns how many. */
static size_t find_columns(const json_t *rows, const char **columns) {
  size_t n = 0, i;
  json_t *row, *value;
  const char *key;
  json_array_foreach(rows, i, row) {
    json_object_foreach(row, key, value) {
      size_t c = 0;
      while (c < n && strcmp(columns[c], key) != 0) c++;
      if (c == n && n < COLUMNS) columns[n++] = key;
    }
  }
  return n;
}

static int width_of(const json_t *rows, const char *column) {
  size_t width = strlen(column), i;
  json_t *row;
  char text[CELL];
  json_array_foreach(rows, i, row) {
    cell(text, row, column);
    if (strlen(text) > width) width = strlen(text);
  }
  return (int)width;
}

static void show_table(const json_t *told) {
  const json_t *rows = json_object_get(told, "rows"), *p = json_object_get(told, "provenance");
  const char *columns[COLUMNS];
  char text[CELL];
  size_t n = find_columns(rows, columns), i;
  json_t *row;
  fc_app_say("%s, %lld threads, kernels %s, fedcell %s (%s)\n",
             json_string_value(json_object_get(p, "cpu")),
             (long long)json_integer_value(json_object_get(p, "threads")),
             json_string_value(json_object_get(p, "kernels")),
             json_string_value(json_object_get(p, "version")),
             json_string_value(json_object_get(p, "git_commit")));
  fc_app_say("medians [95 %% interval of the median]\n\n");
  for (size_t c = 0; c < n; c++) fc_app_say("%-*s  ", width_of(rows, columns[c]), columns[c]);
  fc_app_say("\n");
  json_array_foreach(rows, i, row) {
    for (size_t c = 0; c < n; c++) {
      cell(text, row, columns[c]);
      fc_app_say("%-*s  ", width_of(rows, columns[c]), text);
    }
    fc_app_say("\n");
  }
}

fc_err fc_bench_show(const fc_bench *b, bool json) {
  FC_CHECK(!b->failed, NOMEM, "bench: the figures cannot be kept: out of memory");
  if (!json) {
    show_table(b->told);
    return FC_ERR_OK;
  }
  char *text = json_dumps(b->told, JSON_INDENT(2));
  FC_CHECK(text, NOMEM, "bench: out of memory");
  fc_app_say("%s\n", text);
  free(text); /* jansson's own allocation */
  return FC_ERR_OK;
}
