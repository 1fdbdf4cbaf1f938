/* learned.c - the environment whose statistics the learned dynamics imagine [TELLM, IV-B]. An
 * episode is its history of rows; states, energy and time are the common part's (environment.c). */
#include "dynamics.h"
#include "fedcell/fc_mem.h"
#include <string.h>

typedef struct {
  const fc_scenario *scenario;
  const fc_dynamics *d;
  const fc_trajectories *starts;
  fc_rollout rollout;
  fc_episode *episode;  /* (episodes) */
  fc_fl_state **states; /* (episodes), borrowed: where each episode is */
  double *mean, *sd;    /* (episodes, D) */
  double *statistics;   /* (N, FC_STATISTICS) */
  double *before;       /* (N) losses before a step */
  float *values;        /* (D) */
} learned;

static void destroy(void *own) {
  learned *l = own;
  if (!l) return;
  fc_rollout_destroy(&l->rollout);
  fc_free(l->episode);
  fc_free(l->states);
  fc_free(l->mean);
  fc_free(l->sd);
  fc_free(l->statistics);
  fc_free(l->before);
  fc_free(l->values);
  fc_free(l);
}

static fc_err create(const fc_scenario *s, const fc_dynamics *d, const fc_trajectories *starts,
                     int episodes, learned **out) {
  size_t n = (size_t)episodes, D = (size_t)d->network.values;
  FC_TRY(fc_alloc(1, sizeof **out, out));
  learned *l = *out;
  *l = (learned){.scenario = s, .d = d, .starts = starts};
  FC_TRY(fc_rollout_create(d, episodes, &l->rollout));
  FC_TRY(fc_alloc(n, sizeof *l->episode, &l->episode));
  FC_TRY(fc_alloc(n, sizeof(fc_fl_state *), &l->states));
  FC_TRY(fc_alloc(n * D, sizeof *l->mean, &l->mean));
  FC_TRY(fc_alloc(n * D, sizeof *l->sd, &l->sd));
  FC_TRY(fc_alloc(D, sizeof *l->statistics, &l->statistics));
  FC_TRY(fc_alloc((size_t)d->encoding.devices, sizeof *l->before, &l->before));
  return fc_alloc(D, sizeof *l->values, &l->values);
}

static fc_err reset(void *own, const fc_episode *episode, int n, fc_fl_state *const *states) {
  learned *l = own;
  int N = l->d->encoding.devices;
  size_t S = (size_t)(FC_STATISTICS * N), steps = (size_t)l->starts->rounds + 1;
  for (int i = 0; i < n; i++) {
    size_t from = (size_t)(episode[i].seed % (uint64_t)l->starts->n) * steps;
    const double *statistics = l->starts->statistics + from * S;
    fc_fl_state_no_participants(states[i]);
    for (int device = 0; device < N; device++)
      states[i]->loss[device] = statistics[device * FC_STATISTICS];
    states[i]->accuracy = l->starts->accuracy[from];
    l->episode[i] = episode[i];
    l->states[i] = states[i];
    l->rollout.length[i] = 0;
  }
  return FC_ERR_OK;
}

/* One more row of an episode: its state and who takes part. */
static void push(learned *l, int which, const uint8_t *select) {
  fc_statistics_of_state(l->states[which], l->statistics);
  fc_encoding_values(&l->d->encoding, l->statistics, l->states[which]->accuracy, l->values);
  fc_rollout_push(&l->rollout, which, l->values, select);
}

/* What an episode imagines depends on who it is and the round, not on its neighbours. */
static void draw(const learned *l, int which, int64_t round, double *mean, const double *sd) {
  const fc_episode *e = &l->episode[which];
  fc_rng rng = fc_rng_open(e->seed, FC_RNG_IMAGINATION, (uint64_t)round, e->id);
  for (int d = 0; d < l->d->network.values; d++) mean[d] += sd[d] * fc_rng_normal(&rng);
}

/* The predicted statistics (l->statistics) become those of a state. The spread of a device's losses
 * is not predicted: their root mean square is taken to be their mean. */
static void move(learned *l, const uint8_t *select, fc_fl_state *state) {
  const size_t N = (size_t)l->d->encoding.devices;
  memcpy(l->before, state->loss, N * sizeof *l->before);
  fc_statistics_to_state(l->statistics, select, state);
  for (size_t d = 0; d < N; d++)
    if (select[d]) state->loss_rms[d] = l->before[d];
}

static fc_err step(void *own, const int *which, int n, const uint8_t *select,
                   fc_fl_state *const *states) {
  learned *l = own;
  int N = l->d->encoding.devices, D = l->d->network.values;
  for (int i = 0; i < n; i++) push(l, which[i], select + (size_t)i * (size_t)N);
  FC_TRY(fc_rollout_predict(&l->rollout, which, n, l->mean, l->sd));
  for (int i = 0; i < n; i++) {
    double *mean = l->mean + (size_t)i * (size_t)D;
    if (l->d->sample) draw(l, which[i], states[i]->round, mean, l->sd + (size_t)i * (size_t)D);
    fc_encoding_decode(&l->d->encoding, mean, l->statistics, &states[i]->accuracy);
    move(l, select + (size_t)i * (size_t)N, states[i]);
  }
  return FC_ERR_OK;
}

static fc_err peek(void *own, int which, const uint8_t *select, double *accuracy) {
  learned *l = own;
  push(l, which, select);
  fc_err err = fc_rollout_predict(&l->rollout, &which, 1, l->mean, NULL);
  l->rollout.length[which]--;
  if (err == FC_ERR_OK) fc_encoding_decode(&l->d->encoding, l->mean, l->statistics, accuracy);
  return err;
}

fc_err fc_environment_open_learned(const fc_scenario *s, const fc_dynamics *d,
                                   const fc_trajectories *starts, int episodes,
                                   fc_environment **out) {
  static const fc_environment_kind kind = {reset, step, peek, destroy};
  const fc_environment_settings *set = fc_scenario_settings(s);
  learned *l = NULL;
  *out = NULL;
  FC_TRY(fc_dynamics_check(d, s));
  FC_CHECK(starts->n >= 1 && starts->devices == set->devices, DATA,
           "%d trajectories of %d devices cannot begin episodes of %d devices", starts->n,
           starts->devices, set->devices);
  FC_CHECK(episodes >= 1, USAGE, "an environment of %d episodes", episodes);
  fc_err err = create(s, d, starts, episodes, &l);
  if (err == FC_ERR_OK) return fc_environment_open(s, episodes, &kind, l, out);
  destroy(l);
  return err;
}
