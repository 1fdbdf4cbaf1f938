/* A weighted mean that comes in groups has the bits of one that comes at once, and is the mean. */
#include "fedcell/fc_mean.h"
#include "single_rank.h"

enum { ROWS = 11, N = 5003, LD = N + 5 };

typedef struct {
  float *x, *base; /* (ROWS, N) LD, (N) */
  double weight[ROWS];
} problem;

static problem make(void) {
  problem p = {new_memory((size_t)ROWS * LD, sizeof(float)), new_memory(N, sizeof(float)), {0}};
  random_floats(1, (size_t)ROWS * LD, p.x);
  random_floats(2, N, p.base);
  for (int r = 0; r < ROWS; r++) p.weight[r] = (r + 1) / 66.0;
  return p;
}

static void drop(problem *p) {
  fc_free(p->x);
  fc_free(p->base);
}

static double largest_of(const problem *p) {
  double largest = 0;
  for (int r = 0; r < ROWS; r++)
    largest = fmax(largest, (double)fc_k_max_abs_difference(p->x + (size_t)r * LD, p->base, N));
  return largest;
}

/* In groups of so many rows, the last group first. */
static float *mean_in_groups(const problem *p, int rows) {
  fc_mean *m = NULL;
  float *out = new_memory(N, sizeof *out);
  OK(fc_mean_create(comm, N, largest_of(p), &m));
  for (int r = (ROWS - 1) / rows * rows; r >= 0; r -= rows)
    fc_mean_add(m, p->x + (size_t)r * LD, LD, p->base, p->weight + r,
                ROWS - r < rows ? ROWS - r : rows);
  OK(fc_mean_take(m, out));
  fc_mean_destroy(&m);
  assert_null(m);
  fc_mean_destroy(&m); /* accepts NULL */
  return out;
}

static void groups_do_not_matter(void **state) {
  (void)state;
  problem p = make();
  float *whole = mean_in_groups(&p, ROWS);
  for (int i = 0; i < N; i++) {
    double mean = 0;
    for (int r = 0; r < ROWS; r++)
      mean += p.weight[r] * ((double)p.x[(size_t)r * LD + i] - (double)p.base[i]);
    CLOSE(whole[i], mean, 1e-6);
  }
  for (int rows = 1; rows < ROWS; rows++) {
    float *out = mean_in_groups(&p, rows);
    assert_memory_equal(out, whole, N * sizeof *out);
    fc_free(out);
  }
  fc_free(whole);
  drop(&p);
}

static void zeros_have_a_mean(void **state) {
  (void)state;
  fc_mean *m = NULL;
  const float x[3] = {0, -0.0F, 0};
  const double one = 1;
  float out[3] = {1, 2, 3};
  OK(fc_mean_create(comm, 3, 0, &m));
  fc_mean_add(m, x, 3, NULL, &one, 1);
  OK(fc_mean_take(m, out));
  for (int i = 0; i < 3; i++) assert_true(out[i] == 0);
  fc_mean_destroy(&m);
}

static void without_memory_or_scale(void **state) {
  (void)state;
  fc_mean *m = NULL;
  for (size_t n = 1; n <= 2; n++) {
    fc_mem_fail_at(n);
    assert_int_equal(fc_mean_create(comm, 100, 1, &m), FC_ERR_NOMEM);
    assert_null(m);
  }
  fc_mem_fail_at(0);
  FAILS(fc_mean_create(comm, 3, (double)INFINITY, &m), NUMERIC,
        "a weighted mean's largest element is inf");
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(groups_do_not_matter),
                                          cmocka_unit_test(zeros_have_a_mean),
                                          cmocka_unit_test(without_memory_or_scale)};
SINGLE_RANK_MAIN(tests)
