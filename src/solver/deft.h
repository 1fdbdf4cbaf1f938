/* deft.h - the problem of [DEFT] in the form in which it is solved.
 *
 * A run (k, q, n) gives client k n blocks in a row, the deepest at depth q; runs from depth L down
 * to 0, each of another client, make a plan. To end its run by T a client needs the band
 *   c = load(n) / (T - compute(q, n))     or, with equal bands, B/K and a T that is late enough,
 * and T can be met if there is a plan whose bands sum to at most B. */
#ifndef DEFT_H
#define DEFT_H

#include "solver.h"

typedef struct {
  double s_per_flop;       /* M / f_k */
  double load, block_load; /* Hz s: of any run; of each of its blocks */
  double memory_bytes;     /* -1: it cannot work */
} fc_deft_client;

typedef struct {
  int client, q, n;
} fc_deft_run;

typedef struct {
  int runs;
  fc_deft_run run[FC_DEFT_BLOCKS_MAX];
  double bandwidth_hz[FC_DEFT_BLOCKS_MAX]; /* of each run */
  double latency_s;
} fc_deft_plan;

typedef struct {
  const fc_deft_problem *p;
  int K, L;
  fc_deft_client *client;              /* (K) */
  double limit_hz;                     /* B, but for rounding */
  double *band;                        /* (L (L+1) / 2, K): c of every run at the trial latency */
  int longest[FC_DEFT_BLOCKS_MAX + 1]; /* n up to which any client's run from depth q has a c */
  fc_deft_plan best;                   /* of latency INFINITY until one is found */
  double proved_s;                     /* no plan is faster */
  int64_t trials;
} fc_deft_work;

/* Where the bands of the runs (0...K-1, q, n) lie. */
static inline double *fc_deft_bands(const fc_deft_work *w, int q, int n) {
  return w->band + ((size_t)q * (size_t)(q - 1) / 2 + (size_t)(n - 1)) * (size_t)w->K;
}
/* Fills w->band for T, and w->longest. */
void fc_deft_price(fc_deft_work *w, double T);

/* Does its memory hold the run? */
bool fc_deft_fits(const fc_deft_work *w, fc_deft_run r);
/* What it computes and sends. */
fc_task fc_deft_task(const fc_deft_work *w, fc_deft_run r);
/* Its latency with the band B/K. */
double fc_deft_equal_s(const fc_deft_work *w, fc_deft_run r);

/* What is found out about a latency: no plan meets it, not known, here is one that does. */
typedef enum { FC_DEFT_PROVED, FC_DEFT_OPEN, FC_DEFT_FOUND } fc_deft_verdict;
typedef fc_deft_verdict fc_deft_try(fc_deft_work *w, void *arg, double T, fc_deft_plan *plan);

/* Halves [lo, hi] to 1e-9 between verdicts below `wanted` and others. Plans found are taken, their
 * bandwidths made the best for them; w->best and w->proved_s become better if they can. */
fc_err fc_deft_search(fc_deft_work *w, fc_deft_try *try, void *arg, fc_deft_verdict wanted,
                      double lo, double hi);

/* CRUNCH at latencies up to hi. */
fc_err fc_deft_crunch(fc_deft_work *w, double hi);
/* Better plans than w->best, which may be none yet, at latencies up to hi; and the bound. */
fc_err fc_deft_exact(fc_deft_work *w, double hi);
fc_err fc_deft_jbba(fc_deft_work *w, double hi);
/* The bound alone; the best plan stays as it is. */
fc_err fc_deft_prove(fc_deft_work *w);

#endif
