/* methods.c - the table of learning methods; a new one is one file and one line in
 * methods.def. */
#include "federation.h"
#include <string.h>

#define METHOD(name) extern const fc_method fc_method_##name;
#include "methods.def"
#undef METHOD

static const fc_method *const methods[] = {
#define METHOD(name) &fc_method_##name,
#include "methods.def"
#undef METHOD
};
enum { METHODS = sizeof methods / sizeof methods[0] };

const char *fc_method_name(size_t i) {
  return i < METHODS ? methods[i]->name : NULL;
}

const char *fc_method_meaning(size_t i) {
  return i < METHODS ? methods[i]->meaning : NULL;
}

const fc_method *fc_method_find(const char *name) {
  for (size_t i = 0; i < METHODS; i++)
    if (strcmp(methods[i]->name, name) == 0) return methods[i];
  return NULL;
}
