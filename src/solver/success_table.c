/* success_table.c - the integral of [SW (15)] for one path-loss exponent, tabulated for whoever
 * needs it often: log J over log c is smooth, a cubic spline of it is right to 1e-9. */
#include "success.h"
#include <gsl/gsl_spline.h>
#include <math.h>

enum { POINTS = 1024 };
static const double LOW = -30, HIGH = 30; /* log c; beyond, the integral is computed */

struct fc_success_table {
  double half; /* alpha/2 */
  gsl_spline *spline;
};

static fc_err fill(fc_success_table *t) {
  double x[POINTS], y[POINTS];
  for (int i = 0; i < POINTS; i++) {
    double integral = 0;
    x[i] = LOW + (HIGH - LOW) * i / (POINTS - 1);
    FC_TRY(fc_success_integral(exp(x[i]), t->half, &integral));
    y[i] = log(integral);
  }
  t->spline = gsl_spline_alloc(gsl_interp_cspline, POINTS);
  FC_CHECK(t->spline, NOMEM, "no memory for a table of success probabilities");
  gsl_spline_init(t->spline, x, y, POINTS);
  return FC_ERR_OK;
}

fc_err fc_success_table_create(double pathloss_exponent, fc_success_table **out) {
  fc_success_table *t = NULL;
  *out = NULL;
  FC_CHECK(pathloss_exponent > 2, DATA,
           "a table of success probabilities needs a path-loss exponent above 2, not %g",
           pathloss_exponent);
  FC_TRY(fc_alloc(1, sizeof *t, &t));
  t->half = pathloss_exponent / 2;
  fc_err err = fill(t);
  if (err != FC_ERR_OK) fc_success_table_destroy(&t);
  *out = t;
  return err;
}

void fc_success_table_destroy(fc_success_table **table) {
  fc_success_table *t = *table;
  if (!t) return;
  if (t->spline) gsl_spline_free(t->spline);
  fc_free(t);
  *table = NULL;
}

fc_err fc_success_lookup(const fc_success_table *t, double c, double half, double *out) {
  const double x = log(c);
  if (!t || t->half != half || !(x >= LOW && x <= HIGH)) return fc_success_integral(c, half, out);
  *out = exp(gsl_spline_eval(t->spline, x, NULL)); /* NULL: several threads may ask */
  return FC_ERR_OK;
}
