/* FlexLoRA's redistribution against the dense mean of the products. */
#include "lowrank_fixture.h"

/* A round of made-up updates through the server; *mean: the exact mean of the products. */
static fc_round made_up_round(fc_federation *fed, double **mean) {
  fc_round round = {.number = 1, .notes = fc_round_notes_none};
  OK(fed->method->plan(fed, &round));
  train_at_random(fed, &round, 80);
  round.all[1].cost.delivered = false;
  *mean = mean_product(fed, &round);
  OK(fed->method->server(fed, &round));
  return round;
}

static void finish(fixture *f, fc_round *round, double *mean) {
  fc_free(mean);
  drop_round(round);
  fixture_drop(f);
}

/* Four devices of rank 1 have a mean of rank 4, which is the run's. */
static void enough_rank_gives_the_mean_back(void **state) {
  (void)state;
  fixture f = fixture_make(
      comm, SETS("federation.method=flexlora", "lowrank.ranks=[1]", "federation.participants=5"));
  double *mean = NULL;
  fc_round round = made_up_round(f.fed, &mean); /* four arrive, of rank 1 each */
  CLOSE(error_of(f.fed, mean), 0, 1e-6);
  CLOSE(round.notes.aggregation_error, 0, 1e-9);
  finish(&f, &round, mean);
}

/* What is dropped is the error, and no other matrix of that rank is nearer: the rest of the mean
 * has nothing in common with what was kept. */
static void less_rank_gives_the_nearest(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS("federation.method=flexlora", "lowrank.ranks=[1, 2, 3, 4]",
                                      "federation.participants=12"));
  fc_federation *fed = f.fed;
  double *mean = NULL;
  fc_round round = made_up_round(fed, &mean); /* more columns than either side */
  const fc_trainable *t = fed->task.trainable;
  assert_true(round.notes.aggregation_error > 0.1);
  CLOSE_RELATIVE(round.notes.aggregation_error, error_of(fed, mean), 1e-6);
  size_t n = 0;
  const fc_trainable_part *p = fc_trainable_parts(t, &n);
  double g = fc_factors_scale(t), *rest = mean;
  add_products(t, fed->theta, -1, rest);
  for (size_t l = 0; l < n; l++) {
    if (p[l].kind != 'A') continue;
    const float *A = fed->theta + p[l].offset, *B = fed->theta + p[l + 1].offset;
    int64_t R = p[l].rows, in = p[l].cols, out = p[l + 1].rows;
    double before = INFINITY;
    for (int64_t r = 0; r < R; r++) {
      double a = 0, b = 0, largest = 0;
      for (int64_t i = 0; i < in; i++) a += (double)A[r * in + i] * (double)A[r * in + i];
      for (int64_t o = 0; o < out; o++) {
        double x = (double)B[o * R + r], across = 0;
        b += x * x;
        if (fabs(x) > fabs(largest)) largest = x;
        for (int64_t i = 0; i < in; i++) across += rest[o * in + i] * (double)A[r * in + i];
        CLOSE(across, 0, 1e-6);
      }
      CLOSE(a, 1, 1e-6); /* the singular values are in B, and fall */
      assert_true(g * sqrt(b) < before && b > 0 && largest > 0);
      before = g * sqrt(b);
    }
    rest += out * in;
  }
  finish(&f, &round, mean);
}

/* Devices whose columns together are fewer than the run's rank. */
static void too_few_columns(void **state) {
  (void)state;
  fixture f = fixture_make(
      comm, SETS("federation.method=flexlora", "lowrank.ranks=[1]", "federation.participants=3"));
  double *mean = NULL;
  fc_round round = made_up_round(f.fed, &mean); /* two arrive */
  size_t n = 0;
  const fc_trainable_part *p = fc_trainable_parts(f.fed->task.trainable, &n);
  CLOSE(error_of(f.fed, mean), 0, 1e-6);
  for (size_t l = 0; l < n; l++)
    for (int64_t o = 0; p[l].kind == 'B' && o < p[l].rows; o++)
      for (int64_t r = 2; r < 4; r++)
        assert_true(f.fed->theta[p[l].offset + (size_t)(o * 4 + r)] == 0);
  finish(&f, &round, mean);
}

/* A device of the next round computes with the best approximation of its own rank: of the first
 * singular value alone, if its rank is 1. */
static void a_device_gets_its_rank(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS("federation.method=flexlora", "lowrank.ranks=[1, 2, 3, 4]",
                                      "federation.participants=12"));
  double *mean = NULL;
  fc_round round = made_up_round(f.fed, &mean);
  const fc_trainable *run = f.fed->task.trainable;
  size_t count = dense_count(run);
  fc_ranks_narrow(f.fed, &round);
  for (uint32_t i = 0; i < round.n; i++) {
    const fc_trainable *t = fc_trainable_of(f.fed, &round.all[i]);
    int rank = fc_trainable_lora(t).rank;
    double *own = new_memory(count, sizeof *own), *cut = new_memory(count, sizeof *cut);
    float *first = new_memory(f.fed->P, sizeof *first);
    memcpy(first, f.fed->theta, f.fed->P * sizeof *first);
    size_t n = 0;
    const fc_trainable_part *p = fc_trainable_parts(run, &n);
    for (size_t l = 0; l < n; l++)
      for (int64_t o = 0; p[l].kind == 'B' && o < p[l].rows; o++)
        for (int64_t r = rank; r < 4; r++) first[p[l].offset + (size_t)(o * 4 + r)] = 0;
    add_products(t, round.theta + i * f.fed->P, 1, own);
    add_products(run, first, 1, cut);
    for (size_t x = 0; x < count; x++) CLOSE(own[x], cut[x], 1e-6);
    fc_free(own);
    fc_free(cut);
    fc_free(first);
  }
  finish(&f, &round, mean);
}

static void whole_modules_are_averaged(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS("federation.method=flexlora", "lowrank.ranks=[1, 4]"));
  fc_federation *fed = f.fed;
  double *mean = NULL;
  fc_round round = made_up_round(fed, &mean);
  size_t n = 0, seen = 0;
  const fc_trainable_part *p = fc_trainable_parts(fed->task.trainable, &n);
  for (size_t l = 0; l < n; l++)
    for (int64_t w = 0; p[l].kind == 'W' && w < p[l].rows * p[l].cols; w++, seen++) {
      double expected = 0;
      for (uint32_t i = 0; i < round.n; i++)
        expected += share_of(&round, i) * (double)round.theta[i * fed->P + p[l].offset + (size_t)w];
      CLOSE(fed->theta[p[l].offset + (size_t)w], expected, 3e-7);
    }
  assert_true(seen > 0);
  finish(&f, &round, mean);
}

/* Up and down: its rank's weights. */
static void costs(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS("federation.method=flexlora", "lowrank.ranks=[1, 2, 3, 4]"));
  fc_round round = {.number = 1, .notes = fc_round_notes_none};
  OK(f.fed->method->plan(f.fed, &round));
  OK(f.fed->method->train(f.fed, &round));
  double largest = f.fed->flop_per_token.forward_flop + f.fed->flop_per_token.backward_flop;
  int64_t samples = 0;
  double length = fc_task_mean_length(&f.fed->task, 12, &samples);
  for (uint32_t i = 0; i < round.n; i++) {
    const fc_participant *p = &round.all[i];
    int rank = fc_trainable_lora(fc_trainable_of(f.fed, p)).rank;
    CLOSE(p->load.uplink_bits, 32 * fc_ranks_weights(f.fed, rank), 0);
    CLOSE(p->load.downlink_bits, p->load.uplink_bits, 0);
    fc_flop_count own = fc_trainable_flop_per_token(fc_trainable_of(f.fed, p), length, false);
    CLOSE_RELATIVE(p->load.flop, p->tokens * (own.forward_flop + own.backward_flop), 1e-12);
    assert_true(rank == 4 ? p->load.flop == p->tokens * largest
                          : p->load.flop < p->tokens * largest);
  }
  drop_round(&round);
  fixture_drop(&f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(enough_rank_gives_the_mean_back),
    cmocka_unit_test(less_rank_gives_the_nearest),
    cmocka_unit_test(too_few_columns),
    cmocka_unit_test(a_device_gets_its_rank),
    cmocka_unit_test(whole_modules_are_averaged),
    cmocka_unit_test(costs),
};
SINGLE_RANK_MAIN(tests)
