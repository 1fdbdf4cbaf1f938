/* federation_fixture.h - a small federation from a few lines of YAML, for the tests of this room
 * and for the MPI tests: 12 devices, a tiny random encoder, a second a run at most. */
#ifndef FEDERATION_FIXTURE_H
#define FEDERATION_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../../src/federation/federation.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char small_yaml[] =
    "experiment: small\n"
    "seed: 5\n"
    "model: {family: bert, base: random, layers: 1, width: 16, heads: 2, ffn: 24}\n"
    "adapter: {rank: 4, alpha: 8, dropout: 0.1, targets: [query, value]}\n"
    "data: {dataset: generated-sentiment, samples: 300, test_samples: 50, max_length: 24}\n"
    "population: {devices: 12, compute_flops: {uniform: [0.5e12, 2.0e12]}, tx_power_w: 0.2}\n"
    "cell: {bandwidth_hz: 20e6, fading: rayleigh}\n"
    "federation: {method: fedlora, rounds: 3, participants: 5, "
    "local: {iterations: 2, batch: 4, learning_rate: 1.0e-2}}\n"
    "checkpoint: {every_rounds: 2}\n";

/* Everything succeeded or the test fails with the message. */
#define OK(call)                                                                                   \
  do {                                                                                             \
    fc_err e_ = (call);                                                                            \
    if (e_ != FC_ERR_OK) fail_msg("%s: %s: %s", #call, fc_err_text(e_), fc_err_message());         \
  } while (0)

/* It failed with this code and exactly this message. */
#define FAILS(call, id, message)                                                                   \
  do {                                                                                             \
    assert_int_equal((call), FC_ERR_##id);                                                         \
    assert_string_equal(fc_err_message(), (message));                                              \
  } while (0)

/* NaN fails. */
#define CLOSE(value, expected, tolerance)                                                          \
  do {                                                                                             \
    double value_ = (value), expected_ = (expected), tolerance_ = (tolerance);                     \
    if (!(fabs(value_ - expected_) <= tolerance_))                                                 \
      fail_msg(#value " is %.17g, expected %.17g within %.3g", value_, expected_, tolerance_);     \
  } while (0)
#define CLOSE_RELATIVE(value, expected, tolerance)                                                 \
  CLOSE(value, expected, (tolerance)*fabs((double)(expected)))

/* The small configuration with `sets` ("key=value", NULL at the end) laid over. */
static inline fc_config *small_config(const char *const *sets) {
  size_t n = 0;
  const fc_option_table *tables = fc_federation_tables(&n);
  fc_config *cfg = NULL;
  OK(fc_config_create(tables, n, &cfg));
  OK(fc_config_load_text(cfg, "small.yaml", small_yaml, strlen(small_yaml), NULL));
  for (size_t i = 0; sets && sets[i]; i++) fc_config_set(cfg, sets[i]);
  OK(fc_config_finish(cfg));
  return cfg;
}
#define SETS(...) ((const char *const[]){__VA_ARGS__, NULL})

typedef struct {
  fc_config *cfg;
  fc_federation *fed;
} fixture;

static inline fixture fixture_make(const fc_comm *c, const char *const *sets) {
  fixture f = {.cfg = small_config(sets)};
  OK(fc_federation_create(c, f.cfg, &f.fed));
  return f;
}

static inline void fixture_drop(fixture *f) {
  fc_federation_destroy(&f->fed);
  fc_config_destroy(&f->cfg);
}

static inline void drop_round(fc_round *round) {
  fc_free(round->all);
  fc_free(round->theta);
  *round = (fc_round){0};
}

/* Random numbers of about the size of trained weights. */
static inline void random_floats(uint64_t seed, size_t n, float *x) {
  fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 0, 0);
  for (size_t i = 0; i < n; i++) x[i] = (float)(0.3 * fc_rng_normal(&rng));
}

static inline void *new_memory(size_t count, size_t size) {
  void *p = NULL;
  OK(fc_alloc(count, size, &p));
  return p;
}

#endif
