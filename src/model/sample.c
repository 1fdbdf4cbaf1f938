/* sample.c - the next token of a text from its logits: the likeliest, or a draw from
 * softmax(logits / temperature), of all tokens or of a nucleus [Holtzman+ 2020]. Probabilities are
 * computed in double. */
#include "sample.h"
#include "fedcell/fc_kernel.h"
#include <math.h>
#include <stdlib.h>

static int32_t likeliest(const float *logits, int V) {
  int32_t best = 0;
  for (int32_t i = 1; i < V; i++)
    if (logits[i] > logits[best]) best = i;
  return best;
}

static int by_probability(const void *left, const void *right) {
  const fc_candidate *a = left, *b = right;
  if (a->probability != b->probability) return a->probability < b->probability ? 1 : -1;
  return a->token < b->token ? -1 : a->token > b->token;
}

/* Softmax of logits / temperature into c (V), in the order of ids. */
static void probabilities(fc_candidate *c, const float *logits, int V, double temperature) {
  double largest = (double)logits[likeliest(logits, V)], sum = 0.0;
  for (int i = 0; i < V; i++) {
    c[i] = (fc_candidate){exp(((double)logits[i] - largest) / temperature), i};
    sum += c[i].probability;
  }
  for (int i = 0; i < V; i++) c[i].probability /= sum;
}

/* Leaves the likeliest tokens that reach top_p together; returns how many. One below
 * (1 - top_p)/(V - 1) is never among them: all V - 1 others of such a share would not reach
 * 1 - top_p, so it need not be sorted. */
static int nucleus(fc_candidate *c, int V, double top_p) {
  double least = V > 1 ? (1.0 - top_p) / (V - 1) : 0.0, sum = 0.0;
  int n = 0, kept = 0;
  for (int i = 0; i < V; i++)
    if (c[i].probability >= least) c[n++] = c[i];
  qsort(c, (size_t)n, sizeof *c, by_probability);
  while (kept < n && sum < top_p) sum += c[kept++].probability;
  return kept;
}

static int32_t draw(const fc_candidate *c, int n, fc_rng rng) {
  double sum = 0.0, at = 0.0;
  for (int i = 0; i < n; i++) sum += c[i].probability;
  double wanted = sum * fc_rng_uniform(&rng);
  for (int i = 0; i < n; i++) {
    at += c[i].probability;
    if (wanted < at) return c[i].token;
  }
  return c[n - 1].token; /* rounding */
}

int32_t fc_sample_token(const fc_generate_settings *s, const float *logits, int V, int64_t position,
                        uint64_t id, fc_candidate *scratch) {
  int n = V;
  if (s->temperature == 0.0) return likeliest(logits, V);
  probabilities(scratch, logits, V, s->temperature);
  if (s->top_p < 1.0) n = nucleus(scratch, V, s->top_p);
  return draw(scratch, n, fc_rng_open(s->seed, FC_RNG_GENERATION, (uint64_t)position, id));
}

bool fc_sample_stops(const fc_generate_settings *s, int32_t token) {
  for (int i = 0; i < FC_GENERATE_STOPS; i++)
    if (s->stop[i] == token) return true;
  return false;
}
