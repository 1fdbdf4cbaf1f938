/* cache.c - attention with keys and values kept from the batches before, as fc_k_attention_after
 * reads them: of each layer and sequence K in panels of keys, then V head by head. */
#include "internal.h"
#include <string.h>

enum { PANEL = FC_K_KEY_PANEL };

/* Width of all heads' keys, and the floats of a sequence's K; V has as many. */
static int64_t row_floats(const fc_model *m) {
  return fc_arch_dim(&m->shape, FC_DIM_KV);
}

static int64_t key_floats(const fc_model *m, int capacity) {
  return row_floats(m) * ((capacity + PANEL - 1) / PANEL * PANEL);
}

size_t fc_cache_floats(const fc_model *m, int sequences, int capacity) {
  return (size_t)m->shape.layers * (size_t)sequences * 2 * (size_t)key_floats(m, capacity);
}

int64_t fc_cache_past(const fc_work *w, int32_t sequence) {
  return w->cache ? w->cache->length[w->cache->slot[sequence]] : 0;
}

typedef struct {
  float *k, *v;
} kept;

static kept kept_of(const fc_model *m, const fc_cache *c, int layer, int32_t slot) {
  int64_t one = key_floats(m, c->capacity);
  float *k = c->kv + ((int64_t)layer * c->sequences + slot) * 2 * one;
  return (kept){k, k + one};
}

/* One key and value of the position; both (KV). */
static void keep(const fc_model *m, kept to, int capacity, int64_t position, const float *key,
                 const float *value) {
  int64_t KV = row_floats(m), width = KV / m->shape.kv_heads;
  float *k = to.k + position / PANEL * KV * PANEL + position % PANEL;
  for (int64_t c = 0; c < KV; c++) k[c * PANEL] = key[c];
  for (int64_t h = 0; h < m->shape.kv_heads; h++)
    memcpy(to.v + (h * capacity + position) * width, value + h * width,
           (size_t)width * sizeof *value);
}

void fc_cache_attention(fc_work *w, int layer, float *out, const float *qkv, bool last_only) {
  const fc_model_shape *s = &w->model->shape;
  const fc_cache *c = w->cache;
  const fc_attention_shape attention = fc_model_attention_shape(w->model, s->kv_heads);
  const int64_t Q = fc_arch_dim(s, FC_DIM_Q), KV = row_floats(w->model), ld = Q + 2 * KV;
  for (int32_t i = 0; i < w->batch->sequences; i++) {
    int64_t first = w->batch->start[i], n = w->batch->start[i + 1] - first;
    int64_t past = fc_cache_past(w, i);
    const kept to = kept_of(w->model, c, layer, c->slot[i]);
    const float *row = qkv + first * ld;
    for (int64_t r = 0; r < n; r++)
      keep(w->model, to, c->capacity, past + r, row + r * ld + Q, row + r * ld + Q + KV);
    int64_t skipped = last_only ? n - 1 : 0;
    fc_k_attention_after(out + (last_only ? i : first) * Q, row + skipped * ld, (int)ld, to.k, to.v,
                         c->capacity, past + skipped, n - skipped, attention, w->attention_scratch);
  }
}

void fc_cache_advance(fc_work *w) {
  for (int32_t i = 0; i < w->batch->sequences; i++)
    w->cache->length[w->cache->slot[i]] += (int32_t)(w->batch->start[i + 1] - w->batch->start[i]);
}

void fc_cache_copy(const fc_model *m, fc_cache *to, int32_t to_slot, const fc_cache *from,
                   int32_t from_slot, int n) {
  const int64_t KV = row_floats(m), width = KV / m->shape.kv_heads;
  const size_t keys = (size_t)key_floats(m, n), values = (size_t)(n * width);
  for (int layer = 0; layer < m->shape.layers; layer++) {
    const kept a = kept_of(m, from, layer, from_slot), b = kept_of(m, to, layer, to_slot);
    if (a.k == b.k) return;
    memcpy(b.k, a.k, keys * sizeof *b.k);
    for (int64_t h = 0; h < m->shape.kv_heads; h++)
      memcpy(b.v + h * to->capacity * width, a.v + h * from->capacity * width,
             values * sizeof *b.v);
  }
}
