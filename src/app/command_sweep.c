/* command_sweep.c - fedcell sweep: what the points of a sweep are, and running one of them.
 * Whatever is asked for, all faults of all points are told first. sweep_status.c tells how far they
 * are. */
#include "fedcell/fc_mem.h"
#include "fedcell/fc_policy.h"
#include "sweep.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the sweep on all ranks ------------------------------------------------------------------ */

void fc_points_close(fc_points *p) {
  fc_sweep_destroy(&p->sweep);
  fc_free(p->labels);
  fc_free(p->text);
  fc_free(p->base);
}

static fc_err open_sweep(const fc_comm *comm, const fc_arguments *a, fc_points *p) {
  size_t n = 0, length = 0;
  const fc_option_table *tables = fc_policy_tables(&n);
  FC_TRY(fc_shared_text(comm, a->operand, &p->text, &length));
  FC_TRY(fc_agree(comm, fc_sweep_create(tables, n, a->operand, p->text, length, &p->sweep)));
  const char *base = fc_sweep_base(p->sweep);
  if (base) FC_TRY(fc_shared_text(comm, base, &p->base, &length));
  p->size = a->size;
  fc_sweep_set_base(p->sweep, p->base, length, a->size);
  fc_err err = FC_ERR_OK;
  if (comm->rank == 0) err = fc_sweep_check(p->sweep, fc_study_check, &p->labels);
  return fc_agree(comm, err);
}

fc_err fc_points_config(const fc_points *p, size_t number, fc_config **out) {
  FC_TRY(fc_sweep_point(p->sweep, number, out));
  return fc_config_finish(*out);
}

fc_err fc_points_path(const fc_points *p, const char *folder, const char *label, const char *ending,
                      char path[FC_PATH_SIZE]) {
  int n = folder ? snprintf(path, FC_PATH_SIZE, "%s/%s%s", folder, label, ending)
                 : snprintf(path, FC_PATH_SIZE, "results/%s%s%s/%s%s", fc_sweep_name(p->sweep),
                            p->size ? "-" : "", p->size ? p->size : "", label, ending);
  FC_CHECK(n < FC_PATH_SIZE, USAGE, "--folder: the path is too long");
  return FC_ERR_OK;
}

/* ---- one point ------------------------------------------------------------------------------- */

/* What a point failed of, for --status. The first of the ranks that fails on its own writes it. */
static void leave_mark(const char *mark, fc_err err) {
  FILE *f = fopen(mark, "wx");
  if (!f) return; /* another rank was first, or nothing can be written here: the message is told */
  fprintf(f, "%d\n%s\n", fc_err_exit_code(err), fc_err_message());
  fclose(f);
}

/* A result under the point's name that another configuration made is neither used nor replaced. */
static fc_err check_result(const fc_points *p, size_t number, const char *path) {
  const char *differs = NULL;
  if (access(path, F_OK) != 0) return FC_ERR_OK;
  FC_TRY(fc_points_compare(p, number, path, &differs));
  FC_CHECK(!differs, USAGE,
           "%s was made with another value of %s; remove it, or give another --folder", path,
           differs);
  return FC_ERR_OK;
}

static fc_err run_point(const fc_comm *comm, const fc_arguments *a, const fc_points *p,
                        fc_config *cfg, size_t number) {
  char label[FC_SWEEP_LABEL_SIZE], path[FC_PATH_SIZE], mark[FC_PATH_SIZE];
  fc_arguments run = *a;
  fc_err err = fc_sweep_label(p->sweep, number, cfg, label);
  if (err == FC_ERR_OK) err = fc_points_path(p, a->folder, label, ".h5", path);
  if (err == FC_ERR_OK) err = fc_points_path(p, a->folder, label, FC_MARK_ENDING, mark);
  if (err == FC_ERR_OK && comm->rank == 0) err = check_result(p, number, path);
  FC_TRY(fc_agree(comm, err));
  if (comm->rank == 0) unlink(mark); /* of an earlier try */
  FC_TRY(fc_comm_barrier(comm));
  run.output = path;
  run.resume = true;
  fc_app_say("point %zu of %zu: %s\n", number, fc_sweep_count(p->sweep), label);
  err = fc_app_run_told(comm, &run, cfg);
  if (err != FC_ERR_OK && err != FC_ERR_STOPPED) leave_mark(mark, err);
  return err;
}

static fc_err index_of(const fc_arguments *a, const fc_points *p, size_t *number) {
  const char *task = getenv("SLURM_ARRAY_TASK_ID");
  size_t count = fc_sweep_count(p->sweep);
  long long n = a->index;
  if (n == 0) {
    char *end = NULL;
    errno = 0;
    n = task ? strtoll(task, &end, 10) : 0;
    FC_CHECK(task && !errno && end != task && !*end, USAGE,
             "sweep: SLURM_ARRAY_TASK_ID is %s: must be the number of a point, 1 to %zu",
             task ? task : "not set", count);
  }
  FC_CHECK(n >= 1 && (size_t)n <= count, USAGE, "sweep: no point %lld: there are 1 to %zu", n,
           count);
  *number = (size_t)n;
  return FC_ERR_OK;
}

static fc_err run_index(const fc_comm *comm, const fc_arguments *a, const fc_points *p) {
  fc_config *cfg = NULL;
  size_t number = 0;
  fc_err err = index_of(a, p, &number);
  if (err == FC_ERR_OK) err = fc_points_config(p, number, &cfg);
  err = fc_agree(comm, err);
  if (err == FC_ERR_OK) err = run_point(comm, a, p, cfg, number);
  fc_config_destroy(&cfg);
  return err;
}

/* ---- lists ----------------------------------------------------------------------------------- */

static fc_err list(const fc_arguments *a, const fc_points *p) {
  json_t *all = json_array();
  size_t n = fc_sweep_count(p->sweep);
  for (size_t i = 0; i < n; i++) {
    if (a->json)
      json_array_append_new(
          all, json_pack("{s:I, s:s}", "point", (json_int_t)(i + 1), "name", p->labels[i]));
    else
      fc_app_say("%6zu  %s\n", i + 1, p->labels[i]);
  }
  if (a->json)
    return fc_app_say_json(
        json_pack("{s:s, s:o}", "sweep", fc_sweep_name(p->sweep), "points", all));
  json_decref(all);
  return FC_ERR_OK;
}

static fc_err count(const fc_arguments *a, const fc_points *p) {
  (void)a;
  fc_app_say("%zu\n", fc_sweep_count(p->sweep));
  return FC_ERR_OK;
}

/* ---- work that looks at every point but once for all its seeds --------------------------------
 */

/* Calls visit, which may be Collective, for every point that differs in more than the seed from the
 * one before it. */
typedef fc_err visit_point(void *arg, size_t number, fc_config *cfg);
static fc_err visit_unlike(const fc_points *p, visit_point *visit, void *arg) {
  static const char *const seed[] = {"seed"};
  fc_config *last = NULL;
  fc_err err = FC_ERR_OK;
  for (size_t i = 1; i <= fc_sweep_count(p->sweep) && err == FC_ERR_OK; i++) {
    fc_config *cfg = NULL;
    err = fc_points_config(p, i, &cfg);
    bool is_like = err == FC_ERR_OK && last && !fc_config_first_difference(cfg, last, seed, 1);
    if (err == FC_ERR_OK && !is_like) err = visit(arg, i, cfg);
    fc_config_destroy(&last);
    last = cfg;
  }
  fc_config_destroy(&last);
  return err;
}

typedef struct {
  const fc_points *p;
  fc_ranks on;
  bool quiet;
  fc_needs most;    /* of each figure, over the points */
  size_t hungriest; /* the point that needs the most memory on a node */
} needs;

static void take_larger(double *a, double b) {
  if (b > *a) *a = b;
}

static fc_err estimate_point(void *arg, size_t number, fc_config *cfg) {
  needs *n = arg;
  const fc_study *study = fc_study_of(cfg);
  fc_study_estimate estimate;
  char a[FC_HUMAN], b[FC_HUMAN];
  FC_TRY(study->estimate(cfg, n->on, &estimate));
  const fc_needs e = study->needs(&estimate);
  if (e.node_bytes > n->most.node_bytes) n->hungriest = number;
  take_larger(&n->most.node_bytes, e.node_bytes);
  take_larger(&n->most.rank_bytes, e.rank_bytes);
  take_larger(&n->most.flop_per_round, e.flop_per_round);
  if (e.participants > n->most.participants) n->most.participants = e.participants;
  if (!n->quiet)
    fc_app_say("%6zu  %10s a node  %12s a round  %s\n", number, fc_app_human(a, e.node_bytes, "B"),
               fc_app_human(b, e.flop_per_round, "FLOP"), n->p->labels[number - 1]);
  return FC_ERR_OK;
}

static fc_err check(const fc_comm *comm, const fc_arguments *a, const fc_points *p) {
  needs n = {.p = p, .quiet = a->json, .on = fc_ranks_asked(comm, a)};
  char text[FC_HUMAN];
  FC_TRY(visit_unlike(p, estimate_point, &n));
  if (a->json)
    return fc_app_say_json(
        json_pack("{s:I, s:I, s:I, s:f, s:f, s:f}", "points", (json_int_t)fc_sweep_count(p->sweep),
                  "hungriest", (json_int_t)n.hungriest, "participants",
                  (json_int_t)n.most.participants, "node_bytes", n.most.node_bytes, "rank_bytes",
                  n.most.rank_bytes, "flop_per_round", n.most.flop_per_round));
  fc_app_say("%zu points; at most %s a node, point %zu\n", fc_sweep_count(p->sweep),
             fc_app_human(text, n.most.node_bytes, "B"), n.hungriest);
  return FC_ERR_OK;
}

typedef struct {
  const fc_comm *comm;
  const fc_arguments *arguments;
  char *told; /* the folder that was told last */
} bases;

static fc_err pretrain_point(void *arg, size_t number, fc_config *cfg) {
  bases *b = arg;
  char *folder = NULL;
  (void)number;
  FC_TRY(fc_study_of(cfg)->prepare(b->comm, cfg, b->arguments, NULL, &folder));
  if (!folder) return FC_ERR_OK;
  if (!b->told || strcmp(b->told, folder) != 0) fc_app_say("%s\n", folder);
  fc_free(b->told);
  b->told = folder;
  return FC_ERR_OK;
}

static fc_err pretrain(const fc_comm *comm, const fc_arguments *a, const fc_points *p) {
  bases b = {.comm = comm, .arguments = a};
  fc_err err = visit_unlike(p, pretrain_point, &b);
  fc_free(b.told);
  return err;
}

/* ---- the command ----------------------------------------------------------------------------- */

static fc_err check_arguments(const fc_arguments *a) {
  int given = a->list + a->count + (a->index > 0) + (a->status != NULL) + a->needs + a->pretrain;
  FC_CHECK(given <= 1, USAGE,
           "sweep: only one of --list, --count, --index, --status, --needs, --pretrain");
  FC_CHECK(given == 1 || getenv("SLURM_ARRAY_TASK_ID"), USAGE,
           "sweep: needs one of --list, --count, --index N, --status DIR, --needs, --pretrain");
  FC_CHECK(a->status || !a->missing, USAGE, "sweep: --missing needs --status DIR");
  return FC_ERR_OK;
}

static fc_err on_rank_0(const fc_comm *comm, const fc_arguments *a, const fc_points *p) {
  if (a->list) return list(a, p);
  if (a->count) return count(a, p);
  return a->needs ? check(comm, a, p) : fc_points_status(a, p);
}

fc_err fc_command_sweep(const fc_comm *comm, const fc_arguments *a) {
  fc_points p = {0};
  FC_TRY(check_arguments(a));
  fc_err err = open_sweep(comm, a, &p);
  if (err == FC_ERR_OK) {
    if (a->pretrain)
      err = pretrain(comm, a, &p);
    else if (a->list || a->count || a->needs || a->status)
      err = fc_agree(comm, comm->rank == 0 ? on_rank_0(comm, a, &p) : FC_ERR_OK);
    else
      err = run_index(comm, a, &p);
  }
  fc_points_close(&p);
  return err;
}
