/* trunk.c - embeddings, blocks and final norm, forward and backward.
 *
 * A block is two sublayers, attention and MLP, each a branch f with a residual sum:
 *   norm first: x + f(norm(x))        norm last: norm(x + f(x))
 * Backward, w->d holds the gradient on its way down and w->t is its second array. */
#include "internal.h"
#include <string.h>

static size_t bytes_of(const fc_work *w) {
  return (size_t)w->n_rows * (size_t)w->model->shape.width * sizeof(float);
}

/* Of a sequence: how many tokens precede it. */
static int64_t first_position(const fc_work *w, int32_t sequence) {
  const fc_batch *b = w->batch;
  return b->shares_first && sequence > 0 ? b->start[1] : fc_cache_past(w, sequence);
}

/* ---- branches: f and its gradient ------------------------------------------------------------ */

/* Attention of the members with the same heads. */
typedef struct {
  fc_span span;
  fc_attention_shape shape;
  int32_t first, sequences;    /* of the batch */
  const int64_t *start;        /* (sequences + 1) rows of the span */
  int64_t ld;                  /* of qkv */
  int64_t qkv, attention, lse; /* where its rows begin in the block's arrays */
} attention_span;

static bool next_attention(const fc_work *w, int layer, attention_span *a) {
  if (!fc_work_next_span(w, layer, FC_UNIT_HEADS, false, w->bounds, &a->span)) return false;
  const fc_attention_shape one = fc_model_attention_shape(w->model, 1);
  int64_t before = a->span.before;
  a->shape = fc_model_attention_shape(w->model, a->span.kept);
  a->shape.shares_first = w->batch->shares_first;
  a->first = w->first_sequence[a->span.j];
  a->sequences = w->first_sequence[a->span.next] - a->first;
  for (int32_t i = 0; i <= a->sequences; i++)
    w->span_start[i] = w->batch->start[a->first + i] - a->span.first;
  a->start = w->span_start;
  a->ld = (int64_t)(a->shape.heads + 2 * a->shape.kv_heads) * a->shape.head_width;
  a->qkv = before * (one.heads + 2) * one.head_width;
  a->attention = before * one.heads * one.head_width;
  a->lse = before * one.heads;
  return true;
}

typedef void rotation(float *x, int ld, const float *table, const int64_t *start, int sequences,
                      int heads, int width);

/* Queries and keys, which lie side by side, or their gradients. */
static void rotate(fc_work *w, rotation *turn, const attention_span *a, float *qkv) {
  int heads = a->shape.heads + a->shape.kv_heads, head_width = a->shape.head_width;
  if (!w->rope) return;
  for (int32_t i = 0; i < a->sequences; i++) {
    const int64_t own[2] = {0, a->start[i + 1] - a->start[i]};
    turn(qkv + a->start[i] * a->ld, (int)a->ld,
         w->rope + first_position(w, a->first + i) * head_width, own, 1, heads, head_width);
  }
}

/* While generating, nothing but each sequence's last row goes on from the last attention. */
static bool narrows(const fc_work *w, int layer) {
  return w->cache && layer == w->model->shape.layers - 1;
}

static void span_attention_fwd(fc_work *w, int layer, const attention_span *s) {
  const fc_block_work *b = &w->blocks[layer];
  rotate(w, fc_k_rope_fwd, s, b->qkv + s->qkv);
  if (w->cache) /* no cohort: a single span */
    fc_cache_attention(w, layer, b->attention, b->qkv, narrows(w, layer));
  else
    fc_k_attention_fwd(b->attention + s->attention, b->lse + s->lse, b->qkv + s->qkv, s->start,
                       s->sequences, s->shape, w->attention_scratch);
}

static void span_attention_bwd(fc_work *w, const fc_block_work *b, const attention_span *s) {
  fc_k_attention_bwd(w->dqkv + s->qkv, w->t + s->attention, b->qkv + s->qkv,
                     b->attention + s->attention, b->lse + s->lse, s->start, s->sequences, s->shape,
                     w->attention_scratch);
  rotate(w, fc_k_rope_bwd, s, w->dqkv + s->qkv);
}

static void keep_last_rows(fc_work *w, float *x) {
  const int64_t C = w->model->shape.width, n = w->batch->sequences;
  for (int64_t i = 0; i < n; i++)
    memmove(x + i * C, x + (w->batch->start[i + 1] - 1) * C, (size_t)C * sizeof *x);
  w->n_rows = w->bounds[1] = n;
}

/* sum += attention(in) */
static void attention_fwd(fc_work *w, int layer) {
  const fc_block *b = &w->model->blocks[layer];
  fc_block_work *a = &w->blocks[layer];
  fc_linear_fwd(w, &b->slot[FC_SLOT_QKV], a->qkv, a->sub[0].in, w->bounds, false);
  for (attention_span s = {0}; next_attention(w, layer, &s);) span_attention_fwd(w, layer, &s);
  if (narrows(w, layer)) keep_last_rows(w, a->sub[0].sum);
  fc_linear_fwd(w, &b->slot[FC_SLOT_ATTENTION_OUT], a->sub[0].sum, a->attention, w->bounds, true);
}

/* dx (+)= gradient of `in` from dy, the gradient of the sum. False if the gradient ends here. dx
 * may be dy when accumulating, or w->t. */
static bool attention_bwd(fc_work *w, int layer, float *dx, const float *dy, bool accumulate) {
  const fc_linear *slot = w->model->blocks[layer].slot;
  fc_block_work *a = &w->blocks[layer];
  bool goes_on = fc_work_goes_below(w, slot[FC_SLOT_ATTENTION_OUT].stage);
  fc_linear_bwd(w, &slot[FC_SLOT_ATTENTION_OUT], goes_on ? w->t : NULL, dy, a->attention, w->bounds,
                false);
  if (!goes_on) return false;
  fc_importance_add(w, layer, FC_UNIT_HEADS, w->t, a->attention);
  for (attention_span s = {0}; next_attention(w, layer, &s);) span_attention_bwd(w, a, &s);
  goes_on = fc_work_goes_below(w, slot[FC_SLOT_QKV].stage);
  fc_linear_bwd(w, &slot[FC_SLOT_QKV], goes_on ? dx : NULL, w->dqkv, a->sub[0].in, w->bounds,
                accumulate);
  return goes_on;
}

/* act from up where they are gated: the two halves of a row lie as far apart as the span has
 * neurons. */
static void gate_fwd(const fc_work *w, int layer) {
  const fc_block_work *a = &w->blocks[layer];
  for (fc_span s = {0}; fc_work_next_span(w, layer, FC_UNIT_NEURONS, false, w->bounds, &s);)
    fc_k_swiglu_fwd(a->act + s.before, a->up + 2 * s.before, s.N, s.kept);
}

/* dup from dact */
static void activate_bwd(const fc_work *w, int layer) {
  const fc_arch *arch = w->model->shape.arch;
  const float *up = w->blocks[layer].up;
  for (fc_span s = {0}; fc_work_next_span(w, layer, FC_UNIT_NEURONS, false, w->bounds, &s);) {
    int64_t at = s.before;
    if (arch->gated)
      fc_k_swiglu_bwd(w->dup + 2 * at, w->dact + at, up + 2 * at, s.N, s.kept);
    else
      fc_k_act_bwd(w->dup + at, w->dact + at, up + at, arch->activation, s.N * s.kept);
  }
}

/* sum += mlp(in) */
static void mlp_fwd(fc_work *w, int layer) {
  const fc_block *b = &w->model->blocks[layer];
  fc_block_work *a = &w->blocks[layer];
  const fc_arch *arch = w->model->shape.arch;
  if (arch->gated) {
    fc_linear_fwd(w, &b->slot[FC_SLOT_UP], a->up, a->sub[1].in, w->bounds, false);
    gate_fwd(w, layer);
  } else {
    fc_linear_act_fwd(w, &b->slot[FC_SLOT_UP], a->up, a->act, arch->activation, a->sub[1].in,
                      w->bounds);
  }
  fc_linear_fwd(w, &b->slot[FC_SLOT_DOWN], a->sub[1].sum, a->act, w->bounds, true);
}

static bool mlp_bwd(fc_work *w, int layer, float *dx, const float *dy, bool accumulate) {
  const fc_linear *slot = w->model->blocks[layer].slot;
  fc_block_work *a = &w->blocks[layer];
  bool goes_on = fc_work_goes_below(w, slot[FC_SLOT_DOWN].stage);
  fc_linear_bwd(w, &slot[FC_SLOT_DOWN], goes_on ? w->dact : NULL, dy, a->act, w->bounds, false);
  if (!goes_on) return false;
  fc_importance_add(w, layer, FC_UNIT_NEURONS, w->dact, a->act);
  activate_bwd(w, layer);
  goes_on = fc_work_goes_below(w, slot[FC_SLOT_UP].stage);
  fc_linear_bwd(w, &slot[FC_SLOT_UP], goes_on ? dx : NULL, w->dup, a->sub[1].in, w->bounds,
                accumulate);
  return goes_on;
}

/* ---- sublayers ------------------------------------------------------------------------------- */

typedef struct {
  void (*fwd)(fc_work *w, int layer);
  bool (*bwd)(fc_work *w, int layer, float *dx, const float *dy, bool accumulate);
} branch;
static const branch branches[2] = {{attention_fwd, attention_bwd}, {mlp_fwd, mlp_bwd}};

static void sublayer_fwd(fc_work *w, int layer, int s) {
  fc_sublayer_work *a = &w->blocks[layer].sub[s];
  const fc_norm *norm = &w->model->blocks[layer].norm[s];
  bool pre_norm = w->model->shape.arch->pre_norm;
  if (pre_norm) fc_norm_fwd(w, norm, a->in, a->mean, a->rstd, a->x, w->bounds);
  if (a->sum != a->x) memcpy(a->sum, a->x, bytes_of(w));
  branches[s].fwd(w, layer);
  if (!pre_norm) fc_norm_fwd(w, norm, a->out, a->mean, a->rstd, a->sum, w->bounds);
}

/* w->d: gradient of the sublayer's output, then of its input. False if the gradient ends here. */
static bool sublayer_bwd(fc_work *w, int layer, int s) {
  fc_sublayer_work *a = &w->blocks[layer].sub[s];
  const fc_norm *norm = &w->model->blocks[layer].norm[s];
  if (w->model->shape.arch->pre_norm) {
    if (!branches[s].bwd(w, layer, w->t, w->d, false)) return false;
    fc_norm_bwd(w, norm, w->d, w->t, a->x, a->mean, a->rstd, w->bounds);
    return fc_work_goes_below(w, norm->stage);
  }
  memset(w->t, 0, bytes_of(w));
  fc_norm_bwd(w, norm, w->t, w->d, a->sum, a->mean, a->rstd, w->bounds);
  fc_work_swap_gradients(w);
  if (!fc_work_goes_below(w, norm->stage)) return false;
  return branches[s].bwd(w, layer, w->d, w->d, true);
}

/* ---- embeddings ------------------------------------------------------------------------------ */

static void embed_sequence(fc_work *w, const fc_work_member *member, int32_t i) {
  const fc_model *m = w->model;
  const fc_batch *b = w->batch;
  const int64_t first = b->start[i], own[2] = {0, b->start[i + 1] - first};
  int offset = m->shape.arch->position_offset + (int)first_position(w, i), C = m->shape.width;
  const float *token = b->inputs ? b->inputs + first * C : fc_work_tensor(w, member, m->token);
  fc_k_embed_fwd(w->embedded + first * C, b->inputs ? NULL : b->tokens + first,
                 b->types ? b->types + first : NULL, own, 1, token,
                 fc_work_tensor(w, member, m->position), fc_work_tensor(w, member, m->type), offset,
                 C);
}

static void embed_fwd(fc_work *w) {
  const fc_model *m = w->model;
  for (int j = 0; j < w->n_members; j++)
    for (int32_t i = w->first_sequence[j]; i < w->first_sequence[j + 1]; i++)
      embed_sequence(w, &w->members[j], i);
  if (m->embed_norm.weight == FC_TENSOR_NONE) return;
  fc_norm_fwd(w, &m->embed_norm, w->x, w->embed_mean, w->embed_rstd, w->embedded, w->bounds);
}

static void embed_bwd(fc_work *w) {
  const fc_model *m = w->model;
  const fc_batch *b = w->batch;
  if (m->embed_norm.weight != FC_TENSOR_NONE) {
    memset(w->t, 0, bytes_of(w));
    fc_norm_bwd(w, &m->embed_norm, w->t, w->d, w->embedded, w->embed_mean, w->embed_rstd,
                w->bounds);
    fc_work_swap_gradients(w);
    if (!fc_work_goes_below(w, m->embed_norm.stage)) return;
  }
  if (w->dinputs) memcpy(w->dinputs, w->d, bytes_of(w));
  for (int j = 0; j < w->n_members; j++) {
    const fc_work_member *member = &w->members[j];
    float *dtoken = b->inputs ? NULL : fc_work_gradient(member, m->token);
    /* the kernel's rows are those of `start`, so that the whole arrays go with a later start */
    for (int32_t i = w->first_sequence[j]; i < w->first_sequence[j + 1]; i++)
      fc_k_embed_bwd(dtoken, fc_work_gradient(member, m->position),
                     fc_work_gradient(member, m->type), w->d, b->tokens, b->types, b->start + i, 1,
                     m->shape.arch->position_offset + (int)first_position(w, i), m->shape.width);
  }
}

/* ---- the trunk, whole or to and from a block's input ----------------------------------------- */

static void block_fwd(fc_work *w, int layer) {
  for (int s = 0; s < 2; s++) sublayer_fwd(w, layer, s);
}

static void blocks_fwd(fc_work *w, int from, int to) {
  for (int layer = from; layer < to; layer++) {
    block_fwd(w, layer);
    fc_work_watch(w, "the output of block", layer, w->blocks[layer].sub[1].out,
                  w->n_rows * w->model->shape.width);
  }
}

/* w->d: gradient of the input of block `from`, then of that of `to`. False if it ends before. */
static bool blocks_bwd(fc_work *w, int from, int to) {
  for (int layer = from - 1; layer >= to; layer--) {
    /* the last one's activations are still there */
    if (w->recomputes && layer < w->model->shape.layers - 1) block_fwd(w, layer);
    for (int s = 1; s >= 0; s--) {
      if (!sublayer_bwd(w, layer, s)) return false;
    }
  }
  return true;
}

void fc_trunk_fwd_to(fc_work *w, int to) {
  embed_fwd(w);
  fc_work_watch(w, "the embeddings", -1, w->x, w->n_rows * w->model->shape.width);
  blocks_fwd(w, 0, to);
}

const float *fc_trunk_at(const fc_work *w, int layer) {
  return layer < w->model->shape.layers ? w->blocks[layer].sub[0].x : w->trunk_out;
}

void fc_trunk_fwd_from(fc_work *w, int from) {
  const fc_model *m = w->model;
  blocks_fwd(w, from, m->shape.layers);
  if (m->final_norm.weight == FC_TENSOR_NONE) return;
  fc_norm_fwd(w, &m->final_norm, w->hidden, w->final_mean, w->final_rstd, w->trunk_out, w->bounds);
  fc_work_watch(w, "the final norm", -1, w->hidden, w->n_rows * m->shape.width);
}

void fc_trunk_fwd(fc_work *w) {
  fc_trunk_fwd_to(w, 0);
  fc_trunk_fwd_from(w, 0);
}

bool fc_trunk_bwd_to(fc_work *w, int to) {
  const fc_model *m = w->model;
  if (m->final_norm.weight != FC_TENSOR_NONE) {
    memset(w->t, 0, bytes_of(w));
    fc_norm_bwd(w, &m->final_norm, w->t, w->d, w->trunk_out, w->final_mean, w->final_rstd,
                w->bounds);
    fc_work_swap_gradients(w);
    if (!fc_work_goes_below(w, m->final_norm.stage)) return false;
  }
  return blocks_bwd(w, m->shape.layers, to);
}

void fc_trunk_bwd_from(fc_work *w, int from) {
  if (blocks_bwd(w, from, 0)) embed_bwd(w);
}

void fc_trunk_bwd(fc_work *w) {
  if (fc_trunk_bwd_to(w, 0)) fc_trunk_bwd_from(w, 0);
}
