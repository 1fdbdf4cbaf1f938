/* sweep.c - the points of a sweep: which settings a number stands for, the configuration they make
 * with the base, and the label they give. */
#include "sweep.h"
#include "fedcell/fc_hash.h"
#include "fedcell/fc_mem.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

/* ---- creation -------------------------------------------------------------------------------- */

static fc_err parse(fc_sweep *s, const char *text, size_t length) {
  size_t line;
  char problem[FC_REASON_SIZE];
  fc_err err = fc_yaml_parse(text, length, &s->doc, &line, problem, sizeof problem);
  if (err == FC_ERR_USAGE) return fc_fail(err, "%s:%zu: %s", s->path, line, problem);
  s->has_doc = err == FC_ERR_OK;
  return err;
}

static fc_err read_form(fc_sweep *s) {
  fc_config *faults = NULL;
  fc_err err = fc_config_create(s->tables, s->n_tables, &faults);
  if (err == FC_ERR_OK) {
    /* only a place for faults: that no option is given is none of them */
    for (size_t i = 0; i < faults->n; i++) faults->slots[i].is_refused = true;
    fc_sweep_read(s, faults);
    err = fc_config_finish(faults);
  }
  fc_config_destroy(&faults);
  return err;
}

fc_err fc_sweep_create(const fc_option_table *tables, size_t n, const char *path, const char *text,
                       size_t length, fc_sweep **out) {
  fc_sweep *s = NULL;
  *out = NULL;
  FC_TRY(fc_alloc(1, sizeof *s, &s));
  s->tables = tables;
  s->n_tables = n;
  fc_err err = fc_text_copy(path, strlen(path), &s->path);
  if (err == FC_ERR_OK) err = parse(s, text, length);
  if (err == FC_ERR_OK) err = read_form(s);
  if (err == FC_ERR_OK)
    *out = s;
  else
    fc_sweep_destroy(&s);
  return err;
}

void fc_sweep_destroy(fc_sweep **sweep) {
  fc_sweep *s = *sweep;
  if (!s) return;
  if (s->has_doc) yaml_document_delete(&s->doc);
  for (size_t i = 0; i < s->n_settings; i++) fc_free(s->settings[i].name);
  fc_free(s->settings);
  fc_free(s->steps);
  fc_free(s->axes);
  fc_free(s->varies);
  fc_free(s->path);
  fc_free(s->name);
  fc_free(s->base);
  fc_free(s->size);
  fc_free(s);
  *sweep = NULL;
}

const char *fc_sweep_name(const fc_sweep *s) {
  return s->name;
}

const char *fc_sweep_base(const fc_sweep *s) {
  return s->base;
}

size_t fc_sweep_count(const fc_sweep *s) {
  return s->count;
}

void fc_sweep_set_base(fc_sweep *s, const char *text, size_t length, const char *size) {
  s->base_text = text;
  s->base_length = length;
  s->base_size = size;
}

/* ---- a point --------------------------------------------------------------------------------- */

/* The step that the point takes of an axis: the last axis varies fastest. */
static const sweep_step *step_of(const fc_sweep *s, size_t number, size_t axis) {
  size_t rest = number - 1;
  for (size_t a = s->n_axes - 1; a > axis; a--) rest /= s->axes[a].n;
  return &s->steps[s->axes[axis].first + rest % s->axes[axis].n];
}

static void lay(const fc_sweep *s, fc_config *cfg, size_t first, size_t n) {
  for (size_t i = first; i < first + n; i++) {
    const sweep_setting *set = &s->settings[i];
    fc_place place = {.source = s->path, .line = set->line, .label = ""};
    yaml_document_t *doc = (yaml_document_t *)(uintptr_t)&s->doc; /* libyaml knows no const */
    fc_layer_option(cfg, doc, &place, set->name, yaml_document_get_node(doc, set->value));
  }
}

fc_err fc_sweep_point(const fc_sweep *s, size_t number, fc_config **out) {
  assert(number >= 1 && number <= s->count);
  fc_place from = {.source = s->path, .line = s->size_line, .label = ""};
  fc_size size = {.name = s->base_size};
  if (!s->base_size && s->size) size = (fc_size){.name = s->size, .from = &from};
  *out = NULL;
  FC_TRY(fc_config_create(s->tables, s->n_tables, out));
  FC_TRY(fc_load_sized(*out, s->base ? s->base : s->path, s->base ? s->base_text : "",
                       s->base ? s->base_length : 0, &size));
  lay(s, *out, 0, s->n_fixed);
  for (size_t a = 0; a < s->n_axes; a++) {
    const sweep_step *step = step_of(s, number, a);
    lay(s, *out, step->first, step->n);
  }
  return FC_ERR_OK;
}

/* ---- its label ------------------------------------------------------------------------------- */

static const char *last_word(const char *name) {
  const char *dot = strrchr(name, '.');
  return dot ? dot + 1 : name;
}

/* The last word of an option's name says enough unless another varying option ends so too. */
static const char *short_name(const fc_sweep *s, const char *name) {
  const char *word = last_word(name);
  for (size_t i = 0; i < s->n_varies; i++)
    if (strcmp(s->varies[i], name) != 0 && strcmp(last_word(s->varies[i]), word) == 0) return name;
  return word;
}

/* What the setting came to, as the dump writes it: "1e6" and "1000000" are one value. */
static void add_value(fc_text *t, const fc_config *cfg, const sweep_setting *set) {
  const fc_slot *slot = fc_config_find(cfg, set->name);
  if (slot && slot->value.is_set) fc_dump_value(t, slot->option, &slot->value);
}

/* Appends what a file's name should hold; false where that is not all. */
static bool add_plain(fc_text *t, const fc_text *from) {
  bool whole = true, gap = false;
  size_t begin = t->length;
  for (const char *at = from->data; at && *at; at++) {
    char c = *at;
    bool fits = strchr("._+-", c) || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                (c >= 'A' && c <= 'Z');
    if (fits && gap && t->length > begin) fc_text_bytes(t, "_", 1);
    if (fits) fc_text_bytes(t, &c, 1);
    gap = !fits;
    whole = whole && fits;
  }
  return whole;
}

/* One setting: its full text into `all`, what a name can hold of it into `label`. */
static bool add_setting(const fc_sweep *s, const fc_config *cfg, const sweep_setting *set,
                        fc_text *all, fc_text *label) {
  fc_text value = {0};
  add_value(&value, cfg, set);
  fc_text_bytes(&value, "", 0);
  fc_text_add(all, "%s=%s\n", set->name, value.data ? value.data : "");
  fc_text_add(label, "%s%s=", label->length ? "-" : "", short_name(s, set->name));
  bool whole = value.err == FC_ERR_OK && add_plain(label, &value);
  if (value.err != FC_ERR_OK) all->err = value.err;
  fc_free(value.data);
  return whole;
}

fc_err fc_sweep_label(const fc_sweep *s, size_t number, const fc_config *cfg,
                      char label[FC_SWEEP_LABEL_SIZE]) {
  enum { HASH = 13, ROOM = FC_SWEEP_LABEL_SIZE - 1 - HASH }; /* "-" and 12 digits */
  fc_text all = {0}, plain = {0};
  bool whole = true;
  for (size_t a = 0; a < s->n_axes; a++) {
    const sweep_step *step = step_of(s, number, a);
    for (size_t i = step->first; i < step->first + step->n; i++)
      whole = add_setting(s, cfg, &s->settings[i], &all, &plain) && whole;
  }
  if (plain.length == 0) fc_text_add(&plain, "base"); /* an empty entry of the list */
  fc_err err = all.err != FC_ERR_OK ? all.err : plain.err;
  if (err == FC_ERR_OK) {
    uint64_t hash = fc_hash_bytes(FC_HASH_START, all.data, all.length);
    if (whole && plain.length <= ROOM)
      snprintf(label, FC_SWEEP_LABEL_SIZE, "%s", plain.data);
    else
      snprintf(label, FC_SWEEP_LABEL_SIZE, "%.*s-%012llx", (int)ROOM, plain.data,
               (unsigned long long)(hash & 0xffffffffffffULL));
  }
  fc_free(all.data);
  fc_free(plain.data);
  return err;
}
