/* read_jsonl.c - one json object a line (see readers.h). */
#include "readers.h"
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

typedef struct {
  const char *name;
  size_t line;
  json_t *object;
} record;

static fc_err get_text(const record *r, const char *key, bool may_be_empty, fc_text *out) {
  const json_t *value = json_object_get(r->object, key);
  FC_CHECK(value != NULL, DATA, "%s:%zu: \"%s\" is missing", r->name, r->line, key);
  FC_CHECK(json_is_string(value), DATA, "%s:%zu: \"%s\" is not a text", r->name, r->line, key);
  *out = (fc_text){json_string_value(value), json_string_length(value)};
  FC_CHECK(out->length > 0 || may_be_empty, DATA, "%s:%zu: \"%s\" is empty", r->name, r->line, key);
  return FC_ERR_OK;
}

/* A label may be a text, a whole number or a truth value; `scratch` (32) holds a number's text. */
static fc_err get_label(const record *r, const char *key, char *scratch, fc_text *out) {
  const json_t *value = json_object_get(r->object, key);
  FC_CHECK(value != NULL && !json_is_null(value), DATA, "%s:%zu: the label \"%s\" is missing",
           r->name, r->line, key);
  if (json_is_string(value)) {
    *out = (fc_text){json_string_value(value), json_string_length(value)};
    return FC_ERR_OK;
  }
  if (json_is_boolean(value)) {
    const char *text = json_is_true(value) ? "true" : "false";
    *out = (fc_text){text, strlen(text)};
    return FC_ERR_OK;
  }
  FC_CHECK(json_is_integer(value), DATA,
           "%s:%zu: the label \"%s\" is neither a text nor a whole number", r->name, r->line, key);
  int n = snprintf(scratch, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
  *out = (fc_text){scratch, (size_t)n};
  return FC_ERR_OK;
}

static fc_err add_object(const record *r, const fc_table_format *format, fc_rows *rows,
                         fc_classes *classes) {
  fc_text a, b = {"", 0}, text;
  int32_t label = 0;
  char scratch[32];
  bool has_b = format->column_b[0] != '\0';
  FC_CHECK(json_is_object(r->object), DATA, "%s:%zu: not a json object", r->name, r->line);
  FC_TRY(get_text(r, format->column_a, format->task == FC_TASK_LM && has_b, &a));
  if (has_b) FC_TRY(get_text(r, format->column_b, false, &b));
  if (format->task == FC_TASK_CLASSIFY) {
    FC_TRY(get_label(r, format->column_label, scratch, &text));
    FC_TRY(fc_classes_find(classes, r->name, r->line, text, &label));
  }
  return fc_rows_add(rows, a, b, label);
}

static bool is_blank(const char *text, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r') return false;
  return true;
}

static fc_err read_line(const char *name, size_t line, const char *text, size_t length,
                        const fc_table_format *format, fc_rows *rows, fc_classes *classes) {
  json_error_t fault;
  record r = {name, line, json_loadb(text, length, 0, &fault)};
  FC_CHECK(r.object != NULL, DATA, "%s:%zu: not json (column %d): %s", name, line, fault.column,
           fault.text);
  fc_err err = add_object(&r, format, rows, classes);
  json_decref(r.object);
  return err;
}

fc_err fc_read_jsonl(const fc_source *src, const fc_table_format *format, fc_rows *rows,
                     fc_classes *classes) {
  size_t before = rows->n, line = 0;
  const char *at = src->bytes, *end = src->bytes + src->size;
  if (src->size >= 3 && memcmp(at, "\xEF\xBB\xBF", 3) == 0) at += 3;
  FC_CHECK(at < end, DATA, "%s: empty file", src->name);
  while (at < end) {
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    size_t length = (size_t)((stop ? stop : end) - at);
    line++;
    if (!is_blank(at, length))
      FC_TRY(read_line(src->name, line, at, length, format, rows, classes));
    at += length + (stop ? 1 : 0);
  }
  FC_CHECK(rows->n > before, DATA, "%s: no samples", src->name);
  return FC_ERR_OK;
}
