/* Reading: names, types, sizes, --set, getters. */
#include "config_test.h"

static void defaults_stand_without_a_file(void **state) {
  (void)state;
  fc_config *cfg = new_config();
  assert_int_equal(fc_config_finish(cfg), FC_ERR_OK);
  assert_string_equal(fc_config_string(cfg, "experiment"), "");
  assert_int_equal(fc_config_int(cfg, "seed"), 1);
  assert_int_equal(fc_config_int(cfg, "federation.rounds"), 10);
  assert_true(fc_config_real(cfg, "cell.bandwidth_hz") == 20e6);
  assert_false(fc_config_bool(cfg, "federation.stop"));
  assert_string_equal(fc_config_string(cfg, "cell.fading"), "rayleigh");
  assert_int_equal(fc_config_count(cfg, "adapter.targets"), 2);
  assert_string_equal(fc_config_name(cfg, "adapter.targets", 1), "value");
  assert_null(fc_config_name(cfg, "adapter.targets", 2));
  assert_int_equal(fc_config_count(cfg, "adapter.tags"), 0);
  assert_int_equal(fc_config_count(cfg, "solver.grid"), 2);
  assert_true(fc_config_reals(cfg, "solver.grid")[1] == 0.5);
  fc_dist d = fc_config_dist(cfg, "population.compute_flops");
  assert_int_equal(d.kind, FC_DIST_UNIFORM);
  assert_true(d.a == 0.5e12 && d.b == 2e12 && d.min == 1 && d.max == 1e15);
  assert_false(fc_config_is_given(cfg, "seed"));
  fc_config_destroy(&cfg);
  assert_null(cfg);
  fc_config_destroy(&cfg);
  fc_config_destroy(NULL);
}

static void nested_dotted_and_mixed_names(void **state) {
  (void)state;
  fc_config *cfg = config_of("experiment: sst2-fedlora\n"
                             "federation.rounds: 30\n"
                             "federation:\n"
                             "  local.iterations: 7\n"
                             "  local: {learning_rate: 0.5}\n"
                             "  stop: true\n"
                             "cell:            # all its options commented out\n"
                             "  # fading: none\n"
                             "adapter: {targets: [key], tags: ['a b', \"c\", 12]}\n"
                             "solver: {grid: [1, 0.25, 1e-1]}\n",
                             NULL);
  assert_string_equal(fc_config_string(cfg, "experiment"), "sst2-fedlora");
  assert_int_equal(fc_config_int(cfg, "federation.rounds"), 30);
  assert_int_equal(fc_config_int(cfg, "federation.local.iterations"), 7);
  assert_true(fc_config_real(cfg, "federation.local.learning_rate") == 0.5);
  assert_true(fc_config_bool(cfg, "federation.stop"));
  assert_int_equal(fc_config_count(cfg, "adapter.targets"), 1);
  assert_string_equal(fc_config_name(cfg, "adapter.tags", 0), "a b");
  assert_string_equal(fc_config_name(cfg, "adapter.tags", 2), "12");
  assert_true(fc_config_reals(cfg, "solver.grid")[2] == 0.1);
  assert_true(fc_config_is_given(cfg, "federation.local.iterations"));
  assert_false(fc_config_is_given(cfg, "cell.fading"));
  fc_config_destroy(&cfg);
}

static void distributions(void **state) {
  (void)state;
  static const struct {
    const char *text;
    fc_dist_kind kind;
    double a, b;
  } cases[] = {
      {"5e11", FC_DIST_CONSTANT, 5e11, 0},
      {"{uniform: [2, 3]}", FC_DIST_UNIFORM, 2, 3},
      {"{uniform: [2, 2]}", FC_DIST_UNIFORM, 2, 2},
      {"{log_uniform: [1e3, 1e9]}", FC_DIST_LOG_UNIFORM, 1e3, 1e9},
      {"{normal: [1e12, 0]}", FC_DIST_NORMAL, 1e12, 0},
      {"{normal: [1e12, 1e20]}", FC_DIST_NORMAL, 1e12, 1e20}, /* a spread is not in the range */
  };
  for (size_t i = 0; i < TABLE_LENGTH(cases); i++) {
    char text[128];
    snprintf(text, sizeof text, "population:\n  compute_flops: %s\n", cases[i].text);
    fc_config *cfg = config_of(text, NULL);
    fc_dist d = fc_config_dist(cfg, "population.compute_flops");
    assert_int_equal(d.kind, cases[i].kind);
    assert_true(d.a == cases[i].a && d.b == cases[i].b && d.min == 1 && d.max == 1e15);
    fc_config_destroy(&cfg);
  }
  fc_config *cfg = config_of("population.gain_db: {choice: [-3, 0, 2.5]}", NULL);
  fc_dist d = fc_config_dist(cfg, "population.gain_db");
  assert_int_equal(d.kind, FC_DIST_CHOICE);
  assert_int_equal(d.n, 3);
  assert_true(d.choices[0] == -3 && d.choices[2] == 2.5);
  assert_true(d.min > d.max);
  fc_config_destroy(&cfg);
}

static const char SIZES[] = "sizes:\n"
                            "  laptop: {federation.rounds: 3, cell: {fading: none}}\n"
                            "  paper:\n"
                            "    federation:\n"
                            "      rounds: 500\n"
                            "  plain:\n"
                            "federation: {rounds: 30, stop: true}\n";

static void a_size_overlays_the_file(void **state) {
  (void)state;
  static const struct {
    const char *size;
    int64_t rounds;
    const char *fading;
  } cases[] = {{"laptop", 3, "none"}, {"paper", 500, "rayleigh"}, {"plain", 30, "rayleigh"}};
  for (size_t i = 0; i < TABLE_LENGTH(cases); i++) {
    fc_config *cfg = config_of(SIZES, cases[i].size);
    assert_int_equal(fc_config_int(cfg, "federation.rounds"), cases[i].rounds);
    assert_string_equal(fc_config_string(cfg, "cell.fading"), cases[i].fading);
    assert_true(fc_config_bool(cfg, "federation.stop"));
    assert_string_equal(fc_config_size(cfg), cases[i].size);
    fc_config_destroy(&cfg);
  }
}

static void without_a_choice_it_is_laptop(void **state) {
  (void)state;
  fc_config *cfg = config_of(SIZES, NULL);
  assert_int_equal(fc_config_int(cfg, "federation.rounds"), 3);
  assert_string_equal(fc_config_size(cfg), "laptop");
  /* a dump holds what the size made of the values, and no size any more */
  char *dump = NULL;
  assert_int_equal(fc_config_dump(cfg, &dump), FC_ERR_OK);
  fc_config *again = config_of(dump, NULL);
  assert_string_equal(fc_config_size(again), "");
  assert_null(fc_config_first_difference(cfg, again, NULL, 0));
  fc_free(dump);
  fc_config_destroy(&again);
  /* the latest file counts */
  assert_int_equal(load(cfg, "federation.rounds: 4\n", NULL), FC_ERR_OK);
  assert_string_equal(fc_config_size(cfg), "");
  fc_config_destroy(&cfg);

  cfg = config_of("seed: 5\nsizes: {paper: {seed: 6}}\n", NULL);
  assert_int_equal(fc_config_int(cfg, "seed"), 5);
  assert_string_equal(fc_config_size(cfg), "");
  fc_config_destroy(&cfg);
}

static void set_comes_after_file_and_size(void **state) {
  (void)state;
  fc_config *cfg = new_config();
  assert_int_equal(load(cfg, SIZES, "laptop"), FC_ERR_OK);
  assert_int_equal(fc_config_int(cfg, "federation.rounds"), 3); /* getters before finish */
  fc_config_set(cfg, "federation.rounds=7");
  fc_config_set(cfg, "federation.rounds = 1e2"); /* the latest stands */
  fc_config_set(cfg, "adapter.targets=[key, output]");
  fc_config_set(cfg, "population.compute_flops={log_uniform: [1e9, 1e10]}");
  fc_config_set(cfg, "cell={fading: rician, delay_s: 2}");
  fc_config_set(cfg, "experiment=a=b");
  fc_config_set(cfg, "solver.grid=");
  assert_int_equal(fc_config_finish(cfg), FC_ERR_OK);
  assert_int_equal(fc_config_int(cfg, "federation.rounds"), 100);
  assert_string_equal(fc_config_name(cfg, "adapter.targets", 1), "output");
  assert_int_equal(fc_config_dist(cfg, "population.compute_flops").kind, FC_DIST_LOG_UNIFORM);
  assert_string_equal(fc_config_string(cfg, "cell.fading"), "rician");
  assert_true(fc_config_real(cfg, "cell.delay_s") == 2.0);
  assert_string_equal(fc_config_string(cfg, "experiment"), "a=b");
  assert_int_equal(fc_config_count(cfg, "solver.grid"), 0);
  assert_true(fc_config_is_given(cfg, "solver.grid"));
  fc_config_set(cfg, "experiment=");
  assert_string_equal(fc_config_string(cfg, "experiment"), "");
  fc_config_destroy(&cfg);
}

static void aliases_stand_for_their_value(void **state) {
  (void)state;
  fc_config *cfg = config_of("cell: {delay_s: &d 0.25}\n"
                             "federation.target: *d\n"
                             "sizes:\n"
                             "  laptop: &small {federation.rounds: 2}\n"
                             "  paper: *small\n",
                             "paper");
  assert_true(fc_config_real(cfg, "federation.target") == 0.25);
  assert_int_equal(fc_config_int(cfg, "federation.rounds"), 2);
  fc_config_destroy(&cfg);
}

static void empty_documents_are_fine(void **state) {
  (void)state;
  static const char *const texts[] = {"",     "# nothing\n", "---\n",
                                      "{}\n", "---\n...\n",  "\xEF\xBB\xBF"};
  for (size_t i = 0; i < TABLE_LENGTH(texts); i++) {
    fc_config *cfg = config_of(texts[i], NULL);
    assert_int_equal(fc_config_int(cfg, "seed"), 1);
    fc_config_destroy(&cfg);
  }
}

static void a_later_file_overlays_an_earlier_one(void **state) {
  (void)state;
  fc_config *cfg = new_config();
  assert_int_equal(load(cfg, "seed: 5\nfederation.rounds: 6\n", NULL), FC_ERR_OK);
  assert_int_equal(load(cfg, "seed: 7\n", NULL), FC_ERR_OK);
  assert_int_equal(fc_config_finish(cfg), FC_ERR_OK);
  assert_int_equal(fc_config_int(cfg, "seed"), 7);
  assert_int_equal(fc_config_int(cfg, "federation.rounds"), 6);
  fc_config_destroy(&cfg);
}

static void a_required_option_may_come_from_anywhere(void **state) {
  (void)state;
  fc_config *cfg;
  assert_int_equal(fc_config_create(&all_tables[N_TABLES], 1, &cfg), FC_ERR_OK);
  assert_string_equal(fc_config_string(cfg, "data.dataset"), ""); /* before it is known */
  assert_int_equal(load(cfg,
                        "data: {dataset: sst2, samples: 7, alpha: 1, weights: [], parts: [a]}\n"
                        "sizes: {laptop: {data: {split: none, size: 10}}}\n",
                        "laptop"),
                   FC_ERR_OK);
  fc_config_set(cfg, "data.shuffle=true");
  if (fc_config_finish(cfg) != FC_ERR_OK) fail_msg("%s", fc_err_message());
  assert_string_equal(fc_config_string(cfg, "data.split"), "none");
  fc_config_destroy(&cfg);
}

/* Whatever allocation fails: NOMEM, no crash, nothing lost, and with enough memory all is well. */
static void out_of_memory_is_told(void **state) {
  (void)state;
  size_t before = fc_mem_current_bytes(), n_failed = 0;
  fc_err err = FC_ERR_NOMEM;
  for (size_t limit = 1; err == FC_ERR_NOMEM && limit < (1 << 20); limit += 61) {
    fc_config *cfg = NULL;
    char *text = NULL;
    fc_mem_set_limit_bytes(before + limit);
    err = fc_config_create(all_tables, N_TABLES, &cfg);
    if (err == FC_ERR_OK) err = load(cfg, SIZES, "laptop");
    if (err == FC_ERR_OK) fc_config_set(cfg, "adapter.tags=[a, b]");
    if (err == FC_ERR_OK) err = fc_config_finish(cfg);
    if (err == FC_ERR_OK) err = fc_config_dump(cfg, &text);
    n_failed += err == FC_ERR_NOMEM;
    fc_mem_set_limit_bytes(0);
    fc_free(text);
    fc_config_destroy(&cfg);
    assert_int_equal(fc_mem_current_bytes(), before);
  }
  assert_int_equal(err, FC_ERR_OK);
  assert_true(n_failed > 20);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(defaults_stand_without_a_file),
      cmocka_unit_test(nested_dotted_and_mixed_names),
      cmocka_unit_test(distributions),
      cmocka_unit_test(a_size_overlays_the_file),
      cmocka_unit_test(without_a_choice_it_is_laptop),
      cmocka_unit_test(set_comes_after_file_and_size),
      cmocka_unit_test(aliases_stand_for_their_value),
      cmocka_unit_test(empty_documents_are_fine),
      cmocka_unit_test(a_later_file_overlays_an_earlier_one),
      cmocka_unit_test(a_required_option_may_come_from_anywhere),
      cmocka_unit_test(out_of_memory_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
