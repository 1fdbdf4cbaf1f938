/* loss_ref.c - the yardsticks of loss.c, in double; the fused head holds one row's sums only. */
#include "fedcell/fc_batch.h"
#include "kernel.h"
#include <math.h>

void fc_k_xent_ref(float *loss, int32_t *best, float *dlogits, const float *logits,
                   const int32_t *targets, float scale, int64_t N, int V) {
  for (int64_t n = 0; n < N; n++) {
    const float *row = logits + n * V;
    int32_t b = 0;
    double sum = 0.0, largest = -INFINITY;
    for (int v = 0; v < V; v++)
      if (row[v] > largest) {
        b = v;
        largest = row[v];
      }
    for (int v = 0; v < V; v++) sum += exp(row[v] - largest);
    const double lse = largest + log(sum);
    const bool counted = targets[n] != FC_TARGET_IGNORE;
    loss[n] = counted ? (float)(lse - row[targets[n]]) : 0.0f;
    if (best) best[n] = b;
    for (int v = 0; dlogits && v < V; v++) {
      const double d = exp(row[v] - lse) - (v == targets[n]);
      dlogits[n * V + v] = counted ? (float)(scale * d) : 0.0f;
    }
  }
}

static double logit(const float *x, const float *W, const float *bias, int v, int C) {
  double sum = bias ? bias[v] : 0.0;
  for (int c = 0; c < C; c++) sum += (double)x[c] * W[(int64_t)v * C + c];
  return sum;
}

/* Gradient of one row: dx (C) is overwritten, dW and dbias are added to. */
static void row_gradient(float *dx, float *dW, float *dbias, const float *x, const float *W,
                         const float *bias, double lse, int target, double scale, int C, int V) {
  for (int c = 0; c < C; c++) {
    double sum = 0.0;
    for (int v = 0; v < V; v++) {
      const double d = scale * (exp(logit(x, W, bias, v, C) - lse) - (v == target));
      sum += d * W[(int64_t)v * C + c];
      if (dW) dW[(int64_t)v * C + c] += (float)(d * x[c]);
      if (dbias && c == 0) dbias[v] += (float)d;
    }
    dx[c] = (float)sum;
  }
}

void fc_k_lm_head_ref(float *loss, int32_t *best, float *dx, float *dW, float *dbias,
                      const float *x, const fc_lm_table *table, const int32_t *targets,
                      const float *scale, int64_t N, int C, int V, float *scratch) {
  const float *W = table->W, *bias = table->bias;
  (void)scratch;
  for (int64_t n = 0; n < N; n++) {
    const float *row = x + n * C;
    loss[n] = 0.0f;
    if (best) best[n] = -1;
    if (dx) memset(dx + n * C, 0, (size_t)C * sizeof *dx);
    if (targets[n] == FC_TARGET_IGNORE) continue;
    double largest = -INFINITY, sum = 0.0;
    int32_t b = 0;
    for (int v = 0; v < V; v++) {
      const double l = logit(row, W, bias, v, C);
      if (l > largest) b = v;
      largest = l > largest ? l : largest;
    }
    for (int v = 0; v < V; v++) sum += exp(logit(row, W, bias, v, C) - largest);
    const double lse = largest + log(sum);
    loss[n] = (float)(lse - logit(row, W, bias, targets[n], C));
    if (best) best[n] = b;
    if (dx) row_gradient(dx + n * C, dW, dbias, row, W, bias, lse, targets[n], scale[n], C, V);
  }
}

void fc_k_lm_log_prob_ref(double *log_prob, double *entropy, const float *x,
                          const fc_lm_table *table, const int32_t *targets, int64_t N, int C, int V,
                          float *scratch) {
  const float *W = table->W, *bias = table->bias;
  (void)scratch;
  for (int64_t n = 0; n < N; n++) {
    const float *row = x + n * C;
    double largest = -INFINITY, sum = 0.0;
    for (int v = 0; v < V; v++) largest = fmax(largest, logit(row, W, bias, v, C));
    for (int v = 0; v < V; v++) sum += exp(logit(row, W, bias, v, C) - largest);
    log_prob[n] = logit(row, W, bias, targets[n], C) - largest - log(sum);
    entropy[n] = 0.0;
    for (int v = 0; v < V; v++) {
      const double log_p = logit(row, W, bias, v, C) - largest - log(sum), p = exp(log_p);
      if (p > 0.0) entropy[n] -= p * log_p;
    }
  }
}
