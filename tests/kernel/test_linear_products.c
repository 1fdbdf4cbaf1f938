/* Linear layers and the LoRA path: twins on odd shapes, finite differences, NaN. */
#include "kernel_test.h"

static const int row_counts[] = {0, 1, 2, 3, 17, 33};
static const int widths[] = {1, 5, 16, 63, 64, 100};
static const int ranks[] = {1, 3, 8, 16, 33};

/* Rounding of a sum of K products of standard normals. */
static double tolerance(int64_t K) {
  return 2e-6 * sqrt((double)K + 1.0);
}

/* Calls body for all shapes; rows lie `pad` apart from each other. */
typedef void (*shape_body)(int64_t N, int I, int O, int pad);
static void for_all_shapes(shape_body body) {
  for (int n = 0; n < LENGTH_OF(row_counts); n++)
    for (int i = 0; i < LENGTH_OF(widths); i++)
      for (int o = 0; o < LENGTH_OF(widths); o++) {
        body(row_counts[n], widths[i], widths[o], (n + i + o) % 3);
        free_arrays();
      }
}

static void linear_fwd_at(int64_t N, int I, int O, int pad) {
  const int ldx = I + pad, ldw = I + 2 * pad, ldy = O + pad;
  const float *x = normals(N * ldx, 1, 1), *W = normals((int64_t)O * ldw, 1, 2);
  const float *bias = normals(O, 1, 3), *y0 = normals(N * ldy, 1, 4);
  for (int variant = 0; variant < 4; variant++) {
    const float *b = variant & 1 ? bias : NULL;
    float *y = copy_of(y0, N * ldy), *expected = copy_of(y0, N * ldy);
    fc_k_linear_fwd(y, ldy, x, ldx, W, ldw, b, N, I, O, variant & 2);
    fc_k_linear_fwd_ref(expected, ldy, x, ldx, W, ldw, b, N, I, O, variant & 2);
    assert_close(y, expected, N * ldy, tolerance(I), 1e-6);
  }
}

static void linear_bwd_input_at(int64_t N, int I, int O, int pad) {
  const int lddx = I + pad, ldw = I + 2 * pad, lddy = O + pad;
  const float *dy = normals(N * lddy, 1, 1), *W = normals((int64_t)O * ldw, 1, 2);
  const float *dx0 = normals(N * lddx, 1, 3);
  for (int accumulate = 0; accumulate < 2; accumulate++) {
    float *dx = copy_of(dx0, N * lddx), *expected = copy_of(dx0, N * lddx);
    fc_k_linear_bwd_input(dx, lddx, dy, lddy, W, ldw, N, I, O, accumulate);
    fc_k_linear_bwd_input_ref(expected, lddx, dy, lddy, W, ldw, N, I, O, accumulate);
    assert_close(dx, expected, N * lddx, tolerance(O), 1e-6);
  }
}

static void linear_bwd_weight_at(int64_t N, int I, int O, int pad) {
  const int lddw = I + pad, lddy = O + pad, ldx = I + 2 * pad;
  const float *dy = normals(N * lddy, 1, 1), *x = normals(N * ldx, 1, 2);
  float *dW = normals((int64_t)O * lddw, 1, 3), *dbias = normals(O, 1, 4);
  float *dW_ref = copy_of(dW, (int64_t)O * lddw), *dbias_ref = copy_of(dbias, O);
  fc_k_linear_bwd_weight(dW, lddw, NULL, dy, lddy, x, ldx, N, I, O);
  fc_k_linear_bwd_weight(NULL, lddw, dbias, dy, lddy, x, ldx, N, I, O);
  fc_k_linear_bwd_weight(dW, lddw, dbias, dy, lddy, x, ldx, N, I, O);
  for (int twice = 0; twice < 2; twice++)
    fc_k_linear_bwd_weight_ref(dW_ref, lddw, dbias_ref, dy, lddy, x, ldx, N, I, O);
  assert_close(dW, dW_ref, (int64_t)O * lddw, 2 * tolerance(N), 1e-6);
  assert_close(dbias, dbias_ref, O, 2 * tolerance(N), 1e-6);
}

static void linear_matches_twin(void **state) {
  (void)state;
  for_all_shapes(linear_fwd_at);
  for_all_shapes(linear_bwd_input_at);
  for_all_shapes(linear_bwd_weight_at);
}

/* Long sums, wide outputs and many rows cross every block border of the products. */
static void linear_matches_twin_across_blocks(void **state) {
  (void)state;
  static const int shapes[][3] = {{70, 1030, 70}, {700, 40, 33}, {5, 520, 300}, {257, 65, 530}};
  for (int i = 0; i < LENGTH_OF(shapes); i++) {
    linear_fwd_at(shapes[i][0], shapes[i][1], shapes[i][2], 1);
    free_arrays();
    linear_bwd_input_at(shapes[i][0], shapes[i][1], shapes[i][2], 1);
    free_arrays();
    linear_bwd_weight_at(shapes[i][0], shapes[i][1], shapes[i][2], 1);
    free_arrays();
  }
}

static void lora_at(int64_t N, int I, int O, int pad) {
  const int ld = O + pad, lda = I + pad;
  const float s = 0.7f;
  for (int k = 0; k < LENGTH_OF(ranks); k++) {
    const int R = ranks[k];
    const float *x = normals(N * I, 1, 1), *A = normals((int64_t)R * lda, 0.3, 2);
    const float *B = normals((int64_t)O * R, 0.3, 3), *dy = normals(N * ld, 1, 4);
    float *y = normals(N * ld, 1, 5), *y_ref = copy_of(y, N * ld);
    float *h = zeros(N * R), *h_ref = zeros(N * R);
    fc_k_lora_fwd(y, ld, h, x, A, lda, B, s, N, I, O, R);
    fc_k_lora_fwd_ref(y_ref, ld, h_ref, x, A, lda, B, s, N, I, O, R);
    assert_close(h, h_ref, N * R, tolerance(I), 1e-6);
    assert_close(y, y_ref, N * ld, tolerance((int64_t)I * R), 1e-6);

    float *dx = normals(N * I, 1, 6), *dx_ref = copy_of(dx, N * I);
    float *dA = normals((int64_t)R * lda, 1, 7), *dA_ref = copy_of(dA, (int64_t)R * lda);
    float *dB = normals((int64_t)O * R, 1, 8), *dB_ref = copy_of(dB, (int64_t)O * R);
    float *dh = zeros(N * R);
    fc_k_lora_bwd(dx, dA, dB, dh, dy, ld, x, h_ref, A, lda, B, s, N, I, O, R);
    fc_k_lora_bwd(NULL, dA, dB, dh, dy, ld, x, h_ref, A, lda, B, s, N, I, O, R);
    fc_k_lora_bwd_ref(dx_ref, dA_ref, dB_ref, dh, dy, ld, x, h_ref, A, lda, B, s, N, I, O, R);
    fc_k_lora_bwd_ref(NULL, dA_ref, dB_ref, dh, dy, ld, x, h_ref, A, lda, B, s, N, I, O, R);
    assert_close(dx, dx_ref, N * I, tolerance((int64_t)O * R), 1e-6);
    assert_close(dA, dA_ref, (int64_t)R * lda, 2 * tolerance(N * O), 1e-6);
    assert_close(dB, dB_ref, (int64_t)O * R, 2 * tolerance(N * I), 1e-6);
    free_arrays();
  }
}

static void lora_matches_twin(void **state) {
  (void)state;
  for_all_shapes(lora_at);
}

/* ---- finite differences ---------------------------------------------------------------------- */

typedef struct {
  float *x, *W, *bias, *A, *B, *projection, *y, *h;
  int64_t N;
  int I, O, R;
} layer;

static layer new_layer(void) {
  layer l = {.N = 5, .I = 7, .O = 6, .R = 3};
  l.x = normals(l.N * l.I, 1, 1);
  l.W = normals((int64_t)l.O * l.I, 1, 2);
  l.bias = normals(l.O, 1, 3);
  l.A = normals((int64_t)l.R * l.I, 1, 4);
  l.B = normals((int64_t)l.O * l.R, 1, 5);
  l.projection = normals(l.N * l.O, 1, 6);
  l.y = zeros(l.N * l.O);
  l.h = zeros(l.N * l.R);
  return l;
}

static double linear_value(void *context) {
  layer *l = context;
  fc_k_linear_fwd_ref(l->y, l->O, l->x, l->I, l->W, l->I, l->bias, l->N, l->I, l->O, false);
  return project(l->y, l->projection, l->N * l->O);
}

static void linear_backward_is_the_derivative(void **state) {
  (void)state;
  layer l = new_layer();
  float *dx = zeros(l.N * l.I), *dW = zeros((int64_t)l.O * l.I), *dbias = zeros(l.O);
  fc_k_linear_bwd_input(dx, l.I, l.projection, l.O, l.W, l.I, l.N, l.I, l.O, false);
  fc_k_linear_bwd_weight(dW, l.I, dbias, l.projection, l.O, l.x, l.I, l.N, l.I, l.O);
  assert_gradient(linear_value, &l, l.x, dx, l.N * l.I, 0.1f, 1e-4);
  assert_gradient(linear_value, &l, l.W, dW, l.O * l.I, 0.1f, 1e-4);
  assert_gradient(linear_value, &l, l.bias, dbias, l.O, 0.1f, 1e-4);
}

static double lora_value(void *context) {
  layer *l = context;
  memset(l->y, 0, (size_t)(l->N * l->O) * sizeof *l->y);
  fc_k_lora_fwd_ref(l->y, l->O, l->h, l->x, l->A, l->I, l->B, 1.5f, l->N, l->I, l->O, l->R);
  return project(l->y, l->projection, l->N * l->O);
}

static void lora_backward_is_the_derivative(void **state) {
  (void)state;
  layer l = new_layer();
  float *dx = zeros(l.N * l.I), *dA = zeros((int64_t)l.R * l.I), *dB = zeros((int64_t)l.O * l.R);
  float *dh = zeros(l.N * l.R);
  lora_value(&l); /* fills h */
  fc_k_lora_bwd(dx, dA, dB, dh, l.projection, l.O, l.x, l.h, l.A, l.I, l.B, 1.5f, l.N, l.I, l.O,
                l.R);
  assert_gradient(lora_value, &l, l.x, dx, l.N * l.I, 0.1f, 1e-4);
  assert_gradient(lora_value, &l, l.A, dA, l.R * l.I, 0.1f, 1e-4);
  assert_gradient(lora_value, &l, l.B, dB, l.O * l.R, 0.1f, 1e-4);
}

/* ---- NaN --------------------------------------------------------------------------------------
 */

/* One NaN in row 2 of the input, or in one weight, reaches every output that depends on it and no
 * other. */
static void nan_reaches_dependent_outputs(void **state) {
  (void)state;
  enum { N = 19, I = 21, O = 34 };
  float *x = normals(N * I, 1, 1), *W = normals(O * I, 1, 2), *y = zeros(N * O);
  x[2 * I + 20] = NAN;
  fc_k_linear_fwd(y, O, x, I, W, I, NULL, N, I, O, false);
  for (int n = 0; n < N; n++)
    for (int o = 0; o < O; o++) assert_int_equal(isnan(y[n * O + o]) != 0, n == 2);
  float *dW = zeros(O * I);
  fc_k_linear_bwd_weight(dW, I, NULL, y, O, W, I, N, I, O);
  for (int i = 0; i < O * I; i++) assert_true(isnan(dW[i]));
  x[2 * I + 20] = 0;
  W[33 * I] = NAN;
  fc_k_linear_fwd(y, O, x, I, W, I, NULL, N, I, O, false);
  for (int n = 0; n < N; n++)
    for (int o = 0; o < O; o++) assert_int_equal(isnan(y[n * O + o]) != 0, o == 33);
}

/* An output that is not accumulated into may hold anything before. */
static void overwriting_ignores_old_content(void **state) {
  (void)state;
  enum { N = 9, I = 5, O = 33 };
  float *x = normals(N * I, 1, 1), *W = normals(O * I, 1, 2), *y = zeros(N * O);
  for (int i = 0; i < N * O; i++) y[i] = NAN;
  fc_k_linear_fwd(y, O, x, I, W, I, NULL, N, I, O, false);
  assert_int_equal(fc_k_first_not_finite(y, N * O), N * O);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      KERNEL_TEST(linear_matches_twin),
      KERNEL_TEST(linear_matches_twin_across_blocks),
      KERNEL_TEST(lora_matches_twin),
      KERNEL_TEST(linear_backward_is_the_derivative),
      KERNEL_TEST(lora_backward_is_the_derivative),
      KERNEL_TEST(nan_reaches_dependent_outputs),
      KERNEL_TEST(overwriting_ignores_old_content),
  };
  return cmocka_run_group_tests_name("linear_products", tests, NULL, NULL);
}
