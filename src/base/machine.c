/* machine.c - asks the system what machine this is. */
#include "fedcell/fc_machine.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void fc_machine_cpu(char *out, size_t size) {
  static const char key[] = "model name\t: ";
  char line[256];
  snprintf(out, size, "unknown");
  FILE *f = fopen("/proc/cpuinfo", "r");
  if (!f) return;
  while (fgets(line, sizeof line, f)) {
    if (strncmp(line, key, strlen(key)) != 0) continue;
    line[strcspn(line, "\n")] = '\0';
    snprintf(out, size, "%s", line + strlen(key));
    break;
  }
  fclose(f);
}

size_t fc_machine_memory_bytes(void) {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? (size_t)pages * (size_t)page : 0;
}

size_t fc_machine_cache_bytes(void) {
  static const int levels[] = {_SC_LEVEL4_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE, _SC_LEVEL2_CACHE_SIZE};
  for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
    const long bytes = sysconf(levels[i]);
    if (bytes > 0) return (size_t)bytes;
  }
  return 0;
}
