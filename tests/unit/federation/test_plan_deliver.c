/* Who takes part, and the round's totals against plain loops over the cell's own answers. */
#include "single_rank.h"

/* A planned round with made-up training results. */
static fc_round planned(fc_federation *fed) {
  fc_round round = {.number = 2};
  OK(fc_plan_random(fed, &round));
  for (uint32_t i = 0; i < round.n; i++) {
    round.all[i].tokens = 100.0 + i;
    round.all[i].loss = (fc_loss_result){.loss_sum = 0.5 * i, .count = 8 + i};
  }
  return round;
}

static void participants_are_the_seeds_choice(void **state) {
  (void)state;
  fixture f = fixture_make(comm, NULL);
  fc_round round = planned(f.fed);
  uint32_t device[5];
  fc_rng rng = fc_rng_open(5, FC_RNG_SELECTION, 2, 0);
  fc_rng_choose(&rng, 12, 5, device);
  assert_int_equal(round.n, 5);
  assert_int_equal(round.count, 5);
  for (uint32_t i = 0; i < 5; i++) {
    size_t samples = 0;
    fc_split_device(f.fed->task.split, device[i], &samples);
    assert_int_equal(round.all[i].device, device[i]);
    assert_true(round.all[i].bandwidth_hz == 4e6);
    assert_true(round.all[i].samples == (double)samples);
  }
  drop_round(&round);
  fixture_drop(&f);
}

static void number_of_participants(void **state) {
  (void)state;
  fc_federation_settings s = {.fraction = 0.2};
  assert_int_equal(fc_participants_per_round(&s, 100), 20);
  assert_int_equal(fc_participants_per_round(&s, 3), 1); /* 0.6 */
  s.fraction = 1e-9;
  assert_int_equal(fc_participants_per_round(&s, 100), 1); /* at least one */
  s.fraction = 1;
  assert_int_equal(fc_participants_per_round(&s, 4294967295u), 4294967295);
  s.participants = 7; /* goes before the fraction */
  assert_int_equal(fc_participants_per_round(&s, 100), 7);
}

/* The totals of the round, summed again here one by one. */
static void expect_totals(const fc_federation *fed, const fc_round *round, double bits) {
  double energy = 0, slowest = 0, flop = 0, tokens = 0, loss = 0, count = 0;
  int64_t delivered = 0;
  for (uint32_t i = 0; i < round->n; i++) {
    const fc_participant *p = &round->all[i];
    fc_profile profile = fc_cell_profile(fed->cell, p->device);
    fc_channel channel = fc_cell_channel(fed->cell, &profile, 2, p->device);
    fc_flop_count per_token = fed->flop_per_token;
    fc_work_load load = {p->tokens * (per_token.forward_flop + per_token.backward_flop), bits,
                         bits};
    fc_cost cost = fc_cell_cost(fed->cell, &profile, &channel, &load, p->bandwidth_hz);
    energy += cost.energy_j;
    slowest = fmax(slowest, cost.latency_s);
    flop += load.flop;
    tokens += p->tokens;
    loss += p->loss.loss_sum;
    count += (double)p->loss.count;
    delivered += cost.delivered;
  }
  CLOSE_RELATIVE(round->energy_j, energy, 1e-14);
  CLOSE_RELATIVE(round->latency_s, slowest, 0);
  CLOSE_RELATIVE(round->flop, flop, 1e-14);
  CLOSE_RELATIVE(round->tokens, tokens, 0);
  CLOSE_RELATIVE(round->train_loss, loss / count, 1e-14);
  assert_true(round->uplink_bits == bits * round->n);
  assert_true(round->downlink_bits == bits * round->n);
  assert_int_equal(round->delivered, delivered);
}

static void totals_equal_plain_sums(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS("federation.bits_per_weight=16"));
  fc_round round = planned(f.fed);
  OK(fc_plan_deliver(f.fed, &round));
  expect_totals(f.fed, &round, 16.0 * (double)f.fed->P);
  assert_int_equal(round.delivered, 5);
  drop_round(&round);
  fixture_drop(&f);
}

static void without_radio_nothing_is_sent(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS("federation.method=local", "cell.outage_snr_db=200"));
  fc_round round = planned(f.fed);
  OK(fc_plan_deliver(f.fed, &round));
  expect_totals(f.fed, &round, 0.0);
  drop_round(&round);
  fixture_drop(&f);
}

/* [SW, fedfull]: all weights are trained and sent, 6 FLOP for each and token. */
static void full_training_costs_all_weights(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS("federation.method=fedfull"));
  fc_round round = {.number = 1};
  double weights = (double)fc_model_weight_count(f.fed->task.model);
  assert_true((double)f.fed->P == weights);
  OK(f.fed->method->plan(f.fed, &round));
  OK(f.fed->method->train(f.fed, &round));
  CLOSE_RELATIVE(round.flop, 6 * weights * round.tokens, 1e-12);
  CLOSE_RELATIVE(round.uplink_bits, 5 * 32 * weights, 1e-12);
  CLOSE_RELATIVE(round.downlink_bits, 5 * 32 * weights, 1e-12);
  drop_round(&round);
  fixture_drop(&f);
}

static void a_deadline_loses_some(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS("cell.pathloss_db={uniform: [100, 160]}"));
  fc_round round = planned(f.fed);
  OK(fc_plan_deliver(f.fed, &round));
  double deadline = 0.5 * round.latency_s; /* the slowest does not make it */
  drop_round(&round);
  fixture_drop(&f);

  char set[64];
  snprintf(set, sizeof set, "cell.deadline_s=%.17g", deadline);
  f = fixture_make(comm, SETS("cell.pathloss_db={uniform: [100, 160]}", set));
  round = planned(f.fed);
  OK(fc_plan_deliver(f.fed, &round));
  expect_totals(f.fed, &round, 32.0 * (double)f.fed->P);
  assert_true(round.delivered >= 1 && round.delivered < 5);
  CLOSE_RELATIVE(round.latency_s, deadline, 1e-15);
  drop_round(&round);
  fixture_drop(&f);
}

static void a_dead_link_is_told(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS("cell.server_power_w=0"));
  fc_round round = planned(f.fed);
  FAILS(fc_plan_deliver(f.fed, &round), NUMERIC,
        "round 2: a participant's link is dead and the round would never end; set "
        "cell.deadline_s");
  drop_round(&round);
  fixture_drop(&f);
}

static void nobody_trained_gives_no_loss(void **state) {
  (void)state;
  fixture f = fixture_make(comm, NULL);
  fc_round round = planned(f.fed);
  for (uint32_t i = 0; i < round.n; i++) round.all[i].loss = (fc_loss_result){0};
  OK(fc_plan_deliver(f.fed, &round));
  assert_true(isnan(round.train_loss));
  drop_round(&round);
  fixture_drop(&f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(participants_are_the_seeds_choice),
    cmocka_unit_test(number_of_participants),
    cmocka_unit_test(totals_equal_plain_sums),
    cmocka_unit_test(without_radio_nothing_is_sent),
    cmocka_unit_test(full_training_costs_all_weights),
    cmocka_unit_test(a_deadline_loses_some),
    cmocka_unit_test(a_dead_link_is_told),
    cmocka_unit_test(nobody_trained_gives_no_loss),
};
SINGLE_RANK_MAIN(tests)
