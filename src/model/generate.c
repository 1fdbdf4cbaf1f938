/* generate.c - the loop of generation: prompts first, then one token of each sequence at a time.
 * Sequences that have ended leave the batch. Probabilities are computed in double. */
#include "fedcell/fc_generate.h"
#include "fedcell/fc_mem.h"
#include "internal.h"
#include <math.h>
#include <stdlib.h>

typedef struct {
  double probability;
  int32_t token;
} candidate;

typedef struct {
  const fc_model *model;
  const fc_prompt *prompts;
  const fc_generate_settings *settings;
  fc_cache *cache;
  fc_work *work;
  float *logits;         /* (n, vocab) */
  candidate *candidates; /* (vocab) */
  int64_t *start;        /* (n + 1) of the batch */
  int32_t *tokens;
  int32_t active; /* sequences of the batch */
  int32_t *out;
  int *length;
} generation;

/* ---- the next token -------------------------------------------------------------------------- */

static int32_t likeliest(const float *logits, int V) {
  int32_t best = 0;
  for (int32_t i = 1; i < V; i++)
    if (logits[i] > logits[best]) best = i;
  return best;
}

static int by_probability(const void *left, const void *right) {
  const candidate *a = left, *b = right;
  if (a->probability != b->probability) return a->probability < b->probability ? 1 : -1;
  return a->token < b->token ? -1 : a->token > b->token;
}

/* Softmax of logits / temperature into c (V), in the order of ids. */
static void probabilities(candidate *c, const float *logits, int V, double temperature) {
  double largest = (double)logits[likeliest(logits, V)], sum = 0.0;
  for (int i = 0; i < V; i++) {
    c[i] = (candidate){exp(((double)logits[i] - largest) / temperature), i};
    sum += c[i].probability;
  }
  for (int i = 0; i < V; i++) c[i].probability /= sum;
}

/* Leaves the likeliest tokens that reach top_p together; returns how many. One below
 * (1 - top_p)/(V - 1) is never among them: all V - 1 others of such a share would not reach
 * 1 - top_p, so it need not be sorted. */
static int nucleus(candidate *c, int V, double top_p) {
  double least = V > 1 ? (1.0 - top_p) / (V - 1) : 0.0, sum = 0.0;
  int n = 0, kept = 0;
  for (int i = 0; i < V; i++)
    if (c[i].probability >= least) c[n++] = c[i];
  qsort(c, (size_t)n, sizeof *c, by_probability);
  while (kept < n && sum < top_p) sum += c[kept++].probability;
  return kept;
}

static int32_t draw(const candidate *c, int n, fc_rng rng) {
  double sum = 0.0, at = 0.0;
  for (int i = 0; i < n; i++) sum += c[i].probability;
  double wanted = sum * fc_rng_uniform(&rng);
  for (int i = 0; i < n; i++) {
    at += c[i].probability;
    if (wanted < at) return c[i].token;
  }
  return c[n - 1].token; /* rounding */
}

static int32_t next_token(generation *g, const float *logits, int64_t position, uint64_t id) {
  const fc_generate_settings *s = g->settings;
  int V = g->model->shape.vocab, n = V;
  if (s->temperature == 0.0) return likeliest(logits, V);
  probabilities(g->candidates, logits, V, s->temperature);
  if (s->top_p < 1.0) n = nucleus(g->candidates, V, s->top_p);
  return draw(g->candidates, n, fc_rng_open(s->seed, FC_RNG_GENERATION, (uint64_t)position, id));
}

static bool stops(const fc_generate_settings *s, int32_t token) {
  for (int i = 0; i < FC_GENERATE_STOPS; i++)
    if (s->stop[i] == token) return true;
  return false;
}

/* ---- batches --------------------------------------------------------------------------------- */

static void load_prompts(generation *g) {
  for (int32_t i = 0; i < g->active; i++) {
    const fc_prompt *p = &g->prompts[i];
    g->cache->slot[i] = i;
    g->start[i + 1] = g->start[i] + p->n;
    for (int k = 0; k < p->n; k++) g->tokens[g->start[i] + k] = p->tokens[k];
  }
}

/* Takes a token for each sequence of the batch; the next batch is of those that go on. */
static fc_err take_tokens(generation *g) {
  const fc_generate_settings *s = g->settings;
  int64_t V = g->model->shape.vocab;
  int32_t left = 0;
  for (int32_t i = 0; i < g->active; i++) {
    int32_t slot = g->cache->slot[i], position = g->cache->length[slot];
    const float *logits = g->logits + i * V;
    FC_CHECK(fc_k_first_not_finite(logits, V) == V, NUMERIC,
             "the logits of sequence %d after %d tokens are not finite", slot, position);
    int32_t token = next_token(g, logits, position, g->prompts[slot].id);
    if (stops(s, token)) continue;
    g->out[(int64_t)slot * s->steps + g->length[slot]++] = token;
    if (g->length[slot] == s->steps) continue;
    g->cache->slot[left] = slot;
    g->tokens[left] = token;
    g->start[left + 1] = left + 1;
    left++;
  }
  g->active = left;
  return FC_ERR_OK;
}

static fc_err run(generation *g, const float *theta) {
  load_prompts(g);
  while (g->active > 0) {
    fc_batch batch = {.sequences = g->active, .start = g->start, .tokens = g->tokens};
    FC_TRY(fc_model_next_logits(g->work, theta, &batch, g->logits));
    FC_TRY(take_tokens(g));
  }
  return FC_ERR_OK;
}

/* ---- setting up ------------------------------------------------------------------------------ */

static fc_err check_settings(const fc_model *m, const fc_generate_settings *s) {
  const fc_arch *arch = m->shape.arch;
  FC_CHECK(arch->causal, USAGE, "generation needs a decoder; %s is an encoder", arch->name);
  FC_CHECK(s->steps >= 1, USAGE, "generation of %d steps: allowed is 1 or more", s->steps);
  FC_CHECK(isfinite(s->temperature) && s->temperature >= 0.0, USAGE,
           "temperature is %g, allowed is 0 or more", s->temperature);
  FC_CHECK(s->top_p > 0.0 && s->top_p <= 1.0, USAGE, "top_p is %g, allowed is above 0 to 1",
           s->top_p);
  return FC_ERR_OK;
}

/* Total and longest length of prompts with their steps: the last token is not read again. */
static fc_err measure(const fc_model *m, const fc_prompt *prompts, int n, int steps, int64_t *rows,
                      int *longest) {
  int positions = m->shape.positions - m->shape.arch->position_offset;
  *rows = *longest = 0;
  for (int i = 0; i < n; i++) {
    FC_CHECK(prompts[i].n >= 1, USAGE, "prompt %d is empty: it needs a token to begin with", i);
    int64_t length = (int64_t)prompts[i].n + steps - 1;
    FC_CHECK(length <= positions, SHAPE,
             "a prompt of %d tokens and %d steps: the model has %d positions", prompts[i].n, steps,
             positions);
    if (length > *longest) *longest = (int)length;
    *rows += prompts[i].n;
  }
  return FC_ERR_OK;
}

static fc_err create(generation *g, const fc_trainable *t, int n, int64_t rows, int longest) {
  size_t V = (size_t)g->model->shape.vocab;
  g->active = n;
  FC_TRY(fc_cache_create(g->model, n, longest, &g->cache));
  FC_TRY(fc_work_create(g->model, t, rows, n, longest, FC_WORK_FORWARD, &g->work));
  g->work->cache = g->cache;
  FC_TRY(fc_alloc((size_t)n * V, sizeof *g->logits, &g->logits));
  FC_TRY(fc_alloc(V, sizeof *g->candidates, &g->candidates));
  FC_TRY(fc_alloc((size_t)n + 1, sizeof *g->start, &g->start));
  return fc_alloc((size_t)rows, sizeof *g->tokens, &g->tokens);
}

static void destroy(generation *g) {
  fc_cache_destroy(&g->cache);
  fc_work_destroy(&g->work);
  fc_free(g->logits);
  fc_free(g->candidates);
  fc_free(g->start);
  fc_free(g->tokens);
}

fc_err fc_model_generate(const fc_model *model, const fc_trainable *t, const float *theta,
                         const fc_prompt *prompts, int n, const fc_generate_settings *s,
                         int32_t *out, int *length) {
  int64_t rows = 0;
  int longest = 0;
  for (int i = 0; i < n; i++) length[i] = 0;
  FC_TRY(check_settings(model, s));
  FC_TRY(measure(model, prompts, n, s->steps, &rows, &longest));
  if (n == 0) return FC_ERR_OK;
  generation g = {.model = model, .prompts = prompts, .settings = s, .out = out, .length = length};
  fc_err err = create(&g, t, n, rows, longest);
  if (err == FC_ERR_OK) err = run(&g, theta);
  destroy(&g);
  return err;
}
