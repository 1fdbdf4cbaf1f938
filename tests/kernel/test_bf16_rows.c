/* A row of a bf16 product has the same bits however many rows, threads or parallel regions there
 * are, on every path this CPU has. */
#include "kernel_test.h"
#include <omp.h>

enum { MOST_ROWS = 600, R = 5 };
static const char *const paths[] = {"amx", "avx512bf16", "plain"};
static const int shapes[][2] = {{32, 32}, {70, 190}, {129, 300}, {1100, 70}};
static const int counts[] = {1, 2, 3, 15, 16, 17, 31, 33, 64, 255, 257, 511};

/* With everything that may be added, and an adapter for the last 400 rows of all. */
typedef struct {
  int I, O;
  float *x, *start, *bias, *h, *B;
  fc_bf16 *panels;
} problem;

static problem new_problem(int I, int O) {
  problem p = {.I = I,
               .O = O,
               .x = normals((int64_t)MOST_ROWS * I, 1, 1),
               .start = normals((int64_t)MOST_ROWS * O, 1, 2),
               .bias = normals(O, 1, 3),
               .h = normals((int64_t)MOST_ROWS * R, 1, 4),
               .B = normals((int64_t)O * R, 1, 5)};
  p.panels = new_array((int64_t)fc_k_bf16_panels(O, I), sizeof *p.panels);
  fc_k_bf16_pack(p.panels, normals((int64_t)O * I, 1, 6), I, O, I);
  return p;
}

/* y, act (n,O) of rows [first, first + n). */
static void compute(const problem *p, float *y, float *act, int64_t first, int64_t n) {
  const int64_t adapted = first > 200 ? first : 200; /* first row of all with the adapter */
  const fc_lora_term term = {.row = adapted - first,
                             .rows = MOST_ROWS,
                             .columns = p->O,
                             .h = p->h + adapted * R,
                             .B = p->B,
                             .R = R,
                             .B_o = R,
                             .B_r = 1,
                             .s = 2};
  const fc_bf16_epilogue e = {.accumulate = true,
                              .bias = p->bias,
                              .terms = 1,
                              .term = &term,
                              .act_out = act,
                              .act = FC_ACT_GELU_TANH};
  memcpy(y, p->start + first * p->O, (size_t)(n * p->O) * sizeof *y);
  fc_k_linear_bf16(y, p->O, p->x + first * p->I, p->I, p->panels, p->I, n, p->I, p->O, &e);
}

static void on_all_paths(void (*check)(const problem *p, float *y, float *act)) {
  for (int i = 0; i < LENGTH_OF(paths); i++) {
    if (!fc_k_bf16_use_path(paths[i])) continue;
    for (int s = 0; s < LENGTH_OF(shapes); s++) {
      const problem p = new_problem(shapes[s][0], shapes[s][1]);
      float *y = zeros((int64_t)MOST_ROWS * p.O), *act = zeros((int64_t)MOST_ROWS * p.O);
      compute(&p, y, act, 0, MOST_ROWS);
      check(&p, y, act);
      free_arrays();
    }
  }
}

static void check_numbers(const problem *p, float *whole, float *whole_act) {
  float *y = zeros((int64_t)MOST_ROWS * p->O), *act = zeros((int64_t)MOST_ROWS * p->O);
  for (int c = 0; c < LENGTH_OF(counts); c++) {
    const int64_t first = (97 * c) % (MOST_ROWS - counts[c] + 1);
    compute(p, y, act, first, counts[c]);
    assert_same_bits(y, whole + first * p->O, (int64_t)counts[c] * p->O);
    assert_same_bits(act, whole_act + first * p->O, (int64_t)counts[c] * p->O);
  }
}

static void rows_do_not_depend_on_their_number(void **state) {
  (void)state;
  on_all_paths(check_numbers);
}

static void check_threads(const problem *p, float *whole, float *whole_act) {
  const int threads = omp_get_max_threads();
  float *y = zeros((int64_t)MOST_ROWS * p->O), *act = zeros((int64_t)MOST_ROWS * p->O);
  for (int t = 1; t <= 6; t += t < 3 ? 1 : 3) { /* 1, 2, 3, 6 */
    omp_set_num_threads(t);
    compute(p, y, act, 0, MOST_ROWS);
    assert_same_bits(y, whole, (int64_t)MOST_ROWS * p->O);
    assert_same_bits(act, whole_act, (int64_t)MOST_ROWS * p->O);
  }
  omp_set_num_threads(threads);
}

static void rows_do_not_depend_on_threads(void **state) {
  (void)state;
  on_all_paths(check_threads);
}

static void check_region(const problem *p, float *whole, float *whole_act) {
  float *y[2], *act[2];
  for (int i = 0; i < 2; i++) {
    y[i] = zeros((int64_t)MOST_ROWS * p->O);
    act[i] = zeros((int64_t)MOST_ROWS * p->O);
  }
#pragma omp parallel for num_threads(2)
  for (int i = 0; i < 2; i++) compute(p, y[i], act[i], 0, MOST_ROWS);
  for (int i = 0; i < 2; i++) {
    assert_same_bits(y[i], whole, (int64_t)MOST_ROWS * p->O);
    assert_same_bits(act[i], whole_act, (int64_t)MOST_ROWS * p->O);
  }
}

static void rows_do_not_depend_on_a_parallel_region(void **state) {
  (void)state;
  on_all_paths(check_region);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      KERNEL_TEST(rows_do_not_depend_on_their_number),
      KERNEL_TEST(rows_do_not_depend_on_threads),
      KERNEL_TEST(rows_do_not_depend_on_a_parallel_region),
  };
  return cmocka_run_group_tests_name("bf16_rows", tests, NULL, NULL);
}
