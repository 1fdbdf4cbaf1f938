/* switching_bound.c - the bound of the risk's gap, Theorem 1 of [SW].
 *
 *   Phi_t <= 1/N sum_n (1-A_n) (F(dw_n) - F*) + sum_n sum_q prod_{p>q} (1-A_n^p) B_n^q
 *            + eps/N sum_n A_n sqrt(4 zeta1 / (xi^2 D_te)) + (eps+2)/4 |w_0|^2         [SW (6)]
 *
 * F is the measured training loss and F* >= 0 is left out, so the first term is an upper bound too.
 * As printed A = 2 xi/eps [1 - 8 zeta2 m - 4 zeta2 K - eps/2]; [SW (26)-(30)] derive xi/eps [1 - 8
 * zeta2 m - 4 zeta2 K], with m what does not arrive, 1 - beta lambda. */
#include "switching.h"
#include <math.h>

double fc_switching_missing(const fc_switching_settings *s, double success, double subscribed) {
  return s->formulas == FC_FORMULAS_PRINTED ? (1 - success) * (1 - subscribed)
                                            : 1 - subscribed * success;
}

double fc_switching_rate(const fc_switching_settings *s, double missing) {
  double left = 1 - 8 * s->zeta2 * missing - 4 * s->zeta2 * s->devices;
  return s->formulas == FC_FORMULAS_PRINTED ? 2 * s->xi / s->eps * (left - s->eps / 2)
                                            : s->xi / s->eps * left;
}

double fc_switching_offset(const fc_switching_settings *s, double missing) {
  return 2 * s->zeta1 / s->eps * (s->devices + 2 * missing);
}

double fc_switching_weight(const fc_switching_settings *s, double bound) {
  double factor = s->formulas == FC_FORMULAS_PRINTED ? 16 : 8;
  return (factor * s->xi * s->zeta2 * bound + 4 * s->zeta1) / s->eps;
}

/* Collective. missing (N) <- sum_k rho_k missing_{n,k} over the round's devices. */
static fc_err mean_missing(const fc_federation *fed, const fc_switching *s, double *missing) {
  const int N = s->set.modules;
  double *x = NULL;
  fc_err err = fc_agree(fed->comm, fc_alloc((size_t)s->ue_count * (size_t)N, sizeof *x, &x));
  for (uint32_t i = 0; i < s->ue_count && err == FC_ERR_OK; i++)
    for (int n = 0; n < N; n++)
      x[i * (uint32_t)N + (uint32_t)n] =
          s->ue[i].share_of_data *
          fc_switching_missing(&s->set, s->ue[i].seen.success,
                               fc_switching_own(s, &s->ue[i])[n].subscribed);
  if (err == FC_ERR_OK) err = fc_exact_sums(fed->comm, x, s->ue_count, N, missing);
  fc_free(x);
  return err;
}

/* Collective. Mean training loss of each module that was trained. */
static fc_err measure_risk(const fc_federation *fed, fc_switching *s, const fc_round *round) {
  const int N = s->set.modules;
  double *x = NULL, sums[2 * FC_MODULES_MAX];
  size_t columns = 2 * (size_t)N;
  fc_err err = fc_agree(fed->comm, fc_alloc(round->count * columns, sizeof *x, &x));
  for (uint32_t i = 0; i < round->count && err == FC_ERR_OK; i++) {
    const fc_participant *p = &round->all[round->first + i];
    if (p->loss.count == 0) continue;
    x[i * columns + (size_t)p->module] = p->samples * p->loss.loss_sum / (double)p->loss.count;
    x[i * columns + (size_t)(N + p->module)] = p->samples;
  }
  if (err == FC_ERR_OK) err = fc_exact_sums(fed->comm, x, round->count, (int)columns, sums);
  for (int n = 0; n < N && err == FC_ERR_OK; n++)
    if (sums[N + n] > 0) s->risk[n] = sums[n] / sums[N + n];
  fc_free(x);
  return err;
}

fc_err fc_switching_record(fc_federation *fed, fc_switching *s, fc_round *round) {
  const int N = s->set.modules;
  double missing[FC_MODULES_MAX], phi = (s->set.eps + 2) / 4 * s->base_norm2;
  size_t test = 0;
  fc_split_test(fed->task.split, &test);
  FC_TRY(mean_missing(fed, s, missing));
  FC_TRY(measure_risk(fed, s, round));
  for (int n = 0; n < N; n++) {
    double A = fc_switching_rate(&s->set, missing[n]);
    s->past[n] = (1 - A) * s->past[n] + fc_switching_offset(&s->set, missing[n]);
    phi += (1 - A) * s->risk[n] / N + s->past[n] +
           s->set.eps / N * A * sqrt(4 * s->set.zeta1 / (double)test) / s->set.xi;
  }
  round->notes.risk_bound = phi;
  return FC_ERR_OK;
}
