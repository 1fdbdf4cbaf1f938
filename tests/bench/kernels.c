/* kernels.c - times the kernels at the widths that training on simulated devices has.
 *
 *   ninja bench_kernels && OMP_NUM_THREADS=1 tests/bench_kernels
 *
 * One line a kernel: best time of several runs, time per element (row-wise kernels) or GFLOP/s
 * (products). A program to look at, not a test. */
#include "fedcell/fc_kernel.h"
#include "fedcell/fc_timer.h"
#include <stdio.h>
#include <stdlib.h>

enum { N = 512, R = 8, VOCABULARY = 2048 };

/* One array for each role, large enough for all widths. */
typedef struct {
  int width;
  float *x, *y, *dy, *w, *dw, *h, *dh, *scratch, *lse, *ones;
  int32_t *targets;
  int64_t start[N + 1];
  int sequences;
  fc_attention_shape heads;
} bench;

static float *numbers(size_t n) {
  float *x = malloc(n * sizeof *x);
  if (!x) exit(1);
  fc_rng rng = fc_rng_open(1, FC_RNG_TEST, 0, n);
  for (size_t i = 0; i < n; i++) x[i] = (float)fc_rng_normal(&rng);
  return x;
}

static void linear_fwd(bench *b) {
  fc_k_linear_fwd(b->y, b->width, b->x, b->width, b->w, b->width, b->dw, N, b->width, b->width,
                  false);
}
static void linear_fwd_wide(bench *b) {
  fc_k_linear_fwd(b->y, 4 * b->width, b->x, b->width, b->w, b->width, b->dw, N, b->width,
                  4 * b->width, false);
}
static void linear_bwd_input(bench *b) {
  fc_k_linear_bwd_input(b->y, b->width, b->x, b->width, b->w, b->width, N, b->width, b->width,
                        false);
}
static void linear_bwd_weight(bench *b) {
  fc_k_linear_bwd_weight(b->dw, b->width, b->lse, b->dy, b->width, b->x, b->width, N, b->width,
                         b->width);
}
static void lora_fwd(bench *b) {
  fc_k_lora_fwd(b->y, b->width, b->h, b->x, b->w, b->width, b->dw, 1e-3f, N, b->width, b->width, R);
}
static void lora_bwd(bench *b) {
  fc_k_lora_bwd(b->y, b->dw, b->dw + R * b->width, b->dh, b->dy, b->width, b->x, b->h, b->w,
                b->width, b->w + R * b->width, 1e-3f, N, b->width, b->width, R);
}
static void attention_fwd(bench *b) {
  fc_k_attention_fwd(b->y, b->lse, b->x, b->start, b->sequences, b->heads, b->scratch);
}
static void attention_bwd(bench *b) {
  fc_k_attention_bwd(b->dy, b->y, b->x, b->y, b->lse, b->start, b->sequences, b->heads, b->scratch);
}
static void gelu_tanh_fwd(bench *b) {
  fc_k_act_fwd(b->y, b->x, FC_ACT_GELU_TANH, (int64_t)4 * N * b->width);
}
static void gelu_tanh_bwd(bench *b) {
  fc_k_act_bwd(b->y, b->dy, b->x, FC_ACT_GELU_TANH, (int64_t)4 * N * b->width);
}
static void gelu_erf_fwd(bench *b) {
  fc_k_act_fwd(b->y, b->x, FC_ACT_GELU_ERF, (int64_t)4 * N * b->width);
}
static void gelu_erf_bwd(bench *b) {
  fc_k_act_bwd(b->y, b->dy, b->x, FC_ACT_GELU_ERF, (int64_t)4 * N * b->width);
}
static void layernorm_fwd(bench *b) {
  fc_k_layernorm_fwd(b->y, b->lse, b->h, b->x, b->w, b->w, 1e-5f, N, b->width);
}
static void layernorm_bwd(bench *b) {
  fc_k_layernorm_bwd(b->y, NULL, NULL, b->dy, b->x, b->w, b->lse, b->lse, N, b->width);
}
static void layernorm_bwd_all(bench *b) {
  fc_k_layernorm_bwd(b->y, b->dw, b->dh, b->dy, b->x, b->w, b->lse, b->lse, N, b->width);
}
static void dropout(bench *b) {
  fc_k_dropout(b->y, b->x, 0.1f, fc_rng_open(1, FC_RNG_DROPOUT, 0, 0), (int64_t)N * b->width);
}
static void adamw(bench *b) {
  fc_k_adamw(b->y, b->lse, b->scratch, b->x, (fc_adamw){1e-3f, 0.9f, 0.999f, 1e-8f, 0}, 3,
             (int64_t)N * b->width);
}
static void fixed_sum(bench *b) {
  const double weight = 0.3;
  fc_k_fixed_sum((int64_t *)b->scratch, b->x, 0, NULL, &weight, 1, 0x1p20, (int64_t)N * b->width);
}
static void lm_head_fwd(bench *b) {
  fc_k_lm_head(b->lse, NULL, NULL, NULL, NULL, b->x, &(fc_lm_table){.W = b->w}, b->targets, b->ones,
               N, b->width, VOCABULARY, b->scratch);
}
static void lm_head_bwd(bench *b) {
  fc_k_lm_head(b->lse, NULL, b->y, NULL, NULL, b->x, &(fc_lm_table){.W = b->w}, b->targets, b->ones,
               N, b->width, VOCABULARY, b->scratch);
}

/* Products of N rows count FLOP per width^2, row-wise kernels elements per width. */
static const struct {
  const char *name;
  void (*run)(bench *b);
  double flop_per_square; /* times N width^2 */
  double elements;        /* times N width */
} kernels[] = {
    {"linear_fwd (d,d)", linear_fwd, 2, 0},
    {"linear_fwd (4d,d)", linear_fwd_wide, 8, 0},
    {"linear_bwd_input", linear_bwd_input, 2, 0},
    {"linear_bwd_weight", linear_bwd_weight, 2, 0},
    {"lora_fwd R=8", lora_fwd, 0, 4 * R},
    {"lora_bwd R=8", lora_bwd, 0, 8 * R},
    {"gelu_tanh_fwd 4d", gelu_tanh_fwd, 0, 4},
    {"gelu_tanh_bwd 4d", gelu_tanh_bwd, 0, 4},
    {"gelu_erf_fwd 4d", gelu_erf_fwd, 0, 4},
    {"gelu_erf_bwd 4d", gelu_erf_bwd, 0, 4},
    {"layernorm_fwd", layernorm_fwd, 0, 1},
    {"layernorm_bwd dx", layernorm_bwd, 0, 1},
    {"layernorm_bwd all", layernorm_bwd_all, 0, 1},
    {"dropout", dropout, 0, 1},
    {"adamw", adamw, 0, 1},
    {"fixed_sum", fixed_sum, 0, 1},
    {"lm_head_fwd V=2048", lm_head_fwd, 0, 2 * VOCABULARY},
    {"lm_head_bwd V=2048", lm_head_bwd, 0, 4 * VOCABULARY},
};

static double best_seconds(void (*run)(bench *b), bench *b) {
  double best = 1e9;
  for (int repeat = 0; repeat < 7; repeat++) {
    const int calls = 10;
    const double begin = fc_wall_time_s();
    for (int i = 0; i < calls; i++) run(b);
    const double took = (fc_wall_time_s() - begin) / calls;
    if (took < best) best = took;
  }
  return best;
}

static void report(const char *name, double seconds, double flop, double elements) {
  printf("  %-24s %9.1f us", name, 1e6 * seconds);
  if (flop > 0) printf(" %8.1f GFLOP/s", 1e-9 * flop / seconds);
  if (elements > 0) printf(" %8.3f ns/element", 1e9 * seconds / elements);
  printf("\n");
}

/* Sequences of equal length that fill N rows; FLOP of two products forward, five backward. */
static void bench_attention(bench *b, int length, int heads, bool causal) {
  b->heads = (fc_attention_shape){heads, heads, b->width / heads, causal};
  b->sequences = N / length;
  for (int i = 0; i <= b->sequences; i++) b->start[i] = (int64_t)i * length;
  const double flop = 4.0 * N * length * b->width;
  char name[64];
  snprintf(name, sizeof name, "attention_fwd T=%d dh=%d%s", length, b->width / heads,
           causal ? " c" : "");
  report(name, best_seconds(attention_fwd, b), flop, 0);
  name[10] = 'b', name[11] = 'w', name[12] = 'd';
  report(name, best_seconds(attention_bwd, b), 2.5 * flop, 0);
}

int main(void) {
  const size_t most = (size_t)N * 4 * 256;
  bench b = {.x = numbers(most),
             .y = numbers(most),
             .dy = numbers(most),
             .w = numbers(most),
             .dw = numbers(most),
             .h = numbers(most),
             .dh = numbers(most),
             .lse = numbers(most),
             .ones = numbers(N),
             .scratch = numbers(4 * most),
             .targets = calloc(N, sizeof(int32_t))};
  if (!b.targets) return 1;
  for (b.width = 64; b.width <= 256; b.width *= 4) {
    printf("N = %d rows, d = %d\n", N, b.width);
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
      const double d = b.width, flop = kernels[i].flop_per_square * N * d * d;
      const double seconds = best_seconds(kernels[i].run, &b);
      if (kernels[i].elements >= R) /* thin products: their FLOP */
        report(kernels[i].name, seconds, kernels[i].elements * N * d, 0);
      else
        report(kernels[i].name, seconds, flop, kernels[i].elements * N * d);
    }
    for (int length = 16; length <= 256; length = length * 3 / 2 + 1) /* 16, 25, 38, 58, ... */
      for (int causal = 0; causal < 2; causal++) bench_attention(&b, length, 4, causal);
  }
  return 0;
}
