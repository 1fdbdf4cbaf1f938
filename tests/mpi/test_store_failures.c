/* test_store_failures.c - a result file that cannot be written: one clear message on all ranks,
 * nothing half-written, the older file untouched, and nobody waits for ever.
 * RANKS: 1 2 3 4 */
#include "mpi_test.h"

#include "fedcell/fc_mem.h"
#include "fedcell/fc_store.h"
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>

static const fc_column COLUMNS[] = {
    {"noise", "1", "does not compress", FC_COLUMN_F64},
    {"count", "1", "a whole number", FC_COLUMN_U8},
};

/* rows [0, total) dealt out in turn; noise, so that compression does not shrink it. */
static fc_table *noise(int64_t total) {
  fc_table *t = NULL;
  assert_ok(fc_table_create(COLUMNS, 2, &t));
  for (int64_t row = comm->rank; row < total; row += comm->size) {
    uint64_t x = (uint64_t)row * 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 29)) * 0xBF58476D1CE4E5B9u;
    assert_ok(fc_table_append(t, row, (double[]){(double)(x ^ (x >> 32)), (double)(row % 256)}));
  }
  return t;
}

/* Stands before the C library's: while `hidden`, the store believes that files may grow, so that a
 * limit meets HDF5's own writes, as an I/O error of a disk would. */
static bool hidden;
int getrlimit(__rlimit_resource_t resource, struct rlimit *limit) {
  int status = prlimit(0, resource, NULL, limit);
  if (hidden && resource == RLIMIT_FSIZE) limit->rlim_cur = RLIM_INFINITY;
  return status;
}

/* Only once MPI-IO has opened its files: it cannot do without its own (shared memory). */
static void limit_file_size(rlim_t bytes) {
  struct rlimit limit = {bytes, RLIM_INFINITY};
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
  hidden = bytes != RLIM_INFINITY;
}

static rlim_t limit_after_begin = RLIM_INFINITY;

static fc_err write_noise(const char *path, int64_t total) {
  fc_store_file *file = NULL;
  fc_table *t = noise(total);
  fc_err err = fc_store_write_begin(comm, path, &file);
  if (err == FC_ERR_OK) {
    if (limit_after_begin != RLIM_INFINITY) limit_file_size(limit_after_begin);
    fc_store_put_text(file, "/provenance", "version", "test");
    fc_store_put_table(file, "/noise", t);
    fc_store_put_number(file, "/provenance", "after", 1.0);
    err = fc_store_write_end(&file);
    if (limit_after_begin != RLIM_INFINITY) limit_file_size(RLIM_INFINITY);
  }
  assert_null(file);
  fc_table_destroy(&t);
  return err;
}

static int64_t rows_of(const char *path) {
  fc_store_reader *reader = NULL;
  int64_t count = -1;
  assert_ok(fc_store_open(path, &reader));
  assert_ok(fc_store_count(reader, "/noise/count", &count));
  fc_store_close(&reader);
  return count;
}

/* Rank 0 runs a shell command; all ranks get its status. */
static int command(const char *format, const char *argument) {
  char text[1024];
  int status = 0;
  snprintf(text, sizeof text, format, argument, argument);
  if (comm->rank == 0) status = system(text);
  MPI_Bcast(&status, 1, MPI_INT, 0, comm->world);
  return status;
}

static void assert_no_temporary_file(const char *folder) {
  assert_int_equal(command("test -z \"$(ls '%s' | grep '[.]tmp[.]')\"", folder), 0);
}

static void a_missing_folder(void **state) {
  (void)state;
  char expected[1024];
  snprintf(expected, sizeof expected, "cannot write %s: folder %s: No such file or directory",
           scratch_path("none/a.h5"), scratch_path("none"));
  assert_fails(write_noise(scratch_path("none/a.h5"), 10), FC_ERR_IO, expected);
}

static void a_folder_in_the_way(void **state) {
  (void)state;
  char expected[1024];
  if (comm->rank == 0) assert_int_equal(mkdir(scratch_path("taken.h5"), 0755), 0);
  MPI_Barrier(comm->world);
  snprintf(expected, sizeof expected, "cannot write %s: it is there and is not a regular file",
           scratch_path("taken.h5"));
  assert_fails(write_noise(scratch_path("taken.h5"), 10), FC_ERR_IO, expected);
}

static void a_read_only_folder(void **state) {
  (void)state;
  char expected[1024];
  const char *folder = scratch_path("readonly");
  if (command("mkdir '%s' && mount -t tmpfs -o ro,size=1m tmpfs '%s' 2>/dev/null", folder) != 0)
    skip(); /* needs root */
  snprintf(expected, sizeof expected, "cannot write %s/a.h5: folder %s: Read-only file system",
           folder, folder);
  fc_err err = write_noise(scratch_path("readonly/a.h5"), 10);
  assert_int_equal(command("umount '%s'", scratch_path("readonly")), 0);
  assert_fails(err, FC_ERR_IO, expected);
}

static void a_full_disk_keeps_the_older_file(void **state) {
  (void)state;
  char folder[512], path[600];
  snprintf(folder, sizeof folder, "%s", scratch_path("full"));
  snprintf(path, sizeof path, "%s/a.h5", folder);
  if (command("mkdir '%s' && mount -t tmpfs -o size=2m tmpfs '%s' 2>/dev/null", folder) != 0)
    skip(); /* needs root */
  assert_ok(write_noise(path, 1000));
  char message[FC_ERR_MESSAGE_SIZE];
  fc_err err = write_noise(path, 1000000);
  snprintf(message, sizeof message, "%s", fc_err_message());
  assert_int_equal(err, FC_ERR_IO);
  if (!strstr(message, "cannot write") || !strstr(message, "No space left on device"))
    fail_msg("message: %s", message);
  assert_int_equal(rows_of(path), 1000);
  assert_no_temporary_file(folder);
  assert_ok(write_noise(path, 2000)); /* and the next attempt works */
  assert_int_equal(rows_of(path), 2000);
  MPI_Barrier(comm->world);
  assert_int_equal(command("umount '%s'", folder), 0);
}

/* Every rank in turn is the one whose writes fail beyond `bytes`; last, all are. */
static void writes_fail_inside_hdf5(rlim_t bytes) {
  const char *path = scratch_path("limit.h5");
  assert_ok(write_noise(path, 500));
  for (int failing = 0; failing <= comm->size; failing++) {
    if (failing == comm->rank || failing == comm->size) limit_after_begin = bytes;
    fc_err err = write_noise(path, 300000);
    limit_after_begin = RLIM_INFINITY;
    /* a limited rank that had nothing to write beyond the limit does no harm */
    if (err == FC_ERR_OK) {
      assert_in_range(failing, 1, comm->size - 1);
      assert_int_equal(rows_of(path), 300000);
      assert_ok(write_noise(path, 500));
    } else {
      assert_int_equal(err, FC_ERR_IO);
      if (!strstr(fc_err_message(), "File too large") && !strstr(fc_err_message(), "short write"))
        fail_msg("message: %s", fc_err_message());
      assert_int_equal(rows_of(path), 500);
    }
    MPI_Barrier(comm->world);
    assert_no_temporary_file(scratch);
  }
}

static void a_write_that_fails_inside_hdf5(void **state) {
  (void)state;
  writes_fail_inside_hdf5(0);
  writes_fail_inside_hdf5(3000);
  writes_fail_inside_hdf5(100000);
  writes_fail_inside_hdf5(2000000);
}

static void a_file_size_limit_is_told_in_advance(void **state) {
  (void)state;
  char expected[1024];
  assert_ok(write_noise(scratch_path("limited.h5"), 700));
  signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &(struct rlimit){100000, RLIM_INFINITY});
  fc_err err = write_noise(scratch_path("limited.h5"), 100000);
  setrlimit(RLIMIT_FSIZE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
  snprintf(expected, sizeof expected, "cannot write %s: it needs up to 0.9 MB: File too large",
           scratch_path("limited.h5"));
  assert_fails(err, FC_ERR_IO, expected);
  assert_int_equal(rows_of(scratch_path("limited.h5")), 700);
}

static fc_err write_rows(const int64_t *rows, const double *counts, size_t n) {
  fc_store_file *file = NULL;
  fc_table *t = NULL;
  assert_ok(fc_table_create(COLUMNS, 2, &t));
  for (size_t i = 0; i < n; i++)
    if ((int)(i % (size_t)comm->size) == comm->rank)
      assert_ok(fc_table_append(t, rows[i], (double[]){0.0, counts[i]}));
  assert_ok(fc_store_write_begin(comm, scratch_path("rows.h5"), &file));
  fc_store_put_table(file, "/noise", t);
  fc_table_destroy(&t);
  return fc_store_write_end(&file);
}

static void row_numbers_must_be_complete(void **state) {
  (void)state;
  const double ok[4] = {0, 1, 2, 3};
  assert_ok(write_rows((int64_t[]){3, 1, 2, 0}, ok, 4));
  assert_fails(write_rows((int64_t[]){3, 1, 1, 0}, ok, 4), FC_ERR_DATA,
               "table /noise: row 1 was appended twice");
  assert_fails(write_rows((int64_t[]){3, 1, 2, 4}, ok, 4), FC_ERR_DATA,
               "table /noise: row number 4, there are 4 rows");
  assert_fails(write_rows((int64_t[]){3, 1, -1, 0}, ok, 4), FC_ERR_DATA,
               "table /noise: row number -1, there are 4 rows");
  assert_int_equal(rows_of(scratch_path("rows.h5")), 4);
}

static void values_must_fit_the_column(void **state) {
  (void)state;
  const int64_t rows[3] = {0, 1, 2};
  assert_fails(write_rows(rows, (double[]){0, 256, 1}, 3), FC_ERR_NUMERIC,
               "/noise/count: row 1 is 256, which the column cannot hold");
  assert_fails(write_rows(rows, (double[]){0, 1, 0.5}, 3), FC_ERR_NUMERIC,
               "/noise/count: row 2 is 0.5, which the column cannot hold");
  assert_fails(write_rows(rows, (double[]){0, 1, (double)NAN}, 3), FC_ERR_NUMERIC,
               "/noise/count: row 2 is nan, which the column cannot hold");
}

static fc_err write_part(int64_t first, int64_t n, int64_t total) {
  static const float x[16];
  fc_store_file *file = NULL;
  assert_ok(fc_store_write_begin(comm, scratch_path("parts.h5"), &file));
  fc_store_put_f32(file, "/state/x", "1", "", x, first, n, total);
  return fc_store_write_end(&file);
}

static void parts_must_make_up_the_whole(void **state) {
  (void)state;
  const char *expected = "dataset /state/x: the ranks' parts do not make up its 10 elements";
  int64_t n = comm->rank == 0 ? 10 : 0;
  assert_ok(write_part(0, n, 10));
  assert_fails(write_part(0, comm->rank == 0 ? 9 : 0, 10), FC_ERR_DATA, expected);
  assert_fails(write_part(1, n, 10), FC_ERR_DATA, expected);
  if (comm->size > 1) assert_fails(write_part(comm->rank, 9, 10), FC_ERR_DATA, expected);
}

static void a_name_given_twice(void **state) {
  (void)state;
  fc_store_file *file = NULL;
  char expected[1024];
  assert_ok(fc_store_write_begin(comm, scratch_path("twice.h5"), &file));
  fc_store_put_number(file, "/provenance", "seed", 1.0);
  fc_store_put_number(file, "/provenance", "seed", 2.0);
  fc_store_put_number(file, "/provenance", "other", 2.0);
  snprintf(expected, sizeof expected, "cannot write %s: seed: HDF5: attribute already exists",
           scratch_path("twice.h5"));
  assert_fails(fc_store_write_end(&file), FC_ERR_IO, expected);
  assert_int_equal(access(scratch_path("twice.h5"), F_OK), -1);
}

/* One rank could not make its part: the file is given up on all. */
static void a_failure_of_the_caller(void **state) {
  (void)state;
  fc_store_file *file = NULL;
  assert_ok(write_noise(scratch_path("own.h5"), 10));
  assert_ok(fc_store_write_begin(comm, scratch_path("own.h5"), &file));
  fc_err mine = FC_ERR_OK;
  if (comm->rank == comm->size - 1) mine = fc_fail(FC_ERR_NOMEM, "no room for the state");
  fc_store_put_failure(file, mine);
  fc_store_put_number(file, "/provenance", "seed", 1.0);
  assert_fails(fc_store_write_end(&file), FC_ERR_NOMEM, "no room for the state");
  assert_int_equal(rows_of(scratch_path("own.h5")), 10);
}

/* What a killed process left is removed by the next write of the same file; what a living one
 * works on is not, nor anything of another name. */
static void leftovers_are_removed(void **state) {
  (void)state;
  int living = -1;
  if (comm->rank == 0) {
    char text[1024];
    snprintf(text, sizeof text, "cd '%s' && touch a.h5.tmp.123 a.h5.tmp.1x b.h5.tmp.123", scratch);
    assert_int_equal(system(text), 0);
    living = open(scratch_path("a.h5.tmp.99"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(flock(living, LOCK_EX), 0);
  }
  MPI_Barrier(comm->world);
  assert_ok(write_noise(scratch_path("a.h5"), 10));
  if (comm->rank == 0) {
    assert_int_equal(access(scratch_path("a.h5.tmp.123"), F_OK), -1);
    assert_int_equal(access(scratch_path("a.h5.tmp.99"), F_OK), 0);
    assert_int_equal(access(scratch_path("a.h5.tmp.1x"), F_OK), 0);
    assert_int_equal(access(scratch_path("b.h5.tmp.123"), F_OK), 0);
    close(living);
  }
}

static int run(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_missing_folder),
      cmocka_unit_test(a_folder_in_the_way),
      cmocka_unit_test(a_read_only_folder),
      cmocka_unit_test(a_full_disk_keeps_the_older_file),
      cmocka_unit_test(a_write_that_fails_inside_hdf5),
      cmocka_unit_test(a_file_size_limit_is_told_in_advance),
      cmocka_unit_test(row_numbers_must_be_complete),
      cmocka_unit_test(values_must_fit_the_column),
      cmocka_unit_test(parts_must_make_up_the_whole),
      cmocka_unit_test(a_name_given_twice),
      cmocka_unit_test(a_failure_of_the_caller),
      cmocka_unit_test(leftovers_are_removed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return mpi_test_main(argc, argv, run);
}
