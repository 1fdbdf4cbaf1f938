/* The mean of what devices trained, held against plain sums in double. */
#include "single_rank.h"

/* A round whose participants' models are random; device 0 1 2 ... with 1, 2, 3 ... samples. */
static fc_round make_round(const fc_federation *fed, uint32_t n) {
  fc_round round = {.number = 7, .n = n, .count = n};
  round.all = new_memory(n, sizeof *round.all);
  round.theta = new_memory((size_t)n * fed->P, sizeof(float));
  for (uint32_t i = 0; i < n; i++) {
    round.all[i] = (fc_participant){.device = 10 + i, .samples = i + 1};
    round.all[i].cost.delivered = true;
    random_floats(100 + i, fed->P, round.theta + (size_t)i * fed->P);
    fc_measure_change(fed, &round.all[i], round.theta + (size_t)i * fed->P);
  }
  return round;
}

/* mean (P) <- theta + sum_k p_k (theta_k - theta), in double. */
static void plain_mean(const fc_federation *fed, const fc_round *round, bool by_samples,
                       double *mean) {
  double weights = 0;
  for (uint32_t i = 0; i < round->n; i++)
    if (round->all[i].cost.delivered) weights += by_samples ? round->all[i].samples : 1;
  for (size_t w = 0; w < fed->P; w++) {
    double change = 0;
    for (uint32_t i = 0; i < round->n; i++)
      if (round->all[i].cost.delivered)
        change += (by_samples ? round->all[i].samples : 1) / weights *
                  ((double)round->theta[i * fed->P + w] - (double)fed->theta[w]);
    mean[w] = (double)fed->theta[w] + change;
  }
}

static void expect_mean(fc_federation *fed, fc_round *round, bool by_samples) {
  double *mean = new_memory(fed->P, sizeof *mean);
  plain_mean(fed, round, by_samples, mean);
  OK(fc_aggregate_mean(fed, round));
  for (size_t w = 0; w < fed->P; w++) CLOSE(fed->theta[w], mean[w], 3e-7);
  fc_free(mean);
}

static void weighted_by_samples(void **state) {
  (void)state;
  fixture f = fixture_make(comm, NULL);
  fc_round round = make_round(f.fed, 5);
  expect_mean(f.fed, &round, true);
  drop_round(&round);
  fixture_drop(&f);
}

static void weighted_alike(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS("federation.weighting=uniform"));
  fc_round round = make_round(f.fed, 5);
  expect_mean(f.fed, &round, false);
  drop_round(&round);
  fixture_drop(&f);
}

static void lost_updates_do_not_count(void **state) {
  (void)state;
  fixture f = fixture_make(comm, NULL);
  fc_round round = make_round(f.fed, 6);
  round.all[0].cost.delivered = round.all[4].cost.delivered = false;
  round.theta[4 * f.fed->P + 3] = NAN; /* nobody has seen it */
  fc_measure_change(f.fed, &round.all[4], round.theta + 4 * f.fed->P);
  expect_mean(f.fed, &round, true);
  drop_round(&round);
  fixture_drop(&f);
}

static void nobody_delivered(void **state) {
  (void)state;
  fixture f = fixture_make(comm, NULL);
  fc_round round = make_round(f.fed, 3);
  float *before = new_memory(f.fed->P, sizeof *before);
  memcpy(before, f.fed->theta, f.fed->P * sizeof *before);
  for (uint32_t i = 0; i < 3; i++) round.all[i].cost.delivered = false;
  OK(fc_aggregate_mean(f.fed, &round));
  assert_memory_equal(before, f.fed->theta, f.fed->P * sizeof *before);
  fc_free(before);
  drop_round(&round);
  fixture_drop(&f);
}

static void one_delivered_takes_its_place(void **state) {
  (void)state;
  fixture f = fixture_make(comm, NULL);
  fc_round round = make_round(f.fed, 3);
  float *only = new_memory(f.fed->P, sizeof *only);
  memcpy(only, round.theta + f.fed->P, f.fed->P * sizeof *only);
  round.all[0].cost.delivered = round.all[2].cost.delivered = false;
  OK(fc_aggregate_mean(f.fed, &round));
  for (size_t w = 0; w < f.fed->P; w++) CLOSE(f.fed->theta[w], only[w], 2e-7);
  fc_free(only);
  drop_round(&round);
  fixture_drop(&f);
}

static void unchanged_models_change_nothing(void **state) {
  (void)state;
  fixture f = fixture_make(comm, NULL);
  fc_round round = make_round(f.fed, 4);
  float *before = new_memory(f.fed->P, sizeof *before);
  memcpy(before, f.fed->theta, f.fed->P * sizeof *before);
  for (uint32_t i = 0; i < 4; i++)
    memcpy(round.theta + i * f.fed->P, before, f.fed->P * sizeof *before);
  for (uint32_t i = 0; i < 4; i++) fc_measure_change(f.fed, &round.all[i], before);
  OK(fc_aggregate_mean(f.fed, &round));
  assert_memory_equal(before, f.fed->theta, f.fed->P * sizeof *before);
  fc_free(before);
  drop_round(&round);
  fixture_drop(&f);
}

static void nan_names_the_device(void **state) {
  (void)state;
  fixture f = fixture_make(comm, NULL);
  fc_round round = make_round(f.fed, 4);
  round.theta[2 * f.fed->P + 1] = NAN;
  fc_measure_change(f.fed, &round.all[2], round.theta + 2 * f.fed->P);
  FAILS(fc_aggregate_mean(f.fed, &round), NUMERIC,
        "round 7: the update of device 12 is not finite (learning rate 0.01 too high?)");
  drop_round(&round);
  fixture_drop(&f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(weighted_by_samples),
    cmocka_unit_test(weighted_alike),
    cmocka_unit_test(lost_updates_do_not_count),
    cmocka_unit_test(nobody_delivered),
    cmocka_unit_test(one_delivered_takes_its_place),
    cmocka_unit_test(unchanged_models_change_nothing),
    cmocka_unit_test(nan_names_the_device),
};
SINGLE_RANK_MAIN(tests)
