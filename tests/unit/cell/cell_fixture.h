/* cell_fixture.h - a cell from a few lines of YAML, for the tests of this room. */
#ifndef CELL_FIXTURE_H
#define CELL_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fedcell/fc_cell.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FIXTURE_SEED = 20260 };

typedef struct {
  fc_config *cfg;
  fc_cell *cell;
} fixture;

static inline fc_config *fixture_config(const char *yaml) {
  static const fc_option_table *const tables[] = {&fc_cell_options, &fc_population_options};
  static fc_option_table both[2];
  fc_config *cfg;
  for (int i = 0; i < 2; i++) both[i] = *tables[i];
  assert_int_equal(fc_config_create(both, 2, &cfg), FC_ERR_OK);
  assert_int_equal(fc_config_load_text(cfg, "test.yaml", yaml, strlen(yaml), NULL), FC_ERR_OK);
  return cfg;
}

static inline fixture fixture_seeded(const char *yaml, uint64_t seed) {
  fixture f = {.cfg = fixture_config(yaml)};
  fc_err err = fc_config_finish(f.cfg);
  if (err == FC_ERR_OK) err = fc_cell_create(f.cfg, seed, &f.cell);
  if (err != FC_ERR_OK) fail_msg("%s", fc_err_message());
  return f;
}

static inline fixture fixture_make(const char *yaml) {
  return fixture_seeded(yaml, FIXTURE_SEED);
}

static inline void fixture_drop(fixture *f) {
  fc_cell_destroy(&f->cell);
  fc_config_destroy(&f->cfg);
}

/* NaN fails. */
#define assert_close(value, expected, tolerance)                                                   \
  do {                                                                                             \
    double value_ = (value), expected_ = (expected), tolerance_ = (tolerance);                     \
    if (!(fabs(value_ - expected_) <= tolerance_))                                                 \
      fail_msg(#value " is %.17g, expected %.17g within %.3g", value_, expected_, tolerance_);     \
  } while (0)
#define assert_relative(value, expected, tolerance)                                                \
  assert_close(value, expected, (tolerance)*fabs((double)(expected)))

#endif
