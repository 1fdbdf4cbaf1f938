/* bench_train.c - training steps of many devices on one frozen decoder, in f32 and bf16, beside the
 * rate of a plain product in the same precision: its share is what everything else leaves of it. */
#include "bench.h"
#include "bench_trainer.h"
#include "fedcell/fc_kernel.h"
#include "fedcell/fc_mem.h"

/* ---- the product: a feed-forward layer of GPT-2 ---------------------------------------------- */

enum { ROWS = 1024, IN = 768, OUT = 3072 };
typedef struct {
  float *x, *y, *W;
  fc_bf16 *panels;
} product;

static fc_err product_create(product *p) {
  FC_TRY(fc_alloc((size_t)ROWS * IN, sizeof(float), &p->x));
  FC_TRY(fc_alloc((size_t)ROWS * OUT, sizeof(float), &p->y));
  FC_TRY(fc_alloc((size_t)OUT * IN, sizeof(float), &p->W));
  FC_TRY(fc_alloc(fc_k_bf16_panels(OUT, IN), sizeof(fc_bf16), &p->panels));
  fc_rng rng = fc_rng_open(1, FC_RNG_TEST, 0, 0);
  for (int i = 0; i < ROWS * IN; i++) p->x[i] = (float)fc_rng_normal(&rng);
  for (int i = 0; i < OUT * IN; i++) p->W[i] = (float)fc_rng_normal(&rng);
  fc_k_bf16_pack(p->panels, p->W, IN, OUT, IN);
  return FC_ERR_OK;
}

static void product_destroy(product *p) {
  fc_free(p->x);
  fc_free(p->y);
  fc_free(p->W);
  fc_free(p->panels);
}

static fc_err product_f32(void *arg) {
  product *p = arg;
  fc_k_linear_fwd(p->y, OUT, p->x, IN, p->W, IN, NULL, ROWS, IN, OUT, false);
  return FC_ERR_OK;
}

static fc_err product_bf16(void *arg) {
  product *p = arg;
  fc_k_linear_bf16(p->y, OUT, p->x, IN, p->panels, IN, ROWS, IN, OUT, NULL);
  return FC_ERR_OK;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static fc_err measure(fc_bench *b, const char *name, fc_trainer *t, product *p) {
  const fc_trainer_case *c = fc_trainer_get_case(t);
  fc_bench_rates rates[2];
  const double ratio_of_amounts = fc_trainer_flop(t) / fc_trainer_tokens(t);
  const fc_bench_work works[2] = {{fc_trainer_run, t, fc_trainer_tokens(t)},
                                  {c->bf16 ? product_bf16 : product_f32, p, 2.0 * ROWS * IN * OUT}};
  FC_TRY(fc_bench_measure(b, works, 2, rates));
  fc_bench_row(b, "%s, %d devices x %d x %d tokens, %s", name, c->devices, c->batch, c->length,
               c->bf16 ? "bf16" : "f32");
  fc_bench_figure(b, "rate", "token/s", fc_bench_rate(&rates[0]));
  fc_bench_figure(b, "work", "GFLOP/s",
                  fc_bench_scaled(fc_bench_rate(&rates[0]), ratio_of_amounts * 1e-9));
  fc_bench_figure(b, "of the product", "%",
                  fc_bench_scaled(fc_bench_ratio(&rates[0], &rates[1]), ratio_of_amounts * 100));
  for (int s = 0; s < c->steps; s++) {
    char figure[32];
    snprintf(figure, sizeof figure, "loss %d", s + 1);
    fc_bench_number(b, figure, "nat", fc_trainer_loss(t, s));
  }
  return FC_ERR_OK;
}

static fc_err run_case(fc_bench *b, const char *name, const fc_trainer_case *c, product *p) {
  fc_trainer *t = NULL;
  fc_err err = fc_trainer_create(c, &t);
  if (err == FC_ERR_OK) err = measure(b, name, t, p);
  fc_trainer_destroy(&t);
  return err;
}

/* Devices as many as make the products fast and fill two threads. */
static fc_err run_sizes(fc_bench *b, product *p) {
  static const struct {
    const char *name;
    int layers, width, heads, vocab, positions, devices;
  } sizes[] = {{"d64 L2", 2, 64, 4, 4096, 128, 64},
               {"d256 L4", 4, 256, 8, 4096, 128, 64},
               {"GPT-2 124M", 12, 768, 12, 50257, 1024, 16}};
  size_t n = fc_bench_quick(b) ? 1 : sizeof sizes / sizeof sizes[0];
  for (size_t i = 0; i < n; i++)
    for (int bf16 = 0; bf16 <= 1; bf16++) {
      const fc_trainer_case c = {.shape = {.arch = fc_arch_find("gpt2"),
                                           .layers = sizes[i].layers,
                                           .width = sizes[i].width,
                                           .heads = sizes[i].heads,
                                           .vocab = sizes[i].vocab,
                                           .positions = sizes[i].positions},
                                 .devices = fc_bench_quick(b) ? 2 : sizes[i].devices,
                                 .batch = 1,
                                 .length = 128,
                                 .steps = 1,
                                 .learning_rate = 1e-3F,
                                 .cohort = 8,
                                 .bf16 = bf16};
      FC_TRY(run_case(b, sizes[i].name, &c, p));
    }
  return FC_ERR_OK;
}

static fc_err run_file(fc_bench *b, const char *path, product *p) {
  fc_trainer *t = NULL;
  fc_err err = fc_trainer_open(path, &t);
  if (err == FC_ERR_OK) err = measure(b, path, t, p);
  fc_trainer_destroy(&t);
  return err;
}

fc_err fc_bench_train(fc_bench *b) {
  product p = {0};
  const char *path = fc_bench_case(b);
  fc_err err = product_create(&p);
  if (err == FC_ERR_OK) err = path ? run_file(b, path, &p) : run_sizes(b, &p);
  product_destroy(&p);
  return err;
}
