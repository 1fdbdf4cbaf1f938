/* Tables that count in one study alone: not dumped, not required and refused in another. */
#include "config_test.h"
#include "fedcell/fc_mem.h"
#include <string.h>

FC_OPTION_CHOICES(study_name, "federation", "policy")

static const fc_option common[] = {
    {"study", FC_OPT_CHOICE, "", "federation", FC_OPTION_ANY, study_name, "What is studied."},
    {"model.cache", FC_OPT_STRING, "", "", FC_OPTION_ANY, NULL, "Folder."},
};
static const fc_option model[] = {
    {"model.layers", FC_OPT_INT, "", "2", 1, 9, NULL, "Blocks."},
};
static const fc_option policy[] = {
    {"agent", FC_OPT_STRING, "", NULL, FC_OPTION_ANY, NULL, "Who chooses."},
    {"rounds", FC_OPT_INT, "", "3", 1, 9, NULL, "Rounds."},
};

static fc_err read(const char *text, fc_config **cfg) {
  static fc_option_table tables[] = {FC_OPTION_TABLE("run", common),
                                     FC_OPTION_TABLE("model", model),
                                     FC_OPTION_TABLE("policy", policy)};
  tables[1].study = "federation";
  tables[2].study = "policy";
  assert_int_equal(fc_config_create(tables, 3, cfg), FC_ERR_OK);
  assert_int_equal(fc_config_load_text(*cfg, "run.yaml", text, strlen(text), NULL), FC_ERR_OK);
  return fc_config_finish(*cfg);
}

static void check_dump(const char *text, const char *wanted) {
  fc_config *cfg = NULL;
  char *dump = NULL;
  assert_int_equal(read(text, &cfg), FC_ERR_OK);
  assert_int_equal(fc_config_dump(cfg, &dump), FC_ERR_OK);
  assert_string_equal(dump, wanted);
  fc_free(dump);
  fc_config_destroy(&cfg);
}

static void dumps_what_counts(void **state) {
  (void)state;
  check_dump("", "study: federation\nmodel:\n  cache: \"\"\n  layers: 2\n");
  check_dump("study: policy\nagent: llm\n",
             "study: policy\nmodel:\n  cache: \"\"\nagent: llm\nrounds: 3\n");
}

static void refuses_the_other_study(void **state) {
  (void)state;
  fc_config *cfg = NULL;
  assert_int_equal(read("rounds: 4\nstudy: policy\nmodel:\n  layers: 3\n", &cfg), FC_ERR_USAGE);
  assert_string_equal(fc_err_message(),
                      "run.yaml:4: model.layers = 3: means something in study: federation alone\n"
                      "run.yaml: agent: is required and not given; must be text");
  fc_config_destroy(&cfg);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(dumps_what_counts),
      cmocka_unit_test(refuses_the_other_study),
  };
  return cmocka_run_group_tests_name("config.study", tests, NULL, NULL);
}
