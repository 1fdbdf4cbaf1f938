/* test_store_allocation.c - memory that runs out on one rank at any allocation of a write: NOMEM on
 * all ranks, no file, nothing leaked, nobody waits.
 * RANKS: 1 3 */
#include "mpi_test.h"

#include "fedcell/fc_mem.h"
#include "fedcell/fc_store.h"
#include "fedcell/fc_weights.h"

static const fc_column COLUMNS[] = {{"x", "1", "", FC_COLUMN_F64}, {"y", "1", "", FC_COLUMN_I32}};

static fc_err write_file(const fc_table *t) {
  fc_store_file *file = NULL;
  const float x[6] = {0};
  FC_TRY(fc_store_write_begin(comm, scratch_path("a.h5"), &file));
  fc_store_put_table(file, "/rounds", t);
  fc_store_put_f32(file, "/state/x", "1", "", x, 0, comm->rank == 0 ? 6 : 0, 6);
  fc_store_put_matrix(file, "/final", "w", "", x, 3, 2);
  fc_store_put_text(file, "/provenance", "config", "seed: 1");
  return fc_store_write_end(&file);
}

static void a_result_file(void **state) {
  (void)state;
  fc_table *t = NULL;
  int failures = 0;
  assert_ok(fc_table_create(COLUMNS, 2, &t));
  for (int64_t row = comm->rank; row < 100; row += comm->size)
    assert_ok(fc_table_append(t, row, (double[]){(double)row, 1.0}));
  for (size_t n = 1;; n++) {
    size_t before = fc_mem_current_bytes();
    if (comm->rank == comm->size - 1) fc_mem_fail_at(n);
    fc_err err = write_file(t);
    fc_mem_fail_at(0);
    assert_int_equal(fc_mem_current_bytes(), before);
    if (err == FC_ERR_OK) break;
    assert_int_equal(err, FC_ERR_NOMEM);
    assert_int_not_equal(access(scratch_path("a.h5"), F_OK), 0);
    failures++;
  }
  assert_in_range(failures, 15, 1000);
  fc_table_destroy(&t);
}

static fc_err fill(void *arg, float *weights) {
  (void)arg;
  weights[0] = 1.0F;
  return FC_ERR_OK;
}

static void shared_weights(void **state) {
  (void)state;
  fc_model_shape shape = {.arch = fc_arch_find("gpt2"),
                          .layers = 1,
                          .width = 8,
                          .heads = 2,
                          .vocab = 9,
                          .positions = 4};
  fc_model *model = NULL;
  fc_shared_weights *shared = NULL;
  int failures = 0;
  assert_ok(fc_model_shape_check(&shape));
  assert_ok(fc_model_create(&shape, &model));
  for (size_t n = 1;; n++) {
    size_t before = fc_mem_current_bytes();
    if (comm->rank == comm->size - 1) fc_mem_fail_at(n);
    fc_err err = fc_weights_share(comm, model, scratch, false, fill, NULL, &shared);
    fc_mem_fail_at(0);
    if (err == FC_ERR_OK) break;
    assert_int_equal(err, FC_ERR_NOMEM);
    assert_null(shared);
    assert_int_equal(fc_mem_current_bytes(), before);
    failures++;
  }
  assert_in_range(failures, 1, 100);
  fc_weights_unshare(&shared);
  fc_model_destroy(&model);
}

static int run(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_result_file),
      cmocka_unit_test(shared_weights),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return mpi_test_main(argc, argv, run);
}
