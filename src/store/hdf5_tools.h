/* hdf5_tools.h - the few things that reading and writing HDF5 share. HDF5 is not thread-safe in
 * the distribution's build: one thread of a process at a time. All Local. */
#ifndef FC_STORE_HDF5_TOOLS_H
#define FC_STORE_HDF5_TOOLS_H

#include "fedcell/fc_err.h"
#include "fedcell/fc_store.h"
#include <hdf5.h>
#include <stdbool.h>

/* The root group's attributes that tell a fedcell file. */
#define FC_HDF5_FORMAT "fedcell_format"
enum { FC_HDF5_FORMAT_VERSION = 1 };

/* Stops HDF5 from printing its error stack: failures go into our message instead. */
void fc_hdf5_quiet(void);
/* True if an HDF5 call went well (status not negative). Otherwise keeps the innermost text of the
 * error stack, which the next HDF5 call would empty. Wrap each call whose failure matters. */
bool fc_hdf5_ok(int64_t status);
/* The text of the first failure since the last call of this function; "" if there was none.
 * Borrowed until the next call. */
const char *fc_hdf5_reason(void);

enum { FC_HDF5_PATH = 1024 };
/* Every link of the path exists ("/" always does). A path of FC_HDF5_PATH bytes or more does not.
 */
bool fc_hdf5_exists(hid_t file, const char *path);
/* Selects the elements [first, first + n) of a 1-D or 2-D space, nothing for n = 0. Of a matrix it
 * must be whole rows, else false. */
bool fc_hdf5_select(hid_t space, int64_t first, int64_t n);
/* The C type and the file type of a column; native, so that no conversion is ever needed. */
hid_t fc_hdf5_type(fc_column_type type);
/* A variable-length UTF-8 string; caller closes. */
hid_t fc_hdf5_text_type(void);

#endif
