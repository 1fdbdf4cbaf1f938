/* layer.c - lays a YAML document over the options: nested maps become dotted names, the top-level
 * map `sizes` holds one overlay a size. A layer may name an option once; every fault is collected
 * with its line and reading goes on. */
#include "config_private.h"
#include "fedcell/fc_mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  fc_config *cfg;
  yaml_document_t *doc;
  fc_place place;
  size_t layer;  /* stamp to notice an option given twice */
  bool is_apply; /* false: only validate, this size was not chosen */
} walk;

/* ---- one option ------------------------------------------------------------------------------ */

static void walk_option(walk *w, fc_slot *slot, size_t line, yaml_node_t *node) {
  const char *name = slot->option->name;
  if (slot->seen_layer == w->layer) {
    fc_fault_add(w->cfg, &w->place, name, NULL, "is given twice, first on line %zu",
                 slot->seen_line);
    return;
  }
  slot->seen_layer = w->layer;
  slot->seen_line = line;
  fc_value value;
  fc_reason reason;
  fc_err err = fc_value_read(slot->option, w->doc, node, &value, &reason);
  if (err == FC_ERR_USAGE) {
    char shown[FC_SHOW_SIZE];
    bool is_null = fc_yaml_is_null(node);
    if (!is_null) fc_yaml_show(w->doc, node, shown, sizeof shown);
    if (reason.line > 0 && !w->place.set_key) w->place.line = reason.line;
    fc_fault_add(w->cfg, &w->place, name, is_null ? NULL : shown, "%s", reason.text);
    slot->is_refused = slot->is_refused || w->is_apply;
  } else if (err != FC_ERR_OK) {
    fc_config_note_failure(w->cfg, err);
  } else if (w->is_apply) {
    fc_slot_take(slot, &w->place, line, &value);
  } else {
    fc_value_clear(&value);
  }
}

/* ---- unknown names --------------------------------------------------------------------------- */

static void fault_unknown(walk *w, const char *name) {
  fc_nearest nearest = {.word = name};
  if (!fc_fault_is_full(w->cfg)) {
    for (size_t i = 0; i < w->cfg->n; i++) {
      fc_nearest_offer(&nearest, w->cfg->slots[i].option->name);
    }
  }
  if (nearest.name) {
    fc_fault_add(w->cfg, &w->place, name, NULL, "no such option; did you mean %s?", nearest.name);
  } else {
    fc_fault_add(w->cfg, &w->place, name, NULL, "no such option");
  }
}

static void fault_group(walk *w, const char *name, yaml_node_t *node) {
  char shown[FC_SHOW_SIZE];
  const char *example = "";
  size_t n = strlen(name);
  for (size_t i = 0; i < w->cfg->n; i++) {
    const char *option = w->cfg->slots[i].option->name;
    if (strncmp(option, name, n) != 0 || option[n] != '.') continue;
    example = option;
    break;
  }
  fc_yaml_show(w->doc, node, shown, sizeof shown);
  fc_fault_add(w->cfg, &w->place, name, shown, "is a group; give its options, such as %s", example);
}

/* ---- maps ------------------------------------------------------------------------------------ */

typedef struct {
  const char *text;
  size_t index, line;
} key_place;

static int compare_keys(const void *a, const void *b) {
  const key_place *ka = a, *kb = b;
  int order = strcmp(ka->text, kb->text);
  return order ? order : (ka->index > kb->index) - (ka->index < kb->index);
}

/* first_line[i] <- line of an earlier pair of the map with the same key, 0 if there is none. */
static fc_err find_twins(walk *w, const yaml_node_t *map, size_t n, size_t *first_line) {
  key_place *keys;
  FC_TRY(fc_alloc(n, sizeof *keys, &keys));
  for (size_t i = 0; i < n; i++) {
    yaml_node_t *key = yaml_document_get_node(w->doc, map->data.mapping.pairs.start[i].key);
    const char *text = fc_yaml_scalar(key);
    keys[i] = (key_place){text ? text : "", i, fc_yaml_line(key)};
  }
  qsort(keys, n, sizeof *keys, compare_keys);
  for (size_t i = 1, first = 0; i < n; i++) {
    if (strcmp(keys[i].text, keys[first].text) != 0) {
      first = i;
    } else {
      first_line[keys[i].index] = keys[first].line;
    }
  }
  fc_free(keys);
  return FC_ERR_OK;
}

typedef void (*visit_pair)(walk *w, const char *name, size_t line, yaml_node_t *value, void *more);

/* Calls visit for every pair of the map with a usable and new key; name is the dotted one. */
static void walk_map(walk *w, const char *prefix, yaml_node_t *map, visit_pair visit, void *more) {
  size_t n = (size_t)(map->data.mapping.pairs.top - map->data.mapping.pairs.start);
  size_t *first_line;
  fc_err err = fc_alloc(n, sizeof *first_line, &first_line);
  if (err == FC_ERR_OK) err = find_twins(w, map, n, first_line);
  fc_config_note_failure(w->cfg, err);
  for (size_t i = 0; i < n && err == FC_ERR_OK; i++) {
    const yaml_node_pair_t *pair = &map->data.mapping.pairs.start[i];
    yaml_node_t *key = yaml_document_get_node(w->doc, pair->key);
    const char *text = fc_yaml_scalar(key);
    size_t line = fc_yaml_line(key);
    if (!w->place.set_key) w->place.line = line;
    if (!text) {
      char shown[FC_SHOW_SIZE];
      fc_yaml_show(w->doc, key, shown, sizeof shown);
      fc_fault_add(w->cfg, &w->place, NULL, NULL, "%s cannot be the name of an option", shown);
      continue;
    }
    char name[FC_NAME_SIZE + 4]; /* a name that is too long is cut: nobody knows it either way */
    snprintf(name, sizeof name, "%s%s%s", prefix, prefix[0] ? "." : "", text);
    if (strcmp(text, "<<") == 0 && key->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
      fc_fault_add(w->cfg, &w->place, name, NULL,
                   "merge keys are not supported; use an alias for "
                   "a whole map, or write the options out");
    } else if (first_line[i] > 0) {
      fc_fault_add(w->cfg, &w->place, name, NULL, "is given twice, first on line %zu",
                   first_line[i]);
    } else {
      visit(w, name, line, yaml_document_get_node(w->doc, pair->value), more);
    }
  }
  fc_free(first_line);
}

/* Below an unknown name nothing is known either, so one level of names is enough to tell: this
 * bounds the walk in maps that contain themselves by an alias. */
static void visit_below_unknown(walk *w, const char *name, size_t line, yaml_node_t *value,
                                void *more) {
  (void)line, (void)value, (void)more;
  fault_unknown(w, name);
}

/* An option, a group, or unknown. Groups are as deep as the known names, aliases or not. */
static void visit_name(walk *w, const char *name, size_t line, yaml_node_t *value, void *more) {
  fc_slot *slot = fc_config_find(w->cfg, name);
  if (slot) {
    walk_option(w, slot, line, value);
  } else if (fc_config_is_group(w->cfg, name)) {
    if (value->type == YAML_MAPPING_NODE) {
      walk_map(w, name, value, visit_name, more);
    } else if (!fc_yaml_is_null(value)) { /* "cell:" with all its options commented out is fine */
      fault_group(w, name, value);
    }
  } else if (value->type == YAML_MAPPING_NODE &&
             value->data.mapping.pairs.top > value->data.mapping.pairs.start) {
    walk_map(w, name, value, visit_below_unknown, more);
  } else {
    fault_unknown(w, name);
  }
}

/* ---- pieces, for files of another form ------------------------------------------------------- */

typedef struct {
  fc_pair_visit *visit;
  void *arg;
} outside;

static void visit_outside(walk *w, const char *name, size_t line, yaml_node_t *value, void *more) {
  const outside *o = more;
  (void)w;
  o->visit(o->arg, name, line, value);
}

void fc_layer_pairs(fc_config *cfg, yaml_document_t *doc, const fc_place *place, const char *prefix,
                    yaml_node_t *map, fc_pair_visit *visit, void *arg) {
  walk w = {cfg, doc, *place, ++cfg->n_layers, false};
  outside o = {visit, arg};
  walk_map(&w, prefix, map, visit_outside, &o);
}

void fc_layer_option(fc_config *cfg, yaml_document_t *doc, const fc_place *place, const char *name,
                     yaml_node_t *value) {
  walk w = {cfg, doc, *place, ++cfg->n_layers, true};
  visit_name(&w, name, place->line, value, NULL);
}

/* ---- sizes ----------------------------------------------------------------------------------- */

typedef struct {
  const char *chosen;
  bool is_found;
  fc_nearest nearest;
  char near_name[FC_NAME_SIZE + 4]; /* names of a walk pass, so the best is copied */
  fc_text known;                    /* "laptop, paper" */
} size_choice;

/* One size: validated always, taken if chosen, which the configuration remembers. */
static void visit_size(walk *w, const char *name, size_t line, yaml_node_t *value, void *more) {
  size_choice *choice = more;
  (void)line;
  fc_text_add(&choice->known, "%s%s", choice->known.length ? ", " : "", name);
  bool is_chosen = strcmp(choice->chosen, name) == 0;
  if (is_chosen) w->cfg->size = fc_config_keep_source(w->cfg, name);
  choice->is_found = choice->is_found || is_chosen;
  fc_nearest_offer(&choice->nearest, name);
  if (choice->nearest.name == name) {
    snprintf(choice->near_name, sizeof choice->near_name, "%s", name);
    choice->nearest.name = choice->near_name;
  }
  char label[FC_NAME_SIZE + 16];
  snprintf(label, sizeof label, "sizes.%s.", name);
  walk inner = *w;
  inner.place.label = label;
  inner.layer = ++w->cfg->n_layers;
  inner.is_apply = is_chosen;
  if (value->type == YAML_MAPPING_NODE) {
    walk_map(&inner, "", value, visit_name, NULL);
  } else if (!fc_yaml_is_null(value)) {
    inner.place.label = "sizes.";
    fc_fault_add(w->cfg, &inner.place, name, NULL, "must be a map of options");
  }
}

/* Told where the size was chosen: in another file, or on the command line. */
static void fault_no_size(walk *w, const size_choice *choice, const fc_place *from) {
  char shown[FC_SHOW_SIZE], word[FC_SHOW_SIZE + 16], of[FC_REASON_SIZE] = "this file";
  fc_place place = from ? *from : w->place;
  fc_text_fit(shown, sizeof shown, choice->chosen, strlen(choice->chosen));
  snprintf(word, sizeof word, from ? "size = %s" : "--size %s", shown);
  if (from) fc_text_fit(of, sizeof of, w->place.source, strlen(w->place.source));
  if (!from) place.line = 0;
  if (choice->known.length == 0) {
    fc_fault_add(w->cfg, &place, NULL, NULL, "%s: %s has no sizes", word, of);
  } else {
    bool is_near = choice->nearest.name != NULL;
    fc_fault_add(w->cfg, &place, NULL, NULL, "%s: must be one of %s%s%s%s", word,
                 choice->known.data, is_near ? "; did you mean " : "",
                 is_near ? choice->nearest.name : "", is_near ? "?" : "");
  }
}

static void walk_sizes(walk *w, yaml_node_t *sizes, size_t line, const fc_size *size) {
  const char *chosen = size->name ? size->name : FC_SIZE_DEFAULT;
  size_choice choice = {.chosen = chosen, .nearest = {.word = chosen}};
  if (!w->place.set_key) w->place.line = line;
  if (sizes && sizes->type == YAML_MAPPING_NODE) {
    walk_map(w, "", sizes, visit_size, &choice);
  } else if (!fc_yaml_is_null(sizes)) {
    fc_fault_add(w->cfg, &w->place, "sizes", NULL, "must be a map of sizes: {laptop: {...}}");
  }
  if (size->name && !choice.is_found) fault_no_size(w, &choice, size->from);
  fc_config_note_failure(w->cfg, choice.known.err);
  fc_free(choice.known.data);
}

/* ---- documents ------------------------------------------------------------------------------- */

/* Where the top level mentions `sizes`: it is laid on after all the rest. */
typedef struct {
  yaml_node_t *sizes;
  size_t line;
} top_level;

static void visit_top(walk *w, const char *name, size_t line, yaml_node_t *value, void *more) {
  top_level *top = more;
  if (strcmp(name, "sizes") != 0) {
    visit_name(w, name, line, value, NULL);
  } else if (w->place.set_key) {
    fc_fault_add(w->cfg, &w->place, NULL, NULL, "sizes can only stand in a file");
  } else {
    top->sizes = value;
    top->line = line;
  }
}

/* Tags are YAML's way to name a type; the option table does that here. */
static void fault_tags(walk *w) {
  static const char *const usual[] = {[YAML_SCALAR_NODE] = YAML_STR_TAG,
                                      [YAML_SEQUENCE_NODE] = YAML_SEQ_TAG,
                                      [YAML_MAPPING_NODE] = YAML_MAP_TAG};
  static const char standard[] = "tag:yaml.org,2002:"; /* what !! stands for */
  for (yaml_node_t *n = w->doc->nodes.start; n < w->doc->nodes.top; n++) {
    const char *tag = (const char *)n->tag;
    if (n->type == YAML_NO_NODE || strcmp(tag, usual[n->type]) == 0) continue;
    bool is_standard = strncmp(tag, standard, strlen(standard)) == 0;
    if (!w->place.set_key) w->place.line = fc_yaml_line(n);
    fc_fault_add(w->cfg, &w->place, NULL, NULL, "YAML tags such as %s%s are not supported",
                 is_standard ? "!!" : "", is_standard ? tag + strlen(standard) : tag);
  }
}

void fc_layer_document(fc_config *cfg, yaml_document_t *doc, const fc_place *place,
                       const fc_size *size) {
  top_level top = {NULL, 0};
  walk w = {cfg, doc, *place, ++cfg->n_layers, true};
  yaml_node_t *root = yaml_document_get_root_node(doc);
  fault_tags(&w);
  if (root && root->type == YAML_MAPPING_NODE) {
    walk_map(&w, "", root, visit_top, &top);
  } else if (root && !fc_yaml_is_null(root)) {
    w.place.line = fc_yaml_line(root);
    fc_fault_add(cfg, &w.place, NULL, NULL, "must be a map of options, such as seed: 1");
  }
  walk_sizes(&w, top.sizes, top.line, size);
}

void fc_layer_assignment(fc_config *cfg, yaml_document_t *doc, const fc_place *place) {
  /* An empty document, or a comment, is a null like any other. */
  yaml_node_t none = {.type = YAML_SCALAR_NODE}, *root = yaml_document_get_root_node(doc);
  none.data.scalar.value = (yaml_char_t *)"";
  none.data.scalar.style = YAML_PLAIN_SCALAR_STYLE;
  walk w = {cfg, doc, *place, ++cfg->n_layers, true};
  top_level top = {NULL, 0};
  fault_tags(&w);
  visit_top(&w, place->set_key, 1, root ? root : &none, &top);
}
