/* yaml.c - text to libyaml's document tree, and small questions about its nodes. libyaml stops at
 * the first syntax error, counts lines from 0 and resolves aliases to the node they stand for (so
 * the tree may be shared and even circular: walkers bound their depth). */
#include "config_private.h"
#include "fedcell/fc_mem.h"
#include <stdio.h>
#include <string.h>

/* Does line (1-based) of text begin with white space that has a tab in it? */
static bool has_tab_indent(const char *text, size_t length, size_t line) {
  const char *s = text, *end = text + length;
  for (size_t i = 1; i < line && s < end; i++) {
    const char *newline = memchr(s, '\n', (size_t)(end - s));
    s = newline ? newline + 1 : end;
  }
  while (s < end && *s == ' ') s++;
  return s < end && *s == '\t';
}

static size_t count_lines(const char *text, size_t n) {
  size_t lines = 0;
  for (size_t i = 0; i < n; i++) lines += text[i] == '\n';
  return lines;
}

/* Says what stopped the parser. */
static fc_err tell_problem(const yaml_parser_t *p, const char *text, size_t length, size_t *line,
                           char *problem, size_t size) {
  if (p->error == YAML_MEMORY_ERROR) return fc_fail(FC_ERR_NOMEM, "out of memory reading YAML");
  const char *what = p->problem ? p->problem : "not readable";
  if (p->error == YAML_READER_ERROR) { /* the reader knows bytes, not lines */
    size_t offset = p->problem_offset < length ? p->problem_offset : length;
    *line = count_lines(text, offset) + 1;
    snprintf(problem, size, "not readable as text: %s", what);
    return FC_ERR_USAGE;
  }
  *line = p->problem_mark.line + 1;
  snprintf(problem, size, "not valid YAML: %s", what);
  if (!memchr(text, '\n', length)) {
    /* one line, of --set or a default: it shows itself */
  } else if (p->context && p->context_mark.line + 1 != *line) {
    size_t used = strlen(problem);
    snprintf(problem + used, size - used, ", %s that starts on line %zu", p->context,
             p->context_mark.line + 1);
  } else if (p->context) {
    size_t used = strlen(problem);
    snprintf(problem + used, size - used, " %s", p->context);
  }
  if (has_tab_indent(text, length, *line)) {
    size_t used = strlen(problem);
    snprintf(problem + used, size - used, " (indent with spaces, not tabs)");
  }
  return FC_ERR_USAGE;
}

fc_err fc_yaml_parse(const char *text, size_t length, yaml_document_t *doc, size_t *line,
                     char *problem, size_t size) {
  yaml_parser_t parser;
  *line = 0;
  if (!yaml_parser_initialize(&parser)) return fc_fail(FC_ERR_NOMEM, "out of memory reading YAML");
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
  fc_err err = FC_ERR_OK;
  yaml_document_t second;
  if (!yaml_parser_load(&parser, doc)) {
    err = tell_problem(&parser, text, length, line, problem, size);
  } else if (!yaml_document_get_root_node(doc)) {
    /* the stream holds no document: nothing follows */
  } else if (!yaml_parser_load(&parser, &second)) {
    err = tell_problem(&parser, text, length, line, problem, size);
    yaml_document_delete(doc);
  } else {
    yaml_node_t *root = yaml_document_get_root_node(&second);
    if (root) {
      *line = fc_yaml_line(root);
      snprintf(problem, size, "a second YAML document starts here, only one is allowed");
      err = FC_ERR_USAGE;
      yaml_document_delete(doc);
    }
    yaml_document_delete(&second);
  }
  yaml_parser_delete(&parser);
  return err;
}

const char *fc_yaml_scalar(const yaml_node_t *node) {
  if (node->type != YAML_SCALAR_NODE) return NULL;
  const char *text = (const char *)node->data.scalar.value;
  return strlen(text) == node->data.scalar.length ? text : NULL;
}

bool fc_yaml_is_null(const yaml_node_t *node) {
  if (!node) return true;
  if (node->type != YAML_SCALAR_NODE) return false;
  if (node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return false;
  static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
  for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++) {
    const char *text = fc_yaml_scalar(node);
    if (text && strcmp(text, nulls[i]) == 0) return true;
  }
  return false;
}

/* ---- showing a node -------------------------------------------------------------------------- */

enum { SHOW_DEPTH = 4 };

/* Fills up to one byte more than is shown, so that the end knows it was cut. */
typedef struct {
  char bytes[2 * FC_SHOW_SIZE];
  size_t n;
} shown;

static void show_bytes(shown *s, const char *bytes, size_t n) {
  size_t room = sizeof s->bytes - s->n;
  if (n > room) n = room;
  memcpy(s->bytes + s->n, bytes, n);
  s->n += n;
}

static void show_text(shown *s, const char *text) {
  show_bytes(s, text, strlen(text));
}

static void show_node(shown *s, yaml_document_t *doc, yaml_node_t *node, int depth) {
  if (s->n == sizeof s->bytes) return;
  if (depth == 0) {
    show_text(s, "...");
  } else if (node->type == YAML_SEQUENCE_NODE) {
    show_text(s, "[");
    for (yaml_node_item_t *i = node->data.sequence.items.start;
         i < node->data.sequence.items.top && s->n < sizeof s->bytes; i++) {
      if (i != node->data.sequence.items.start) show_text(s, ", ");
      show_node(s, doc, yaml_document_get_node(doc, *i), depth - 1);
    }
    show_text(s, "]");
  } else if (node->type == YAML_MAPPING_NODE) {
    show_text(s, "{");
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start;
         p < node->data.mapping.pairs.top && s->n < sizeof s->bytes; p++) {
      if (p != node->data.mapping.pairs.start) show_text(s, ", ");
      show_node(s, doc, yaml_document_get_node(doc, p->key), depth - 1);
      show_text(s, ": ");
      show_node(s, doc, yaml_document_get_node(doc, p->value), depth - 1);
    }
    show_text(s, "}");
  } else {
    bool is_plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (!is_plain) show_text(s, "\"");
    show_bytes(s, (const char *)node->data.scalar.value, node->data.scalar.length);
    if (!is_plain) show_text(s, "\"");
  }
}

void fc_yaml_show(yaml_document_t *doc, yaml_node_t *node, char *buf, size_t size) {
  shown s = {.n = 0};
  show_node(&s, doc, node, SHOW_DEPTH);
  fc_text_fit(buf, size, s.bytes, s.n);
}
