/* attention.c - softmax attention within ragged sequences, one query tile after the other.
 *
 * For each sequence, head and tile of queries the scores against all visible keys are a
 * (QUERY_TILE, T) piece of scratch; only their log-sum-exp is kept [FlashAttention, Alg. 2], from
 * which the backward pass computes the probabilities anew. Masked scores and the padding of a row
 * are -inf, so that their probability is 0. */
#include "approx.h"
#include "kernel.h"
#include <assert.h>
#include <math.h>

enum {
  QUERY_TILE = 64,
  LANES = 16 /* score rows are padded to whole vectors: most sequences are short */
};

/* One head of one sequence: pointers to the first row of its queries, keys and values, distances
 * between rows, and how many queries there are. They see `keys` keys or, causally, all up to their
 * own, which `past` keys precede; the first `shared` of all keys and values lie elsewhere. */
typedef struct {
  const float *q, *k, *v;
  const float *shared_k, *shared_v;
  int64_t shared;
  int64_t ld, v_ld, out_ld, length, keys, past;
  int64_t panel_ld; /* between panels of keys; 0: none, keys are rows of distance ld */
  int heads, width;
  bool causal;
  float scale;
} head_view;

/* Of sequence b. */
static head_view view_of(const float *qkv, const int64_t *start, int b, fc_attention_shape s,
                         int head) {
  const int64_t ld = (int64_t)(s.heads + 2 * s.kv_heads) * s.head_width;
  const int64_t length = start[b + 1] - start[b];
  const int64_t shared = s.shares_first && b > 0 ? start[1] - start[0] : 0;
  const int kv = head / (s.heads / s.kv_heads);
  const int64_t k = (int64_t)(s.heads + kv) * s.head_width;
  const int64_t v = k + (int64_t)s.kv_heads * s.head_width;
  const float *row = qkv + start[b] * ld, *first = qkv + start[0] * ld;
  return (head_view){.q = row + (int64_t)head * s.head_width,
                     .k = row + k,
                     .v = row + v,
                     .shared_k = first + k,
                     .shared_v = first + v,
                     .shared = shared,
                     .past = shared,
                     .ld = ld,
                     .v_ld = ld,
                     .out_ld = (int64_t)s.heads * s.head_width,
                     .length = length,
                     .keys = length,
                     .heads = s.heads,
                     .width = s.head_width,
                     .causal = s.causal,
                     .scale = 1.0f / sqrtf((float)s.head_width)};
}

static int64_t round_up(int64_t x, int64_t unit) {
  return (x + unit - 1) / unit * unit;
}

static int64_t padded(int64_t cols) {
  return round_up(cols, LANES);
}

size_t fc_k_attention_scratch(fc_attention_shape s, int64_t T) {
  (void)s;
  return 2 * (size_t)QUERY_TILE * (size_t)round_up(fc_k_max(T, 1), FC_K_KEY_PANEL);
}

/* The queries [first, first + rows) of a head against its keys [0, cols), padded to ld. */
typedef struct {
  int64_t first, rows, cols, ld;
} query_tile;

static query_tile tile_at(const head_view *v, int64_t first) {
  const int64_t rows = fc_k_min(QUERY_TILE, v->length - first);
  const int64_t cols = v->causal ? v->past + first + rows : v->keys;
  const int64_t ld = v->panel_ld ? round_up(cols, FC_K_KEY_PANEL) : padded(cols);
  return (query_tile){.first = first, .rows = rows, .cols = cols, .ld = ld};
}

/* Keys, or values: the shared ones and the sequence's own. */
typedef struct {
  const float *shared, *own;
} two_parts;

/* out (rows, cols) = alpha X Y^T: X (rows, width) of queries, Y keys or values. */
static void by_keys(float *out, const head_view *v, query_tile t, float alpha, const float *x,
                    int64_t x_ld, two_parts y) {
  fc_product p = {.transpose_b = true, .alpha = alpha, .M = t.rows, .N = v->shared, .K = v->width};
  if (v->shared) fc_k_product(p, out, t.ld, x, x_ld, y.shared, v->ld);
  p.N = t.cols - v->shared;
  fc_k_product(p, out + v->shared, t.ld, x, x_ld, y.own, v->ld);
}

/* out (rows, width) = X Y: X (rows, cols) of scores, Y keys or values. */
static void over_keys(float *out, int64_t out_ld, const head_view *v, query_tile t, const float *x,
                      two_parts y, int64_t y_ld) {
  fc_product p = {.alpha = 1, .M = t.rows, .N = v->width, .K = v->shared};
  if (v->shared) fc_k_product(p, out, out_ld, x, t.ld, y.shared, y_ld);
  p.accumulate = v->shared > 0;
  p.K = t.cols - v->shared;
  fc_k_product(p, out, out_ld, x + v->shared, t.ld, y.own, y_ld);
}

/* score (rows, ld) = scale * Q K^T, -inf where masked and in the padding. */
static void tile_scores(float *score, const head_view *v, query_tile t) {
  const float *q = v->q + t.first * v->ld;
  const fc_product panel = {.alpha = v->scale, .M = t.rows, .N = FC_K_KEY_PANEL, .K = v->width};
  const fc_product_distance next = {.c = FC_K_KEY_PANEL, .b = v->panel_ld};
  if (v->panel_ld)
    fc_k_products(panel, t.ld / FC_K_KEY_PANEL, next, score, t.ld, q, v->ld, v->k, FC_K_KEY_PANEL);
  else
    by_keys(score, v, t, v->scale, q, v->ld, (two_parts){v->shared_k, v->k});
  for (int64_t i = 0; i < t.rows; i++)
    for (int64_t j = v->causal ? v->past + t.first + i + 1 : t.cols; j < t.ld; j++)
      score[i * t.ld + j] = -INFINITY;
}

/* score = exp(score - largest of the row), largest and sum (rows) of each row. */
FC_K_CLONES
static void tile_softmax(float *score, float *row_largest, float *row_sum, query_tile t) {
  for (int64_t i = 0; i < t.rows; i++) {
    float *row = score + i * t.ld;
    float largest = -INFINITY, sum = 0.0f;
#pragma omp simd reduction(max : largest)
    for (int64_t j = 0; j < t.ld / LANES * LANES; j++)
      largest = row[j] > largest ? row[j] : largest;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < t.ld / LANES * LANES; j++) {
      row[j] = fc_exp_negative(row[j] - largest);
      sum += row[j];
    }
    row_largest[i] = largest;
    row_sum[i] = sum;
  }
}

FC_K_CLONES
static void divide_rows(float *out, int64_t ld, const float *divisor, int64_t rows, int width) {
  for (int64_t i = 0; i < rows; i++, out += ld) {
    const float factor = 1.0f / divisor[i];
#pragma omp simd
    for (int c = 0; c < width; c++) out[c] *= factor;
  }
}

/* lse may be NULL. */
static void forward_tile(float *out, float *lse, const head_view *v, query_tile t, float *score) {
  float largest[QUERY_TILE], sum[QUERY_TILE];
  tile_scores(score, v, t);
  tile_softmax(score, largest, sum, t);
  for (int64_t i = 0; lse && i < t.rows; i++)
    lse[(t.first + i) * v->heads] = largest[i] + logf(sum[i]);
  float *o = out + t.first * v->out_ld;
  over_keys(o, v->out_ld, v, t, score, (two_parts){v->shared_v, v->v}, v->v_ld);
  divide_rows(o, v->out_ld, sum, t.rows, v->width);
}

void fc_k_attention_fwd(float *out, float *lse, const float *qkv, const int64_t *start,
                        int sequences, fc_attention_shape s, float *scratch) {
  assert(s.heads % s.kv_heads == 0);
  for (int b = 0; b < sequences; b++)
    for (int h = 0; h < s.heads; h++) {
      head_view v = view_of(qkv, start, b, s, h);
      float *o = out + start[b] * v.out_ld + (int64_t)h * s.head_width;
      for (int64_t q0 = 0; q0 < v.length; q0 += QUERY_TILE)
        forward_tile(o, lse + start[b] * s.heads + h, &v, tile_at(&v, q0), scratch);
    }
}

/* A single token's heads of one group are queries side by side that see the same keys. Of n groups,
 * `rows` queries each, v is the first one's view; all scores come before the values, so that the
 * products of several groups go side by side. */
static void after_groups(float *out, head_view v, int64_t n, int64_t rows, int64_t next_v,
                         float *score) {
  float largest[QUERY_TILE], sum[QUERY_TILE];
  query_tile t = {.rows = rows, .cols = v.keys, .ld = round_up(v.keys, FC_K_KEY_PANEL)};
  for (int64_t i = 0; i < n; i++) {
    tile_scores(score + i * rows * t.ld, &v, t);
    v.q += rows * v.width;
    v.k += v.width * FC_K_KEY_PANEL;
  }
  t.rows = n * rows;
  tile_softmax(score, largest, sum, t);
  const fc_product p = {.alpha = 1, .M = rows, .N = v.width, .K = t.cols};
  fc_k_products(p, n, (fc_product_distance){rows * v.width, rows * t.ld, next_v}, out, v.width,
                score, t.ld, v.v, v.width);
  divide_rows(out, v.width, sum, t.rows, v.width);
}

/* As many groups at a time as the scratch has rows for. */
static void after_token(float *out, const head_view *v, int kv_heads, int64_t group,
                        int64_t capacity, float *scratch) {
  const int64_t many = fc_k_max(1, QUERY_TILE / group);
  for (int64_t kv = 0; kv < kv_heads; kv += many)
    for (int64_t q0 = 0; q0 < group; q0 += QUERY_TILE) {
      head_view some = *v;
      some.q += (kv * group + q0) * v->width;
      some.k += kv * v->width * FC_K_KEY_PANEL;
      some.v += kv * capacity * v->width;
      after_groups(out + (kv * group + q0) * v->width, some, fc_k_min(many, kv_heads - kv),
                   fc_k_min(QUERY_TILE, group - q0), capacity * v->width, scratch);
    }
}

void fc_k_attention_after(float *out, const float *q, int ldq, const float *k, const float *v,
                          int64_t capacity, int64_t past, int64_t n, fc_attention_shape s,
                          float *scratch) {
  const int group = s.heads / s.kv_heads, width = s.head_width;
  const head_view first = {.q = q,
                           .k = k,
                           .v = v,
                           .ld = n == 1 ? width : ldq,
                           .v_ld = width,
                           .panel_ld = (int64_t)s.kv_heads * width * FC_K_KEY_PANEL,
                           .out_ld = (int64_t)s.heads * width,
                           .length = n,
                           .keys = past + n,
                           .past = past,
                           .width = width,
                           .causal = n > 1,
                           .scale = 1.0f / sqrtf((float)width)};
  assert(s.heads % s.kv_heads == 0);
  if (n == 1) after_token(out, &first, s.kv_heads, group, capacity, scratch);
  for (int64_t h = 0; n > 1 && h < s.heads; h++) {
    head_view view = first;
    view.q += h * width;
    view.k += h / group * width * FC_K_KEY_PANEL;
    view.v += h / group * capacity * width;
    for (int64_t q0 = 0; q0 < n; q0 += QUERY_TILE)
      forward_tile(out + h * width, NULL, &view, tile_at(&view, q0), scratch);
  }
}

/* The gradient's pointers of one head, laid out as head_view's. */
typedef struct {
  float *dq, *dk, *dv, *shared_dk, *shared_dv;
  const float *dout, *out, *lse;
} head_gradient;

/* p = exp(score - lse), in place. */
FC_K_CLONES
static void tile_probabilities(float *p, const float *lse, int64_t lse_ld, query_tile t) {
  for (int64_t i = 0; i < t.rows; i++, p += t.ld) {
    const float shift = lse[i * lse_ld];
#pragma omp simd
    for (int64_t j = 0; j < t.ld / LANES * LANES; j++) p[j] = fc_exp_negative(p[j] - shift);
  }
}

/* dS = scale P (dP - rowsum(dO O)), in place of dP; the padding of dP is not used. */
FC_K_CLONES
static void tile_score_gradient(float *dp, const float *p, const float *dout, const float *out,
                                const head_view *v, query_tile t) {
  const int width = v->width;
  const float scale = v->scale;
  for (int64_t i = 0; i < t.rows; i++) {
    float d = 0.0f;
#pragma omp simd reduction(+ : d)
    for (int c = 0; c < width; c++) d += dout[c] * out[c];
#pragma omp simd
    for (int64_t j = 0; j < t.ld / LANES * LANES; j++) dp[j] = scale * p[j] * (dp[j] - d);
    dp += t.ld, p += t.ld;
    dout += v->out_ld, out += v->out_ld;
  }
}

/* The keys' or values' gradients += X^T Y: X (rows, cols) of scores, Y (rows, width) of queries. */
static void onto_keys(float *shared, float *own, const head_view *v, query_tile t, const float *x,
                      const float *y, int64_t y_ld) {
  fc_product p = {.transpose_a = true,
                  .accumulate = true,
                  .alpha = 1,
                  .M = v->shared,
                  .N = v->width,
                  .K = t.rows};
  if (v->shared) fc_k_product(p, shared, v->ld, x, t.ld, y, y_ld);
  p.M = t.cols - v->shared;
  fc_k_product(p, own, v->ld, x + v->shared, t.ld, y, y_ld);
}

/* [FlashAttention, Alg. 4]: dV += P^T dO; dP = dO V^T; dS = P (dP - rowsum(dO O)); dQ = dS K;
 * dK += dS^T Q. */
static void backward_tile(const head_gradient *g, const head_view *v, query_tile t, float *p,
                          float *dp) {
  const float *dout = g->dout + t.first * v->out_ld, *out = g->out + t.first * v->out_ld;
  const int64_t at = t.first * v->ld;
  tile_scores(p, v, t);
  tile_probabilities(p, g->lse + t.first * v->heads, v->heads, t);
  by_keys(dp, v, t, 1, dout, v->out_ld, (two_parts){v->shared_v, v->v});
  onto_keys(g->shared_dv, g->dv, v, t, p, dout, v->out_ld);
  tile_score_gradient(dp, p, dout, out, v, t);
  over_keys(g->dq + at, v->ld, v, t, dp, (two_parts){v->shared_k, v->k}, v->ld);
  onto_keys(g->shared_dk, g->dk, v, t, dp, v->q + at, v->ld);
}

void fc_k_attention_bwd(float *dqkv, const float *dout, const float *qkv, const float *out,
                        const float *lse, const int64_t *start, int sequences, fc_attention_shape s,
                        float *scratch) {
  assert(s.heads % s.kv_heads == 0);
  const int64_t ld = (int64_t)(s.heads + 2 * s.kv_heads) * s.head_width;
  memset(dqkv + start[0] * ld, 0, (size_t)((start[sequences] - start[0]) * ld) * sizeof *dqkv);
  for (int b = 0; b < sequences; b++)
    for (int h = 0; h < s.heads; h++) {
      const head_view v = view_of(qkv, start, b, s, h);
      const int64_t at = start[b] * v.out_ld + (int64_t)h * s.head_width;
      const head_gradient g = {.dq = dqkv + (v.q - qkv),
                               .dk = dqkv + (v.k - qkv),
                               .dv = dqkv + (v.v - qkv),
                               .shared_dk = dqkv + (v.shared_k - qkv),
                               .shared_dv = dqkv + (v.shared_v - qkv),
                               .dout = dout + at,
                               .out = out + at,
                               .lse = lse + start[b] * s.heads + h};
      for (int64_t q0 = 0; q0 < v.length; q0 += QUERY_TILE)
        backward_tile(&g, &v, tile_at(&v, q0), scratch,
                      scratch + QUERY_TILE * padded(v.past + v.length));
    }
}
