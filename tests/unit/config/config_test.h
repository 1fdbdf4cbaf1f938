/* config_test.h - shorthands of the tests of this room. */
#ifndef CONFIG_TEST_H
#define CONFIG_TEST_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "config_tables.h"
#include "fedcell/fc_mem.h"
#include <string.h>

static inline fc_config *new_config(void) {
  fc_config *cfg;
  assert_int_equal(fc_config_create(all_tables, N_TABLES, &cfg), FC_ERR_OK);
  return cfg;
}

/* Reads text as the file "run.yaml". */
static inline fc_err load(fc_config *cfg, const char *text, const char *size) {
  return fc_config_load_text(cfg, "run.yaml", text, strlen(text), size);
}

/* A finished configuration from text that has no fault. */
static inline fc_config *config_of(const char *text, const char *size) {
  fc_config *cfg = new_config();
  if (load(cfg, text, size) != FC_ERR_OK || fc_config_finish(cfg) != FC_ERR_OK) {
    fail_msg("%s", fc_err_message());
  }
  return cfg;
}

#endif
