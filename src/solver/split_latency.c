/* split_latency.c - participants under a latency budget: the least V omega / |S| + Q T [Split
 * LoRA].
 *
 * For a number m of participants only T counts. At a trial T the m clients that need the least
 * bands are the best choice, so the least T of m is where their bands sum to B. Every m is tried.
 */
#include "split.h"
#include <math.h>
#include <stdlib.h>

typedef struct {
  double band, slope; /* at the trial latency, and -d band / dT */
  int client;
} need;

static int by_band(const void *a, const void *b) {
  const need *x = a, *y = b;
  if (x->band != y->band) return x->band < y->band ? -1 : 1;
  return x->client - y->client;
}

/* needs (K): of all clients, the least first. T without the server's part. */
static void sort_needs(const fc_split_work *w, double T, need *needs) {
  for (int k = 0; k < w->K; k++) {
    const fc_task t = w->client[k].task;
    const double left_s = T - t.compute_s;
    const bool in_time = t.load > 0 ? left_s > 0 : left_s >= 0;
    needs[k] = (need){INFINITY, 0, k};
    if (!w->client[k].works || !in_time) continue;
    needs[k].band = fc_band_of(t.load, left_s);
    needs[k].slope = t.load > 0 ? needs[k].band / left_s : 0;
  }
  qsort(needs, (size_t)w->K, sizeof *needs, by_band);
}

/* The least T of m participants, between lo and hi. */
static double least_s(const fc_split_work *w, int m, double lo, double hi, need *needs) {
  const double B = w->p->bandwidth_hz;
  double band, slope;
  fc_root r = fc_root_begin(lo, hi, (double)NAN, 1e-13);
  for (; !r.done; fc_root_tell(&r, B / band - 1, B * slope / (band * band))) {
    band = slope = 0;
    sort_needs(w, r.x, needs);
    for (int i = 0; i < m; i++) {
      band += needs[i].band;
      slope += needs[i].slope;
    }
  }
  return r.hi;
}

/* How many can take part, and a latency that suffices for all of them. */
static int bound(const fc_split_work *w, double *hi) {
  int workers = 0;
  double compute_s = 0, load = 0;
  for (int k = 0; k < w->K; k++) {
    if (!w->client[k].works) continue;
    workers++;
    compute_s = fmax(compute_s, w->client[k].task.compute_s);
    load += w->client[k].task.load;
  }
  *hi = (compute_s + fc_band_of(load, w->p->bandwidth_hz)) * (1 + 1e-10); /* safe from rounding */
  return workers;
}

fc_err fc_split_latency(fc_split_work *w) {
  need *needs = NULL;
  double lo = 0, hi = 0, best_s = 0, least = INFINITY;
  int best = 0;
  const int workers = bound(w, &hi);
  FC_CHECK(isfinite(hi), NUMERIC, "split: latencies beyond the range of numbers");
  FC_TRY(fc_alloc((size_t)w->K, sizeof *needs, &needs));
  for (int m = w->participants = 1; m <= workers; w->participants = ++m) {
    lo = least_s(w, m, lo, hi, needs); /* and more participants do not end sooner */
    const double objective = fc_split_penalty(w) + w->queue * (lo + m * w->server_s);
    if (objective > least) continue; /* as good: more take part */
    least = objective;
    best = m;
    best_s = lo;
  }
  sort_needs(w, best_s, needs);
  w->participants = 0;
  for (int i = 0; i < best; i++) fc_split_turn(w, needs[i].client);
  fc_free(needs);
  FC_TRY(fc_split_hurry(w));
  w->objective = fc_split_penalty(w) + w->queue * w->latency_s;
  return FC_ERR_OK;
}
