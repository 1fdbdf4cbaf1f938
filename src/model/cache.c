/* cache.c - attention with keys and values kept from the batches before: a sequence's first batch
 * is its prompt, each later one a single token. */
#include "fedcell/fc_mem.h"
#include "internal.h"
#include <assert.h>
#include <string.h>

fc_err fc_cache_create(const fc_model *m, int sequences, int capacity, fc_cache **out) {
  size_t KV = (size_t)fc_arch_dim(&m->shape, FC_DIM_KV);
  size_t floats = (size_t)m->shape.layers * (size_t)sequences * 2 * (size_t)capacity * KV;
  fc_cache *c = NULL;
  *out = NULL;
  FC_TRY(fc_alloc(1, sizeof *c, &c));
  c->sequences = sequences;
  c->capacity = capacity;
  fc_err err = fc_alloc(floats, sizeof *c->kv, &c->kv);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)sequences, sizeof *c->length, &c->length);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)sequences, sizeof *c->slot, &c->slot);
  *out = c;
  if (err != FC_ERR_OK) fc_cache_destroy(out);
  return err;
}

void fc_cache_destroy(fc_cache **cache) {
  fc_cache *c = *cache;
  if (!c) return;
  fc_free(c->kv);
  fc_free(c->length);
  fc_free(c->slot);
  fc_free(c);
  *cache = NULL;
}

int64_t fc_cache_past(const fc_work *w, int32_t sequence) {
  return w->cache ? w->cache->length[w->cache->slot[sequence]] : 0;
}

/* K of one layer and sequence, (capacity, KV); V follows. */
static float *keys_of(const fc_work *w, int layer, int32_t slot) {
  const fc_cache *c = w->cache;
  int64_t KV = fc_arch_dim(&w->model->shape, FC_DIM_KV);
  return c->kv + ((int64_t)layer * c->sequences + slot) * 2 * c->capacity * KV;
}

void fc_cache_attention(fc_work *w, int layer, float *out, float *lse, const float *qkv) {
  const fc_model_shape *s = &w->model->shape;
  const fc_attention_shape attention = fc_model_attention_shape(w->model, s->kv_heads);
  const int64_t Q = fc_arch_dim(s, FC_DIM_Q), KV = fc_arch_dim(s, FC_DIM_KV), ld = Q + 2 * KV;
  for (int32_t i = 0; i < w->batch->sequences; i++) {
    int64_t first = w->batch->start[i], n = w->batch->start[i + 1] - first;
    int64_t past = fc_cache_past(w, i), own[2] = {0, n};
    float *k = keys_of(w, layer, w->cache->slot[i]), *v = k + w->cache->capacity * KV;
    const float *row = qkv + first * ld;
    for (int64_t r = 0; r < n; r++) {
      memcpy(k + (past + r) * KV, row + r * ld + Q, (size_t)KV * sizeof *k);
      memcpy(v + (past + r) * KV, row + r * ld + Q + KV, (size_t)KV * sizeof *v);
    }
    assert(past == 0 || n == 1);
    if (past == 0)
      fc_k_attention_fwd(out + first * Q, lse + first * s->heads, row, own, 1, attention,
                         w->attention_scratch);
    else
      fc_k_attention_cached(out + first * Q, row, k, v, past + 1, attention, w->attention_scratch);
  }
}

void fc_cache_advance(fc_work *w) {
  for (int32_t i = 0; i < w->batch->sequences; i++)
    w->cache->length[w->cache->slot[i]] += (int32_t)(w->batch->start[i + 1] - w->batch->start[i]);
}
