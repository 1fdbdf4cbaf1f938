/* optimizer.c - the element-wise part of the optimisers. */
#include "kernel.h"
#include <assert.h>
#include <math.h>

/* [Loshchilov+Hutter 2019, Alg. 2] with lambda scaled by the learning rate, as torch.optim.AdamW:
 * w -= lr lambda w; m, v moving averages; w -= lr/(1 - beta1^t) m/(sqrt(v/(1 - beta2^t)) + eps). */
FC_K_CLONES
void fc_k_adamw(float *w, float *m, float *v, const float *dw, fc_adamw o, int64_t step,
                int64_t n) {
  const float keep = (float)(1.0 - (double)o.learning_rate * o.weight_decay);
  const float rate = (float)(o.learning_rate / (1.0 - pow(o.beta1, (double)step)));
  const float root = (float)(1.0 / sqrt(1.0 - pow(o.beta2, (double)step)));
  const float b1 = o.beta1, b2 = o.beta2, c1 = 1.0f - o.beta1, c2 = 1.0f - o.beta2, eps = o.eps;
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    const float g = dw[i];
    const float mi = b1 * m[i] + c1 * g;
    const float vi = b2 * v[i] + c2 * g * g;
    m[i] = mi;
    v[i] = vi;
    w[i] = w[i] * keep - rate * mi / (sqrtf(vi) * root + eps);
  }
}

void fc_k_adamw_ref(float *w, float *m, float *v, const float *dw, fc_adamw o, int64_t step,
                    int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const double g = dw[i];
    double wi = w[i] - (double)o.learning_rate * o.weight_decay * w[i];
    const double mi = o.beta1 * (double)m[i] + (1.0 - o.beta1) * g;
    const double vi = o.beta2 * (double)v[i] + (1.0 - o.beta2) * g * g;
    const double m_hat = mi / (1.0 - pow(o.beta1, (double)step));
    const double v_hat = vi / (1.0 - pow(o.beta2, (double)step));
    wi -= o.learning_rate * m_hat / (sqrt(v_hat) + o.eps);
    w[i] = (float)wi;
    m[i] = (float)mi;
    v[i] = (float)vi;
  }
}

FC_K_CLONES
static void sgd_plain(float *w, const float *dw, float lr, float decay, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) w[i] -= lr * (dw[i] + decay * w[i]);
}

FC_K_CLONES
static void sgd_momentum(float *w, float *v, const float *dw, float lr, float decay, float keep,
                         int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    v[i] = keep * v[i] + (dw[i] + decay * w[i]);
    w[i] -= lr * v[i];
  }
}

void fc_k_sgd(float *w, float *v, const float *dw, fc_sgd o, int64_t step, int64_t n) {
  if (o.momentum == 0.0f) {
    sgd_plain(w, dw, o.learning_rate, o.weight_decay, n);
    return;
  }
  assert(v);
  if (step == 1) memset(v, 0, (size_t)n * sizeof *v);
  sgd_momentum(w, v, dw, o.learning_rate, o.weight_decay, o.momentum, n);
}

void fc_k_sgd_ref(float *w, float *v, const float *dw, fc_sgd o, int64_t step, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    double g = dw[i] + (double)o.weight_decay * w[i];
    if (o.momentum != 0.0f) {
      if (step > 1) g += (double)o.momentum * v[i];
      v[i] = (float)g;
    }
    w[i] = (float)(w[i] - o.learning_rate * g);
  }
}
