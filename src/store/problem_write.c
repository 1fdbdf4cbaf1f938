/* problem_write.c - solutions as JSON, and the memory of problems and solutions. */
#include "problem.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

double **fc_field_column(const fc_solver_field *field, void *structure) {
  return fc_field_is_column(field) ? (double **)(void *)((char *)structure + field->offset) : NULL;
}

static void destroy(const fc_solver_field *fields, void **structure) {
  if (!*structure) return;
  for (int i = 0; fields[i].path; i++)
    if (fc_field_is_column(&fields[i])) fc_free(*fc_field_column(&fields[i], *structure));
  fc_free(*structure);
  *structure = NULL;
}

void fc_problem_destroy(const fc_solver *solver, void **problem) {
  destroy(solver->input, problem);
}

void fc_solution_destroy(const fc_solver *solver, void **solution) {
  destroy(solver->output, solution);
}

fc_err fc_solution_create(const fc_solver *solver, int64_t n, void **solution) {
  FC_TRY(fc_alloc(1, solver->solution_bytes, solution));
  fc_err err = FC_ERR_OK;
  for (int i = 0; solver->output[i].path && err == FC_ERR_OK; i++) {
    double **column = fc_field_column(&solver->output[i], *solution);
    if (column) err = fc_alloc((size_t)n, sizeof **column, column);
  }
  if (err != FC_ERR_OK) fc_solution_destroy(solver, solution);
  return err;
}

/* ---- text ------------------------------------------------------------------------------------ */

enum { BUFFER = 1 << 16, PIECE_MAX = 512 };

typedef struct {
  char text[BUFFER];
  size_t used;
  fc_text_sink *put;
  void *arg;
  fc_err err; /* the first failure; nothing is written after it */
} writer;

static void flush(writer *w) {
  if (w->err == FC_ERR_OK && w->used > 0) w->err = w->put(w->arg, w->text, w->used);
  w->used = 0;
}

static void put(writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(writer *w, const char *format, ...) {
  va_list args;
  if (w->used + PIECE_MAX > BUFFER) flush(w);
  va_start(args, format);
  int n = vsnprintf(w->text + w->used, PIECE_MAX, format, args);
  va_end(args);
  assert(n >= 0 && n < PIECE_MAX);
  w->used += (size_t)n;
}

static void put_column(writer *w, const double *x, int64_t n) {
  put(w, "[");
  for (int64_t i = 0; i < n; i++) put(w, i > 0 ? ",%.17g" : "%.17g", x[i]);
  put(w, "]");
}

static void put_rows(writer *w, const double *flag, int64_t n) {
  const char *comma = "";
  put(w, "[");
  for (int64_t i = 0; i < n; i++) {
    if (flag[i] == 0) continue;
    put(w, "%s%lld", comma, (long long)i);
    comma = ",";
  }
  put(w, "]");
}

static void put_field(writer *w, const fc_solver_field *f, int64_t n, const void *solution) {
  const void *at = (const char *)solution + f->offset;
  double number = 0;
  int64_t integer = 0;
  put(w, ",\"%.*s\":", (int)strcspn(f->path, "["), f->path);
  switch (f->kind) {
  case FC_FIELD_COLUMN:
    put_column(w, *(double *const *)at, n);
    break;
  case FC_FIELD_LIST:
    put_rows(w, *(double *const *)at, n);
    break;
  case FC_FIELD_INTEGER:
    memcpy(&integer, at, sizeof integer);
    put(w, "%lld", (long long)integer);
    break;
  default:
    memcpy(&number, at, sizeof number);
    put(w, "%.17g", number);
  }
}

fc_err fc_solution_write(const fc_solver *solver, int64_t n, const void *solution,
                         fc_text_sink *sink, void *arg) {
  const fc_answer *answer = solution;
  writer *w = NULL;
  FC_TRY(fc_alloc(1, sizeof *w, &w));
  w->put = sink;
  w->arg = arg;
  put(w, "{\"status\":\"%s\"", answer->status == FC_OPTIMAL ? "optimal" : "infeasible");
  if (answer->status == FC_INFEASIBLE) put(w, ",\"reason\":\"%s\"", answer->reason);
  for (const fc_solver_field *f = solver->output; f->path; f++)
    if (answer->status == FC_OPTIMAL || f->kind == FC_FIELD_LIST) put_field(w, f, n, solution);
  put(w, "}\n");
  flush(w);
  fc_err err = w->err;
  fc_free(w);
  return err;
}
