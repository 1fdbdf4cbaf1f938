/* fc_safetensors.h - reading and writing safetensors files.
 *
 *   fc_safetensors_open(path, &file);         // maps the file, checks header, offsets and sizes
 *   const fc_safetensor *t = fc_safetensors_find(file, "wte.weight");
 *   FC_TRY(fc_safetensor_read_f32(file, t, out));    // F32, F16 or BF16 to f32
 *
 * A folder with model.safetensors or model.safetensors.index.json (shards) opens as one file. All
 * Local. DATA names file and tensor of whatever is malformed: truncated, overlapping, wrong sizes.
 */
#ifndef FC_SAFETENSORS_H
#define FC_SAFETENSORS_H

#include "fedcell/fc_err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
  FC_DTYPE_F32,
  FC_DTYPE_F16,
  FC_DTYPE_BF16,
  FC_DTYPE_F64,
  FC_DTYPE_I64,
  FC_DTYPE_I32,
  FC_DTYPE_I16,
  FC_DTYPE_I8,
  FC_DTYPE_U8,
  FC_DTYPE_BOOL
} fc_dtype;
enum { FC_MAX_DIMS = 8 };
/* As torch names it, "bfloat16"; false for an unknown name. */
bool fc_dtype_of_torch(const char *name, fc_dtype *out);
const char *fc_dtype_torch_name(fc_dtype type);

typedef struct {
  char *name;
  fc_dtype dtype;
  int dims;
  int64_t shape[FC_MAX_DIMS];
  const void *data; /* in the map; may be unaligned */
  size_t bytes;
} fc_safetensor;

typedef struct fc_safetensors fc_safetensors;
fc_err fc_safetensors_open(const char *path, fc_safetensors **out);
/* The same checks on bytes in memory (borrowed): what the fuzz target calls. */
fc_err fc_safetensors_open_memory(const char *name, const void *bytes, size_t size,
                                  fc_safetensors **out);
void fc_safetensors_close(fc_safetensors **file);
size_t fc_safetensors_count(const fc_safetensors *file);
const fc_safetensor *fc_safetensors_get(const fc_safetensors *file, size_t i); /* by name order */
const fc_safetensor *fc_safetensors_find(const fc_safetensors *file, const char *name);
int64_t fc_safetensor_elements(const fc_safetensor *t);
fc_err fc_safetensor_read_f32(const fc_safetensor *t, float *out);

/* What is to be written: f32, row-major. */
typedef struct {
  const char *name;
  int dims;
  int64_t shape[FC_MAX_DIMS];
  const float *data;
} fc_safetensor_source;
/* Temporary file, flush, rename. metadata: pairs of key, value, NULL-terminated; may be NULL. */
fc_err fc_safetensors_write(const char *path, const fc_safetensor_source *tensors, size_t n,
                            const char *const *metadata);
/* The same as F32, F16 or BF16, rounded to nearest even. DATA names a number that F16 has no room
 * for. */
fc_err fc_safetensors_write_as(const char *path, fc_dtype dtype,
                               const fc_safetensor_source *tensors, size_t n,
                               const char *const *metadata);

#endif
