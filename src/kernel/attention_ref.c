/* attention_ref.c - the yardstick of attention.c: one score at a time, in double, without tiles. */
#include "kernel.h"
#include <math.h>

/* Where query i of a head and key/value j of its group stand in a qkv row. */
typedef struct {
  int64_t ld, q, k, v;
  int width;
  double scale;
} head_place;

static head_place place_of(fc_attention_shape s, int head) {
  const int kv = head / (s.heads / s.kv_heads);
  return (head_place){.ld = (int64_t)(s.heads + 2 * s.kv_heads) * s.head_width,
                      .q = (int64_t)head * s.head_width,
                      .k = (int64_t)(s.heads + kv) * s.head_width,
                      .v = (int64_t)(s.heads + s.kv_heads + kv) * s.head_width,
                      .width = s.head_width,
                      .scale = 1.0 / sqrt((double)s.head_width)};
}

static double score(const float *qkv, head_place p, int64_t i, int64_t j) {
  double sum = 0.0;
  for (int c = 0; c < p.width; c++)
    sum += (double)qkv[i * p.ld + p.q + c] * qkv[j * p.ld + p.k + c];
  return sum * p.scale;
}

/* Rows whose keys query i sees: [first, shared_end) and [own, end), either maybe empty. */
typedef struct {
  int64_t first, shared_end, own, end;
} visible;

static visible visible_of(fc_attention_shape s, const int64_t *start, int b, int64_t i) {
  return (visible){.first = start[0],
                   .shared_end = s.shares_first && b > 0 ? start[1] : start[0],
                   .own = start[b],
                   .end = s.causal ? i + 1 : start[b + 1]};
}

static int64_t first_key(visible k) {
  return k.first < k.shared_end ? k.first : k.own;
}

static int64_t next_key(visible k, int64_t j) {
  return j + 1 == k.shared_end && j < k.own ? k.own : j + 1;
}

static double log_sum_exp(const float *qkv, head_place p, int64_t i, visible k) {
  double largest = -INFINITY, sum = 0.0;
  for (int64_t j = first_key(k); j < k.end; j = next_key(k, j))
    largest = fmax(largest, score(qkv, p, i, j));
  for (int64_t j = first_key(k); j < k.end; j = next_key(k, j))
    sum += exp(score(qkv, p, i, j) - largest);
  return largest + log(sum);
}

void fc_k_attention_fwd_ref(float *out, float *lse, const float *qkv, const int64_t *start,
                            int sequences, fc_attention_shape s, float *scratch) {
  (void)scratch;
  for (int b = 0; b < sequences; b++)
    for (int h = 0; h < s.heads; h++)
      for (int64_t i = start[b]; i < start[b + 1]; i++) {
        const head_place p = place_of(s, h);
        const visible k = visible_of(s, start, b, i);
        const double l = log_sum_exp(qkv, p, i, k);
        float *o = out + (i * s.heads + h) * s.head_width;
        lse[i * s.heads + h] = (float)l;
        for (int c = 0; c < s.head_width; c++) {
          double sum = 0.0;
          for (int64_t j = first_key(k); j < k.end; j = next_key(k, j))
            sum += exp(score(qkv, p, i, j) - l) * qkv[j * p.ld + p.v + c];
          o[c] = (float)sum;
        }
      }
}

/* Adds what query i of head h contributes to dqkv. */
static void backward_query(float *dqkv, const float *dout, const float *qkv, const float *out,
                           double lse, head_place p, int64_t i, visible k) {
  double d = 0.0;
  for (int c = 0; c < p.width; c++) d += (double)dout[c] * out[c];
  for (int64_t j = first_key(k); j < k.end; j = next_key(k, j)) {
    const double prob = exp(score(qkv, p, i, j) - lse);
    double dprob = 0.0;
    for (int c = 0; c < p.width; c++) dprob += (double)dout[c] * qkv[j * p.ld + p.v + c];
    const double dscore = prob * (dprob - d) * p.scale;
    for (int c = 0; c < p.width; c++) {
      dqkv[i * p.ld + p.q + c] += (float)(dscore * qkv[j * p.ld + p.k + c]);
      dqkv[j * p.ld + p.k + c] += (float)(dscore * qkv[i * p.ld + p.q + c]);
      dqkv[j * p.ld + p.v + c] += (float)(prob * dout[c]);
    }
  }
}

void fc_k_attention_bwd_ref(float *dqkv, const float *dout, const float *qkv, const float *out,
                            const float *lse, const int64_t *start, int sequences,
                            fc_attention_shape s, float *scratch) {
  (void)scratch;
  const int64_t ld = (int64_t)(s.heads + 2 * s.kv_heads) * s.head_width;
  memset(dqkv + start[0] * ld, 0, (size_t)((start[sequences] - start[0]) * ld) * sizeof *dqkv);
  for (int b = 0; b < sequences; b++)
    for (int h = 0; h < s.heads; h++)
      for (int64_t i = start[b]; i < start[b + 1]; i++) {
        const int64_t at = (i * s.heads + h) * s.head_width;
        backward_query(dqkv, dout + at, qkv, out + at, lse[i * s.heads + h], place_of(s, h), i,
                       visible_of(s, start, b, i));
      }
}

/* One head of one query: key j's element c in k[j / panel][c][j % panel]. */
static void after_head(float *out, const float *q, const float *k, int64_t panel_ld, const float *v,
                       int64_t keys, int width, float *score) {
  double largest = -INFINITY, sum = 0.0;
  for (int64_t j = 0; j < keys; j++) {
    const float *key = k + j / FC_K_KEY_PANEL * panel_ld + j % FC_K_KEY_PANEL;
    double product = 0.0;
    for (int c = 0; c < width; c++) product += (double)q[c] * key[c * FC_K_KEY_PANEL];
    score[j] = (float)(product / sqrt((double)width));
    if (!(score[j] <= largest)) largest = score[j];
  }
  for (int64_t j = 0; j < keys; j++) sum += exp(score[j] - largest);
  for (int c = 0; c < width; c++) {
    double mean = 0.0;
    for (int64_t j = 0; j < keys; j++) mean += exp(score[j] - largest) / sum * v[j * width + c];
    out[c] = (float)mean;
  }
}

void fc_k_attention_after_ref(float *out, const float *q, int ldq, const float *k, const float *v,
                              int64_t capacity, int64_t past, int64_t n, fc_attention_shape s,
                              float *scratch) {
  const int64_t width = s.head_width, panel_ld = s.kv_heads * width * FC_K_KEY_PANEL;
  for (int64_t i = 0; i < n; i++)
    for (int h = 0; h < s.heads; h++) {
      const int64_t kv = h / (s.heads / s.kv_heads);
      after_head(out + (i * s.heads + h) * width, q + i * ldq + h * width,
                 k + kv * width * FC_K_KEY_PANEL, panel_ld, v + kv * capacity * width, past + i + 1,
                 s.head_width, scratch);
    }
}
