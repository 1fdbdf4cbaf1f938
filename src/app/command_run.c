/* command_run.c - fedcell run, pretrain, rerun. */
#include "app.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_store.h"
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static volatile sig_atomic_t stop_wanted;

static void want_stop(int signal_number) {
  (void)signal_number;
  stop_wanted = 1;
}

static void catch_signals(void) {
  struct sigaction action = {.sa_handler = want_stop, .sa_flags = SA_RESTART};
  sigaction(SIGUSR1, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
}

/* ---- where the result goes
 * ------------------------------------------------------------------------ */

enum { PATH_SIZE = 4096 };

static fc_err default_output(const fc_config *cfg, char *path) {
  int n =
      snprintf(path, PATH_SIZE, "results/%s-%s-seed%lld.h5", fc_config_string(cfg, "experiment"),
               fc_config_string(cfg, "federation.method"), (long long)fc_config_int(cfg, "seed"));
  FC_CHECK(n < PATH_SIZE, USAGE, "experiment: the name is too long for a file");
  return FC_ERR_OK;
}

/* Makes the folders of `path` and sees that it can be written, before any work is done. */
static fc_err prepare_output(const char *path) {
  char folder[PATH_SIZE];
  FC_CHECK(strlen(path) < PATH_SIZE, USAGE, "--output: the path is too long");
  strcpy(folder, path);
  for (char *slash = strchr(folder + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    FC_CHECK(mkdir(folder, 0777) == 0 || errno == EEXIST, IO, "%s: cannot make this folder: %s",
             folder, strerror(errno));
    *slash = '/';
  }
  char *slash = strrchr(folder, '/');
  if (slash)
    slash[slash == folder] = '\0';
  else
    strcpy(folder, ".");
  FC_CHECK(access(folder, W_OK) == 0, IO, "%s: cannot write results there: %s", folder,
           strerror(errno));
  return FC_ERR_OK;
}

/* Results are not overwritten unasked. *done: the result is there already and --resume was given.
 */
static fc_err check_existing(const fc_arguments *a, const char *output, bool *done) {
  *done = false;
  if (a->overwrite) return FC_ERR_OK;
  bool exists = access(output, F_OK) == 0;
  *done = exists && a->resume;
  FC_CHECK(!exists || a->resume, USAGE, "%s exists; give --overwrite, or another --output", output);
  return FC_ERR_OK;
}

/* ---- run
 * --------------------------------------------------------------------------------------------- */

static void show_summary(const fc_run_summary *s, const char *output, double wall_s) {
  char a[FC_HUMAN], b[FC_HUMAN], c[FC_HUMAN], d[FC_HUMAN], e[FC_HUMAN];
  fc_app_say("\n%-22s %14s %14s\n", "", "before", "after");
  fc_app_say("%-22s %14.4f %14.4f\n", "test loss (nat)", s->first.test_loss, s->last.test_loss);
  fc_app_say("%-22s %13.2f%% %13.2f%%\n", "test accuracy", 100 * s->first.test_accuracy,
             100 * s->last.test_accuracy);
  fc_app_say("\n%lld rounds (ended by %s), simulated time %s, energy %s\n",
             (long long)s->last.round, s->ended_by, fc_app_human_time(a, s->last.sim_time_s),
             fc_app_human(b, s->last.total_energy_j, "J"));
  fc_app_say("uplink %s, downlink %s, local work %s\n", fc_app_human(c, s->uplink_bits / 8, "B"),
             fc_app_human(d, s->downlink_bits / 8, "B"), fc_app_human(e, s->flop, "FLOP"));
  fc_app_say("took %s; result in %s\n", fc_app_human_time(a, wall_s), output);
}

static fc_err run_to(const fc_comm *comm, fc_config *cfg, fc_run_request *request, bool quiet,
                     fc_run_summary *summary) {
  fc_progress progress;
  fc_progress_begin(&progress, quiet);
  request->on_round = fc_progress_round;
  request->arg = &progress;
  request->stop = &stop_wanted;
  fc_federation *fed = NULL;
  catch_signals();
  fc_err err = fc_federation_create(comm, cfg, &fed);
  if (err == FC_ERR_OK) err = fc_federation_run(fed, request, summary);
  fc_progress_end(&progress);
  fc_federation_destroy(&fed);
  return err;
}

static fc_err run(const fc_comm *comm, const fc_arguments *a, fc_config *cfg, int argc,
                  char **argv) {
  char output[PATH_SIZE];
  bool done = false;
  double start = MPI_Wtime();
  if (a->output)
    snprintf(output, sizeof output, "%s", a->output);
  else
    FC_TRY(default_output(cfg, output));
  fc_err err = FC_ERR_OK;
  if (comm->rank == 0) {
    err = prepare_output(output);
    if (err == FC_ERR_OK) err = check_existing(a, output, &done);
  }
  FC_TRY(fc_agree(comm, err));
  FC_TRY(fc_comm_broadcast(comm, &done, sizeof done, 0));
  if (done) {
    fc_app_say("%s is finished: nothing to do\n", output);
    return FC_ERR_OK;
  }
  fc_run_summary summary;
  fc_run_request request = {.output = output, .resume = a->resume};
  request.facts = fc_app_facts(argc, argv, &request.n_facts);
  FC_TRY(run_to(comm, cfg, &request, a->quiet, &summary));
  show_summary(&summary, output, MPI_Wtime() - start);
  return FC_ERR_OK;
}

fc_err fc_command_run(const fc_comm *comm, int argc, char **argv) {
  fc_arguments a;
  fc_config *cfg = NULL;
  FC_TRY(fc_arguments_read(argc, argv, "set size output resume overwrite quiet", "FILE.yaml", &a));
  FC_CHECK(!(a.resume && a.overwrite), USAGE, "run: --resume and --overwrite exclude each other");
  fc_err err = fc_arguments_config(comm, &a, &cfg);
  if (err == FC_ERR_OK) err = fc_config_finish(cfg);
  if (err == FC_ERR_OK) err = run(comm, &a, cfg, argc, argv);
  fc_config_destroy(&cfg);
  return err;
}

/* ---- pretrain
 * ------------------------------------------------------------------------------------------ */

fc_err fc_command_pretrain(const fc_comm *comm, int argc, char **argv) {
  fc_arguments a;
  fc_config *cfg = NULL;
  char *folder = NULL;
  FC_TRY(fc_arguments_read(argc, argv, "set size again", "FILE.yaml", &a));
  fc_err err = fc_arguments_config(comm, &a, &cfg);
  if (err == FC_ERR_OK) err = fc_config_finish(cfg);
  if (err == FC_ERR_OK && strcmp(fc_config_string(cfg, "model.base"), "embedded") != 0)
    err = fc_fail(FC_ERR_USAGE, "%s: model.base = %s: only the embedded base is made by pretrain",
                  a.file, fc_config_string(cfg, "model.base"));
  if (err == FC_ERR_OK) err = fc_federation_pretrain(comm, cfg, a.again, &folder);
  if (err == FC_ERR_OK) fc_app_say("%s\n", folder);
  fc_free(folder);
  fc_config_destroy(&cfg);
  return err;
}

/* ---- rerun
 * ---------------------------------------------------------------------------------------------- */

/* First value that differs between two datasets of doubles, -1 if none; NaN equals NaN. */
static fc_err compare_column(const fc_store_reader *a, const fc_store_reader *b, const char *path,
                             int64_t *differs) {
  int64_t n = 0, m = 0;
  double *x = NULL, *y = NULL;
  *differs = -1;
  FC_TRY(fc_store_count(a, path, &n));
  FC_TRY(fc_store_count(b, path, &m));
  fc_err err = fc_alloc((size_t)n, sizeof *x, &x);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)n, sizeof *y, &y);
  if (err == FC_ERR_OK && n != m) *differs = n < m ? n : m;
  if (err == FC_ERR_OK && n == m) {
    FC_TRY_GOTO(err, fc_store_get_f64(a, path, 0, n, x), done);
    FC_TRY_GOTO(err, fc_store_get_f64(b, path, 0, n, y), done);
    for (int64_t i = 0; i < n && *differs < 0; i++)
      if (!(x[i] == y[i] || (isnan(x[i]) && isnan(y[i])))) *differs = i;
  }
done:
  fc_free(x);
  fc_free(y);
  return err;
}

typedef struct {
  const fc_store_reader *then, *now;
  fc_err err;
  int64_t datasets, differing;
} comparison;

static void compare_one(void *arg, const char *path, const char *unit, const char *description,
                        int64_t count) {
  comparison *c = arg;
  (void)unit;
  (void)description;
  (void)count;
  int64_t differs = -1;
  if (c->err != FC_ERR_OK || strstr(path, "wall_time_s")) return;
  c->err = compare_column(c->then, c->now, path, &differs);
  c->datasets++;
  if (differs < 0) return;
  c->differing++;
  fc_app_say("%s differs from element %lld on\n", path, (long long)differs);
}

static fc_err compare(const char *then, const char *now) {
  fc_store_reader *a = NULL, *b = NULL;
  fc_err err = fc_store_open(then, &a);
  if (err == FC_ERR_OK) err = fc_store_open(now, &b);
  comparison c = {.then = a, .now = b};
  if (err == FC_ERR_OK) err = fc_store_visit(a, compare_one, &c);
  if (err == FC_ERR_OK) err = c.err;
  if (err == FC_ERR_OK && c.differing)
    err = fc_fail(FC_ERR_NUMERIC,
                  "%s does not agree: %lld of %lld datasets differ; the new run is %s", then,
                  (long long)c.differing, (long long)c.datasets, now);
  if (err == FC_ERR_OK) {
    fc_app_say("%s agrees: all %lld datasets are the same\n", then, (long long)c.datasets);
    unlink(now);
  }
  fc_store_close(&a);
  fc_store_close(&b);
  return err;
}

static fc_err rerun(const fc_comm *comm, const char *path, const char *text, int argc,
                    char **argv) {
  size_t n = 0;
  const fc_option_table *tables = fc_federation_tables(&n);
  fc_config *cfg = NULL;
  char output[PATH_SIZE];
  snprintf(output, sizeof output, "%s.rerun.h5", path);
  fc_err err = fc_config_create(tables, n, &cfg);
  if (err == FC_ERR_OK) err = fc_config_load_text(cfg, path, text, strlen(text), NULL);
  if (err == FC_ERR_OK) err = fc_config_finish(cfg);
  FC_TRY_GOTO(err, fc_agree(comm, err), done);
  fc_run_summary summary;
  fc_run_request request = {.output = output};
  request.facts = fc_app_facts(argc, argv, &request.n_facts);
  FC_TRY_GOTO(err, run_to(comm, cfg, &request, false, &summary), done);
  if (comm->rank == 0) err = compare(path, output);
done:
  fc_config_destroy(&cfg);
  return err;
}

fc_err fc_command_rerun(const fc_comm *comm, int argc, char **argv) {
  fc_arguments a;
  fc_store_reader *file = NULL;
  char *text = NULL;
  FC_TRY(fc_arguments_read(argc, argv, "", "OUT.h5", &a));
  fc_err err = fc_store_open(a.file, &file);
  if (err == FC_ERR_OK) err = fc_store_get_text(file, "/provenance", "config", &text);
  fc_store_close(&file);
  err = fc_agree(comm, err);
  if (err == FC_ERR_OK) err = rerun(comm, a.file, text, argc, argv);
  fc_free(text);
  return err;
}
