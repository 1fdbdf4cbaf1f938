/* td3_replay.c - recorded episodes, and the checkpoint of a training: networks, optimisers, ring.
 */
#include "fedcell/fc_mem.h"
#include "td3.h"

fc_err fc_replay_create(const fc_td3_settings *s, int64_t steps, fc_replay *r) {
  *r = (fc_replay){.states = s->states, .actions = s->actions, .rounds = s->rounds};
  r->capacity = steps > s->rounds ? steps / s->rounds : 1;
  const size_t rows = (size_t)r->capacity * (size_t)r->rounds;
  fc_err err = fc_alloc(rows * (size_t)r->states, sizeof *r->state, &r->state);
  if (err == FC_ERR_OK) err = fc_alloc(rows * (size_t)r->actions, sizeof *r->action, &r->action);
  if (err == FC_ERR_OK) err = fc_alloc(rows, sizeof *r->reward, &r->reward);
  if (err != FC_ERR_OK) fc_replay_destroy(r);
  return err;
}

void fc_replay_destroy(fc_replay *r) {
  fc_free(r->state);
  fc_free(r->action);
  fc_free(r->reward);
  *r = (fc_replay){0};
}

int64_t fc_replay_held(const fc_replay *r) {
  return r->count < r->capacity ? r->count : r->capacity;
}

fc_replay_episode fc_replay_get(const fc_replay *r, int64_t i) {
  const size_t row = (size_t)i * (size_t)r->rounds;
  return (fc_replay_episode){.state = r->state + row * (size_t)r->states,
                             .action = r->action + row * (size_t)r->actions,
                             .reward = r->reward + row};
}

fc_replay_episode fc_replay_put(fc_replay *r) {
  return fc_replay_get(r, r->count++ % r->capacity);
}

/* ---- checkpoints: the critics as fc_descent keeps them, the rest as vectors -------------------
 */

enum { VECTORS = 7 };
typedef struct {
  const char *path, *meaning;
  float *x;
  int64_t n;
} vector;

static void vectors_of(const fc_td3 *t, const fc_replay *r, vector v[VECTORS]) {
  const fc_optimizer *o = fc_descent_optimizer(t->actor_descent);
  const int64_t rows = fc_replay_held(r) * r->rounds, actor = (int64_t)t->actor_count;
  const int64_t state = (int64_t)fc_optimizer_state_count(&o->settings, t->actor_count);
  const vector all[VECTORS] = {
      {"/state/actor", "weights of the actor", t->actor, actor},
      {"/state/actor_optimizer", "state of its optimiser", o->state, state},
      {"/state/actor_target", "weights of its target", t->actor_target, actor},
      {"/state/critics_target", "weights of both critics' targets", t->critics_target,
       2 * (int64_t)t->critic_count},
      {"/state/replay_state", "recorded states", r->state, rows * r->states},
      {"/state/replay_action", "recorded actions", r->action, rows * r->actions},
      {"/state/replay_reward", "recorded rewards", r->reward, rows},
  };
  for (int i = 0; i < VECTORS; i++) v[i] = all[i];
}

void fc_td3_put(const fc_td3 *t, const fc_replay *r, const fc_comm *comm, fc_store_file *f,
                const char *key, double number) {
  vector v[VECTORS];
  vectors_of(t, r, v);
  fc_descent_put(t->critic_descent, f, key, t->critics, number);
  fc_store_put_number(f, "/state", "updates", (double)t->updates);
  fc_store_put_number(f, "/state", "reward_mean", t->reward_mean);
  fc_store_put_number(f, "/state", "reward_deviation", t->reward_deviation);
  fc_store_put_number(f, "/state", "episodes", (double)r->count);
  for (int i = 0; i < VECTORS; i++) {
    int64_t first = 0, own = 0;
    fc_comm_share(v[i].n, comm->size, comm->rank, &first, &own);
    fc_store_put_f32(f, v[i].path, "", v[i].meaning, v[i].x + first, first, own, v[i].n);
  }
}

fc_err fc_td3_get(fc_td3 *t, fc_replay *r, const fc_store_reader *from, const char *path,
                  const char *key, double *number) {
  vector v[VECTORS];
  double updates = 0, episodes = 0;
  FC_TRY(fc_descent_get(t->critic_descent, from, path, key, t->critics, number));
  FC_TRY(fc_store_get_number(from, "/state", "updates", &updates));
  FC_TRY(fc_store_get_number(from, "/state", "episodes", &episodes));
  FC_TRY(fc_store_get_number(from, "/state", "reward_mean", &t->reward_mean));
  FC_TRY(fc_store_get_number(from, "/state", "reward_deviation", &t->reward_deviation));
  FC_CHECK(updates >= 0 && episodes >= 0 && episodes < 1e15, DATA, "%s: %g updates, %g episodes",
           path, updates, episodes);
  t->updates = (int64_t)updates;
  r->count = (int64_t)episodes;
  fc_descent_optimizer(t->actor_descent)->step = t->updates / t->set.delay;
  vectors_of(t, r, v);
  for (int i = 0; i < VECTORS; i++) FC_TRY(fc_store_get_f32(from, v[i].path, 0, v[i].n, v[i].x));
  return FC_ERR_OK;
}
