/* record.c - what a run writes down: one row a round (rank 0), one row a participant and round (the
 * rank that trained it), one row a device. The columns are tables; nothing else knows them. */
#include "federation.h"
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* ---- rounds ---------------------------------------------------------------------------------- */

/* One line a column: the C field it comes from stands in the rows below, in the same order. */
static const fc_column round_columns[] = {
    {"round", "", "number of the round; 0 is the state before training", FC_COLUMN_I64},
    {"train_loss", "nat", "mean loss over the participants' training targets", FC_COLUMN_F64},
    {"test_loss", "nat", "mean loss on the test part; NaN where not evaluated", FC_COLUMN_F64},
    {"test_accuracy", "", "share of right answers on the test part", FC_COLUMN_F64},
    {"sim_time_s", "s", "simulated time since the start", FC_COLUMN_F64},
    {"round_time_s", "s",
     "simulated time of this round: the slowest participant's, and the server's", FC_COLUMN_F64},
    {"energy_j", "J", "energy of all participants in this round", FC_COLUMN_F64},
    {"uplink_bits", "bit", "sent by all participants", FC_COLUMN_F64},
    {"downlink_bits", "bit", "sent to all participants", FC_COLUMN_F64},
    {"flop", "FLOP", "local work of all participants", FC_COLUMN_F64},
    {"tokens", "", "tokens trained on by all participants", FC_COLUMN_F64},
    {"participants", "", "devices that took part", FC_COLUMN_I64},
    {"delivered", "", "devices whose update arrived", FC_COLUMN_I64},
    {"wall_time_s", "s", "what the simulation of this round took", FC_COLUMN_F64},
    {"planned_time_s", "s", "time that the plan promised; NaN: the method promises none",
     FC_COLUMN_F64},
    {"lower_bound_s", "s", "proved: no plan of the method's kind is faster; NaN: not known",
     FC_COLUMN_F64},
    {"server_loss", "nat", "of the server's own training; NaN: it trains nothing", FC_COLUMN_F64},
    {"emulator_loss", "nat", "test loss of the smaller model that devices see; NaN: there is none",
     FC_COLUMN_F64},
    {"aggregation_error", "",
     "distance of the new adapter from the exact mean of the products, "
     "relative; NaN: not measured",
     FC_COLUMN_F64},
    {"risk_bound", "", "bound of the risk's gap [SW (6)]; NaN: not computed", FC_COLUMN_F64},
    {"delay_s", "s", "least common delay of the uploads [SW (18)]; NaN: not computed",
     FC_COLUMN_F64},
    {"bandwidth_steps", "", "trial delays until it was found; NaN: not computed", FC_COLUMN_F64},
    {"left_out", "",
     "devices that sat the round out, as the band was not enough to serve them by the deadline; "
     "NaN: the method leaves none out",
     FC_COLUMN_F64},
    {"participation_shortfall", "",
     "what the mean subscription lacks most [SW (7d)]; NaN: no "
     "constraint",
     FC_COLUMN_F64},
};
const fc_round_notes fc_round_notes_none = {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};

static const fc_column participation_columns[] = {
    {"round", "", "number of the round", FC_COLUMN_I64},
    {"device", "", "number of the device", FC_COLUMN_I64},
    {"samples", "", "training samples of the device", FC_COLUMN_I64},
    {"tokens", "", "tokens trained on in this round", FC_COLUMN_F64},
    {"loss", "nat", "mean training loss", FC_COLUMN_F64},
    {"module", "", "which of several adapters it learned for; 0: the only one", FC_COLUMN_I64},
    {"lora_rank", "", "rank of the adapter that it trained; 0: none", FC_COLUMN_I64},
    {"pruning", "", "share of the emulator that it was not sent", FC_COLUMN_F64},
    {"bandwidth_hz", "Hz", "share of the band", FC_COLUMN_F64},
    {"power_w", "W", "transmit power of the upload", FC_COLUMN_F64},
    {"gain_up", "", "power gain of the upload, path loss and fading", FC_COLUMN_F64},
    {"gain_down", "", "power gain of the download, path loss and fading", FC_COLUMN_F64},
    {"interference_up_w", "W", "interference at the base within the device's share", FC_COLUMN_F64},
    {"flop", "FLOP", "local work", FC_COLUMN_F64},
    {"uplink_bits", "bit", "size of the upload", FC_COLUMN_F64},
    {"downlink_bits", "bit", "size of the download", FC_COLUMN_F64},
    {"compute_s", "s", "time of the local work", FC_COLUMN_F64},
    {"downlink_s", "s", "time of the download", FC_COLUMN_F64},
    {"uplink_s", "s", "time of the upload", FC_COLUMN_F64},
    {"latency_s", "s", "sum of the three", FC_COLUMN_F64},
    {"energy_j", "J", "computing and upload", FC_COLUMN_F64},
    {"delivered", "", "1 if the update arrived", FC_COLUMN_U8},
};

static const fc_column profile_columns[] = {
    {"device", "", "number of the device", FC_COLUMN_I64},
    {"samples", "", "training samples", FC_COLUMN_I64},
    {"compute_flops", "FLOP/s", "compute speed", FC_COLUMN_F64},
    {"tx_power_w", "W", "transmit power", FC_COLUMN_F64},
    {"energy_per_flop_j", "J/FLOP", "energy of computing that does not depend on speed",
     FC_COLUMN_F64},
    {"energy_kappa", "J s^2/FLOP^3", "energy of computing that grows with speed^2", FC_COLUMN_F64},
    {"memory_bytes", "B", "memory", FC_COLUMN_F64},
    {"battery_j", "J", "energy store; 0: mains", FC_COLUMN_F64},
    {"speed_mps", "m/s", "speed at which it moves, where devices do", FC_COLUMN_F64},
    {"distance_m", "m", "distance to the base station", FC_COLUMN_F64},
    {"pathloss_db", "dB", "path loss at the start, shadowing included", FC_COLUMN_F64},
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

const fc_column *fc_result_column(size_t i, const char **group) {
  static const struct {
    const char *group;
    const fc_column *columns;
    size_t n;
  } tables[] = {
      {"/rounds", round_columns, COUNT_OF(round_columns)},
      {"/participation", participation_columns, COUNT_OF(participation_columns)},
      {"/profile", profile_columns, COUNT_OF(profile_columns)},
  };
  for (size_t t = 0; t < COUNT_OF(tables); i -= tables[t++].n) {
    *group = tables[t].group;
    if (i < tables[t].n) return &tables[t].columns[i];
  }
  return NULL;
}

fc_err fc_record_create(fc_federation *fed) {
  FC_TRY(fc_table_create(round_columns, COUNT_OF(round_columns), &fed->rounds));
  return fc_table_create(participation_columns, COUNT_OF(participation_columns),
                         &fed->participation);
}

static fc_err record_participant(fc_federation *fed, const fc_round *round, uint32_t i) {
  const fc_participant *p = &round->all[i];
  const double row[] = {(double)round->number,
                        p->device,
                        p->samples,
                        p->tokens,
                        p->loss.count ? p->loss.loss_sum / (double)p->loss.count : (double)NAN,
                        p->module,
                        fc_trainable_lora(fc_trainable_of(fed, p)).rank,
                        p->pruning,
                        p->bandwidth_hz,
                        p->power_w,
                        p->channel.gain_up,
                        p->channel.gain_down,
                        p->channel.interference_up_w,
                        p->load.flop,
                        p->load.uplink_bits,
                        p->load.downlink_bits,
                        p->cost.compute_s,
                        p->cost.downlink_s,
                        p->cost.uplink_s,
                        p->cost.latency_s,
                        p->cost.energy_j,
                        p->cost.delivered};
  _Static_assert(COUNT_OF(row) == COUNT_OF(participation_columns), "one value a column");
  _Static_assert(sizeof row + sizeof(int64_t) == FC_RECORD_BYTES, "as the estimate counts it");
  return fc_table_append(fed->participation, fed->participation_rows + i, row);
}

fc_err fc_record_round(fc_federation *fed, const fc_round *round, const fc_round_report *r) {
  static const fc_round none = {0};
  const fc_round *d = round ? round : &none;
  const fc_round_notes *n = round ? &round->notes : &fc_round_notes_none;
  for (uint32_t i = 0; i < d->count; i++) FC_TRY(record_participant(fed, d, d->first + i));
  fed->participation_rows += d->n;
  if (fed->comm->rank != 0) return FC_ERR_OK;
  const double row[] = {(double)r->round,
                        r->train_loss,
                        r->test_loss,
                        r->test_accuracy,
                        r->sim_time_s,
                        d->latency_s,
                        d->energy_j,
                        d->uplink_bits,
                        d->downlink_bits,
                        d->flop,
                        d->tokens,
                        (double)r->participants,
                        (double)d->delivered,
                        r->wall_time_s,
                        n->planned_s,
                        n->lower_bound_s,
                        n->server_loss,
                        n->emulator_loss,
                        n->aggregation_error,
                        n->risk_bound,
                        n->delay_s,
                        n->bandwidth_steps,
                        n->left_out,
                        n->participation_shortfall};
  _Static_assert(COUNT_OF(row) == COUNT_OF(round_columns), "one value a column");
  return fc_table_append(fed->rounds, r->round, row);
}

static double at(const fc_table *t, size_t row, const char *column) {
  return fc_table_get(t, row, (size_t)fc_table_find(t, column));
}

fc_round_report fc_record_report(const fc_federation *fed, size_t row) {
  const fc_table *t = fed->rounds;
  return (fc_round_report){.round = (int64_t)at(t, row, "round"),
                           .rounds = fed->set.rounds,
                           .train_loss = at(t, row, "train_loss"),
                           .test_loss = at(t, row, "test_loss"),
                           .test_accuracy = at(t, row, "test_accuracy"),
                           .sim_time_s = at(t, row, "sim_time_s"),
                           .energy_j = at(t, row, "energy_j"),
                           .total_energy_j = fed->total_energy_j,
                           .tokens = at(t, row, "tokens"),
                           .wall_time_s = at(t, row, "wall_time_s"),
                           .participants = (int64_t)at(t, row, "participants"),
                           .delivered = (int64_t)at(t, row, "delivered")};
}

double fc_record_total(const fc_federation *fed, const char *column) {
  double sum = 0;
  for (size_t r = 0; r < fc_table_rows(fed->rounds); r++) sum += at(fed->rounds, r, column);
  return sum;
}

/* ---- the file -------------------------------------------------------------------------------- */

static fc_err profile_rows(fc_federation *fed, fc_table *t) {
  int64_t first = 0, count = 0;
  fc_comm_share(fc_cell_devices(fed->cell), fed->comm->size, fed->comm->rank, &first, &count);
  for (int64_t d = first; d < first + count; d++) {
    fc_profile p = fc_cell_profile(fed->cell, (uint32_t)d);
    size_t samples = 0;
    fc_split_device(fed->task.split, (uint32_t)d, &samples);
    const double row[] = {
        (double)d,         (double)samples, p.compute_flops, p.tx_power_w,
        p.energy_static_j, p.energy_kappa,  p.memory_bytes,  isinf(p.battery_j) ? 0.0 : p.battery_j,
        p.speed_mps,       p.distance_m,    p.pathloss_db};
    _Static_assert(COUNT_OF(row) == COUNT_OF(profile_columns), "one value a column");
    FC_TRY(fc_table_append(t, d, row));
  }
  return FC_ERR_OK;
}

static void put_profile(fc_federation *fed, fc_store_file *f) {
  fc_table *t = NULL;
  fc_err err = fc_table_create(profile_columns, COUNT_OF(profile_columns), &t);
  if (err == FC_ERR_OK) err = profile_rows(fed, t);
  err = fc_agree(fed->comm, err);
  if (err == FC_ERR_OK)
    fc_store_put_table(f, "/profile", t);
  else
    fc_store_put_failure(f, err);
  fc_table_destroy(&t);
}

fc_group_name fc_record_adapter_group(int m) {
  fc_group_name group = {"/final/adapter"};
  if (m > 0) snprintf(group.text, sizeof group.text, "/final/adapter_%d", m);
  return group;
}

/* The trained weights, a 2-D dataset each, named as PEFT names them; of several models the others
 * in groups of their own. All ranks hold all of theta. Where every device has a model of its own,
 * there is no global one to tell. */
static void put_adapter(fc_federation *fed, fc_store_file *f) {
  size_t n = 0;
  if (fed->method->keeps_device_models) return;
  const fc_trainable *named = fed->named_as ? fed->named_as : fed->task.trainable;
  const fc_trainable_part *part = fc_trainable_parts(named, &n);
  for (int m = 0; m < fed->set.modules; m++) {
    const fc_group_name group = fc_record_adapter_group(m);
    const float *theta = fed->theta + (size_t)m * fed->P;
    for (size_t i = 0; i < n; i++)
      fc_store_put_matrix(f, group.text, part[i].name, "trained weight", theta + part[i].offset,
                          part[i].rows, part[i].cols);
  }
}

fc_err fc_record_write(fc_federation *fed, const fc_run_request *request, const char *path,
                       bool state, int64_t round) {
  fc_store_file *f = NULL;
  FC_TRY(fc_store_write_begin(fed->comm, path, &f));
  fc_provenance_put(fed, request, f);
  fc_store_put_table(f, "/rounds", fed->rounds);
  fc_store_put_table(f, "/participation", fed->participation);
  if (state) {
    fc_checkpoint_put(fed, round, f);
  } else {
    put_profile(fed, f);
    put_adapter(fed, f);
    if (fed->method->put_final) fed->method->put_final(fed, f);
  }
  return fc_store_write_end(&f);
}
