/* agent_uniform.c - agents that look at nothing: a random part of the devices, or all of them. The
 * tool allocates, and drops whom it cannot serve. */
#include "agent.h"
#include "fedcell/fc_mem.h"
#include <string.h>

static const fc_option tool_options[] = {
    {"fedavg.fraction", FC_OPT_REAL, "", "0.4", 1e-9, 1, NULL,
     "Share of the devices that the agent `fedavg` selects, rounded up."},
};
const fc_option_table fc_tool_options = FC_OPTION_TABLE("fedavg: a random part", tool_options);

typedef struct {
  fc_agent_context context;
  int devices, fixed; /* fixed: how many the agent `fedavg` takes */
  fc_episode *episode;
  uint32_t *chosen; /* (devices) */
} uniform;

static void destroy(void *own) {
  uniform *u = own;
  fc_free(u->episode);
  fc_free(u->chosen);
  fc_free(u);
}

static fc_err create(const fc_agent_context *c, void **own) {
  uniform *u = NULL;
  FC_TRY(fc_alloc(1, sizeof *u, &u));
  u->context = *c;
  u->devices = fc_scenario_settings(c->scenario)->devices;
  u->fixed = fc_agent_share(fc_config_real(c->cfg, "fedavg.fraction"), u->devices);
  fc_err err = fc_alloc((size_t)c->episodes, sizeof *u->episode, &u->episode);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)u->devices, sizeof *u->chosen, &u->chosen);
  if (err == FC_ERR_OK)
    *own = u;
  else
    destroy(u);
  return err;
}

static fc_err begin(void *own, const fc_episode *episode, int n) {
  uniform *u = own;
  memcpy(u->episode, episode, (size_t)n * sizeof *episode);
  return FC_ERR_OK;
}

typedef int (*count_devices)(const uniform *u, fc_rng *rng);

static void choose(uniform *u, const fc_fl_state *const *states, const int *which, int n,
                   count_devices count, fc_choice *choices) {
  for (int i = 0; i < n; i++) {
    fc_rng rng = fc_agent_rng(&u->context, &u->episode[which[i]], states[i]->round);
    const int k = count(u, &rng);
    fc_rng_choose(&rng, (uint32_t)u->devices, (uint32_t)k, u->chosen);
    for (int d = 0; d < k; d++) choices[i].select[u->chosen[d]] = 1;
  }
}

/* ---- how many -------------------------------------------------------------------------------- */

static int fixed_number(const uniform *u, fc_rng *rng) {
  (void)rng;
  return u->fixed;
}

/* As many as the task asks for, or more. */
static int random_number(const uniform *u, fc_rng *rng) {
  const int least = fc_scenario_settings(u->context.scenario)->select_min;
  return least + (int)fc_rng_below(rng, (uint64_t)(u->devices - least + 1));
}

static int every_one(const uniform *u, fc_rng *rng) {
  (void)rng;
  return u->devices;
}

#define UNIFORM(id, number, its_meaning)                                                           \
  static fc_err choose_##id(void *own, const fc_fl_state *const *states, const int *which, int n,  \
                            fc_choice *choices) {                                                  \
    choose(own, states, which, n, number, choices);                                                \
    return FC_ERR_OK;                                                                              \
  }                                                                                                \
  const fc_agent_kind fc_agent_##id = {.name = #id,                                                \
                                       .meaning = (its_meaning),                                   \
                                       .create = create,                                           \
                                       .destroy = destroy,                                         \
                                       .begin = begin,                                             \
                                       .choose = choose_##id};
UNIFORM(fedavg, fixed_number,
        "a fixed share of the devices (fedavg.fraction), drawn anew in every round")
UNIFORM(random, random_number, "a random number of devices, at least as many as the task asks for")
UNIFORM(all, every_one, "all devices; the tool serves those that it can")
