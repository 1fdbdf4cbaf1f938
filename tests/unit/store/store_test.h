/* store_test.h - what the tests of this room share: checks on calls, a scratch folder, files. */
#ifndef FC_STORE_TEST_H
#define FC_STORE_TEST_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fedcell/fc_err.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch[256];

/* The call succeeds; its message is shown if it does not. */
#define assert_ok(call)                                                                            \
  do {                                                                                             \
    fc_err e_ = (call);                                                                            \
    if (e_ != FC_ERR_OK) fail_msg("%s: %s", #call, fc_err_message());                              \
  } while (0)

/* The call fails with this code and this message, in which %s stands for the scratch folder. */
#define assert_fails(call, code, message)                                                          \
  do {                                                                                             \
    char expected_[2048];                                                                          \
    fc_err e_ = (call);                                                                            \
    expand(expected_, sizeof expected_, message);                                                  \
    assert_string_equal(fc_err_message(), expected_);                                              \
    assert_int_equal(e_, code);                                                                    \
  } while (0)

__attribute__((unused)) static void expand(char *out, size_t size, const char *message) {
  const char *mark = strstr(message, "%s");
  if (!mark)
    snprintf(out, size, "%s", message);
  else
    snprintf(out, size, "%.*s%s%s", (int)(mark - message), message, scratch, mark + 2);
}

/* "<scratch>/<name>"; valid until the fourth next call. */
__attribute__((unused)) static const char *scratch_path(const char *name) {
  static char path[4][512];
  static int next;
  next = (next + 1) % 4;
  snprintf(path[next], sizeof path[next], "%s/%s", scratch, name);
  return path[next];
}

__attribute__((unused)) static void write_bytes(const char *path, const void *bytes, size_t n) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, n, file), n);
  assert_int_equal(fclose(file), 0);
}

__attribute__((unused)) static void write_text(const char *path, const char *text) {
  write_bytes(path, text, strlen(text));
}

/* The whole file; the caller frees. */
__attribute__((unused)) static char *read_bytes(const char *path, size_t *n) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  struct stat status;
  assert_int_equal(fstat(fileno(file), &status), 0);
  *n = (size_t)status.st_size;
  char *bytes = malloc(*n + 1);
  assert_int_equal(fread(bytes, 1, *n, file), *n);
  bytes[*n] = '\0';
  fclose(file);
  return bytes;
}

__attribute__((unused)) static int make_scratch(void **state) {
  (void)state;
  const char *folder = getenv("TMPDIR");
  snprintf(scratch, sizeof scratch, "%s/fedcell-test-XXXXXX", folder ? folder : "/tmp");
  return mkdtemp(scratch) ? 0 : -1;
}

__attribute__((unused)) static int remove_scratch(void **state) {
  (void)state;
  char command[512];
  snprintf(command, sizeof command, "rm -rf '%s'", scratch);
  return system(command);
}

#endif
