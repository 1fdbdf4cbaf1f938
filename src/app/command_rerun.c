/* command_rerun.c - fedcell rerun: the run of a result file's own configuration once more, and
 * whether every dataset comes out the same, bit for bit. */
#include "app.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_store.h"
#include <math.h>
#include <string.h>
#include <unistd.h>

/* First value that differs between two datasets of n and m doubles, -1 if none; NaN equals NaN. */
static int64_t first_difference(const double *x, int64_t n, const double *y, int64_t m) {
  for (int64_t i = 0; i < n && i < m; i++)
    if (!(x[i] == y[i] || (isnan(x[i]) && isnan(y[i])))) return i;
  return n == m ? -1 : n < m ? n : m;
}

static fc_err compare_dataset(const fc_store_reader *a, const fc_store_reader *b, const char *path,
                              int64_t *differs) {
  int64_t n = 0, m = 0;
  double *x = NULL, *y = NULL;
  FC_TRY(fc_store_count(a, path, &n));
  FC_TRY(fc_store_count(b, path, &m));
  fc_err err = fc_alloc((size_t)n, sizeof *x, &x);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)m, sizeof *y, &y);
  if (err == FC_ERR_OK) err = fc_store_get_f64(a, path, 0, n, x);
  if (err == FC_ERR_OK) err = fc_store_get_f64(b, path, 0, m, y);
  if (err == FC_ERR_OK) *differs = first_difference(x, n, y, m);
  fc_free(x);
  fc_free(y);
  return err;
}

typedef struct {
  const fc_store_reader *then, *now;
  fc_err err;
  int64_t datasets, differing;
} comparison;

/* Which never repeats itself. */
static bool is_wall_clock(const char *path) {
  static const char ending[] = "wall_time_s";
  size_t n = strlen(path), m = strlen(ending);
  return n >= m && strcmp(path + n - m, ending) == 0;
}

static void compare_one(void *arg, const char *path, const char *unit, const char *description,
                        int64_t count) {
  comparison *c = arg;
  (void)unit;
  (void)description;
  (void)count;
  int64_t differs = -1;
  if (c->err != FC_ERR_OK || is_wall_clock(path)) return;
  c->err = compare_dataset(c->then, c->now, path, &differs);
  c->datasets++;
  if (c->err != FC_ERR_OK || differs < 0) return;
  c->differing++;
  fc_app_say("%s differs from element %lld on\n", path, (long long)differs);
}

static fc_err compare_files(const char *then, const char *now, comparison *c) {
  fc_store_reader *a = NULL, *b = NULL;
  fc_err err = fc_store_open(then, &a);
  if (err == FC_ERR_OK) err = fc_store_open(now, &b);
  *c = (comparison){.then = a, .now = b};
  if (err == FC_ERR_OK) err = fc_store_visit(a, compare_one, c);
  if (err == FC_ERR_OK) err = c->err;
  fc_store_close(&a);
  fc_store_close(&b);
  return err;
}

static fc_err compare(const char *then, const char *now) {
  comparison c;
  FC_TRY(compare_files(then, now, &c));
  FC_CHECK(c.differing == 0, NUMERIC,
           "%s does not agree: %lld of %lld datasets differ; the new run is %s", then,
           (long long)c.differing, (long long)c.datasets, now);
  fc_app_say("%s agrees: all %lld datasets are the same\n", then, (long long)c.datasets);
  unlink(now);
  return FC_ERR_OK;
}

static fc_err rerun(const fc_comm *comm, const fc_arguments *a, fc_config *cfg) {
  char output[FC_PATH_SIZE];
  int n = snprintf(output, sizeof output, "%s.rerun.h5", a->operand);
  fc_err err = FC_ERR_OK;
  if (n >= FC_PATH_SIZE) err = fc_fail(FC_ERR_USAGE, "%s: the path is too long", a->operand);
  if (err == FC_ERR_OK && comm->rank == 0) err = fc_output_make_folders(output);
  FC_TRY(fc_agree(comm, err));
  FC_TRY(fc_study_of(cfg)->run(comm, cfg, a, output, NULL));
  return comm->rank == 0 ? compare(a->operand, output) : FC_ERR_OK;
}

fc_err fc_command_rerun(const fc_comm *comm, const fc_arguments *a) {
  fc_config *cfg = NULL;
  fc_err err = fc_result_config(comm, a->operand, &cfg);
  if (err == FC_ERR_OK) err = rerun(comm, a, cfg);
  fc_config_destroy(&cfg);
  return err;
}
