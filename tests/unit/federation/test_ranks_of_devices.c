/* Which device has an adapter of which rank, and the faults of the options that say so. */
#include "lowrank_fixture.h"

enum { DEVICES = 12 };

static fc_ranks *ranks_of(fixture *f, const char *const *sets) {
  fc_ranks *r = NULL;
  *f = fixture_make(comm, sets);
  OK(fc_ranks_create(f->fed, false, &r));
  assert_int_equal(r->devices, DEVICES);
  return r;
}

static void drop(fixture *f, fc_ranks **r) {
  fc_ranks_destroy(r);
  fixture_drop(f);
}

static void more_memory_more_rank(void **state) {
  (void)state;
  fixture f;
  fc_ranks *r = ranks_of(&f, SETS("population.memory_bytes={uniform: [1e9, 8e9]}", "adapter.rank=4",
                                  "lowrank.min_rank=2"));
  int found[5] = {0};
  for (uint32_t a = 0; a < DEVICES; a++) {
    assert_in_range(r->rank[a], 2, 4);
    found[r->rank[a]]++;
    for (uint32_t b = 0; b < DEVICES; b++)
      if (fc_cell_profile(f.fed->cell, a).memory_bytes <
          fc_cell_profile(f.fed->cell, b).memory_bytes)
        assert_true(r->rank[a] <= r->rank[b]);
  }
  for (int rank = 2; rank <= 4; rank++) assert_int_equal(found[rank], DEVICES / 3);
  drop(&f, &r);
}

static void equal_devices_have_equal_ranks(void **state) {
  (void)state;
  fixture f;
  fc_ranks *r = ranks_of(&f, SETS("adapter.rank=16", "lowrank.min_rank=2"));
  for (uint32_t d = 0; d < DEVICES; d++) assert_int_equal(r->rank[d], 2 + 15 / 2);
  drop(&f, &r);
}

static void dealt_in_proportion(void **state) {
  (void)state;
  fixture f;
  int found[5] = {0};
  fc_ranks *r = ranks_of(&f, SETS("lowrank.ranks=[1, 2, 4]", "lowrank.shares=[1, 0, 1]"));
  for (uint32_t d = 0; d < DEVICES; d++) found[r->rank[d]]++;
  assert_int_equal(found[1] + found[4], DEVICES);
  assert_in_range(found[1], 1, DEVICES - 1);
  drop(&f, &r);
  r = ranks_of(&f, SETS("lowrank.ranks=[1, 2, 4]", "lowrank.shares=[0, 0, 3]"));
  for (uint32_t d = 0; d < DEVICES; d++) assert_int_equal(r->rank[d], 4);
  drop(&f, &r);
}

/* adapters of query and value of one block of width 16, a head of 16 x 16 + 16 and 2 x 16 + 2 */
static void what_crosses_the_link(void **state) {
  (void)state;
  fixture f = fixture_make(comm, NULL);
  size_t whole = 0, n = 0;
  const fc_trainable_part *p = fc_trainable_parts(f.fed->task.trainable, &n);
  for (size_t i = 0; i < n; i++)
    if (p[i].kind == 'W') whole += (size_t)(p[i].rows * p[i].cols);
  for (int rank = 0; rank <= 4; rank++)
    CLOSE(fc_ranks_weights(f.fed, rank), (double)whole + rank * 2 * (16 + 16), 0);
  CLOSE(fc_ranks_weights(f.fed, 4), (double)f.fed->P, 0);
  fixture_drop(&f);
}

/* The result tells the rank that each participant has trained. */
static void ranks_are_recorded(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS("federation.method=flexlora", "federation.participants=12",
                                      "lowrank.ranks=[1, 2, 4]"));
  fc_round round = {.number = 1, .notes = fc_round_notes_none};
  fc_round_report report = {.round = 1};
  int found[5] = {0};
  OK(f.fed->method->plan(f.fed, &round));
  OK(f.fed->method->train(f.fed, &round));
  OK(f.fed->method->server(f.fed, &round));
  OK(fc_record_round(f.fed, &round, &report));
  const fc_table *t = f.fed->participation;
  assert_int_equal(fc_table_rows(t), DEVICES);
  for (uint32_t i = 0; i < DEVICES; i++) {
    double rank = fc_table_get(t, i, (size_t)fc_table_find(t, "lora_rank"));
    double bits = fc_table_get(t, i, (size_t)fc_table_find(t, "downlink_bits"));
    CLOSE(bits, fc_ranks_weights(f.fed, rank) * f.fed->set.bits_per_weight, 0);
    found[(int)rank]++;
  }
  assert_true(found[1] > 0 && found[2] > 0 && found[4] > 0);
  drop_round(&round);
  fixture_drop(&f);
}

static void expect_fault(const char *const *sets, const char *message) {
  fc_config *cfg = small_config(sets);
  fc_cell *cell = NULL;
  FAILS(fc_check_configuration(cfg, &cell), USAGE, message);
  fc_cell_destroy(&cell);
  fc_config_destroy(&cfg);
}
#define HETLORA "federation.method=hetlora"

static void faults(void **state) {
  (void)state;
  expect_fault(SETS(HETLORA, "adapter.kind=full"),
               "--set adapter.kind=full: must be lora for federation.method = hetlora");
  expect_fault(SETS(HETLORA, "lowrank.min_rank=5"),
               "--set lowrank.min_rank=5: must be at most adapter.rank = 4");
  expect_fault(SETS(HETLORA, "lowrank.ranks=[2, 5]"),
               "--set lowrank.ranks=[2, 5]: each must be whole and at most adapter.rank = 4");
  expect_fault(SETS(HETLORA, "lowrank.ranks=[2.5]"),
               "--set lowrank.ranks=[2.5]: each must be whole and at most adapter.rank = 4");
  expect_fault(SETS(HETLORA, "lowrank.ranks=[2, 3]", "lowrank.shares=[1]"),
               "--set lowrank.shares=[1]: must be as many as lowrank.ranks, 2");
  expect_fault(SETS(HETLORA, "lowrank.ranks=[2, 3]", "lowrank.shares=[0, 0]"),
               "--set lowrank.shares=[0, 0]: must not all be 0");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(more_memory_more_rank), cmocka_unit_test(equal_devices_have_equal_ranks),
    cmocka_unit_test(dealt_in_proportion),   cmocka_unit_test(what_crosses_the_link),
    cmocka_unit_test(ranks_are_recorded),    cmocka_unit_test(faults),
};
SINGLE_RANK_MAIN(tests)
