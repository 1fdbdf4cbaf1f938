/* words.c - what an option allows, in words, for messages and for the reference. Text that does not
 * fit its buffer is cut. */
#include "config_private.h"
#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Appends to a fixed buffer; what does not fit is cut. */
__attribute__((format(printf, 3, 4))) static void append(char *buf, size_t size, const char *format,
                                                         ...) {
  size_t used = strlen(buf);
  va_list args;
  va_start(args, format);
  vsnprintf(buf + used, size - used, format, args);
  va_end(args);
}

/* For people: 1e12 rather than 1.0e+12. */
static void append_bound(const fc_option *o, double x, char *buf, size_t size) {
  char number[FC_NUMBER_SIZE];
  if (o->type == FC_OPT_INT && fabs(x) < 1e15) {
    append(buf, size, "%.0f", x);
    return;
  }
  fc_number_write(x, number);
  size_t n = strcspn(number, "e"), n_shown = n;
  if (n > 2 && number[n] && memcmp(number + n - 2, ".0", 2) == 0) n_shown -= 2;
  append(buf, size, "%.*s", (int)n_shown, number);
  if (number[n]) append(buf, size, "e%d", atoi(number + n + 1));
}

bool fc_value_is_bounded(const fc_option *o) {
  return o->min <= o->max;
}

/* Bounds beyond the type's own range (an infinite double, 2^63) are no news to a user, and a lower
 * bound next to zero stands for "not zero". */
static void append_range(const fc_option *o, char *buf, size_t size) {
  double widest = o->type == FC_OPT_INT ? 9.2e18 : DBL_MAX;
  bool has_min = o->min > -widest, has_max = o->max < widest;
  if (!fc_value_is_bounded(o) || (!has_min && !has_max)) return;
  bool is_above_zero = o->type != FC_OPT_INT && o->min > 0.0 && o->min <= 1e-300;
  if (is_above_zero) {
    append(buf, size, "above 0%s", has_max ? ", at most " : "");
  } else if (has_min && !has_max) {
    append(buf, size, "at least ");
  } else if (!has_min) {
    append(buf, size, "at most ");
  }
  if (has_min && !is_above_zero) append_bound(o, o->min, buf, size);
  if (has_min && !is_above_zero && has_max) append(buf, size, " to ");
  if (has_max) append_bound(o, o->max, buf, size);
  if (o->unit[0] != '\0') append(buf, size, " %s", o->unit);
}

void fc_value_choices(const fc_option *o, char *buf, size_t size) {
  const char *name;
  for (size_t i = 0; (name = o->choice(i)) != NULL; i++) {
    if (strlen(buf) + strlen(name) + 8 > size) {
      append(buf, size, ", ...");
      return;
    }
    append(buf, size, "%s%s", i == 0 ? "" : ", ", name);
  }
}

void fc_value_allowed(const fc_option *o, char *buf, size_t size) {
  buf[0] = '\0';
  switch (o->type) {
  case FC_OPT_INT:
  case FC_OPT_REAL:
  case FC_OPT_REALS:
  case FC_OPT_DIST:
    append_range(o, buf, size);
    break;
  case FC_OPT_CHOICE:
  case FC_OPT_NAMES:
    if (!o->choice) break;
    append(buf, size, o->type == FC_OPT_CHOICE ? "one of " : "each one of ");
    fc_value_choices(o, buf, size);
    break;
  case FC_OPT_BOOL:
  case FC_OPT_STRING:
    break;
  }
}

void fc_value_must_be(const fc_option *o, char *buf, size_t size) {
  const char *phrase = fc_value_type_words(o->type)->phrase;
  snprintf(buf, size, "%s%s", phrase, phrase[0] ? ", " : "");
  size_t used = strlen(buf);
  fc_value_allowed(o, buf + used, size - used);
  if (buf[used] == '\0' && phrase[0]) buf[used - 2] = '\0'; /* nothing after the comma */
}
