/* agent.h - what the files of the agents share. */
#ifndef POLICY_AGENT_H
#define POLICY_AGENT_H

#include "fedcell/fc_agent.h"
#include "fedcell/fc_rng.h"

/* What an agent draws for a round of an episode: of no other episode, round or seed. */
static inline fc_rng fc_agent_rng(const fc_agent_context *c, const fc_episode *e, int64_t round) {
  return fc_rng_open(c->seed, FC_RNG_CHOICE, e->id << 32 | (uint64_t)round, e->seed);
}

/* Devices of a fixed share, at least one. */
int fc_agent_share(double share, int devices);

#endif
