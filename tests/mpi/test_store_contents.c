/* test_store_contents.c - a result file's contents do not depend on the ranks that wrote it.
 * RANKS: 1 2 3 4 */
#include "mpi_test.h"

#include "fedcell/fc_mem.h"
#include "fedcell/fc_store.h"
#include <math.h>
#include <sys/stat.h>

static const fc_column COLUMNS[] = {
    {"round", "1", "round number", FC_COLUMN_I32},
    {"device", "1", "device number", FC_COLUMN_I64},
    {"energy_j", "J", "energy of the round", FC_COLUMN_F64},
    {"loss", "nat", "training loss", FC_COLUMN_F32},
    {"delivered", "1", "update arrived in time", FC_COLUMN_U8},
};
enum { N_COLUMNS = sizeof COLUMNS / sizeof COLUMNS[0] };

/* What stands in a row, from its number alone. */
static void make_row(int64_t row, double *values) {
  values[0] = (double)(row / 100);
  values[1] = (double)(row * 1000003);
  values[2] = sin((double)row) * 1e-3;
  values[3] = row % 97 == 0 ? NAN : (double)(float)(1.0 / (1.0 + (double)row));
  values[4] = (double)(row % 2);
}

/* Rows in an order and on ranks that look random; rank `empty` gets none. */
static fc_table *scatter(int64_t total, int empty) {
  fc_table *t = NULL;
  assert_ok(fc_table_create(COLUMNS, N_COLUMNS, &t));
  for (int64_t i = 0; i < total; i++) {
    int64_t row = total - 1 - i;
    uint64_t hash = (uint64_t)row * 0x9E3779B97F4A7C15u;
    int owner = (int)((hash >> 33) % (uint64_t)comm->size);
    if (owner == empty) owner = (owner + 1) % comm->size;
    double values[N_COLUMNS];
    make_row(row, values);
    if (owner == comm->rank) assert_ok(fc_table_append(t, row, values));
  }
  return t;
}

static void write_table(const char *path, int64_t total, int empty) {
  fc_store_file *file = NULL;
  fc_table *t = scatter(total, empty);
  assert_ok(fc_store_write_begin(comm, path, &file));
  fc_store_put_table(file, "/participation", t);
  assert_ok(fc_store_write_end(&file));
  assert_null(file);
  fc_table_destroy(&t);
}

static void check_table(const char *path, int64_t total) {
  fc_store_reader *reader = NULL;
  fc_table *t = NULL;
  int64_t count = -1;
  assert_ok(fc_store_open(path, &reader));
  assert_ok(fc_store_count(reader, "/participation/loss", &count));
  assert_int_equal(count, total);
  assert_ok(fc_table_create(COLUMNS, N_COLUMNS, &t));
  assert_ok(fc_store_get_table(reader, "/participation", 0, total, t));
  assert_int_equal(fc_table_rows(t), total);
  for (int64_t row = 0; row < total; row++) {
    double values[N_COLUMNS];
    make_row(row, values);
    assert_int_equal(fc_table_row_number(t, (size_t)row), row);
    for (size_t c = 0; c < N_COLUMNS; c++) {
      double x = fc_table_get(t, (size_t)row, c);
      if (isnan(values[c]) ? !isnan(x) : !(x == values[c]))
        fail_msg("row %lld column %zu: %.17g, expected %.17g", (long long)row, c, x, values[c]);
    }
  }
  fc_table_destroy(&t);
  fc_store_close(&reader);
}

static void rows_come_back_in_order(void **state) {
  (void)state;
  const int64_t totals[] = {1, 3, 100, 32767, 32768, 32769, 300000};
  for (size_t i = 0; i < sizeof totals / sizeof totals[0]; i++) {
    write_table(scratch_path("rows.h5"), totals[i], -1);
    check_table(scratch_path("rows.h5"), totals[i]);
  }
}

static void a_rank_without_rows_takes_part(void **state) {
  (void)state;
  for (int empty = 0; empty < comm->size; empty++) {
    write_table(scratch_path("some.h5"), 100000, empty);
    check_table(scratch_path("some.h5"), 100000);
  }
}

static void an_empty_table_is_a_group_of_empty_columns(void **state) {
  (void)state;
  write_table(scratch_path("empty.h5"), 0, -1);
  check_table(scratch_path("empty.h5"), 0);
}

static void arrays_in_parts_of_any_size(void **state) {
  (void)state;
  enum { TOTAL = 100003 };
  static float x[TOTAL];
  static int64_t y[TOTAL];
  for (int i = 0; i < TOTAL; i++) {
    x[i] = (float)i * 0.25F;
    y[i] = ((int64_t)i << 40) - i;
  }
  /* rank p holds the part p + 1 of the ranks in turn, the last one nothing if there are several */
  int parts = comm->size > 1 ? comm->size - 1 : 1, part = (comm->rank + 1) % comm->size;
  if (comm->size == 1) part = 0;
  int64_t first = part < parts ? (int64_t)TOTAL * part / parts : TOTAL;
  int64_t end = part < parts ? (int64_t)TOTAL * (part + 1) / parts : TOTAL;
  fc_store_file *file = NULL;
  assert_ok(fc_store_write_begin(comm, scratch_path("arrays.h5"), &file));
  fc_store_put_f32(file, "/state/adapter", "1", "LoRA factors", x + first, first, end - first,
                   TOTAL);
  fc_store_put_i64(file, "/state/cursor", "1", "", y + first, first, end - first, TOTAL);
  fc_store_put_f32(file, "/state/nothing", "1", "empty", NULL, 0, 0, 0);
  assert_ok(fc_store_write_end(&file));

  fc_store_reader *reader = NULL;
  static float x_back[TOTAL];
  static int64_t y_back[TOTAL];
  int64_t count;
  assert_ok(fc_store_open(scratch_path("arrays.h5"), &reader));
  assert_ok(fc_store_get_f32(reader, "/state/adapter", 0, TOTAL, x_back));
  assert_memory_equal(x, x_back, sizeof x);
  assert_ok(fc_store_get_i64(reader, "/state/cursor", 0, TOTAL, y_back));
  assert_memory_equal(y, y_back, sizeof y);
  assert_ok(fc_store_get_i64(reader, "/state/cursor", 77, 2, y_back));
  assert_int_equal(y_back[1], y[78]);
  assert_ok(fc_store_count(reader, "/state/nothing", &count));
  assert_int_equal(count, 0);
  fc_store_close(&reader);
}

static void a_matrix_that_all_ranks_hold(void **state) {
  (void)state;
  float x[3 * 5], back[15];
  for (int i = 0; i < 15; i++) x[i] = (float)i * 0.5F;
  fc_store_file *file = NULL;
  fc_store_reader *reader = NULL;
  assert_ok(fc_store_write_begin(comm, scratch_path("matrix.h5"), &file));
  fc_store_put_matrix(file, "/final/adapter", "lora_A", "first factor", x, 3, 5);
  assert_ok(fc_store_write_end(&file));
  assert_ok(fc_store_open(scratch_path("matrix.h5"), &reader));
  assert_ok(fc_store_get_f32(reader, "/final/adapter/lora_A", 0, 15, back));
  assert_memory_equal(x, back, sizeof x);
  assert_ok(fc_store_get_f32(reader, "/final/adapter/lora_A", 10, 5, back));
  assert_memory_equal(x + 10, back, 5 * sizeof *x);
  char expected[1024];
  snprintf(expected, sizeof expected,
           "%s: /final/adapter/lora_A is a matrix, of which only whole rows can be read",
           scratch_path("matrix.h5"));
  assert_fails(fc_store_get_f32(reader, "/final/adapter/lora_A", 1, 5, back), FC_ERR_DATA,
               expected);
  fc_store_close(&reader);
}

static void texts_of_any_length(void **state) {
  (void)state;
  enum { LONG = 3000000 };
  static char text[LONG + 1];
  memset(text, 'x', LONG);
  text[70000] = '\n';
  fc_store_file *file = NULL;
  assert_ok(fc_store_write_begin(comm, scratch_path("texts.h5"), &file));
  fc_store_put_text(file, "/provenance", "config", text);
  fc_store_put_text(file, "/provenance", "unicode", "Öre × 3");
  fc_store_put_text(file, "/provenance", "empty", "");
  fc_store_put_number(file, "/provenance/deep/er", "seed", 12345678901.0);
  fc_store_put_number(file, "/provenance", "nan", NAN);
  assert_ok(fc_store_write_end(&file));

  fc_store_reader *reader = NULL;
  char *back = NULL;
  double number = 0.0;
  assert_ok(fc_store_open(scratch_path("texts.h5"), &reader));
  assert_ok(fc_store_get_text(reader, "/provenance", "config", &back));
  assert_string_equal(back, text);
  fc_free(back);
  assert_ok(fc_store_get_text(reader, "/provenance", "unicode", &back));
  assert_string_equal(back, "Öre × 3");
  fc_free(back);
  assert_ok(fc_store_get_text(reader, "/provenance", "empty", &back));
  assert_string_equal(back, "");
  fc_free(back);
  assert_ok(fc_store_get_number(reader, "/provenance/deep/er", "seed", &number));
  assert_true(number == 12345678901.0);
  assert_ok(fc_store_get_number(reader, "/provenance", "nan", &number));
  assert_true(isnan(number));
  assert_true(fc_store_has(reader, "/provenance/deep"));
  assert_false(fc_store_has(reader, "/provenance/deep/est"));
  assert_false(fc_store_has(reader, "/absent/deep"));
  fc_store_close(&reader);
}

static void many_writes_of_one_name(void **state) {
  (void)state;
  for (int64_t i = 1; i <= 20; i++) write_table(scratch_path("again.h5"), 10 * i, -1);
  check_table(scratch_path("again.h5"), 200);
  if (comm->rank == 0) { /* no temporary file is left, nor space that was only reserved */
    char command[512];
    struct stat status;
    assert_int_equal(stat(scratch_path("again.h5"), &status), 0);
    assert_in_range(status.st_blocks * 512, 0, status.st_size + 16384);
    snprintf(command, sizeof command, "test -z \"$(ls '%s' | grep tmp)\"", scratch);
    assert_int_equal(system(command), 0);
  }
}

static int run(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rows_come_back_in_order),
      cmocka_unit_test(a_rank_without_rows_takes_part),
      cmocka_unit_test(an_empty_table_is_a_group_of_empty_columns),
      cmocka_unit_test(arrays_in_parts_of_any_size),
      cmocka_unit_test(a_matrix_that_all_ranks_hold),
      cmocka_unit_test(texts_of_any_length),
      cmocka_unit_test(many_writes_of_one_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return mpi_test_main(argc, argv, run);
}
