/* redistribute.h - a table's rows from wherever they were made to contiguous blocks by row number.
 *
 *   fc_redistribute_create(comm, table, "/rounds", chunk, &r);    // who sends which row where
 *   fc_redistribute_column(r, table, c, block);                   // one column at a time
 *
 * Rank after rank gets a block of whole chunks of `chunk_rows` rows, so that every chunk of the
 * file is made by one rank. Moving one column at a time keeps the extra memory at one column. */
#ifndef FC_STORE_REDISTRIBUTE_H
#define FC_STORE_REDISTRIBUTE_H

#include "fedcell/fc_comm.h"
#include "fedcell/fc_store.h"

typedef struct fc_redistribution fc_redistribution;

/* Local. The rows [*first, *first + *count) that `rank` of `size` gets of `total`. */
void fc_redistribute_block(int64_t total, int64_t chunk_rows, int size, int rank, int64_t *first,
                           int64_t *count);
/* Collective. `total` rows over all ranks; each rank sends at most step_rows at once (bounds the
 * memory of the exchange). DATA on all ranks if the row numbers are not 0, 1, ... each once. */
fc_err fc_redistribute_create(const fc_comm *comm, const fc_table *t, const char *name,
                              int64_t total, int64_t chunk_rows, int64_t step_rows,
                              fc_redistribution **out);
void fc_redistribute_destroy(fc_redistribution **r);
/* Collective. block (count of this rank) <- the column's values in row order. */
fc_err fc_redistribute_column(const fc_redistribution *r, const fc_table *t, size_t column,
                              double *block);

#endif
