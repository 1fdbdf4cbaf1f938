/* profiles.c - the cell with its devices' profiles from wherever population.trace says: the cell
 * reads CSV itself, HDF5 is read here. A result file's /profile can so be given to another run,
 * which then has the same devices. */
#include "federation.h"
#include <string.h>

enum { COLUMNS_MAX = 16 };

static bool is_hdf5(const char *path) {
  size_t n = strlen(path);
  return n > 3 && strcmp(path + n - 3, ".h5") == 0;
}

/* /profile/<name> below the columns that are there; nothing where the file has none of that name.
 */
static fc_err read_column(const fc_store_reader *r, const char *path, const char *name,
                          fc_profile_table *t, const char **names, double **value) {
  char *dataset = NULL;
  int64_t rows = 0;
  FC_TRY(fc_format(&dataset, "/profile/%s", name));
  fc_err err = FC_ERR_OK;
  if (!fc_store_has(r, dataset)) goto done;
  FC_TRY_GOTO(err, fc_store_count(r, dataset, &rows), done);
  if (t->columns == 0) t->rows = (uint32_t)rows;
  if (rows < 1 || rows >= UINT32_MAX || (uint32_t)rows != t->rows)
    err = fc_fail(FC_ERR_DATA, "%s: %s has %lld rows, expected %u", path, dataset, (long long)rows,
                  t->rows);
  if (err == FC_ERR_OK) err = fc_realloc((t->columns + 1) * (size_t)t->rows, sizeof **value, value);
  if (err == FC_ERR_OK)
    err = fc_store_get_f64(r, dataset, 0, rows, *value + t->columns * (size_t)t->rows);
  if (err == FC_ERR_OK) names[t->columns++] = name;
done:
  fc_free(dataset);
  return err;
}

static fc_err read_columns(const char *path, fc_profile_table *t, const char **names,
                           double **value) {
  fc_store_reader *r = NULL;
  fc_err err = fc_store_open(path, &r);
  for (size_t i = 0; err == FC_ERR_OK && i < COLUMNS_MAX && fc_cell_profile_column(i); i++)
    err = read_column(r, path, fc_cell_profile_column(i), t, names, value);
  fc_store_close(&r);
  FC_TRY(err);
  FC_CHECK(t->columns > 0, DATA, "%s: /profile has no column of a device's profile", path);
  return FC_ERR_OK;
}

fc_err fc_profiles_cell(fc_config *cfg, fc_cell **cell) {
  const char *path = fc_config_string(cfg, "population.trace"), *names[COLUMNS_MAX];
  uint64_t seed = (uint64_t)fc_config_int(cfg, "seed");
  *cell = NULL;
  if (!is_hdf5(path)) return fc_cell_create(cfg, seed, cell);
  double *value = NULL;
  fc_profile_table table = {.name = names};
  fc_err err = read_columns(path, &table, names, &value);
  table.value = value;
  if (err == FC_ERR_OK) err = fc_cell_create_with(cfg, seed, &table, cell);
  fc_free(value);
  return err;
}
