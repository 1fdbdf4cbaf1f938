/* deft_jbba.c - JBBA [DEFT]: which runs, and with which bandwidths, by dual ascent.
 *
 * At a trial latency a run costs the band that it needs. With a price mu_k >= 0 in place of "one
 * run a client" the cheapest plan is a shortest path from depth L to 0, and g(mu) = its cost - sum
 * mu is less than what any plan needs: g > B proves that the latency cannot be met. Walking down
 * the same costs-to-go with clients that are still free gives plans; one that needs at most B shows
 * that it can. */
#include "deft.h"
#include <math.h>

/* Of Polyak's step; halved whenever g has not grown for PATIENCE steps, as the upper bound may lie
 * far above what g can reach [Fisher 1981]. */
static const double STEP = 0.8;
enum { STEPS = 60, PATIENCE = 3 };

typedef struct {
  double *price; /* (K) mu, kept from one latency to the next */
  double *free;  /* (K) mu, or INFINITY for clients that the walk has used */
  int *runs;     /* (K) on the shortest path */
  double to_go[FC_DEFT_BLOCKS_MAX + 1];
  fc_deft_run next[FC_DEFT_BLOCKS_MAX + 1];
  bool keeps_plans;
} ascent;

/* The cheapest run from depth q on at these prices, costs-to-go included. */
static fc_deft_run cheapest(const fc_deft_work *w, const ascent *a, const double *price, int q,
                            double *cost) {
  fc_deft_run best = {-1, q, 0};
  *cost = INFINITY;
  for (int n = 1; n <= w->longest[q]; n++) {
    const double *band = fc_deft_bands(w, q, n), rest = a->to_go[q - n];
    for (int k = 0; k < w->K; k++) {
      const double sum = band[k] + price[k] + rest;
      if (sum >= *cost) continue;
      *cost = sum;
      best = (fc_deft_run){k, q, n};
    }
  }
  return best;
}

/* Costs-to-go of all depths, runs of each client on the path; false: there is no path. */
static bool find_path(const fc_deft_work *w, ascent *a) {
  a->to_go[0] = 0;
  for (int q = 1; q <= w->L; q++) a->next[q] = cheapest(w, a, a->price, q, &a->to_go[q]);
  for (int k = 0; k < w->K; k++) a->runs[k] = 0;
  if (a->to_go[w->L] == INFINITY) return false;
  for (int q = w->L; q > 0; q -= a->next[q].n) a->runs[a->next[q].client]++;
  return true;
}

/* The band of the plan that the walk makes; INFINITY if it gets stuck. */
static double walk(const fc_deft_work *w, ascent *a, fc_deft_plan *plan) {
  double band = 0, cost = 0;
  for (int k = 0; k < w->K; k++) a->free[k] = a->price[k];
  plan->runs = 0;
  for (int q = w->L; q > 0; q -= plan->run[plan->runs++].n) {
    const fc_deft_run r = cheapest(w, a, a->free, q, &cost);
    if (r.client < 0) return INFINITY;
    a->free[r.client] = INFINITY;
    plan->run[plan->runs] = r;
    band += fc_deft_bands(w, q, r.n)[r.client];
  }
  return band;
}

/* mu <- [mu + step gap / |runs - 1|^2 (runs - 1)]^+, the norm of what [.]^+ lets move. */
static void ascend(const fc_deft_work *w, ascent *a, double step, double gap) {
  double square = 0;
  for (int k = 0; k < w->K; k++)
    if (a->runs[k] > 0 || a->price[k] > 0) square += (a->runs[k] - 1.0) * (a->runs[k] - 1.0);
  for (int k = 0; k < w->K && square > 0; k++)
    a->price[k] = fmax(0.0, a->price[k] + step * gap / square * (a->runs[k] - 1));
}

static fc_deft_verdict climb(fc_deft_work *w, void *arg, double T, fc_deft_plan *plan) {
  ascent *a = arg;
  double upper = INFINITY, highest = -INFINITY, step = STEP;
  fc_deft_price(w, T);
  for (int i = 0, stale = 0; i < STEPS; i++) {
    double prices = 0;
    if (!find_path(w, a)) return FC_DEFT_PROVED;
    for (int k = 0; k < w->K; k++) prices += a->price[k];
    const double g = a->to_go[w->L] - prices;
    const double rounding = 1e-12 * (a->to_go[w->L] + prices);
    if (g > w->limit_hz + rounding) return FC_DEFT_PROVED;
    upper = fmin(upper, walk(w, a, plan));
    if (upper <= w->limit_hz) return a->keeps_plans ? FC_DEFT_FOUND : FC_DEFT_OPEN;
    stale = g > highest + rounding ? 0 : stale + 1;
    if (stale > 0 && stale % PATIENCE == 0) step *= 0.5;
    highest = fmax(highest, g);
    ascend(w, a, step, (isfinite(upper) ? upper : 2 * w->limit_hz) - g);
  }
  return FC_DEFT_OPEN;
}

/* First down to where plans are found, then up to where none can be. */
static fc_err search(fc_deft_work *w, ascent *a, double hi) {
  fc_err err = fc_alloc((size_t)w->K, sizeof *a->price, &a->price);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)w->K, sizeof *a->free, &a->free);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)w->K, sizeof *a->runs, &a->runs);
  if (err == FC_ERR_OK && a->keeps_plans)
    err = fc_deft_search(w, climb, a, FC_DEFT_FOUND, w->proved_s, hi);
  if (err == FC_ERR_OK && isfinite(w->best.latency_s))
    err = fc_deft_search(w, climb, a, FC_DEFT_OPEN, w->proved_s, w->best.latency_s);
  fc_free(a->price);
  fc_free(a->free);
  fc_free(a->runs);
  return err;
}

fc_err fc_deft_jbba(fc_deft_work *w, double hi) {
  ascent a = {.keeps_plans = true};
  return search(w, &a, hi);
}

fc_err fc_deft_prove(fc_deft_work *w) {
  ascent a = {.keeps_plans = false};
  return search(w, &a, w->best.latency_s);
}
