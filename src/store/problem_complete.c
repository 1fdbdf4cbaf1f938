/* problem_complete.c - after the last byte: rows and numbers that are made up, columns that are
 * missing or of another length. */
#include "problem.h"
#include <stdio.h>
#include <string.h>

enum { NAME_SIZE = 64 };

/* The name of the list or column: "clients" of "clients[].tx_power_w". */
static const char *list_name(const char *path, char *name) {
  snprintf(name, NAME_SIZE, "%.*s", (int)strcspn(path, "["), path);
  return name;
}

static fc_err make_rows(fc_problem_draft *d) {
  const fc_solver_field *f = d->solver->input;
  FC_TRY(fc_generate_check(&d->generate, d->solver));
  const int64_t rows = (int64_t)d->generate.count;
  for (int i = 0; f[i].path; i++) {
    char name[NAME_SIZE];
    if (!fc_generate_makes(&d->generate, d->solver, i)) continue;
    FC_CHECK(d->count[i] == 0, DATA, "%s: is given beside generate", list_name(f[i].path, name));
    double **column = fc_field_column(&f[i], d->problem);
    FC_TRY(fc_alloc((size_t)rows, sizeof **column, column));
    for (int64_t row = 0; row < rows; row++)
      (*column)[row] = fc_generate_value(&d->generate, d->solver, i, row);
    d->count[i] = rows;
  }
  return FC_ERR_OK;
}

/* Single numbers that nothing was said about. */
static fc_err fill_numbers(fc_problem_draft *d) {
  const fc_solver_field *f = d->solver->input;
  for (int i = 0; f[i].path; i++) {
    if (f[i].kind != FC_FIELD_NUMBER || d->seen[i]) continue;
    FC_CHECK(d->generate.given && f[i].draw.kind != FC_DRAW_NONE, DATA, "%s: is missing",
             f[i].path);
    double x = fc_generate_value(&d->generate, d->solver, i, -1);
    memcpy((char *)d->problem + f[i].offset, &x, sizeof x);
  }
  return FC_ERR_OK;
}

/* All columns are as long as the first, and not empty. */
static fc_err check_columns(fc_problem_draft *d) {
  const fc_solver_field *f = d->solver->input;
  int first = -1;
  char name[NAME_SIZE], other[NAME_SIZE];
  for (int i = 0; f[i].path; i++) {
    if (!fc_field_is_column(&f[i])) continue;
    if (d->count[i] == 0 && f[i].kind == FC_FIELD_OPTIONAL_COLUMN && !d->seen[i]) continue;
    if (first < 0) first = i;
    FC_CHECK(d->count[i] > 0, DATA, "%s: is missing or empty", list_name(f[i].path, name));
    FC_CHECK(d->count[i] == d->count[first], DATA, "%s: has %lld values, %s has %lld",
             list_name(f[i].path, name), (long long)d->count[i], list_name(f[first].path, other),
             (long long)d->count[first]);
  }
  ((fc_rows_here *)d->problem)->n = first >= 0 ? d->count[first] : 0;
  return FC_ERR_OK;
}

fc_err fc_problem_complete(fc_problem_draft *d) {
  bool columns = false;
  for (int i = 0; d->solver->input[i].path; i++)
    columns = columns || fc_field_is_column(&d->solver->input[i]);
  FC_CHECK(columns || !d->generate.given, DATA, "generate: %s has no rows", d->solver->name);
  if (d->generate.given) FC_TRY(make_rows(d));
  FC_TRY(check_columns(d));
  return fill_numbers(d);
}
