/* fading.c - small-scale fading of a round: none, Rayleigh, Rician, and its correlation over
 * rounds.
 *
 * The complex gain is h = sqrt(K/(K+1)) + sqrt(1/(K+1)) g with g circular Gaussian, E|g|^2 = 1, so
 * the power |h|^2 has mean 1. Over rounds g may be the Gauss-Markov process
 *   g(t+1) = r g(t) + sqrt(1-r^2) e(t),    E[g(t) g*(t+k)] = r^|k|.
 * Running that recursion would need a state or O(round) draws. The process is Markov, so a value
 * between two known ones depends on these two only, and g(t) is found by bisecting the rounds from
 * a coarse grid down to t, one Gaussian draw a step: exact, without a state, in log time. The grid
 * spacing is the power of two at which r^spacing < 2^-60, where neighbours are independent to
 * beyond the rounding of a double. */
#include "cell.h"
#include <assert.h>
#include <complex.h>
#include <math.h>

static double all_los(double k) {
  (void)k;
  return 1.0;
}

static double no_los(double k) {
  (void)k;
  return 0.0;
}

static double rician_los(double k) {
  return k / (k + 1.0);
}

static const struct {
  const char *name;
  double (*los_power)(double k);
} fading_models[] = {{"none", all_los}, {"rayleigh", no_los}, {"rician", rician_los}};

const char *fc_fading_name(size_t i) {
  return i < sizeof fading_models / sizeof *fading_models ? fading_models[i].name : NULL;
}

fading fading_make(size_t which, double k, double correlation) {
  assert(correlation >= 0 && correlation < 1);
  fading f = {.los_power = fading_models[which].los_power(k)};
  for (double power = correlation; power > 0x1p-60; power *= power) {
    assert(f.levels < FADING_LEVELS_MAX);
    f.correlation[f.levels++] = power;
  }
  return f;
}

/* The draw that belongs to this round alone; words 0-3 of its stream up, 4-7 down. */
static double complex innovation(const fc_cell *cell, uint64_t round, uint32_t device,
                                 link_direction direction) {
  fc_rng rng = fc_rng_open(cell->seed, FC_RNG_CHANNEL, round, device);
  rng.index = direction == LINK_DOWN ? 4 : 0; /* a block starts there */
  double re = fc_rng_normal(&rng);
  double im = fc_rng_normal(&rng);
  return (re + im * I) * M_SQRT1_2;
}

static double complex scattered(const fc_cell *cell, uint64_t round, uint32_t device,
                                link_direction direction) {
  const fading *f = &cell->fading;
  uint64_t span = (uint64_t)1 << f->levels, left = round & ~(span - 1);
  double complex at_left = innovation(cell, left, device, direction);
  if (left == round) return at_left;
  double complex at_right = innovation(cell, left + span, device, direction);
  for (unsigned level = f->levels; left != round; level--) {
    /* Between values a distance r^2 apart the middle is Gaussian with mean r/(1+r^2) times their
     * sum and variance (1-r^2)/(1+r^2): the conditional of three jointly Gaussian values. */
    double r = f->correlation[level - 1], norm = 1.0 + r * r;
    uint64_t middle = left + ((uint64_t)1 << (level - 1));
    double complex at_middle =
        r / norm * (at_left + at_right) +
        sqrt((1.0 - r) * (1.0 + r) / norm) * innovation(cell, middle, device, direction);
    if (round < middle) {
      at_right = at_middle;
    } else {
      left = middle;
      at_left = at_middle;
    }
  }
  return at_left;
}

double fading_power(const fc_cell *cell, uint64_t round, uint32_t device,
                    link_direction direction) {
  double los = cell->fading.los_power;
  if (los >= 1.0) return 1.0;
  double complex h = sqrt(los) + sqrt(1.0 - los) * scattered(cell, round, device, direction);
  return creal(h) * creal(h) + cimag(h) * cimag(h);
}
