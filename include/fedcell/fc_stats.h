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

#endif
