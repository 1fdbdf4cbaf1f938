/* data_test.h - what the tests of the data room share. */
#ifndef DATA_TEST_H
#define DATA_TEST_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "fedcell/fc_data.h"
#include "fedcell/fc_mem.h"

#define assert_ok(call)                                                                            \
  do {                                                                                             \
    fc_err e_ = (call);                                                                            \
    if (e_ != FC_ERR_OK) fail_msg("%s: %s: %s", #call, fc_err_text(e_), fc_err_message());         \
  } while (0)

#define assert_fails(call, code, message)                                                          \
  do {                                                                                             \
    assert_int_equal((call), (code));                                                              \
    assert_string_equal(fc_err_message(), (message));                                              \
  } while (0)

#define assert_text(t, expected)                                                                   \
  do {                                                                                             \
    assert_int_equal((t).length, strlen(expected));                                                \
    assert_memory_equal((t).text, (expected), strlen(expected));                                   \
  } while (0)

static inline fc_data_settings settings_of(const char *dataset, const char *dir) {
  return (fc_data_settings){.dataset = dataset,
                            .dir = dir,
                            .train_file = "",
                            .test_file = "",
                            .column_a = "text",
                            .column_b = "",
                            .column_label = "label",
                            .task = "classify",
                            .test_fraction = 0.1,
                            .public_fraction = 0.2};
}

/* A folder of its own under the temporary folder, removed with all its files by remove_folder. */
static inline char *make_folder(void) {
  static char path[64];
  strcpy(path, "/tmp/fedcell-data-XXXXXX");
  assert_non_null(mkdtemp(path));
  return path;
}

static inline void write_bytes(const char *folder, const char *name, const void *bytes, size_t n) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, n, file), n);
  assert_int_equal(fclose(file), 0);
}

static inline void write_text(const char *folder, const char *name, const char *text) {
  write_bytes(folder, name, text, strlen(text));
}

static inline void remove_file(const char *folder, const char *name) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  assert_int_equal(unlink(path), 0);
}

#endif
