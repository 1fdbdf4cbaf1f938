/* pair_map.h - from a pair of token ids to a number: the rank of its merge in the encoder, its
 * statistics in the learner. Reading is thread-safe once nothing is added any more. All Local. */
#ifndef FC_TEXT_PAIR_MAP_H
#define FC_TEXT_PAIR_MAP_H

#include "fedcell/fc_err.h"
#include <stddef.h>
#include <stdint.h>

typedef struct { /* zero-initialise */
  struct fc_pair_slot {
    int32_t left, right;
    int32_t value; /* -1: free */
  } * slots;
  size_t n, slot_count; /* slot_count a power of two, at most half full */
} fc_pair_map;

/* -1 where the pair is not in the map. */
int32_t fc_pair_map_find(const fc_pair_map *m, int32_t left, int32_t right);
/* Adds a pair that is not in the map with value >= 0; *there is the value it has now. */
fc_err fc_pair_map_add(fc_pair_map *m, int32_t left, int32_t right, int32_t value, int32_t *there);
void fc_pair_map_free(fc_pair_map *m);

#endif
