/* bench_machine.c - the limits that the other benchmarks are held against, by themselves. */
#include "bench.h"

fc_err fc_bench_machine(fc_bench *b) {
  static const struct {
    fc_bench_limit limit;
    const char *name, *unit;
  } limits[] = {{FC_BENCH_READ, "reading memory", "GB/s"},
                {FC_BENCH_COPY, "copying memory, read and written", "GB/s"},
                {FC_BENCH_FMA, "f32 multiply-adds", "GFLOP/s"},
                {FC_BENCH_BF16, "bf16 multiply-adds", "GFLOP/s"}};
  enum { LIMITS = sizeof limits / sizeof limits[0] };
  fc_bench_work works[LIMITS];
  fc_bench_rates rates[LIMITS];
  for (int i = 0; i < LIMITS; i++) FC_TRY(fc_bench_peak(b, limits[i].limit, &works[i]));
  FC_TRY(fc_bench_measure(b, works, LIMITS, rates));
  for (int i = 0; i < LIMITS; i++) {
    fc_bench_row(b, "%s", limits[i].name);
    fc_bench_figure(b, "rate", limits[i].unit, fc_bench_scaled(fc_bench_rate(&rates[i]), 1e-9));
  }
  return FC_ERR_OK;
}
