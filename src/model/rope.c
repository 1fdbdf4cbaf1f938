/* rope.c - the angles of rotary positions [Su+ 2021, (34)] and LLaMA-3's stretch of them.
 *
 * Pair j of a head turns by theta^(-2j/width) a position. LLaMA-3 divides the frequencies whose
 * wavelength is beyond original_positions/low_freq_factor by `factor`, keeps those below
 * original_positions/high_freq_factor and goes over linearly between them [Grattafiori+ 2024, 3.2;
 * the formula is that of their published code]. */
#include "internal.h"
#include <math.h>

static double stretched(const fc_rope_scaling *r, double frequency) {
  double low = (double)r->low_freq_factor, high = (double)r->high_freq_factor;
  double turns = r->original_positions * frequency / (2.0 * M_PI); /* within pretraining's length */
  double kept = (turns - low) / (high - low);
  kept = kept < 0.0 ? 0.0 : kept > 1.0 ? 1.0 : kept;
  return frequency * (kept + (1.0 - kept) / (double)r->factor);
}

double fc_model_rope_frequency(const fc_model_shape *s, int pair) {
  int width = s->width / s->heads;
  double frequency = pow((double)s->rope_theta, -2.0 * pair / width);
  return s->rope_scaling.factor == 0.0F ? frequency : stretched(&s->rope_scaling, frequency);
}

void fc_model_rope_table(const fc_model_shape *s, int positions, float *table) {
  int width = s->width / s->heads, half = width / 2;
  for (int j = 0; j < half; j++) {
    double frequency = fc_model_rope_frequency(s, j);
    for (int64_t t = 0; t < positions; t++) {
      table[t * width + j] = (float)cos((double)t * frequency);
      table[t * width + half + j] = (float)sin((double)t * frequency);
    }
  }
}
