/* softmax.h - the row operations that attention and the losses share. Defined in softmax.c. */
#ifndef FC_KERNEL_SOFTMAX_H
#define FC_KERNEL_SOFTMAX_H

#include <stdint.h>

/* Largest element, ignoring NaN; -inf when n is 0. */
float fc_k_row_max(const float *x, int64_t n);
/* Sum of exp(x - shift); NaN if any element is NaN. Long rows are added up in double. */
double fc_k_row_exp_sum(const float *x, float shift, int64_t n);
/* p = factor exp(x - shift); returns the sum of p. p may be x. */
float fc_k_row_exp(float *p, const float *x, float shift, float factor, int64_t n);

#endif
