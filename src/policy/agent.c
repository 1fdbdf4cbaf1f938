/* agent.c - the table of agents; a new one is one descriptor and one line in agents.def. */
#include "agent.h"
#include "fedcell/fc_mem.h"
#include <assert.h>
#include <math.h>
#include <string.h>

#define AGENT(name) extern const fc_agent_kind fc_agent_##name;
#include "agents.def"
#undef AGENT

static const fc_agent_kind *const agents[] = {
#define AGENT(name) &fc_agent_##name,
#include "agents.def"
#undef AGENT
};
enum { AGENTS = sizeof agents / sizeof agents[0] };

const char *fc_agent_name(size_t i) {
  return i < AGENTS ? agents[i]->name : NULL;
}

const char *fc_agent_meaning(size_t i) {
  return i < AGENTS ? agents[i]->meaning : NULL;
}

const fc_agent_kind *fc_agent_find(const char *name) {
  for (size_t i = 0; i < AGENTS; i++)
    if (strcmp(agents[i]->name, name) == 0) return agents[i];
  return NULL;
}

int fc_agent_share(double share, int devices) {
  const double n = ceil(share * devices - 1e-9); /* 0.28 of 25 is 7, not 8 */
  return n < 1 ? 1 : (int)n;
}

/* ---- one agent ------------------------------------------------------------------------------- */

struct fc_agent {
  const fc_agent_kind *kind;
  void *own;
  int devices, episodes;
};

static fc_err check_context(const fc_agent_kind *kind, const fc_agent_context *c) {
  FC_CHECK(!kind->is_trained || c->folder, USAGE, "%s: has to be trained first", kind->name);
  FC_CHECK(!kind->tries || c->environment, USAGE, "%s: needs an environment to try in", kind->name);
  return FC_ERR_OK;
}

fc_err fc_agent_create(const char *name, const fc_agent_context *c, fc_agent **out) {
  const fc_agent_kind *kind = fc_agent_find(name);
  *out = NULL;
  if (!kind) {
    const char *near = fc_nearest_name(name, fc_agent_name);
    return fc_fail(FC_ERR_USAGE, "%s: no such agent%s%s", name, near ? "; did you mean " : "",
                   near ? near : "");
  }
  FC_TRY(check_context(kind, c));
  fc_agent *a = NULL;
  FC_TRY(fc_alloc(1, sizeof *a, &a));
  a->kind = kind;
  a->devices = fc_scenario_settings(c->scenario)->devices;
  a->episodes = c->episodes;
  fc_err err = kind->create(c, &a->own);
  if (err == FC_ERR_OK)
    *out = a;
  else
    fc_free(a);
  return err;
}

void fc_agent_destroy(fc_agent **a) {
  if (!*a) return;
  (*a)->kind->destroy((*a)->own);
  fc_free(*a);
  *a = NULL;
}

const fc_agent_kind *fc_agent_get_kind(const fc_agent *a) {
  return a->kind;
}

fc_err fc_agent_begin(fc_agent *a, const fc_episode *episode, int n) {
  assert(n <= a->episodes);
  return a->kind->begin ? a->kind->begin(a->own, episode, n) : FC_ERR_OK;
}

fc_err fc_agent_choose(fc_agent *a, const fc_fl_state *const *states, const int *which, int n,
                       fc_choice *choices) {
  for (int i = 0; i < n; i++) {
    assert(which[i] < a->episodes);
    memset(choices[i].select, 0, (size_t)a->devices);
    choices[i].invalid = false;
  }
  return a->kind->choose(a->own, states, which, n, choices);
}
