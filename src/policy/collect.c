/* collect.c - trajectories of the real environment, for the learned one and the policy's warm start
 * [TELLM, Algorithm 1].
 *
 * Each is a function of the configuration and its number. In a wave every rank runs one; what all
 * have finished is shared, so that a checkpoint holds the first trajectories whatever the ranks. */
#include "fedcell/fc_policy.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_timer.h"
#include <math.h>
#include <string.h>
#include <unistd.h>

FC_OPTION_CHOICES(explorer_name, "random", "habitual")

static const fc_option trajectories_options[] = {
    {"trajectories.count", FC_OPT_INT, "", "600", 1, 1e6, NULL,
     "Episodes of the real environment that are recorded."},
    {"trajectories.random", FC_OPT_REAL, "", "0.5", 0, 1, NULL,
     "Share of them in which devices are selected at random; in the others by the eps-greedy "
     "tool."},
    {"trajectories.explorer", FC_OPT_CHOICE, "", "habitual", FC_OPTION_ANY, explorer_name,
     "The agent that selects at random. `random`, as the paper has it, hardly ever shows what a "
     "model comes to that the same few devices teach in every round."},
    {"trajectories.seed", FC_OPT_INT, "", "1000", 0, 9007199254740991.0, NULL,
     "Seed of the first one; the following count on. Policies should be judged on others."},
};
const fc_option_table fc_trajectories_options = FC_OPTION_TABLE(
    "trajectories: episodes that the policy's environment is learned from", trajectories_options);

static const double CHECKPOINT_S = 30; /* at most so often */

typedef struct {
  const fc_comm *comm;
  const fc_config *cfg;
  const fc_scenario *scenario;
  const char *checkpoint; /* NULL: none */
  volatile sig_atomic_t *stop;
  fc_environment *environment;
  fc_agent *random, *tool;
  uint8_t *select;
  fc_trajectories *t;
} collection;

/* ---- one trajectory -------------------------------------------------------------------------- */

/* *finished false: a stop is wanted. */
static fc_err run_episode(collection *c, int i, bool *finished) {
  fc_agent *agent = c->t->by_tool[i] ? c->tool : c->random;
  const int which = 0;
  fc_choice choice = {.select = c->select};
  const fc_decision decision = {.select = c->select};
  *finished = false;
  FC_TRY(fc_agent_begin(agent, &c->t->episode[i], 1));
  FC_TRY(fc_environment_reset(c->environment, &c->t->episode[i]));
  while (!fc_environment_is_over(c->environment)) {
    const fc_fl_state *state = fc_environment_state(c->environment, 0);
    const int64_t round = state->round;
    fc_outcome outcome;
    if (c->stop && *c->stop) return FC_ERR_OK;
    fc_trajectories_put_state(c->t, i, state);
    FC_TRY(fc_agent_choose(agent, &state, &which, 1, &choice));
    FC_TRY(fc_environment_step(c->environment, &decision, &outcome));
    fc_trajectories_put_step(c->t, i, round, c->select, fc_environment_service(c->environment, 0),
                             &outcome);
  }
  fc_trajectories_put_state(c->t, i, fc_environment_state(c->environment, 0));
  *finished = true;
  return FC_ERR_OK;
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* The arrays of trajectories and how many bytes of each are one trajectory's. */
typedef struct {
  char *array;
  size_t bytes;
} field;
enum { FIELDS = 7 };

static void list_fields(const fc_trajectories *t, field f[FIELDS]) {
  const size_t K = (size_t)t->rounds, N = (size_t)t->devices;
  const field all[FIELDS] = {
      {(char *)t->accuracy, (K + 1) * sizeof *t->accuracy},
      {(char *)t->statistics, (K + 1) * N * FC_STATISTICS * sizeof *t->statistics},
      {(char *)t->selected, K * N},
      {(char *)t->served, K * N},
      {(char *)t->reward, K * sizeof *t->reward},
      {(char *)t->energy_j, K * sizeof *t->energy_j},
      {(char *)t->time_s, K * sizeof *t->time_s},
  };
  memcpy(f, all, sizeof all);
}

/* Collective. Trajectory first + r, which rank r has, on all ranks. */
static fc_err share_wave(const collection *c, int first, int n) {
  field f[FIELDS];
  list_fields(c->t, f);
  for (int r = 0; r < n; r++)
    for (int k = 0; k < FIELDS; k++)
      FC_TRY(
          fc_comm_broadcast(c->comm, f[k].array + (size_t)(first + r) * f[k].bytes, f[k].bytes, r));
  return FC_ERR_OK;
}

/* Numbers from 0: the share of random ones is kept among the first n, whatever n. */
static void name_episodes(const fc_config *cfg, fc_trajectories *t) {
  const uint64_t seed = (uint64_t)fc_config_int(cfg, "trajectories.seed");
  const double by_tool = 1.0 - fc_config_real(cfg, "trajectories.random");
  for (int i = 0; i < t->n; i++) {
    t->episode[i] = (fc_episode){seed + (uint64_t)i, (uint64_t)i};
    t->by_tool[i] = floor((i + 1) * by_tool) > floor(i * by_tool);
  }
}

/* Collective. The first `done` trajectories. */
static fc_err write_checkpoint(const collection *c, int done) {
  fc_trajectories part = *c->t;
  part.n = done;
  return fc_trajectories_write(c->comm, &part, c->cfg, c->checkpoint);
}

static fc_err take_over(const fc_trajectories *then, fc_trajectories *t, const char *path,
                        int *done) {
  field from[FIELDS], to[FIELDS];
  *done = then->n < t->n ? then->n : t->n;
  for (int i = 0; i < *done; i++)
    FC_CHECK(then->episode[i].seed == t->episode[i].seed && then->by_tool[i] == t->by_tool[i],
             USAGE, "%s was made with other trajectories.*; remove it to start anew", path);
  list_fields(then, from);
  list_fields(t, to);
  for (int k = 0; k < FIELDS; k++) memcpy(to[k].array, from[k].array, (size_t)*done * to[k].bytes);
  return FC_ERR_OK;
}

/* Collective. *done: trajectories of an earlier call. */
static fc_err read_checkpoint(collection *c, int *done) {
  fc_trajectories *then = NULL;
  int64_t there = c->checkpoint && access(c->checkpoint, R_OK) == 0;
  *done = 0;
  FC_TRY(fc_comm_broadcast(c->comm, &there, sizeof there, 0));
  if (!there) return FC_ERR_OK;
  fc_err err = fc_trajectories_read(c->scenario, c->checkpoint, &then);
  if (err == FC_ERR_OK) err = take_over(then, c->t, c->checkpoint, done);
  fc_trajectories_destroy(&then);
  return fc_agree(c->comm, err);
}

/* Collective. *next: the first trajectory after the wave, or the wave's own if a stop was wanted.
 */
static fc_err run_wave(collection *c, int *next, bool *stop, bool *due, double *written_s) {
  const int left = c->t->n - *next, n = left < c->comm->size ? left : c->comm->size;
  bool finished = true;
  fc_err err = FC_ERR_OK;
  if (c->comm->rank < n) err = run_episode(c, *next + c->comm->rank, &finished);
  FC_TRY(fc_agree(c->comm, err));
  /* a signal may have reached some ranks only; rank 0's clock is the one that counts */
  const double now_s = fc_wall_time_s();
  double flags[] = {!finished, (c->stop && *c->stop) || !finished,
                    c->comm->rank == 0 && now_s - *written_s > CHECKPOINT_S};
  FC_TRY(fc_comm_max(c->comm, flags, 3));
  if (flags[0] == 0) {
    FC_TRY(share_wave(c, *next, n));
    *next += n;
  }
  *stop = flags[1] > 0 && *next < c->t->n;
  *due = flags[2] > 0;
  if (*due) *written_s = now_s;
  return FC_ERR_OK;
}

static fc_err run_all(collection *c, void (*on_trajectory)(void *, int64_t, int64_t), void *arg) {
  int next = 0;
  double written_s = fc_wall_time_s();
  FC_TRY(read_checkpoint(c, &next));
  while (next < c->t->n) {
    bool stop = false, due = false;
    FC_TRY(run_wave(c, &next, &stop, &due, &written_s));
    if (on_trajectory) on_trajectory(arg, next, c->t->n);
    if (c->checkpoint && next > 0 && next < c->t->n && (stop || due))
      FC_TRY(write_checkpoint(c, next));
    FC_CHECK(!stop, STOPPED, "stopped on request after %d of %d trajectories", next, c->t->n);
  }
  return FC_ERR_OK;
}

static fc_err prepare(collection *c) {
  const fc_environment_settings *set = fc_scenario_settings(c->scenario);
  const fc_agent_context context = {.cfg = c->cfg,
                                    .scenario = c->scenario,
                                    .seed = (uint64_t)fc_config_int(c->cfg, "trajectories.seed"),
                                    .episodes = 1};
  FC_TRY(
      fc_trajectories_create(c->scenario, (int)fc_config_int(c->cfg, "trajectories.count"), &c->t));
  name_episodes(c->cfg, c->t);
  FC_TRY(fc_alloc((size_t)set->devices, 1, &c->select));
  FC_TRY(fc_environment_open_real(c->scenario, 1, &c->environment));
  FC_TRY(fc_agent_create(fc_config_string(c->cfg, "trajectories.explorer"), &context, &c->random));
  return fc_agent_create("eps-greedy", &context, &c->tool);
}

fc_err fc_policy_collect(const fc_comm *comm, const fc_config *cfg, const fc_scenario *s,
                         const char *checkpoint, volatile sig_atomic_t *stop,
                         void (*on_trajectory)(void *arg, int64_t done, int64_t all), void *arg,
                         fc_trajectories **out) {
  collection c = {.comm = comm, .cfg = cfg, .scenario = s, .checkpoint = checkpoint, .stop = stop};
  *out = NULL;
  fc_err err = fc_agree(comm, prepare(&c));
  if (err == FC_ERR_OK) err = run_all(&c, on_trajectory, arg);
  fc_agent_destroy(&c.random);
  fc_agent_destroy(&c.tool);
  fc_environment_close(&c.environment);
  fc_free(c.select);
  if (err == FC_ERR_OK) {
    *out = c.t;
  } else {
    fc_trajectories_destroy(&c.t);
  }
  return err;
}
