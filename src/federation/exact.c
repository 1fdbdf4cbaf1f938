/* exact.c - sums that come out the same for any number of ranks: integers at a common scale. */
#include "federation.h"
#include <assert.h>
#include <math.h>

double fc_exact_scale(double largest, int bits) {
  if (!(largest > 0)) return 0.0;
  int exponent = 0;
  frexp(largest, &exponent); /* largest < 2^exponent */
  exponent = bits - exponent;
  return ldexp(1.0, exponent < 1023 ? exponent : 1023); /* the largest finite power */
}

/* Bits that a sum of n terms may need beyond one term's. */
static int carry_bits(int64_t n) {
  int bits = 0;
  while (bits < 40 && (1LL << bits) < n) bits++;
  return bits;
}

double fc_exact_larger(double a, double b) {
  return isnan(a) || a >= b ? a : b;
}

fc_err fc_exact_sums(const fc_comm *comm, const double *x, int64_t n, int k, double *sums) {
  double largest[16] = {0};
  int64_t fixed[16] = {0};
  assert(k >= 1 && k <= 16);
  for (int64_t i = 0; i < n; i++)
    for (int c = 0; c < k; c++) largest[c] = fc_exact_larger(largest[c], fabs(x[i * k + c]));
  FC_TRY(fc_comm_max(comm, largest, (size_t)k));
  int64_t total = n;
  FC_TRY(fc_comm_sum_i64(comm, &total, 1));
  for (int c = 0; c < k; c++) {
    FC_CHECK(isfinite(largest[c]), NUMERIC, "a sum over devices (column %d) is not finite", c);
    double scale = fc_exact_scale(largest[c], 62 - carry_bits(total));
    for (int64_t i = 0; i < n; i++) fixed[c] += llrint(x[i * k + c] * scale);
  }
  FC_TRY(fc_comm_sum_i64(comm, fixed, (size_t)k));
  for (int c = 0; c < k; c++) {
    double scale = fc_exact_scale(largest[c], 62 - carry_bits(total));
    sums[c] = scale > 0 ? (double)fixed[c] / scale : 0.0;
  }
  return FC_ERR_OK;
}
