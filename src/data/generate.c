/* generate.c - what the generators share (see generate.h). */
#include "generate.h"
#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

void fc_say(fc_phrase *p, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprintf(p->text + p->n, sizeof p->text - p->n, format, args);
  va_end(args);
  assert(n >= 0 && p->n + (size_t)n < sizeof p->text);
  p->n += (size_t)n;
}

fc_text fc_said(const fc_phrase *p) {
  return (fc_text){p->text, p->n};
}

void fc_close_sentence(fc_phrase *p, const char *end) {
  p->text[0] = (char)toupper((unsigned char)p->text[0]);
  fc_say(p, "%s", end);
}

int fc_pick_int(fc_rng *rng, int low, int high) {
  assert(low <= high);
  return low + (int)fc_rng_below(rng, (uint64_t)(high - low) + 1);
}

bool fc_chance(fc_rng *rng, double p) {
  return fc_rng_uniform(rng) < p;
}

fc_err fc_generate(const fc_generator *g, uint64_t seed, int part, size_t n, fc_rows *rows) {
  for (size_t i = 0; i < n; i++) {
    fc_rng rng = fc_rng_open(seed, FC_RNG_GENERATOR, 2 * g->id + (uint64_t)part, i);
    FC_TRY(g->sample(&rng, rows));
  }
  return FC_ERR_OK;
}
