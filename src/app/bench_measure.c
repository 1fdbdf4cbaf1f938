/* bench_measure.c - times works in turn, and knows the machine's own limits as works. */
#include "bench_private.h"
#include "fedcell/fc_machine.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_peak.h"
#include "fedcell/fc_timer.h"
#include <assert.h>
#include <omp.h>
#include <string.h>

/* ---- timing -----------------------------------------------------------------------------------
 */

enum { LEAST_SAMPLES = 7 }; /* six are the fewest that a 95 % interval can have */

typedef struct {
  double sample_s; /* a sample is at least that long */
  double budget_s; /* of all samples together, as far as LEAST_SAMPLES allow */
  int least, most; /* samples */
} effort;

static effort effort_of(const fc_bench *b) {
  return b->quick ? (effort){1e-3, 0.1, 1, 3}
                  : (effort){5e-2, 30.0, LEAST_SAMPLES, FC_BENCH_SAMPLES};
}

static fc_err time_runs(const fc_bench_work *work, int64_t runs, double *seconds) {
  const double begin = fc_wall_time_s();
  for (int64_t i = 0; i < runs; i++) FC_TRY(work->run(work->arg));
  *seconds = fc_wall_time_s() - begin;
  return FC_ERR_OK;
}

/* How many runs make a sample, found by doubling. The first warms up; it also counts where it
 * already takes a sample's time. */
static fc_err count_runs(const fc_bench_work *work, double sample_s, int64_t *runs, double *took) {
  double seconds = 0;
  *runs = 1;
  FC_TRY(time_runs(work, 1, &seconds));
  while (seconds < sample_s) {
    FC_TRY(time_runs(work, *runs, &seconds));
    if (seconds < sample_s) *runs *= 2;
  }
  *took += seconds;
  return FC_ERR_OK;
}

fc_err fc_bench_measure(const fc_bench *b, const fc_bench_work *works, int n,
                        fc_bench_rates *rates) {
  const effort e = effort_of(b);
  int64_t runs[FC_BENCH_WORKS];
  double round_s = 0;
  assert(n >= 1 && n <= FC_BENCH_WORKS);
  for (int i = 0; i < n; i++) FC_TRY(count_runs(&works[i], e.sample_s, &runs[i], &round_s));
  int samples = e.most;
  while (samples > e.least && samples * round_s > e.budget_s) samples--;
  for (int s = 0; s < samples; s++) {
    for (int i = 0; i < n; i++) {
      double seconds = 0;
      FC_TRY(time_runs(&works[i], runs[i], &seconds));
      rates[i].rate[s] = works[i].amount * (double)runs[i] / seconds;
      rates[i].n = s + 1;
    }
  }
  return FC_ERR_OK;
}

fc_interval fc_bench_rate(const fc_bench_rates *r) {
  double x[FC_BENCH_SAMPLES];
  memcpy(x, r->rate, (size_t)r->n * sizeof *x);
  return fc_median_interval(x, r->n);
}

fc_interval fc_bench_ratio(const fc_bench_rates *a, const fc_bench_rates *b) {
  double x[FC_BENCH_SAMPLES];
  assert(a->n == b->n);
  for (int s = 0; s < a->n; s++) x[s] = a->rate[s] / b->rate[s];
  return fc_median_interval(x, a->n);
}

fc_interval fc_bench_scaled(fc_interval x, double factor) {
  return (fc_interval){x.median * factor, x.low * factor, x.high * factor};
}

/* ---- the machine's limits ----------------------------------------------------------------------
 */

static int64_t share_of_thread(int64_t n, int64_t *first) {
  const int64_t i = omp_get_thread_num(), threads = omp_get_num_threads();
  *first = n * i / threads;
  return n * (i + 1) / threads - *first;
}

static fc_err run_read(void *arg) {
  const fc_bench *b = arg;
  static volatile uint64_t kept;
  uint64_t sum = 0;
#pragma omp parallel reduction(+ : sum)
  {
    int64_t first, n = share_of_thread(b->words, &first);
    sum += fc_k_peak_read(b->memory + first, n);
  }
  kept = sum;
  (void)kept;
  return FC_ERR_OK;
}

static fc_err run_copy(void *arg) {
  const fc_bench *b = arg;
#pragma omp parallel
  {
    int64_t first, n = share_of_thread(b->words, &first);
    memcpy(b->copy + first, b->memory + first, (size_t)n * sizeof *b->copy);
  }
  return FC_ERR_OK;
}

static fc_err run_fma(void *arg) {
  const fc_bench *b = arg;
#pragma omp parallel
  fc_k_peak_fma(b->fma_rounds);
  return FC_ERR_OK;
}

static fc_err run_bf16(void *arg) {
  const fc_bench *b = arg;
#pragma omp parallel
  fc_k_peak_bf16(b->bf16_rounds);
  return FC_ERR_OK;
}

/* Memory that no cache holds, each thread's share first written by itself. */
static fc_err take_memory(fc_bench *b, uint64_t **memory) {
  if (*memory) return FC_ERR_OK;
  const size_t cache = fc_machine_cache_bytes(), least = (size_t)256 << 20;
  const size_t bytes = b->quick ? (size_t)4 << 20 : 4 * cache > least ? 4 * cache : least;
  b->words = (int64_t)(bytes / sizeof **memory);
  FC_TRY(fc_alloc((size_t)b->words, sizeof **memory, memory));
  uint64_t *words = *memory;
#pragma omp parallel
  {
    int64_t first, n = share_of_thread(b->words, &first);
    for (int64_t i = first; i < first + n; i++) words[i] = (uint64_t)i;
  }
  return FC_ERR_OK;
}

fc_err fc_bench_peak(fc_bench *b, fc_bench_limit limit, fc_bench_work *out) {
  const double threads = omp_get_max_threads();
  *out = (fc_bench_work){.arg = b};
  if (limit == FC_BENCH_FMA) {
    b->fma_rounds = b->quick ? 1000 : 1000000;
    out->run = run_fma;
    out->amount = threads * fc_k_peak_fma(b->fma_rounds);
    return FC_ERR_OK;
  }
  if (limit == FC_BENCH_BF16) {
    b->bf16_rounds = b->quick ? 100 : 10000;
    out->run = run_bf16;
    out->amount = threads * fc_k_peak_bf16(b->bf16_rounds);
    return FC_ERR_OK;
  }
  FC_TRY(take_memory(b, &b->memory));
  if (limit == FC_BENCH_COPY) FC_TRY(take_memory(b, &b->copy));
  out->run = limit == FC_BENCH_COPY ? run_copy : run_read;
  out->amount = (limit == FC_BENCH_COPY ? 2.0 : 1.0) * 8.0 * (double)b->words;
  return FC_ERR_OK;
}
