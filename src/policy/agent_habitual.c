/* agent_habitual.c - random devices by habit. In an episode each device has a weight exp(s z), z
 * normal; the habit's strength s, from 0 to the option's, is the episode's too. A round's devices
 * are drawn by these weights without replacement: those of the largest s z + Gumbel noise. Their
 * number is the episode's own, but for a new one in one of 1 + s rounds.
 *
 * Trajectories of such choices tell what becomes of a model that some devices have never taught,
 * which choices drawn anew in every round do not, and what a policy that learns to prefer cheap
 * devices has to know. */
#include "agent.h"
#include "fedcell/fc_mem.h"
#include <math.h>
#include <string.h>

static const fc_option options[] = {
    {"habitual.strength", FC_OPT_REAL, "", "6", 0, 1000, NULL,
     "Largest strength of an episode's habit. 0: all devices are drawn alike, as by the agent "
     "`random`; 6: an episode may have the same devices in nearly every round."},
};
const fc_option_table fc_habitual_options =
    FC_OPTION_TABLE("habitual: random devices, some of them more often", options);

typedef struct {
  fc_agent_context context;
  int devices, least;
  double strength;
  fc_episode *episode;
  double *score; /* (devices) of a round */
} habitual;

static void destroy(void *own) {
  habitual *h = own;
  fc_free(h->episode);
  fc_free(h->score);
  fc_free(h);
}

static fc_err create(const fc_agent_context *c, void **own) {
  habitual *h = NULL;
  FC_TRY(fc_alloc(1, sizeof *h, &h));
  *h = (habitual){.context = *c,
                  .devices = fc_scenario_settings(c->scenario)->devices,
                  .least = fc_scenario_settings(c->scenario)->select_min,
                  .strength = fc_config_real(c->cfg, "habitual.strength")};
  fc_err err = fc_alloc((size_t)c->episodes, sizeof *h->episode, &h->episode);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)h->devices, sizeof *h->score, &h->score);
  if (err == FC_ERR_OK)
    *own = h;
  else
    destroy(h);
  return err;
}

static fc_err begin(void *own, const fc_episode *episode, int n) {
  habitual *h = own;
  memcpy(h->episode, episode, (size_t)n * sizeof *episode);
  return FC_ERR_OK;
}

/* What an episode's rounds have in common: drawn for round 0. */
typedef struct {
  double strength;
  int number;
  fc_rng rng; /* goes on to the devices' weights */
} habit;

static int draw_number(const habitual *h, fc_rng *rng) {
  return h->least + (int)fc_rng_below(rng, (uint64_t)(h->devices - h->least + 1));
}

static habit habit_of(const habitual *h, const fc_episode *e) {
  habit x = {.rng = fc_agent_rng(&h->context, e, 0)};
  x.strength = h->strength * fc_rng_uniform(&x.rng);
  x.number = draw_number(h, &x.rng);
  return x;
}

static void select_best(habitual *h, int k, uint8_t *select) {
  for (; k > 0; k--) {
    int best = 0;
    for (int d = 1; d < h->devices; d++)
      if (h->score[d] > h->score[best]) best = d;
    select[best] = 1;
    h->score[best] = -INFINITY;
  }
}

static void choose_round(habitual *h, const fc_episode *e, int64_t round, uint8_t *select) {
  habit x = habit_of(h, e);
  fc_rng rng = fc_agent_rng(&h->context, e, round);
  const bool is_new = (1 + x.strength) * fc_rng_uniform(&rng) < 1;
  const int k = is_new ? draw_number(h, &rng) : x.number;
  for (int d = 0; d < h->devices; d++) /* -log of an exponential is Gumbel */
    h->score[d] = x.strength * fc_rng_normal(&x.rng) - log(fc_rng_exponential(&rng));
  select_best(h, k, select);
}

static fc_err choose(void *own, const fc_fl_state *const *states, const int *which, int n,
                     fc_choice *choices) {
  habitual *h = own;
  for (int i = 0; i < n; i++)
    choose_round(h, &h->episode[which[i]], states[i]->round, choices[i].select);
  return FC_ERR_OK;
}

const fc_agent_kind fc_agent_habitual = {
    .name = "habitual",
    .meaning = "a random number of devices, some of them more often than others all through an "
               "episode (habitual.strength)",
    .create = create,
    .destroy = destroy,
    .begin = begin,
    .choose = choose};
