/* cache.c - attention with keys and values kept from the batches before. Keys lie across, so that
 * many of them meet a query at once: K (KV, capacity), V (capacity, KV) of each layer and sequence.
 */
#include "internal.h"
#include <string.h>

static int64_t row_floats(const fc_model *m) {
  return fc_arch_dim(&m->shape, FC_DIM_KV);
}

size_t fc_cache_floats(const fc_model *m, int sequences, int capacity) {
  return (size_t)m->shape.layers * (size_t)sequences * 2 * (size_t)capacity * (size_t)row_floats(m);
}

int64_t fc_cache_past(const fc_work *w, int32_t sequence) {
  return w->cache ? w->cache->length[w->cache->slot[sequence]] : 0;
}

/* K of one layer and sequence; V follows. */
static float *keys_of(const fc_model *m, const fc_cache *c, int layer, int32_t slot) {
  return c->kv + ((int64_t)layer * c->sequences + slot) * 2 * c->capacity * row_floats(m);
}

/* n rows of keys and values, `ld` apart, behind `past` others. */
static void keep(float *k, float *v, const float *row, int64_t ld, int64_t KV, int64_t capacity,
                 int64_t past, int64_t n) {
  for (int64_t c = 0; c < KV; c++)
    for (int64_t r = 0; r < n; r++) k[c * capacity + past + r] = row[r * ld + c];
  for (int64_t r = 0; r < n; r++)
    memcpy(v + (past + r) * KV, row + r * ld + KV, (size_t)KV * sizeof *v);
}

void fc_cache_attention(fc_work *w, int layer, float *out, const float *qkv) {
  const fc_model_shape *s = &w->model->shape;
  const fc_cache *c = w->cache;
  const fc_attention_shape attention = fc_model_attention_shape(w->model, s->kv_heads);
  const int64_t Q = fc_arch_dim(s, FC_DIM_Q), KV = row_floats(w->model), ld = Q + 2 * KV;
  for (int32_t i = 0; i < w->batch->sequences; i++) {
    int64_t first = w->batch->start[i], n = w->batch->start[i + 1] - first;
    int64_t past = fc_cache_past(w, i);
    float *k = keys_of(w->model, c, layer, c->slot[i]), *v = k + c->capacity * KV;
    const float *row = qkv + first * ld;
    keep(k, v, row + Q, ld, KV, c->capacity, past, n);
    fc_k_attention_after(out + first * Q, row, (int)ld, k, c->capacity, v, past, n, attention,
                         w->attention_scratch);
  }
}

void fc_cache_advance(fc_work *w) {
  for (int32_t i = 0; i < w->batch->sequences; i++)
    w->cache->length[w->cache->slot[i]] += (int32_t)(w->batch->start[i + 1] - w->batch->start[i]);
}

void fc_cache_copy(const fc_model *m, fc_cache *to, int32_t to_slot, const fc_cache *from,
                   int32_t from_slot, int n) {
  const int64_t KV = row_floats(m);
  for (int layer = 0; layer < m->shape.layers; layer++) {
    float *k = keys_of(m, to, layer, to_slot);
    const float *k_from = keys_of(m, from, layer, from_slot);
    if (k == k_from) return;
    for (int64_t c = 0; c < KV; c++)
      memcpy(k + c * to->capacity, k_from + c * from->capacity, (size_t)n * sizeof *k);
    memcpy(k + to->capacity * KV, k_from + from->capacity * KV, (size_t)(n * KV) * sizeof *k);
  }
}
