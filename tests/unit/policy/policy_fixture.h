/* policy_fixture.h - the environment's small scenario with the options of the tools, for tests of
 * agents. */
#ifndef POLICY_FIXTURE_H
#define POLICY_FIXTURE_H

#include "../environment/environment_fixture.h"
#include "fedcell/fc_agent.h"

/* sets: "key=value", NULL at the end. */
static inline fc_config *tools_config(const char *const *sets) {
  static const fc_option run[] = {
      {"data.seed", FC_OPT_INT, "", "1", 0, 1e9, NULL, "as the run's table has it"}};
  static fc_option_table tables[8];
  tables[0] = (fc_option_table)FC_OPTION_TABLE("run", run);
  tables[1] = fc_data_options;
  tables[2] = fc_split_options;
  tables[3] = fc_environment_options;
  tables[4] = fc_evaluation_options;
  tables[5] = fc_tool_options;
  tables[6] = fc_eps_greedy_options;
  tables[7] = fc_habitual_options;
  fc_config *cfg = NULL;
  assert_ok(fc_config_create(tables, sizeof tables / sizeof *tables, &cfg));
  for (size_t i = 0; i < sizeof small_scenario / sizeof *small_scenario; i++)
    fc_config_set(cfg, small_scenario[i]);
  for (; *sets; sets++) fc_config_set(cfg, *sets);
  assert_ok(fc_config_finish(cfg));
  return cfg;
}
#define SETS(...) ((const char *const[]){__VA_ARGS__, NULL})

#endif
