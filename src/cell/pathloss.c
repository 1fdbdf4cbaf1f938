/* pathloss.c - how much a link loses with distance: one table of models.
 *
 * The 3GPP models are those of [TR 38.901] Table 7.4.1-1 for outdoor devices below 13 m, where the
 * effective environment height of note 1 is always 1 m, with line of sight drawn by Table 7.4.2-1.
 * Distances over the ground (d2D) come in; the models use the slant distance d3D. */
#include "cell.h"
#include <math.h>

static const double light_speed_mps = 3.0e8; /* as the notes of Table 7.4.1-1 round it */

static link_loss fixed(const geometry *g, double distance_m, double fixed_db) {
  (void)g;
  (void)distance_m;
  return (link_loss){fixed_db, 0.0};
}

/* d^-alpha beyond a reference distance. */
static link_loss power_law(const geometry *g, double distance_m, double fixed_db) {
  (void)fixed_db;
  double decades = log10(distance_m / g->reference_m);
  return (link_loss){g->reference_db + 10.0 * g->exponent * decades, 0.0};
}

static double slant_m(const geometry *g, double distance_m) {
  return hypot(distance_m, g->base_height_m - g->device_height_m);
}

static double carrier_ghz(const geometry *g) {
  return g->carrier_hz * 1e-9;
}

/* Table 7.4.1-1 note 1: d'BP = 4 h'BS h'UT fc / c with h' = h - 1 m */
static double urban_breakpoint_m(const geometry *g) {
  return 4.0 * (g->base_height_m - 1.0) * (g->device_height_m - 1.0) * g->carrier_hz /
         light_speed_mps;
}

/* The LOS rows of UMa and UMi differ in three numbers only. */
static double urban_los_db(const geometry *g, double distance_m, double constant, double slope,
                           double breakpoint_slope) {
  double common = constant + 20.0 * log10(carrier_ghz(g));
  double slant = slant_m(g, distance_m), breakpoint = urban_breakpoint_m(g);
  if (distance_m <= breakpoint) return common + slope * log10(slant);
  double height = g->base_height_m - g->device_height_m;
  return common + 40.0 * log10(slant) -
         breakpoint_slope * log10(breakpoint * breakpoint + height * height);
}

static link_loss uma_los(const geometry *g, double distance_m, double fixed_db) {
  (void)fixed_db;
  return (link_loss){urban_los_db(g, distance_m, 28.0, 22.0, 9.0), 4.0};
}

static link_loss uma_nlos(const geometry *g, double distance_m, double fixed_db) {
  double nlos = 13.54 + 39.08 * log10(slant_m(g, distance_m)) + 20.0 * log10(carrier_ghz(g)) -
                0.6 * (g->device_height_m - 1.5);
  return (link_loss){fmax(uma_los(g, distance_m, fixed_db).loss_db, nlos), 6.0};
}

static link_loss umi_los(const geometry *g, double distance_m, double fixed_db) {
  (void)fixed_db;
  return (link_loss){urban_los_db(g, distance_m, 32.4, 21.0, 9.5), 4.0};
}

static link_loss umi_nlos(const geometry *g, double distance_m, double fixed_db) {
  double nlos = 35.3 * log10(slant_m(g, distance_m)) + 22.4 + 21.3 * log10(carrier_ghz(g)) -
                0.3 * (g->device_height_m - 1.5);
  return (link_loss){fmax(umi_los(g, distance_m, fixed_db).loss_db, nlos), 7.82};
}

/* PL1 of the RMa LOS row */
static double rma_near_db(const geometry *g, double slant) {
  double h = pow(g->building_height_m, 1.72);
  return 20.0 * log10(40.0 * M_PI * slant * carrier_ghz(g) / 3.0) +
         fmin(0.03 * h, 10.0) * log10(slant) - fmin(0.044 * h, 14.77) +
         0.002 * log10(g->building_height_m) * slant;
}

static link_loss rma_los(const geometry *g, double distance_m, double fixed_db) {
  (void)fixed_db;
  double slant = slant_m(g, distance_m);
  /* note 5: dBP = 2 pi hBS hUT fc / c */
  double breakpoint =
      2.0 * M_PI * g->base_height_m * g->device_height_m * g->carrier_hz / light_speed_mps;
  if (distance_m <= breakpoint) return (link_loss){rma_near_db(g, slant), 4.0};
  return (link_loss){rma_near_db(g, breakpoint) + 40.0 * log10(slant / breakpoint), 6.0};
}

static link_loss rma_nlos(const geometry *g, double distance_m, double fixed_db) {
  double ratio = g->building_height_m / g->base_height_m, base = log10(g->base_height_m);
  double device = log10(11.75 * g->device_height_m);
  double nlos = 161.04 - 7.1 * log10(g->street_width_m) + 7.5 * log10(g->building_height_m) -
                (24.37 - 3.7 * ratio * ratio) * base +
                (43.42 - 3.1 * base) * (log10(slant_m(g, distance_m)) - 3.0) +
                20.0 * log10(carrier_ghz(g)) - (3.2 * device * device - 4.97);
  return (link_loss){fmax(rma_los(g, distance_m, fixed_db).loss_db, nlos), 8.0};
}

/* ---- probability of a line of sight, Table 7.4.2-1 ---------------------------------------------
 */
static double always(double distance_m) {
  (void)distance_m;
  return 1.0;
}

static double never(double distance_m) {
  (void)distance_m;
  return 0.0;
}

static double street_probability(double distance_m, double decay_m) {
  if (distance_m <= 18.0) return 1.0;
  double near = 18.0 / distance_m;
  return near + exp(-distance_m / decay_m) * (1.0 - near);
}

static double uma_probability(double distance_m) {
  return street_probability(distance_m, 63.0); /* C'(hUT) = 0 up to 13 m */
}

static double umi_probability(double distance_m) {
  return street_probability(distance_m, 36.0);
}

static double rma_probability(double distance_m) {
  return distance_m <= 10.0 ? 1.0 : exp(-(distance_m - 10.0) / 1000.0);
}

#define ANYWHERE 0.0, INFINITY, 0.0, INFINITY
#define URBAN    1.5, 100e9, 10.0, 5000.0
const pathloss_model pathloss_models[] = {
    /* name, los, nlos, probability, base height, then height, carrier and distances it is for */
    {"fixed", fixed, fixed, always, 0.0, ANYWHERE},
    {"power-law", power_law, power_law, always, 0.0, ANYWHERE},
    {"uma", uma_los, uma_nlos, uma_probability, 25.0, URBAN},
    {"uma-los", uma_los, uma_nlos, always, 25.0, URBAN},
    {"uma-nlos", uma_los, uma_nlos, never, 25.0, URBAN},
    {"umi", umi_los, umi_nlos, umi_probability, 10.0, URBAN},
    {"umi-los", umi_los, umi_nlos, always, 10.0, URBAN},
    {"umi-nlos", umi_los, umi_nlos, never, 10.0, URBAN},
    {"rma", rma_los, rma_nlos, rma_probability, 35.0, 1.0, 30e9, 10.0, 5000.0},
    {"rma-los", rma_los, rma_nlos, always, 35.0, 1.0, 30e9, 10.0, 10000.0},
    {"rma-nlos", rma_los, rma_nlos, never, 35.0, 1.0, 30e9, 10.0, 5000.0},
};

const char *fc_pathloss_name(size_t i) {
  return i < sizeof pathloss_models / sizeof *pathloss_models ? pathloss_models[i].name : NULL;
}
