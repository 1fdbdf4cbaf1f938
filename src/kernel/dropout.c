/* dropout.c - inverted dropout with masks from a counter.
 *
 * The stream's next two words key a Philox4x32-10 [Salmon+ 2011] whose lanes are independent, so
 * that the loop vectorises: word 0 is the key, word 1 the upper half of the counter, the lower half
 * counts blocks of four 32-bit draws. Elements come in groups of 128, the draws of 16 blocks:
 * element e = 128 g + 64 h + 16 w + l takes half h (16 bits) of draw w of block 16 g + l. Fixed for
 * ever: a changed layout changes every run with dropout.
 *
 * An element is dropped when its 16 bits are below p 2^16. Multiplying, also by 0, keeps NaN
 * visible. */
#include "kernel.h"
#include <Random123/philox.h>
#include <assert.h>
#include <math.h>

enum { LANES = 16, DRAWS = 4, GROUP = 2 * DRAWS * LANES, ROUNDS = 10 };

static uint32_t threshold_of(float p) {
  assert(p >= 0.0f && p <= 1.0f);
  return (uint32_t)lrint((double)p * 65536.0);
}

typedef struct {
  uint64_t key, high;
  uint32_t threshold;
  float keep;
} mask;

/* draw[w][l]: draw w of block 16 group + l. All rounds of a lane stand in one loop body: that is
 * what compilers vectorise. */
static inline void group_draws(uint32_t draw[DRAWS][LANES], const mask *m, uint64_t group) {
#pragma omp simd
  for (int l = 0; l < LANES; l++) {
    const uint64_t block = group * LANES + (uint64_t)l;
    uint32_t c0 = (uint32_t)block, c1 = (uint32_t)(block >> 32);
    uint32_t c2 = (uint32_t)m->high, c3 = (uint32_t)(m->high >> 32);
    uint32_t key0 = (uint32_t)m->key, key1 = (uint32_t)(m->key >> 32);
#pragma GCC unroll 10
    for (int round = 0; round < ROUNDS; round++, key0 += 0x9e3779b9u, key1 += 0xbb67ae85u) {
      const uint64_t a = (uint64_t)c0 * 0xd2511f53u, b = (uint64_t)c2 * 0xcd9e8d57u;
      c0 = (uint32_t)(b >> 32) ^ c1 ^ key0;
      c1 = (uint32_t)b;
      c2 = (uint32_t)(a >> 32) ^ c3 ^ key1;
      c3 = (uint32_t)a;
    }
    draw[0][l] = c0;
    draw[1][l] = c1;
    draw[2][l] = c2;
    draw[3][l] = c3;
  }
}

/* factor (GROUP): 0 or 1/(1 - p) for the elements of a group. */
static inline void group_factors(float *factor, const mask *m, uint64_t group) {
  uint32_t draw[DRAWS][LANES];
  const uint32_t threshold = m->threshold;
  const float keep = m->keep;
  group_draws(draw, m, group);
  for (int w = 0; w < DRAWS; w++, factor += LANES)
#pragma omp simd
    for (int l = 0; l < LANES; l++) {
      factor[l] = (draw[w][l] & 0xffffu) < threshold ? 0.0f : keep;
      factor[l + GROUP / 2] = draw[w][l] >> 16 < threshold ? 0.0f : keep;
    }
}

FC_K_CLONES
static void apply(float *y, const float *x, const mask *m, int64_t n) {
  float factor[GROUP];
  int64_t i = 0;
  for (; i + GROUP <= n; i += GROUP) {
    group_factors(factor, m, (uint64_t)i / GROUP);
    for (int j = 0; j < GROUP; j++) y[i + j] = x[i + j] * factor[j];
  }
  if (i == n) return;
  group_factors(factor, m, (uint64_t)i / GROUP);
  for (int j = 0; i < n; i++, j++) y[i] = x[i] * factor[j];
}

void fc_k_dropout(float *y, const float *x, float p, fc_rng rng, int64_t n) {
  const uint64_t key = fc_rng_u64(&rng), high = fc_rng_u64(&rng);
  const mask m = {.key = key,
                  .high = high,
                  .threshold = threshold_of(p),
                  .keep = p < 1.0f ? 1.0f / (1.0f - p) : 0.0f};
  apply(y, x, &m, n);
}

/* The twin draws with Random123's own Philox, one element after the other. */
void fc_k_dropout_ref(float *y, const float *x, float p, fc_rng rng, int64_t n) {
  const uint64_t key = fc_rng_u64(&rng), high = fc_rng_u64(&rng);
  const philox4x32_key_t k = {{(uint32_t)key, (uint32_t)(key >> 32)}};
  for (int64_t e = 0; e < n; e++) {
    const int64_t block = e / GROUP * LANES + e % LANES;
    const philox4x32_ctr_t counter = {
        {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)high, (uint32_t)(high >> 32)}};
    const philox4x32_ctr_t draw = philox4x32_R(ROUNDS, counter, k);
    const uint32_t bits = draw.v[e / LANES % DRAWS] >> (16 * (e % GROUP / (GROUP / 2))) & 0xffffu;
    y[e] = (float)(x[e] * (bits < threshold_of(p) ? 0.0 : 1.0 / (1.0 - p)));
  }
}
