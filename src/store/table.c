/* table.c - rows of doubles under named columns, kept in memory until they are written.
 *
 * A table owns its rows and their global numbers, the caller owns the columns' descriptions.
 * Rows are stored one after another and grow by half, so that appending costs O(1) on average. */
#include "fedcell/fc_mem.h"
#include "fedcell/fc_store.h"
#include <string.h>

struct fc_table {
  const fc_column *columns; /* borrowed */
  size_t n_columns;
  size_t rows, capacity;
  int64_t *numbers; /* (capacity) */
  double *values;   /* (capacity, n_columns) */
};

fc_err fc_table_create(const fc_column *columns, size_t n, fc_table **out) {
  *out = NULL;
  FC_CHECK(n >= 1, SHAPE, "a table needs at least one column");
  fc_table *t = NULL;
  FC_TRY(fc_alloc(1, sizeof *t, &t));
  t->columns = columns;
  t->n_columns = n;
  *out = t;
  return FC_ERR_OK;
}

void fc_table_destroy(fc_table **t) {
  if (!*t) return;
  fc_free((*t)->numbers);
  fc_free((*t)->values);
  fc_free(*t);
  *t = NULL;
}

static fc_err grow(fc_table *t) {
  size_t capacity = t->capacity + t->capacity / 2 + 64;
  FC_CHECK(capacity < SIZE_MAX / sizeof(double) / t->n_columns, NOMEM, "table of %zu rows",
           t->rows);
  FC_TRY(fc_realloc(capacity, sizeof *t->numbers, &t->numbers));
  FC_TRY(fc_realloc(capacity * t->n_columns, sizeof *t->values, &t->values));
  t->capacity = capacity;
  return FC_ERR_OK;
}

fc_err fc_table_append(fc_table *t, int64_t row, const double *values) {
  if (t->rows == t->capacity) FC_TRY(grow(t));
  t->numbers[t->rows] = row;
  memcpy(t->values + t->rows * t->n_columns, values, t->n_columns * sizeof *values);
  t->rows++;
  return FC_ERR_OK;
}

size_t fc_table_rows(const fc_table *t) {
  return t->rows;
}

size_t fc_table_columns(const fc_table *t) {
  return t->n_columns;
}

const fc_column *fc_table_column(const fc_table *t, size_t c) {
  return &t->columns[c];
}

int64_t fc_table_row_number(const fc_table *t, size_t local_row) {
  return t->numbers[local_row];
}

double fc_table_get(const fc_table *t, size_t local_row, size_t column) {
  return t->values[local_row * t->n_columns + column];
}

int fc_table_find(const fc_table *t, const char *column) {
  for (size_t c = 0; c < t->n_columns; c++)
    if (strcmp(t->columns[c].name, column) == 0) return (int)c;
  return -1;
}

void fc_table_clear(fc_table *t) {
  t->rows = 0;
}
