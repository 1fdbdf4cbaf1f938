/* environment.c - episodes side by side: what the real and the learned environment share. The
 * system part [TELLM, IV-B], who is served and what it takes, is computed here; the statistics are
 * the kind's. */
#include "environment.h"
#include "fedcell/fc_mem.h"
#include <assert.h>
#include <math.h>
#include <string.h>

struct fc_environment {
  const fc_scenario *s;
  const fc_environment_kind *kind;
  void *own;
  int episodes;
  int64_t round; /* that is next; all episodes are in the same */
  fc_episode *episode;
  fc_fl_state **state;
  fc_service **service, *tried;
  /* Of a step: the episodes in which somebody is served, packed. */
  int *which;
  uint8_t *select; /* (episodes, N) */
  fc_fl_state **moved;
};

/* ---- opening --------------------------------------------------------------------------------- */

static fc_err create(fc_environment *e) {
  const size_t n = (size_t)e->episodes;
  FC_TRY(fc_alloc(n, sizeof *e->episode, &e->episode));
  FC_TRY(fc_alloc(n, sizeof *e->state, &e->state));
  FC_TRY(fc_alloc(n, sizeof *e->service, &e->service));
  FC_TRY(fc_alloc(n, sizeof *e->which, &e->which));
  FC_TRY(fc_alloc(n, sizeof *e->moved, &e->moved));
  FC_TRY(fc_alloc(n * (size_t)e->s->set.devices, sizeof *e->select, &e->select));
  for (size_t i = 0; i < n; i++) {
    FC_TRY(fc_fl_state_create(e->s, &e->state[i]));
    FC_TRY(fc_service_create(e->s->set.devices, &e->service[i]));
  }
  return fc_service_create(e->s->set.devices, &e->tried);
}

fc_err fc_environment_open(const fc_scenario *s, int episodes, const fc_environment_kind *kind,
                           void *own, fc_environment **out) {
  assert(episodes >= 1);
  fc_environment *e;
  *out = NULL;
  const fc_err failed = fc_alloc(1, sizeof *e, &e);
  if (failed != FC_ERR_OK) {
    kind->destroy(own);
    return failed;
  }
  *e = (fc_environment){.s = s, .kind = kind, .own = own, .episodes = episodes};
  *out = e;
  const fc_err err = create(e);
  if (err != FC_ERR_OK) fc_environment_close(out);
  return err;
}

void fc_environment_close(fc_environment **environment) {
  fc_environment *e = *environment;
  if (!e) return;
  e->kind->destroy(e->own);
  for (int i = 0; i < e->episodes; i++) {
    if (e->state) fc_fl_state_destroy(&e->state[i]);
    if (e->service) fc_service_destroy(&e->service[i]);
  }
  fc_service_destroy(&e->tried);
  fc_free(e->episode);
  fc_free(e->state);
  fc_free(e->service);
  fc_free(e->which);
  fc_free(e->moved);
  fc_free(e->select);
  fc_free(e);
  *environment = NULL;
}

int fc_environment_episodes(const fc_environment *e) {
  return e->episodes;
}

const fc_scenario *fc_environment_scenario(const fc_environment *e) {
  return e->s;
}

bool fc_environment_is_over(const fc_environment *e) {
  return e->round > e->s->set.rounds;
}

const fc_fl_state *fc_environment_state(const fc_environment *e, int episode) {
  return e->state[episode];
}

const fc_service *fc_environment_service(const fc_environment *e, int episode) {
  return e->service[episode];
}

/* ---- moving ---------------------------------------------------------------------------------- */

fc_err fc_environment_reset(fc_environment *e, const fc_episode *episode) {
  memcpy(e->episode, episode, (size_t)e->episodes * sizeof *episode);
  e->round = 1;
  FC_TRY(e->kind->reset(e->own, e->episode, e->episodes, e->state));
  for (int i = 0; i < e->episodes; i++)
    FC_TRY(fc_scenario_observe(e->s, &e->episode[i], e->round, NULL, e->state[i]));
  return FC_ERR_OK;
}

/* Packs the episodes that move on; the others stay as they are, without participants. */
static int pack_moving(fc_environment *e) {
  const size_t devices = (size_t)e->s->set.devices;
  int n = 0;
  for (int i = 0; i < e->episodes; i++) {
    if (e->service[i]->served == 0) {
      fc_fl_state_no_participants(e->state[i]);
      continue;
    }
    memcpy(e->select + (size_t)n * devices, e->service[i]->takes_part, devices);
    e->moved[n] = e->state[i];
    e->which[n++] = i;
  }
  return n;
}

static fc_err check_accuracy(double accuracy) {
  FC_CHECK(accuracy >= 0 && accuracy <= 1, NUMERIC, "an accuracy of %g", accuracy);
  return FC_ERR_OK;
}

fc_err fc_environment_step(fc_environment *e, const fc_decision *decision, fc_outcome *outcome) {
  assert(!fc_environment_is_over(e));
  for (int i = 0; i < e->episodes; i++)
    FC_TRY(fc_scenario_serve(e->s, e->state[i], &decision[i], e->service[i]));
  const int moving = pack_moving(e);
  if (moving > 0) FC_TRY(e->kind->step(e->own, e->which, moving, e->select, e->moved));
  e->round++;
  for (int i = 0; i < e->episodes; i++) {
    FC_TRY(check_accuracy(e->state[i]->accuracy));
    outcome[i] = fc_scenario_outcome(e->s, e->service[i], e->state[i]->accuracy);
    FC_TRY(fc_scenario_observe(e->s, &e->episode[i], e->round, e->service[i], e->state[i]));
  }
  return FC_ERR_OK;
}

fc_err fc_environment_peek(fc_environment *e, int episode, const fc_decision *decision,
                           fc_outcome *outcome) {
  FC_CHECK(e->kind->peek, USAGE, "this environment cannot tell what a decision would bring");
  double accuracy = e->state[episode]->accuracy;
  FC_TRY(fc_scenario_serve(e->s, e->state[episode], decision, e->tried));
  if (e->tried->served > 0) FC_TRY(e->kind->peek(e->own, episode, e->tried->takes_part, &accuracy));
  FC_TRY(check_accuracy(accuracy));
  *outcome = fc_scenario_outcome(e->s, e->tried, accuracy);
  return FC_ERR_OK;
}
