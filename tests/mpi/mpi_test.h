/* mpi_test.h - what MPI test programs share: the ranks, a scratch folder, a main.
 *
 * Every rank runs every test. A failed assertion aborts the program (CMOCKA_TEST_ABORT, set by
 * CTest), as the other ranks would wait for the one that left. */
#ifndef FC_MPI_TEST_H
#define FC_MPI_TEST_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fedcell/fc_comm.h"
#include "fedcell/fc_err.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static fc_comm *comm;
static char scratch[256]; /* the same folder on all ranks; removed at the end */

/* "<scratch>/<name>"; valid until the fourth next call. */
__attribute__((unused)) static const char *scratch_path(const char *name) {
  static char path[4][512];
  static int next;
  next = (next + 1) % 4;
  snprintf(path[next], sizeof path[next], "%s/%s", scratch, name);
  return path[next];
}

/* The call succeeds; its message is shown if it does not. */
#define assert_ok(call)                                                                            \
  do {                                                                                             \
    fc_err e_ = (call);                                                                            \
    if (e_ != FC_ERR_OK) fail_msg("%s: %s", #call, fc_err_message());                              \
  } while (0)

/* The call fails with this code and exactly this message. */
#define assert_fails(call, code, message)                                                          \
  do {                                                                                             \
    fc_err e_ = (call);                                                                            \
    assert_int_equal(e_, code);                                                                    \
    assert_string_equal(fc_err_message(), message);                                                \
  } while (0)

static int mpi_test_main(int argc, char **argv, int (*run)(void)) {
  MPI_Init(&argc, &argv);
  if (fc_comm_create(&comm) != FC_ERR_OK) MPI_Abort(MPI_COMM_WORLD, 1);
  if (comm->rank == 0) {
    const char *folder = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%s/fedcell-test-XXXXXX", folder ? folder : "/tmp");
    if (!mkdtemp(scratch)) MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Bcast(scratch, sizeof scratch, MPI_CHAR, 0, comm->world);
  int failed = run();
  MPI_Barrier(comm->world);
  if (comm->rank == 0) {
    char command[512];
    snprintf(command, sizeof command, "rm -rf '%s'", scratch);
    if (system(command) != 0) failed = 1;
  }
  fc_comm_destroy(&comm);
  MPI_Finalize();
  return failed;
}

#endif
