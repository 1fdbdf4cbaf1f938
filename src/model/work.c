/* work.c - the workspace: every activation, gradient and scratch array of one thread in one block
 * of memory. The layout runs twice, first only to count, so that fc_work_bytes tells exactly what
 * fc_work_create takes.
 *
 * Kept for the backward pass are the activations of the blocks it reaches; the blocks below, and
 * all blocks of a forward-only workspace, share one set of arrays. Inputs of linear layers are kept
 * only where the layer is trained. A workspace that recomputes keeps the blocks' inputs alone; its
 * blocks share one set of arrays in which a whole block fits. */
#include "fedcell/fc_mem.h"
#include "internal.h"
#include <limits.h>
#include <stdio.h>

typedef struct {
  char *base; /* NULL: count only */
  size_t used;
} cursor;

static void *take(cursor *c, int64_t rows, int64_t cols, size_t size) {
  void *piece = c->base ? c->base + c->used : NULL;
  c->used += fc_slab_round((size_t)rows * (size_t)cols * size);
  return piece;
}

static float *floats(cursor *c, int64_t rows, int64_t cols) {
  return take(c, rows, cols, sizeof(float));
}

/* An array that several blocks use in turn: taken when the first one asks. */
typedef struct {
  float *data;
  bool is_taken;
} shared_array;

static float *shared(cursor *c, shared_array *a, int64_t rows, int64_t cols) {
  if (!a->is_taken) *a = (shared_array){floats(c, rows, cols), true};
  return a->data;
}

typedef struct {
  shared_array in[2], sum[2], mean[2], rstd[2]; /* of the two sublayers, or one for both */
  shared_array middle;                          /* out of the first */
  shared_array qkv, lse, attention, up, act;
} shared_arrays;

/* What becomes of a block's activations when the next block is computed. */
typedef enum { OVERWRITTEN, KEPT, RECOMPUTED } fate;

static float *own_or_shared(cursor *c, bool own, shared_array *a, int64_t rows, int64_t cols) {
  return own ? floats(c, rows, cols) : shared(c, a, rows, cols);
}

/* Returns the sublayer's output. Where nothing is kept, x is overwritten by the output; a block
 * that is recomputed keeps the output of its second sublayer, the next block's input. */
static float *layout_sublayer(const fc_work *w, cursor *c, shared_arrays *a, fate f, int s,
                              const fc_linear *first, float *x, fc_sublayer_work *sub) {
  int64_t N = w->max_rows, C = w->model->shape.width;
  bool keep = f == KEPT, pre_norm = w->model->shape.arch->pre_norm;
  int set = f == RECOMPUTED ? s : 0;
  sub->x = x;
  sub->out = f == OVERWRITTEN            ? x
             : f == RECOMPUTED && s == 0 ? shared(c, &a->middle, N, C)
                                         : floats(c, N, C);
  if (pre_norm) {
    bool keep_in = keep && fc_trainable_has_linear(w->trainable, first);
    sub->in = own_or_shared(c, keep_in, &a->in[set], N, C);
    sub->sum = sub->out;
  } else {
    sub->in = x;
    sub->sum = own_or_shared(c, keep, &a->sum[set], N, C);
  }
  sub->mean = own_or_shared(c, keep, &a->mean[set], N, 1);
  sub->rstd = own_or_shared(c, keep, &a->rstd[set], N, 1);
  return sub->out;
}

static fate fate_of(const fc_work *w, int layer) {
  if (layer < w->first_kept) return OVERWRITTEN;
  return w->recomputes ? RECOMPUTED : KEPT;
}

static float *layout_block(const fc_work *w, cursor *c, shared_arrays *a, int layer, float *x,
                           fc_block_work *b) {
  const fc_linear *slot = w->model->blocks[layer].slot;
  int64_t N = w->max_rows;
  fate f = fate_of(w, layer);
  bool keep = f == KEPT;
  x = layout_sublayer(w, c, a, f, 0, &slot[FC_SLOT_QKV], x, &b->sub[0]);
  x = layout_sublayer(w, c, a, f, 1, &slot[FC_SLOT_UP], x, &b->sub[1]);
  b->qkv = own_or_shared(c, keep, &a->qkv, N, slot[FC_SLOT_QKV].out);
  b->lse = own_or_shared(c, keep, &a->lse, N, w->model->shape.heads);
  b->attention = own_or_shared(c, keep, &a->attention, N, slot[FC_SLOT_ATTENTION_OUT].in);
  b->up = own_or_shared(c, keep, &a->up, N, slot[FC_SLOT_UP].out);
  bool keep_act = keep && fc_trainable_has_linear(w->trainable, &slot[FC_SLOT_DOWN]);
  bool in_place = f == OVERWRITTEN && slot[FC_SLOT_UP].out == slot[FC_SLOT_DOWN].in;
  b->act = in_place ? b->up : own_or_shared(c, keep_act, &a->act, N, slot[FC_SLOT_DOWN].in);
  return x;
}

static void layout_trunk(fc_work *w, cursor *c) {
  const fc_model *m = w->model;
  int64_t N = w->max_rows, C = m->shape.width;
  int lowest = w->lowest_stage;
  w->x = floats(c, N, C);
  w->embedded = w->x;
  if (m->embed_norm.weight != FC_TENSOR_NONE) {
    if (lowest <= m->embed_norm.stage) w->embedded = floats(c, N, C);
    w->embed_mean = floats(c, N, 1);
    w->embed_rstd = floats(c, N, 1);
  }
  w->blocks = take(c, m->shape.layers, 1, sizeof *w->blocks);
  shared_arrays arrays = {0};
  float *x = w->x;
  for (int layer = 0; layer < m->shape.layers; layer++) {
    fc_block_work counted;
    x = layout_block(w, c, &arrays, layer, x, c->base ? &w->blocks[layer] : &counted);
  }
  w->trunk_out = w->hidden = x;
  if (m->final_norm.weight != FC_TENSOR_NONE) {
    if (lowest <= m->final_norm.stage) w->hidden = floats(c, N, C);
    w->final_mean = floats(c, N, 1);
    w->final_rstd = floats(c, N, 1);
  }
  if (m->shape.rope_theta > 0.0F)
    w->rope = floats(c, w->max_length, m->shape.width / m->shape.heads);
  w->attention_scratch = floats(c,
                                (int64_t)fc_k_attention_scratch(
                                    fc_model_attention_shape(m, m->shape.kv_heads), w->max_length),
                                1);
}

static bool has_lm(const fc_model *m) {
  return m->lm_head.out.n_pieces > 0;
}

static void layout_head(fc_work *w, cursor *c) {
  const fc_model *m = w->model;
  int64_t C = m->shape.width;
  int64_t sequences = w->max_sequences < w->max_rows ? w->max_sequences : w->max_rows;
  int64_t M = has_lm(m) ? w->max_rows : sequences;
  bool has_dense = m->class_head.dense.n_pieces > 0 || m->lm_head.dense.n_pieces > 0;
  w->pooled = floats(c, M, C);
  if (has_dense) {
    w->dense = floats(c, M, C);
    w->dense_act = w->training ? floats(c, M, C) : w->dense;
  }
  if (m->lm_head.norm.weight != FC_TENSOR_NONE) {
    w->normed = w->training ? floats(c, M, C) : w->dense_act;
    w->head_mean = floats(c, M, 1);
    w->head_rstd = floats(c, M, 1);
  }
  w->logits = floats(c, sequences, m->shape.labels);
  if (has_lm(m)) {
    size_t scratch = fc_k_lm_head_scratch(w->max_rows, m->shape.width, m->shape.vocab);
    size_t distill = w->training ? fc_k_lm_distill_scratch(w->max_rows, m->shape.vocab) : 0;
    w->lm_scratch = floats(c, (int64_t)(scratch > distill ? scratch : distill), 1);
    w->log_prob = take(c, M, 1, sizeof *w->log_prob);
    w->entropy = take(c, M, 1, sizeof *w->entropy);
  }
  w->scale = floats(c, M, 1);
  w->loss = floats(c, M, 1);
  w->best = take(c, M, 1, sizeof *w->best);
  w->targets = take(c, M, 1, sizeof *w->targets);
  w->rows = take(c, M, 1, sizeof *w->rows);
}

static int64_t widest_adapted_input(const fc_trainable *t) {
  int64_t widest = 0;
  for (int i = 0; i < t->n_adapters; i++) {
    int64_t cols = t->parts[t->lora_a[i]].cols;
    if (cols > widest) widest = cols;
  }
  return widest;
}

static void layout_adapters(fc_work *w, cursor *c) {
  const fc_trainable *t = w->trainable;
  if (!t || t->n_adapters == 0) return;
  int64_t N = w->max_rows;
  w->h = take(c, t->n_adapters, 1, sizeof *w->h);
  for (int i = 0; i < t->n_adapters; i++) {
    bool is_own = w->training || i < FC_ARCH_MAX_PIECES; /* those of one product are apart */
    float *h = is_own ? floats(c, N, t->lora_rank) : NULL;
    if (c->base) w->h[i] = is_own ? h : w->h[i - FC_ARCH_MAX_PIECES];
  }
  w->terms = take(c, w->max_sequences, FC_ARCH_MAX_PIECES * sizeof *w->terms, 1);
  if (!w->training) return;
  w->dh = take(c, FC_ARCH_MAX_PIECES, 1, sizeof *w->dh);
  for (int i = 0; i < FC_ARCH_MAX_PIECES; i++) {
    float *dh = floats(c, N, t->lora_rank);
    if (c->base) w->dh[i] = dh;
  }
  if (t->dropout > 0.0F) {
    w->dropped = floats(c, N, widest_adapted_input(t));
    w->ddropped = floats(c, N, widest_adapted_input(t));
  }
}

static void layout_backward(fc_work *w, cursor *c, fc_work_kind kind) {
  if (!w->training) return;
  const fc_model_shape *s = &w->model->shape;
  if (kind == FC_WORK_IMPORTANCE)
    w->mask_gradient = take(c, s->ffn > s->kv_heads ? s->ffn : s->kv_heads, 1, sizeof(double));
  w->d = floats(c, w->max_rows, s->width);
  w->t = floats(c, w->max_rows, s->width);
  w->gap = floats(c, w->max_rows, s->width);
  if (w->first_kept >= s->layers) return;
  w->dqkv = floats(c, w->max_rows, w->model->blocks[0].slot[FC_SLOT_QKV].out);
  const fc_linear *slot = w->model->blocks[0].slot;
  w->dup = w->dact = floats(c, w->max_rows, slot[FC_SLOT_UP].out);
  if (s->arch->gated) w->dact = floats(c, w->max_rows, slot[FC_SLOT_DOWN].in);
}

static void layout_members(fc_work *w, cursor *c) {
  w->members = take(c, w->max_sequences, 1, sizeof *w->members);
  w->first_sequence = take(c, w->max_sequences + 1, 1, sizeof *w->first_sequence);
  w->bounds = take(c, w->max_sequences + 1, 1, sizeof *w->bounds);
  w->head_bounds = take(c, w->max_sequences + 1, 1, sizeof *w->head_bounds);
  w->span_start = take(c, w->max_sequences + 1, 1, sizeof *w->span_start);
}

/* Lays out `w`, which has its model and limits, behind the struct itself. */
static void layout(fc_work *w, cursor *c, fc_work_kind kind) {
  take(c, 1, 1, sizeof *w);
  layout_members(w, c);
  layout_trunk(w, c);
  layout_adapters(w, c);
  layout_head(w, c);
  layout_backward(w, c, kind);
}

/* INT_MAX: nothing is trained. Importance needs the gradient of what the first block's attention
 * puts out. */
static int lowest_stage_of(const fc_model *m, const fc_trainable *t, fc_work_kind kind) {
  if (kind == FC_WORK_FORWARD) return INT_MAX;
  if (kind == FC_WORK_IMPORTANCE) return m->blocks[0].slot[FC_SLOT_QKV].stage;
  return fc_trainable_lowest_stage(t, NULL);
}

static fc_work limits_of(const fc_model *m, const fc_trainable *t, int64_t max_rows,
                         int max_sequences, int max_length, fc_work_kind kind) {
  int lowest = lowest_stage_of(m, t, kind), first = fc_model_block_of_stage(lowest);
  return (fc_work){.model = m,
                   .trainable = t,
                   .training = kind != FC_WORK_FORWARD,
                   .recomputes = kind == FC_WORK_RECOMPUTE || kind == FC_WORK_IMPORTANCE,
                   .max_rows = max_rows,
                   .max_sequences = max_sequences,
                   .max_length = max_length,
                   .lowest_stage = lowest,
                   .first_kept = first < m->shape.layers ? first : m->shape.layers};
}

size_t fc_work_bytes(const fc_model *model, const fc_trainable *t, int64_t max_rows,
                     int max_sequences, int max_length, fc_work_kind kind) {
  fc_work w = limits_of(model, t, max_rows, max_sequences, max_length, kind);
  cursor c = {NULL, 0};
  layout(&w, &c, kind);
  return c.used;
}

fc_err fc_work_create(const fc_model *model, const fc_trainable *t, int64_t max_rows,
                      int max_sequences, int max_length, fc_work_kind kind, fc_work **out) {
  *out = NULL;
  FC_CHECK(max_rows >= 1 && max_rows <= INT32_MAX, SHAPE,
           "a workspace for %lld rows: allowed is 1 to %d", (long long)max_rows, INT32_MAX);
  FC_CHECK(max_sequences >= 1, SHAPE, "a workspace for %d sequences: allowed is 1 or more",
           max_sequences);
  FC_CHECK(max_length >= 1, SHAPE, "a workspace for sequences of %d tokens: allowed is 1 or more",
           max_length);
  size_t bytes = fc_work_bytes(model, t, max_rows, max_sequences, max_length, kind);
  cursor c = {NULL, 0};
  FC_TRY(fc_alloc(1, bytes, &c.base));
  fc_work *w = (fc_work *)c.base;
  *w = limits_of(model, t, max_rows, max_sequences, max_length, kind);
  layout(w, &c, kind);
  if (w->rope) fc_model_rope_table(&model->shape, max_length, w->rope);
  *out = w;
  return FC_ERR_OK;
}

void fc_work_destroy(fc_work **work) {
  fc_free(*work);
  *work = NULL;
}

/* ---- access ---------------------------------------------------------------------------------- */

const float *fc_work_tensor(const fc_work *w, const fc_work_member *m, int tensor) {
  if (tensor == FC_TENSOR_NONE) return NULL;
  int part = fc_trainable_whole(m->trainable, tensor);
  if (part >= 0) return m->theta + m->trainable->parts[part].offset;
  return w->model->weights + w->model->tensors[tensor].offset;
}

float *fc_work_gradient(const fc_work_member *m, int tensor) {
  int part = fc_trainable_whole(m->trainable, tensor);
  if (part < 0 || !m->dtheta || !fc_scope_trains(&m->scope, m->trainable->model, tensor))
    return NULL;
  return m->dtheta + m->trainable->parts[part].offset;
}

bool fc_work_goes_below(const fc_work *w, int stage) {
  return w->backward && w->goal < stage;
}

void fc_work_swap_gradients(fc_work *w) {
  float *t = w->t;
  w->t = w->d;
  w->d = t;
}

void fc_work_watch(fc_work *w, const char *what, int layer, const float *x, int64_t n) {
  if (!w->watching || w->found[0] || fc_k_first_not_finite(x, n) == n) return;
  if (layer >= 0)
    snprintf(w->found, sizeof w->found, "%s %d", what, layer);
  else
    snprintf(w->found, sizeof w->found, "%s", what);
}
