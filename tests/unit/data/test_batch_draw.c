/* Mini-batches: epochs over shuffled orders. */
#include "data_test.h"
#include <math.h>

enum { MOST = 5000 };
static uint32_t samples[MOST];

static int start(void **state) {
  (void)state;
  for (uint32_t i = 0; i < MOST; i++) samples[i] = 3 * i + 7;
  return 0;
}

static void every_sample_once_an_epoch(void **state) {
  (void)state;
  static const size_t sizes[] = {1, 2, 7, 8, 9, 255, 256, 257, 1000, 1025, 5000};
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
    size_t n = sizes[k], at = 0;
    static int seen[MOST];
    memset(seen, 0, sizeof seen);
    for (int64_t iteration = 0; at < 3 * n; iteration++) {
      uint32_t out[8];
      int got = fc_batch_draw(samples, n, 8, 1, 2, 3, iteration, out);
      assert_int_equal(got, n < 8 ? n : 8);
      for (int i = 0; i < got; i++, at++) {
        assert_int_equal(out[i] % 3, 7 % 3);
        size_t index = (out[i] - 7) / 3;
        assert_true(index < n);
        assert_int_equal(seen[index], at / n); /* seen once in each epoch before, not yet in this */
        seen[index]++;
      }
    }
  }
}

static void small_sets_give_no_sample_twice(void **state) {
  (void)state;
  for (size_t n = 1; n <= 8; n++) {
    for (int64_t iteration = 0; iteration < 20; iteration++) {
      uint32_t out[8];
      int got = fc_batch_draw(samples, n, 8, 1, 0, 0, iteration, out);
      assert_int_equal(got, n);
      for (int i = 0; i < got; i++)
        for (int j = 0; j < i; j++) assert_int_not_equal(out[i], out[j]);
    }
  }
  uint32_t out[8];
  assert_int_equal(fc_batch_draw(samples, 0, 8, 1, 0, 0, 0, out), 0);
}

static void depends_on_each_of_its_keys(void **state) {
  (void)state;
  static const size_t sizes[] = {200, 4000};
  for (int k = 0; k < 2; k++) {
    uint32_t a[64], b[64];
    size_t n = sizes[k];
    fc_batch_draw(samples, n, 64, 1, 2, 3, 0, a);
    fc_batch_draw(samples, n, 64, 1, 2, 3, 0, b);
    assert_memory_equal(a, b, sizeof a);
    static const uint64_t keys[][3] = {{2, 2, 3}, {1, 3, 3}, {1, 2, 4}};
    for (int i = 0; i < 3; i++) {
      fc_batch_draw(samples, n, 64, keys[i][0], keys[i][1], keys[i][2], 0, b);
      assert_memory_not_equal(a, b, sizeof a);
    }
    fc_batch_draw(samples, n, 64, 1, 2, 3, (int64_t)n / 8, b); /* the start of epoch 8 */
    assert_memory_not_equal(a, b, sizeof a);
  }
}

/* Where a sample lies in the order is uniform: the mean and variance of the position of one sample
 * over many devices, and of its neighbour's distance. */
static void orders_are_uniform(void **state) {
  (void)state;
  static const size_t sizes[] = {6, 256, 300, 4096};
  enum { DEVICES = 3000 };
  for (int k = 0; k < 4; k++) {
    double n = (double)sizes[k], mean = 0.0, square = 0.0, product = 0.0;
    for (uint64_t d = 0; d < DEVICES; d++) {
      uint32_t out[2];
      fc_batch_draw(samples, sizes[k], 2, 1, 0, d, 0, out);
      double x = (out[0] - 7) / 3 / (n - 1) - 0.5, y = (out[1] - 7) / 3 / (n - 1) - 0.5;
      mean += x / DEVICES;
      square += x * x / DEVICES;
      product += x * y / DEVICES;
    }
    double variance = (n + 1) / (n - 1) / 12, error = 1.0 / sqrt(DEVICES);
    assert_true(fabs(mean) < 5 * error * sqrt(variance));
    assert_true(fabs(square - variance) < 5 * error * 0.11);
    /* two different of n values: correlation -1/(n-1) */
    assert_true(fabs(product + variance / (n - 1)) < 5 * error * variance);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_sample_once_an_epoch),
      cmocka_unit_test(small_sets_give_no_sample_twice),
      cmocka_unit_test(depends_on_each_of_its_keys),
      cmocka_unit_test(orders_are_uniform),
  };
  return cmocka_run_group_tests(tests, start, NULL);
}
