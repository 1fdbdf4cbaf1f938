/* generate.c - the loop of generation: prompts first, then one token of each sequence at a time.
 * Sequences that have ended leave the batch.
 *
 * A generator's sequences are dealt to lanes, each with its own workspace, keys and values. A small
 * model has a lane for every thread; one that does not fit the caches has a single lane, in whose
 * products the threads share the reading of the weights. Every slot of every lane begins with the
 * prefix' keys and values; a call starts behind them. */
#include "fedcell/fc_generate.h"
#include "fedcell/fc_machine.h"
#include "fedcell/fc_mem.h"
#include "internal.h"
#include "sample.h"
#include <math.h>
#include <omp.h>
#include <string.h>

/* Prompts are read so many rows at a time: products of more are hardly faster, and the activations
 * stay near. */
enum { READ_ROWS = 768 };

typedef struct {
  fc_cache cache;
  fc_work *work;
  float *logits;            /* (sequences, vocab) */
  fc_candidate *candidates; /* (vocab) */
  int64_t *start;           /* (sequences + 1) of the batch */
  int32_t *tokens;          /* (rows) */
  int32_t active;           /* sequences of the batch */
  fc_err_carry failure;
} lane;

struct fc_generator {
  const fc_model *model;
  int max_prompts, max_length;
  int prefix; /* tokens that every slot holds */
  int n_lanes;
  lane *lanes; /* the slab that all arrays lie in */
};

/* What a lane is asked for. */
typedef struct {
  const fc_generator *g;
  const float *theta;
  const fc_prompt *prompts;
  int first, n; /* of all prompts */
  const fc_generate_settings *settings;
  int32_t *out;
  int *length;
} share;

/* ---- batches --------------------------------------------------------------------------------- */

/* Reads as many prompts from the i-th on as the workspace has rows; their logits go where their
 * sequences are. Returns the next one in *i. */
static fc_err read_prompts(lane *l, const share *s, int *i) {
  int first = *i, rows = 0;
  for (; *i < s->n && rows + s->prompts[*i].n <= l->work->max_rows; (*i)++) {
    const fc_prompt *p = &s->prompts[*i];
    memcpy(l->tokens + rows, p->tokens, (size_t)p->n * sizeof *l->tokens);
    rows += p->n;
    l->cache.slot[*i - first] = *i;
    l->start[*i - first + 1] = rows;
  }
  fc_batch batch = {.sequences = *i - first, .start = l->start, .tokens = l->tokens};
  return fc_model_next_logits(l->work, s->theta, &batch,
                              l->logits + (int64_t)first * s->g->model->shape.vocab);
}

/* Takes a token for each sequence of the batch; the next batch is of those that go on. */
static fc_err take_tokens(lane *l, const share *s) {
  const fc_generate_settings *settings = s->settings;
  int V = s->g->model->shape.vocab;
  int32_t left = 0;
  for (int32_t i = 0; i < l->active; i++) {
    int32_t slot = l->cache.slot[i], position = l->cache.length[slot];
    const float *logits = l->logits + (int64_t)i * V;
    FC_CHECK(fc_k_first_not_finite(logits, V) == V, NUMERIC,
             "the logits of sequence %d after %d tokens are not finite", s->first + slot, position);
    int32_t token =
        fc_sample_token(settings, logits, V, position, s->prompts[slot].id, l->candidates);
    if (fc_sample_stops(settings, token)) continue;
    s->out[(int64_t)slot * settings->steps + s->length[slot]++] = token;
    if (s->length[slot] == settings->steps) continue;
    l->cache.slot[left] = slot;
    l->tokens[left] = token;
    l->start[left + 1] = left + 1;
    left++;
  }
  l->active = left;
  return FC_ERR_OK;
}

static fc_err run_lane(lane *l, const share *s) {
  for (int i = 0; i < s->n; i++) l->cache.length[i] = s->g->prefix;
  for (int i = 0; i < s->n;) FC_TRY(read_prompts(l, s, &i));
  for (int i = 0; i < s->n; i++) l->cache.slot[i] = i;
  l->active = s->n;
  FC_TRY(take_tokens(l, s));
  while (l->active > 0) {
    fc_batch batch = {.sequences = l->active, .start = l->start, .tokens = l->tokens};
    FC_TRY(fc_model_next_logits(l->work, s->theta, &batch, l->logits));
    FC_TRY(take_tokens(l, s));
  }
  return FC_ERR_OK;
}

/* Lane i's of n lanes. */
static share share_of(const share *all, int i, int n) {
  share s = *all;
  s.first = (int)((int64_t)all->n * i / n);
  s.n = (int)((int64_t)all->n * (i + 1) / n) - s.first;
  s.prompts += s.first;
  s.out += (int64_t)s.first * s.settings->steps;
  s.length += s.first;
  return s;
}

static fc_err run_lanes(fc_generator *g, const share *all) {
  int n = all->n < g->n_lanes ? all->n : g->n_lanes;
  if (n == 1) return run_lane(g->lanes, all);
#pragma omp parallel for num_threads(n) schedule(static, 1)
  for (int i = 0; i < n; i++) {
    share s = share_of(all, i, n);
    g->lanes[i].failure.err = FC_ERR_OK;
    fc_err_carry_put(&g->lanes[i].failure, run_lane(&g->lanes[i], &s));
  }
  for (int i = 0; i < n; i++) FC_TRY(fc_err_carry_raise(&g->lanes[i].failure));
  return FC_ERR_OK;
}

/* ---- what may come in ------------------------------------------------------------------------ */

static fc_err check_model(const fc_model *m) {
  const fc_arch *arch = m->shape.arch;
  FC_CHECK(arch->causal, USAGE, "generation needs a decoder; %s is an encoder", arch->name);
  return FC_ERR_OK;
}

static fc_err check_settings(const fc_generate_settings *s) {
  FC_CHECK(s->steps >= 1, USAGE, "generation of %d steps: allowed is 1 or more", s->steps);
  FC_CHECK(isfinite(s->temperature) && s->temperature >= 0.0, USAGE,
           "temperature is %g, allowed is 0 or more", s->temperature);
  FC_CHECK(s->top_p > 0.0 && s->top_p <= 1.0, USAGE, "top_p is %g, allowed is above 0 to 1",
           s->top_p);
  return FC_ERR_OK;
}

/* The first of n tokens that is none, or n. */
static int first_outside(const fc_model *m, const int32_t *tokens, int n) {
  int k = 0;
  while (k < n && tokens[k] >= 0 && tokens[k] < m->shape.vocab) k++;
  return k;
}

static int positions_of(const fc_model *m) {
  return m->shape.positions - m->shape.arch->position_offset;
}

/* *longest: positions that a prompt with its prefix and steps takes at most; the last token is not
 * read again. */
static fc_err check_prompts(const fc_model *m, int prefix, const fc_prompt *prompts, int n,
                            int steps, int *longest) {
  *longest = 0;
  for (int i = 0; i < n; i++) {
    const fc_prompt *p = &prompts[i];
    FC_CHECK(p->n >= 1, USAGE, "prompt %d is empty: it needs a token to begin with", i);
    int64_t length = (int64_t)prefix + p->n + steps - 1;
    FC_CHECK(length <= positions_of(m), SHAPE,
             "a prompt of %d tokens and %d steps: the model has %d positions", prefix + p->n, steps,
             positions_of(m));
    if (length > *longest) *longest = (int)length;
    int bad = first_outside(m, p->tokens, p->n);
    FC_CHECK(bad == p->n, DATA, "token %d at position %d of prompt %d, allowed is 0 to %d",
             p->tokens[bad], bad, i, m->shape.vocab - 1);
  }
  return FC_ERR_OK;
}

/* ---- setting up ------------------------------------------------------------------------------ */

/* Whether the weights stay in the caches from one token to the next. */
static bool fits_caches(const fc_model *m) {
  return m->weight_count * sizeof(float) <= fc_machine_cache_bytes() / 2;
}

static int count_lanes(const fc_model *m, int max_prompts) {
  int threads = omp_in_parallel() || !fits_caches(m) ? 1 : omp_get_max_threads();
  return threads < max_prompts ? threads : max_prompts;
}

/* Sequences of a lane, at most. */
static int lane_sequences(const fc_generator *g) {
  return (g->max_prompts + g->n_lanes - 1) / g->n_lanes;
}

/* Room for the longest text and for a token of each sequence. */
static int64_t lane_rows(const fc_generator *g) {
  int64_t all = (int64_t)lane_sequences(g) * g->max_length;
  int64_t rows = all < READ_ROWS ? all : READ_ROWS;
  if (rows < g->max_length) rows = g->max_length;
  return rows < lane_sequences(g) ? lane_sequences(g) : rows;
}

static void *take(char *base, size_t *used, size_t n, size_t size) {
  void *piece = base ? base + *used : NULL;
  *used += fc_slab_round(n * size);
  return piece;
}

/* All lanes behind each other from `base` on; NULL: counts only. Returns the bytes. */
static size_t layout(const fc_generator *g, char *base) {
  size_t used = 0, n = (size_t)lane_sequences(g), V = (size_t)g->model->shape.vocab;
  lane *lanes = take(base, &used, (size_t)g->n_lanes, sizeof *lanes);
  for (int i = 0; i < g->n_lanes; i++) {
    lane counted, *l = base ? &lanes[i] : &counted;
    *l = (lane){.cache = {.sequences = (int)n, .capacity = g->max_length}};
    size_t floats = fc_cache_floats(g->model, (int)n, g->max_length);
    l->cache.kv = take(base, &used, floats, sizeof *l->cache.kv);
    l->cache.length = take(base, &used, n, sizeof *l->cache.length);
    l->cache.slot = take(base, &used, n, sizeof *l->cache.slot);
    l->logits = take(base, &used, n * V, sizeof *l->logits);
    l->candidates = take(base, &used, V, sizeof *l->candidates);
    l->start = take(base, &used, n + 1, sizeof *l->start);
    l->tokens = take(base, &used, (size_t)lane_rows(g), sizeof *l->tokens);
  }
  return used;
}

static fc_generator limits_of(const fc_model *m, int max_prompts, int max_length) {
  return (fc_generator){.model = m,
                        .max_prompts = max_prompts,
                        .max_length = max_length,
                        .n_lanes = count_lanes(m, max_prompts)};
}

size_t fc_generator_bytes(const fc_model *m, const fc_trainable *t, int max_prompts,
                          int max_length) {
  fc_generator g = limits_of(m, max_prompts, max_length);
  return sizeof g + layout(&g, NULL) +
         (size_t)g.n_lanes *
             fc_work_bytes(m, t, lane_rows(&g), lane_sequences(&g), max_length, FC_WORK_FORWARD);
}

static fc_err create_lanes(fc_generator *g, const fc_trainable *t) {
  char *base = NULL;
  FC_TRY(fc_alloc(1, layout(g, NULL), &base));
  g->lanes = (lane *)base;
  layout(g, base);
  for (int i = 0; i < g->n_lanes; i++) {
    lane *l = &g->lanes[i];
    FC_TRY(fc_work_create(g->model, t, lane_rows(g), lane_sequences(g), g->max_length,
                          FC_WORK_FORWARD, &l->work));
    l->work->cache = &l->cache;
  }
  return FC_ERR_OK;
}

fc_err fc_generator_create(const fc_model *m, const fc_trainable *t, int max_prompts,
                           int max_length, fc_generator **out) {
  *out = NULL;
  FC_TRY(check_model(m));
  FC_CHECK(max_prompts >= 1, SHAPE, "a generator for %d prompts: allowed is 1 or more",
           max_prompts);
  FC_CHECK(max_length >= 1 && max_length <= positions_of(m), SHAPE,
           "a generator for texts of %d tokens: allowed is 1 to the model's %d positions",
           max_length, positions_of(m));
  FC_TRY(fc_alloc(1, sizeof **out, out));
  **out = limits_of(m, max_prompts, max_length);
  fc_err err = create_lanes(*out, t);
  if (err != FC_ERR_OK) fc_generator_destroy(out);
  return err;
}

void fc_generator_destroy(fc_generator **generator) {
  fc_generator *g = *generator;
  if (!g) return;
  for (int i = 0; g->lanes && i < g->n_lanes; i++) fc_work_destroy(&g->lanes[i].work);
  fc_free(g->lanes);
  fc_free(g);
  *generator = NULL;
}

/* ---- calls ----------------------------------------------------------------------------------- */

fc_err fc_generator_set_prefix(fc_generator *g, const float *theta, const int32_t *tokens, int n) {
  lane *l = &g->lanes[0];
  const int64_t start[2] = {0, n};
  const fc_batch batch = {.sequences = 1, .start = start, .tokens = tokens};
  g->prefix = 0;
  FC_CHECK(n >= 0 && n <= g->max_length, SHAPE,
           "a prefix of %d tokens: the generator's texts have at most %d", n, g->max_length);
  if (n == 0) return FC_ERR_OK;
  int bad = first_outside(g->model, tokens, n);
  FC_CHECK(bad == n, DATA, "token %d at position %d of the prefix, allowed is 0 to %d", tokens[bad],
           bad, g->model->shape.vocab - 1);
  l->cache.slot[0] = l->cache.length[0] = 0;
  FC_TRY(fc_model_next_logits(l->work, theta, &batch, l->logits));
  for (int i = 0; i < g->n_lanes; i++)
    for (int32_t slot = 0; slot < lane_sequences(g); slot++)
      fc_cache_copy(g->model, &g->lanes[i].cache, slot, &l->cache, 0, n);
  g->prefix = n;
  return FC_ERR_OK;
}

fc_err fc_generator_run(fc_generator *g, const float *theta, const fc_prompt *prompts, int n,
                        const fc_generate_settings *s, int32_t *out, int *length) {
  int longest = 0;
  for (int i = 0; i < n; i++) length[i] = 0;
  FC_TRY(check_settings(s));
  FC_CHECK(n <= g->max_prompts, SHAPE, "%d prompts: the generator takes at most %d", n,
           g->max_prompts);
  FC_TRY(check_prompts(g->model, g->prefix, prompts, n, s->steps, &longest));
  FC_CHECK(longest <= g->max_length, SHAPE,
           "a text of %d tokens with its new ones: the generator takes at most %d", longest,
           g->max_length);
  if (n == 0) return FC_ERR_OK;
  const share all = {.g = g,
                     .theta = theta,
                     .prompts = prompts,
                     .n = n,
                     .settings = s,
                     .out = out,
                     .length = length};
  return run_lanes(g, &all);
}

fc_err fc_model_generate(const fc_model *model, const fc_trainable *t, const float *theta,
                         const fc_prompt *prompts, int n, const fc_generate_settings *s,
                         int32_t *out, int *length) {
  int longest = 0;
  fc_generator *g = NULL;
  for (int i = 0; i < n; i++) length[i] = 0;
  FC_TRY(check_model(model));
  FC_TRY(check_settings(s));
  FC_TRY(check_prompts(model, 0, prompts, n, s->steps, &longest));
  if (n == 0) return FC_ERR_OK;
  FC_TRY(fc_generator_create(model, t, n, longest, &g));
  fc_err err = fc_generator_run(g, theta, prompts, n, s, out, length);
  fc_generator_destroy(&g);
  return err;
}
