/* facts.c - what the provenance tells about the program and its call. */
#include "app.h"
#include "build_info.h"
#include <string.h>

const fc_fact *fc_app_facts(const fc_arguments *a, size_t *n) {
  static char command[4096];
  static const fc_fact facts[] = {
      {"version", FEDCELL_BUILD_VERSION},     {"git_commit", FEDCELL_BUILD_COMMIT},
      {"compiler", FEDCELL_BUILD_COMPILER},   {"compiler_flags", FEDCELL_BUILD_FLAGS},
      {"libraries", FEDCELL_BUILD_LIBRARIES}, {"command_line", command}};
  size_t used = (size_t)snprintf(command, sizeof command, "fedcell");
  for (int i = 0; i < a->argc && used < sizeof command; i++)
    used += (size_t)snprintf(command + used, sizeof command - used, " %s", a->argv[i]);
  *n = sizeof facts / sizeof facts[0];
  return facts;
}
