/* plan.c - who takes part, and what the radio makes of their work. */
#include "federation.h"
#include <math.h>

int64_t fc_participants_per_round(const fc_federation_settings *s, uint32_t devices) {
  int64_t n = s->participants ? s->participants : llround(s->fraction * devices);
  if (n < 1) n = 1;
  return n > devices ? devices : n;
}

/* Participants are in device order and hosted devices are a contiguous range, so the ones trained
 * here are contiguous either way: those hosted here where devices keep models, else an even share.
 */
static void share_out(const fc_federation *fed, fc_round *round) {
  const fc_comm *c = fed->comm;
  int64_t first = 0, count = 0;
  if (!fed->method->keeps_device_models) {
    fc_comm_share(round->n, c->size, c->rank, &first, &count);
  } else {
    int64_t host = 0, hosted = 0;
    fc_comm_share(fc_cell_devices(fed->cell), c->size, c->rank, &host, &hosted);
    while (first < round->n && round->all[first].device < host) first++;
    while (first + count < round->n && round->all[first + count].device < host + hosted) count++;
  }
  round->first = (uint32_t)first;
  round->count = (uint32_t)count;
}

fc_err fc_plan_share_out(fc_federation *fed, fc_round *round) {
  share_out(fed, round);
  return fc_alloc((size_t)round->count * fed->P, sizeof(float), &round->theta);
}

fc_err fc_plan_keep(fc_federation *fed, fc_round *round, const double *keep) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < round->n; i++)
    if (keep[i] != 0) round->all[n++] = round->all[i];
  round->n = n;
  fc_free(round->theta);
  round->theta = NULL;
  return fc_plan_share_out(fed, round);
}

fc_err fc_plan_gather(const fc_federation *fed, const fc_round *round, const double *own,
                      double *all) {
  FC_TRY(fc_comm_gather(fed->comm, own, round->n, all));
  return fc_comm_broadcast(fed->comm, all, round->n * sizeof *all, 0);
}

fc_link fc_link_of(const fc_federation *fed, const fc_round *round, const fc_participant *p) {
  const fc_work_load one_bit = {.downlink_bits = 1, .uplink_bits = 1};
  fc_profile profile = fc_cell_profile(fed->cell, p->device);
  fc_channel h = fc_cell_channel(fed->cell, &profile, (uint64_t)round->number, p->device);
  fc_cost cost = fc_cell_cost(fed->cell, &profile, &h, &one_bit, p->bandwidth_hz);
  return (fc_link){.profile = profile,
                   .down = cost.rate_down_bps / p->bandwidth_hz,
                   .up = cost.rate_up_bps / p->bandwidth_hz};
}

void fc_plan_draw(const fc_federation *fed, int64_t round, uint32_t n, uint32_t *device) {
  fc_rng rng = fc_rng_open(fed->seed, FC_RNG_SELECTION, (uint64_t)round, 0);
  fc_rng_choose(&rng, fc_cell_devices(fed->cell), n, device);
}

static fc_err draw(fc_federation *fed, fc_round *round, uint32_t *device) {
  fc_plan_draw(fed, round->number, round->n, device);
  for (uint32_t i = 0; i < round->n; i++) {
    size_t samples = 0;
    fc_split_device(fed->task.split, device[i], &samples);
    round->all[i] = (fc_participant){.device = device[i],
                                     .samples = (double)samples,
                                     .bandwidth_hz = fc_cell_bandwidth_hz(fed->cell) / round->n};
  }
  return fc_plan_share_out(fed, round);
}

fc_err fc_plan_random(fc_federation *fed, fc_round *round) {
  uint32_t *device = NULL;
  round->n = (uint32_t)fc_participants_per_round(&fed->set, fc_cell_devices(fed->cell));
  fc_err err = fc_alloc(round->n, sizeof *round->all, &round->all);
  if (err == FC_ERR_OK) err = fc_alloc(round->n, sizeof *device, &device);
  if (err == FC_ERR_OK) err = draw(fed, round, device);
  fc_free(device);
  return fc_agree(fed->comm, err);
}

const fc_trainable *fc_trainable_of(const fc_federation *fed, const fc_participant *p) {
  return p->trainable ? p->trainable : fed->task.trainable;
}

/* What every method costs that has no more to say: the whole model computes, what is trained
 * crosses the link, if the method uses it. */
void fc_plan_bill(const fc_federation *fed, fc_participant *p) {
  double weights = (double)fc_trainable_count(fc_trainable_of(fed, p));
  double bits = fed->method->uses_radio ? weights * fed->set.bits_per_weight : 0.0;
  p->load = (fc_work_load){
      .flop = p->tokens * (fed->flop_per_token.forward_flop + fed->flop_per_token.backward_flop),
      .downlink_bits = bits,
      .uplink_bits = bits};
}

/* A participant's bill. */
static void deliver(const fc_federation *fed, const fc_round *round, fc_participant *p) {
  fc_profile profile = fc_cell_profile(fed->cell, p->device);
  if (p->power_w > 0)
    profile.tx_power_w = p->power_w;
  else
    p->power_w = profile.tx_power_w;
  p->channel = fc_cell_channel(fed->cell, &profile, (uint64_t)round->number, p->device);
  if (fed->method->bill)
    fed->method->bill(fed, round, p);
  else
    fc_plan_bill(fed, p);
  p->cost = fc_cell_cost(fed->cell, &profile, &p->channel, &p->load, p->bandwidth_hz);
  if (fed->method->settle) fed->method->settle(fed, round, p);
}

/* The columns that are summed over participants. */
enum { ENERGY, UPLINK, DOWNLINK, FLOP, TOKENS, LOSS, COUNT, DELIVERED, SUMS };

fc_err fc_plan_deliver(fc_federation *fed, fc_round *round) {
  double *x = NULL, sums[SUMS], slowest = 0;
  fc_err err = fc_alloc((size_t)round->count * SUMS, sizeof *x, &x);
  FC_TRY_GOTO(err, fc_agree(fed->comm, err), done);
  for (uint32_t i = 0; i < round->count; i++) {
    fc_participant *p = &round->all[round->first + i];
    deliver(fed, round, p);
    const double row[SUMS] = {p->cost.energy_j,      p->load.uplink_bits, p->load.downlink_bits,
                              p->load.flop,          p->tokens,           p->loss.loss_sum,
                              (double)p->loss.count, p->cost.delivered};
    for (int c = 0; c < SUMS; c++) x[i * SUMS + c] = row[c];
    slowest = fc_exact_larger(slowest, p->cost.latency_s);
  }
  FC_TRY_GOTO(err, fc_comm_max(fed->comm, &slowest, 1), done);
  if (!isfinite(slowest)) {
    err = fc_fail(FC_ERR_NUMERIC,
                  "round %lld: a participant's link is dead and the round would never end; set "
                  "cell.deadline_s",
                  (long long)round->number);
    goto done;
  }
  FC_TRY_GOTO(err, fc_exact_sums(fed->comm, x, round->count, SUMS, sums), done);
  round->latency_s += slowest; /* beside what the server has taken */
  round->energy_j = sums[ENERGY];
  round->uplink_bits = sums[UPLINK];
  round->downlink_bits = sums[DOWNLINK];
  round->flop = sums[FLOP];
  round->tokens = sums[TOKENS];
  round->train_loss = sums[COUNT] > 0 ? sums[LOSS] / sums[COUNT] : (double)NAN;
  round->delivered = llrint(sums[DELIVERED]);
done:
  fc_free(x);
  return err;
}
