/* linear.c - one linear layer or norm with whatever is trained on it.
 *   y = W x + b + (alpha/R) B A dropout(x)                                    [LoRA (3)]
 * Pieces of a product (Q, K, V) whose values lie next to each other are computed as one. */
#include "internal.h"
#include <string.h>

/* A run of pieces that form one matrix in memory. */
typedef struct {
  int row, rows, next; /* next: the first piece after the run */
  const float *W, *bias;
  float *dW, *dbias;
} run;

static float *follows(float *p, size_t n) {
  return p ? p + n : NULL;
}

static bool extends(const run *r, const run *next, size_t in) {
  size_t rows = (size_t)r->rows;
  bool bias = r->bias ? next->bias == r->bias + rows : !next->bias;
  return next->W == r->W + rows * in && bias && next->dW == follows(r->dW, rows * in) &&
         next->dbias == follows(r->dbias, rows);
}

static run piece_run(const fc_work *w, const fc_linear *l, int i) {
  const fc_piece *p = &l->piece[i];
  return (run){.row = p->row,
               .rows = p->rows,
               .next = i + 1,
               .W = fc_work_tensor(w, p->weight),
               .bias = fc_work_tensor(w, p->bias),
               .dW = fc_work_gradient(w, p->weight),
               .dbias = fc_work_gradient(w, p->bias)};
}

static run next_run(const fc_work *w, const fc_linear *l, int i) {
  run r = piece_run(w, l, i);
  while (r.next < l->n_pieces) {
    run more = piece_run(w, l, r.next);
    if (!extends(&r, &more, (size_t)l->in)) break;
    r.rows += more.rows;
    r.next = more.next;
  }
  return r;
}

typedef struct {
  int number;
  const float *A, *B;
  float *dA, *dB;
} adapter;

static bool find_adapter(const fc_work *w, const fc_piece *p, adapter *a) {
  a->number = fc_trainable_adapter(w->trainable, p->weight);
  if (a->number < 0) return false;
  const fc_trainable_part *part = &w->trainable->parts[w->trainable->lora_a[a->number]];
  a->A = w->theta + part[0].offset;
  a->B = w->theta + part[1].offset;
  a->dA = w->dtheta ? w->dtheta + part[0].offset : NULL;
  a->dB = w->dtheta ? w->dtheta + part[1].offset : NULL;
  return true;
}

/* The adapter's mask: a stream of its own, whatever the order of computation. */
static fc_rng mask_of(const fc_work *w, int number) {
  return fc_rng_open(w->dropout_seed, FC_RNG_DROPOUT, (uint64_t)number, 0);
}

static const float *adapter_input(fc_work *w, const fc_linear *l, int number, const float *x,
                                  int64_t N) {
  if (!w->dropping) return x;
  fc_k_dropout(w->dropped, x, w->trainable->dropout, mask_of(w, number), N * l->in);
  return w->dropped;
}

void fc_linear_fwd(fc_work *w, const fc_linear *l, float *y, const float *x, int64_t N,
                   bool accumulate) {
  for (int i = 0; i < l->n_pieces;) {
    run r = next_run(w, l, i);
    fc_k_linear_fwd(y + r.row, l->out, x, l->in, r.W, l->in, r.bias, N, l->in, r.rows, accumulate);
    i = r.next;
  }
  for (int i = 0; i < l->n_pieces; i++) {
    const fc_piece *p = &l->piece[i];
    adapter a;
    if (!find_adapter(w, p, &a)) continue;
    const float *in = adapter_input(w, l, a.number, x, N);
    fc_k_lora_fwd(y + p->row, l->out, w->h[a.number], in, a.A, a.B, w->trainable->scale, N, l->in,
                  p->rows, w->trainable->lora_rank);
  }
}

static void adapter_bwd(fc_work *w, const fc_linear *l, const fc_piece *p, const adapter *a,
                        float *dx, const float *dy, const float *x, int64_t N) {
  const fc_trainable *t = w->trainable;
  const float *in = adapter_input(w, l, a->number, x, N);
  float *din = dx;
  if (w->dropping && dx) {
    din = w->ddropped;
    memset(din, 0, (size_t)(N * l->in) * sizeof *din);
  }
  fc_k_lora_bwd(din, a->dA, a->dB, w->dh, dy + p->row, l->out, in, w->h[a->number], a->A, a->B,
                t->scale, N, l->in, p->rows, t->lora_rank);
  if (din == dx) return;
  fc_k_dropout(din, din, t->dropout, mask_of(w, a->number), N * l->in);
  fc_k_axpy(dx, 1.0F, din, N * l->in);
}

void fc_linear_bwd(fc_work *w, const fc_linear *l, float *dx, const float *dy, const float *x,
                   int64_t N, bool accumulate) {
  for (int i = 0; i < l->n_pieces;) {
    run r = next_run(w, l, i);
    if (r.dW || r.dbias)
      fc_k_linear_bwd_weight(r.dW, l->in, r.dbias, dy + r.row, l->out, x, l->in, N, l->in, r.rows);
    if (dx)
      fc_k_linear_bwd_input(dx, l->in, dy + r.row, l->out, r.W, l->in, N, l->in, r.rows,
                            accumulate || i > 0);
    i = r.next;
  }
  for (int i = 0; i < l->n_pieces; i++) {
    adapter a;
    if (find_adapter(w, &l->piece[i], &a)) adapter_bwd(w, l, &l->piece[i], &a, dx, dy, x, N);
  }
}

void fc_norm_fwd(fc_work *w, const fc_norm *n, float *y, float *mean, float *rstd, const float *x,
                 int64_t N) {
  const fc_model_shape *s = &w->model->shape;
  const float *gamma = fc_work_tensor(w, n->weight), *beta = fc_work_tensor(w, n->bias);
  if (beta)
    fc_k_layernorm_fwd(y, mean, rstd, x, gamma, beta, s->norm_eps, N, s->width);
  else
    fc_k_rmsnorm_fwd(y, rstd, x, gamma, s->norm_eps, N, s->width);
}

void fc_norm_bwd(fc_work *w, const fc_norm *n, float *dx, const float *dy, const float *x,
                 const float *mean, const float *rstd, int64_t N) {
  const float *gamma = fc_work_tensor(w, n->weight);
  float *dgamma = fc_work_gradient(w, n->weight);
  int C = w->model->shape.width;
  if (n->bias == FC_TENSOR_NONE)
    fc_k_rmsnorm_bwd(dx, dgamma, dy, x, gamma, rstd, N, C);
  else
    fc_k_layernorm_bwd(dx, dgamma, fc_work_gradient(w, n->bias), dy, x, gamma, mean, rstd, N, C);
}
