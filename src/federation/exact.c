/* exact.c - sums over devices that come out the same for any number of ranks. */
#include "federation.h"
#include "fedcell/fc_sum.h"
#include <assert.h>
#include <math.h>

double fc_exact_scale(double largest, int bits) {
  if (!(largest > 0)) return 0.0;
  int exponent = 0;
  frexp(largest, &exponent); /* largest < 2^exponent */
  exponent = bits - exponent;
  return ldexp(1.0, exponent < 1023 ? exponent : 1023); /* the largest finite power */
}

double fc_exact_larger(double a, double b) {
  return isnan(a) || a >= b ? a : b;
}

fc_err fc_exact_sums(const fc_comm *comm, const double *x, int64_t n, int k, double *sums) {
  fc_sum sum[16] = {0};
  assert(k >= 1 && k <= 16);
  for (int64_t i = 0; i < n; i++)
    for (int c = 0; c < k; c++) fc_sum_add(&sum[c], x[i * k + c]);
  const fc_reduction over = fc_comm_reduction(comm);
  FC_TRY(fc_sum_over(&over, sum, (size_t)k));
  for (int c = 0; c < k; c++) {
    sums[c] = fc_sum_value(&sum[c]);
    FC_CHECK(isfinite(sums[c]), NUMERIC, "a sum over devices (column %d) is not finite", c);
  }
  return FC_ERR_OK;
}
