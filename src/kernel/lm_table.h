/* lm_table.h - products of rows with a part of the LM head's table, in bf16 where it has panels.
 * What the losses over a vocabulary share. Not for other rooms. */
#ifndef FC_KERNEL_LM_TABLE_H
#define FC_KERNEL_LM_TABLE_H

#include "fedcell/fc_kernel.h"

/* Words [v0, v0 + n) of the table's V; v0 is a multiple of the panels' 32. */
typedef struct {
  const fc_lm_table *table;
  int C, V, v0, n;
} fc_k_words;

/* logits (rows,n) = x W^T + bias. x (rows,C). */
void fc_k_words_fwd(float *logits, const float *x, fc_k_words w, int64_t rows);
/* dx (rows,C) += dlogits W; the first words overwrite. */
void fc_k_words_bwd_input(float *dx, const float *dlogits, fc_k_words w, int64_t rows);
/* dW (V,C) += dlogits^T x, dbias (V) += column sums of dlogits; either may be NULL. */
void fc_k_words_bwd_weight(float *dW, float *dbias, const float *dlogits, const float *x,
                           fc_k_words w, int64_t rows);

#endif
