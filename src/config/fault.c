/* fault.c - faults are collected as lines of text and told all at once.
 *   run.yaml:7: federation.rounds = -3: must be 1 to 1000000000
 *   --set federation.rounds=-3: must be 1 to 1000000000 */
#include "config_private.h"
#include "fedcell/fc_mem.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool fc_fault_is_full(const fc_config *cfg) {
  return cfg->n_kept == FC_FAULTS_KEPT;
}

/* "run.yaml:7: name = value: ". What a --set already shows is not repeated. */
static void add_place(fc_text *t, const fc_place *p, const char *name, const char *value) {
  fc_text_add(t, "%s", p->source);
  if (p->line > 0) fc_text_add(t, ":%zu", p->line);
  fc_text_add(t, ": ");
  if (!name || (p->set_key && strcmp(p->set_key, name) == 0)) return;
  char shown[FC_NAME_SIZE];
  fc_text_fit(shown, sizeof shown, name, strlen(name));
  fc_text_add(t, "%s%s", p->label, shown);
  if (value) fc_text_add(t, " = %s", value);
  fc_text_add(t, ": ");
}

static fc_err keep_line(fc_config *cfg, fc_text *t) {
  char line[FC_FAULT_LENGTH], *copy;
  fc_text_bytes(t, "", 0);
  if (t->err != FC_ERR_OK) return t->err;
  fc_text_fit(line, sizeof line, t->data, t->length);
  FC_TRY(fc_text_copy(line, strlen(line), &copy));
  cfg->faults[cfg->n_kept++] = copy;
  return FC_ERR_OK;
}

void fc_fault_add(fc_config *cfg, const fc_place *place, const char *name, const char *value,
                  const char *format, ...) {
  cfg->n_faults++;
  if (fc_fault_is_full(cfg)) return;
  fc_text t = {0};
  add_place(&t, place, name, value);
  char text[FC_FAULT_LENGTH];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  fc_text_add(&t, "%s", text);
  fc_err err = keep_line(cfg, &t);
  fc_config_note_failure(cfg, err);
  fc_free(t.data);
}

/* What a slot holds, as YAML on one line. */
static void show_value(const fc_slot *slot, char *buf, size_t size) {
  fc_text t = {0};
  fc_dump_value(&t, slot->option, &slot->value);
  fc_text_bytes(&t, "", 0);
  if (t.err == FC_ERR_OK) fc_text_fit(buf, size, t.data, t.length);
  fc_free(t.data);
}

/* Did the value come from a --set of this very option, not from a file or of its group? */
static bool is_set_of(const fc_slot *slot) {
  static const char flag[] = "--set ";
  size_t n = strlen(slot->option->name);
  if (slot->line > 0) return false; /* only --set has no line */
  const char *key = slot->source + strlen(flag);
  key += strspn(key, " \t");
  return strncmp(key, slot->option->name, n) == 0 && key[n + strspn(key + n, " \t")] == '=';
}

void fc_config_fault(fc_config *cfg, const char *name, const char *format, ...) {
  const fc_slot *slot = fc_config_find(cfg, name);
  assert(slot && "fc_config_fault: no such option");
  char text[FC_FAULT_LENGTH], value[FC_SHOW_SIZE + 16] = "?";
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  fc_place place = {.source = cfg->file ? cfg->file : "configuration", .label = ""};
  bool has_value = slot && slot->value.is_set;
  if (has_value) show_value(slot, value, FC_SHOW_SIZE);
  if (slot && slot->is_given) {
    place.source = slot->source;
    place.line = slot->line;
    if (is_set_of(slot)) place.set_key = slot->option->name;
  } else if (has_value) {
    strcat(value, " (default)");
  }
  fc_fault_add(cfg, &place, name, has_value ? value : NULL, "%s", text);
}

/* ---- telling --------------------------------------------------------------------------------- */

/* The message with room for its last line, "... and N more faults". */
typedef struct {
  char text[FC_ERR_MESSAGE_SIZE];
  size_t used;
  size_t n_told;
  bool is_full;
} telling;

enum { LAST_LINE = 48 };

static void tell(telling *m, const char *line) {
  size_t n = strlen(line) + (m->n_told > 0 ? 1 : 0);
  m->is_full = m->is_full || m->used + n + LAST_LINE >= sizeof m->text;
  if (m->is_full) return;
  m->used += (size_t)snprintf(m->text + m->used, sizeof m->text - m->used, "%s%s",
                              m->n_told > 0 ? "\n" : "", line);
  m->n_told++;
}

static size_t tell_missing(const fc_config *cfg, telling *m) {
  size_t n = 0;
  for (size_t i = 0; i < cfg->n; i++) {
    const fc_slot *slot = &cfg->slots[i];
    /* A value that was given and refused has had its line already. */
    if (slot->value.is_set || slot->is_refused || slot->option->dflt) continue;
    if (!fc_config_counts(cfg, slot)) continue;
    char must_be[FC_REASON_SIZE], line[FC_FAULT_LENGTH];
    fc_value_must_be(slot->option, must_be, sizeof must_be);
    snprintf(line, sizeof line, "%s: %s: is required and not given; must be %s",
             cfg->file ? cfg->file : "configuration", slot->option->name, must_be);
    tell(m, line);
    n++;
  }
  return n;
}

/* Options that were given and mean nothing in this study. */
static void find_strangers(fc_config *cfg) {
  for (size_t i = 0; i < cfg->n; i++) {
    fc_slot *slot = &cfg->slots[i];
    if (!slot->is_given || fc_config_counts(cfg, slot)) continue;
    fc_config_fault(cfg, slot->option->name, "means something in study: %s alone",
                    cfg->tables[slot->table].study);
    slot->is_given = false; /* told once */
  }
}

fc_err fc_config_finish(fc_config *cfg) {
  FC_CHECK(cfg->failure == FC_ERR_OK, NOMEM, "out of memory while reading the configuration");
  find_strangers(cfg);
  telling m = {.used = 0};
  for (size_t i = 0; i < cfg->n_kept; i++) tell(&m, cfg->faults[i]);
  size_t n = cfg->n_faults;
  n += tell_missing(cfg, &m);
  if (n == 0) return FC_ERR_OK;
  if (n > m.n_told) {
    snprintf(m.text + m.used, sizeof m.text - m.used, "\n... and %zu more fault%s", n - m.n_told,
             n - m.n_told == 1 ? "" : "s");
  }
  return fc_fail(FC_ERR_USAGE, "%s", m.text);
}
