/* fc_peak.h - what one core can do at most, and with which instructions: what a benchmark's rates
 * are held against. Single-threaded; Local. */
#ifndef FC_PEAK_H
#define FC_PEAK_H

#include <stdint.h>

/* The instruction set that the f32 kernels run on here: "avx512", "avx2" or "baseline". */
const char *fc_k_path(void);
/* n rounds of independent f32 multiply-adds in registers; returns how many FLOP that was. */
double fc_k_peak_fma(int64_t n);
/* The same of the products' instructions on the bf16 path in use; their rounds are longer. */
double fc_k_peak_bf16(int64_t n);
/* Reads x (n) as fast as memory gives it; returns the sum, so that nothing is left out. */
uint64_t fc_k_peak_read(const uint64_t *x, int64_t n);

#endif
