/* altd.c - least energy by a deadline [TELLM, P2]: each device in a given band, by the root of
 * dE/dt (exact) or by alternation on the Lagrangian (ALTD). */
#include "altd.h"
#include <math.h>

static const double ROUNDING = 1e-12; /* by which the deadline may be missed */

/* ---- a device -------------------------------------------------------------------------------- */

fc_altd_device fc_altd_device_of(const fc_altd_problem *p, int64_t n) {
  return (fc_altd_device){.T = p->deadline_s,
                          .zeta = p->switched_capacitance,
                          .a = p->model_bits * M_LN2,
                          .w = p->cycles_per_sample * p->samples[n] * p->local_iterations,
                          .k = p->noise_psd_w_per_hz / p->gain[n],
                          .f_max = p->f_max_hz[n],
                          .p_max = p->p_max_w[n]};
}

double fc_altd_excess(double v) {
  if (v > 0.5) return v * exp(v) - expm1(v);
  double power = v, sum = 0; /* sum over k >= 2 of (k-1) v^k / k! */
  for (int k = 2; k <= 16; k++) {
    power *= v / k;
    sum += (k - 1) * power;
  }
  return sum;
}

double fc_altd_excess_inverse(double c) {
  fc_root r = fc_root_begin(0, 710, c < 1 ? sqrt(2 * c) : log1p(c), 1e-15);
  while (!r.done) fc_root_tell(&r, fc_altd_excess(r.x) - c, r.x * exp(r.x));
  return r.hi;
}

double fc_altd_air_most(const fc_altd_device *d) {
  return d->w > 0 ? d->T - d->w / d->f_max : d->T;
}

double fc_altd_air_least(const fc_altd_device *d, double band) {
  return d->a > 0 ? d->a / (band * log1p(d->p_max / (d->k * band))) : 0.0;
}

bool fc_altd_meets(const fc_altd_device *d, double band) {
  const bool able = d->f_max > 0 && d->p_max > 0 && isfinite(d->k) && isfinite(d->w);
  return able && fc_altd_air_least(d, band) <= fc_altd_air_most(d) + ROUNDING * d->T;
}

static fc_altd_point point_at(const fc_altd_device *d, double band, double air_s) {
  const double v = d->a > 0 ? d->a / (band * air_s) : 0.0;
  return (fc_altd_point){.air_s = air_s,
                         .v = v,
                         .f = d->w > 0 ? fmin(d->f_max, d->w / (d->T - air_s)) : d->f_max,
                         .p = d->a > 0 ? fmin(d->p_max, d->k * band * expm1(v)) : d->p_max};
}

/* The root of dE/dt between the limits, or the limit that it lies beyond. */
static fc_altd_point solve_exact(const fc_altd_device *d, double band) {
  const double most = fmax(0.0, fc_altd_air_most(d)); /* below 0 by rounding at most */
  const double least = fmin(fc_altd_air_least(d, band), most);
  if (!(d->a > 0)) return point_at(d, band, 0.0);
  fc_root r = fc_root_begin(least, most, most, 1e-15);
  while (!r.done) {
    const double left = d->T - r.x, v = d->a / (band * r.x);
    const double push = d->w > 0 ? 2 * d->zeta * pow(d->w / left, 3) : 0.0;
    const double pull = d->k * band * fc_altd_excess(v);
    const double bend = d->k * band * v * v * exp(v) / r.x; /* of the second part */
    fc_root_tell(&r, push - pull, (push > 0 ? 3 * push / left : 0.0) + bend);
  }
  return point_at(d, band, r.hi);
}

/* The minimiser of E + mu (time - T) over f and p, which mu parts. */
static fc_altd_point lagrange_step(const fc_altd_device *d, double band, double mu, double *slope) {
  const double v_max = log1p(d->p_max / (d->k * band));
  const double f = d->zeta > 0 ? fmin(d->f_max, cbrt(mu / (2 * d->zeta))) : d->f_max;
  const double v = d->a > 0 ? fmin(v_max, fc_altd_excess_inverse(mu / (d->k * band))) : v_max;
  const double air_s = d->a > 0 ? d->a / (band * v) : 0.0;
  const double compute_slope = f < d->f_max && d->w > 0 ? d->w / f / (3 * mu) : 0.0;
  const double air_slope = v < v_max ? air_s / (v * d->k * band * v * exp(v)) : 0.0;
  *slope = compute_slope + air_slope;
  return (fc_altd_point){air_s, v, f, d->k * band * expm1(v)};
}

/* [Yao+Ansari 2021]: frequency step, power step, multiplier step, until the deadline holds. With a
 * hard deadline the alternation would stop at once, as either step makes it tight; so it runs on
 * the Lagrangian. */
static fc_altd_point solve_alternating(const fc_altd_device *d, double band) {
  const double v_max = log1p(d->p_max / (d->k * band));
  const double mu_max =
      fmax(2 * d->zeta * pow(d->f_max, 3), d->k * band * fc_altd_excess(v_max)) * (1 + 1e-12);
  fc_altd_point at;
  fc_root r = fc_root_begin(0, mu_max, mu_max, 1e-15);
  while (!r.done) {
    double slope = 0;
    at = lagrange_step(d, band, r.x, &slope);
    const double time_s = (d->w > 0 ? d->w / at.f : 0.0) + at.air_s;
    fc_root_tell(&r, d->T - time_s, slope);
  }
  double slope = 0;
  at = lagrange_step(d, band, r.hi, &slope);
  at.p = d->a > 0 ? fmin(at.p, d->p_max) : d->p_max;
  if (!(d->w > 0)) at.f = d->f_max;
  return at;
}

/* ---- all devices ----------------------------------------------------------------------------- */

typedef struct {
  const fc_altd_problem *p;
  fc_altd_solution *out;
  double devices; /* of all ranks */
} work;

static void count_terms(const void *arg, int64_t n, double *term) {
  (void)arg, (void)n;
  term[0] = 1.0;
}

/* Marks the devices that nothing serves; the answer names the first. */
static void meet_terms(const void *arg, int64_t n, double *term) {
  const work *w = arg;
  const fc_altd_problem *p = w->p;
  const fc_altd_device d = fc_altd_device_of(p, n);
  const double share = p->bandwidth == FC_ALTD_EQUAL ? w->devices : 1.0;
  const bool missed = !fc_altd_meets(&d, p->bandwidth_hz / share);
  w->out->infeasible_devices[n] = missed;
  w->out->bandwidth_hz[n] = p->bandwidth_hz / share;
  term[0] = missed;
  term[1] = missed ? -(double)(p->rows.first + n) : -INFINITY;
}

static fc_err find_missed(const work *w, const fc_reduction *over) {
  double found[2];
  FC_TRY(fc_rows_reduce(over, w->p->rows.n, meet_terms, w, 1, 1, found));
  if (found[0] == 0) return FC_ERR_OK;
  fc_infeasible(&w->out->answer,
                "deadline_s: %.0f of %.0f devices miss %g s at f_max_hz and p_max_w with %s; the "
                "first is devices[%.0f]",
                found[0], w->devices, w->p->deadline_s,
                w->p->bandwidth == FC_ALTD_EQUAL ? "an equal share of the band" : "the whole band",
                -found[1]);
  return FC_ERR_OK;
}

static void device_terms(const void *arg, int64_t n, double *term) {
  const work *w = arg;
  fc_altd_solution *out = w->out;
  const fc_altd_device d = fc_altd_device_of(w->p, n);
  const double band = out->bandwidth_hz[n];
  const fc_altd_point at =
      w->p->method == FC_ALTD_EXACT ? solve_exact(&d, band) : solve_alternating(&d, band);
  out->frequency_hz[n] = at.f;
  out->power_w[n] = at.p;
  out->time_s[n] = (d.w > 0 ? d.w / at.f : 0.0) + at.air_s;
  out->energy_j[n] = d.zeta * d.w * at.f * at.f + at.p * at.air_s; /* [TELLM (6), (9)] */
  term[0] = out->energy_j[n];
}

fc_err fc_altd_solve(const fc_altd_problem *p, const fc_reduction *over, fc_altd_solution *out) {
  work w = {.p = p, .out = out};
  out->answer = (fc_answer){FC_OPTIMAL, ""};
  FC_TRY(fc_rows_reduce(over, p->rows.n, count_terms, NULL, 1, 0, &w.devices));
  FC_TRY(find_missed(&w, over));
  if (out->answer.status == FC_OPTIMAL && p->bandwidth == FC_ALTD_OPTIMAL)
    FC_TRY(fc_altd_bands(p, over, out->time_s, out->bandwidth_hz, &out->answer));
  if (out->answer.status == FC_INFEASIBLE) return FC_ERR_OK;
  FC_TRY(fc_rows_reduce(over, p->rows.n, device_terms, &w, 1, 0, &out->total_energy_j));
  FC_CHECK(isfinite(out->total_energy_j), NUMERIC, "altd: energies beyond the range of numbers");
  return FC_ERR_OK;
}

/* ---- the descriptor -------------------------------------------------------------------------- */

static fc_err solve(const void *problem, const fc_reduction *over, void *solution) {
  return fc_altd_solve(problem, over, solution);
}

/* Made up after [TELLM, Table II]; 200 kHz a device (2 MHz for ten). */
#define NUMBER(member, ...) FC_NUMBER(fc_altd_problem, #member, member, __VA_ARGS__)
#define COLUMN(member, ...) FC_COLUMN(fc_altd_problem, "devices[]." #member, member, __VA_ARGS__)
static const fc_solver_field input[] = {
    COLUMN(samples, FC_DRAW_UNIFORM, 64, 1200),
    COLUMN(gain, FC_DRAW_UNIFORM, 1e-7, 1e-6),
    COLUMN(f_max_hz, FC_DRAW_UNIFORM, 0.5e9, 4e9),
    COLUMN(p_max_w, FC_DRAW_UNIFORM, 0.1, 1),
    NUMBER(deadline_s, FC_DRAW_CONSTANT, 15, 0),
    NUMBER(model_bits, FC_DRAW_CONSTANT, 53.21e6, 0),
    NUMBER(bandwidth_hz, FC_DRAW_PER_ROW, 2e5, 0),
    {"noise_psd_w_per_hz",
     FC_FIELD_NUMBER,
     offsetof(fc_altd_problem, noise_psd_w_per_hz),
     0x1p-1022,
     INFINITY,
     {FC_DRAW_CONSTANT, 3.98e-21, 0},
     NULL},
    NUMBER(local_iterations, FC_DRAW_CONSTANT, 5, 0),
    NUMBER(cycles_per_sample, FC_DRAW_CONSTANT, 7e5, 0),
    NUMBER(switched_capacitance, FC_DRAW_CONSTANT, 1e-28, 0),
    FC_CHOICE(fc_altd_problem, "bandwidth", bandwidth, "equal optimal"),
    FC_CHOICE(fc_altd_problem, "method", method, "exact altd"),
    FC_LAST_FIELD,
};
#define OUT(member) FC_OUTPUT(fc_altd_solution, #member "[]", FC_FIELD_COLUMN, member)
static const fc_solver_field output[] = {
    FC_OUTPUT(fc_altd_solution, "infeasible_devices[]", FC_FIELD_LIST, infeasible_devices),
    OUT(frequency_hz),
    OUT(power_w),
    OUT(bandwidth_hz),
    OUT(time_s),
    OUT(energy_j),
    FC_OUTPUT(fc_altd_solution, "total_energy_j", FC_FIELD_NUMBER, total_energy_j),
    FC_LAST_FIELD,
};

const fc_solver fc_solver_altd = {
    "altd",
    "frequency, power and bandwidth of least energy by a deadline",
    sizeof(fc_altd_problem),
    sizeof(fc_altd_solution),
    input,
    output,
    false,
    solve,
};
