/* kernel_test.h - what the kernel tests share: random arrays, comparison in which NaN fails, and
 * finite differences of a scalar function of one array. */
#ifndef FC_KERNEL_TEST_H
#define FC_KERNEL_TEST_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fedcell/fc_kernel.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { FC_TEST_ARRAYS = 256 };
static void *test_arrays[FC_TEST_ARRAYS];
static int test_array_count;

/* Zeroed memory that lives until free_arrays(). An exact malloc, so that ASan sees overruns. */
static inline void *new_array(int64_t n, size_t size) {
  assert_in_range(test_array_count, 0, FC_TEST_ARRAYS - 1);
  void *p = calloc(n > 0 ? (size_t)n : 1, size);
  assert_non_null(p);
  test_arrays[test_array_count++] = p;
  return p;
}

static inline void free_arrays(void) {
  while (test_array_count > 0) free(test_arrays[--test_array_count]);
}

static inline int free_arrays_teardown(void **state) {
  (void)state;
  free_arrays();
  return 0;
}

static inline float *zeros(int64_t n) {
  return new_array(n, sizeof(float));
}

/* Standard normal numbers times `scale`; `seed` picks another set. */
static inline float *normals(int64_t n, double scale, uint64_t seed) {
  fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 0, 0);
  float *x = zeros(n);
  for (int64_t i = 0; i < n; i++) x[i] = (float)(scale * fc_rng_normal(&rng));
  return x;
}

static inline float *copy_of(const float *x, int64_t n) {
  float *y = zeros(n);
  memcpy(y, x, (size_t)n * sizeof *x);
  return y;
}

static inline int32_t *random_ints(int64_t n, uint64_t below, uint64_t seed) {
  fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 1, 0);
  int32_t *x = new_array(n, sizeof *x);
  for (int64_t i = 0; i < n; i++) x[i] = (int32_t)fc_rng_below(&rng, below);
  return x;
}

/* |a - b| <= absolute + relative |b| for all elements; NaN on either side fails. */
#define assert_close(a, b, n, absolute, relative)                                                  \
  check_close((a), (b), (n), (absolute), (relative), #a, __FILE__, __LINE__)
static inline void check_close(const float *a, const float *b, int64_t n, double absolute,
                               double relative, const char *what, const char *file, int line) {
  for (int64_t i = 0; i < n; i++)
    if (!(fabs((double)a[i] - b[i]) <= absolute + relative * fabs((double)b[i]))) {
      print_error("%s[%lld] is %.9g, expected %.9g (difference %.3g)\n", what, (long long)i, a[i],
                  b[i], (double)a[i] - b[i]);
      _fail(file, line);
    }
}

/* Equal bit by bit. */
static inline void check_bits(const float *a, const float *b, int64_t n, const char *what,
                              const char *file, int line) {
  for (int64_t i = 0; i < n; i++)
    if (memcmp(a + i, b + i, sizeof *a) != 0) {
      print_error("%s[%lld] is %.9g, expected the very bits of %.9g\n", what, (long long)i, a[i],
                  b[i]);
      _fail(file, line);
    }
}
#define assert_same_bits(a, b, n) check_bits((a), (b), (n), #a, __FILE__, __LINE__)

/* sum of y * projection: turns an output array into one number. */
static inline double project(const float *y, const float *projection, int64_t n) {
  double sum = 0.0;
  for (int64_t i = 0; i < n; i++) sum += (double)y[i] * projection[i];
  return sum;
}

/* Holds gradient[i] against (f(x + h e_i) - f(x - h e_i))/2h for all i (at most ~200, spread).
 * f evaluates the reference twin on the current content of x. */
typedef double (*scalar_function)(void *context);
#define assert_gradient(f, context, x, gradient, n, h, tolerance)                                  \
  check_gradient((f), (context), (x), (gradient), (n), (h), (tolerance), #gradient, __FILE__,      \
                 __LINE__)
static inline void check_gradient(scalar_function f, void *context, float *x, const float *gradient,
                                  int64_t n, float h, double tolerance, const char *what,
                                  const char *file, int line) {
  const int64_t stride = n > 200 ? n / 200 + 1 : 1;
  for (int64_t i = 0; i < n; i += stride) {
    const float kept = x[i], up = kept + h, down = kept - h;
    x[i] = up;
    const double f_up = f(context);
    x[i] = down;
    const double f_down = f(context);
    x[i] = kept;
    const double expected = (f_up - f_down) / ((double)up - down);
    if (!(fabs(gradient[i] - expected) <= tolerance * (1.0 + fabs(expected)))) {
      print_error("%s[%lld] is %.6g, finite difference %.6g\n", what, (long long)i, gradient[i],
                  expected);
      _fail(file, line);
    }
  }
}

#define LENGTH_OF(a)   ((int)(sizeof(a) / sizeof *(a)))
#define KERNEL_TEST(f) cmocka_unit_test_teardown(f, free_arrays_teardown)

#endif
