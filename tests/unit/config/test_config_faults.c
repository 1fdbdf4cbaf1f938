/* Faults: every one is told, with the exact message. */
#include "config_test.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct {
  const char *text, *message;
} fault_case;

static void expect_message(const char *text, const char *size, const char *message) {
  fc_config *cfg = new_config();
  fc_err err = load(cfg, text, size);
  if (err == FC_ERR_OK) err = fc_config_finish(cfg);
  if (err != FC_ERR_USAGE) fail_msg("code %d for: %s", (int)err, text);
  assert_string_equal(fc_err_message(), message);
  fc_config_destroy(&cfg);
}

#define EXPECT_ALL(cases)                                                                          \
  do {                                                                                             \
    for (size_t case_ = 0; case_ < TABLE_LENGTH(cases); case_++)                                   \
      expect_message((cases)[case_].text, NULL, (cases)[case_].message);                           \
  } while (0)

static void numbers(void **state) {
  (void)state;
#define ROUNDS "run.yaml:1: federation.rounds = "
  static const fault_case cases[] = {
      {"federation.rounds: -3", ROUNDS "-3: must be 1 to 1000000000"},
      {"federation.rounds: 1e10", ROUNDS "1e10: must be 1 to 1000000000"},
      {"federation.rounds: 99999999999999999999",
       ROUNDS "99999999999999999999: must be 1 to 1000000000"},
      {"federation.rounds: 1.5", ROUNDS "1.5: must be a whole number, 1 to 1000000000"},
      {"federation.rounds: 0x10", ROUNDS "0x10: must be a whole number, 1 to 1000000000"},
      {"federation.rounds: [3]", ROUNDS "[3]: must be a whole number, 1 to 1000000000"},
      {"federation.rounds: {a: 3}", ROUNDS "{a: 3}: must be a whole number, 1 to 1000000000"},
      {"federation.rounds: '3'",
       ROUNDS "\"3\": must be a whole number, 1 to 1000000000 (without quotes)"},
      {"federation.rounds:", "run.yaml:1: federation.rounds: has no value; must be a whole number, "
                             "1 to 1000000000"},
      {"seed: 9223372036854775808",
       "run.yaml:1: seed = 9223372036854775808: must be a whole number below 2^63"},
      {"cell.bandwidth_hz: 0.5", "run.yaml:1: cell.bandwidth_hz = 0.5: must be 1 to 1e12 Hz"},
      {"cell.bandwidth_hz: wide",
       "run.yaml:1: cell.bandwidth_hz = wide: must be a finite number, 1 to 1e12 Hz"},
      {"cell.delay_s: -1", "run.yaml:1: cell.delay_s = -1: must be at least 0 s"},
      {"cell.delay_s: .inf",
       "run.yaml:1: cell.delay_s = .inf: must be a finite number, at least 0 s"},
      {"cell.delay_s: 1e999", "run.yaml:1: cell.delay_s = 1e999: is too large for a double"},
      {"cell.noise_dbm_per_hz: .nan",
       "run.yaml:1: cell.noise_dbm_per_hz = .nan: must be a finite number"},
      {"cell.noise_dbm_per_hz: nan",
       "run.yaml:1: cell.noise_dbm_per_hz = nan: must be a finite number"},
      {"federation.local.learning_rate: 0",
       "run.yaml:1: federation.local.learning_rate = 0: must be above 0"},
      {"federation.local.learning_rate: 1e-999",
       "run.yaml:1: federation.local.learning_rate = 1e-999: is too small for a double"},
  };
  EXPECT_ALL(cases);
}

static void words_and_lists(void **state) {
  (void)state;
  static const fault_case cases[] = {
      {"federation.stop: yes", "run.yaml:1: federation.stop = yes: must be true or false"},
      {"federation.stop: True", "run.yaml:1: federation.stop = True: must be true or false"},
      {"federation.stop: 1", "run.yaml:1: federation.stop = 1: must be true or false"},
      {"federation.stop: 'true'",
       "run.yaml:1: federation.stop = \"true\": must be true or false (without quotes)"},
      {"cell.fading: raleigh", "run.yaml:1: cell.fading = raleigh: must be one of none, rayleigh, "
                               "rician; did you mean rayleigh?"},
      {"cell.fading: x", "run.yaml:1: cell.fading = x: must be one of none, rayleigh, rician"},
      {"cell.fading: [none]",
       "run.yaml:1: cell.fading = [none]: must be one of none, rayleigh, rician"},
      {"experiment: [a]", "run.yaml:1: experiment = [a]: must be text (put it in quotes)"},
      {"experiment: ~", "run.yaml:1: experiment: has no value; must be text"},
      {"experiment: \"a\\0b\"",
       "run.yaml:1: experiment = \"a?b\": text must not contain a NUL character"},
      {"adapter.targets: query", "run.yaml:1: adapter.targets = query: must be a list of names, "
                                 "each one of query, key, value, output: [a, b]"},
      {"adapter:\n  targets:\n    - query\n    - valeu\n",
       "run.yaml:4: adapter.targets = [query, valeu]: item 2 (valeu) must be one of query, key, "
       "value, output; did you mean value?"},
      {"adapter.tags: [a, [b]]", "run.yaml:1: adapter.tags = [a, [b]]: item 2 must be a name"},
      {"adapter.tags: [a, null]", "run.yaml:1: adapter.tags = [a, null]: item 2 must be a name"},
      {"solver.grid: 0.5",
       "run.yaml:1: solver.grid = 0.5: must be a list of numbers, 0 to 1: [1, 2]"},
      {"solver.grid:\n- 0.5\n- 2\n", "run.yaml:3: solver.grid = [0.5, 2]: item 2 must be 0 to 1"},
      {"solver.grid: [a]", "run.yaml:1: solver.grid = [a]: item 1 must be a finite number"},
  };
  EXPECT_ALL(cases);
}

static void distributions(void **state) {
  (void)state;
#define FLOPS "run.yaml:1: population.compute_flops = "
#define FORMS                                                                                      \
  "must be a number or one of {uniform: [low, high]}, {log_uniform: [low, high]}, {normal: "       \
  "[mean, sd]}, {choice: [a, b, ...]}, 1 to 1e15 FLOP/s"
  static const fault_case cases[] = {
      {"population.compute_flops: 0", FLOPS "0: must be 1 to 1e15 FLOP/s"},
      {"population.compute_flops: fast", FLOPS "fast: " FORMS},
      {"population.compute_flops: [1, 2]", FLOPS "[1, 2]: " FORMS},
      {"population.compute_flops: {unifrom: [1, 2]}",
       FLOPS "{unifrom: [1, 2]}: " FORMS "; did you mean uniform?"},
      {"population.compute_flops: {uniform: [1, 2], normal: [1, 2]}",
       FLOPS "{uniform: [1, 2], normal: [1, 2]}: " FORMS},
      {"population.compute_flops: {uniform: [1]}",
       FLOPS "{uniform: [1]}: uniform needs [low, high]"},
      {"population.compute_flops: {uniform: 3}", FLOPS "{uniform: 3}: uniform needs [low, high]"},
      {"population.compute_flops: {uniform: [3, 2]}",
       FLOPS "{uniform: [3, 2]}: the lower end is above the upper end"},
      {"population.compute_flops: {uniform: [0, 2]}",
       FLOPS "{uniform: [0, 2]}: item 1 must be 1 to 1e15 FLOP/s"},
      {"population.compute_flops: {normal: [5, -1]}",
       FLOPS "{normal: [5, -1]}: the standard deviation must be at least 0"},
      {"population.compute_flops: {normal: [5, .nan]}",
       FLOPS "{normal: [5, .nan]}: item 2 must be a finite number"},
      {"population.compute_flops: {normal: [0.5, 1]}",
       FLOPS "{normal: [0.5, 1]}: item 1 must be 1 to 1e15 FLOP/s"},
      {"population.compute_flops: {choice: []}",
       FLOPS "{choice: []}: choice needs [number, number, ...]"},
      {"population.compute_flops: {choice: [1, 2, 0]}",
       FLOPS "{choice: [1, 2, 0]}: item 3 must be 1 to 1e15 FLOP/s"},
      {"population.gain_db: {log_uniform: [0, 3]}",
       "run.yaml:1: population.gain_db = {log_uniform: [0, 3]}: log_uniform needs numbers above 0"},
  };
  EXPECT_ALL(cases);
}

static void names(void **state) {
  (void)state;
  static const fault_case cases[] = {
      {"federation.round: 3",
       "run.yaml:1: federation.round: no such option; did you mean federation.rounds?"},
      {"rounds: 3", "run.yaml:1: rounds: no such option; did you mean federation.rounds?"},
      {"cell:\n  bandwith_hz: 3\n",
       "run.yaml:2: cell.bandwith_hz: no such option; did you mean cell.bandwidth_hz?"},
      {"fed: {rounds: 3, xyzzy: 1}",
       "run.yaml:1: fed.rounds: no such option; did you mean federation.rounds?\n"
       "run.yaml:1: fed.xyzzy: no such option"},
      {"xyzzy: {}", "run.yaml:1: xyzzy: no such option"},
      {"seed: 1\ncell: 5\n",
       "run.yaml:2: cell = 5: is a group; give its options, such as cell.bandwidth_hz"},
      {"seed: 1\n\nseed: 2\n", "run.yaml:3: seed: is given twice, first on line 1"},
      {"federation: {rounds: 1}\nfederation.rounds: 2\n",
       "run.yaml:2: federation.rounds: is given twice, first on line 1"},
      {"cell: {}\nseed: 1\ncell: {}\ncell: {}\n",
       "run.yaml:3: cell: is given twice, first on line 1\n"
       "run.yaml:4: cell: is given twice, first on line 1"},
      {"? [a, b]\n: 3\n", "run.yaml:1: [a, b] cannot be the name of an option"},
      {"cell: &c {delay_s: 1}\nfederation:\n  <<: *c\n",
       "run.yaml:3: federation.<<: merge keys are not supported; use an alias for a whole map, or "
       "write the options out"},
      {"seed: !!int 3", "run.yaml:1: YAML tags such as !!int are not supported"},
      {"seed: !mine 3", "run.yaml:1: YAML tags such as !mine are not supported"},
      {"- seed\n", "run.yaml:1: must be a map of options, such as seed: 1"},
      {"\"a\\nb\": 3", "run.yaml:1: a?b: no such option"},
      {"sizes: [a]", "run.yaml:1: sizes: must be a map of sizes: {laptop: {...}}"},
      {"sizes:\n  laptop: 3\n", "run.yaml:2: sizes.laptop: must be a map of options"},
  };
  EXPECT_ALL(cases);
}

static void maps_that_contain_themselves_end(void **state) {
  (void)state;
  expect_message("&a\ncell: *a\n", NULL, "run.yaml:2: cell.cell.cell: no such option");
  expect_message("&a\nsizes: {laptop: *a}\n", NULL,
                 "run.yaml:2: sizes.laptop.sizes.laptop: no such option");
  expect_message("solver.grid: &a [*a]\n", NULL,
                 "run.yaml:1: solver.grid = [[[[...]]]]: item 1 must be a finite number");
}

static void broken_yaml(void **state) {
  (void)state;
  static const fault_case cases[] = {
      {"seed: 1\ncell: [1, 2\nfederation: 3\n",
       "run.yaml:3: not valid YAML: did not find expected ',' or ']', while parsing a flow "
       "sequence that starts on line 2"},
      {"cell:\n\tfading: none\n",
       "run.yaml:2: not valid YAML: found character that cannot start any token while scanning for "
       "the next token (indent with spaces, not tabs)"},
      {"seed: *x\n", "run.yaml:1: not valid YAML: found undefined alias"},
      {"seed: 1\nexperiment: a\x01z\n",
       "run.yaml:2: not readable as text: control characters are not allowed"},
      {"seed: 1\nexperiment: \xFFz\n",
       "run.yaml:2: not readable as text: invalid leading UTF-8 octet"},
      {"seed: 1\n---\nseed: 2\n",
       "run.yaml:3: a second YAML document starts here, only one is allowed"},
      {"seed: 1\n---\nseed: [\n", "run.yaml:4: not valid YAML: did not find expected node content "
                                  "while parsing a flow node"},
  };
  for (size_t i = 0; i < TABLE_LENGTH(cases); i++) {
    fc_config *cfg = new_config();
    assert_int_equal(load(cfg, cases[i].text, NULL), FC_ERR_USAGE); /* at once, not at finish */
    assert_string_equal(fc_err_message(), cases[i].message);
    fc_config_destroy(&cfg);
  }
}

static void sizes(void **state) {
  (void)state;
  static const char text[] = "sizes:\n"
                             "  laptop: {federation.rounds: 3}\n"
                             "  paper:\n"
                             "    federation.rounds: 0\n"
                             "    cell: {fadng: none}\n"
                             "    seed: 1\n"
                             "    seed: 2\n"
                             "    sizes: {}\n";
#define PAPER                                                                                      \
  "run.yaml:4: sizes.paper.federation.rounds = 0: must be 1 to 1000000000\n"                       \
  "run.yaml:5: sizes.paper.cell.fadng: no such option; did you mean cell.fading?\n"                \
  "run.yaml:7: sizes.paper.seed: is given twice, first on line 6\n"                                \
  "run.yaml:8: sizes.paper.sizes: no such option"
  expect_message(text, NULL, PAPER);
  expect_message(text, "laptop", PAPER);
  expect_message(text, "paper", PAPER);
  expect_message(text, "lapto",
                 PAPER
                 "\nrun.yaml: --size lapto: must be one of laptop, paper; did you mean laptop?");
  expect_message("seed: 1\n", "laptop", "run.yaml: --size laptop: this file has no sizes");
}

static void set_faults(void **state) {
  (void)state;
  static const fault_case cases[] = {
      {"federation.rounds=-3", "--set federation.rounds=-3: must be 1 to 1000000000"},
      {"federation.round=3",
       "--set federation.round=3: no such option; did you mean federation.rounds?"},
      {"rounds", "--set rounds: must be key=value, such as federation.rounds=20"},
      {" =3", "--set  =3: must be key=value, such as federation.rounds=20"},
      {"seed=", "--set seed=: has no value; must be a whole number"},
      {"seed=[1", "--set seed=[1: not valid YAML: did not find expected ',' or ']'"},
      {"cell={bandwith_hz: 3, delay_s: -1}",
       "--set cell={bandwith_hz: 3, delay_s: -1}: cell.bandwith_hz: no such option; did you mean "
       "cell.bandwidth_hz?\n"
       "--set cell={bandwith_hz: 3, delay_s: -1}: cell.delay_s = -1: must be at least 0 s"},
      {"sizes={}", "--set sizes={}: sizes can only stand in a file"},
      {"adapter.targets=[query, kex]", "--set adapter.targets=[query, kex]: item 2 (kex) must be "
                                       "one of query, key, value, output; did you mean key?"},
  };
  for (size_t i = 0; i < TABLE_LENGTH(cases); i++) {
    fc_config *cfg = new_config();
    fc_config_set(cfg, cases[i].text);
    assert_int_equal(fc_config_finish(cfg), FC_ERR_USAGE);
    assert_string_equal(fc_err_message(), cases[i].message);
    fc_config_destroy(&cfg);
  }
}

static void all_faults_at_once_in_order(void **state) {
  (void)state;
  fc_config *cfg = new_config();
  assert_int_equal(load(cfg, "seed: x\nfederation.rounds: 0\nfederation.stop: 3\nrond: 1\n", NULL),
                   FC_ERR_OK);
  fc_config_set(cfg, "cell.fading=foo");
  static const char message[] = "run.yaml:1: seed = x: must be a whole number\n"
                                "run.yaml:2: federation.rounds = 0: must be 1 to 1000000000\n"
                                "run.yaml:3: federation.stop = 3: must be true or false\n"
                                "run.yaml:4: rond: no such option\n"
                                "--set cell.fading=foo: must be one of none, rayleigh, rician";
  for (int i = 0; i < 2; i++) { /* finish may be asked again */
    assert_int_equal(fc_config_finish(cfg), FC_ERR_USAGE);
    assert_string_equal(fc_err_message(), message);
  }
  assert_int_equal(fc_config_int(cfg, "federation.rounds"),
                   10); /* a refused value changes nothing */
  fc_config_destroy(&cfg);
}

static void missing_required_options(void **state) {
  (void)state;
  static const fc_option options[] = {
      {"data.dataset", FC_OPT_STRING, "", NULL, FC_OPTION_ANY, NULL, "."},
      {"data.split", FC_OPT_CHOICE, "", NULL, FC_OPTION_ANY, fading_name, "."},
      {"data.samples", FC_OPT_INT, "", NULL, 5, 100, NULL, "."},
  };
  static const fc_option_table table = FC_OPTION_TABLE("data", options);
  fc_config *cfg;
  assert_int_equal(fc_config_create(&table, 1, &cfg), FC_ERR_OK);
  assert_int_equal(fc_config_finish(cfg), FC_ERR_USAGE);
  assert_string_equal(
      fc_err_message(),
      "configuration: data.dataset: is required and not given; must be text\n"
      "configuration: data.split: is required and not given; must be one of none, rayleigh, "
      "rician\n"
      "configuration: data.samples: is required and not given; must be a whole number, 5 to 100");
  fc_config_destroy(&cfg);

  /* A faulty value is one fault, not two; a value in another size does not count. */
  assert_int_equal(fc_config_create(&table, 1, &cfg), FC_ERR_OK);
  assert_int_equal(load(cfg,
                        "data: {dataset: a, samples: 4}\n"
                        "sizes: {paper: {data.split: none}}\n",
                        NULL),
                   FC_ERR_OK);
  assert_int_equal(fc_config_finish(cfg), FC_ERR_USAGE);
  assert_string_equal(
      fc_err_message(),
      "run.yaml:1: data.samples = 4: must be 5 to 100\n"
      "run.yaml: data.split: is required and not given; must be one of none, rayleigh, rician");
  fc_config_destroy(&cfg);
}

static void faults_of_other_rooms(void **state) {
  (void)state;
  fc_config *cfg = new_config();
  fc_config_fault(cfg, "seed", "odd");
  assert_int_equal(load(cfg, "seed: 3\nsizes:\n  laptop:\n    cell.delay_s: 2\n", "laptop"),
                   FC_ERR_OK);
  fc_config_set(cfg, "federation.rounds=20");
  fc_config_fault(cfg, "seed", "must be %s", "even");
  fc_config_fault(cfg, "cell.delay_s", "too long");
  fc_config_fault(cfg, "federation.rounds", "must divide %d", 30);
  fc_config_fault(cfg, "population.compute_flops", "too fast");
  fc_config_set(cfg, "cell={fading: none}");
  fc_config_fault(cfg, "cell.fading", "not with this");
  assert_int_equal(fc_config_finish(cfg), FC_ERR_USAGE);
  assert_string_equal(
      fc_err_message(),
      "configuration: seed = 1 (default): odd\n"
      "run.yaml:1: seed = 3: must be even\n"
      "run.yaml:4: cell.delay_s = 2: too long\n"
      "--set federation.rounds=20: must divide 30\n"
      "run.yaml: population.compute_flops = {uniform: [5.0e+11, 2.0e+12]} (default): too fast\n"
      "--set cell={fading: none}: cell.fading = none: not with this");
  fc_config_destroy(&cfg);
}

static void a_faulty_default_is_told(void **state) {
  (void)state;
  static const fc_option options[] = {
      {"a.b", FC_OPT_INT, "", "7", 1, 5, NULL, "."},
      {"a.c", FC_OPT_REALS, "", "[1", 1, 5, NULL, "."},
  };
  static const fc_option_table table = FC_OPTION_TABLE("a", options);
  fc_config *cfg;
  assert_int_equal(fc_config_create(&table, 1, &cfg), FC_ERR_OK);
  assert_int_equal(fc_config_finish(cfg), FC_ERR_USAGE);
  assert_string_equal(fc_err_message(),
                      "default: a.b = 7: must be 1 to 5\n"
                      "default: a.c = [1: not valid YAML: did not find expected ',' or ']'");
  fc_config_destroy(&cfg);
}

/* n unknown names of some length: as many whole lines as fit, then how many more. */
static void check_many(size_t n, int length) {
  fc_config *cfg = new_config();
  char *text = malloc((size_t)(length + 16) * n + 1), *end = text, last[64];
  for (size_t i = 0; i < n; i++) end += sprintf(end, "%0*zu: 1\n", length, i);
  assert_int_equal(load(cfg, text, NULL), FC_ERR_OK);
  assert_int_equal(fc_config_finish(cfg), FC_ERR_USAGE);
  const char *message = fc_err_message();
  size_t n_lines = 0;
  for (const char *s = message; *s; s++) n_lines += *s == '\n';
  snprintf(last, sizeof last, "\n... and %zu more faults", n - n_lines);
  assert_string_equal(strrchr(message, '\n'), last);
  assert_true(strlen(message) > FC_ERR_MESSAGE_SIZE - (size_t)length - 100); /* no room is wasted */
  free(text);
  fc_config_destroy(&cfg);
}

static void too_many_faults_are_counted(void **state) {
  (void)state;
  for (int length = 8; length < 60; length++) check_many(200, length);
  check_many(5000, 8); /* more than are kept */
}

static void long_values_are_shortened(void **state) {
  (void)state;
  static const char *const starts[] = {"seed: ", "seed: x"}; /* cut at and within a character */
  for (size_t i = 0; i < TABLE_LENGTH(starts); i++) {
    char text[4096];
    strcpy(text, starts[i]);
    for (int k = 0; k < 1000; k++) strcat(text, "\xC3\xA4"); /* two bytes */
    fc_config *cfg = new_config();
    assert_int_equal(load(cfg, text, NULL), FC_ERR_OK);
    assert_int_equal(fc_config_finish(cfg), FC_ERR_USAGE);
    assert_non_null(strstr(fc_err_message(), "\xC3\xA4...: must be a whole number"));
    assert_true(strlen(fc_err_message()) < 200);
    fc_config_destroy(&cfg);
  }
}

static void files(void **state) {
  (void)state;
  char path[] = "/tmp/fedcell-config-XXXXXX", message[256];
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, "seed: 3\nfederation.rounds: 0\n", 29), 29);
  fc_config *cfg = new_config();
  assert_int_equal(fc_config_load(cfg, path, NULL), FC_ERR_OK);
  assert_int_equal(fc_config_int(cfg, "seed"), 3);
  assert_int_equal(fc_config_finish(cfg), FC_ERR_USAGE);
  snprintf(message, sizeof message, "%s:2: federation.rounds = 0: must be 1 to 1000000000", path);
  assert_string_equal(fc_err_message(), message);

  assert_int_equal(ftruncate(fd, 5 << 20), 0);
  assert_int_equal(fc_config_load(cfg, path, NULL), FC_ERR_USAGE);
  snprintf(message, sizeof message, "%s: larger than 4 MiB: this is no configuration", path);
  assert_string_equal(fc_err_message(), message);
  close(fd);
  unlink(path);
  assert_int_equal(fc_config_load(cfg, path, NULL), FC_ERR_IO);
  snprintf(message, sizeof message, "%s: cannot be read: %s", path, strerror(ENOENT));
  assert_string_equal(fc_err_message(), message);
  assert_int_equal(fc_config_load(cfg, "/tmp", NULL), FC_ERR_IO);
  assert_string_equal(fc_err_message(), "/tmp: cannot be read: Is a directory");
  fc_config_destroy(&cfg);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(numbers),
      cmocka_unit_test(words_and_lists),
      cmocka_unit_test(distributions),
      cmocka_unit_test(names),
      cmocka_unit_test(maps_that_contain_themselves_end),
      cmocka_unit_test(broken_yaml),
      cmocka_unit_test(sizes),
      cmocka_unit_test(set_faults),
      cmocka_unit_test(all_faults_at_once_in_order),
      cmocka_unit_test(missing_required_options),
      cmocka_unit_test(faults_of_other_rooms),
      cmocka_unit_test(a_faulty_default_is_told),
      cmocka_unit_test(too_many_faults_are_counted),
      cmocka_unit_test(long_values_are_shortened),
      cmocka_unit_test(files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
