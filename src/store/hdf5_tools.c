/* hdf5_tools.c - error texts, paths and types that the HDF5 reader and writer share. */
#include "hdf5_tools.h"
#include <stdio.h>
#include <string.h>

void fc_hdf5_quiet(void) {
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

static _Thread_local char kept[256], told[256];

static herr_t keep_innermost(unsigned n, const H5E_error2_t *error, void *unused) {
  (void)unused;
  if (n == 0 && error->desc) snprintf(kept, sizeof kept, "%s", error->desc);
  return 0;
}

bool fc_hdf5_ok(int64_t status) {
  if (status >= 0) return true;
  if (!kept[0]) H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, NULL);
  return false;
}

const char *fc_hdf5_reason(void) {
  memcpy(told, kept, sizeof told);
  kept[0] = '\0';
  return told;
}

bool fc_hdf5_exists(hid_t file, const char *path) {
  char copy[1024]; /* no allocation that could fail on one rank alone */
  if ((size_t)snprintf(copy, sizeof copy, "%s", path) >= sizeof copy) return false;
  bool exists = true;
  /* H5Lexists fails where an intermediate group is missing, so every prefix is asked for. */
  for (char *at = copy; exists && *at;) {
    at += strspn(at, "/");
    if (!*at) break;
    at += strcspn(at, "/");
    char keep = *at;
    *at = '\0';
    exists = H5Lexists(file, copy, H5P_DEFAULT) > 0;
    *at = keep;
  }
  return exists;
}

bool fc_hdf5_select(hid_t space, int64_t first, int64_t n) {
  hsize_t extent[2] = {0, 1}, start[2] = {(hsize_t)first, 0}, count[2] = {(hsize_t)n, 1};
  if (n == 0) return fc_hdf5_ok(H5Sselect_none(space));
  if (H5Sget_simple_extent_dims(space, extent, NULL) == 2) {
    const hsize_t cols = extent[1];
    if (cols == 0 || start[0] % cols || count[0] % cols) return false;
    start[0] /= cols;
    count[0] /= cols;
    count[1] = cols;
  }
  return fc_hdf5_ok(H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL));
}

hid_t fc_hdf5_type(fc_column_type type) {
  switch (type) {
  case FC_COLUMN_F64:
    return H5T_NATIVE_DOUBLE;
  case FC_COLUMN_F32:
    return H5T_NATIVE_FLOAT;
  case FC_COLUMN_I64:
    return H5T_NATIVE_INT64;
  case FC_COLUMN_I32:
    return H5T_NATIVE_INT32;
  case FC_COLUMN_U8:
    return H5T_NATIVE_UINT8;
  }
  return H5I_INVALID_HID;
}

hid_t fc_hdf5_text_type(void) {
  hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, H5T_VARIABLE);
  H5Tset_cset(type, H5T_CSET_UTF8);
  return type;
}
