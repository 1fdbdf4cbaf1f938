/* split_search.c - participants under energy budgets or promises of participation [Split LoRA].
 *
 * For a set S that ends by the deadline,  B_k >= least_k,  the energies are least at
 *   B_k = max(least_k, x sqrt(air_k)),  x such that the band is spent.
 * The set: the best prefix of an order, leaving out who does not fit any more, then moves of one
 * client in, out, or for another, while they help. [Split LoRA]'s order is that of air_k / B +
 * fixed_k; where the deadline binds, orders that count the band asked for lead further: all are
 * tried. */
#include "split.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double GAIN = 1e-12; /* of the objective: what a move must bring */

/* The band with which client k ends by the deadline among m participants; INFINITY: none. */
static double least_band(const fc_split_work *w, int k, int m) {
  const fc_task t = w->client[k].task;
  const double left_s = w->p->deadline_s - m * w->server_s - t.compute_s;
  if (!w->client[k].works) return INFINITY;
  if (t.load > 0) return left_s > 0 ? t.load / left_s : INFINITY;
  return left_s >= 0 ? 0 : INFINITY;
}

/* Bands of S of the least energy; false if S does not fit. Clients whose share x sqrt(air) is below
 * what the deadline asks for leave the sharing; x only falls, so none comes back. */
static bool share_out(const fc_split_work *w, double *band) {
  const double B = w->p->bandwidth_hz;
  double x = INFINITY, before, asked = 0;
  for (int k = 0; k < w->K; k++) {
    band[k] = w->in[k] ? least_band(w, k, w->participants) : 0;
    asked += band[k];
  }
  if (!(asked <= B * (1 + 1e-12))) return false;
  do {
    double left = B, roots = 0;
    for (int k = 0; k < w->K; k++) {
      if (!w->in[k]) continue;
      const double root = sqrt(w->client[k].air);
      if (root > 0 && root * x >= band[k])
        roots += root;
      else
        left -= band[k];
    }
    before = x;
    x = roots > 0 ? fmin(x, fmax(0.0, left) / roots) : 0;
  } while (x < before && x > 0);
  for (int k = 0; k < w->K; k++)
    if (w->in[k]) band[k] = fmax(band[k], x * sqrt(w->client[k].air));
  return true;
}

/* The objective of S; INFINITY if it is empty or does not fit. Leaves its bands. */
static double evaluate(fc_split_work *w) {
  if (w->participants == 0 || !share_out(w, w->bandwidth_hz)) return INFINITY;
  double sum = fc_split_penalty(w);
  for (int k = 0; k < w->K; k++)
    if (w->in[k]) sum += fc_band_of(w->client[k].air, w->bandwidth_hz[k]) + w->client[k].fixed;
  return sum;
}

/* ---- prefixes -------------------------------------------------------------------------------- */

typedef enum { BY_COST, BY_BAND, BY_COST_OF_BAND, ORDERS } order;

typedef struct {
  double key, band; /* band: what the deadline asks for, and what decides between equal keys */
  int client;
} candidate;

static candidate candidate_of(const fc_split_work *w, int k, order by) {
  const fc_split_client *c = &w->client[k];
  const double band = least_band(w, k, 1);
  if (band == INFINITY) return (candidate){INFINITY, band, k};
  const double cost = fc_band_of(c->air, w->p->bandwidth_hz) + c->fixed;
  const double key[ORDERS] = {cost, band, cost / fmax(band, DBL_MIN)};
  return (candidate){key[by], band, k};
}

static int by_key(const void *a, const void *b) {
  const candidate *x = a, *y = b;
  if (x->key != y->key) return x->key < y->key ? -1 : 1;
  if (x->band != y->band) return x->band < y->band ? -1 : 1;
  return x->client - y->client;
}

/* S becomes the best of the prefixes, its objective w->objective. list (K) is room for the order.
 */
static void take_prefix(fc_split_work *w, order by, candidate *list) {
  int best = 0, taken = 0;
  for (int k = 0; k < w->K; k++) {
    if (w->in[k]) fc_split_turn(w, k);
    list[k] = candidate_of(w, k, by);
  }
  qsort(list, (size_t)w->K, sizeof *list, by_key);
  w->objective = INFINITY;
  for (int i = 0; i < w->K; i++) {
    const candidate next = list[i];
    fc_split_turn(w, next.client);
    const double objective = evaluate(w);
    if (objective == INFINITY) {
      fc_split_turn(w, next.client);
      continue;
    }
    list[taken++] = next;
    if (objective > w->objective) continue;
    w->objective = objective;
    best = taken;
  }
  for (int i = best; i < taken; i++) fc_split_turn(w, list[i].client);
}

/* ---- moves ----------------------------------------------------------------------------------- */

static void exchange(fc_split_work *w, int a, int b) {
  fc_split_turn(w, a);
  if (b != a) fc_split_turn(w, b);
}

/* Turns clients a and b (the same: only one) in or out, if that helps. */
static bool try_exchange(fc_split_work *w, int a, int b) {
  exchange(w, a, b);
  const double objective = evaluate(w);
  const bool helps = objective < w->objective - GAIN * fabs(w->objective);
  if (helps)
    w->objective = objective;
  else
    exchange(w, a, b);
  return helps;
}

static bool move(fc_split_work *w) {
  bool helped = false;
  for (int k = 0; k < w->K; k++) helped = try_exchange(w, k, k) || helped;
  for (int a = 0; a < w->K; a++)
    for (int b = a + 1; b < w->K; b++)
      if (w->in[a] != w->in[b]) helped = try_exchange(w, a, b) || helped;
  return helped;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* Where no energy counts, all end as soon as they can. */
static fc_err finish(fc_split_work *w) {
  bool weighed = false;
  evaluate(w);
  for (int k = 0; k < w->K; k++) weighed = weighed || (w->in[k] && w->client[k].air > 0);
  if (!weighed) return fc_split_hurry(w);
  w->latency_s = 0;
  for (int k = 0; k < w->K; k++)
    if (w->in[k])
      w->latency_s = fmax(w->latency_s, w->client[k].task.compute_s +
                                            fc_band_of(w->client[k].task.load, w->bandwidth_hz[k]));
  w->latency_s += w->participants * w->server_s;
  return FC_ERR_OK;
}

/* S becomes the best that the orders lead to; best (K). */
static void take_best(fc_split_work *w, candidate *list, bool *best) {
  double least = INFINITY;
  for (order by = 0; by < ORDERS; by++) {
    take_prefix(w, by, list);
    while (move(w)) continue;
    if (!(w->objective < least)) continue;
    least = w->objective;
    memcpy(best, w->in, (size_t)w->K * sizeof *best);
  }
  for (int k = 0; k < w->K; k++)
    if (w->in[k] != best[k]) fc_split_turn(w, k);
  w->objective = least;
}

fc_err fc_split_search(fc_split_work *w) {
  candidate *list = NULL;
  bool *best = NULL;
  fc_err err = fc_alloc((size_t)w->K, sizeof *list, &list);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)w->K, sizeof *best, &best);
  if (err == FC_ERR_OK) take_best(w, list, best);
  fc_free(list);
  fc_free(best);
  FC_TRY(err);
  return w->participants > 0 ? finish(w) : FC_ERR_OK;
}
