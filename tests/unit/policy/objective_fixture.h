/* objective_fixture.h - what the tests of advantages and objectives share. */
#ifndef OBJECTIVE_FIXTURE_H
#define OBJECTIVE_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fedcell/fc_rng.h"
#include "objective.h"
#include <math.h>

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

/* Standard normal. */
static inline void random_numbers(uint64_t seed, int n, double *x) {
  fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 0, 0);
  for (int i = 0; i < n; i++) x[i] = fc_rng_normal(&rng);
}

#endif
