/* objective.h - what a policy is trained for: advantages of its answers, and how the loss depends
 * on the log-probabilities of their tokens.
 *
 * Answers of a batch are numbered episode * rounds + (t - 1). The loss is a sum over answers and
 * tokens; all that the model's backward pass needs of it is its derivative by each -ln p, which
 * fc_objective_answer gives as `weight` (fc_model.h, fc_head_view). Pure functions, all Local. */
#ifndef OBJECTIVE_H
#define OBJECTIVE_H

#include "fedcell/fc_err.h"
#include <stdbool.h>
#include <stdint.h>

/* ---- advantages (advantage.c) ------------------------------------------------------------------
 */

typedef struct {
  int episodes;
  int64_t rounds; /* K */
} fc_episodes;

/* GRPO. Rewards of each round t are normalised over the episodes, r~ = (r - mean)/(std + 1e-6), or
 * r - mean (divide false: Dr. GRPO), and summed from t on [TELLM (30)], those of later rounds
 * gamma times less each (1: as printed). reward, advantage (episodes, rounds); alike (rounds): 1
 * where all episodes have the same reward, which then normalises to 0. NUMERIC if a reward is not
 * finite. */
fc_err fc_advantage_group(fc_episodes of, const double *reward, bool divide, double gamma,
                          double *advantage, uint8_t *alike);
/* PPO. Generalised advantage estimation, V = 0 after the last round: delta_t = r_t + gamma V_{t+1}
 * - V_t, A_t = delta_t + gamma lambda A_{t+1}; returns = A + V, before A is normalised over the
 * batch. All (episodes, rounds). NUMERIC if a reward or a value is not finite. */
fc_err fc_advantage_gae(fc_episodes of, const double *reward, const double *value, double gamma,
                        double lambda, double *advantage, double *returns);
/* x (n) <- (x - mean)/(std + 1e-8). */
void fc_advantage_normalise(double *x, int64_t n);
/* keep (episodes, rounds) <- 0 for the answers of rounds that teach nothing, as all episodes have
 * the same advantage there [DAPO]; else 1. Returns how many are kept. */
int64_t fc_advantage_keep(fc_episodes of, const double *advantage, uint8_t *keep);

/* ---- the objective (objective.c) ---------------------------------------------------------------
 */

/* How tokens are averaged: mean within each answer, then over answers (DeepSeekMath); over all
 * tokens (DAPO); sum divided by answers times the longest possible answer (Dr. GRPO). */
typedef enum { FC_AVERAGE_ANSWERS, FC_AVERAGE_TOKENS, FC_AVERAGE_CONSTANT } fc_average;

typedef struct {
  bool token_ratio; /* each token is an action (DeepSeekMath), not the whole answer [TELLM (31)] */
  double clip_low, clip_high; /* rho is limited to [1 - clip_low, 1 + clip_high] */
  fc_average average; /* of token terms: all with token_ratio, else the KL penalty's alone */
  double kl_beta;
  int longest; /* for FC_AVERAGE_CONSTANT */
} fc_objective;

/* One answer of n >= 1 tokens. */
typedef struct {
  int n;
  const double *log_prob;  /* (n) ln pi of its tokens */
  const double *old;       /* (n) when it was given */
  const double *reference; /* (n) of the reference policy; NULL: no penalty */
  double advantage;
} fc_objective_answer;

/* Sums over an answer's terms: it is one, or each of its tokens is. */
typedef struct {
  double terms, ratio, ratio_squared, kl_old; /* rho, rho^2, rho - 1 - ln rho */
  double clip_low, clip_high;                 /* terms whose gradient a limit cuts off */
  double kl_reference;                        /* k3, over tokens */
} fc_objective_sums;

/* Loss of one answer, -min(rho A, clip(rho) A) + kl_beta k3 with its tokens' terms averaged, so
 * that an optimiser step's loss is the mean over its answers, which have mean_length tokens; k3 =
 * e^x - x - 1 with x = ln pi_ref - ln pi, rho = pi/pi_old [TELLM (31), (32)]. weight (n) <- d
 * loss/d(-ln pi); *sums is overwritten. */
double fc_objective_of(const fc_objective *o, double mean_length, const fc_objective_answer *answer,
                       float *weight, fc_objective_sums *sums);

/* PPO's value loss, 1/2 max((V-R)^2, (V_old + clip(V - V_old, -limit, limit) - R)^2); limit 0:
 * without the second. *derivative: by V. */
double fc_value_loss(double value, double old, double target, double limit, double *derivative);

#endif
