/* root.c - Newton's steps inside a bracket that halving closes. */
#include "solver.h"
#include <assert.h>
#include <math.h>
#include <string.h>

/* The double in the middle of all doubles between two that are not negative: their bits, read as
 * integers, are in the same order. */
static double middle(double lo, double hi) {
  uint64_t a, b;
  memcpy(&a, &lo, sizeof a);
  memcpy(&b, &hi, sizeof b);
  a += (b - a) / 2;
  memcpy(&lo, &a, sizeof a);
  return lo;
}

fc_root fc_root_begin(double lo, double hi, double guess, double tolerance) {
  lo += 0.0; /* never -0: its bits are out of order */
  assert(lo >= 0 && lo <= hi);
  fc_root r = {.lo = lo, .hi = hi, .x = guess, .tolerance = tolerance};
  r.step = r.step_before = INFINITY;
  r.f_before = r.x_before = (double)NAN;
  if (!(guess >= lo && guess <= hi)) r.x = middle(lo, hi);
  return r;
}

void fc_root_tell(fc_root *r, double f, double slope) {
  if (f < 0)
    r->lo = r->x;
  else
    r->hi = r->x;
  double halfway = middle(r->lo, r->hi);
  r->done = r->hi - r->lo <= r->tolerance * r->hi || halfway == r->lo || halfway == r->hi;
  if (isnan(slope)) slope = (f - r->f_before) / (r->x - r->x_before);
  r->f_before = f;
  r->x_before = r->x;
  /* A step a little longer than Newton's lands on the other side, so that both ends close in. */
  const double newton = -f / slope;
  double next = r->x + newton;
  next += copysign(0.25 * r->tolerance * next, newton);
  if (next <= r->lo) next = r->lo * (1 + 0.5 * r->tolerance); /* perhaps the end is the root */
  if (next >= r->hi) next = r->hi * (1 - 0.5 * r->tolerance);
  bool good = next > r->lo && next < r->hi && fabs(newton) < 0.5 * r->step_before;
  if (!good) next = halfway;
  r->step_before = r->step;
  r->step = good ? fabs(newton) : fabs(next - r->x);
  r->x = next;
}
