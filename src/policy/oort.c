/* oort.c - selection by utility, time and energy [Oort, Algorithm 1]; the public implementation
 * where the paper leaves a detail open. */
#include "oort.h"
#include "fedcell/fc_mem.h"
#include <gsl/gsl_sort.h>
#include <math.h>
#include <string.h>

fc_err fc_oort_create(const fc_oort_settings *s, int devices, fc_oort **out) {
  fc_oort *o = NULL;
  const size_t n = (size_t)devices;
  *out = NULL;
  fc_err err = fc_alloc(1, sizeof *o, &o);
  if (err != FC_ERR_OK) return err;
  o->devices = devices;
  err = fc_alloc(n, sizeof *o->utility, &o->utility);
  if (err == FC_ERR_OK) err = fc_alloc(n, sizeof *o->last, &o->last);
  if (err == FC_ERR_OK) err = fc_alloc(n, sizeof *o->times, &o->times);
  if (err == FC_ERR_OK) err = fc_alloc(n, sizeof *o->exploited, &o->exploited);
  if (err == FC_ERR_OK)
    err = fc_alloc(2 * (size_t)s->pacer_rounds, sizeof *o->history, &o->history);
  if (err == FC_ERR_OK) err = fc_alloc(n, sizeof *o->score, &o->score);
  if (err == FC_ERR_OK) err = fc_alloc(n, sizeof *o->value, &o->value);
  if (err == FC_ERR_OK) err = fc_alloc(n, sizeof *o->weight, &o->weight);
  if (err == FC_ERR_OK) err = fc_alloc(n, sizeof *o->list, &o->list);
  if (err != FC_ERR_OK) {
    fc_oort_destroy(&o);
    return err;
  }
  fc_oort_forget(s, o);
  *out = o;
  return FC_ERR_OK;
}

void fc_oort_destroy(fc_oort **o) {
  if (!*o) return;
  fc_free((*o)->utility);
  fc_free((*o)->last);
  fc_free((*o)->times);
  fc_free((*o)->exploited);
  fc_free((*o)->history);
  fc_free((*o)->score);
  fc_free((*o)->value);
  fc_free((*o)->weight);
  fc_free((*o)->list);
  fc_free(*o);
  *o = NULL;
}

void fc_oort_forget(const fc_oort_settings *s, fc_oort *o) {
  const size_t n = (size_t)o->devices;
  o->exploration = s->exploration;
  o->threshold = s->threshold;
  memset(o->utility, 0, n * sizeof *o->utility);
  memset(o->last, 0, n * sizeof *o->last);
  memset(o->times, 0, n * sizeof *o->times);
  memset(o->exploited, 0, n);
  memset(o->history, 0, 2 * (size_t)s->pacer_rounds * sizeof *o->history);
}

void fc_oort_learn(const fc_oort_settings *s, fc_oort *o, int64_t t, const double *samples,
                   const double *loss_rms) {
  double sum = 0;
  int n = 0;
  for (int d = 0; d < o->devices; d++) {
    if (isnan(loss_rms[d])) continue;
    o->utility[d] = samples[d] * loss_rms[d];
    o->last[d] = t - 1;
    o->times[d]++;
    if (!o->exploited[d]) continue;
    sum += o->utility[d];
    n++;
  }
  o->history[(t - 1) % (2 * s->pacer_rounds)] = n > 0 ? sum / n : 0.0;
}

void fc_oort_pace(const fc_oort_settings *s, fc_oort *o, int64_t t) {
  double recent = 0, before = 0;
  if (t < 2 * s->pacer_rounds || t % s->pacer_rounds != 0) return;
  for (int64_t r = t - s->pacer_rounds; r < t; r++) {
    recent += o->history[r % (2 * s->pacer_rounds)];
    before += o->history[(r - s->pacer_rounds) % (2 * s->pacer_rounds)];
  }
  const double change = fabs(recent - before);
  if (change <= 0.1 * before)
    o->threshold = fmin(100.0, o->threshold + s->pacer_delta);
  else if (change >= 5.0 * before)
    o->threshold = fmax(s->pacer_delta, o->threshold - s->pacer_delta);
}

double fc_oort_percentile(const double *x, int n, double per_cent, double *room) {
  if (per_cent >= 100.0) return INFINITY;
  memcpy(room, x, (size_t)n * sizeof *room);
  gsl_sort(room, 1, (size_t)n);
  const int index = (int)(n * per_cent / 100.0);
  return room[index < n ? index : n - 1];
}

double fc_oort_penalty(double x, double reference, double power) {
  return x > reference ? pow(reference / x, power) : 1.0;
}

/* ---- scores ---------------------------------------------------------------------------------- */

/* score[d] <- NAN for those that took part too often: the most frequent ones, not too many. */
static void leave_out(const fc_oort_settings *s, fc_oort *o) {
  for (int d = 0; d < o->devices; d++) o->score[d] = 0;
  if (s->blacklist_rounds < 0) return;
  const int most = (int)(s->blacklist_share * o->devices);
  for (int k = 0; k < most; k++) {
    int worst = -1;
    for (int d = 0; d < o->devices; d++)
      if (!isnan(o->score[d]) && o->times[d] > s->blacklist_rounds &&
          (worst < 0 || o->times[d] > o->times[worst]))
        worst = d;
    if (worst < 0) return;
    o->score[worst] = NAN;
  }
}

typedef struct {
  double least, clip, range; /* of U */
} utilities;

static utilities measure_utilities(const fc_oort_settings *s, fc_oort *o) {
  int n = 0;
  for (int d = 0; d < o->devices; d++)
    if (o->last[d] > 0 && !isnan(o->score[d])) o->value[n++] = o->utility[d];
  if (n == 0) return (utilities){0, 0, 1};
  gsl_sort(o->value, 1, (size_t)n);
  const int index = (int)(n * s->clip);
  const double least = 0.999 * o->value[0]; /* so that the last one keeps a chance */
  return (utilities){least, o->value[index < n ? index : n - 1],
                     fmax(o->value[n - 1] - least, 1e-4)};
}

static void fill_scores(const fc_oort_settings *s, fc_oort *o, int64_t t, const double *samples,
                        const double *time_s, const double *energy_j) {
  leave_out(s, o);
  const utilities u = measure_utilities(s, o);
  const double time = fc_oort_percentile(time_s, o->devices, o->threshold, o->weight);
  const double energy = fc_oort_percentile(energy_j, o->devices, o->threshold, o->weight);
  for (int d = 0; d < o->devices; d++) {
    if (isnan(o->score[d])) continue;
    o->score[d] = o->last[d] == 0 ? samples[d] /* nothing is known of it yet */
                                  : (fmin(o->utility[d], u.clip) - u.least) / u.range +
                                        sqrt(s->uncertainty * log((double)t) / (double)o->last[d]);
    o->score[d] *= fc_oort_penalty(time_s[d], time, s->time_penalty) *
                   fc_oort_penalty(energy_j[d], energy, s->energy_penalty);
  }
}

/* ---- drawing --------------------------------------------------------------------------------- */

/* list <- the devices that may be selected and were tried, or were not; the best first, of equals
 * the lower number. Returns how many. */
static int rank_devices(fc_oort *o, bool tried) {
  int n = 0;
  for (int d = 0; d < o->devices; d++) {
    if (isnan(o->score[d]) || (o->last[d] > 0) != tried) continue;
    int at = n++;
    for (; at > 0 && o->score[o->list[at - 1]] < o->score[d]; at--) o->list[at] = o->list[at - 1];
    o->list[at] = d;
  }
  return n;
}

/* Draws k of the first n of list without replacement, in proportion to the scores; alike once
 * nobody left has any. */
static void draw(fc_oort *o, int n, int k, fc_rng *rng, uint8_t *select) {
  for (int i = 0; i < n; i++) o->weight[i] = o->score[o->list[i]];
  for (; k > 0; k--) {
    double sum = 0, left = 0;
    int open = 0, taken = -1;
    for (int i = 0; i < n; i++) {
      open += !select[o->list[i]];
      if (!select[o->list[i]]) sum += o->weight[i];
    }
    if (open == 0) return;
    left = fc_rng_uniform(rng) * (sum > 0 ? sum : open);
    for (int i = 0; i < n && left >= 0; i++) {
      if (select[o->list[i]]) continue;
      const double weight = sum > 0 ? o->weight[i] : 1.0;
      if (weight > 0) taken = i; /* the last with a weight, should rounding leave a rest */
      left -= weight;
    }
    select[o->list[taken]] = 1;
  }
}

static int exploit(const fc_oort_settings *s, fc_oort *o, fc_rng *rng, uint8_t *select) {
  const int tried = rank_devices(o, true), share = (int)(s->wanted * (1.0 - o->exploration));
  const int k = share < tried ? share : tried;
  if (k > 0) {
    const double least = s->cut_off * o->score[o->list[k < tried ? k : tried - 1]];
    int candidates = 0;
    while (candidates < tried && o->score[o->list[candidates]] >= least) candidates++;
    draw(o, candidates, k, rng, select);
  }
  memcpy(o->exploited, select, (size_t)o->devices);
  return k;
}

static int explore(const fc_oort_settings *s, fc_oort *o, int k, fc_rng *rng, uint8_t *select) {
  const int untried = rank_devices(o, false);
  if (k > untried) k = untried;
  if (untried == 0) o->exploration = 0;
  draw(o, s->window * k < untried ? s->window * k : untried, k, rng, select);
  return k;
}

/* Anybody who may be selected, while there is somebody. */
static void fill_up(fc_oort *o, int k, fc_rng *rng, uint8_t *select) {
  for (; k > 0; k--) {
    int open = 0;
    for (int d = 0; d < o->devices; d++)
      if (!select[d] && !isnan(o->score[d])) o->list[open++] = d;
    if (open == 0) return;
    select[o->list[fc_rng_below(rng, (uint64_t)open)]] = 1;
  }
}

void fc_oort_choose(const fc_oort_settings *s, fc_oort *o, int64_t t, const double *samples,
                    const double *time_s, const double *energy_j, fc_rng *rng, uint8_t *select) {
  memset(select, 0, (size_t)o->devices);
  if (o->exploration > 0)
    o->exploration = fmax(s->exploration_decay * o->exploration, s->exploration_min);
  fill_scores(s, o, t, samples, time_s, energy_j);
  int left = s->wanted - exploit(s, o, rng, select);
  left -= explore(s, o, left, rng, select);
  fill_up(o, left, rng, select);
}
