/* sweep_check.c - all faults of all points at once: a fault that many points share is told once,
 * with their numbers. */
#include "fedcell/fc_mem.h"
#include "sweep.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAULTS_MAX = 64 };

typedef struct {
  const fc_sweep *s;
  struct {
    char *line;
    bool *points; /* (count) */
  } fault[FAULTS_MAX];
  size_t n, further;
} gathering;

fc_err fc_sweep_ranges(const bool *in, size_t n, char **out) {
  fc_text t = {0};
  for (size_t i = 0; i < n; i++) {
    if (!in[i]) continue;
    size_t last = i;
    while (last + 1 < n && in[last + 1]) last++;
    fc_text_add(&t, "%s%zu", t.length ? "," : "", i + 1);
    if (last > i) fc_text_add(&t, "-%zu", last + 1);
    i = last;
  }
  return fc_text_give(&t, out);
}

static fc_err add_line(gathering *g, const char *line, size_t length, size_t number) {
  for (size_t i = 0; i < g->n; i++) {
    if (strlen(g->fault[i].line) != length || strncmp(g->fault[i].line, line, length) != 0)
      continue;
    g->fault[i].points[number - 1] = true;
    return FC_ERR_OK;
  }
  if (g->n == FAULTS_MAX) {
    g->further++;
    return FC_ERR_OK;
  }
  FC_TRY(fc_alloc(g->s->count, sizeof(bool), &g->fault[g->n].points));
  fc_err err = fc_text_copy(line, length, &g->fault[g->n].line);
  if (err != FC_ERR_OK) {
    fc_free(g->fault[g->n].points);
    return err;
  }
  g->fault[g->n++].points[number - 1] = true;
  return FC_ERR_OK;
}

static fc_err add_message(gathering *g, const char *message, size_t number) {
  for (const char *line = message; *line;) {
    size_t length = strcspn(line, "\n");
    FC_TRY(add_line(g, line, length, number));
    line += length + (line[length] == '\n');
  }
  return FC_ERR_OK;
}

/* ---- points of equal settings ---------------------------------------------------------------- */

typedef struct {
  const char *label;
  size_t number;
} labelled;

static int compare_labels(const void *a, const void *b) {
  const labelled *la = a, *lb = b;
  int order = strcmp(la->label, lb->label);
  return order ? order : (la->number > lb->number) - (la->number < lb->number);
}

static fc_err find_equals(gathering *g, fc_sweep_labels *labels) {
  labelled *sorted = NULL;
  FC_TRY(fc_alloc(g->s->count, sizeof *sorted, &sorted));
  for (size_t i = 0; i < g->s->count; i++) sorted[i] = (labelled){labels[i], i + 1};
  qsort(sorted, g->s->count, sizeof *sorted, compare_labels);
  fc_err err = FC_ERR_OK;
  for (size_t i = 1; i < g->s->count && err == FC_ERR_OK; i++) {
    if (strcmp(sorted[i - 1].label, sorted[i].label) != 0) continue;
    char line[FC_FAULT_LENGTH];
    snprintf(line, sizeof line, "%s: the settings %s are there twice", g->s->path, sorted[i].label);
    err = add_line(g, line, strlen(line), sorted[i - 1].number);
    if (err == FC_ERR_OK) err = add_line(g, line, strlen(line), sorted[i].number);
  }
  fc_free(sorted);
  return err;
}

/* ---- telling --------------------------------------------------------------------------------- */

static fc_err tell_one(const gathering *g, size_t i, fc_text *t) {
  char *ranges = NULL;
  size_t n = 0;
  for (size_t p = 0; p < g->s->count; p++) n += g->fault[i].points[p];
  FC_TRY(fc_sweep_ranges(g->fault[i].points, g->s->count, &ranges));
  fc_text_add(t, "%s%s", t->length ? "\n" : "", g->fault[i].line);
  if (n < g->s->count) fc_text_add(t, " (point%s %s)", n > 1 ? "s" : "", ranges);
  fc_free(ranges);
  return FC_ERR_OK;
}

static fc_err tell(const gathering *g) {
  fc_text t = {0};
  size_t told = 0;
  fc_err err = FC_ERR_OK;
  /* room for the last line; a message that is too long would lose it */
  while (told < g->n && err == FC_ERR_OK && t.length + FC_REASON_SIZE < FC_ERR_MESSAGE_SIZE)
    err = tell_one(g, told++, &t);
  size_t further = g->n - told + g->further;
  if (further > 0) fc_text_add(&t, "\n... and %zu more fault%s", further, further == 1 ? "" : "s");
  if (err == FC_ERR_OK) err = t.err;
  if (err == FC_ERR_OK) err = fc_fail(FC_ERR_USAGE, "%s", t.data);
  fc_free(t.data);
  return err;
}

static fc_err check_point(gathering *g, size_t number, fc_err (*check)(fc_config *), char *label) {
  fc_config *cfg = NULL;
  fc_err err = fc_sweep_point(g->s, number, &cfg);
  if (err == FC_ERR_OK) {
    err = check(cfg);
    if (err == FC_ERR_OK)
      err = fc_sweep_label(g->s, number, cfg, label);
    else if (err != FC_ERR_NOMEM) /* a faulty point still has its place among the labels */
      snprintf(label, FC_SWEEP_LABEL_SIZE, "%zu", number);
  }
  if (err != FC_ERR_OK && err != FC_ERR_NOMEM) err = add_message(g, fc_err_message(), number);
  fc_config_destroy(&cfg);
  return err;
}

fc_err fc_sweep_check(const fc_sweep *s, fc_err (*check)(fc_config *cfg),
                      fc_sweep_labels **labels) {
  gathering g = {.s = s};
  fc_err err = fc_alloc(s->count, sizeof **labels, labels);
  for (size_t i = 0; i < s->count && err == FC_ERR_OK; i++)
    err = check_point(&g, i + 1, check, (*labels)[i]);
  if (err == FC_ERR_OK) err = find_equals(&g, *labels);
  if (err == FC_ERR_OK && g.n > 0) err = tell(&g);
  for (size_t i = 0; i < g.n; i++) {
    fc_free(g.fault[i].line);
    fc_free(g.fault[i].points);
  }
  return err;
}
