/* switching_radio.c - bandwidth and power of a round's links (Step 1 of Algorithm 2 [SW]): the
 * least common delay of all subscribed links [SW (16)], then each device's power at that delay [SW
 * (21)], in turn. Devices are independent but for the sums of the bandwidth search. */
#include "switching.h"
#include <math.h>
#include <omp.h>

fc_err fc_switching_success(const fc_switching *s, double distance_m, double power_w, double share,
                            double *out) {
  const fc_switching_settings *set = &s->set;
  const fc_success_problem p = {.share = share,
                                .bandwidth_hz = set->bandwidth_hz,
                                .noise_psd_w_per_hz = set->noise_w_per_hz * set->loss_at_1m,
                                .threshold = set->threshold,
                                .distance_m = distance_m,
                                .power_w = power_w,
                                .pathloss_exponent = set->exponent,
                                .density_per_m2 = set->density_per_m2,
                                .interferer_power_w = set->interferer_power_w,
                                .formulas = set->formulas,
                                .table = s->table};
  fc_success_solution found;
  FC_TRY(fc_success_solve(&p, &found));
  *out = found.probability;
  return FC_ERR_OK;
}

double fc_switching_compute_j(const fc_federation *fed, const fc_switching_settings *s,
                              double samples) {
  const fc_local_settings *l = &fed->set.local;
  double of_a_step = fmin(samples, l->batch) * l->accumulate; /* D_k^t */
  return l->iterations * of_a_step * s->compute_j_per_sample;
}

/* ---- bandwidth ------------------------------------------------------------------------------- */

/* The links of this rank that are served, device by device. */
typedef struct {
  double *signal_w, *interference_w, *bits, *least, *share; /* in one block of memory */
  int64_t n;
} links;

static fc_err links_create(const fc_switching *s, links *l) {
  size_t n = 0;
  for (uint32_t i = 0; i < s->ue_count; i++) n += (size_t)fc_switching_links(s, &s->ue[i]);
  FC_TRY(fc_alloc(5 * n, sizeof(double), &l->signal_w));
  l->interference_w = l->signal_w + n;
  l->bits = l->signal_w + 2 * n;
  l->least = l->signal_w + 3 * n;
  l->share = l->signal_w + 4 * n;
  return FC_ERR_OK;
}

static int links_served(const fc_switching *s, const fc_ue *u) {
  return u->served ? fc_switching_links(s, u) : 0;
}

static void links_fill(const fc_switching *s, links *l) {
  l->n = 0;
  for (uint32_t i = 0; i < s->ue_count; i++)
    for (int j = links_served(s, &s->ue[i]); j > 0; j--, l->n++) {
      l->signal_w[l->n] = s->ue[i].power_w * s->ue[i].gain;
      l->interference_w[l->n] = s->ue[i].interference_w;
      l->bits[l->n] = s->set.update_bits;
      l->least[l->n] = s->ue[i].least_share;
    }
}

/* The share that a link of this device would get at that delay: the whole band where no share is
 * enough. By halving, as only devices without links need it. */
static double share_at(const fc_switching_settings *s, const fc_ue *u, double delay_s) {
  double low = 0, high = 1, wanted = s->update_bits / delay_s;
  for (int i = 0; i < 60; i++) {
    double middle = (low + high) / 2, hz = middle * s->bandwidth_hz;
    double sinr = u->power_w * u->gain / (u->interference_w + hz * s->noise_w_per_hz);
    if (hz * log1p(sinr) / M_LN2 < wanted)
      low = middle;
    else
      high = middle;
  }
  return high;
}

/* Collective. Algorithm 1, of those who can be served. */
static fc_err share_band(const fc_federation *fed, fc_switching *s, links *l, fc_round *round) {
  FC_TRY(fc_switching_admit(fed, s, round));
  links_fill(s, l);
  const fc_bandwidth_problem p = {.rows = {.n = l->n},
                                  .signal_w = l->signal_w,
                                  .interference_w = l->interference_w,
                                  .bits = l->bits,
                                  .bandwidth_hz = s->set.bandwidth_hz,
                                  .noise_psd_w_per_hz = s->set.noise_w_per_hz,
                                  .least_share = l->least};
  fc_bandwidth_solution found = {.share = l->share};
  fc_reduction over = fc_comm_reduction(fed->comm);
  int64_t at = 0;
  FC_TRY(fc_bandwidth_solve(&p, &over, &found));
  FC_CHECK(found.answer.status == FC_OPTIMAL, NUMERIC, "round %lld: no bandwidths are possible: %s",
           (long long)round->number, found.answer.reason);
  round->notes.delay_s = found.delay_s;
  round->notes.bandwidth_steps = (double)found.steps;
  for (uint32_t i = 0; i < s->ue_count; i++) {
    fc_ue *u = &s->ue[i];
    int n = links_served(s, u);
    u->share = n > 0                 ? l->share[at]
               : found.delay_s > 0.0 ? share_at(&s->set, u, found.delay_s)
                                     : 1.0 / s->set.devices; /* nobody is served */
    at += n;
  }
  return FC_ERR_OK;
}

/* ---- power ----------------------------------------------------------------------------------- */

/* A device's power at this delay and share; *objective: Qhat there [SW (14)]. Who is not served
 * would send with all its power next time. */
static fc_err choose_power(const fc_switching *s, fc_ue *u, double delay_s, double *objective) {
  const fc_switching_settings *set = &s->set;
  const fc_subscription *own = fc_switching_own(s, u);
  double selected[FC_MODULES_MAX], share[FC_MODULES_MAX], bound[FC_MODULES_MAX];
  *objective = 0;
  u->power_w = u->max_power_w;
  if (!u->served) return FC_ERR_OK;
  for (int n = 0; n < set->modules; n++) {
    selected[n] = own[n].subscribed;
    share[n] = u->share;
    bound[n] = own[n].bound;
  }
  const fc_power_problem p = {.rows = {set->modules, 0},
                              .selected = selected,
                              .share = share,
                              .previous_bound = bound,
                              .max_power_w = u->max_power_w,
                              .delay_s = delay_s,
                              .mu = set->mu,
                              .xi = set->xi,
                              .eps = set->eps,
                              .zeta1 = set->zeta1,
                              .zeta2 = set->zeta2,
                              .bandwidth_hz = set->bandwidth_hz,
                              .noise_psd_w_per_hz = set->noise_w_per_hz * set->loss_at_1m,
                              .threshold = set->threshold,
                              .distance_m = u->distance_m,
                              .pathloss_exponent = set->exponent,
                              .density_per_m2 = set->density_per_m2,
                              .interferer_power_w = set->interferer_power_w,
                              .formulas = set->formulas,
                              .table = s->table,
                              .tolerance = set->tolerance / 100};
  fc_power_solution found;
  FC_TRY(fc_power_solve(&p, &found));
  FC_CHECK(found.answer.status == FC_OPTIMAL, USAGE, "device %u: %s", u->device,
           found.answer.reason);
  u->power_w = found.power_w;
  *objective = found.objective;
  return FC_ERR_OK;
}

/* Collective. *change: the greatest of an objective since the last time, relative. objective
 * (ue_count) is kept from call to call. */
static fc_err choose_powers(const fc_federation *fed, fc_switching *s, double delay_s,
                            double *objective, double *change) {
  fc_err_carry carry = {0};
  double largest = 0;
#pragma omp parallel for schedule(dynamic, 4) reduction(max : largest)
  for (uint32_t i = 0; i < s->ue_count; i++) {
    double now = 0;
    fc_err_carry_put(&carry, choose_power(s, &s->ue[i], delay_s, &now));
    largest = fmax(largest, fabs(now - objective[i]) / fmax(fabs(now), 1e-300));
    objective[i] = now;
  }
  *change = largest;
  FC_TRY(fc_agree(fed->comm, fc_err_carry_raise(&carry)));
  return fc_comm_max(fed->comm, change, 1);
}

/* ---- both ------------------------------------------------------------------------------------ */

/* Qhat of a device where it stands, at the delay that all have together [SW (14)]. */
static fc_err objective_of(const fc_switching *s, const fc_ue *u, double delay_s, double *out) {
  const fc_switching_settings *set = &s->set;
  const fc_subscription *own = fc_switching_own(s, u);
  double success = 0;
  if (u->served) FC_TRY(fc_switching_success(s, u->distance_m, u->power_w, u->share, &success));
  *out = set->mu * links_served(s, u) * u->power_w * delay_s;
  for (int n = 0; n < set->modules; n++)
    *out += fc_switching_weight(set, own[n].bound) *
            fc_switching_missing(set, success, own[n].subscribed);
  return FC_ERR_OK;
}

/* Collective. Of all devices. */
static fc_err total_objective(const fc_federation *fed, const fc_switching *s, double delay_s,
                              double *total) {
  double *x = NULL;
  fc_err err = fc_alloc(s->ue_count, sizeof *x, &x);
  for (uint32_t i = 0; i < s->ue_count && err == FC_ERR_OK; i++)
    err = objective_of(s, &s->ue[i], delay_s, &x[i]);
  err = fc_agree(fed->comm, err);
  if (err == FC_ERR_OK) err = fc_exact_sums(fed->comm, x, s->ue_count, 1, total);
  fc_free(x);
  return err;
}

static void keep_powers(const fc_switching *s, double *power_w) {
  for (uint32_t i = 0; i < s->ue_count; i++) power_w[i] = s->ue[i].power_w;
}

/* Collective. Ends with the bandwidths, so that the uploads end together at the powers chosen. The
 * two steps do not descend on one function: a device that sends with less power makes the delay of
 * all longer, which is answered by still less power. So the best powers on the way are kept, the
 * highest ones among them. */
static fc_err alternate(const fc_federation *fed, fc_switching *s, links *l, double *objective,
                        double *best_w, fc_round *round) {
  double change = INFINITY, total = 0, best = 0;
  bool is_best = true; /* where things stand now */
  FC_TRY(share_band(fed, s, l, round));
  if (!s->set.adapts_power) return FC_ERR_OK;
  FC_TRY(total_objective(fed, s, round->notes.delay_s, &best));
  keep_powers(s, best_w);
  for (int e = 0; e < s->set.alternations && change > s->set.tolerance; e++) {
    FC_TRY(choose_powers(fed, s, round->notes.delay_s, objective, &change));
    FC_TRY(share_band(fed, s, l, round));
    FC_TRY(total_objective(fed, s, round->notes.delay_s, &total));
    is_best = total < best;
    if (!is_best) continue;
    best = total;
    keep_powers(s, best_w);
  }
  for (uint32_t i = 0; i < s->ue_count; i++) s->ue[i].power_w = best_w[i];
  return is_best ? FC_ERR_OK : share_band(fed, s, l, round);
}

static fc_err see(const fc_federation *fed, const fc_switching *s, double delay_s, fc_ue *u) {
  u->seen.energy_j =
      fc_switching_compute_j(fed, &s->set, u->samples) + u->power_w * delay_s; /* [SW (4), (13)] */
  return fc_switching_success(s, u->distance_m, u->power_w, u->share, &u->seen.success);
}

fc_err fc_switching_allocate(fc_federation *fed, fc_switching *s, fc_round *round) {
  links l = {0};
  double *objective = NULL, *best_w = NULL;
  fc_err err = links_create(s, &l);
  if (err == FC_ERR_OK) err = fc_alloc(s->ue_count, sizeof *objective, &objective);
  if (err == FC_ERR_OK) err = fc_alloc(s->ue_count, sizeof *best_w, &best_w);
  err = fc_agree(fed->comm, err);
  if (err == FC_ERR_OK) err = alternate(fed, s, &l, objective, best_w, round);
  for (uint32_t i = 0; i < s->ue_count && err == FC_ERR_OK; i++)
    err = see(fed, s, round->notes.delay_s, &s->ue[i]);
  fc_free(l.signal_w);
  fc_free(objective);
  fc_free(best_w);
  return fc_agree(fed->comm, err);
}
