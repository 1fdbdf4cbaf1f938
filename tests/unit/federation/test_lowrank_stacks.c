/* Stacks of thin matrices against plain dense sums: norms, singular values, the sign rule. */
#include "single_rank.h"

#include "../../../src/federation/lowrank.h"

enum { KINDS = 6 };
/* m, n, ranks of three devices; the last stacks have more columns than either side, or one row. */
static const struct {
  int64_t m, n, r[3];
} kinds[KINDS] = {{9, 7, {2, 3, 1}},  {7, 9, {2, 3, 1}}, {12, 5, {2, 2, 2}},
                  {5, 12, {1, 1, 8}}, {4, 6, {5, 6, 7}}, {1, 8, {1, 2, 1}}};

typedef struct {
  fc_stack stack;
  double *dense; /* (m,n) the sum, in plain loops */
} made;

/* sum_k w_k B_k A_k, both as a stack and dense; B_k in rows `wide` apart. */
static made make(int kind, int64_t wide) {
  int64_t m = kinds[kind].m, n = kinds[kind].n, at = 0, R = 0;
  for (int k = 0; k < 3; k++) R += kinds[kind].r[k];
  made x = {.dense = new_memory((size_t)(m * n), sizeof(double))};
  OK(fc_stack_create(m, n, R, &x.stack));
  for (int k = 0; k < 3; k++) {
    int64_t r = kinds[kind].r[k], ld = r + wide;
    double w = 0.2 + 0.3 * k;
    float *B = new_memory((size_t)(m * ld), sizeof *B), *A = new_memory((size_t)(r * n), sizeof *A);
    random_floats((uint64_t)(10 * kind + k), (size_t)(m * ld), B);
    random_floats((uint64_t)(10 * kind + k + 5), (size_t)(r * n), A);
    fc_stack_put(&x.stack, at, r, w, B, ld, A);
    for (int64_t i = 0; i < m; i++)
      for (int64_t j = 0; j < n; j++)
        for (int64_t l = 0; l < r; l++)
          x.dense[i * n + j] += w * (double)B[i * ld + l] * (double)A[l * n + j];
    at += r;
    fc_free(B);
    fc_free(A);
  }
  return x;
}

static void drop(made *x) {
  fc_stack_destroy(&x->stack);
  fc_free(x->dense);
}

static double dense_norm(const double *x, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += x[i] * x[i];
  return sqrt(sum);
}

static void the_norm_is_that_of_the_sum(void **state) {
  (void)state;
  for (int kind = 0; kind < KINDS; kind++) {
    made x = make(kind, kind % 2);
    double part = 0, whole = 0;
    double expected = dense_norm(x.dense, x.stack.m * x.stack.n);
    OK(fc_stack_norms(&x.stack, x.stack.R, &part, &whole));
    CLOSE_RELATIVE(whole, expected, 1e-13);
    CLOSE_RELATIVE(part, expected, 1e-13);
    drop(&x);
  }
}

/* A part that is taken away again leaves nothing, while the part itself has its norm. */
static void a_difference_and_its_first_part(void **state) {
  (void)state;
  enum { M = 6, N = 8, R = 3 };
  float B[M * R], A[R * N];
  fc_stack s;
  double part = 0, whole = 0;
  random_floats(1, M * R, B);
  random_floats(2, R * N, A);
  OK(fc_stack_create(M, N, 2 * R, &s));
  fc_stack_put(&s, 0, R, 1.5, B, R, A);
  fc_stack_put(&s, R, R, -1.5, B, R, A);
  OK(fc_stack_norms(&s, R, &part, &whole));
  CLOSE_RELATIVE(part, 1.5 * fc_product_norm(M, N, R, B, R, A), 1e-12);
  CLOSE(whole, 0, 1e-14);
  fc_stack_destroy(&s);
}

/* |U diag(s) V^T - expected| of the first `k` values. */
static double distance(const fc_stack_values *v, int64_t k, const double *expected, int64_t m,
                       int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < n; j++) {
      double x = -expected[i * n + j];
      for (int64_t l = 0; l < k; l++) x += v->u[l * m + i] * v->values[l] * v->v[l * n + j];
      sum += x * x;
    }
  }
  return sqrt(sum);
}

/* x (k,rows): rows of length 1, at right angles. */
static void expect_orthonormal(const double *x, int64_t k, int64_t rows) {
  for (int64_t a = 0; a < k; a++) {
    for (int64_t b = 0; b < k; b++) {
      double dot = 0;
      for (int64_t i = 0; i < rows; i++) dot += x[a * rows + i] * x[b * rows + i];
      CLOSE(dot, a == b, 1e-13);
    }
  }
}

static void all_values_give_the_sum_back(void **state) {
  (void)state;
  for (int kind = 0; kind < KINDS; kind++) {
    made x = make(kind, 0);
    fc_stack_values v;
    int64_t m = x.stack.m, n = x.stack.n, least = m < n ? m : n;
    OK(fc_stack_svd(&x.stack, &v));
    assert_int_equal(v.k, x.stack.R < least ? x.stack.R : least);
    CLOSE(distance(&v, v.k, x.dense, m, n), 0, 1e-13);
    expect_orthonormal(v.u, v.k, m);
    expect_orthonormal(v.v, v.k, n);
    for (int64_t j = 1; j < v.k; j++) assert_true(v.values[j] <= v.values[j - 1]);
    fc_stack_values_destroy(&v);
    drop(&x);
  }
}

/* Eckart and Young: what is lost is the root of the sum of the squares of the dropped values. */
static void dropped_values_are_the_error(void **state) {
  (void)state;
  made x = make(0, 0);
  fc_stack_values v;
  OK(fc_stack_svd(&x.stack, &v));
  for (int64_t k = 0; k <= v.k; k++) {
    double dropped = 0;
    for (int64_t j = k; j < v.k; j++) dropped += v.values[j] * v.values[j];
    CLOSE(distance(&v, k, x.dense, 9, 7), sqrt(dropped), 1e-13);
  }
  fc_stack_values_destroy(&v);
  drop(&x);
}

static void the_largest_of_a_column_is_positive(void **state) {
  (void)state;
  for (int kind = 0; kind < KINDS; kind++) {
    made x = make(kind, 0);
    fc_stack_values v;
    int64_t m = x.stack.m;
    OK(fc_stack_svd(&x.stack, &v));
    for (int64_t j = 0; j < v.k; j++) {
      double largest = 0;
      for (int64_t i = 0; i < m; i++)
        if (fabs(v.u[j * m + i]) > fabs(largest)) largest = v.u[j * m + i];
      assert_true(largest > 0);
    }
    fc_stack_values_destroy(&v);
    drop(&x);
  }
}

static void nothing_stacked(void **state) {
  (void)state;
  fc_stack s;
  fc_stack_values v;
  double part = 1, whole = 1;
  OK(fc_stack_create(3, 4, 0, &s));
  OK(fc_stack_norms(&s, 0, &part, &whole));
  assert_true(part == 0 && whole == 0);
  OK(fc_stack_svd(&s, &v));
  assert_int_equal(v.k, 0);
  fc_stack_values_destroy(&v);
  fc_stack_destroy(&s);
  fc_stack_destroy(&s);
}

static void a_nan_is_told(void **state) {
  (void)state;
  made x = make(0, 0), y = make(0, 0);
  fc_stack_values v;
  double part = 0, whole = 0;
  x.stack.a[5] = y.stack.bt[7] = NAN;
  FAILS(fc_stack_norms(&x.stack, 1, &part, &whole), NUMERIC,
        "the QR of stacked factors failed: one is not finite");
  FAILS(fc_stack_svd(&y.stack, &v), NUMERIC, "the QR of stacked factors failed: one is not finite");
  assert_null(v.values);
  drop(&x);
  drop(&y);
}

static void the_norm_of_a_pair(void **state) {
  (void)state;
  enum { M = 7, N = 5, R = 3, LD = 4 };
  float B[M * LD], A[R * N];
  double dense[M * N] = {0};
  random_floats(3, M * LD, B);
  random_floats(4, R * N, A);
  for (int i = 0; i < M; i++)
    for (int j = 0; j < N; j++)
      for (int r = 0; r < R; r++) dense[i * N + j] += (double)B[i * LD + r] * (double)A[r * N + j];
  CLOSE_RELATIVE(fc_product_norm(M, N, R, B, LD, A), dense_norm(dense, M * N), 1e-13);
  memset(B, 0, sizeof B);
  assert_true(fc_product_norm(M, N, R, B, LD, A) == 0);
  B[0] = NAN;
  assert_true(isnan(fc_product_norm(M, N, R, B, LD, A)));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_norm_is_that_of_the_sum),
    cmocka_unit_test(a_difference_and_its_first_part),
    cmocka_unit_test(all_values_give_the_sum_back),
    cmocka_unit_test(dropped_values_are_the_error),
    cmocka_unit_test(the_largest_of_a_column_is_positive),
    cmocka_unit_test(nothing_stacked),
    cmocka_unit_test(a_nan_is_told),
    cmocka_unit_test(the_norm_of_a_pair),
};
SINGLE_RANK_MAIN(tests)
