/* Cross entropy alone and fused with the head: twins, finite differences, ignored rows, extremes.
 */
#include "fedcell/fc_batch.h"
#include "kernel_test.h"

static const int row_counts[] = {0, 1, 2, 3, 17, 33};
static const int widths[] = {1, 2, 5, 16, 63, 64, 100, 5000};

/* Targets below V; every fourth is ignored. */
static int32_t *targets_of(int64_t N, int V) {
  int32_t *t = random_ints(N, (uint64_t)V, 3);
  for (int64_t n = 3; n < N; n += 4) t[n] = FC_TARGET_IGNORE;
  return t;
}

static void assert_same_ints(const int32_t *a, const int32_t *b, int64_t n) {
  for (int64_t i = 0; i < n; i++) assert_int_equal(a[i], b[i]);
}

static void xent_at(int64_t N, int V) {
  const float *logits = normals(N * V, 3, 1);
  const int32_t *targets = targets_of(N, V);
  float *loss = zeros(N), *loss_ref = zeros(N), *d = copy_of(logits, N * V), *d_ref = zeros(N * V);
  int32_t *best = new_array(N, 4), *best_ref = new_array(N, 4);
  fc_k_xent_ref(loss_ref, best_ref, d_ref, logits, targets, 0.25f, N, V);
  fc_k_xent(loss, NULL, NULL, logits, targets, 0.25f, N, V);
  assert_close(loss, loss_ref, N, 2e-6, 1e-6);
  fc_k_xent(loss, best, d, d, targets, 0.25f, N, V); /* in place */
  assert_close(loss, loss_ref, N, 2e-6, 1e-6);
  assert_close(d, d_ref, N * V, 1e-7, 2e-6);
  assert_same_ints(best, best_ref, N);
}

static void xent_matches_twin(void **state) {
  (void)state;
  for (int n = 0; n < LENGTH_OF(row_counts); n++)
    for (int v = 0; v < LENGTH_OF(widths); v++) {
      xent_at(row_counts[n], widths[v]);
      free_arrays();
    }
}

static void xent_by_hand(void **state) {
  (void)state;
  const float logits[] = {1, 1, 0, 1, 2, 5}; /* -log(e/(2e + 1)), and an ignored row */
  const int32_t targets[] = {1, FC_TARGET_IGNORE};
  float loss[2], d[6];
  int32_t best[2];
  fc_k_xent(loss, best, d, logits, targets, 2.0f, 2, 3);
  const double p = exp(1) / (2 * exp(1) + 1);
  const float expected[] = {
      (float)(2 * p), (float)(2 * (p - 1)), (float)(2 * (1 - 2 * p)), 0, 0, 0};
  assert_true(fabs(loss[0] + log(p)) <= 1e-6);
  assert_true(loss[1] == 0.0f);
  assert_close(d, expected, 6, 1e-6, 0);
  assert_int_equal(best[0], 0); /* lowest index of equals */
  assert_int_equal(best[1], 2);
}

static void xent_extremes(void **state) {
  (void)state;
  enum { V = 40 };
  float logits[V], loss, d[V];
  int32_t target = 7, best;
  for (int v = 0; v < V; v++) logits[v] = v == 7 ? 3e38f : -3e38f;
  fc_k_xent(&loss, &best, d, logits, &target, 1, 1, V);
  assert_true(loss == 0.0f && best == 7);
  assert_int_equal(fc_k_first_not_finite(d, V), V);
  /* a forbidden word: -inf is probability 0, not NaN */
  for (int v = 0; v < V; v++) logits[v] = v < 20 ? -INFINITY : 0.0f;
  target = 20;
  fc_k_xent(&loss, &best, d, logits, &target, 1, 1, V);
  assert_true(fabs(loss - log(20)) <= 1e-6 && best == 20);
  assert_true(d[0] == 0.0f);
  target = 0;
  fc_k_xent(&loss, &best, d, logits, &target, 1, 1, V);
  assert_true(loss == INFINITY);
}

/* Wherever the NaN stands, the loss and the gradient of its row are NaN, others are not. */
static void xent_keeps_nan(void **state) {
  (void)state;
  enum { V = 40 };
  for (int at = 0; at < V; at++) {
    float *logits = normals(3 * V, 1, 1), loss[3], d[3 * V];
    const int32_t targets[] = {1, 2, 3};
    logits[V + at] = at % 2 ? NAN : INFINITY;
    fc_k_xent(loss, NULL, d, logits, targets, 1, 3, V);
    for (int n = 0; n < 3; n++) {
      assert_int_equal(isnan(loss[n]) != 0, n == 1);
      for (int v = 0; v < V; v++)
        assert_true(n == 1 ? isnan(d[n * V + v]) || at % 2 == 0 : !isnan(d[n * V + v]));
    }
    assert_true(fc_k_first_not_finite(d, 3 * V) < 3 * V);
    free_arrays();
  }
}

typedef struct {
  float *logits, *projection;
  const int32_t *targets;
} xent_problem;

static double xent_value(void *context) {
  xent_problem *p = context;
  float loss[6];
  fc_k_xent_ref(loss, NULL, NULL, p->logits, p->targets, 1, 6, 7);
  return project(loss, p->projection, 6);
}

static void xent_gradient_is_the_derivative(void **state) {
  (void)state;
  xent_problem p = {
      .logits = normals(42, 1, 1), .projection = zeros(6), .targets = targets_of(6, 7)};
  for (int n = 0; n < 6; n++) p.projection[n] = 0.5f;
  float *d = zeros(42), loss[6];
  fc_k_xent(loss, NULL, d, p.logits, p.targets, 0.5f, 6, 7);
  assert_gradient(xent_value, &p, p.logits, d, 42, 0.02f, 1e-3);
}

/* ---- fused head ------------------------------------------------------------------------------ */

typedef struct {
  int64_t N;
  int C, V;
  float *x, *W, *bias, *loss, *dx, *dW, *dbias, *scratch, *scale;
  int32_t *targets, *best;
} head;

static head new_head(int64_t N, int C, int V) {
  return (head){.N = N,
                .C = C,
                .V = V,
                .x = normals(N * C, 1, 1),
                .W = normals((int64_t)V * C, 2.0 / sqrt(C), 2),
                .bias = normals(V, 1, 3),
                .loss = normals(N, 1, 4),
                .dx = normals(N * C, 1, 5), /* must be overwritten */
                .dW = normals((int64_t)V * C, 1, 6),
                .dbias = normals(V, 1, 7),
                .scratch = zeros((int64_t)fc_k_lm_head_scratch(N, C, V)),
                .scale = normals(N, 0.5, 8),
                .targets = targets_of(N, V),
                .best = new_array(N, 4)};
}

static void run_head(head *h) {
  fc_k_lm_head(h->loss, h->best, h->dx, h->dW, h->dbias, h->x,
               &(fc_lm_table){.W = h->W, .bias = h->bias}, h->targets, h->scale, h->N, h->C, h->V,
               h->scratch);
}

static void run_head_ref(head *h) {
  fc_k_lm_head_ref(h->loss, h->best, h->dx, h->dW, h->dbias, h->x,
                   &(fc_lm_table){.W = h->W, .bias = h->bias}, h->targets, h->scale, h->N, h->C,
                   h->V, NULL);
}

static void head_at(int64_t N, int C, int V, bool with_bias) {
  head h = new_head(N, C, V), r = new_head(N, C, V);
  if (!with_bias) h.bias = r.bias = NULL;
  run_head(&h);
  run_head_ref(&r);
  assert_close(h.loss, r.loss, N, 1e-5, 2e-6);
  assert_close(h.dx, r.dx, N * C, 5e-6, 5e-6);
  assert_close(h.dW, r.dW, (int64_t)V * C, 1e-5, 5e-6);
  assert_close(h.dbias, r.dbias, V, 1e-5, 5e-6);
  assert_same_ints(h.best, r.best, N);
  /* forward only, and single gradients, change nothing else */
  const float *loss = copy_of(h.loss, N);
  h.dW = h.dbias = NULL;
  run_head(&h);
  assert_same_bits(h.loss, loss, N);
  assert_close(h.dx, r.dx, N * C, 5e-6, 5e-6); /* another path: a single walk */
  h.dx = NULL;
  h.best = NULL;
  run_head(&h);
  assert_same_bits(h.loss, loss, N);
}

static void head_matches_twin(void **state) {
  (void)state;
  static const int shapes[][3] = {{0, 5, 7},     {1, 1, 1},    {1, 16, 5},
                                  {2, 5, 63},    {3, 63, 64},  {17, 16, 100},
                                  {33, 64, 257}, {300, 5, 33}, {600, 16, 16}};
  for (int i = 0; i < LENGTH_OF(shapes); i++)
    for (int bias = 0; bias < 2; bias++) {
      head_at(shapes[i][0], shapes[i][1], shapes[i][2], bias);
      free_arrays();
    }
}

/* More words than a chunk holds: the running maximum and sum are at work. */
static void head_matches_twin_over_chunks(void **state) {
  (void)state;
  head_at(9, 7, 9001, true);
  free_arrays();
  head_at(3, 16, 4097, false);
}

/* Forbidden words that fill a whole chunk before the first allowed one. */
static void head_starts_with_forbidden_words(void **state) {
  (void)state;
  head h = new_head(5, 3, 4200), r = new_head(5, 3, 4200);
  for (int v = 0; v < 4150; v++) h.bias[v] = r.bias[v] = -INFINITY;
  for (int n = 0; n < 5; n++) h.targets[n] = r.targets[n] = 4150 + n;
  run_head(&h);
  run_head_ref(&r);
  for (int walks = 2; walks >= 1; walks--) {
    assert_close(h.loss, r.loss, 5, 1e-5, 2e-6);
    assert_close(h.dx, r.dx, 15, 5e-6, 5e-6);
    assert_same_ints(h.best, r.best, 5);
    h.dW = h.dbias = NULL;
    run_head(&h);
  }
}

static double head_value(void *context) {
  head *h = context;
  fc_k_lm_head_ref(h->loss, NULL, NULL, NULL, NULL, h->x,
                   &(fc_lm_table){.W = h->W, .bias = h->bias}, h->targets, h->scale, h->N, h->C,
                   h->V, NULL);
  double sum = 0.0;
  for (int64_t n = 0; n < h->N; n++) sum += (double)h->scale[n] * (double)h->loss[n];
  return sum;
}

static void head_gradient_is_the_derivative(void **state) {
  (void)state;
  head h = new_head(6, 4, 9);
  memset(h.dW, 0, 36 * sizeof(float));
  memset(h.dbias, 0, 9 * sizeof(float));
  run_head(&h);
  assert_gradient(head_value, &h, h.x, h.dx, 24, 0.02f, 1e-3);
  assert_gradient(head_value, &h, h.W, h.dW, 36, 0.02f, 1e-3);
  assert_gradient(head_value, &h, h.bias, h.dbias, 9, 0.02f, 1e-3);
}

static void row_stands_alone(bool with_table) {
  head all = new_head(300, 16, 5000);
  if (!with_table) all.dW = all.dbias = NULL;
  run_head(&all);
  for (int64_t n = 0; n < 300; n += 23) {
    head one = new_head(1, 16, 5000);
    if (!with_table) one.dW = one.dbias = NULL;
    memcpy(one.x, all.x + n * 16, 16 * sizeof(float));
    one.targets[0] = all.targets[n];
    one.scale[0] = all.scale[n];
    run_head(&one);
    assert_same_bits(one.loss, all.loss + n, 1);
    assert_same_bits(one.dx, all.dx + n * 16, 16);
    assert_int_equal(one.best[0], all.best[n]);
  }
}

static void head_row_stands_alone(void **state) {
  (void)state;
  row_stands_alone(true);
  free_arrays();
  row_stands_alone(false);
}

static void head_keeps_nan(void **state) {
  (void)state;
  head h = new_head(9, 16, 100);
  h.x[4 * 16 + 15] = NAN;
  run_head(&h);
  for (int n = 0; n < 9; n++) {
    assert_int_equal(isnan(h.loss[n]) != 0, n == 4);
    assert_int_equal(isnan(h.dx[n * 16]) != 0, n == 4);
  }
  for (int i = 0; i < 1600; i++) assert_true(isnan(h.dW[i]));
  h.dW = h.dbias = NULL;
  run_head(&h);
  for (int n = 0; n < 9; n++) assert_int_equal(isnan(h.dx[n * 16]) != 0, n == 4);
  h.x[4 * 16 + 15] = 0;
  h.W[99 * 16] = NAN; /* one bad weight spoils every counted row's loss */
  run_head(&h);
  for (int n = 0; n < 9; n++) assert_int_equal(isnan(h.loss[n]) != 0, n % 4 != 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      KERNEL_TEST(xent_matches_twin),
      KERNEL_TEST(xent_by_hand),
      KERNEL_TEST(xent_extremes),
      KERNEL_TEST(xent_keeps_nan),
      KERNEL_TEST(xent_gradient_is_the_derivative),
      KERNEL_TEST(head_matches_twin),
      KERNEL_TEST(head_matches_twin_over_chunks),
      KERNEL_TEST(head_starts_with_forbidden_words),
      KERNEL_TEST(head_gradient_is_the_derivative),
      KERNEL_TEST(head_row_stands_alone),
      KERNEL_TEST(head_keeps_nan),
  };
  return cmocka_run_group_tests_name("loss_cross_entropy", tests, NULL, NULL);
}
