/* bench_rollout.c - a policy's answers to many prompts with a shared prefix, drawn at random: new
 * tokens and prompts a second, beside the same with every prompt read whole.
 *
 * One run is what follows each update of a policy: the prefix' keys and values, then the answers.
 */
#include "bench.h"
#include "bench_case.h"
#include "fedcell/fc_generate.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_weights.h"
#include <stdio.h>

/* A small policy of LLaMA's architecture, prompts of one length. */
enum { PROMPTS = 32, LENGTH = 230, PREFIX = 90, STEPS = 16 };
static fc_model_shape policy_shape(bool quick) {
  return (fc_model_shape){.arch = fc_arch_find("llama"),
                          .layers = quick ? 2 : 6,
                          .width = 192,
                          .heads = 6,
                          .kv_heads = 2,
                          .ffn = 512,
                          .vocab = 1024,
                          .positions = 512};
}

typedef struct {
  fc_bench_model m;
  bool bf16;
  int n, length, prefix, steps;
  double temperature;
  int32_t *tokens;    /* (n, length) */
  fc_prompt *prompts; /* (n) */
  int *lengths;       /* (n) */
  int32_t *out;       /* (n, steps) */
  fc_generator *generator;
} rollout;

static fc_err answer(rollout *r, int prefix) {
  const fc_generate_settings s = {
      .steps = r->steps, .temperature = r->temperature, .top_p = 1, .seed = 1, .stop = {-1, -1}};
  for (int i = 0; i < r->n; i++)
    r->prompts[i] = (fc_prompt){.tokens = r->tokens + (size_t)i * (size_t)r->length + prefix,
                                .n = r->length - prefix,
                                .id = (uint64_t)i};
  FC_TRY(fc_generator_set_prefix(r->generator, NULL, r->tokens, prefix));
  return fc_generator_run(r->generator, NULL, r->prompts, r->n, &s, r->out, r->lengths);
}

static fc_err with_prefix(void *arg) {
  rollout *r = arg;
  return answer(r, r->prefix);
}

static fc_err whole(void *arg) {
  return answer(arg, 0);
}

/* r has its model, sizes and tokens. The last run leaves its answers in r->out. */
static fc_err measure(fc_bench *b, rollout *r, const char *name) {
  const size_t n = (size_t)r->n;
  FC_TRY(fc_alloc(n, sizeof *r->prompts, &r->prompts));
  FC_TRY(fc_alloc(n, sizeof *r->lengths, &r->lengths));
  FC_TRY(fc_alloc(n * (size_t)r->steps, sizeof *r->out, &r->out));
  FC_TRY(fc_generator_create(r->m.model, NULL, r->n, r->length + r->steps - 1, &r->generator));
  const double tokens = (double)r->n * r->steps;
  const fc_bench_work works[2] = {{with_prefix, r, tokens}, {whole, r, tokens}};
  fc_bench_rates rates[2];
  FC_TRY(fc_bench_measure(b, works, 2, rates));
  fc_bench_row(b, "%s, %s, %d prompts of %d + %d", name, r->bf16 ? "bf16" : "f32", r->n, r->prefix,
               r->length - r->prefix);
  fc_bench_figure(b, "rate", "tokens/s", fc_bench_rate(&rates[0]));
  fc_bench_figure(b, "answers", "/s", fc_bench_scaled(fc_bench_rate(&rates[0]), 1.0 / r->steps));
  fc_bench_figure(b, "to whole prompts", "times", fc_bench_ratio(&rates[0], &rates[1]));
  return FC_ERR_OK;
}

static void destroy(rollout *r) {
  fc_generator_destroy(&r->generator);
  fc_bench_model_destroy(&r->m);
  fc_free(r->tokens);
  fc_free(r->prompts);
  fc_free(r->lengths);
  fc_free(r->out);
}

/* ---- own size ---------------------------------------------------------------------------------
 */

static fc_err create(rollout *r, bool quick) {
  const size_t n = (size_t)r->n * (size_t)r->length;
  FC_TRY(fc_bench_model_create(policy_shape(quick), NULL, r->bf16, &r->m));
  FC_TRY(fc_alloc(n, sizeof *r->tokens, &r->tokens));
  for (size_t i = 0; i < n; i++) {
    const size_t row = i / (size_t)r->length, at = i % (size_t)r->length;
    r->tokens[i] = (int32_t)((at + (at < (size_t)r->prefix ? 0 : 37 * row)) % 1000);
  }
  return FC_ERR_OK;
}

static fc_err one_precision(fc_bench *b, bool bf16) {
  rollout r = {.bf16 = bf16,
               .n = fc_bench_quick(b) ? 4 : PROMPTS,
               .length = LENGTH,
               .prefix = PREFIX,
               .steps = STEPS,
               .temperature = 1};
  fc_err err = create(&r, fc_bench_quick(b));
  if (err == FC_ERR_OK) err = measure(b, &r, "policy");
  destroy(&r);
  return err;
}

/* ---- a case from a file ------------------------------------------------------------------------
 */

/* {"model": FOLDER, "precision": "f32", "steps": 16, "temperature": 1.0, "prefix": 2,
 *  "prompts": [[3, 17, 5], [3, 17, 8]]}: the first ones of all prompts are the same. */
static fc_err read_case(rollout *r, const char *path, json_t *o) {
  const char *folder = NULL, *precision = NULL;
  const json_t *prompts = NULL;
  json_error_t error;
  fc_model_shape shape;
  FC_CHECK(json_unpack_ex(o, &error, 0, "{s:s, s:s, s:i, s:F, s:i, s:o}", "model", &folder,
                          "precision", &precision, "steps", &r->steps, "temperature",
                          &r->temperature, "prefix", &r->prefix, "prompts", &prompts) == 0,
           DATA, "%s: %s", path, error.text);
  FC_CHECK(r->steps >= 1, DATA, "%s: steps is %d, must be at least 1", path, r->steps);
  FC_TRY(fc_bench_case_precision(path, precision, &r->bf16));
  FC_TRY(fc_bench_case_tokens(path, prompts, &r->n, &r->length, &r->tokens));
  FC_CHECK(r->prefix >= 0 && r->prefix < r->length, DATA,
           "%s: prefix is %d, must be less than the prompts' %d tokens", path, r->prefix,
           r->length);
  FC_TRY(fc_weights_read_shape(folder, 0, &shape));
  return fc_bench_model_create(shape, folder, r->bf16, &r->m);
}

static fc_err run_file(fc_bench *b, const char *path) {
  rollout r = {0};
  json_t *o = NULL;
  FC_TRY(fc_bench_case_load(path, &o));
  fc_err err = read_case(&r, path, o);
  if (err == FC_ERR_OK) err = measure(b, &r, path);
  if (err == FC_ERR_OK) err = fc_bench_tokens(b, r.out, (size_t)r.n * (size_t)r.steps);
  destroy(&r);
  json_decref(o);
  return err;
}

fc_err fc_bench_rollout(fc_bench *b) {
  if (fc_bench_case(b)) return run_file(b, fc_bench_case(b));
  for (int bf16 = 0; bf16 <= fc_k_bf16_is_fast(); bf16++) FC_TRY(one_precision(b, bf16));
  return FC_ERR_OK;
}
