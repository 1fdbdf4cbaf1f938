/* sweep.h - what the files of `fedcell sweep` share. A point's result is FOLDER/<label>.h5; a point
 * that failed leaves FOLDER/<label>.failed: its exit code, then the message. */
#ifndef APP_SWEEP_H
#define APP_SWEEP_H

#include "app.h"
#include "fedcell/fc_sweep.h"

#define FC_MARK_ENDING ".failed"

typedef struct {
  fc_sweep *sweep;
  const char *size;        /* --size, borrowed; NULL: not given */
  char *text, *base;       /* of the sweep file and of its base */
  fc_sweep_labels *labels; /* of all points; rank 0 only */
} fc_points;

/* Local. The finished configuration of a point, from 1; the caller destroys *out in any case. */
fc_err fc_points_config(const fc_points *p, size_t number, fc_config **out);
/* Local. folder NULL: the default one. */
fc_err fc_points_path(const fc_points *p, const char *folder, const char *label, const char *ending,
                      char path[FC_PATH_SIZE]);
/* Local. *differs: an option in which the result file's configuration is not the point's; NULL:
 * none. DATA where the file cannot be read. */
fc_err fc_points_compare(const fc_points *p, size_t number, const char *path, const char **differs);
/* Local. How far the points are in a->status. */
fc_err fc_points_status(const fc_arguments *a, const fc_points *p);

#endif
