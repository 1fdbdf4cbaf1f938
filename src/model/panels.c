/* panels.c - the bf16 copy of the frozen weights: which layers have one, and where it lies. */
#include "internal.h"

enum { ALIGN = 32 }; /* elements: 64 bytes */

static size_t place(size_t *used, int O, int I) {
  size_t at = *used;
  *used += (fc_k_bf16_panels(O, I) + ALIGN - 1) / ALIGN * ALIGN;
  return at;
}

static void place_linear(fc_model *m, fc_linear *l) {
  if (l->n_pieces == 0) return;
  l->has_panels = true;
  l->panels = place(&m->panel_count, l->out, l->in);
  l->panels_t = place(&m->panel_count, l->in, l->out);
}

void fc_model_place_panels(fc_model *m) {
  for (int layer = 0; layer < m->shape.layers; layer++)
    for (int s = 0; s < FC_SLOT_COUNT; s++) place_linear(m, &m->blocks[layer].slot[s]);
  place_linear(m, &m->lm_head.out);
}

size_t fc_model_panel_count(const fc_model *m) {
  return m->panel_count;
}

/* The pieces lie next to each other: the first one's weights begin the whole matrix. */
static void pack_linear(const fc_model *m, const fc_linear *l, fc_bf16 *panels) {
  if (!l->has_panels) return;
  const float *W = m->weights + m->tensors[l->piece[0].weight].offset;
  fc_k_bf16_pack(panels + l->panels, W, l->in, l->out, l->in);
  fc_k_bf16_pack_transposed(panels + l->panels_t, W, l->in, l->out, l->in);
}

void fc_model_pack(const fc_model *m, fc_bf16 *panels) {
  for (int layer = 0; layer < m->shape.layers; layer++)
    for (int s = 0; s < FC_SLOT_COUNT; s++) pack_linear(m, &m->blocks[layer].slot[s], panels);
  pack_linear(m, &m->lm_head.out, panels);
}

void fc_model_set_panels(fc_model *m, const fc_bf16 *panels) {
  m->panels = panels;
}

const fc_bf16 *fc_model_get_panels(const fc_model *m) {
  return m->panels;
}
