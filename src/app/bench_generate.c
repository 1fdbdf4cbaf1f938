/* bench_generate.c - greedy generation of one sequence and of a batch: tokens a second, and the
 * bytes of weights and of kept keys and values that were read for them against reading memory. */
#include "bench.h"
#include "fedcell/fc_generate.h"
#include "fedcell/fc_mem.h"

enum { PROMPT = 8, BATCH = 8 };

typedef struct {
  fc_bench_model m;
  fc_prompt prompts[BATCH];
  int n, steps;
  int32_t tokens[PROMPT];
  int32_t *out; /* (n, steps) */
  double bytes; /* read for one step */
} generation;

static fc_err generate(void *arg) {
  const generation *g = arg;
  const fc_generate_settings s = {.steps = g->steps, .top_p = 1, .stop = {-1, -1}};
  int length[BATCH];
  return fc_model_generate(g->m.model, NULL, NULL, g->prompts, g->n, &s, g->out, length);
}

/* Every weight of a product once, whatever the batch, and each sequence's keys and values: by the
 * FLOP that they cost, two each. */
static fc_err count_bytes(generation *g, bool bf16) {
  const double length = PROMPT + g->steps;
  fc_trainable *t = NULL;
  FC_TRY(fc_trainable_create(g->m.model, &(fc_trainable_spec){0}, &t));
  const double weights = 0.5 * fc_trainable_flop_per_token(t, 0, true).forward_flop;
  const double kept = 0.5 * fc_trainable_flop_per_token(t, length, true).forward_flop - weights;
  g->bytes = (bf16 ? 2.0 : 4.0) * weights + 4.0 * g->n * kept;
  fc_trainable_destroy(&t);
  return FC_ERR_OK;
}

static fc_err create(generation *g, size_t model, bool bf16, int n, int steps) {
  *g = (generation){.n = n, .steps = steps};
  FC_TRY(fc_bench_model_create(model, bf16, &g->m));
  for (int k = 0; k < PROMPT; k++) g->tokens[k] = 3 + k;
  for (int i = 0; i < n; i++)
    g->prompts[i] = (fc_prompt){.tokens = g->tokens, .n = PROMPT, .id = (uint64_t)i};
  FC_TRY(fc_alloc((size_t)n * (size_t)steps, sizeof *g->out, &g->out));
  return count_bytes(g, bf16);
}

static void destroy(generation *g) {
  fc_bench_model_destroy(&g->m);
  fc_free(g->out);
}

static fc_err measure(fc_bench *b, generation *g, const char *name) {
  fc_bench_work works[2] = {{.run = generate, .arg = g, .amount = (double)g->n * g->steps}};
  fc_bench_rates rates[2];
  FC_TRY(fc_bench_peak(b, FC_BENCH_READ, &works[1]));
  FC_TRY(fc_bench_measure(b, works, 2, rates));
  fc_bench_row(b, "%s", name);
  fc_bench_figure(b, "rate", "tokens/s", fc_bench_rate(&rates[0]));
  fc_bench_figure(b, "of reading memory", "%",
                  fc_bench_scaled(fc_bench_ratio(&rates[0], &rates[1]), 100 * g->bytes / g->n));
  return FC_ERR_OK;
}

static fc_err one_case(fc_bench *b, size_t model, bool bf16, int n) {
  generation g;
  char name[96];
  snprintf(name, sizeof name, "%s, %s, %d sequence%s", fc_bench_model_name(model),
           bf16 ? "bf16" : "f32", n, n == 1 ? "" : "s");
  fc_err err = create(&g, model, bf16, n, fc_bench_quick(b) ? 4 : 64);
  if (err == FC_ERR_OK) err = measure(b, &g, name);
  destroy(&g);
  return err;
}

fc_err fc_bench_generate(fc_bench *b) {
  static const int batches[] = {1, BATCH};
  for (size_t model = 0; fc_bench_model_name(model); model++) {
    if (fc_bench_quick(b) && model > 0) break;
    for (int bf16 = 0; bf16 <= fc_k_bf16_is_fast(); bf16++)
      for (size_t i = 0; i < sizeof batches / sizeof *batches; i++)
        FC_TRY(one_case(b, model, bf16, batches[i]));
  }
  fc_bench_work read;
  fc_bench_rates rates;
  FC_TRY(fc_bench_peak(b, FC_BENCH_READ, &read));
  FC_TRY(fc_bench_measure(b, &read, 1, &rates));
  fc_bench_row(b, "reading memory");
  fc_bench_figure(b, "rate", "GB/s", fc_bench_scaled(fc_bench_rate(&rates), 1e-9));
  return FC_ERR_OK;
}
