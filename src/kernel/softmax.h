/* softmax.h - the row operations that attention and the losses share. Defined in softmax.c. */
#ifndef FC_KERNEL_SOFTMAX_H
#define FC_KERNEL_SOFTMAX_H

#include <stdint.h>

/* Largest element, ignoring NaN; -inf when n is 0. */
float fc_k_row_max(const float *x, int64_t n);
/* Sum of exp(x - shift), shift >= x; NaN if any element is NaN. Long rows are added up in double.
 */
double fc_k_row_exp_sum(const float *x, float shift, int64_t n);
/* y = exp(x - shift); returns what fc_k_row_exp_sum would, bit for bit. y may be x. */
double fc_k_row_exp(float *y, const float *x, float shift, int64_t n);
/* y = a x. y may be x. */
void fc_k_row_scale(float *y, const float *x, float a, int64_t n);

#endif
