/* single_rank.h - MPI for a test program that runs as one process: `comm`, and a main. */
#ifndef SINGLE_RANK_H
#define SINGLE_RANK_H

#include "federation_fixture.h"

static fc_comm *comm;

static int single_rank_main(int argc, char **argv, int (*run)(void)) {
  /* no daemon of its own for a process without a launcher */
  setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);
  /* such processes share one session folder, which the first that ends removes: no file there */
  setenv("OMPI_MCA_sharedfp", "individual", 0);
  MPI_Init(&argc, &argv);
  if (fc_comm_create(&comm) != FC_ERR_OK) return 1;
  int failed = run();
  fc_comm_destroy(&comm);
  MPI_Finalize();
  return failed;
}

#define SINGLE_RANK_MAIN(tests)                                                                    \
  static int run_all(void) {                                                                       \
    return cmocka_run_group_tests(tests, NULL, NULL);                                              \
  }                                                                                                \
  int main(int argc, char **argv) {                                                                \
    return single_rank_main(argc, argv, run_all);                                                  \
  }

#endif
