/* interference.c - co-channel devices of neighbouring cells, as seen by the base's receiver.
 *
 * Base stations form a Poisson field of density phi, each with one device on the same share of the
 * band. Seen from the base, such devices at distance r have density phi (1 - exp(-12/5 pi phi r^2))
 * [Haenggi 2017], the repulsion that the own cell causes; [SW (15)] in its corrected form uses the
 * same. The nearest points are drawn in the order of distance, Rayleigh faded; what lies beyond the
 * last one is replaced by its mean. */
#include "cell.h"
#include <math.h>

enum { CANDIDATES = 100 }; /* at alpha = 3.8 what lies beyond them is below 2 % of the whole */

double interference_power_w(const fc_cell *cell, uint64_t round, uint32_t device) {
  double phi = cell->interferer_density_per_m2;
  if (!(phi > 0.0)) return 0.0;
  fc_rng rng = fc_rng_open(cell->seed, FC_RNG_CHANNEL, round, device);
  rng.index = FADING_WORDS; /* a block starts there */
  const geometry *g = &cell->geometry;
  double square_m2 = 0.0, sum = 0.0;
  for (int i = 0; i < CANDIDATES; i++) {
    /* the area between neighbours of a Poisson field is exponential */
    square_m2 += fc_rng_exponential(&rng) / (M_PI * phi);
    double kept = -expm1(-2.4 * M_PI * phi * square_m2);
    bool there = fc_rng_uniform(&rng) < kept;
    double fade = fc_rng_exponential(&rng);
    double loss_db = cell->pathloss->los(g, sqrt(square_m2), 0.0).loss_db;
    if (there) sum += fade * fmin(1.0, pow(10.0, -loss_db / 10.0));
  }
  /* integral of 2 pi phi r L(r) from the last point on, L the power law */
  double last_m = sqrt(square_m2);
  double last_gain = pow(10.0, -cell->pathloss->los(g, last_m, 0.0).loss_db / 10.0);
  sum += 2.0 * M_PI * phi * square_m2 * last_gain / (g->exponent - 2.0);
  return cell->interferer_power_w * sum;
}
