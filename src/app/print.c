/* print.c - the only doors to stdout and stderr. */
#include "app.h"
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

static int own_rank;

void fc_app_print_init(int rank) {
  own_rank = rank;
}

static void print(FILE *to, const char *format, va_list args) {
  if (own_rank != 0) return;
  vfprintf(to, format, args);
  fflush(to);
}

void fc_app_say(const char *format, ...) {
  va_list args;
  va_start(args, format);
  print(stdout, format, args);
  va_end(args);
}

fc_err fc_app_print_end(void) {
  FC_CHECK(fflush(stdout) == 0 && !ferror(stdout), IO, "standard output cannot be written");
  return FC_ERR_OK;
}

fc_err fc_app_say_json(json_t *o) {
  char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
  json_decref(o);
  FC_CHECK(text, NOMEM, "out of memory while printing JSON");
  fc_app_say("%s\n", text);
  free(text); /* jansson's own allocation */
  return FC_ERR_OK;
}

void fc_app_note(const char *format, ...) {
  va_list args;
  va_start(args, format);
  print(stderr, format, args);
  va_end(args);
}

void fc_app_note_here(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
}

char *fc_app_human(char *buffer, double value, const char *unit) {
  static const char *const prefix[] = {"", "k", "M", "G", "T", "P", "E"};
  size_t p = 0;
  double x = value;
  while (fabs(x) >= 999.5 && /* which three digits show as 1000 */
         p + 1 < sizeof prefix / sizeof prefix[0]) {
    x /= 1000.0;
    p++;
  }
  /* whole numbers below a thousand need no digits behind the point */
  snprintf(buffer, FC_HUMAN, p == 0 && x == floor(x) ? "%.0f %s%s" : "%.3g %s%s", x, prefix[p],
           unit);
  return buffer;
}

char *fc_app_human_time(char *buffer, double seconds) {
  if (seconds > 0 && seconds < 1)
    snprintf(buffer, FC_HUMAN, "%.3g ms", seconds * 1e3);
  else if (seconds < 60)
    snprintf(buffer, FC_HUMAN, "%.1f s", seconds);
  else if (seconds < 3600)
    snprintf(buffer, FC_HUMAN, "%.1f min", seconds / 60);
  else if (seconds < 86400 * 2)
    snprintf(buffer, FC_HUMAN, "%.1f h", seconds / 3600);
  else
    snprintf(buffer, FC_HUMAN, "%.1f days", seconds / 86400);
  return buffer;
}
