/* generate_digits.c - drawn digits, 28 x 28 pixels of 8 bits, white on black as MNIST.
 *
 * A digit is a few pen strokes (lines and elliptic arcs) in the unit square, bent by a random wave
 * and put through a random affine map (turn, size, slant, shift), drawn with a pen of random
 * width and pressure, then covered with noise and, in a third of the pictures, a stray line. */
#include "generate.h"
#include <assert.h>
#include <math.h>

enum { SIDE = 28, ARC_STEPS = 14, MAX_POINTS = 96 };

/* A line from (a,b) to (c,d), or (rx > 0) an arc about (a,b) with radii (rx,ry) from angle c to d
 * in degrees; y grows downwards, so angles turn clockwise from the right. */
typedef struct {
  double a, b, c, d, rx, ry;
} stroke;
typedef struct {
  int n;
  stroke item[4];
} glyph;

static const glyph glyphs[10] = {
    {1, {{.50, .50, 0, 360, .28, .42}}},
    {2, {{.34, .26, .52, .08, 0, 0}, {.52, .08, .52, .92, 0, 0}}},
    {3, {{.50, .31, 190, 395, .27, .23}, {.72, .44, .22, .92, 0, 0}, {.22, .92, .80, .92, 0, 0}}},
    {2, {{.47, .29, 205, 450, .25, .21}, {.47, .71, 270, 515, .28, .21}}},
    {3, {{.60, .08, .20, .63, 0, 0}, {.20, .63, .83, .63, 0, 0}, {.61, .08, .61, .92, 0, 0}}},
    {3, {{.76, .08, .33, .08, 0, 0}, {.33, .08, .29, .47, 0, 0}, {.48, .66, 222, 512, .27, .26}}},
    {3, {{.50, .68, 0, 360, .25, .24}, {.26, .62, .36, .32, 0, 0}, {.36, .32, .62, .08, 0, 0}}},
    {2, {{.22, .10, .78, .10, 0, 0}, {.78, .10, .42, .92, 0, 0}}},
    {2, {{.50, .29, 0, 360, .22, .21}, {.50, .71, 0, 360, .27, .21}}},
    {3, {{.50, .32, 0, 360, .25, .24}, {.75, .36, .69, .66, 0, 0}, {.69, .66, .50, .92, 0, 0}}}};

typedef struct {
  double x0, y0, x1, y1; /* pixels */
} segment;
typedef struct {
  segment item[MAX_POINTS];
  int n;
} drawing;

typedef struct {
  double xx, xy, yx, yy, x, y;   /* affine, unit square to pixels */
  double wave, frequency, phase; /* of the bend */
} hand;

static double between(fc_rng *rng, double low, double high) {
  return low + (high - low) * fc_rng_uniform(rng);
}

static hand draw_hand(fc_rng *rng) {
  double turn = between(rng, -0.3, 0.3), slant = between(rng, -0.3, 0.3);
  double wide = between(rng, 15.0, 23.0), tall = between(rng, 17.0, 23.0);
  double c = cos(turn), s = sin(turn);
  hand h = {
      .xx = c * wide, .xy = (c * slant - s) * tall, .yx = s * wide, .yy = (s * slant + c) * tall};
  h.x = 0.5 * SIDE + between(rng, -2.5, 2.5);
  h.y = 0.5 * SIDE + between(rng, -2.5, 2.5);
  h.wave = between(rng, 0.0, 0.05);
  h.frequency = between(rng, 3.0, 7.0);
  h.phase = between(rng, 0.0, 6.28);
  return h;
}

static void place(const hand *h, double x, double y, double *px, double *py) {
  double u = x - 0.5 + h->wave * sin(h->frequency * y + h->phase);
  double v = y - 0.5 + h->wave * cos(h->frequency * x + h->phase);
  *px = h->x + h->xx * u + h->xy * v;
  *py = h->y + h->yx * u + h->yy * v;
}

static void add_stroke(drawing *d, const hand *h, const stroke *s) {
  const double degree = 0.017453292519943295;
  int steps = s->rx > 0.0 ? ARC_STEPS : 4; /* lines are cut as well, the wave bends them */
  double x = 0.0, y = 0.0;
  for (int i = 0; i <= steps; i++) {
    double t = (double)i / steps, px, py;
    if (s->rx > 0.0) {
      double angle = (s->c + t * (s->d - s->c)) * degree;
      place(h, s->a + s->rx * cos(angle), s->b + s->ry * sin(angle), &px, &py);
    } else {
      place(h, s->a + t * (s->c - s->a), s->b + t * (s->d - s->b), &px, &py);
    }
    assert(d->n < MAX_POINTS - 1); /* one is left for the stray line */
    if (i > 0) d->item[d->n++] = (segment){x, y, px, py};
    x = px;
    y = py;
  }
}

static double distance(const segment *s, double x, double y) {
  double dx = s->x1 - s->x0, dy = s->y1 - s->y0, length2 = dx * dx + dy * dy;
  double t = length2 > 0.0 ? ((x - s->x0) * dx + (y - s->y0) * dy) / length2 : 0.0;
  t = t < 0.0 ? 0.0 : t > 1.0 ? 1.0 : t;
  double ex = x - s->x0 - t * dx, ey = y - s->y0 - t * dy;
  return sqrt(ex * ex + ey * ey);
}

/* nearest (SIDE, SIDE) <- the smaller of itself and the distance to the segment, for the pixels
 * that lie within `reach` of it. */
static void come_near(const segment *s, double reach, double *nearest) {
  int left = (int)fmax(0.0, fmin(s->x0, s->x1) - reach);
  int top = (int)fmax(0.0, fmin(s->y0, s->y1) - reach);
  int right = (int)fmin(SIDE - 1.0, fmax(s->x0, s->x1) + reach);
  int bottom = (int)fmin(SIDE - 1.0, fmax(s->y0, s->y1) + reach);
  for (int y = top; y <= bottom; y++) {
    for (int x = left; x <= right; x++) {
      double away = distance(s, x + 0.5, y + 0.5);
      if (away < nearest[y * SIDE + x]) nearest[y * SIDE + x] = away;
    }
  }
}

static void ink(const drawing *d, double radius, double pressure, fc_rng *rng, uint8_t *pixels) {
  double nearest[SIDE * SIDE];
  for (int i = 0; i < SIDE * SIDE; i++) nearest[i] = SIDE;
  for (int k = 0; k < d->n; k++) come_near(&d->item[k], radius + 1.0, nearest);
  for (int i = 0; i < SIDE * SIDE; i++) {
    double cover = radius + 0.5 - nearest[i]; /* a soft edge one pixel wide */
    cover = cover < 0.0 ? 0.0 : cover > 1.0 ? 1.0 : cover;
    double value = pressure * cover + 14.0 * fc_rng_normal(rng);
    pixels[i] = (uint8_t)(value < 0.0 ? 0.0 : value > 255.0 ? 255.0 : value);
  }
}

static fc_err sample(fc_rng *rng, fc_rows *rows) {
  uint8_t pixels[SIDE * SIDE];
  drawing d = {.n = 0};
  int digit = (int)fc_rng_below(rng, 10);
  hand h = draw_hand(rng);
  for (int i = 0; i < glyphs[digit].n; i++) add_stroke(&d, &h, &glyphs[digit].item[i]);
  if (fc_chance(rng, 0.33)) {
    double x = between(rng, 0.0, SIDE), y = between(rng, 0.0, SIDE);
    double dx = between(rng, -6.0, 6.0), dy = between(rng, -6.0, 6.0);
    d.item[d.n++] = (segment){x, y, x + dx, y + dy};
  }
  double radius = between(rng, 0.5, 1.6), pressure = between(rng, 150.0, 255.0);
  ink(&d, radius, pressure, rng, pixels);
  return fc_rows_add(rows, (fc_text){(const char *)pixels, sizeof pixels}, (fc_text){"", 0}, digit);
}

const fc_generator fc_generate_digits = {.id = 5, .height = SIDE, .width = SIDE, .sample = sample};
