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
 * SI units. All Local. */
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
/* Reads cell.* and population.*; faults that need two options to see are added to cfg. The trace
 * and descriptor tables are looked up here. */
fc_err fc_cell_create(fc_config *cfg, uint64_t seed, fc_cell **out);
void fc_cell_destroy(fc_cell **cell);
uint32_t fc_cell_devices(const fc_cell *cell);

typedef struct {
  double compute_flops; /* FLOP/s */
  double tx_power_w;
  double energy_per_flop_j; /* J/FLOP of computing: kappa-style constant per device */
  double memory_bytes;
  double battery_j; /* infinity: mains */
  double distance_m;
  double pathloss; /* linear gain <= 1, shadowing included, fading not */
} fc_profile;
fc_profile fc_cell_profile(const fc_cell *cell, uint32_t device);

typedef struct {
  double gain_down, gain_up; /* linear power gains: path loss x fading of this round */
} fc_channel;
fc_channel fc_cell_channel(const fc_cell *cell, const fc_profile *p, uint64_t round,
                           uint32_t device);

/* Bits per second over `bandwidth_hz` [JCPBA (5)]: B log2(1 + P g / (N0 B)), N0 a density; log1p so
 * that tiny SNR keeps its digits; capped by cell.spectral_efficiency_max. 0 for zero bandwidth. */
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
/* FDMA share `bandwidth_hz` both ways. Outage: the SNR of the upload over its share is below
 * cell.outage_snr_db (if set), or latency_s exceeds cell.deadline_s (if set); a failed device still
 * spends its time (up to the deadline) and energy. A zero rate gives infinite latency and outage.
 */
fc_cost fc_cell_cost(const fc_cell *cell, const fc_profile *p, const fc_channel *h,
                     const fc_work_load *load, double bandwidth_hz);

double fc_cell_bandwidth_hz(const fc_cell *cell);

#endif
