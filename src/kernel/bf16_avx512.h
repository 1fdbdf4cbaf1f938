/* bf16_avx512.h - what the paths of x86-64 share. */
#ifndef FC_KERNEL_BF16_AVX512_H
#define FC_KERNEL_BF16_AVX512_H

#include "bf16.h"
#include <immintrin.h>

#define TARGET_AVX512_BF16 __attribute__((target("avx512f,avx512bf16")))

/* fc_bf16_path's convert. */
void fc_bf16_convert_avx512(fc_bf16 *a, const float *x, int64_t ldx, int rows, int I);

#endif
