/* success.c - the success probability of [SW (15)], by numerical integration. */
#include "success.h"
#include <gsl/gsl_errno.h>
#include <gsl/gsl_integration.h>
#include <math.h>

typedef struct {
  double c, half; /* alpha/2 */
} kernel;

/* The integrand at x = e^y, times dx/dy. */
static double integrand(double y, void *arg) {
  const kernel *k = arg;
  const double x = exp(y), decay = exp(-k->half * fabs(y)); /* x^half or its inverse, below 1 */
  return -expm1(-k->c * x) * (y > 0 ? exp(y * (1 - k->half)) : x) / (1 + decay);
}

/* int_X^inf dx / (1 + x^h) for X > 1, h > 1: the alternating series of x^-h / (1 + x^-h). */
static double tail(double X, double h) {
  double sum = 0;
  for (int j = 1; j <= 200; j++) {
    const double term = pow(X, 1 - j * h) / (j * h - 1);
    sum += j % 2 ? term : -term;
    if (term <= 1e-17 * sum) break;
  }
  return sum;
}

/* int_0^inf (1 - e^(-c x)) / (1 + x^h) dx. In y = log x the integrand is smooth on every scale; the
 * part beyond X, where e^(-c x) is gone and the decay may be slow, is a series. */
fc_err fc_success_integral(double c, double half, double *out) {
  enum { PIECES = 4, INTERVALS = 200 };
  const double X = fmax(40.0 / c, 16.0), low = -40 - fmax(0.0, log(c));
  const double knee = fmin(fmax(-log(c), low), log(X));
  double ends[PIECES + 1] = {low, fmin(0.0, knee), fmax(0.0, knee), log(X)};
  kernel k = {c, half};
  gsl_function f = {integrand, &k};
  *out = 0;
  if (!(c > 0)) return FC_ERR_OK;
  gsl_integration_workspace *work = gsl_integration_workspace_alloc(INTERVALS);
  FC_CHECK(work, NOMEM, "no memory to integrate the success probability");
  gsl_error_handler_t *before = gsl_set_error_handler_off();
  int status = GSL_SUCCESS;
  double sum = isfinite(X) ? tail(X, half) : 0.0;
  for (int i = 0; i < 3 && isfinite(X); i++) {
    double part = 0, error = 0;
    if (ends[i + 1] <= ends[i]) continue;
    int one = gsl_integration_qag(&f, ends[i], ends[i + 1], 0, 1e-11, INTERVALS, GSL_INTEG_GAUSS31,
                                  work, &part, &error);
    /* a piece that is nothing beside the others may miss its relative error by rounding */
    if (one != GSL_SUCCESS && error > 1e-10 * (sum + part)) status = one;
    sum += part;
  }
  gsl_set_error_handler(before);
  gsl_integration_workspace_free(work);
  FC_CHECK(status == GSL_SUCCESS && isfinite(sum), NUMERIC,
           "the success probability's integral did not converge (c = %g, alpha = %g)", c, 2 * half);
  *out = sum;
  return FC_ERR_OK;
}

double fc_success_noise(const fc_success_settings *s, double share) {
  const double noise_w = s->bandwidth_hz * share * s->noise_psd_w_per_hz, alpha = s->alpha;
  const double reach = s->formulas == FC_FORMULAS_PRINTED
                           ? pow(s->distance_m, 2) / pow(2 * s->density_per_m2, alpha / 2 - 1)
                           : pow(s->distance_m, alpha);
  return noise_w > 0 && s->threshold > 0 && s->distance_m > 0 ? noise_w * s->threshold * reach
                                                              : 0.0;
}

fc_err fc_success_interference(const fc_success_settings *s, double power_w, double *out) {
  const double theta = s->formulas == FC_FORMULAS_PRINTED
                           ? s->threshold
                           : s->threshold * (s->interferer_power_w / power_w);
  const double area = M_PI * s->density_per_m2 * pow(s->distance_m, 2);
  const double scaled = pow(theta, 2 / s->alpha); /* theta^(2/alpha) */
  *out = 0;
  if (!(theta > 0 && area > 0)) return FC_ERR_OK;
  const double c = 2.4 * scaled * (s->formulas == FC_FORMULAS_PRINTED ? M_PI : area);
  double integral = 0;
  FC_TRY(fc_success_lookup(s->table, c, s->alpha / 2, &integral));
  *out = area * scaled * integral;
  return FC_ERR_OK;
}

fc_err fc_success_solve(const fc_success_problem *p, fc_success_solution *out) {
  const double other_w = isnan(p->interferer_power_w) ? p->power_w : p->interferer_power_w;
  const fc_success_settings s = {p->bandwidth_hz, p->noise_psd_w_per_hz, p->threshold,
                                 p->distance_m,   p->pathloss_exponent,  p->density_per_m2,
                                 other_w,         p->formulas,           p->table};
  out->answer = (fc_answer){FC_OPTIMAL, ""};
  out->probability = 0;
  if (p->threshold == 0) { /* any signal is enough */
    out->probability = 1;
    return FC_ERR_OK;
  }
  if (p->power_w == 0 || p->pathloss_exponent <= 2) return FC_ERR_OK;
  double interference = 0;
  FC_TRY(fc_success_interference(&s, p->power_w, &interference));
  out->probability = exp(-fc_success_noise(&s, p->share) / p->power_w - interference);
  return FC_ERR_OK;
}

/* ---- the descriptor -------------------------------------------------------------------------- */

static fc_err solve(const void *problem, const fc_reduction *over, void *solution) {
  (void)over;
  return fc_success_solve(problem, solution);
}

#define NUMBER(member) FC_NUMBER(fc_success_problem, #member, member, FC_DRAW_NONE, 0, 0)
static const fc_solver_field input[] = {
    NUMBER(share),
    NUMBER(bandwidth_hz),
    NUMBER(noise_psd_w_per_hz),
    NUMBER(threshold),
    NUMBER(distance_m),
    NUMBER(power_w),
    NUMBER(pathloss_exponent),
    NUMBER(density_per_m2),
    {"interferer_power_w",
     FC_FIELD_OPTIONAL,
     offsetof(fc_success_problem, interferer_power_w),
     0,
     INFINITY,
     {FC_DRAW_NONE, 0, 0},
     NULL},
    FC_CHOICE(fc_success_problem, "formulas", formulas, "printed corrected"),
    FC_LAST_FIELD,
};
static const fc_solver_field output[] = {
    FC_OUTPUT(fc_success_solution, "probability", FC_FIELD_NUMBER, probability),
    FC_LAST_FIELD,
};

const fc_solver fc_solver_success = {
    "success",
    "probability that an upload arrives in a Poisson field of interferers",
    sizeof(fc_success_problem),
    sizeof(fc_success_solution),
    input,
    output,
    true,
    solve,
};
