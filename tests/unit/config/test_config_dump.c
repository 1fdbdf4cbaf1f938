/* The dump loads back to an equal configuration. */
#include "config_test.h"
#include <float.h>
#include <stdlib.h>

static char *dump_of(const fc_config *cfg) {
  char *text;
  assert_int_equal(fc_config_dump(cfg, &text), FC_ERR_OK);
  return text;
}

static void the_dump_of_the_defaults(void **state) {
  (void)state;
  fc_config *cfg = new_config();
  char *text = dump_of(cfg);
  assert_string_equal(text, "experiment: \"\"\n"
                            "seed: 1\n"
                            "federation:\n"
                            "  rounds: 10\n"
                            "  local:\n"
                            "    learning_rate: 0.001\n"
                            "    iterations: 4\n"
                            "  stop: false\n"
                            "  target: 0.9\n" /* of another table, but the group stands once */
                            "adapter:\n"
                            "  targets: [query, value]\n"
                            "  tags: []\n"
                            "cell:\n"
                            "  bandwidth_hz: 2.0e+07\n"
                            "  fading: rayleigh\n"
                            "  noise_dbm_per_hz: -174\n"
                            "  delay_s: 0\n"
                            "population:\n"
                            "  compute_flops: {uniform: [5.0e+11, 2.0e+12]}\n"
                            "  gain_db: 0\n"
                            "solver:\n"
                            "  grid: [0, 0.5]\n");
  fc_free(text);
  fc_config_destroy(&cfg);
}

static void assert_equal_dists(fc_dist a, fc_dist b) {
  assert_int_equal(a.kind, b.kind);
  assert_int_equal(a.n, b.n);
  assert_true(a.a == b.a && a.b == b.b && a.min == b.min && a.max == b.max);
  for (size_t i = 0; i < a.n; i++) assert_true(a.choices[i] == b.choices[i]);
}

static void assert_equal_configs(const fc_config *a, const fc_config *b) {
  for (size_t t = 0; t < N_TABLES; t++) {
    for (size_t k = 0; k < all_tables[t].n; k++) {
      const fc_option *o = &all_tables[t].options[k];
      switch (o->type) {
      case FC_OPT_INT:
        assert_int_equal(fc_config_int(a, o->name), fc_config_int(b, o->name));
        break;
      case FC_OPT_REAL:
        assert_true(fc_config_real(a, o->name) == fc_config_real(b, o->name));
        break;
      case FC_OPT_BOOL:
        assert_int_equal(fc_config_bool(a, o->name), fc_config_bool(b, o->name));
        break;
      case FC_OPT_STRING:
      case FC_OPT_CHOICE:
        assert_string_equal(fc_config_string(a, o->name), fc_config_string(b, o->name));
        break;
      case FC_OPT_NAMES:
        assert_int_equal(fc_config_count(a, o->name), fc_config_count(b, o->name));
        for (size_t i = 0; i < fc_config_count(a, o->name); i++) {
          assert_string_equal(fc_config_name(a, o->name, i), fc_config_name(b, o->name, i));
        }
        break;
      case FC_OPT_REALS:
        assert_int_equal(fc_config_count(a, o->name), fc_config_count(b, o->name));
        for (size_t i = 0; i < fc_config_count(a, o->name); i++) {
          assert_true(fc_config_reals(a, o->name)[i] == fc_config_reals(b, o->name)[i]);
        }
        break;
      case FC_OPT_DIST:
        assert_equal_dists(fc_config_dist(a, o->name), fc_config_dist(b, o->name));
        break;
      }
    }
  }
}

static void check_round_trip(const char *text) {
  fc_config *cfg = config_of(text, NULL);
  char *dumped = dump_of(cfg);
  fc_config *again = config_of(dumped, NULL);
  assert_equal_configs(cfg, again);
  char *dumped_again = dump_of(again);
  assert_string_equal(dumped, dumped_again);
  fc_free(dumped);
  fc_free(dumped_again);
  fc_config_destroy(&cfg);
  fc_config_destroy(&again);
}

static void every_type_survives(void **state) {
  (void)state;
  check_round_trip("");
  check_round_trip("seed: -9223372036854775808\n"
                   "federation: {rounds: 1e9, stop: true, target: 0.30000000000000004,\n"
                   "             local: {learning_rate: 1.7976931348623157e308}}\n"
                   "adapter: {targets: [], tags: [a, 'null', '', '1', 'x: y', 'a,b', '- z']}\n"
                   "cell: {bandwidth_hz: 1e12, noise_dbm_per_hz: -5e-324, delay_s: 0.1}\n"
                   "population: {compute_flops: {log_uniform: [1.1, 1e15]},\n"
                   "             gain_db: {choice: [1, -0.1, 1e300]}}\n"
                   "solver.grid: [0.1, 0.7000000000000001, 1]\n");
  check_round_trip("population: {compute_flops: {normal: [1e12, 0.1]}, gain_db: -0.1}\n"
                   "solver.grid: []\n");
  check_round_trip("population: {compute_flops: {uniform: [3, 3]}, gain_db: {uniform: [-1, 1]}}\n");
}

/* A text as double-quoted YAML with every byte of ASCII escaped. */
static void quote(char *out, const char *bytes) {
  *out++ = '"';
  for (const char *s = bytes; *s; s++) {
    out += (unsigned char)*s < 0x80 ? sprintf(out, "\\x%02x", *s) : sprintf(out, "%c", *s);
  }
  strcpy(out, "\"");
}

static void texts_survive(void **state) {
  (void)state;
  static const char *const texts[] = {
      "",
      " ",
      "a",
      "../shared/data/sst2",
      "./a",
      ".",
      "..",
      ".a",
      "./5",
      "/abs/path-1.0_x+y",
      "true",
      "False",
      "no",
      "Y",
      "null",
      "~",
      "1",
      "1e5",
      "0x1F",
      ".5",
      "-",
      "- a",
      "? a",
      ": a",
      "a: b",
      "a #b",
      "#b",
      "a:b",
      "'",
      "\"",
      "\\",
      "\\n",
      "a\nb",
      "a\n\n  b\n",
      "\t",
      "\r\n",
      "\x01\x7F",
      " a",
      "a ",
      "[a]",
      "{a}",
      "&a",
      "*a",
      "!a",
      "|",
      ">",
      "%a",
      "@a",
      "`a",
      "a,b",
      "---",
      "...",
      "<<",
      "=",
      "2024-01-01",
      "12:30:45",
      "\xC3\xA4\xC3\xB6",
      "\xE2\x82\xAC",
      "\xF0\x9F\x93\xA1",
      "\xEF\xBB\xBFmark", /* byte order mark */
      "\xE2\x80\xA8line\xE2\x80\xA9",
      "a\xC2\x85z",
      "a\xC2\x80z", /* separators, control */
  };
  for (size_t i = 0; i < TABLE_LENGTH(texts); i++) {
    char yaml[256] = "experiment: ";
    quote(yaml + strlen(yaml), texts[i]);
    /* What YAML does not call printable cannot stand there raw. */
    if (strcmp(texts[i], "a\xC2\x80z") == 0) strcpy(yaml, "experiment: \"a\\x80z\"");
    if (strstr(texts[i], "\xE2\x80\xA8")) strcpy(yaml, "experiment: \"\\u2028line\\u2029\"");
    if (strcmp(texts[i], "a\xC2\x85z") == 0) strcpy(yaml, "experiment: \"a\\Nz\"");
    if (strstr(texts[i], "\xEF\xBB\xBF")) strcpy(yaml, "experiment: \"\\uFEFFmark\"");
    fc_config *cfg = config_of(yaml, NULL);
    assert_string_equal(fc_config_string(cfg, "experiment"), texts[i]);
    char *dumped = dump_of(cfg);
    fc_config *again = config_of(dumped, NULL);
    assert_string_equal(fc_config_string(again, "experiment"), texts[i]);
    fc_free(dumped);
    fc_config_destroy(&cfg);
    fc_config_destroy(&again);
  }
}

/* Other readers fold raw line separators, and take a mark for the start of a stream. */
static void separators_are_escaped(void **state) {
  (void)state;
  fc_config *cfg = config_of("experiment: \"\\uFEFFa\\u2028b\\u2029\\N\\U0001F4E1\\u00E4\"", NULL);
  char *text = dump_of(cfg);
  static const char start[] =
      "experiment: \"\\uFEFFa\\u2028b\\u2029\\x85\xF0\x9F\x93\xA1\xC3\xA4\"\n";
  assert_memory_equal(text, start, strlen(start));
  fc_free(text);
  fc_config_destroy(&cfg);
}

static void paths_need_no_quotes(void **state) {
  (void)state;
  fc_config *cfg = config_of("experiment: ../data/a-1.0", NULL);
  char *text = dump_of(cfg);
  static const char start[] = "experiment: ../data/a-1.0\n";
  assert_memory_equal(text, start, strlen(start));
  fc_free(text);
  fc_config_destroy(&cfg);
}

static void random_numbers_survive(void **state) {
  (void)state;
  fc_rng rng = fc_rng_open(2, FC_RNG_TEST, 0, 0);
  for (int i = 0; i < 200; i++) {
    char text[512];
    double a = exp(30.0 * fc_rng_uniform(&rng)), b = a * (1.0 + fc_rng_uniform(&rng));
    snprintf(text, sizeof text,
             "cell.noise_dbm_per_hz: %.17g\n"
             "population.compute_flops: {uniform: [%.17g, %.17g]}\n"
             "solver.grid: [%.17g, %.17g, %.17g]\nseed: %lld\n",
             fc_rng_normal(&rng), a, b, fc_rng_uniform(&rng), fc_rng_uniform(&rng),
             fc_rng_uniform(&rng), (long long)(int64_t)fc_rng_u64(&rng));
    check_round_trip(text);
  }
}

static void a_required_option_without_value_is_a_comment(void **state) {
  (void)state;
  fc_config *cfg;
  assert_int_equal(fc_config_create(&all_tables[N_TABLES], 1, &cfg), FC_ERR_OK);
  fc_config_set(cfg, "data.samples=5");
  char *text = dump_of(cfg);
  assert_string_equal(text, "data:\n"
                            "  # dataset:\n"
                            "  # split:\n"
                            "  samples: 5\n"
                            "  # alpha:\n"
                            "  # parts:\n"
                            "  # weights:\n"
                            "  # size:\n"
                            "  # shuffle:\n");
  fc_free(text);
  fc_config_destroy(&cfg);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_dump_of_the_defaults),
      cmocka_unit_test(every_type_survives),
      cmocka_unit_test(texts_survive),
      cmocka_unit_test(separators_are_escaped),
      cmocka_unit_test(paths_need_no_quotes),
      cmocka_unit_test(random_numbers_survive),
      cmocka_unit_test(a_required_option_without_value_is_a_comment),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
