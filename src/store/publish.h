/* publish.h - a file that appears whole or not at all.
 *
 *   fc_publish_open(path, &p);           // creates <path>.tmp.<pid> beside it, locked
 *   fc_publish_write(p, bytes, n);       // or write it by its name, fc_publish_temporary(p)
 *   fc_publish_commit(&p);               // fsync, rename to path, fsync of the folder
 *   fc_publish_abandon(&p);              // or removes it; an older file of that name stays
 *
 * The lock tells a temporary file in use from one that a killed process left behind: opening
 * removes those of the same path. All Local; IO failures name the file and the reason. */
#ifndef FC_STORE_PUBLISH_H
#define FC_STORE_PUBLISH_H

#include "fedcell/fc_err.h"
#include <stddef.h>
#include <stdint.h>

typedef struct fc_publish fc_publish;

fc_err fc_publish_open(const char *path, fc_publish **out);
const char *fc_publish_temporary(const fc_publish *p); /* borrowed */
fc_err fc_publish_write(fc_publish *p, const void *data, size_t bytes);
/* Makes sure that the file can grow to `bytes`: reserves the disk blocks where the file system can
 * do that, checks the free space elsewhere, and the process's limit on file sizes. */
fc_err fc_publish_reserve(fc_publish *p, int64_t bytes);
/* On failure the temporary file is removed. *p is NULL after. */
fc_err fc_publish_commit(fc_publish **p);
void fc_publish_abandon(fc_publish **p); /* accepts NULL */

#endif
