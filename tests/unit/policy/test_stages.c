/* Products of stages are named by what they depend on, and by nothing else. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fedcell/fc_mem.h"
#include "stages.h"
#include <stdio.h>
#include <string.h>

/* sets: "key=value", NULL at the end. */
static fc_config *config_with(const char *const *sets) {
  size_t n = 0;
  const fc_option_table *tables = fc_policy_tables(&n);
  fc_config *cfg = NULL;
  assert_int_equal(fc_config_create(tables, n, &cfg), FC_ERR_OK);
  fc_config_set(cfg, "study=policy");
  fc_config_set(cfg, "model.cache=/cache");
  for (; *sets; sets++) fc_config_set(cfg, *sets);
  return cfg;
}
#define SETS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* The path of a stage's product with one option set. */
static char *path_with(fc_stage stage, const char *set) {
  fc_config *cfg = config_with(SETS(set));
  char *path = NULL;
  assert_int_equal(fc_config_finish(cfg), FC_ERR_OK);
  assert_int_equal(fc_stage_path(cfg, stage, &path), FC_ERR_OK);
  fc_config_destroy(&cfg);
  return path;
}

static bool changes(fc_stage stage, const char *set) {
  char *before = path_with(stage, "seed=1"), *after = path_with(stage, set);
  const bool differ = strcmp(before, after) != 0;
  fc_free(before);
  fc_free(after);
  return differ;
}

static void names_tell_what_matters(void **state) {
  (void)state;
  static const struct {
    const char *set, *changed; /* stages whose products are others then, by their initials */
  } cases[] = {
      {"seed=2", ""},
      {"evaluation.scenario=2", ""},
      {"evaluation.deadline_s=20", ""},
      {"evaluation.environment=learned", ""},
      {"policy.agent=fedavg", ""},
      {"grpo.checkpoint_every=9", ""},
      {"data.seed=2", "tdwgpf"},
      {"environment.deadline_s=20", "tdwgpf"},
      {"trajectories.count=7", "tdwgpf"},
      {"habitual.strength=3", "tdwgpf"},
      {"dynamics.width=32", "dgpf"},
      {"warm_up.steps=7", "wgp"},
      {"policy.width=320", "wgp"},
      {"policy.lora_rank=4", "gp"},
      {"policy.temperature=0.5", "gp"},
      {"grpo.iterations=7", "gpf"},
      {"reward.invalid_penalty=0.25", "gp"},
      {"fldlt3.hidden=64", "f"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (fc_stage s = 0; s < FC_STAGES; s++) {
      const char *name = fc_stage_name(s);
      if (changes(s, cases[i].set) != (strchr(cases[i].changed, name[0]) != NULL))
        fail_msg("%s and %s", cases[i].set, name);
    }
}

static void a_model_of_a_folder_is_warmed_up_with_its_factors(void **state) {
  (void)state;
  char *one = path_with(FC_STAGE_WARM_UP, "policy={model: x, lora_rank: 4}");
  char *other = path_with(FC_STAGE_WARM_UP, "policy={model: x, lora_rank: 8}");
  assert_string_not_equal(one, other);
  assert_memory_equal(one, "/cache/warm-up-", 15);
  fc_free(one);
  fc_free(other);
}

#define BIT(stage) (1u << FC_STAGE_##stage)

static unsigned needed_by(const char *agent, const char *environment) {
  char sets[2][64];
  snprintf(sets[0], sizeof sets[0], "policy.agent=%s", agent);
  snprintf(sets[1], sizeof sets[1], "evaluation.environment=%s", environment);
  fc_config *cfg = config_with(SETS(sets[0], sets[1]));
  assert_int_equal(fc_config_finish(cfg), FC_ERR_OK);
  const unsigned needed = fc_stages_needed(cfg);
  fc_config_destroy(&cfg);
  return needed;
}

static void what_is_needed_follows_from_the_agent_and_where_it_is_judged(void **state) {
  (void)state;
  enum { LEARNED = BIT(TRAJECTORIES) | BIT(DYNAMICS) };
  static const struct {
    const char *agent;
    unsigned real, learned;
  } cases[] = {
      {"ppo", LEARNED | BIT(WARM_UP) | BIT(PPO), LEARNED | BIT(WARM_UP) | BIT(PPO)},
      {"warm-up", BIT(TRAJECTORIES) | BIT(WARM_UP), LEARNED | BIT(WARM_UP)},
      {"fldlt3", LEARNED | BIT(FLDLT3), LEARNED | BIT(FLDLT3)},
      {"fedavg", 0, LEARNED},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(needed_by(cases[i].agent, "real"), cases[i].real);
    assert_int_equal(needed_by(cases[i].agent, "learned"), cases[i].learned);
  }
}

/* In the learned environment: the one fault of these settings, or none where it is NULL. */
static void expect_fault(const char *const *sets, const char *fault) {
  fc_config *cfg = config_with(sets);
  fc_config_set(cfg, "evaluation.environment=learned");
  const fc_err err = fc_policy_check(cfg);
  if (fault) {
    assert_int_equal(err, FC_ERR_USAGE);
    assert_string_equal(fc_err_message(), fault);
  } else {
    assert_int_equal(err, FC_ERR_OK);
  }
  fc_config_destroy(&cfg);
}

static void what_the_learned_environment_cannot_take_is_told(void **state) {
  (void)state;
  expect_fault(SETS("evaluation.scenario=2", "evaluation.deadline_s=20", "evaluation.rounds=7"),
               NULL);
  expect_fault(SETS("data.alpha=0.5", "evaluation.alpha=0.5"), NULL);
  expect_fault(SETS("data.alpha=0.5", "evaluation.alpha=0.25"),
               "--set evaluation.alpha=0.25: must be 0 or data.alpha = 0.5 with "
               "evaluation.environment = learned, which has seen no other data of the devices");
  expect_fault(SETS("evaluation.rounds=100"), NULL);
  expect_fault(SETS("evaluation.rounds=101"),
               "--set evaluation.rounds=101: must be at most environment.rounds = 100 with "
               "evaluation.environment = learned, which has seen no longer episodes");
  expect_fault(SETS("policy.agent=exhaustive"),
               "--set policy.agent=exhaustive: tries before it chooses: with "
               "evaluation.environment = learned, which draws what comes of a choice, that needs "
               "dynamics.sample = false");
  expect_fault(SETS("policy.agent=exhaustive", "dynamics.sample=false"), NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names_tell_what_matters),
      cmocka_unit_test(a_model_of_a_folder_is_warmed_up_with_its_factors),
      cmocka_unit_test(what_is_needed_follows_from_the_agent_and_where_it_is_judged),
      cmocka_unit_test(what_the_learned_environment_cannot_take_is_told),
  };
  return cmocka_run_group_tests_name("policy.stages", tests, NULL, NULL);
}
