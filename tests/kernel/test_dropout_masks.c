/* Dropout: twin, statistics, and the mask as a function of stream and element. */
#include "kernel_test.h"

static fc_rng stream(uint64_t device) {
  return fc_rng_open(1, FC_RNG_DROPOUT, 2, device);
}

static void dropout_matches_twin(void **state) {
  (void)state;
  const float rates[] = {0.0f, 0.1f, 0.5f, 0.999f, 1.0f};
  for (int n = 0; n < 200; n += 1 + n / 10)
    for (int r = 0; r < LENGTH_OF(rates); r++) {
      const float *x = normals(n, 1, 1);
      float *y = copy_of(x, n), *expected = zeros(n);
      fc_k_dropout(y, y, rates[r], stream(3), n); /* in place */
      fc_k_dropout_ref(expected, x, rates[r], stream(3), n);
      assert_close(y, expected, n, 0, 1e-6);
      if (rates[r] == 0.0f) assert_same_bits(y, x, n);
      free_arrays();
    }
}

/* The backward pass sees the mask of the forward pass, and a prefix sees the same mask. */
static void mask_depends_on_stream_and_element_alone(void **state) {
  (void)state;
  enum { n = 1000 };
  float *ones = zeros(n), *other = normals(n, 1, 1);
  float *mask = zeros(n), *again = zeros(n), *elsewhere = zeros(n);
  for (int i = 0; i < n; i++) ones[i] = 1.0f;
  fc_k_dropout(mask, ones, 0.3f, stream(1), n);
  fc_k_dropout(again, other, 0.3f, stream(1), n - 13);
  fc_k_dropout(elsewhere, ones, 0.3f, stream(2), n);
  int differing = 0;
  for (int i = 0; i < n; i++) {
    if (i < n - 13) assert_true(again[i] == other[i] * mask[i]);
    differing += mask[i] != elsewhere[i];
  }
  assert_in_range(differing, 350, 490); /* 2 * 0.3 * 0.7 n = 420, 5 sigma = 78 */
}

static void rate_and_mean_are_kept(void **state) {
  (void)state;
  enum { n = 200000 };
  float *x = zeros(n), *y = zeros(n);
  for (int i = 0; i < n; i++) x[i] = 1.0f;
  fc_k_dropout(y, x, 0.1f, stream(1), n);
  int dropped = 0, pairs = 0;
  double sum = 0.0;
  for (int i = 0; i < n; i++) {
    assert_true(y[i] == 0.0f || fabsf(y[i] - 1.0f / 0.9f) < 1e-6f);
    dropped += y[i] == 0.0f;
    pairs += i > 0 && y[i] == 0.0f && y[i - 1] == 0.0f;
    sum += y[i];
  }
  assert_in_range(dropped, 19330, 20670); /* 5 sigma = 671 */
  assert_in_range(pairs, 1780, 2220);     /* neighbours are independent: 0.01 n */
  assert_true(fabs(sum / n - 1.0) <= 4e-3);
}

static void nan_is_never_dropped(void **state) {
  (void)state;
  enum { n = 300 };
  float x[n], y[n];
  for (int i = 0; i < n; i++) x[i] = NAN;
  fc_k_dropout(y, x, 0.5f, stream(1), n);
  for (int i = 0; i < n; i++) assert_true(isnan(y[i]));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      KERNEL_TEST(dropout_matches_twin),
      KERNEL_TEST(mask_depends_on_stream_and_element_alone),
      KERNEL_TEST(rate_and_mean_are_kept),
      KERNEL_TEST(nan_is_never_dropped),
  };
  return cmocka_run_group_tests_name("dropout_masks", tests, NULL, NULL);
}
