/* Rotary angles against the published formulas, and what they do to a model. */
#include "fixture.h"
#include "internal.h"

/* Llama 3.1: theta 500000, factor 8, 1 and 4, 8192 positions of pretraining. */
static fc_model_shape llama_31(void) {
  fc_model_shape s = small_shape("llama");
  s.width = 256; /* 2 heads of 128 */
  s.rope_theta = 500000.0F;
  s.rope_scaling = (fc_rope_scaling){8.0F, 1.0F, 4.0F, 8192};
  return s;
}

/* As the published code goes about it: by cases of the wavelength. */
static double by_cases(int pair, double theta, double factor, double low, double high, double old) {
  double frequency = 1.0 / pow(theta, 2.0 * pair / 128.0), wavelength = 2.0 * M_PI / frequency;
  if (wavelength < old / high) return frequency;
  if (wavelength > old / low) return frequency / factor;
  double smooth = (old / wavelength - low) / (high - low);
  return (1.0 - smooth) * frequency / factor + smooth * frequency;
}

static void frequencies_are_the_published_ones(void **state) {
  (void)state;
  fc_model_shape s = llama_31();
  int cases[3] = {0};
  for (int j = 0; j < 64; j++) {
    double want = by_cases(j, 500000.0, 8.0, 1.0, 4.0, 8192.0);
    double plain = pow(500000.0, -j / 64.0);
    double got = fc_model_rope_frequency(&s, j);
    if (!(fabs(got - want) <= 1e-12 * want)) fail_msg("pair %d: %.17g, not %.17g", j, got, want);
    cases[want == plain ? 0 : want < plain / 7.999 ? 1 : 2]++;
  }
  for (int c = 0; c < 3; c++) assert_true(cases[c] > 3); /* all three are met */
  s.rope_scaling.factor = 0.0F;
  for (int j = 0; j < 64; j++)
    assert_true(fabs(fc_model_rope_frequency(&s, j) * pow(500000.0, j / 64.0) - 1.0) < 1e-12);
}

static void table_holds_cosines_then_sines(void **state) {
  (void)state;
  fc_model_shape s = llama_31();
  enum { POSITIONS = 9, WIDTH = 128 };
  float *table = new_floats((size_t)POSITIONS * WIDTH);
  fc_model_rope_table(&s, POSITIONS, table);
  for (int t = 0; t < POSITIONS; t++)
    for (int j = 0; j < WIDTH / 2; j++) {
      double angle = t * fc_model_rope_frequency(&s, j);
      assert_true(fabs((double)table[t * WIDTH + j] - cos(angle)) < 1e-7);
      assert_true(fabs((double)table[t * WIDTH + WIDTH / 2 + j] - sin(angle)) < 1e-7);
    }
  fc_free(table);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(frequencies_are_the_published_ones),
      cmocka_unit_test(table_holds_cosines_then_sines),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
