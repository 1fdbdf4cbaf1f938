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
  fc_flop_count sum;
} counter;

/* One linear layer and its adapters on `tokens` rows. */
static void count_linear(counter *c, const fc_linear *l, double tokens) {
  bool needs_dx = fc_trainable_lowest_stage(c->t) < l->stage;
  for (int i = 0; i < l->n_pieces; i++) {
    double product = 2.0 * tokens * l->in * l->piece[i].rows;
    double adapter = 2.0 * tokens * c->t->lora_rank * (l->in + l->piece[i].rows);
    c->sum.forward_flop += product;
    if (needs_dx) c->sum.backward_flop += product;
    if (fc_trainable_whole(c->t, l->piece[i].weight) >= 0) c->sum.backward_flop += product;
    if (fc_trainable_adapter(c->t, l->piece[i].weight) < 0) continue;
    c->sum.forward_flop += adapter;
    /* dB = dy^T h, dh = dy B, dA = dh^T x; dx = dh A only where it goes on. */
    c->sum.backward_flop += adapter + 2.0 * tokens * c->t->lora_rank * l->piece[i].rows;
    if (needs_dx) c->sum.backward_flop += 2.0 * tokens * c->t->lora_rank * l->in;
  }
}

static void count_block(counter *c, const fc_model *m, int layer, double length) {
  const fc_block *b = &m->blocks[layer];
  const fc_model_shape *s = &m->shape;
  for (int slot = 0; slot < FC_SLOT_COUNT; slot++) count_linear(c, &b->slot[slot], 1.0);
  /* A token attends to all, or on average to (T + 1)/2 tokens; Q K^T and P V. */
  double seen = s->arch->causal ? 0.5 * (length + 1.0) : length;
  double attention = 2.0 * 2.0 * seen * fc_arch_dim(s, FC_DIM_Q);
  c->sum.forward_flop += attention;
  if (fc_trainable_lowest_stage(c->t) < b->slot[FC_SLOT_ATTENTION_OUT].stage)
    c->sum.backward_flop += 2.0 * attention; /* dP, dV, dQ, dK */
}

fc_flop_count fc_trainable_flop_per_token(const fc_trainable *t, double sequence_length,
                                          bool with_lm_loss) {
  const fc_model *m = t->model;
  counter c = {t, {0.0, 0.0}};
  for (int layer = 0; layer < m->shape.layers; layer++) count_block(&c, m, layer, sequence_length);
  const fc_head *head = with_lm_loss ? &m->lm_head : &m->class_head;
  double rows = with_lm_loss ? 1.0 : 1.0 / sequence_length;
  count_linear(&c, &head->dense, rows);
  count_linear(&c, &head->out, rows);
  return c.sum;
}
