/* reference.c - the option reference in four forms, from the tables alone: nothing about an option
 * is written down twice. */
#include "config_private.h"
#include "fedcell/fc_mem.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 96, ALLOWED_SIZE = 4096 };

static const char *default_text(const fc_option *o) {
  if (!o->dflt) return "";
  if (o->dflt[0] != '\0') return o->dflt;
  return o->type == FC_OPT_STRING ? "\"\"" : "[]";
}

/* Adds "int, 1 to 9", "real, 0 to 1 s", "choice, one of a, b". */
static void add_allowed(fc_text *t, const fc_option *o, bool with_type) {
  char allowed[ALLOWED_SIZE];
  fc_value_allowed(o, allowed, sizeof allowed);
  bool is_typed = with_type || !allowed[0];
  bool is_unit_told = !o->unit[0] || allowed[0]; /* a range ends in its unit */
  fc_text_add(t, "%s%s%s%s%s", is_typed ? fc_value_type_words(o->type)->name : "",
              is_unit_told ? "" : " in ", is_unit_told ? "" : o->unit,
              is_typed && allowed[0] ? ", " : "", allowed);
}

/* Wraps a text made aside. */
static void wrap_aside(fc_text *t, size_t indent, const char *lead, fc_text *aside) {
  if (aside->err != FC_ERR_OK) {
    t->err = aside->err;
  } else {
    fc_text_wrap(t, indent, lead, WIDTH, aside->data);
  }
  fc_free(aside->data);
}

/* ---- text ------------------------------------------------------------------------------------ */

static void text_option(fc_text *t, const fc_option *o) {
  fc_text about = {0};
  fc_text_add(t, "  %s%s%s\n", o->name, o->dflt ? " = " : "  (required)", default_text(o));
  add_allowed(&about, o, true);
  wrap_aside(t, 6, "", &about);
  fc_text_wrap(t, 6, "", WIDTH, o->meaning);
}

static void write_text(fc_text *t, const fc_config *cfg) {
  for (size_t i = 0; i < cfg->n_tables; i++) {
    fc_text_add(t, "%s%s\n\n", i == 0 ? "" : "\n", cfg->tables[i].title);
    for (size_t k = 0; k < cfg->tables[i].n; k++) text_option(t, &cfg->tables[i].options[k]);
  }
}

/* ---- Markdown -------------------------------------------------------------------------------- */

/* quote: "" or "`". A bar would end the cell, also inside quotes. */
static void md_cell(fc_text *t, const char *quote, const char *s) {
  fc_text_add(t, " %s", quote);
  for (; *s; s++) {
    if (*s == '|') fc_text_bytes(t, "\\", 1);
    fc_text_bytes(t, *s == '\n' ? " " : s, 1);
  }
  fc_text_add(t, "%s |", quote);
}

static void md_option(fc_text *t, const fc_option *o) {
  char allowed[ALLOWED_SIZE];
  fc_value_allowed(o, allowed, sizeof allowed);
  fc_text_add(t, "|");
  md_cell(t, "`", o->name);
  md_cell(t, "", fc_value_type_words(o->type)->name);
  md_cell(t, "", o->unit);
  md_cell(t, o->dflt ? "`" : "", o->dflt ? default_text(o) : "required");
  md_cell(t, "", allowed);
  md_cell(t, "", o->meaning);
  fc_text_add(t, "\n");
}

static void write_md(fc_text *t, const fc_config *cfg) {
  for (size_t i = 0; i < cfg->n_tables; i++) {
    fc_text_add(t, "%s## %s\n\n", i == 0 ? "" : "\n", cfg->tables[i].title);
    fc_text_add(t, "| Option | Type | Unit | Default | Allowed | Meaning |\n");
    fc_text_add(t, "| --- | --- | --- | --- | --- | --- |\n");
    for (size_t k = 0; k < cfg->tables[i].n; k++) md_option(t, &cfg->tables[i].options[k]);
  }
}

/* ---- YAML ------------------------------------------------------------------------------------ */

/* A required option needs some value, or the example could not be loaded: the first choice, the
 * number nearest to 1 in the range. */
static void yaml_example(fc_text *t, const fc_option *o) {
  fc_value v = {.is_set = true};
  char *first = o->choice ? (char *)o->choice(0) : "change-me";
  double x = 1.0;
  if (o->min <= o->max) x = fmin(fmax(x, o->min), o->max);
  v.integer = (int64_t)ceil(x); /* a range that holds no 1 may begin with a fraction */
  v.real = x;
  v.text = first;
  v.names = &first;
  v.reals = &x;
  v.n = 1;
  v.dist = (fc_dist){.kind = FC_DIST_CONSTANT, .a = x};
  fc_dump_value(t, o, &v);
}

typedef struct {
  const fc_config *cfg;
  const char *title; /* the latest one written */
} yaml_context;

/* The title of the table whenever it changes. */
static void yaml_heading(fc_text *t, const fc_slot *slot, size_t indent, void *context) {
  yaml_context *c = context;
  const char *title = c->cfg->tables[slot->table].title;
  if (c->title && strcmp(c->title, title) == 0) return;
  fc_text_add(t, "%s", c->title ? "\n" : "");
  fc_text_wrap(t, indent, "## ", WIDTH, title);
  c->title = title;
}

static void yaml_leaf(fc_text *t, const fc_slot *slot, size_t indent, const char *key,
                      void *context) {
  const fc_option *o = slot->option;
  fc_text about = {0};
  yaml_heading(t, slot, indent, context);
  fc_text_add(&about, "%s (%s", o->meaning, o->dflt ? "" : "required; ");
  add_allowed(&about, o, false);
  fc_text_add(&about, "%s)", o->type == FC_OPT_DIST ? "; may vary over devices" : "");
  wrap_aside(t, indent, "# ", &about);
  fc_text_add(t, "%*s%s: ", (int)indent, "", key);
  if (!o->dflt) {
    yaml_example(t, o);
  } else if (o->dflt[0] != '\0' && !strchr(o->dflt, '\n')) {
    fc_text_add(t, "%s", o->dflt); /* as the author of the option wrote it: 20e6, not 20000000 */
  } else {
    fc_dump_value(t, o, &slot->value);
  }
  fc_text_add(t, "\n");
}

static void write_yaml(fc_text *t, const fc_config *cfg) {
  yaml_context context = {cfg, NULL};
  fc_dump_tree(t, cfg, yaml_leaf, yaml_heading, &context);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* A bound, null where there is none: JSON knows no infinity. */
static json_t *json_bound(const fc_option *o, double x) {
  bool is_number = o->type == FC_OPT_INT || o->type == FC_OPT_REAL || o->type == FC_OPT_REALS ||
                   o->type == FC_OPT_DIST;
  return is_number && o->min <= o->max && isfinite(x) ? json_real(x) : json_null();
}

static json_t *json_choices(const fc_option *o) {
  if (!o->choice) return json_null();
  json_t *list = json_array();
  const char *name;
  for (size_t i = 0; (name = o->choice(i)) != NULL; i++) {
    json_array_append_new(list, json_string(name));
  }
  return list;
}

static json_t *json_option(const fc_option_table *table, const fc_option *o) {
  return json_pack("{s:s, s:s, s:s, s:s, s:o, s:b, s:o, s:o, s:o, s:s}", "name", o->name, "table",
                   table->title, "type", fc_value_type_words(o->type)->name, "unit", o->unit,
                   "default", o->dflt ? json_string(o->dflt) : json_null(), "required", !o->dflt,
                   "min", json_bound(o, o->min), "max", json_bound(o, o->max), "choices",
                   json_choices(o), "meaning", o->meaning);
}

static void write_json(fc_text *t, const fc_config *cfg) {
  json_t *list = json_array();
  for (size_t i = 0; i < cfg->n; i++) {
    const fc_slot *slot = &cfg->slots[i];
    json_array_append_new(list, json_option(&cfg->tables[slot->table], slot->option));
  }
  char *text = json_dumps(list, JSON_INDENT(2));
  json_decref(list);
  if (text) {
    fc_text_add(t, "%s\n", text);
  } else {
    t->err = fc_fail(FC_ERR_NOMEM, "out of memory writing the option reference");
  }
  free(text);
}

/* ---- the table of forms ---------------------------------------------------------------------- */

static const struct {
  const char *name;
  void (*write)(fc_text *t, const fc_config *cfg);
} forms[] = {{"text", write_text}, {"md", write_md}, {"yaml", write_yaml}, {"json", write_json}};
enum { N_FORMS = sizeof forms / sizeof forms[0] };

fc_err fc_config_reference(const fc_option_table *tables, size_t n, const char *format,
                           char **out) {
  *out = NULL;
  for (size_t i = 0; i < N_FORMS; i++) {
    if (strcmp(format, forms[i].name) != 0) continue;
    fc_config *cfg;
    fc_text t = {0};
    FC_TRY(fc_config_create(tables, n, &cfg));
    forms[i].write(&t, cfg);
    fc_config_destroy(&cfg);
    return fc_text_give(&t, out);
  }
  return fc_fail(FC_ERR_USAGE, "format = %s: must be one of text, md, yaml, json", format);
}
