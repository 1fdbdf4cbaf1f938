/* trace.c - columns of numbers from a table, or a CSV file: a header that names columns, then rows.
 *
 *   compute_flops, tx_power_w
 *   1.2e12, 0.2
 *
 * Plain decimal numbers, commas, spaces around them; a byte order mark, CRLF and empty lines are
 * accepted. Every fault names file and line. */
#include "cell.h"
#include "fedcell/fc_mem.h"
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  const char *path;
  FILE *file;
  size_t line_number;
  char *line; /* of getline */
  size_t line_capacity;
  size_t capacity; /* rows */
  const trace_form *form;
  size_t fields[TRACE_COLUMNS_MAX]; /* number of the columns in the form */
  trace *t;
} reader;

/* Number of the column of that name; that of the end if there is none. */
static size_t find_column(const trace_form *form, const char *name) {
  size_t i = 0;
  while (form->name(i) && strcmp(form->name(i), name) != 0) i++;
  return i;
}

static char *trim(char *s) {
  while (isspace((unsigned char)*s)) s++;
  size_t n = strlen(s);
  while (n > 0 && isspace((unsigned char)s[n - 1])) s[--n] = '\0';
  return s;
}

/* The next line that is not empty, trimmed, in *out; NULL at the end of the file. */
static fc_err next_line(reader *r, char **out) {
  *out = NULL;
  for (;;) {
    errno = 0;
    ssize_t n = getline(&r->line, &r->line_capacity, r->file);
    if (n < 0) {
      FC_CHECK(!ferror(r->file) && errno != ENOMEM, IO, "%s: cannot be read: %s", r->path,
               strerror(errno));
      return FC_ERR_OK;
    }
    r->line_number++;
    FC_CHECK(strlen(r->line) == (size_t)n, DATA, "%s:%zu: a zero byte: not a text file", r->path,
             r->line_number);
    char *text = r->line;
    if (r->line_number == 1 && strncmp(text, "\xEF\xBB\xBF", 3) == 0) text += 3;
    text = trim(text);
    if (*text == '\0') continue;
    *out = text;
    return FC_ERR_OK;
  }
}

/* Cuts the piece before the next comma off *rest; NULL when nothing is left. */
static char *next_piece(char **rest) {
  char *piece = strsep(rest, ",");
  return piece ? trim(piece) : NULL;
}

static fc_err read_column_name(reader *r, const char *name) {
  size_t field = find_column(r->form, name);
  if (!r->form->name(field)) {
    const char *near = fc_nearest_name(name, r->form->name);
    return fc_fail(FC_ERR_DATA, "%s:%zu: no such column: \"%.60s\"%s%s%s", r->path, r->line_number,
                   name, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
  }
  FC_CHECK(r->t->column_of[field] < 0, DATA, "%s:%zu: column %s is there twice", r->path,
           r->line_number, name);
  r->fields[r->t->columns] = field;
  r->t->column_of[field] = (int)r->t->columns++;
  return FC_ERR_OK;
}

static fc_err read_header(reader *r) {
  char *rest;
  FC_TRY(next_line(r, &rest));
  FC_CHECK(rest != NULL, DATA, "%s: empty: a header with column names is expected", r->path);
  for (char *name; (name = next_piece(&rest)) != NULL;) FC_TRY(read_column_name(r, name));
  return FC_ERR_OK;
}

static bool is_within(const range *limit, double x) {
  return limit->min > limit->max ? isfinite(x) : x >= limit->min && x <= limit->max;
}

static fc_err read_number(reader *r, size_t field, const char *text, double *out) {
  char *end;
  *out = strtod(text, &end);
  /* strtod also takes inf, nan and hexadecimal, which no table should hold */
  bool plain = *text != '\0' && *end == '\0' && strspn(text, "0123456789+-.eE") == strlen(text);
  FC_CHECK(plain && isfinite(*out), DATA, "%s:%zu: %s = \"%.60s\": a finite number is expected",
           r->path, r->line_number, r->form->name(field), text);
  const range *limit = &r->form->limits[field];
  FC_CHECK(is_within(limit, *out), DATA, "%s:%zu: %s = %.10g: must be %.10g to %.10g", r->path,
           r->line_number, r->form->name(field), *out, limit->min, limit->max);
  return FC_ERR_OK;
}

static fc_err read_row(reader *r, char *rest) {
  trace *t = r->t;
  FC_CHECK(t->rows < UINT32_MAX, DATA, "%s:%zu: too many rows", r->path, r->line_number);
  if (t->rows == r->capacity) {
    r->capacity = r->capacity ? 2 * r->capacity : 64;
    FC_TRY(fc_realloc(r->capacity * t->columns, sizeof(double), &t->value));
  }
  size_t found = 0;
  for (char *text; (text = next_piece(&rest)) != NULL; found++) {
    if (found >= t->columns) continue; /* counted for the message */
    FC_TRY(read_number(r, r->fields[found], text, &t->value[(size_t)t->rows * t->columns + found]));
  }
  FC_CHECK(found == t->columns, DATA, "%s:%zu: %zu values where the header names %zu columns",
           r->path, r->line_number, found, t->columns);
  t->rows++;
  return FC_ERR_OK;
}

static fc_err read_all(reader *r) {
  FC_TRY(read_header(r));
  for (;;) {
    char *line;
    FC_TRY(next_line(r, &line));
    if (line == NULL) break;
    FC_TRY(read_row(r, line));
  }
  FC_CHECK(r->t->rows > 0, DATA, "%s: no rows below the header", r->path);
  return FC_ERR_OK;
}

fc_err trace_read(const char *path, const trace_form *form, trace *out) {
  *out = (trace){0};
  for (int i = 0; i < TRACE_COLUMNS_MAX; i++) out->column_of[i] = -1;
  reader r = {.path = path, .form = form, .t = out};
  r.file = fopen(path, "r");
  FC_CHECK(r.file != NULL, IO, "%s: cannot be opened: %s", path, strerror(errno));
  fc_err err = read_all(&r);
  free(r.line);
  fclose(r.file);
  if (err != FC_ERR_OK) trace_free(out);
  return err;
}

/* Row-major, as a file is read. */
static fc_err copy_column(const char *path, const fc_trace_table *table, size_t column,
                          const trace_form *form, trace *out) {
  size_t field = find_column(form, table->name[column]);
  assert(form->name(field));
  out->column_of[field] = (int)column;
  for (uint32_t row = 0; row < table->rows; row++) {
    double x = table->value[column * table->rows + row];
    const range *limit = &form->limits[field];
    FC_CHECK(is_within(limit, x), DATA, "%s: row %u: %s = %.10g: must be %.10g to %.10g", path, row,
             form->name(field), x, limit->min, limit->max);
    out->value[(size_t)row * table->columns + column] = x;
  }
  return FC_ERR_OK;
}

fc_err trace_copy(const char *path, const fc_trace_table *table, const trace_form *form,
                  trace *out) {
  *out = (trace){.rows = table->rows, .columns = table->columns};
  for (int i = 0; i < TRACE_COLUMNS_MAX; i++) out->column_of[i] = -1;
  fc_err err = fc_alloc((size_t)table->rows * table->columns, sizeof *out->value, &out->value);
  for (size_t c = 0; c < table->columns && err == FC_ERR_OK; c++)
    err = copy_column(path, table, c, form, out);
  if (err != FC_ERR_OK) trace_free(out);
  return err;
}

void trace_free(trace *t) {
  fc_free(t->value);
  *t = (trace){0};
  for (int i = 0; i < TRACE_COLUMNS_MAX; i++) t->column_of[i] = -1;
}
