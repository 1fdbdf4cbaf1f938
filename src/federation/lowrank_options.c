/* lowrank_options.c - the options of methods whose devices have adapters of their own rank, and the
 * faults that only several of them show. */
#include "ranks.h"
#include <math.h>
#include <string.h>

static const fc_option options[] = {
    {"lowrank.min_rank", FC_OPT_INT, "", "2", 1, 1024, NULL,
     "Least LoRA rank of a device; the greatest is adapter.rank. In between by its memory: the "
     "share "
     "of devices that have less."},
    {"lowrank.ranks", FC_OPT_REALS, "", "", 1, 1024, NULL,
     "LoRA ranks dealt to the devices at random instead, whatever their memory; each up to "
     "adapter.rank. Empty: by memory."},
    {"lowrank.shares", FC_OPT_REALS, "", "", 0, 1e9, NULL,
     "How many devices get each of lowrank.ranks, in proportion; empty: as many of each."},
    {"hetlora.prune", FC_OPT_REAL, "", "0.99", 0, 1, NULL,
     "hetlora: a device keeps this part of its rank, rounded down, when what lies beyond has "
     "become "
     "less; 1: never prunes."},
    {"hetlora.lambda", FC_OPT_REAL, "", "1e-3", 0, 1e6, NULL,
     "hetlora: weight of what lies beyond in the devices' loss."},
};
const fc_option_table fc_lowrank_options =
    FC_OPTION_TABLE("lowrank: devices with adapters of their own rank", options);

static void check_list(fc_config *cfg, int64_t largest) {
  size_t n = fc_config_count(cfg, "lowrank.ranks"), shares = fc_config_count(cfg, "lowrank.shares");
  const double *rank = fc_config_reals(cfg, "lowrank.ranks");
  const double *share = fc_config_reals(cfg, "lowrank.shares");
  double total = 0;
  for (size_t i = 0; i < n; i++) {
    if (rank[i] <= (double)largest && rank[i] == floor(rank[i])) continue;
    fc_config_fault(cfg, "lowrank.ranks", "each must be whole and at most adapter.rank = %lld",
                    (long long)largest);
    break;
  }
  for (size_t i = 0; i < shares; i++) total += share[i];
  if (shares > 0 && shares != n)
    fc_config_fault(cfg, "lowrank.shares", "must be as many as lowrank.ranks, %zu", n);
  else if (shares > 0 && !(total > 0))
    fc_config_fault(cfg, "lowrank.shares", "must not all be 0");
}

void fc_ranks_check(fc_config *cfg) {
  int64_t largest = fc_config_int(cfg, "adapter.rank");
  const char *method = fc_config_string(cfg, "federation.method");
  if (strcmp(fc_config_string(cfg, "adapter.kind"), "lora") != 0)
    fc_config_fault(cfg, "adapter.kind", "must be lora for federation.method = %s", method);
  if (fc_config_count(cfg, "lowrank.ranks") == 0 &&
      fc_config_int(cfg, "lowrank.min_rank") > largest)
    fc_config_fault(cfg, "lowrank.min_rank", "must be at most adapter.rank = %lld",
                    (long long)largest);
  check_list(cfg, largest);
}
