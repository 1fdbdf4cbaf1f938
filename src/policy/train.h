/* train.h - what the files of training with rewards share.
 *
 * An iteration: ranks run episodes of their own (train_play.c) and give each other what came of
 * them, so that all hold all answers; from there every rank goes the same way. Rewards come from
 * one of several sources (reward.h); advantages and objective: objective.h; passes of the model
 * over answers and optimiser steps (train_update.c), in micro-batches that ranks and threads share.
 */
#ifndef POLICY_TRAIN_H
#define POLICY_TRAIN_H

#include "course.h"
#include "fedcell/fc_descent.h"
#include "fedcell/fc_policy.h"
#include "objective.h"

/* ---- settings (train_options.c) ----------------------------------------------------------------
 */

typedef struct {
  bool is_ppo;
  int64_t iterations, rounds; /* rounds of an episode */
  int episodes;               /* of an iteration, from the same start */
  int epochs;
  int minibatch, micro_batch; /* answers of an optimiser step; that a thread takes at a time */
  fc_optimizer_settings optimizer;
  fc_objective objective;
  bool divide;          /* GRPO: by the standard deviation */
  bool drops;           /* GRPO: rounds that teach nothing take no part in steps */
  double gamma, lambda; /* lambda: PPO */
  double value_weight, value_limit, value_rate; /* PPO; rate: of the head's weights */
  double temperature, top_p;
  double penalty; /* of an invalid answer */
  uint64_t seed;
  int64_t checkpoint_every; /* iterations */
} fc_train_settings;
/* algorithm: "grpo" or "ppo". USAGE if rounds exceed the scenario's. */
fc_err fc_train_settings_read(const fc_config *cfg, const fc_scenario *s, const char *algorithm,
                              fc_train_settings *out);

/* ---- answers of an iteration (train_play.c) ----------------------------------------------------
 */

/* Of all ranks, on all ranks; answer i = episode * rounds + (round - 1). */
typedef struct {
  fc_episodes of;
  int64_t n;                    /* episodes * rounds */
  int prompt_max, answer_max;   /* tokens */
  const fc_tokens *prefix;      /* of all prompts; borrowed */
  int32_t *prompt;              /* (n, prompt_max) the rest of the prompt */
  int32_t *answer;              /* (n, answer_max) with the token that ends it, if it did end */
  int32_t *prompt_n, *answer_n; /* (n) */
  uint8_t *invalid;             /* (n) */
  double *rule;                 /* (n) the environment's reward */
  double *accuracy, *energy_j;  /* (n) of the round */
  /* (n) what is learned from it: the reward with its penalty; PPO: what the value head said then
   * and what it should have said. */
  double *reward, *advantage, *value, *returns;
  double *old, *reference; /* (n, answer_max) ln p of the tokens when given, of the reference */
} fc_answers;
fc_err fc_answers_create(const fc_llm *llm, fc_episodes of, fc_answers *out);
void fc_answers_destroy(fc_answers *a);

typedef struct {
  const fc_comm *comm;
  fc_llm *llm;
  const fc_trainable *trainable;
  const fc_train_settings *set;
  fc_environment *environment; /* for this rank's episodes; NULL: it has none */
  fc_generator *generator;     /* for as many */
  int64_t first, own;          /* this rank's episodes */
} fc_play;
/* Collective. Shares out the episodes and opens what they need. */
fc_err fc_play_create(fc_play *r, fc_environment_opener *open, void *arg);
void fc_play_destroy(fc_play *r);
/* Collective. Fills all of `a` up to energy_j, on all ranks alike. */
fc_err fc_play_run(fc_play *r, int64_t iteration, const float *theta, fc_answers *a);

/* ---- passes over answers (train_pass.c) --------------------------------------------------------
 */

/* A prompt with an answer of n >= 1 tokens. */
typedef struct {
  const fc_tokens *prefix;
  const int32_t *prompt, *answer;
  int prompt_n, answer_n;
} fc_text_pair;
fc_text_pair fc_answers_get(const fc_answers *a, int64_t i);

/* One thread's workspace and batch. The prefix that its texts begin with stands once, as the
 * batch's first sequence, before the texts'. */
typedef struct {
  fc_work *work;
  fc_batch batch;
  int64_t *start;
  int32_t *tokens, *targets;
} fc_pass;
/* For `sequences` of up to `length` tokens. */
fc_err fc_passes_create(const fc_model *m, const fc_trainable *t, int sequences, int length,
                        int threads, fc_pass **out);
void fc_passes_destroy(fc_pass **p, int threads);
void fc_pass_clear(fc_pass *p);
/* How many texts it has, and the last row of one. */
int fc_pass_texts(const fc_pass *p);
int64_t fc_pass_last_row(const fc_pass *p, int text);
/* The answer's tokens are the targets; with_last: its last one is read as well, with no target. All
 * texts of a batch have the same prefix, maybe of no tokens. */
void fc_pass_add(fc_pass *p, fc_text_pair x, bool with_last);

/* speed (w h + b): `speed` is how much faster than the rest it learns, as AdamW's steps do not
 * follow the gradient's size. */
typedef struct {
  int width;
  double speed;
  const float *weight; /* (width + 1): w, b */
} fc_linear_head;
double fc_linear_head_fwd(const fc_linear_head *v, const float *hidden);
/* slope: d loss/d output. Adds to dhidden (width) and gradient (width + 1). */
void fc_linear_head_bwd(const fc_linear_head *v, double slope, const float *hidden, float *dhidden,
                        float *gradient);

/* ---- what the model gives, and steps (train_update.c) ------------------------------------------
 */

typedef struct {
  const fc_comm *comm;
  const fc_train_settings *set;
  const fc_model *model;
  fc_descent *descent;
  fc_pass *passes; /* (threads) */
  int threads;
  size_t P;     /* trained weights of the model */
  float *theta; /* (P), after it the value head if there is one (PPO) */
} fc_learner;

/* Sums over the answers of an optimiser step, or of more. */
enum {
  FC_STEP_ANSWERS,
  FC_STEP_TOKENS,
  FC_STEP_TERMS,
  FC_STEP_RATIO,
  FC_STEP_RATIO_SQUARED,
  FC_STEP_KL_OLD,
  FC_STEP_CLIP_LOW,
  FC_STEP_CLIP_HIGH,
  FC_STEP_KL_REFERENCE,
  FC_STEP_ENTROPY,
  FC_STEP_VALUE_LOSS,
  FC_STEP_SUMS
};

/* Collective. log_prob (n, answer_max) and, if not NULL, value (n) of all answers under `theta`. */
fc_err fc_learner_look(fc_learner *l, const float *theta, const fc_answers *a, double *log_prob,
                       double *value);
/* Collective. The iteration's optimiser steps over the `kept` answers; sums (FC_STEP_SUMS) and the
 * steps' mean gradient norm are overwritten. */
fc_err fc_learner_update(fc_learner *l, int64_t iteration, const fc_answers *a, const uint8_t *keep,
                         int64_t kept, double *sums, double *gradient_norm);
/* Optimiser steps of an iteration in which all answers are kept. */
int64_t fc_train_steps(const fc_train_settings *s);

/* ---- reports (train_report.c) ------------------------------------------------------------------
 */

/* What the answers, their rewards and the steps' sums tell. alike (rounds): of fc_advantage_group.
 */
void fc_train_report_fill(const fc_answers *a, const fc_train_settings *s, const uint8_t *alike,
                          const double *sums, fc_train_report *r);
/* Of the first n iterations, into a checkpoint and from it. */
void fc_train_reports_put(fc_store_file *f, int rank, const fc_train_report *r, int64_t n);
fc_err fc_train_reports_get(const fc_store_reader *from, fc_train_report *r, int64_t n, int64_t of);

/* ---- the loop (train.c) ------------------------------------------------------------------------
 */

/* fc_policy_train in any environment of the scenario. */
fc_err fc_train_run(const fc_comm *comm, const fc_config *cfg, const fc_scenario *s,
                    const fc_trajectories *starts, fc_environment_opener *open, void *arg,
                    const fc_train_request *request, fc_llm *llm, fc_train_report **reports,
                    int64_t *n_reports);

#endif
