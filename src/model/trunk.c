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

/* ---- branches: f and its gradient ------------------------------------------------------------ */

typedef void rotation(float *x, int ld, const float *table, const int64_t *start, int sequences,
                      int heads, int width);

/* Queries and keys, which lie side by side, or their gradients. */
static void rotate(fc_work *w, rotation *turn, float *qkv) {
  const fc_model_shape *s = &w->model->shape;
  const int64_t *start = w->batch->start;
  int head_width = s->width / s->heads, ld = fc_arch_dim(s, FC_DIM_QKV);
  if (!w->rope) return;
  for (int32_t i = 0; i < w->batch->sequences; i++) {
    const int64_t own[2] = {0, start[i + 1] - start[i]};
    turn(qkv + start[i] * ld, ld, w->rope + fc_cache_past(w, i) * head_width, own, 1,
         s->heads + s->kv_heads, head_width);
  }
}

/* sum += attention(in) */
static void attention_fwd(fc_work *w, int layer) {
  const fc_block *b = &w->model->blocks[layer];
  fc_block_work *a = &w->blocks[layer];
  fc_linear_fwd(w, &b->slot[FC_SLOT_QKV], a->qkv, a->sub[0].in, w->bounds, false);
  rotate(w, fc_k_rope_fwd, a->qkv);
  if (w->cache)
    fc_cache_attention(w, layer, a->attention, a->lse, a->qkv);
  else
    fc_k_attention_fwd(a->attention, a->lse, a->qkv, w->batch->start, w->batch->sequences,
                       fc_model_attention_shape(w->model), w->attention_scratch);
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
  fc_k_attention_bwd(w->dqkv, w->t, a->qkv, a->attention, a->lse, w->batch->start,
                     w->batch->sequences, fc_model_attention_shape(w->model), w->attention_scratch);
  rotate(w, fc_k_rope_bwd, w->dqkv);
  goes_on = fc_work_goes_below(w, slot[FC_SLOT_QKV].stage);
  fc_linear_bwd(w, &slot[FC_SLOT_QKV], goes_on ? dx : NULL, w->dqkv, a->sub[0].in, w->bounds,
                accumulate);
  return goes_on;
}

/* dup from dact */
static void activate_bwd(const fc_work *w, const fc_block_work *a, int width) {
  const fc_arch *arch = w->model->shape.arch;
  if (arch->gated)
    fc_k_swiglu_bwd(w->dup, w->dact, a->up, w->n_rows, width);
  else
    fc_k_act_bwd(w->dup, w->dact, a->up, arch->activation, w->n_rows * width);
}

/* sum += mlp(in) */
static void mlp_fwd(fc_work *w, int layer) {
  const fc_block *b = &w->model->blocks[layer];
  fc_block_work *a = &w->blocks[layer];
  const fc_arch *arch = w->model->shape.arch;
  if (arch->gated) {
    fc_linear_fwd(w, &b->slot[FC_SLOT_UP], a->up, a->sub[1].in, w->bounds, false);
    fc_k_swiglu_fwd(a->act, a->up, w->n_rows, b->slot[FC_SLOT_DOWN].in);
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
  activate_bwd(w, a, slot[FC_SLOT_DOWN].in);
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
  int offset = m->shape.arch->position_offset + (int)fc_cache_past(w, i);
  fc_k_embed_fwd(w->embedded + first * m->shape.width, b->tokens + first,
                 b->types ? b->types + first : NULL, own, 1, fc_work_tensor(w, member, m->token),
                 fc_work_tensor(w, member, m->position), fc_work_tensor(w, member, m->type), offset,
                 m->shape.width);
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
  for (int j = 0; j < w->n_members; j++) {
    const fc_work_member *member = &w->members[j];
    int32_t first = w->first_sequence[j], n = w->first_sequence[j + 1] - first;
    /* the kernel's rows are those of `start`, so that the whole arrays go with a later start */
    fc_k_embed_bwd(fc_work_gradient(member, m->token), fc_work_gradient(member, m->position),
                   fc_work_gradient(member, m->type), w->d, b->tokens, b->types, b->start + first,
                   n, m->shape.arch->position_offset, m->shape.width);
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
