/* stages.c - the table of stages, and names of their products: a hash of every option that a stage
 * and those before it depend on. */
#include "stages.h"
#include "fedcell/fc_data.h"
#include "fedcell/fc_hash.h"
#include "fedcell/fc_mem.h"
#include "prompts.h"
#include <inttypes.h>
#include <string.h>

/* Raise it when a stage itself changes: what older versions made is then not used. */
enum { VERSION = 3, TABLES_MAX = 6 };

#define NEEDS(stage) (1u << FC_STAGE_##stage)

static const struct {
  const char *name, *ending;
  unsigned needs;
  bool reads_prompts;
  const fc_option_table *tables[TABLES_MAX]; /* whose options it depends on */
} stages[FC_STAGES] = {
    [FC_STAGE_TRAJECTORIES] = {.name = "trajectories",
                               .ending = ".h5",
                               .tables = {&fc_data_options, &fc_split_options,
                                          &fc_environment_options, &fc_trajectories_options,
                                          &fc_eps_greedy_options, &fc_habitual_options}},
    [FC_STAGE_DYNAMICS] = {.name = "dynamics",
                           .needs = NEEDS(TRAJECTORIES),
                           .tables = {&fc_dynamics_options}},
    [FC_STAGE_WARM_UP] = {.name = "warm-up",
                          .needs = NEEDS(TRAJECTORIES),
                          .reads_prompts = true,
                          .tables = {&fc_policy_options, &fc_warm_up_options}},
    [FC_STAGE_GRPO] = {.name = "grpo",
                       .needs = NEEDS(TRAJECTORIES) | NEEDS(DYNAMICS) | NEEDS(WARM_UP),
                       .tables = {&fc_policy_options, &fc_grpo_options, &fc_reward_options}},
    [FC_STAGE_PPO] = {.name = "ppo",
                      .needs = NEEDS(TRAJECTORIES) | NEEDS(DYNAMICS) | NEEDS(WARM_UP),
                      .tables = {&fc_policy_options, &fc_grpo_options, &fc_reward_options}},
    [FC_STAGE_FLDLT3] = {.name = "fldlt3",
                         .needs = NEEDS(TRAJECTORIES) | NEEDS(DYNAMICS),
                         .tables = {&fc_grpo_options, &fc_fldlt3_options}},
};

const char *fc_stage_name(fc_stage stage) {
  return stages[stage].name;
}

bool fc_is_judged_in_learned(const fc_config *cfg) {
  return strcmp(fc_config_string(cfg, "evaluation.environment"), "learned") == 0;
}

/* Agents that are trained have the name of their last stage. */
unsigned fc_stages_needed(const fc_config *cfg) {
  const char *agent = fc_config_string(cfg, "policy.agent");
  unsigned needed = 0;
  for (int s = FC_STAGE_WARM_UP; s < FC_STAGES; s++)
    if (strcmp(stages[s].name, agent) == 0) needed = stages[s].needs | 1u << s;
  if (fc_is_judged_in_learned(cfg)) needed |= NEEDS(TRAJECTORIES) | NEEDS(DYNAMICS);
  return needed;
}

/* ---- names ----------------------------------------------------------------------------------- */

static fc_err hash_option(const fc_config *cfg, const char *name, uint64_t *hash) {
  char *value = NULL;
  FC_TRY(fc_config_text(cfg, name, &value));
  *hash = fc_hash_bytes(*hash, name, strlen(name) + 1);
  *hash = fc_hash_bytes(*hash, value, strlen(value) + 1);
  fc_free(value);
  return FC_ERR_OK;
}

static fc_err hash_prompts(const fc_config *cfg, uint64_t *hash) {
  fc_prompts *prompts = NULL;
  FC_TRY(fc_prompts_of(cfg, &prompts));
  *hash = fc_prompts_hash(prompts, *hash);
  fc_prompts_destroy(&prompts);
  return FC_ERR_OK;
}

/* Options in a stage's tables that change nothing of what it makes: who is judged in the end, where
 * the prompts lie, how often checkpoints are written; and in the warm start of an embedded model,
 * which trains all weights on given answers, how it is trained and speaks later. */
static const struct {
  const char *name;
  bool matters_later;
} indifferent[] = {{"policy.agent", false},          {"policy.prompts", false},
                   {"grpo.checkpoint_every", false}, {"warm_up.checkpoint_every", false},
                   {"policy.lora_rank", true},       {"policy.lora_alpha", true},
                   {"policy.temperature", true},     {"policy.top_p", true},
                   {"policy.precision", true}};

static bool matters(const fc_config *cfg, fc_stage stage, const char *name) {
  const bool is_embedded = strcmp(fc_config_string(cfg, "policy.model"), "embedded") == 0;
  for (size_t i = 0; i < sizeof indifferent / sizeof *indifferent; i++)
    if (strcmp(indifferent[i].name, name) == 0)
      return indifferent[i].matters_later && !(stage == FC_STAGE_WARM_UP && is_embedded);
  return true;
}

static fc_err hash_stage(const fc_config *cfg, fc_stage stage, uint64_t *hash) {
  for (int s = 0; s < FC_STAGES; s++)
    if (stages[stage].needs & 1u << s) FC_TRY(hash_stage(cfg, (fc_stage)s, hash));
  FC_TRY(hash_option(cfg, "data.seed", hash));
  for (int t = 0; t < TABLES_MAX && stages[stage].tables[t]; t++)
    for (size_t i = 0; i < stages[stage].tables[t]->n; i++) {
      const char *name = stages[stage].tables[t]->options[i].name;
      if (matters(cfg, stage, name)) FC_TRY(hash_option(cfg, name, hash));
    }
  return stages[stage].reads_prompts ? hash_prompts(cfg, hash) : FC_ERR_OK;
}

fc_err fc_stage_path(const fc_config *cfg, fc_stage stage, char **path) {
  const unsigned char version = VERSION;
  uint64_t hash = fc_hash_bytes(FC_HASH_START, &version, 1);
  char *cache = NULL;
  *path = NULL;
  FC_TRY(hash_stage(cfg, stage, &hash));
  FC_TRY(fc_cache_folder(cfg, &cache));
  fc_err err = fc_format(path, "%s/%s-%016" PRIx64 "%s", cache, stages[stage].name, hash,
                         stages[stage].ending ? stages[stage].ending : "");
  fc_free(cache);
  return err;
}
