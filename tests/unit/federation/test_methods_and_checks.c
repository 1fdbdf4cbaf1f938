/* The table of methods, and the faults that only several options together show. */
#include "single_rank.h"

static void every_method_is_complete(void **state) {
  (void)state;
  size_t n = 0;
  for (; fc_method_name(n); n++) {
    const fc_method *m = fc_method_find(fc_method_name(n));
    assert_non_null(m);
    assert_string_equal(m->name, fc_method_name(n));
    assert_in_range(strlen(fc_method_meaning(n)), 20, 300);
    assert_true(m->plan && m->train && m->server && m->evaluate);
    assert_true(!m->create == !m->destroy);
    assert_true(!m->save == !m->load);
    for (size_t i = 0; i < n; i++) assert_string_not_equal(m->name, fc_method_name(i));
  }
  assert_true(n > 1);
  assert_null(fc_method_meaning(n));
  assert_null(fc_method_find("fedlor"));
}

static void expect_fault(const char *const *sets, const char *message) {
  fc_config *cfg = small_config(sets);
  fc_cell *cell = NULL;
  FAILS(fc_check_configuration(cfg, &cell), USAGE, message);
  fc_cell_destroy(&cell);
  fc_config_destroy(&cfg);
}

static void faults_of_several_options(void **state) {
  (void)state;
  expect_fault(SETS("population.devices=4"),
               "small.yaml:8: federation.participants = 5: must be at most population.devices = 4");
  expect_fault(SETS("model.heads=3"), "--set model.heads=3: must divide model.width = 16");
  expect_fault(SETS("model.family=llama", "model.heads=4", "model.kv_heads=3"),
               "--set model.kv_heads=3: must divide model.heads = 4");
  expect_fault(SETS("adapter.kind=full", "adapter.init=/x"),
               "--set adapter.init=/x: must be empty for adapter.kind = full");
  expect_fault(SETS("federation.method=fedfull", "adapter.init=/x"),
               "--set adapter.init=/x: must be empty for federation.method = fedfull");
  expect_fault(SETS("model.base=embedded", "pretrain.objective=causal_lm"),
               "--set pretrain.objective=causal_lm: must be masked_lm or auto for model.family = "
               "bert");
  expect_fault(SETS("model.base=embedded", "model.family=gpt2", "pretrain.objective=masked_lm"),
               "--set pretrain.objective=masked_lm: must be causal_lm or auto for model.family = "
               "gpt2");
  expect_fault(SETS("model.base=embedded", "model.tokenizer=/x"),
               "--set model.tokenizer=/x: must be empty for model.base = embedded, which learns a "
               "vocabulary of its own");
  expect_fault(SETS("model.base=embedded", "data.public_fraction=0"),
               "--set data.public_fraction=0: must be above 0 for model.base = embedded, which "
               "learns from the public part");
  expect_fault(SETS("federation.method=centralised", "federation.local.batch=65536",
                    "federation.local.accumulate=4096", "population.devices=20",
                    "federation.participants=10"),
               "--set federation.local.batch=65536: participants x batch x accumulate is "
               "2684354560, at most 2147483647 for method centralised");
}

static void faults_are_told_together(void **state) {
  (void)state;
  expect_fault(SETS("population.devices=4", "model.heads=3"),
               "small.yaml:8: federation.participants = 5: must be at most population.devices = 4\n"
               "--set model.heads=3: must divide model.width = 16");
}

/* The shape of a base from a folder is the folder's. */
static void what_does_not_apply_is_no_fault(void **state) {
  (void)state;
  fc_config *cfg = small_config(SETS("model.base=/some/folder", "model.heads=3",
                                     "pretrain.objective=causal_lm", "model.tokenizer=/x"));
  fc_cell *cell = NULL;
  OK(fc_check_configuration(cfg, &cell));
  fc_cell_destroy(&cell);
  fc_config_destroy(&cfg);
}

static void create_and_estimate_check(void **state) {
  (void)state;
  const char message[] = "--set model.heads=3: must divide model.width = 16";
  fc_config *cfg = small_config(SETS("model.heads=3"));
  fc_federation *fed = NULL;
  fc_estimate e;
  FAILS(fc_federation_create(comm, cfg, &fed), USAGE, message);
  fc_federation_destroy(&fed);
  fc_config_destroy(&cfg);
  cfg = small_config(SETS("model.heads=3"));
  FAILS(fc_federation_estimate(cfg, 1, 1, &e), USAGE, message);
  fc_config_destroy(&cfg);
}

static void tables_name_every_option_once(void **state) {
  (void)state;
  size_t n = 0;
  const fc_option_table *tables = fc_federation_tables(&n);
  assert_true(n >= 10);
  for (size_t t = 0; t < n; t++)
    for (size_t i = 0; i < tables[t].n; i++)
      for (size_t u = 0; u <= t; u++)
        for (size_t k = 0; k < (u == t ? i : tables[u].n); k++)
          assert_string_not_equal(tables[t].options[i].name, tables[u].options[k].name);
}

static void a_sample_a_device_is_enough(void **state) {
  (void)state;
  fc_config *cfg =
      small_config(SETS("federation.participants=12", "data.samples=13", "data.public_fraction=0"));
  fc_federation *fed = NULL;
  OK(fc_federation_create(comm, cfg, &fed));
  fc_federation_destroy(&fed);
  fc_config_destroy(&cfg);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_method_is_complete),
    cmocka_unit_test(faults_of_several_options),
    cmocka_unit_test(faults_are_told_together),
    cmocka_unit_test(what_does_not_apply_is_no_fault),
    cmocka_unit_test(create_and_estimate_check),
    cmocka_unit_test(tables_name_every_option_once),
    cmocka_unit_test(a_sample_a_device_is_enough),
};
SINGLE_RANK_MAIN(tests)
