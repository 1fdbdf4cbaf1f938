/* dynamics_world.h - trajectories of a synthetic world whose dynamics are known, and training on
 * them, for tests on one rank or more. */
#ifndef DYNAMICS_WORLD_H
#define DYNAMICS_WORLD_H

#include "environment_fixture.h"

#include "fedcell/fc_comm.h"
#include "fedcell/fc_rng.h"

/* Six devices, eight rounds, a tiny network; what a test says stands over it. */
#define WORLD                                                                                      \
  "environment.rounds=8\ndynamics.layers=1\ndynamics.width=16\ndynamics.heads=2\n"                 \
  "dynamics.epochs=3\ndynamics.batch=5\n"

/* A device's loss falls by a share that the device gives, if it takes part, and rises a little
 * else; the accuracy approaches 1 as the mean loss falls. Trajectory 2 has an idle round. */
static inline void world_state(const fc_trajectories *t, int i, int64_t k, fc_rng *rng,
                               double noise) {
  const size_t N = (size_t)t->devices, at = (size_t)i * (size_t)(t->rounds + 1) + (size_t)k;
  const uint8_t *served = t->served + ((size_t)i * (size_t)t->rounds + (size_t)k - (k > 0)) * N;
  const bool is_idle = k > 0 && !memchr(served, 1, N);
  double mean = 0;
  for (size_t n = 0; n < N; n++) {
    double *now = t->statistics + (at * N + n) * FC_STATISTICS;
    const double before =
        k == 0 ? 2.5 + 0.1 * (double)n : t->statistics[((at - 1) * N + n) * FC_STATISTICS];
    const bool takes_part = k > 0 && served[n];
    now[0] = before * (takes_part ? 0.7 + 0.02 * (double)n : 1.02);
    now[0] *= exp(k == 0 ? 0.1 * fc_rng_normal(rng) : noise * fc_rng_normal(rng));
    if (is_idle) now[0] = before;
    now[1] = takes_part ? 0.5 * before : NAN;
    now[2] = takes_part ? 0.1 * before - 0.2 : NAN;
    now[3] = takes_part ? 1 / (1 + 0.1 * before) : NAN;
    mean += now[0] / (double)N;
  }
  t->accuracy[at] = exp(-0.5 * mean);
}

/* The rewards of the recorded accuracies. */
static inline void world_rewards(const fc_scenario *s, fc_trajectories *t) {
  for (int i = 0; i < t->n; i++)
    for (int64_t k = 0; k < t->rounds; k++) {
      const int64_t at = i * t->rounds + k;
      fc_service service = {.energy_j = t->energy_j[at], .time_s = t->time_s[at]};
      for (int d = 0; d < t->devices; d++) service.served += t->served[at * t->devices + d];
      t->reward[at] =
          fc_scenario_outcome(s, &service, t->accuracy[i * (t->rounds + 1) + k + 1]).reward;
    }
}

/* n trajectories of random choices. noise: of the losses' logarithms. */
static inline fc_trajectories *world_of(const fc_scenario *s, int n, uint64_t seed, double noise) {
  fc_trajectories *t;
  assert_ok(fc_trajectories_create(s, n, &t));
  const size_t N = (size_t)t->devices, K = (size_t)t->rounds;
  for (int i = 0; i < n; i++) {
    fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 0, (uint64_t)i);
    t->episode[i] = (fc_episode){seed, (uint64_t)i};
    for (size_t k = 0; k <= K; k++) {
      const size_t step = (size_t)i * K + k;
      world_state(t, i, (int64_t)k, &rng, noise);
      if (k == K) continue;
      for (size_t d = 0; d < N; d++) t->served[step * N + d] = fc_rng_below(&rng, 2) == 0;
      if (i == 2 && k == 3) memset(t->served + step * N, 0, N);
      memcpy(t->selected + step * N, t->served + step * N, N);
      t->energy_j[step] = 1 + fc_rng_uniform(&rng);
      t->time_s[step] = 2;
    }
  }
  world_rewards(s, t);
  return t;
}

typedef struct {
  fc_config *cfg;
  fc_scenario *s;
  fc_trajectories *t;
} world;

/* Thirteen trajectories of a noisy world; settings stand over WORLD. */
static inline world small_world(const char *settings) {
  char all[1024];
  snprintf(all, sizeof all, "%s%s", WORLD, settings);
  world w = {.cfg = config_of(all), .s = scenario_of(WORLD)};
  w.t = world_of(w.s, 13, 1, 0.1);
  return w;
}

static inline void drop_world(world *w) {
  fc_trajectories_destroy(&w->t);
  fc_scenario_destroy(&w->s);
  fc_config_destroy(&w->cfg);
}

/* Collective. */
static inline fc_dynamics *train_over(const fc_comm *ranks, const world *w) {
  const fc_dynamics_request request = {0};
  fc_dynamics *d;
  assert_ok(fc_dynamics_train(ranks, w->cfg, w->s, w->t, &request, &d));
  return d;
}

#endif
