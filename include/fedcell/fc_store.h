/* fc_store.h - result files and checkpoints: HDF5, written collectively, never half-written.
 *
 * A table is columns with unit and description, and rows of doubles kept in memory until the next
 * checkpoint. A file is written whole: temporary file beside it, all ranks take part, flush, fsync,
 * rename. A checkpoint is a result file with one more group, /state.
 *
 *   fc_table_create(columns, n, &table);
 *   fc_table_append(table, row_number, values);       // rows of one table may lie on any rank
 *   fc_store_write_begin(comm, "out.h5", &file);
 *   fc_store_put_table(file, "/rounds", table);
 *   fc_store_put_text(file, "/provenance", "config", text);
 *   FC_TRY(fc_store_write_end(&file));                // publishes, or removes the temporary file
 *
 * HDF5 is not thread-safe here: one thread of a process calls these functions. Temporary files that
 * a killed run left beside the path are removed by the next write of the same path.
 *
 * Row numbers are global (0, 1, ...) and every one lies on exactly one rank; the file's rows are in
 * that order whatever the ranks were. Functions named fc_store_put_* are Collective and remember
 * the first failure; write_end reports it to all ranks (full disk, read-only folder, ...). */
#ifndef FC_STORE_H
#define FC_STORE_H

#include "fedcell/fc_comm.h"
#include "fedcell/fc_err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
  FC_COLUMN_F64,
  FC_COLUMN_F32,
  FC_COLUMN_I64,
  FC_COLUMN_I32,
  FC_COLUMN_U8
} fc_column_type;

typedef struct {
  const char *name, *unit, *description;
  fc_column_type type; /* on disk; in memory all are doubles (integers up to 2^53) */
} fc_column;

typedef struct fc_table fc_table;
/* Local. The columns are borrowed. */
fc_err fc_table_create(const fc_column *columns, size_t n, fc_table **out);
void fc_table_destroy(fc_table **t);
fc_err fc_table_append(fc_table *t, int64_t row, const double *values);
size_t fc_table_rows(const fc_table *t); /* local rows */
size_t fc_table_columns(const fc_table *t);
const fc_column *fc_table_column(const fc_table *t, size_t c);
int64_t fc_table_row_number(const fc_table *t, size_t local_row);
double fc_table_get(const fc_table *t, size_t local_row, size_t column);
/* -1 if there is none of that name. */
int fc_table_find(const fc_table *t, const char *column);
void fc_table_clear(fc_table *t);

typedef struct fc_store_file fc_store_file;
/* Collective. */
fc_err fc_store_write_begin(const fc_comm *comm, const char *path, fc_store_file **out);
/* Collective. One dataset a column in `group`, chunked and compressed, attributes unit and
 * description. */
void fc_store_put_table(fc_store_file *f, const char *group, const fc_table *t);
/* Collective. A 1-D dataset whose elements [first, first + n) this rank holds; `total` over all. */
void fc_store_put_f32(fc_store_file *f, const char *path, const char *unit, const char *description,
                      const float *x, int64_t first, int64_t n, int64_t total);
void fc_store_put_f64(fc_store_file *f, const char *path, const char *unit, const char *description,
                      const double *x, int64_t first, int64_t n, int64_t total);
void fc_store_put_i64(fc_store_file *f, const char *path, const char *unit, const char *description,
                      const int64_t *x, int64_t first, int64_t n, int64_t total);
/* Collective. A 2-D dataset group/name (rows, cols) that all ranks hold alike. */
void fc_store_put_matrix(fc_store_file *f, const char *group, const char *name,
                         const char *description, const float *x, int64_t rows, int64_t cols);
/* Collective. Attributes of a group (made if missing); the same on all ranks. */
void fc_store_put_text(fc_store_file *f, const char *group, const char *name, const char *text);
void fc_store_put_number(fc_store_file *f, const char *group, const char *name, double value);
/* Collective. Rank 0's processor, its MPI and clock, and the number of ranks, as attributes cpu,
 * mpi, written, ranks of /provenance. */
void fc_store_put_machine(fc_store_file *f, const fc_comm *comm);
/* Collective. Makes write_end fail with err and this thread's message: for a caller whose part of
 * the content could not be made. Put calls that follow still have to be made by all ranks. */
void fc_store_put_failure(fc_store_file *f, fc_err err);
/* Collective. flush, fsync, rename to the final name; on any failure the temporary file is removed,
 * an older file of that name stays as it was, and IO is returned on all ranks. *f is NULL after. */
fc_err fc_store_write_end(fc_store_file **f);

typedef struct fc_store_reader fc_store_reader;
/* Local: any rank may open a finished file by itself. IO if it cannot be read, DATA if it is not a
 * fedcell file. */
fc_err fc_store_open(const char *path, fc_store_reader **out);
void fc_store_close(fc_store_reader **r);
bool fc_store_has(const fc_store_reader *r, const char *path);
/* Caller frees with fc_free. */
fc_err fc_store_get_text(const fc_store_reader *r, const char *group, const char *name, char **out);
fc_err fc_store_get_number(const fc_store_reader *r, const char *group, const char *name,
                           double *out);
/* Number of elements of a 1-D or 2-D dataset. Of a matrix the functions below read whole rows. */
fc_err fc_store_count(const fc_store_reader *r, const char *path, int64_t *out);
fc_err fc_store_get_f32(const fc_store_reader *r, const char *path, int64_t first, int64_t n,
                        float *out);
fc_err fc_store_get_f64(const fc_store_reader *r, const char *path, int64_t first, int64_t n,
                        double *out);
fc_err fc_store_get_i64(const fc_store_reader *r, const char *path, int64_t first, int64_t n,
                        int64_t *out);
/* Rows [first, first + n) of the group's columns into the table (whose columns must be there). */
fc_err fc_store_get_table(const fc_store_reader *r, const char *group, int64_t first, int64_t n,
                          fc_table *t);
/* Calls visit for every dataset with its unit, description and number of elements: `fedcell info`.
 */
fc_err fc_store_visit(const fc_store_reader *r,
                      void (*visit)(void *arg, const char *path, const char *unit,
                                    const char *description, int64_t count),
                      void *arg);

#endif
