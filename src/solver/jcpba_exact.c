/* jcpba_exact.c - the global optimum of [JCPBA (10)], with a proof.
 *
 * A latency T can be reached iff the least total bandwidth V(T) = min sum_k B_k(x_k) over the kept
 * shares x is at most B; V falls in T, so T* is a root. At fixed T every
 *   B_k(x) = (n0 + n1 x) / (s - d1 x),  s = T - t0,
 * is convex in x with slope c/(s - d1 x)^2, c = n1 s + n0 d1, and the only coupling is C5,
 * sum x >= X. With its price nu = 1/q^2 the best shares are, in closed form,
 *   x_k(q) = clip((s - sqrt(c) q)/d1, kept_min, min(kept_max, s/d1)),
 * falling in q. Any q decides about T as soon as
 *   sum x_k(q) >= X and sum B_k <= B           (a feasible point: T can be reached), or
 *   sum B_k + nu (X - sum x_k(q)) > B          (weak duality: it cannot),
 * so q is searched only as far as T needs it, and the last T refused is a certified bound. Where
 * x(q) jumps at the root (d1 = 0: clients equal in price), the mixture of both sides with sum x = X
 * is optimal. */
#include "jcpba.h"
#include <math.h>

/* Feasibility is decided with this much of the band on credit; finish() in jcpba.c takes it back,
 * at as small a cost in latency. */
static const double CREDIT = 1e-12;

/* The shares of trial latency T: those of q, mixed with `mix` of those of q_other. */
typedef struct {
  const fc_jcpba_work *w;
  double T, q, q_other, mix;
} point;

/* A client's share, and the time it then leaves to the radio: s - d1 x, but without cancellation.
 */
typedef struct {
  double kept, left_s;
} share;

static double highest(const fc_jcpba_client *c, double s) {
  return c->d1 > 0 ? fmin(c->kept_max, s / c->d1) : c->kept_max;
}

static double curve(const fc_jcpba_client *c, double s) {
  return c->n1 * s + c->n0 * c->d1;
}

static share share_at(const fc_jcpba_client *c, double T, double q, double kept_min) {
  const double s = T - c->t0, steep = curve(c, s);
  const double least_s = fmax(0.0, s - c->d1 * c->kept_max), most_s = s - c->d1 * kept_min;
  const double left_s = steep > 0 ? sqrt(steep) * q : 0.0; /* flat: keeping all costs nothing */
  if (left_s <= least_s) return (share){highest(c, s), least_s};
  if (left_s >= most_s) return (share){kept_min, most_s};
  return (share){fmax(kept_min, fmin(c->kept_max, (s - left_s) / c->d1)), left_s};
}

static share share_of(const point *at, const fc_jcpba_client *c) {
  const share one = share_at(c, at->T, at->q, at->w->kept_min);
  if (!(at->mix > 0)) return one;
  const share other = share_at(c, at->T, at->q_other, at->w->kept_min);
  return (share){one.kept + at->mix * (other.kept - one.kept),
                 one.left_s + at->mix * (other.left_s - one.left_s)};
}

enum { KEPT, BAND, SLOPE, KEPT_SLOPE, TERMS }; /* sums: x, B, -dB/dT, -dx/dq */
static void point_terms(const void *arg, int64_t k, double *term) {
  const point *at = arg;
  const fc_jcpba_client *c = &at->w->client[k];
  const share x = share_of(at, c);
  const double band = fc_band_of(fc_jcpba_load(c, x.kept), x.left_s);
  term[KEPT] = x.kept;
  term[BAND] = band;
  term[SLOPE] = band > 0 ? band / x.left_s : 0.0;
  const bool inside = x.kept > at->w->kept_min && x.kept < c->kept_max && c->d1 > 0;
  term[KEPT_SLOPE] = inside ? sqrt(curve(c, at->T - c->t0)) / c->d1 : 0.0;
}

static fc_err evaluate(const point *at, double *sum) {
  return fc_rows_reduce(at->w->over, at->w->p->rows.n, point_terms, at, TERMS, 0, sum);
}

/* Before the search in q: the most that can be kept (-infinity where a client cannot even compute
 * in T), where q may lie, and the largest q of interest. */
static void limit_terms(const void *arg, int64_t k, double *term) {
  const point *at = arg;
  const fc_jcpba_client *c = &at->w->client[k];
  const double s = at->T - c->t0, steep = curve(c, s), kept_min = at->w->kept_min;
  const double most = highest(c, s);
  const bool possible = s >= 0 && most >= kept_min;
  term[0] = possible ? most : -INFINITY;
  term[1] = term[2] = 0.0;
  if (!possible || !(steep > 0)) return;
  term[1] = (s - c->d1 * 0.5 * (kept_min + most)) / sqrt(steep);
  term[2] = (s - c->d1 * kept_min) / sqrt(steep);
}

/* What was found out about at->T, and where V(T) is for all that is known. */
typedef struct {
  bool feasible;
  double band, slope; /* V(T) and -dV/dT, or bounds that decide */
} verdict;

static verdict conclude(bool feasible, double band, const double *sum) {
  return (verdict){feasible, band, sum[SLOPE]};
}

/* Searches q in [0, q_max], where sum x falls from `above` to `below`, until T is decided. *at
 * becomes the deciding point. */
static fc_err search_price(point *at, double q_max, double above, double below, double guess,
                           verdict *v) {
  const fc_jcpba_work *w = at->w;
  const double B = w->p->bandwidth_hz, credited = B * (1 + CREDIT), X = w->kept_sum;
  double sum[TERMS];
  fc_root r = fc_root_begin(0, q_max, guess, 0x1p-52);
  for (; !r.done; fc_root_tell(&r, X - sum[KEPT], sum[KEPT_SLOPE])) {
    at->q = r.x;
    FC_TRY(evaluate(at, sum));
    /* Not before the duality gap is small beside the distance to B: V(T) leads to the next T. */
    const double gap = fabs(X - sum[KEPT]) / (at->q * at->q);
    *v = conclude(true, sum[BAND], sum);
    if (sum[KEPT] >= X - w->kept_slack && v->band <= credited &&
        gap <= 0.1 * fmax(B - v->band, CREDIT * B))
      return FC_ERR_OK;
    *v = conclude(false, sum[BAND] + (X - sum[KEPT]) / (at->q * at->q), sum);
    const double excess = v->band - B; /* beyond what rounding can feign */
    if (excess > 1e-14 * sum[BAND] && gap <= excess) return FC_ERR_OK;
    *(sum[KEPT] > X ? &above : &below) = sum[KEPT];
  }
  at->q = r.hi;
  at->q_other = r.lo;
  at->mix = above > below ? (X - below) / (above - below) : 0.0;
  FC_TRY(evaluate(at, sum));
  *v = conclude(sum[BAND] <= credited, sum[BAND], sum);
  return FC_ERR_OK;
}

/* Can at->T be reached? *at: the point that shows it. */
static fc_err decide(point *at, verdict *v) {
  const fc_jcpba_work *w = at->w;
  const double B = w->p->bandwidth_hz, before = at->q;
  double limit[3], sum[TERMS];
  *v = (verdict){false, INFINITY, (double)NAN};
  at->mix = 0;
  FC_TRY(fc_rows_reduce(w->over, w->p->rows.n, limit_terms, at, 2, 1, limit));
  if (!(limit[0] >= w->kept_sum - w->kept_slack)) return FC_ERR_OK;
  /* C5 asks for nothing (all prune as much as they may), or for all that can be kept. */
  const bool all = limit[0] <= w->kept_sum + w->kept_slack;
  at->q = all ? 0.0 : INFINITY;
  FC_TRY(evaluate(at, sum));
  if (all || sum[KEPT] >= w->kept_sum - w->kept_slack) {
    *v = conclude(sum[BAND] <= B * (1 + CREDIT), sum[BAND], sum);
    return FC_ERR_OK;
  }
  const double guess = before > 0 && isfinite(before) ? before : limit[1] / w->clients;
  return search_price(at, limit[2] * (1 + 1e-15), limit[0], sum[KEPT], guess, v);
}

/* Latencies that are surely too short, and one that everybody reaches keeping all they may. */
static void bracket_terms(const void *arg, int64_t k, double *term) {
  const fc_jcpba_work *w = arg;
  const fc_jcpba_client *c = &w->client[k];
  const double least_s = fc_jcpba_compute_s(c, w->kept_min), load = fc_jcpba_load(c, w->kept_min);
  term[0] = load;
  term[1] = fc_jcpba_load(c, c->kept_max);
  term[2] = least_s + fc_band_of(load, w->p->bandwidth_hz);
  term[3] = -least_s;
  term[4] = fc_jcpba_compute_s(c, c->kept_max);
}

static fc_err bracket(const fc_jcpba_work *w, double *lo, double *hi) {
  const double B = w->p->bandwidth_hz;
  double b[5];
  FC_TRY(fc_rows_reduce(w->over, w->p->rows.n, bracket_terms, w, 2, 3, b));
  *lo = fmax(b[2], -b[3] + fc_band_of(b[0], B));
  *hi = (b[4] + fc_band_of(b[1], B)) * (1 + 1e-10); /* safe from rounding */
  FC_CHECK(isfinite(*hi), NUMERIC, "jcpba: latencies beyond the range of numbers");
  return FC_ERR_OK;
}

fc_err fc_jcpba_exact(const fc_jcpba_work *w, double *kept, double *bandwidth_hz,
                      double *lower_bound_s, int64_t *trials) {
  const double B = w->p->bandwidth_hz;
  point at = {.w = w}, best = at;
  double lo = 0, hi = 0;
  bool found = false;
  verdict v;
  FC_TRY(bracket(w, &lo, &hi));
  fc_root r = fc_root_begin(fmin(lo, hi), hi, hi, 1e-10);
  *trials = 0;
  /* B/V(T) - 1 is close to linear: for one client it is. Its sign is the verdict's. */
  for (; !r.done; fc_root_tell(&r, v.feasible ? fmax(0.0, B / v.band - 1) : B / v.band - 1,
                               B * v.slope / (v.band * v.band))) {
    at.T = r.x;
    FC_TRY(decide(&at, &v));
    if (v.feasible) best = at;
    found = found || v.feasible;
    ++*trials;
  }
  FC_CHECK(found, NUMERIC, "jcpba: bandwidths beyond the range of numbers");
  *lower_bound_s = r.lo;
  for (int64_t k = 0; k < w->p->rows.n; k++) {
    double term[TERMS];
    point_terms(&best, k, term);
    kept[k] = term[KEPT];
    bandwidth_hz[k] = term[BAND];
  }
  return FC_ERR_OK;
}
