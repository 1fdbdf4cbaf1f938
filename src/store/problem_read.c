/* problem_read.c - optimisation problems from JSON, as they stream by (yajl).
 *
 * The parser keeps the path of the place it is at in the form of the solvers' tables
 * ("clients[].tx_power_w"); a number goes to the field of that path. */
#include "problem.h"
#include "fedcell/fc_config.h"
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

enum { PATH_SIZE = 256, DEPTH = 8, NUMBER_SIZE = 400, CHUNK = 1 << 16 };

typedef struct {
  fc_problem_draft draft;
  char path[PATH_SIZE];
  size_t length[DEPTH]; /* of the path where the open object or list stands */
  bool list[DEPTH];     /* or object */
  int depth;
  int next;                        /* the field that is expected next, if rows are alike */
  int64_t capacity[FC_FIELDS_MAX]; /* of a column's values */
  int64_t rows;                    /* objects in the list so far */
  fc_err err; /* the message's text waits in fc_err_message, without file and line */
} reader;

/* ---- paths ----------------------------------------------------------------------------------- */

/* The path as a user writes it: "clients[12].tx_power_w". */
static const char *shown_path(const reader *r, int64_t row, char *shown) {
  const char *mark = strstr(r->path, "[]");
  if (!*r->path)
    snprintf(shown, PATH_SIZE + 32, "the problem");
  else if (!mark)
    snprintf(shown, PATH_SIZE + 32, "%s", r->path);
  else
    snprintf(shown, PATH_SIZE + 32, "%.*s[%lld]%s", (int)(mark - r->path), r->path, (long long)row,
             mark + 2);
  return shown;
}

static int64_t row_of(const reader *r, int field) {
  bool single = field >= 0 && r->path[0] && r->path[strlen(r->path) - 1] == ']';
  return single ? r->draft.count[field] : r->rows;
}

#define REFUSE(r, field, ...)                                                                      \
  do {                                                                                             \
    char text_[256], shown_[PATH_SIZE + 32];                                                       \
    snprintf(text_, sizeof text_, __VA_ARGS__);                                                    \
    (r)->err = fc_fail(FC_ERR_DATA, "%s: %s", shown_path(r, row_of(r, field), shown_), text_);     \
    return 0;                                                                                      \
  } while (0)

static int find_field(reader *r) {
  const fc_solver_field *f = r->draft.solver->input;
  if (r->next >= 0 && f[r->next].path && strcmp(f[r->next].path, r->path) == 0) return r->next;
  for (int i = 0; f[i].path; i++)
    if (strcmp(f[i].path, r->path) == 0) return i;
  return -1;
}

/* Does a field lie in the object (or list) that opens at the path? */
static bool opens(const reader *r, const char *what) {
  size_t n = strlen(r->path), m = strlen(what);
  for (int i = 0; r->draft.solver->input[i].path; i++) {
    const char *path = r->draft.solver->input[i].path;
    if (strncmp(path, r->path, n) == 0 && strncmp(path + n, what, m) == 0) return true;
  }
  return false;
}

static const char *under_generate(const reader *r) {
  return strncmp(r->path, "generate.", 9) == 0 ? r->path + 9 : NULL;
}

/* fc_nearest_name asks for names one by one; parsing is not reentrant within a thread. */
static _Thread_local const fc_solver *names_of;
static const char *field_name(size_t i) {
  return names_of->input[i].path;
}

/* What is wrong with a value at a path that has no field of its kind. */
static int misplaced(reader *r, const char *what) {
  if (!*r->path) REFUSE(r, -1, "must be an object");
  int field = find_field(r);
  if (field >= 0) {
    bool choice = r->draft.solver->input[field].kind == FC_FIELD_CHOICE;
    REFUSE(r, field, "must be a %s, not %s", choice ? "string" : "number", what);
  }
  if (under_generate(r))
    REFUSE(r, -1, "must be a number, or a number or list under uniform, log_uniform, exponential");
  if (opens(r, "[].")) REFUSE(r, -1, "must be a list of objects, not %s", what);
  if (opens(r, "[]")) REFUSE(r, -1, "must be a list of numbers, not %s", what);
  if (opens(r, ".") || strcmp(r->path, "generate") == 0)
    REFUSE(r, -1, "must be an object, not %s", what);
  names_of = r->draft.solver;
  const char *near = fc_nearest_name(r->path, field_name);
  if (near) REFUSE(r, -1, "unknown field; did you mean %s?", near);
  REFUSE(r, -1, "unknown field");
}

/* ---- values ---------------------------------------------------------------------------------- */

static bool make_room(reader *r, int field, int64_t count) {
  if (count < r->capacity[field]) return true;
  int64_t capacity = r->capacity[field] > 0 ? 2 * r->capacity[field] : 16;
  double **column = fc_field_column(&r->draft.solver->input[field], r->draft.problem);
  r->err = fc_realloc((size_t)capacity, sizeof **column, column);
  if (r->err != FC_ERR_OK) return false;
  r->capacity[field] = capacity;
  return true;
}

static int check_range(reader *r, int field, const char *text, double x) {
  const fc_solver_field *f = &r->draft.solver->input[field];
  if (!isfinite(x)) REFUSE(r, field, "is %.40s, must be finite", text);
  if (x < f->least && f->least == 0) REFUSE(r, field, "is %.40s, must not be negative", text);
  if (x < f->least) REFUSE(r, field, "is %.40s, must be greater than 0", text);
  if (x > f->most) REFUSE(r, field, "is %.40s, must be at most %g", text, f->most);
  return 1;
}

static int store(reader *r, int field, double x) {
  const fc_solver_field *f = &r->draft.solver->input[field];
  if (!fc_field_is_column(f)) {
    if (r->draft.seen[field]) REFUSE(r, field, "is given twice");
    r->draft.seen[field] = true;
    memcpy((char *)r->draft.problem + f->offset, &x, sizeof x);
    return 1;
  }
  bool of_object = strchr(f->path, '.') != NULL;
  if (of_object && r->draft.count[field] > r->rows) REFUSE(r, field, "is given twice");
  if (of_object && r->draft.count[field] < r->rows) REFUSE(r, field, "is missing in rows before");
  if (!make_room(r, field, r->draft.count[field])) return 0;
  (*fc_field_column(f, r->draft.problem))[r->draft.count[field]++] = x;
  r->next = field + 1;
  return 1;
}

static int on_number(void *context, const char *digits, size_t n) {
  reader *r = context;
  char text[NUMBER_SIZE];
  int field = find_field(r);
  if (n >= sizeof text) REFUSE(r, field, "a number of %zu characters", n);
  memcpy(text, digits, n);
  text[n] = '\0';
  double x = strtod(text, NULL);
  const char *wish = under_generate(r);
  if (wish) {
    if (fc_generate_take(&r->draft.generate, r->draft.solver, wish, x) == FC_ERR_OK) return 1;
    REFUSE(r, -1, "%s", fc_err_message());
  }
  if (field < 0 || r->draft.solver->input[field].kind == FC_FIELD_CHOICE)
    return misplaced(r, "a number");
  return check_range(r, field, text, x) && store(r, field, x);
}

/* The index of the word in the choices, -1 if it is none of them. */
static int choice_of(const char *choices, const unsigned char *word, size_t n) {
  int index = 0;
  for (const char *at = choices; *at; index++) {
    size_t length = strcspn(at, " ");
    if (length == n && memcmp(at, word, n) == 0) return index;
    at += length + (at[length] == ' ');
  }
  return -1;
}

static int on_string(void *context, const unsigned char *word, size_t n) {
  reader *r = context;
  int field = find_field(r);
  if (field < 0 || r->draft.solver->input[field].kind != FC_FIELD_CHOICE)
    return misplaced(r, "a string");
  const fc_solver_field *f = &r->draft.solver->input[field];
  int choice = choice_of(f->choices, word, n);
  if (choice < 0)
    REFUSE(r, field, "is %.*s, allowed are: %s", (int)(n < 40 ? n : 40), (const char *)word,
           f->choices);
  if (r->draft.seen[field]) REFUSE(r, field, "is given twice");
  r->draft.seen[field] = true;
  memcpy((char *)r->draft.problem + f->offset, &choice, sizeof choice);
  return 1;
}

static int on_null(void *context) {
  reader *r = context;
  int field = find_field(r);
  if (field < 0 || r->draft.solver->input[field].kind != FC_FIELD_OPTIONAL)
    return misplaced(r, "null");
  if (r->draft.seen[field]) REFUSE(r, field, "is given twice");
  r->draft.seen[field] = true; /* as it stands where nothing is given: NAN */
  return 1;
}

static int on_boolean(void *context, int value) {
  return misplaced(context, value ? "true" : "false");
}

/* ---- objects and lists ----------------------------------------------------------------------- */

static int open_level(reader *r, bool list) {
  if (r->depth == DEPTH) REFUSE(r, -1, "nested too deep");
  r->length[r->depth] = strlen(r->path);
  r->list[r->depth++] = list;
  return 1;
}

static int on_start_map(void *context) {
  reader *r = context;
  const char *wish = under_generate(r);
  bool known = r->depth == 0 || opens(r, ".") || strcmp(r->path, "generate") == 0 ||
               (wish && fc_generate_opens(r->draft.solver, wish));
  if (!known) return misplaced(r, "an object");
  if (strcmp(r->path, "generate") == 0) {
    if (r->draft.generate.given) REFUSE(r, -1, "is given twice");
    r->draft.generate.given = true;
  }
  return open_level(r, false);
}

static int on_map_key(void *context, const unsigned char *key, size_t n) {
  reader *r = context;
  size_t at = r->length[r->depth - 1];
  r->path[at] = '\0';
  if (at + n + 4 > PATH_SIZE) REFUSE(r, -1, "holds a key of %zu characters", n);
  if (at > 0) r->path[at++] = '.';
  memcpy(r->path + at, key, n);
  r->path[at + n] = '\0';
  /* a mark of ours in a user's key would be taken for a place in the table */
  if (strlen(r->path) != at + n || strpbrk(r->path + at, ".[]")) REFUSE(r, -1, "unknown field");
  return 1;
}

static bool is_row(const reader *r) {
  return r->depth > 1 && r->list[r->depth - 1] && opens(r, ".");
}

static int end_row(reader *r) {
  for (int i = 0; r->draft.solver->input[i].path; i++) {
    const fc_solver_field *f = &r->draft.solver->input[i];
    if (!fc_field_is_column(f) || !strchr(f->path, '.') || r->draft.count[i] > r->rows) continue;
    if (f->kind == FC_FIELD_OPTIONAL_COLUMN && r->draft.count[i] == 0) continue;
    snprintf(r->path, sizeof r->path, "%s", f->path);
    REFUSE(r, -1, "is missing");
  }
  r->rows++;
  r->next = 0;
  return 1;
}

static int on_end_map(void *context) {
  reader *r = context;
  r->path[r->length[--r->depth]] = '\0';
  return r->depth > 0 && is_row(r) ? end_row(r) : 1;
}

static int on_start_array(void *context) {
  reader *r = context;
  const char *wish = under_generate(r);
  if (!opens(r, "[]") && !(wish && fc_generate_opens(r->draft.solver, wish)))
    return misplaced(r, "a list");
  if (!open_level(r, true)) return 0;
  const size_t at = strlen(r->path);
  strcpy(r->path + at, "[]"); /* on_map_key left room */
  const int field = find_field(r);
  const bool again = field >= 0 ? r->draft.count[field] > 0 : !wish && r->rows > 0;
  if (again) r->path[at] = '\0';
  if (again) REFUSE(r, -1, "is given twice");
  if (field >= 0) r->draft.seen[field] = true;
  return 1;
}

static int on_end_array(void *context) {
  reader *r = context;
  r->path[r->length[--r->depth]] = '\0';
  return 1;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static fc_err begin(reader *r, const fc_solver *solver) {
  *r = (reader){.draft = {.solver = solver}};
  FC_TRY(fc_alloc(1, solver->problem_bytes, &r->draft.problem));
  fc_generate_begin(&r->draft.generate, solver);
  const double unknown = (double)NAN;
  for (int i = 0; solver->input[i].path; i++) {
    assert(i < FC_FIELDS_MAX);
    if (solver->input[i].kind == FC_FIELD_OPTIONAL)
      memcpy((char *)r->draft.problem + solver->input[i].offset, &unknown, sizeof unknown);
  }
  return FC_ERR_OK;
}

/* ---- bytes in -------------------------------------------------------------------------------- */

typedef struct {
  const char *name;
  FILE *file; /* or, NULL: */
  const char *text;
  size_t left;
} source;

static fc_err next_chunk(source *s, char *buffer, size_t *n) {
  if (s->file) {
    *n = fread(buffer, 1, CHUNK, s->file);
    FC_CHECK(*n > 0 || !ferror(s->file), IO, "%s: %s", s->name, strerror(errno));
    return FC_ERR_OK;
  }
  *n = s->left < CHUNK ? s->left : CHUNK;
  if (*n > 0) memcpy(buffer, s->text, *n);
  s->text += *n;
  s->left -= *n;
  return FC_ERR_OK;
}

static int64_t lines_in(const char *text, size_t n) {
  int64_t lines = 0;
  for (size_t i = 0; i < n; i++) lines += text[i] == '\n';
  return lines;
}

/* Why the parser stopped, with file and line. */
static fc_err stopped(yajl_handle parser, reader *r, const source *s, const char *chunk, size_t n,
                      int64_t line) {
  size_t consumed = yajl_get_bytes_consumed(parser);
  char text[FC_ERR_MESSAGE_SIZE], shown[PATH_SIZE + 32];
  line += lines_in(chunk, consumed < n ? consumed : n);
  if (r->err == FC_ERR_NOMEM) return r->err;
  if (r->err != FC_ERR_OK) {
    snprintf(text, sizeof text, "%s", fc_err_message());
  } else {
    unsigned char *why = yajl_get_error(parser, 0, NULL, 0);
    snprintf(text, sizeof text, "%s: %s", shown_path(r, row_of(r, find_field(r)), shown),
             (const char *)why);
    text[strcspn(text, "\n")] = '\0';
    yajl_free_error(parser, why);
  }
  return fc_fail(FC_ERR_DATA, "%s:%lld: %s", s->name, (long long)line, text);
}

static fc_err parse(yajl_handle parser, reader *r, source *s) {
  char chunk[CHUNK];
  int64_t line = 1;
  size_t n = 0;
  do {
    FC_TRY(next_chunk(s, chunk, &n));
    yajl_status status =
        n > 0 ? yajl_parse(parser, (const unsigned char *)chunk, n) : yajl_complete_parse(parser);
    if (status != yajl_status_ok) return stopped(parser, r, s, chunk, n, line);
    line += lines_in(chunk, n);
  } while (n > 0);
  return FC_ERR_OK;
}

static fc_err read_all(const fc_solver *solver, source *s, void **problem) {
  static const yajl_callbacks callbacks = {
      .yajl_null = on_null,
      .yajl_boolean = on_boolean,
      .yajl_number = on_number,
      .yajl_string = on_string,
      .yajl_start_map = on_start_map,
      .yajl_map_key = on_map_key,
      .yajl_end_map = on_end_map,
      .yajl_start_array = on_start_array,
      .yajl_end_array = on_end_array,
  };
  reader r;
  fc_err err = begin(&r, solver);
  yajl_handle parser = err == FC_ERR_OK ? yajl_alloc(&callbacks, NULL, &r) : NULL;
  if (err == FC_ERR_OK && !parser) err = fc_fail(FC_ERR_NOMEM, "no memory for the JSON parser");
  if (err == FC_ERR_OK) err = parse(parser, &r, s);
  if (parser) yajl_free(parser);
  if (err == FC_ERR_OK) {
    err = fc_problem_complete(&r.draft);
    char text[FC_ERR_MESSAGE_SIZE];
    snprintf(text, sizeof text, "%s", fc_err_message());
    if (err == FC_ERR_DATA) err = fc_fail(FC_ERR_DATA, "%s: %.1900s", s->name, text);
  }
  *problem = r.draft.problem;
  if (err != FC_ERR_OK) fc_problem_destroy(solver, problem);
  return err;
}

fc_err fc_problem_parse(const fc_solver *solver, const char *name, const char *text, size_t n,
                        void **problem) {
  source s = {.name = name, .text = text, .left = n};
  return read_all(solver, &s, problem);
}

fc_err fc_problem_read(const fc_solver *solver, const char *path, void **problem) {
  *problem = NULL;
  bool standard = strcmp(path, "-") == 0;
  source s = {.name = standard ? "standard input" : path,
              .file = standard ? stdin : fopen(path, "rb")};
  FC_CHECK(s.file, IO, "%s: %s", path, strerror(errno));
  fc_err err = read_all(solver, &s, problem);
  if (!standard) fclose(s.file);
  return err;
}
