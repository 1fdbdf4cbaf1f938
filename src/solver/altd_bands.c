/* altd_bands.c - the bands of least total energy: one price per hertz for all.
 *
 * At price q a device minimises E(t, B) + q B. For a given t its best band has m(v) = q/(k t), or,
 * where that takes more than p_max, the v at which p = p_max:
 *   p = (k a/t) (e^v - 1)/v;                     the band is B = a/(v t) in either case.
 * What remains is convex in t, with derivative dE/dt, or on the power's limit
 *   2 zeta w^3/(T - t)^3 + p_max - q (B/t) v e^v/m(v).
 * The bands' sum falls in q. */
#include "altd.h"
#include <math.h>

typedef struct {
  double band, slope; /* B, and the derivative in t of what is minimised */
} reduced;

/* v at which the device's power is at its limit; 0 if it is beyond it in any band. */
static double limit_v(const fc_altd_device *d, double air_s) {
  const double ratio = d->p_max * air_s / (d->k * d->a); /* (e^v - 1)/v */
  if (!(ratio > 1)) return 0.0;
  fc_root r = fc_root_begin(0, 710, ratio < 2 ? 2 * (ratio - 1) : log1p(ratio), 1e-15);
  while (!r.done) /* d/dv (e^v - 1)/v = m(v)/v^2 */
    fc_root_tell(&r, expm1(r.x) / r.x - ratio, fc_altd_excess(r.x) / (r.x * r.x));
  return r.lo > 0 ? r.lo : r.hi;
}

static reduced reduce(const fc_altd_device *d, double price, double air_s) {
  const double v_limit = limit_v(d, air_s), v_free = fc_altd_excess_inverse(price / (d->k * air_s));
  const double v = fmin(v_free, v_limit), band = d->a / (v * air_s), m = fc_altd_excess(v);
  const double push = d->w > 0 ? 2 * d->zeta * pow(d->w / (d->T - air_s), 3) : 0.0;
  const double pull =
      v_free <= v_limit ? d->k * band * m : price * (band / air_s) * (v * exp(v) / m) - d->p_max;
  return (reduced){band, push - pull};
}

/* The band that the device buys at this price. */
static double demand(const fc_altd_device *d, double price) {
  if (!(d->a > 0)) return 0.0;
  const double most = fc_altd_air_most(d), least = fmin(most, d->k * d->a / d->p_max);
  fc_root r = fc_root_begin(least, most, most, 1e-14);
  while (!r.done) fc_root_tell(&r, reduce(d, price, r.x).slope, (double)NAN);
  return reduce(d, price, r.hi).band;
}

typedef struct {
  const fc_altd_problem *p;
  double price;
} market;

static void demand_terms(const void *arg, int64_t n, double *term) {
  const market *at = arg;
  const fc_altd_device d = fc_altd_device_of(at->p, n);
  term[0] = demand(&d, at->price);
}

/* The narrowest band in which the device meets the deadline, and what a hertz is worth to it at an
 * equal share (where to look for the price). */
static void least_terms(const void *arg, int64_t n, double *term) {
  const market *at = arg;
  const fc_altd_device d = fc_altd_device_of(at->p, n);
  const double most = fc_altd_air_most(&d);
  term[0] = d.a > 0 ? d.a / (limit_v(&d, most) * most) : 0.0;
  term[1] = 1.0;
  term[2] = d.a > 0 ? d.k * most * fc_altd_excess(d.a / (term[0] * most)) : 0.0;
}

fc_err fc_altd_bands(const fc_altd_problem *p, const fc_reduction *over, double *bandwidth_hz,
                     fc_answer *answer) {
  market at = {.p = p};
  const double B = p->bandwidth_hz;
  double found[3], total = 0;
  FC_TRY(fc_rows_reduce(over, p->rows.n, least_terms, &at, 2, 1, found));
  if (!(found[0] <= B * (1 + 1e-12))) {
    fc_infeasible(answer, "bandwidth_hz: to serve all by the deadline takes at least %.6g Hz",
                  found[0]);
    return FC_ERR_OK;
  }
  fc_root r = fc_root_begin(0, 1e300, found[2], 1e-13);
  while (!r.done && found[0] > 0) {
    at.price = r.x;
    FC_TRY(fc_rows_reduce(over, p->rows.n, demand_terms, &at, 1, 0, &total));
    fc_root_tell(&r, B / total - 1, (double)NAN);
  }
  at.price = r.hi;
  FC_TRY(fc_rows_reduce(over, p->rows.n, demand_terms, &at, 1, 0, &total));
  for (int64_t n = 0; n < p->rows.n; n++) {
    double band = 0;
    demand_terms(&at, n, &band);
    bandwidth_hz[n] = total > 0 ? band * (B / total) : 0.0;
  }
  return FC_ERR_OK;
}
