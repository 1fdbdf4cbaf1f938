/* switching_admit.c - whom the base serves when a round has a deadline (cell.deadline_s).
 *
 * Algorithm 1 of [SW] ends all uploads together, so that one device in a deep fade makes all of
 * them late. Its base knows every channel, so it can tell beforehand who will be: a device needs a
 * certain share of the band to have received, computed and sent by the deadline. Those that need
 * the least are served, as many as fit into the band, each with that share promised to it; the
 * others would have to share what is left and sit the round out. No choice serves more. */
#include "switching.h"
#include <math.h>
#include <stdlib.h>

double fc_switching_exchange_s(const fc_work_load *load, const fc_cost *c) {
  return load->downlink_bits / c->rate_down_bps + c->compute_s + load->uplink_bits / c->rate_up_bps;
}

/* Of the batches that the device will draw in this round: their lengths are known beforehand. */
static double tokens_of(const fc_federation *fed, const fc_switching *s, int64_t round,
                        uint32_t device) {
  const fc_local_settings *l = &fed->set.local;
  double tokens = 0;
  size_t n = 0;
  const uint32_t *own = fc_split_device(fed->task.split, device, &n);
  for (int64_t i = 0; n > 0 && i < l->iterations * l->accumulate; i++) {
    int drawn = fc_batch_draw(own, n, l->batch, fed->seed, (uint64_t)round, device, i, s->batch);
    for (int j = 0; j < drawn; j++) {
      int length = 0;
      fc_corpus_tokens(fed->task.corpus, s->batch[j], &length, NULL);
      tokens += length;
    }
  }
  return tokens;
}

typedef struct {
  const fc_federation *fed;
  fc_profile profile;
  fc_channel channel;
  fc_work_load load;
  double deadline_s;
} exchange;

static bool is_in_time(const exchange *x, double share) {
  double hz = share * fc_cell_bandwidth_hz(x->fed->cell);
  fc_cost c = fc_cell_cost(x->fed->cell, &x->profile, &x->channel, &x->load, hz);
  return fc_switching_exchange_s(&x->load, &c) <= x->deadline_s;
}

/* The least share with which one link of the device meets the deadline; INFINITY: not even the
 * whole band is enough. */
static double share_in_time(const fc_federation *fed, const fc_switching *s, int64_t round,
                            const fc_ue *u) {
  fc_participant p = {.tokens = tokens_of(fed, s, round, u->device)};
  exchange x = {.fed = fed,
                .profile = fc_cell_profile(fed->cell, u->device),
                .deadline_s = s->set.deadline_s};
  double low = 0, high = 1;
  fc_plan_bill(fed, &p);
  x.load = p.load;
  x.channel = fc_cell_channel(fed->cell, &x.profile, (uint64_t)round, u->device);
  x.profile.tx_power_w = u->power_w;
  if (!is_in_time(&x, high)) return INFINITY;
  for (int i = 0; i < 50; i++) {
    double middle = (low + high) / 2;
    *(is_in_time(&x, middle) ? &high : &low) = middle;
  }
  return high;
}

typedef struct {
  double need;
  uint32_t i;
} entry;

static int by_need(const void *a, const void *b) {
  const entry *x = a, *y = b;
  if (x->need != y->need) return x->need < y->need ? -1 : 1;
  return (x->i > y->i) - (x->i < y->i);
}

fc_err fc_switching_choose(const double *need, uint32_t n, bool *served) {
  const double band = 1 - 1e-9; /* the solver's sum of shares may round the other way */
  double sum = 0;
  entry *e = NULL;
  FC_TRY(fc_alloc(n, sizeof *e, &e));
  for (uint32_t i = 0; i < n; i++) e[i] = (entry){need[i], i};
  qsort(e, n, sizeof *e, by_need);
  for (uint32_t i = 0; i < n; i++) {
    sum += e[i].need;
    served[e[i].i] = sum <= band;
  }
  fc_free(e);
  return FC_ERR_OK;
}

/* need (n), served (n): of all devices of the round. */
static fc_err choose(const fc_federation *fed, fc_switching *s, int64_t round, double *need,
                     bool *served) {
  for (uint32_t i = 0; i < s->ue_count; i++) {
    fc_ue *u = &s->ue[i];
    int links = fc_switching_links(s, u);
    u->least_share = links > 0 ? share_in_time(fed, s, round, u) : 0.0;
    need[s->ue_first + i] = links * u->least_share;
  }
  FC_TRY(fc_switching_tell_all(fed, need, s->n));
  FC_TRY(fc_agree(fed->comm, fc_switching_choose(need, s->n, served)));
  for (uint32_t i = 0; i < s->ue_count; i++) s->ue[i].served = served[s->ue_first + i];
  return FC_ERR_OK;
}

fc_err fc_switching_admit(const fc_federation *fed, fc_switching *s, fc_round *round) {
  double *need = NULL;
  bool *served = NULL;
  round->notes.left_out = 0;
  if (isinf(s->set.deadline_s)) return FC_ERR_OK;
  fc_err err = fc_alloc(s->n, sizeof *need, &need);
  if (err == FC_ERR_OK) err = fc_alloc(s->n, sizeof *served, &served);
  err = fc_agree(fed->comm, err);
  if (err == FC_ERR_OK) err = choose(fed, s, round->number, need, served);
  for (uint32_t i = 0; i < s->n && err == FC_ERR_OK; i++) round->notes.left_out += !served[i];
  fc_free(need);
  fc_free(served);
  return err;
}
