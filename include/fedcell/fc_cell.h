/* fc_cell.h - the simulated cell: who the devices are, what the radio gives them, what work costs.
 *
 * Nothing here is stored: a profile is a function of (settings, seed, device), a channel of
 * (settings, seed, round, device), so an idle device costs no memory and any rank can ask for any
 * device.
 *
 *   fc_profile p = fc_cell_profile(cell, device);
 *   fc_channel h = fc_cell_channel(cell, &p, round, device);
 *   fc_cost c = fc_cell_cost(cell, &p, &h, &work, bandwidth_hz);     // latency and energy
 *
 * SI units. All Local; a cell may be asked by any number of threads. */
#ifndef FC_CELL_H
#define FC_CELL_H

#include "fedcell/fc_config.h"
#include "fedcell/fc_err.h"
#include <stdbool.h>
#include <stdint.h>

extern const fc_option_table fc_cell_options;       /* cell.* */
extern const fc_option_table fc_population_options; /* population.* */
const char *fc_fading_name(size_t i);
const char *fc_pathloss_name(size_t i);

typedef struct fc_cell fc_cell;
/* Reads cell.* and population.*, which must stand within their ranges, and the trace file. Faults
 * that need two options to see are added to cfg, and the return is then USAGE with the first as
 * message: a caller that gathers all rooms' faults goes on to fc_config_finish. DATA or IO tell
 * about the trace. cfg must outlive the cell. */
fc_err fc_cell_create(fc_config *cfg, uint64_t seed, fc_cell **out);

/* Columns that the caller has read from the file of population.trace or cell.trace: this room reads
 * CSV only. */
typedef struct {
  const char *const *name; /* (columns), each one that such a file may hold */
  size_t columns;
  uint32_t rows;
  const double *value; /* (columns, rows); copied */
} fc_trace_table;
/* The columns that they may hold; NULL past the end. */
const char *fc_cell_profile_column(size_t i);
const char *fc_cell_channel_column(size_t i);
/* As fc_cell_create; NULL: the option names a CSV file, or none. */
fc_err fc_cell_create_with(fc_config *cfg, uint64_t seed, const fc_trace_table *profiles,
                           const fc_trace_table *channels, fc_cell **out);
void fc_cell_destroy(fc_cell **cell);
uint32_t fc_cell_devices(const fc_cell *cell);

typedef struct {
  double compute_flops; /* FLOP/s */
  double tx_power_w;
  double energy_per_flop_j; /* J/FLOP of computing: kappa-style constant per device */
  double memory_bytes;
  double battery_j; /* infinity: mains */
  double distance_m;
  double pathloss;    /* linear gain <= 1, shadowing included, fading not */
  double pathloss_db; /* the same as a loss */
  /* what energy_per_flop_j is made of: e + kappa speed^2 */
  double energy_static_j, energy_kappa;
  double speed_mps;
} fc_profile;
/* Distance and path loss are those of round 0. Device d is the same however many there are. */
fc_profile fc_cell_profile(const fc_cell *cell, uint32_t device);

typedef struct {
  double x_m, y_m;   /* the base station stands at (0, 0) */
  double distance_m; /* over the ground, at least cell.min_distance_m */
} fc_position;
fc_position fc_cell_position(const fc_cell *cell, uint64_t round, uint32_t device);

typedef struct {
  double gain_down, gain_up; /* linear power gains: path loss x fading of this round */
  double interference_up_w;  /* at the base's receiver, within the device's share; mostly 0 */
} fc_channel;
/* A function of (seed, round, device) alone, so the same for every method that is compared. Uses
 * p->pathloss unless devices move (cell.mobility). */
fc_channel fc_cell_channel(const fc_cell *cell, const fc_profile *p, uint64_t round,
                           uint32_t device);

/* Noise and constant interference of a link with that share: over the share, or over the whole band
 * (cell.noise). */
double fc_cell_noise_w(const fc_cell *cell, double bandwidth_hz);
/* What the base sends with on a link with that share (cell.server_power). */
double fc_cell_server_power_w(const fc_cell *cell, double bandwidth_hz);
/* P g / (noise + interference); 0 for zero bandwidth. */
double fc_cell_sinr(const fc_cell *cell, double bandwidth_hz, double power_w, double gain,
                    double interference_w);
/* Bits per second over `bandwidth_hz` [JCPBA (5)]: B log2(1 + P g / noise), without interferers;
 * log1p so that tiny SNR keeps its digits; capped by cell.spectral_efficiency_max. 0 for zero
 * bandwidth. */
double fc_cell_rate_bps(const fc_cell *cell, double bandwidth_hz, double power_w, double gain);

typedef struct {
  double flop; /* of the device's local work in the round */
  double downlink_bits, uplink_bits;
} fc_work_load;
typedef struct {
  double compute_s, downlink_s, uplink_s, latency_s; /* latency: their sum */
  double compute_j, uplink_j, energy_j;
  double rate_down_bps, rate_up_bps;
  bool delivered; /* false: outage */
} fc_cost;
/* FDMA share `bandwidth_hz` both ways; download, then computing, then upload. Outage: the SINR of
 * the upload over its share is below cell.outage_snr_db (if set), or the three take longer than
 * cell.deadline_s (if set); a failed device still spends its time (up to the deadline, where it is
 * cut off) and energy. A zero rate with bits to carry gives infinite latency (the deadline, if set)
 * and outage; what would follow is not done, and over a dead link nothing is sent. Never NaN. */
fc_cost fc_cell_cost(const fc_cell *cell, const fc_profile *p, const fc_channel *h,
                     const fc_work_load *load, double bandwidth_hz);

double fc_cell_bandwidth_hz(const fc_cell *cell);

#endif
