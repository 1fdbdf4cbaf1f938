/* td3.c - twin critics, delayed policy, target smoothing [Fujimoto+ 2018]. A unit of an update is
 * one episode (fc_descent.h). */
#include "td3.h"
#include "fedcell/fc_kernel.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_rng.h"
#include <math.h>
#include <string.h>

/* Rows are the K rounds of an episode. */
struct fc_td3_work {
  fc_recurrent *actor, *critic;
  float *past;   /* (K, S+A) state, action before */
  float *joint;  /* (K, S+A) state, action */
  float *djoint; /* (K, S+A) */
  float *y, *q;  /* (K) what critics should say; one twin's view */
  float *dq;     /* (K) */
  float *dactor; /* (K, actor's outputs) */
};

fc_recurrent_shape fc_td3_actor_shape(const fc_td3_settings *s) {
  return (fc_recurrent_shape){.a = s->states,
                              .b = s->states + s->actions,
                              .hidden = s->hidden,
                              .outputs = s->actions + (s->predict ? s->states : 0)};
}

fc_recurrent_shape fc_td3_critic_shape(const fc_td3_settings *s) {
  const int both = s->states + s->actions;
  return (fc_recurrent_shape){.a = both, .b = both, .hidden = s->hidden, .outputs = 1};
}

/* ---- making ---------------------------------------------------------------------------------- */

static void work_destroy(fc_td3_work **work) {
  fc_td3_work *w = *work;
  if (!w) return;
  fc_recurrent_destroy(&w->actor);
  fc_recurrent_destroy(&w->critic);
  float *const all[] = {w->past, w->joint, w->djoint, w->y, w->q, w->dq, w->dactor};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) fc_free(all[i]);
  fc_free(w);
  *work = NULL;
}

static fc_err work_create(const fc_td3 *t, fc_td3_work **out) {
  const int K = t->set.rounds;
  const size_t rows = (size_t)K, both = (size_t)(t->set.states + t->set.actions);
  FC_TRY(fc_alloc(1, sizeof **out, out));
  fc_td3_work *w = *out;
  FC_TRY(fc_recurrent_create(&t->actor_shape, 1, K, true, &w->actor));
  FC_TRY(fc_recurrent_create(&t->critic_shape, 1, K, true, &w->critic));
  FC_TRY(fc_alloc(rows * both, sizeof(float), &w->past));
  FC_TRY(fc_alloc(rows * both, sizeof(float), &w->joint));
  FC_TRY(fc_alloc(rows * both, sizeof(float), &w->djoint));
  FC_TRY(fc_alloc(rows, sizeof(float), &w->y));
  FC_TRY(fc_alloc(rows, sizeof(float), &w->q));
  FC_TRY(fc_alloc(rows, sizeof(float), &w->dq));
  return fc_alloc(rows * (size_t)t->actor_shape.outputs, sizeof(float), &w->dactor);
}

static fc_err make_local(fc_td3 *t) {
  const size_t actor = t->actor_count, critics = 2 * t->critic_count;
  enum { ACTOR, CRITIC_1, CRITIC_2 };
  FC_TRY(fc_alloc(actor, sizeof(float), &t->actor));
  FC_TRY(fc_alloc(actor, sizeof(float), &t->actor_target));
  FC_TRY(fc_alloc(critics, sizeof(float), &t->critics));
  FC_TRY(fc_alloc(critics, sizeof(float), &t->critics_target));
  FC_TRY(fc_alloc((size_t)t->set.batch, sizeof *t->episode, &t->episode));
  FC_TRY(fc_alloc((size_t)t->threads, sizeof(void *), &t->work));
  for (int i = 0; i < t->threads; i++) FC_TRY(work_create(t, &t->work[i]));
  fc_recurrent_init(&t->actor_shape, t->set.seed, ACTOR, t->actor);
  fc_recurrent_init(&t->critic_shape, t->set.seed, CRITIC_1, t->critics);
  fc_recurrent_init(&t->critic_shape, t->set.seed, CRITIC_2, t->critics + t->critic_count);
  memcpy(t->actor_target, t->actor, actor * sizeof(float));
  memcpy(t->critics_target, t->critics, critics * sizeof(float));
  return FC_ERR_OK;
}

fc_err fc_td3_create(const fc_comm *comm, const fc_td3_settings *s, int threads, fc_td3 *t) {
  const fc_optimizer_settings o = {.kind = fc_optimizer_find("adamw"),
                                   .learning_rate = (float)s->learning_rate,
                                   .beta1 = 0.9F,
                                   .beta2 = 0.999F,
                                   .eps = 1e-8F,
                                   .schedule = "constant"};
  *t = (fc_td3){.set = *s,
                .actor_shape = fc_td3_actor_shape(s),
                .critic_shape = fc_td3_critic_shape(s),
                .reward_deviation = 1,
                .threads = threads};
  t->actor_count = fc_recurrent_count(&t->actor_shape);
  t->critic_count = fc_recurrent_count(&t->critic_shape);
  FC_TRY(fc_agree(comm, make_local(t)));
  FC_TRY(fc_descent_create(comm, &o, t->actor_count, threads, &t->actor_descent));
  return fc_descent_create(comm, &o, 2 * t->critic_count, threads, &t->critic_descent);
}

void fc_td3_destroy(fc_td3 *t) {
  fc_descent_destroy(&t->actor_descent);
  fc_descent_destroy(&t->critic_descent);
  for (int i = 0; t->work && i < t->threads; i++) work_destroy(&t->work[i]);
  fc_free(t->work);
  fc_free(t->episode);
  fc_free(t->actor);
  fc_free(t->actor_target);
  fc_free(t->critics);
  fc_free(t->critics_target);
  *t = (fc_td3){0};
}

/* ---- passes over an episode ------------------------------------------------------------------ */

/* past <- states and the actions before them, of which the first is 0. */
static void lay_past(const fc_td3 *t, fc_td3_work *w, fc_replay_episode x) {
  const size_t S = (size_t)t->set.states, A = (size_t)t->set.actions;
  for (size_t k = 0; k < (size_t)t->set.rounds; k++) {
    float *row = w->past + k * (S + A);
    memcpy(row, x.state + k * S, S * sizeof *row);
    if (k == 0)
      memset(row + S, 0, A * sizeof *row);
    else
      memcpy(row + S, x.action + (k - 1) * A, A * sizeof *row);
  }
}

/* joint <- states and actions, which are `stride` apart. */
static void lay_joint(const fc_td3 *t, fc_td3_work *w, fc_replay_episode x, const float *action,
                      int stride) {
  const size_t S = (size_t)t->set.states, A = (size_t)t->set.actions;
  for (size_t k = 0; k < (size_t)t->set.rounds; k++) {
    float *row = w->joint + k * (S + A);
    memcpy(row, x.state + k * S, S * sizeof *row);
    memcpy(row + S, action + k * (size_t)stride, A * sizeof *row);
  }
}

/* joint <- states and what an actor does there; its outputs, which are borrowed. */
static const float *act(const fc_td3 *t, fc_td3_work *w, const float *actor, fc_replay_episode x) {
  const int S = t->set.states, A = t->set.actions, O = t->actor_shape.outputs, K = t->set.rounds;
  const float *out = fc_recurrent_forward(w->actor, actor, x.state, w->past, 1, K);
  lay_joint(t, w, x, out, O);
  for (int k = 0; k < K; k++)
    for (int i = 0; i < A; i++) {
      float *a = &w->joint[(size_t)k * (size_t)(S + A) + (size_t)(S + i)];
      *a = tanhf(*a);
    }
  return out;
}

/* NaN stays. */
static double limited(double x, double limit) {
  return x > limit ? limit : x < -limit ? -limit : x;
}

/* The actions of joint become clip(a + clip(noise)); of no other target the same noise. */
static void smooth(const fc_td3 *t, fc_td3_work *w, uint64_t number) {
  const int S = t->set.states, A = t->set.actions;
  /* exploration (fldlt3_player.c) has no such round */
  fc_rng rng = fc_rng_open(t->set.seed, FC_RNG_EXPLORATION, (uint64_t)1 << 63, number);
  for (int k = 0; k < t->set.rounds; k++)
    for (int i = 0; i < A; i++) {
      float *a = &w->joint[(size_t)k * (size_t)(S + A) + (size_t)(S + i)];
      const double noise = limited(t->set.noise * fc_rng_normal(&rng), t->set.noise_limit);
      *a = (float)limited((double)*a + noise, 1);
    }
}

/* (K) of critic c's weights in `critics`, at joint; borrowed. */
static const float *judge(const fc_td3 *t, fc_td3_work *w, const float *critics, int c) {
  return fc_recurrent_forward(w->critic, critics + (size_t)c * t->critic_count, w->joint, w->past,
                              1, t->set.rounds);
}

/* y <- targets; past has to lie there. */
static void aim(const fc_td3 *t, fc_td3_work *w, fc_replay_episode x, uint64_t number, float *y) {
  const int K = t->set.rounds;
  act(t, w, t->actor_target, x);
  smooth(t, w, number);
  memcpy(w->q, judge(t, w, t->critics_target, 0), (size_t)K * sizeof *w->q);
  const float *other = judge(t, w, t->critics_target, 1);
  for (int k = 0; k < K; k++) {
    y[k] = (float)(((double)x.reward[k] - t->reward_mean) / t->reward_deviation);
    if (k + 1 < K) y[k] += (float)t->set.gamma * fminf(w->q[k + 1], other[k + 1]);
  }
}

void fc_td3_targets(fc_td3 *t, int thread, fc_replay_episode x, uint64_t number, float *y) {
  lay_past(t, t->work[thread], x);
  aim(t, t->work[thread], x, number, y);
}

/* ---- an update ------------------------------------------------------------------------------- */

typedef struct {
  fc_td3 *td3;
  const fc_replay *replay;
  const int64_t *episode; /* (batch) */
} batch;

enum { ROWS, ERRORS, VALUES, CRITIC_SUMS };

static fc_err critics_unit(void *arg, int thread, int64_t unit, float *gradient, double *sums) {
  const batch *b = arg;
  fc_td3 *t = b->td3;
  fc_td3_work *w = t->work[thread];
  const fc_replay_episode x = fc_replay_get(b->replay, b->episode[unit]);
  const int K = t->set.rounds;
  fc_td3_targets(t, thread, x, (uint64_t)(t->updates * t->set.batch + unit), w->y);
  lay_joint(t, w, x, x.action, t->set.actions);
  for (int c = 0; c < 2; c++) {
    const size_t at = (size_t)c * t->critic_count;
    const float *q = judge(t, w, t->critics, c);
    for (int k = 0; k < K; k++) {
      const double error = (double)q[k] - (double)w->y[k];
      w->dq[k] = (float)(2 * error);
      sums[ERRORS] += error * error / 2;
      sums[VALUES] += (double)q[k] / 2;
    }
    fc_recurrent_backward(w->critic, t->critics + at, w->dq, gradient + at, NULL);
  }
  sums[ROWS] += K;
  return FC_ERR_OK;
}

enum { ACTOR_VALUES = 1, PREDICTION, ACTOR_SUMS };

/* dactor's last S columns; returns the sum over rounds of mean squared errors. */
static double predict(const fc_td3 *t, fc_td3_work *w, fc_replay_episode x, const float *out) {
  const int S = t->set.states, A = t->set.actions, O = t->actor_shape.outputs, K = t->set.rounds;
  double sum = 0;
  for (int k = 0; k < K; k++)
    for (int s = 0; s < S; s++) {
      const size_t at = (size_t)k * (size_t)O + (size_t)(A + s);
      w->dactor[at] = 0;
      if (k + 1 == K) continue; /* the state after the last round is not recorded */
      const double error =
          (double)out[at] - (double)x.state[(size_t)(k + 1) * (size_t)S + (size_t)s];
      w->dactor[at] = (float)(2 * error / S);
      sum += error * error / S;
    }
  return sum;
}

static fc_err actor_unit(void *arg, int thread, int64_t unit, float *gradient, double *sums) {
  const batch *b = arg;
  fc_td3 *t = b->td3;
  fc_td3_work *w = t->work[thread];
  const fc_replay_episode x = fc_replay_get(b->replay, b->episode[unit]);
  const int S = t->set.states, A = t->set.actions, O = t->actor_shape.outputs, K = t->set.rounds;
  lay_past(t, w, x);
  const float *out = act(t, w, t->actor, x), *q = judge(t, w, t->critics, 0);
  for (int k = 0; k < K; k++) {
    sums[ACTOR_VALUES] += (double)q[k];
    w->dq[k] = -1;
  }
  fc_recurrent_backward(w->critic, t->critics, w->dq, NULL, w->djoint);
  for (int k = 0; k < K; k++)
    for (int i = 0; i < A; i++) {
      const size_t at = (size_t)k * (size_t)(S + A) + (size_t)(S + i);
      w->dactor[(size_t)k * (size_t)O + (size_t)i] =
          w->djoint[at] * (1 - w->joint[at] * w->joint[at]);
    }
  if (t->set.predict) sums[PREDICTION] += predict(t, w, x, out);
  fc_recurrent_backward(w->actor, t->actor, w->dactor, gradient, NULL);
  sums[ROWS] += K;
  return FC_ERR_OK;
}

/* target <- (1 - tau) target + tau x. */
static void follow(const fc_td3 *t, float *target, const float *x, size_t n) {
  fc_k_scale(target, (float)(1 - t->set.tau), (int64_t)n);
  fc_k_axpy(target, (float)t->set.tau, x, (int64_t)n);
}

static fc_err update_critics(batch *b, fc_td3_report *report) {
  fc_td3 *t = b->td3;
  double sums[CRITIC_SUMS];
  FC_TRY(fc_descent_step(t->critic_descent, t->critics, t->set.batch, critics_unit, b, sums,
                         CRITIC_SUMS));
  report->value_loss = sums[ERRORS] / sums[ROWS];
  report->value = sums[VALUES] / sums[ROWS];
  report->critic_gradient = fc_descent_optimizer(t->critic_descent)->gradient_norm;
  return FC_ERR_OK;
}

static fc_err update_actor(batch *b, fc_td3_report *report) {
  fc_td3 *t = b->td3;
  double sums[ACTOR_SUMS];
  FC_TRY(
      fc_descent_step(t->actor_descent, t->actor, t->set.batch, actor_unit, b, sums, ACTOR_SUMS));
  report->actor_value = sums[ACTOR_VALUES] / sums[ROWS];
  if (t->set.predict)
    report->prediction_error = sums[PREDICTION] / (sums[ROWS] - t->set.batch); /* but the last */
  follow(t, t->actor_target, t->actor, t->actor_count);
  follow(t, t->critics_target, t->critics, 2 * t->critic_count);
  return FC_ERR_OK;
}

/* The batch is a function of the update's number and the episodes held. */
static void choose(const fc_td3 *t, const fc_replay *r, int64_t *episode) {
  fc_rng rng = fc_rng_open(t->set.seed, FC_RNG_REPLAY, (uint64_t)t->updates, 0);
  for (int i = 0; i < t->set.batch; i++)
    episode[i] = (int64_t)fc_rng_below(&rng, (uint64_t)fc_replay_held(r));
}

static void find_unit(fc_td3 *t, const fc_replay *r) {
  const int64_t n = fc_replay_held(r) * r->rounds;
  double mean = 0, squares = 0;
  for (int64_t i = 0; i < n; i++) mean += (double)r->reward[i] / (double)n;
  for (int64_t i = 0; i < n; i++) squares += pow((double)r->reward[i] - mean, 2);
  t->reward_mean = mean;
  t->reward_deviation = sqrt(squares / (double)n) + 1e-6;
}

fc_err fc_td3_update(fc_td3 *t, const fc_replay *r, fc_td3_report *report) {
  batch b = {t, r, t->episode};
  *report = (fc_td3_report){.actor_value = NAN, .prediction_error = NAN};
  if (t->updates == 0) find_unit(t, r);
  choose(t, r, t->episode);
  FC_TRY(update_critics(&b, report));
  if ((t->updates + 1) % t->set.delay == 0) FC_TRY(update_actor(&b, report));
  t->updates++;
  return FC_ERR_OK;
}
