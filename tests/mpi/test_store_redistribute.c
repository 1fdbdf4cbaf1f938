/* test_store_redistribute.c - rows travel to contiguous blocks in several steps, whatever the step,
 * the chunk and the rank they start from.
 * RANKS: 1 2 3 4 */
#include "mpi_test.h"

#include "../../src/store/redistribute.h"

static const fc_column COLUMNS[] = {{"row", "1", "", FC_COLUMN_I64}, {"x", "1", "", FC_COLUMN_F64}};

/* All rows on one rank, in turn on all, or on a rank that looks random; in falling order. */
typedef enum { ON_ONE, IN_TURN, SCATTERED, N_WAYS } way;

static int start_rank(way w, int64_t row) {
  switch (w) {
  case ON_ONE:
    return comm->size - 1;
  case IN_TURN:
    return (int)(row % comm->size);
  default:
    return (int)(((uint64_t)row * 0x9E3779B97F4A7C15u >> 40) % (uint64_t)comm->size);
  }
}

static void check(int64_t total, int64_t chunk, int64_t step, way w) {
  fc_table *t = NULL;
  fc_redistribution *moves = NULL;
  int64_t first = -1, count = -1;
  assert_ok(fc_table_create(COLUMNS, 2, &t));
  for (int64_t row = total - 1; row >= 0; row--)
    if (start_rank(w, row) == comm->rank)
      assert_ok(fc_table_append(t, row, (double[]){(double)row, 0.5 * (double)row}));
  assert_ok(fc_redistribute_create(comm, t, "t", total, chunk, step, &moves));
  fc_redistribute_block(total, chunk, comm->size, comm->rank, &first, &count);
  double *block = malloc(((size_t)count + 1) * sizeof *block);
  for (size_t c = 0; c < 2; c++) {
    for (int64_t i = 0; i <= count; i++) block[i] = -1.0;
    assert_ok(fc_redistribute_column(moves, t, c, block));
    for (int64_t i = 0; i < count; i++)
      assert_true(block[i] == (c == 0 ? 1.0 : 0.5) * (double)(first + i));
    assert_true(block[count] == -1.0);
  }
  free(block);
  fc_redistribute_destroy(&moves);
  assert_null(moves);
  fc_table_destroy(&t);
}

static void every_step_chunk_and_start(void **state) {
  (void)state;
  const int64_t totals[] = {1, 2, 7, 100, 1001}, chunks[] = {1, 3, 64, 5000},
                steps[] = {1, 5, 1000};
  for (int i = 0; i < 5; i++)
    for (int j = 0; j < 4; j++)
      for (int k = 0; k < 3; k++)
        for (int w = 0; w < N_WAYS; w++) check(totals[i], chunks[j], steps[k], (way)w);
}

static void blocks_are_whole_chunks_that_tile_the_rows(void **state) {
  (void)state;
  for (int64_t total = 1; total < 60; total++)
    for (int size = 1; size <= 9; size++) {
      int64_t next = 0;
      for (int rank = 0; rank < size; rank++) {
        int64_t first, count;
        fc_redistribute_block(total, 4, size, rank, &first, &count);
        assert_int_equal(first, next);
        assert_true(count >= 0 && (first % 4 == 0 || count == 0));
        next += count;
      }
      assert_int_equal(next, total);
    }
}

static void big_numbers_do_not_overflow(void **state) {
  (void)state;
  const int64_t total = (int64_t)1 << 40;
  int64_t first, count;
  fc_redistribute_block(total, 32768, 1000, 999, &first, &count);
  assert_int_equal(first + count, total);
  assert_in_range(count, total / 1000 - 65536, total / 1000 + 65536);
}

static void faults_in_any_step(void **state) {
  (void)state;
  fc_redistribution *moves = NULL;
  for (int fault = 0; fault < 30; fault++) {
    char expected[100];
    fc_table *t = NULL;
    assert_ok(fc_table_create(COLUMNS, 2, &t));
    for (int64_t row = 0; row < 30; row++)
      if (row % comm->size == comm->rank)
        assert_ok(fc_table_append(t, row == fault ? (row + 1) % 30 : row, (double[]){0, 0}));
    snprintf(expected, sizeof expected, "table t: row %d was appended twice", (fault + 1) % 30);
    assert_fails(fc_redistribute_create(comm, t, "t", 30, 4, 3, &moves), FC_ERR_DATA, expected);
    assert_null(moves);
    fc_table_destroy(&t);
  }
}

static int run(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_step_chunk_and_start),
      cmocka_unit_test(blocks_are_whole_chunks_that_tile_the_rows),
      cmocka_unit_test(big_numbers_do_not_overflow),
      cmocka_unit_test(faults_in_any_step),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return mpi_test_main(argc, argv, run);
}
