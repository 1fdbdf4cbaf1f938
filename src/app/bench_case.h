/* bench_case.h - reading the file of `fedcell bench NAME --case FILE.json`: what is to be measured
 * in place of a benchmark's own sizes. `path` is told in the messages. */
#ifndef BENCH_CASE_H
#define BENCH_CASE_H

#include "fedcell/fc_err.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* The caller drops *out with json_decref. */
fc_err fc_bench_case_load(const char *path, json_t **out);
/* "f32" or "bf16" */
fc_err fc_bench_case_precision(const char *path, const char *name, bool *bf16);
/* [[1, 2], [3, 4]]: (sequences, length), all of one length, at least one of each. The caller frees
 * *out. */
fc_err fc_bench_case_tokens(const char *path, const json_t *array, int *sequences, int *length,
                            int32_t **out);

#endif
