/* text.c - a growing piece of text, and text made fit for messages. The holder of an fc_text owns
 * its data until fc_text_give hands it over. */
#include "config_private.h"
#include "fedcell/fc_mem.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Room for n more bytes and the end. */
static bool text_reserve(fc_text *t, size_t n) {
  if (t->err != FC_ERR_OK) return false;
  if (t->length + n + 1 <= t->capacity) return true;
  size_t capacity = 2 * t->capacity + n + 64;
  t->err = fc_realloc(capacity, 1, &t->data);
  if (t->err != FC_ERR_OK) return false;
  t->capacity = capacity;
  return true;
}

void fc_text_bytes(fc_text *t, const char *bytes, size_t n) {
  if (!text_reserve(t, n)) return;
  memcpy(t->data + t->length, bytes, n);
  t->length += n;
  t->data[t->length] = '\0';
}

void fc_text_add(fc_text *t, const char *format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int n = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if (n >= 0 && text_reserve(t, (size_t)n)) {
    vsnprintf(t->data + t->length, (size_t)n + 1, format, again);
    t->length += (size_t)n;
  }
  va_end(again);
}

void fc_text_wrap(fc_text *t, size_t indent, const char *lead, size_t width, const char *words) {
  size_t column = 0;
  for (const char *s = words + strspn(words, " \n"); *s;) {
    size_t n = strcspn(s, " \n");
    if (column == 0 || column + 1 + n > width) {
      fc_text_add(t, "%s%*s%s", column == 0 ? "" : "\n", (int)indent, "", lead);
      column = indent + strlen(lead);
    } else {
      fc_text_add(t, " ");
      column++;
    }
    fc_text_bytes(t, s, n);
    column += n;
    s += n;
    s += strspn(s, " \n");
  }
  if (column > 0) fc_text_add(t, "\n");
}

fc_err fc_text_give(fc_text *t, char **out) {
  *out = NULL;
  fc_text_bytes(t, "", 0); /* nothing written is still a text */
  if (t->err != FC_ERR_OK) {
    fc_free(t->data);
    t->data = NULL;
    return t->err;
  }
  *out = t->data;
  t->data = NULL;
  return FC_ERR_OK;
}

fc_err fc_text_copy(const char *bytes, size_t n, char **out) {
  FC_TRY(fc_alloc(n + 1, 1, out));
  memcpy(*out, bytes, n);
  return FC_ERR_OK;
}

void fc_text_fit(char *buf, size_t size, const char *bytes, size_t n) {
  size_t kept = n < size ? n : size - 4; /* room for "..." */
  if (kept < n) {
    while (kept > 0 && ((unsigned char)bytes[kept] & 0xC0) == 0x80) kept--;
  }
  for (size_t i = 0; i < kept; i++) {
    unsigned char c = (unsigned char)bytes[i];
    buf[i] = c < 0x20 || c == 0x7F ? '?' : (char)c;
  }
  strcpy(buf + kept, kept < n ? "..." : "");
}

uint32_t fc_text_code_point(const char *s, size_t *n) {
  const unsigned char *u = (const unsigned char *)s;
  *n = u[0] < 0x80 ? 1 : u[0] < 0xE0 ? 2 : u[0] < 0xF0 ? 3 : 4;
  uint32_t c = *n == 1 ? u[0] : u[0] & (0xFFu >> (*n + 1));
  for (size_t i = 1; i < *n; i++) {
    if ((u[i] & 0xC0) != 0x80) { /* never from libyaml; keeps us inside the text all the same */
      *n = i;
      return 0xFFFD;
    }
    c = c << 6 | (u[i] & 0x3F);
  }
  return c;
}
