/* cell.c - the settings of a cell: read from the configuration, checked against each other. */
#include "cell.h"
#include "fedcell/fc_mem.h"
#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static double from_db(double db) {
  return pow(10.0, db / 10.0);
}

/* dBm/Hz -> W/Hz */
static double density_w_per_hz(double dbm_per_hz) {
  return from_db(dbm_per_hz) * 1e-3;
}

/* Place of a choice in its list; the configuration has checked that it is there. */
static size_t choice_index(const fc_config *cfg, const char *option, fc_option_choice names) {
  const char *value = fc_config_string(cfg, option);
  for (size_t i = 0; names(i) != NULL; i++)
    if (strcmp(names(i), value) == 0) return i;
  assert(!"a choice outside its list");
  return 0;
}

static bool is_choice(const fc_config *cfg, const char *option, const char *value) {
  return strcmp(fc_config_string(cfg, option), value) == 0;
}

static double or_none(double value) {
  return value > 0 ? value : INFINITY;
}

static void read_radio(const fc_config *cfg, fc_cell *cell) {
  double interference = fc_config_real(cfg, "cell.interference_dbm_per_hz");
  double outage_db = fc_config_real(cfg, "cell.outage_snr_db");
  cell->bandwidth_hz = fc_config_real(cfg, "cell.bandwidth_hz");
  cell->noise_w_per_hz = density_w_per_hz(fc_config_real(cfg, "cell.noise_dbm_per_hz"));
  if (interference > -300.0) cell->noise_w_per_hz += density_w_per_hz(interference);
  cell->noise_over_total = is_choice(cfg, "cell.noise", "total");
  cell->server_power_w = fc_config_real(cfg, "cell.server_power_w");
  cell->server_power_shared = is_choice(cfg, "cell.server_power", "shared");
  cell->efficiency_max = or_none(fc_config_real(cfg, "cell.spectral_efficiency_max"));
  cell->outage_snr = outage_db > -300.0 ? from_db(outage_db) : 0.0;
  cell->deadline_s = or_none(fc_config_real(cfg, "cell.deadline_s"));
  cell->interferer_density_per_m2 = fc_config_real(cfg, "cell.interferer_density_per_m2");
  cell->interferer_power_w = fc_config_real(cfg, "cell.interferer_power_w");
}

static void read_propagation(const fc_config *cfg, fc_cell *cell) {
  cell->pathloss = &pathloss_models[choice_index(cfg, "cell.pathloss", fc_pathloss_name)];
  geometry *g = &cell->geometry;
  g->carrier_hz = fc_config_real(cfg, "cell.carrier_hz");
  g->base_height_m = fc_config_real(cfg, "cell.base_height_m");
  if (g->base_height_m <= 0) g->base_height_m = cell->pathloss->base_height_m;
  g->device_height_m = fc_config_real(cfg, "cell.device_height_m");
  g->building_height_m = fc_config_real(cfg, "cell.building_height_m");
  g->street_width_m = fc_config_real(cfg, "cell.street_width_m");
  g->exponent = fc_config_real(cfg, "cell.pathloss_exponent");
  g->reference_db = fc_config_real(cfg, "cell.pathloss_reference_db");
  g->reference_m = fc_config_real(cfg, "cell.pathloss_reference_m");
  cell->radius_m = fc_config_real(cfg, "cell.radius_m");
  cell->min_distance_m = fc_config_real(cfg, "cell.min_distance_m");
  cell->shadowing_db = fc_config_real(cfg, "cell.shadowing_db");
  /* position.c: the interpolated grid has correlation 1/e at 0.903 of its spacing */
  cell->shadowing_grid_m = fc_config_real(cfg, "cell.decorrelation_m") / 0.903;
  cell->fading = fading_make(choice_index(cfg, "cell.fading", fc_fading_name),
                             from_db(fc_config_real(cfg, "cell.rician_k_db")),
                             fc_config_real(cfg, "cell.fading_correlation"));
  cell->reciprocal = fc_config_bool(cfg, "cell.reciprocal");
  cell->mobility = is_choice(cfg, "cell.mobility", "waypoint") ? MOBILITY_WAYPOINT
                   : is_choice(cfg, "cell.mobility", "redraw") ? MOBILITY_REDRAW
                                                               : MOBILITY_STATIC;
  cell->period_s = fc_config_real(cfg, "cell.mobility_period_s");
  cell->pause_s = fc_config_real(cfg, "cell.pause_s");
}

/* ---- faults that two options make together ------------------------------------------------------
 */
typedef struct {
  fc_config *cfg;
  size_t faults;
} check;

/* Told by the configuration, and kept as this thread's message in case nobody finishes it. */
static void fault(check *c, const char *option, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void fault(check *c, const char *option, const char *format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  fc_config_fault(c->cfg, option, "%s", text);
  if (c->faults++ == 0) fc_fail(FC_ERR_USAGE, "%s: %s", option, text);
}

static void check_distances(check *c, const fc_cell *cell) {
  const pathloss_model *m = cell->pathloss;
  if (cell->min_distance_m > cell->radius_m)
    fault(c, "cell.min_distance_m", "must be at most cell.radius_m = %.12g", cell->radius_m);
  if (cell->min_distance_m < m->distance_min_m)
    fault(c, "cell.min_distance_m", "must be at least %.12g with cell.pathloss = %s",
          m->distance_min_m, m->name);
  if (cell->radius_m > m->distance_max_m)
    fault(c, "cell.radius_m", "must be at most %.12g with cell.pathloss = %s", m->distance_max_m,
          m->name);
}

static void check_heights(check *c, const fc_cell *cell) {
  const pathloss_model *m = cell->pathloss;
  const geometry *g = &cell->geometry;
  if (m->base_height_m <= 0) return;
  if (g->device_height_m < m->height_min_m)
    fault(c, "cell.device_height_m", "must be at least %.12g with cell.pathloss = %s",
          m->height_min_m, m->name);
  if (g->base_height_m <= g->device_height_m)
    fault(c, "cell.base_height_m", "must be above cell.device_height_m = %.12g",
          g->device_height_m);
  if (g->carrier_hz > m->carrier_max_hz)
    fault(c, "cell.carrier_hz", "must be at most %.12g with cell.pathloss = %s", m->carrier_max_hz,
          m->name);
}

static void check_interferers(check *c, const fc_cell *cell) {
  if (!(cell->interferer_density_per_m2 > 0)) return;
  if (strcmp(cell->pathloss->name, "power-law") != 0)
    fault(c, "cell.interferer_density_per_m2", "needs cell.pathloss = power-law, not %s",
          cell->pathloss->name);
  else if (!(cell->geometry.exponent > 2))
    fault(c, "cell.pathloss_exponent",
          "must be above 2 with interferers: their sum has no end otherwise");
}

/* Following a walk takes time in its legs; so many a round would be a fresh place anyway. */
static void check_walk(check *c, const fc_cell *cell) {
  enum { LEGS_MAX = 100 };
  if (cell->mobility != MOBILITY_WAYPOINT) return;
  double way_m = fc_dist_mean(&cell->fields[FIELD_speed_mps]) * cell->period_s;
  if (way_m > LEGS_MAX * cell->radius_m)
    fault(c, "cell.mobility_period_s",
          "a device moves %.12g m in it, more than %d times cell.radius_m; use cell.mobility = "
          "redraw",
          way_m, LEGS_MAX);
}

static void check_trace(check *c, const fc_cell *cell) {
  static const field_id places[] = {FIELD_pathloss_db, FIELD_distance_m};
  if (cell->trace.columns == 0) return;
  if (cell->trace.rows < cell->devices)
    fault(c, "population.devices", "the trace %s has %u rows",
          fc_config_string(c->cfg, "population.trace"), cell->trace.rows);
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    bool fits = cell->mobility == MOBILITY_STATIC ||
                (cell->mobility == MOBILITY_WAYPOINT && places[i] == FIELD_distance_m);
    if (cell->trace.column_of[places[i]] >= 0 && !fits)
      fault(c, "cell.mobility", "the trace %s fixes %s, which does not go with %s",
            fc_config_string(c->cfg, "population.trace"), field_names[places[i]],
            fc_config_string(c->cfg, "cell.mobility"));
  }
}

/* ---- population ------------------------------------------------------------------------------ */
static range option_range(const char *name) {
  const fc_option_table *tables[] = {&fc_cell_options, &fc_population_options};
  for (size_t t = 0; t < 2; t++)
    for (size_t i = 0; i < tables[t]->n; i++)
      if (strcmp(tables[t]->options[i].name, name) == 0)
        return (range){tables[t]->options[i].min, tables[t]->options[i].max};
  assert(!"a field without its option");
  return (range){1.0, 0.0};
}

static fc_err read_population(const fc_config *cfg, const fc_trace_table *profiles, fc_cell *cell) {
  range limits[FIELD_COUNT];
  for (int i = 0; i < FIELD_COUNT; i++) {
    cell->trace.column_of[i] = -1;
    limits[i] = field_options[i] ? option_range(field_options[i])
                                 : (range){cell->min_distance_m, cell->radius_m};
    if (field_options[i]) cell->fields[i] = fc_config_dist(cfg, field_options[i]);
  }
  cell->devices = (uint32_t)fc_config_int(cfg, "population.devices");
  const char *path = fc_config_string(cfg, "population.trace");
  const trace_form form = {fc_cell_profile_column, limits};
  if (profiles) return trace_copy(path, profiles, &form, &cell->trace);
  return *path ? trace_read(path, &form, &cell->trace) : FC_ERR_OK;
}

static fc_err read_cell(fc_config *cfg, const fc_trace_table *profiles,
                        const fc_trace_table *channels, fc_cell *cell) {
  read_radio(cfg, cell);
  read_propagation(cfg, cell);
  check c = {cfg, 0};
  check_distances(&c, cell); /* before the trace, whose distances are held against these */
  check_heights(&c, cell);
  check_interferers(&c, cell);
  if (c.faults > 0) return FC_ERR_USAGE;
  FC_TRY(read_population(cfg, profiles, cell));
  const char *path = fc_config_string(cfg, "cell.trace");
  if (*path) FC_TRY(channel_trace_create(path, channels, &cell->channels));
  check_walk(&c, cell);
  check_trace(&c, cell);
  return c.faults > 0 ? FC_ERR_USAGE : FC_ERR_OK;
}

fc_err fc_cell_create(fc_config *cfg, uint64_t seed, fc_cell **out) {
  return fc_cell_create_with(cfg, seed, NULL, NULL, out);
}

fc_err fc_cell_create_with(fc_config *cfg, uint64_t seed, const fc_trace_table *profiles,
                           const fc_trace_table *channels, fc_cell **out) {
  *out = NULL;
  fc_cell *cell;
  FC_TRY(fc_alloc(1, sizeof *cell, &cell));
  cell->seed = seed;
  fc_err err = read_cell(cfg, profiles, channels, cell);
  if (err != FC_ERR_OK) {
    fc_cell_destroy(&cell);
    return err;
  }
  *out = cell;
  return FC_ERR_OK;
}

void fc_cell_destroy(fc_cell **cell) {
  if (*cell == NULL) return;
  trace_free(&(*cell)->trace);
  channel_trace_free(&(*cell)->channels);
  fc_free(*cell);
  *cell = NULL;
}

uint32_t fc_cell_devices(const fc_cell *cell) {
  return cell->devices;
}

double fc_cell_bandwidth_hz(const fc_cell *cell) {
  return cell->bandwidth_hz;
}
