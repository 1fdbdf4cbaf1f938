/* linear_bf16_ref.c - the yardstick of linear_bf16.c: one loop per sum, accumulated in double. */
#include "bf16.h"

static void add_term_ref(float *y, int ldy, const fc_lora_term *t) {
  for (int64_t n = 0; n < t->rows; n++)
    for (int o = 0; o < t->columns; o++) {
      double sum = 0.0;
      for (int r = 0; r < t->R; r++)
        sum += (double)t->h[n * t->R + r] * t->B[(int64_t)o * t->B_o + (int64_t)r * t->B_r];
      float *to = y + (t->row + n) * ldy + t->column + o;
      *to = (float)(*to + (double)t->s * sum);
    }
}

void fc_k_linear_bf16_ref(float *y, int ldy, const float *x, int ldx, const fc_bf16 *panels,
                          int panel_I, int64_t N, int I, int O, const fc_bf16_epilogue *e) {
  static const fc_bf16_epilogue nothing = {0};
  if (!e) e = &nothing;
  for (int64_t n = 0; n < N; n++)
    for (int o = 0; o < O; o++) {
      double sum = e->bias ? e->bias[o] : 0.0;
      if (e->accumulate) sum += y[n * ldy + o];
      for (int i = 0; i < I; i++)
        sum += (double)fc_float_of_bf16(fc_bf16_of_float(x[n * ldx + i])) *
               fc_float_of_bf16(panels[fc_bf16_index(panel_I, o, i)]);
      y[n * ldy + o] = (float)sum;
    }
  for (int t = 0; t < e->terms; t++) add_term_ref(y, ldy, &e->term[t]);
  for (int64_t n = 0; e->act_out && n < N; n++)
    fc_k_act_fwd_ref(e->act_out + n * ldy, y + n * ldy, e->act, O);
}
