/* table.c - the configuration object: one slot an option in table order, an index by name, and the
 * getters. Values live in the slots until the configuration is destroyed. */
#include "config_private.h"
#include "fedcell/fc_mem.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

static int compare_slots(const void *a, const void *b) {
  const fc_slot *const *sa = a, *const *sb = b;
  return strcmp((*sa)->option->name, (*sb)->option->name);
}

fc_slot *fc_config_find(const fc_config *cfg, const char *name) {
  size_t lo = 0, hi = cfg->n;
  while (lo < hi) {
    size_t mid = lo + (hi - lo) / 2;
    int order = strcmp(name, cfg->by_name[mid]->option->name);
    if (order == 0) return cfg->by_name[mid];
    if (order < 0) {
      hi = mid;
    } else {
      lo = mid + 1;
    }
  }
  return NULL;
}

bool fc_config_is_group(const fc_config *cfg, const char *name) {
  size_t n = strlen(name);
  for (size_t i = 0; i < cfg->n; i++) {
    const char *option = cfg->slots[i].option->name;
    if (strncmp(option, name, n) == 0 && option[n] == '.') return true;
  }
  return false;
}

bool fc_config_counts(const fc_config *cfg, const fc_slot *slot) {
  const char *study = cfg->tables[slot->table].study;
  const fc_slot *given = study ? fc_config_find(cfg, "study") : NULL;
  return !study || (given && given->value.is_set && strcmp(given->value.text, study) == 0);
}

const char *fc_config_keep_source(fc_config *cfg, const char *name) {
  char *copy = NULL;
  fc_err err = fc_realloc(cfg->n_sources + 1, sizeof *cfg->sources, &cfg->sources);
  if (err == FC_ERR_OK) err = fc_text_copy(name, strlen(name), &copy);
  if (err == FC_ERR_OK) {
    cfg->sources[cfg->n_sources++] = copy;
  } else {
    fc_config_note_failure(cfg, err);
  }
  return copy;
}

void fc_config_note_failure(fc_config *cfg, fc_err err) {
  if (err != FC_ERR_OK) cfg->failure = err;
}

void fc_slot_take(fc_slot *slot, const fc_place *place, size_t line, const fc_value *value) {
  fc_value_clear(&slot->value);
  slot->value = *value;
  slot->is_given = true;
  slot->source = place->source;
  slot->line = place->set_key ? 0 : line;
}

#ifndef NDEBUG
static bool is_name(const char *name) {
  bool is_part = false; /* in a component that has a character */
  for (const char *s = name; *s; s++) {
    bool is_dot = *s == '.';
    if (is_dot ? !is_part
               : !(strchr("_-", *s) || (*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'z') ||
                   (*s >= 'A' && *s <= 'Z'))) {
      return false;
    }
    is_part = !is_dot;
  }
  return is_part && strlen(name) < FC_NAME_SIZE;
}

/* Our own slips in a table. */
static void assert_tables(const fc_config *cfg) {
  for (size_t i = 0; i < cfg->n; i++) {
    const fc_option *o = cfg->by_name[i]->option;
    assert(is_name(o->name) && "option names are dotted words");
    assert(strcmp(o->name, "sizes") != 0 && strncmp(o->name, "sizes.", 6) != 0);
    assert(!fc_config_is_group(cfg, o->name) && "an option cannot be a group too");
    assert((i == 0 || strcmp(o->name, cfg->by_name[i - 1]->option->name) != 0) &&
           "an option stands in two tables");
    assert(o->unit && o->meaning && "an option has a unit (or \"\") and a meaning");
    assert(o->type != FC_OPT_CHOICE || o->choice);
  }
}
#endif

static fc_err fill_slots(fc_config *cfg) {
  size_t i = 0;
  for (size_t t = 0; t < cfg->n_tables; t++) {
    for (size_t k = 0; k < cfg->tables[t].n; k++, i++) {
      cfg->slots[i].option = &cfg->tables[t].options[k];
      cfg->slots[i].table = t;
      cfg->by_name[i] = &cfg->slots[i];
    }
  }
  qsort(cfg->by_name, cfg->n, sizeof *cfg->by_name, compare_slots);
#ifndef NDEBUG
  assert_tables(cfg);
#endif
  for (size_t k = 0; k < cfg->n; k++) FC_TRY(fc_load_default(cfg, &cfg->slots[k]));
  return FC_ERR_OK;
}

fc_err fc_config_create(const fc_option_table *tables, size_t n, fc_config **out) {
  fc_config *cfg;
  *out = NULL;
  FC_TRY(fc_alloc(1, sizeof *cfg, &cfg));
  cfg->tables = tables;
  cfg->n_tables = n;
  for (size_t t = 0; t < n; t++) cfg->n += tables[t].n;
  fc_err err = fc_alloc(cfg->n, sizeof *cfg->slots, &cfg->slots);
  if (err == FC_ERR_OK) err = fc_alloc(cfg->n, sizeof *cfg->by_name, &cfg->by_name);
  if (err == FC_ERR_OK) err = fc_alloc(FC_FAULTS_KEPT, sizeof *cfg->faults, &cfg->faults);
  if (err == FC_ERR_OK) err = fill_slots(cfg);
  if (err != FC_ERR_OK) {
    fc_config_destroy(&cfg);
    return err;
  }
  *out = cfg;
  return FC_ERR_OK;
}

fc_err fc_config_create_like(const fc_config *cfg, fc_config **out) {
  return fc_config_create(cfg->tables, cfg->n_tables, out);
}

void fc_config_destroy(fc_config **cfg) {
  if (!cfg || !*cfg) return;
  fc_config *c = *cfg;
  for (size_t i = 0; c->slots && i < c->n; i++) fc_value_clear(&c->slots[i].value);
  for (size_t i = 0; i < c->n_sources; i++) fc_free(c->sources[i]);
  for (size_t i = 0; i < c->n_kept; i++) fc_free(c->faults[i]);
  fc_free(c->faults);
  fc_free(c->sources);
  fc_free(c->by_name);
  fc_free(c->slots);
  fc_free(c);
  *cfg = NULL;
}

/* ---- getters --------------------------------------------------------------------------------- */

static const fc_slot *slot_of(const fc_config *cfg, const char *name) {
  const fc_slot *slot = fc_config_find(cfg, name);
  assert(slot && "no such option");
  return slot;
}

static const fc_value *value_of(const fc_config *cfg, const char *name, fc_option_type type) {
  const fc_slot *slot = slot_of(cfg, name);
  assert(slot->option->type == type && "an option of another type");
  (void)type;
  return &slot->value;
}

int64_t fc_config_int(const fc_config *cfg, const char *name) {
  return value_of(cfg, name, FC_OPT_INT)->integer;
}

double fc_config_real(const fc_config *cfg, const char *name) {
  return value_of(cfg, name, FC_OPT_REAL)->real;
}

bool fc_config_bool(const fc_config *cfg, const char *name) {
  return value_of(cfg, name, FC_OPT_BOOL)->truth;
}

const char *fc_config_string(const fc_config *cfg, const char *name) {
  const fc_slot *slot = slot_of(cfg, name);
  assert(slot->option->type == FC_OPT_STRING || slot->option->type == FC_OPT_CHOICE);
  return slot->value.text ? slot->value.text : ""; /* a required text before finish */
}

const char *fc_config_name(const fc_config *cfg, const char *name, size_t i) {
  const fc_value *v = value_of(cfg, name, FC_OPT_NAMES);
  return i < v->n ? v->names[i] : NULL;
}

size_t fc_config_count(const fc_config *cfg, const char *name) {
  const fc_slot *slot = slot_of(cfg, name);
  assert(slot->option->type == FC_OPT_NAMES || slot->option->type == FC_OPT_REALS);
  return slot->value.n;
}

const double *fc_config_reals(const fc_config *cfg, const char *name) {
  return value_of(cfg, name, FC_OPT_REALS)->reals;
}

fc_dist fc_config_dist(const fc_config *cfg, const char *name) {
  return value_of(cfg, name, FC_OPT_DIST)->dist;
}

const char *fc_config_size(const fc_config *cfg) {
  return cfg->size ? cfg->size : "";
}

bool fc_config_is_given(const fc_config *cfg, const char *name) {
  return slot_of(cfg, name)->is_given;
}
