/* loss.c - cross entropy, alone and fused with the (tied) language-model head.
 *
 * The fused form never holds (N,V) logits: it gathers blocks of rows that have a target and walks
 * the vocabulary in chunks with a running maximum and sum (online softmax [Milakov+Gimelshein
 * 2018]). The gradient of x needs no second walk: sum_v exp(logit_v - largest) W_v grows on the
 * way, scaled down whenever the maximum rises, and is divided by the sum at the end. Only a
 * gradient of the table itself walks again, unless the vocabulary is a single chunk. */
#include "approx.h"
#include "fedcell/fc_batch.h"
#include "kernel.h"
#include "lm_table.h"
#include "softmax.h"
#include <math.h>

enum { ROW_BLOCK = 256, VOCABULARY_CHUNK = 4096 }; /* a multiple of the panels' 32 */

/* What is known of a row's logits so far. */
typedef struct {
  double sum; /* of exp(logit - largest) */
  float largest, target_logit;
  int32_t best;
} row_state;

static const row_state fresh_row = {.largest = -INFINITY, .target_logit = NAN};

/* Blocks without it are passed over in vectors: a loop that may end anywhere does not become one.
 */
FC_K_CLONES
static int64_t first_equal(const float *x, float value, int64_t n) {
  enum { BLOCK = 64 };
  int64_t i = 0;
  for (int found = 0; i + BLOCK <= n; i += BLOCK) {
#pragma omp simd reduction(| : found)
    for (int j = 0; j < BLOCK; j++) found |= x[i + j] == value;
    if (found) break;
  }
  while (i < n && x[i] != value) i++;
  return i;
}

/* Takes in logits [v0, v0 + n). A sum over nothing but -inf stays 0; NaN stays NaN. exps (n), if
 * not NULL, receives exp(logit - largest); it may be logits. Returns by what exponentials of
 * earlier chunks are to be multiplied. */
static float row_take(row_state *r, float *exps, const float *logits, int64_t v0, int64_t n,
                      int32_t target) {
  const float chunk_max = fc_k_row_max(logits, n);
  float factor = 1.0f;
  if (chunk_max > r->largest) {
    factor = fc_exp(r->largest - chunk_max);
    r->sum *= factor;
    r->largest = chunk_max;
    r->best = (int32_t)(v0 + first_equal(logits, chunk_max, n));
  }
  if (target >= v0 && target < v0 + n) r->target_logit = logits[target - v0];
  const float shift = r->largest > -INFINITY ? r->largest : 0.0f;
  r->sum += exps ? fc_k_row_exp(exps, logits, shift, n) : fc_k_row_exp_sum(logits, shift, n);
  return factor;
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
  fc_lm_table table;
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

static fc_k_words words_at(const head_task *t, int v0) {
  return (fc_k_words){&t->table, t->C, t->V, v0, (int)fc_k_min(t->chunk, t->V - v0)};
}

static bool has_weight_gradient(const head_task *t) {
  return t->dW || t->dbias;
}

/* Losses, and with a gradient of x alone b->dx. */
static void walk(row_block *b, const head_task *t) {
  const bool sums_dx = t->gradient && !has_weight_gradient(t);
  const bool keeps_exps = sums_dx || (t->gradient && t->V <= t->chunk);
  for (int64_t i = 0; i < b->rows; i++) b->state[i] = fresh_row;
  for (int v0 = 0; v0 < t->V; v0 += t->chunk) {
    const fc_k_words words = words_at(t, v0);
    fc_k_words_fwd(b->logits, b->x, words, b->rows);
    for (int64_t i = 0; i < b->rows; i++) {
      float *row = b->logits + i * words.n;
      const float factor =
          row_take(&b->state[i], keeps_exps ? row : NULL, row, v0, words.n, b->target[i]);
      if (sums_dx && v0 > 0 && factor != 1.0f) fc_k_scale(b->dx + i * t->C, factor, t->C);
    }
    if (sums_dx) fc_k_words_bwd_input(b->dx, b->logits, words, b->rows);
  }
}

/* b->dx = scale (sum_v softmax_v W_v - W_target) from the sum of walk. */
static void finish_dx(row_block *b, const head_task *t) {
  for (int64_t i = 0; i < b->rows; i++) {
    float *dx = b->dx + i * t->C;
    fc_k_scale(dx, (float)(b->scale[i] / b->state[i].sum), t->C);
    fc_k_axpy(dx, -b->scale[i], t->table.W + (int64_t)b->target[i] * t->C, t->C);
  }
}

/* b->logits become the gradient of the logits of these words. */
static void chunk_gradient(row_block *b, fc_k_words w, bool is_chunked) {
  if (is_chunked) fc_k_words_fwd(b->logits, b->x, w, b->rows);
  for (int64_t i = 0; i < b->rows; i++) {
    float *row = b->logits + i * w.n;
    if (is_chunked) fc_k_row_exp(row, row, b->state[i].largest, w.n);
    row_gradient(row, row, &b->state[i], w.v0, w.n, b->target[i], b->scale[i]);
  }
}

/* All gradients, when the table has one. */
static void walk_again(row_block *b, const head_task *t) {
  for (int v0 = 0; v0 < t->V; v0 += t->chunk) {
    const fc_k_words words = words_at(t, v0);
    chunk_gradient(b, words, t->V > t->chunk);
    fc_k_words_bwd_input(b->dx, b->logits, words, b->rows);
    fc_k_words_bwd_weight(t->dW, t->dbias, b->logits, b->x, words, b->rows);
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
                  const fc_lm_table *table, const int32_t *targets, const float *scale, int64_t N,
                  int C, int V, float *scratch) {
  const head_task t = {.table = *table,
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
    walk(&b, &t);
    for (int64_t i = 0; i < b.rows; i++) {
      loss[b.at[i]] = row_loss(&b.state[i]);
      if (best) best[b.at[i]] = b.state[i].best;
    }
    if (!dx) continue;
    if (has_weight_gradient(&t))
      walk_again(&b, &t);
    else
      finish_dx(&b, &t);
    for (int64_t i = 0; i < b.rows; i++)
      memcpy(dx + b.at[i] * C, b.dx + i * C, (size_t)C * sizeof *dx);
  }
}
