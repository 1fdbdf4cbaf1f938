/* bench_aggregate.c - the server's part of a round: the weighted mean of many devices' adapters in
 * fixed point (fc_mean.h), against reading as much memory.
 *
 * "in memory": all adapters are there; "streamed": they come in groups through one buffer, so that
 * any number of them needs the room of a group. The largest change, which the common scale needs,
 * comes with each adapter: training measures it while the adapter is in the caches. */
#include "bench.h"
#include "fedcell/fc_kernel.h"
#include "fedcell/fc_mean.h"
#include "fedcell/fc_mem.h"
#include <string.h>

typedef struct {
  const fc_comm *comm;
  int64_t weights, adapters, buffered; /* of an adapter; averaged; in the buffer */
  float *buffer;                       /* (buffered, weights) */
  float *base, *mean;                  /* (weights) */
  double *share;                       /* (adapters) */
} aggregation;

static fc_err aggregate(void *arg) {
  const aggregation *a = arg;
  fc_mean *m = NULL;
  FC_TRY(fc_mean_create(a->comm, (size_t)a->weights, 2.0, &m)); /* |x - base| < 1.5 */
  for (int64_t i = 0; i < a->adapters; i += a->buffered)
    fc_mean_add(m, a->buffer, a->weights, a->base, a->share + i,
                a->adapters - i < a->buffered ? a->adapters - i : a->buffered);
  fc_err err = fc_mean_take(m, a->mean);
  fc_mean_destroy(&m);
  return err;
}

/* Adapter k is the first one turned by k places: all alike in size, none in its bits. There are
 * fewer of them than places. */
static void fill(const aggregation *a) {
  const size_t n = (size_t)a->weights;
  fc_rng rng = fc_rng_open(1, FC_RNG_TEST, 0, 0);
  for (size_t w = 0; w < n; w++) {
    a->buffer[w] = (float)(2.0 * fc_rng_uniform(&rng) - 1.0);
    a->base[w] = (float)(fc_rng_uniform(&rng) - 0.5);
  }
#pragma omp parallel for
  for (int64_t k = 1; k < a->buffered; k++) {
    const size_t turn = (size_t)k;
    float *x = a->buffer + (size_t)k * n;
    memcpy(x, a->buffer + turn, (n - turn) * sizeof *x);
    memcpy(x + n - turn, a->buffer, turn * sizeof *x);
  }
  for (int64_t i = 0; i < a->adapters; i++) a->share[i] = 1.0 / (double)a->adapters;
}

static fc_err create(aggregation *a) {
  const size_t n = (size_t)a->weights;
  FC_TRY(fc_alloc((size_t)a->buffered * n, sizeof *a->buffer, &a->buffer));
  FC_TRY(fc_alloc(n, sizeof *a->base, &a->base));
  FC_TRY(fc_alloc(n, sizeof *a->mean, &a->mean));
  FC_TRY(fc_alloc((size_t)a->adapters, sizeof *a->share, &a->share));
  fill(a);
  return FC_ERR_OK;
}

static void destroy(aggregation *a) {
  fc_free(a->buffer);
  fc_free(a->base);
  fc_free(a->mean);
  fc_free(a->share);
}

static void tell(fc_bench *b, const char *how, const aggregation *a, const fc_bench_rates *own,
                 const fc_bench_rates *read) {
  fc_bench_row(b, "%lld adapters of %lld weights, %s", (long long)a->adapters,
               (long long)a->weights, how);
  fc_bench_figure(b, "rate", "GB/s", fc_bench_scaled(fc_bench_rate(own), 1e-9));
  fc_bench_figure(b, "of reading memory", "%", fc_bench_scaled(fc_bench_ratio(own, read), 100));
  fc_bench_number(b, "memory", "GB", 4e-9 * (double)(a->buffered * a->weights));
}

static fc_err measure(fc_bench *b, aggregation *there, aggregation *streamed) {
  aggregation *const kinds[] = {there, streamed};
  fc_bench_work works[3];
  fc_bench_rates rates[3];
  for (int i = 0; i < 2; i++) {
    FC_TRY(create(kinds[i]));
    works[i] =
        (fc_bench_work){.run = aggregate,
                        .arg = kinds[i],
                        .amount = 4.0 * (double)kinds[i]->adapters * (double)kinds[i]->weights};
  }
  FC_TRY(fc_bench_peak(b, FC_BENCH_READ, &works[2]));
  FC_TRY(fc_bench_measure(b, works, 3, rates));
  tell(b, "in memory", there, &rates[0], &rates[2]);
  tell(b, "streamed", streamed, &rates[1], &rates[2]);
  fc_bench_row(b, "reading memory");
  fc_bench_figure(b, "rate", "GB/s", fc_bench_scaled(fc_bench_rate(&rates[2]), 1e-9));
  return FC_ERR_OK;
}

fc_err fc_bench_aggregate(fc_bench *b) {
  const int64_t weights = fc_bench_quick(b) ? 5000 : 1000000, few = fc_bench_quick(b) ? 20 : 1000;
  aggregation there = {
      .comm = fc_bench_comm(b), .weights = weights, .adapters = few, .buffered = few};
  aggregation streamed = {
      .comm = fc_bench_comm(b), .weights = weights, .adapters = 10 * few, .buffered = few / 10};
  fc_err err = measure(b, &there, &streamed);
  destroy(&there);
  destroy(&streamed);
  return err;
}
