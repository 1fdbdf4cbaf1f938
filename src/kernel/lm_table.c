/* lm_table.c - products of rows with a part of the LM head's table. */
#include "lm_table.h"

void fc_k_words_fwd(float *logits, const float *x, fc_k_words w, int64_t rows) {
  const fc_lm_table *t = w.table;
  const float *bias = t->bias ? t->bias + w.v0 : NULL;
  const fc_bf16_epilogue with_bias = {.bias = bias};
  if (t->panels)
    fc_k_linear_bf16(logits, w.n, x, w.C, fc_k_bf16_at(t->panels, w.C, w.v0, 0), w.C, rows, w.C,
                     w.n, &with_bias);
  else
    fc_k_linear_fwd(logits, w.n, x, w.C, t->W + (int64_t)w.v0 * w.C, w.C, bias, rows, w.C, w.n,
                    false);
}

void fc_k_words_bwd_input(float *dx, const float *dlogits, fc_k_words w, int64_t rows) {
  const fc_lm_table *t = w.table;
  const fc_bf16_epilogue sum = {.accumulate = w.v0 > 0};
  if (t->panels_t)
    fc_k_linear_bf16(dx, w.C, dlogits, w.n, fc_k_bf16_at(t->panels_t, w.V, 0, w.v0), w.V, rows, w.n,
                     w.C, &sum);
  else
    fc_k_linear_bwd_input(dx, w.C, dlogits, w.n, t->W + (int64_t)w.v0 * w.C, w.C, rows, w.C, w.n,
                          w.v0 > 0);
}

void fc_k_words_bwd_weight(float *dW, float *dbias, const float *dlogits, const float *x,
                           fc_k_words w, int64_t rows) {
  fc_k_linear_bwd_weight(dW ? dW + (int64_t)w.v0 * w.C : NULL, w.C, dbias ? dbias + w.v0 : NULL,
                         dlogits, w.n, x, w.C, rows, w.C, w.n);
}
