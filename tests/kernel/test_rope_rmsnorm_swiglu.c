/* Root-mean-square norm, rotary positions, gated activation: twins, finite
 * differences, NaN. */
#include "kernel_test.h"

static const int row_counts[] = {0, 1, 2, 17};
static const int widths[] = {1, 5, 16, 63, 100, 768};

/* ---- root-mean-square norm ------------------------------------------------------------------- */

static void rmsnorm_at(int64_t N, int C) {
  float *x = normals(N * C, 2, 1), *gamma = normals(C, 1, 2);
  float *y = copy_of(x, N * C), *y_ref = zeros(N * C), *rrms = zeros(N), *rrms_ref = zeros(N);
  fc_k_rmsnorm_fwd(y, rrms, y, gamma, 1e-2f, N, C); /* in place */
  fc_k_rmsnorm_fwd_ref(y_ref, rrms_ref, x, gamma, 1e-2f, N, C);
  assert_close(rrms, rrms_ref, N, 0, 3e-6);
  assert_close(y, y_ref, N * C, 1e-5, 1e-5);
  const float *dy = normals(N * C, 1, 4);
  float *dx = normals(N * C, 1, 5), *dx_ref = copy_of(dx, N * C);
  float *dgamma = normals(C, 1, 6), *dgamma_ref = copy_of(dgamma, C);
  fc_k_rmsnorm_bwd(dx, dgamma, dy, x, gamma, rrms_ref, N, C);
  fc_k_rmsnorm_bwd(dx, NULL, dy, x, gamma, rrms_ref, N, C);
  fc_k_rmsnorm_bwd_ref(dx_ref, dgamma_ref, dy, x, gamma, rrms_ref, N, C);
  fc_k_rmsnorm_bwd_ref(dx_ref, NULL, dy, x, gamma, rrms_ref, N, C);
  assert_close(dx, dx_ref, N * C, C == 1 ? 2e-4 : 1e-5, 1e-5); /* C = 1: 1/rms is up to 10 */
  assert_close(dgamma, dgamma_ref, C, 2e-5, 1e-5);
}

static void rmsnorm_matches_twin(void **state) {
  (void)state;
  for (int n = 0; n < LENGTH_OF(row_counts); n++)
    for (int c = 0; c < LENGTH_OF(widths); c++) {
      rmsnorm_at(row_counts[n], widths[c]);
      free_arrays();
    }
}

enum { ROWS = 4, WIDTH = 10 };
typedef struct {
  float *x, *gamma, *y, *rrms, *projection;
} values;

static double norm_value(void *context) {
  values *v = context;
  fc_k_rmsnorm_fwd_ref(v->y, v->rrms, v->x, v->gamma, 1e-5f, ROWS, WIDTH);
  return project(v->y, v->projection, ROWS * WIDTH);
}

static void rmsnorm_backward_is_the_derivative(void **state) {
  (void)state;
  values v = {.x = normals(ROWS * WIDTH, 1, 1),
              .gamma = normals(WIDTH, 1, 2),
              .y = zeros(ROWS * WIDTH),
              .rrms = zeros(ROWS),
              .projection = normals(ROWS * WIDTH, 1, 4)};
  float *dx = zeros(ROWS * WIDTH), *dgamma = zeros(WIDTH);
  norm_value(&v); /* fills rrms */
  fc_k_rmsnorm_bwd(dx, dgamma, v.projection, v.x, v.gamma, v.rrms, ROWS, WIDTH);
  assert_gradient(norm_value, &v, v.x, dx, ROWS * WIDTH, 0.01f, 1e-3);
  assert_gradient(norm_value, &v, v.gamma, dgamma, WIDTH, 0.1f, 1e-4);
}

static void rmsnorm_row_stands_alone(void **state) {
  (void)state;
  enum { N = 9, C = 100 };
  float *x = normals(N * C, 1, 1), *gamma = normals(C, 1, 2), *y = zeros(N * C), *one = zeros(C);
  float rrms[N];
  x[3 * C + 99] = NAN;
  fc_k_rmsnorm_fwd(y, rrms, x, gamma, 1e-5f, N, C);
  for (int c = 0; c < C; c++) assert_true(isnan(y[3 * C + c]));
  for (int n = 4; n < N; n++) {
    fc_k_rmsnorm_fwd(one, rrms, x + n * C, gamma, 1e-5f, 1, C);
    assert_same_bits(one, y + n * C, C);
  }
}

/* ---- rotary positions ------------------------------------------------------------------------ */

enum { SEQUENCES = 3, LAST = 12, HEADS = 3 };
static const int64_t starts[SEQUENCES + 1] = {0, 4, 4, LAST};

static float *angles(int T, int width) {
  float *table = zeros((int64_t)T * width);
  for (int t = 0; t < T; t++)
    for (int j = 0; j < width / 2; j++) {
      table[t * width + j] = (float)cos(t / (1.0 + j));
      table[t * width + width / 2 + j] = (float)sin(t / (1.0 + j));
    }
  return table;
}

static void rope_at(int width) {
  const int ld = (HEADS + 1) * width + 3; /* one head and a gap stay as they are */
  const float *table = angles(LAST, width);
  float *x = normals(LAST * ld, 1, 1), *before = copy_of(x, LAST * ld),
        *ref = copy_of(x, LAST * ld);
  fc_k_rope_fwd(x, ld, table, starts, SEQUENCES, HEADS, width);
  fc_k_rope_fwd_ref(ref, ld, table, starts, SEQUENCES, HEADS, width);
  assert_close(x, ref, LAST * ld, 1e-6, 1e-6);
  assert_same_bits(x + HEADS * width, before + HEADS * width, width + 3);
  assert_true(memcmp(x + ld, before + ld, sizeof(float) * (size_t)width) != 0);
  /* The rotation is orthogonal: its gradient, the transpose, undoes it. */
  fc_k_rope_bwd(x, ld, table, starts, SEQUENCES, HEADS, width);
  fc_k_rope_bwd_ref(ref, ld, table, starts, SEQUENCES, HEADS, width);
  assert_close(x, before, LAST * ld, 1e-6, 1e-6);
  assert_close(ref, before, LAST * ld, 1e-6, 1e-6);
}

static void rope_matches_twin_and_turns_back(void **state) {
  (void)state;
  static const int head_widths[] = {2, 6, 8, 34, 64};
  for (int w = 0; w < LENGTH_OF(head_widths); w++) {
    rope_at(head_widths[w]);
    free_arrays();
  }
}

/* A table that begins later gives what the sequence's later rows got. */
static void rope_from_an_offset(void **state) {
  (void)state;
  enum { W = 6 };
  const float *table = angles(LAST, W);
  static const int64_t one[2] = {0, 1}, all[2] = {0, LAST};
  float *x = normals(LAST * W, 1, 1), *row = copy_of(x + 7 * W, W);
  fc_k_rope_fwd(x, W, table, all, 1, 1, W);
  fc_k_rope_fwd(row, W, table + 7 * W, one, 1, 1, W);
  assert_same_bits(row, x + 7 * W, W);
}

typedef struct {
  float *x, *y, *projection;
  const float *table;
} rotation;

static double rope_value(void *context) {
  rotation *r = context;
  memcpy(r->y, r->x, sizeof(float) * LAST * 8);
  fc_k_rope_fwd_ref(r->y, 8, r->table, starts, SEQUENCES, 2, 4);
  return project(r->y, r->projection, LAST * 8);
}

static void rope_backward_is_the_derivative(void **state) {
  (void)state;
  rotation r = {.x = normals(LAST * 8, 1, 1),
                .y = zeros(LAST * 8),
                .projection = normals(LAST * 8, 1, 2),
                .table = angles(LAST, 4)};
  float *dx = copy_of(r.projection, LAST * 8);
  fc_k_rope_bwd(dx, 8, r.table, starts, SEQUENCES, 2, 4);
  assert_gradient(rope_value, &r, r.x, dx, LAST * 8, 0.1f, 1e-4);
}

/* ---- gated activation ------------------------------------------------------------------------ */

static void swiglu_matches_twin(void **state) {
  (void)state;
  for (int n = 0; n < LENGTH_OF(row_counts); n++)
    for (int c = 0; c < LENGTH_OF(widths); c++) {
      const int64_t N = row_counts[n];
      const int F = widths[c];
      const float *x = normals(N * 2 * F, 4, 1), *dy = normals(N * F, 1, 2);
      float *y = zeros(N * F), *y_ref = zeros(N * F);
      float *dx = zeros(N * 2 * F), *dx_ref = zeros(N * 2 * F);
      fc_k_swiglu_fwd(y, x, N, F);
      fc_k_swiglu_fwd_ref(y_ref, x, N, F);
      assert_close(y, y_ref, N * F, 1e-6, 1e-6);
      fc_k_swiglu_bwd(dx, dy, x, N, F);
      fc_k_swiglu_bwd_ref(dx_ref, dy, x, N, F);
      assert_close(dx, dx_ref, N * 2 * F, 2e-6, 2e-6);
      free_arrays();
    }
}

static double swiglu_value(void *context) {
  values *v = context;
  fc_k_swiglu_fwd_ref(v->y, v->x, ROWS, WIDTH);
  return project(v->y, v->projection, ROWS * WIDTH);
}

static void swiglu_backward_is_the_derivative(void **state) {
  (void)state;
  values v = {.x = normals(ROWS * 2 * WIDTH, 2, 1),
              .y = zeros(ROWS * WIDTH),
              .projection = normals(ROWS * WIDTH, 1, 2)};
  float *dx = zeros(ROWS * 2 * WIDTH);
  fc_k_swiglu_bwd(dx, v.projection, v.x, ROWS, WIDTH);
  assert_gradient(swiglu_value, &v, v.x, dx, ROWS * 2 * WIDTH, 0.01f, 1e-3);
}

static void swiglu_far_from_zero(void **state) {
  (void)state;
  const float x[8] = {-200.0f, 200.0f, NAN, 1.0f, 2.0f, 3.0f, 1.0f, NAN};
  const float dy[4] = {1.0f, 1.0f, 1.0f, 1.0f};
  float y[4], dx[8];
  fc_k_swiglu_fwd(y, x, 1, 4);
  fc_k_swiglu_bwd(dx, dy, x, 1, 4);
  assert_true(y[0] == 0.0f && y[1] == 600.0f && isnan(y[2]) && isnan(y[3]));
  assert_true(dx[0] == 0.0f && dx[1] == 3.0f && isnan(dx[2]) && isnan(dx[3]));
  assert_true(dx[4] == 0.0f && dx[5] == 200.0f && isnan(dx[6]));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      KERNEL_TEST(rmsnorm_matches_twin),     KERNEL_TEST(rmsnorm_backward_is_the_derivative),
      KERNEL_TEST(rmsnorm_row_stands_alone), KERNEL_TEST(rope_matches_twin_and_turns_back),
      KERNEL_TEST(rope_from_an_offset),      KERNEL_TEST(rope_backward_is_the_derivative),
      KERNEL_TEST(swiglu_matches_twin),      KERNEL_TEST(swiglu_backward_is_the_derivative),
      KERNEL_TEST(swiglu_far_from_zero),
  };
  return cmocka_run_group_tests_name("rope_rmsnorm_swiglu", tests, NULL, NULL);
}
