/* test_store_reading.c - opening and reading result files: what is there, what is not, and files
 * that are damaged or not ours.
 * RANKS: 1 */
#include "mpi_test.h"

#include "fedcell/fc_mem.h"
#include "fedcell/fc_store.h"
#include <hdf5.h>

static const fc_column COLUMNS[] = {{"loss", "nat", "training loss", FC_COLUMN_F32},
                                    {"sim_time_s", "s", "simulated time", FC_COLUMN_F64}};

static const char *good_file(void) {
  fc_store_file *file = NULL;
  fc_table *t = NULL;
  const float x[3] = {1, 2, 3};
  assert_ok(fc_table_create(COLUMNS, 2, &t));
  for (int64_t row = 0; row < 5000; row++)
    assert_ok(fc_table_append(t, row, (double[]){(double)row, 0.5 * (double)row}));
  assert_ok(fc_store_write_begin(comm, scratch_path("good.h5"), &file));
  fc_store_put_table(file, "/rounds", t);
  fc_store_put_f32(file, "/final/adapter", "1", "LoRA factors", x, 0, 3, 3);
  fc_store_put_text(file, "/provenance", "config", "seed: 1\n");
  fc_store_put_number(file, "/provenance", "seed", 1.0);
  assert_ok(fc_store_write_end(&file));
  fc_table_destroy(&t);
  return scratch_path("good.h5");
}

/* assert_fails with %s in the message standing for the path. */
#define assert_fails_at(call, code, path, message)                                                 \
  do {                                                                                             \
    char expected_[1024], path_[512];                                                              \
    snprintf(path_, sizeof path_, "%s", path);                                                     \
    snprintf(expected_, sizeof expected_, message, path_);                                         \
    assert_fails(call, code, expected_);                                                           \
  } while (0)

static void what_is_not_there(void **state) {
  (void)state;
  char path[512], *text = NULL;
  float x[3];
  double number;
  int64_t count;
  fc_store_reader *r = NULL;
  snprintf(path, sizeof path, "%s", good_file());
  assert_ok(fc_store_open(path, &r));
  assert_fails_at(fc_store_count(r, "/rounds/flop", &count), FC_ERR_DATA, path,
                  "%s has no /rounds/flop");
  assert_fails_at(fc_store_get_text(r, "/provenance", "commit", &text), FC_ERR_DATA, path,
                  "%s: /provenance has no attribute commit");
  assert_null(text);
  assert_fails_at(fc_store_get_text(r, "/nothing", "commit", &text), FC_ERR_DATA, path,
                  "%s has no /nothing");
  assert_fails_at(fc_store_get_f32(r, "/final/adapter", 1, 3, x), FC_ERR_DATA, path,
                  "%s: /final/adapter has 3 elements, asked for 3 from 1");
  assert_fails_at(fc_store_get_f32(r, "/final/adapter", -1, 1, x), FC_ERR_DATA, path,
                  "%s: /final/adapter has 3 elements, asked for 1 from -1");
  assert_ok(fc_store_get_f32(r, "/final/adapter", 3, 0, x));
  assert_fails_at(fc_store_get_number(r, "/provenance", "config", &number), FC_ERR_DATA, path,
                  "%s: attribute config of /provenance cannot be read as a number");
  assert_int_equal(fc_store_get_text(r, "/provenance", "seed", &text), FC_ERR_DATA);
  assert_int_equal(fc_store_count(r, "/rounds", &count), FC_ERR_DATA);
  fc_store_close(&r);
  assert_null(r);
  fc_store_close(&r);
}

static void a_part_of_a_table(void **state) {
  (void)state;
  const fc_column one[] = {COLUMNS[1]};
  fc_store_reader *r = NULL;
  fc_table *t = NULL;
  assert_ok(fc_store_open(good_file(), &r));
  assert_ok(fc_table_create(one, 1, &t));
  assert_ok(fc_store_get_table(r, "/rounds", 4990, 10, t));
  assert_int_equal(fc_table_rows(t), 10);
  assert_int_equal(fc_table_row_number(t, 3), 4993);
  assert_true(fc_table_get(t, 3, 0) == 0.5 * 4993);
  assert_int_equal(fc_table_find(t, "sim_time_s"), 0);
  assert_int_equal(fc_table_find(t, "loss"), -1);
  assert_int_equal(fc_store_get_table(r, "/rounds", 4991, 10, t), FC_ERR_DATA);
  assert_int_equal(fc_table_rows(t), 10); /* nothing half-read */
  fc_table_clear(t);
  assert_int_equal(fc_table_rows(t), 0);
  fc_table_destroy(&t);
  fc_store_close(&r);
}

typedef struct {
  char text[1024];
} listing;

static void list(void *arg, const char *path, const char *unit, const char *description,
                 int64_t count) {
  listing *l = arg;
  size_t at = strlen(l->text);
  snprintf(l->text + at, sizeof l->text - at, "%s|%s|%s|%lld\n", path, unit, description,
           (long long)count);
}

static void every_dataset_is_visited(void **state) {
  (void)state;
  fc_store_reader *r = NULL;
  listing l = {""};
  assert_ok(fc_store_open(good_file(), &r));
  assert_ok(fc_store_visit(r, list, &l));
  assert_string_equal(l.text, "/final/adapter|1|LoRA factors|3\n"
                              "/rounds/loss|nat|training loss|5000\n"
                              "/rounds/sim_time_s|s|simulated time|5000\n");
  fc_store_close(&r);
}

static void files_that_are_not_ours(void **state) {
  (void)state;
  fc_store_reader *r = NULL;
  assert_fails_at(fc_store_open(scratch_path("none.h5"), &r), FC_ERR_IO, scratch_path("none.h5"),
                  "cannot read %s: No such file or directory");
  FILE *text = fopen(scratch_path("text.h5"), "w");
  fputs("hello", text);
  fclose(text);
  assert_fails_at(fc_store_open(scratch_path("text.h5"), &r), FC_ERR_DATA, scratch_path("text.h5"),
                  "%s is not an HDF5 file");
  hid_t other = H5Fcreate(scratch_path("other.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  assert_true(other >= 0);
  H5Fclose(other);
  assert_fails_at(fc_store_open(scratch_path("other.h5"), &r), FC_ERR_DATA,
                  scratch_path("other.h5"),
                  "%s is an HDF5 file, but not one of fedcell's (no attribute fedcell_format)");
  fc_store_file *file = NULL;
  assert_ok(fc_store_write_begin(comm, scratch_path("new.h5"), &file));
  assert_ok(fc_store_write_end(&file));
  hid_t newer = H5Fopen(scratch_path("new.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
  hid_t attribute = H5Aopen(newer, "fedcell_format", H5P_DEFAULT);
  H5Awrite(attribute, H5T_NATIVE_DOUBLE, &(double){2.0});
  H5Aclose(attribute);
  H5Fclose(newer);
  assert_fails_at(fc_store_open(scratch_path("new.h5"), &r), FC_ERR_DATA, scratch_path("new.h5"),
                  "%s has format version 2, this program reads version 1");
  assert_null(r);
}

static char *load(const char *path, size_t *n) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  fseek(file, 0, SEEK_END);
  *n = (size_t)ftell(file);
  char *bytes = malloc(*n);
  rewind(file);
  assert_int_equal(fread(bytes, 1, *n, file), *n);
  fclose(file);
  return bytes;
}

static fc_err read_bytes(const char *bytes, size_t n) {
  FILE *file = fopen(scratch_path("damaged.h5"), "wb");
  fwrite(bytes, 1, n, file);
  fclose(file);
  fc_store_reader *r = NULL;
  fc_table *t = NULL;
  fc_err err = fc_store_open(scratch_path("damaged.h5"), &r);
  if (err != FC_ERR_OK) return err;
  assert_ok(fc_table_create(COLUMNS, 2, &t));
  err = fc_store_get_table(r, "/rounds", 0, 5000, t);
  fc_table_destroy(&t);
  fc_store_close(&r);
  return err;
}

static void truncated_files_are_refused(void **state) {
  (void)state;
  size_t n = 0;
  char *bytes = load(good_file(), &n);
  assert_ok(read_bytes(bytes, n));
  for (size_t keep = 0; keep < n; keep += n / 101 + 1)
    if (read_bytes(bytes, keep) != FC_ERR_DATA) fail_msg("%zu of %zu bytes are enough", keep, n);
  char expected[1024];
  snprintf(expected, sizeof expected,
           "%s is damaged: HDF5: truncated file: eof = %zu, sblock->base_addr = 0, stored_eof = "
           "%zu",
           scratch_path("damaged.h5"), n - 1, n);
  assert_fails(read_bytes(bytes, n - 1), FC_ERR_DATA, expected);
  free(bytes);
}

static void a_changed_byte_in_a_table_is_noticed(void **state) {
  (void)state;
  size_t n = 0;
  haddr_t at = 0;
  hsize_t bytes_of_chunk = 0, first = 0;
  unsigned filters = 0;
  char path[512];
  snprintf(path, sizeof path, "%s", good_file());
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
  hid_t dataset = H5Dopen2(file, "/rounds/loss", H5P_DEFAULT);
  assert_true(H5Dget_chunk_info_by_coord(dataset, &first, &filters, &at, &bytes_of_chunk) >= 0);
  H5Dclose(dataset);
  H5Fclose(file);
  assert_in_range(bytes_of_chunk, 100, 5000 * 4); /* it is compressed */
  char *bytes = load(path, &n);
  for (hsize_t i = 0; i < bytes_of_chunk; i += bytes_of_chunk / 31) {
    bytes[at + i] ^= 0x10;
    assert_fails_at(read_bytes(bytes, n), FC_ERR_DATA, scratch_path("damaged.h5"),
                    "%s: /rounds/loss is damaged: HDF5: data error detected by Fletcher32 "
                    "checksum");
    bytes[at + i] ^= 0x10;
  }
  free(bytes);
}

static int run(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_not_there),
      cmocka_unit_test(a_part_of_a_table),
      cmocka_unit_test(every_dataset_is_visited),
      cmocka_unit_test(files_that_are_not_ours),
      cmocka_unit_test(truncated_files_are_refused),
      cmocka_unit_test(a_changed_byte_in_a_table_is_noticed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return mpi_test_main(argc, argv, run);
}
