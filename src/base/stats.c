/* stats.c - medians and means with their intervals. The number of values below the true median is
 * binomial (n, 1/2): x_(l) to x_(n+1-l) misses it with 2 P(X < l). */
#include "fedcell/fc_stats.h"
#include <assert.h>
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>

static int lowest_rank(int n) {
  int l = 0;
  while (l < n && gsl_cdf_binomial_P((unsigned)l, 0.5, (unsigned)n) <= 0.025) l++;
  return l > 0 ? l : 1;
}

fc_interval fc_median_interval(double *x, int n) {
  assert(n >= 1);
  for (int i = 0; i < n; i++)
    if (isnan(x[i])) return (fc_interval){NAN, NAN, NAN};
  gsl_sort(x, 1, (size_t)n);
  const int l = lowest_rank(n);
  return (fc_interval){
      .median = 0.5 * (x[(n - 1) / 2] + x[n / 2]), .low = x[l - 1], .high = x[n - l]};
}

fc_mean_interval fc_mean_of(const double *x, int n) {
  fc_mean_interval m = {NAN, NAN, NAN};
  if (n < 1) return m;
  m.mean = gsl_stats_mean(x, 1, (size_t)n);
  if (n < 2) return m;
  double sd = gsl_stats_sd_m(x, 1, (size_t)n, m.mean);
  double half = gsl_cdf_tdist_Pinv(0.975, n - 1) * sd / sqrt(n);
  m.low = m.mean - half;
  m.high = m.mean + half;
  return m;
}
