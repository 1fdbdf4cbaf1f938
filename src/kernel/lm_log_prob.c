/* lm_log_prob.c - log-probabilities and entropies by the language-model head, in chunks of words so
 * that (N,V) logits are never stored. With a = z - max z, S = sum exp a, T = sum a exp(a):
 *   ln p(target) = a_target - ln S          entropy = ln S - T/S
 * When a chunk brings a new maximum, larger by delta, the sums so far become
 *   S <- S exp(-delta)                      T <- (T - delta S) exp(-delta). */
#include "approx.h"
#include "kernel.h"
#include "lm_table.h"
#include "softmax.h"
#include <math.h>

enum { ROW_BLOCK = 256, VOCABULARY_CHUNK = 4096, SUM_BLOCK = 512 };

/* What is known of a row's logits so far. */
typedef struct {
  double sum, moment; /* S and T above */
  float largest, target_logit;
} row_state;

static const row_state fresh_row = {.largest = -INFINITY, .target_logit = NAN};

static int chunk_of(int V) {
  return V < VOCABULARY_CHUNK ? V : VOCABULARY_CHUNK;
}

size_t fc_k_lm_log_prob_scratch(int64_t N, int V) {
  return (size_t)fc_k_max(1, fc_k_min(N, ROW_BLOCK)) * (size_t)chunk_of(V);
}

FC_K_CLONES
static void add_sums(row_state *r, const float *z, float shift, int64_t n) {
  for (int64_t i0 = 0; i0 < n; i0 += SUM_BLOCK) {
    const int64_t end = fc_k_min(n, i0 + SUM_BLOCK);
    float sum = 0.0f, moment = 0.0f;
#pragma omp simd reduction(+ : sum, moment)
    for (int64_t i = i0; i < end; i++) {
      const float a = z[i] - shift, e = fc_exp_negative(a), term = e * a;
      sum += e;
      moment += e == 0.0f ? 0.0f : term; /* 0 times infinity is 0 here; NaN stays */
    }
    r->sum += sum;
    r->moment += moment;
  }
}

/* Takes in logits [v0, v0 + n). */
static void row_take(row_state *r, const float *z, int64_t v0, int64_t n, int32_t target) {
  const float chunk_max = fc_k_row_max(z, n);
  if (chunk_max > r->largest) {
    if (r->sum > 0.0) {
      const double delta = (double)chunk_max - r->largest, factor = exp(-delta);
      r->moment = factor > 0.0 ? (r->moment - delta * r->sum) * factor : 0.0;
      r->sum *= factor;
    }
    r->largest = chunk_max;
  }
  if (target >= v0 && target < v0 + n) r->target_logit = z[target - v0];
  add_sums(r, z, r->largest > -INFINITY ? r->largest : 0.0f, n);
}

void fc_k_lm_log_prob(double *log_prob, double *entropy, const float *x, const fc_lm_table *table,
                      const int32_t *targets, int64_t N, int C, int V, float *scratch) {
  const int chunk = chunk_of(V);
  row_state state[ROW_BLOCK];
  for (int64_t n0 = 0; n0 < N; n0 += ROW_BLOCK) {
    const int64_t rows = fc_k_min(ROW_BLOCK, N - n0);
    for (int64_t i = 0; i < rows; i++) state[i] = fresh_row;
    for (int v0 = 0; v0 < V; v0 += chunk) {
      const fc_k_words words = {table, C, V, v0, (int)fc_k_min(chunk, V - v0)};
      fc_k_words_fwd(scratch, x + n0 * C, words, rows);
      for (int64_t i = 0; i < rows; i++)
        row_take(&state[i], scratch + i * words.n, v0, words.n, targets[n0 + i]);
    }
    for (int64_t i = 0; i < rows; i++) {
      const row_state *r = &state[i];
      log_prob[n0 + i] = (double)r->target_logit - r->largest - log(r->sum);
      entropy[n0 + i] = log(r->sum) - r->moment / r->sum;
    }
  }
}
