/* policy.c - the options of this system, and what can be seen only from several together. */
#include "fedcell/fc_data.h"
#include "stages.h"
#include <math.h>
#include <string.h>

const fc_option_table *fc_policy_tables(size_t *n) {
  static const fc_option_table *const own[] = {
      &fc_environment_options,  &fc_evaluation_options, &fc_policy_options,
      &fc_tool_options,         &fc_habitual_options,   &fc_eps_greedy_options,
      &fc_trajectories_options, &fc_dynamics_options,   &fc_warm_up_options,
      &fc_grpo_options,         &fc_reward_options,     &fc_fldlt3_options};
  enum { OWN = sizeof own / sizeof *own, TABLES_MAX = 32 };
  static fc_option_table tables[TABLES_MAX];
  const fc_option_table *common = fc_federation_tables(n);
  memcpy(tables, common, *n * sizeof *tables);
  for (size_t i = 0; i < OWN; i++) {
    tables[*n] = *own[i];
    tables[*n].study = FC_STUDY_POLICY;
    (*n)++;
  }
  return tables;
}

static void check_divides(fc_config *cfg, const char *heads, const char *width) {
  int64_t h = fc_config_int(cfg, heads), w = fc_config_int(cfg, width);
  if (h > 0 && w % h != 0)
    fc_config_fault(cfg, heads, "must divide %s = %lld", width, (long long)w);
}

static void check_channels(fc_config *cfg) {
  const double *channels = fc_config_reals(cfg, "environment.channels");
  const bool are_two = fc_config_count(cfg, "environment.channels") == 2;
  if (!are_two || channels[0] != floor(channels[0]) || channels[1] != floor(channels[1]))
    fc_config_fault(cfg, "environment.channels",
                    "must be two whole numbers: of the two convolutions");
}

/* What the learned environment cannot take: it has seen the devices' data of training and episodes
 * so long, and draws what comes of a choice. */
static void check_learned(fc_config *cfg) {
  const double alpha = fc_config_real(cfg, "evaluation.alpha");
  const double learned_alpha = fc_config_real(cfg, "data.alpha");
  const int64_t rounds = fc_config_int(cfg, "environment.rounds");
  const bool tries = fc_agent_find(fc_config_string(cfg, "policy.agent"))->tries;
  if (alpha > 0 && alpha != learned_alpha)
    fc_config_fault(cfg, "evaluation.alpha",
                    "must be 0 or data.alpha = %g with evaluation.environment = learned, which has "
                    "seen no other data of the devices",
                    learned_alpha);
  if (fc_config_int(cfg, "evaluation.rounds") > rounds)
    fc_config_fault(cfg, "evaluation.rounds",
                    "must be at most environment.rounds = %lld with evaluation.environment = "
                    "learned, which has seen no longer episodes",
                    (long long)rounds);
  if (tries && fc_config_bool(cfg, "dynamics.sample"))
    fc_config_fault(cfg, "policy.agent",
                    "tries before it chooses: with evaluation.environment = learned, which draws "
                    "what comes of a choice, that needs dynamics.sample = false");
}

fc_err fc_policy_check(fc_config *cfg) {
  FC_TRY(fc_config_finish(cfg)); /* the checks need values within their ranges */
  int64_t devices = fc_config_int(cfg, "environment.devices");
  if (fc_config_int(cfg, "environment.select_min") > devices)
    fc_config_fault(cfg, "environment.select_min", "must be at most environment.devices = %lld",
                    (long long)devices);
  check_channels(cfg);
  if (fc_config_int(cfg, "grpo.rounds") > fc_config_int(cfg, "environment.rounds"))
    fc_config_fault(cfg, "grpo.rounds", "must be at most environment.rounds = %lld",
                    (long long)fc_config_int(cfg, "environment.rounds"));
  if (fc_is_judged_in_learned(cfg)) check_learned(cfg);
  check_divides(cfg, "dynamics.heads", "dynamics.width");
  if (strcmp(fc_config_string(cfg, "policy.model"), "embedded") == 0) {
    check_divides(cfg, "policy.heads", "policy.width");
    check_divides(cfg, "policy.kv_heads", "policy.heads");
  }
  return fc_config_finish(cfg);
}
