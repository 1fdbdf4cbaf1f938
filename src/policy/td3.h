/* td3.h - TD3 [Fujimoto+ 2018] on whole episodes, with the networks of recurrent.h as FL-DLT3 has
 * them [Zheng+ 2022]: actor a = state, b = (state, last action); critics a = (state, action),
 * b = (state, last action). Knows of no federated learning: states are rows of numbers, actions
 * rows within [-1, 1], and all episodes have K rounds.
 *
 *   fc_replay_create(&settings, steps, &replay);
 *   fc_td3_create(comm, &settings, threads, &td3);
 *   fc_replay_episode x = fc_replay_put(&replay);  ... fill it ...
 *   fc_td3_update(&td3, &replay, &report);
 *
 * All ranks hold all networks and all episodes; they share the work of an update, whose result does
 * not depend on how many they are (fc_descent.h). */
#ifndef POLICY_TD3_H
#define POLICY_TD3_H

#include "fedcell/fc_descent.h"
#include "recurrent.h"

typedef struct {
  int states, actions; /* S, A: numbers of a state, of an action */
  int rounds;          /* K */
  int hidden;
  bool predict; /* the actor also tells the next state */
  double learning_rate, gamma, tau;
  int delay;                 /* d: updates between those of the actor and the targets */
  double noise, noise_limit; /* on the target's actions */
  int batch;                 /* episodes of an update */
  uint64_t seed;
} fc_td3_settings;

/* ---- replay (td3_replay.c) ---------------------------------------------------------------------
 */

/* One episode; borrowed. */
typedef struct {
  float *state;  /* (K, S) */
  float *action; /* (K, A) */
  float *reward; /* (K) */
} fc_replay_episode;

/* A ring of whole episodes. */
typedef struct {
  int states, actions, rounds;
  int64_t capacity, count; /* episodes that it holds at most; that were ever put in */
  float *state, *action, *reward;
} fc_replay;
/* Of `steps` rounds, and at least one episode. */
fc_err fc_replay_create(const fc_td3_settings *s, int64_t steps, fc_replay *r);
void fc_replay_destroy(fc_replay *r);
int64_t fc_replay_held(const fc_replay *r);
/* i: below fc_replay_held. */
fc_replay_episode fc_replay_get(const fc_replay *r, int64_t i);
/* The place of the next episode, which overwrites the oldest one of a full ring. */
fc_replay_episode fc_replay_put(fc_replay *r);

/* ---- networks and updates (td3.c) --------------------------------------------------------------
 */

typedef struct fc_td3_work fc_td3_work;

typedef struct {
  fc_td3_settings set;
  fc_recurrent_shape actor_shape, critic_shape;
  size_t actor_count, critic_count;
  float *actor, *actor_target;     /* (actor_count) */
  float *critics, *critics_target; /* (2, critic_count) */
  int64_t updates;                 /* done */
  /* The unit in which critics see rewards: mean and deviation of those held at the first update.
   * All episodes have K rounds, so neither changes which policy is best. */
  double reward_mean, reward_deviation;
  int64_t *episode; /* (batch) of the present update */
  int threads;
  fc_td3_work **work; /* (threads) */
  fc_descent *actor_descent, *critic_descent;
} fc_td3;

/* Of an update; actor's: NAN where the actor stood still. */
typedef struct {
  double value_loss;                    /* mean over rows and both critics of (Q - y)^2 */
  double value, critic_gradient;        /* mean Q of the recorded actions; norm */
  double actor_value, prediction_error; /* mean Q1 of the actor's actions; MSE, NAN: none */
} fc_td3_report;

fc_recurrent_shape fc_td3_actor_shape(const fc_td3_settings *s);
fc_recurrent_shape fc_td3_critic_shape(const fc_td3_settings *s);
/* Collective. Networks as fc_recurrent_init draws them; targets equal. The caller destroys *out
 * also after a failure. */
fc_err fc_td3_create(const fc_comm *comm, const fc_td3_settings *s, int threads, fc_td3 *out);
void fc_td3_destroy(fc_td3 *t);
/* Collective. Both critics learn from a batch drawn with replacement; every d-th time the actor
 * does, and all targets follow. NUMERIC if a gradient is not finite. */
fc_err fc_td3_update(fc_td3 *t, const fc_replay *r, fc_td3_report *report);
/* Local. y (K) of an episode: r + gamma (1 - done) min of the twins at the smoothed action;
 * `number` names the noise. */
void fc_td3_targets(fc_td3 *t, int thread, fc_replay_episode x, uint64_t number, float *y);

/* Collective. All that the next update depends on, into a checkpoint (fc_descent_put with `key` and
 * `number`, and more) and from it. */
void fc_td3_put(const fc_td3 *t, const fc_replay *r, const fc_comm *comm, fc_store_file *f,
                const char *key, double number);
fc_err fc_td3_get(fc_td3 *t, fc_replay *r, const fc_store_reader *from, const char *path,
                  const char *key, double *number);

#endif
