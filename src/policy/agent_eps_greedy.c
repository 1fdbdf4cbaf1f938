/* agent_eps_greedy.c - the eps-greedy tool of [TELLM, VI-A]: Oort (oort.h) with known costs and a
 * price on energy; ALTD allocates.
 *
 * Costs are those at a band of B/select_min. A device's energy is what the tool would have it
 * spend. Its time is the shortest that it could keep, at f_max and p_max: the tool itself lets
 * everybody take until the deadline, by which no device could be told from another. */
#include "agent.h"
#include "oort.h"
#include "fedcell/fc_mem.h"
#include <math.h>
#include <string.h>

static const fc_option eps_greedy_options[] = {
    {"eps_greedy.devices", FC_OPT_INT, "", "0", 0, 1e6, NULL,
     "Devices selected in a round; 0: 40 %, and at least environment.select_min."},
    {"eps_greedy.exploration", FC_OPT_REAL, "", "0.9", 0, 1, NULL,
     "Share of them that have not been tried yet, at the start."},
    {"eps_greedy.exploration_decay", FC_OPT_REAL, "", "0.95", 0, 1, NULL,
     "By which the share is multiplied in every round."},
    {"eps_greedy.exploration_min", FC_OPT_REAL, "", "0.2", 0, 1, NULL,
     "Least share; once all devices have been tried it is 0."},
    {"eps_greedy.clip", FC_OPT_REAL, "", "0.98", 1e-9, 1, NULL,
     "Percentile at which utilities are clipped."},
    {"eps_greedy.uncertainty", FC_OPT_REAL, "", "0.1", 0, 1e9, NULL,
     "Weight c of the term sqrt(c ln t / L), for devices that were last selected in round L."},
    {"eps_greedy.round_threshold", FC_OPT_REAL, "%", "10", 0, 100, NULL,
     "Percentile of the devices' times and energies above which a device is penalised, at the "
     "start; 100: no penalty."},
    {"eps_greedy.time_penalty", FC_OPT_REAL, "", "2", 0, 100, NULL,
     "Exponent alpha of the penalty (T/t)^alpha on time."},
    {"eps_greedy.energy_penalty", FC_OPT_REAL, "", "2", 0, 100, NULL,
     "Exponent kappa of the penalty (E/e)^kappa on energy."},
    {"eps_greedy.pacer_rounds", FC_OPT_INT, "rounds", "20", 1, 1e6, NULL,
     "After so many rounds the threshold is moved, if utilities have become flat or jumped."},
    {"eps_greedy.pacer_delta", FC_OPT_REAL, "%", "5", 0, 100, NULL,
     "By which the threshold is moved."},
    {"eps_greedy.cut_off", FC_OPT_REAL, "", "0.7", 0, 1, NULL,
     "Devices are drawn that have this share of the score at which the best ones end."},
    {"eps_greedy.window", FC_OPT_INT, "", "5", 1, 1e6, NULL,
     "New devices are drawn among the best so many times as many."},
    {"eps_greedy.blacklist_rounds", FC_OPT_INT, "rounds", "-1", -1, 1e9, NULL,
     "A device that took part more often is not selected any more; -1: no such limit."},
    {"eps_greedy.blacklist_share", FC_OPT_REAL, "", "0.3", 0, 1, NULL,
     "Largest share of the devices that may be left out so."},
};
const fc_option_table fc_eps_greedy_options =
    FC_OPTION_TABLE("eps_greedy: the eps-greedy tool", eps_greedy_options);

static fc_oort_settings read_settings(const fc_config *cfg, const fc_environment_settings *e) {
  const int64_t given = fc_config_int(cfg, "eps_greedy.devices");
  const int share = fc_agent_share(0.4, e->devices);
  const int64_t wanted = given > 0 ? given : share > e->select_min ? share : e->select_min;
  return (fc_oort_settings){
      .wanted = wanted < e->devices ? (int)wanted : e->devices,
      .exploration = fc_config_real(cfg, "eps_greedy.exploration"),
      .exploration_decay = fc_config_real(cfg, "eps_greedy.exploration_decay"),
      .exploration_min = fc_config_real(cfg, "eps_greedy.exploration_min"),
      .clip = fc_config_real(cfg, "eps_greedy.clip"),
      .uncertainty = fc_config_real(cfg, "eps_greedy.uncertainty"),
      .time_penalty = fc_config_real(cfg, "eps_greedy.time_penalty"),
      .energy_penalty = fc_config_real(cfg, "eps_greedy.energy_penalty"),
      .cut_off = fc_config_real(cfg, "eps_greedy.cut_off"),
      .window = (int)fc_config_int(cfg, "eps_greedy.window"),
      .threshold = fc_config_real(cfg, "eps_greedy.round_threshold"),
      .pacer_delta = fc_config_real(cfg, "eps_greedy.pacer_delta"),
      .pacer_rounds = (int)fc_config_int(cfg, "eps_greedy.pacer_rounds"),
      .blacklist_rounds = fc_config_int(cfg, "eps_greedy.blacklist_rounds"),
      .blacklist_share = fc_config_real(cfg, "eps_greedy.blacklist_share"),
  };
}

/* ---- the agent ------------------------------------------------------------------------------- */

typedef struct {
  fc_agent_context context;
  fc_oort_settings settings;
  int devices;
  fc_episode *episode; /* (context.episodes) */
  fc_oort **memory;    /* (context.episodes) */
  fc_fl_state *costs;  /* of nobody having taken part: all at B/select_min */
  double *time_s, *energy_j;
} eps_greedy;

static void destroy(void *own) {
  eps_greedy *g = own;
  for (int i = 0; g->memory && i < g->context.episodes; i++) fc_oort_destroy(&g->memory[i]);
  fc_free(g->memory);
  fc_free(g->episode);
  fc_fl_state_destroy(&g->costs);
  fc_free(g->time_s);
  fc_free(g->energy_j);
  fc_free(g);
}

static fc_err make_room(eps_greedy *g) {
  const size_t n = (size_t)g->devices, episodes = (size_t)g->context.episodes;
  FC_TRY(fc_alloc(episodes, sizeof *g->episode, &g->episode));
  FC_TRY(fc_alloc(episodes, sizeof(void *), &g->memory));
  FC_TRY(fc_alloc(n, sizeof *g->time_s, &g->time_s));
  FC_TRY(fc_alloc(n, sizeof *g->energy_j, &g->energy_j));
  FC_TRY(fc_fl_state_create(g->context.scenario, &g->costs));
  for (size_t i = 0; i < episodes; i++)
    FC_TRY(fc_oort_create(&g->settings, g->devices, &g->memory[i]));
  return FC_ERR_OK;
}

static fc_err create(const fc_agent_context *c, void **own) {
  const fc_environment_settings *e = fc_scenario_settings(c->scenario);
  eps_greedy *g = NULL;
  FC_TRY(fc_alloc(1, sizeof *g, &g));
  g->context = *c;
  g->settings = read_settings(c->cfg, e);
  g->devices = e->devices;
  fc_err err = make_room(g);
  if (err == FC_ERR_OK)
    *own = g;
  else
    destroy(g);
  return err;
}

static fc_err begin(void *own, const fc_episode *episode, int n) {
  eps_greedy *g = own;
  memcpy(g->episode, episode, (size_t)n * sizeof *episode);
  for (int i = 0; i < n; i++) fc_oort_forget(&g->settings, g->memory[i]);
  return FC_ERR_OK;
}

/* Seconds at f_max and p_max with B/select_min, [TELLM (5), (7), (8)]. */
static double shortest_time(const fc_environment_settings *e, const fc_fl_state *s, int d) {
  const double band = e->bandwidth_hz / e->select_min;
  const double snr = s->p_max_w[d] * s->gain[d] / (e->noise_psd_w_per_hz * band);
  return e->cycles_per_sample * s->samples[d] * e->iterations / s->f_max_hz[d] +
         e->model_bits / (band * log2(1.0 + snr));
}

static fc_err find_costs(eps_greedy *g, const fc_episode *episode, int64_t round) {
  const fc_environment_settings *e = fc_scenario_settings(g->context.scenario);
  FC_TRY(fc_scenario_observe(g->context.scenario, episode, round, NULL, g->costs));
  for (int d = 0; d < g->devices; d++) {
    g->time_s[d] = shortest_time(e, g->costs, d);
    g->energy_j[d] = g->costs->com_j[d] + g->costs->cmp_j[d];
  }
  return FC_ERR_OK;
}

static fc_err choose(void *own, const fc_fl_state *const *states, const int *which, int n,
                     fc_choice *choices) {
  eps_greedy *g = own;
  for (int i = 0; i < n; i++) {
    const fc_fl_state *s = states[i];
    const fc_episode *episode = &g->episode[which[i]];
    fc_oort *memory = g->memory[which[i]];
    fc_rng rng = fc_agent_rng(&g->context, episode, s->round);
    FC_TRY(find_costs(g, episode, s->round));
    fc_oort_learn(&g->settings, memory, s->round, s->samples, s->loss_rms);
    fc_oort_pace(&g->settings, memory, s->round);
    fc_oort_choose(&g->settings, memory, s->round, s->samples, g->time_s, g->energy_j, &rng,
                   choices[i].select);
  }
  return FC_ERR_OK;
}

const fc_agent_kind fc_agent_eps_greedy = {
    .name = "eps-greedy",
    .meaning = "Oort's utility with known times and energies: exploits the best devices, explores "
               "new ones (eps_greedy.*)",
    .create = create,
    .destroy = destroy,
    .begin = begin,
    .choose = choose,
};
