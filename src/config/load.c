/* load.c - where values come from: a file, text, --set, and the defaults of the tables. Each is
 * parsed here and laid over the options by layer.c. */
#include "config_private.h"
#include "fedcell/fc_mem.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { PROBLEM_SIZE = 320, FILE_LARGEST = 4 << 20 };

fc_err fc_load_sized(fc_config *cfg, const char *name, const char *text, size_t length,
                     const fc_size *size) {
  yaml_document_t doc;
  size_t line;
  char problem[PROBLEM_SIZE];
  fc_err err = fc_yaml_parse(text, length, &doc, &line, problem, sizeof problem);
  if (err == FC_ERR_USAGE) return fc_fail(err, "%s:%zu: %s", name, line, problem);
  FC_TRY(err);
  cfg->file = fc_config_keep_source(cfg, name);
  if (cfg->file) {
    fc_place place = {.source = cfg->file, .label = ""};
    cfg->size = NULL;
    fc_layer_document(cfg, &doc, &place, size);
  }
  yaml_document_delete(&doc);
  FC_CHECK(cfg->failure == FC_ERR_OK, NOMEM, "%s: out of memory", name);
  return FC_ERR_OK;
}

fc_err fc_config_load_text(fc_config *cfg, const char *name, const char *text, size_t length,
                           const char *size) {
  return fc_load_sized(cfg, name, text, length, &(fc_size){.name = size});
}

static fc_err read_file(FILE *file, const char *path, fc_text *t) {
  char block[8192];
  size_t n;
  while ((n = fread(block, 1, sizeof block, file)) > 0) {
    fc_text_bytes(t, block, n);
    FC_CHECK(t->length <= FILE_LARGEST, USAGE, "%s: larger than %d MiB: this is no configuration",
             path, FILE_LARGEST >> 20);
  }
  FC_CHECK(!ferror(file), IO, "%s: cannot be read: %s", path, strerror(errno));
  return t->err;
}

fc_err fc_config_load(fc_config *cfg, const char *path, const char *size) {
  FILE *file = fopen(path, "rb");
  FC_CHECK(file, IO, "%s: cannot be read: %s", path, strerror(errno));
  fc_text t = {0};
  fc_err err = read_file(file, path, &t);
  fclose(file);
  if (err == FC_ERR_OK) {
    err = fc_config_load_text(cfg, path, t.data ? t.data : "", t.length, size);
  }
  fc_free(t.data);
  return err;
}

/* ---- --set and defaults ---------------------------------------------------------------------- */

/* The value stands in a document of its own; "" is the empty text or list. */
static void set_value(fc_config *cfg, const fc_place *place, const char *text) {
  fc_slot *slot = fc_config_find(cfg, place->set_key);
  yaml_document_t doc;
  size_t line;
  char problem[PROBLEM_SIZE];
  fc_err err;
  if (slot && text[0] == '\0' && fc_value_is_emptiable(slot->option)) {
    fc_value empty;
    err = fc_value_empty(slot->option, &empty);
    if (err == FC_ERR_OK) fc_slot_take(slot, place, 0, &empty);
  } else {
    err = fc_yaml_parse(text, strlen(text), &doc, &line, problem, sizeof problem);
    if (err == FC_ERR_USAGE) {
      fc_fault_add(cfg, place, NULL, NULL, "%s", problem);
    } else if (err == FC_ERR_OK) {
      fc_layer_assignment(cfg, &doc, place);
      yaml_document_delete(&doc);
    }
  }
  if (err == FC_ERR_NOMEM) fc_config_note_failure(cfg, err);
}

/* key <- the text before '=', without blanks around it; false if there is none. */
static bool split_assignment(const char *assignment, char *key, size_t size, const char **value) {
  const char *equals = strchr(assignment, '=');
  if (!equals) return false;
  const char *from = assignment + strspn(assignment, " \t"), *to = equals;
  while (to > from && (to[-1] == ' ' || to[-1] == '\t')) to--;
  if (from >= to) return false;
  snprintf(key, size, "%.*s", (int)(to - from < FC_NAME_SIZE ? to - from : FC_NAME_SIZE), from);
  *value = equals + 1;
  return true;
}

void fc_config_set(fc_config *cfg, const char *assignment) {
  char shown[FC_SHOW_SIZE], source[FC_SHOW_SIZE + 8], key[FC_NAME_SIZE + 4];
  const char *value;
  fc_text_fit(shown, sizeof shown, assignment, strlen(assignment));
  snprintf(source, sizeof source, "--set %s", shown);
  const char *kept = fc_config_keep_source(cfg, source);
  if (!kept) return; /* finish tells */
  fc_place place = {.source = kept, .label = "", .set_key = key};
  if (split_assignment(assignment, key, sizeof key, &value)) {
    set_value(cfg, &place, value);
  } else {
    fc_fault_add(cfg, &place, NULL, NULL, "must be key=value, such as federation.rounds=20");
  }
}

fc_err fc_load_default(fc_config *cfg, fc_slot *slot) {
  const fc_option *o = slot->option;
  if (!o->dflt) return FC_ERR_OK;
  if (o->dflt[0] == '\0' && fc_value_is_emptiable(o)) return fc_value_empty(o, &slot->value);
  yaml_document_t doc;
  size_t line;
  fc_reason reason;
  fc_place place = {.source = "default", .label = ""};
  fc_err err = fc_yaml_parse(o->dflt, strlen(o->dflt), &doc, &line, reason.text, FC_REASON_SIZE);
  if (err == FC_ERR_OK) {
    err = fc_value_read(o, &doc, yaml_document_get_root_node(&doc), &slot->value, &reason);
    yaml_document_delete(&doc);
  }
  if (err != FC_ERR_USAGE) return err;
  fc_fault_add(cfg, &place, o->name, o->dflt, "%s", reason.text);
  slot->is_refused = true;
  return FC_ERR_OK;
}
