/* json_lines.c - one JSON object a line, read and written. */
#include "json_lines.h"
#include "fedcell/fc_mem.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static fc_err take_line(const char *place, const char *text, size_t length,
                        fc_err (*take)(void *arg, const char *place, json_t *line), void *arg) {
  json_error_t error;
  if (text[strspn(text, " \t\r\n")] == '\0') return FC_ERR_OK;
  json_t *line = json_loadb(text, length, 0, &error);
  fc_err err = json_is_object(line) ? take(arg, place, line)
                                    : fc_fail(FC_ERR_DATA, "%s: no JSON object%s%s", place,
                                              line ? "" : ": ", line ? "" : error.text);
  json_decref(line);
  return err;
}

fc_err fc_json_lines_read(const char *path,
                          fc_err (*take)(void *arg, const char *place, json_t *line), void *arg) {
  char *text = NULL, *place = NULL;
  size_t capacity = 0;
  ssize_t length = 0;
  FILE *f = fopen(path, "r");
  FC_CHECK(f, IO, "%s: %s", path, strerror(errno));
  fc_err err = FC_ERR_OK;
  for (int64_t number = 1; err == FC_ERR_OK && (length = getline(&text, &capacity, f)) >= 0;
       number++) {
    err = fc_format(&place, "%s:%lld", path, (long long)number);
    if (err == FC_ERR_OK) err = take_line(place, text, (size_t)length, take, arg);
    fc_free(place);
  }
  if (err == FC_ERR_OK && ferror(f)) err = fc_fail(FC_ERR_IO, "%s: %s", path, strerror(errno));
  free(text); /* getline's */
  fclose(f);
  return err;
}

/* The text with U+FFFD for what is no UTF-8; caller frees. */
static fc_err make_valid(const char *text, char **out) {
  static const char replacement[] = "\xEF\xBF\xBD";
  size_t length = strlen(text), n = 0;
  FC_TRY(fc_alloc(3 * length + 1, 1, out));
  for (size_t i = 0; i < length;) {
    utf8proc_int32_t unused;
    utf8proc_ssize_t bytes = utf8proc_iterate((const utf8proc_uint8_t *)text + i,
                                              (utf8proc_ssize_t)(length - i), &unused);
    const char *piece = bytes > 0 ? text + i : replacement;
    size_t size = bytes > 0 ? (size_t)bytes : sizeof replacement - 1;
    memcpy(*out + n, piece, size);
    n += size;
    i += bytes > 0 ? (size_t)bytes : 1;
  }
  return FC_ERR_OK;
}

static fc_err append(fc_json_text *t, const char *line) {
  size_t length = strlen(line), need = t->n + length + 1;
  if (need > t->capacity) {
    size_t capacity = need > 2 * t->capacity ? need : 2 * t->capacity;
    FC_TRY(fc_realloc(capacity, 1, &t->bytes));
    t->capacity = capacity;
  }
  memcpy(t->bytes + t->n, line, length);
  t->bytes[t->n + length] = '\n';
  t->n = need;
  return FC_ERR_OK;
}

fc_err fc_json_text_add(fc_json_text *t, const char *const *names, const char *const *values,
                        int n) {
  json_t *object = json_object();
  fc_err err = FC_ERR_OK;
  bool whole = object;
  for (int i = 0; i < n && err == FC_ERR_OK; i++) {
    char *value = NULL;
    err = make_valid(values[i], &value);
    whole = whole && value && json_object_set_new(object, names[i], json_string(value)) == 0;
    fc_free(value);
  }
  char *line = whole && err == FC_ERR_OK ? json_dumps(object, JSON_COMPACT) : NULL;
  if (err == FC_ERR_OK) err = line ? append(t, line) : fc_fail(FC_ERR_NOMEM, "out of memory");
  free(line); /* jansson's */
  json_decref(object);
  return err;
}
