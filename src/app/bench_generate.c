/* bench_generate.c - greedy generation of one sequence and of a batch: tokens a second, and the
 * bytes of weights and of kept keys and values that were read for them against reading memory. */
#include "bench.h"
#include "bench_case.h"
#include "fedcell/fc_generate.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_weights.h"

enum { PROMPT = 8, BATCH = 8, STEPS = 32 };

/* n prompts of one length are continued together. */
typedef struct {
  fc_bench_model m;
  bool bf16;
  int n, length, steps;
  int32_t *tokens;    /* (n, length) */
  fc_prompt *prompts; /* (n) */
  int32_t *out;       /* (n, steps) */
  double bytes;       /* read for one step */
} generation;

static fc_err generate(void *arg) {
  const generation *g = arg;
  const fc_generate_settings s = {.steps = g->steps, .top_p = 1, .stop = {-1, -1}};
  int32_t *length = NULL;
  FC_TRY(fc_alloc((size_t)g->n, sizeof *length, &length));
  fc_err err = fc_model_generate(g->m.model, NULL, NULL, g->prompts, g->n, &s, g->out, length);
  fc_free(length);
  return err;
}

/* Every weight of a product once, whatever the batch, and each sequence's keys and values: by the
 * FLOP that they cost, two each. */
static fc_err count_bytes(generation *g) {
  const double length = g->length + g->steps;
  fc_trainable *t = NULL;
  FC_TRY(fc_trainable_create(g->m.model, &(fc_trainable_spec){0}, &t));
  const double weights = 0.5 * fc_trainable_flop_per_token(t, 0, true).forward_flop;
  const double kept = 0.5 * fc_trainable_flop_per_token(t, length, true).forward_flop - weights;
  g->bytes = (g->bf16 ? 2.0 : 4.0) * weights + 4.0 * g->n * kept;
  fc_trainable_destroy(&t);
  return FC_ERR_OK;
}

/* g has its model, prompts' tokens and sizes. */
static fc_err measure(fc_bench *b, generation *g, const char *name) {
  FC_TRY(fc_alloc((size_t)g->n, sizeof *g->prompts, &g->prompts));
  FC_TRY(fc_alloc((size_t)g->n * (size_t)g->steps, sizeof *g->out, &g->out));
  FC_TRY(count_bytes(g));
  for (int i = 0; i < g->n; i++)
    g->prompts[i] = (fc_prompt){
        .tokens = g->tokens + (size_t)i * (size_t)g->length, .n = g->length, .id = (uint64_t)i};
  fc_bench_work works[2] = {{.run = generate, .arg = g, .amount = (double)g->n * g->steps}};
  fc_bench_rates rates[2];
  FC_TRY(fc_bench_peak(b, FC_BENCH_READ, &works[1]));
  FC_TRY(fc_bench_measure(b, works, 2, rates));
  fc_bench_row(b, "%s, %s, %d sequence%s", name, g->bf16 ? "bf16" : "f32", g->n,
               g->n == 1 ? "" : "s");
  fc_bench_figure(b, "rate", "tokens/s", fc_bench_rate(&rates[0]));
  fc_bench_figure(b, "of reading memory", "%",
                  fc_bench_scaled(fc_bench_ratio(&rates[0], &rates[1]), 100 * g->bytes / g->n));
  return FC_ERR_OK;
}

static void destroy(generation *g) {
  fc_bench_model_destroy(&g->m);
  fc_free(g->tokens);
  fc_free(g->prompts);
  fc_free(g->out);
}

/* ---- own sizes --------------------------------------------------------------------------------
 */

static fc_err create(generation *g, size_t model) {
  const size_t n = (size_t)g->n * (size_t)g->length;
  FC_TRY(fc_bench_model_create(fc_bench_model_shape(model), NULL, g->bf16, &g->m));
  FC_TRY(fc_alloc(n, sizeof *g->tokens, &g->tokens));
  for (size_t i = 0; i < n; i++) g->tokens[i] = 3 + (int32_t)(i % PROMPT);
  return FC_ERR_OK;
}

static fc_err one_size(fc_bench *b, size_t model, bool bf16, int n) {
  generation g = {.bf16 = bf16, .n = n, .length = PROMPT, .steps = fc_bench_quick(b) ? 4 : 64};
  fc_err err = create(&g, model);
  if (err == FC_ERR_OK) err = measure(b, &g, fc_bench_model_name(model));
  destroy(&g);
  return err;
}

/* ---- a case from a file ------------------------------------------------------------------------
 */

/* {"model": FOLDER, "precision": "f32", "steps": 64, "prompts": [[3, 17], [5, 8]]} */
static fc_err read_case(generation *g, const char *path, json_t *o) {
  const char *folder = NULL, *precision = NULL;
  const json_t *prompts = NULL;
  json_error_t error;
  fc_model_shape shape;
  FC_CHECK(json_unpack_ex(o, &error, 0, "{s:s, s:s, s:i, s:o}", "model", &folder, "precision",
                          &precision, "steps", &g->steps, "prompts", &prompts) == 0,
           DATA, "%s: %s", path, error.text);
  FC_CHECK(g->steps >= 1, DATA, "%s: steps is %d, must be at least 1", path, g->steps);
  FC_TRY(fc_bench_case_precision(path, precision, &g->bf16));
  FC_TRY(fc_bench_case_tokens(path, prompts, &g->n, &g->length, &g->tokens));
  FC_TRY(fc_weights_read_shape(folder, 0, &shape));
  return fc_bench_model_create(shape, folder, g->bf16, &g->m);
}

static fc_err run_file(fc_bench *b, const char *path) {
  generation g = {0};
  json_t *o = NULL;
  FC_TRY(fc_bench_case_load(path, &o));
  fc_err err = read_case(&g, path, o);
  if (err == FC_ERR_OK) err = measure(b, &g, path);
  if (err == FC_ERR_OK) err = fc_bench_tokens(b, g.out, (size_t)g.n * (size_t)g.steps);
  destroy(&g);
  json_decref(o);
  return err;
}

fc_err fc_bench_generate(fc_bench *b) {
  static const int batches[] = {1, BATCH};
  if (fc_bench_case(b)) return run_file(b, fc_bench_case(b));
  for (size_t model = 0; fc_bench_model_name(model); model++) {
    if (fc_bench_quick(b) && model > 0) break;
    for (int bf16 = 0; bf16 <= fc_k_bf16_is_fast(); bf16++)
      for (size_t i = 0; i < sizeof batches / sizeof *batches; i++)
        FC_TRY(one_size(b, model, bf16, batches[i]));
  }
  fc_bench_work read;
  fc_bench_rates rates;
  FC_TRY(fc_bench_peak(b, FC_BENCH_READ, &read));
  FC_TRY(fc_bench_measure(b, &read, 1, &rates));
  fc_bench_row(b, "reading memory");
  fc_bench_figure(b, "rate", "GB/s", fc_bench_scaled(fc_bench_rate(&rates), 1e-9));
  return FC_ERR_OK;
}
