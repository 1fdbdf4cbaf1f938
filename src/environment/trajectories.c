/* trajectories.c - recorded episodes in memory, and the states that they went through. */
#include "environment.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_trajectory.h"
#include <assert.h>
#include <math.h>
#include <string.h>

static fc_err create(fc_trajectories *t) {
  const size_t n = (size_t)t->n, rounds = (size_t)t->rounds, devices = (size_t)t->devices;
  const size_t states = n * (rounds + 1), steps = n * rounds;
  FC_TRY(fc_alloc(n, sizeof *t->episode, &t->episode));
  FC_TRY(fc_alloc(n, sizeof *t->by_tool, &t->by_tool));
  FC_TRY(fc_alloc(states, sizeof *t->accuracy, &t->accuracy));
  FC_TRY(fc_alloc(states, devices * FC_STATISTICS * sizeof *t->statistics, &t->statistics));
  FC_TRY(fc_alloc(steps, devices * sizeof *t->selected, &t->selected));
  FC_TRY(fc_alloc(steps, devices * sizeof *t->served, &t->served));
  FC_TRY(fc_alloc(steps, sizeof *t->reward, &t->reward));
  FC_TRY(fc_alloc(steps, sizeof *t->energy_j, &t->energy_j));
  return fc_alloc(steps, sizeof *t->time_s, &t->time_s);
}

fc_err fc_trajectories_create(const fc_scenario *s, int n, fc_trajectories **out) {
  *out = NULL;
  FC_TRY(fc_alloc(1, sizeof **out, out));
  **out =
      (fc_trajectories){.scenario = s, .n = n, .devices = s->set.devices, .rounds = s->set.rounds};
  const fc_err err = create(*out);
  if (err != FC_ERR_OK) fc_trajectories_destroy(out);
  return err;
}

void fc_trajectories_destroy(fc_trajectories **trajectories) {
  fc_trajectories *t = *trajectories;
  if (!t) return;
  fc_free(t->episode);
  fc_free(t->by_tool);
  fc_free(t->accuracy);
  fc_free(t->statistics);
  fc_free(t->selected);
  fc_free(t->served);
  fc_free(t->reward);
  fc_free(t->energy_j);
  fc_free(t->time_s);
  fc_free(t);
  *trajectories = NULL;
}

/* ---- one state or step ----------------------------------------------------------------------- */

/* Of the state before `round`; of the step in it. */
static size_t state_at(const fc_trajectories *t, int i, int64_t round) {
  assert(i >= 0 && i < t->n && round >= 1 && round <= t->rounds + 1);
  return (size_t)i * (size_t)(t->rounds + 1) + (size_t)(round - 1);
}

static size_t step_at(const fc_trajectories *t, int i, int64_t round) {
  assert(i >= 0 && i < t->n && round >= 1 && round <= t->rounds);
  return (size_t)i * (size_t)t->rounds + (size_t)(round - 1);
}

void fc_trajectories_put_state(fc_trajectories *t, int i, const fc_fl_state *state) {
  const size_t at = state_at(t, i, state->round);
  double *x = t->statistics + at * (size_t)t->devices * FC_STATISTICS;
  t->accuracy[at] = state->accuracy;
  for (int n = 0; n < t->devices; n++, x += FC_STATISTICS) {
    x[0] = state->loss[n];
    x[1] = state->local_loss[n];
    x[2] = state->alignment[n];
    x[3] = state->same_sign[n];
  }
}

void fc_trajectories_put_step(fc_trajectories *t, int i, int64_t round, const uint8_t *select,
                              const fc_service *service, const fc_outcome *outcome) {
  const size_t at = step_at(t, i, round), devices = (size_t)t->devices;
  memcpy(t->selected + at * devices, select, devices);
  memcpy(t->served + at * devices, service->takes_part, devices);
  t->reward[at] = outcome->reward;
  t->energy_j[at] = outcome->energy_j;
  t->time_s[at] = outcome->time_s;
}

/* s^c before `round`: the channels, and what the participants of the round before have spent. */
static fc_err observe(const fc_trajectories *t, const fc_scenario *s, int i, int64_t round,
                      fc_service *last, fc_fl_state *state) {
  const fc_episode *e = &t->episode[i];
  if (round == 1) return fc_scenario_observe(s, e, round, NULL, state);
  const uint8_t *selected = t->selected + step_at(t, i, round - 1) * (size_t)t->devices;
  FC_TRY(fc_scenario_observe(s, e, round - 1, NULL, state));
  FC_TRY(fc_scenario_serve(s, state, &(fc_decision){.select = selected}, last));
  return fc_scenario_observe(s, e, round, last, state);
}

fc_err fc_trajectories_state(const fc_trajectories *t, const fc_scenario *s, int i, int64_t round,
                             fc_fl_state *state) {
  const size_t at = state_at(t, i, round);
  const double *x = t->statistics + at * (size_t)t->devices * FC_STATISTICS;
  fc_service *last;
  FC_TRY(fc_service_create(t->devices, &last));
  const fc_err err = observe(t, s, i, round, last, state);
  fc_service_destroy(&last);
  FC_TRY(err);
  state->accuracy = t->accuracy[at];
  for (int n = 0; n < t->devices; n++, x += FC_STATISTICS) {
    state->loss[n] = x[0];
    state->local_loss[n] = x[1];
    state->alignment[n] = x[2];
    state->same_sign[n] = x[3];
    state->loss_rms[n] = NAN;
  }
  return FC_ERR_OK;
}
