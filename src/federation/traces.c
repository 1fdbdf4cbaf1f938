/* traces.c - the cell with its devices' profiles and channels from wherever population.trace and
 * cell.trace say: the cell reads CSV itself, HDF5 is read here. A result file's /profile and
 * /participation can so be given to another run, which then has the same devices and channels. */
#include "federation.h"
#include <string.h>

enum { COLUMNS_MAX = 16 };

/* The columns of a group, column after column, as far as they are there. */
typedef struct {
  const char *path, *group;
  const char *name[COLUMNS_MAX];
  double *value;
  fc_trace_table table;
} columns;

static bool is_hdf5(const char *path) {
  size_t n = strlen(path);
  return n > 3 && strcmp(path + n - 3, ".h5") == 0;
}

static fc_err read_column(const fc_store_reader *r, const char *name, columns *c) {
  fc_trace_table *t = &c->table;
  char *dataset = NULL;
  int64_t rows = 0;
  FC_TRY(fc_format(&dataset, "%s/%s", c->group, name));
  fc_err err = FC_ERR_OK;
  if (!fc_store_has(r, dataset)) goto done;
  FC_TRY_GOTO(err, fc_store_count(r, dataset, &rows), done);
  if (t->columns == 0) t->rows = (uint32_t)rows;
  if (rows < 1 || rows >= UINT32_MAX || (uint32_t)rows != t->rows)
    err = fc_fail(FC_ERR_DATA, "%s: %s has %lld rows, expected %u", c->path, dataset,
                  (long long)rows, t->rows);
  size_t before = t->columns * (size_t)t->rows;
  if (err == FC_ERR_OK) err = fc_realloc(before + (size_t)t->rows, sizeof *c->value, &c->value);
  if (err == FC_ERR_OK) err = fc_store_get_f64(r, dataset, 0, rows, c->value + before);
  if (err == FC_ERR_OK) c->name[t->columns++] = name;
done:
  fc_free(dataset);
  return err;
}

/* Nothing where the option's file is none of HDF5. */
static fc_err read_columns(const fc_config *cfg, const char *option, const char *group,
                           fc_option_choice name, columns *c) {
  fc_store_reader *r = NULL;
  *c = (columns){.path = fc_config_string(cfg, option), .group = group};
  if (!is_hdf5(c->path)) return FC_ERR_OK;
  fc_err err = fc_store_open(c->path, &r);
  for (size_t i = 0; err == FC_ERR_OK && i < COLUMNS_MAX && name(i); i++)
    err = read_column(r, name(i), c);
  fc_store_close(&r);
  FC_TRY(err);
  FC_CHECK(c->table.columns > 0, DATA, "%s: %s has none of the columns of %s", c->path, group,
           option);
  c->table.name = c->name;
  c->table.value = c->value;
  return FC_ERR_OK;
}

fc_err fc_traces_cell(fc_config *cfg, fc_cell **cell) {
  columns profiles = {0}, channels = {0};
  *cell = NULL;
  fc_err err = read_columns(cfg, "population.trace", "/profile", fc_cell_profile_column, &profiles);
  if (err == FC_ERR_OK)
    err = read_columns(cfg, "cell.trace", "/participation", fc_cell_channel_column, &channels);
  if (err == FC_ERR_OK)
    err = fc_cell_create_with(cfg, (uint64_t)fc_config_int(cfg, "seed"),
                              profiles.table.columns ? &profiles.table : NULL,
                              channels.table.columns ? &channels.table : NULL, cell);
  fc_free(profiles.value);
  fc_free(channels.value);
  return err;
}
