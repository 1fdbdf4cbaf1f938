/* success.h - the success probability exp(-noise/P - interference(P)) of [SW (15)], in its parts.
 */
#ifndef SUCCESS_H
#define SUCCESS_H

#include "solver.h"

typedef struct {
  double bandwidth_hz, noise_psd_w_per_hz, threshold, distance_m, alpha, density_per_m2;
  double interferer_power_w;
  int formulas; /* fc_formulas */
  const fc_success_table *table;
} fc_success_settings;

/* int_0^inf (1 - e^(-c x)) / (1 + x^half) dx, half > 1. */
fc_err fc_success_integral(double c, double half, double *out);
/* The same from the table, where it has it. */
fc_err fc_success_lookup(const fc_success_table *t, double c, double half, double *out);
/* What power divides in the noise's part of the exponent, W. */
double fc_success_noise(const fc_success_settings *s, double share);
/* The interference's part of the exponent; alpha > 2. As printed it does not depend on the power.
 */
fc_err fc_success_interference(const fc_success_settings *s, double power_w, double *out);

#endif
