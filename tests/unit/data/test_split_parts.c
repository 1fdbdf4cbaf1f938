/* Splits: every train sample in exactly one part, sizes, mixes, determinism, faults. */
#include "data_test.h"
#include "fedcell/fc_timer.h"
#include "split.h"
#include <math.h>

enum { CLASSES = 10 };
static int32_t label[120000];

static fc_split_input make_input(size_t n, size_t test) {
  fc_rng rng = fc_rng_open(5, FC_RNG_TEST, 0, 0);
  for (size_t i = 0; i < n; i++) label[i] = (int32_t)fc_rng_below(&rng, CLASSES);
  return (fc_split_input){.label = label, .n = n, .test = test, .classes = CLASSES};
}

static fc_split_settings way(const char *split) {
  return (fc_split_settings){.split = split,
                             .alpha = 0.5,
                             .size_alpha = 1.0,
                             .shards_per_device = 2,
                             .min_samples = 1,
                             .device_test_fraction = 0.0};
}

/* Marks the samples of a part, which must be ascending. */
static void mark(const uint32_t *samples, size_t n, uint8_t *seen) {
  for (size_t i = 0; i < n; i++) {
    if (i > 0) assert_true(samples[i] > samples[i - 1]);
    assert_int_equal(seen[samples[i]], 0);
    seen[samples[i]] = 1;
  }
}

static void every_sample_in_exactly_one_part(void **state) {
  (void)state;
  const char *name;
  for (size_t w = 0; (name = fc_split_name(w)) != NULL; w++) {
    static uint8_t seen[5100];
    fc_split_input in = make_input(5003, 97);
    fc_split_settings s = way(name);
    s.min_samples = 3;
    s.device_test_fraction = 0.25;
    fc_split *split;
    size_t n, n_test, total = 0;
    assert_ok(fc_split_labels(&s, &in, 0.2, 11, 11, 83, &split));
    memset(seen, 0, sizeof seen);
    const uint32_t *part = fc_split_public(split, &n);
    mark(part, n, seen);
    assert_int_equal(n, 1001); /* 1000.6 rounded */
    total += n;
    for (uint32_t k = 0; k < 83; k++) {
      part = fc_split_device(split, k, &n);
      mark(part, n, seen);
      part = fc_split_device_test(split, k, &n_test);
      mark(part, n_test, seen);
      assert_true(n + n_test >= 3 && n >= 1);
      assert_int_equal(n_test, (n + n_test) / 4);
      total += n + n_test;
    }
    assert_int_equal(total, 5003);
    part = fc_split_test(split, &n);
    mark(part, 97, seen);
    assert_int_equal(n, 97);
    for (size_t i = 0; i < 5100; i++) assert_int_equal(seen[i], 1);
    assert_true(fc_split_bytes(split) <= 4 * 5100 + 8 * 84 + 128);
    fc_split_destroy(&split);
    assert_null(split);
  }
}

static size_t size_of(const fc_split *s, uint32_t device) {
  size_t n;
  fc_split_device(s, device, &n);
  return n;
}

/* How many of a device's samples are of its commonest class, a mean over devices. */
static double concentration(const fc_split *s, uint32_t devices) {
  double sum = 0.0;
  for (uint32_t k = 0; k < devices; k++) {
    size_t n, most = 0, count[CLASSES] = {0};
    const uint32_t *own = fc_split_device(s, k, &n);
    for (size_t i = 0; i < n; i++)
      if (++count[label[own[i]]] > most) most = count[label[own[i]]];
    sum += n > 0 ? (double)most / (double)n : 0.0;
  }
  return sum / devices;
}

static void a_function_of_seed_and_labels(void **state) {
  (void)state;
  const char *name;
  for (size_t w = 0; (name = fc_split_name(w)) != NULL; w++) {
    fc_split_input in = make_input(2000, 0);
    fc_split_settings s = way(name);
    fc_split *a, *b, *c;
    assert_ok(fc_split_labels(&s, &in, 0.1, 1, 1, 20, &a));
    assert_ok(fc_split_labels(&s, &in, 0.1, 1, 1, 20, &b));
    assert_ok(fc_split_labels(&s, &in, 0.1, 2, 2, 20, &c));
    int differ = 0;
    for (uint32_t k = 0; k < 20; k++) {
      size_t n, m, o;
      const uint32_t *x = fc_split_device(a, k, &n), *y = fc_split_device(b, k, &m);
      const uint32_t *z = fc_split_device(c, k, &o);
      assert_int_equal(n, m);
      assert_memory_equal(x, y, n * sizeof *x);
      differ += n != o || memcmp(x, z, n * sizeof *x) != 0;
    }
    assert_true(differ >= 19);
    fc_split_destroy(&a);
    fc_split_destroy(&b);
    fc_split_destroy(&c);
  }
}

static void alpha_sets_how_mixed_a_device_is(void **state) {
  (void)state;
  static const double alpha[] = {0.01, 0.1, 0.5, 5.0, 1e5};
  double before = 1.1;
  for (int i = 0; i < 5; i++) {
    fc_split_input in = make_input(20000, 0);
    fc_split_settings s = way("dirichlet");
    s.alpha = alpha[i];
    fc_split *split;
    assert_ok(fc_split_labels(&s, &in, 0.0, 3, 3, 100, &split));
    for (uint32_t k = 0; k < 100; k++) assert_int_equal(size_of(split, k), 200);
    double now = concentration(split, 100);
    print_message("alpha %g: commonest class %.3f\n", alpha[i], now);
    assert_true(now < before);
    if (i == 0) assert_true(now > 0.85); /* nearly one class a device */
    if (i == 4) assert_true(now < 0.16); /* as iid: 0.1 and the spread of the largest of ten */
    before = now;
    fc_split_destroy(&split);
  }
}

/* The variance of a device's share of a class of share p is p(1-p)/(C alpha + 1) from its mix, and
 * p(1-p)/n from drawing n samples by it; here with unequal classes. That all samples are dealt in
 * the end (the mean is p exactly) takes a little off. */
static void mixes_have_the_dirichlet_variance(void **state) {
  (void)state;
  enum { DEVICES = 800, EACH = 100, N = DEVICES * EACH };
  for (size_t i = 0; i < N; i++) label[i] = i % 4 != 0; /* a quarter class 0 */
  fc_split_input in = {.label = label, .n = N, .classes = 2};
  fc_split_settings s = way("dirichlet");
  s.alpha = 2.0;
  fc_split *split;
  double mean = 0.0, square = 0.0, p = 0.25;
  assert_ok(fc_split_labels(&s, &in, 0.0, 9, 9, DEVICES, &split));
  for (uint32_t k = 0; k < DEVICES; k++) {
    size_t n, zero = 0;
    const uint32_t *own = fc_split_device(split, k, &n);
    for (size_t i = 0; i < n; i++) zero += label[own[i]] == 0;
    double share = (double)zero / (double)n;
    mean += share / DEVICES;
    square += share * share / DEVICES;
  }
  double variance = square - mean * mean;
  double expected = p * (1 - p) / (2 * s.alpha + 1) * (1 - 1.0 / EACH) + p * (1 - p) / EACH;
  print_message("variance of a share %.4f, expected %.4f\n", variance, expected);
  assert_true(fabs(variance / expected - 1.0) < 0.2);
  fc_split_destroy(&split);
}

static void shards_have_few_labels(void **state) {
  (void)state;
  fc_split_input in = make_input(20000, 0);
  fc_split_settings s = way("shards");
  fc_split *split;
  int far_apart = 0;
  assert_ok(fc_split_labels(&s, &in, 0.0, 3, 3, 100, &split));
  for (uint32_t k = 0; k < 100; k++) {
    size_t n;
    bool has[CLASSES] = {false};
    int classes = 0, lowest = CLASSES, highest = 0;
    const uint32_t *own = fc_split_device(split, k, &n);
    assert_true(n >= 199 && n <= 201);
    for (size_t i = 0; i < n; i++) {
      classes += !has[label[own[i]]];
      has[label[own[i]]] = true;
      if (label[own[i]] < lowest) lowest = label[own[i]];
      if (label[own[i]] > highest) highest = label[own[i]];
    }
    far_apart += highest - lowest >= 3; /* six of ten for two random shards */
    assert_true(classes <= 4);          /* two shards, each within a class or over one border */
  }
  assert_true(concentration(split, 100) > 0.45);
  assert_true(far_apart >= 40);
  fc_split_destroy(&split);
}

static void public_part_is_stratified(void **state) {
  (void)state;
  fc_split_input in = make_input(10000, 0);
  fc_split_settings s = way("iid");
  fc_split *split;
  size_t n, all[CLASSES] = {0}, picked[CLASSES] = {0};
  assert_ok(fc_split_labels(&s, &in, 0.3, 1, 1, 10, &split));
  const uint32_t *part = fc_split_public(split, &n);
  assert_int_equal(n, 3000);
  for (size_t i = 0; i < 10000; i++) all[label[i]]++;
  for (size_t i = 0; i < n; i++) picked[label[part[i]]]++;
  for (int c = 0; c < CLASSES; c++)
    assert_true(fabs((double)picked[c] - 0.3 * (double)all[c]) < 1.0);
  fc_split_destroy(&split);
}

static void public_part_follows_its_own_seed(void **state) {
  (void)state;
  fc_split_input in = make_input(1000, 0);
  fc_split_settings s = way("iid");
  fc_split *a, *b, *c;
  size_t n, m;
  assert_ok(fc_split_labels(&s, &in, 0.3, 1, 2, 10, &a));
  assert_ok(fc_split_labels(&s, &in, 0.3, 1, 3, 10, &b));
  assert_ok(fc_split_labels(&s, &in, 0.3, 2, 2, 10, &c));
  const uint32_t *x = fc_split_public(a, &n), *y = fc_split_public(b, &n);
  const uint32_t *z = fc_split_public(c, &n);
  assert_memory_equal(x, y, n * sizeof *x);
  assert_memory_not_equal(x, z, n * sizeof *x);
  x = fc_split_device(a, 0, &n);
  y = fc_split_device(b, 0, &m);
  assert_int_equal(n, m);
  assert_memory_not_equal(x, y, n * sizeof *x);
  fc_split_destroy(&a);
  fc_split_destroy(&b);
  fc_split_destroy(&c);
}

static void sizes_follow_their_alpha(void **state) {
  (void)state;
  static const double alpha[] = {0.1, 1.0, 1e4};
  double before = INFINITY;
  for (int i = 0; i < 3; i++) {
    fc_rng rng = fc_rng_open(1, FC_RNG_SPLIT, 0, 0);
    uint64_t size[200], sum = 0;
    double square = 0.0;
    assert_ok(fc_split_sizes(alpha[i], 5, 20000, &rng, 200, size));
    for (int k = 0; k < 200; k++) {
      assert_true(size[k] >= 5);
      sum += size[k];
      square += ((double)size[k] - 100.0) * ((double)size[k] - 100.0);
    }
    assert_int_equal(sum, 20000);
    assert_true(sqrt(square / 200) < before);
    before = sqrt(square / 200);
    /* Dirichlet: variance of a share m(1-m)/(200 alpha + 1), m = 1/200; alpha 0.1 is bent by the 5
     */
    double expected = 20000 * sqrt(1.0 / 200 * 199.0 / 200 / (200 * alpha[i] + 1.0));
    if (i > 0) assert_true(fabs(before / expected - 1.0) < 0.25);
  }
}

static void min_samples_come_from_the_largest(void **state) {
  (void)state;
  fc_rng rng = fc_rng_open(2, FC_RNG_SPLIT, 0, 0);
  uint64_t raised[50], plain[50], level = 0;
  assert_ok(fc_split_sizes(0.05, 0, 1000, &rng, 50, plain));
  rng = fc_rng_open(2, FC_RNG_SPLIT, 0, 0);
  assert_ok(fc_split_sizes(0.05, 12, 1000, &rng, 50, raised));
  for (int k = 0; k < 50; k++)
    if (raised[k] > level) level = raised[k];
  for (int k = 0; k < 50; k++) {
    if (plain[k] < 12)
      assert_int_equal(raised[k], 12);
    else if (plain[k] < level)
      assert_true(raised[k] == plain[k] || raised[k] + 1 == level);
    else
      assert_true(raised[k] == level || raised[k] + 1 == level);
  }
  /* the tightest fit: all equal */
  assert_ok(fc_split_sizes(0.05, 20, 1000, &rng, 50, raised));
  for (int k = 0; k < 50; k++) assert_int_equal(raised[k], 20);
}

static void a_hundred_thousand_devices(void **state) {
  (void)state;
  const char *name;
  for (size_t w = 0; (name = fc_split_name(w)) != NULL; w++) {
    fc_split_input in = make_input(120000, 0);
    fc_split_settings s = way(name);
    s.shards_per_device = 1;
    fc_split *split;
    double begin = fc_cpu_time_s();
    assert_ok(fc_split_labels(&s, &in, 0.1, 3, 3, 100000, &split));
    print_message("%s: %.2f s for 100000 devices\n", name, fc_cpu_time_s() - begin);
    size_t total = 0;
    for (uint32_t k = 0; k < 100000; k++) {
      assert_true(size_of(split, k) >= 1);
      total += size_of(split, k);
    }
    assert_int_equal(total, 108000);
    fc_split_destroy(&split);
  }
}

static void tells_what_cannot_be(void **state) {
  (void)state;
  fc_split *split;
  fc_split_input in = make_input(100, 0), unlabelled = {.n = 100};
  fc_split_settings s = way("dirichlet");
  assert_fails(fc_split_labels(&s, &unlabelled, 0.0, 1, 1, 10, &split), FC_ERR_USAGE,
               "data.split = dirichlet divides by labels, and this dataset has none; allowed are "
               "iid and sizes");
  assert_null(split);
  s.split = "shards";
  assert_int_equal(fc_split_labels(&s, &unlabelled, 0.0, 1, 1, 10, &split), FC_ERR_USAGE);
  s.min_samples = 4;
  assert_fails(fc_split_labels(&s, &in, 0.0, 1, 1, 30, &split), FC_ERR_USAGE,
               "30 devices with data.min_samples = 4 each need 120 samples, but only 100 are left "
               "for them");
  s.shards_per_device = 5;
  assert_fails(fc_split_labels(&s, &in, 0.0, 1, 1, 21, &split), FC_ERR_USAGE,
               "data.split shards: 100 samples in 105 shards leave a device 0 samples, but "
               "data.min_samples is 4; use fewer devices or a smaller data.shards_per_device");
  s = way("sizes");
  assert_ok(fc_split_labels(&s, &unlabelled, 0.0, 1, 1, 10, &split));
  fc_split_destroy(&split);
  s.split = "random";
  assert_fails(fc_split_labels(&s, &in, 0.0, 1, 1, 10, &split), FC_ERR_USAGE,
               "data.split = random: must be iid, dirichlet, sizes, both or shards");
  s = way("iid");
  assert_fails(fc_split_labels(&s, &in, 1.0, 1, 1, 10, &split), FC_ERR_USAGE,
               "data.public_fraction = 1: must be 0 or more and below 1");
  assert_fails(fc_split_labels(&s, &in, NAN, 1, 1, 10, &split), FC_ERR_USAGE,
               "data.public_fraction = nan: must be 0 or more and below 1");
}

static void one_device_and_devices_without_samples(void **state) {
  (void)state;
  fc_split_input in = make_input(7, 0);
  fc_split_settings s = way("both");
  fc_split *split;
  size_t n;
  s.min_samples = 0;
  s.device_test_fraction = 0.5;
  assert_ok(fc_split_labels(&s, &in, 0.0, 1, 1, 1, &split));
  fc_split_device(split, 0, &n);
  assert_int_equal(n, 4);
  fc_split_device_test(split, 0, &n);
  assert_int_equal(n, 3);
  fc_split_destroy(&split);
  assert_ok(fc_split_labels(&s, &in, 0.0, 1, 1, 50, &split));
  size_t total = 0, m;
  for (uint32_t k = 0; k < 50; k++) {
    fc_split_device_test(split, k, &m);
    total += size_of(split, k) + m;
  }
  assert_int_equal(total, 7);
  fc_split_destroy(&split);
}

static void a_dataset_is_split_by_its_labels(void **state) {
  (void)state;
  fc_dataset *ds;
  fc_data_settings data = settings_of("generated-topics", "");
  data.samples = 600;
  data.test_samples = 40;
  assert_ok(fc_dataset_open(&data, 1, &ds));
  fc_split_settings s = way("dirichlet");
  fc_split *a, *b;
  assert_ok(fc_split_create(&s, ds, 0.2, 4, 4, 12, &a));
  for (size_t i = 0; i < 600; i++) label[i] = fc_dataset_sample(ds, i).label;
  fc_split_input in = {.label = label, .n = 600, .test = 40, .classes = 10};
  assert_ok(fc_split_labels(&s, &in, 0.2, 4, 4, 12, &b));
  for (uint32_t k = 0; k < 12; k++) {
    size_t n, m;
    const uint32_t *x = fc_split_device(a, k, &n), *y = fc_split_device(b, k, &m);
    assert_int_equal(n, m);
    assert_int_equal(n, 40);
    assert_memory_equal(x, y, n * sizeof *x);
  }
  fc_split_destroy(&a);
  fc_split_destroy(&b);
  fc_dataset_destroy(&ds);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_sample_in_exactly_one_part),
      cmocka_unit_test(a_function_of_seed_and_labels),
      cmocka_unit_test(alpha_sets_how_mixed_a_device_is),
      cmocka_unit_test(mixes_have_the_dirichlet_variance),
      cmocka_unit_test(shards_have_few_labels),
      cmocka_unit_test(public_part_is_stratified),
      cmocka_unit_test(public_part_follows_its_own_seed),
      cmocka_unit_test(sizes_follow_their_alpha),
      cmocka_unit_test(min_samples_come_from_the_largest),
      cmocka_unit_test(a_hundred_thousand_devices),
      cmocka_unit_test(tells_what_cannot_be),
      cmocka_unit_test(one_device_and_devices_without_samples),
      cmocka_unit_test(a_dataset_is_split_by_its_labels),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
