/* sweep_read.c - a sweep file's parts become axes. Each part is one line of a table; every fault is
 * collected with its line and reading goes on. */
#include "fedcell/fc_mem.h"
#include "sweep.h"
#include <stdio.h>
#include <string.h>

typedef struct {
  fc_sweep *s;
  fc_config *faults;
  fc_place place;
  const char *part; /* being read */
} reader;

static void fault(reader *r, size_t line, const char *name, const char *text) {
  r->place.line = line;
  fc_fault_add(r->faults, &r->place, name, NULL, "%s", text);
}

static void note(reader *r, fc_err err) {
  fc_config_note_failure(r->faults, err);
}

static int id_of(const reader *r, const yaml_node_t *node) {
  return (int)(node - r->s->doc.nodes.start) + 1;
}

static size_t length_of(const yaml_node_t *list) {
  return (size_t)(list->data.sequence.items.top - list->data.sequence.items.start);
}

/* ---- building -------------------------------------------------------------------------------- */

/* Room for one more behind n: the array doubles whenever n is a power of two. */
static fc_err grow(size_t n, size_t size, void *array) {
  return (n & (n - 1)) == 0 ? fc_realloc(n ? 2 * n : 1, size, array) : FC_ERR_OK;
}

static void add_setting(reader *r, const char *name, int value, size_t line) {
  fc_sweep *s = r->s;
  char *copy = NULL;
  fc_err err = grow(s->n_settings, sizeof *s->settings, &s->settings);
  if (err == FC_ERR_OK) err = fc_text_copy(name, strlen(name), &copy);
  note(r, err);
  if (err == FC_ERR_OK) s->settings[s->n_settings++] = (sweep_setting){copy, value, line};
}

/* A step whose settings follow; false: no memory, which is noted. */
static bool begin_step(reader *r) {
  fc_sweep *s = r->s;
  fc_err err = grow(s->n_steps, sizeof *s->steps, &s->steps);
  note(r, err);
  if (err == FC_ERR_OK) s->steps[s->n_steps++] = (sweep_step){.first = s->n_settings};
  return err == FC_ERR_OK;
}

static void end_step(reader *r) {
  sweep_step *step = &r->s->steps[r->s->n_steps - 1];
  step->n = r->s->n_settings - step->first;
}

/* One option may come by a dotted and by a nested name. */
static void check_twice(reader *r, const char *name, size_t line, size_t first) {
  for (size_t i = first; i < r->s->n_settings; i++)
    if (strcmp(r->s->settings[i].name, name) == 0) fault(r, line, name, "is given twice");
}

/* An axis of all steps since `first`. */
static void add_axis(reader *r, size_t first) {
  fc_sweep *s = r->s;
  if (s->n_steps == first) return;
  fc_err err = grow(s->n_axes, sizeof *s->axes, &s->axes);
  note(r, err);
  if (err == FC_ERR_OK) s->axes[s->n_axes++] = (sweep_axis){first, s->n_steps - first, r->part};
}

/* ---- maps of options ------------------------------------------------------------------------- */

/* Nested groups become dotted names; `leaf` gets every option. */
typedef struct {
  reader *r;
  fc_pair_visit *leaf;
  void *arg;
} flattening;

static void visit_nested(void *arg, const char *name, size_t line, yaml_node_t *value) {
  flattening *f = arg;
  bool is_group = value->type == YAML_MAPPING_NODE && fc_config_is_group(f->r->faults, name);
  if (is_group)
    fc_layer_pairs(f->r->faults, &f->r->s->doc, &f->r->place, name, value, visit_nested, f);
  else
    f->leaf(f->arg, name, line, value);
}

static void flatten(reader *r, yaml_node_t *map, size_t line, fc_pair_visit *leaf, void *arg) {
  flattening f = {r, leaf, arg};
  if (map->type != YAML_MAPPING_NODE) {
    fault(r, line, r->part, "must be a map of options");
    return;
  }
  fc_layer_pairs(r->faults, &r->s->doc, &r->place, "", map, visit_nested, &f);
}

static void visit_setting(void *arg, const char *name, size_t line, yaml_node_t *value) {
  reader *r = arg;
  size_t steps = r->s->n_steps;
  check_twice(r, name, line, steps > 0 ? r->s->steps[steps - 1].first : 0);
  add_setting(r, name, id_of(r, value), line);
}

/* ---- the parts ------------------------------------------------------------------------------- */

static void read_set(reader *r, size_t line, yaml_node_t *value) {
  flatten(r, value, line, visit_setting, r);
  r->s->n_fixed = r->s->n_settings;
}

static void read_list(reader *r, size_t line, yaml_node_t *value) {
  size_t first = r->s->n_steps;
  if (value->type != YAML_SEQUENCE_NODE || length_of(value) == 0) {
    fault(r, line, r->part, "must be a list of maps of options");
    return;
  }
  for (size_t i = 0; i < length_of(value); i++) {
    yaml_node_t *entry = yaml_document_get_node(&r->s->doc, value->data.sequence.items.start[i]);
    if (!begin_step(r)) break;
    flatten(r, entry, fc_yaml_line(entry), visit_setting, r);
    end_step(r);
  }
  add_axis(r, first);
}

/* A list's item with its own line, that of the list for a node that was made here. */
static void add_item(reader *r, const char *name, int item, size_t line) {
  size_t own = fc_yaml_line(yaml_document_get_node(&r->s->doc, item));
  add_setting(r, name, item, own > line ? own : line);
}

static bool is_column(reader *r, const char *name, size_t line, const yaml_node_t *value) {
  if (value->type == YAML_SEQUENCE_NODE && length_of(value) > 0) return true;
  fault(r, line, name, "must be a list of values");
  return false;
}

static void visit_grid(void *arg, const char *name, size_t line, yaml_node_t *value) {
  reader *r = arg;
  size_t first = r->s->n_steps;
  if (!is_column(r, name, line, value)) return;
  for (size_t i = 0; i < length_of(value); i++) {
    if (!begin_step(r)) break;
    add_item(r, name, value->data.sequence.items.start[i], line);
    end_step(r);
  }
  add_axis(r, first);
}

static void read_grid(reader *r, size_t line, yaml_node_t *value) {
  flatten(r, value, line, visit_grid, r);
}

/* The columns of a zip: lists of one length. */
typedef struct {
  reader *r;
  struct {
    char *name;
    int list;
    size_t line;
  } * column;
  size_t n, length;
} columns;

static void visit_zip(void *arg, const char *name, size_t line, yaml_node_t *value) {
  columns *c = arg;
  char text[FC_REASON_SIZE], *copy = NULL;
  if (!is_column(c->r, name, line, value)) return;
  if (c->n == 0) c->length = length_of(value);
  if (length_of(value) != c->length) {
    snprintf(text, sizeof text, "has %zu values where %s has %zu: lists under zip go together",
             length_of(value), c->column[0].name, c->length);
    fault(c->r, line, name, text);
    return;
  }
  fc_err err = grow(c->n, sizeof *c->column, &c->column);
  if (err == FC_ERR_OK) err = fc_text_copy(name, strlen(name), &copy);
  note(c->r, err);
  if (err != FC_ERR_OK) return;
  c->column[c->n].name = copy;
  c->column[c->n].list = id_of(c->r, value);
  c->column[c->n++].line = line;
}

static void read_zip(reader *r, size_t line, yaml_node_t *value) {
  columns c = {.r = r};
  size_t first = r->s->n_steps;
  flatten(r, value, line, visit_zip, &c);
  for (size_t i = 0; i < c.length; i++) {
    if (!begin_step(r)) break;
    for (size_t k = 0; k < c.n; k++) {
      if (i == 0) check_twice(r, c.column[k].name, c.column[k].line, r->s->steps[first].first);
      const yaml_node_t *list = yaml_document_get_node(&r->s->doc, c.column[k].list);
      add_item(r, c.column[k].name, list->data.sequence.items.start[i], c.column[k].line);
    }
    end_step(r);
  }
  add_axis(r, first);
  for (size_t k = 0; k < c.n; k++) fc_free(c.column[k].name);
  fc_free(c.column);
}

/* seeds: N is the list from 1 to N. */
static int make_seeds(reader *r, int64_t n) {
  int list = yaml_document_add_sequence(&r->s->doc, NULL, YAML_FLOW_SEQUENCE_STYLE);
  for (int64_t seed = 1; seed <= n && list; seed++) {
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)seed);
    int item = yaml_document_add_scalar(&r->s->doc, NULL, (yaml_char_t *)text, -1,
                                        YAML_PLAIN_SCALAR_STYLE);
    if (!item || !yaml_document_append_sequence_item(&r->s->doc, list, item)) return 0;
  }
  return list;
}

static void read_seeds(reader *r, size_t line, yaml_node_t *value) {
  const char *text = fc_yaml_scalar(value);
  int64_t n = 0;
  if (value->type == YAML_SEQUENCE_NODE) {
    visit_grid(r, "seed", line, value);
  } else if (!text || fc_number_int(text, &n) != FC_NUMBER_OK || n < 1 || n > FC_SWEEP_POINTS_MAX) {
    fault(r, line, r->part, "must be a list of seeds, or how many: 5 stands for 1 to 5");
  } else {
    int list = make_seeds(r, n);
    note(r, list ? FC_ERR_OK : FC_ERR_NOMEM);
    if (list) visit_grid(r, "seed", line, yaml_document_get_node(&r->s->doc, list));
  }
}

static void read_text(reader *r, size_t line, yaml_node_t *value, char **out) {
  const char *text = fc_yaml_scalar(value);
  if (text && *text && !fc_yaml_is_null(value))
    note(r, fc_text_copy(text, strlen(text), out));
  else
    fault(r, line, r->part, "must be a text");
}

/* The base lies where the sweep file says, seen from there. */
static void read_base(reader *r, size_t line, yaml_node_t *value) {
  char *path = NULL;
  const char *slash = strrchr(r->s->path, '/');
  read_text(r, line, value, &path);
  if (!path) return;
  int folder = slash && path[0] != '/' ? (int)(slash - r->s->path) + 1 : 0;
  note(r, fc_format(&r->s->base, "%.*s%s", folder, r->s->path, path));
  fc_free(path);
}

static void read_size(reader *r, size_t line, yaml_node_t *value) {
  read_text(r, line, value, &r->s->size);
  r->s->size_line = line;
}

/* In the order in which they are read, whatever the file's is: `set` first, then the axes, the one
 * that varies slowest first. Nodes are only added by the last. */
static const struct {
  const char *name;
  void (*read)(reader *r, size_t line, yaml_node_t *value);
} parts[] = {
    {"base", read_base}, {"size", read_size}, {"set", read_set},     {"list", read_list},
    {"zip", read_zip},   {"grid", read_grid}, {"seeds", read_seeds},
};
enum { PARTS = sizeof parts / sizeof parts[0] };

static const char *part_name(size_t i) {
  return i < PARTS ? parts[i].name : NULL;
}

/* ---- the file -------------------------------------------------------------------------------- */

typedef struct {
  reader *r;
  struct {
    int value;
    size_t line;
  } found[PARTS];
} top_level;

static void visit_part(void *arg, const char *name, size_t line, yaml_node_t *value) {
  top_level *top = arg;
  for (size_t i = 0; i < PARTS; i++) {
    if (strcmp(name, parts[i].name) != 0) continue;
    top->found[i].value = id_of(top->r, value);
    top->found[i].line = line;
    return;
  }
  char text[FC_REASON_SIZE];
  const char *near = fc_nearest_name(name, part_name);
  bool is_option = fc_config_find(top->r->faults, name) || fc_config_is_group(top->r->faults, name);
  snprintf(text, sizeof text, "no such part of a sweep%s%s%s",
           near        ? "; did you mean "
           : is_option ? "; options of all points stand under set"
                       : "",
           near ? near : "", near ? "?" : "");
  fault(top->r, line, name, text);
}

/* An option may vary in one place only: each axis adds its options to those of the axes before. */
static void add_varying(reader *r, const sweep_setting *set, size_t before) {
  fc_sweep *s = r->s;
  for (size_t i = 0; i < s->n_varies; i++) {
    if (strcmp(s->varies[i], set->name) != 0) continue;
    if (i < before) fault(r, set->line, set->name, "varies in two places");
    return;
  }
  fc_err err = grow(s->n_varies, sizeof *s->varies, &s->varies);
  note(r, err);
  if (err == FC_ERR_OK) s->varies[s->n_varies++] = set->name;
}

static void find_varying(reader *r) {
  const fc_sweep *s = r->s;
  for (size_t a = 0; a < s->n_axes; a++) {
    size_t before = s->n_varies;
    const sweep_step *step = &s->steps[s->axes[a].first], *end = step + s->axes[a].n;
    const sweep_step *last = step + 1;
    if (strcmp(s->axes[a].part, "list") == 0) last = end; /* else all steps set the same options */
    for (; step < last; step++)
      for (size_t i = step->first; i < step->first + step->n; i++)
        add_varying(r, &s->settings[i], before);
  }
}

static void count_points(reader *r) {
  fc_sweep *s = r->s;
  s->count = 1;
  for (size_t a = 0; a < s->n_axes; a++) {
    s->count *= s->axes[a].n;
    if (s->count <= FC_SWEEP_POINTS_MAX) continue;
    char text[FC_REASON_SIZE];
    snprintf(text, sizeof text, "more than %d points", FC_SWEEP_POINTS_MAX);
    fault(r, 1, NULL, text);
    return;
  }
  if (s->n_axes == 0 && r->faults->n_faults == 0)
    fault(r, 1, NULL, "nothing varies: needs list, zip, grid or seeds");
}

/* The file's name without folder and ending. */
static fc_err name_sweep(fc_sweep *s) {
  const char *slash = strrchr(s->path, '/'), *file = slash ? slash + 1 : s->path;
  const char *dot = strrchr(file, '.');
  size_t n = dot && dot > file ? (size_t)(dot - file) : strlen(file);
  return fc_text_copy(file, n, &s->name);
}

void fc_sweep_read(fc_sweep *s, fc_config *faults) {
  reader r = {.s = s, .faults = faults, .place = {.source = s->path, .label = ""}};
  top_level top = {.r = &r};
  yaml_node_t *root = yaml_document_get_root_node(&s->doc);
  if (!root || root->type != YAML_MAPPING_NODE) {
    fault(&r, 1, NULL, "must be a map with the parts of a sweep, such as grid and seeds");
    return;
  }
  fc_layer_pairs(faults, &s->doc, &r.place, "", root, visit_part, &top);
  for (size_t i = 0; i < PARTS; i++) {
    r.part = parts[i].name;
    if (top.found[i].value)
      parts[i].read(&r, top.found[i].line, yaml_document_get_node(&s->doc, top.found[i].value));
  }
  find_varying(&r);
  count_points(&r);
  note(&r, name_sweep(s));
}
