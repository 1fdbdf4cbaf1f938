/* fc_agent.h - who chooses the devices: tools, learned policies, one table.
 *
 *   fc_agent_create(comm, "eps-greedy", &context, &agent);
 *   fc_agent_begin(agent, episodes, n);
 *   fc_agent_choose(agent, states, which, n, choices);     // each round, for any of the episodes
 *
 * An agent keeps a memory of each episode where it needs one (Oort's utilities, an LSTM's state).
 * It draws from (seed of the context, CHOICE or GENERATION, round, episode), so a choice depends on
 * its own episode alone. */
#ifndef FC_AGENT_H
#define FC_AGENT_H

#include "fedcell/fc_environment.h"

typedef struct {
  const fc_config *cfg;
  const fc_scenario *scenario;
  uint64_t seed;
  int episodes;                /* at most so many at a time */
  bool greedy;                 /* the likeliest action, no exploration: in evaluation */
  const char *folder;          /* of the trained policy (fc_policy.h), NULL: none */
  fc_environment *environment; /* for `exhaustive`, which tries before it chooses; else NULL */
} fc_agent_context;

/* Of one episode and round; arrays (N), the caller's. */
typedef struct {
  uint8_t *select;
  double *frequency_hz, *power_w; /* filled by agents that allocate, else not touched */
  bool invalid;                   /* the answer was no selection; select is all 0 */
} fc_choice;

typedef struct {
  const char *name, *meaning;
  bool allocates;  /* gives frequency and power itself */
  bool is_trained; /* needs what fc_policy_prepare makes */
  bool tries;      /* needs context->environment */
  bool speaks;     /* a language model: policy.precision matters */
  fc_err (*create)(const fc_agent_context *c, void **own);
  void (*destroy)(void *own);
  /* Forgets all; episode (n) of the rounds to come. NULL: nothing to forget. */
  fc_err (*begin)(void *own, const fc_episode *episode, int n);
  /* For the n episodes `which` (numbers given to begin), states (n), choices (n). */
  fc_err (*choose)(void *own, const fc_fl_state *const *states, const int *which, int n,
                   fc_choice *choices);
} fc_agent_kind;
const char *fc_agent_name(size_t i); /* NULL past the end */
const char *fc_agent_meaning(size_t i);
const fc_agent_kind *fc_agent_find(const char *name);

typedef struct fc_agent fc_agent;
/* Local. */
fc_err fc_agent_create(const char *name, const fc_agent_context *c, fc_agent **out);
void fc_agent_destroy(fc_agent **a); /* accepts NULL */
const fc_agent_kind *fc_agent_get_kind(const fc_agent *a);
fc_err fc_agent_begin(fc_agent *a, const fc_episode *episode, int n);
fc_err fc_agent_choose(fc_agent *a, const fc_fl_state *const *states, const int *which, int n,
                       fc_choice *choices);

extern const fc_option_table fc_tool_options;       /* fedavg.* */
extern const fc_option_table fc_habitual_options;   /* habitual.* */
extern const fc_option_table fc_eps_greedy_options; /* eps_greedy.* */

#endif
