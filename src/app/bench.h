/* bench.h - what the benchmarks of `fedcell bench` share.
 *
 * A benchmark (bench_<name>.c, one line in the table of command_bench.c) makes its pieces of work,
 * has them timed in turn together with the machine's own peaks, and returns rows of named figures;
 * measuring (bench_measure.c) and printing (bench_report.c) are common:
 *
 *   fc_bench_work work[2] = {{run, &arg, bytes}};
 *   fc_bench_rates rates[2];
 *   FC_TRY(fc_bench_peak(b, FC_BENCH_READ, &work[1]));
 *   FC_TRY(fc_bench_measure(b, work, 2, rates));
 *   fc_bench_row(b, "1,000 adapters");
 *   fc_bench_figure(b, "rate", "GB/s", fc_bench_scaled(fc_bench_rate(&rates[0]), 1e-9));
 *   fc_bench_figure(b, "of memory", "%", fc_bench_scaled(fc_bench_ratio(&rates[0], &rates[1]),
 *                                                        100));
 */
#ifndef BENCH_H
#define BENCH_H

#include "app.h"
#include "fedcell/fc_model.h"
#include "fedcell/fc_stats.h"
#include <stdint.h>

/* One call of `fedcell bench`. */
typedef struct fc_bench fc_bench;

/* ---- benchmarks: each does its work on the calling process, with all its threads ---------------
 */

fc_err fc_bench_aggregate(fc_bench *b);
fc_err fc_bench_gemm(fc_bench *b);
fc_err fc_bench_generate(fc_bench *b);
fc_err fc_bench_machine(fc_bench *b);
fc_err fc_bench_rollout(fc_bench *b);
fc_err fc_bench_train(fc_bench *b);

/* --quick: tiny sizes and few repetitions, to see that a benchmark works. */
bool fc_bench_quick(const fc_bench *b);
/* --case FILE: what to measure in place of the benchmark's own sizes; NULL: none given. */
const char *fc_bench_case(const fc_bench *b);
/* The one rank; borrowed. */
const fc_comm *fc_bench_comm(const fc_bench *b);

/* ---- measuring (bench_measure.c) --------------------------------------------------------------
 */

typedef struct {
  fc_err (*run)(void *arg);
  void *arg;
  double amount; /* what one run does, in bytes, FLOP, tokens ... */
} fc_bench_work;

enum { FC_BENCH_SAMPLES = 25, FC_BENCH_WORKS = 16 };
typedef struct {
  int n;
  double rate[FC_BENCH_SAMPLES]; /* amount a second */
} fc_bench_rates;

/* Times the works in turn, sample by sample, so that what else the machine does meets all alike;
 * short works are run several times a sample. The first failure of a run ends it. n works. */
fc_err fc_bench_measure(const fc_bench *b, const fc_bench_work *works, int n,
                        fc_bench_rates *rates);
fc_interval fc_bench_rate(const fc_bench_rates *r);
/* Of the paired samples' ratios a/b. */
fc_interval fc_bench_ratio(const fc_bench_rates *a, const fc_bench_rates *b);
fc_interval fc_bench_scaled(fc_interval x, double factor);

/* The machine's limits as works like any other, on all threads: bytes read from memory far larger
 * than the caches; bytes read and written while copying; FLOP of multiply-adds in registers, f32
 * and bf16. */
typedef enum { FC_BENCH_READ, FC_BENCH_COPY, FC_BENCH_FMA, FC_BENCH_BF16 } fc_bench_limit;
fc_err fc_bench_peak(fc_bench *b, fc_bench_limit limit, fc_bench_work *out);

/* ---- models (bench_models.c) -------------------------------------------------------------------
 */

/* The i-th shape's name, NULL past the end. */
const char *fc_bench_model_name(size_t i);
fc_model_shape fc_bench_model_shape(size_t i);
typedef struct {
  fc_model *model;
  float *weights;
  fc_bf16 *panels; /* NULL: f32 */
} fc_bench_model;
/* Weights from a folder, random ones where it is NULL. On failure *out is empty. */
fc_err fc_bench_model_create(fc_model_shape shape, const char *folder, bool bf16,
                             fc_bench_model *out);
void fc_bench_model_destroy(fc_bench_model *m);

/* ---- rows (bench_report.c) --------------------------------------------------------------------
 */

/* Figures belong to the row begun last. A value that is not finite is told as null. */
void fc_bench_row(fc_bench *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void fc_bench_figure(fc_bench *b, const char *name, const char *unit, fc_interval value);
/* A figure without an interval. */
void fc_bench_number(fc_bench *b, const char *name, const char *unit, double value);
/* What is no number, in place of a figure. */
void fc_bench_text(fc_bench *b, const char *name, const char *text);
/* n new tokens, one sequence after the other, as the text "tokens". */
fc_err fc_bench_tokens(fc_bench *b, const int32_t *tokens, size_t n);

/* ---- for command_bench.c -----------------------------------------------------------------------
 */

/* `facts` stand in the JSON with the CPU, the threads and the kernels' path. */
fc_err fc_bench_create(const fc_comm *comm, const char *name, const fc_arguments *a,
                       const fc_fact *facts, size_t n_facts, fc_bench **out);
void fc_bench_destroy(fc_bench **b); /* accepts NULL; leaves *b == NULL */
/* Prints all rows. */
fc_err fc_bench_show(const fc_bench *b, bool json);

#endif
