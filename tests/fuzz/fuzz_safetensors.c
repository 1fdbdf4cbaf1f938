/* Any bytes as a safetensors file: no crash, no leak; it is refused with DATA and a message, or
 * every tensor lies within the bytes, is found under its name and can be read whole. */
#include "fedcell/fc_safetensors.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void require(int condition) {
  if (!condition) abort();
}

static void check_tensor(const fc_safetensors *file, size_t i, const uint8_t *bytes, size_t size) {
  const fc_safetensor *t = fc_safetensors_get(file, i);
  const uint8_t *data = t->data;
  int64_t n = fc_safetensor_elements(t);
  require(data >= bytes && data <= bytes + size && t->bytes <= (size_t)(bytes + size - data));
  require(n >= 0 && (size_t)n <= t->bytes);
  require(fc_safetensors_find(file, t->name) == t);
  float *x = malloc((size_t)n * sizeof *x + 1);
  fc_err err = fc_safetensor_read_f32(t, x);
  bool is_float = t->dtype == FC_DTYPE_F32 || t->dtype == FC_DTYPE_F16 || t->dtype == FC_DTYPE_BF16;
  require(err == (is_float ? FC_ERR_OK : FC_ERR_DATA));
  free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  fc_safetensors *file = NULL;
  fc_err err = fc_safetensors_open_memory("fuzz", bytes, size, &file);
  if (err != FC_ERR_OK) {
    require(err == FC_ERR_DATA && !file && strncmp(fc_err_message(), "fuzz: ", 6) == 0);
    return 0;
  }
  for (size_t i = 0; i < fc_safetensors_count(file); i++) check_tensor(file, i, bytes, size);
  fc_safetensors_close(&file);
  return 0;
}
