/* store_table.c - a table into the file: one dataset a column, rows in order of their numbers.
 *
 * Every rank gets a block of whole chunks (redistribute.h), converts it to the column's type and
 * takes part in the collective, compressed write, also when its block is empty. */
#include "fedcell/fc_mem.h"
#include "hdf5_tools.h"
#include "redistribute.h"
#include "store_write.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK_ROWS = 32768 }; /* 256 KiB of doubles: compresses well, few chunks to index */
static const int64_t STEP_ROWS = (int64_t)1 << 20; /* rows a rank sends at once */

/* What a type can hold exactly: integers are whole and in range, a finite double stays finite. */
typedef struct {
  bool integer;
  double min, max;
} limits;
static const limits LIMITS[] = {
    [FC_COLUMN_F64] = {false, 0, 0},
    [FC_COLUMN_F32] = {false, -3.4028235677973366e38, 3.4028235677973366e38}, /* rounds to inf */
    [FC_COLUMN_I64] = {true, -9007199254740992.0, 9007199254740992.0},        /* 2^53 */
    [FC_COLUMN_I32] = {true, -2147483648.0, 2147483647.0},
    [FC_COLUMN_U8] = {true, 0.0, 255.0},
};

static bool fits(fc_column_type type, double x) {
  const limits l = LIMITS[type];
  if (l.integer) return x >= l.min && x <= l.max && x == floor(x); /* false for NaN */
  if (type == FC_COLUMN_F32 && isfinite(x)) return x > l.min && x < l.max;
  return true; /* NaN in a real column means "not measured" */
}

/* out (n) <- x (n) in the column's type. */
static fc_err convert(const fc_column *column, const char *group, int64_t first, int64_t n,
                      const double *x, void *out) {
  for (int64_t i = 0; i < n; i++) {
    const double v = x[i];
    FC_CHECK(fits(column->type, v), NUMERIC,
             "%s/%s: row %lld is %.17g, which the column cannot hold", group, column->name,
             (long long)(first + i), v);
    switch (column->type) {
    case FC_COLUMN_F64:
      ((double *)out)[i] = v;
      break;
    case FC_COLUMN_F32:
      ((float *)out)[i] = (float)v;
      break;
    case FC_COLUMN_I64:
      ((int64_t *)out)[i] = (int64_t)v;
      break;
    case FC_COLUMN_I32:
      ((int32_t *)out)[i] = (int32_t)v;
      break;
    case FC_COLUMN_U8:
      ((uint8_t *)out)[i] = (uint8_t)v;
      break;
    }
  }
  return FC_ERR_OK;
}

typedef struct {
  const char *group;
  const fc_table *table;
  int64_t total, first, count, chunk;
  fc_redistribution *moves; /* NULL where there is nothing to move */
  double *block;            /* (count) */
  void *converted;          /* (count) at most 8 bytes each */
} job;

static bool put_column(fc_store_file *f, job *j, size_t c) {
  const fc_column *column = fc_table_column(j->table, c);
  hid_t type = fc_hdf5_type(column->type);
  char path[512];
  int length =
      snprintf(path, sizeof path, "%s/%s", strcmp(j->group, "/") ? j->group : "", column->name);
  fc_err err = FC_ERR_OK;
  if (length < 0 || (size_t)length >= sizeof path)
    err = fc_fail(FC_ERR_DATA, "the path of column %s is too long", column->name);
  if (err == FC_ERR_OK && j->moves) {
    err = fc_redistribute_column(j->moves, j->table, c, j->block);
    if (err == FC_ERR_OK)
      err = convert(column, j->group, j->first, j->count, j->block, j->converted);
  }
  if (!fc_store_settle(f, err)) return false;
  hid_t dataset = fc_store_create_dataset(f, path, column->unit, column->description, type,
                                          (fc_store_layout){.total = j->total, .chunk = j->chunk});
  return dataset >= 0 && fc_store_write_dataset(f, path, dataset, type, j->converted, j->first,
                                                j->count, j->chunk > 0 ? j->chunk : 1);
}

static fc_err prepare(const fc_store_file *f, job *j) {
  if (j->total == 0) return FC_ERR_OK;
  FC_TRY(fc_redistribute_create(f->comm, j->table, j->group, j->total, j->chunk, STEP_ROWS,
                                &j->moves));
  FC_TRY(fc_alloc((size_t)j->count, sizeof(double), &j->block));
  return fc_alloc((size_t)j->count, sizeof(double), &j->converted);
}

void fc_store_put_table(fc_store_file *f, const char *group, const fc_table *t) {
  if (f->failure.err != FC_ERR_OK) return;
  int64_t mine = (int64_t)fc_table_rows(t);
  job j = {.group = group, .table = t};
  j.total = mine;
  if (!fc_store_settle(f, fc_comm_sum_i64(f->comm, &j.total, 1))) return;
  /* Not a function of the number of ranks, or the file's layout would be. HDF5 wants no chunk
   * longer than the dataset, so an empty one (0) is contiguous. */
  j.chunk = j.total < CHUNK_ROWS ? j.total : CHUNK_ROWS;
  if (j.total > 0)
    fc_redistribute_block(j.total, j.chunk, f->comm->size, f->comm->rank, &j.first, &j.count);
  bool ok = fc_store_settle(f, prepare(f, &j));
  for (size_t c = 0; ok && c < fc_table_columns(t); c++) ok = put_column(f, &j, c);
  fc_redistribute_destroy(&j.moves);
  fc_free(j.block);
  fc_free(j.converted);
}
