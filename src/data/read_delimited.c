/* read_delimited.c - csv and tsv (see readers.h).
 *
 * A record is parsed into slices of the source; a quoted field is unescaped in place, which can
 * only shorten it. Quoting follows [RFC4180]: a field may be put in quotes, may then hold the
 * delimiter and line ends, and writes a quote as two. */
#include "readers.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { MAX_FIELDS = 256 };

typedef struct {
  const char *name;
  char *at, *end;
  char delimiter;
  bool quotes;
  size_t line;        /* of `at`, from 1 */
  size_t record_line; /* where the current record begins */
  fc_text field[MAX_FIELDS];
  int fields; /* of the record; counts on beyond MAX_FIELDS */
} parser;

static void open_parser(parser *p, const fc_source *src, const fc_table_format *format) {
  *p = (parser){.name = src->name,
                .at = src->bytes,
                .end = src->bytes + src->size,
                .delimiter = format->delimiter,
                .quotes = format->quotes,
                .line = 1};
  if (src->size >= 3 && memcmp(src->bytes, "\xEF\xBB\xBF", 3) == 0) p->at += 3;
}

static bool at_line_end(const parser *p) {
  return p->at == p->end || *p->at == '\n' ||
         (*p->at == '\r' && p->at + 1 < p->end && p->at[1] == '\n') ||
         (*p->at == '\r' && p->at + 1 == p->end);
}

static void skip_line_end(parser *p) {
  if (p->at < p->end && *p->at == '\r') p->at++;
  if (p->at < p->end && *p->at == '\n') p->at++;
  p->line++;
}

static void plain_field(parser *p, fc_text *out) {
  char *begin = p->at;
  while (!at_line_end(p) && *p->at != p->delimiter) p->at++;
  *out = (fc_text){begin, (size_t)(p->at - begin)};
}

static fc_err quoted_field(parser *p, fc_text *out) {
  size_t opened = p->line;
  char *begin = ++p->at, *to = begin;
  for (;;) {
    FC_CHECK(p->at < p->end, DATA, "%s:%zu: a quote is opened here and never closed", p->name,
             opened);
    if (*p->at == '"') {
      if (p->at + 1 == p->end || p->at[1] != '"') break;
      p->at++; /* two quotes stand for one */
    }
    if (*p->at == '\n') p->line++;
    *to++ = *p->at++;
  }
  *out = (fc_text){begin, (size_t)(to - begin)};
  p->at++;
  FC_CHECK(at_line_end(p) || *p->at == p->delimiter, DATA,
           "%s:%zu: text follows a closing quote; a quote inside a quoted field is written twice",
           p->name, p->line);
  return FC_ERR_OK;
}

/* The next record that is not a blank line; *more false at the end. */
static fc_err next_record(parser *p, bool *more) {
  while (p->at < p->end && at_line_end(p)) skip_line_end(p);
  *more = p->at < p->end;
  if (!*more) return FC_ERR_OK;
  p->record_line = p->line;
  p->fields = 0;
  for (;;) {
    fc_text field;
    if (p->quotes && p->at < p->end && *p->at == '"')
      FC_TRY(quoted_field(p, &field));
    else
      plain_field(p, &field);
    if (p->fields < MAX_FIELDS) p->field[p->fields] = field;
    p->fields++;
    if (at_line_end(p)) break;
    p->at++; /* the delimiter */
  }
  skip_line_end(p);
  FC_CHECK(p->fields <= MAX_FIELDS, DATA, "%s:%zu: %d fields, allowed are %d", p->name,
           p->record_line, p->fields, MAX_FIELDS);
  return FC_ERR_OK;
}

/* ---- where the fields go ---------------------------------------------------------------------*/

typedef struct {
  int fields;      /* every record has so many */
  size_t settled;  /* the line that settled it */
  int first, last; /* columns of a */
  int b, label;    /* -1: none */
} columns;

static fc_err no_such_column(const parser *p, const char *name) {
  char list[512] = "";
  size_t used = 0;
  for (int i = 0; i < p->fields && used + 80 < sizeof list; i++) {
    int length = p->field[i].length > 60 ? 60 : (int)p->field[i].length;
    used += (size_t)snprintf(list + used, sizeof list - used, "%s%.*s", i ? ", " : "", length,
                             p->field[i].text);
  }
  return fc_fail(FC_ERR_DATA, "%s:%zu: no column \"%s\"; the columns are %s", p->name,
                 p->record_line, name, list);
}

static fc_err find_column(const parser *p, const char *name, int *column) {
  *column = -1;
  if (name[0] == '\0') return FC_ERR_OK;
  for (int i = 0; i < p->fields; i++) {
    if (p->field[i].length != strlen(name) || memcmp(p->field[i].text, name, strlen(name)) != 0)
      continue;
    *column = i;
    return FC_ERR_OK;
  }
  return no_such_column(p, name);
}

static fc_err read_header(const parser *p, const fc_table_format *format, columns *c) {
  *c = (columns){.fields = p->fields, .settled = p->record_line};
  FC_TRY(find_column(p, format->column_a, &c->first));
  FC_TRY(find_column(p, format->column_b, &c->b));
  FC_TRY(find_column(p, format->task == FC_TASK_CLASSIFY ? format->column_label : "", &c->label));
  c->last = c->first;
  return FC_ERR_OK;
}

static fc_err find_layout(const parser *p, const fc_table_format *format, columns *c) {
  char list[256] = "";
  size_t used = 0;
  for (size_t i = 0; i < format->n_layouts; i++) {
    const fc_layout *l = &format->layouts[i];
    if (l->fields == p->fields) {
      *c = (columns){.fields = l->fields,
                     .settled = p->record_line,
                     .first = l->first,
                     .last = l->last,
                     .b = -1,
                     .label = l->label};
      return FC_ERR_OK;
    }
    used += (size_t)snprintf(list + used, sizeof list - used, "%s%d (%s)", i ? " or " : "",
                             l->fields, l->columns);
    assert(used < sizeof list);
  }
  return fc_fail(FC_ERR_DATA, "%s:%zu: %d field%s, expected %s", p->name, p->record_line, p->fields,
                 p->fields == 1 ? "" : "s", list);
}

/* Columns first..last become one text, in place: each is moved down to follow the one before, which
 * lies before it in the source with at least a delimiter between. */
static fc_text join(parser *p, int first, int last) {
  fc_text all = p->field[first];
  char *to = (char *)(p->field[first].text + p->field[first].length);
  for (int i = first + 1; i <= last; i++) {
    if (p->field[i].length == 0) continue;
    if (all.length == 0) {
      all.text = to = (char *)p->field[i].text;
    } else {
      *to++ = ' ';
      memmove(to, p->field[i].text, p->field[i].length);
    }
    to += p->field[i].length;
    all.length = (size_t)(to - all.text);
  }
  return all;
}

static fc_text unescape_newlines(fc_text text) {
  char *to = (char *)text.text, *begin = to;
  for (size_t i = 0; i < text.length; i++) {
    if (text.text[i] == '\\' && i + 1 < text.length && text.text[i + 1] == 'n') {
      *to++ = '\n';
      i++;
    } else {
      *to++ = text.text[i];
    }
  }
  return (fc_text){begin, (size_t)(to - begin)};
}

static fc_err add_record(parser *p, const fc_table_format *format, const columns *c, fc_rows *rows,
                         fc_classes *classes) {
  FC_CHECK(p->fields == c->fields, DATA, "%s:%zu: %d field%s, expected %d as in line %zu", p->name,
           p->record_line, p->fields, p->fields == 1 ? "" : "s", c->fields, c->settled);
  int32_t label = 0;
  if (c->label >= 0)
    FC_TRY(fc_classes_find(classes, p->name, p->record_line, p->field[c->label], &label));
  fc_text a = join(p, c->first, c->last), b = {"", 0};
  if (format->unescape_newlines) a = unescape_newlines(a);
  if (c->b >= 0) b = p->field[c->b];
  /* An empty prompt is a task like any other; an empty text has nothing to classify. */
  FC_CHECK(a.length > 0 || (format->task == FC_TASK_LM && c->b >= 0), DATA,
           "%s:%zu: the text is empty", p->name, p->record_line);
  FC_CHECK(c->b < 0 || b.length > 0, DATA, "%s:%zu: the %s is empty", p->name, p->record_line,
           format->task == FC_TASK_LM ? "answer" : "second text");
  return fc_rows_add(rows, a, b, label);
}

fc_err fc_read_delimited(const fc_source *src, const fc_table_format *format, fc_rows *rows,
                         fc_classes *classes) {
  parser p;
  columns c = {0};
  bool more;
  size_t before = rows->n;
  fc_source_check_text(src);
  open_parser(&p, src, format);
  FC_TRY(next_record(&p, &more));
  FC_CHECK(more, DATA, "%s: empty file", src->name);
  if (format->n_layouts > 0) {
    FC_TRY(find_layout(&p, format, &c));
    FC_TRY(add_record(&p, format, &c, rows, classes));
  } else {
    FC_TRY(read_header(&p, format, &c));
  }
  for (;;) {
    FC_TRY(next_record(&p, &more));
    if (!more) break;
    FC_TRY(add_record(&p, format, &c, rows, classes));
  }
  FC_CHECK(rows->n > before, DATA, "%s: no samples", src->name);
  return FC_ERR_OK;
}
