/* mpio_guard.h - a failing write on one rank must not leave the others waiting for it.
 *
 * Parallel HDF5 turns a failed MPI-IO write into an early return on the rank that saw it, while
 * the other ranks go on to the next exchange inside HDF5 and wait there for ever. The guard stands
 * between HDF5 and MPI-IO (MPI's profiling interface): it remembers a failure and tells HDF5 that
 * all went well, so that every rank takes the same path to the end; the store then asks, agrees
 * over the ranks and throws the file away. Reads are left alone. */
#ifndef FC_STORE_MPIO_GUARD_H
#define FC_STORE_MPIO_GUARD_H

/* Local. Number of failed MPI-IO writes, syncs and resizes of this process so far. */
long fc_mpio_failures(void);
/* Local. The reason of the latest, e.g. "No space left on device"; "" if none. */
const char *fc_mpio_reason(void);

#endif
