/* A row of a product has the same bits however many rows, threads or parallel regions there are. */
#include "kernel_test.h"
#include <omp.h>

enum { MOST_ROWS = 600 };
static const int shapes[][2] = {{16, 16},   {64, 64},    {64, 192}, {64, 256},
                                {256, 64},  {100, 63},   {300, 47}, {128, 512},
                                {512, 128}, {768, 1024}, {1024, 32}};
static const int counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 17, 31, 32, 33, 64, 200, 511};

/* Every kind of product that yields rows: y = x W^T, dx = dy W, and LoRA's two. */
typedef struct {
  int I, O, R;
  float *x, *dy, *W, *bias, *A, *B;
} problem;

typedef struct {
  float *y, *dx, *adapted, *h;
} answer;

static problem new_problem(int I, int O, int R) {
  return (problem){.I = I,
                   .O = O,
                   .R = R,
                   .x = normals((int64_t)MOST_ROWS * I, 1, 1),
                   .dy = normals((int64_t)MOST_ROWS * O, 1, 2),
                   .W = normals((int64_t)O * I, 1, 3),
                   .bias = normals(O, 1, 4),
                   .A = normals((int64_t)R * I, 1, 5),
                   .B = normals((int64_t)O * R, 1, 6)};
}

static answer new_answer(const problem *p) {
  return (answer){.y = zeros((int64_t)MOST_ROWS * p->O),
                  .dx = zeros((int64_t)MOST_ROWS * p->I),
                  .adapted = zeros((int64_t)MOST_ROWS * p->O),
                  .h = zeros((int64_t)MOST_ROWS * p->R)};
}

/* Rows [first, first + n) of p into a's rows from 0. */
static void compute(const problem *p, answer *a, int64_t first, int64_t n) {
  const float *x = p->x + first * p->I, *dy = p->dy + first * p->O;
  fc_k_linear_fwd(a->y, p->O, x, p->I, p->W, p->I, p->bias, n, p->I, p->O, false);
  fc_k_linear_bwd_input(a->dx, p->I, dy, p->O, p->W, p->I, n, p->I, p->O, false);
  memset(a->adapted, 0, (size_t)(n * p->O) * sizeof(float));
  fc_k_lora_fwd(a->adapted, p->O, a->h, x, p->A, p->I, p->B, 2.0f, n, p->I, p->O, p->R);
}

static void assert_same_rows(const problem *p, const answer *a, const answer *whole, int64_t first,
                             int64_t n) {
  assert_same_bits(a->y, whole->y + first * p->O, n * p->O);
  assert_same_bits(a->dx, whole->dx + first * p->I, n * p->I);
  assert_same_bits(a->h, whole->h + first * p->R, n * p->R);
  assert_same_bits(a->adapted, whole->adapted + first * p->O, n * p->O);
}

static void rows_do_not_depend_on_their_number(void **state) {
  (void)state;
  for (int s = 0; s < LENGTH_OF(shapes); s++)
    for (int R = 1; R <= 64; R *= 4) {
      if (shapes[s][0] > 512 && R != 16) continue; /* the large ones once */
      const problem p = new_problem(shapes[s][0], shapes[s][1], R);
      answer whole = new_answer(&p), part = new_answer(&p);
      compute(&p, &whole, 0, MOST_ROWS);
      for (int c = 0; c < LENGTH_OF(counts); c++) {
        const int64_t first = (7 * c) % (MOST_ROWS - counts[c] + 1);
        compute(&p, &part, first, counts[c]);
        assert_same_rows(&p, &part, &whole, first, counts[c]);
      }
      free_arrays();
    }
}

static void rows_do_not_depend_on_threads(void **state) {
  (void)state;
  const int threads = omp_get_max_threads();
  for (int s = 0; s < LENGTH_OF(shapes); s++) {
    const problem p = new_problem(shapes[s][0], shapes[s][1], 8);
    answer one = new_answer(&p), more = new_answer(&p);
    float *dW_one = zeros((int64_t)p.O * p.I), *dW_more = zeros((int64_t)p.O * p.I);
    omp_set_num_threads(1);
    compute(&p, &one, 0, MOST_ROWS);
    fc_k_linear_bwd_weight(dW_one, p.I, NULL, p.dy, p.O, p.x, p.I, MOST_ROWS, p.I, p.O);
    for (int t = 2; t <= 3; t++) {
      omp_set_num_threads(t);
      compute(&p, &more, 0, MOST_ROWS);
      assert_same_rows(&p, &more, &one, 0, MOST_ROWS);
      memset(dW_more, 0, (size_t)p.O * (size_t)p.I * sizeof *dW_more);
      fc_k_linear_bwd_weight(dW_more, p.I, NULL, p.dy, p.O, p.x, p.I, MOST_ROWS, p.I, p.O);
      assert_same_bits(dW_more, dW_one, (int64_t)p.O * p.I);
    }
    free_arrays();
  }
  omp_set_num_threads(threads);
}

static void rows_do_not_depend_on_a_parallel_region(void **state) {
  (void)state;
  const problem p = new_problem(64, 256, 8);
  answer outside = new_answer(&p), inside[2] = {new_answer(&p), new_answer(&p)};
  compute(&p, &outside, 0, MOST_ROWS);
#pragma omp parallel for num_threads(2)
  for (int i = 0; i < 2; i++) compute(&p, &inside[i], 0, MOST_ROWS);
  for (int i = 0; i < 2; i++) assert_same_rows(&p, &inside[i], &outside, 0, MOST_ROWS);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      KERNEL_TEST(rows_do_not_depend_on_their_number),
      KERNEL_TEST(rows_do_not_depend_on_threads),
      KERNEL_TEST(rows_do_not_depend_on_a_parallel_region),
  };
  return cmocka_run_group_tests_name("linear_rows", tests, NULL, NULL);
}
