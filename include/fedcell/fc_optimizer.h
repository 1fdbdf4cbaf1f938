/* fc_optimizer.h - AdamW and SGD over a flat vector, schedules, clipping. Local, deterministic.
 *
 *   fc_optimizer o = fc_optimizer_bind(&settings, n, state_memory);   // state: floats below
 *   fc_optimizer_step(&o, w, dw);                                      // dw may be rescaled (clip)
 */
#ifndef FC_OPTIMIZER_H
#define FC_OPTIMIZER_H

#include "fedcell/fc_config.h"
#include "fedcell/fc_err.h"
#include <stddef.h>
#include <stdint.h>

typedef struct {
  const struct fc_optimizer_kind *kind; /* optimizer.c's table: "adamw", "sgd" */
  float learning_rate, beta1, beta2, eps, weight_decay, momentum;
  float clip_norm;      /* gradient norm limit, 0: none */
  const char *schedule; /* "constant", "linear", "cosine": over total_steps, after warmup_steps */
  int64_t warmup_steps, total_steps;
} fc_optimizer_settings;

const char *fc_optimizer_name(size_t i); /* choices; NULL past the end */
const char *fc_schedule_name(size_t i);
const struct fc_optimizer_kind *fc_optimizer_find(const char *name);

typedef struct {
  fc_optimizer_settings settings;
  size_t n;
  float *state;
  int64_t step;         /* steps taken */
  double gradient_norm; /* of the last one, before the limit */
} fc_optimizer;

/* Floats of state for n weights: 2n AdamW, n SGD with momentum, 0 plain SGD. */
size_t fc_optimizer_state_count(const fc_optimizer_settings *s, size_t n);
/* Clears state (fc_optimizer_state_count floats, borrowed). */
fc_optimizer fc_optimizer_bind(const fc_optimizer_settings *s, size_t n, float *state);
/* One step. NUMERIC if the gradient's norm is not finite. */
fc_err fc_optimizer_step(fc_optimizer *o, float *w, float *dw);
/* Of the learning rate after `step` steps taken: step/warmup_steps while warming up (so the first
 * step of a warm-up is 0), then the schedule down to 0 at total_steps, as transformers' schedules;
 * no decay when total_steps is 0. */
double fc_schedule_factor(const fc_optimizer_settings *s, int64_t step);

#endif
