/* safetensors_data.c - finding tensors in an opened file and converting them to f32. */
#include "safetensors.h"
#include <stdlib.h>
#include <string.h>

static const struct {
  const char *name;
  size_t bytes;
} DTYPES[] = {
    [FC_DTYPE_F32] = {"F32", 4},   [FC_DTYPE_F16] = {"F16", 2}, [FC_DTYPE_BF16] = {"BF16", 2},
    [FC_DTYPE_F64] = {"F64", 8},   [FC_DTYPE_I64] = {"I64", 8}, [FC_DTYPE_I32] = {"I32", 4},
    [FC_DTYPE_I16] = {"I16", 2},   [FC_DTYPE_I8] = {"I8", 1},   [FC_DTYPE_U8] = {"U8", 1},
    [FC_DTYPE_BOOL] = {"BOOL", 1},
};

bool fc_dtype_find(const char *name, fc_dtype *out) {
  for (size_t i = 0; i < sizeof DTYPES / sizeof DTYPES[0]; i++)
    if (strcmp(DTYPES[i].name, name) == 0) {
      *out = (fc_dtype)i;
      return true;
    }
  return false;
}

size_t fc_dtype_bytes(fc_dtype type) {
  return DTYPES[type].bytes;
}

size_t fc_safetensors_count(const fc_safetensors *file) {
  return file->count;
}

const fc_safetensor *fc_safetensors_get(const fc_safetensors *file, size_t i) {
  return &file->tensors[i];
}

static int name_order(const void *name, const void *tensor) {
  return strcmp(name, ((const fc_safetensor *)tensor)->name);
}

const fc_safetensor *fc_safetensors_find(const fc_safetensors *file, const char *name) {
  if (file->count == 0) return NULL;
  return bsearch(name, file->tensors, file->count, sizeof *file->tensors, name_order);
}

int64_t fc_safetensor_elements(const fc_safetensor *t) {
  int64_t n = 1;
  for (int d = 0; d < t->dims; d++)
    if (t->shape[d] == 0) return 0; /* the product of the others need not fit */
  for (int d = 0; d < t->dims; d++) n *= t->shape[d];
  return n;
}

/* ---- to f32 -----------------------------------------------------------------------------------
 */

static float from_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* IEEE 754 binary16; every value of it is one of binary32. */
static float from_half(uint16_t half) {
  const uint32_t sign = (uint32_t)(half & 0x8000u) << 16, mantissa = half & 0x3FFu;
  const uint32_t exponent = half >> 10 & 0x1Fu;
  if (exponent == 31) return from_bits(sign | 0x7F800000u | mantissa << 13); /* inf, NaN */
  if (exponent > 0) return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
  float magnitude = (float)mantissa * 0x1p-24F; /* subnormal or zero: exact */
  return sign ? -magnitude : magnitude;
}

/* The file is little-endian whatever the machine is. */
static uint16_t load_16(const unsigned char *at) {
  return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t load_32(const unsigned char *at) {
  return (uint32_t)load_16(at) | (uint32_t)load_16(at + 2) << 16;
}

fc_err fc_safetensor_read_f32(const fc_safetensor *t, float *out) {
  const unsigned char *from = t->data;
  const int64_t n = fc_safetensor_elements(t);
  switch (t->dtype) {
  case FC_DTYPE_F32:
    for (int64_t i = 0; i < n; i++) out[i] = from_bits(load_32(from + 4 * i));
    return FC_ERR_OK;
  case FC_DTYPE_F16:
    for (int64_t i = 0; i < n; i++) out[i] = from_half(load_16(from + 2 * i));
    return FC_ERR_OK;
  case FC_DTYPE_BF16:
    for (int64_t i = 0; i < n; i++) out[i] = from_bits((uint32_t)load_16(from + 2 * i) << 16);
    return FC_ERR_OK;
  default:
    return fc_fail(FC_ERR_DATA, "tensor %s has dtype %s, needed is F32, F16 or BF16", t->name,
                   DTYPES[t->dtype].name);
  }
}
