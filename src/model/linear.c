/* linear.c - one linear layer or norm with whatever is trained on it.
 *   y = W x + b + (alpha/R) B A dropout(x)                                    [LoRA (3)]
 * Pieces of a product (Q, K, V) whose values lie next to each other are computed as one, and so are
 * the rows of all devices of a cohort where their weights are the same frozen ones, cut alike. */
#include "internal.h"
#include <string.h>

/* Neighbours in the cohort whose values of the layer are the same, with their rows of the layer's
 * arrays: x (N,cut.in), y (N,cut.out), at these places of them. */
typedef struct {
  fc_span span;
  fc_cut cut;
  int64_t x, y;
} group;

static bool next_group(const fc_work *w, const fc_linear *l, const int64_t *bounds, group *g) {
  bool alone = fc_trainable_has_whole(w->trainable, l);
  if (!fc_work_next_span(w, l->layer, l->unit, alone, bounds, &g->span)) return false;
  const fc_span *s = &g->span;
  g->cut = fc_linear_cut(l, s->kept);
  g->x = l->cuts_in ? s->before * (l->in / l->units) : s->first * l->in;
  g->y = l->cuts_in ? s->first * l->out : s->before * (l->out / l->units);
  return true;
}

/* A run of strips that form one matrix in memory. */
typedef struct {
  int from, row, rows, first, next; /* strips [first, next) */
  bool is_frozen;
  const float *W, *bias;
  float *dW, *dbias;
} run;

static const float *after(const float *p, size_t n) {
  return p ? p + n : NULL;
}

static float *follows(float *p, size_t n) {
  return p ? p + n : NULL;
}

static bool extends(const run *r, const run *next, size_t in) {
  size_t rows = (size_t)r->rows;
  bool bias = r->bias ? next->bias == r->bias + rows : !next->bias;
  return next->W == r->W + rows * in && bias && next->dW == follows(r->dW, rows * in) &&
         next->dbias == follows(r->dbias, rows);
}

static run strip_run(const fc_work *w, const fc_linear *l, const group *g, int i) {
  const fc_work_member *m = &w->members[g->span.j];
  const fc_strip *s = &g->cut.strip[i];
  const fc_piece *p = &l->piece[s->piece];
  size_t skipped = (size_t)(s->from - p->row); /* rows of the piece */
  return (run){.from = s->from,
               .row = s->row,
               .rows = s->rows,
               .first = i,
               .next = i + 1,
               .is_frozen = fc_trainable_whole(m->trainable, p->weight) < 0,
               .W = fc_work_tensor(w, m, p->weight) + skipped * (size_t)l->in,
               .bias = after(fc_work_tensor(w, m, p->bias), skipped),
               .dW = follows(fc_work_gradient(m, p->weight), skipped * (size_t)l->in),
               .dbias = follows(fc_work_gradient(m, p->bias), skipped)};
}

static run next_run(const fc_work *w, const fc_linear *l, const group *g, int i) {
  run r = strip_run(w, l, g, i);
  while (r.next < g->cut.n) {
    run more = strip_run(w, l, g, r.next);
    if (!extends(&r, &more, (size_t)l->in)) break;
    r.rows += more.rows;
    r.next = more.next;
  }
  return r;
}

/* What becomes of the sums: added to y, or activated into another array. */
typedef struct {
  bool accumulate;
  float *act_out; /* as y, NULL: none */
  fc_act act;
} epilogue;

/* ---- adapters: one member's rows, one strip --------------------------------------------------
 *
 * Where a view cuts a piece with an adapter in several strips (GPT-2's fused Q, K and V), each is
 * taken as an adapter of its own with the same A: the gradients of the strips add up to A's. */

typedef struct {
  const fc_work_member *m;
  int row, O;       /* outputs */
  int64_t first, N; /* rows of the group */
  int number, R;
  const float *A, *B; /* A (R,cut.in) of the layer's width `in`, B (O,R) */
  float *dA, *dB;     /* NULL: out of scope */
  float *h, *dh;      /* (N,R) */
} adapter;

/* *a: the adapter of member j on strip i. False if it has none. */
static bool find_adapter(const fc_work *w, const fc_linear *l, const group *g,
                         const int64_t *bounds, int j, int i, adapter *a) {
  const fc_work_member *m = &w->members[j];
  const fc_trainable *t = m->trainable;
  const fc_strip *s = &g->cut.strip[i];
  const fc_piece *p = &l->piece[s->piece];
  int number = fc_trainable_adapter(t, p->weight);
  if (number < 0) return false;
  const fc_trainable_part *part = &t->parts[t->lora_a[number]];
  size_t A = part[0].offset, B = part[1].offset + (size_t)(s->from - p->row) * (size_t)t->lora_rank;
  int64_t before = bounds[j] * w->trainable->lora_rank;
  bool is_trained = m->dtheta && fc_scope_trains(&m->scope, t->model, p->weight);
  *a = (adapter){.m = m,
                 .row = s->row,
                 .O = s->rows,
                 .first = bounds[j] - g->span.first,
                 .N = bounds[j + 1] - bounds[j],
                 .number = number,
                 .R = t->lora_rank,
                 .A = m->theta + A,
                 .B = m->theta + B,
                 .dA = is_trained ? m->dtheta + A : NULL,
                 .dB = is_trained ? m->dtheta + B : NULL,
                 .h = w->h[number] + before,
                 .dh = w->dh ? w->dh[i] + before : NULL};
  return true;
}

/* The adapter's mask: a stream of its own, whatever the order of computation. */
static fc_rng mask_of(const adapter *a) {
  return fc_rng_open(a->m->dropout_seed, FC_RNG_DROPOUT, (uint64_t)a->number, 0);
}

/* x (all rows of the group) as the adapter sees its own. */
static const float *adapter_input(fc_work *w, const group *g, const adapter *a, const float *x) {
  x += a->first * g->cut.in;
  if (!w->dropping) return x;
  fc_k_dropout(w->dropped, x, a->m->trainable->dropout, mask_of(a), a->N * g->cut.in);
  return w->dropped;
}

static void adapter_fwd(fc_work *w, const fc_linear *l, const group *g, const adapter *a, float *y,
                        const float *x) {
  fc_k_lora_fwd(y + a->first * g->cut.out + a->row, g->cut.out, a->h, adapter_input(w, g, a, x),
                a->A, l->in, a->B, a->m->trainable->scale, a->N, g->cut.in, a->O, a->R);
}

/* dx NULL: the gradients of A and B alone, and a->dh. */
static void adapter_bwd(fc_work *w, const fc_linear *l, const group *g, const adapter *a, float *dx,
                        const float *dy, const float *x) {
  const fc_trainable *t = a->m->trainable;
  const int64_t inputs = a->N * g->cut.in;
  const float *in = adapter_input(w, g, a, x);
  float *own = dx ? dx + a->first * g->cut.in : NULL, *din = own;
  if (w->dropping && own) {
    din = w->ddropped;
    memset(din, 0, (size_t)inputs * sizeof *din);
  }
  fc_k_lora_bwd(din, a->dA, a->dB, a->dh, dy + a->first * g->cut.out + a->row, g->cut.out, in, a->h,
                a->A, l->in, a->B, t->scale, a->N, g->cut.in, a->O, a->R);
  if (din == own) return;
  fc_k_dropout(din, din, t->dropout, mask_of(a), inputs);
  fc_k_axpy(own, 1.0F, din, inputs);
}

/* ---- a run of a group in bf16: its adapters are terms of the product ------------------------- */

enum { PANEL_STEP = 32 }; /* outputs and inputs at which a view of panels can begin */

/* Whether the model has panels of which the run is a view. */
static bool has_panels(const fc_work *w, const fc_linear *l, const run *r) {
  return w->model->panels && l->has_panels && r->is_frozen && r->from % PANEL_STEP == 0;
}

static void packed_fwd(fc_work *w, const fc_linear *l, const run *r, const group *g, float *y,
                       const float *x, const int64_t *bounds, const epilogue *then) {
  const fc_cut *c = &g->cut;
  fc_bf16_epilogue e = {.bias = r->bias, .accumulate = then->accumulate, .term = w->terms};
  if (then->act_out) {
    e.act_out = then->act_out + g->y + r->row;
    e.act = then->act;
  }
  adapter a;
  for (int j = g->span.j; j < g->span.next; j++)
    for (int i = r->first; i < r->next; i++) {
      if (!find_adapter(w, l, g, bounds, j, i, &a)) continue;
      fc_k_linear_fwd(a.h, a.R, adapter_input(w, g, &a, x), c->in, a.A, l->in, NULL, a.N, c->in,
                      a.R, false);
      w->terms[e.terms++] = (fc_lora_term){.row = a.first,
                                           .rows = a.N,
                                           .column = a.row - r->row,
                                           .columns = a.O,
                                           .h = a.h,
                                           .B = a.B,
                                           .R = a.R,
                                           .B_o = a.R,
                                           .B_r = 1,
                                           .s = a.m->trainable->scale};
    }
  fc_k_linear_bf16(y + r->row, c->out, x, c->in,
                   fc_k_bf16_at(w->model->panels + l->panels, l->in, r->from, 0), l->in, g->span.N,
                   c->in, r->rows, &e);
}

/* Dropout's mask lies between the adapter's gradient and dx, which then is no term. */
static void packed_bwd(fc_work *w, const fc_linear *l, const run *r, const group *g, float *dx,
                       const float *dy, const float *x, const int64_t *bounds, bool accumulate) {
  const fc_cut *c = &g->cut;
  fc_bf16_epilogue e = {.accumulate = accumulate, .term = w->terms};
  adapter a;
  for (int j = g->span.j; j < g->span.next && !w->dropping; j++)
    for (int i = r->first; i < r->next; i++) {
      if (!find_adapter(w, l, g, bounds, j, i, &a)) continue;
      adapter_bwd(w, l, g, &a, NULL, dy, x);
      w->terms[e.terms++] = (fc_lora_term){.row = a.first,
                                           .rows = a.N,
                                           .columns = c->in,
                                           .h = a.dh,
                                           .B = a.A,
                                           .R = a.R,
                                           .B_o = 1,
                                           .B_r = l->in,
                                           .s = 1.0F};
    }
  fc_k_linear_bf16(dx, c->in, dy + r->row, c->out,
                   fc_k_bf16_at(w->model->panels + l->panels_t, l->out, 0, r->from), l->out,
                   g->span.N, r->rows, c->in, &e);
}

/* ---- a run of a group; x, y, dx, dy: the group's ----------------------------------------------
 */

static void activate(const run *r, const group *g, const float *y, const epilogue *then) {
  for (int64_t n = 0; then->act_out && n < g->span.N; n++) {
    int64_t at = n * g->cut.out + r->row;
    fc_k_act_fwd(then->act_out + g->y + at, y + at, then->act, r->rows);
  }
}

static void run_fwd(fc_work *w, const fc_linear *l, const run *r, const group *g, float *y,
                    const float *x, const int64_t *bounds, const epilogue *then) {
  const fc_cut *c = &g->cut;
  adapter a;
  if (has_panels(w, l, r)) {
    packed_fwd(w, l, r, g, y, x, bounds, then);
    return;
  }
  fc_k_linear_fwd(y + r->row, c->out, x, c->in, r->W, l->in, r->bias, g->span.N, c->in, r->rows,
                  then->accumulate);
  for (int j = g->span.j; j < g->span.next; j++)
    for (int i = r->first; i < r->next; i++)
      if (find_adapter(w, l, g, bounds, j, i, &a)) adapter_fwd(w, l, g, &a, y, x);
  activate(r, g, y, then);
}

static void run_bwd(fc_work *w, const fc_linear *l, const run *r, const group *g, float *dx,
                    const float *dy, const float *x, const int64_t *bounds, bool accumulate) {
  const fc_cut *c = &g->cut;
  bool is_packed = dx && has_panels(w, l, r);
  adapter a;
  if (r->dW || r->dbias)
    fc_k_linear_bwd_weight(r->dW, l->in, r->dbias, dy + r->row, c->out, x, c->in, g->span.N, c->in,
                           r->rows);
  if (is_packed)
    packed_bwd(w, l, r, g, dx, dy, x, bounds, accumulate);
  else if (dx)
    fc_k_linear_bwd_input(dx, c->in, dy + r->row, c->out, r->W, l->in, g->span.N, c->in, r->rows,
                          accumulate);
  if (is_packed && !w->dropping) return;
  for (int j = g->span.j; j < g->span.next; j++)
    for (int i = r->first; i < r->next; i++)
      if (find_adapter(w, l, g, bounds, j, i, &a)) adapter_bwd(w, l, g, &a, dx, dy, x);
}

/* ---- the layer ------------------------------------------------------------------------------- */

static void forward(fc_work *w, const fc_linear *l, float *y, const float *x, const int64_t *bounds,
                    epilogue then) {
  for (group g = {0}; next_group(w, l, bounds, &g);)
    for (int i = 0; i < g.cut.n;) {
      run r = next_run(w, l, &g, i);
      run_fwd(w, l, &r, &g, y + g.y, x + g.x, bounds, &then);
      i = r.next;
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
  for (group g = {0}; next_group(w, l, bounds, &g);)
    for (int i = 0; i < g.cut.n;) {
      run r = next_run(w, l, &g, i);
      run_bwd(w, l, &r, &g, dx ? dx + g.x : NULL, dy + g.y, x + g.x, bounds, accumulate || i > 0);
      i = r.next;
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
