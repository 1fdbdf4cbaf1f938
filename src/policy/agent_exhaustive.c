/* agent_exhaustive.c - the best subset of the round by its true reward: a yardstick, greedy in
 * time.
 *
 * A subset that cannot all be served brings what its served part brings, which is a subset of its
 * own; so only those are tried that can. Accuracy is at most 1, which bounds a subset's reward by
 * its energy: in the order of that bound the search ends once it falls below the best reward. */
#include "agent.h"
#include "fedcell/fc_mem.h"
#include <stdlib.h>

enum { DEVICES_MAX = 12 };

typedef struct {
  unsigned subset; /* bit d: device d */
  double bound;
} candidate;

typedef struct {
  fc_agent_context context;
  int devices;
  fc_service *service;
  candidate *candidates; /* (2^devices) */
} exhaustive;

static void destroy(void *own) {
  exhaustive *x = own;
  fc_service_destroy(&x->service);
  fc_free(x->candidates);
  fc_free(x);
}

static fc_err create(const fc_agent_context *c, void **own) {
  const int devices = fc_scenario_settings(c->scenario)->devices;
  exhaustive *x = NULL;
  FC_CHECK(devices <= DEVICES_MAX, USAGE,
           "exhaustive: tries all subsets of at most %d devices, not of %d", DEVICES_MAX, devices);
  FC_TRY(fc_alloc(1, sizeof *x, &x));
  x->context = *c;
  x->devices = devices;
  fc_err err = fc_service_create(devices, &x->service);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)1 << devices, sizeof(candidate), &x->candidates);
  if (err == FC_ERR_OK)
    *own = x;
  else
    destroy(x);
  return err;
}

static void to_select(unsigned subset, int devices, uint8_t *select) {
  for (int d = 0; d < devices; d++) select[d] = subset >> d & 1;
}

static int by_bound(const void *a, const void *b) {
  const candidate *x = a, *y = b;
  if (x->bound != y->bound) return x->bound > y->bound ? -1 : 1;
  return x->subset < y->subset ? -1 : 1;
}

/* *n candidates: the subsets that can be served, most promising first. */
static fc_err list_candidates(exhaustive *x, const fc_fl_state *state, int *n) {
  const fc_scenario *s = x->context.scenario;
  uint8_t select[DEVICES_MAX];
  const fc_decision decision = {.select = select};
  *n = 0;
  for (unsigned subset = 1; subset < 1u << x->devices; subset++) {
    to_select(subset, x->devices, select);
    FC_TRY(fc_scenario_serve(s, state, &decision, x->service));
    if (x->service->served == x->service->selected)
      x->candidates[(*n)++] = (candidate){subset, fc_scenario_outcome(s, x->service, 1.0).reward};
  }
  qsort(x->candidates, (size_t)*n, sizeof(candidate), by_bound);
  return FC_ERR_OK;
}

/* *best: the subset; none at all where an idle round brings most. */
static fc_err find_best(exhaustive *x, const fc_fl_state *state, int episode, unsigned *best) {
  double most = fc_scenario_settings(x->context.scenario)->idle_reward;
  uint8_t select[DEVICES_MAX];
  const fc_decision decision = {.select = select};
  int n = 0;
  *best = 0;
  FC_TRY(list_candidates(x, state, &n));
  for (int i = 0; i < n && x->candidates[i].bound > most; i++) {
    fc_outcome outcome;
    to_select(x->candidates[i].subset, x->devices, select);
    FC_TRY(fc_environment_peek(x->context.environment, episode, &decision, &outcome));
    if (outcome.reward <= most) continue;
    most = outcome.reward;
    *best = x->candidates[i].subset;
  }
  return FC_ERR_OK;
}

static fc_err choose(void *own, const fc_fl_state *const *states, const int *which, int n,
                     fc_choice *choices) {
  exhaustive *x = own;
  for (int i = 0; i < n; i++) {
    unsigned best = 0;
    FC_TRY(find_best(x, states[i], which[i], &best));
    to_select(best, x->devices, choices[i].select);
  }
  return FC_ERR_OK;
}

const fc_agent_kind fc_agent_exhaustive = {
    .name = "exhaustive",
    .meaning =
        "the subset with the largest reward of the round, by trying all (at most 12 devices)",
    .tries = true,
    .create = create,
    .destroy = destroy,
    .choose = choose,
};
