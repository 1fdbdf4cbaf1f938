/* Folders that appear whole or not at all. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fedcell/fc_folder.h"
#include "fedcell/fc_mem.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/fedcell-test-XXXXXX", final[64];

static void put(const char *folder, const char *text) {
  char path[256];
  snprintf(path, sizeof path, "%s/file", folder);
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static void holds(const char *text) {
  char path[256], read[16] = "";
  snprintf(path, sizeof path, "%s/file", final);
  FILE *f = fopen(path, "r");
  assert_non_null(f);
  assert_non_null(fgets(read, sizeof read, f));
  fclose(f);
  assert_string_equal(read, text);
}

static void publish(const char *text, bool replace) {
  char *aside = NULL;
  assert_int_equal(fc_folder_begin(final, &aside), FC_ERR_OK);
  put(aside, text);
  assert_int_equal(fc_folder_publish(&aside, final, replace), FC_ERR_OK);
  assert_null(aside);
}

static void the_first_stands_unless_replaced(void **state) {
  (void)state;
  publish("one", false);
  holds("one");
  publish("two", false);
  holds("one");
  publish("three", true);
  holds("three");
  fc_folder_remove(final);
  assert_int_not_equal(access(final, F_OK), 0);
}

static void a_dropped_one_leaves_nothing(void **state) {
  (void)state;
  char *aside = NULL, name[256];
  assert_int_equal(fc_folder_begin(final, &aside), FC_ERR_OK);
  snprintf(name, sizeof name, "%s", aside);
  put(aside, "x");
  fc_folder_drop(&aside);
  fc_folder_drop(&aside);
  assert_int_not_equal(access(name, F_OK), 0);
  assert_int_not_equal(access(final, F_OK), 0);
}

static void says_where_nothing_can_be_made(void **state) {
  (void)state;
  char *aside = NULL;
  assert_int_equal(fc_folder_begin("/dev/null/x", &aside), FC_ERR_IO);
  assert_non_null(strstr(fc_err_message(), "/dev/null"));
  assert_null(aside);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_first_stands_unless_replaced),
      cmocka_unit_test(a_dropped_one_leaves_nothing),
      cmocka_unit_test(says_where_nothing_can_be_made),
  };
  if (!mkdtemp(root)) return 1;
  snprintf(final, sizeof final, "%s/deep/folder", root);
  int failed = cmocka_run_group_tests_name("base.folder", tests, NULL, NULL);
  char deep[64];
  snprintf(deep, sizeof deep, "%s/deep", root);
  rmdir(deep);
  rmdir(root);
  return failed;
}
