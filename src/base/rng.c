/* rng.c - Philox4x64-10 streams and the distributions drawn from them. */
#include "fedcell/fc_rng.h"
#include <Random123/philox.h>
#include <assert.h>
#include <gsl/gsl_randist.h>
#include <gsl/gsl_rng.h>
#include <math.h>
#include <string.h>

fc_rng fc_rng_open(uint64_t seed, fc_rng_purpose purpose, uint64_t round, uint64_t device) {
  return (fc_rng){.seed = seed, .purpose = (uint64_t)purpose, .round = round, .device = device};
}

uint64_t fc_rng_u64(fc_rng *rng) {
  unsigned lane = (unsigned)(rng->index % 4);
  if (lane == 0) {
    philox4x64_key_t key = {{rng->seed, rng->purpose}};
    philox4x64_ctr_t counter = {{rng->index / 4, rng->device, rng->round, 0}};
    philox4x64_ctr_t block = philox4x64(counter, key);
    for (int i = 0; i < 4; i++) rng->block[i] = block.v[i];
  }
  rng->index++;
  return rng->block[lane];
}

double fc_rng_uniform(fc_rng *rng) {
  /* the middle of one of 2^52 cells: never 0, never 1 */
  return ((double)(fc_rng_u64(rng) >> 12) + 0.5) * 0x1p-52;
}

double fc_rng_normal(fc_rng *rng) {
  double radius = sqrt(-2.0 * log(fc_rng_uniform(rng)));
  return radius * cos(2.0 * M_PI * fc_rng_uniform(rng));
}

double fc_rng_exponential(fc_rng *rng) {
  return -log(fc_rng_uniform(rng));
}

/* GSL draws from any generator that it knows by a gsl_rng_type; its state is a pointer to ours. */
static unsigned long gsl_word(void *state) {
  return (unsigned long)(fc_rng_u64(*(fc_rng **)state) >> 32);
}

static double gsl_unit(void *state) {
  return fc_rng_uniform(*(fc_rng **)state);
}

static void gsl_seed(void *state, unsigned long seed) {
  (void)state;
  (void)seed;
}

static const gsl_rng_type gsl_philox = {
    "fedcell-philox4x64", 0xffffffffUL, 0, sizeof(fc_rng *), gsl_seed, gsl_word, gsl_unit};

double fc_rng_gamma(fc_rng *rng, double shape) {
  assert(shape > 0);
  gsl_rng adapter = {&gsl_philox, &rng};
  return gsl_ran_gamma(&adapter, shape, 1.0);
}

double fc_rng_log_gamma(fc_rng *rng, double shape) {
  /* Gamma(a) = Gamma(a + 1) U^(1/a) [Marsaglia+Tsang 2000, sec. 6], in logarithms */
  double boosted = log(fc_rng_gamma(rng, shape + 1.0));
  return boosted + log(fc_rng_uniform(rng)) / shape;
}

uint64_t fc_rng_below(fc_rng *rng, uint64_t n) {
  assert(n >= 1);
  /* values from `limit` on would make the low results likelier: draw anew */
  uint64_t limit = UINT64_MAX - UINT64_MAX % n;
  uint64_t x;
  do x = fc_rng_u64(rng);
  while (x >= limit);
  return x % n;
}

void fc_rng_dirichlet(fc_rng *rng, double alpha, size_t n, double *p) {
  double largest = -INFINITY, sum = 0.0;
  for (size_t i = 0; i < n; i++) {
    p[i] = fc_rng_log_gamma(rng, alpha);
    if (p[i] > largest) largest = p[i];
  }
  for (size_t i = 0; i < n; i++) sum += p[i] = exp(p[i] - largest);
  for (size_t i = 0; i < n; i++) p[i] /= sum;
}

void fc_rng_shuffle(fc_rng *rng, uint32_t *items, size_t n) {
  for (size_t i = n; i > 1; i--) {
    size_t j = (size_t)fc_rng_below(rng, i);
    uint32_t swap = items[i - 1];
    items[i - 1] = items[j];
    items[j] = swap;
  }
}

/* First place in the ascending list whose value is >= x. */
static uint32_t lower_bound(const uint32_t *list, uint32_t n, uint32_t x) {
  uint32_t low = 0;
  while (n > 0) {
    uint32_t half = n / 2;
    if (list[low + half] < x) {
      low += half + 1;
      n -= half + 1;
    } else {
      n = half;
    }
  }
  return low;
}

static void insert_at(uint32_t *list, uint32_t n, uint32_t place, uint32_t x) {
  memmove(list + place + 1, list + place, (size_t)(n - place) * sizeof *list);
  list[place] = x;
}

void fc_rng_choose(fc_rng *rng, uint32_t n, uint32_t k, uint32_t *out) {
  assert(k <= n);
  /* [Floyd, in Bentley 1987]: the i-th draw is from the first n-k+i+1 values; one drawn before is
   * replaced by the newest value. The list stays sorted, which costs O(k^2) moves of 4 bytes at
   * worst: under a millisecond for the thousands of participants of a round, about a second for
   * 100,000. */
  if (k == n) { /* all of them, however many */
    for (uint32_t i = 0; i < n; i++) out[i] = i;
    return;
  }
  for (uint32_t i = 0; i < k; i++) {
    uint32_t newest = n - k + i;
    uint32_t x = (uint32_t)fc_rng_below(rng, (uint64_t)newest + 1);
    uint32_t place = lower_bound(out, i, x);
    if (place < i && out[place] == x) {
      x = newest;
      place = i; /* larger than all so far */
    }
    insert_at(out, i, place, x);
  }
}
