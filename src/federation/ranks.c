/* ranks.c - devices with adapters of their own rank. */
#include "ranks.h"
#include "factors.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- who has which ----------------------------------------------------------------------------
 */

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* How many of the sorted values (n) are below x, or, with `equal`, not above it. */
static uint32_t below(const double *sorted, uint32_t n, double x, bool equal) {
  uint32_t first = 0, next = n;
  while (first < next) {
    uint32_t middle = first + (next - first) / 2;
    if (sorted[middle] < x || (equal && sorted[middle] == x))
      first = middle + 1;
    else
      next = middle;
  }
  return first;
}

/* rank[d] <- least .. most by the share of the other devices that have less memory; of those that
 * have as much, half counts as less, so that equal devices get equal ranks. */
static fc_err by_memory(const fc_federation *fed, int64_t least, int64_t most, uint32_t devices,
                        int64_t *rank) {
  double *memory = NULL, *sorted = NULL;
  fc_err err = fc_alloc(devices, sizeof *memory, &memory);
  if (err == FC_ERR_OK) err = fc_alloc(devices, sizeof *sorted, &sorted);
  for (uint32_t d = 0; err == FC_ERR_OK && d < devices; d++)
    sorted[d] = memory[d] = fc_cell_profile(fed->cell, d).memory_bytes;
  if (err == FC_ERR_OK) qsort(sorted, devices, sizeof *sorted, ascending);
  for (uint32_t d = 0; err == FC_ERR_OK && d < devices; d++) {
    double less = below(sorted, devices, memory[d], false);
    double equal = below(sorted, devices, memory[d], true) - less;
    double share = devices > 1 ? (less + 0.5 * (equal - 1)) / (devices - 1) : 1.0;
    rank[d] = least + (int64_t)(share * (double)(most - least + 1));
    if (rank[d] > most) rank[d] = most;
  }
  fc_free(memory);
  fc_free(sorted);
  return err;
}

static void deal(const fc_federation *fed, uint32_t devices, int64_t *rank) {
  uint64_t seed = (uint64_t)fc_config_int(fed->cfg, "seed");
  size_t n = fc_config_count(fed->cfg, "lowrank.ranks");
  const double *ranks = fc_config_reals(fed->cfg, "lowrank.ranks");
  bool weighted = fc_config_count(fed->cfg, "lowrank.shares") > 0;
  const double *share = fc_config_reals(fed->cfg, "lowrank.shares");
  double total = 0;
  for (size_t i = 0; i < n; i++) total += weighted ? share[i] : 1;
  for (uint32_t d = 0; d < devices; d++) {
    fc_rng rng = fc_rng_open(seed, FC_RNG_ADAPTER_INIT, UINT64_MAX, d);
    double u = total * fc_rng_uniform(&rng);
    size_t i = 0, last = 0; /* the last with a share: rounding may leave a little of u */
    for (; i < n; i++) {
      double own = weighted ? share[i] : 1;
      if (own > 0) last = i;
      if (own > 0 && u < own) break;
      u -= own;
    }
    rank[d] = (int64_t)ranks[i < n ? i : last];
  }
}

/* rank (devices) */
static fc_err initial_ranks(const fc_federation *fed, uint32_t devices, int64_t *rank) {
  int64_t most = fc_config_int(fed->cfg, "adapter.rank");
  if (fc_config_count(fed->cfg, "lowrank.ranks") == 0)
    return by_memory(fed, fc_config_int(fed->cfg, "lowrank.min_rank"), most, devices, rank);
  deal(fed, devices, rank);
  return FC_ERR_OK;
}

static fc_err fill(const fc_federation *fed, fc_ranks *r) {
  int64_t samples = 0;
  r->devices = fc_cell_devices(fed->cell);
  r->length = fc_task_mean_length(&fed->task, r->devices, &samples);
  r->run = fc_trainable_lora(fed->task.trainable).rank;
  FC_TRY(fc_alloc(r->devices, sizeof *r->rank, &r->rank));
  FC_TRY(fc_alloc((size_t)r->run + 1, sizeof *r->of, &r->of));
  FC_TRY(fc_alloc((size_t)r->run + 1, sizeof *r->flop_per_token, &r->flop_per_token));
  r->flop_per_token[r->run] = fed->flop_per_token.forward_flop + fed->flop_per_token.backward_flop;
  return initial_ranks(fed, r->devices, r->rank);
}

fc_err fc_ranks_create(const fc_federation *fed, bool common_scale, fc_ranks **out) {
  fc_ranks *r = NULL;
  *out = NULL;
  FC_TRY(fc_alloc(1, sizeof *r, &r));
  r->common_scale = common_scale;
  fc_err err = fill(fed, r);
  if (err != FC_ERR_OK) fc_ranks_destroy(&r);
  *out = r;
  return err;
}

void fc_ranks_destroy(fc_ranks **ranks) {
  fc_ranks *r = *ranks;
  if (!r) return;
  for (int i = 0; r->of && i <= r->run; i++) fc_trainable_destroy(&r->of[i]);
  fc_free(r->rank);
  fc_free(r->of);
  fc_free(r->flop_per_token);
  fc_free(r);
  *ranks = NULL;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

/* The trainable of that rank; NULL: the run's. */
static fc_err trainable_of_rank(const fc_federation *fed, fc_ranks *r, int64_t rank,
                                const fc_trainable **out) {
  fc_lora_settings lora = fc_trainable_lora(fed->task.trainable);
  *out = NULL;
  if (rank >= r->run) return FC_ERR_OK;
  if (!r->of[rank]) {
    float alpha = r->common_scale ? lora.alpha * (float)rank / (float)r->run : lora.alpha;
    FC_TRY(fc_task_trainable_of_rank(fed->cfg, &fed->task, (int)rank, alpha, &r->of[rank]));
    fc_flop_count f =
        fc_trainable_flop_per_token(r->of[rank], r->length, fed->task.loss != FC_LOSS_CLASSIFY);
    r->flop_per_token[rank] = f.forward_flop + f.backward_flop;
  }
  *out = r->of[rank];
  return FC_ERR_OK;
}

fc_err fc_ranks_plan(fc_federation *fed, fc_ranks *ranks, fc_round *round) {
  fc_err err = FC_ERR_OK;
  FC_TRY(fc_plan_random(fed, round));
  for (uint32_t i = 0; i < round->n && err == FC_ERR_OK; i++) {
    fc_participant *p = &round->all[i];
    err = trainable_of_rank(fed, ranks, ranks->rank[p->device], &p->trainable);
  }
  return fc_agree(fed->comm, err);
}

void fc_ranks_narrow(const fc_federation *fed, fc_round *round) {
  for (uint32_t i = 0; i < round->count; i++)
    fc_factors_narrow(fed, &round->all[round->first + i], round->theta + (size_t)i * fed->P);
}

fc_err fc_ranks_widen(const fc_federation *fed, fc_round *round, const int64_t *keep) {
  float *scratch = NULL;
  fc_err err = fc_agree(fed->comm, fc_alloc(fed->P, sizeof *scratch, &scratch));
  for (uint32_t i = 0; err == FC_ERR_OK && i < round->count; i++) {
    fc_participant *p = &round->all[round->first + i];
    int64_t all = fc_trainable_lora(fc_trainable_of(fed, p)).rank;
    fc_factors_widen(fed, p, keep ? keep[i] : all, round->theta + (size_t)i * fed->P, scratch);
  }
  fc_free(scratch);
  return err;
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

void fc_ranks_save(const fc_federation *fed, const fc_ranks *r, fc_store_file *f) {
  int64_t first = 0, own = 0;
  fc_comm_share(r->devices, fed->comm->size, fed->comm->rank, &first, &own);
  fc_store_put_i64(f, "/state/lora_rank", "", "LoRA rank of every device", r->rank + first, first,
                   own, r->devices);
}

/* From a file that someone may have changed. */
fc_err fc_ranks_load(fc_ranks *r, const fc_store_reader *file) {
  FC_TRY(fc_store_get_i64(file, "/state/lora_rank", 0, r->devices, r->rank));
  for (uint32_t d = 0; d < r->devices; d++)
    FC_CHECK(r->rank[d] >= 1 && (r->rank[d] <= r->run || r->run == 0), DATA,
             "/state/lora_rank: device %u has %lld, allowed is 1 to %d", d, (long long)r->rank[d],
             r->run);
  return FC_ERR_OK;
}

/* ---- costs ----------------------------------------------------------------------------------- */

double fc_ranks_weights(const fc_federation *fed, double lora_rank) {
  double run = fc_trainable_lora(fed->task.trainable).rank;
  double factors = 0;
  size_t n = 0;
  const fc_trainable_part *part = fc_trainable_parts(fed->task.trainable, &n);
  for (size_t i = 0; i < n; i++)
    if (part[i].kind != 'W') factors += (double)part[i].rows * (double)part[i].cols;
  double all = (double)fc_trainable_count(fed->task.trainable);
  return run > 0 ? all - factors + factors * (lora_rank / run) : all;
}

void fc_ranks_bill(const fc_federation *fed, const fc_ranks *ranks, fc_participant *p, double down,
                   double up) {
  int rank = fc_trainable_lora(fc_trainable_of(fed, p)).rank;
  p->load = (fc_work_load){.flop = p->tokens * ranks->flop_per_token[rank],
                           .downlink_bits = down * fed->set.bits_per_weight,
                           .uplink_bits = up * fed->set.bits_per_weight};
}

fc_err fc_ranks_expect(const fc_federation *fed, fc_participant *p) {
  fc_ranks *r = NULL;
  double sum = 0;
  FC_TRY(fc_ranks_create(fed, false, &r));
  for (uint32_t d = 0; d < r->devices; d++) sum += (double)r->rank[d];
  double mean = sum / r->devices, weights = fc_ranks_weights(fed, mean);
  fc_err err = trainable_of_rank(fed, r, llround(mean), &p->trainable);
  if (err == FC_ERR_OK) fc_ranks_bill(fed, r, p, weights, weights);
  p->trainable = NULL;
  fc_ranks_destroy(&r);
  return err;
}
