/* fldlt3_play.c - a wave of episodes: each rank plays its own, all side by side, and ranks then
 * give each other what came of them, so that all hold the same replay. An episode depends on its
 * number and the actor alone, not on who plays it. */
#include "fedcell/fc_mem.h"
#include "fldlt3.h"
#include <string.h>

/* This rank's part of a round. */
static fc_err make_desk(fc_fldlt3_wave *w, int devices) {
  const size_t own = (size_t)w->own, N = (size_t)devices;
  FC_TRY(fc_alloc(own, sizeof *w->states, &w->states));
  FC_TRY(fc_alloc(own, sizeof *w->which, &w->which));
  FC_TRY(fc_alloc(own, sizeof *w->choices, &w->choices));
  FC_TRY(fc_alloc(own, sizeof *w->decisions, &w->decisions));
  FC_TRY(fc_alloc(own, sizeof *w->now, &w->now));
  FC_TRY(fc_alloc(own, sizeof *w->episodes, &w->episodes));
  FC_TRY(fc_alloc(own * N, sizeof *w->select, &w->select));
  FC_TRY(fc_alloc(own * N * 2, sizeof *w->allocation, &w->allocation));
  for (size_t e = 0; e < own; e++) {
    uint8_t *select = w->select + e * N;
    double *frequency_hz = w->allocation + 2 * e * N, *power_w = frequency_hz + N;
    w->which[e] = (int)e;
    w->choices[e] = (fc_choice){.select = select, .frequency_hz = frequency_hz, .power_w = power_w};
    w->decisions[e] =
        (fc_decision){.select = select, .frequency_hz = frequency_hz, .power_w = power_w};
  }
  return FC_ERR_OK;
}

fc_err fc_fldlt3_wave_create(const fc_comm *comm, const fc_fldlt3_settings *s,
                             const fc_fldlt3_code *code, fc_environment_opener *open, void *arg,
                             fc_fldlt3_wave *w) {
  const fc_recurrent_shape shape = fc_td3_actor_shape(&s->td3);
  *w = (fc_fldlt3_wave){.comm = comm, .set = s};
  fc_comm_share(s->wave, comm->size, comm->rank, &w->first, &w->own);
  fc_err err = fc_alloc((size_t)s->wave, sizeof *w->record, &w->record);
  if (err == FC_ERR_OK && w->own > 0) err = make_desk(w, code->devices);
  if (err == FC_ERR_OK && w->own > 0) err = open(arg, (int)w->own, &w->environment);
  if (err == FC_ERR_OK && w->own > 0)
    err = fc_fldlt3_player_create(code, &shape, (int)w->own, s->noise, s->td3.seed, &w->player);
  return fc_agree(comm, err);
}

void fc_fldlt3_wave_destroy(fc_fldlt3_wave *w) {
  void *const all[] = {(void *)w->states, w->which,  w->choices,    w->decisions, w->now,
                       w->episodes,       w->select, w->allocation, w->record};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) fc_free(all[i]);
  fc_fldlt3_player_destroy(&w->player);
  fc_environment_close(&w->environment);
  *w = (fc_fldlt3_wave){0};
}

/* ---- playing --------------------------------------------------------------------------------- */

static fc_err begin(fc_fldlt3_wave *w, int64_t number) {
  for (int64_t e = 0; e < w->own; e++) {
    const uint64_t id = (uint64_t)(number + w->first + e);
    fc_rng rng = fc_rng_open(w->set->td3.seed, FC_RNG_REPLAY, id, 1);
    w->episodes[e] = (fc_episode){.seed = fc_rng_u64(&rng) >> 32, .id = id};
  }
  fc_fldlt3_player_begin(&w->player, w->episodes, (int)w->own);
  return fc_environment_reset(w->environment, w->episodes);
}

static fc_err play_round(fc_fldlt3_wave *w, const float *actor, fc_fldlt3_way way, size_t round,
                         fc_outcome *outcomes) {
  const size_t S = (size_t)w->set->td3.states, A = (size_t)w->set->td3.actions;
  const size_t K = (size_t)w->set->td3.rounds, own = (size_t)w->own, first = (size_t)w->first;
  for (size_t e = 0; e < own; e++) w->states[e] = fc_environment_state(w->environment, (int)e);
  FC_TRY(fc_fldlt3_player_act(&w->player, actor, way, w->states, w->which, (int)own, w->choices));
  FC_TRY(fc_environment_step(w->environment, w->decisions, w->now));
  for (size_t e = 0; e < own; e++) {
    const fc_replay_episode *x = &w->record[first + e];
    memcpy(x->state + round * S, w->player.state + e * S, S * sizeof *x->state);
    memcpy(x->action + round * A, w->player.action + e * A, A * sizeof *x->action);
    x->reward[round] = (float)w->now[e].reward;
    outcomes[(first + e) * K + round] = w->now[e];
  }
  return FC_ERR_OK;
}

static fc_err play(fc_fldlt3_wave *w, int64_t number, const float *actor, fc_fldlt3_way way,
                   fc_outcome *outcomes) {
  FC_TRY(begin(w, number));
  for (int k = 0; k < w->set->td3.rounds; k++)
    FC_TRY(play_round(w, actor, way, (size_t)k, outcomes));
  return FC_ERR_OK;
}

/* Every rank's episodes to all. */
static fc_err exchange(fc_fldlt3_wave *w, fc_outcome *outcomes) {
  const fc_td3_settings *s = &w->set->td3;
  const size_t K = (size_t)s->rounds, row = sizeof(float);
  for (int rank = 0; rank < w->comm->size; rank++) {
    int64_t first = 0, own = 0;
    fc_comm_share(w->set->wave, w->comm->size, rank, &first, &own);
    for (int64_t e = first; e < first + own; e++) {
      const fc_replay_episode *x = &w->record[e];
      FC_TRY(fc_comm_broadcast(w->comm, x->state, K * (size_t)s->states * row, rank));
      FC_TRY(fc_comm_broadcast(w->comm, x->action, K * (size_t)s->actions * row, rank));
      FC_TRY(fc_comm_broadcast(w->comm, x->reward, K * row, rank));
    }
    FC_TRY(fc_comm_broadcast(w->comm, outcomes + (size_t)first * K,
                             (size_t)own * K * sizeof *outcomes, rank));
  }
  return FC_ERR_OK;
}

fc_err fc_fldlt3_wave_play(fc_fldlt3_wave *w, const float *actor, fc_replay *replay,
                           fc_outcome *outcomes) {
  const int64_t number = replay->count;
  const fc_fldlt3_way way = number < w->set->random ? FC_FLDLT3_RANDOM : FC_FLDLT3_NOISY;
  for (int e = 0; e < w->set->wave; e++) w->record[e] = fc_replay_put(replay);
  FC_TRY(fc_agree(w->comm, w->own > 0 ? play(w, number, actor, way, outcomes) : FC_ERR_OK));
  return exchange(w, outcomes);
}
