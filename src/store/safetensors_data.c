/* safetensors_data.c - finding tensors in an opened file, and converting to f32 and back. */
#include "safetensors.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
  const char *name, *torch;
  size_t bytes;
} DTYPES[] = {
    [FC_DTYPE_F32] = {"F32", "float32", 4},    [FC_DTYPE_F16] = {"F16", "float16", 2},
    [FC_DTYPE_BF16] = {"BF16", "bfloat16", 2}, [FC_DTYPE_F64] = {"F64", "float64", 8},
    [FC_DTYPE_I64] = {"I64", "int64", 8},      [FC_DTYPE_I32] = {"I32", "int32", 4},
    [FC_DTYPE_I16] = {"I16", "int16", 2},      [FC_DTYPE_I8] = {"I8", "int8", 1},
    [FC_DTYPE_U8] = {"U8", "uint8", 1},        [FC_DTYPE_BOOL] = {"BOOL", "bool", 1},
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

const char *fc_dtype_name(fc_dtype type) {
  return DTYPES[type].name;
}

bool fc_dtype_of_torch(const char *name, fc_dtype *out) {
  for (size_t i = 0; i < sizeof DTYPES / sizeof DTYPES[0]; i++)
    if (strcmp(DTYPES[i].torch, name) == 0) {
      *out = (fc_dtype)i;
      return true;
    }
  return false;
}

const char *fc_dtype_torch_name(fc_dtype type) {
  return DTYPES[type].torch;
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

/* ---- from f32 ---------------------------------------------------------------------------------
 */

static uint32_t to_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

/* The upper bits, rounded to nearest even at `dropped` lower ones. */
static uint32_t round_off(uint32_t bits, int dropped) {
  return (bits + (1u << (dropped - 1)) - 1 + (bits >> dropped & 1u)) >> dropped;
}

static uint16_t to_bfloat(float x) {
  return isnan(x) ? (uint16_t)(to_bits(x) >> 16 | 0x40u) : (uint16_t)round_off(to_bits(x), 16);
}

static uint16_t to_half(float x) {
  const uint32_t sign = to_bits(x) >> 16 & 0x8000u, bits = to_bits(x) & 0x7FFFFFFFu;
  if (bits > 0x7F800000u) return (uint16_t)(sign | 0x7E00u);        /* NaN */
  if (bits >= to_bits(65520.0F)) return (uint16_t)(sign | 0x7C00u); /* infinity */
  if (bits >= to_bits(0x1p-14F)) return (uint16_t)(sign | (round_off(bits, 13) - (112u << 10)));
  return (uint16_t)(sign | (uint32_t)lrintf(from_bits(bits) * 0x1p24F)); /* subnormal */
}

int64_t fc_dtype_from_f32(fc_dtype type, const float *x, int64_t n, unsigned char *bytes) {
  int64_t lost = n;
  const int size = (int)fc_dtype_bytes(type);
  assert(type == FC_DTYPE_F32 || type == FC_DTYPE_F16 || type == FC_DTYPE_BF16);
  for (int64_t i = 0; i < n; i++) {
    const uint32_t value = type == FC_DTYPE_F32   ? to_bits(x[i])
                           : type == FC_DTYPE_F16 ? to_half(x[i])
                                                  : to_bfloat(x[i]);
    const uint32_t infinity = type == FC_DTYPE_F16 ? 0x7C00u : 0x7F80u;
    if (size == 2 && lost == n && isfinite(x[i]) && (value & 0x7FFFu) == infinity) lost = i;
    for (int b = 0; b < size; b++) *bytes++ = (unsigned char)(value >> 8 * b);
  }
  return lost;
}
