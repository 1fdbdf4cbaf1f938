/* dynamics_fixture.h - MPI and a folder for a test program of the dynamics that runs as one
 * process.
 */
#ifndef DYNAMICS_FIXTURE_H
#define DYNAMICS_FIXTURE_H

#include "dynamics_world.h"

#include "dynamics.h"
#include <stdlib.h>
#include <unistd.h>

/* One process without a launcher: no daemon of its own, no file in a shared session folder. */
static fc_comm *comm;
static char scratch[256]; /* a folder of this program's own */

/* "<scratch>/<name>"; valid until the next call. */
static inline const char *scratch_path(const char *name) {
  static char path[512];
  snprintf(path, sizeof path, "%s/%s", scratch, name);
  return path;
}

static int single_rank_main(int argc, char **argv, int (*run)(void)) {
  const char *folder = getenv("TMPDIR");
  char command[300];
  setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);
  setenv("OMPI_MCA_sharedfp", "individual", 0);
  MPI_Init(&argc, &argv);
  snprintf(scratch, sizeof scratch, "%s/fedcell-test-XXXXXX", folder ? folder : "/tmp");
  if (!mkdtemp(scratch) || fc_comm_create(&comm) != FC_ERR_OK) return 1;
  int failed = run();
  snprintf(command, sizeof command, "rm -rf '%s'", scratch);
  if (system(command) != 0) failed = 1;
  fc_comm_destroy(&comm);
  MPI_Finalize();
  return failed;
}

static inline fc_dynamics *train_on(const world *w) {
  return train_over(comm, w);
}

static inline void assert_same(const fc_dynamics *a, const fc_dynamics *b) {
  assert_int_equal(a->network.count, b->network.count);
  assert_memory_equal(a->theta, b->theta, a->network.count * sizeof *a->theta);
  assert_int_equal(a->rounds, b->rounds);
  assert_int_equal(a->sample, b->sample);
  assert_int_equal(a->n_seen, b->n_seen);
  assert_memory_equal(a->seen, b->seen, (size_t)a->n_seen * sizeof *a->seen);
  assert_true(a->network.variance_floor == b->network.variance_floor);
  const size_t D = (size_t)a->network.values;
  assert_memory_equal(a->encoding.mean, b->encoding.mean, D * sizeof(double));
  assert_memory_equal(a->encoding.scale, b->encoding.scale, D * sizeof(double));
  assert_memory_equal(a->encoding.log_samples, b->encoding.log_samples,
                      (size_t)a->encoding.devices * sizeof(double));
}

#endif
