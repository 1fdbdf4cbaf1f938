/* test_federation_ranks.c - sums, plans, aggregation, steps and evaluation come out the same, bit
 * for bit, however devices and rows are spread over the ranks. RANKS: 1 2 3 4 */
#include "mpi_test.h"

#include "../unit/federation/federation_fixture.h"

/* A fingerprint of bytes (FNV-1a), the same on all ranks or the test fails. */
static uint64_t same_everywhere(const void *data, size_t bytes) {
  uint64_t h = 0xcbf29ce484222325u;
  for (size_t i = 0; i < bytes; i++) h = (h ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
  uint64_t first = h;
  assert_ok(fc_comm_broadcast(comm, &first, sizeof first, 0));
  assert_true(h == first);
  return h;
}

/* ---- sums ----------------------------------------------------------------------------------- */

enum { ROWS = 101, COLUMNS = 5 };

static void fill_row(int64_t row, double *x) {
  fc_rng rng = fc_rng_open(1, FC_RNG_TEST, 0, (uint64_t)row);
  for (int c = 0; c < COLUMNS; c++) x[c] = fc_rng_normal(&rng) * pow(10.0, 3 * c - 6);
  x[2] = 0;
}

static void expect_bits(const double *sums, const double *alone) {
  for (int c = 0; c < COLUMNS; c++) assert_memory_equal(&sums[c], &alone[c], sizeof(double));
}

/* Whatever the spread, the bits are those of all rows on one rank. */
static void exact_sums_do_not_see_the_spread(void **state) {
  (void)state;
  static double all[ROWS * COLUMNS], own[ROWS * COLUMNS];
  double alone[COLUMNS], sums[COLUMNS];
  for (int64_t r = 0; r < ROWS; r++) fill_row(r, all + r * COLUMNS);
  assert_ok(fc_exact_sums(comm, all, comm->rank == 0 ? ROWS : 0, COLUMNS, alone));
  for (int spread = 0; spread < 4; spread++) {
    int64_t n = 0;
    for (int64_t r = ROWS - 1; r >= 0; r--) { /* in another order, too */
      int64_t owner = spread == 0   ? r % comm->size
                      : spread == 1 ? r * comm->size / ROWS
                      : spread == 2 ? comm->size - 1
                                    : (r * r + r / 3) % comm->size;
      if (owner == comm->rank)
        memcpy(own + COLUMNS * n++, all + r * COLUMNS, COLUMNS * sizeof *own);
    }
    assert_ok(fc_exact_sums(comm, own, n, COLUMNS, sums));
    expect_bits(sums, alone);
  }
  assert_true(alone[2] == 0.0);
}

static void a_nan_on_one_rank_is_told_on_all(void **state) {
  (void)state;
  double x[2] = {1, 2}, sums[2];
  if (comm->rank == comm->size - 1) x[1] = NAN;
  assert_fails(fc_exact_sums(comm, x, 1, 2, sums), FC_ERR_NUMERIC,
               "a sum over devices (column 1) is not finite");
}

/* ---- plans ---------------------------------------------------------------------------------- */

static void every_participant_once(const char *method) {
  char set[64];
  snprintf(set, sizeof set, "federation.method=%s", method);
  fixture f = fixture_make(comm, SETS(set));
  int64_t host = 0, hosted = 0;
  fc_comm_share(12, comm->size, comm->rank, &host, &hosted);
  for (int64_t number = 1; number <= 20; number++) {
    fc_round round = {.number = number};
    int64_t before = 0, total = 0;
    uint32_t device[5];
    assert_ok(fc_plan_random(f.fed, &round));
    assert_ok(fc_comm_prefix(comm, round.count, &before, &total));
    assert_int_equal(total, 5);
    assert_int_equal(round.first, before); /* contiguous, in rank order */
    for (uint32_t i = 0; i < 5; i++) device[i] = round.all[i].device;
    same_everywhere(device, sizeof device);
    if (!f.fed->method->keeps_device_models)
      assert_in_range(round.count, 5 / comm->size, 5 / comm->size + 1);
    for (uint32_t i = 0; i < round.count && f.fed->method->keeps_device_models; i++)
      assert_in_range(round.all[round.first + i].device, host, host + hosted - 1);
    drop_round(&round);
  }
  fixture_drop(&f);
}

static void shared_evenly(void **state) {
  (void)state;
  every_participant_once("fedlora");
}

static void trained_where_they_are_hosted(void **state) {
  (void)state;
  every_participant_once("local");
}

/* ---- a round -------------------------------------------------------------------------------- */

/* adapter.last_blocks of the methods that cut the model's three blocks; 0: the others. */
static int last_blocks_of(const char *method) {
  static const struct {
    const char *method;
    int blocks;
  } cut[] = {{"jcpba", 1}, {"ubfp", 1}, {"fedbiot", 1}, {"deft", 3}};
  for (size_t i = 0; i < sizeof cut / sizeof cut[0]; i++)
    if (strcmp(method, cut[i].method) == 0) return cut[i].blocks;
  return 0;
}

/* The first rounds of a method on all ranks together, and on each rank by itself. */
static void rounds_are_the_same(const char *method) {
  char set[64], last[64];
  snprintf(set, sizeof set, "federation.method=%s", method);
  snprintf(last, sizeof last, "adapter.last_blocks=%d", last_blocks_of(method));
  static uint64_t of_one_rank;
  fc_comm self = *comm;
  self.world = self.node = MPI_COMM_SELF;
  self.rank = self.node_rank = 0;
  self.size = self.node_size = 1;
  for (int together = 0; together < 2; together++) {
    fixture f = fixture_make(together ? comm : &self,
                             SETS(set, last, "model.layers=3", "data.public_fraction=0.2",
                                  "server.tune_steps=1", "server.rank=4", "fedbiot.drop=0.5",
                                  "jcpba.importance_samples=16", "lowrank.ranks=[1, 2, 4]",
                                  "cell.pathloss=power-law"));
    double told[12] = {0};
    for (int64_t number = 1; number <= 2; number++) {
      fc_round round = {.number = number};
      fc_metrics m;
      assert_ok(f.fed->method->plan(f.fed, &round));
      assert_ok(f.fed->method->train(f.fed, &round));
      assert_ok(f.fed->method->server(f.fed, &round));
      assert_ok(f.fed->method->evaluate(f.fed, &m));
      const double row[] = {round.train_loss, round.latency_s, round.energy_j,
                            round.flop,       m.loss,          m.accuracy};
      memcpy(told + (number - 1) * 6, row, sizeof row);
      drop_round(&round);
    }
    same_everywhere(f.fed->theta, f.fed->P * sizeof(float));
    uint64_t now = same_everywhere(told, sizeof told);
    if (!together) of_one_rank = now;
    assert_true(now == of_one_rank);
    fixture_drop(&f);
  }
}

static void rounds_of_every_method(void **state) {
  (void)state;
  for (size_t i = 0; fc_method_name(i); i++) rounds_are_the_same(fc_method_name(i));
}

/* One rank's update alone is bad: all are told which device's it was. */
static void a_bad_update_anywhere_is_told_everywhere(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS("federation.participants=8"));
  fc_round round = {.number = 1};
  char message[128];
  assert_ok(fc_plan_random(f.fed, &round));
  for (uint32_t i = 0; i < round.n; i++) round.all[i].cost.delivered = true;
  if (comm->rank == comm->size - 1) round.theta[f.fed->P - 1] = INFINITY;
  for (uint32_t i = 0; i < round.count; i++)
    fc_measure_change(f.fed, &round.all[round.first + i], round.theta + (size_t)i * f.fed->P);
  int64_t before = 0, total = 0;
  assert_ok(fc_comm_prefix(comm, round.count, &before, &total));
  assert_ok(fc_comm_broadcast(comm, &before, sizeof before, comm->size - 1));
  snprintf(message, sizeof message,
           "round 1: the update of device %u is not finite (learning rate 0.01 too high?)",
           round.all[before].device);
  assert_fails(fc_aggregate_mean(f.fed, &round), FC_ERR_NUMERIC, message);
  drop_round(&round);
  fixture_drop(&f);
}

/* ---- data-parallel steps --------------------------------------------------------------------- */

static void steps_do_not_see_the_ranks(void **state) {
  (void)state;
  enum { BATCH = 11 };
  fc_comm self = *comm;
  self.world = self.node = MPI_COMM_SELF;
  self.rank = self.node_rank = 0;
  self.size = self.node_size = 1;
  uint64_t of_one_rank = 0;
  for (int together = 0; together < 2; together++) {
    const fc_comm *c = together ? comm : &self;
    fixture f = fixture_make(c, NULL);
    fc_parallel p = {.comm = c,
                     .task = &f.fed->task,
                     .threads = &f.fed->threads,
                     .loss = f.fed->task.loss,
                     .micro_batch = 2,
                     .seed = 4,
                     .theta = f.fed->theta};
    assert_ok(fc_parallel_create(&p, &f.fed->set.local.optimizer, BATCH));
    size_t n = 0;
    const uint32_t *samples = fc_split_public(f.fed->task.split, &n);
    fc_loss_result result = {0};
    double tokens = 0;
    /* the last step has fewer micro-batches than there are ranks */
    for (int step = 0; step < 4; step++)
      assert_ok(fc_parallel_step(&p, samples + step, step < 3 ? BATCH : 1, step, &result, &tokens));
    uint64_t now = same_everywhere(f.fed->theta, f.fed->P * sizeof(float)) ^
                   same_everywhere(&result, sizeof result);
    if (!together) of_one_rank = now;
    assert_true(now == of_one_rank);
    assert_int_equal(result.count, 3 * BATCH + 1);
    fc_parallel_destroy(&p);
    fixture_drop(&f);
  }
}

static int run(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(exact_sums_do_not_see_the_spread),
      cmocka_unit_test(a_nan_on_one_rank_is_told_on_all),
      cmocka_unit_test(shared_evenly),
      cmocka_unit_test(trained_where_they_are_hosted),
      cmocka_unit_test(rounds_of_every_method),
      cmocka_unit_test(a_bad_update_anywhere_is_told_everywhere),
      cmocka_unit_test(steps_do_not_see_the_ranks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return mpi_test_main(argc, argv, run);
}
