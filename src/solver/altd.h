/* altd.h - a device of [TELLM, P2] in the form in which it is solved.
 *
 * With t the time on the air, B the band and v = a/(B t), a = s ln 2, the deadline is tight:
 *   f = w/(T - t),  p = k B (e^v - 1),  k = N0/G,
 *   E(t, B) = zeta w^3/(T - t)^2 + k B t (e^v - 1)                       [TELLM (6), (8), (9)]
 * E depends on B t alone in its second part and is jointly convex. With m(v) = v e^v - (e^v - 1),
 *   dE/dt = 2 zeta w^3/(T - t)^3 - k B m(v),  dE/dB = -k t m(v). */
#ifndef ALTD_H
#define ALTD_H

#include "solver.h"

typedef struct {
  double T, zeta, a;
  double w, k;         /* cycles; W per Hz */
  double f_max, p_max; /* Hz, W */
} fc_altd_device;

typedef struct {
  double air_s, v; /* t and v */
  double f, p;
} fc_altd_point;

fc_altd_device fc_altd_device_of(const fc_altd_problem *p, int64_t n);

/* m(v), without cancellation for small v; and its inverse for c >= 0. */
double fc_altd_excess(double v);
double fc_altd_excess_inverse(double c);

/* The longest time on the air that f_max leaves, and the shortest that p_max allows in band B. */
double fc_altd_air_most(const fc_altd_device *d);
double fc_altd_air_least(const fc_altd_device *d, double band);
/* Does the device meet the deadline in band B at f_max and p_max? */
bool fc_altd_meets(const fc_altd_device *d, double band);

/* The band of every device at the least total energy (OPTIMAL), summing to the whole band; the
 * answer is infeasible if the band does not serve all. Every device alone meets the deadline.
 * air_s (n): room to work in. */
fc_err fc_altd_bands(const fc_altd_problem *p, const fc_reduction *over, double *air_s,
                     double *bandwidth_hz, fc_answer *answer);

#endif
