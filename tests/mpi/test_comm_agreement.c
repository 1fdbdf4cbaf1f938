/* test_comm_agreement.c - how ranks agree, and the sums, largest values, prefixes and broadcasts
 * over them. RANKS: 1 2 3 4 */
#include "mpi_test.h"

#include <math.h>

static void all_well(void **state) {
  (void)state;
  assert_int_equal(fc_agree(comm, FC_ERR_OK), FC_ERR_OK);
}

/* Whoever fails: the same code and the same message on all ranks. */
static void one_failure_is_everyones(void **state) {
  (void)state;
  for (int who = 0; who < comm->size; who++) {
    char message[64];
    snprintf(message, sizeof message, "rank %d has no file", who);
    fc_err mine = FC_ERR_OK;
    if (comm->rank == who) mine = fc_fail(FC_ERR_IO, "rank %d has no file", who);
    assert_fails(fc_agree(comm, mine), FC_ERR_IO, message);
  }
}

static void of_several_the_lowest_ranks_stands(void **state) {
  (void)state;
  int lowest = comm->size > 1 ? 1 : 0;
  char message[64];
  snprintf(message, sizeof message, "message of rank %d", lowest);
  fc_err mine = FC_ERR_OK;
  if (comm->rank >= lowest)
    mine = fc_fail(comm->rank == lowest ? FC_ERR_DATA : FC_ERR_NOMEM, "message of rank %d",
                   comm->rank);
  assert_fails(fc_agree(comm, mine), FC_ERR_DATA, message);
}

static void a_long_message_arrives_whole(void **state) {
  (void)state;
  char message[FC_ERR_MESSAGE_SIZE];
  for (size_t i = 0; i < sizeof message - 1; i++) message[i] = (char)('a' + i % 26);
  message[sizeof message - 1] = '\0';
  fc_err mine = FC_ERR_OK;
  if (comm->rank == comm->size - 1) mine = fc_fail(FC_ERR_SHAPE, "%s", message);
  assert_fails(fc_agree(comm, mine), FC_ERR_SHAPE, message);
}

/* The program's end: together, with or without a failure. (Ranks that do not come are met by
 * tests/fault, as nobody could go on after them.) */
static void the_end_is_common(void **state) {
  (void)state;
  bool together = false;
  assert_int_equal(fc_agree_at_end(comm, FC_ERR_OK, 0.0, &together), FC_ERR_OK);
  assert_true(together);
  fc_err mine = FC_ERR_OK;
  if (comm->rank == comm->size - 1) mine = fc_fail(FC_ERR_STOPPED, "enough");
  assert_fails(fc_agree_at_end(comm, mine, 30.0, &together), FC_ERR_STOPPED, "enough");
  assert_true(together);
}

static void sums_are_exact(void **state) {
  (void)state;
  const int64_t big = INT64_C(1) << 60;
  int64_t n = comm->size, r = comm->rank;
  int64_t x[3] = {r + 1, r % 2 ? big + r : -big + r, -7};
  int64_t odd = n / 2, even = n - odd;
  const int64_t expected[3] = {n * (n + 1) / 2, (odd - even) * big + n * (n - 1) / 2, -7 * n};
  int64_t at_root[3], root = n - 1;
  memcpy(at_root, x, sizeof x);
  assert_ok(fc_comm_sum_i64(comm, x, 3));
  assert_memory_equal(x, expected, sizeof x);
  assert_ok(fc_comm_sum_i64_root(comm, at_root, 3, (int)root));
  if (r == root)
    assert_memory_equal(at_root, expected, sizeof x);
  else
    assert_int_equal(at_root[0], r + 1); /* the others keep theirs */
  assert_ok(fc_comm_sum_i64(comm, NULL, 0));
}

static void the_largest_and_a_nan(void **state) {
  (void)state;
  double x[4] = {comm->rank, -1.0 - comm->rank, 0.5, -INFINITY};
  if (comm->rank == 0) x[2] = NAN;
  assert_ok(fc_comm_max(comm, x, 4));
  assert_true(x[0] == comm->size - 1);
  assert_true(x[1] == -1.0);
  assert_true(isinf(x[2]) && x[2] > 0); /* not lost */
  assert_true(isinf(x[3]) && x[3] < 0);
}

/* The last rank's flag alone; no rank's; no flags. */
static void any_rank(void **state) {
  (void)state;
  bool any = false;
  sig_atomic_t mine = comm->rank == comm->size - 1, none = 0;
  assert_ok(fc_comm_any(comm, &mine, &any));
  assert_true(any);
  assert_ok(fc_comm_any(comm, &none, &any));
  assert_false(any);
  any = true;
  assert_ok(fc_comm_any(comm, NULL, &any));
  assert_false(any);
}

static void prefixes(void **state) {
  (void)state;
  int64_t before = -1, total = -1, r = comm->rank, n = comm->size;
  assert_ok(fc_comm_prefix(comm, 10 * r + 1, &before, &total));
  assert_int_equal(before, 10 * r * (r - 1) / 2 + r);
  assert_int_equal(total, 10 * n * (n - 1) / 2 + n);
}

static void broadcasts(void **state) {
  (void)state;
  enum { N = 100003 };
  static unsigned char data[N];
  for (int root = 0; root < comm->size; root++) {
    for (size_t i = 0; i < N; i++)
      data[i] = comm->rank == root ? (unsigned char)(i * 7 + (size_t)root) : 0;
    assert_ok(fc_comm_broadcast(comm, data, N, root));
    for (size_t i = 0; i < N; i++) assert_int_equal(data[i], (unsigned char)(i * 7 + (size_t)root));
  }
  assert_ok(fc_comm_broadcast(comm, NULL, 0, 0));
}

static void shares_tile_the_items(void **state) {
  (void)state;
  const int64_t items[] = {0, 1, 2, 3, 7, 100, INT64_C(5000000000)};
  for (size_t i = 0; i < sizeof items / sizeof items[0]; i++)
    for (int size = 1; size <= 9; size++) {
      int64_t next = 0;
      for (int rank = 0; rank < size; rank++) {
        int64_t first = -1, count = -1;
        fc_comm_share(items[i], size, rank, &first, &count);
        assert_int_equal(first, next);
        assert_true(count == items[i] / size || count == items[i] / size + 1);
        next += count;
      }
      assert_int_equal(next, items[i]);
    }
}

/* There and back again: every rank gets its own part, rank 0 gets all in order. */
static void rows_are_scattered_and_gathered(void **state) {
  (void)state;
  enum { MOST = 1003 };
  const int64_t counts[] = {0, 1, 2, 5, MOST};
  for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
    double all[MOST], own[MOST], back[MOST] = {0};
    int64_t n = counts[c], first = 0, count = 0;
    for (int i = 0; i < MOST; i++) all[i] = comm->rank == 0 ? 1.5 * i : NAN;
    fc_comm_share(n, comm->size, comm->rank, &first, &count);
    assert_ok(fc_comm_scatter(comm, all, n, own));
    for (int64_t i = 0; i < count; i++) {
      assert_true(own[i] == 1.5 * (double)(first + i));
      own[i] += 1;
    }
    assert_ok(fc_comm_gather(comm, own, n, back));
    for (int64_t i = 0; i < n && comm->rank == 0; i++) assert_true(back[i] == 1.5 * (double)i + 1);
  }
}

/* Rank r brings 3 r floats (rank 0 none); every rank is root once. */
static void joined_in_rank_order(void **state) {
  (void)state;
  int64_t counts[64] = {0}, total = 0, n = 3 * comm->rank;
  float own[3 * 64], all[3 * 64 * 64];
  assert_true(comm->size <= 64);
  for (int rank = 0; rank < comm->size; rank++) total += counts[rank] = 3 * rank;
  for (int64_t i = 0; i < n; i++) own[i] = (float)(100 * comm->rank + i);
  for (int root = 0; root < comm->size; root++) {
    memset(all, 0, sizeof all);
    assert_ok(fc_comm_join(comm, own, n, comm->rank == root ? counts : NULL, all, root));
    int64_t at = 0;
    for (int rank = 0; comm->rank == root && rank < comm->size; rank++)
      for (int64_t i = 0; i < counts[rank]; i++) assert_true(all[at++] == (float)(100 * rank + i));
    assert_int_equal(at, comm->rank == root ? total : 0);
  }
}

/* The exact sum of items that lie on any ranks is the sum of all of them on one. */
static void exact_sums_do_not_know_the_ranks(void **state) {
  (void)state;
  enum { ITEMS = 5000 };
  const fc_reduction over = fc_comm_reduction(comm);
  fc_sum alone = {0}, own[2] = {{{0}, 0, 0, 0}};
  double largest = -1;
  for (int i = 0; i < ITEMS; i++) {
    double x = ldexp(sin(i), i % 300 - 150);
    fc_sum_add(&alone, x);
    if (i * 7 / 3 % comm->size != comm->rank) continue;
    fc_sum_add(&own[0], x);
    fc_sum_add(&own[1], i == 77 ? INFINITY : x);
    largest = fmax(largest, i);
  }
  assert_ok(fc_sum_over(&over, own, 2));
  assert_true(fc_sum_value(&own[0]) == fc_sum_value(&alone));
  assert_true(fc_sum_value(&own[1]) == INFINITY);
  assert_ok(fc_max_over(&over, &largest, 1));
  assert_true(largest == ITEMS - 1);
}

static int run(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_well),
      cmocka_unit_test(one_failure_is_everyones),
      cmocka_unit_test(of_several_the_lowest_ranks_stands),
      cmocka_unit_test(a_long_message_arrives_whole),
      cmocka_unit_test(sums_are_exact),
      cmocka_unit_test(the_largest_and_a_nan),
      cmocka_unit_test(any_rank),
      cmocka_unit_test(prefixes),
      cmocka_unit_test(broadcasts),
      cmocka_unit_test(shares_tile_the_items),
      cmocka_unit_test(rows_are_scattered_and_gathered),
      cmocka_unit_test(joined_in_rank_order),
      cmocka_unit_test(exact_sums_do_not_know_the_ranks),
      cmocka_unit_test(the_end_is_common),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return mpi_test_main(argc, argv, run);
}
