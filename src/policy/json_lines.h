/* json_lines.h - files and texts of one JSON object a line. Local. */
#ifndef POLICY_JSON_LINES_H
#define POLICY_JSON_LINES_H

#include "fedcell/fc_err.h"
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Calls `take` for every line that is not empty; place: "file:line", for messages. DATA for a line
 * that is no object. */
fc_err fc_json_lines_read(const char *path,
                          fc_err (*take)(void *arg, const char *place, json_t *line), void *arg);

typedef struct { /* growable; zero-initialise; fc_free(bytes) */
  char *bytes;
  size_t n, capacity;
} fc_json_text;
/* Appends a line with an object of these texts. Bytes that are no UTF-8 become U+FFFD. */
fc_err fc_json_text_add(fc_json_text *t, const char *const *names, const char *const *values,
                        int n);

#endif
