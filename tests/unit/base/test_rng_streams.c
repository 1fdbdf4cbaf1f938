/* The counter layout is part of every result: golden vectors, independence of streams, moments. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "fedcell/fc_rng.h"
#include <Random123/philox.h>
#include <math.h>
#include <stdbool.h>

/* Known answer of philox4x64-10 for all-zero counter and key [Random123, kat_vectors]. */
static void block_equals_published_vector(void **state) {
  (void)state;
  fc_rng rng = fc_rng_open(0, FC_RNG_TEST, 0, 0);
  assert_true(fc_rng_u64(&rng) == 0x16554d9eca36314cULL);
  assert_true(fc_rng_u64(&rng) == 0xdb20fe9d672d0fdcULL);
  assert_true(fc_rng_u64(&rng) == 0xd7e772cee186176bULL);
  assert_true(fc_rng_u64(&rng) == 0x7e68b68aec7ba23bULL);
}

/* key = {seed, purpose}, counter = {index/4, device, round, 0} */
static void layout_is_fixed(void **state) {
  (void)state;
  fc_rng rng = fc_rng_open(11, FC_RNG_CHANNEL, 5, 7);
  for (int i = 0; i < 8; i++) fc_rng_u64(&rng);
  philox4x64_key_t key = {{11, 3}};
  philox4x64_ctr_t counter = {{2, 7, 5, 0}};
  philox4x64_ctr_t expected = philox4x64(counter, key);
  for (int i = 0; i < 4; i++) assert_true(fc_rng_u64(&rng) == expected.v[i]);
}

static void moments_are_right(void **state) {
  (void)state;
  enum { n = 200000 };
  fc_rng rng = fc_rng_open(1, FC_RNG_TEST, 0, 1);
  double u = 0, z = 0, zz = 0, e = 0, g = 0;
  for (int i = 0; i < n; i++) {
    u += fc_rng_uniform(&rng);
    double x = fc_rng_normal(&rng);
    z += x;
    zz += x * x;
    e += fc_rng_exponential(&rng);
    g += fc_rng_gamma(&rng, 0.3);
  }
  /* five standard errors */
  assert_true(fabs(u / n - 0.5) < 5 * 0.2887 / sqrt(n));
  assert_true(fabs(z / n) < 5 / sqrt(n));
  assert_true(fabs(zz / n - 1) < 5 * sqrt(2.0 / n));
  assert_true(fabs(e / n - 1) < 5 / sqrt(n));
  assert_true(fabs(g / n - 0.3) < 5 * sqrt(0.3 / n));
}

static void dirichlet_survives_tiny_alpha(void **state) {
  (void)state;
  fc_rng rng = fc_rng_open(1, FC_RNG_TEST, 0, 2);
  double p[10], sum = 0, largest = 0;
  fc_rng_dirichlet(&rng, 1e-4, 10, p);
  for (int i = 0; i < 10; i++) {
    assert_true(p[i] >= 0 && p[i] <= 1);
    sum += p[i];
    largest = fmax(largest, p[i]);
  }
  assert_true(fabs(sum - 1) < 1e-12);
  assert_true(largest > 0.99); /* at alpha 1e-4 one share takes nearly all */
}

static void choose_gives_every_subset_equally(void **state) {
  (void)state;
  enum { n = 6, k = 3, draws = 20000, subsets = 20 };
  int count[1 << n] = {0};
  for (int d = 0; d < draws; d++) {
    fc_rng rng = fc_rng_open(3, FC_RNG_TEST, (uint64_t)d, 0);
    uint32_t out[k];
    fc_rng_choose(&rng, n, k, out);
    int set = 0;
    for (int i = 0; i < k; i++) {
      assert_true(out[i] < n);
      assert_true(i == 0 || out[i - 1] < out[i]);
      set |= 1 << out[i];
    }
    count[set]++;
  }
  double chi2 = 0, expected = (double)draws / subsets;
  for (int s = 0; s < 1 << n; s++)
    if (__builtin_popcount((unsigned)s) == k) chi2 += pow(count[s] - expected, 2) / expected;
  assert_true(chi2 < 43.8); /* 0.1 % point of chi-square with 19 degrees of freedom */
}

static void choose_all_and_none(void **state) {
  (void)state;
  fc_rng rng = fc_rng_open(3, FC_RNG_TEST, 0, 0);
  uint32_t out[5];
  fc_rng_choose(&rng, 5, 0, out);
  fc_rng_choose(&rng, 5, 5, out);
  for (uint32_t i = 0; i < 5; i++) assert_int_equal(out[i], i);
}

static void shuffle_is_a_permutation(void **state) {
  (void)state;
  uint32_t items[100];
  bool seen[100] = {false};
  for (uint32_t i = 0; i < 100; i++) items[i] = i;
  fc_rng rng = fc_rng_open(3, FC_RNG_TEST, 0, 0);
  fc_rng_shuffle(&rng, items, 100);
  int moved = 0;
  for (uint32_t i = 0; i < 100; i++) {
    assert_false(seen[items[i]]);
    seen[items[i]] = true;
    moved += items[i] != i;
  }
  assert_true(moved > 80);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(block_equals_published_vector),
      cmocka_unit_test(layout_is_fixed),
      cmocka_unit_test(moments_are_right),
      cmocka_unit_test(dirichlet_survives_tiny_alpha),
      cmocka_unit_test(choose_gives_every_subset_equally),
      cmocka_unit_test(choose_all_and_none),
      cmocka_unit_test(shuffle_is_a_permutation),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
