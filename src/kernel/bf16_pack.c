/* bf16_pack.c - weights into panels, the layout of fc_kernel.h. Done once for frozen weights. */
#include "bf16.h"
#include <assert.h>

size_t fc_k_bf16_panels(int O, int I) {
  const size_t panels = ((size_t)O + BF16_PANEL - 1) / BF16_PANEL;
  return panels * (size_t)fc_bf16_blocks(I) * BF16_TILE;
}

const fc_bf16 *fc_k_bf16_at(const fc_bf16 *panels, int panel_I, int o, int i) {
  assert(o % BF16_PANEL == 0 && i % BF16_DEPTH == 0 && i <= panel_I);
  return panels + fc_bf16_index(panel_I, o, i);
}

/* One panel: element (o,i) comes from W[o w_o + i w_i], o < outputs, i < I. */
static void pack_panel(fc_bf16 *panel, const float *W, int64_t w_o, int64_t w_i, int outputs,
                       int I) {
  memset(panel, 0, (size_t)fc_bf16_blocks(I) * BF16_TILE * sizeof *panel);
  for (int i = 0; i < I; i++) {
    fc_bf16 *to = panel + fc_bf16_index(I, 0, i);
    for (int o = 0; o < outputs; o++) to[2 * o] = fc_bf16_of_float(W[o * w_o + i * w_i]);
  }
}

static void pack(fc_bf16 *panels, const float *W, int64_t w_o, int64_t w_i, int O, int I) {
  for (int o = 0; o < O; o += BF16_PANEL)
    pack_panel(panels + fc_bf16_index(I, o, 0), W + o * w_o, w_o, w_i,
               (int)fc_k_min(BF16_PANEL, O - o), I);
}

void fc_k_bf16_pack(fc_bf16 *panels, const float *W, int ldw, int O, int I) {
  pack(panels, W, ldw, 1, O, I);
}

void fc_k_bf16_pack_transposed(fc_bf16 *panels, const float *W, int ldw, int O, int I) {
  pack(panels, W, 1, ldw, I, O);
}
