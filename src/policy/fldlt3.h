/* fldlt3.h - what the files of the agent `fldlt3` share: FL-DLT3 [Zheng+ 2022] in the environment
 * of [TELLM]. TD3 (td3.h) chooses devices, powers and frequencies in a continuous space.
 *
 * A state is a row of 7 N + 2 numbers: of every device ln |D_n|, ln G, f_max, ln p_max, F_n, ln
 * E_com, ln E_cmp; the accuracy; the round over K. Each of these nine kinds is standardised by its
 * mean and deviation over the recorded trajectories. An action is a row of 3 N numbers within [-1,
 * 1]: whether to select (above 0), power and frequency, affine to (0, max]. */
#ifndef POLICY_FLDLT3_H
#define POLICY_FLDLT3_H

#include "td3.h"
#include "train.h"

/* ---- states and actions (fldlt3_code.c) --------------------------------------------------------
 */

enum { FC_FLDLT3_OF_DEVICE = 7, FC_FLDLT3_KINDS = FC_FLDLT3_OF_DEVICE + 2 };
typedef struct {
  int devices;    /* N */
  int64_t rounds; /* K, that a round is told in parts of */
  double mean[FC_FLDLT3_KINDS], deviation[FC_FLDLT3_KINDS];
} fc_fldlt3_code;
int fc_fldlt3_states(int devices);  /* 7 N + 2 */
int fc_fldlt3_actions(int devices); /* 3 N */
/* DATA if there are no trajectories. */
fc_err fc_fldlt3_code_fit(const fc_scenario *s, const fc_trajectories *t, int64_t rounds,
                          fc_fldlt3_code *out);
/* x (7 N + 2); room for as many. NUMERIC if a number of the state is not finite; infinite energies
 * are cut off. */
fc_err fc_fldlt3_encode(const fc_fldlt3_code *c, const fc_fl_state *state, double *room, float *x);
/* action (3 N). Nobody above 0: the device with the largest number is selected. */
void fc_fldlt3_decide(const fc_fl_state *state, const float *action, fc_choice *choice);

/* ---- the actor at work (fldlt3_player.c) -------------------------------------------------------
 */

typedef enum { FC_FLDLT3_GREEDY, FC_FLDLT3_NOISY, FC_FLDLT3_RANDOM } fc_fldlt3_way;
/* Plays up to `episodes` side by side and remembers of each what the network carries on. */
typedef struct {
  const fc_fldlt3_code *code; /* borrowed */
  fc_recurrent_shape shape;
  int states, actions;
  double noise; /* deviation of what a NOISY action adds */
  uint64_t seed;
  fc_recurrent *network;
  fc_episode *episode;  /* (episodes) */
  float *h, *c, *last;  /* (episodes, H), (episodes, H), (episodes, 3 N) */
  float *h_now, *c_now; /* of the listed ones */
  float *state, *past;  /* of the latest step: (n, S), (n, S + 3 N) */
  float *action;        /* (n, 3 N) */
  double *room;         /* (S) */
} fc_fldlt3_player;
/* The caller destroys *out also after a failure. */
fc_err fc_fldlt3_player_create(const fc_fldlt3_code *code, const fc_recurrent_shape *actor,
                               int episodes, double noise, uint64_t seed, fc_fldlt3_player *out);
void fc_fldlt3_player_destroy(fc_fldlt3_player *p);
void fc_fldlt3_player_begin(fc_fldlt3_player *p, const fc_episode *episode, int n);
/* state, action and choices (n) of the episodes `which` (n); an action depends on its own episode
 * alone. */
fc_err fc_fldlt3_player_act(fc_fldlt3_player *p, const float *actor, fc_fldlt3_way way,
                            const fc_fl_state *const *states, const int *which, int n,
                            fc_choice *choices);

/* ---- folders (fldlt3_file.c) ------------------------------------------------------------------
 */

/* What a trained agent consists of; weights as td3.h has them. */
typedef struct {
  fc_fldlt3_code code;
  fc_recurrent_shape shape; /* of the actor */
  float *actor;
} fc_fldlt3;
/* Local. model.safetensors with actor and critics, fldlt3.json with the code. */
fc_err fc_fldlt3_save(const fc_fldlt3_code *code, const fc_td3 *td3, const char *folder);
/* Local. DATA if the folder was made for another number of devices, or is damaged. */
fc_err fc_fldlt3_load(const char *folder, const fc_scenario *s, fc_fldlt3 *out);
void fc_fldlt3_drop(fc_fldlt3 *f);

/* ---- training (fldlt3_options.c, fldlt3_train.c) -----------------------------------------------
 */

typedef struct {
  fc_td3_settings td3;
  int64_t iterations;       /* reports */
  int episodes, wave;       /* of an iteration; played before networks are updated */
  double noise;             /* of exploration */
  int64_t random, replay;   /* episodes with random actions; rounds that are kept */
  int updates;              /* per episode */
  int64_t checkpoint_every; /* iterations */
} fc_fldlt3_settings;
/* USAGE if rounds exceed the scenario's. */
fc_err fc_fldlt3_settings_read(const fc_config *cfg, const fc_scenario *s, fc_fldlt3_settings *out);

/* A wave of episodes (fldlt3_play.c). */
typedef struct {
  const fc_comm *comm;
  const fc_fldlt3_settings *set;
  int64_t first, own;          /* this rank's episodes */
  fc_environment *environment; /* for them; NULL: it has none */
  fc_fldlt3_player player;
  fc_replay_episode *record; /* (wave) places in the replay */
  /* (own) a round's work */
  const fc_fl_state **states;
  int *which;
  fc_choice *choices;
  fc_decision *decisions;
  fc_outcome *now;
  fc_episode *episodes;
  uint8_t *select;    /* (own, N) */
  double *allocation; /* (own, 2, N) */
} fc_fldlt3_wave;
/* Collective. Shares out the episodes and opens what they need. The caller destroys *out also
 * after a failure. */
fc_err fc_fldlt3_wave_create(const fc_comm *comm, const fc_fldlt3_settings *s,
                             const fc_fldlt3_code *code, fc_environment_opener *open, void *arg,
                             fc_fldlt3_wave *out);
void fc_fldlt3_wave_destroy(fc_fldlt3_wave *w);
/* Collective. The next episodes, into the replay; outcomes (wave, K). */
fc_err fc_fldlt3_wave_play(fc_fldlt3_wave *w, const float *actor, fc_replay *replay,
                           fc_outcome *outcomes);

/* fc_fldlt3_train in any environment of the scenario. */
fc_err fc_fldlt3_run(const fc_comm *comm, const fc_config *cfg, const fc_scenario *s,
                     const fc_trajectories *recorded, fc_environment_opener *open, void *arg,
                     const fc_train_request *request, const char *folder, fc_train_report **reports,
                     int64_t *n_reports);

#endif
