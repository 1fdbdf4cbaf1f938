/* agent_fldlt3.c - FL-DLT3's actor chooses devices, powers and frequencies; bands are equal, and
 * devices that then miss the deadline are dropped by the environment. */
#include "agent.h"
#include "fedcell/fc_mem.h"
#include "fldlt3.h"

typedef struct {
  bool greedy;
  fc_fldlt3 trained;
  fc_fldlt3_player player;
} actor;

static void destroy(void *own) {
  actor *a = own;
  fc_fldlt3_player_destroy(&a->player);
  fc_fldlt3_drop(&a->trained);
  fc_free(a);
}

static fc_err create(const fc_agent_context *c, void **own) {
  actor *a = NULL;
  FC_TRY(fc_alloc(1, sizeof *a, &a));
  a->greedy = c->greedy;
  fc_err err = fc_fldlt3_load(c->folder, c->scenario, &a->trained);
  if (err == FC_ERR_OK)
    err =
        fc_fldlt3_player_create(&a->trained.code, &a->trained.shape, c->episodes,
                                fc_config_real(c->cfg, "fldlt3.exploration"), c->seed, &a->player);
  if (err == FC_ERR_OK)
    *own = a;
  else
    destroy(a);
  return err;
}

static fc_err begin(void *own, const fc_episode *episode, int n) {
  fc_fldlt3_player_begin(&((actor *)own)->player, episode, n);
  return FC_ERR_OK;
}

static fc_err choose(void *own, const fc_fl_state *const *states, const int *which, int n,
                     fc_choice *choices) {
  actor *a = own;
  return fc_fldlt3_player_act(&a->player, a->trained.actor,
                              a->greedy ? FC_FLDLT3_GREEDY : FC_FLDLT3_NOISY, states, which, n,
                              choices);
}

const fc_agent_kind fc_agent_fldlt3 = {
    .name = "fldlt3",
    .meaning = "FL-DLT3: TD3 with an LSTM chooses devices, powers and frequencies, trained in the "
               "learned environment (fldlt3.*)",
    .allocates = true,
    .is_trained = true,
    .create = create,
    .destroy = destroy,
    .begin = begin,
    .choose = choose,
};
