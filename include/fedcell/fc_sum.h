/* fc_sum.h - sums of doubles that are exact, so that order, threads and ranks cannot change them.
 *
 * A sum is kept as a wide integer: 32-bit digits, each in a 64-bit counter that leaves room for
 * carries, from the smallest subnormal to the largest double. Adding is exact; only reading rounds,
 * once, to the nearest double.
 *
 *   fc_sum s = {0};
 *   for (int64_t i = 0; i < n; i++) fc_sum_add(&s, x[i]);   // a thread's own, then fc_sum_merge
 *   FC_TRY(fc_sum_over(over, &s, 1));                       // over all ranks
 *   double total = fc_sum_value(&s);
 *
 * Infinities and NaN are counted apart and come back as such. Up to 2^30 terms in all. */
#ifndef FC_SUM_H
#define FC_SUM_H

#include "fedcell/fc_err.h"
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bit i of digit d stands for 2^(32 d + i - 1074); a double's bits end below 2^1024. */
enum { FC_SUM_DIGITS = 67 };

typedef struct {
  int64_t digit[FC_SUM_DIGITS];
  int64_t plus_infinity, minus_infinity, not_a_number; /* how many */
} fc_sum;

/* How values of all ranks are joined: every function gives all ranks the same result. Both NULL:
 * this rank is alone. fc_comm_reduction() of fc_comm.h makes one from a communicator. */
typedef struct {
  fc_err (*sum_i64)(const void *arg, int64_t *x, size_t n);
  fc_err (*max)(const void *arg, double *x, size_t n);
  const void *arg;
} fc_reduction;

/* Local. For an infinity or a NaN. */
void fc_sum_add_special(fc_sum *s, double x);

/* Local. Inline: it stands in loops over millions of devices. */
static inline void fc_sum_add(fc_sum *s, double x) {
  uint64_t bits, low, high;
  memcpy(&bits, &x, sizeof bits);
  uint64_t exponent = (bits >> 52) & 0x7ff, mantissa = bits & ((UINT64_C(1) << 52) - 1);
  if (exponent == 0x7ff) {
    fc_sum_add_special(s, x);
    return;
  }
  if (exponent > 0) {
    mantissa |= UINT64_C(1) << 52;
    exponent--;
  }
  int64_t *d = &s->digit[exponent / 32], sign = bits >> 63 ? -1 : 1;
  low = (mantissa & 0xffffffff) << exponent % 32;
  high = (mantissa >> 32) << exponent % 32;
  d[0] += sign * (int64_t)(low & 0xffffffff);
  d[1] += sign * (int64_t)((low >> 32) + (high & 0xffffffff));
  d[2] += sign * (int64_t)(high >> 32);
}

/* Local. s += other. */
void fc_sum_merge(fc_sum *s, const fc_sum *other);
/* Collective. s (n) <- the sums over all ranks, on all ranks. `over` NULL: alone. */
fc_err fc_sum_over(const fc_reduction *over, fc_sum *s, size_t n);
/* Local. The sum, rounded to the nearest double; infinite if it is too large. */
double fc_sum_value(const fc_sum *s);

/* Collective. x (n) <- the largest over ranks, as fc_comm_max. `over` NULL: alone. */
fc_err fc_max_over(const fc_reduction *over, double *x, size_t n);

#endif
