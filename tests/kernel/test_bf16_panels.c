/* Rounding to bf16, and where packing puts each element. */
#include "bf16.h"
#include "kernel_test.h"

static void rounds_to_nearest_even(void **state) {
  (void)state;
  static const struct {
    uint32_t f32;
    fc_bf16 bf16;
  } cases[] = {
      {0x00000000, 0x0000}, {0x80000000, 0x8000}, {0x3f800000, 0x3f80}, /* 1 */
      {0x3f807fff, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f808001, 0x3f81}, /* about a tie, to even */
      {0x3f817fff, 0x3f81}, {0x3f818000, 0x3f82}, {0xbf818000, 0xbf82},
      {0x7f7f7fff, 0x7f7f}, {0x7f7f8000, 0x7f80}, /* beyond the largest: infinity */
      {0x7f800000, 0x7f80}, {0xff800000, 0xff80}, /* infinities */
  };
  for (int i = 0; i < LENGTH_OF(cases); i++)
    assert_int_equal(fc_bf16_of_float(fc_float_of_bits(cases[i].f32)), cases[i].bf16);
  assert_true(isnan(fc_float_of_bf16(fc_bf16_of_float(NAN))));
  assert_true(isnan(fc_float_of_bf16(fc_bf16_of_float(fc_float_of_bits(0x7f800001)))));
}

/* Every path rounds x to the same bits: a product with the identity shows them. */
static void all_paths_round_alike(void **state) {
  (void)state;
  enum { N = 64, I = 32 };
  static const char *const paths[] = {"amx", "avx512bf16", "plain"};
  float *x = normals(N * I, 1, 1), *W = zeros(I * I), *y = zeros(N * I);
  for (int n = 0; n < N; n++) /* some on a tie */
    x[n * I] = fc_float_of_bits((fc_bits_of_float(x[n * I]) & 0xffff0000u) | 0x8000u);
  for (int i = 0; i < I; i++) W[i * I + i] = 1;
  fc_bf16 *panels = new_array((int64_t)fc_k_bf16_panels(I, I), sizeof *panels);
  fc_k_bf16_pack(panels, W, I, I, I);
  for (int p = 0; p < LENGTH_OF(paths); p++) {
    if (!fc_k_bf16_use_path(paths[p])) continue;
    fc_k_linear_bf16(y, I, x, I, panels, I, N, I, I, NULL);
    for (int i = 0; i < N * I; i++) assert_true(y[i] == fc_float_of_bf16(fc_bf16_of_float(x[i])));
  }
}

static const int sizes[][2] = {{1, 1}, {16, 32}, {17, 33}, {50, 70}, {96, 64}};

/* The header's words: panel o/16, block i/32, pair (i%32)/2, column o%16, i%2. */
static void elements_lie_where_the_header_says(void **state) {
  (void)state;
  for (int s = 0; s < LENGTH_OF(sizes); s++) {
    const int O = sizes[s][0], I = sizes[s][1], ld = I + 2;
    const int across = (O + 15) / 16, down = (I + 31) / 32;
    const int64_t size = (int64_t)across * down * 512;
    assert_int_equal(fc_k_bf16_panels(O, I), size);
    const float *W = normals((int64_t)O * ld, 1, 2);
    fc_bf16 *panels = new_array(size, sizeof *panels);
    memset(panels, 0xff, (size_t)size * sizeof *panels);
    fc_k_bf16_pack(panels, W, ld, O, I);
    for (int o = 0; o < across * 16; o++)
      for (int i = 0; i < down * 32; i++) {
        const int64_t at =
            ((((int64_t)(o / 16) * down + i / 32) * 16 + i % 32 / 2) * 16 + o % 16) * 2 + i % 2;
        const bool there = o < O && i < I;
        assert_int_equal(panels[at], there ? fc_bf16_of_float(W[o * ld + i]) : 0);
      }
    free_arrays();
  }
}

static void transposed_packing_is_packing_the_transpose(void **state) {
  (void)state;
  for (int s = 0; s < LENGTH_OF(sizes); s++) {
    const int O = sizes[s][0], I = sizes[s][1], ld = I + 2;
    const float *W = normals((int64_t)O * ld, 1, 3);
    float *T = zeros((int64_t)I * O);
    for (int o = 0; o < O; o++)
      for (int i = 0; i < I; i++) T[(int64_t)i * O + o] = W[o * ld + i];
    const int64_t size = (int64_t)fc_k_bf16_panels(I, O);
    fc_bf16 *a = new_array(size, sizeof *a), *b = new_array(size, sizeof *b);
    fc_k_bf16_pack_transposed(a, W, ld, O, I);
    fc_k_bf16_pack(b, T, O, I, O);
    assert_memory_equal(a, b, (size_t)size * sizeof *a);
    free_arrays();
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      KERNEL_TEST(rounds_to_nearest_even),
      KERNEL_TEST(all_paths_round_alike),
      KERNEL_TEST(elements_lie_where_the_header_says),
      KERNEL_TEST(transposed_packing_is_packing_the_transpose),
  };
  return cmocka_run_group_tests_name("bf16_panels", tests, NULL, NULL);
}
