/* The divergence from a teacher, alone and fused with both LM heads: twins, finite differences,
 * equal inputs, extremes. */
#include "kernel_test.h"

static const int row_counts[] = {0, 1, 2, 17, 33};
static const int widths[] = {1, 2, 5, 16, 63, 64, 100, 5000};

/* ---- two matrices of logits -------------------------------------------------------------------
 */

static void kl_at(int64_t N, int V) {
  const float *z = normals(N * V, 3, 1), *teacher = normals(N * V, 2, 2);
  float *loss = zeros(N), *loss_ref = zeros(N), *d = copy_of(z, N * V), *d_ref = zeros(N * V);
  fc_k_kl_ref(loss_ref, d_ref, z, teacher, 0.25f, N, V);
  fc_k_kl(loss, NULL, z, teacher, 0.25f, N, V);
  assert_close(loss, loss_ref, N, 1e-6, 2e-6);
  fc_k_kl(loss, d, d, teacher, 0.25f, N, V); /* in place */
  assert_close(loss, loss_ref, N, 1e-6, 2e-6);
  assert_close(d, d_ref, N * V, 1e-7, 2e-6);
}

static void kl_matches_twin(void **state) {
  (void)state;
  for (int n = 0; n < LENGTH_OF(row_counts); n++)
    for (int v = 0; v < LENGTH_OF(widths); v++) {
      kl_at(row_counts[n], widths[v]);
      free_arrays();
    }
}

static void kl_by_hand(void **state) {
  (void)state;
  const float z[] = {0, logf(3)}, teacher[] = {1, 1}; /* 1/4, 3/4 and 1/2, 1/2 */
  float loss, d[2];
  fc_k_kl(&loss, d, z, teacher, 2.0f, 1, 2);
  assert_true(fabs(loss - (0.5 * log(2.0) + 0.5 * log(2.0 / 3.0))) <= 1e-7);
  assert_close(d, ((const float[]){-0.5f, 0.5f}), 2, 5e-7, 0);
}

/* Equal rows give 0; rows that differ by a constant, or hardly, not less than 0 by more than
 * rounding. */
static void kl_is_not_negative(void **state) {
  (void)state;
  enum { N = 20, V = 3001 };
  for (int scale = 1; scale <= 100; scale *= 10) {
    const float *z = normals((int64_t)N * V, scale, 1);
    float *teacher = copy_of(z, (int64_t)N * V), *d = zeros((int64_t)N * V), loss[N];
    fc_k_kl(loss, d, z, teacher, 1, N, V);
    for (int n = 0; n < N; n++) assert_true(loss[n] == 0.0f);
    for (int i = 0; i < N * V; i++) assert_true(d[i] == 0.0f);
    for (int i = 0; i < N * V; i++) teacher[i] += 64.0f;
    fc_k_kl(loss, d, z, teacher, 1, N, V);
    for (int n = 0; n < N; n++) assert_true(fabsf(loss[n]) <= 1e-6f * (float)scale);
    const float *noise = normals((int64_t)N * V, 1e-4, 2);
    for (int i = 0; i < N * V; i++) teacher[i] = z[i] + noise[i];
    fc_k_kl(loss, d, z, teacher, 1, N, V);
    for (int n = 0; n < N; n++) assert_true(loss[n] >= -1e-6f && loss[n] <= 2e-6f);
    free_arrays();
  }
}

static void kl_extremes(void **state) {
  (void)state;
  enum { V = 40 };
  float z[V] = {0}, teacher[V] = {0}, loss, d[V];
  for (int v = 0; v < 20; v++) teacher[v] = -INFINITY; /* forbidden by the teacher alone */
  fc_k_kl(&loss, d, z, teacher, 1, 1, V);
  assert_true(fabs(loss - log(2)) <= 1e-6);
  assert_true(fabs(d[0] - 1.0 / V) <= 1e-8 && fabs(d[39] + 1.0 / V) <= 1e-8);
  for (int v = 0; v < 20; v++) z[v] = -INFINITY; /* by both */
  fc_k_kl(&loss, d, z, teacher, 1, 1, V);
  assert_true(loss == 0.0f && d[0] == 0.0f && d[39] == 0.0f);
  z[30] = -INFINITY; /* by the student alone */
  fc_k_kl(&loss, d, z, teacher, 1, 1, V);
  assert_true(loss == INFINITY);
  for (int v = 0; v < V; v++) z[v] = teacher[v] = v == 7 ? 3e38f : -3e38f;
  fc_k_kl(&loss, d, z, teacher, 1, 1, V);
  assert_true(loss == 0.0f);
  assert_int_equal(fc_k_first_not_finite(d, V), V);
}

/* Wherever the NaN stands, the loss and the gradient of its row are NaN, others are not. */
static void kl_keeps_nan(void **state) {
  (void)state;
  enum { V = 40 };
  for (int at = 0; at < 4 * V; at++) {
    float *both[2] = {normals(3 * V, 1, 1), normals(3 * V, 1, 2)}, loss[3], d[3 * V];
    both[at % 2][V + at / 4] = at % 4 < 2 ? NAN : INFINITY;
    fc_k_kl(loss, d, both[0], both[1], 1, 3, V);
    for (int n = 0; n < 3; n++) {
      assert_int_equal(isnan(loss[n]) != 0, n == 1);
      assert_int_equal(fc_k_first_not_finite(d + n * V, V) < V, n == 1);
    }
    free_arrays();
  }
}

typedef struct {
  float *z, *teacher;
} kl_problem;

static double kl_value(void *context) {
  const kl_problem *p = context;
  float loss[6];
  double sum = 0.0;
  fc_k_kl_ref(loss, NULL, p->z, p->teacher, 1, 6, 7);
  for (int n = 0; n < 6; n++) sum += 0.5 * (double)loss[n];
  return sum;
}

static void kl_gradient_is_the_derivative(void **state) {
  (void)state;
  kl_problem p = {normals(42, 1, 1), normals(42, 1, 2)};
  float *d = zeros(42), loss[6];
  fc_k_kl(loss, d, p.z, p.teacher, 0.5f, 6, 7);
  assert_gradient(kl_value, &p, p.z, d, 42, 0.02f, 1e-3);
}

/* ---- fused with the heads ---------------------------------------------------------------------
 */

typedef struct {
  int64_t N;
  int C, V;
  float *x, *x_teacher, *loss, *dx, *dW, *dbias, *scratch;
  fc_lm_table table, teacher;
} heads;

/* Weights that give logits of the order of 2. */
static fc_lm_table new_table(int C, int V, bool bias, uint64_t seed) {
  return (fc_lm_table){.W = normals((int64_t)V * C, 2.0 / sqrt(C), seed),
                       .bias = bias ? normals(V, 1, seed + 1) : NULL};
}

static heads new_heads(int64_t N, int C, int V, bool bias) {
  return (heads){.N = N,
                 .C = C,
                 .V = V,
                 .x = normals(N * C, 1, 1),
                 .x_teacher = normals(N * C, 1, 2),
                 .loss = normals(N, 1, 3),
                 .dx = normals(N * C, 1, 4), /* must be overwritten */
                 .dW = normals((int64_t)V * C, 1, 5),
                 .dbias = normals(V, 1, 6),
                 .table = new_table(C, V, bias, 7),
                 .teacher = new_table(C, V, !bias, 9),
                 .scratch = zeros((int64_t)fc_k_lm_distill_scratch(N, V))};
}

static void run(heads *h) {
  fc_k_lm_distill(h->loss, h->dx, h->dW, h->dbias, h->x, h->x_teacher, &h->table, &h->teacher, 0.7f,
                  h->N, h->C, h->V, h->scratch);
}

static void run_ref(heads *h) {
  fc_k_lm_distill_ref(h->loss, h->dx, h->dW, h->dbias, h->x, h->x_teacher, &h->table, &h->teacher,
                      0.7f, h->N, h->C, h->V, NULL);
}

static void heads_at(int64_t N, int C, int V, bool bias) {
  heads h = new_heads(N, C, V, bias), r = new_heads(N, C, V, bias);
  run(&h);
  run_ref(&r);
  assert_close(h.loss, r.loss, N, 1e-5, 5e-6);
  assert_close(h.dx, r.dx, N * C, 5e-6, 5e-6);
  assert_close(h.dW, r.dW, (int64_t)V * C, 1e-5, 5e-6);
  assert_close(h.dbias, r.dbias, V, 1e-5, 5e-6);
  /* single gradients, and forward only, change nothing else */
  const float *loss = copy_of(h.loss, N), *dx = copy_of(h.dx, N * C);
  h.dW = h.dbias = NULL;
  run(&h);
  assert_same_bits(h.loss, loss, N);
  assert_same_bits(h.dx, dx, N * C);
  h.dx = NULL;
  run(&h);
  assert_same_bits(h.loss, loss, N);
}

static void heads_match_twin(void **state) {
  (void)state;
  static const int shapes[][3] = {{0, 5, 7},    {1, 1, 1},    {1, 16, 5},
                                  {2, 5, 63},   {3, 63, 64},  {17, 16, 100},
                                  {300, 5, 33}, {7, 6, 2049}, {3, 5, 6007}};
  for (int i = 0; i < LENGTH_OF(shapes); i++)
    for (int bias = 0; bias < 2; bias++) {
      heads_at(shapes[i][0], shapes[i][1], shapes[i][2], bias);
      free_arrays();
    }
}

/* Forbidden words that fill a whole chunk before the first allowed one. */
static void heads_start_with_forbidden_words(void **state) {
  (void)state;
  heads h = new_heads(5, 3, 2200, true), r = new_heads(5, 3, 2200, true);
  float *bias = normals(2200, 1, 11);
  for (int v = 0; v < 2150; v++) bias[v] = -INFINITY;
  h.table.bias = h.teacher.bias = r.table.bias = r.teacher.bias = bias;
  run(&h);
  run_ref(&r);
  assert_close(h.loss, r.loss, 5, 1e-5, 5e-6);
  assert_close(h.dx, r.dx, 15, 5e-6, 5e-6);
}

static void heads_like_the_teacher_give_zero(void **state) {
  (void)state;
  heads h = new_heads(300, 16, 5000, true);
  h.teacher = h.table;
  h.x_teacher = h.x;
  run(&h);
  for (int n = 0; n < 300; n++) assert_true(h.loss[n] == 0.0f);
  for (int i = 0; i < 300 * 16; i++) assert_true(h.dx[i] == 0.0f);
}

static double heads_value(void *context) {
  heads *h = context;
  double sum = 0.0;
  fc_k_lm_distill_ref(h->loss, NULL, NULL, NULL, h->x, h->x_teacher, &h->table, &h->teacher, 1,
                      h->N, h->C, h->V, NULL);
  for (int64_t n = 0; n < h->N; n++) sum += 0.7 * (double)h->loss[n];
  return sum;
}

static void heads_gradient_is_the_derivative(void **state) {
  (void)state;
  heads h = new_heads(6, 4, 9, true);
  memset(h.dW, 0, 36 * sizeof(float));
  memset(h.dbias, 0, 9 * sizeof(float));
  run(&h);
  assert_gradient(heads_value, &h, h.x, h.dx, 24, 0.02f, 1e-3);
  assert_gradient(heads_value, &h, (float *)h.table.W, h.dW, 36, 0.02f, 1e-3);
  assert_gradient(heads_value, &h, (float *)h.table.bias, h.dbias, 9, 0.02f, 1e-3);
}

static void row_stands_alone(void **state) {
  (void)state;
  heads all = new_heads(300, 16, 5000, true);
  run(&all);
  for (int64_t n = 0; n < 300; n += 23) {
    heads one = new_heads(1, 16, 5000, true);
    memcpy(one.x, all.x + n * 16, 16 * sizeof(float));
    memcpy(one.x_teacher, all.x_teacher + n * 16, 16 * sizeof(float));
    run(&one);
    assert_same_bits(one.loss, all.loss + n, 1);
    assert_same_bits(one.dx, all.dx + n * 16, 16);
  }
}

static void heads_keep_nan(void **state) {
  (void)state;
  for (int side = 0; side < 2; side++) {
    heads h = new_heads(9, 16, 100, true);
    (side ? h.x : h.x_teacher)[4 * 16 + 15] = NAN;
    run(&h);
    for (int n = 0; n < 9; n++) {
      assert_int_equal(isnan(h.loss[n]) != 0, n == 4);
      assert_int_equal(isnan(h.dx[n * 16]) != 0, n == 4);
    }
  }
}

/* ---- in bf16 ----------------------------------------------------------------------------------
 */

static void pack(fc_lm_table *t, int C, int V) {
  fc_bf16 *panels = new_array((int64_t)fc_k_bf16_panels(V, C), sizeof *panels);
  fc_bf16 *panels_t = new_array((int64_t)fc_k_bf16_panels(C, V), sizeof *panels_t);
  fc_k_bf16_pack(panels, t->W, C, V, C);
  fc_k_bf16_pack_transposed(panels_t, t->W, C, V, C);
  t->panels = panels;
  t->panels_t = panels_t;
}

/* Near the teacher the gradient is small; its error must be small beside it, not beside 1. */
static void bf16_panels_are_close(void **state) {
  (void)state;
  enum { N = 21, C = 48, V = 5000 };
  heads h = new_heads(N, C, V, true), r = new_heads(N, C, V, true);
  const float *noise = normals(N * C, 0.1, 11);
  h.teacher = r.teacher = h.table;
  for (int i = 0; i < N * C; i++) h.x_teacher[i] = r.x_teacher[i] = h.x[i] + noise[i];
  run_ref(&r);
  pack(&h.table, C, V);
  h.teacher = h.table;
  run(&h);
  double error = 0, norm = 0;
  for (int i = 0; i < N * C; i++) {
    error += pow((double)h.dx[i] - r.dx[i], 2);
    norm += pow((double)r.dx[i], 2);
  }
  assert_true(norm > 0 && sqrt(error / norm) <= 0.03);
  assert_close(h.loss, r.loss, N, 1e-3, 0.05);
  h.x_teacher = h.x;
  run(&h);
  for (int n = 0; n < N; n++) assert_true(h.loss[n] == 0.0f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      KERNEL_TEST(kl_matches_twin),
      KERNEL_TEST(kl_by_hand),
      KERNEL_TEST(kl_is_not_negative),
      KERNEL_TEST(kl_extremes),
      KERNEL_TEST(kl_keeps_nan),
      KERNEL_TEST(kl_gradient_is_the_derivative),
      KERNEL_TEST(heads_match_twin),
      KERNEL_TEST(heads_start_with_forbidden_words),
      KERNEL_TEST(heads_like_the_teacher_give_zero),
      KERNEL_TEST(heads_gradient_is_the_derivative),
      KERNEL_TEST(row_stands_alone),
      KERNEL_TEST(heads_keep_nan),
      KERNEL_TEST(bf16_panels_are_close),
  };
  return cmocka_run_group_tests_name("distill_divergence", tests, NULL, NULL);
}
