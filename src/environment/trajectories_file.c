/* trajectories_file.c - trajectories on disk: a file as the results are, with long tables that any
 * data frame reads.
 *
 *   /trajectories   one row a trajectory: its episode and who chose
 *   /rounds         one row a trajectory and round: 0 is the state before the first
 *   /devices        one row a trajectory, round and device: what was seen after the round
 *   /profile        one row a device of the scenario
 *   /scenario       what the numbers depend on, as attributes: a reader compares it with its own
 *   /provenance     configuration, machine */
#include "environment.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_store.h"
#include "fedcell/fc_trajectory.h"
#include <limits.h>
#include <math.h>

static const fc_column round_columns[] = {
    {"trajectory", "", "number of the trajectory", FC_COLUMN_I32},
    {"round", "", "rounds done; 0: before the first", FC_COLUMN_I32},
    {"accuracy", "", "share of the test samples that the global model classifies", FC_COLUMN_F64},
    {"reward", "", "of the round, with environment.energy_offset_j", FC_COLUMN_F64},
    {"energy_j", "J", "energy that the participants spent", FC_COLUMN_F64},
    {"time_s", "s", "time that the round took", FC_COLUMN_F64},
};
static const fc_column device_columns[] = {
    {"trajectory", "", "number of the trajectory", FC_COLUMN_I32},
    {"round", "", "rounds done; 0: before the first", FC_COLUMN_I32},
    {"device", "", "number of the device", FC_COLUMN_I32},
    {"selected", "", "1: chosen for the round", FC_COLUMN_U8},
    {"served", "", "1: took part in it", FC_COLUMN_U8},
    {"loss", "nat", "of the global model on the device's probe samples", FC_COLUMN_F64},
    {"local_loss", "nat", "of its trained local model", FC_COLUMN_F64},
    {"alignment", "", "inner product of the local and the global gradient", FC_COLUMN_F64},
    {"same_sign", "", "share of weights whose sign local and global model share", FC_COLUMN_F64},
};
static const fc_column profile_columns[] = {
    {"samples", "", "train samples of the device", FC_COLUMN_F64},
    {"f_max_hz", "Hz", "highest processor frequency", FC_COLUMN_F64},
    {"p_max_w", "W", "highest transmit power", FC_COLUMN_F64},
};
enum { ACCURACY = 2, REWARD, ENERGY, TIME };    /* of round_columns */
enum { SELECTED = 3, SERVED, FIRST_STATISTIC }; /* of device_columns */
enum {
  ROUND_COLUMNS = sizeof round_columns / sizeof *round_columns,
  DEVICE_COLUMNS = sizeof device_columns / sizeof *device_columns,
  PROFILE_COLUMNS = sizeof profile_columns / sizeof *profile_columns,
  SETTINGS = 19
};

/* ---- the scenario ---------------------------------------------------------------------------- */

typedef struct {
  const char *name;
  double value;
} setting;

/* What recorded numbers depend on beside the devices. */
static void list_settings(const fc_scenario *s, setting out[SETTINGS]) {
  const fc_environment_settings *set = &s->set;
  const setting all[SETTINGS] = {{"devices", set->devices},
                                 {"rounds", (double)set->rounds},
                                 {"iterations", set->iterations},
                                 {"batch", set->batch},
                                 {"learning_rate", set->learning_rate},
                                 {"weights", (double)fc_cnn_weight_count(&set->cnn)},
                                 {"probe_samples", set->probe_samples},
                                 {"test_samples", (double)set->test_samples},
                                 {"normalise_by_all", set->normalise_by_all},
                                 {"standard_pixels", set->standard_pixels},
                                 {"cycles_per_sample", set->cycles_per_sample},
                                 {"switched_capacitance", set->switched_capacitance},
                                 {"bandwidth_hz", set->bandwidth_hz},
                                 {"noise_psd_w_per_hz", set->noise_psd_w_per_hz},
                                 {"model_bits", set->model_bits},
                                 {"deadline_s", set->deadline_s},
                                 {"allocation", set->allocation},
                                 {"sigma", set->sigma},
                                 {"energy_offset_j", set->energy_offset_j}};
  for (int i = 0; i < SETTINGS; i++) out[i] = all[i];
}

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct {
  fc_table *rounds, *devices, *profile;
} tables;

static fc_err tables_create(tables *t) {
  FC_TRY(fc_table_create(round_columns, ROUND_COLUMNS, &t->rounds));
  FC_TRY(fc_table_create(device_columns, DEVICE_COLUMNS, &t->devices));
  return fc_table_create(profile_columns, PROFILE_COLUMNS, &t->profile);
}

static void tables_destroy(tables *t) {
  fc_table_destroy(&t->rounds);
  fc_table_destroy(&t->devices);
  fc_table_destroy(&t->profile);
}

/* What was seen after `round` rounds of trajectory i, and what came of the last of them. */
static fc_err append(const fc_trajectories *t, int64_t i, int64_t round, const tables *to) {
  const int64_t seen = i * (t->rounds + 1) + round, done = i * t->rounds + round - 1;
  const bool first = round == 0;
  const double values[ROUND_COLUMNS] = {(double)i,
                                        (double)round,
                                        t->accuracy[seen],
                                        first ? NAN : t->reward[done],
                                        first ? NAN : t->energy_j[done],
                                        first ? NAN : t->time_s[done]};
  FC_TRY(fc_table_append(to->rounds, seen, values));
  for (int n = 0; n < t->devices; n++) {
    const int64_t row = seen * t->devices + n;
    const double *x = t->statistics + row * FC_STATISTICS;
    const double device[DEVICE_COLUMNS] = {(double)i,
                                           (double)round,
                                           n,
                                           first ? 0 : t->selected[done * t->devices + n],
                                           first ? 0 : t->served[done * t->devices + n],
                                           x[0],
                                           x[1],
                                           x[2],
                                           x[3]};
    FC_TRY(fc_table_append(to->devices, row, device));
  }
  return FC_ERR_OK;
}

static fc_err fill(const fc_comm *comm, const fc_trajectories *t, const tables *to) {
  const fc_scenario *s = t->scenario;
  int64_t first, own;
  fc_comm_share(t->n, comm->size, comm->rank, &first, &own);
  for (int64_t i = first; i < first + own; i++)
    for (int64_t round = 0; round <= t->rounds; round++) FC_TRY(append(t, i, round, to));
  for (int n = 0; n < t->devices && comm->rank == 0; n++)
    FC_TRY(fc_table_append(to->profile, n,
                           (const double[]){s->samples[n], s->f_max_hz[n], s->p_max_w[n]}));
  return FC_ERR_OK;
}

/* The k-th column of /trajectories of this rank's own. */
static void put_episodes(const fc_comm *comm, const fc_trajectories *t, int64_t *x,
                         fc_store_file *f) {
  static const struct {
    const char *path, *description;
  } column[] = {{"/trajectories/seed", "of the episode: channels, the classifier's start"},
                {"/trajectories/id", "of the episode"},
                {"/trajectories/by_tool", "1: the eps-greedy tool chose, 0: at random"}};
  int64_t first, own;
  fc_comm_share(t->n, comm->size, comm->rank, &first, &own);
  for (int c = 0; c < 3; c++) {
    for (int64_t i = 0; i < own; i++) {
      const fc_episode *e = &t->episode[first + i];
      x[i] = c == 0 ? (int64_t)e->seed : c == 1 ? (int64_t)e->id : t->by_tool[first + i];
    }
    fc_store_put_i64(f, column[c].path, "", column[c].description, x, first, own, t->n);
  }
}

static void put_scenario(const fc_trajectories *t, const char *config, const fc_comm *comm,
                         fc_store_file *f) {
  setting settings[SETTINGS];
  list_settings(t->scenario, settings);
  for (int i = 0; i < SETTINGS; i++)
    fc_store_put_number(f, "/scenario", settings[i].name, settings[i].value);
  fc_store_put_text(f, "/provenance", "config", config);
  fc_store_put_machine(f, comm);
}

fc_err fc_trajectories_write(const fc_comm *comm, const fc_trajectories *t, const fc_config *cfg,
                             const char *path) {
  tables made = {0};
  fc_store_file *f = NULL;
  char *config = NULL;
  int64_t *numbers = NULL;
  fc_err err = tables_create(&made);
  if (err == FC_ERR_OK) err = fill(comm, t, &made);
  if (err == FC_ERR_OK) err = fc_config_dump(cfg, &config);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)t->n, sizeof *numbers, &numbers);
  FC_TRY_GOTO(err, fc_agree(comm, err), done);
  FC_TRY_GOTO(err, fc_store_write_begin(comm, path, &f), done);
  fc_store_put_table(f, "/rounds", made.rounds);
  fc_store_put_table(f, "/devices", made.devices);
  fc_store_put_table(f, "/profile", made.profile);
  put_episodes(comm, t, numbers, f);
  put_scenario(t, config, comm, f);
  err = fc_store_write_end(&f);
done:
  tables_destroy(&made);
  fc_free(config);
  fc_free(numbers);
  return err;
}

/* ---- reading --------------------------------------------------------------------------------- */

static fc_err check_settings(const fc_scenario *s, const fc_store_reader *r, const char *path) {
  setting own[SETTINGS];
  list_settings(s, own);
  for (int i = 0; i < SETTINGS; i++) {
    double there;
    FC_TRY(fc_store_get_number(r, "/scenario", own[i].name, &there));
    FC_CHECK(there == own[i].value, DATA,
             "%s is of another scenario: its %s is %.17g, here it is %.17g", path, own[i].name,
             there, own[i].value);
  }
  return FC_ERR_OK;
}

static fc_err check_profile(const fc_scenario *s, const fc_store_reader *r, fc_table *profile,
                            const char *path) {
  const double *const own[PROFILE_COLUMNS] = {s->samples, s->f_max_hz, s->p_max_w};
  FC_TRY(fc_store_get_table(r, "/profile", 0, s->set.devices, profile));
  for (int n = 0; n < s->set.devices; n++)
    for (int c = 0; c < PROFILE_COLUMNS; c++) {
      const double there = fc_table_get(profile, (size_t)n, (size_t)c);
      FC_CHECK(there == own[c][n], DATA,
               "%s is of another scenario: its device %d has a %s of %.17g, here it has %.17g",
               path, n, profile_columns[c].name, there, own[c][n]);
    }
  return FC_ERR_OK;
}

static fc_err check_count(const fc_store_reader *r, const char *path, const char *dataset,
                          int64_t expected) {
  int64_t n;
  FC_TRY(fc_store_count(r, dataset, &n));
  FC_CHECK(n == expected, DATA, "%s: %s has %lld rows, expected %lld", path, dataset, (long long)n,
           (long long)expected);
  return FC_ERR_OK;
}

static fc_err read_episodes(const fc_store_reader *r, fc_trajectories *t) {
  int64_t *x;
  FC_TRY(fc_alloc((size_t)t->n, 3 * sizeof *x, &x));
  fc_err err = fc_store_get_i64(r, "/trajectories/seed", 0, t->n, x);
  if (err == FC_ERR_OK) err = fc_store_get_i64(r, "/trajectories/id", 0, t->n, x + t->n);
  if (err == FC_ERR_OK) err = fc_store_get_i64(r, "/trajectories/by_tool", 0, t->n, x + 2 * t->n);
  for (int i = 0; err == FC_ERR_OK && i < t->n; i++) {
    t->episode[i] = (fc_episode){.seed = (uint64_t)x[i], .id = (uint64_t)x[t->n + i]};
    t->by_tool[i] = x[2 * t->n + i] != 0;
  }
  fc_free(x);
  return err;
}

/* Trajectory i of the two long tables, which hold its rows. */
static void unpack(const tables *from, int64_t i, fc_trajectories *t) {
  for (int64_t round = 0; round <= t->rounds; round++) {
    const int64_t seen = i * (t->rounds + 1) + round, done = i * t->rounds + round - 1;
    t->accuracy[seen] = fc_table_get(from->rounds, (size_t)round, ACCURACY);
    if (round > 0) {
      t->reward[done] = fc_table_get(from->rounds, (size_t)round, REWARD);
      t->energy_j[done] = fc_table_get(from->rounds, (size_t)round, ENERGY);
      t->time_s[done] = fc_table_get(from->rounds, (size_t)round, TIME);
    }
    for (int n = 0; n < t->devices; n++) {
      const size_t row = (size_t)(round * t->devices + n);
      for (int k = 0; k < FC_STATISTICS; k++)
        t->statistics[(seen * t->devices + n) * FC_STATISTICS + k] =
            fc_table_get(from->devices, row, (size_t)(FIRST_STATISTIC + k));
      if (round == 0) continue;
      t->selected[done * t->devices + n] = fc_table_get(from->devices, row, SELECTED) != 0;
      t->served[done * t->devices + n] = fc_table_get(from->devices, row, SERVED) != 0;
    }
  }
}

static fc_err read_rows(const fc_store_reader *r, const char *path, const tables *work,
                        fc_trajectories *t) {
  const int64_t states = t->rounds + 1, rows = states * t->devices;
  FC_TRY(check_count(r, path, "/rounds/accuracy", t->n * states));
  FC_TRY(check_count(r, path, "/devices/loss", t->n * rows));
  for (int64_t i = 0; i < t->n; i++) {
    fc_table_clear(work->rounds);
    fc_table_clear(work->devices);
    FC_TRY(fc_store_get_table(r, "/rounds", i * states, states, work->rounds));
    FC_TRY(fc_store_get_table(r, "/devices", i * rows, rows, work->devices));
    unpack(work, i, t);
  }
  return FC_ERR_OK;
}

static fc_err read_file(const fc_scenario *s, const fc_store_reader *r, const char *path,
                        const tables *work, fc_trajectories **out) {
  int64_t n;
  FC_TRY(check_settings(s, r, path));
  FC_TRY(check_profile(s, r, work->profile, path));
  FC_TRY(fc_store_count(r, "/trajectories/seed", &n));
  FC_CHECK(n >= 1 && n <= INT_MAX, DATA, "%s holds %lld trajectories", path, (long long)n);
  FC_TRY(fc_trajectories_create(s, (int)n, out));
  FC_TRY(read_episodes(r, *out));
  return read_rows(r, path, work, *out);
}

fc_err fc_trajectories_read(const fc_scenario *s, const char *path, fc_trajectories **out) {
  fc_store_reader *r;
  tables work = {0};
  *out = NULL;
  FC_TRY(fc_store_open(path, &r));
  fc_err err = tables_create(&work);
  if (err == FC_ERR_OK) err = read_file(s, r, path, &work, out);
  tables_destroy(&work);
  fc_store_close(&r);
  if (err != FC_ERR_OK) fc_trajectories_destroy(out);
  return err;
}
