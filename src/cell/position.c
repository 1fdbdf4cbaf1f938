/* position.c - where a device stands in a round, and what surrounds it there.
 *
 * Everything is a function of (seed, round, device). A random-waypoint walk is followed from its
 * start: round x period x speed / (mean leg of about 0.9 radius) legs, some tens of nanoseconds
 * each; cell.c refuses settings with more than 100 legs a round. */
#include "cell.h"
#include <math.h>

typedef struct {
  double x, y;
} point;

/* Uniform over the ring between the smallest distance and the radius; two words. */
static point draw_point(const fc_cell *cell, fc_rng *rng, double given_distance_m) {
  double inner = cell->min_distance_m * cell->min_distance_m;
  double outer = cell->radius_m * cell->radius_m;
  double drawn = sqrt(inner + fc_rng_uniform(rng) * (outer - inner));
  double r = isnan(given_distance_m) ? drawn : given_distance_m;
  double angle = 2.0 * M_PI * fc_rng_uniform(rng);
  return (point){r * cos(angle), r * sin(angle)};
}

static point start_point(const fc_cell *cell, uint64_t draw, uint32_t device) {
  fc_rng rng = fc_rng_open(cell->seed, FC_RNG_POSITION, draw, device);
  return draw_point(cell, &rng, field_draw(cell, FIELD_distance_m, draw, device));
}

/* Straight legs between uniform waypoints at the device's speed, with a pause at each. The disc is
 * convex, so a leg never leaves it. */
static point walk(const fc_cell *cell, uint64_t round, uint32_t device) {
  point from = start_point(cell, 0, device);
  double speed = field_draw(cell, FIELD_speed_mps, 0, device);
  double left_s = (double)round * cell->period_s;
  if (!(speed > 0.0)) return from;
  fc_rng rng = fc_rng_open(cell->seed, FC_RNG_MOBILITY, 0, device);
  for (;;) {
    point to = draw_point(cell, &rng, NAN);
    double leg_s = hypot(to.x - from.x, to.y - from.y) / speed;
    if (left_s < leg_s) {
      double part = left_s / leg_s;
      return (point){from.x + part * (to.x - from.x), from.y + part * (to.y - from.y)};
    }
    left_s -= leg_s;
    from = to;
    if (left_s <= cell->pause_s) return from;
    left_s -= cell->pause_s;
  }
}

fc_position fc_cell_position(const fc_cell *cell, uint64_t round, uint32_t device) {
  point p;
  switch (cell->mobility) {
  case MOBILITY_WAYPOINT:
    p = walk(cell, round, device);
    break;
  case MOBILITY_REDRAW:
    p = start_point(cell, round, device);
    break;
  default:
    p = start_point(cell, 0, device);
  }
  /* a leg may pass the base more closely than devices ever stand; rounding may pass the edge */
  double distance_m = fmin(fmax(hypot(p.x, p.y), cell->min_distance_m), cell->radius_m);
  return (fc_position){p.x, p.y, distance_m};
}

/* The two values of one grid point of one device's surroundings. */
static surroundings grid_value(const fc_cell *cell, uint32_t device, int64_t ix, int64_t iy) {
  uint64_t node = (uint64_t)(uint32_t)ix << 32 | (uint32_t)iy;
  fc_rng rng = fc_rng_open(cell->seed, FC_RNG_SHADOWING, node, device);
  surroundings s;
  s.shadowing = fc_rng_normal(&rng);
  s.sight = fc_rng_normal(&rng);
  return s;
}

/* Independent normal values on a square grid, interpolated with weights whose squares sum to 1: at
 * every place exactly standard normal. Averaged over place and direction the correlation falls to
 * 1/e at 0.903 grid spacings and to 0 at 2 sqrt(2). */
surroundings surroundings_at(const fc_cell *cell, uint32_t device, double x_m, double y_m) {
  double gx = floor(x_m / cell->shadowing_grid_m), gy = floor(y_m / cell->shadowing_grid_m);
  double fx = x_m / cell->shadowing_grid_m - gx, fy = y_m / cell->shadowing_grid_m - gy;
  double norm = sqrt(((1 - fx) * (1 - fx) + fx * fx) * ((1 - fy) * (1 - fy) + fy * fy));
  surroundings sum = {0.0, 0.0};
  for (int corner = 0; corner < 4; corner++) {
    int dx = corner & 1, dy = corner >> 1;
    double weight = (dx ? fx : 1 - fx) * (dy ? fy : 1 - fy) / norm;
    surroundings s = grid_value(cell, device, (int64_t)gx + dx, (int64_t)gy + dy);
    sum.shadowing += weight * s.shadowing;
    sum.sight += weight * s.sight;
  }
  return sum;
}
