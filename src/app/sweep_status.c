/* sweep_status.c - fedcell sweep --status: how far the points are, told from the files in their
 * folder alone, so that it does not matter who ran them, or where. */
#include "fedcell/fc_mem.h"
#include "sweep.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In the order in which they are told. */
#define STATE_LIST(X)                                                                              \
  X(FINISHED, "finished")                                                                          \
  X(BEGUN, "begun")       /* a checkpoint: running, or to be continued */                          \
  X(FAILED, "failed")     /* left a mark */                                                        \
  X(OUTDATED, "outdated") /* a result that is damaged, or of other settings than the point's */    \
  X(MISSING, "missing")
typedef enum {
#define STATE_ENUM(id, name) id,
  STATE_LIST(STATE_ENUM)
#undef STATE_ENUM
      STATES
} point_state;
static const char *const state_names[STATES] = {
#define STATE_NAME(id, name) name,
    STATE_LIST(STATE_NAME)
#undef STATE_NAME
};

typedef struct {
  point_state state;
  int exit_code; /* of FAILED */
  char why[512]; /* of FAILED and OUTDATED; its beginning */
} progress;

/* What does not change a result. */
static const char *const may_differ[] = {"checkpoint.every_rounds", "model.cache", "model.scratch"};

fc_err fc_points_compare(const fc_points *p, size_t number, const char *path,
                         const char **differs) {
  fc_config *then = NULL, *now = NULL;
  fc_err err = fc_result_config_read(path, &then);
  if (err == FC_ERR_OK) err = fc_points_config(p, number, &now);
  if (err == FC_ERR_OK)
    *differs =
        fc_config_first_difference(now, then, may_differ, sizeof may_differ / sizeof may_differ[0]);
  fc_config_destroy(&then);
  fc_config_destroy(&now);
  return err;
}

static void look_at_result(const fc_points *p, size_t number, const char *path, progress *out) {
  const char *differs = NULL;
  out->state = FINISHED;
  if (fc_points_compare(p, number, path, &differs) != FC_ERR_OK)
    snprintf(out->why, sizeof out->why, "%s", fc_err_message());
  else if (differs)
    snprintf(out->why, sizeof out->why, "made with another value of %s", differs);
  if (*out->why) out->state = OUTDATED;
}

static void read_mark(const char *path, progress *out) {
  FILE *f = fopen(path, "r");
  if (!f) return;
  char line[32] = "";
  out->state = FAILED;
  if (fgets(line, sizeof line, f)) out->exit_code = (int)strtol(line, NULL, 10);
  size_t n = fread(out->why, 1, sizeof out->why - 1, f);
  out->why[n] = '\0';
  if (n > 0 && out->why[n - 1] == '\n') out->why[n - 1] = '\0';
  fclose(f);
}

static fc_err look(const fc_arguments *a, const fc_points *p, size_t number, progress *out) {
  const char *label = p->labels[number - 1];
  char path[FC_PATH_SIZE], *checkpoint = NULL;
  *out = (progress){.state = MISSING};
  FC_TRY(fc_points_path(p, a->status, label, ".h5", path));
  if (access(path, F_OK) == 0) {
    look_at_result(p, number, path, out);
    return FC_ERR_OK;
  }
  FC_TRY(fc_checkpoint_path(path, &checkpoint));
  if (access(checkpoint, F_OK) == 0) out->state = BEGUN;
  fc_free(checkpoint);
  FC_TRY(fc_points_path(p, a->status, label, FC_MARK_ENDING, path));
  read_mark(path, out);
  return FC_ERR_OK;
}

/* ---- telling --------------------------------------------------------------------------------- */

typedef bool state_test(point_state state, point_state arg);

static bool is(point_state state, point_state arg) {
  return state == arg;
}

/* What --missing asks for: a run would bring these nearer to their end. */
static bool is_open(point_state state, point_state arg) {
  (void)arg;
  return state == BEGUN || state == FAILED || state == MISSING;
}

/* The numbers of the points whose state passes the test. */
static fc_err ranges_of(const progress *at, size_t n, state_test *test, point_state arg,
                        char **ranges, size_t *count) {
  bool *in = NULL;
  FC_TRY(fc_alloc(n, sizeof *in, &in));
  *count = 0;
  for (size_t i = 0; i < n; i++) *count += in[i] = test(at[i].state, arg);
  fc_err err = fc_sweep_ranges(in, n, ranges);
  fc_free(in);
  return err;
}

static fc_err say_missing(const progress *at, size_t n) {
  char *ranges = NULL;
  size_t open = 0, outdated = 0;
  for (size_t i = 0; i < n; i++) outdated += at[i].state == OUTDATED;
  FC_TRY(ranges_of(at, n, is_open, MISSING, &ranges, &open));
  if (open > 0) fc_app_say("%s\n", ranges);
  if (outdated > 0)
    fc_app_note("warning: %zu outdated point%s not counted as missing; see --status alone\n",
                outdated, outdated == 1 ? " is" : "s are");
  fc_free(ranges);
  return FC_ERR_OK;
}

static fc_err say_text(const fc_arguments *a, const fc_points *p, const progress *at, size_t n) {
  fc_app_say("%s: %zu point%s in %s\n", fc_sweep_name(p->sweep), n, n == 1 ? "" : "s", a->status);
  for (point_state s = 0; s < STATES; s++) {
    char *ranges = NULL;
    size_t count = 0;
    FC_TRY(ranges_of(at, n, is, s, &ranges, &count));
    fc_app_say("  %-9s %6zu%s%s\n", state_names[s], count, count ? "  " : "", ranges);
    fc_free(ranges);
  }
  for (size_t i = 0; i < n; i++) {
    if (at[i].state == FAILED)
      fc_app_say("point %zu (%s) failed with exit code %d: %s\n", i + 1, p->labels[i],
                 at[i].exit_code, at[i].why);
    if (at[i].state == OUTDATED)
      fc_app_say("point %zu (%s) is outdated: %s\n", i + 1, p->labels[i], at[i].why);
  }
  return FC_ERR_OK;
}

static json_t *point_json(const char *label, const progress *at, size_t number) {
  json_t *o = json_pack("{s:I, s:s, s:s}", "point", (json_int_t)number, "name", label, "state",
                        state_names[at->state]);
  /* a message that was cut within a letter is no UTF-8 and left out */
  if (at->state == FAILED) json_object_set_new(o, "exit_code", json_integer(at->exit_code));
  if (*at->why) json_object_set_new(o, "message", json_string(at->why));
  return o;
}

static fc_err say_json(const fc_arguments *a, const fc_points *p, const progress *at, size_t n) {
  json_t *points = json_array(), *counts = json_object();
  size_t of[STATES] = {0};
  for (size_t i = 0; i < n; i++) {
    of[at[i].state]++;
    json_array_append_new(points, point_json(p->labels[i], &at[i], i + 1));
  }
  for (point_state s = 0; s < STATES; s++)
    json_object_set_new(counts, state_names[s], json_integer((json_int_t)of[s]));
  return fc_app_say_json(json_pack("{s:s, s:s, s:o, s:o}", "sweep", fc_sweep_name(p->sweep),
                                   "folder", a->status, "counts", counts, "points", points));
}

fc_err fc_points_status(const fc_arguments *a, const fc_points *p) {
  progress *at = NULL;
  size_t n = fc_sweep_count(p->sweep);
  fc_err err = fc_alloc(n, sizeof *at, &at);
  for (size_t i = 0; i < n && err == FC_ERR_OK; i++) err = look(a, p, i + 1, &at[i]);
  if (err == FC_ERR_OK)
    err = a->missing ? say_missing(at, n) : a->json ? say_json(a, p, at, n) : say_text(a, p, at, n);
  fc_free(at);
  return err;
}
