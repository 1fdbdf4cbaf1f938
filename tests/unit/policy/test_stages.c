/* Products of stages are named by what they depend on, and by nothing else. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fedcell/fc_mem.h"
#include "stages.h"
#include <string.h>

/* The path of a stage's product with one option set. */
static char *path_with(fc_stage stage, const char *set) {
  size_t n = 0;
  const fc_option_table *tables = fc_policy_tables(&n);
  fc_config *cfg = NULL;
  char *path = NULL;
  assert_int_equal(fc_config_create(tables, n, &cfg), FC_ERR_OK);
  fc_config_set(cfg, "study=policy");
  fc_config_set(cfg, "model.cache=/cache");
  fc_config_set(cfg, set);
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

static void agents_have_their_stages(void **state) {
  (void)state;
  assert_int_equal(fc_stage_of_agent("ppo"), FC_STAGE_PPO);
  assert_int_equal(fc_stage_of_agent("warm-up"), FC_STAGE_WARM_UP);
  assert_int_equal(fc_stage_of_agent("fedavg"), FC_STAGES);
  assert_int_equal(fc_stage_of_agent("trajectories"), FC_STAGES);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names_tell_what_matters),
      cmocka_unit_test(a_model_of_a_folder_is_warmed_up_with_its_factors),
      cmocka_unit_test(agents_have_their_stages),
  };
  return cmocka_run_group_tests_name("policy.stages", tests, NULL, NULL);
}
