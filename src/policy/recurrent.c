/* recurrent.c - the two-branch network, forward and back through time. */
#include "recurrent.h"
#include "fedcell/fc_kernel.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_rng.h"
#include <math.h>
#include <string.h>

enum { WA, BA, WB, BB, W_IN, W_REC, B_LSTM, WZ, BZ, WY, BY };
enum { GATE_I, GATE_F, GATE_G, GATE_O, GATES };

void fc_recurrent_parts(const fc_recurrent_shape *s, fc_recurrent_part part[FC_RECURRENT_PARTS]) {
  const int64_t A = s->a, B = s->b, H = s->hidden, O = s->outputs;
  const fc_recurrent_part all[FC_RECURRENT_PARTS] = {[WA] = {"dense_a.weight", H, A, 0},
                                                     [BA] = {"dense_a.bias", 1, H, 0},
                                                     [WB] = {"dense_b.weight", H, B, 0},
                                                     [BB] = {"dense_b.bias", 1, H, 0},
                                                     [W_IN] = {"lstm.weight_ih", GATES * H, H, 0},
                                                     [W_REC] = {"lstm.weight_hh", GATES * H, H, 0},
                                                     [B_LSTM] = {"lstm.bias", 1, GATES * H, 0},
                                                     [WZ] = {"dense_z.weight", H, 2 * H, 0},
                                                     [BZ] = {"dense_z.bias", 1, H, 0},
                                                     [WY] = {"out.weight", O, H, 0},
                                                     [BY] = {"out.bias", 1, O, 0}};
  size_t offset = 0;
  for (int i = 0; i < FC_RECURRENT_PARTS; i++) {
    part[i] = all[i];
    part[i].offset = offset;
    offset += (size_t)(part[i].rows * part[i].cols);
  }
}

size_t fc_recurrent_count(const fc_recurrent_shape *s) {
  fc_recurrent_part part[FC_RECURRENT_PARTS];
  fc_recurrent_parts(s, part);
  return part[BY].offset + (size_t)s->outputs;
}

void fc_recurrent_init(const fc_recurrent_shape *s, uint64_t seed, uint64_t number, float *theta) {
  /* a bias is drawn from the range of the weights that it goes with */
  const int inputs[FC_RECURRENT_PARTS] = {s->a,          s->a,      s->b,      s->b,
                                          s->hidden,     s->hidden, s->hidden, 2 * s->hidden,
                                          2 * s->hidden, s->hidden, s->hidden};
  fc_recurrent_part part[FC_RECURRENT_PARTS];
  fc_recurrent_parts(s, part);
  for (int i = 0; i < FC_RECURRENT_PARTS; i++) {
    fc_rng rng = fc_rng_open(seed, FC_RNG_WEIGHT_INIT, number, (uint64_t)i);
    const double limit = 1.0 / sqrt((double)inputs[i]);
    const size_t n = (size_t)(part[i].rows * part[i].cols);
    for (size_t k = 0; k < n; k++)
      theta[part[i].offset + k] = (float)(limit * (2.0 * fc_rng_uniform(&rng) - 1.0));
  }
}

struct fc_recurrent {
  fc_recurrent_shape s;
  fc_recurrent_part part[FC_RECURRENT_PARTS];
  fc_slab *slab;
  const float *a, *b; /* of the latest forward pass */
  int episodes, steps;
  /* R rows each */
  float *q;                          /* (R, H) */
  float *gates;                      /* (R, 4H) after their functions */
  float *c;                          /* (R, H) */
  float *joined;                     /* (R, 2H) p, then h */
  float *z;                          /* (R, H) */
  float *y;                          /* (R, O) */
  float *dgates, *djoined, *dq, *dz; /* training alone */
  float *dc;                         /* (episodes, H) */
};

static size_t bytes_of(const fc_recurrent_shape *s, size_t episodes, size_t rows, bool training) {
  const size_t H = (size_t)s->hidden, O = (size_t)s->outputs;
  size_t floats = rows * (H + GATES * H + H + 2 * H + H + O);
  if (training) floats += rows * (GATES * H + 2 * H + H + H) + episodes * H;
  return floats * sizeof(float) + 16 * FC_MEM_ALIGNMENT;
}

fc_err fc_recurrent_create(const fc_recurrent_shape *s, int episodes, int steps, bool training,
                           fc_recurrent **out) {
  const size_t rows = (size_t)episodes * (size_t)steps, H = (size_t)s->hidden;
  fc_recurrent *r = NULL;
  *out = NULL;
  FC_TRY(fc_alloc(1, sizeof *r, &r));
  r->s = *s;
  fc_recurrent_parts(s, r->part);
  fc_err err = fc_slab_create(bytes_of(s, (size_t)episodes, rows, training), &r->slab);
  if (err != FC_ERR_OK) {
    fc_free(r);
    return err;
  }
#define TAKE(n) fc_slab_take(r->slab, (n) * sizeof(float))
  r->q = TAKE(rows * H);
  r->gates = TAKE(rows * GATES * H);
  r->c = TAKE(rows * H);
  r->joined = TAKE(rows * 2 * H);
  r->z = TAKE(rows * H);
  r->y = TAKE(rows * (size_t)s->outputs);
  if (training) {
    r->dgates = TAKE(rows * GATES * H);
    r->djoined = TAKE(rows * 2 * H);
    r->dq = TAKE(rows * H);
    r->dz = TAKE(rows * H);
    r->dc = TAKE((size_t)episodes * H);
  }
#undef TAKE
  *out = r;
  return FC_ERR_OK;
}

void fc_recurrent_destroy(fc_recurrent **recurrent) {
  if (!*recurrent) return;
  fc_slab_destroy(&(*recurrent)->slab);
  fc_free(*recurrent);
  *recurrent = NULL;
}

/* ---- forward --------------------------------------------------------------------------------- */

static float sigmoid(float x) {
  return 1.0F / (1.0F + expf(-x));
}

/* c_t = f c_{t-1} + i g, h_t = o tanh(c_t) of n rows; gates (n, 4H) before their functions and
 * after. before (n, H): c_{t-1}, NULL: 0. h has rows of ldh. */
static void cells(float *gates, const float *before, float *c, float *h, int ldh, int n, int H) {
  for (int e = 0; e < n; e++) {
    float *g = gates + (size_t)e * GATES * (size_t)H;
    for (int k = 0; k < H; k++) {
      const size_t at = (size_t)e * (size_t)H + (size_t)k;
      const float i = sigmoid(g[GATE_I * H + k]), f = sigmoid(g[GATE_F * H + k]);
      const float u = tanhf(g[GATE_G * H + k]), o = sigmoid(g[GATE_O * H + k]);
      const float cell = i * u + (before ? f * before[at] : 0.0F);
      g[GATE_I * H + k] = i;
      g[GATE_F * H + k] = f;
      g[GATE_G * H + k] = u;
      g[GATE_O * H + k] = o;
      c[at] = cell;
      h[(size_t)e * (size_t)ldh + (size_t)k] = o * tanhf(cell);
    }
  }
}

static const float *weight(const fc_recurrent *r, const float *theta, int part) {
  return theta + r->part[part].offset;
}

/* What does not look back: p, q and the input's part of the gates. */
static void branches(fc_recurrent *r, const float *theta, const float *a, const float *b,
                     int64_t rows) {
  const int A = r->s.a, B = r->s.b, H = r->s.hidden;
  fc_k_linear_fwd(r->joined, 2 * H, a, A, weight(r, theta, WA), A, weight(r, theta, BA), rows, A, H,
                  false);
  for (int64_t i = 0; i < rows; i++)
    fc_k_act_fwd(r->joined + i * 2 * H, r->joined + i * 2 * H, FC_ACT_RELU, H);
  fc_k_linear_fwd(r->q, H, b, B, weight(r, theta, WB), B, weight(r, theta, BB), rows, B, H, false);
  fc_k_act_fwd(r->q, r->q, FC_ACT_RELU, rows * H);
  fc_k_linear_fwd(r->gates, GATES * H, r->q, H, weight(r, theta, W_IN), H, weight(r, theta, B_LSTM),
                  rows, H, GATES * H, false);
}

static const float *outputs(fc_recurrent *r, const float *theta, int64_t rows) {
  const int H = r->s.hidden, O = r->s.outputs;
  fc_k_linear_fwd(r->z, H, r->joined, 2 * H, weight(r, theta, WZ), 2 * H, weight(r, theta, BZ),
                  rows, 2 * H, H, false);
  fc_k_act_fwd(r->z, r->z, FC_ACT_RELU, rows * H);
  fc_k_linear_fwd(r->y, O, r->z, H, weight(r, theta, WY), H, weight(r, theta, BY), rows, H, O,
                  false);
  return r->y;
}

const float *fc_recurrent_forward(fc_recurrent *r, const float *theta, const float *a,
                                  const float *b, int episodes, int steps) {
  const int H = r->s.hidden;
  const size_t E = (size_t)episodes;
  r->a = a;
  r->b = b;
  r->episodes = episodes;
  r->steps = steps;
  branches(r, theta, a, b, (int64_t)episodes * steps);
  for (size_t t = 0; t < (size_t)steps; t++) {
    float *gates = r->gates + t * E * GATES * (size_t)H, *h = r->joined + t * E * 2 * (size_t)H + H;
    float *c = r->c + t * E * (size_t)H;
    if (t > 0)
      fc_k_linear_fwd(gates, GATES * H, h - E * 2 * (size_t)H, 2 * H, weight(r, theta, W_REC), H,
                      NULL, episodes, H, GATES * H, true);
    cells(gates, t > 0 ? c - E * (size_t)H : NULL, c, h, 2 * H, episodes, H);
  }
  return outputs(r, theta, (int64_t)episodes * steps);
}

const float *fc_recurrent_step(fc_recurrent *r, const float *theta, const float *a, const float *b,
                               int episodes, float *h, float *c) {
  const int H = r->s.hidden;
  branches(r, theta, a, b, episodes);
  fc_k_linear_fwd(r->gates, GATES * H, h, H, weight(r, theta, W_REC), H, NULL, episodes, H,
                  GATES * H, true);
  cells(r->gates, c, r->c, r->joined + H, 2 * H, episodes, H);
  memcpy(c, r->c, (size_t)episodes * (size_t)H * sizeof *c);
  for (int e = 0; e < episodes; e++)
    memcpy(h + (size_t)e * (size_t)H, r->joined + (size_t)(2 * e + 1) * (size_t)H,
           (size_t)H * sizeof *h);
  return outputs(r, theta, episodes);
}

/* ---- backward -------------------------------------------------------------------------------- */

/* dgates (n, 4H), before their functions, of dh (n, H) ldh; dc (n, H): by c_t, then by c_{t-1}. */
static void cells_back(float *dgates, const float *gates, const float *before, const float *c,
                       const float *dh, int ldh, float *dc, int n, int H) {
  for (int e = 0; e < n; e++) {
    const float *g = gates + (size_t)e * GATES * (size_t)H;
    float *dg = dgates + (size_t)e * GATES * (size_t)H;
    for (int k = 0; k < H; k++) {
      const size_t at = (size_t)e * (size_t)H + (size_t)k;
      const float i = g[GATE_I * H + k], f = g[GATE_F * H + k];
      const float u = g[GATE_G * H + k], o = g[GATE_O * H + k], tc = tanhf(c[at]);
      const float dout = dh[(size_t)e * (size_t)ldh + (size_t)k];
      const float dcell = dc[at] + dout * o * (1 - tc * tc);
      dg[GATE_I * H + k] = dcell * u * i * (1 - i);
      dg[GATE_F * H + k] = before ? dcell * before[at] * f * (1 - f) : 0.0F;
      dg[GATE_G * H + k] = dcell * i * (1 - u * u);
      dg[GATE_O * H + k] = dout * tc * o * (1 - o);
      dc[at] = dcell * f;
    }
  }
}

/* djoined's second halves: by h_t through y_t; what the later steps say is added on the way. */
static void through_time(fc_recurrent *r, const float *theta) {
  const int H = r->s.hidden;
  const size_t E = (size_t)r->episodes;
  memset(r->dc, 0, E * (size_t)H * sizeof *r->dc);
  for (size_t t = (size_t)r->steps; t-- > 0;) {
    float *dgates = r->dgates + t * E * GATES * (size_t)H;
    float *dh = r->djoined + t * E * 2 * (size_t)H + H, *c = r->c + t * E * (size_t)H;
    cells_back(dgates, r->gates + t * E * GATES * (size_t)H, t > 0 ? c - E * (size_t)H : NULL, c,
               dh, 2 * H, r->dc, r->episodes, H);
    if (t > 0)
      fc_k_linear_bwd_input(dh - E * 2 * (size_t)H, 2 * H, dgates, GATES * H,
                            weight(r, theta, W_REC), H, r->episodes, H, GATES * H, true);
  }
}

/* dW += dy^T x and its bias, where dtheta is wanted. */
static void add_weights(const fc_recurrent *r, float *dtheta, int part, const float *dy, int lddy,
                        const float *x, int ldx, int64_t rows) {
  const fc_recurrent_part *w = &r->part[part];
  if (!dtheta) return;
  fc_k_linear_bwd_weight(dtheta + w->offset, (int)w->cols, dtheta + r->part[part + 1].offset, dy,
                         lddy, x, ldx, rows, (int)w->cols, (int)w->rows);
}

/* The LSTM's weights; its bias comes with the input's, as W_REC stands between the two. */
static void add_lstm(const fc_recurrent *r, float *dtheta, int64_t rows) {
  const int H = r->s.hidden;
  const int64_t E = r->episodes;
  fc_k_linear_bwd_weight(dtheta + r->part[W_IN].offset, H, dtheta + r->part[B_LSTM].offset,
                         r->dgates, GATES * H, r->q, H, rows, H, GATES * H);
  if (rows > E) /* h_{t-1} of every step but the first */
    fc_k_linear_bwd_weight(dtheta + r->part[W_REC].offset, H, NULL, r->dgates + E * GATES * H,
                           GATES * H, r->joined + H, 2 * H, rows - E, H, GATES * H);
}

static void branch_b(fc_recurrent *r, const float *theta, float *dtheta, int64_t rows) {
  const int B = r->s.b, H = r->s.hidden;
  through_time(r, theta);
  add_lstm(r, dtheta, rows);
  fc_k_linear_bwd_input(r->dq, H, r->dgates, GATES * H, weight(r, theta, W_IN), H, rows, H,
                        GATES * H, false);
  fc_k_act_bwd(r->dq, r->dq, r->q, FC_ACT_RELU, rows * H);
  add_weights(r, dtheta, WB, r->dq, H, r->b, B, rows);
}

void fc_recurrent_backward(fc_recurrent *r, const float *theta, const float *dy, float *dtheta,
                           float *da) {
  const int A = r->s.a, H = r->s.hidden, O = r->s.outputs;
  const int64_t rows = (int64_t)r->episodes * r->steps;
  add_weights(r, dtheta, WY, dy, O, r->z, H, rows);
  fc_k_linear_bwd_input(r->dz, H, dy, O, weight(r, theta, WY), H, rows, H, O, false);
  fc_k_act_bwd(r->dz, r->dz, r->z, FC_ACT_RELU, rows * H);
  add_weights(r, dtheta, WZ, r->dz, H, r->joined, 2 * H, rows);
  fc_k_linear_bwd_input(r->djoined, 2 * H, r->dz, H, weight(r, theta, WZ), 2 * H, rows, 2 * H, H,
                        false);
  if (dtheta) branch_b(r, theta, dtheta, rows); /* a does not reach it */
  for (int64_t i = 0; i < rows; i++)
    fc_k_act_bwd(r->djoined + i * 2 * H, r->djoined + i * 2 * H, r->joined + i * 2 * H, FC_ACT_RELU,
                 H);
  add_weights(r, dtheta, WA, r->djoined, 2 * H, r->a, A, rows);
  if (da)
    fc_k_linear_bwd_input(da, A, r->djoined, 2 * H, weight(r, theta, WA), A, rows, A, H, false);
}
