/* fc_trajectory.h - recorded episodes of the wireless FL environment: what the learned environment
 * and the policy's warm start are trained on.
 *
 *   fc_trajectories_create(scenario, n, &t);
 *   fc_trajectories_put_state(t, i, fc_environment_state(e, j));         // before each round, and
 *                                                                        // after the last
 *   fc_trajectories_put_step(t, i, round, select, fc_environment_service(e, j), &outcome);
 *   fc_trajectories_write(comm, t, "trajectories.h5"); fc_trajectories_read("trajectories.h5", ...)
 *
 * Only statistics are kept; s^c of a round is a function of (scenario, episode, round, who took
 * part) and is computed again where it is needed (fc_trajectories_state). */
#ifndef FC_TRAJECTORY_H
#define FC_TRAJECTORY_H

#include "fedcell/fc_comm.h"
#include "fedcell/fc_environment.h"

/* s^m of a device: loss, local_loss, alignment, same_sign; the samples are the scenario's. */
enum { FC_STATISTICS = 4 };

typedef struct {
  const fc_scenario *scenario; /* borrowed */
  int n, devices;
  int64_t rounds;      /* K */
  fc_episode *episode; /* (n) */
  uint8_t *by_tool;    /* (n) 1: chosen by the eps-greedy tool, 0: at random */
  double *accuracy;    /* (n, K+1): before round 1, after each round */
  double *statistics;  /* (n, K+1, N, FC_STATISTICS): as seen before round 1, ..., K+1; NAN as in
                          fc_fl_state */
  uint8_t *selected;   /* (n, K, N): chosen */
  uint8_t *served;     /* (n, K, N): took part */
  double *reward, *energy_j, *time_s; /* (n, K) */
} fc_trajectories;
/* Local. */
fc_err fc_trajectories_create(const fc_scenario *s, int n, fc_trajectories **out);
void fc_trajectories_destroy(fc_trajectories **t); /* accepts NULL */
/* Local. Into trajectory i: accuracy and statistics of the state before state->round; what was
 * chosen (N) in a round, and what came of it. */
void fc_trajectories_put_state(fc_trajectories *t, int i, const fc_fl_state *state);
void fc_trajectories_put_step(fc_trajectories *t, int i, int64_t round, const uint8_t *select,
                              const fc_service *service, const fc_outcome *outcome);
/* Local. The state before `round` (1 to K+1) of trajectory i: statistics as recorded, s^c as the
 * scenario has it for choices that the tool allocated. loss_rms is not recorded: NAN. */
fc_err fc_trajectories_state(const fc_trajectories *t, const fc_scenario *s, int i, int64_t round,
                             fc_fl_state *state);
/* Collective. All ranks hold all trajectories. A file as the results are: tables with units, the
 * scenario's settings, provenance. */
fc_err fc_trajectories_write(const fc_comm *comm, const fc_trajectories *t, const fc_config *cfg,
                             const char *path);
/* Local. DATA if the file does not fit the scenario: other devices, another classifier or costs. */
fc_err fc_trajectories_read(const fc_scenario *s, const char *path, fc_trajectories **out);

#endif
