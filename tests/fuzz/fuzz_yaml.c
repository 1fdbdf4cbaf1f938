/* Any bytes as a configuration: no crash, no leak; and what is read without a fault has a dump that
 * reads back to the same dump. */
#include "../unit/config/config_tables.h"
#include "fedcell/fc_mem.h"
#include <stdlib.h>
#include <string.h>

/* Dump of the configuration that `text` describes; NULL if it has faults. */
static char *dump_of(const char *text, size_t length, const char *size) {
  fc_config *cfg;
  char *dump = NULL;
  if (fc_config_create(all_tables, N_TABLES, &cfg) != FC_ERR_OK) abort();
  fc_err err = fc_config_load_text(cfg, "fuzz.yaml", text, length, size);
  fc_err finished = fc_config_finish(cfg);
  if (fc_config_dump(cfg, &dump) != FC_ERR_OK) abort(); /* faults or not, something was read */
  if (err != FC_ERR_OK || finished != FC_ERR_OK) {
    fc_free(dump);
    dump = NULL;
  }
  fc_config_destroy(&cfg);
  return dump;
}

/* The same bytes as a --set. */
static void set_bytes(const char *text, size_t length) {
  fc_config *cfg;
  char *assignment;
  if (fc_alloc(length + 1, 1, &assignment) != FC_ERR_OK) abort();
  memcpy(assignment, text, length);
  if (fc_config_create(all_tables, N_TABLES, &cfg) != FC_ERR_OK) abort();
  fc_config_set(cfg, assignment);
  (void)fc_config_finish(cfg);
  fc_config_destroy(&cfg);
  fc_free(assignment);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *text = (const char *)data;
  size_t before = fc_mem_current_bytes();
  char *first = dump_of(text, size, NULL);
  if (first) {
    char *second = dump_of(first, strlen(first), NULL);
    if (!second || strcmp(first, second) != 0) abort();
    fc_free(second);
  }
  fc_free(first);
  fc_free(dump_of(text, size, "laptop"));
  set_bytes(text, size);
  if (fc_mem_current_bytes() != before) abort();
  return 0;
}
