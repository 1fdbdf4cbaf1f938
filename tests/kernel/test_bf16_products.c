/* The bf16 product on every path this CPU has, against its twin: odd shapes, prefix views, what is
 * added and applied, values that are not finite. */
#include "bf16.h"
#include "kernel_test.h"

static const char *const paths[] = {"amx", "avx512bf16", "plain"};

/* Product and twin round their inputs alike, so only f32 sums differ: of I terms of size 1, each
 * addition rounding by up to 2^-24 of a sum of size sqrt(I). */
static double tolerance(int I) {
  return 1e-6 + 1.5e-7 * I;
}

typedef struct {
  int64_t N;
  int I, O, panel_I, ldx, ldy;
  float *x, *start, *bias;
  fc_bf16 *panels;
} problem;

static problem new_problem(int64_t N, int panel_I, int panel_O, int I, int O) {
  problem p = {.N = N, .I = I, .O = O, .panel_I = panel_I, .ldx = I + 3, .ldy = O + 5};
  p.x = normals(N * p.ldx, 1, 1);
  p.start = normals(N * p.ldy, 1, 2);
  p.bias = normals(O, 1, 3);
  p.panels = new_array((int64_t)fc_k_bf16_panels(panel_O, panel_I), sizeof *p.panels);
  fc_k_bf16_pack(p.panels, normals((int64_t)panel_O * panel_I, 1, 4), panel_I, panel_O, panel_I);
  return p;
}

/* On all paths: the same as the twin, and nothing written beside y's columns. */
static void check(const problem *p, fc_bf16_epilogue e) {
  const int64_t size = p->N * p->ldy;
  float *expected = copy_of(p->start, size), *act_expected = zeros(size), *act = zeros(size);
  const bool activates = e.act_out != NULL;
  e.act_out = activates ? act_expected : NULL;
  fc_k_linear_bf16_ref(expected, p->ldy, p->x, p->ldx, p->panels, p->panel_I, p->N, p->I, p->O, &e);
  e.act_out = activates ? act : NULL;
  for (int i = 0; i < LENGTH_OF(paths); i++) {
    if (!fc_k_bf16_use_path(paths[i])) continue;
    float *y = copy_of(p->start, size);
    memset(act, 0, (size_t)size * sizeof *act);
    fc_k_linear_bf16(y, p->ldy, p->x, p->ldx, p->panels, p->panel_I, p->N, p->I, p->O, &e);
    assert_close(y, expected, size, tolerance(p->I), 1e-6);
    assert_close(act, act_expected, size, 2 * tolerance(p->I), 1e-5);
    for (int64_t n = 0; n < p->N; n++)
      assert_same_bits(y + n * p->ldy + p->O, p->start + n * p->ldy + p->O, p->ldy - p->O);
  }
}

static void equals_its_twin_on_odd_shapes(void **state) {
  (void)state;
  static const int64_t rows[] = {1, 2, 15, 16, 17, 31, 32, 33, 63, 257, 301};
  static const int widths[][2] = {{1, 1},   {2, 16},  {31, 15},  {32, 17},   {33, 31},
                                  {64, 32}, {65, 33}, {100, 50}, {769, 100}, {1601, 35}};
  for (int n = 0; n < LENGTH_OF(rows); n++)
    for (int w = 0; w < LENGTH_OF(widths); w++) {
      const int I = widths[w][0], O = widths[w][1];
      const problem p = new_problem(rows[n], I, O, I, O);
      check(&p, (fc_bf16_epilogue){0});
      check(&p, (fc_bf16_epilogue){.accumulate = true});
      check(&p, (fc_bf16_epilogue){.bias = p.bias});
      free_arrays();
    }
}

static void no_inputs_leave_what_is_added(void **state) {
  (void)state;
  const problem p = new_problem(5, 32, 20, 0, 20);
  check(&p, (fc_bf16_epilogue){0});
  check(&p, (fc_bf16_epilogue){.bias = p.bias, .accumulate = true});
  const problem none = new_problem(0, 32, 20, 32, 20);
  check(&none, (fc_bf16_epilogue){0});
}

/* Panels of 100 outputs and 200 inputs seen as smaller ones, also not from their beginning. */
static void views_of_panels_are_smaller_matrices(void **state) {
  (void)state;
  static const int sizes[][4] = {
      {0, 0, 90, 190}, {0, 0, 33, 65}, {0, 0, 16, 64}, {16, 32, 50, 100}, {96, 192, 4, 8}};
  const int O = 100, I = 200;
  const float *W = normals((int64_t)O * I, 1, 4);
  for (int s = 0; s < LENGTH_OF(sizes); s++) {
    const int o = sizes[s][0], i = sizes[s][1];
    problem p = new_problem(37, I, O, sizes[s][3], sizes[s][2]);
    p.panels += fc_k_bf16_at(p.panels, I, o, i) - p.panels;
    check(&p, (fc_bf16_epilogue){.bias = p.bias});
    /* and the twin's view is that of W */
    float *a = zeros(p.N * p.ldy), *b = zeros(p.N * p.ldy), *rounded = zeros((int64_t)O * I);
    for (int64_t k = 0; k < (int64_t)O * I; k++)
      rounded[k] = fc_float_of_bf16(fc_bf16_of_float(W[k]));
    for (int64_t k = 0; k < p.N * p.ldx; k++) p.x[k] = fc_float_of_bf16(fc_bf16_of_float(p.x[k]));
    fc_k_linear_bf16_ref(a, p.ldy, p.x, p.ldx, p.panels, I, p.N, p.I, p.O, NULL);
    fc_k_linear_fwd_ref(b, p.ldy, p.x, p.ldx, rounded + (int64_t)o * I + i, I, NULL, p.N, p.I, p.O,
                        false);
    assert_same_bits(a, b, p.N * p.ldy);
  }
}

/* Two devices with ranks 3 and 40, which touch some columns each, a third that acts on all of the
 * last rows again, and one given as A in the backward pass. */
static void adapters_act_on_their_rows_and_columns(void **state) {
  (void)state;
  static const int64_t rows[] = {60, 300};
  for (int n = 0; n < LENGTH_OF(rows); n++) {
    const int64_t N = rows[n], half = N / 2 + 1;
    const problem p = new_problem(N, 70, 90, 70, 90);
    const float *h = normals(N * 40, 1, 5), *B = normals(90 * 40, 1, 6);
    const fc_lora_term term[] = {
        {.row = 0,
         .rows = half,
         .column = 5,
         .columns = 40,
         .h = h,
         .B = B,
         .R = 3,
         .B_o = 3,
         .B_r = 1,
         .s = 2},
        {.row = half,
         .rows = N - half,
         .column = 50,
         .columns = 40,
         .h = h,
         .B = B,
         .R = 40,
         .B_o = 40,
         .B_r = 1,
         .s = 0.5f},
        {.row = half,
         .rows = N - half,
         .columns = 90,
         .h = h,
         .B = B,
         .R = 4,
         .B_o = 4,
         .B_r = 1,
         .s = -1},
        {.row = 17, .rows = 3, .columns = 90, .h = h, .B = B, .R = 2, .B_o = 1, .B_r = 90, .s = 1}};
    fc_bf16_epilogue e = {.terms = LENGTH_OF(term), .term = term};
    check(&p, e);
    e.bias = p.bias;
    check(&p, e);
    e.accumulate = true;
    check(&p, e);
    e.act_out = p.start;
    for (e.act = FC_ACT_GELU_TANH; e.act <= FC_ACT_RELU; e.act++) check(&p, e);
  }
}

static void what_is_not_finite_shows_up(void **state) {
  (void)state;
  const int I = 70, O = 40, N = 20;
  for (int i = 0; i < LENGTH_OF(paths); i++) {
    if (!fc_k_bf16_use_path(paths[i])) continue;
    problem p = new_problem(N, I, O, I, O);
    p.x[3 * p.ldx + 69] = NAN;
    p.x[4 * p.ldx + 1] = INFINITY;
    p.panels[fc_bf16_index(I, 7, 11)] = fc_bf16_of_float(NAN);
    float *y = zeros(N * p.ldy);
    fc_k_linear_bf16(y, p.ldy, p.x, p.ldx, p.panels, I, N, I, O, NULL);
    for (int n = 0; n < N; n++)
      for (int o = 0; o < O; o++) {
        const float v = y[n * p.ldy + o];
        if (n == 3 || o == 7)
          assert_true(isnan(v));
        else
          assert_true(n == 4 ? isinf(v) : isfinite(v));
      }
  }
}

static void a_path_is_chosen_by_name(void **state) {
  (void)state;
  assert_true(fc_k_bf16_use_path("plain"));
  assert_string_equal(fc_k_bf16_path(), "plain");
  assert_false(fc_k_bf16_is_fast());
  assert_false(fc_k_bf16_use_path("abacus"));
  assert_false(fc_k_bf16_use_path(""));
  assert_string_equal(fc_k_bf16_path(), "plain");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      KERNEL_TEST(equals_its_twin_on_odd_shapes),
      KERNEL_TEST(no_inputs_leave_what_is_added),
      KERNEL_TEST(views_of_panels_are_smaller_matrices),
      KERNEL_TEST(adapters_act_on_their_rows_and_columns),
      KERNEL_TEST(what_is_not_finite_shows_up),
      KERNEL_TEST(a_path_is_chosen_by_name),
  };
  return cmocka_run_group_tests_name("bf16_products", tests, NULL, NULL);
}
