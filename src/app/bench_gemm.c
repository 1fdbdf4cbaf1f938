/* bench_gemm.c - matrix products of the models' shapes: ours in f32 and bf16, oneDNN's in bf16 as a
 * yardstick, and the bf16 multiply-adds that registers allow. Input and output are f32 everywhere,
 * so that rounding the input counts; weights are packed beforehand. */
#include "bench.h"
#include "bench_onednn.h"
#include "fedcell/fc_kernel.h"
#include "fedcell/fc_mem.h"
#include <math.h>

typedef struct {
  int N, I, O;
  float *x, *W, *y; /* (N,I), (O,I), (N,O) */
  fc_bf16 *panels;
  fc_onednn *onednn; /* NULL: not built in */
} gemm;

static fc_err run_f32(void *arg) {
  const gemm *g = arg;
  fc_k_linear_fwd(g->y, g->O, g->x, g->I, g->W, g->I, NULL, g->N, g->I, g->O, false);
  return FC_ERR_OK;
}

static fc_err run_bf16(void *arg) {
  const gemm *g = arg;
  fc_k_linear_bf16(g->y, g->O, g->x, g->I, g->panels, g->I, g->N, g->I, g->O, NULL);
  return FC_ERR_OK;
}

static void fill(float *x, size_t n) {
  fc_rng rng = fc_rng_open(1, FC_RNG_TEST, 0, 0);
  for (size_t i = 0; i < n; i++) x[i] = (float)(2.0 * fc_rng_uniform(&rng) - 1.0);
}

static fc_err create(gemm *g) {
  const size_t N = (size_t)g->N, I = (size_t)g->I, O = (size_t)g->O;
  FC_TRY(fc_alloc(N * I, sizeof *g->x, &g->x));
  FC_TRY(fc_alloc(O * I, sizeof *g->W, &g->W));
  FC_TRY(fc_alloc(N * O, sizeof *g->y, &g->y));
  FC_TRY(fc_alloc(fc_k_bf16_panels(g->O, g->I), sizeof *g->panels, &g->panels));
  fill(g->x, N * I);
  fill(g->W, O * I);
  fc_k_bf16_pack(g->panels, g->W, g->I, g->O, g->I);
  if (!fc_onednn_there()) return FC_ERR_OK;
  return fc_onednn_create(g->x, g->W, g->y, g->N, g->I, g->O, &g->onednn);
}

static void destroy(gemm *g) {
  fc_onednn_destroy(&g->onednn);
  fc_free(g->x);
  fc_free(g->W);
  fc_free(g->y);
  fc_free(g->panels);
}

enum { F32, BF16, PEAK, ONEDNN, WORKS };

static fc_err measure(fc_bench *b, const char *model, gemm *g) {
  const double flop = 2.0 * g->N * g->I * g->O;
  const fc_interval unknown = {NAN, NAN, NAN};
  fc_bench_rates rates[WORKS];
  fc_bench_work works[WORKS] = {[F32] = {run_f32, g, flop},
                                [BF16] = {run_bf16, g, flop},
                                [ONEDNN] = {fc_onednn_run, g->onednn, flop}};
  FC_TRY(fc_bench_peak(b, FC_BENCH_BF16, &works[PEAK]));
  FC_TRY(fc_bench_measure(b, works, g->onednn ? WORKS : ONEDNN, rates));
  fc_bench_row(b, "%s, %d rows, %d -> %d", model, g->N, g->I, g->O);
  fc_bench_figure(b, "f32", "GFLOP/s", fc_bench_scaled(fc_bench_rate(&rates[F32]), 1e-9));
  fc_bench_figure(b, "bf16", "GFLOP/s", fc_bench_scaled(fc_bench_rate(&rates[BF16]), 1e-9));
  fc_bench_figure(b, "bf16 of peak", "%",
                  fc_bench_scaled(fc_bench_ratio(&rates[BF16], &rates[PEAK]), 100));
  fc_bench_figure(b, "oneDNN bf16", "GFLOP/s",
                  g->onednn ? fc_bench_scaled(fc_bench_rate(&rates[ONEDNN]), 1e-9) : unknown);
  fc_bench_figure(b, "bf16 to oneDNN", "",
                  g->onednn ? fc_bench_ratio(&rates[BF16], &rates[ONEDNN]) : unknown);
  return FC_ERR_OK;
}

enum { MOST_ROWS = 4 };
static const int few[MOST_ROWS] = {128, 1024}, many[MOST_ROWS] = {1, 128, 512, 1024};

/* Widths of the products of a training step, forward and backward, with the vocabulary's. */
static const struct {
  const char *model;
  int I, O;
  const int *rows; /* (MOST_ROWS), 0 where there are no more */
} shapes[] = {{"d64", 64, 192, few},          {"d64", 64, 64, few},
              {"d64", 64, 256, few},          {"d64", 256, 64, few},
              {"d256", 256, 768, few},        {"d256", 256, 256, few},
              {"d256", 256, 1024, few},       {"d256", 1024, 256, few},
              {"GPT-2", 768, 2304, many},     {"GPT-2", 768, 768, many},
              {"GPT-2", 768, 3072, many},     {"GPT-2", 3072, 768, many},
              {"GPT-2", 2304, 768, few},      {"GPT-2 head", 768, 50257, many},
              {"GPT-2 head", 50257, 768, few}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static fc_err one_case(fc_bench *b, int shape, int n) {
  gemm g = {.N = n, .I = shapes[shape].I, .O = shapes[shape].O};
  fc_err err = create(&g);
  if (err == FC_ERR_OK) err = measure(b, shapes[shape].model, &g);
  destroy(&g);
  return err;
}

fc_err fc_bench_gemm(fc_bench *b) {
  if (fc_bench_quick(b)) return one_case(b, 0, 64);
  for (int s = 0; s < SHAPES; s++)
    for (int n = 0; n < MOST_ROWS && shapes[s].rows[n]; n++)
      FC_TRY(one_case(b, s, shapes[s].rows[n]));
  return FC_ERR_OK;
}
