/* log.c - messages on their way to whoever may print them. */
#include "fedcell/fc_log.h"
#include "fedcell/fc_err.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

static _Atomic(fc_log_sink) sink;

void fc_log_set_sink(fc_log_sink s) {
  atomic_store(&sink, s);
}

void fc_log(fc_log_level level, const char *format, ...) {
  fc_log_sink out = atomic_load(&sink);
  if (!out) return;
  char line[FC_ERR_MESSAGE_SIZE];
  va_list args;
  va_start(args, format);
  vsnprintf(line, sizeof line, format, args);
  va_end(args);
  out(level, line);
}
