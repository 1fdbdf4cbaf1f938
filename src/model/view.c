/* view.c - pruned views: what is left of a linear layer, of which a view keeps the first heads or
 * neurons, and which rows of a cohort have the same left. Nothing is copied: a cut layer is the
 * same matrix with fewer rows or columns. */
#include "internal.h"

/* ---- what can be cut ------------------------------------------------------------------------- */

static const struct {
  fc_unit unit;
  bool cuts_in;
} slots[FC_SLOT_COUNT] = {[FC_SLOT_QKV] = {FC_UNIT_HEADS, false},
                          [FC_SLOT_ATTENTION_OUT] = {FC_UNIT_HEADS, true},
                          [FC_SLOT_UP] = {FC_UNIT_NEURONS, false},
                          [FC_SLOT_DOWN] = {FC_UNIT_NEURONS, true}};

int fc_model_units(const fc_model *m, fc_unit unit) {
  const int units[] = {
      [FC_UNIT_NONE] = 1, [FC_UNIT_HEADS] = m->shape.kv_heads, [FC_UNIT_NEURONS] = m->shape.ffn};
  return units[unit];
}

static void place_units(const fc_model *m, fc_linear *l, int layer, fc_unit unit, bool cuts_in) {
  l->layer = layer;
  l->unit = unit;
  l->units = fc_model_units(m, unit);
  l->cuts_in = cuts_in;
  l->n_bands = l->n_pieces;
  for (int i = 0; i < l->n_pieces; i++) {
    const fc_piece *p = &l->piece[i];
    l->band[i] = (fc_strip){.piece = i, .from = p->row, .row = p->row, .rows = p->rows};
  }
}

/* Q, K and V that are one piece, as GPT-2 has them. */
static void split_fused(const fc_model *m, fc_linear *qkv) {
  const fc_dim dims[] = {FC_DIM_Q, FC_DIM_KV, FC_DIM_KV};
  if (qkv->n_pieces > 1) return;
  qkv->n_bands = 0;
  for (int i = 0, row = 0; i < 3; i++) {
    int rows = fc_arch_dim(&m->shape, dims[i]);
    qkv->band[qkv->n_bands++] = (fc_strip){.from = row, .row = row, .rows = rows};
    row += rows;
  }
}

void fc_model_place_units(fc_model *m) {
  fc_linear *const heads[] = {&m->class_head.dense, &m->class_head.out, &m->lm_head.dense,
                              &m->lm_head.out};
  for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
    place_units(m, heads[i], -1, FC_UNIT_NONE, false);
  for (int layer = 0; layer < m->shape.layers; layer++) {
    fc_linear *slot = m->blocks[layer].slot;
    for (int s = 0; s < FC_SLOT_COUNT; s++)
      place_units(m, &slot[s], layer, slots[s].unit, slots[s].cuts_in);
    split_fused(m, &slot[FC_SLOT_QKV]);
  }
}

/* ---- what a view leaves ---------------------------------------------------------------------- */

fc_cut fc_linear_cut(const fc_linear *l, int kept) {
  fc_cut c = {.in = l->cuts_in ? l->in / l->units * kept : l->in};
  for (int i = 0; i < l->n_bands; i++) {
    fc_strip s = l->band[i], *last = c.n > 0 ? &c.strip[c.n - 1] : NULL;
    if (!l->cuts_in) s.rows = s.rows / l->units * kept;
    s.row = c.out;
    c.out += s.rows;
    if (last && last->piece == s.piece && last->from + last->rows == s.from)
      last->rows += s.rows;
    else
      c.strip[c.n++] = s;
  }
  return c;
}

int fc_view_units(const fc_model *m, const fc_block_view *view, int layer, fc_unit unit) {
  if (!view || unit == FC_UNIT_NONE) return fc_model_units(m, unit);
  return unit == FC_UNIT_HEADS ? view[layer].heads : view[layer].neurons;
}

fc_err fc_view_check(const fc_model *m, const fc_block_view *view) {
  const fc_model_shape *s = &m->shape;
  for (int layer = 0; view && layer < s->layers; layer++) {
    const fc_block_view *v = &view[layer];
    FC_CHECK(v->heads >= 1 && v->heads <= s->kv_heads, SHAPE,
             "the view of block %d keeps %d groups of heads, allowed is 1 to %d", layer, v->heads,
             s->kv_heads);
    FC_CHECK(v->neurons >= 1 && v->neurons <= s->ffn, SHAPE,
             "the view of block %d keeps %d neurons, allowed is 1 to %d", layer, v->neurons,
             s->ffn);
  }
  return FC_ERR_OK;
}

bool fc_work_next_span(const fc_work *w, int layer, fc_unit unit, bool alone, const int64_t *bounds,
                       fc_span *s) {
  s->before += s->N * s->kept;
  s->j = s->next;
  if (s->j == w->n_members) return false;
  s->kept = fc_view_units(w->model, w->members[s->j].scope.view, layer, unit);
  do s->next++;
  while (!alone && s->next < w->n_members &&
         fc_view_units(w->model, w->members[s->next].scope.view, layer, unit) == s->kept);
  s->first = bounds[s->j];
  s->N = bounds[s->next] - s->first;
  return true;
}

size_t fc_model_block_weights(const fc_model *m, const fc_block_view *view, int first, int next) {
  size_t n = 0;
  for (int layer = first; layer < next; layer++) {
    const fc_block *b = &m->blocks[layer];
    for (int s = 0; s < 2; s++)
      n += (size_t)m->shape.width * (b->norm[s].bias == FC_TENSOR_NONE ? 1 : 2);
    for (int s = 0; s < FC_SLOT_COUNT; s++) {
      const fc_linear *l = &b->slot[s];
      fc_cut c = fc_linear_cut(l, fc_view_units(m, view, layer, l->unit));
      bool has_bias = l->piece[0].bias != FC_TENSOR_NONE;
      n += (size_t)c.out * ((size_t)c.in + has_bias);
    }
  }
  return n;
}
