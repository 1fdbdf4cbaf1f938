/* merged.h - the base of a run whose method merges adapters into it: the adapted tensors as they are
 * now, in checkpoints and results. */
#ifndef MERGED_H
#define MERGED_H

#include "federation.h"

/* Collective. A dataset group/name for every tensor of the base that the run's adapters act on. */
void fc_merged_put(const fc_federation *fed, const char *group, fc_store_file *f);
/* Collective. Into the weights that the node shares. DATA or SHAPE for a file that lacks one. */
fc_err fc_merged_get(const fc_comm *comm, fc_task_setup *task, const char *group,
                     const fc_store_reader *r);

#endif
