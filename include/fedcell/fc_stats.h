/* fc_stats.h - what repeated measurements say. Local. */
#ifndef FC_STATS_H
#define FC_STATS_H

/* The median of n values and the interval of order statistics that covers the true median with at
 * least 95 %, whatever the distribution [Conover 1999, 3.2]. Fewer than six values cannot: then the
 * least and the greatest. */
typedef struct {
  double median, low, high;
} fc_interval;

/* x (n), n >= 1, is sorted on the way. All NaN if any of x is. */
fc_interval fc_median_interval(double *x, int n);

/* The mean of n values and the interval that covers the true mean with 95 %, if they are normal
 * (Student's t). */
typedef struct {
  double mean, low, high;
} fc_mean_interval;

/* x (n), n >= 0. low and high are NaN for fewer than two values; all are NaN for none, and if any
 * of x is. */
fc_mean_interval fc_mean_of(const double *x, int n);

#endif
