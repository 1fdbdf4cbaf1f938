/* importance.c - how much a group of heads or a neuron matters, and putting the most important
 * first, so that a pruned model is the beginning of the whole one.
 *
 * The score is the Fisher information of a mask on the unit's output y [Kwon+ 2022]: with the mask
 * at 1, the derivative of a sequence's loss with respect to it is the sum of dy y over the unit's
 * outputs in the sequence; its square is summed over sequences. */
#include "fedcell/fc_mem.h"
#include "internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- with data ------------------------------------------------------------------------------- */

static void add_sequence(fc_work *w, double *importance, int units, int width, const float *d,
                         const float *y, int64_t rows) {
  double *sum = w->mask_gradient;
  memset(sum, 0, (size_t)units * sizeof *sum);
  for (int64_t n = 0; n < rows; n++)
    for (int u = 0; u < units; u++)
      for (int c = 0; c < width; c++) sum[u] += (double)*d++ * (double)*y++;
  for (int u = 0; u < units; u++) importance[u] += sum[u] * sum[u];
}

void fc_importance_add(fc_work *w, int layer, fc_unit unit, const float *d, const float *y) {
  const fc_linear *slot = w->model->blocks[layer].slot;
  bool is_head = unit == FC_UNIT_HEADS;
  const fc_linear *out = &slot[is_head ? FC_SLOT_ATTENTION_OUT : FC_SLOT_DOWN];
  double *importance = is_head ? w->head_importance : w->neuron_importance;
  if (!importance) return;
  importance += (int64_t)layer * out->units;
  for (int32_t i = 0; i < w->batch->sequences; i++) {
    int64_t first = w->batch->start[i], at = first * out->in;
    add_sequence(w, importance, out->units, out->in / out->units, d + at, y + at,
                 w->batch->start[i + 1] - first);
  }
}

/* ---- a unit's weights ------------------------------------------------------------------------
 *
 * Of every matrix or bias that a unit takes part in, the units' shares lie side by side: `length`
 * floats each, in each of `rows` rows. Whole rows of a matrix are one row of long shares. */

typedef struct {
  size_t at; /* floats into the blob */
  size_t length, rows, ld;
} shares;

enum { MAX_SHARES = 2 * FC_ARCH_MAX_PIECES + 1 };

static size_t offset_of(const fc_model *m, int tensor) {
  return m->tensors[tensor].offset;
}

static int shares_of_layer(const fc_model *m, const fc_linear *l, shares *s) {
  size_t units = (size_t)l->units, in = (size_t)l->in;
  int n = 0;
  if (l->cuts_in) {
    s[n++] = (shares){offset_of(m, l->piece[0].weight), in / units, (size_t)l->out, in};
    return n;
  }
  for (int i = 0; i < l->n_bands; i++) {
    const fc_piece *p = &l->piece[l->band[i].piece];
    size_t row = (size_t)(l->band[i].from - p->row), rows = (size_t)l->band[i].rows / units;
    s[n++] = (shares){offset_of(m, p->weight) + row * in, rows * in, 1, 0};
    if (p->bias != FC_TENSOR_NONE) s[n++] = (shares){offset_of(m, p->bias) + row, rows, 1, 0};
  }
  return n;
}

/* s (MAX_SHARES). Returns how many. */
static int shares_of(const fc_model *m, int layer, fc_unit unit, shares *s) {
  int n = 0;
  for (int slot = 0; slot < FC_SLOT_COUNT; slot++) {
    const fc_linear *l = &m->blocks[layer].slot[slot];
    if (l->unit == unit) n += shares_of_layer(m, l, s + n);
  }
  return n;
}

static void add_norms(const fc_model *m, int layer, fc_unit unit, double *importance) {
  shares s[MAX_SHARES];
  int n = shares_of(m, layer, unit, s), units = fc_model_units(m, unit);
  memset(importance, 0, (size_t)units * sizeof *importance);
  for (int i = 0; i < n; i++)
    for (size_t r = 0; r < s[i].rows; r++)
      for (int u = 0; u < units; u++)
        importance[u] += fc_k_sum_squares(
            m->weights + s[i].at + r * s[i].ld + (size_t)u * s[i].length, (int64_t)s[i].length);
}

void fc_model_weight_importance(const fc_model *m, double *heads, double *neurons) {
  for (int layer = 0; layer < m->shape.layers; layer++) {
    add_norms(m, layer, FC_UNIT_HEADS, heads + (int64_t)layer * m->shape.kv_heads);
    add_norms(m, layer, FC_UNIT_NEURONS, neurons + (int64_t)layer * m->shape.ffn);
  }
}

/* ---- the most important first ---------------------------------------------------------------- */

typedef struct {
  double importance;
  int unit;
} rank;

static int by_importance(const void *a, const void *b) {
  const rank *x = a, *y = b;
  if (x->importance != y->importance) return x->importance < y->importance ? 1 : -1;
  return x->unit - y->unit;
}

/* order (units), row: room for the longest row of shares. */
static fc_err reorder(const fc_model *m, int layer, fc_unit unit, const double *importance,
                      rank *order, float *row, float *weights) {
  shares s[MAX_SHARES];
  int n = shares_of(m, layer, unit, s), units = fc_model_units(m, unit);
  for (int u = 0; u < units; u++) {
    FC_CHECK(isfinite(importance[u]), NUMERIC, "the importance of %s %d of block %d is %g",
             unit == FC_UNIT_HEADS ? "head group" : "neuron", u, layer, importance[u]);
    order[u] = (rank){importance[u], u};
  }
  qsort(order, (size_t)units, sizeof *order, by_importance);
  for (int i = 0; i < n; i++)
    for (size_t r = 0; r < s[i].rows; r++) {
      size_t length = s[i].length, bytes = length * sizeof *row;
      float *to = weights + s[i].at + r * s[i].ld;
      memcpy(row, to, (size_t)units * bytes);
      for (int u = 0; u < units; u++)
        memcpy(to + (size_t)u * length, row + (size_t)order[u].unit * length, bytes);
    }
  return FC_ERR_OK;
}

fc_err fc_model_reorder(const fc_model *m, int first, int next, const double *heads,
                        const double *neurons, float *weights) {
  const fc_model_shape *s = &m->shape;
  const fc_linear *slot = m->blocks[0].slot;
  size_t longest = (size_t)(slot[FC_SLOT_QKV].out > slot[FC_SLOT_UP].out ? slot[FC_SLOT_QKV].out
                                                                         : slot[FC_SLOT_UP].out);
  rank *order = NULL;
  float *row = NULL;
  fc_err err = FC_ERR_OK;
  FC_CHECK(first >= 0 && first <= next && next <= s->layers, USAGE,
           "reordering the blocks from %d to before %d of %d", first, next, s->layers);
  FC_TRY_GOTO(err, fc_alloc((size_t)(s->heads + s->ffn), sizeof *order, &order), done);
  FC_TRY_GOTO(err, fc_alloc(longest * (size_t)s->width, sizeof *row, &row), done);
  for (int layer = first; layer < next; layer++) {
    FC_TRY_GOTO(
        err,
        reorder(m, layer, FC_UNIT_HEADS, heads + (int64_t)layer * s->kv_heads, order, row, weights),
        done);
    FC_TRY_GOTO(
        err,
        reorder(m, layer, FC_UNIT_NEURONS, neurons + (int64_t)layer * s->ffn, order, row, weights),
        done);
  }
done:
  fc_free(order);
  fc_free(row);
  return err;
}
