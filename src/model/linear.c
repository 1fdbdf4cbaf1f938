/* linear.c - one linear layer or norm with whatever is trained on it.
 *   y = W x + b + (alpha/R) B A dropout(x)                                    [LoRA (3)]
 * Pieces of a product (Q, K, V) whose values lie next to each other are computed as one, and so are
 * the rows of all devices of a cohort where their weights are the same frozen ones. */
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

static run piece_run(const fc_work *w, const fc_work_member *m, const fc_linear *l, int i) {
  const fc_piece *p = &l->piece[i];
  return (run){.row = p->row,
               .rows = p->rows,
               .next = i + 1,
               .W = fc_work_tensor(w, m, p->weight),
               .bias = fc_work_tensor(w, m, p->bias),
               .dW = fc_work_gradient(m, p->weight),
               .dbias = fc_work_gradient(m, p->bias)};
}

static run next_run(const fc_work *w, const fc_work_member *m, const fc_linear *l, int i) {
  run r = piece_run(w, m, l, i);
  while (r.next < l->n_pieces) {
    run more = piece_run(w, m, l, r.next);
    if (!extends(&r, &more, (size_t)l->in)) break;
    r.rows += more.rows;
    r.next = more.next;
  }
  return r;
}

/* The first member after j that may have other values of the layer than j. */
static int next_values(const fc_work *w, const fc_linear *l, int j) {
  return fc_trainable_has_whole(w->trainable, l) ? j + 1 : w->n_members;
}

static void frozen_fwd(const fc_work *w, const fc_work_member *m, const fc_linear *l, float *y,
                       const float *x, int64_t N, bool accumulate) {
  for (int i = 0; i < l->n_pieces;) {
    run r = next_run(w, m, l, i);
    fc_k_linear_fwd(y + r.row, l->out, x, l->in, r.W, l->in, r.bias, N, l->in, r.rows, accumulate);
    i = r.next;
  }
}

static void frozen_bwd(const fc_work *w, const fc_work_member *m, const fc_linear *l, float *dx,
                       const float *dy, const float *x, int64_t N, bool accumulate) {
  for (int i = 0; i < l->n_pieces;) {
    run r = next_run(w, m, l, i);
    if (r.dW || r.dbias)
      fc_k_linear_bwd_weight(r.dW, l->in, r.dbias, dy + r.row, l->out, x, l->in, N, l->in, r.rows);
    if (dx)
      fc_k_linear_bwd_input(dx, l->in, dy + r.row, l->out, r.W, l->in, N, l->in, r.rows,
                            accumulate || i > 0);
    i = r.next;
  }
}

/* ---- adapters: one member's rows ------------------------------------------------------------- */

typedef struct {
  int number, R;
  const float *A, *B;
  float *dA, *dB;
  float *h; /* (N,R) */
} adapter;

static bool find_adapter(const fc_work *w, const fc_work_member *m, const fc_piece *p,
                         int64_t first_row, adapter *a) {
  const fc_trainable *t = m->trainable;
  a->number = fc_trainable_adapter(t, p->weight);
  if (a->number < 0) return false;
  const fc_trainable_part *part = &t->parts[t->lora_a[a->number]];
  a->R = t->lora_rank;
  a->A = m->theta + part[0].offset;
  a->B = m->theta + part[1].offset;
  a->dA = m->dtheta ? m->dtheta + part[0].offset : NULL;
  a->dB = m->dtheta ? m->dtheta + part[1].offset : NULL;
  a->h = w->h[a->number] + first_row * w->trainable->lora_rank;
  return true;
}

/* The adapter's mask: a stream of its own, whatever the order of computation. */
static fc_rng mask_of(const fc_work_member *m, int number) {
  return fc_rng_open(m->dropout_seed, FC_RNG_DROPOUT, (uint64_t)number, 0);
}

static const float *adapter_input(fc_work *w, const fc_work_member *m, const fc_linear *l,
                                  int number, const float *x, int64_t N) {
  if (!w->dropping) return x;
  fc_k_dropout(w->dropped, x, m->trainable->dropout, mask_of(m, number), N * l->in);
  return w->dropped;
}

static void adapter_fwd(fc_work *w, const fc_work_member *m, const fc_linear *l, const fc_piece *p,
                        const adapter *a, float *y, const float *x, int64_t N) {
  const float *in = adapter_input(w, m, l, a->number, x, N);
  fc_k_lora_fwd(y + p->row, l->out, a->h, in, a->A, a->B, m->trainable->scale, N, l->in, p->rows,
                a->R);
}

static void adapter_bwd(fc_work *w, const fc_work_member *m, const fc_linear *l, const fc_piece *p,
                        const adapter *a, float *dx, const float *dy, const float *x, int64_t N) {
  const fc_trainable *t = m->trainable;
  const float *in = adapter_input(w, m, l, a->number, x, N);
  float *din = dx;
  if (w->dropping && dx) {
    din = w->ddropped;
    memset(din, 0, (size_t)(N * l->in) * sizeof *din);
  }
  fc_k_lora_bwd(din, a->dA, a->dB, w->dh, dy + p->row, l->out, in, a->h, a->A, a->B, t->scale, N,
                l->in, p->rows, a->R);
  if (din == dx) return;
  fc_k_dropout(din, din, t->dropout, mask_of(m, a->number), N * l->in);
  fc_k_axpy(dx, 1.0F, din, N * l->in);
}

/* ---- the layer: every member's rows ---------------------------------------------------------- */

void fc_linear_fwd(fc_work *w, const fc_linear *l, float *y, const float *x, const int64_t *bounds,
                   bool accumulate) {
  for (int j = 0, next; j < w->n_members; j = next) {
    next = next_values(w, l, j);
    frozen_fwd(w, &w->members[j], l, y + bounds[j] * l->out, x + bounds[j] * l->in,
               bounds[next] - bounds[j], accumulate);
  }
  for (int j = 0; j < w->n_members; j++) {
    adapter a;
    for (int i = 0; i < l->n_pieces; i++)
      if (find_adapter(w, &w->members[j], &l->piece[i], bounds[j], &a))
        adapter_fwd(w, &w->members[j], l, &l->piece[i], &a, y + bounds[j] * l->out,
                    x + bounds[j] * l->in, bounds[j + 1] - bounds[j]);
  }
}

void fc_linear_bwd(fc_work *w, const fc_linear *l, float *dx, const float *dy, const float *x,
                   const int64_t *bounds, bool accumulate) {
  for (int j = 0, next; j < w->n_members; j = next) {
    next = next_values(w, l, j);
    frozen_bwd(w, &w->members[j], l, dx ? dx + bounds[j] * l->in : NULL, dy + bounds[j] * l->out,
               x + bounds[j] * l->in, bounds[next] - bounds[j], accumulate);
  }
  for (int j = 0; j < w->n_members; j++) {
    adapter a;
    for (int i = 0; i < l->n_pieces; i++)
      if (find_adapter(w, &w->members[j], &l->piece[i], bounds[j], &a))
        adapter_bwd(w, &w->members[j], l, &l->piece[i], &a, dx ? dx + bounds[j] * l->in : NULL,
                    dy + bounds[j] * l->out, x + bounds[j] * l->in, bounds[j + 1] - bounds[j]);
  }
}

/* ---- norms ----------------------------------------------------------------------------------- */

static int next_norm(const fc_work *w, const fc_norm *n, int j) {
  bool is_whole = fc_trainable_whole(w->trainable, n->weight) >= 0 ||
                  fc_trainable_whole(w->trainable, n->bias) >= 0;
  return is_whole ? j + 1 : w->n_members;
}

void fc_norm_fwd(fc_work *w, const fc_norm *n, float *y, float *mean, float *rstd, const float *x,
                 const int64_t *bounds) {
  const fc_model_shape *s = &w->model->shape;
  for (int j = 0, next; j < w->n_members; j = next) {
    next = next_norm(w, n, j);
    const float *gamma = fc_work_tensor(w, &w->members[j], n->weight);
    const float *beta = fc_work_tensor(w, &w->members[j], n->bias);
    int64_t row = bounds[j], N = bounds[next] - row, at = row * s->width;
    if (beta)
      fc_k_layernorm_fwd(y + at, mean + row, rstd + row, x + at, gamma, beta, s->norm_eps, N,
                         s->width);
    else
      fc_k_rmsnorm_fwd(y + at, rstd + row, x + at, gamma, s->norm_eps, N, s->width);
  }
}

void fc_norm_bwd(fc_work *w, const fc_norm *n, float *dx, const float *dy, const float *x,
                 const float *mean, const float *rstd, const int64_t *bounds) {
  int C = w->model->shape.width;
  for (int j = 0, next; j < w->n_members; j = next) {
    next = next_norm(w, n, j);
    const fc_work_member *m = &w->members[j];
    const float *gamma = fc_work_tensor(w, m, n->weight);
    float *dgamma = fc_work_gradient(m, n->weight);
    int64_t row = bounds[j], N = bounds[next] - row, at = row * C;
    if (n->bias == FC_TENSOR_NONE)
      fc_k_rmsnorm_bwd(dx + at, dgamma, dy + at, x + at, gamma, rstd + row, N, C);
    else
      fc_k_layernorm_bwd(dx + at, dgamma, fc_work_gradient(m, n->bias), dy + at, x + at, gamma,
                         mean + row, rstd + row, N, C);
  }
}
