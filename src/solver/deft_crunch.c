/* deft_crunch.c - CRUNCH [DEFT]: cut, recount, check, at bands of B/K. */
#include "deft.h"
#include <math.h>

/* How many blocks from depth q on client k serves within T. */
static int cut(const fc_deft_work *w, int k, int q, double T) {
  int n = 0;
  while (n < q) {
    const fc_deft_run more = {k, q, n + 1};
    if (!fc_deft_fits(w, more) || !(fc_deft_equal_s(w, more) <= T)) break;
    n++;
  }
  return n;
}

/* The run of the free client that serves most from depth q on; of several the one that would serve
 * least after it, as the others are of more use there. used (K): clients that have a run. */
static fc_deft_run most_blocks(const fc_deft_work *w, const bool *used, int q, double T) {
  fc_deft_run most = {0, q, 0};
  int later = 0;
  for (int k = 0; k < w->K; k++) {
    const int n = used[k] ? 0 : cut(w, k, q, T);
    if (n == 0 || n < most.n) continue;
    const int rest = cut(w, k, q - n, T);
    if (n == most.n && rest >= later) continue;
    most = (fc_deft_run){k, q, n};
    later = rest;
  }
  return most;
}

static fc_deft_verdict crunch(fc_deft_work *w, void *arg, double T, fc_deft_plan *plan) {
  bool *used = arg;
  for (int k = 0; k < w->K; k++) used[k] = false;
  plan->runs = 0;
  for (int q = w->L; q > 0;) {
    const fc_deft_run r = most_blocks(w, used, q, T);
    if (r.n == 0) return FC_DEFT_OPEN;
    used[r.client] = true;
    plan->run[plan->runs++] = r;
    q -= r.n;
  }
  return FC_DEFT_FOUND;
}

fc_err fc_deft_crunch(fc_deft_work *w, double hi) {
  bool *used = NULL;
  FC_TRY(fc_alloc((size_t)w->K, sizeof *used, &used));
  fc_err err = fc_deft_search(w, crunch, used, FC_DEFT_FOUND, w->proved_s, hi);
  fc_free(used);
  return err;
}
