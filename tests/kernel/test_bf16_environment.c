/* FEDCELL_KERNEL names the path of the bf16 products; it is read at the first use, so each value
 * gets a process of its own. */
#include "bf16.h"
#include "kernel_test.h"
#include <sys/wait.h>
#include <unistd.h>

static const char *const paths[] = {"amx", "avx512bf16", "plain"};

/* The place in `paths` of what a new process uses; value NULL: nothing said. */
static int path_of_new_process(const char *value) {
  const pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    if (value)
      setenv("FEDCELL_KERNEL", value, 1);
    else
      unsetenv("FEDCELL_KERNEL");
    for (int i = 0; i < LENGTH_OF(paths); i++)
      if (strcmp(fc_k_bf16_path(), paths[i]) == 0) _exit(i);
    _exit(99);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static bool can_run(int path) {
  return fc_k_bf16_use_path(paths[path]);
}

/* The first one from `path` on that can run here. */
static int next_that_runs(int path) {
  while (!can_run(path)) path++;
  return path;
}

static void the_environment_names_the_path(void **state) {
  (void)state;
  int chosen[3];
  for (int i = 0; i < 3; i++) chosen[i] = path_of_new_process(paths[i]);
  const int unset = path_of_new_process(NULL), unknown = path_of_new_process("abacus");
  for (int i = 0; i < 3; i++) assert_int_equal(chosen[i], next_that_runs(i));
  assert_int_equal(unset, next_that_runs(0));
  assert_int_equal(unknown, unset);
}

int main(void) {
  const struct CMUnitTest tests[] = {KERNEL_TEST(the_environment_names_the_path)};
  return cmocka_run_group_tests_name("bf16_environment", tests, NULL, NULL);
}
