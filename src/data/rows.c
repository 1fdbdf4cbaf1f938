/* rows.c - the arena of samples and the list of classes (see rows.h). */
#include "rows.h"
#include "fedcell/fc_mem.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for `need` items of `size` bytes, growing by half so that the arena of a large file is not
 * twice its size. */
static fc_err reserve(size_t need, size_t size, size_t *capacity, void *inout_pointer) {
  if (need <= *capacity) return FC_ERR_OK;
  size_t grown = *capacity + *capacity / 2 + 64;
  if (grown < need) grown = need;
  FC_TRY(fc_realloc(grown, size, inout_pointer));
  *capacity = grown;
  return FC_ERR_OK;
}

static void append(fc_rows *rows, fc_text text) {
  if (text.length > 0) memcpy(rows->arena + rows->used, text.text, text.length);
  rows->used += text.length;
}

fc_err fc_rows_add(fc_rows *rows, fc_text a, fc_text b, int32_t label) {
  FC_CHECK(a.length < UINT32_MAX && b.length < UINT32_MAX, DATA,
           "sample %zu has a text of 4 GiB or more", rows->n + 1);
  FC_CHECK(rows->n < UINT32_MAX, DATA, "more than %lu samples", (unsigned long)UINT32_MAX);
  FC_TRY(reserve(rows->used + a.length + b.length, 1, &rows->capacity, &rows->arena));
  FC_TRY(reserve(rows->n + 1, sizeof *rows->row, &rows->row_capacity, &rows->row));
  rows->row[rows->n++] = (fc_row){.offset = rows->used,
                                  .a_bytes = (uint32_t)a.length,
                                  .b_bytes = (uint32_t)b.length,
                                  .label = label};
  append(rows, a);
  append(rows, b);
  return FC_ERR_OK;
}

fc_err fc_rows_select(fc_rows *rows, const uint32_t *index, size_t n) {
  fc_rows kept = {0};
  size_t bytes = 0;
  for (size_t i = 0; i < n; i++) {
    assert(index[i] < rows->n);
    bytes += (size_t)rows->row[index[i]].a_bytes + rows->row[index[i]].b_bytes;
  }
  FC_TRY(fc_alloc(bytes, 1, &kept.arena));
  fc_err err = fc_alloc(n, sizeof *kept.row, &kept.row);
  if (err != FC_ERR_OK) {
    fc_rows_free(&kept);
    return err;
  }
  kept.capacity = bytes;
  kept.row_capacity = n;
  for (size_t i = 0; i < n; i++) {
    fc_row row = rows->row[index[i]];
    fc_text both = {rows->arena + row.offset, (size_t)row.a_bytes + row.b_bytes};
    row.offset = kept.used;
    kept.row[kept.n++] = row;
    append(&kept, both);
  }
  fc_rows_free(rows);
  *rows = kept;
  return FC_ERR_OK;
}

fc_err fc_rows_trim(fc_rows *rows) {
  FC_TRY(fc_realloc(rows->used, 1, &rows->arena));
  rows->capacity = rows->used;
  FC_TRY(fc_realloc(rows->n, sizeof *rows->row, &rows->row));
  rows->row_capacity = rows->n;
  return FC_ERR_OK;
}

void fc_rows_free(fc_rows *rows) {
  fc_free(rows->arena);
  fc_free(rows->row);
  *rows = (fc_rows){0};
}

/* ---- classes ---------------------------------------------------------------------------------*/

static fc_err copy_text(fc_text text, char **out) {
  FC_TRY(fc_alloc(text.length + 1, 1, out));
  memcpy(*out, text.text, text.length);
  return FC_ERR_OK;
}

/* A whole number as it is normally written: no leading zero or plus, at most 18 digits. */
static bool whole_number(const char *text, int64_t *value) {
  const char *digits = text[0] == '-' ? text + 1 : text;
  size_t n = strlen(digits);
  if (n == 0 || n > 18 || strspn(digits, "0123456789") != n) return false;
  if (digits[0] == '0' && (n > 1 || digits != text)) return false;
  *value = strtoll(text, NULL, 10);
  return true;
}

static int compare_labels(const char *a, const char *b) {
  int64_t x, y;
  bool a_number = whole_number(a, &x), b_number = whole_number(b, &y);
  if (a_number && b_number) return (x > y) - (x < y);
  if (a_number != b_number) return a_number ? -1 : 1;
  return strcmp(a, b);
}

/* Learned classes are kept sorted by label while they grow: where `text` is or belongs. */
static size_t find_place(const fc_classes *classes, const char *text, bool *found) {
  size_t low = 0, high = classes->n;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = compare_labels(classes->item[middle].text, text);
    if (order == 0) {
      *found = true;
      return middle;
    }
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  *found = false;
  return low;
}

fc_err fc_classes_fix(fc_classes *classes, const fc_label_name *labels, size_t n) {
  assert(classes->n == 0);
  classes->fixed = true;
  FC_TRY(fc_alloc(n, sizeof *classes->item, &classes->item));
  classes->capacity = n;
  for (size_t i = 0; i < n; i++) {
    fc_class *c = &classes->item[classes->n++]; /* counted first: a half-made entry is freed too */
    c->id = (int32_t)i;
    FC_TRY(copy_text((fc_text){labels[i].text, strlen(labels[i].text)}, &c->text));
    FC_TRY(copy_text((fc_text){labels[i].name, strlen(labels[i].name)}, &c->name));
  }
  return FC_ERR_OK;
}

static fc_err unknown_label(const fc_classes *classes, const char *file, size_t line,
                            fc_text label) {
  char list[256] = "";
  size_t used = 0;
  for (size_t i = 0; i < classes->n; i++) {
    const char *text = classes->item[i].text;
    if (used + strlen(text) + 8 > sizeof list) {
      strcpy(list + used, ", ...");
      break;
    }
    used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", text);
  }
  return fc_fail(FC_ERR_DATA, "%s:%zu: unknown label \"%.*s\"; known are %s", file, line,
                 label.length > 60 ? 60 : (int)label.length, label.text, list);
}

static fc_err add_class(fc_classes *classes, size_t place, const char *file, size_t line,
                        fc_text label) {
  FC_CHECK(classes->n < FC_CLASSES_MAX, DATA,
           "%s:%zu: more than %d different labels; is this the label's column?", file, line,
           FC_CLASSES_MAX);
  FC_TRY(reserve(classes->n + 1, sizeof *classes->item, &classes->capacity, &classes->item));
  char *text;
  FC_TRY(copy_text(label, &text));
  memmove(&classes->item[place + 1], &classes->item[place],
          (classes->n - place) * sizeof *classes->item);
  classes->item[place] = (fc_class){.text = text, .name = text, .id = (int32_t)classes->n};
  classes->n++;
  return FC_ERR_OK;
}

fc_err fc_classes_find(fc_classes *classes, const char *file, size_t line, fc_text label,
                       int32_t *id) {
  char text[256];
  FC_CHECK(label.length > 0, DATA, "%s:%zu: the label is missing", file, line);
  FC_CHECK(label.length < sizeof text, DATA, "%s:%zu: label of %zu bytes, allowed are %zu", file,
           line, label.length, sizeof text - 1);
  FC_CHECK(memchr(label.text, '\0', label.length) == NULL, DATA,
           "%s:%zu: the label holds a zero byte", file, line);
  memcpy(text, label.text, label.length);
  text[label.length] = '\0';
  bool found = false;
  size_t place = 0;
  if (classes->fixed && !classes->sorted) { /* the dataset's own few, in their own order */
    while (place < classes->n && strcmp(classes->item[place].text, text) != 0) place++;
    found = place < classes->n;
  } else {
    place = find_place(classes, text, &found);
  }
  if (!found) {
    if (classes->fixed) return unknown_label(classes, file, line, label);
    FC_TRY(add_class(classes, place, file, line, label));
  }
  *id = classes->item[place].id;
  return FC_ERR_OK;
}

void fc_classes_settle(fc_classes *classes, fc_rows *rows) {
  if (classes->fixed || classes->n == 0) return; /* no classes: rows without labels */
  int32_t rank[FC_CLASSES_MAX]; /* by order of appearance: the place in the sorted list */
  for (size_t i = 0; i < classes->n; i++) {
    rank[classes->item[i].id] = (int32_t)i;
    classes->item[i].id = (int32_t)i;
  }
  for (size_t r = 0; r < rows->n; r++) rows->row[r].label = rank[rows->row[r].label];
  classes->fixed = classes->sorted = true;
}

void fc_classes_free(fc_classes *classes) {
  for (size_t i = 0; i < classes->n; i++) {
    if (classes->item[i].name != classes->item[i].text) fc_free(classes->item[i].name);
    fc_free(classes->item[i].text);
  }
  fc_free(classes->item);
  *classes = (fc_classes){0};
}
