/* ranks.h - devices with adapters of their own rank: who has which, and what such a device trains.
 * The largest rank is the run's, adapter.rank; a device's comes from its memory or is dealt to it
 * (lowrank.*). */
#ifndef RANKS_H
#define RANKS_H

#include "federation.h"

extern const fc_option_table fc_lowrank_options;
/* Local. The faults of adapter.* and lowrank.* that methods with such devices mind. */
void fc_ranks_check(fc_config *cfg);

typedef struct {
  uint32_t devices;
  int run;           /* adapter.rank, or 0: there is no adapter */
  bool common_scale; /* all multiply B A with alpha/adapter.rank, else with alpha over their own */
  int64_t *rank;     /* (devices) the same on all ranks of MPI */
  double length;     /* mean tokens of a sequence */
  fc_trainable **of; /* (run + 1) by LoRA rank, made when a device first takes part with it */
  double *flop_per_token; /* (run + 1) forward and backward, of those */
} fc_ranks;
/* Local. *out is NULL on failure. */
fc_err fc_ranks_create(const fc_federation *fed, bool common_scale, fc_ranks **out);
void fc_ranks_destroy(fc_ranks **r); /* accepts NULL; leaves *r == NULL */
/* Collective. fc_plan_random; every participant gets the trainable of its rank. */
fc_err fc_ranks_plan(fc_federation *fed, fc_ranks *ranks, fc_round *round);
/* Local. round->theta of own participants <- their part of the global model. */
void fc_ranks_narrow(const fc_federation *fed, fc_round *round);
/* Collective. What they trained in the run's layout, its first keep (count) rows and columns; NULL:
 * all that the device has. */
fc_err fc_ranks_widen(const fc_federation *fed, fc_round *round, const int64_t *keep);
/* Collective. Into /state; and back, Local. */
void fc_ranks_save(const fc_federation *fed, const fc_ranks *r, fc_store_file *f);
fc_err fc_ranks_load(fc_ranks *r, const fc_store_reader *file);
/* Local. Weights of a trainable of that LoRA rank: what crosses the link. */
double fc_ranks_weights(const fc_federation *fed, double lora_rank);
/* Local. p->load of a participant that receives and sends so many weights. */
void fc_ranks_bill(const fc_federation *fed, const fc_ranks *ranks, fc_participant *p, double down,
                   double up);
/* Local. The same of a device of the mean rank, before anything runs (fc_method.expect). */
fc_err fc_ranks_expect(const fc_federation *fed, fc_participant *p);

#endif
