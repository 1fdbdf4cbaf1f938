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
const char *fc_dtype_name(fc_dtype type);
/* Little-endian bytes of x (n) as F32, F16 or BF16. Returns the index of the first finite number
 * that is none there, n if there is none. */
int64_t fc_dtype_from_f32(fc_dtype type, const float *x, int64_t n, unsigned char *bytes);

#endif
