/* store_write.h - what store_write.c and store_table.c share: the open file and its steps.
 *
 *   if (!fc_store_reserve(f, bytes)) return;                 // Collective, agreed
 *   ... HDF5 calls, the same on every rank ...
 *   fc_store_settle(f, fc_store_hdf5_check(f, ok, what));    // Collective, remembers a failure
 *
 * HDF5 1.10 does not tell the size of a file open for parallel writing; `used` is kept instead. */
#ifndef FC_STORE_STORE_WRITE_H
#define FC_STORE_STORE_WRITE_H

#include "fedcell/fc_comm.h"
#include "fedcell/fc_store.h"
#include "publish.h"
#include <hdf5.h>

struct fc_store_file {
  const fc_comm *comm; /* borrowed */
  char *path, *temporary;
  fc_publish *publish;    /* rank 0's, NULL elsewhere */
  hid_t file, collective; /* collective: the transfer property list */
  int64_t used;           /* bytes of the file so far, roughly */
  long failures_before;   /* of MPI-IO, when the file was begun */
  fc_err_carry failure;   /* the first one; the same on all ranks */
};

/* Local. IO if HDF5 reports a failure (ok false) or MPI-IO has had one since begin. */
fc_err fc_store_hdf5_check(const fc_store_file *f, bool ok, const char *what);
/* Collective. Agrees on the failure and keeps it; true if there is none so far. */
bool fc_store_settle(fc_store_file *f, fc_err mine);
/* Collective. Makes sure the disk has room for `bytes` more; as settle. */
bool fc_store_reserve(fc_store_file *f, int64_t bytes);

typedef struct {
  int64_t total; /* elements */
  int64_t cols;  /* 0: 1-D; else a matrix of total / cols rows */
  int64_t chunk; /* 0: contiguous; else (1-D) chunked in so many elements and compressed */
} fc_store_layout;

/* Collective, agreed: negative on all ranks after a failure on any. */
hid_t fc_store_create_dataset(fc_store_file *f, const char *path, const char *unit,
                              const char *description, hid_t type, fc_store_layout layout);
/* Collective, agreed. This rank's elements [first, first + n), in transfers of `piece` elements;
 * closes the dataset. Of a chunked dataset the parts are whole chunks and a piece is one chunk:
 * what a rank writes at once is then contiguous in the file, as the guard needs it. */
bool fc_store_write_dataset(fc_store_file *f, const char *path, hid_t dataset, hid_t type,
                            const void *data, int64_t first, int64_t n, int64_t piece);
bool fc_store_write_text(hid_t object, const char *name, const char *text);

#endif
