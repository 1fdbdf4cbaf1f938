/* view_fixture.h - which elements of a tensor a view keeps, told by the tensors' names alone, and
 * models in which all that a view leaves out is set to a value. */
#ifndef VIEW_FIXTURE_H
#define VIEW_FIXTURE_H

#include "fixture.h"

enum { BLOCKS = 3 };

/* Cuts at whole vectors and bf16 panels where width is 64, and in between where it is 40. */
static inline fc_model_shape view_shape(const char *family, int width) {
  fc_model_shape s = full_shape(family);
  s.layers = BLOCKS;
  s.width = width;
  s.heads = width == 64 ? 4 : 5;
  s.kv_heads = strcmp(family, "llama") == 0 && width == 64 ? 2 : s.heads;
  s.ffn = width == 64 ? 96 : 50;
  return s;
}

/* Unequal cuts; the middle block is whole. */
static inline void unequal_view(const fc_model_shape *s, fc_block_view view[BLOCKS]) {
  view[0] = (fc_block_view){1, 33};
  view[1] = (fc_block_view){s->kv_heads, s->ffn};
  view[2] = (fc_block_view){s->kv_heads - 1, 1};
}

static inline bool names(const char *tensor, const char *module) {
  return strstr(tensor, module) != NULL;
}

/* Whether the view keeps row o and column i of the layer whose weight this is (all of others). */
static inline bool keeps(const fc_model_shape *s, const fc_tensor *t, const fc_block_view *view,
                         int64_t o, int64_t i) {
  if (t->layer < 0 || names(t->name, "orm.") || names(t->name, "ln_")) return true;
  const fc_block_view *v = &view[t->layer];
  int head = s->width / s->heads;
  int64_t kv = (int64_t)v->heads * head, q = kv * (s->heads / s->kv_heads);
  const char *n = t->name;
  if (names(n, "c_attn")) return o % s->width < q;
  if (names(n, "q_proj") || names(n, "query")) return o < q;
  if (names(n, "k_proj") || names(n, "key") || names(n, "v_proj") || names(n, "value"))
    return o < kv;
  if (names(n, "attn.c_proj") || names(n, "o_proj") || names(n, "attention.output")) return i < q;
  if (names(n, "c_fc") || names(n, "gate_proj") || names(n, "up_proj") || names(n, "intermediate"))
    return o < v->neurons;
  return i < v->neurons; /* what leads down */
}

/* Sets what the view leaves out of the weights. Biases (1,O) lie along the layer's rows, and those
 * of layers cut by column stay. */
static inline void fill_outside(const fc_model *m, const fc_block_view *view, float value,
                                float *weights) {
  size_t n = 0;
  const fc_tensor *t = fc_model_tensors(m, &n);
  const fc_model_shape *s = fc_model_get_shape(m);
  for (size_t k = 0; k < n; k++)
    for (int64_t r = 0; r < t[k].rows; r++)
      for (int64_t c = 0; c < t[k].cols; c++) {
        bool is_bias = strstr(t[k].name, ".bias") != NULL;
        if (!keeps(s, &t[k], view, is_bias ? c : r, is_bias ? 0 : c))
          weights[t[k].offset + (size_t)(r * t[k].cols + c)] = value;
      }
}

/* Whether the view keeps float k of the part. */
static inline bool keeps_of_part(const fc_model *m, const fc_trainable_part *p,
                                 const fc_block_view *view, int64_t k) {
  size_t n = 0;
  const fc_tensor *t = fc_model_tensors(m, &n) + p->tensor;
  const fc_model_shape *s = fc_model_get_shape(m);
  int64_t row = k / p->cols, col = k % p->cols;
  if (p->kind == 'A') return keeps(s, t, view, 0, col);
  if (p->kind == 'B') return keeps(s, t, view, row, 0);
  return p->rows == 1 ? keeps(s, t, view, col, 0) : keeps(s, t, view, row, col);
}

static inline void fill_outside_theta(const fc_model *m, const fc_trainable *t,
                                      const fc_block_view *view, float value, float *theta) {
  size_t n = 0;
  const fc_trainable_part *p = fc_trainable_parts(t, &n);
  for (size_t i = 0; i < n; i++)
    for (int64_t k = 0; k < p[i].rows * p[i].cols; k++)
      if (!keeps_of_part(m, &p[i], view, k)) theta[p[i].offset + (size_t)k] = value;
}

#endif
