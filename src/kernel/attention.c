/* attention.c - softmax attention within ragged sequences, one query tile after the other.
 *
 * For each sequence, head and tile of queries the scores against all visible keys are a
 * (QUERY_TILE, T) piece of scratch; only their log-sum-exp is kept [FlashAttention, Alg. 2], from
 * which the backward pass computes the probabilities anew. Masked scores become probability 0. */
#include "kernel.h"
#include "softmax.h"
#include <assert.h>
#include <math.h>

enum { QUERY_TILE = 64 };

/* One head of one sequence: pointers to its first row, distances between rows, its length. */
typedef struct {
  const float *q, *k, *v;
  int64_t ld, out_ld, length;
  int heads, width;
  bool causal;
  float scale;
} head_view;

static head_view view_of(const float *qkv, int64_t first, int64_t length, fc_attention_shape s,
                         int head) {
  const int64_t ld = (int64_t)(s.heads + 2 * s.kv_heads) * s.head_width;
  const int kv = head / (s.heads / s.kv_heads);
  const float *row = qkv + first * ld;
  return (head_view){.q = row + (int64_t)head * s.head_width,
                     .k = row + (int64_t)(s.heads + kv) * s.head_width,
                     .v = row + (int64_t)(s.heads + s.kv_heads + kv) * s.head_width,
                     .ld = ld,
                     .out_ld = (int64_t)s.heads * s.head_width,
                     .length = length,
                     .heads = s.heads,
                     .width = s.head_width,
                     .causal = s.causal,
                     .scale = 1.0f / sqrtf((float)s.head_width)};
}

size_t fc_k_attention_scratch(fc_attention_shape s, int64_t T) {
  (void)s;
  return 2 * (size_t)QUERY_TILE * (size_t)fc_k_max(T, 1);
}

/* score (rows, cols) = scale * Q K^T of the tile at q0. */
static void tile_scores(float *score, const head_view *v, int64_t q0, int64_t rows, int64_t cols) {
  fc_product p = {.transpose_b = true, .alpha = v->scale, .M = rows, .N = cols, .K = v->width};
  fc_k_product(p, score, cols, v->q + q0 * v->ld, v->ld, v->k, v->ld);
}

static int64_t visible_keys(const head_view *v, int64_t query) {
  return v->causal ? query + 1 : v->length;
}

FC_K_CLONES
static void scale_row(float *x, float a, int n) {
#pragma omp simd
  for (int i = 0; i < n; i++) x[i] *= a;
}

static void forward_tile(float *out, float *lse, const head_view *v, int64_t q0, float *score) {
  const int64_t rows = fc_k_min(QUERY_TILE, v->length - q0);
  const int64_t cols = visible_keys(v, q0 + rows - 1);
  float inverse[QUERY_TILE];
  tile_scores(score, v, q0, rows, cols);
  for (int64_t i = 0; i < rows; i++) {
    float *row = score + i * cols;
    const int64_t visible = visible_keys(v, q0 + i);
    const float largest = fc_k_row_max(row, visible);
    const float sum = fc_k_row_exp(row, row, largest, 1.0f, visible);
    memset(row + visible, 0, (size_t)(cols - visible) * sizeof *row);
    inverse[i] = 1.0f / sum;
    lse[(q0 + i) * v->heads] = largest + logf(sum);
  }
  fc_product p = {.alpha = 1, .M = rows, .N = v->width, .K = cols};
  float *o = out + q0 * v->out_ld;
  fc_k_product(p, o, v->out_ld, score, cols, v->v, v->ld);
  for (int64_t i = 0; i < rows; i++) scale_row(o + i * v->out_ld, inverse[i], v->width);
}

void fc_k_attention_fwd(float *out, float *lse, const float *qkv, const int64_t *start,
                        int sequences, fc_attention_shape s, float *scratch) {
  assert(s.heads % s.kv_heads == 0);
  for (int b = 0; b < sequences; b++)
    for (int h = 0; h < s.heads; h++) {
      head_view v = view_of(qkv, start[b], start[b + 1] - start[b], s, h);
      float *o = out + start[b] * v.out_ld + (int64_t)h * s.head_width;
      for (int64_t q0 = 0; q0 < v.length; q0 += QUERY_TILE)
        forward_tile(o, lse + start[b] * s.heads + h, &v, q0, scratch);
    }
}

FC_K_CLONES
static float dot_row(const float *a, const float *b, int n) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

/* ds = scale p (dp - d), in place of dp. */
FC_K_CLONES
static void score_gradient_row(float *dp, const float *p, float d, float scale, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) dp[i] = scale * p[i] * (dp[i] - d);
}

/* The gradient's pointers of one head, laid out as head_view's. */
typedef struct {
  float *dq, *dk, *dv;
  const float *dout, *out, *lse;
} head_gradient;

/* [FlashAttention, Alg. 4]: dV += P^T dO; dP = dO V^T; dS = P (dP - rowsum(dO O)); dQ = dS K;
 * dK += dS^T Q. */
static void backward_tile(const head_gradient *g, const head_view *v, int64_t q0, float *p,
                          float *dp) {
  const int64_t rows = fc_k_min(QUERY_TILE, v->length - q0);
  const int64_t cols = visible_keys(v, q0 + rows - 1);
  const float *dout = g->dout + q0 * v->out_ld, *out = g->out + q0 * v->out_ld;
  tile_scores(p, v, q0, rows, cols);
  for (int64_t i = 0; i < rows; i++) {
    const int64_t visible = visible_keys(v, q0 + i);
    float *row = p + i * cols;
    fc_k_row_exp(row, row, g->lse[(q0 + i) * v->heads], 1.0f, visible);
    memset(row + visible, 0, (size_t)(cols - visible) * sizeof *row);
  }
  fc_product to_dp = {.transpose_b = true, .alpha = 1, .M = rows, .N = cols, .K = v->width};
  fc_k_product(to_dp, dp, cols, dout, v->out_ld, v->v, v->ld);
  fc_product to_key = {
      .transpose_a = true, .accumulate = true, .alpha = 1, .M = cols, .N = v->width, .K = rows};
  fc_k_product(to_key, g->dv, v->ld, p, cols, dout, v->out_ld);
  for (int64_t i = 0; i < rows; i++) {
    const float d = dot_row(dout + i * v->out_ld, out + i * v->out_ld, v->width);
    score_gradient_row(dp + i * cols, p + i * cols, d, v->scale, cols);
  }
  fc_product to_dq = {.alpha = 1, .M = rows, .N = v->width, .K = cols};
  fc_k_product(to_dq, g->dq + q0 * v->ld, v->ld, dp, cols, v->k, v->ld);
  fc_k_product(to_key, g->dk, v->ld, dp, cols, v->q + q0 * v->ld, v->ld);
}

void fc_k_attention_bwd(float *dqkv, const float *dout, const float *qkv, const float *out,
                        const float *lse, const int64_t *start, int sequences, fc_attention_shape s,
                        float *scratch) {
  assert(s.heads % s.kv_heads == 0);
  const int64_t ld = (int64_t)(s.heads + 2 * s.kv_heads) * s.head_width;
  memset(dqkv + start[0] * ld, 0, (size_t)((start[sequences] - start[0]) * ld) * sizeof *dqkv);
  for (int b = 0; b < sequences; b++)
    for (int h = 0; h < s.heads; h++) {
      const head_view v = view_of(qkv, start[b], start[b + 1] - start[b], s, h);
      const int64_t at = start[b] * v.out_ld + (int64_t)h * s.head_width;
      const head_gradient g = {.dq = dqkv + (v.q - qkv),
                               .dk = dqkv + (v.k - qkv),
                               .dv = dqkv + (v.v - qkv),
                               .dout = dout + at,
                               .out = out + at,
                               .lse = lse + start[b] * s.heads + h};
      for (int64_t q0 = 0; q0 < v.length; q0 += QUERY_TILE)
        backward_tile(&g, &v, q0, scratch, scratch + QUERY_TILE * v.length);
    }
}
