/* flop.c - the floating-point operations of a pass, counted from the architecture.
 *
 * Counted: 2 FLOP per weight and token of every linear layer and adapter; attention as products of
 * score-matrix size (2 forward, 4 backward), half of it under a causal mask; the head. Not counted:
 * norms, activations, softmax, embeddings and biases (all O(width) per token), and what our kernels
 * compute twice to save memory. A causal-LM or masked-LM head is counted for every token; the
 * classification head once per sequence. */
#include "internal.h"

typedef struct {
  const fc_trainable *t;
  fc_scope scope;
  int goal; /* lowest trained stage */
  fc_flop_count sum;
} counter;

/* The share of one piece, `rows` of its rows, and its adapter. */
static void count_piece(counter *c, const fc_linear *l, int weight, double tokens, double in,
                        double rows) {
  const fc_trainable *t = c->t;
  bool needs_dx = c->goal < l->stage, is_trained = fc_scope_trains(&c->scope, t->model, weight);
  double product = 2.0 * tokens * in * rows, lora = 2.0 * tokens * t->lora_rank;
  c->sum.forward_flop += product;
  if (needs_dx) c->sum.backward_flop += product;
  if (is_trained && fc_trainable_whole(t, weight) >= 0) c->sum.backward_flop += product;
  if (fc_trainable_adapter(t, weight) < 0) return;
  c->sum.forward_flop += lora * (in + rows);
  if (is_trained) c->sum.backward_flop += lora * (in + rows);      /* dA = dh^T x, dB = dy^T h */
  if (is_trained || needs_dx) c->sum.backward_flop += lora * rows; /* dh = dy B */
  if (needs_dx) c->sum.backward_flop += lora * in;                 /* dx = dh A */
}

/* One linear layer and its adapters on `tokens` rows. */
static void count_linear(counter *c, const fc_linear *l, double tokens) {
  int kept = fc_view_units(c->t->model, c->scope.view, l->layer, l->unit);
  fc_cut cut = fc_linear_cut(l, kept);
  for (int i = 0; i < l->n_pieces; i++) {
    int rows = 0;
    for (int k = 0; k < cut.n; k++)
      if (cut.strip[k].piece == i) rows += cut.strip[k].rows;
    count_piece(c, l, l->piece[i].weight, tokens, cut.in, rows);
  }
}

static void count_attention(counter *c, int layer, double length) {
  const fc_model *m = c->t->model;
  int groups = fc_view_units(m, c->scope.view, layer, FC_UNIT_HEADS);
  fc_attention_shape s = fc_model_attention_shape(m, groups);
  /* A token attends to all, or on average to (T + 1)/2 tokens; Q K^T and P V. */
  double seen = s.causal ? 0.5 * (length + 1.0) : length;
  double attention = 2.0 * 2.0 * seen * s.heads * s.head_width;
  c->sum.forward_flop += attention;
  if (c->goal < m->blocks[layer].slot[FC_SLOT_ATTENTION_OUT].stage)
    c->sum.backward_flop += 2.0 * attention; /* dP, dV, dQ, dK */
}

fc_flop_count fc_trainable_flop(const fc_trainable *t, const fc_scope *scope,
                                const fc_flop_request *r) {
  const fc_model *m = t->model;
  counter c = {.t = t, .goal = fc_trainable_lowest_stage(t, scope)};
  if (scope) c.scope = *scope;
  for (int layer = 0; layer < m->shape.layers; layer++) {
    for (int s = 0; s < FC_SLOT_COUNT; s++) count_linear(&c, &m->blocks[layer].slot[s], 1.0);
    if (!r->without_attention) count_attention(&c, layer, r->sequence_length);
  }
  if (r->without_head) return c.sum;
  const fc_head *head = r->with_lm_loss ? &m->lm_head : &m->class_head;
  double rows = r->with_lm_loss ? 1.0 : 1.0 / r->sequence_length;
  count_linear(&c, &head->dense, rows);
  count_linear(&c, &head->out, rows);
  return c.sum;
}

fc_flop_count fc_trainable_flop_per_token(const fc_trainable *t, double sequence_length,
                                          bool with_lm_loss) {
  return fc_trainable_flop(
      t, NULL,
      &(fc_flop_request){.sequence_length = sequence_length, .with_lm_loss = with_lm_loss});
}
