/* Plans of the methods that cut the model: what they suppose about work and rates is what is
 * billed. */
#include "../../../src/federation/cut.h"
#include "single_rank.h"

#define CUT                                                                                        \
  "model.layers=4", "adapter.last_blocks=4", "data.max_length=8", "data.public_fraction=0.3",      \
      "jcpba.importance=norm"

static fc_round planned_round(fixture *f, int64_t number) {
  fc_round round = {.number = number, .train_loss = NAN, .notes = fc_round_notes_none};
  OK(f->fed->method->plan(f->fed, &round));
  OK(f->fed->method->train(f->fed, &round));
  return round;
}

/* ---- deft: F(q, n) --------------------------------------------------------------------------- */

/* For every run of blocks the problem's F is what the bill counts, or up to `above` of it more. */
static void work_is_what_is_billed(double above, const char *const *sets) {
  fixture f = fixture_make(comm, sets);
  const fc_local_settings *local = &f.fed->set.local;
  fc_cut cut;
  OK(fc_cut_of(f.fed, &cut));
  int L = cut.layers - cut.first;
  fc_deft_problem p = {.blocks = L};
  fc_deft_work(f.fed, &cut, &p);
  assert_true(p.activation_flop_per_block > 0 && p.weight_flop_per_block > 0);
  for (int q = 1; q <= L; q++)
    for (int n = 1; n <= q; n++) {
      const fc_scope run = {.first_block = cut.layers - q, .next_block = cut.layers - q + n};
      double F = p.head_flop + L * p.forward_flop_per_block + q * p.activation_flop_per_block +
                 n * p.weight_flop_per_block;
      double billed =
          fc_cut_flop(f.fed, &cut, &run) * cut.length * local->batch * local->accumulate;
      assert_true(F >= billed * (1 - 1e-12) && F <= billed * (1 + above + 1e-12));
    }
  fixture_drop(&f);
}

#define DEFT_LM                                                                                    \
  CUT, "federation.method=deft", "model.family=gpt2", "data.dataset=generated-problems",           \
      "data.split=iid"

static void deft_work_of_whole_blocks(void **state) {
  (void)state;
  work_is_what_is_billed(0, SETS(DEFT_LM, "adapter.kind=full"));
  work_is_what_is_billed(0, SETS(DEFT_LM, "adapter.kind=full", "adapter.last_blocks=2"));
}

static void deft_work_of_factors(void **state) {
  (void)state;
  work_is_what_is_billed(0, SETS(DEFT_LM, "adapter.targets=[all-linear]"));
  work_is_what_is_billed(0, SETS(DEFT_LM, "adapter.targets=[mlp.c_fc]", "adapter.last_blocks=3"));
}

/* A trained head is planned for every owner, but its gradients are the last block's owner's. */
static void deft_work_with_a_trained_head(void **state) {
  (void)state;
  work_is_what_is_billed(0.01, SETS(CUT, "federation.method=deft"));
  work_is_what_is_billed(0, SETS(CUT, "federation.method=deft", "cost.count_head=false"));
}

/* ---- jcpba: rates that are not proportional to the share ------------------------------------- */

static void rates_of_any_share(const char *noise, const char *power) {
  fixture f = fixture_make(comm, SETS(CUT, "federation.method=jcpba", "adapter.last_blocks=2",
                                      "cost.clock=planned", noise, power));
  fc_round round = planned_round(&f, 1);
  double band = 0, slowest = 0, fastest = INFINITY;
  for (uint32_t i = 0; i < round.n; i++) {
    band += round.all[i].bandwidth_hz;
    slowest = fmax(slowest, round.all[i].cost.latency_s);
    fastest = fmin(fastest, round.all[i].cost.latency_s);
  }
  CLOSE_RELATIVE(band, 20e6, 1e-9);
  /* computing is planned for a mean length and takes next to nothing here */
  CLOSE_RELATIVE(slowest, round.notes.planned_s, 1e-3);
  CLOSE_RELATIVE(fastest, slowest, 1e-3);
  assert_true(isnan(round.notes.lower_bound_s)); /* proved for proportional rates only */
  drop_round(&round);
  fixture_drop(&f);
}

static void plans_meet_allocated_noise(void **state) {
  (void)state;
  rates_of_any_share("cell.noise=allocated", "cell.server_power=full");
  rates_of_any_share("cell.noise=total", "cell.server_power=shared");
  rates_of_any_share("cell.noise=allocated", "cell.server_power=shared");
}

/* At an SNR far below 1 a rate hardly depends on the share. */
static void plans_meet_allocated_noise_when_it_is_strong(void **state) {
  (void)state;
  rates_of_any_share("cell.noise=allocated", "cell.noise_dbm_per_hz=-100");
}

/* ---- splitlora: budgets ---------------------------------------------------------------------- */

/* Rayleigh fading makes many rounds slower than the mean channel's, which sets the slot. */
static void slots_that_nobody_can_keep_are_taken_by_the_fastest(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS(CUT, "federation.method=splitlora", "splitlora.budget=energy",
                                      "federation.participants=1", "cell.noise=total"));
  int late = 0;
  double slot_s = NAN;
  for (int64_t number = 1; number <= 20; number++) {
    fc_round round = planned_round(&f, number);
    assert_int_equal(round.n, 1);
    CLOSE_RELATIVE(round.all[0].bandwidth_hz, 20e6, 1e-9);
    slot_s = fmin(isnan(slot_s) ? INFINITY : slot_s, round.notes.planned_s);
    late += round.notes.planned_s > 1.2 * slot_s;
    drop_round(&round);
  }
  assert_true(late > 0);
  fixture_drop(&f);
}

/* What all devices spend in that many rounds. */
static double spent(const char *const *sets, int64_t rounds, int64_t *took_part) {
  fixture f = fixture_make(comm, sets);
  double energy_j = 0;
  *took_part = 0;
  for (int64_t number = 1; number <= rounds; number++) {
    fc_round round = planned_round(&f, number);
    energy_j += round.energy_j;
    *took_part += round.n;
    drop_round(&round);
  }
  fixture_drop(&f);
  return energy_j;
}

/* The budget is a share of what devices spend that take part whenever they are drawn. */
static void energy_stays_within_its_budget(void **state) {
  (void)state;
  enum { ROUNDS = 60 };
  int64_t all = 0, some = 0;
  double whole =
      spent(SETS(CUT, "federation.method=splitlora", "splitlora.v=1e30", "cell.fading=none"),
            ROUNDS, &all);
  double part =
      spent(SETS(CUT, "federation.method=splitlora", "splitlora.budget=energy", "splitlora.v=1e-9",
                 "splitlora.limit=0.25", "cell.fading=none", "federation.rounds=60"),
            ROUNDS, &some);
  assert_int_equal(all, 5 * ROUNDS);
  assert_true(some >= ROUNDS && some < all);
  if (!(part > 0.1 * whole && part < 0.3 * whole)) fail_msg("%g of %g J", part, whole);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(deft_work_of_whole_blocks),
    cmocka_unit_test(deft_work_of_factors),
    cmocka_unit_test(deft_work_with_a_trained_head),
    cmocka_unit_test(plans_meet_allocated_noise),
    cmocka_unit_test(plans_meet_allocated_noise_when_it_is_strong),
    cmocka_unit_test(slots_that_nobody_can_keep_are_taken_by_the_fastest),
    cmocka_unit_test(energy_stays_within_its_budget),
};

SINGLE_RANK_MAIN(tests)
