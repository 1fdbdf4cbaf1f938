/* Deadlines and Algorithm 1 of [SW]: whom the base serves, with how much of the band, and that
 * those arrive; nobody, everybody, and devices that are late whatever band they get. */
#include "../../../src/federation/switching.h"
#include "single_rank.h"

#define CELL                                                                                       \
  "federation.method=switching", "cell.pathloss=power-law", "cell.radius_m=67",                    \
      "cell.interferer_density_per_m2=1e-5", "cell.noise_dbm_per_hz=-162",                         \
      "federation.participants=12"

/* ---- as many as fit -------------------------------------------------------------------------- */

static int most_of_any_subset(const double *need, int n) {
  int most = 0;
  for (unsigned subset = 0; subset < 1u << n; subset++) {
    double sum = 0;
    int count = 0;
    for (int i = 0; i < n; i++)
      if (subset >> i & 1) sum += need[i], count++;
    if (sum <= 1 - 1e-9 && count > most) most = count;
  }
  return most;
}

static void no_choice_serves_more(void **state) {
  (void)state;
  enum { N = 9 };
  for (uint64_t seed = 1; seed <= 50; seed++) {
    fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 0, 0);
    double need[N], sum = 0;
    bool served[N];
    int count = 0;
    for (int i = 0; i < N; i++) need[i] = 0.6 * pow(fc_rng_uniform(&rng), 2);
    if (seed % 3 == 0) need[seed % N] = INFINITY;
    if (seed % 4 == 0) need[seed % 5] = 0;
    OK(fc_switching_choose(need, N, served));
    for (int i = 0; i < N; i++) {
      count += served[i];
      if (served[i]) sum += need[i];
      for (int j = 0; j < N; j++) assert_false(served[i] && !served[j] && need[j] < need[i]);
    }
    assert_true(sum <= 1);
    assert_int_equal(count, most_of_any_subset(need, N));
  }
}

static void equal_needs_go_by_their_order(void **state) {
  (void)state;
  const double need[5] = {0.3, 0.3, 0.3, 0.3, 0.3};
  bool served[5];
  OK(fc_switching_choose(need, 5, served));
  for (int i = 0; i < 5; i++) assert_true(served[i] == (i < 3));
  OK(fc_switching_choose(need, 0, served)); /* nobody there */
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static fc_round planned(fc_federation *fed, int64_t number) {
  fc_round round = {.number = number, .notes = fc_round_notes_none};
  OK(fed->method->plan(fed, &round));
  OK(fed->method->train(fed, &round));
  return round;
}

/* What one link of a device takes with that share. */
static double exchange_s(const fc_federation *fed, const fc_participant *p, double hz) {
  fc_profile profile = fc_cell_profile(fed->cell, p->device);
  profile.tx_power_w = p->power_w;
  fc_cost c = fc_cell_cost(fed->cell, &profile, &p->channel, &p->load, hz);
  return fc_switching_exchange_s(&p->load, &c);
}

/* Of a run with that deadline: the mean share of devices left out, of those served that arrive. */
typedef struct {
  double left_out, arrived;
} outcome;

static outcome check_rounds(const char *deadline, const char *more) {
  fixture f = fixture_make(comm, SETS(CELL, deadline, more));
  const fc_switching *s = f.fed->method_state;
  double left_out = 0, served = 0, arrived = 0;
  for (int64_t t = 1; t <= 8; t++) {
    fc_round round = planned(f.fed, t);
    double share = 0, promised = 0, least = INFINITY;
    for (uint32_t k = 0; k < s->ue_count; k++) {
      const fc_ue *u = &s->ue[k];
      double need = u->least_share * fc_switching_links(s, u);
      if (u->served) promised += need;
      if (!u->served) least = fmin(least, need);
    }
    assert_true(promised <= 1 && promised + least > 1 - 1e-9); /* nobody else fits */
    for (uint32_t i = 0; i < round.n; i++) {
      const fc_participant *p = &round.all[i];
      double need_hz = s->ue[p->device].least_share * s->set.bandwidth_hz;
      assert_true(s->ue[p->device].served && p->bandwidth_hz >= need_hz);
      assert_true(exchange_s(f.fed, p, need_hz) <= s->set.deadline_s);
      assert_true(exchange_s(f.fed, p, need_hz * (1 - 1e-6)) > s->set.deadline_s);
      if (p->bandwidth_hz > need_hz * (1 + 1e-9)) /* all others end together */
        CLOSE_RELATIVE(p->cost.uplink_s, round.notes.delay_s, 1e-9);
      share += p->bandwidth_hz / s->set.bandwidth_hz;
      arrived += p->cost.delivered;
    }
    if (round.n > 0) CLOSE(share, 1, 1e-6);
    served += round.n;
    left_out += round.notes.left_out;
    assert_true(round.latency_s <= s->set.deadline_s);
    drop_round(&round);
  }
  fixture_drop(&f);
  return (outcome){left_out / (8 * 12), arrived / served};
}

static void who_is_served_arrives(void **state) {
  (void)state;
  const char *const more[] = {"switching.power=max", "switching.mu=1e7",
                              "switching.max_subscriptions=2",
                              "population.compute_flops={uniform: [1e8, 2e9]}"};
  for (int i = 0; i < 4; i++) {
    outcome tight = check_rounds("cell.deadline_s=2e-3", more[i]);
    outcome loose = check_rounds("cell.deadline_s=8e-3", more[i]);
    printf("%s: left out %.2f at 2 ms, %.2f at 8 ms\n", more[i], tight.left_out, loose.left_out);
    assert_true(tight.arrived == 1 && loose.arrived == 1);
    assert_true(tight.left_out > loose.left_out && tight.left_out < 1);
  }
}

/* Slow devices are late with any band; those that are quick enough do not wait for them. */
static void slow_devices_are_left_out(void **state) {
  (void)state;
  outcome q = check_rounds("cell.deadline_s=0.5", "population.compute_flops={choice: [1e5, 1e12]}");
  assert_true(q.arrived == 1 && q.left_out > 0.2 && q.left_out < 0.8);
}

/* Rounds in which nobody can be served are no fault, and nothing is learned in them. */
static void nobody(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS(CELL, "cell.deadline_s=1e-9"));
  float *before = new_memory(4 * f.fed->P, sizeof *before);
  memcpy(before, f.fed->theta, 4 * f.fed->P * sizeof *before);
  for (int64_t t = 1; t <= 2; t++) {
    fc_round round = planned(f.fed, t);
    OK(f.fed->method->server(f.fed, &round));
    assert_int_equal(round.n, 0);
    assert_true(round.notes.left_out == 12 && round.notes.delay_s == 0 && round.latency_s == 0);
    assert_true(isfinite(round.notes.risk_bound));
    drop_round(&round);
  }
  assert_memory_equal(f.fed->theta, before, 4 * f.fed->P * sizeof *before);
  fc_free(before);
  fixture_drop(&f);
}

/* A deadline that all meet anyway changes nothing: Algorithm 1 as printed. */
static void everybody(void **state) {
  (void)state;
  fixture with = fixture_make(comm, SETS(CELL, "switching.power=max", "cell.deadline_s=1e6"));
  fixture without = fixture_make(comm, SETS(CELL, "switching.power=max"));
  for (int64_t t = 1; t <= 3; t++) {
    fc_round a = planned(with.fed, t), b = planned(without.fed, t);
    assert_true(a.n == 12 && b.n == 12 && a.notes.left_out == 0 && b.notes.left_out == 0);
    CLOSE_RELATIVE(a.notes.delay_s, b.notes.delay_s, 1e-9);
    for (uint32_t i = 0; i < 12; i++)
      CLOSE_RELATIVE(a.all[i].bandwidth_hz, b.all[i].bandwidth_hz, 1e-6);
    drop_round(&a);
    drop_round(&b);
  }
  fixture_drop(&with);
  fixture_drop(&without);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(no_choice_serves_more),
    cmocka_unit_test(equal_needs_go_by_their_order),
    cmocka_unit_test(who_is_served_arrives),
    cmocka_unit_test(slow_devices_are_left_out),
    cmocka_unit_test(nobody),
    cmocka_unit_test(everybody),
};
SINGLE_RANK_MAIN(tests)
