/* merged.h - the base of a run whose method changes it (adapters that are merged into it, an
 * emulator that the server tunes): the changed tensors as they are now, in checkpoints and results.
 */
#ifndef MERGED_H
#define MERGED_H

#include "federation.h"

/* Collective. A dataset group/name for every tensor of the base that the run's adapters act on. */
void fc_merged_put(const fc_federation *fed, const char *group, fc_store_file *f);
/* Collective. The same for all tensors of the blocks [0, next_block). */
void fc_merged_put_blocks(const fc_federation *fed, int next_block, const char *group,
                          fc_store_file *f);
/* Collective. Those tensors that the group has, into the weights that the node shares. DATA if it
 * has none, SHAPE if one is of another size. */
fc_err fc_merged_get(const fc_comm *comm, fc_task_setup *task, const char *group,
                     const fc_store_reader *r);

#endif
