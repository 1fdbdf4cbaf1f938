/* cell.h - inside of the cell room: the settings every part reads.
 *
 * fc_cell is written once by cell.c and only read afterwards, so any number of threads may ask.
 * Nothing of a device or a round is kept (a trace file's table excepted). */
#ifndef CELL_H
#define CELL_H

#include "fedcell/fc_cell.h"

/* What is drawn per device. The number is the `round` of the field's PROFILE stream and so part of
 * every result: append, never renumber. A column of a trace file bears the field's name. */
#define FIELD_LIST(X)                                                                              \
  X(compute_flops, "population.compute_flops")                                                     \
  X(tx_power_w, "population.tx_power_w")                                                           \
  X(energy_per_flop_j, "population.energy_per_flop_j")                                             \
  X(energy_kappa, "population.energy_kappa")                                                       \
  X(memory_bytes, "population.memory_bytes")                                                       \
  X(battery_j, "population.battery_j")                                                             \
  X(speed_mps, "population.speed_mps")                                                             \
  X(pathloss_db, "cell.pathloss_db")                                                               \
  X(distance_m, NULL) /* drawn in the disc, or given by a trace */
typedef enum {
#define FIELD_ENUM(id, option) FIELD_##id,
  FIELD_LIST(FIELD_ENUM)
#undef FIELD_ENUM
      FIELD_COUNT
} field_id;
enum { FIELD_STRIDE = 16 }; /* PROFILE streams a round may use */

extern const char *const field_names[FIELD_COUNT];
extern const char *const field_options[FIELD_COUNT]; /* NULL: the field has no option */

/* ---- trace.c: columns from a CSV file or a table
 * ---------------------------------
 */
enum { TRACE_COLUMNS_MAX = 16 };
_Static_assert((int)FIELD_COUNT <= (int)TRACE_COLUMNS_MAX, "a profile's columns");
typedef struct {
  double *value;                    /* (rows, columns) */
  uint32_t rows;                    /* in the file */
  size_t columns;                   /* named in the header */
  int column_of[TRACE_COLUMNS_MAX]; /* -1: not in the file */
} trace;
typedef struct {
  double min, max; /* min > max: unbounded */
} range;
/* What a file may hold: columns of these names within these limits. */
typedef struct {
  fc_option_choice name;
  const range *limits;
} trace_form;
/* DATA "FILE:LINE: ..." for anything malformed, IO if it cannot be read. *out empty on failure. */
fc_err trace_read(const char *path, const trace_form *form, trace *out);
/* The same from a table; path for messages. */
fc_err trace_copy(const char *path, const fc_trace_table *table, const trace_form *form,
                  trace *out);
void trace_free(trace *t);

/* ---- channel_trace.c: channels from a CSV file or a table, one row a round and device ---------
 */
typedef struct {
  trace table;
  struct channel_key {
    uint64_t round;
    uint32_t device, row;
  } * key; /* (table.rows) sorted by round and device; NULL: no trace */
} channel_trace;
/* As trace_read, or trace_copy with a table. */
fc_err channel_trace_create(const char *path, const fc_trace_table *table, channel_trace *out);
void channel_trace_free(channel_trace *t);
/* Puts what the trace has for this round and device in the place of what was drawn. */
void channel_trace_lay(const channel_trace *t, uint64_t round, uint32_t device, fc_channel *h);

/* ---- pathloss.c ------------------------------------------------------------------------------ */
typedef struct {
  double carrier_hz, base_height_m, device_height_m, building_height_m, street_width_m; /* 3GPP */
  double exponent, reference_db, reference_m; /* power law */
} geometry;
typedef struct {
  double loss_db;  /* median */
  double sigma_db; /* the model's own shadowing */
} link_loss;
typedef link_loss link_loss_fn(const geometry *g, double distance_m, double fixed_db);
typedef struct {
  const char *name;
  link_loss_fn *los, *nlos;
  double (*los_probability)(double distance_m); /* over the ground */
  double base_height_m;                         /* default; 0: height plays no part */
  double height_min_m, carrier_max_hz;          /* of the device; of the carrier */
  double distance_min_m, distance_max_m;        /* where the model is stated */
} pathloss_model;
extern const pathloss_model pathloss_models[];

/* ---- position.c -------------------------------------------------------------------------------
 */
typedef enum { MOBILITY_STATIC, MOBILITY_WAYPOINT, MOBILITY_REDRAW } mobility_kind;
/* Two independent standard normal values of a device's surroundings at (x, y), correlated over
 * space: shadowing and line of sight. */
typedef struct {
  double shadowing, sight;
} surroundings;
surroundings surroundings_at(const fc_cell *cell, uint32_t device, double x_m, double y_m);

/* ---- fading.c ---------------------------------------------------------------------------------
 */
enum { FADING_LEVELS_MAX = 64 };
typedef struct {
  double los_power; /* share of the power that does not fade: K/(K+1) */
  /* time correlation r between neighbouring rounds: r^(2^l) for l < levels */
  double correlation[FADING_LEVELS_MAX];
  unsigned levels; /* 0: rounds are independent */
} fading;
/* `which` as in fc_fading_name; k the linear Rician factor. */
fading fading_make(size_t which, double k, double correlation);
typedef enum { LINK_UP, LINK_DOWN } link_direction;
/* Power gain of mean 1. */
double fading_power(const fc_cell *cell, uint64_t round, uint32_t device, link_direction direction);
enum { FADING_WORDS = 8 }; /* of a round's CHANNEL stream; what follows is free */

/* ---- interference.c ---------------------------------------------------------------------------
 */
/* Power in watt that a Poisson field of co-channel devices puts on the base's receiver. */
double interference_power_w(const fc_cell *cell, uint64_t round, uint32_t device);

/* ---- the cell ---------------------------------------------------------------------------------
 */
struct fc_cell {
  uint64_t seed;
  uint32_t devices;
  fc_dist fields[FIELD_COUNT]; /* distance_m unused */
  trace trace;
  channel_trace channels;

  double bandwidth_hz, noise_w_per_hz; /* thermal noise and constant interference */
  bool noise_over_total;               /* noise of the whole band on every link [JCPBA (5)] */
  double server_power_w;
  bool server_power_shared; /* in proportion to bandwidth */
  double efficiency_max;    /* bit/s/Hz, infinity: none */
  double outage_snr;        /* linear */
  double deadline_s;        /* infinity: none */

  const pathloss_model *pathloss;
  geometry geometry;
  double radius_m, min_distance_m;
  double shadowing_db; /* negative: the model's own */
  double shadowing_grid_m;

  fading fading;
  bool reciprocal;

  mobility_kind mobility;
  double period_s, pause_s; /* of the waypoint walk */

  double interferer_density_per_m2, interferer_power_w;
};

/* profile.c: one field of a device; `round` matters for what cell.mobility = redraw draws anew. */
double field_draw(const fc_cell *cell, field_id field, uint64_t round, uint32_t device);
/* profile.c: path loss and shadowing, at least 0 dB. */
double large_scale_loss_db(const fc_cell *cell, uint64_t round, uint32_t device,
                           const fc_position *at);

#endif
