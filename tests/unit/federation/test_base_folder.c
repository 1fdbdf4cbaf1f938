/* The cache folder of an embedded base: named by all that the base depends on and by nothing else.
 */
#include "single_rank.h"

/* Name of the folder for the small configuration with these settings; caller frees. */
static char *folder_of(const char *const *sets) {
  fc_config *cfg = small_config(sets);
  fc_data_settings data = fc_data_settings_read(cfg);
  fc_split_settings s = fc_split_settings_read(cfg);
  uint64_t parts = (uint64_t)fc_config_int(cfg, "data.seed");
  fc_dataset *ds = NULL;
  fc_split *split = NULL;
  char *folder = NULL;
  OK(fc_dataset_open(&data, parts, &ds));
  OK(fc_split_create(&s, ds, data.public_fraction, parts, (uint64_t)fc_config_int(cfg, "seed"),
                     (uint32_t)fc_config_int(cfg, "population.devices"), &split));
  OK(fc_base_folder(cfg, ds, split, &folder));
  fc_split_destroy(&split);
  fc_dataset_destroy(&ds);
  fc_config_destroy(&cfg);
  return folder;
}

/* All options, so that a new one has to be thought of. Those of the first list change the base. */
static const char *const changing[] = {
    "model.family=roberta",
    "model.layers=3",
    "model.width=32",
    "model.heads=4",
    "model.ffn=25",
    "model.kv_heads=1",
    "model.vocab=500",
    "data.max_length=23",
    "data.seed=2",
    "data.samples=301",
    "data.dataset=generated-topics",
    "data.public_fraction=0.3",
    "pretrain.objective=masked_lm",
    "pretrain.steps=10",
    "pretrain.batch=3",
    "pretrain.micro_batch=3",
    "pretrain.learning_rate=1e-4",
    "pretrain.weight_decay=0.5",
    "pretrain.seed=2",
};
static const char *const unchanging[] = {
    "seed=77",
    "experiment=other",
    "federation.rounds=9",
    "federation.method=local",
    "federation.local.learning_rate=0.5",
    "adapter.rank=2",
    "data.split=shards",
    "data.alpha=3",
    "population.devices=20",
    "cell.bandwidth_hz=1e6",
    "checkpoint.every_rounds=3",
    "model.pooling=mean",
};

static void everything_that_matters_changes_the_name(void **state) {
  (void)state;
  enum { N = sizeof changing / sizeof changing[0] };
  char *name[N + 1];
  name[N] = folder_of(NULL);
  for (int i = 0; i < N; i++) {
    name[i] = folder_of(SETS(changing[i]));
    if (strcmp(name[i], name[N]) == 0) fail_msg("%s keeps the name", changing[i]);
    for (int j = 0; j < i; j++)
      if (strcmp(name[i], name[j]) == 0) fail_msg("%s and %s share it", changing[i], changing[j]);
  }
  for (int i = 0; i <= N; i++) fc_free(name[i]);
}

static void nothing_else_does(void **state) {
  (void)state;
  char *plain = folder_of(NULL);
  for (size_t i = 0; i < sizeof unchanging / sizeof unchanging[0]; i++) {
    char *name = folder_of(SETS(unchanging[i]));
    if (strcmp(name, plain) != 0) fail_msg("%s changes the name", unchanging[i]);
    fc_free(name);
  }
  fc_free(plain);
}

static void expect_folder(const char *const *sets, const char *beginning) {
  char *name = folder_of(sets);
  assert_memory_equal(name, beginning, strlen(beginning));
  assert_int_equal(strlen(name), strlen(beginning) + 16); /* 16 hexadecimal digits */
  fc_free(name);
}

static void where_the_cache_is(void **state) {
  (void)state;
  setenv("HOME", "/home/x", 1);
  unsetenv("XDG_CACHE_HOME");
  unsetenv("FEDCELL_CACHE");
  expect_folder(NULL, "/home/x/.cache/fedcell/base-");
  setenv("XDG_CACHE_HOME", "/xdg", 1);
  expect_folder(NULL, "/xdg/fedcell/base-");
  setenv("FEDCELL_CACHE", "/own", 1);
  expect_folder(NULL, "/own/base-");
  expect_folder(SETS("model.cache=/given"), "/given/base-");
  unsetenv("FEDCELL_CACHE");
  unsetenv("XDG_CACHE_HOME");
  unsetenv("HOME");
  fc_config *cfg = small_config(NULL);
  fixture f = fixture_make(comm, NULL);
  char *name = NULL;
  FAILS(fc_base_folder(cfg, f.fed->task.dataset, f.fed->task.split, &name), IO,
        "no place for the embedded base: set model.cache, FEDCELL_CACHE or HOME");
  fixture_drop(&f);
  fc_config_destroy(&cfg);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(everything_that_matters_changes_the_name),
    cmocka_unit_test(nothing_else_does),
    cmocka_unit_test(where_the_cache_is),
};
SINGLE_RANK_MAIN(tests)
