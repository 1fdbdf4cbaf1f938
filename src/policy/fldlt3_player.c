/* fldlt3_player.c - the actor plays episodes side by side, in training and in trials. */
#include "fedcell/fc_mem.h"
#include "fldlt3.h"
#include <math.h>
#include <string.h>

fc_err fc_fldlt3_player_create(const fc_fldlt3_code *code, const fc_recurrent_shape *actor,
                               int episodes, double noise, uint64_t seed, fc_fldlt3_player *p) {
  const size_t n = (size_t)episodes, H = (size_t)actor->hidden;
  *p = (fc_fldlt3_player){.code = code,
                          .shape = *actor,
                          .states = actor->a,
                          .actions = actor->b - actor->a,
                          .noise = noise,
                          .seed = seed};
  FC_TRY(fc_recurrent_create(actor, episodes, 1, false, &p->network));
  FC_TRY(fc_alloc(n, sizeof *p->episode, &p->episode));
  FC_TRY(fc_alloc((size_t)actor->a, sizeof *p->room, &p->room));
  FC_TRY(fc_alloc(n * H, sizeof(float), &p->h));
  FC_TRY(fc_alloc(n * H, sizeof(float), &p->c));
  FC_TRY(fc_alloc(n * H, sizeof(float), &p->h_now));
  FC_TRY(fc_alloc(n * H, sizeof(float), &p->c_now));
  FC_TRY(fc_alloc(n * (size_t)p->actions, sizeof(float), &p->last));
  FC_TRY(fc_alloc(n * (size_t)p->actions, sizeof(float), &p->action));
  FC_TRY(fc_alloc(n * (size_t)actor->a, sizeof(float), &p->state));
  return fc_alloc(n * (size_t)actor->b, sizeof(float), &p->past);
}

void fc_fldlt3_player_destroy(fc_fldlt3_player *p) {
  fc_recurrent_destroy(&p->network);
  float *const all[] = {p->h, p->c, p->h_now, p->c_now, p->last, p->action, p->state, p->past};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) fc_free(all[i]);
  fc_free(p->episode);
  fc_free(p->room);
  *p = (fc_fldlt3_player){0};
}

void fc_fldlt3_player_begin(fc_fldlt3_player *p, const fc_episode *episode, int n) {
  const size_t H = (size_t)n * (size_t)p->shape.hidden;
  memcpy(p->episode, episode, (size_t)n * sizeof *episode);
  memset(p->h, 0, H * sizeof *p->h);
  memset(p->c, 0, H * sizeof *p->c);
  memset(p->last, 0, (size_t)n * (size_t)p->actions * sizeof *p->last);
}

/* What the network reads of the i-th listed episode. */
static fc_err lay(fc_fldlt3_player *p, const fc_fl_state *state, int which, int i) {
  const size_t S = (size_t)p->states, A = (size_t)p->actions, H = (size_t)p->shape.hidden;
  float *x = p->state + (size_t)i * S, *past = p->past + (size_t)i * (S + A);
  FC_TRY(fc_fldlt3_encode(p->code, state, p->room, x));
  memcpy(past, x, S * sizeof *x);
  memcpy(past + S, p->last + (size_t)which * A, A * sizeof *x);
  memcpy(p->h_now + (size_t)i * H, p->h + (size_t)which * H, H * sizeof *x);
  memcpy(p->c_now + (size_t)i * H, p->c + (size_t)which * H, H * sizeof *x);
  return FC_ERR_OK;
}

/* action (A) from the actor's outputs. */
static void pick(const fc_fldlt3_player *p, fc_fldlt3_way way, const fc_episode *e, int64_t round,
                 const float *out, float *action) {
  fc_rng rng = fc_rng_open(p->seed, FC_RNG_EXPLORATION, e->id << 32 | (uint64_t)round, e->seed);
  for (int k = 0; k < p->actions; k++) {
    action[k] = tanhf(out[k]);
    if (way == FC_FLDLT3_NOISY) action[k] += (float)(p->noise * fc_rng_normal(&rng));
    if (way == FC_FLDLT3_RANDOM) action[k] = (float)(2 * fc_rng_uniform(&rng) - 1);
    action[k] = action[k] > 1 ? 1 : action[k] < -1 ? -1 : action[k]; /* NaN stays */
  }
}

fc_err fc_fldlt3_player_act(fc_fldlt3_player *p, const float *actor, fc_fldlt3_way way,
                            const fc_fl_state *const *states, const int *which, int n,
                            fc_choice *choices) {
  const size_t A = (size_t)p->actions, H = (size_t)p->shape.hidden;
  for (int i = 0; i < n; i++) FC_TRY(lay(p, states[i], which[i], i));
  const float *out = fc_recurrent_step(p->network, actor, p->state, p->past, n, p->h_now, p->c_now);
  for (int i = 0; i < n; i++) {
    const size_t at = (size_t)which[i], now = (size_t)i;
    float *action = p->action + now * A;
    pick(p, way, &p->episode[at], states[i]->round, out + now * (size_t)p->shape.outputs, action);
    memcpy(p->last + at * A, action, A * sizeof *action);
    memcpy(p->h + at * H, p->h_now + now * H, H * sizeof *p->h);
    memcpy(p->c + at * H, p->c_now + now * H, H * sizeof *p->c);
    fc_fldlt3_decide(states[i], action, &choices[i]);
  }
  return FC_ERR_OK;
}
