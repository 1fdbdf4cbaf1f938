/* test_switching_ranks.c - devices decide on the ranks that host them: shares, powers, arrivals,
 * subscriptions and averages come out the same, bit for bit, on any number of ranks. RANKS: 1 2 3 4
 */
#include "mpi_test.h"

#include "../unit/federation/federation_fixture.h"
#include "../../src/federation/switching.h"

enum { ROUNDS = 4, NUMBERS = 11, MOST = 36 };

/* What a run tells, whatever its ranks. */
typedef struct {
  double told[ROUNDS][NUMBERS];
  double plan[ROUNDS][MOST][4]; /* of each participant */
} story;

/* All ranks know who trains what, at which power and share. */
static void note_plan(const fc_round *round, double (*plan)[4]) {
  assert_in_range(round->n, 1, MOST);
  for (uint32_t i = 0; i < round->n; i++) {
    const fc_participant *p = &round->all[i];
    const double row[4] = {p->device, p->module, p->power_w, p->bandwidth_hz};
    memcpy(plan[i], row, sizeof row);
  }
}

static void live(const fc_comm *c, const char *const *sets, story *s) {
  fixture f = fixture_make(c, sets);
  for (int64_t t = 1; t <= ROUNDS; t++) {
    fc_round r = {.number = t, .notes = fc_round_notes_none};
    fc_metrics m;
    assert_ok(f.fed->method->plan(f.fed, &r));
    note_plan(&r, s->plan[t - 1]);
    assert_ok(f.fed->method->train(f.fed, &r));
    assert_ok(f.fed->method->server(f.fed, &r));
    assert_ok(f.fed->method->evaluate(f.fed, &m));
    const double row[NUMBERS] = {r.train_loss,
                                 r.latency_s,
                                 r.energy_j,
                                 m.loss,
                                 m.accuracy,
                                 (double)r.delivered,
                                 r.notes.risk_bound,
                                 r.notes.delay_s,
                                 r.notes.bandwidth_steps,
                                 r.notes.left_out,
                                 r.notes.participation_shortfall};
    memcpy(s->told[t - 1], row, sizeof row);
    drop_round(&r);
  }
  fixture_drop(&f);
}

static void expect_same(const char *const *sets) {
  static story alone, together;
  fc_comm self = *comm;
  self.world = self.node = MPI_COMM_SELF;
  self.rank = self.node_rank = 0;
  self.size = self.node_size = 1;
  memset(&alone, 0, sizeof alone);
  memset(&together, 0, sizeof together);
  live(&self, sets, &alone);
  live(comm, sets, &together);
  assert_memory_equal(&alone, &together, sizeof alone);
}

#define CELL                                                                                       \
  "cell.pathloss=power-law", "cell.radius_m=67", "cell.interferer_density_per_m2=1e-5",            \
      "cell.outage_snr_db=0", "cell.noise_dbm_per_hz=-162", "switching.mu=1e7",                    \
      "switching.cycles_per_bit=0"

static void every_variant(void **state) {
  (void)state;
  expect_same(SETS(CELL, "federation.method=switching"));
  expect_same(SETS(CELL, "federation.method=switching-greedy", "switching.formulas=printed"));
  expect_same(SETS(CELL, "federation.method=switching-oneshot", "federation.participants=12"));
}

static void every_way_to_decide(void **state) {
  (void)state;
  expect_same(SETS(CELL, "federation.method=switching", "switching.delivery=bernoulli",
                   "switching.max_subscriptions=3", "switching.step=1e-5",
                   "switching.affinity=loss", "federation.participants=12"));
}

/* Whom the base serves by a deadline, all ranks see alike. */
static void every_deadline(void **state) {
  (void)state;
  expect_same(SETS(CELL, "federation.method=switching", "federation.participants=12",
                   "cell.deadline_s=3e-3"));
  expect_same(SETS(CELL, "federation.method=switching", "federation.participants=12",
                   "cell.deadline_s=3e-3", "switching.max_subscriptions=2",
                   "switching.delivery=bernoulli", "switching.power=max"));
}

static int run(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_variant),
      cmocka_unit_test(every_way_to_decide),
      cmocka_unit_test(every_deadline),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return mpi_test_main(argc, argv, run);
}
