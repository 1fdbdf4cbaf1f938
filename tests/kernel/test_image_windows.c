/* Images for convolutions: unfold and fold, max-pooling; twins, the adjoint, finite differences,
 * NaN. */
#include "kernel_test.h"

/* n, H, W, C: without samples, images smaller than the window, one channel, odd numbers of them. */
static const int shapes[][4] = {{0, 4, 4, 3}, {1, 1, 1, 1},  {1, 2, 3, 2},    {3, 4, 2, 5},
                                {2, 5, 7, 1}, {1, 8, 6, 16}, {2, 14, 14, 33}, {1, 28, 28, 1}};
enum { WINDOW = FC_K_WINDOW * FC_K_WINDOW };

static int64_t elements(const int s[4]) {
  return (int64_t)s[0] * s[1] * s[2] * s[3];
}

static void unfold_matches_twin(void **state) {
  (void)state;
  for (int i = 0; i < LENGTH_OF(shapes); i++) {
    const int *s = shapes[i];
    const int64_t size = elements(s);
    const float *x = normals(size, 1, 1);
    float *y = normals(size * WINDOW, 1, 2), *y_ref = normals(size * WINDOW, 1, 3);
    fc_k_unfold(y, x, s[0], s[1], s[2], s[3]);
    fc_k_unfold_ref(y_ref, x, s[0], s[1], s[2], s[3]);
    assert_same_bits(y, y_ref, size * WINDOW);
    free_arrays();
  }
}

/* A 3 x 3 image by hand: the window around its middle shows all of it within a frame of zeros, that
 * around the first pixel begins two rows and two columns before it. */
static void unfold_by_hand(void **state) {
  (void)state;
  const float x[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  const float first[WINDOW] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
                               2, 3, 0, 0, 4, 5, 6, 0, 0, 7, 8, 9};
  const float middle[WINDOW] = {0, 0, 0, 0, 0, 0, 1, 2, 3, 0, 0, 4, 5,
                                6, 0, 0, 7, 8, 9, 0, 0, 0, 0, 0, 0};
  float y[9 * WINDOW];
  fc_k_unfold(y, x, 1, 3, 3, 1);
  assert_same_bits(y, first, WINDOW);
  assert_same_bits(y + 4 * WINDOW, middle, WINDOW);
}

static void fold_matches_twin(void **state) {
  (void)state;
  for (int i = 0; i < LENGTH_OF(shapes); i++) {
    const int *s = shapes[i];
    const int64_t size = elements(s);
    const float *dy = normals(size * WINDOW, 1, 1);
    float *dx = normals(size, 1, 2), *dx_ref = copy_of(dx, size);
    fc_k_fold(dx, dy, s[0], s[1], s[2], s[3]);
    fc_k_fold_ref(dx_ref, dy, s[0], s[1], s[2], s[3]);
    assert_close(dx, dx_ref, size, 1e-5, 1e-6);
    free_arrays();
  }
}

typedef struct {
  const int *shape;
  float *x, *y;
  uint8_t *at;
  const float *projection;
} values;

static double unfold_value(void *context) {
  values *v = context;
  const int *s = v->shape;
  fc_k_unfold_ref(v->y, v->x, s[0], s[1], s[2], s[3]);
  return project(v->y, v->projection, elements(s) * WINDOW);
}

static void fold_is_the_derivative_of_unfold(void **state) {
  (void)state;
  static const int shape[4] = {2, 4, 6, 3};
  const int64_t size = elements(shape);
  values v = {.shape = shape,
              .x = normals(size, 1, 1),
              .y = zeros(size * WINDOW),
              .projection = normals(size * WINDOW, 1, 2)};
  float *dx = zeros(size);
  fc_k_fold(dx, v.projection, shape[0], shape[1], shape[2], shape[3]);
  assert_gradient(unfold_value, &v, v.x, dx, size, 0.1f, 1e-5);
}

/* The pixel at (1,1) stands in all windows within its reach, and comes back from them alone. */
static void nan_passes_through_windows(void **state) {
  (void)state;
  float *x = normals(25, 1, 1), *y = zeros(25 * WINDOW), *dx = zeros(25);
  x[6] = NAN;
  fc_k_unfold(y, x, 1, 5, 5, 1);
  for (int p = 0; p < 25; p++) {
    int found = 0;
    for (int i = 0; i < WINDOW; i++) found += isnan(y[p * WINDOW + i]) ? 1 : 0;
    assert_int_equal(found, p / 5 <= 3 && p % 5 <= 3 ? 1 : 0);
  }
  fc_k_fold(dx, y, 1, 5, 5, 1);
  for (int p = 0; p < 25; p++) assert_true(isnan(dx[p]) ? p == 6 : p != 6);
}

/* ---- max-pooling ------------------------------------------------------------------------------
 */

static const int even_shapes[][4] = {{0, 2, 2, 1}, {1, 2, 2, 1},   {3, 4, 2, 5},
                                     {2, 6, 8, 3}, {1, 28, 28, 8}, {2, 14, 14, 33}};

static void maxpool_matches_twin(void **state) {
  (void)state;
  for (int i = 0; i < LENGTH_OF(even_shapes); i++) {
    const int *s = even_shapes[i];
    const int64_t size = elements(s), out = size / 4;
    float *x = normals(size, 1, 1), *y = zeros(out), *y_ref = zeros(out), *dx = normals(size, 1, 3);
    const float *dy = normals(out, 1, 2);
    float *dx_ref = normals(size, 1, 4);
    uint8_t *at = new_array(out, 1), *at_ref = new_array(out, 1);
    for (int64_t k = 0; k < size; k += 3) x[k] = 0.5f; /* equals */
    fc_k_maxpool_fwd(y, at, x, s[0], s[1], s[2], s[3]);
    fc_k_maxpool_fwd_ref(y_ref, at_ref, x, s[0], s[1], s[2], s[3]);
    assert_same_bits(y, y_ref, out);
    assert_memory_equal(at, at_ref, (size_t)out);
    fc_k_maxpool_bwd(dx, dy, at, s[0], s[1], s[2], s[3]);
    fc_k_maxpool_bwd_ref(dx_ref, dy, at, s[0], s[1], s[2], s[3]);
    assert_same_bits(dx, dx_ref, size);
    free_arrays();
  }
}

static double maxpool_value(void *context) {
  values *v = context;
  const int *s = v->shape;
  fc_k_maxpool_fwd_ref(v->y, v->at, v->x, s[0], s[1], s[2], s[3]);
  return project(v->y, v->projection, elements(s) / 4);
}

static void maxpool_backward_is_the_derivative(void **state) {
  (void)state;
  static const int shape[4] = {2, 4, 6, 3};
  const int64_t size = elements(shape);
  values v = {.shape = shape,
              .x = normals(size, 1, 1),
              .y = zeros(size / 4),
              .at = new_array(size / 4, 1),
              .projection = normals(size / 4, 1, 2)};
  float *dx = zeros(size), *y = zeros(size / 4);
  uint8_t *at = new_array(size / 4, 1);
  fc_k_maxpool_fwd(y, at, v.x, shape[0], shape[1], shape[2], shape[3]);
  fc_k_maxpool_bwd(dx, v.projection, at, shape[0], shape[1], shape[2], shape[3]);
  /* Far smaller than the distance of any two pixels here. */
  assert_gradient(maxpool_value, &v, v.x, dx, size, 1e-3f, 1e-3);
}

/* One pixel of 2 x 2 is NaN, in all of C channels. */
static void maxpool_takes_nan(void **state) {
  (void)state;
  enum { C = 9 }; /* vectors and a rest */
  for (int nan = 0; nan < 4; nan++) {
    float x[4 * C], y[C], dx[4 * C], dy[C];
    uint8_t at[C];
    for (int i = 0; i < 4 * C; i++) x[i] = i / C == nan ? NAN : (float)i;
    for (int c = 0; c < C; c++) dy[c] = NAN;
    fc_k_maxpool_fwd(y, at, x, 1, 2, 2, C);
    for (int c = 0; c < C; c++) assert_true(isnan(y[c]) && at[c] == nan);
    fc_k_maxpool_bwd(dx, dy, at, 1, 2, 2, C);
    for (int i = 0; i < 4 * C; i++) assert_true(isnan(dx[i]) ? i / C == nan : dx[i] == 0.0f);
  }
}

static void maxpool_takes_the_first_of_equals(void **state) {
  (void)state;
  const float x[8] = {-1, 5, 7, 5, -1, 7, -2, -3}; /* 4 x 2 of one channel */
  float y[2];
  uint8_t at[2];
  fc_k_maxpool_fwd(y, at, x, 1, 4, 2, 1);
  assert_true(y[0] == 7.0f && at[0] == 2 && y[1] == 7.0f && at[1] == 1);
  fc_k_maxpool_fwd(y, at, (const float[4]){3, 3, 3, 3}, 1, 2, 2, 1);
  assert_true(y[0] == 3.0f && at[0] == 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      KERNEL_TEST(unfold_matches_twin),
      KERNEL_TEST(unfold_by_hand),
      KERNEL_TEST(fold_matches_twin),
      KERNEL_TEST(fold_is_the_derivative_of_unfold),
      KERNEL_TEST(nan_passes_through_windows),
      KERNEL_TEST(maxpool_matches_twin),
      KERNEL_TEST(maxpool_backward_is_the_derivative),
      KERNEL_TEST(maxpool_takes_nan),
      KERNEL_TEST(maxpool_takes_the_first_of_equals),
  };
  return cmocka_run_group_tests_name("image_windows", tests, NULL, NULL);
}
