/* profile.c - a device's profile and its channel in a round.
 *
 * Each field has its own stream, so a change of one distribution leaves the other fields' draws
 * alone, and device d is the same device however many there are. */
#include "cell.h"
#include <assert.h>
#include <math.h>

const char *const field_names[FIELD_COUNT] = {
#define FIELD_NAME(id, option) #id,
    FIELD_LIST(FIELD_NAME)
#undef FIELD_NAME
};
const char *const field_options[FIELD_COUNT] = {
#define FIELD_OPTION(id, option) option,
    FIELD_LIST(FIELD_OPTION)
#undef FIELD_OPTION
};
_Static_assert((int)FIELD_COUNT <= (int)FIELD_STRIDE, "two rounds would share a stream");

const char *fc_cell_profile_column(size_t i) {
  return i < FIELD_COUNT ? field_names[i] : NULL;
}

double field_draw(const fc_cell *cell, field_id field, uint64_t round, uint32_t device) {
  int column = cell->trace.column_of[field];
  if (column >= 0) return cell->trace.value[device * cell->trace.columns + (size_t)column];
  if (field_options[field] == NULL) return NAN; /* no distribution: the caller draws */
  fc_rng rng = fc_rng_open(cell->seed, FC_RNG_PROFILE, round * FIELD_STRIDE + field, device);
  return fc_dist_draw(&cell->fields[field], &rng);
}

double large_scale_loss_db(const fc_cell *cell, uint64_t round, uint32_t device,
                           const fc_position *at) {
  double fixed_db = field_draw(cell, FIELD_pathloss_db, round, device);
  /* a loss that a trace gives is the whole loss, as it was measured */
  if (cell->trace.column_of[FIELD_pathloss_db] >= 0) return fixed_db;
  surroundings here = surroundings_at(cell, device, at->x_m, at->y_m);
  /* the sight value, made uniform, against the probability of a line of sight */
  double uniform = 0.5 * erfc(here.sight * M_SQRT1_2);
  bool los = uniform < cell->pathloss->los_probability(at->distance_m);
  link_loss link =
      (los ? cell->pathloss->los : cell->pathloss->nlos)(&cell->geometry, at->distance_m, fixed_db);
  double sigma_db = cell->shadowing_db < 0 ? link.sigma_db : cell->shadowing_db;
  /* a channel does not amplify, however lucky the shadowing */
  return fmax(0.0, link.loss_db + sigma_db * here.shadowing);
}

static double linear_gain(double loss_db) {
  return pow(10.0, -loss_db / 10.0);
}

/* Of a trace to the last digit, which the way over the place would round. */
static double distance_of(const fc_cell *cell, uint32_t device, const fc_position *at) {
  double given = field_draw(cell, FIELD_distance_m, 0, device);
  return isnan(given) ? at->distance_m : given;
}

fc_profile fc_cell_profile(const fc_cell *cell, uint32_t device) {
  assert(device < cell->devices);
  fc_position at = fc_cell_position(cell, 0, device);
  fc_profile p = {
      .compute_flops = field_draw(cell, FIELD_compute_flops, 0, device),
      .tx_power_w = field_draw(cell, FIELD_tx_power_w, 0, device),
      .energy_static_j = field_draw(cell, FIELD_energy_per_flop_j, 0, device),
      .energy_kappa = field_draw(cell, FIELD_energy_kappa, 0, device),
      .memory_bytes = field_draw(cell, FIELD_memory_bytes, 0, device),
      .battery_j = field_draw(cell, FIELD_battery_j, 0, device),
      .speed_mps = field_draw(cell, FIELD_speed_mps, 0, device),
      .distance_m = distance_of(cell, device, &at),
      .pathloss_db = large_scale_loss_db(cell, 0, device, &at),
  };
  p.pathloss = linear_gain(p.pathloss_db);
  /* the dynamic part of CMOS power: kappa f^2 a FLOP at speed f, as [TELLM (7)] a cycle */
  p.energy_per_flop_j = p.energy_static_j + p.energy_kappa * p.compute_flops * p.compute_flops;
  if (p.battery_j <= 0) p.battery_j = INFINITY;
  return p;
}

fc_channel fc_cell_channel(const fc_cell *cell, const fc_profile *p, uint64_t round,
                           uint32_t device) {
  double gain = p->pathloss;
  if (cell->mobility != MOBILITY_STATIC) {
    fc_position at = fc_cell_position(cell, round, device);
    gain = linear_gain(large_scale_loss_db(cell, round, device, &at));
  }
  fc_channel h = {.interference_up_w = interference_power_w(cell, round, device)};
  double up = fading_power(cell, round, device, LINK_UP);
  h.gain_up = gain * up;
  h.gain_down = gain * (cell->reciprocal ? up : fading_power(cell, round, device, LINK_DOWN));
  channel_trace_lay(&cell->channels, round, device, &h);
  return h;
}
