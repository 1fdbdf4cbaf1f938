/* objective.c - the clipped objective [TELLM (31), (32)], [Schulman+ 2017, (7)] with its limits
 * apart [DAPO], the KL penalty k3 [DeepSeekMath, (4)], PPO's value loss. */
#include "objective.h"
#include <math.h>

/* What a token's term counts in the loss of its answer. */
static double token_share(const fc_objective *o, double mean_length, int n) {
  switch (o->average) {
  case FC_AVERAGE_ANSWERS:
    return 1.0 / n;
  case FC_AVERAGE_TOKENS:
    return 1.0 / mean_length;
  case FC_AVERAGE_CONSTANT:
    return 1.0 / o->longest;
  }
  return NAN; /* no such average */
}

/* min(rho A, clip(rho) A) and its derivative by ln rho. */
typedef struct {
  double value, derivative;
} surrogate;

static surrogate clipped(const fc_objective *o, double log_ratio, double advantage,
                         fc_objective_sums *sums) {
  double ratio = exp(log_ratio);
  bool low = advantage < 0 && ratio < 1.0 - o->clip_low;
  bool high = advantage > 0 && ratio > 1.0 + o->clip_high;
  sums->terms += 1;
  sums->ratio += ratio;
  sums->ratio_squared += ratio * ratio;
  sums->kl_old += expm1(log_ratio) - log_ratio;
  sums->clip_low += low;
  sums->clip_high += high;
  if (low) return (surrogate){(1.0 - o->clip_low) * advantage, 0.0};
  if (high) return (surrogate){(1.0 + o->clip_high) * advantage, 0.0};
  return (surrogate){ratio * advantage, ratio * advantage};
}

static double policy_loss(const fc_objective *o, double mean_length, const fc_objective_answer *a,
                          float *weight, fc_objective_sums *sums) {
  double loss = 0, whole = 0;
  if (o->token_ratio) {
    double share = token_share(o, mean_length, a->n);
    for (int j = 0; j < a->n; j++) {
      surrogate s = clipped(o, a->log_prob[j] - a->old[j], a->advantage, sums);
      weight[j] = (float)(share * s.derivative);
      loss -= share * s.value;
    }
    return loss;
  }
  for (int j = 0; j < a->n; j++) whole += a->log_prob[j] - a->old[j]; /* [TELLM (31)] */
  surrogate s = clipped(o, whole, a->advantage, sums);
  for (int j = 0; j < a->n; j++) weight[j] = (float)s.derivative;
  return -s.value;
}

double fc_objective_of(const fc_objective *o, double mean_length, const fc_objective_answer *a,
                       float *weight, fc_objective_sums *sums) {
  *sums = (fc_objective_sums){0};
  double loss = policy_loss(o, mean_length, a, weight, sums);
  if (!a->reference) return loss;
  double share = o->kl_beta * token_share(o, mean_length, a->n);
  for (int j = 0; j < a->n; j++) {
    double x = a->reference[j] - a->log_prob[j];
    double k3 = expm1(x) - x;
    weight[j] += (float)(share * expm1(x)); /* d k3/d(-ln pi) = e^x - 1 */
    sums->kl_reference += k3;
    loss += share * k3;
  }
  return loss;
}

double fc_value_loss(double value, double old, double target, double limit, double *derivative) {
  double gap = value - target, moved = value - old;
  *derivative = gap;
  if (limit > 0 && fabs(moved) > limit) {
    double limited = old + copysign(limit, moved) - target;
    if (limited * limited > gap * gap) {
      *derivative = 0.0;
      gap = limited;
    }
  }
  return 0.5 * gap * gap;
}
