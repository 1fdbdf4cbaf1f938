/* safetensors_write.c - tensors into a safetensors file that appears whole or not at all. */
#include "fedcell/fc_mem.h"
#include "fedcell/fc_safetensors.h"
#include "publish.h"
#include "safetensors.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static fc_err elements_of(const fc_safetensor_source *t, int64_t *out) {
  FC_CHECK(t->dims >= 0 && t->dims <= FC_MAX_DIMS, SHAPE, "tensor %s has %d dimensions", t->name,
           t->dims);
  *out = 1;
  for (int d = 0; d < t->dims; d++)
    FC_CHECK(t->shape[d] >= 0 && !__builtin_mul_overflow(*out, t->shape[d], out) &&
                 *out <= INT64_MAX / 8,
             SHAPE, "tensor %s: dimension %d is %lld", t->name, d, (long long)t->shape[d]);
  return FC_ERR_OK;
}

/* header[name] = {dtype, shape, data_offsets}; moves *offset past the tensor. */
static fc_err add_entry(json_t *header, fc_dtype dtype, const fc_safetensor_source *t,
                        int64_t *offset) {
  int64_t n = 0;
  FC_TRY(elements_of(t, &n));
  FC_CHECK(!json_object_get(header, t->name), DATA, "tensor %s is given twice", t->name);
  json_t *shape = json_array();
  for (int d = 0; d < t->dims; d++) json_array_append_new(shape, json_integer(t->shape[d]));
  const int64_t end = *offset + n * (int64_t)fc_dtype_bytes(dtype);
  json_t *entry = json_pack("{s:s, s:o, s:[I,I]}", "dtype", fc_dtype_name(dtype), "shape", shape,
                            "data_offsets", (json_int_t)*offset, (json_int_t)end);
  FC_CHECK(entry && json_object_set_new(header, t->name, entry) == 0, DATA,
           "tensor name %s is not UTF-8", t->name);
  *offset = end;
  return FC_ERR_OK;
}

static fc_err add_metadata(json_t *header, const char *const *metadata) {
  if (!metadata) return FC_ERR_OK;
  json_t *object = json_object();
  bool ok = object != NULL;
  for (size_t i = 0; ok && metadata[i]; i += 2)
    ok = json_object_set_new(object, metadata[i], json_string(metadata[i + 1])) == 0;
  ok = json_object_set_new(header, "__metadata__", object) == 0 && ok;
  FC_CHECK(ok, DATA, "metadata is not UTF-8");
  return FC_ERR_OK;
}

static fc_err write_header(fc_publish *file, fc_dtype dtype, const fc_safetensor_source *tensors,
                           size_t n, const char *const *metadata, json_t *header) {
  int64_t offset = 0;
  FC_TRY(add_metadata(header, metadata));
  for (size_t i = 0; i < n; i++) FC_TRY(add_entry(header, dtype, &tensors[i], &offset));
  char *text = json_dumps(header, JSON_COMPACT);
  FC_CHECK(text, NOMEM, "safetensors header: out of memory");
  size_t length = strlen(text), padded = (length + 7) / 8 * 8; /* so that the data is aligned */
  unsigned char size[8];
  for (int i = 0; i < 8; i++) size[i] = (unsigned char)((uint64_t)padded >> 8 * i);
  fc_err err = fc_publish_reserve(file, (int64_t)(8 + padded) + offset);
  if (err == FC_ERR_OK) err = fc_publish_write(file, size, 8);
  if (err == FC_ERR_OK) err = fc_publish_write(file, text, length);
  if (err == FC_ERR_OK) err = fc_publish_write(file, "       ", padded - length);
  free(text);
  return err;
}

/* In pieces. */
static fc_err write_data(fc_publish *file, fc_dtype dtype, const fc_safetensor_source *t,
                         int64_t n) {
  enum { PIECE = 16384 };
  unsigned char bytes[4 * PIECE];
  for (int64_t at = 0; at < n; at += PIECE) {
    const int64_t count = n - at < PIECE ? n - at : PIECE;
    const int64_t lost = fc_dtype_from_f32(dtype, t->data + at, count, bytes);
    FC_CHECK(lost == count, DATA, "tensor %s: element %lld is %g, which %s cannot hold", t->name,
             (long long)(at + lost), (double)t->data[at + lost], fc_dtype_torch_name(dtype));
    FC_TRY(fc_publish_write(file, bytes, (size_t)count * fc_dtype_bytes(dtype)));
  }
  return FC_ERR_OK;
}

static fc_err write_all(fc_publish *file, fc_dtype dtype, const fc_safetensor_source *tensors,
                        size_t n, const char *const *metadata) {
  json_t *header = json_object();
  FC_CHECK(header, NOMEM, "safetensors header: out of memory");
  fc_err err = write_header(file, dtype, tensors, n, metadata, header);
  json_decref(header);
  for (size_t i = 0; err == FC_ERR_OK && i < n; i++) {
    int64_t count = 0;
    err = elements_of(&tensors[i], &count);
    if (err == FC_ERR_OK) err = write_data(file, dtype, &tensors[i], count);
  }
  return err;
}

fc_err fc_safetensors_write_as(const char *path, fc_dtype dtype,
                               const fc_safetensor_source *tensors, size_t n,
                               const char *const *metadata) {
  fc_publish *file = NULL;
  FC_TRY(fc_publish_open(path, &file));
  fc_err err = write_all(file, dtype, tensors, n, metadata);
  if (err == FC_ERR_OK) return fc_publish_commit(&file);
  fc_publish_abandon(&file);
  return err;
}

fc_err fc_safetensors_write(const char *path, const fc_safetensor_source *tensors, size_t n,
                            const char *const *metadata) {
  return fc_safetensors_write_as(path, FC_DTYPE_F32, tensors, n, metadata);
}
