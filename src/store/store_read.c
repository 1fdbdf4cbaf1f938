/* store_read.c - reading result files: serial HDF5, any rank by itself.
 *
 * Files appear by rename and are never changed afterwards, so no file locks are taken (they fail on
 * some shared file systems). */
#include "fedcell/fc_mem.h"
#include "fedcell/fc_store.h"
#include "hdf5_tools.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct fc_store_reader {
  hid_t file;
  char *path;
};

/* ---- open and close ---------------------------------------------------------------------------
 */

static fc_err check_format(const fc_store_reader *r) {
  double version = 0.0;
  FC_CHECK(H5Aexists(r->file, FC_HDF5_FORMAT) > 0, DATA,
           "%s is an HDF5 file, but not one of fedcell's (no attribute %s)", r->path,
           FC_HDF5_FORMAT);
  FC_TRY(fc_store_get_number(r, "/", FC_HDF5_FORMAT, &version));
  FC_CHECK(version == FC_HDF5_FORMAT_VERSION, DATA,
           "%s has format version %g, this program reads version %d", r->path, version,
           FC_HDF5_FORMAT_VERSION);
  return FC_ERR_OK;
}

static fc_err open_file(fc_store_reader *r) {
  FC_CHECK(access(r->path, R_OK) == 0, IO, "cannot read %s: %s", r->path, strerror(errno));
  /* tells "not HDF5 at all" from "HDF5, but damaged" */
  FC_CHECK(H5Fis_hdf5(r->path) > 0, DATA, "%s is not an HDF5 file", r->path);
  hid_t access_list = H5Pcreate(H5P_FILE_ACCESS);
  H5Pset_file_locking(access_list, false, true);
  H5Pset_fclose_degree(access_list, H5F_CLOSE_STRONG);
  r->file = H5Fopen(r->path, H5F_ACC_RDONLY, access_list);
  bool ok = fc_hdf5_ok(r->file);
  H5Pclose(access_list);
  FC_CHECK(ok, DATA, "%s is damaged: HDF5: %s", r->path, fc_hdf5_reason());
  return check_format(r);
}

fc_err fc_store_open(const char *path, fc_store_reader **out) {
  *out = NULL;
  fc_hdf5_quiet();
  fc_hdf5_reason(); /* forget older failures */
  fc_store_reader *r = NULL;
  FC_TRY(fc_alloc(1, sizeof *r, &r));
  r->file = H5I_INVALID_HID;
  fc_err err = fc_alloc(strlen(path) + 1, 1, &r->path);
  if (err == FC_ERR_OK) {
    strcpy(r->path, path);
    err = open_file(r);
  }
  if (err == FC_ERR_OK)
    *out = r;
  else
    fc_store_close(&r);
  return err;
}

void fc_store_close(fc_store_reader **r) {
  if (!*r) return;
  if ((*r)->file >= 0) H5Fclose((*r)->file);
  fc_free((*r)->path);
  fc_free(*r);
  *r = NULL;
}

bool fc_store_has(const fc_store_reader *r, const char *path) {
  return fc_hdf5_exists(r->file, path);
}

/* ---- attributes -------------------------------------------------------------------------------
 */

static fc_err open_attribute(const fc_store_reader *r, const char *object, const char *name,
                             hid_t *out) {
  *out = H5I_INVALID_HID;
  FC_CHECK(fc_hdf5_exists(r->file, object), DATA, "%s has no %s", r->path, object);
  FC_CHECK(H5Aexists_by_name(r->file, object, name, H5P_DEFAULT) > 0, DATA,
           "%s: %s has no attribute %s", r->path, object, name);
  *out = H5Aopen_by_name(r->file, object, name, H5P_DEFAULT, H5P_DEFAULT);
  FC_CHECK(fc_hdf5_ok(*out), DATA, "%s: attribute %s of %s: HDF5: %s", r->path, name, object,
           fc_hdf5_reason());
  return FC_ERR_OK;
}

/* Copies what HDF5 allocated into memory of ours. */
static fc_err read_text(const fc_store_reader *r, hid_t attribute, const char *name, char **out) {
  hid_t stored = H5Aget_type(attribute), type = fc_hdf5_text_type();
  char *text = NULL;
  bool ok = H5Tis_variable_str(stored) > 0 && fc_hdf5_ok(H5Aread(attribute, type, &text));
  H5Tclose(stored);
  H5Tclose(type);
  FC_CHECK(ok, DATA, "%s: attribute %s cannot be read as text: HDF5: %s", r->path, name,
           fc_hdf5_reason());
  const char *from = text ? text : ""; /* HDF5 gives NULL for an empty text */
  fc_err err = fc_alloc(strlen(from) + 1, 1, out);
  if (err == FC_ERR_OK) strcpy(*out, from);
  if (text) H5free_memory(text);
  return err;
}

fc_err fc_store_get_text(const fc_store_reader *r, const char *group, const char *name,
                         char **out) {
  hid_t attribute;
  *out = NULL;
  FC_TRY(open_attribute(r, group, name, &attribute));
  fc_err err = read_text(r, attribute, name, out);
  H5Aclose(attribute);
  return err;
}

fc_err fc_store_get_number(const fc_store_reader *r, const char *group, const char *name,
                           double *out) {
  hid_t attribute;
  FC_TRY(open_attribute(r, group, name, &attribute));
  hid_t space = H5Aget_space(attribute); /* a longer one would run over *out */
  bool ok = H5Sget_simple_extent_npoints(space) == 1 &&
            fc_hdf5_ok(H5Aread(attribute, H5T_NATIVE_DOUBLE, out));
  H5Sclose(space);
  H5Aclose(attribute);
  FC_CHECK(ok, DATA, "%s: attribute %s of %s cannot be read as a number", r->path, name, group);
  return FC_ERR_OK;
}

/* ---- datasets ---------------------------------------------------------------------------------
 */

static fc_err open_dataset(const fc_store_reader *r, const char *path, hid_t *dataset,
                           int64_t *count) {
  *dataset = H5I_INVALID_HID;
  FC_CHECK(fc_hdf5_exists(r->file, path), DATA, "%s has no %s", r->path, path);
  *dataset = H5Dopen2(r->file, path, H5P_DEFAULT);
  FC_CHECK(fc_hdf5_ok(*dataset), DATA, "%s: %s is not a dataset or is damaged: HDF5: %s", r->path,
           path, fc_hdf5_reason());
  hid_t space = H5Dget_space(*dataset);
  int dims = H5Sget_simple_extent_ndims(space);
  *count = (int64_t)H5Sget_simple_extent_npoints(space);
  H5Sclose(space);
  if (dims == 1 || dims == 2) return FC_ERR_OK;
  H5Dclose(*dataset);
  *dataset = H5I_INVALID_HID;
  return fc_fail(FC_ERR_DATA, "%s: %s has %d dimensions, expected 1 or 2", r->path, path, dims);
}

static bool read_slab(hid_t dataset, hid_t type, int64_t first, int64_t n, void *out) {
  if (n == 0) return true;
  hid_t in_file = H5Dget_space(dataset);
  hid_t in_memory = H5Screate_simple(1, &(hsize_t){(hsize_t)n}, NULL);
  bool ok = fc_hdf5_select(in_file, first, n) &&
            fc_hdf5_ok(H5Dread(dataset, type, in_memory, in_file, H5P_DEFAULT, out));
  H5Sclose(in_memory);
  H5Sclose(in_file);
  return ok;
}

static fc_err read_array(const fc_store_reader *r, const char *path, hid_t type, int64_t first,
                         int64_t n, void *out) {
  hid_t dataset;
  int64_t count;
  FC_TRY(open_dataset(r, path, &dataset, &count));
  bool inside = first >= 0 && n >= 0 && first <= count && n <= count - first;
  bool ok = inside && read_slab(dataset, type, first, n, out);
  H5Dclose(dataset);
  FC_CHECK(inside, DATA, "%s: %s has %lld elements, asked for %lld from %lld", r->path, path,
           (long long)count, (long long)n, (long long)first);
  const char *reason = fc_hdf5_reason();
  FC_CHECK(ok || *reason, DATA, "%s: %s is a matrix, of which only whole rows can be read", r->path,
           path);
  FC_CHECK(ok, DATA, "%s: %s is damaged: HDF5: %s", r->path, path, reason);
  return FC_ERR_OK;
}

fc_err fc_store_count(const fc_store_reader *r, const char *path, int64_t *out) {
  hid_t dataset;
  FC_TRY(open_dataset(r, path, &dataset, out));
  H5Dclose(dataset);
  return FC_ERR_OK;
}

fc_err fc_store_get_f32(const fc_store_reader *r, const char *path, int64_t first, int64_t n,
                        float *out) {
  return read_array(r, path, H5T_NATIVE_FLOAT, first, n, out);
}

fc_err fc_store_get_f64(const fc_store_reader *r, const char *path, int64_t first, int64_t n,
                        double *out) {
  return read_array(r, path, H5T_NATIVE_DOUBLE, first, n, out);
}

fc_err fc_store_get_i64(const fc_store_reader *r, const char *path, int64_t first, int64_t n,
                        int64_t *out) {
  return read_array(r, path, H5T_NATIVE_INT64, first, n, out);
}

/* ---- tables -----------------------------------------------------------------------------------
 */

/* x (columns, n) <- the columns, one after the other. */
static fc_err read_columns(const fc_store_reader *r, const char *group, int64_t first, int64_t n,
                           const fc_table *t, double *x) {
  for (size_t c = 0; c < fc_table_columns(t); c++) {
    char path[512];
    int length = snprintf(path, sizeof path, "%s/%s", strcmp(group, "/") ? group : "",
                          fc_table_column(t, c)->name);
    FC_CHECK(length > 0 && (size_t)length < sizeof path, DATA, "the path of column %s is too long",
             fc_table_column(t, c)->name);
    FC_TRY(read_array(r, path, H5T_NATIVE_DOUBLE, first, n, x + c * (size_t)n));
  }
  return FC_ERR_OK;
}

static fc_err append_rows(int64_t first, int64_t n, const double *x, double *row, fc_table *t) {
  for (int64_t i = 0; i < n; i++) {
    for (size_t c = 0; c < fc_table_columns(t); c++) row[c] = x[c * (size_t)n + (size_t)i];
    FC_TRY(fc_table_append(t, first + i, row));
  }
  return FC_ERR_OK;
}

fc_err fc_store_get_table(const fc_store_reader *r, const char *group, int64_t first, int64_t n,
                          fc_table *t) {
  double *x = NULL, *row = NULL;
  FC_CHECK(n >= 0, DATA, "%s: %s: asked for %lld rows", r->path, group, (long long)n);
  fc_err err = fc_alloc((size_t)n * fc_table_columns(t), sizeof *x, &x);
  if (err == FC_ERR_OK) err = fc_alloc(fc_table_columns(t), sizeof *row, &row);
  if (err == FC_ERR_OK) err = read_columns(r, group, first, n, t, x);
  if (err == FC_ERR_OK) err = append_rows(first, n, x, row, t);
  fc_free(x);
  fc_free(row);
  return err;
}

/* ---- visiting ---------------------------------------------------------------------------------
 */

typedef struct {
  const fc_store_reader *reader;
  void (*visit)(void *, const char *, const char *, const char *, int64_t);
  void *arg;
  fc_err err;
} visitor;

static fc_err visit_dataset(const visitor *v, const char *path) {
  char *unit = NULL, *description = NULL;
  hid_t dataset;
  int64_t count;
  FC_TRY(open_dataset(v->reader, path, &dataset, &count));
  H5Dclose(dataset);
  fc_err err = fc_store_get_text(v->reader, path, "unit", &unit);
  if (err == FC_ERR_OK) err = fc_store_get_text(v->reader, path, "description", &description);
  if (err == FC_ERR_OK) v->visit(v->arg, path, unit, description, count);
  fc_free(unit);
  fc_free(description);
  return err;
}

static herr_t visit_object(hid_t root, const char *name, const H5O_info_t *info, void *arg) {
  (void)root;
  visitor *v = arg;
  char path[1024];
  if (info->type != H5O_TYPE_DATASET) return 0;
  int length = snprintf(path, sizeof path, "/%s", name);
  if (length < 0 || (size_t)length >= sizeof path)
    v->err = fc_fail(FC_ERR_DATA, "%s: a path is too long", v->reader->path);
  else
    v->err = visit_dataset(v, path);
  return v->err == FC_ERR_OK ? 0 : -1;
}

fc_err fc_store_visit(const fc_store_reader *r,
                      void (*visit)(void *arg, const char *path, const char *unit,
                                    const char *description, int64_t count),
                      void *arg) {
  visitor v = {r, visit, arg, FC_ERR_OK};
  herr_t status = H5Ovisit2(r->file, H5_INDEX_NAME, H5_ITER_INC, visit_object, &v, H5O_INFO_BASIC);
  if (v.err != FC_ERR_OK) return v.err;
  FC_CHECK(fc_hdf5_ok(status), DATA, "%s is damaged: HDF5: %s", r->path, fc_hdf5_reason());
  return FC_ERR_OK;
}
