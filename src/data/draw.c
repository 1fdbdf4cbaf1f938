/* draw.c - which samples form a mini-batch.
 *
 * The samples of a device are seen in epochs: epoch e of a round is its own random order, a
 * permutation that is computed, not stored: batch i takes the positions i*batch ... of the endless
 * row of epochs. Up to SMALL samples the order is a Fisher-Yates shuffle; beyond, a keyed Feistel
 * network on the next even number of bits, repeated until the value falls below n (cycle walking)
 * [Black+Rogaway 2002], so that one batch of a large set costs no more than its size. */
#include "fedcell/fc_data.h"
#include <assert.h>

enum { SMALL = 256, FEISTEL_ROUNDS = 6 };

typedef struct {
  size_t n;
  uint32_t order[SMALL];        /* n <= SMALL */
  uint64_t key[FEISTEL_ROUNDS]; /* n > SMALL */
  unsigned half_bits;
} permutation;

/* Every epoch has a stretch of the device's stream of its own; a shuffle of SMALL items draws fewer
 * words (rejections included) than a stretch has but with probability below 2^-1000. */
static fc_rng epoch_stream(uint64_t seed, uint64_t round, uint64_t device, uint64_t epoch) {
  fc_rng rng = fc_rng_open(seed, FC_RNG_BATCH, round, device);
  rng.index = epoch * 1024;
  return rng;
}

static void open_epoch(permutation *p, size_t n, fc_rng rng) {
  p->n = n;
  if (n <= SMALL) {
    for (size_t i = 0; i < n; i++) p->order[i] = (uint32_t)i;
    fc_rng_shuffle(&rng, p->order, n);
    return;
  }
  for (int r = 0; r < FEISTEL_ROUNDS; r++) p->key[r] = fc_rng_u64(&rng);
  p->half_bits = 5;
  while (((uint64_t)1 << (2 * p->half_bits)) < n) p->half_bits++;
}

/* The finaliser of splitmix64 [Steele+ 2014]. */
static uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

static size_t at(const permutation *p, size_t i) {
  if (p->n <= SMALL) return p->order[i];
  uint64_t mask = ((uint64_t)1 << p->half_bits) - 1, x = i;
  do {
    uint64_t left = x >> p->half_bits, right = x & mask;
    for (int r = 0; r < FEISTEL_ROUNDS; r++) {
      uint64_t next = left ^ (mix(right + p->key[r]) & mask);
      left = right;
      right = next;
    }
    x = left << p->half_bits | right;
  } while (x >= p->n);
  return (size_t)x;
}

int fc_batch_draw(const uint32_t *samples, size_t n, int batch, uint64_t seed, uint64_t round,
                  uint64_t device, int64_t iteration, uint32_t *out) {
  assert(batch >= 1 && iteration >= 0);
  if (n == 0) return 0;
  size_t take = n < (size_t)batch ? n : (size_t)batch;
  uint64_t position = (uint64_t)iteration * take, epoch = position / n;
  permutation p;
  open_epoch(&p, n, epoch_stream(seed, round, device, epoch));
  for (size_t i = 0; i < take; i++, position++) {
    if (position / n != epoch) {
      epoch = position / n;
      open_epoch(&p, n, epoch_stream(seed, round, device, epoch));
    }
    out[i] = samples[at(&p, (size_t)(position % n))];
  }
  return (int)take;
}
