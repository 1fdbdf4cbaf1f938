/* The products' tiles of every instruction set that this CPU has, not only the one it would pick.
 * Takes in product.c to reach them. */
#include "product.c"
#include "kernel_test.h"

static int kinds_here(tile_kind kinds[3]) {
  int n = 0;
  kinds[n++] = (tile_kind){run_tile_baseline, run_side_baseline, 4, 6};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    kinds[n++] = (tile_kind){run_tile_avx2, run_side_avx2, 8, 6};
  if (__builtin_cpu_supports("avx512f"))
    kinds[n++] = (tile_kind){run_tile_avx512, run_side_avx512, 16, 12};
#endif
  return n;
}

static double element(const float *x, int64_t ld, bool transpose, int64_t row, int64_t column) {
  return transpose ? x[column * ld + row] : x[row * ld + column];
}

/* C (M,N) in double, with a bias and the old content. */
static void product_by_definition(const fc_product *p, float *C, int64_t ldc, const float *A,
                                  int64_t lda, const float *B, int64_t ldb) {
  for (int64_t m = 0; m < p->M; m++)
    for (int64_t n = 0; n < p->N; n++) {
      double sum = 0.0;
      for (int64_t k = 0; k < p->K; k++)
        sum += element(A, lda, p->transpose_a, m, k) * element(B, ldb, p->transpose_b, k, n);
      sum = p->alpha * sum + (p->bias ? p->bias[n] : 0.0);
      C[m * ldc + n] = (float)(p->accumulate ? C[m * ldc + n] + sum : sum);
    }
}

static void check_kind(tile_kind kind, fc_product p) {
  const int64_t lda = (p.transpose_a ? p.M : p.K) + 1, ldb = (p.transpose_b ? p.K : p.N) + 2;
  const int64_t ldc = p.N + 3;
  const float *A = normals(lda * (p.transpose_a ? p.K : p.M), 1, 1);
  const float *B = normals(ldb * (p.transpose_b ? p.N : p.K), 1, 2);
  float *C = normals(ldc * p.M, 1, 3), *expected = copy_of(C, ldc * p.M);
  if (p.accumulate) p.bias = normals(p.N, 1, 4);
  row_block(kind, &p, C, ldc, A, lda, B, ldb);
  product_by_definition(&p, expected, ldc, A, lda, B, ldb);
  /* partial sums grow with the root of their length, and a chain rounds each of them */
  const double chain = p.K < PANEL_K ? (double)p.K : PANEL_K;
  assert_close(C, expected, ldc * p.M, 3e-7 * (10 + sqrt((double)p.K * chain)), 1e-6);
  free_arrays();
}

static void every_tile_of_every_instruction_set(void **state) {
  (void)state;
  static const int columns[] = {1, 3, 4, 5, 8, 15, 16, 17, 32, 33, 50};
  tile_kind kinds[3];
  const int n = kinds_here(kinds);
  for (int i = 0; i < n; i++)
    for (int M = 1; M <= 25; M++)
      for (int c = 0; c < LENGTH_OF(columns); c++)
        for (int way = 0; way < 8; way++)
          check_kind(kinds[i], (fc_product){.transpose_a = way & 1,
                                            .transpose_b = way & 2,
                                            .accumulate = way & 4,
                                            .alpha = 0.5f,
                                            .M = M,
                                            .N = columns[c],
                                            .K = 1 + (M * 7 + c) % 37});
}

static void long_sums_and_many_rows(void **state) {
  (void)state;
  tile_kind kinds[3];
  const int n = kinds_here(kinds);
  for (int i = 0; i < n; i++)
    for (int way = 0; way < 8; way++)
      check_kind(kinds[i], (fc_product){.transpose_a = way & 1,
                                        .transpose_b = way & 2,
                                        .accumulate = way & 4,
                                        .alpha = 2.0f,
                                        .M = 101,
                                        .N = 37,
                                        .K = 2 * PANEL_K + 3});
}

/* Products side by side have the bits that each has by itself. */
static void check_side(tile_kind kind, int side, fc_product p) {
  const fc_product_distance d = {.c = p.M * p.N + 5, .a = p.M * p.K + 1, .b = p.K * p.N + 3};
  const int64_t lda = p.K, ldb = p.N, ldc = p.N;
  const float *A = normals(side * d.a, 1, 1), *B = normals(side * d.b, 1, 2);
  float *C = normals(side * d.c, 1, 3), *expected = copy_of(C, side * d.c);
  side_by_side(kind, &p, side, d, C, ldc, A, lda, B, ldb);
  for (int s = 0; s < side; s++)
    row_block(kind, &p, expected + s * d.c, ldc, A + s * d.a, lda, B + s * d.b, ldb);
  assert_same_bits(C, expected, side * d.c);
  free_arrays();
}

static void side_by_side_of_every_instruction_set(void **state) {
  (void)state;
  static const int sums[] = {1, 2, 33, PANEL_K, PANEL_K + 1, 2 * PANEL_K + 3};
  tile_kind kinds[3];
  const int n = kinds_here(kinds);
  for (int i = 0; i < n; i++)
    for (int M = 1; M <= MAX_SIDE_ROWS; M++)
      for (int vectors = 1; vectors <= 5; vectors++)
        for (int k = 0; k < LENGTH_OF(sums); k++)
          for (int way = 0; way < 2; way++) {
            const fc_product p = {.accumulate = way,
                                  .alpha = 0.3f,
                                  .M = M,
                                  .N = vectors * kinds[i].lanes,
                                  .K = sums[k]};
            for (int side = 2; side <= MAX_SIDE && side * M <= kinds[i].rows; side++)
              check_side(kinds[i], side, p);
          }
}

/* Any number of products, of any shape: those that cannot go side by side go one by one. */
static void many_products(void **state) {
  (void)state;
  for (int n = 0; n <= 9; n++)
    for (int M = 0; M <= 5; M++)
      for (int N = 31; N <= 33; N++)
        for (int way = 0; way < 4; way++) {
          const fc_product p = {.transpose_b = way & 1,
                                .alpha = 2.0f,
                                .M = M,
                                .N = N,
                                .K = 7,
                                .bias = way & 2 ? normals(N, 1, 4) : NULL};
          const fc_product_distance d = {.c = 5 * N + 2, .b = 7 * N};
          const int64_t ldb = p.transpose_b ? p.K : N;
          const float *A = normals(5 * 7, 1, 1), *B = normals(9 * d.b, 1, 2);
          float *C = normals(9 * d.c, 1, 3), *expected = copy_of(C, 9 * d.c);
          fc_k_products(p, n, d, C, N, A, p.K, B, ldb);
          for (int i = 0; i < n; i++)
            fc_k_product(p, expected + i * d.c, N, A, p.K, B + i * d.b, ldb);
          assert_same_bits(C, expected, 9 * d.c);
          free_arrays();
        }
}

/* An empty sum clears C, or leaves it when added to. */
static void empty_sums(void **state) {
  (void)state;
  float C[6] = {1, 2, 3, 4, 5, 6}, none = 0;
  fc_k_product((fc_product){.accumulate = true, .alpha = 1, .M = 2, .N = 3}, C, 3, &none, 0, &none,
               3);
  for (int i = 0; i < 6; i++) assert_true(C[i] == (float)(i + 1));
  fc_k_product((fc_product){.alpha = 1, .M = 2, .N = 3}, C, 3, &none, 0, &none, 3);
  for (int i = 0; i < 6; i++) assert_true(C[i] == 0.0f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      KERNEL_TEST(every_tile_of_every_instruction_set),
      KERNEL_TEST(long_sums_and_many_rows),
      KERNEL_TEST(side_by_side_of_every_instruction_set),
      KERNEL_TEST(many_products),
      KERNEL_TEST(empty_sums),
  };
  return cmocka_run_group_tests_name("product_tiles", tests, NULL, NULL);
}
