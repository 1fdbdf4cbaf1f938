/* bench_private.h - what bench_measure.c and bench_report.c share. */
#ifndef BENCH_PRIVATE_H
#define BENCH_PRIVATE_H

#include "bench.h"
#include <jansson.h>

struct fc_bench {
  const fc_comm *comm; /* borrowed */
  bool quick;
  const char *case_path; /* borrowed; NULL: none */
  bool failed;           /* a row could not be kept: no memory, or a text that is not UTF-8 */
  json_t *told; /* {benchmark, quick, provenance, rows}: the text form is printed from it too */
  json_t *row;  /* borrowed: the last of rows */
  uint64_t *memory, *copy; /* (words) of the peaks; NULL until asked for */
  int64_t words;
  int64_t fma_rounds, bf16_rounds;
};

#endif
