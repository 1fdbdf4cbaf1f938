/* compare.c - do two configurations say the same? */
#include "config_private.h"
#include "fedcell/fc_mem.h"
#include <assert.h>
#include <string.h>

static bool is_listed(const char *name, const char *const *list, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (strcmp(name, list[i]) == 0) return true;
  return false;
}

/* Values are the same if they read the same in a dump, which keeps every digit. Out of memory
 * counts as different: the caller stops, which is safe. */
static bool is_equal(const fc_slot *a, const fc_slot *b) {
  fc_text x = {0}, y = {0};
  fc_dump_value(&x, a->option, &a->value);
  fc_dump_value(&y, b->option, &b->value);
  bool equal = x.err == FC_ERR_OK && y.err == FC_ERR_OK && x.length == y.length &&
               (x.length == 0 || memcmp(x.data, y.data, x.length) == 0);
  fc_free(x.data);
  fc_free(y.data);
  return equal;
}

const char *fc_config_first_difference(const fc_config *a, const fc_config *b,
                                       const char *const *except, size_t n) {
  assert(a->n == b->n && "configurations of the same tables");
  for (size_t i = 0; i < a->n; i++)
    if (!is_listed(a->slots[i].option->name, except, n) && !is_equal(&a->slots[i], &b->slots[i]))
      return a->slots[i].option->name;
  return NULL;
}
