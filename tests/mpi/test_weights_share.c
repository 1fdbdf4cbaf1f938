/* test_weights_share.c - the node's ranks see one copy of the weights, nothing is left in the
 * scratch folder, and a failure on the filling rank is every rank's.
 * RANKS: 1 2 3 4 */
#include "mpi_test.h"

#include "fedcell/fc_mem.h"
#include "fedcell/fc_weights.h"
#include <sys/mount.h>

static fc_model *make_model(void) {
  fc_model_shape shape = {.arch = fc_arch_find("gpt2"),
                          .layers = 2,
                          .width = 64,
                          .heads = 4,
                          .vocab = 500,
                          .positions = 32};
  fc_model *model = NULL;
  assert_ok(fc_model_shape_check(&shape));
  assert_ok(fc_model_create(&shape, &model));
  return model;
}

static int calls;
static fc_err fill(void *arg, float *weights) {
  calls++;
  size_t n = fc_model_weight_count(arg);
  for (size_t i = 0; i < n; i++) weights[i] = (float)i;
  return FC_ERR_OK;
}

static fc_err fail_to_fill(void *arg, float *weights) {
  (void)arg;
  weights[0] = 1.0F;
  return fc_fail(FC_ERR_SHAPE, "no such tensor");
}

static void assert_empty(const char *folder) {
  char text[512];
  snprintf(text, sizeof text, "test -z \"$(ls -A '%s')\"", folder);
  if (comm->rank == 0) assert_int_equal(system(text), 0);
}

/* Kilobytes of this process's maps that are shared, from the kernel's books. */
static long shared_kilobytes(void) {
  char line[512];
  long kilobytes = 0, found = 0;
  int ours = 0;
  FILE *maps = fopen("/proc/self/smaps", "r");
  assert_non_null(maps);
  while (fgets(line, sizeof line, maps)) {
    unsigned long from, to;
    if (sscanf(line, "%lx-%lx ", &from, &to) == 2) ours = strstr(line, "fedcell-weights-") != NULL;
    if (ours && sscanf(line, "Size: %ld", &kilobytes) == 1) found += kilobytes;
  }
  fclose(maps);
  return found;
}

static void all_ranks_see_the_weights(void **state) {
  (void)state;
  fc_model *model = make_model();
  fc_shared_weights *shared = NULL;
  calls = 0;
  assert_ok(fc_weights_share(comm, model, scratch, false, fill, model, &shared));
  assert_int_equal(calls, comm->node_rank == 0);
  MPI_Barrier(comm->world);
  assert_empty(scratch); /* the name is gone while the weights are in use */
  const float *weights = fc_model_weights(model);
  size_t n = fc_model_weight_count(model);
  for (size_t i = 0; i < n; i++) assert_true(weights[i] == (float)i);
  assert_in_range(shared_kilobytes(), (long)(n * 4 / 1024), (long)(n * 4 / 1024) + 4);
  fc_weights_unshare(&shared);
  assert_null(shared);
  assert_int_equal(shared_kilobytes(), 0);
  fc_weights_unshare(&shared); /* accepts NULL */
  fc_model_destroy(&model);
}

static void failures_reach_all_ranks(void **state) {
  (void)state;
  fc_model *model = make_model();
  fc_shared_weights *shared = NULL;
  char expected[1024];
  assert_fails(fc_weights_share(comm, model, scratch, false, fail_to_fill, model, &shared),
               FC_ERR_SHAPE, "no such tensor");
  assert_null(shared);
  snprintf(expected, sizeof expected, "scratch folder %s: No such file or directory",
           scratch_path("none"));
  assert_fails(fc_weights_share(comm, model, scratch_path("none"), false, fill, model, &shared),
               FC_ERR_IO, expected);
  assert_null(shared);
  MPI_Barrier(comm->world);
  assert_empty(scratch);
  fc_model_destroy(&model);
}

static void a_scratch_folder_that_is_too_small(void **state) {
  (void)state;
  fc_model *model = make_model();
  fc_shared_weights *shared = NULL;
  char text[1024], expected[1024];
  const char *folder = scratch_path("small");
  int status = 0;
  snprintf(text, sizeof text, "mkdir '%s' && mount -t tmpfs -o size=64k tmpfs '%s' 2>/dev/null",
           folder, folder);
  if (comm->rank == 0) status = system(text);
  MPI_Bcast(&status, 1, MPI_INT, 0, comm->world);
  if (status != 0) {
    fc_model_destroy(&model);
    skip(); /* needs root */
  }
  fc_err err = fc_weights_share(comm, model, folder, false, fill, model, &shared);
  MPI_Barrier(comm->world);
  if (comm->rank == 0) assert_int_equal(umount(folder), 0);
  snprintf(expected, sizeof expected,
           "scratch folder %s has 0.1 MB free, the shared base weights need %.1f MB: set "
           "model.scratch or TMPDIR to another folder",
           folder, (double)fc_model_weight_count(model) * 4e-6);
  assert_fails(err, FC_ERR_IO, expected);
  fc_model_destroy(&model);
}

/* The panels behind the weights are those of the weights, on every rank. */
static void all_ranks_see_the_panels(void **state) {
  (void)state;
  fc_model *model = make_model();
  fc_shared_weights *shared = NULL;
  size_t n = fc_model_panel_count(model);
  fc_bf16 *expected = NULL;
  assert_ok(fc_alloc(n, sizeof *expected, &expected));
  assert_ok(fc_weights_share(comm, model, NULL, true, fill, model, &shared));
  assert_true(fc_weights_share_bytes(model, true) >=
              fc_weights_share_bytes(model, false) + n * sizeof *expected);
  fc_model_pack(model, expected);
  assert_memory_equal(fc_model_get_panels(model), expected, n * sizeof *expected);
  fc_free(expected);
  fc_weights_unshare(&shared);
  fc_model_destroy(&model);
}

static int run(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_ranks_see_the_weights),
      cmocka_unit_test(all_ranks_see_the_panels),
      cmocka_unit_test(failures_reach_all_ranks),
      cmocka_unit_test(a_scratch_folder_that_is_too_small),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return mpi_test_main(argc, argv, run);
}
