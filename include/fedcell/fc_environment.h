/* fc_environment.h - the wireless FL environment of [TELLM]: N devices train an image classifier;
 * round by round an agent chooses who takes part.
 *
 *   fc_scenario_create(cfg, FC_TRAINING, &scenario);         // devices, data, costs: fixed
 *   fc_environment_open_real(scenario, 1, &e);               // or open_learned: fc_dynamics.h
 *   fc_environment_reset(e, &episode);
 *   while (!fc_environment_is_over(e)) {
 *     const fc_fl_state *s = fc_environment_state(e, 0);
 *     ... choose ...
 *     fc_environment_step(e, &decision, &outcome);
 *   }
 *
 * A scenario is who the devices are and what things cost. An environment runs episodes in it, one
 * or many side by side: the real one trains the classifier, the learned one asks a model of
 * trajectories instead. Both bill energy and time by the same formulas [TELLM (5)-(11)], and the
 * tool of [TELLM, P2] (fc_altd_solve) allocates frequency, power and bandwidth.
 *
 * Everything is a function of (scenario, episode, decisions). SI units. All Local: ranks run
 * episodes of their own; an environment belongs to one thread, a scenario may be shared. */
#ifndef FC_ENVIRONMENT_H
#define FC_ENVIRONMENT_H

#include "fedcell/fc_cnn.h"
#include "fedcell/fc_config.h"
#include "fedcell/fc_err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern const fc_option_table fc_environment_options; /* environment.* */
extern const fc_option_table fc_evaluation_options;  /* evaluation.*: how the environment in which
                                                        policies are judged differs */

/* ---- the scenario ------------------------------------------------------------------------------
 */

typedef struct {
  int devices;          /* N */
  int64_t rounds;       /* K of an episode */
  int iterations;       /* I, local steps of a participant */
  int batch;            /* samples of a local step; 0: all that the device has */
  double learning_rate; /* of the local steps (SGD) */
  fc_cnn_shape cnn;
  bool standard_pixels;        /* the classifier sees them less their mean, by their spread: */
  double pixel_mean, pixel_sd; /* of all training images' value/255 */
  int probe_samples;           /* of a device, for its losses and gradients */
  int64_t test_samples;        /* for the accuracy; 0: all */
  bool normalise_by_all;       /* [TELLM (4)] as printed: divide by all devices' samples */
  double cycles_per_sample, switched_capacitance;                  /* C, zeta */
  double bandwidth_hz, noise_psd_w_per_hz, model_bits, deadline_s; /* B, N0, s, T_QoS */
  int allocation;                /* fc_altd_bandwidth: EQUAL, OPTIMAL */
  int tool;                      /* fc_altd_method */
  double sigma, energy_offset_j; /* [TELLM (12)], and E0: Xi/(E + E0) */
  double idle_reward;            /* of a round in which nobody could be served */
  int select_min;                /* devices that the task asks for */
} fc_environment_settings;

/* TRAINING: the environment as configured. EVALUATION: with what evaluation.* changes (scenario,
 * deadline_s, alpha). */
typedef enum { FC_TRAINING, FC_EVALUATION } fc_environment_use;

typedef struct fc_scenario fc_scenario;
/* Opens the data (fc_data_options, fc_split_options of the same configuration), splits them over
 * the devices and draws their profiles; all a function of the configuration, seeds environment.seed
 * and data.seed. */
fc_err fc_scenario_create(const fc_config *cfg, fc_environment_use use, fc_scenario **out);
void fc_scenario_destroy(fc_scenario **s); /* accepts NULL; leaves *s == NULL */
const fc_environment_settings *fc_scenario_settings(const fc_scenario *s);
size_t fc_scenario_bytes(const fc_scenario *s);
/* (N) each; borrowed: |D_n|, f_max, p_max. */
const double *fc_scenario_samples(const fc_scenario *s);
const double *fc_scenario_f_max_hz(const fc_scenario *s);
const double *fc_scenario_p_max_w(const fc_scenario *s);
/* (N) images of each class that a device holds, (N, classes): Fig. 6. */
const double *fc_scenario_labels(const fc_scenario *s);

/* Names an episode. Channels, the classifier's start and its mini-batches are functions of the
 * seed; what a learned environment imagines is a function of both. */
typedef struct {
  uint64_t seed, id;
} fc_episode;

/* ---- states ------------------------------------------------------------------------------------
 */

/* What an agent sees before it chooses for a round [TELLM (14)]. */
typedef struct {
  int devices;
  int64_t round;   /* that it is to choose for, from 1 */
  double accuracy; /* Xi of the round before */
  /* s^c, (N) each; the first two borrowed from the scenario. com_j, cmp_j: what the device spent in
   * the round before; one that did not take part: what it would spend now at B/select_min
   * (infinity if it cannot meet the deadline even so). */
  const double *f_max_hz, *p_max_w;
  double *gain, *com_j, *cmp_j;
  /* s^m of all devices, (N) each: |D_n| (borrowed), F_n of the global model. */
  const double *samples;
  double *loss;
  /* s^m of those that took part in the round before, NAN for the others: F_n of the trained local
   * model, <grad F_n(w_n), grad F_G(w_G)>, share of weights whose sign w_n and w_G share, and the
   * root mean square of the samples' losses before training (no part of s^m; Oort's utility). */
  double *local_loss, *alignment, *same_sign, *loss_rms;
} fc_fl_state;
/* All values 0, those of participants NAN. One allocation. */
fc_err fc_fl_state_create(const fc_scenario *s, fc_fl_state **out);
void fc_fl_state_destroy(fc_fl_state **state);                   /* accepts NULL */
void fc_fl_state_no_participants(fc_fl_state *state);            /* theirs become NAN */
void fc_fl_state_copy(fc_fl_state *to, const fc_fl_state *from); /* of the same scenario */

/* ---- choosing and what comes of it -------------------------------------------------------------
 */

typedef struct {
  const uint8_t *select; /* (N) 1: chosen */
  /* (N) each, of the chosen ones: an agent that allocates itself, with B/|S| each; devices that
   * then miss the deadline are dropped. NULL: the tool allocates. */
  const double *frequency_hz, *power_w;
} fc_decision;

/* What serving a decision takes; arrays (N), 0 for those not served. */
typedef struct {
  int selected, served;
  uint8_t *takes_part;     /* 1: served */
  double energy_j, time_s; /* E_t, T_t [TELLM (10), (11)] */
  double *frequency_hz, *power_w, *bandwidth_hz, *device_time_s, *com_j, *cmp_j;
} fc_service;
fc_err fc_service_create(int devices, fc_service **out);
void fc_service_destroy(fc_service **s); /* accepts NULL */

/* s^c of that round into the state: gain, and com_j, cmp_j of the devices that did not take part
 * (last NULL: nobody did) or what they spent. */
fc_err fc_scenario_observe(const fc_scenario *s, const fc_episode *e, int64_t round,
                           const fc_service *last, fc_fl_state *state);
/* The tool's allocation, or the agent's own; infeasible devices are dropped until the rest can be
 * served (with equal bands a smaller set has wider ones: the worst device goes first). */
fc_err fc_scenario_serve(const fc_scenario *s, const fc_fl_state *state, const fc_decision *d,
                         fc_service *out);

typedef struct {
  double reward;         /* [TELLM (12)] with E + E0 */
  double printed_reward; /* with E alone; 0 where idle */
  double accuracy;       /* Xi_t */
  double energy_j, time_s;
  int selected, served;
  bool idle; /* nobody was served: the model stays */
} fc_outcome;
/* accuracy: Xi_t. */
fc_outcome fc_scenario_outcome(const fc_scenario *s, const fc_service *service, double accuracy);

/* ---- environments ------------------------------------------------------------------------------
 */

typedef struct fc_environment fc_environment;
/* `episodes` side by side, each with a classifier of its own. */
fc_err fc_environment_open_real(const fc_scenario *s, int episodes, fc_environment **out);
void fc_environment_close(fc_environment **e); /* accepts NULL */
int fc_environment_episodes(const fc_environment *e);
const fc_scenario *fc_environment_scenario(const fc_environment *e);
/* All episodes begin, at round 1. episode (episodes). */
fc_err fc_environment_reset(fc_environment *e, const fc_episode *episode);
bool fc_environment_is_over(const fc_environment *e); /* K rounds are done */
const fc_fl_state *fc_environment_state(const fc_environment *e, int episode); /* borrowed */
const fc_service *fc_environment_service(const fc_environment *e,
                                         int episode); /* of the last step */
/* decision, outcome (episodes). An empty selection is an idle round. NUMERIC if the classifier's
 * weights are not finite. */
fc_err fc_environment_step(fc_environment *e, const fc_decision *decision, fc_outcome *outcome);
/* What a decision would bring in this round of an episode, which stays where it is. Of a real
 * environment, or a learned one with means. */
fc_err fc_environment_peek(fc_environment *e, int episode, const fc_decision *decision,
                           fc_outcome *outcome);

/* How an environment does what differs between the real one and the learned one; the rest
 * (environment.c) is common. Statistics are everything of fc_fl_state but s^c and the round. */
typedef struct {
  fc_err (*reset)(void *own, const fc_episode *episode, int n, fc_fl_state *const *states);
  /* Moves on the n listed episodes by the devices that were served, select (n, N), and writes their
   * new statistics into the states (n): select and states follow the list. Somebody was served in
   * each of them; an idle episode stays as it is and is not listed. */
  fc_err (*step)(void *own, const int *which, int n, const uint8_t *select,
                 fc_fl_state *const *states);
  /* Xi after such a step of one episode, which is not taken; NULL: cannot tell. */
  fc_err (*peek)(void *own, int which, const uint8_t *select, double *accuracy);
  void (*destroy)(void *own);
} fc_environment_kind;
/* Takes `own` over, also on failure. */
fc_err fc_environment_open(const fc_scenario *s, int episodes, const fc_environment_kind *kind,
                           void *own, fc_environment **out);

#endif
