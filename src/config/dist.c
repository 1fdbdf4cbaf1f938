/* dist.c - quantities that vary over devices: draws and means. Draws never leave the range their
 * kind promises, rounding included. */
#include "config_private.h"
#include <assert.h>
#include <math.h>

static double clamp(double x, double lo, double hi) {
  return x < lo ? lo : x > hi ? hi : x;
}

/* min > max means no clipping. */
static double clip(const fc_dist *d, double x) {
  return d->min > d->max ? x : clamp(x, d->min, d->max);
}

double fc_dist_draw(const fc_dist *d, fc_rng *rng) {
  switch (d->kind) {
  case FC_DIST_CONSTANT:
    return d->a;
  case FC_DIST_UNIFORM: {
    double u = fc_rng_uniform(rng); /* as a weighted mean: b - a may overflow */
    return clamp((1.0 - u) * d->a + u * d->b, d->a, d->b);
  }
  case FC_DIST_LOG_UNIFORM: {
    double u = fc_rng_uniform(rng);
    return clamp(exp((1.0 - u) * log(d->a) + u * log(d->b)), d->a, d->b);
  }
  case FC_DIST_NORMAL:
    return clip(d, d->a + d->b * fc_rng_normal(rng));
  case FC_DIST_CHOICE: {
    size_t i = (size_t)(fc_rng_uniform(rng) * (double)d->n);
    return d->choices[i < d->n ? i : d->n - 1];
  }
  }
  assert(!"unknown kind of distribution");
  return NAN;
}

static double normal_density(double z) {
  return exp(-0.5 * z * z) / sqrt(2.0 * M_PI);
}

static double normal_below(double z) {
  return 0.5 * erfc(-z / sqrt(2.0));
}

/* E[min(max(X, lo), hi)] of X ~ N(mean, sd): the two clipped tails sit on the ends, the middle
 * keeps its own mean, E[X; lo < X < hi] = mean (P(hi) - P(lo)) + sd (p(lo) - p(hi)). */
static double clipped_normal_mean(const fc_dist *d) {
  if (d->min > d->max) return d->a;
  if (!(d->b > 0.0)) return clip(d, d->a);
  double lo = (d->min - d->a) / d->b, hi = (d->max - d->a) / d->b;
  double below = normal_below(lo), above = normal_below(-hi);
  double tails = (below > 0.0 ? d->min * below : 0.0) + (above > 0.0 ? d->max * above : 0.0);
  double middle = d->a * (1.0 - below - above) + d->b * (normal_density(lo) - normal_density(hi));
  return clip(d, tails + middle);
}

double fc_dist_mean(const fc_dist *d) {
  switch (d->kind) {
  case FC_DIST_CONSTANT:
    return d->a;
  case FC_DIST_UNIFORM:
    return 0.5 * d->a + 0.5 * d->b;
  case FC_DIST_LOG_UNIFORM: { /* (b - a) / ln(b / a) */
    if (d->a == d->b) return d->a;
    double width = d->b - d->a;
    double ln_ratio = width < d->a ? log1p(width / d->a) : log(d->b) - log(d->a);
    return width / ln_ratio;
  }
  case FC_DIST_NORMAL:
    return clipped_normal_mean(d);
  case FC_DIST_CHOICE: {
    double sum = 0.0;
    for (size_t i = 0; i < d->n; i++) sum += d->choices[i] / (double)d->n;
    return sum;
  }
  }
  assert(!"unknown kind of distribution");
  return NAN;
}
