/* Log-probabilities and entropies by the LM head: twins, known values, rows apart, extremes. */
#include "kernel_test.h"

typedef struct {
  int64_t N;
  int C, V;
  float *x;
  fc_lm_table table;
  const int32_t *targets;
  double *log_prob, *entropy;
} head;

/* Logits of the order of 3. */
static head new_head(int64_t N, int C, int V, bool bias) {
  return (head){.N = N,
                .C = C,
                .V = V,
                .x = normals(N * C, 1, 1),
                .table = {.W = normals((int64_t)V * C, 3.0 / sqrt(C), 2),
                          .bias = bias ? normals(V, 1, 3) : NULL},
                .targets = random_ints(N, (uint64_t)V, 4),
                .log_prob = new_array(N, sizeof(double)),
                .entropy = new_array(N, sizeof(double))};
}

static void run(head *h) {
  float *scratch = zeros((int64_t)fc_k_lm_log_prob_scratch(h->N, h->V));
  fc_k_lm_log_prob(h->log_prob, h->entropy, h->x, &h->table, h->targets, h->N, h->C, h->V, scratch);
}

static void run_ref(head *h) {
  fc_k_lm_log_prob_ref(h->log_prob, h->entropy, h->x, &h->table, h->targets, h->N, h->C, h->V,
                       NULL);
}

static void assert_near(const double *a, const double *b, int64_t n, double tolerance) {
  for (int64_t i = 0; i < n; i++)
    if (!(fabs(a[i] - b[i]) <= tolerance * (1.0 + fabs(b[i]))))
      fail_msg("element %lld is %.9g, expected %.9g", (long long)i, a[i], b[i]);
}

static void matches_twin(void **state) {
  (void)state;
  static const int shapes[][3] = {{0, 5, 7},     {1, 1, 1},    {1, 16, 5},   {3, 63, 64},
                                  {17, 16, 513}, {300, 5, 33}, {7, 6, 4097}, {3, 5, 9007}};
  for (int i = 0; i < LENGTH_OF(shapes); i++)
    for (int bias = 0; bias < 2; bias++) {
      const int *s = shapes[i];
      head h = new_head(s[0], s[1], s[2], bias), r = new_head(s[0], s[1], s[2], bias);
      run(&h);
      run_ref(&r);
      assert_near(h.log_prob, r.log_prob, h.N, 2e-6);
      assert_near(h.entropy, r.entropy, h.N, 2e-6);
      free_arrays();
    }
}

/* p = 1/4 and 3/4; then V equal words. */
static void known_values(void **state) {
  (void)state;
  head h = new_head(1, 1, 2, true);
  const float W[2] = {0, 0}, bias[2] = {0, logf(3)};
  h.table = (fc_lm_table){.W = W, .bias = bias};
  h.targets = (const int32_t[]){0};
  run(&h);
  assert_near(h.log_prob, (const double[]){log(0.25)}, 1, 1e-7);
  assert_near(h.entropy, (const double[]){-0.25 * log(0.25) - 0.75 * log(0.75)}, 1, 1e-7);
  head even = new_head(1, 1, 5000, false);
  even.table.W = zeros(5000);
  run(&even);
  assert_near(even.log_prob, (const double[]){-log(5000)}, 1, 1e-7);
  assert_near(even.entropy, (const double[]){log(5000)}, 1, 1e-7);
}

/* What the loss says of the same rows, as exactly as a float can. */
static void agrees_with_the_loss(void **state) {
  (void)state;
  enum { N = 40, C = 16, V = 5000 };
  head h = new_head(N, C, V, true);
  float *loss = zeros(N), *scale = zeros(N);
  run(&h);
  fc_k_lm_head(loss, NULL, NULL, NULL, NULL, h.x, &h.table, h.targets, scale, N, C, V,
               zeros((int64_t)fc_k_lm_head_scratch(N, C, V)));
  for (int n = 0; n < N; n++) assert_true(fabs(loss[n] + h.log_prob[n]) <= 1e-6 * (1 + loss[n]));
}

/* Maxima that rise from chunk to chunk by more than exp can hold, and words that are forbidden. */
static void extremes(void **state) {
  (void)state;
  enum { V = 9000 };
  head h = new_head(2, 1, V, true), r = h;
  float *bias = zeros(V);
  for (int v = 0; v < V; v++) bias[v] = v < 4500 ? -INFINITY : v < 8500 ? -3e4f : (float)(v % 7);
  h.table.W = zeros(V);
  h.table.bias = bias;
  h.targets = (const int32_t[]){8999, 5000};
  r = h;
  r.log_prob = new_array(2, sizeof(double));
  r.entropy = new_array(2, sizeof(double));
  run(&h);
  run_ref(&r);
  assert_near(h.log_prob, r.log_prob, 2, 1e-6);
  assert_near(h.entropy, r.entropy, 2, 1e-6);
  for (int v = 0; v < V; v++) bias[v] = v == 7 ? 3e38f : -3e38f;
  run(&h);
  assert_true(h.entropy[0] == 0.0 && h.log_prob[0] < -1e38);
}

static void row_stands_alone(void **state) {
  (void)state;
  enum { N = 300, C = 16, V = 5000 };
  head all = new_head(N, C, V, true);
  run(&all);
  for (int64_t n = 0; n < N; n += 23) {
    head one = new_head(1, C, V, true);
    memcpy(one.x, all.x + n * C, C * sizeof(float));
    one.targets = all.targets + n;
    run(&one);
    assert_memory_equal(one.log_prob, all.log_prob + n, sizeof(double));
    assert_memory_equal(one.entropy, all.entropy + n, sizeof(double));
  }
}

/* Wherever it stands: of the row's input, of a word, of an infinite logit. */
static void keeps_nan(void **state) {
  (void)state;
  head h = new_head(9, 16, 100, true);
  h.x[4 * 16 + 15] = NAN;
  h.x[6 * 16] = INFINITY;
  run(&h);
  for (int n = 0; n < 9; n++) {
    assert_int_equal(isnan(h.log_prob[n]) != 0, n == 4 || n == 6);
    assert_int_equal(isnan(h.entropy[n]) != 0, n == 4 || n == 6);
  }
}

static void bf16_panels_are_close(void **state) {
  (void)state;
  enum { N = 21, C = 48, V = 5000 };
  head h = new_head(N, C, V, true), r = new_head(N, C, V, true);
  fc_bf16 *panels = new_array((int64_t)fc_k_bf16_panels(V, C), sizeof *panels);
  run_ref(&r);
  fc_k_bf16_pack(panels, h.table.W, C, V, C);
  h.table.panels = h.table.panels_t = panels;
  run(&h);
  assert_near(h.log_prob, r.log_prob, N, 0.02);
  assert_near(h.entropy, r.entropy, N, 0.02);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      KERNEL_TEST(matches_twin),          KERNEL_TEST(known_values),
      KERNEL_TEST(agrees_with_the_loss),  KERNEL_TEST(extremes),
      KERNEL_TEST(row_stands_alone),      KERNEL_TEST(keeps_nan),
      KERNEL_TEST(bf16_panels_are_close),
  };
  return cmocka_run_group_tests_name("lm_log_prob", tests, NULL, NULL);
}
