/* value.c - one YAML node to the value of one option. One table of types holds what each type is
 * called, what a value must be, and how it is read. Reasons name what is allowed; the place and the
 * option's name are added by the caller (fault.c). A value owns its memory until fc_value_clear. */
#include "config_private.h"
#include "fedcell/fc_mem.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One node being read for one option. */
typedef struct {
  const fc_option *option;
  yaml_document_t *doc;
  fc_reason *reason;
} reader;

/* ---- faults -------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static fc_err reject(const reader *r, const yaml_node_t *node,
                                                           const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(r->reason->text, sizeof r->reason->text, format, args);
  va_end(args);
  r->reason->line = node ? fc_yaml_line(node) : 0;
  return FC_ERR_USAGE;
}

static fc_err reject_type(const reader *r, const char *hint) {
  char must_be[FC_REASON_SIZE - 64];
  fc_value_must_be(r->option, must_be, sizeof must_be);
  return reject(r, NULL, "must be %s%s", must_be, hint);
}

/* node NULL: the option's own line; item: "" or "item 2 ". */
static fc_err reject_range(const reader *r, const yaml_node_t *node, const char *item) {
  char allowed[FC_REASON_SIZE - 64];
  fc_value_allowed(r->option, allowed, sizeof allowed);
  return reject(r, node, "%smust be %s", item, allowed);
}

/* ---- numbers ------------------------------------------------------------------------------- */

static bool is_plain(const yaml_node_t *node) {
  return node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool is_quoted(const yaml_node_t *node) {
  return node->type == YAML_SCALAR_NODE && !is_plain(node);
}

static bool is_in_range(const fc_option *o, double x) {
  return !fc_value_is_bounded(o) || (x >= o->min && x <= o->max);
}

static fc_err read_int(const reader *r, yaml_node_t *node, fc_value *out) {
  const char *text = is_plain(node) ? fc_yaml_scalar(node) : NULL;
  fc_number_result result = text ? fc_number_int(text, &out->integer) : FC_NUMBER_NONE;
  if (result == FC_NUMBER_TOO_LARGE && !fc_value_is_bounded(r->option)) {
    return reject(r, NULL, "must be a whole number below 2^63");
  }
  if (result == FC_NUMBER_TOO_LARGE) return reject_range(r, NULL, "");
  if (result != FC_NUMBER_OK) return reject_type(r, is_quoted(node) ? " (without quotes)" : "");
  return is_in_range(r->option, (double)out->integer) ? FC_ERR_OK : reject_range(r, NULL, "");
}

/* One finite number; with_range also checks the option's range. item: "" or "item 2 ". */
static fc_err read_number(const reader *r, yaml_node_t *node, const char *item, bool with_range,
                          double *out) {
  const yaml_node_t *at = item[0] ? node : NULL;
  const char *text = is_plain(node) ? fc_yaml_scalar(node) : NULL;
  fc_number_result result = text ? fc_number_real(text, out) : FC_NUMBER_NONE;
  if (result == FC_NUMBER_TOO_LARGE) return reject(r, at, "%sis too large for a double", item);
  if (result == FC_NUMBER_TOO_SMALL) return reject(r, at, "%sis too small for a double", item);
  if (result != FC_NUMBER_OK) {
    return reject(r, at, "%smust be a finite number%s", item,
                  is_quoted(node) ? " (without quotes)" : "");
  }
  return !with_range || is_in_range(r->option, *out) ? FC_ERR_OK : reject_range(r, at, item);
}

static fc_err read_real(const reader *r, yaml_node_t *node, fc_value *out) {
  const char *text = is_plain(node) ? fc_yaml_scalar(node) : NULL;
  if (!text || fc_number_real(text, &out->real) == FC_NUMBER_NONE) {
    return reject_type(r, is_quoted(node) ? " (without quotes)" : "");
  }
  return read_number(r, node, "", true, &out->real);
}

/* All items of a sequence into out->reals; the first n_ranged are held against the range. */
static fc_err read_numbers(const reader *r, yaml_node_t *node, size_t n_ranged, fc_value *out) {
  const yaml_node_item_t *items = node->data.sequence.items.start;
  out->n = (size_t)(node->data.sequence.items.top - items);
  FC_TRY(fc_alloc(out->n, sizeof *out->reals, &out->reals));
  for (size_t i = 0; i < out->n; i++) {
    char item[32];
    snprintf(item, sizeof item, "item %zu ", i + 1);
    yaml_node_t *x = yaml_document_get_node(r->doc, items[i]);
    FC_TRY(read_number(r, x, item, i < n_ranged, &out->reals[i]));
  }
  return FC_ERR_OK;
}

static fc_err read_reals(const reader *r, yaml_node_t *node, fc_value *out) {
  if (node->type != YAML_SEQUENCE_NODE) return reject_type(r, ": [1, 2]");
  return read_numbers(r, node, SIZE_MAX, out);
}

/* ---- distributions --------------------------------------------------------------------------- */

static const struct {
  const char *name;
  fc_dist_kind kind;
  size_t n, n_ranged; /* numbers it takes, 0: one or more; how many of them are values */
  const char *form;
} dist_kinds[] = {
    {"uniform", FC_DIST_UNIFORM, 2, 2, "[low, high]"},
    {"log_uniform", FC_DIST_LOG_UNIFORM, 2, 2, "[low, high]"},
    {"normal", FC_DIST_NORMAL, 2, 1, "[mean, standard deviation]"},
    {"choice", FC_DIST_CHOICE, 0, SIZE_MAX, "[number, number, ...]"},
};
enum { N_DIST_KINDS = sizeof dist_kinds / sizeof dist_kinds[0] };

static const char *dist_kind_name(size_t i) {
  return i < N_DIST_KINDS ? dist_kinds[i].name : NULL;
}

static fc_err check_dist(const reader *r, const fc_dist *d) {
  switch (d->kind) {
  case FC_DIST_LOG_UNIFORM:
    if (!(d->a > 0.0)) return reject(r, NULL, "log_uniform needs numbers above 0");
    /* fall through */
  case FC_DIST_UNIFORM:
    if (!(d->a <= d->b)) return reject(r, NULL, "the lower end is above the upper end");
    break;
  case FC_DIST_NORMAL:
    if (!(d->b >= 0.0)) return reject(r, NULL, "the standard deviation must be at least 0");
    break;
  case FC_DIST_CONSTANT:
  case FC_DIST_CHOICE:
    break;
  }
  return FC_ERR_OK;
}

static fc_err read_dist_kind(const reader *r, size_t k, yaml_node_t *numbers, fc_value *out) {
  size_t n = dist_kinds[k].n, given = 0;
  if (numbers->type == YAML_SEQUENCE_NODE) {
    given = (size_t)(numbers->data.sequence.items.top - numbers->data.sequence.items.start);
  }
  if (given == 0 || (n > 0 && given != n)) {
    return reject(r, NULL, "%s needs %s", dist_kinds[k].name, dist_kinds[k].form);
  }
  FC_TRY(read_numbers(r, numbers, dist_kinds[k].n_ranged, out));
  out->dist.kind = dist_kinds[k].kind;
  if (out->dist.kind == FC_DIST_CHOICE) {
    out->dist.choices = out->reals;
    out->dist.n = out->n;
  } else {
    out->dist.a = out->reals[0];
    out->dist.b = out->reals[1];
  }
  return check_dist(r, &out->dist);
}

static fc_err read_dist(const reader *r, yaml_node_t *node, fc_value *out) {
  out->dist = (fc_dist){.kind = FC_DIST_CONSTANT, .min = r->option->min, .max = r->option->max};
  if (node->type == YAML_SCALAR_NODE) {
    FC_TRY(read_real(r, node, out));
    out->dist.a = out->real;
    return FC_ERR_OK;
  }
  if (node->type != YAML_MAPPING_NODE) return reject_type(r, "");
  const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
  if (node->data.mapping.pairs.top - pair != 1) return reject_type(r, "");
  const char *kind = fc_yaml_scalar(yaml_document_get_node(r->doc, pair->key));
  if (!kind) return reject_type(r, "");
  for (size_t k = 0; k < N_DIST_KINDS; k++) {
    if (strcmp(kind, dist_kinds[k].name) != 0) continue;
    return read_dist_kind(r, k, yaml_document_get_node(r->doc, pair->value), out);
  }
  const char *near = fc_nearest_name(kind, dist_kind_name);
  char hint[64] = "";
  if (near) snprintf(hint, sizeof hint, "; did you mean %s?", near);
  return reject_type(r, hint);
}

/* ---- text ------------------------------------------------------------------------------------ */

static fc_err read_bool(const reader *r, yaml_node_t *node, fc_value *out) {
  const char *text = is_plain(node) ? fc_yaml_scalar(node) : NULL;
  out->truth = text && strcmp(text, "true") == 0;
  if (out->truth || (text && strcmp(text, "false") == 0)) return FC_ERR_OK;
  return reject_type(r, is_quoted(node) ? " (without quotes)" : "");
}

static fc_err read_string(const reader *r, yaml_node_t *node, fc_value *out) {
  if (node->type != YAML_SCALAR_NODE) return reject_type(r, " (put it in quotes)");
  if (!fc_yaml_scalar(node)) return reject(r, NULL, "text must not contain a NUL character");
  return fc_text_copy(fc_yaml_scalar(node), node->data.scalar.length, &out->text);
}

/* Is text one of the choices? If not, the reason says which there are and the nearest. */
static fc_err check_choice(const reader *r, const yaml_node_t *at, const char *item,
                           const char *text) {
  const char *name;
  for (size_t i = 0; (name = r->option->choice(i)) != NULL; i++) {
    if (strcmp(name, text) == 0) return FC_ERR_OK;
  }
  char names[FC_REASON_SIZE - 160] = "", hint[80] = "";
  fc_value_choices(r->option, names, sizeof names);
  const char *near = fc_nearest_name(text, r->option->choice);
  if (near) snprintf(hint, sizeof hint, "; did you mean %s?", near);
  return reject(r, at, "%smust be one of %s%s", item, names, hint);
}

static fc_err read_choice(const reader *r, yaml_node_t *node, fc_value *out) {
  const char *text = fc_yaml_scalar(node);
  if (!text) return reject_type(r, "");
  FC_TRY(check_choice(r, NULL, "", text));
  return fc_text_copy(text, strlen(text), &out->text);
}

/* Checks every item and adds up the bytes of the texts with their ends. */
static fc_err measure_names(const reader *r, yaml_node_t *node, size_t *bytes) {
  const yaml_node_item_t *items = node->data.sequence.items.start;
  size_t n = (size_t)(node->data.sequence.items.top - items);
  *bytes = 0;
  for (size_t i = 0; i < n; i++) {
    const yaml_node_t *x = yaml_document_get_node(r->doc, items[i]);
    const char *text = fc_yaml_is_null(x) ? NULL : fc_yaml_scalar(x);
    if (!text) return reject(r, x, "item %zu must be a name", i + 1);
    char item[FC_SHOW_SIZE + 32], shown[FC_SHOW_SIZE];
    fc_text_fit(shown, sizeof shown, text, strlen(text));
    snprintf(item, sizeof item, "item %zu (%s) ", i + 1, shown);
    if (r->option->choice) FC_TRY(check_choice(r, x, item, text));
    *bytes += strlen(text) + 1;
  }
  return FC_ERR_OK;
}

static fc_err read_names(const reader *r, yaml_node_t *node, fc_value *out) {
  if (node->type != YAML_SEQUENCE_NODE) return reject_type(r, ": [a, b]");
  size_t bytes;
  FC_TRY(measure_names(r, node, &bytes));
  const yaml_node_item_t *items = node->data.sequence.items.start;
  out->n = (size_t)(node->data.sequence.items.top - items);
  FC_TRY(fc_alloc(out->n * sizeof(char *) + bytes, 1, &out->names));
  char *end = (char *)(out->names + out->n); /* the characters follow the pointers */
  for (size_t i = 0; i < out->n; i++) {
    out->names[i] = end;
    end = stpcpy(end, fc_yaml_scalar(yaml_document_get_node(r->doc, items[i]))) + 1;
  }
  return FC_ERR_OK;
}

/* ---- the table of types ---------------------------------------------------------------------- */

static const struct {
  fc_type_words words;
  fc_err (*read)(const reader *r, yaml_node_t *node, fc_value *out);
} types[] = {
    [FC_OPT_INT] = {{"int", "a whole number"}, read_int},
    [FC_OPT_REAL] = {{"real", "a finite number"}, read_real},
    [FC_OPT_BOOL] = {{"bool", "true or false"}, read_bool},
    [FC_OPT_STRING] = {{"text", "text"}, read_string},
    [FC_OPT_CHOICE] = {{"choice", ""}, read_choice},
    [FC_OPT_NAMES] = {{"list of names", "a list of names"}, read_names},
    [FC_OPT_REALS] = {{"list of numbers", "a list of numbers"}, read_reals},
    [FC_OPT_DIST] = {{"number or distribution",
                      "a number or one of {uniform: [low, high]}, {log_uniform: [low, high]}, "
                      "{normal: [mean, sd]}, {choice: [a, b, ...]}"},
                     read_dist},
};

const fc_type_words *fc_value_type_words(fc_option_type type) {
  return &types[type].words;
}

fc_err fc_value_read(const fc_option *option, yaml_document_t *doc, yaml_node_t *node,
                     fc_value *out, fc_reason *reason) {
  reader r = {option, doc, reason};
  memset(out, 0, sizeof *out);
  *reason = (fc_reason){"", 0};
  if (fc_yaml_is_null(node)) {
    char must_be[FC_REASON_SIZE - 64];
    fc_value_must_be(option, must_be, sizeof must_be);
    return reject(&r, NULL, "has no value; must be %s", must_be);
  }
  fc_err err = types[option->type].read(&r, node, out);
  out->is_set = err == FC_ERR_OK;
  if (err != FC_ERR_OK) fc_value_clear(out);
  return err;
}

bool fc_value_is_emptiable(const fc_option *o) {
  return o->type == FC_OPT_STRING || o->type == FC_OPT_NAMES || o->type == FC_OPT_REALS;
}

fc_err fc_value_empty(const fc_option *o, fc_value *out) {
  memset(out, 0, sizeof *out);
  if (o->type == FC_OPT_STRING) FC_TRY(fc_text_copy("", 0, &out->text));
  out->is_set = true;
  return FC_ERR_OK;
}

void fc_value_clear(fc_value *v) {
  fc_free(v->text);
  fc_free(v->names);
  fc_free(v->reals);
  memset(v, 0, sizeof *v);
}
