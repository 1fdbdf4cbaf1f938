/* linear.c - one linear layer or norm with whatever is trained on it.
 *   y = W x + b + (alpha/R) B A dropout(x)                                    [LoRA (3)]
 * Pieces of a product (Q, K, V) whose values lie next to each other are computed as one, and so are
 * the rows of all devices of a cohort where their weights are the same frozen ones. */
#include "internal.h"
#include <string.h>

/* A run of pieces that form one matrix in memory. */
typedef struct {
  int row, rows, first, next; /* pieces [first, next) */
  bool is_frozen;
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
               .first = i,
               .next = i + 1,
               .is_frozen = fc_trainable_whole(m->trainable, p->weight) < 0,
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

/* The rows of the members [j, next), whose values of the layer are the same. */
typedef struct {
  int j, next;
  int64_t first, N;
} group;

static group group_from(const fc_work *w, const fc_linear *l, const int64_t *bounds, int j) {
  int next = fc_trainable_has_whole(w->trainable, l) ? j + 1 : w->n_members;
  return (group){j, next, bounds[j], bounds[next] - bounds[j]};
}

/* What becomes of the sums: added to y, or activated into another array. */
typedef struct {
  bool accumulate;
  float *act_out; /* (N,out), NULL: none */
  fc_act act;
} epilogue;

/* ---- adapters: one member's rows, one piece -------------------------------------------------- */

typedef struct {
  const fc_work_member *m;
  const fc_piece *piece;
  int64_t first, N; /* rows of the cohort */
  int number, R;
  const float *A, *B;
  float *dA, *dB;
  float *h, *dh; /* (N,R) */
} adapter;

/* *a: the adapter of member j on piece i. False if it has none. */
static bool find_adapter(const fc_work *w, const fc_linear *l, const int64_t *bounds, int j, int i,
                         adapter *a) {
  const fc_work_member *m = &w->members[j];
  const fc_trainable *t = m->trainable;
  const fc_piece *p = &l->piece[i];
  int number = fc_trainable_adapter(t, p->weight);
  if (number < 0) return false;
  const fc_trainable_part *part = &t->parts[t->lora_a[number]];
  int64_t before = bounds[j] * w->trainable->lora_rank;
  *a = (adapter){.m = m,
                 .piece = p,
                 .first = bounds[j],
                 .N = bounds[j + 1] - bounds[j],
                 .number = number,
                 .R = t->lora_rank,
                 .A = m->theta + part[0].offset,
                 .B = m->theta + part[1].offset,
                 .dA = m->dtheta ? m->dtheta + part[0].offset : NULL,
                 .dB = m->dtheta ? m->dtheta + part[1].offset : NULL,
                 .h = w->h[number] + before,
                 .dh = w->dh ? w->dh[i] + before : NULL};
  return true;
}

/* The adapter's mask: a stream of its own, whatever the order of computation. */
static fc_rng mask_of(const adapter *a) {
  return fc_rng_open(a->m->dropout_seed, FC_RNG_DROPOUT, (uint64_t)a->number, 0);
}

/* x (all rows of the cohort) as the adapter sees its own. */
static const float *adapter_input(fc_work *w, const fc_linear *l, const adapter *a,
                                  const float *x) {
  x += a->first * l->in;
  if (!w->dropping) return x;
  fc_k_dropout(w->dropped, x, a->m->trainable->dropout, mask_of(a), a->N * l->in);
  return w->dropped;
}

static void adapter_fwd(fc_work *w, const fc_linear *l, const adapter *a, float *y,
                        const float *x) {
  fc_k_lora_fwd(y + a->first * l->out + a->piece->row, l->out, a->h, adapter_input(w, l, a, x),
                a->A, a->B, a->m->trainable->scale, a->N, l->in, a->piece->rows, a->R);
}

/* dx NULL: the gradients of A and B alone, and a->dh. */
static void adapter_bwd(fc_work *w, const fc_linear *l, const adapter *a, float *dx,
                        const float *dy, const float *x) {
  const fc_trainable *t = a->m->trainable;
  const float *in = adapter_input(w, l, a, x);
  float *own = dx ? dx + a->first * l->in : NULL, *din = own;
  if (w->dropping && own) {
    din = w->ddropped;
    memset(din, 0, (size_t)(a->N * l->in) * sizeof *din);
  }
  fc_k_lora_bwd(din, a->dA, a->dB, a->dh, dy + a->first * l->out + a->piece->row, l->out, in, a->h,
                a->A, a->B, t->scale, a->N, l->in, a->piece->rows, a->R);
  if (din == own) return;
  fc_k_dropout(din, din, t->dropout, mask_of(a), a->N * l->in);
  fc_k_axpy(own, 1.0F, din, a->N * l->in);
}

/* ---- a run of a group in bf16: its adapters are terms of the product ------------------------- */

/* Whether the model has panels of which the run is a view. */
static bool has_panels(const fc_work *w, const fc_linear *l, const run *r) {
  return w->model->panels && l->has_panels && r->is_frozen && r->row % 32 == 0;
}

static void packed_fwd(fc_work *w, const fc_linear *l, const run *r, const group *g, float *y,
                       const float *x, const int64_t *bounds, const epilogue *then) {
  fc_bf16_epilogue e = {.bias = r->bias, .accumulate = then->accumulate, .term = w->terms};
  if (then->act_out) {
    e.act_out = then->act_out + g->first * l->out + r->row;
    e.act = then->act;
  }
  adapter a;
  for (int j = g->j; j < g->next; j++)
    for (int i = r->first; i < r->next; i++) {
      if (!find_adapter(w, l, bounds, j, i, &a)) continue;
      fc_k_linear_fwd(a.h, a.R, adapter_input(w, l, &a, x), l->in, a.A, l->in, NULL, a.N, l->in,
                      a.R, false);
      w->terms[e.terms++] = (fc_lora_term){.row = a.first - g->first,
                                           .rows = a.N,
                                           .column = a.piece->row - r->row,
                                           .columns = a.piece->rows,
                                           .h = a.h,
                                           .B = a.B,
                                           .R = a.R,
                                           .B_o = a.R,
                                           .B_r = 1,
                                           .s = a.m->trainable->scale};
    }
  fc_k_linear_bf16(y + g->first * l->out + r->row, l->out, x + g->first * l->in, l->in,
                   fc_k_bf16_at(w->model->panels + l->panels, l->in, r->row, 0), l->in, g->N, l->in,
                   r->rows, &e);
}

/* Dropout's mask lies between the adapter's gradient and dx, which then is no term. */
static void packed_bwd(fc_work *w, const fc_linear *l, const run *r, const group *g, float *dx,
                       const float *dy, const float *x, const int64_t *bounds, bool accumulate) {
  fc_bf16_epilogue e = {.accumulate = accumulate, .term = w->terms};
  adapter a;
  for (int j = g->j; j < g->next && !w->dropping; j++)
    for (int i = r->first; i < r->next; i++) {
      if (!find_adapter(w, l, bounds, j, i, &a)) continue;
      adapter_bwd(w, l, &a, NULL, dy, x);
      w->terms[e.terms++] = (fc_lora_term){.row = a.first - g->first,
                                           .rows = a.N,
                                           .columns = l->in,
                                           .h = a.dh,
                                           .B = a.A,
                                           .R = a.R,
                                           .B_o = 1,
                                           .B_r = l->in,
                                           .s = 1.0F};
    }
  fc_k_linear_bf16(dx + g->first * l->in, l->in, dy + g->first * l->out + r->row, l->out,
                   fc_k_bf16_at(w->model->panels + l->panels_t, l->out, 0, r->row), l->out, g->N,
                   r->rows, l->in, &e);
}

/* ---- a run of a group ------------------------------------------------------------------------ */

static void activate(const fc_linear *l, const run *r, const group *g, const float *y,
                     const epilogue *then) {
  for (int64_t n = g->first; then->act_out && n < g->first + g->N; n++)
    fc_k_act_fwd(then->act_out + n * l->out + r->row, y + n * l->out + r->row, then->act, r->rows);
}

static void run_fwd(fc_work *w, const fc_linear *l, const run *r, const group *g, float *y,
                    const float *x, const int64_t *bounds, const epilogue *then) {
  adapter a;
  if (has_panels(w, l, r)) {
    packed_fwd(w, l, r, g, y, x, bounds, then);
    return;
  }
  fc_k_linear_fwd(y + g->first * l->out + r->row, l->out, x + g->first * l->in, l->in, r->W, l->in,
                  r->bias, g->N, l->in, r->rows, then->accumulate);
  for (int j = g->j; j < g->next; j++)
    for (int i = r->first; i < r->next; i++)
      if (find_adapter(w, l, bounds, j, i, &a)) adapter_fwd(w, l, &a, y, x);
  activate(l, r, g, y, then);
}

static void run_bwd(fc_work *w, const fc_linear *l, const run *r, const group *g, float *dx,
                    const float *dy, const float *x, const int64_t *bounds, bool accumulate) {
  const float *own_dy = dy + g->first * l->out + r->row;
  bool is_packed = dx && has_panels(w, l, r);
  adapter a;
  if (r->dW || r->dbias)
    fc_k_linear_bwd_weight(r->dW, l->in, r->dbias, own_dy, l->out, x + g->first * l->in, l->in,
                           g->N, l->in, r->rows);
  if (is_packed)
    packed_bwd(w, l, r, g, dx, dy, x, bounds, accumulate);
  else if (dx)
    fc_k_linear_bwd_input(dx + g->first * l->in, l->in, own_dy, l->out, r->W, l->in, g->N, l->in,
                          r->rows, accumulate);
  if (is_packed && !w->dropping) return;
  for (int j = g->j; j < g->next; j++)
    for (int i = r->first; i < r->next; i++)
      if (find_adapter(w, l, bounds, j, i, &a)) adapter_bwd(w, l, &a, dx, dy, x);
}

/* ---- the layer ------------------------------------------------------------------------------- */

static void forward(fc_work *w, const fc_linear *l, float *y, const float *x, const int64_t *bounds,
                    epilogue then) {
  for (int j = 0; j < w->n_members;) {
    group g = group_from(w, l, bounds, j);
    for (int i = 0; i < l->n_pieces;) {
      run r = next_run(w, &w->members[j], l, i);
      run_fwd(w, l, &r, &g, y, x, bounds, &then);
      i = r.next;
    }
    j = g.next;
  }
}

void fc_linear_fwd(fc_work *w, const fc_linear *l, float *y, const float *x, const int64_t *bounds,
                   bool accumulate) {
  forward(w, l, y, x, bounds, (epilogue){.accumulate = accumulate});
}

void fc_linear_act_fwd(fc_work *w, const fc_linear *l, float *y, float *act_out, fc_act act,
                       const float *x, const int64_t *bounds) {
  forward(w, l, y, x, bounds, (epilogue){.act_out = act_out, .act = act});
}

void fc_linear_bwd(fc_work *w, const fc_linear *l, float *dx, const float *dy, const float *x,
                   const int64_t *bounds, bool accumulate) {
  for (int j = 0; j < w->n_members;) {
    group g = group_from(w, l, bounds, j);
    for (int i = 0; i < l->n_pieces;) {
      run r = next_run(w, &w->members[j], l, i);
      run_bwd(w, l, &r, &g, dx, dy, x, bounds, accumulate || i > 0);
      i = r.next;
    }
    j = g.next;
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
