/* loss.c - cross entropy, alone and fused with the (tied) language-model head.
 *
 * The fused form never holds (N,V) logits: it gathers blocks of rows that have a target, walks the
 * vocabulary in chunks with a running maximum and sum (online softmax [Milakov+Gimelshein 2018]),
 * and for the gradient walks it again. A vocabulary of one chunk is walked once. */
#include "approx.h"
#include "fedcell/fc_batch.h"
#include "kernel.h"
#include "softmax.h"
#include <math.h>

enum { ROW_BLOCK = 256, VOCABULARY_CHUNK = 4096 };

/* What is known of a row's logits so far. */
typedef struct {
  double sum; /* of exp(logit - largest) */
  float largest, target_logit;
  int32_t best;
} row_state;

static const row_state fresh_row = {.largest = -INFINITY, .target_logit = NAN};

static int64_t first_equal(const float *x, float value, int64_t n) {
  int64_t i = 0;
  while (i < n && x[i] != value) i++;
  return i;
}

/* Takes in logits [v0, v0 + n). A sum over nothing but -inf stays 0; NaN stays NaN. exps (n), if
 * not NULL, receives exp(logit - largest); it may be logits, which must then be the whole row. */
static void row_take(row_state *r, float *exps, const float *logits, int64_t v0, int64_t n,
                     int32_t target) {
  const float chunk_max = fc_k_row_max(logits, n);
  if (chunk_max > r->largest) {
    r->sum *= fc_exp(r->largest - chunk_max);
    r->largest = chunk_max;
    r->best = (int32_t)(v0 + first_equal(logits, chunk_max, n));
  }
  if (target >= v0 && target < v0 + n) r->target_logit = logits[target - v0];
  const float shift = r->largest > -INFINITY ? r->largest : 0.0f;
  r->sum += exps ? fc_k_row_exp(exps, logits, shift, n) : fc_k_row_exp_sum(logits, shift, n);
}

static float row_loss(const row_state *r) {
  return (float)(log(r->sum) + ((double)r->largest - r->target_logit));
}

/* d (n) = scale (softmax - onehot) of words [v0, v0 + n), from exponentials of row_take. */
static void row_gradient(float *d, const float *exps, const row_state *r, int64_t v0, int64_t n,
                         int32_t target, float scale) {
  fc_k_row_scale(d, exps, (float)(scale / r->sum), n);
  if (target >= v0 && target < v0 + n) d[target - v0] -= scale;
}

void fc_k_xent(float *loss, int32_t *best, float *dlogits, const float *logits,
               const int32_t *targets, float scale, int64_t N, int V) {
  for (int64_t n = 0; n < N; n++) {
    const int32_t target = targets[n];
    const bool counted = target != FC_TARGET_IGNORE;
    float *d = dlogits ? dlogits + n * V : NULL;
    row_state r = fresh_row;
    row_take(&r, d, logits + n * V, 0, V, target);
    loss[n] = counted ? row_loss(&r) : 0.0f;
    if (best) best[n] = r.best;
    if (!d) continue;
    if (counted)
      row_gradient(d, d, &r, 0, V, target, scale);
    else
      memset(d, 0, (size_t)V * sizeof *d);
  }
}

/* ---- fused with the head --------------------------------------------------------------------- */

/* The weights and where gradients go; the same for every block of rows. */
typedef struct {
  const float *W, *bias;
  float *dW, *dbias;
  int C, V, chunk;
  bool gradient;
} head_task;

/* A block of up to ROW_BLOCK rows that have a target. */
typedef struct {
  int64_t rows;
  int64_t at[ROW_BLOCK]; /* where the row stands in x */
  int32_t target[ROW_BLOCK];
  float scale[ROW_BLOCK];
  row_state state[ROW_BLOCK];
  float *x, *dx, *logits; /* (rows,C), (rows,C), (rows,chunk) */
} row_block;

static int chunk_of(int V) {
  return V < VOCABULARY_CHUNK ? V : VOCABULARY_CHUNK;
}

size_t fc_k_lm_head_scratch(int64_t N, int C, int V) {
  const size_t rows = (size_t)fc_k_max(1, fc_k_min(N, ROW_BLOCK));
  return rows * (2 * (size_t)C + (size_t)chunk_of(V));
}

static void block_logits(row_block *b, const head_task *t, int v0, int n) {
  fc_k_linear_fwd(b->logits, n, b->x, t->C, t->W + (int64_t)v0 * t->C, t->C,
                  t->bias ? t->bias + v0 : NULL, b->rows, t->C, n, false);
}

/* A vocabulary of one chunk is walked once if a gradient follows: the exponentials stay. */
static bool keeps_exponentials(const head_task *t) {
  return t->gradient && t->V <= t->chunk;
}

static void block_forward(row_block *b, const head_task *t) {
  for (int64_t i = 0; i < b->rows; i++) b->state[i] = fresh_row;
  for (int v0 = 0; v0 < t->V; v0 += t->chunk) {
    const int n = (int)fc_k_min(t->chunk, t->V - v0);
    block_logits(b, t, v0, n);
    for (int64_t i = 0; i < b->rows; i++) {
      float *row = b->logits + i * n;
      row_take(&b->state[i], keeps_exponentials(t) ? row : NULL, row, v0, n, b->target[i]);
    }
  }
}

static void chunk_gradient(row_block *b, const head_task *t, int v0, int n) {
  if (!keeps_exponentials(t)) {
    block_logits(b, t, v0, n);
    for (int64_t i = 0; i < b->rows; i++)
      fc_k_row_exp(b->logits + i * n, b->logits + i * n, b->state[i].largest, n);
  }
  for (int64_t i = 0; i < b->rows; i++) {
    float *row = b->logits + i * n;
    row_gradient(row, row, &b->state[i], v0, n, b->target[i], b->scale[i]);
  }
}

static void block_backward(row_block *b, const head_task *t) {
  for (int v0 = 0; v0 < t->V; v0 += t->chunk) {
    const int n = (int)fc_k_min(t->chunk, t->V - v0);
    chunk_gradient(b, t, v0, n);
    const float *W = t->W + (int64_t)v0 * t->C;
    fc_k_linear_bwd_input(b->dx, t->C, b->logits, n, W, t->C, b->rows, t->C, n, v0 > 0);
    if (t->dW || t->dbias)
      fc_k_linear_bwd_weight(t->dW ? t->dW + (int64_t)v0 * t->C : NULL, t->C,
                             t->dbias ? t->dbias + v0 : NULL, b->logits, n, b->x, t->C, b->rows,
                             t->C, n);
  }
}

/* Fills b with the next rows that have a target; returns the row after them. */
static int64_t block_gather(row_block *b, const float *x, const int32_t *targets,
                            const float *scale, int64_t n, int64_t N, int C) {
  b->rows = 0;
  for (; n < N && b->rows < ROW_BLOCK; n++) {
    if (targets[n] == FC_TARGET_IGNORE) continue;
    memcpy(b->x + b->rows * C, x + n * C, (size_t)C * sizeof *x);
    b->at[b->rows] = n;
    b->scale[b->rows] = scale[n];
    b->target[b->rows++] = targets[n];
  }
  return n;
}

void fc_k_lm_head(float *loss, int32_t *best, float *dx, float *dW, float *dbias, const float *x,
                  const float *W, const float *bias, const int32_t *targets, const float *scale,
                  int64_t N, int C, int V, float *scratch) {
  const head_task t = {.W = W,
                       .bias = bias,
                       .dW = dW,
                       .dbias = dbias,
                       .C = C,
                       .V = V,
                       .chunk = chunk_of(V),
                       .gradient = dx != NULL};
  const int64_t block_rows = fc_k_min(N, ROW_BLOCK);
  row_block b = {
      .x = scratch, .dx = scratch + block_rows * C, .logits = scratch + 2 * block_rows * C};
  memset(loss, 0, (size_t)N * sizeof *loss);
  if (dx) memset(dx, 0, (size_t)(N * C) * sizeof *dx);
  for (int64_t n = 0; best && n < N; n++) best[n] = -1;
  for (int64_t n = 0; n < N;) {
    n = block_gather(&b, x, targets, scale, n, N, C);
    if (b.rows == 0) break;
    block_forward(&b, &t);
    for (int64_t i = 0; i < b.rows; i++) {
      loss[b.at[i]] = row_loss(&b.state[i]);
      if (best) best[b.at[i]] = b.state[i].best;
    }
    if (!dx) continue;
    block_backward(&b, &t);
    for (int64_t i = 0; i < b.rows; i++)
      memcpy(dx + b.at[i] * C, b.dx + i * C, (size_t)C * sizeof *dx);
  }
}
