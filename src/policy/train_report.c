/* train_report.c - what an iteration tells: from the answers, which all ranks hold, and from sums
 * that do not depend on the ranks; so reports, times apart, are the same on any number of them. */
#include "fedcell/fc_mem.h"
#include "train.h"
#include <math.h>
#include <stddef.h>

static double mean(const double *x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += x[i];
  return sum / (double)n;
}

static double variance(const double *x, int64_t n) {
  double m = mean(x, n), sum = 0;
  for (int64_t i = 0; i < n; i++) sum += (x[i] - m) * (x[i] - m);
  return sum / (double)n;
}

static void fill_rewards(const fc_answers *a, const uint8_t *alike, fc_train_report *r) {
  double zero_spread = 0, accuracy = 0;
  for (int64_t t = 0; t < a->of.rounds; t++) zero_spread += alike[t];
  for (int64_t e = 0; e < a->of.episodes; e++) accuracy += a->accuracy[(e + 1) * a->of.rounds - 1];
  r->reward_mean = mean(a->reward, a->n);
  r->reward_std = sqrt(variance(a->reward, a->n));
  r->return_mean = r->reward_mean * (double)a->of.rounds;
  r->accuracy = accuracy / a->of.episodes;
  r->energy_j = mean(a->energy_j, a->n);
  r->zero_spread = zero_spread / (double)a->of.rounds;
}

static void fill_answers(const fc_answers *a, fc_train_report *r) {
  double tokens = 0, invalid = 0;
  r->length_max = 0;
  for (int64_t i = 0; i < a->n; i++) {
    tokens += a->answer_n[i];
    invalid += a->invalid[i];
    r->length_max = fmax(r->length_max, a->answer_n[i]);
  }
  r->length_mean = tokens / (double)a->n;
  r->invalid = invalid / (double)a->n;
  r->tokens_per_s = tokens / r->rollout_s;
}

static void fill_values(const fc_answers *a, const double *sums, fc_train_report *r) {
  double residual = 0, m = mean(a->returns, a->n) - mean(a->value, a->n);
  for (int64_t i = 0; i < a->n; i++)
    residual += pow(a->returns[i] - a->value[i] - m, 2) / (double)a->n;
  r->explained_variance = 1 - residual / variance(a->returns, a->n);
  r->value_loss = sums[FC_STEP_VALUE_LOSS] / sums[FC_STEP_ANSWERS];
}

/* Without any step (all rounds dropped) there is nothing to tell of them. */
static void fill_steps(const fc_train_settings *s, const double *sums, fc_train_report *r) {
  double terms = sums[FC_STEP_TERMS], ratio = sums[FC_STEP_RATIO];
  r->kl_reference =
      s->objective.kl_beta > 0 ? sums[FC_STEP_KL_REFERENCE] / sums[FC_STEP_TOKENS] : NAN;
  r->kl_old = sums[FC_STEP_KL_OLD] / terms;
  r->entropy = sums[FC_STEP_ENTROPY] / sums[FC_STEP_TOKENS];
  r->clip_low = sums[FC_STEP_CLIP_LOW] / terms;
  r->clip_high = sums[FC_STEP_CLIP_HIGH] / terms;
  r->effective_sample = ratio * ratio / (terms * sums[FC_STEP_RATIO_SQUARED]);
}

void fc_train_report_fill(const fc_answers *a, const fc_train_settings *s, const uint8_t *alike,
                          const double *sums, fc_train_report *r) {
  fill_rewards(a, alike, r);
  fill_answers(a, r);
  fill_steps(s, sums, r);
  r->value_loss = r->explained_variance = NAN;
  if (s->is_ppo) fill_values(a, sums, r);
}

/* ---- in a checkpoint ------------------------------------------------------------------------- */

#define FIELD(name) offsetof(fc_train_report, name)
static const size_t fields[] = {
    FIELD(reward_mean),   FIELD(reward_std),  FIELD(return_mean),        FIELD(accuracy),
    FIELD(energy_j),      FIELD(zero_spread), FIELD(kl_reference),       FIELD(kl_old),
    FIELD(entropy),       FIELD(clip_low),    FIELD(clip_high),          FIELD(effective_sample),
    FIELD(gradient_norm), FIELD(value_loss),  FIELD(explained_variance), FIELD(length_mean),
    FIELD(length_max),    FIELD(invalid),     FIELD(rollout_s),          FIELD(update_s),
    FIELD(tokens_per_s),
};
enum { FIELDS = sizeof fields / sizeof fields[0] };
_Static_assert(sizeof(fc_train_report) == 2 * sizeof(int64_t) + FIELDS * sizeof(double),
               "every field but the two numbers of the iteration");

static double *field(fc_train_report *r, size_t f) {
  return (double *)((char *)r + fields[f]);
}

void fc_train_reports_put(fc_store_file *f, int rank, const fc_train_report *r, int64_t n) {
  double *x = NULL;
  int64_t all = n * FIELDS, own = rank == 0 ? all : 0;
  fc_err err = fc_alloc((size_t)all, sizeof *x, &x);
  if (err != FC_ERR_OK) fc_store_put_failure(f, err);
  for (int64_t i = 0; x && i < n; i++) {
    fc_train_report copy = r[i];
    for (size_t c = 0; c < FIELDS; c++) x[i * FIELDS + (int64_t)c] = *field(&copy, c);
  }
  fc_store_put_f64(f, "/state/reports", "", "reports of the iterations, one after the other", x, 0,
                   x ? own : 0, all);
  fc_free(x);
}

fc_err fc_train_reports_get(const fc_store_reader *from, fc_train_report *r, int64_t n,
                            int64_t of) {
  for (int64_t i = 0; i < n; i++) {
    double x[FIELDS];
    FC_TRY(fc_store_get_f64(from, "/state/reports", i * FIELDS, FIELDS, x));
    for (size_t c = 0; c < FIELDS; c++) *field(&r[i], c) = x[c];
    r[i].iteration = i + 1;
    r[i].iterations = of;
  }
  return FC_ERR_OK;
}
