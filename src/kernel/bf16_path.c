/* bf16_path.c - which implementation of the bf16 product runs. */
#include "bf16.h"
#include "fedcell/fc_peak.h"
#include <stdlib.h>

/* Best first. The last one can always run. */
static const fc_bf16_path *const paths[] = {
#if defined(__x86_64__)
    &fc_bf16_amx, &fc_bf16_avx512,
#endif
    &fc_bf16_plain};
enum { PATHS = sizeof paths / sizeof *paths };

/* Written by any thread with the same value, unless a test asks for another. */
static const fc_bf16_path *_Atomic current;

static int index_of(const char *name) {
  for (int i = 0; name && i < PATHS; i++)
    if (strcmp(paths[i]->name, name) == 0) return i;
  return -1;
}

const fc_bf16_path *fc_bf16_current_path(void) {
  const fc_bf16_path *path = current;
  if (path) return path;
  const int named = index_of(getenv("FEDCELL_KERNEL"));
  int i = named < 0 ? 0 : named;
  while (i < PATHS - 1 && !paths[i]->available()) i++;
  current = paths[i];
  return paths[i];
}

const char *fc_k_bf16_path(void) {
  return fc_bf16_current_path()->name;
}

const char *fc_k_bf16_path_name(int i) {
  return i < PATHS ? paths[i]->name : NULL;
}

bool fc_k_bf16_use_path(const char *path) {
  const int i = index_of(path);
  if (i < 0 || !paths[i]->available()) return false;
  current = paths[i];
  return true;
}

bool fc_k_bf16_is_fast(void) {
  return fc_bf16_current_path()->fast;
}

double fc_k_peak_bf16(int64_t n) {
  const fc_bf16_path *path = fc_bf16_current_path();
  if (path->begin) path->begin();
  const double flop = path->peak(n);
  if (path->end) path->end();
  return flop;
}
