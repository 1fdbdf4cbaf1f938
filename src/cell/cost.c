/* cost.c - rates, latency and energy of one device's round. [JCPBA (5)-(9)] [TELLM (5)-(11)] */
#include "cell.h"
#include <assert.h>
#include <math.h>

double fc_cell_noise_w(const fc_cell *cell, double bandwidth_hz) {
  return cell->noise_w_per_hz * (cell->noise_over_total ? cell->bandwidth_hz : bandwidth_hz);
}

double fc_cell_sinr(const fc_cell *cell, double bandwidth_hz, double power_w, double gain,
                    double interference_w) {
  assert(bandwidth_hz >= 0 && power_w >= 0 && gain >= 0 && interference_w >= 0);
  if (bandwidth_hz <= 0) return 0.0; /* 0/0 otherwise: without a share there is no signal */
  return power_w * gain / (fc_cell_noise_w(cell, bandwidth_hz) + interference_w);
}

/* B log2(1 + SINR), at most the cap; log1p keeps the digits of a tiny SINR. */
static double rate_bps(const fc_cell *cell, double bandwidth_hz, double sinr) {
  if (bandwidth_hz <= 0) return 0.0;
  return bandwidth_hz * fmin(log1p(sinr) / M_LN2, cell->efficiency_max);
}

double fc_cell_rate_bps(const fc_cell *cell, double bandwidth_hz, double power_w, double gain) {
  return rate_bps(cell, bandwidth_hz, fc_cell_sinr(cell, bandwidth_hz, power_w, gain, 0.0));
}

double fc_cell_server_power_w(const fc_cell *cell, double bandwidth_hz) {
  double share = cell->server_power_shared ? bandwidth_hz / cell->bandwidth_hz : 1.0;
  return cell->server_power_w * share;
}

/* Nothing to do takes no time, at whatever speed. */
static double duration_s(double amount, double per_s) {
  return amount > 0 ? amount / per_s : 0.0;
}

/* Takes what is needed from the time that is left. After an endless step nothing follows. */
static double spend(double *left_s, double needed_s) {
  double used = fmin(needed_s, *left_s);
  *left_s = isinf(used) ? 0.0 : *left_s - used;
  return used;
}

fc_cost fc_cell_cost(const fc_cell *cell, const fc_profile *p, const fc_channel *h,
                     const fc_work_load *load, double bandwidth_hz) {
  assert(load->flop >= 0 && load->downlink_bits >= 0 && load->uplink_bits >= 0);
  double snr_up = fc_cell_sinr(cell, bandwidth_hz, p->tx_power_w, h->gain_up, h->interference_up_w);
  double power_down = fc_cell_server_power_w(cell, bandwidth_hz);
  fc_cost c = {.rate_up_bps = rate_bps(cell, bandwidth_hz, snr_up),
               .rate_down_bps = fc_cell_rate_bps(cell, bandwidth_hz, power_down, h->gain_down)};
  double down_s = duration_s(load->downlink_bits, c.rate_down_bps);
  double compute_s = duration_s(load->flop, p->compute_flops);
  double up_s = duration_s(load->uplink_bits, c.rate_up_bps);

  double left_s = cell->deadline_s;
  c.downlink_s = spend(&left_s, down_s);
  c.compute_s = spend(&left_s, compute_s);
  c.uplink_s = spend(&left_s, up_s);
  c.latency_s = c.downlink_s + c.compute_s + c.uplink_s;

  double done = compute_s > 0 && isfinite(compute_s) ? c.compute_s / compute_s : 0.0;
  c.compute_j = done * load->flop * p->energy_per_flop_j;
  /* over a dead link nothing is ever sent */
  c.uplink_j = c.rate_up_bps > 0 ? p->tx_power_w * c.uplink_s : 0.0;
  c.energy_j = c.compute_j + c.uplink_j;

  double needed_s = down_s + compute_s + up_s;
  bool heard = load->uplink_bits <= 0 || snr_up >= cell->outage_snr;
  c.delivered = heard && isfinite(needed_s) && needed_s <= cell->deadline_s;
  return c;
}
