/* store_matrix.c - small arrays that every rank holds alike, and failures of the caller's own. */
#include "fedcell/fc_mem.h"
#include "store_write.h"
#include <stdio.h>

void fc_store_put_failure(fc_store_file *f, fc_err err) {
  fc_store_settle(f, err);
}

void fc_store_put_matrix(fc_store_file *f, const char *group, const char *name,
                         const char *description, const float *x, int64_t rows, int64_t cols) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", group, name);
  int64_t first = 0, own = 0;
  fc_comm_share(rows * cols, f->comm->size, f->comm->rank, &first, &own);
  fc_store_put_f32(f, path, "", description, x + first, first, own, rows * cols);
}
