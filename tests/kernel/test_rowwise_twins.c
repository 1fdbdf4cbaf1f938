/* Layer normalisation and embeddings: twins, finite differences, NaN. */
#include "kernel_test.h"

static const int row_counts[] = {0, 1, 2, 3, 17, 33};
static const int widths[] = {1, 5, 16, 63, 64, 100, 768};

static void layernorm_at(int64_t N, int C) {
  float *x = normals(N * C, 2, 1), *gamma = normals(C, 1, 2), *beta = normals(C, 1, 3);
  for (int64_t i = 0; i < N * C; i++) x[i] += 5.0f; /* a mean far from 0 */
  float *y = copy_of(x, N * C), *y_ref = zeros(N * C);
  float *mean = zeros(N), *mean_ref = zeros(N), *rstd = zeros(N), *rstd_ref = zeros(N);
  fc_k_layernorm_fwd(y, mean, rstd, y, gamma, beta, 1e-2f, N, C); /* in place */
  fc_k_layernorm_fwd_ref(y_ref, mean_ref, rstd_ref, x, gamma, beta, 1e-2f, N, C);
  assert_close(mean, mean_ref, N, 0, 1e-6);
  assert_close(rstd, rstd_ref, N, 0, 3e-6);
  assert_close(y, y_ref, N * C, 3e-5, 1e-5);

  const float *dy = normals(N * C, 1, 4);
  float *dx = normals(N * C, 1, 5), *dx_ref = copy_of(dx, N * C);
  float *dgamma = normals(C, 1, 6), *dgamma_ref = copy_of(dgamma, C);
  float *dbeta = normals(C, 1, 7), *dbeta_ref = copy_of(dbeta, C);
  fc_k_layernorm_bwd(dx, dgamma, dbeta, dy, x, gamma, mean_ref, rstd_ref, N, C);
  fc_k_layernorm_bwd(dx, NULL, NULL, dy, x, gamma, mean_ref, rstd_ref, N, C);
  fc_k_layernorm_bwd_ref(dx_ref, dgamma_ref, dbeta_ref, dy, x, gamma, mean_ref, rstd_ref, N, C);
  fc_k_layernorm_bwd_ref(dx_ref, NULL, NULL, dy, x, gamma, mean_ref, rstd_ref, N, C);
  assert_close(dx, dx_ref, N * C, C == 1 ? 2e-4 : 1e-5, 1e-5); /* C = 1: rstd is 10 */
  assert_close(dgamma, dgamma_ref, C, 2e-5, 1e-5);
  assert_close(dbeta, dbeta_ref, C, 1e-5, 1e-5);
}

static void layernorm_matches_twin(void **state) {
  (void)state;
  for (int n = 0; n < LENGTH_OF(row_counts); n++)
    for (int c = 0; c < LENGTH_OF(widths); c++) {
      layernorm_at(row_counts[n], widths[c]);
      free_arrays();
    }
}

enum { ROWS = 4, WIDTH = 9 };
typedef struct {
  float *x, *gamma, *beta, *y, *mean, *rstd, *projection;
} norm;

static double norm_value(void *context) {
  norm *l = context;
  fc_k_layernorm_fwd_ref(l->y, l->mean, l->rstd, l->x, l->gamma, l->beta, 1e-5f, ROWS, WIDTH);
  return project(l->y, l->projection, ROWS * WIDTH);
}

static void layernorm_backward_is_the_derivative(void **state) {
  (void)state;
  norm l = {.x = normals(ROWS * WIDTH, 1, 1),
            .gamma = normals(WIDTH, 1, 2),
            .beta = normals(WIDTH, 1, 3),
            .y = zeros(ROWS * WIDTH),
            .mean = zeros(ROWS),
            .rstd = zeros(ROWS),
            .projection = normals(ROWS * WIDTH, 1, 4)};
  float *dx = zeros(ROWS * WIDTH), *dgamma = zeros(WIDTH), *dbeta = zeros(WIDTH);
  norm_value(&l); /* fills mean and rstd */
  fc_k_layernorm_bwd(dx, dgamma, dbeta, l.projection, l.x, l.gamma, l.mean, l.rstd, ROWS, WIDTH);
  assert_gradient(norm_value, &l, l.x, dx, ROWS * WIDTH, 0.01f, 1e-3);
  assert_gradient(norm_value, &l, l.gamma, dgamma, WIDTH, 0.1f, 1e-4);
  assert_gradient(norm_value, &l, l.beta, dbeta, WIDTH, 0.1f, 1e-4);
}

static void layernorm_row_stands_alone(void **state) {
  (void)state;
  enum { N = 33, C = 100 };
  float *x = normals(N * C, 1, 1), *gamma = normals(C, 1, 2), *beta = normals(C, 1, 3);
  float *y = zeros(N * C), *one = zeros(C), mean[N], rstd[N];
  x[3 * C + 99] = NAN;
  x[5 * C] = INFINITY;
  fc_k_layernorm_fwd(y, mean, rstd, x, gamma, beta, 1e-5f, N, C);
  for (int n = 0; n < N; n++) {
    if (n == 3 || n == 5) {
      for (int c = 0; c < C; c++) assert_true(isnan(y[n * C + c]));
      continue;
    }
    fc_k_layernorm_fwd(one, mean, rstd, x + n * C, gamma, beta, 1e-5f, 1, C);
    assert_same_bits(one, y + n * C, C);
  }
}

/* ---- embeddings ------------------------------------------------------------------------------ */

enum { TOKENS = 11, POSITIONS = 12, TYPES = 2, OFFSET = 2, SEQUENCES = 4, LAST = 20 };
static const int64_t starts[SEQUENCES + 1] = {0, 3, 3, 13, LAST};

/* Without type rows for variant 0, all type 0 for 1, given types for 2 and 3, no positions for 3.
 */
static void embed_at(int C, int variant) {
  const int32_t *tokens = random_ints(LAST, TOKENS, 1), *types = random_ints(LAST, TYPES, 2);
  const float *token = normals(TOKENS * C, 1, 1), *position = normals(POSITIONS * C, 1, 2);
  const float *type = variant > 0 ? normals(TYPES * C, 1, 3) : NULL;
  if (variant < 2) types = NULL;
  if (variant == 3) position = NULL;
  float *x = zeros(LAST * C), *x_ref = zeros(LAST * C);
  fc_k_embed_fwd(x, tokens, types, starts, SEQUENCES, token, position, type, OFFSET, C);
  fc_k_embed_fwd_ref(x_ref, tokens, types, starts, SEQUENCES, token, position, type, OFFSET, C);
  assert_close(x, x_ref, LAST * C, 5e-7, 1e-6);

  const float *dx = normals(LAST * C, 1, 4);
  float *d[3], *d_ref[3];
  const int64_t sizes[3] = {TOKENS * C, POSITIONS * C, TYPES * C};
  for (int i = 0; i < 3; i++) {
    d[i] = normals(sizes[i], 1, 5);
    d_ref[i] = copy_of(d[i], sizes[i]);
  }
  fc_k_embed_bwd(d[0], d[1], d[2], dx, tokens, types, starts, SEQUENCES, OFFSET, C);
  fc_k_embed_bwd(d[0], NULL, NULL, dx, tokens, types, starts, SEQUENCES, OFFSET, C);
  fc_k_embed_bwd(NULL, d[1], NULL, dx, tokens, types, starts, SEQUENCES, OFFSET, C);
  fc_k_embed_bwd(NULL, NULL, d[2], dx, tokens, types, starts, SEQUENCES, OFFSET, C);
  for (int twice = 0; twice < 2; twice++)
    fc_k_embed_bwd_ref(d_ref[0], d_ref[1], d_ref[2], dx, tokens, types, starts, SEQUENCES, OFFSET,
                       C);
  for (int i = 0; i < 3; i++) assert_close(d[i], d_ref[i], sizes[i], 1e-5, 1e-6);
}

static void embed_matches_twin(void **state) {
  (void)state;
  for (int c = 0; c < LENGTH_OF(widths); c++)
    for (int variant = 0; variant < 4; variant++) {
      embed_at(widths[c], variant);
      free_arrays();
    }
}

/* A row's own embedding in place of a token's. */
static void embed_takes_rows(void **state) {
  (void)state;
  enum { C = 5 };
  const int32_t *types = random_ints(LAST, TYPES, 2);
  const float *rows = normals(LAST * C, 1, 1), *position = normals(POSITIONS * C, 1, 2);
  const float *type = normals(TYPES * C, 1, 3), *dx = normals(LAST * C, 1, 4);
  int32_t each[LAST];
  for (int32_t n = 0; n < LAST; n++) each[n] = n;
  float *x = zeros(LAST * C), *x_ref = zeros(LAST * C), *as_table = zeros(LAST * C);
  fc_k_embed_fwd(x, NULL, types, starts, SEQUENCES, rows, position, type, OFFSET, C);
  fc_k_embed_fwd_ref(x_ref, NULL, types, starts, SEQUENCES, rows, position, type, OFFSET, C);
  fc_k_embed_fwd(as_table, each, types, starts, SEQUENCES, rows, position, type, OFFSET, C);
  assert_close(x, x_ref, LAST * C, 5e-7, 1e-6);
  assert_same_bits(x, as_table, LAST * C);
  float *d = zeros(POSITIONS * C), *d_ref = zeros(POSITIONS * C);
  fc_k_embed_bwd(NULL, d, NULL, dx, NULL, types, starts, SEQUENCES, OFFSET, C);
  fc_k_embed_bwd_ref(NULL, d_ref, NULL, dx, NULL, types, starts, SEQUENCES, OFFSET, C);
  assert_close(d, d_ref, POSITIONS * C, 1e-5, 1e-6);
}

typedef struct {
  const int32_t *tokens, *types;
  float *tables[3], *x, *projection;
} embedding;

static double embed_value(void *context) {
  embedding *e = context;
  fc_k_embed_fwd_ref(e->x, e->tokens, e->types, starts, SEQUENCES, e->tables[0], e->tables[1],
                     e->tables[2], OFFSET, 3);
  return project(e->x, e->projection, LAST * 3);
}

static void embed_backward_is_the_derivative(void **state) {
  (void)state;
  const int64_t sizes[3] = {TOKENS * 3, POSITIONS * 3, TYPES * 3};
  embedding e = {.tokens = random_ints(LAST, TOKENS, 1),
                 .types = random_ints(LAST, TYPES, 2),
                 .x = zeros(LAST * 3),
                 .projection = normals(LAST * 3, 1, 9)};
  float *d[3];
  for (int i = 0; i < 3; i++) {
    e.tables[i] = normals(sizes[i], 1, 10 + (uint64_t)i);
    d[i] = zeros(sizes[i]);
  }
  fc_k_embed_bwd(d[0], d[1], d[2], e.projection, e.tokens, e.types, starts, SEQUENCES, OFFSET, 3);
  for (int i = 0; i < 3; i++)
    assert_gradient(embed_value, &e, e.tables[i], d[i], sizes[i], 0.1f, 1e-4);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      KERNEL_TEST(layernorm_matches_twin),     KERNEL_TEST(layernorm_backward_is_the_derivative),
      KERNEL_TEST(layernorm_row_stands_alone), KERNEL_TEST(embed_matches_twin),
      KERNEL_TEST(embed_takes_rows),           KERNEL_TEST(embed_backward_is_the_derivative),
  };
  return cmocka_run_group_tests_name("rowwise_twins", tests, NULL, NULL);
}
