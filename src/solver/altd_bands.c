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
  double band, first, second; /* B, and two derivatives in t (the second NAN: not known) */
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
  const double left = d->T - air_s;
  const double push = d->w > 0 ? 2 * d->zeta * pow(d->w / left, 3) : 0.0;
  double v = fc_altd_excess_inverse(price / (d->k * air_s)), pull = 0, bend = (double)NAN;
  const bool limited = d->k * d->a / air_s * (expm1(v) / v) > d->p_max;
  if (limited) v = limit_v(d, air_s);
  const double band = d->a / (v * air_s), ratio = v * exp(v) / fc_altd_excess(v);
  if (limited) {
    pull = price * (band / air_s) * ratio - d->p_max;
  } else {
    pull = price * (band / air_s); /* k B m(v) */
    bend = (push > 0 ? 3 * push / left : 0.0) + pull / air_s * (2 - 1 / (ratio * v));
  }
  return (reduced){band, push - pull, bend};
}

/* The band that the device buys at this price; *air_s: where to look, then the time found. */
static double demand(const fc_altd_device *d, double price, double *air_s) {
  if (!(d->a > 0)) return 0.0;
  const double most = fmax(0.0, fc_altd_air_most(d));
  const double least = fmin(most, d->k * d->a / d->p_max);
  fc_root r = fc_root_begin(least, most, *air_s > 0 ? *air_s : most, 1e-14);
  while (!r.done) {
    const reduced at = reduce(d, price, r.x);
    fc_root_tell(&r, at.first, at.second);
  }
  *air_s = r.hi;
  return reduce(d, price, r.hi).band;
}

typedef struct {
  const fc_altd_problem *p;
  double *air_s; /* (n) of the price before */
  double price;
  double scale; /* of the narrowest bands that together fill the whole one */
} market;

static void demand_terms(const void *arg, int64_t n, double *term) {
  const market *at = arg;
  const fc_altd_device d = fc_altd_device_of(at->p, n);
  term[0] = demand(&d, at->price, &at->air_s[n]);
}

/* The narrowest band in which the device meets the deadline. */
static void least_terms(const void *arg, int64_t n, double *term) {
  const market *at = arg;
  const fc_altd_device d = fc_altd_device_of(at->p, n);
  const double most = fc_altd_air_most(&d);
  term[0] = d.a > 0 ? d.a / (limit_v(&d, most) * most) : 0.0;
}

/* What a hertz is worth to it beyond, in its part of the whole band: where to look for the price.
 */
static void worth_terms(const void *arg, int64_t n, double *term) {
  const market *at = arg;
  const fc_altd_device d = fc_altd_device_of(at->p, n);
  const double most = fc_altd_air_most(&d);
  double least = 0;
  least_terms(arg, n, &least);
  term[0] = 1.0;
  term[1] = d.a > 0 ? d.k * most * fc_altd_excess(d.a / (least * at->scale * most)) : 0.0;
}

/* The price at which the bands sum to the whole. */
static fc_err search_price(market *at, const fc_reduction *over) {
  const int64_t n = at->p->rows.n;
  const double B = at->p->bandwidth_hz;
  double worth[2], total = 0;
  FC_TRY(fc_rows_reduce(over, n, worth_terms, at, 2, 0, worth));
  fc_root r = fc_root_begin(0, 1e300, worth[1] / worth[0], 1e-13);
  double slope = 0.3 / r.x; /* bands fall with about the third root of the price */
  for (; !r.done; slope = (double)NAN) {
    at->price = r.x;
    FC_TRY(fc_rows_reduce(over, n, demand_terms, at, 1, 0, &total));
    fc_root_tell(&r, B / total - 1, slope);
  }
  at->price = r.hi;
  return FC_ERR_OK;
}

fc_err fc_altd_bands(const fc_altd_problem *p, const fc_reduction *over, double *air_s,
                     double *bandwidth_hz, fc_answer *answer) {
  market at = {.p = p, .air_s = air_s};
  const int64_t n = p->rows.n;
  const double B = p->bandwidth_hz;
  double least = 0, total = 0;
  FC_TRY(fc_rows_reduce(over, n, least_terms, &at, 1, 0, &least));
  if (!(least <= B * (1 + 1e-12))) {
    fc_infeasible(answer, "bandwidth_hz: to serve all by the deadline takes at least %.6g Hz",
                  least);
    return FC_ERR_OK;
  }
  for (int64_t i = 0; i < n; i++) air_s[i] = bandwidth_hz[i] = 0;
  if (least == 0) return FC_ERR_OK; /* nothing to send */
  at.scale = B / least;
  FC_TRY(search_price(&at, over));
  FC_TRY(fc_rows_reduce(over, n, demand_terms, &at, 1, 0, &total));
  for (int64_t i = 0; i < n; i++) {
    demand_terms(&at, i, &bandwidth_hz[i]);
    bandwidth_hz[i] *= B / total;
  }
  return FC_ERR_OK;
}
