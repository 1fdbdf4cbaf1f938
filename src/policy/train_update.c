/* train_update.c - what the model gives to answers, and optimiser steps on the loss of objective.h.
 * The value head of PPO looks at the hidden state of the prompt's last token. */
#include "fedcell/fc_mem.h"
#include "train.h"
#include <math.h>
#include <string.h>

static fc_linear_head head_of(const fc_learner *l, const float *theta) {
  return (fc_linear_head){.width = fc_model_get_shape(l->model)->width,
                          .speed = l->set->value_rate / (double)l->set->optimizer.learning_rate,
                          .weight = theta + l->P};
}

/* ---- looking --------------------------------------------------------------------------------- */

typedef struct {
  fc_learner *learner;
  const fc_answers *answers;
  const float *theta;
  double *log_prob, *value;
} looking;

typedef struct {
  const looking *look;
  int64_t first; /* answer */
  int n;
} looking_at;

static fc_err keep_what_is_seen(void *arg, const fc_head_view *view) {
  const looking_at *at = arg;
  const looking *look = at->look;
  const fc_answers *a = look->answers;
  fc_linear_head head = head_of(look->learner, look->theta);
  for (int64_t i = at->first, k = 0; i < at->first + at->n; k += a->answer_n[i], i++) {
    memcpy(look->log_prob + i * a->answer_max, view->log_prob + k,
           (size_t)a->answer_n[i] * sizeof *view->log_prob);
    if (look->value)
      look->value[i] = fc_linear_head_fwd(&head, view->hidden + view->row[k] * head.width);
  }
  return FC_ERR_OK;
}

static fc_err look_at_unit(void *arg, int thread, int64_t unit, float *gradient, double *sums) {
  const looking *look = arg;
  fc_pass *p = &look->learner->passes[thread];
  int64_t micro = look->learner->set->micro_batch, first = unit * micro;
  int64_t n = look->answers->n - first < micro ? look->answers->n - first : micro;
  looking_at at = {look, first, (int)n};
  (void)gradient;
  sums[0] += (double)n;
  fc_pass_clear(p);
  for (int64_t i = first; i < first + n; i++)
    fc_pass_add(p, fc_answers_get(look->answers, i), false);
  return fc_model_hook_grad(p->work, look->theta, &p->batch, keep_what_is_seen, &at,
                            fc_rng_open(0, FC_RNG_DROPOUT, 0, 0), NULL, NULL);
}

/* x (n) <- what the one rank that has it has; the others' stay below. */
static fc_err from_all_ranks(const fc_learner *l, double *x, int64_t n) {
  return fc_comm_max(l->comm, x, (size_t)n);
}

static void fill(double *x, int64_t n, double with) {
  for (int64_t i = 0; i < n; i++) x[i] = with;
}

fc_err fc_learner_look(fc_learner *l, const float *theta, const fc_answers *a, double *log_prob,
                       double *value) {
  looking look = {l, a, theta, log_prob, value};
  int64_t micro = l->set->micro_batch, tokens = a->n * a->answer_max;
  double answers = 0;
  fill(log_prob, tokens, -INFINITY);
  if (value) fill(value, a->n, -INFINITY);
  FC_TRY(
      fc_descent_measure(l->descent, (a->n + micro - 1) / micro, look_at_unit, &look, &answers, 1));
  FC_TRY(from_all_ranks(l, log_prob, tokens));
  return value ? from_all_ranks(l, value, a->n) : FC_ERR_OK;
}

/* ---- steps ----------------------------------------------------------------------------------- */

typedef struct {
  fc_learner *learner;
  const fc_answers *answers;
  const uint32_t *order; /* (n) the step's answers */
  int64_t n, number;     /* number: of the step in all the training */
  bool is_first;         /* of the iteration: the policy is still the one that answered */
  double mean_length;
} stepping;

typedef struct {
  const stepping *step;
  const uint32_t *order;
  int n;
  float *head_gradient;
  double *sums;
} stepping_on;

static void add_sums(double *sums, const fc_objective_sums *s) {
  sums[FC_STEP_TERMS] += s->terms;
  sums[FC_STEP_RATIO] += s->ratio;
  sums[FC_STEP_RATIO_SQUARED] += s->ratio_squared;
  sums[FC_STEP_KL_OLD] += s->kl_old;
  sums[FC_STEP_CLIP_LOW] += s->clip_low;
  sums[FC_STEP_CLIP_HIGH] += s->clip_high;
  sums[FC_STEP_KL_REFERENCE] += s->kl_reference;
}

/* Answer i, whose tokens are the view's targets from k on. */
static void policy_term(const stepping *s, int64_t i, int64_t k, const fc_head_view *view,
                        double *sums) {
  const fc_answers *a = s->answers;
  const fc_objective *o = &s->learner->set->objective;
  fc_objective_sums terms;
  fc_objective_answer x = {.n = a->answer_n[i],
                           .log_prob = view->log_prob + k,
                           .old = s->is_first ? view->log_prob + k : a->old + i * a->answer_max,
                           .reference = o->kl_beta > 0 ? a->reference + i * a->answer_max : NULL,
                           .advantage = a->advantage[i]};
  fc_objective_of(o, s->mean_length, &x, view->weight + k, &terms);
  add_sums(sums, &terms);
  sums[FC_STEP_TOKENS] += x.n;
  for (int j = 0; j < x.n; j++) sums[FC_STEP_ENTROPY] += view->entropy[k + j];
}

static void value_term(const stepping_on *on, int64_t i, int64_t row, const fc_head_view *view) {
  const fc_learner *l = on->step->learner;
  const fc_answers *a = on->step->answers;
  fc_linear_head head = head_of(l, l->theta);
  const float *hidden = view->hidden + row * head.width;
  double slope = 0;
  on->sums[FC_STEP_VALUE_LOSS] += fc_value_loss(fc_linear_head_fwd(&head, hidden), a->value[i],
                                                a->returns[i], l->set->value_limit, &slope);
  fc_linear_head_bwd(&head, l->set->value_weight * slope, hidden, view->dhidden + row * head.width,
                     on->head_gradient);
}

static fc_err loss_of_answers(void *arg, const fc_head_view *view) {
  const stepping_on *on = arg;
  const fc_answers *a = on->step->answers;
  for (int64_t b = 0, k = 0; b < on->n; b++) {
    int64_t i = on->order[b];
    policy_term(on->step, i, k, view, on->sums);
    if (on->step->learner->set->is_ppo) value_term(on, i, view->row[k], view);
    k += a->answer_n[i];
  }
  return FC_ERR_OK;
}

static fc_err step_unit(void *arg, int thread, int64_t unit, float *gradient, double *sums) {
  const stepping *s = arg;
  const fc_learner *l = s->learner;
  fc_pass *p = &l->passes[thread];
  int64_t micro = l->set->micro_batch, first = unit * micro;
  int64_t n = s->n - first < micro ? s->n - first : micro;
  stepping_on on = {s, s->order + first, (int)n, gradient + l->P, sums};
  fc_pass_clear(p);
  for (int64_t b = 0; b < n; b++) fc_pass_add(p, fc_answers_get(s->answers, on.order[b]), false);
  sums[FC_STEP_ANSWERS] += (double)n;
  return fc_model_hook_grad(
      p->work, l->theta, &p->batch, loss_of_answers, &on,
      fc_rng_open(l->set->seed, FC_RNG_DROPOUT, (uint64_t)s->number, (uint64_t)unit), gradient,
      NULL);
}

static double mean_length(const fc_answers *a, const uint32_t *order, int64_t n) {
  double tokens = 0;
  for (int64_t b = 0; b < n; b++) tokens += a->answer_n[order[b]];
  return tokens / (double)n;
}

/* The kept answers in the order in which epoch `epoch` (from 1) goes through them. */
static void shuffle(const fc_train_settings *s, int64_t iteration, int epoch, const fc_answers *a,
                    const uint8_t *keep, uint32_t *order) {
  fc_rng rng = fc_rng_open(s->seed, FC_RNG_REPLAY, (uint64_t)iteration, (uint64_t)epoch);
  size_t n = 0;
  for (int64_t i = 0; i < a->n; i++)
    if (keep[i]) order[n++] = (uint32_t)i;
  fc_rng_shuffle(&rng, order, n);
}

static fc_err one_step(fc_learner *l, stepping *s, double *sums) {
  double now[FC_STEP_SUMS];
  int64_t micro = l->set->micro_batch;
  s->number = fc_descent_optimizer(l->descent)->step;
  s->mean_length = mean_length(s->answers, s->order, s->n);
  FC_TRY(fc_descent_step(l->descent, l->theta, (s->n + micro - 1) / micro, step_unit, s, now,
                         FC_STEP_SUMS));
  for (int c = 0; c < FC_STEP_SUMS; c++) sums[c] += now[c];
  return FC_ERR_OK;
}

static fc_err all_steps(fc_learner *l, int64_t iteration, const fc_answers *a, const uint8_t *keep,
                        int64_t kept, uint32_t *order, double *sums, double *gradient_norm) {
  int64_t steps = 0;
  for (int epoch = 1; epoch <= l->set->epochs; epoch++) {
    shuffle(l->set, iteration, epoch, a, keep, order);
    for (int64_t first = 0; first < kept; first += l->set->minibatch, steps++) {
      int64_t n = kept - first < l->set->minibatch ? kept - first : l->set->minibatch;
      stepping s = {
          .learner = l, .answers = a, .order = order + first, .n = n, .is_first = steps == 0};
      FC_TRY(one_step(l, &s, sums));
      *gradient_norm += fc_descent_optimizer(l->descent)->gradient_norm;
    }
  }
  if (steps > 0) *gradient_norm /= (double)steps;
  return FC_ERR_OK;
}

fc_err fc_learner_update(fc_learner *l, int64_t iteration, const fc_answers *a, const uint8_t *keep,
                         int64_t kept, double *sums, double *gradient_norm) {
  uint32_t *order = NULL;
  memset(sums, 0, FC_STEP_SUMS * sizeof *sums);
  *gradient_norm = 0;
  FC_TRY(fc_agree(l->comm, fc_alloc((size_t)a->n, sizeof *order, &order)));
  fc_err err = all_steps(l, iteration, a, keep, kept, order, sums, gradient_norm);
  fc_free(order);
  return err;
}
