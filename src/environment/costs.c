/* costs.c - what a round takes: channels, allocation, time, energy, reward [TELLM (5)-(12)]. */
#include "environment.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_solver.h"
#include <math.h>
#include <string.h>

/* By which the deadline may be missed: what the solver promises. */
static const double ROUNDING = 1e-9;

/* ---- a device -------------------------------------------------------------------------------- */

/* What an allocation means for a device. */
typedef struct {
  double com_s, cmp_s, com_j, cmp_j;
} bill;

static bill bill_of(const fc_environment_settings *set, double samples, double gain, double f,
                    double p, double band) {
  const double cycles = set->cycles_per_sample * samples * set->iterations;
  const double rate = /* [TELLM (7)] */
      band * log1p(p * gain / (set->noise_psd_w_per_hz * band)) / M_LN2;
  const double cmp_s = cycles > 0 ? cycles / f : 0.0, com_s = set->model_bits / rate; /* (5), (8) */
  return (bill){.com_s = com_s,
                .cmp_s = cmp_s,
                .com_j = p * com_s,                                   /* (9) */
                .cmp_j = set->switched_capacitance * cycles * f * f}; /* (6) */
}

/* How many times its band the device would need to meet the deadline, about (a wide band carries
 * little less per hertz); above 1: it misses it. */
static double need(const fc_environment_settings *set, const bill *b) {
  const double left_s = set->deadline_s * (1 + ROUNDING) - b->cmp_s;
  return left_s > 0 && isfinite(b->com_s) ? b->com_s / left_s : INFINITY;
}

/* ---- the participants of a round ------------------------------------------------------------- */

/* Those still to be served, packed as rows; all arrays (N). */
typedef struct {
  const fc_environment_settings *set;
  int n;
  int *device;
  double *samples, *gain, *f_max_hz, *p_max_w; /* limits, or what the agent wants */
  double *missed, *frequency_hz, *power_w, *bandwidth_hz, *time_s, *energy_j; /* the tool's */
} rows;

enum { ROW_COLUMNS = 10 };

static fc_err rows_create(const fc_scenario *s, rows *r, void **memory) {
  const size_t n = (size_t)s->set.devices;
  FC_TRY(fc_alloc(n, ROW_COLUMNS * sizeof(double) + sizeof(int), memory));
  double *at = *memory,
         **column[ROW_COLUMNS] = {&r->samples, &r->gain,         &r->f_max_hz, &r->p_max_w,
                                  &r->missed,  &r->frequency_hz, &r->power_w,  &r->bandwidth_hz,
                                  &r->time_s,  &r->energy_j};
  for (int i = 0; i < ROW_COLUMNS; i++) *column[i] = at + (size_t)i * n;
  r->device = (int *)(at + ROW_COLUMNS * n);
  r->set = &s->set;
  return FC_ERR_OK;
}

/* What an agent allocates itself must be within the device's limits. */
static fc_err wanted(const fc_decision *d, const fc_fl_state *state, int n, double *f, double *p) {
  *f = d->frequency_hz[n];
  *p = d->power_w[n];
  FC_CHECK(*f >= 0 && *f <= state->f_max_hz[n], NUMERIC,
           "device %d is given a frequency of %g Hz, allowed is 0 to %g", n, *f,
           state->f_max_hz[n]);
  FC_CHECK(*p >= 0 && *p <= state->p_max_w[n], NUMERIC,
           "device %d is given a power of %g W, allowed is 0 to %g", n, *p, state->p_max_w[n]);
  return FC_ERR_OK;
}

static fc_err rows_fill(rows *r, const fc_fl_state *state, const fc_decision *d) {
  r->n = 0;
  for (int n = 0; n < state->devices; n++) {
    if (!d->select[n]) continue;
    const int i = r->n++;
    r->device[i] = n;
    r->samples[i] = state->samples[n];
    r->gain[i] = state->gain[n];
    r->f_max_hz[i] = state->f_max_hz[n];
    r->p_max_w[i] = state->p_max_w[n];
    if (d->frequency_hz) FC_TRY(wanted(d, state, n, &r->f_max_hz[i], &r->p_max_w[i]));
  }
  return FC_ERR_OK;
}

/* Of those marked as missed the one that would need the most band; of all where none is marked. */
static void drop_worst(rows *r, bool any_missed) {
  int worst = -1;
  double most = -1;
  for (int i = 0; i < r->n; i++) {
    if (any_missed && r->missed[i] == 0) continue;
    const bill b = bill_of(r->set, r->samples[i], r->gain[i], r->f_max_hz[i], r->p_max_w[i],
                           r->set->bandwidth_hz / r->n);
    const double needs = need(r->set, &b);
    if (needs > most) worst = i, most = needs;
  }
  r->n--;
  double *const keep[] = {r->samples, r->gain, r->f_max_hz, r->p_max_w};
  const size_t after = (size_t)(r->n - worst);
  memmove(r->device + worst, r->device + worst + 1, after * sizeof *r->device);
  for (size_t c = 0; c < sizeof keep / sizeof *keep; c++)
    memmove(keep[c] + worst, keep[c] + worst + 1, after * sizeof **keep);
}

static bool any_missed(const rows *r) {
  for (int i = 0; i < r->n; i++)
    if (r->missed[i] != 0) return true;
  return false;
}

static fc_altd_problem problem_of(const rows *r, double bandwidth_hz) {
  const fc_environment_settings *set = r->set;
  return (fc_altd_problem){.rows = {.n = r->n},
                           .samples = r->samples,
                           .gain = r->gain,
                           .f_max_hz = r->f_max_hz,
                           .p_max_w = r->p_max_w,
                           .deadline_s = set->deadline_s,
                           .model_bits = set->model_bits,
                           .bandwidth_hz = bandwidth_hz,
                           .noise_psd_w_per_hz = set->noise_psd_w_per_hz,
                           .local_iterations = set->iterations,
                           .cycles_per_sample = set->cycles_per_sample,
                           .switched_capacitance = set->switched_capacitance,
                           .bandwidth = set->allocation,
                           .method = set->tool};
}

static fc_err ask_tool(const rows *r, double bandwidth_hz, bool *served) {
  const fc_altd_problem p = problem_of(r, bandwidth_hz);
  fc_altd_solution x = {.infeasible_devices = r->missed,
                        .frequency_hz = r->frequency_hz,
                        .power_w = r->power_w,
                        .bandwidth_hz = r->bandwidth_hz,
                        .time_s = r->time_s,
                        .energy_j = r->energy_j};
  FC_TRY(fc_altd_solve(&p, NULL, &x));
  *served = x.answer.status == FC_OPTIMAL;
  return FC_ERR_OK;
}

/* The agent's own allocation. */
static bool take_as_wanted(rows *r) {
  for (int i = 0; i < r->n; i++) {
    r->frequency_hz[i] = r->f_max_hz[i];
    r->power_w[i] = r->p_max_w[i];
    r->bandwidth_hz[i] = r->set->bandwidth_hz / r->n;
    const bill b = bill_of(r->set, r->samples[i], r->gain[i], r->frequency_hz[i], r->power_w[i],
                           r->bandwidth_hz[i]);
    r->missed[i] = need(r->set, &b) > 1;
  }
  return !any_missed(r);
}

static fc_err allocate(rows *r, bool by_tool) {
  while (r->n > 0) {
    bool served;
    if (by_tool)
      FC_TRY(ask_tool(r, r->set->bandwidth_hz, &served));
    else
      served = take_as_wanted(r);
    if (served) break;
    drop_worst(r, any_missed(r));
  }
  return FC_ERR_OK;
}

/* ---- service --------------------------------------------------------------------------------- */

static void service_clear(fc_service *s, int devices) {
  const size_t bytes = (size_t)devices * sizeof(double);
  double *const array[] = {s->frequency_hz,  s->power_w, s->bandwidth_hz,
                           s->device_time_s, s->com_j,   s->cmp_j};
  for (size_t i = 0; i < sizeof array / sizeof *array; i++) memset(array[i], 0, bytes);
  memset(s->takes_part, 0, (size_t)devices);
  s->energy_j = s->time_s = 0;
}

static void bill_all(const rows *r, fc_service *out) {
  for (int i = 0; i < r->n; i++) {
    const int n = r->device[i];
    const bill b = bill_of(r->set, r->samples[i], r->gain[i], r->frequency_hz[i], r->power_w[i],
                           r->bandwidth_hz[i]);
    out->takes_part[n] = 1;
    out->frequency_hz[n] = r->frequency_hz[i];
    out->power_w[n] = r->power_w[i];
    out->bandwidth_hz[n] = r->bandwidth_hz[i];
    out->device_time_s[n] = b.com_s + b.cmp_s;
    out->com_j[n] = b.com_j;
    out->cmp_j[n] = b.cmp_j;
    out->energy_j += b.com_j + b.cmp_j;                     /* [TELLM (10)] */
    out->time_s = fmax(out->time_s, out->device_time_s[n]); /* [TELLM (11)] */
  }
}

fc_err fc_scenario_serve(const fc_scenario *s, const fc_fl_state *state, const fc_decision *d,
                         fc_service *out) {
  rows r;
  void *memory;
  FC_TRY(rows_create(s, &r, &memory));
  service_clear(out, s->set.devices);
  fc_err err = rows_fill(&r, state, d);
  out->selected = r.n;
  if (err == FC_ERR_OK) err = allocate(&r, d->frequency_hz == NULL);
  out->served = r.n;
  if (err == FC_ERR_OK) bill_all(&r, out);
  fc_free(memory);
  FC_TRY(err);
  FC_CHECK(isfinite(out->energy_j), NUMERIC, "a round takes %g J", out->energy_j);
  return FC_ERR_OK;
}

/* ---- what an agent sees ---------------------------------------------------------------------- */

/* What device n would spend with the band that it has among select_min devices. */
static fc_err expect(const fc_scenario *s, rows *r, fc_fl_state *state, int n) {
  bool served;
  r->n = 1;
  r->samples[0] = s->samples[n];
  r->gain[0] = state->gain[n];
  r->f_max_hz[0] = s->f_max_hz[n];
  r->p_max_w[0] = s->p_max_w[n];
  FC_TRY(ask_tool(r, s->set.bandwidth_hz / s->set.select_min, &served));
  const bill b = bill_of(&s->set, s->samples[n], state->gain[n], r->frequency_hz[0], r->power_w[0],
                         r->bandwidth_hz[0]);
  state->com_j[n] = served ? b.com_j : INFINITY;
  state->cmp_j[n] = served ? b.cmp_j : INFINITY;
  return FC_ERR_OK;
}

static fc_err observe(const fc_scenario *s, const fc_service *last, rows *r, fc_fl_state *state) {
  for (int n = 0; n < s->set.devices; n++) {
    if (last && last->takes_part[n]) {
      state->com_j[n] = last->com_j[n];
      state->cmp_j[n] = last->cmp_j[n];
    } else {
      FC_TRY(expect(s, r, state, n));
    }
  }
  return FC_ERR_OK;
}

fc_err fc_scenario_observe(const fc_scenario *s, const fc_episode *e, int64_t round,
                           const fc_service *last, fc_fl_state *state) {
  rows r;
  void *memory;
  FC_TRY(rows_create(s, &r, &memory));
  state->round = round;
  for (int n = 0; n < s->set.devices; n++) {
    fc_rng rng = fc_rng_open(e->seed, FC_RNG_GAIN, (uint64_t)round, (uint64_t)n);
    state->gain[n] = fc_dist_draw(&s->gain, &rng);
  }
  const fc_err err = observe(s, last, &r, state);
  fc_free(memory);
  return err;
}

/* ---- reward ---------------------------------------------------------------------------------- */

static double reward(double sigma, double accuracy, double energy_j) { /* [TELLM (12)] */
  return (1 - sigma) * accuracy / energy_j + sigma * accuracy;
}

fc_outcome fc_scenario_outcome(const fc_scenario *s, const fc_service *service, double accuracy) {
  const fc_environment_settings *set = &s->set;
  const bool idle = service->served == 0;
  const double energy_j = service->energy_j;
  return (fc_outcome){.reward = idle
                                    ? set->idle_reward
                                    : reward(set->sigma, accuracy, energy_j + set->energy_offset_j),
                      .printed_reward = idle ? 0 : reward(set->sigma, accuracy, energy_j),
                      .accuracy = accuracy,
                      .energy_j = energy_j,
                      .time_s = service->time_s,
                      .selected = service->selected,
                      .served = service->served,
                      .idle = idle};
}
