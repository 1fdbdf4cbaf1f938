/* switching_decide.c - which modules a device subscribes to next [SW (8)-(12)]: a step of dual
 * ascent on the participation constraint, a step of descent on the bound and the energy, rounding.
 */
#include "switching.h"
#include <math.h>

/* dQ/dbeta_{n,k} [SW (12)]. Looking at this round alone leaves out what B of the round before
 * weighs. */
static double gradient(const fc_switching_settings *s, const fc_switching_variant *v,
                       const fc_switching_seen *seen, const fc_subscription *own, double misfit) {
  bool printed = s->formulas == FC_FORMULAS_PRINTED;
  double weight = fc_switching_weight(s, v->looks_back ? own->bound : 0.0);
  return -weight * (printed ? 1 - seen->success : seen->success) + s->mu * seen->energy_j +
         s->loss_weight * misfit;
}

/* Of each module (1-A) [F_k(dw_n) - F*]: how much worse it fits the device's data than the best
 * one, as last measured. What was never measured counts as the best. */
static void misfits(const fc_switching_settings *s, const fc_switching_seen *seen,
                    const fc_subscription *own, double *misfit) {
  double best = INFINITY;
  for (int n = 0; n < s->modules; n++) best = fmin(best, own[n].loss); /* fmin passes NaN over */
  for (int n = 0; n < s->modules; n++) {
    double A = fc_switching_rate(s, fc_switching_missing(s, seen->success, own[n].subscribed));
    misfit[n] = isnan(own[n].loss) ? 0.0 : (1 - A) * (own[n].loss - best);
  }
}

void fc_switching_round(const double *beta, int n, int most, double u, bool *chosen) {
  double sum = 0;
  int taken = 0;
  for (int i = 0; i < n; i++) {
    sum += beta[i];
    chosen[i] = taken < most && taken + u <= sum; /* the next of the points u, u+1, ... */
    taken += chosen[i];
  }
}

/* Where the listing of the modules begins: with the first present one, so that an indifferent
 * device stays. */
static int first_present(const fc_subscription *own, int n) {
  for (int i = 0; i < n; i++)
    if (own[i].subscribed) return i;
  return 0;
}

fc_err fc_switching_decide(const fc_switching_settings *s, const fc_switching_variant *v,
                           const fc_switching_seen *seen, double u, fc_subscription *own) {
  const int N = s->modules, start = first_present(own, N);
  double misfit[FC_MODULES_MAX], slope[FC_MODULES_MAX], dual[FC_MODULES_MAX];
  double current[FC_MODULES_MAX], next[FC_MODULES_MAX];
  bool chosen[FC_MODULES_MAX];
  misfits(s, seen, own, misfit);
  for (int i = 0; i < N; i++) {
    fc_subscription *o = &own[(start + i) % N];
    /* nu <- [nu + varsigma (v - betahat)]^+  [SW (11)] */
    o->dual =
        v->looks_back ? fmax(0.0, o->dual + s->dual_step * (s->participation - o->beta)) : 0.0;
    dual[i] = o->dual;
    current[i] = o->beta;
    slope[i] = gradient(s, v, seen, o, misfit[(start + i) % N]);
    o->bound = fc_switching_offset(s, fc_switching_missing(s, seen->success, o->subscribed));
  }
  const fc_switch_problem p = {.rows = {N, 0},
                               .gradient = slope,
                               .dual = dual,
                               .current = current,
                               .max_subscriptions = s->most,
                               .step = s->step};
  fc_switch_solution solution = {.subscription = next};
  FC_TRY(fc_switch_solve(&p, &solution));
  fc_switching_round(next, N, s->most, u, chosen);
  for (int i = 0; i < N; i++) {
    own[(start + i) % N].beta = next[i];
    own[(start + i) % N].subscribed = chosen[i];
  }
  return FC_ERR_OK;
}
