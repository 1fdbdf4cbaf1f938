/* optimizer.c - AdamW and SGD over a flat vector: a table of kinds, a table of schedules.
 *
 * AdamW [Loshchilov+Hutter 2019, Alg. 2]; schedules as transformers' get_*_schedule_with_warmup;
 * clipping as torch's clip_grad_norm_. The state is the caller's. */
#include "fedcell/fc_optimizer.h"
#include "fedcell/fc_kernel.h"
#include <assert.h>
#include <math.h>
#include <string.h>

struct fc_optimizer_kind {
  const char *name;
  size_t (*states)(const fc_optimizer_settings *s); /* floats of state per weight */
  void (*step)(fc_optimizer *o, float learning_rate, float *w, const float *dw);
};

/* ---- kinds ----------------------------------------------------------------------------------- */

static size_t adamw_states(const fc_optimizer_settings *s) {
  (void)s;
  return 2;
}

static void adamw_step(fc_optimizer *o, float learning_rate, float *w, const float *dw) {
  const fc_optimizer_settings *s = &o->settings;
  fc_adamw adamw = {learning_rate, s->beta1, s->beta2, s->eps, s->weight_decay};
  fc_k_adamw(w, o->state, o->state + o->n, dw, adamw, o->step, (int64_t)o->n);
}

static size_t sgd_states(const fc_optimizer_settings *s) {
  return s->momentum != 0.0F;
}

static void sgd_step(fc_optimizer *o, float learning_rate, float *w, const float *dw) {
  const fc_optimizer_settings *s = &o->settings;
  fc_sgd sgd = {learning_rate, s->momentum, s->weight_decay};
  float *velocity = s->momentum != 0.0F ? o->state : NULL;
  fc_k_sgd(w, velocity, dw, sgd, o->step, (int64_t)o->n);
}

static const struct fc_optimizer_kind kinds[] = {
    {"adamw", adamw_states, adamw_step},
    {"sgd", sgd_states, sgd_step},
};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

/* ---- schedules: the factor at a fraction of the way from the end of warm-up to the last step ----
 */

static double constant(double progress) {
  (void)progress;
  return 1.0;
}

static double linear(double progress) {
  return 1.0 - progress;
}

static double cosine(double progress) {
  return 0.5 * (1.0 + cos(3.14159265358979323846 * progress));
}

static const struct {
  const char *name;
  double (*factor)(double progress);
} schedules[] = {{"constant", constant}, {"linear", linear}, {"cosine", cosine}};
enum { N_SCHEDULES = sizeof schedules / sizeof schedules[0] };

double fc_schedule_factor(const fc_optimizer_settings *s, int64_t step) {
  if (step < s->warmup_steps) return (double)step / (double)s->warmup_steps;
  size_t i = 0;
  if (s->schedule)
    while (i < N_SCHEDULES && strcmp(schedules[i].name, s->schedule) != 0) i++;
  assert(i < N_SCHEDULES);
  if (s->total_steps <= 0) return 1.0;
  int64_t steps = s->total_steps - s->warmup_steps;
  double progress = (double)(step - s->warmup_steps) / (double)(steps > 1 ? steps : 1);
  return schedules[i].factor(progress < 1.0 ? progress : 1.0);
}

/* ---- names ----------------------------------------------------------------------------------- */

const char *fc_optimizer_name(size_t i) {
  return i < N_KINDS ? kinds[i].name : NULL;
}

const char *fc_schedule_name(size_t i) {
  return i < N_SCHEDULES ? schedules[i].name : NULL;
}

const struct fc_optimizer_kind *fc_optimizer_find(const char *name) {
  for (size_t i = 0; i < N_KINDS; i++) {
    if (strcmp(kinds[i].name, name) == 0) return &kinds[i];
  }
  return NULL;
}

/* ---- stepping -------------------------------------------------------------------------------- */

size_t fc_optimizer_state_count(const fc_optimizer_settings *s, size_t n) {
  return s->kind->states(s) * n;
}

fc_optimizer fc_optimizer_bind(const fc_optimizer_settings *s, size_t n, float *state) {
  size_t count = fc_optimizer_state_count(s, n);
  if (count > 0) memset(state, 0, count * sizeof *state);
  return (fc_optimizer){.settings = *s, .n = n, .state = state};
}

static fc_err fail_not_finite(const fc_optimizer *o, double norm, const float *dw) {
  int64_t bad = fc_k_first_not_finite(dw, (int64_t)o->n);
  FC_CHECK(bad == (int64_t)o->n, NUMERIC,
           "the gradient is not finite at optimiser step %lld: element %lld of %zu is %s",
           (long long)(o->step + 1), (long long)bad, o->n,
           isnan(dw[bad])   ? "nan"
           : dw[bad] > 0.0F ? "inf"
                            : "-inf");
  return fc_fail(FC_ERR_NUMERIC, "the gradient's norm is %g at optimiser step %lld", norm,
                 (long long)(o->step + 1));
}

fc_err fc_optimizer_step(fc_optimizer *o, float *w, float *dw) {
  const fc_optimizer_settings *s = &o->settings;
  double norm = sqrt(fc_k_sum_squares(dw, (int64_t)o->n));
  if (!isfinite(norm)) return fail_not_finite(o, norm, dw);
  o->gradient_norm = norm;
  if (s->clip_norm > 0.0F) {
    /* torch's clip_grad_norm_ adds the 1e-6. */
    double factor = (double)s->clip_norm / (norm + 1e-6);
    if (factor < 1.0) fc_k_scale(dw, (float)factor, (int64_t)o->n);
  }
  float learning_rate = (float)((double)s->learning_rate * fc_schedule_factor(s, o->step));
  o->step++;
  s->kind->step(o, learning_rate, w, dw);
  return FC_ERR_OK;
}
