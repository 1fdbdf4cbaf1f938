/* store_write.c - result files by parallel HDF5: begin, attributes, arrays, end.
 *
 * How a failure stays whole: every put ends with an agreement over the ranks; after a failure the
 * later puts do nothing on any rank. Rank 0 creates the temporary file and reserves the disk space
 * of what is to come, so that a full disk is told before HDF5 meets it; what fails nevertheless is
 * caught by the guard (mpio_guard.h). Rank 0 alone owns the temporary file's name and fate. */
#include "store_write.h"
#include "fedcell/fc_mem.h"
#include "hdf5_tools.h"
#include "mpio_guard.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What a put may add to the file beside its data: object headers, chunk indices, heaps. */
static const int64_t METADATA_BYTES = 16 * 1024;
/* No single transfer above this: MPI-IO and HDF5 1.10 count in ints. */
static const int64_t PIECE_ELEMENTS = (int64_t)1 << 26;

/* ---- failures ---------------------------------------------------------------------------------
 */

fc_err fc_store_hdf5_check(const fc_store_file *f, bool ok, const char *what) {
  if (fc_mpio_failures() > f->failures_before)
    return fc_fail(FC_ERR_IO, "cannot write %s: %s: %s", f->path, what, fc_mpio_reason());
  if (!ok)
    return fc_fail(FC_ERR_IO, "cannot write %s: %s: HDF5: %s", f->path, what, fc_hdf5_reason());
  return FC_ERR_OK;
}

bool fc_store_settle(fc_store_file *f, fc_err mine) {
  fc_err_carry_put(&f->failure, fc_agree(f->comm, mine));
  return f->failure.err == FC_ERR_OK;
}

bool fc_store_reserve(fc_store_file *f, int64_t bytes) {
  fc_err err = FC_ERR_OK;
  if (f->publish) err = fc_publish_reserve(f->publish, f->used + bytes + METADATA_BYTES);
  return fc_store_settle(f, err);
}

/* ---- begin ------------------------------------------------------------------------------------
 */

/* The temporary file's name carries rank 0's process number, so all ranks get it from there. */
static fc_err share_name(fc_store_file *f) {
  int64_t length = f->publish ? (int64_t)strlen(fc_publish_temporary(f->publish)) : 0;
  FC_TRY(fc_comm_broadcast(f->comm, &length, sizeof length, 0));
  FC_TRY(fc_agree(f->comm, fc_alloc((size_t)length + 1, 1, &f->temporary)));
  if (f->publish) memcpy(f->temporary, fc_publish_temporary(f->publish), (size_t)length);
  return fc_comm_broadcast(f->comm, f->temporary, (size_t)length, 0);
}

/* A rank on another node may not see rank 0's folder: told here, as MPI-IO would fail obscurely. */
static fc_err check_visible(const fc_store_file *f) {
  int fd = open(f->temporary, O_RDWR | O_CLOEXEC);
  FC_CHECK(fd >= 0, IO, "cannot write %s: rank %d does not see the folder of rank 0: %s", f->path,
           f->comm->rank, strerror(errno));
  close(fd);
  return FC_ERR_OK;
}

static fc_err create_hdf5(fc_store_file *f) {
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  H5Pset_fapl_mpio(access, f->comm->world, MPI_INFO_NULL);
  H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V110);
  H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
  f->file = H5Fcreate(f->temporary, H5F_ACC_TRUNC, H5P_DEFAULT, access);
  bool ok = fc_hdf5_ok(f->file);
  H5Pclose(access);
  f->collective = H5Pcreate(H5P_DATASET_XFER);
  H5Pset_dxpl_mpio(f->collective, H5FD_MPIO_COLLECTIVE);
  return fc_store_hdf5_check(f, ok, "file");
}

static fc_err begin(fc_store_file *f, const char *path) {
  fc_err err = fc_alloc(strlen(path) + 1, 1, &f->path);
  if (err == FC_ERR_OK) strcpy(f->path, path);
  if (err == FC_ERR_OK && f->comm->rank == 0) err = fc_publish_open(path, &f->publish);
  FC_TRY(fc_agree(f->comm, err));
  FC_TRY(share_name(f));
  FC_TRY(fc_agree(f->comm, check_visible(f)));
  if (fc_store_reserve(f, 0)) fc_store_settle(f, create_hdf5(f));
  if (f->failure.err != FC_ERR_OK) return fc_err_carry_raise(&f->failure);
  fc_store_put_number(f, "/", FC_HDF5_FORMAT, FC_HDF5_FORMAT_VERSION);
  return FC_ERR_OK;
}

static void destroy(fc_store_file **f) {
  if ((*f)->collective >= 0) H5Pclose((*f)->collective);
  fc_publish_abandon(&(*f)->publish);
  fc_free((*f)->path);
  fc_free((*f)->temporary);
  fc_free(*f);
  *f = NULL;
}

fc_err fc_store_write_begin(const fc_comm *comm, const char *path, fc_store_file **out) {
  *out = NULL;
  fc_hdf5_quiet();
  fc_hdf5_reason(); /* forget older failures */
  fc_store_file *f = NULL;
  fc_err err = fc_agree(comm, fc_alloc(1, sizeof *f, &f));
  if (err != FC_ERR_OK) {
    fc_free(f); /* another rank has none */
    return err;
  }
  f->comm = comm;
  f->file = f->collective = H5I_INVALID_HID;
  f->failures_before = fc_mpio_failures();
  err = begin(f, path);
  if (err == FC_ERR_OK)
    *out = f;
  else
    destroy(&f);
  return err;
}

/* ---- groups and attributes --------------------------------------------------------------------
 */

static hid_t open_group(hid_t file, const char *path) {
  if (fc_hdf5_exists(file, path)) return H5Gopen2(file, path, H5P_DEFAULT);
  hid_t links = H5Pcreate(H5P_LINK_CREATE);
  H5Pset_create_intermediate_group(links, 1);
  hid_t group = H5Gcreate2(file, path, links, H5P_DEFAULT, H5P_DEFAULT);
  H5Pclose(links);
  return group;
}

static bool write_attribute(hid_t object, const char *name, hid_t type, const void *value) {
  hid_t space = H5Screate(H5S_SCALAR);
  hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  bool ok = fc_hdf5_ok(attribute) && fc_hdf5_ok(H5Awrite(attribute, type, value));
  if (attribute >= 0) ok = fc_hdf5_ok(H5Aclose(attribute)) && ok;
  H5Sclose(space);
  return ok;
}

/* Variable length: the text lies in the file's heap, so it may be longer than the 64 KiB that an
 * object header holds, and h5py reads it as str. */
bool fc_store_write_text(hid_t object, const char *name, const char *text) {
  hid_t type = fc_hdf5_text_type();
  bool ok = write_attribute(object, name, type, &text);
  H5Tclose(type);
  return ok;
}

static void put_attribute(fc_store_file *f, const char *group, const char *name, const char *text,
                          double value) {
  if (f->failure.err != FC_ERR_OK) return;
  int64_t bytes = text ? (int64_t)strlen(text) : 0;
  if (!fc_store_reserve(f, bytes)) return;
  hid_t object = open_group(f->file, group);
  bool ok = fc_hdf5_ok(object) && (text ? fc_store_write_text(object, name, text)
                                        : write_attribute(object, name, H5T_NATIVE_DOUBLE, &value));
  if (object >= 0) ok = fc_hdf5_ok(H5Gclose(object)) && ok;
  f->used += bytes + METADATA_BYTES;
  fc_store_settle(f, fc_store_hdf5_check(f, ok, name));
}

void fc_store_put_text(fc_store_file *f, const char *group, const char *name, const char *text) {
  put_attribute(f, group, name, text, 0.0);
}

void fc_store_put_number(fc_store_file *f, const char *group, const char *name, double value) {
  put_attribute(f, group, name, NULL, value);
}

/* ---- datasets ---------------------------------------------------------------------------------
 */

static hid_t create_dataset(const fc_store_file *f, const char *path, const char *unit,
                            const char *description, hid_t type, fc_store_layout l) {
  hid_t links = H5Pcreate(H5P_LINK_CREATE), layout = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_create_intermediate_group(links, 1);
  H5Pset_fill_time(layout, H5D_FILL_TIME_NEVER); /* every element is written */
  if (l.chunk > 0) {
    H5Pset_chunk(layout, 1, &(hsize_t){(hsize_t)l.chunk});
    H5Pset_shuffle(layout);
    H5Pset_deflate(layout, 4);
    H5Pset_fletcher32(layout); /* a damaged chunk is noticed, not read */
  }
  hsize_t extent[2] = {(hsize_t)l.total, (hsize_t)l.cols};
  if (l.cols > 0) extent[0] /= extent[1];
  hid_t space = H5Screate_simple(l.cols > 0 ? 2 : 1, extent, NULL);
  hid_t dataset = H5Dcreate2(f->file, path, type, space, links, layout, H5P_DEFAULT);
  if (fc_hdf5_ok(dataset) && !(fc_store_write_text(dataset, "unit", unit) &&
                               fc_store_write_text(dataset, "description", description))) {
    H5Dclose(dataset);
    dataset = H5I_INVALID_HID;
  }
  H5Sclose(space);
  H5Pclose(layout);
  H5Pclose(links);
  return dataset;
}

hid_t fc_store_create_dataset(fc_store_file *f, const char *path, const char *unit,
                              const char *description, hid_t type, fc_store_layout l) {
  int64_t bytes = l.total * (int64_t)H5Tget_size(type);
  /* deflate adds a little to what it cannot compress */
  if (!fc_store_reserve(f, bytes + bytes / 100)) return H5I_INVALID_HID;
  hid_t dataset = create_dataset(f, path, unit, description, type, l);
  if (fc_store_settle(f, fc_store_hdf5_check(f, dataset >= 0, path))) return dataset;
  if (dataset >= 0) H5Dclose(dataset);
  return H5I_INVALID_HID;
}

/* Writes the elements [first, first + n), whole rows of a matrix; n = 0 still takes part. */
static bool write_piece(const fc_store_file *f, hid_t dataset, hid_t type, const void *data,
                        int64_t first, int64_t n) {
  hid_t in_file = H5Dget_space(dataset);
  hid_t in_memory = H5Screate_simple(1, &(hsize_t){(hsize_t)n}, NULL);
  bool ok = fc_hdf5_select(in_file, first, n);
  if (n == 0) H5Sselect_none(in_memory);
  ok = fc_hdf5_ok(H5Dwrite(dataset, type, in_memory, in_file, f->collective, data)) && ok;
  H5Sclose(in_memory);
  H5Sclose(in_file);
  return ok;
}

bool fc_store_write_dataset(fc_store_file *f, const char *path, hid_t dataset, hid_t type,
                            const void *data, int64_t first, int64_t n, int64_t piece) {
  double most = (double)((n + piece - 1) / piece); /* exact: far below 2^53 */
  size_t size = H5Tget_size(type);
  bool ok = fc_comm_max(f->comm, &most, 1) == FC_ERR_OK;
  for (int64_t i = 0; i < (int64_t)most; i++) {
    int64_t at = i * piece < n ? i * piece : n;
    int64_t count = n - at < piece ? n - at : piece;
    ok = write_piece(f, dataset, type, (const char *)data + (size_t)at * size, first + at, count) &&
         ok;
  }
  f->used += (int64_t)H5Dget_storage_size(dataset) + METADATA_BYTES;
  ok = fc_hdf5_ok(H5Dclose(dataset)) && ok;
  return fc_store_settle(f, fc_store_hdf5_check(f, ok, path));
}

/* The ranks' parts must tile [0, total): a gap would be unwritten bytes in a published file. */
static fc_err check_parts(const fc_store_file *f, const char *path, int64_t first, int64_t n,
                          int64_t total) {
  const int size = f->comm->size;
  int64_t mine[2] = {first, n}, *parts = NULL, end = 0;
  fc_err err = fc_agree(f->comm, fc_alloc(2 * (size_t)size, sizeof *parts, &parts));
  if (err != FC_ERR_OK) {
    fc_free(parts);
    return err;
  }
  int code = MPI_Allgather(mine, 2, MPI_INT64_T, parts, 2, MPI_INT64_T, f->comm->world);
  if (code != MPI_SUCCESS) parts[1] = -1;
  for (bool moved = true; moved;) { /* chain the parts end to start; usually one pass */
    moved = false;
    for (int p = 0; p < size; p++)
      if (parts[2 * p + 1] > 0 && parts[2 * p] == end) {
        end += parts[2 * p + 1];
        parts[2 * p + 1] = 0;
        moved = true;
      }
  }
  for (int p = 0; p < size; p++)
    if (parts[2 * p + 1] != 0) end = -1;
  fc_free(parts);
  FC_CHECK(end == total, DATA, "dataset %s: the ranks' parts do not make up its %lld elements",
           path, (long long)total);
  return FC_ERR_OK;
}

static void put_array(fc_store_file *f, const char *path, const char *unit, const char *description,
                      hid_t type, const void *x, int64_t first, int64_t n, fc_store_layout l) {
  if (f->failure.err != FC_ERR_OK) return;
  if (!fc_store_settle(f, check_parts(f, path, first, n, l.total))) return;
  hid_t dataset = fc_store_create_dataset(f, path, unit, description, type, l);
  int64_t row = l.cols > 0 ? l.cols : 1;
  int64_t piece = row < PIECE_ELEMENTS ? PIECE_ELEMENTS / row * row : row;
  if (dataset >= 0) fc_store_write_dataset(f, path, dataset, type, x, first, n, piece);
}

void fc_store_put_f32(fc_store_file *f, const char *path, const char *unit, const char *description,
                      const float *x, int64_t first, int64_t n, int64_t total) {
  put_array(f, path, unit, description, H5T_NATIVE_FLOAT, x, first, n,
            (fc_store_layout){.total = total});
}

void fc_store_put_f64(fc_store_file *f, const char *path, const char *unit, const char *description,
                      const double *x, int64_t first, int64_t n, int64_t total) {
  put_array(f, path, unit, description, H5T_NATIVE_DOUBLE, x, first, n,
            (fc_store_layout){.total = total});
}

void fc_store_put_i64(fc_store_file *f, const char *path, const char *unit, const char *description,
                      const int64_t *x, int64_t first, int64_t n, int64_t total) {
  put_array(f, path, unit, description, H5T_NATIVE_INT64, x, first, n,
            (fc_store_layout){.total = total});
}

void fc_store_put_matrix(fc_store_file *f, const char *group, const char *name,
                         const char *description, const float *x, int64_t rows, int64_t cols) {
  char path[512];
  int64_t first = 0, own = 0;
  int length = snprintf(path, sizeof path, "%s/%s", group, name);
  if (length < 0 || (size_t)length >= sizeof path) {
    fc_store_put_failure(f, fc_fail(FC_ERR_DATA, "the path of %s is too long", name));
    return;
  }
  fc_comm_share(rows, f->comm->size, f->comm->rank, &first, &own);
  put_array(f, path, "1", description, H5T_NATIVE_FLOAT, x + first * cols, first * cols, own * cols,
            (fc_store_layout){.total = rows * cols, .cols = rows * cols > 0 ? cols : 0});
}

void fc_store_put_failure(fc_store_file *f, fc_err err) {
  fc_store_settle(f, err);
}

/* ---- end --------------------------------------------------------------------------------------
 */

fc_err fc_store_write_end(fc_store_file **file) {
  fc_store_file *f = *file;
  if (f->failure.err == FC_ERR_OK && fc_store_reserve(f, 0))
    fc_store_settle(
        f, fc_store_hdf5_check(f, fc_hdf5_ok(H5Fflush(f->file, H5F_SCOPE_GLOBAL)), "flush"));
  bool ok =
      fc_hdf5_ok(H5Fclose(f->file)); /* also after a failure: the guard keeps it from hanging */
  fc_store_settle(f, fc_store_hdf5_check(f, ok, "close"));
  fc_err err = FC_ERR_OK;
  if (f->failure.err == FC_ERR_OK && f->publish) err = fc_publish_commit(&f->publish);
  fc_store_settle(f, err);
  err = fc_err_carry_raise(&f->failure);
  *file = NULL;
  destroy(&f);
  return err;
}
