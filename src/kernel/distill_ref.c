/* distill_ref.c - the yardsticks of distill.c, in double. */
#include "kernel.h"
#include <math.h>

/* A row's logits: as they are, or the product of x with a table. */
typedef struct {
  const float *logits; /* (V) or NULL */
  const float *x;      /* (C) */
  const fc_lm_table *table;
  int C, V;
  double lse;
} row;

static double logit(const row *r, int v) {
  if (r->logits) return r->logits[v];
  double sum = r->table->bias ? r->table->bias[v] : 0.0;
  for (int c = 0; c < r->C; c++) sum += (double)r->x[c] * r->table->W[(int64_t)v * r->C + c];
  return sum;
}

static row with_lse(row r) {
  double largest = -INFINITY, sum = 0.0;
  for (int v = 0; v < r.V; v++) largest = logit(&r, v) > largest ? logit(&r, v) : largest;
  for (int v = 0; v < r.V; v++) sum += exp(logit(&r, v) - largest);
  r.lse = largest + log(sum);
  return r;
}

static double log_p(const row *r, int v) {
  return logit(r, v) - r->lse;
}

static double divergence(const row *student, const row *teacher) {
  double sum = 0.0;
  for (int v = 0; v < student->V; v++) {
    const double p = exp(log_p(teacher, v));
    if (p != 0.0) sum += p * (log_p(teacher, v) - log_p(student, v));
  }
  return sum;
}

static double derivative(const row *student, const row *teacher, int v) {
  return exp(log_p(student, v)) - exp(log_p(teacher, v));
}

void fc_k_kl_ref(float *loss, float *dlogits, const float *logits, const float *teacher,
                 float scale, int64_t N, int V) {
  for (int64_t n = 0; n < N; n++) {
    const row s = with_lse((row){.logits = logits + n * V, .V = V});
    const row t = with_lse((row){.logits = teacher + n * V, .V = V});
    loss[n] = (float)divergence(&s, &t);
    for (int v = 0; dlogits && v < V; v++)
      dlogits[n * V + v] = (float)(scale * derivative(&s, &t, v));
  }
}

void fc_k_lm_distill_ref(float *loss, float *dx, float *dW, float *dbias, const float *x,
                         const float *x_teacher, const fc_lm_table *table,
                         const fc_lm_table *teacher, float scale, int64_t N, int C, int V,
                         float *scratch) {
  (void)scratch;
  for (int64_t n = 0; n < N; n++) {
    const row s = with_lse((row){.x = x + n * C, .table = table, .C = C, .V = V});
    const row t = with_lse((row){.x = x_teacher + n * C, .table = teacher, .C = C, .V = V});
    loss[n] = (float)divergence(&s, &t);
    for (int c = 0; dx && c < C; c++) {
      double sum = 0.0;
      for (int v = 0; v < V; v++) {
        const double d = scale * derivative(&s, &t, v);
        sum += d * table->W[(int64_t)v * C + c];
        if (dW) dW[(int64_t)v * C + c] += (float)(d * x[n * C + c]);
        if (dbias && c == 0) dbias[v] += (float)d;
      }
      dx[n * C + c] = (float)sum;
    }
  }
}
