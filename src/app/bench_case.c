/* bench_case.c - see bench_case.h. */
#include "bench_case.h"
#include "fedcell/fc_mem.h"
#include <string.h>

fc_err fc_bench_case_load(const char *path, json_t **out) {
  json_error_t error;
  *out = json_load_file(path, 0, &error);
  FC_CHECK(*out, DATA, "%s line %d: %s", path, error.line, error.text);
  return FC_ERR_OK;
}

fc_err fc_bench_case_precision(const char *path, const char *name, bool *bf16) {
  *bf16 = strcmp(name, "bf16") == 0;
  FC_CHECK(*bf16 || strcmp(name, "f32") == 0, DATA, "%s: precision %s: f32 or bf16", path, name);
  return FC_ERR_OK;
}

static fc_err read_sequence(const char *path, const json_t *sequence, size_t number, size_t length,
                            int32_t *out) {
  FC_CHECK(json_array_size(sequence) == length, DATA,
           "%s: sequence %zu has %zu tokens, the first one %zu", path, number,
           json_array_size(sequence), length);
  for (size_t i = 0; i < length; i++) {
    const json_t *token = json_array_get(sequence, i);
    const json_int_t id = json_integer_value(token);
    FC_CHECK(json_is_integer(token) && id >= 0 && id <= INT32_MAX, DATA,
             "%s: sequence %zu: token %zu is not a whole number from 0", path, number, i);
    out[i] = (int32_t)id;
  }
  return FC_ERR_OK;
}

fc_err fc_bench_case_tokens(const char *path, const json_t *array, int *sequences, int *length,
                            int32_t **out) {
  const size_t n = json_array_size(array), first = json_array_size(json_array_get(array, 0));
  FC_CHECK(first >= 1, DATA, "%s: needs sequences of at least one token", path);
  FC_TRY(fc_alloc(n * first, sizeof **out, out));
  for (size_t i = 0; i < n; i++)
    FC_TRY(read_sequence(path, json_array_get(array, i), i, first, *out + i * first));
  *sequences = (int)n;
  *length = (int)first;
  return FC_ERR_OK;
}
