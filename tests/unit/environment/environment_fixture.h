/* environment_fixture.h - a small scenario from a few lines of YAML, for the tests of this room. */
#ifndef ENVIRONMENT_FIXTURE_H
#define ENVIRONMENT_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fedcell/fc_data.h"
#include "fedcell/fc_dynamics.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_solver.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#ifndef assert_ok /* mpi_test.h has its own */
#define assert_ok(call)                                                                            \
  do {                                                                                             \
    fc_err e_ = (call);                                                                            \
    if (e_ != FC_ERR_OK) fail_msg("%s: %s: %s", #call, fc_err_text(e_), fc_err_message());         \
  } while (0)

#define assert_fails(call, code, message)                                                          \
  do {                                                                                             \
    fc_err e_ = (call);                                                                            \
    assert_string_equal(fc_err_message(), (message));                                              \
    assert_int_equal(e_, (code));                                                                  \
  } while (0)
#endif

/* NaN fails. */
#define assert_close(value, expected, tolerance)                                                   \
  do {                                                                                             \
    double value_ = (value), expected_ = (expected), tolerance_ = (tolerance);                     \
    if (!(fabs(value_ - expected_) <= tolerance_))                                                 \
      fail_msg(#value " is %.17g, expected %.17g within %.3g", value_, expected_, tolerance_);     \
  } while (0)
#define assert_relative(value, expected, tolerance)                                                \
  assert_close(value, expected, (tolerance)*fabs((double)(expected)))

enum { DEVICES = 6 };

/* Six devices, three rounds, a small classifier; what a test says stands over it. */
static const char *const small_scenario[] = {
    "data.dataset=generated-digits",
    "data.samples=900",
    "data.test_samples=200",
    "data.public_fraction=0",
    "data.split=both",
    "data.alpha=0.5",
    "data.min_samples=64",
    "environment.devices=6",
    "environment.rounds=3",
    "environment.iterations=3",
    "environment.batch=16",
    "environment.channels=[4, 8]",
    "environment.hidden=16",
    "environment.probe_samples=20",
    "environment.test_samples=150",
    "environment.select_min=2",
    "environment.p_max_w={uniform: [0.2, 1]}",
};

/* settings: "key=value", one a line; may be "". */
static inline fc_config *config_of(const char *settings) {
  static const fc_option seed[] = {
      {"data.seed", FC_OPT_INT, "", "1", 0, 1e9, NULL, "as the run's table has it"}};
  static fc_option_table tables[6];
  tables[0] = (fc_option_table)FC_OPTION_TABLE("run", seed);
  tables[1] = fc_data_options;
  tables[2] = fc_split_options;
  tables[3] = fc_environment_options;
  tables[4] = fc_evaluation_options;
  tables[5] = fc_dynamics_options;
  fc_config *cfg;
  assert_ok(fc_config_create(tables, 6, &cfg));
  for (size_t i = 0; i < sizeof small_scenario / sizeof *small_scenario; i++)
    fc_config_set(cfg, small_scenario[i]);
  char line[256];
  for (const char *at = settings; *at;) {
    const size_t length = strcspn(at, "\n");
    snprintf(line, sizeof line, "%.*s", (int)length, at);
    fc_config_set(cfg, line);
    at += length + (at[length] == '\n');
  }
  assert_ok(fc_config_finish(cfg));
  return cfg;
}

static inline fc_scenario *scenario_for(const char *settings, fc_environment_use use) {
  fc_config *cfg = config_of(settings);
  fc_scenario *s;
  assert_ok(fc_scenario_create(cfg, use, &s));
  fc_config_destroy(&cfg);
  return s;
}

static inline fc_scenario *scenario_of(const char *settings) {
  return scenario_for(settings, FC_TRAINING);
}

#endif
