/* deft_exact.c - the optimum of [DEFT] for a few clients: the least band with which a subset of
 * them serves the blocks from depth L down to q, for all subsets and depths. */
#include "deft.h"
#include <math.h>

typedef struct {
  double band;
  uint8_t client, n; /* the last run */
} state;

typedef struct {
  fc_deft_work *w;
  state *at; /* (2^K, L+1): by subset and depth that is left */
} table;

static state *at(const table *t, unsigned subset, int q) {
  return &t->at[(size_t)subset * (size_t)(t->w->L + 1) + (size_t)q];
}

/* Client k takes over from depth q. */
static void extend(const table *t, unsigned subset, int q, int k) {
  const double before = at(t, subset, q)->band;
  for (int n = 1; n <= t->w->longest[q]; n++) {
    const double band = before + fc_deft_bands(t->w, q, n)[k];
    if (!(band <= t->w->limit_hz)) return; /* nor with more blocks */
    state *next = at(t, subset | 1U << k, q - n);
    if (band < next->band) *next = (state){band, (uint8_t)k, (uint8_t)n};
  }
}

/* The runs that led to where nothing is left. */
static void trace(const table *t, unsigned subset, fc_deft_plan *plan) {
  int q = 0;
  plan->runs = 0;
  while (q < t->w->L) {
    const state s = *at(t, subset, q);
    q += s.n;
    plan->run[plan->runs++] = (fc_deft_run){s.client, q, s.n};
    subset &= ~(1U << s.client);
  }
}

static fc_deft_verdict recurse(fc_deft_work *w, void *arg, double T, fc_deft_plan *plan) {
  const table *t = arg;
  const unsigned subsets = 1U << w->K;
  fc_deft_price(w, T);
  for (size_t i = 0; i < (size_t)subsets * (size_t)(w->L + 1); i++) t->at[i].band = INFINITY;
  at(t, 0, w->L)->band = 0;
  for (unsigned subset = 0; subset < subsets; subset++) {
    if (at(t, subset, 0)->band <= w->limit_hz) {
      trace(t, subset, plan);
      return FC_DEFT_FOUND;
    }
    for (int q = 1; q <= w->L; q++)
      for (int k = 0; k < w->K && at(t, subset, q)->band <= w->limit_hz; k++)
        if (!(subset >> k & 1)) extend(t, subset, q, k);
  }
  return FC_DEFT_PROVED;
}

fc_err fc_deft_exact(fc_deft_work *w, double hi) {
  table t = {.w = w};
  FC_TRY(fc_alloc((size_t)(w->L + 1) << w->K, sizeof *t.at, &t.at));
  fc_err err = fc_deft_search(w, recurse, &t, FC_DEFT_FOUND, w->proved_s, hi);
  fc_free(t.at);
  return err;
}
