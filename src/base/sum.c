/* sum.c - exact sums: carrying, joining over ranks, rounding. */
#include "fedcell/fc_sum.h"
#include <assert.h>
#include <math.h>
#include <stdbool.h>

void fc_sum_add_special(fc_sum *s, double x) {
  if (isnan(x))
    s->not_a_number++;
  else if (x > 0)
    s->plus_infinity++;
  else
    s->minus_infinity++;
}

void fc_sum_merge(fc_sum *s, const fc_sum *other) {
  for (int i = 0; i < FC_SUM_DIGITS; i++) s->digit[i] += other->digit[i];
  s->plus_infinity += other->plus_infinity;
  s->minus_infinity += other->minus_infinity;
  s->not_a_number += other->not_a_number;
}

fc_err fc_sum_over(const fc_reduction *over, fc_sum *s, size_t n) {
  static_assert(sizeof(fc_sum) % sizeof(int64_t) == 0, "a sum is a row of integers");
  if (!over || !over->sum_i64) return FC_ERR_OK;
  return over->sum_i64(over->arg, (int64_t *)s, n * sizeof *s / sizeof(int64_t));
}

fc_err fc_max_over(const fc_reduction *over, double *x, size_t n) {
  return over && over->max ? over->max(over->arg, x, n) : FC_ERR_OK;
}

/* Digits into [0, 2^32), the carry into the one above; true if the sum is negative, whose
 * magnitude it then is. */
static bool carry(int64_t *digit) {
  for (int pass = 0; pass < 2; pass++) {
    for (int i = 0; i + 1 < FC_SUM_DIGITS; i++) {
      int64_t low = digit[i] & 0xffffffff; /* the remainder is never negative */
      digit[i + 1] += (digit[i] - low) / (INT64_C(1) << 32);
      digit[i] = low;
    }
    if (digit[FC_SUM_DIGITS - 1] >= 0) return pass == 1;
    for (int i = 0; i < FC_SUM_DIGITS; i++) digit[i] = -digit[i];
  }
  assert(0);
  return false;
}

static uint64_t digit_at(const int64_t *digit, int i) {
  return i >= 0 ? (uint64_t)digit[i] : 0;
}

double fc_sum_value(const fc_sum *s) {
  if (s->not_a_number > 0 || (s->plus_infinity > 0 && s->minus_infinity > 0)) return (double)NAN;
  if (s->plus_infinity > 0) return INFINITY;
  if (s->minus_infinity > 0) return -INFINITY;
  int64_t digit[FC_SUM_DIGITS];
  memcpy(digit, s->digit, sizeof digit);
  bool negative = carry(digit);
  int top = FC_SUM_DIGITS - 1;
  while (top > 0 && digit[top] == 0) top--;
  /* The 64 bits below the topmost one, any bits below them as one sticky bit: the conversion to
   * double then rounds the whole sum to nearest. */
  uint64_t bits = digit_at(digit, top) << 32 | digit_at(digit, top - 1);
  if (bits == 0) return 0.0;
  int shift = 0;
  while (!(bits << shift >> 63)) shift++;
  if (shift > 32) shift = 32; /* only where `top` is 0, and there is nothing below */
  uint64_t below = digit_at(digit, top - 2) << 32 | digit_at(digit, top - 3);
  bool sticky = (below << shift) != 0;
  if (shift > 0) bits = bits << shift | below >> (64 - shift);
  for (int i = top - 4; i >= 0 && !sticky; i--) sticky = digit[i] != 0;
  double value = ldexp((double)(bits | (uint64_t)sticky), 32 * (top - 1) - shift - 1074);
  return negative ? -value : value;
}
