/* dump.c - values as YAML that reads back equal: numbers with as many digits as they need, text in
 * quotes wherever a reader could take it for something else (also a YAML 1.1 reader, such as
 * Python's). */
#include "config_private.h"
#include "fedcell/fc_mem.h"
#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

/* ---- values ---------------------------------------------------------------------------------- */

/* Plain: begins like a word or a path, has only harmless characters, and is no word that YAML 1.1
 * gives a meaning. */
static bool is_plain_text(const char *s) {
  static const char *const reserved[] = {"null", "true", "false", "yes", "no",
                                         "on",   "off",  "y",     "n"};
  bool is_path = *s == '/' || strncmp(s, "./", 2) == 0 || strncmp(s, "../", 3) == 0;
  if (!is_path && *s != '_' && !(isascii((unsigned char)*s) && isalpha((unsigned char)*s))) {
    return false;
  }
  for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
    if (strcasecmp(s, reserved[i]) == 0) return false;
  }
  return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-") ==
         strlen(s);
}

/* Line separators and what YAML does not call printable need an escape. */
static bool is_printable(uint32_t c) {
  if (c < 0x20 || c == 0x2028 || c == 0x2029 || c == 0xFEFF) return false;
  return c < 0x7F || (c >= 0xA0 && c <= 0xD7FF) || (c >= 0xE000 && c <= 0xFFFD) ||
         (c >= 0x10000 && c <= 0x10FFFF);
}

static void add_quoted(fc_text *t, const char *s) {
  fc_text_add(t, "\"");
  while (*s) {
    size_t n;
    uint32_t c = fc_text_code_point(s, &n);
    if (c == '"' || c == '\\') {
      fc_text_add(t, "\\%c", (int)c);
    } else if (is_printable(c)) {
      fc_text_bytes(t, s, n);
    } else if (c < 0x100) {
      fc_text_add(t, "\\x%02" PRIX32, c);
    } else {
      fc_text_add(t, c < 0x10000 ? "\\u%04" PRIX32 : "\\U%08" PRIX32, c);
    }
    s += n;
  }
  fc_text_add(t, "\"");
}

static void add_text(fc_text *t, const char *s) {
  if (is_plain_text(s)) {
    fc_text_add(t, "%s", s);
  } else {
    add_quoted(t, s);
  }
}

static void add_real(fc_text *t, double x) {
  char number[FC_NUMBER_SIZE];
  fc_number_write(x, number);
  fc_text_add(t, "%s", number);
}

static void add_reals(fc_text *t, const double *x, size_t n) {
  for (size_t i = 0; i < n; i++) {
    fc_text_add(t, i == 0 ? "[" : ", ");
    add_real(t, x[i]);
  }
  fc_text_add(t, n == 0 ? "[]" : "]");
}

static void add_names(fc_text *t, char *const *names, size_t n) {
  for (size_t i = 0; i < n; i++) {
    fc_text_add(t, i == 0 ? "[" : ", ");
    add_text(t, names[i]);
  }
  fc_text_add(t, n == 0 ? "[]" : "]");
}

static void add_dist(fc_text *t, const fc_dist *d) {
  static const char *const kinds[] = {[FC_DIST_UNIFORM] = "uniform",
                                      [FC_DIST_LOG_UNIFORM] = "log_uniform",
                                      [FC_DIST_NORMAL] = "normal",
                                      [FC_DIST_CHOICE] = "choice"};
  if (d->kind == FC_DIST_CONSTANT) {
    add_real(t, d->a);
    return;
  }
  fc_text_add(t, "{%s: ", kinds[d->kind]);
  if (d->kind == FC_DIST_CHOICE) {
    add_reals(t, d->choices, d->n);
  } else {
    add_reals(t, (const double[]){d->a, d->b}, 2);
  }
  fc_text_add(t, "}");
}

void fc_dump_value(fc_text *t, const fc_option *option, const fc_value *v) {
  switch (option->type) {
  case FC_OPT_INT:
    fc_text_add(t, "%" PRId64, v->integer);
    break;
  case FC_OPT_REAL:
    add_real(t, v->real);
    break;
  case FC_OPT_BOOL:
    fc_text_add(t, v->truth ? "true" : "false");
    break;
  case FC_OPT_STRING:
  case FC_OPT_CHOICE:
    add_text(t, v->text);
    break;
  case FC_OPT_NAMES:
    add_names(t, v->names, v->n);
    break;
  case FC_OPT_REALS:
    add_reals(t, v->reals, v->n);
    break;
  case FC_OPT_DIST:
    add_dist(t, &v->dist);
    break;
  }
}

/* ---- the tree -------------------------------------------------------------------------------- */

typedef struct {
  fc_text *t;
  const fc_config *cfg;
  bool *is_done; /* per slot, and all that are not written */
  fc_dump_leaf leaf;
  fc_dump_heading heading;
  void *context;
} tree;

/* Writes all slots whose names begin with the first n characters of prefix. A group is written
 * whole where it is first met, also if its options stand in several tables: a YAML map may not
 * name it twice. Depth is that of the names. */
static void write_group(tree *w, const char *prefix, size_t n, size_t indent) {
  for (size_t i = 0; i < w->cfg->n; i++) {
    const fc_slot *slot = &w->cfg->slots[i];
    const char *name = slot->option->name;
    if (w->is_done[i] || strncmp(name, prefix, n) != 0) continue;
    const char *dot = strchr(name + n, '.');
    if (dot) {
      if (w->heading) w->heading(w->t, slot, indent, w->context);
      fc_text_add(w->t, "%*s%.*s:\n", (int)indent, "", (int)(dot - name - (long)n), name + n);
      write_group(w, name, (size_t)(dot - name) + 1, indent + 2);
    } else {
      w->is_done[i] = true;
      w->leaf(w->t, slot, indent, name + n, w->context);
    }
  }
}

void fc_dump_tree(fc_text *t, const fc_config *cfg, fc_dump_leaf leaf, fc_dump_heading heading,
                  void *context) {
  tree w = {t, cfg, NULL, leaf, heading, context};
  fc_err err = fc_alloc(cfg->n, sizeof *w.is_done, &w.is_done);
  if (err != FC_ERR_OK) {
    t->err = err;
    return;
  }
  for (size_t i = 0; i < cfg->n; i++) w.is_done[i] = !fc_config_counts(cfg, &cfg->slots[i]);
  write_group(&w, "", 0, 0);
  fc_free(w.is_done);
}

static void dump_leaf(fc_text *t, const fc_slot *slot, size_t indent, const char *key,
                      void *context) {
  (void)context;
  /* A required option without a value: a fault at finish, but a dump may come before that. */
  fc_text_add(t, "%*s%s%s:", (int)indent, "", slot->value.is_set ? "" : "# ", key);
  if (slot->value.is_set) {
    fc_text_add(t, " ");
    fc_dump_value(t, slot->option, &slot->value);
  }
  fc_text_add(t, "\n");
}

fc_err fc_config_dump(const fc_config *cfg, char **out) {
  fc_text t = {0};
  fc_dump_tree(&t, cfg, dump_leaf, NULL, NULL);
  return fc_text_give(&t, out);
}

fc_err fc_config_text(const fc_config *cfg, const char *name, char **out) {
  fc_text t = {0};
  const fc_slot *slot = fc_config_find(cfg, name);
  assert(slot && "fc_config_text: no such option");
  if (slot && slot->value.is_set) fc_dump_value(&t, slot->option, &slot->value);
  return fc_text_give(&t, out);
}
