/* safetensors.h - what an opened file holds, for the reader and the accessors. */
#ifndef FC_STORE_SAFETENSORS_H
#define FC_STORE_SAFETENSORS_H

#include "fedcell/fc_safetensors.h"
#include <stdbool.h>

typedef struct {
  void *map;
  size_t bytes;
} fc_mapping;

struct fc_safetensors {
  fc_safetensor *tensors; /* (count) sorted by name */
  size_t count;
  fc_mapping *maps; /* (n_maps); none for a file in memory */
  size_t n_maps;
};

bool fc_dtype_find(const char *name, fc_dtype *out); /* "F32" */
size_t fc_dtype_bytes(fc_dtype type);

#endif
