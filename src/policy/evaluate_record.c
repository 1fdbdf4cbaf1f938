/* evaluate_record.c - what a policy's trials write down: a row a round, a row a device and round, a
 * row a device. The columns are tables; nothing else knows them. */
#include "evaluate.h"
#include "fedcell/fc_mem.h"
#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const fc_column round_columns[FC_TRIAL_COLUMNS] = {
    {"trial", "", "number of the trial; its episode has the seed of the run plus this",
     FC_COLUMN_I64},
    {"round", "",
     "number of the round; 0 is the state before training, in the learned environment that of a "
     "recorded trajectory",
     FC_COLUMN_I64},
    {"reward", "", "of the round [TELLM (12)], with the energy offset", FC_COLUMN_F64},
    {"printed_reward", "", "of the round, without the offset, as printed", FC_COLUMN_F64},
    {"cwpem", "", "rewards since the start [TELLM (13a)]", FC_COLUMN_F64},
    {"printed_cwpem", "", "rewards as printed since the start", FC_COLUMN_F64},
    {"test_accuracy", "",
     "share of right answers on the test part; in the learned environment as it predicts it",
     FC_COLUMN_F64},
    {"energy_j", "J", "energy of all participants in this round", FC_COLUMN_F64},
    {"total_energy_j", "J", "energy since the start", FC_COLUMN_F64},
    {"round_time_s", "s", "simulated time of this round: the slowest participant's", FC_COLUMN_F64},
    {"sim_time_s", "s", "simulated time since the start", FC_COLUMN_F64},
    {"selected", "", "devices that the agent chose", FC_COLUMN_I64},
    {"served", "", "devices of them that could meet the deadline and took part", FC_COLUMN_I64},
    {"invalid", "", "1: the agent's answer was no selection", FC_COLUMN_U8},
    {"wall_time_s", "s", "what choosing and simulating took", FC_COLUMN_F64},
};

static const fc_column participation_columns[] = {
    {"trial", "", "number of the trial", FC_COLUMN_I64},
    {"round", "", "number of the round", FC_COLUMN_I64},
    {"device", "", "number of the device", FC_COLUMN_I64},
    {"selected", "", "1: the agent chose it", FC_COLUMN_U8},
    {"served", "", "1: it took part", FC_COLUMN_U8},
    {"gain", "", "power gain of its channel", FC_COLUMN_F64},
    {"loss", "nat",
     "loss of the global model on its data, before the round; in the learned environment as it "
     "predicts it",
     FC_COLUMN_F64},
    {"frequency_hz", "Hz", "processor frequency; 0: took no part", FC_COLUMN_F64},
    {"power_w", "W", "transmit power; 0: took no part", FC_COLUMN_F64},
    {"bandwidth_hz", "Hz", "share of the band; 0: took no part", FC_COLUMN_F64},
    {"time_s", "s", "of computing and upload", FC_COLUMN_F64},
    {"com_j", "J", "energy of the upload", FC_COLUMN_F64},
    {"cmp_j", "J", "energy of computing", FC_COLUMN_F64},
};

static const fc_column profile_columns[] = {
    {"device", "", "number of the device", FC_COLUMN_I64},
    {"samples", "", "training samples", FC_COLUMN_I64},
    {"f_max_hz", "Hz", "highest processor frequency", FC_COLUMN_F64},
    {"p_max_w", "W", "highest transmit power", FC_COLUMN_F64},
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
enum { PARTICIPATION_COLUMNS = COUNT_OF(participation_columns) };

const fc_column *fc_policy_result_column(size_t i, const char **group) {
  static const struct {
    const char *group;
    const fc_column *columns;
    size_t n;
  } tables[] = {
      {"/rounds", round_columns, COUNT_OF(round_columns)},
      {"/participation", participation_columns, COUNT_OF(participation_columns)},
      {"/profile", profile_columns, COUNT_OF(profile_columns)},
  };
  for (size_t t = 0; t < COUNT_OF(tables); i -= tables[t++].n) {
    *group = tables[t].group;
    if (i < tables[t].n) return &tables[t].columns[i];
  }
  return NULL;
}

static const fc_result_rule rules[] = {
    {"/rounds/trial", 0, 1e6, false, true, false},
    {"/rounds/round", 0, 1e6, false, false, false},
    {"/rounds/reward", -INFINITY, INFINITY, false, false, false},
    {"/rounds/cwpem", -INFINITY, INFINITY, false, false, false},
    {"/rounds/test_accuracy", 0, 1, false, false, false},
    {"/rounds/energy_j", 0, DBL_MAX, false, false, false},
    {"/rounds/sim_time_s", 0, DBL_MAX, false, false, false},
    {"/rounds/selected", 0, 1e6, false, false, false},
    {"/rounds/served", 0, 1e6, false, false, false},
    {"/rounds/invalid", 0, 1, false, false, false},
    {"/participation/trial", 0, 1e6, false, true, false},
    {"/participation/round", 1, 1e6, false, false, false},
    {"/participation/device", 0, 1e6, false, false, false},
    {"/participation/selected", 0, 1, false, false, false},
    {"/participation/served", 0, 1, false, false, false},
    {"/participation/gain", 0, 1, false, false, false},
    {"/participation/loss", 0, DBL_MAX, false, false, false},
    {"/participation/com_j", 0, DBL_MAX, false, false, false},
    {"/participation/cmp_j", 0, DBL_MAX, false, false, false},
    {"/profile/device", 0, 1e6, false, true, true},
    {"/profile/samples", 0, DBL_MAX, false, false, false},
    {"/profile/f_max_hz", 0, DBL_MAX, false, false, false},
    {"/profile/p_max_w", 0, DBL_MAX, false, false, false},
};

fc_err fc_policy_check_result(const char *path) {
  static const fc_result_schema schema = {.kind = "agent",
                                          .option = "policy.agent",
                                          .column = fc_policy_result_column,
                                          .rules = rules,
                                          .n_rules = COUNT_OF(rules),
                                          .tables = fc_policy_tables};
  return fc_result_check_as(path, &schema);
}

/* ---- in memory ------------------------------------------------------------------------------- */

fc_err fc_trials_create(const fc_scenario *s, int64_t trials, fc_trials *t) {
  const fc_environment_settings *set = fc_scenario_settings(s);
  const size_t rows = (size_t)trials * (size_t)(set->rounds + 1);
  *t = (fc_trials){.scenario = s, .trials = trials, .rounds = set->rounds, .devices = set->devices};
  FC_TRY(fc_alloc(rows * FC_TRIAL_COLUMNS, sizeof *t->round, &t->round));
  FC_TRY(fc_alloc((size_t)set->rounds * (size_t)set->devices * PARTICIPATION_COLUMNS,
                  sizeof *t->pending, &t->pending));
  return fc_table_create(participation_columns, PARTICIPATION_COLUMNS, &t->participation);
}

void fc_trials_destroy(fc_trials *t) {
  fc_free(t->round);
  fc_free(t->pending);
  fc_table_destroy(&t->participation);
}

static double *row_of(const fc_trials *t, int64_t trial, int64_t round) {
  return t->round + (trial * (t->rounds + 1) + round) * FC_TRIAL_COLUMNS;
}

const double *fc_trials_row(const fc_trials *t, int64_t trial, int64_t round) {
  return row_of(t, trial, round);
}

void fc_trials_put_start(fc_trials *t, int64_t trial, double accuracy) {
  double *row = row_of(t, trial, 0);
  memset(row, 0, FC_TRIAL_COLUMNS * sizeof *row);
  row[FC_TRIAL_TRIAL] = (double)trial;
  row[FC_TRIAL_TEST_ACCURACY] = accuracy;
}

static void put_devices(fc_trials *t, int64_t trial, const fc_fl_state *state,
                        const fc_choice *choice, const fc_service *s) {
  double *at = t->pending + (state->round - 1) * t->devices * PARTICIPATION_COLUMNS;
  for (int d = 0; d < t->devices; d++, at += PARTICIPATION_COLUMNS) {
    const double row[] = {(double)trial,      (double)state->round, d,
                          choice->select[d],  s->takes_part[d],     state->gain[d],
                          state->loss[d],     s->frequency_hz[d],   s->power_w[d],
                          s->bandwidth_hz[d], s->device_time_s[d],  s->com_j[d],
                          s->cmp_j[d]};
    _Static_assert(COUNT_OF(row) == PARTICIPATION_COLUMNS, "one value a column");
    memcpy(at, row, sizeof row);
  }
}

void fc_trials_put_round(fc_trials *t, int64_t trial, const fc_fl_state *state,
                         const fc_choice *choice, const fc_service *service, const fc_outcome *o,
                         double wall_time_s) {
  const int64_t round = state->round;
  const double *last = row_of(t, trial, round - 1);
  const double row[] = {(double)trial,
                        (double)round,
                        o->reward,
                        o->printed_reward,
                        last[FC_TRIAL_CWPEM] + o->reward,
                        last[FC_TRIAL_PRINTED_CWPEM] + o->printed_reward,
                        o->accuracy,
                        o->energy_j,
                        last[FC_TRIAL_TOTAL_ENERGY] + o->energy_j,
                        o->time_s,
                        last[FC_TRIAL_SIM_TIME] + o->time_s,
                        o->selected,
                        o->served,
                        choice->invalid,
                        wall_time_s};
  _Static_assert(COUNT_OF(row) == FC_TRIAL_COLUMNS, "one value a column");
  memcpy(row_of(t, trial, round), row, sizeof row);
  put_devices(t, trial, state, choice, service);
}

fc_err fc_trials_keep(fc_trials *t, int64_t trial) {
  const int64_t rows = t->rounds * t->devices;
  for (int64_t i = 0; i < rows; i++)
    FC_TRY(fc_table_append(t->participation, trial * rows + i,
                           t->pending + i * PARTICIPATION_COLUMNS));
  return FC_ERR_OK;
}

fc_err fc_trials_share(const fc_comm *comm, fc_trials *t, int64_t first, int64_t n) {
  const size_t bytes = (size_t)(t->rounds + 1) * FC_TRIAL_COLUMNS * sizeof *t->round;
  for (int r = 0; r < n; r++) FC_TRY(fc_comm_broadcast(comm, row_of(t, first + r, 0), bytes, r));
  return FC_ERR_OK;
}

/* ---- the file -------------------------------------------------------------------------------- */

/* Rank 0 writes what all have. */
static fc_err round_rows(const fc_comm *comm, const fc_trials *t, int64_t done, fc_table **out) {
  FC_TRY(fc_table_create(round_columns, FC_TRIAL_COLUMNS, out));
  const int64_t rows = comm->rank == 0 ? done * (t->rounds + 1) : 0;
  for (int64_t i = 0; i < rows; i++)
    FC_TRY(fc_table_append(*out, i, t->round + i * FC_TRIAL_COLUMNS));
  return FC_ERR_OK;
}

static fc_err profile_rows(const fc_comm *comm, const fc_trials *t, fc_table **out) {
  const double *samples = fc_scenario_samples(t->scenario);
  const double *f_max_hz = fc_scenario_f_max_hz(t->scenario);
  const double *p_max_w = fc_scenario_p_max_w(t->scenario);
  FC_TRY(fc_table_create(profile_columns, COUNT_OF(profile_columns), out));
  for (int d = 0; comm->rank == 0 && d < t->devices; d++) {
    const double row[] = {d, samples[d], f_max_hz[d], p_max_w[d]};
    FC_TRY(fc_table_append(*out, d, row));
  }
  return FC_ERR_OK;
}

/* Collective. The table, made by `err`'s maker, into the file. */
static void put_table(const fc_comm *comm, fc_store_file *f, const char *group, fc_table *table,
                      fc_err err) {
  err = fc_agree(comm, err);
  if (err == FC_ERR_OK)
    fc_store_put_table(f, group, table);
  else
    fc_store_put_failure(f, err);
  fc_table_destroy(&table);
}

/* Images of each class that a device holds. */
static void put_labels(const fc_comm *comm, const fc_trials *t, fc_store_file *f) {
  const int classes = fc_scenario_settings(t->scenario)->cnn.classes;
  const double *labels = fc_scenario_labels(t->scenario);
  const int64_t n = (int64_t)t->devices * classes;
  float *x = NULL;
  fc_err err = fc_agree(comm, fc_alloc((size_t)n, sizeof *x, &x));
  if (err == FC_ERR_OK) {
    for (int64_t i = 0; i < n; i++) x[i] = (float)labels[i];
    fc_store_put_matrix(f, "/profile", "labels", "training samples of each class, a row a device",
                        x, t->devices, classes);
  } else {
    fc_store_put_failure(f, err);
  }
  fc_free(x);
}

static void put_provenance(const fc_comm *comm, const fc_config *cfg, const fc_run_request *request,
                           fc_store_file *f) {
  const char *agent = fc_config_string(cfg, "policy.agent");
  char precision[64] = "f32";
  if (fc_agent_find(agent)->speaks && fc_llm_is_bf16(cfg))
    snprintf(precision, sizeof precision, "bf16, path %s", fc_k_bf16_path());
  fc_result_put_provenance(&(fc_provenance){.comm = comm,
                                            .cfg = cfg,
                                            .facts = request->facts,
                                            .n_facts = request->n_facts,
                                            .kind = "agent",
                                            .name = agent,
                                            .seed = (uint64_t)fc_config_int(cfg, "seed"),
                                            .precision = precision,
                                            .threads = omp_get_max_threads()},
                           f);
}

fc_err fc_trials_write(const fc_comm *comm, const fc_config *cfg, const fc_run_request *request,
                       const fc_trials *t, int64_t done, bool is_checkpoint, const char *path) {
  fc_store_file *f = NULL;
  fc_table *table = NULL;
  FC_TRY(fc_store_write_begin(comm, path, &f));
  put_provenance(comm, cfg, request, f);
  fc_err err = round_rows(comm, t, done, &table);
  put_table(comm, f, "/rounds", table, err);
  fc_store_put_table(f, "/participation", t->participation);
  if (is_checkpoint) {
    fc_store_put_number(f, "/state", "trials", (double)done);
  } else {
    table = NULL;
    err = profile_rows(comm, t, &table);
    put_table(comm, f, "/profile", table, err);
    put_labels(comm, t, f);
    fc_policy_put_logs(comm, cfg, f);
  }
  return fc_store_write_end(&f);
}

/* ---- going on -------------------------------------------------------------------------------- */

/* What may differ between a checkpoint's configuration and the one that continues it. */
static const char *const may_differ[] = {"evaluation.trials", "checkpoint.every_rounds",
                                         "model.cache", "model.scratch"};

static fc_err load_rounds(const fc_store_reader *r, fc_trials *t, int64_t done) {
  fc_table *table = NULL;
  const int64_t rows = done * (t->rounds + 1);
  FC_TRY(fc_table_create(round_columns, FC_TRIAL_COLUMNS, &table));
  fc_err err = fc_store_get_table(r, "/rounds", 0, rows, table);
  for (int64_t i = 0; i < rows && err == FC_ERR_OK; i++)
    for (size_t c = 0; c < FC_TRIAL_COLUMNS; c++)
      t->round[i * FC_TRIAL_COLUMNS + (int64_t)c] = fc_table_get(table, (size_t)i, c);
  fc_table_destroy(&table);
  return err;
}

static fc_err load(const fc_comm *comm, const fc_config *cfg, const fc_store_reader *r,
                   const char *path, fc_trials *t, int64_t *done) {
  double trials = 0;
  int64_t first = 0, count = 0;
  FC_TRY(fc_checkpoint_check(cfg, may_differ, COUNT_OF(may_differ), r, path));
  FC_TRY(fc_store_get_number(r, "/state", "trials", &trials));
  *done = trials < (double)t->trials ? (int64_t)trials : t->trials;
  FC_TRY(load_rounds(r, t, *done));
  fc_comm_share(*done * t->rounds * t->devices, comm->size, comm->rank, &first, &count);
  return fc_store_get_table(r, "/participation", first, count, t->participation);
}

fc_err fc_trials_read(const fc_comm *comm, const fc_config *cfg, const char *path, fc_trials *t,
                      int64_t *done) {
  /* one rank looks, so that all take the same way */
  int64_t there = access(path, R_OK) == 0;
  *done = 0;
  FC_TRY(fc_comm_broadcast(comm, &there, sizeof there, 0));
  if (!there) return FC_ERR_OK;
  fc_store_reader *r = NULL;
  fc_err err = fc_store_open(path, &r);
  if (err == FC_ERR_OK) err = load(comm, cfg, r, path, t, done);
  fc_store_close(&r);
  return fc_agree(comm, err);
}
