/* HetLoRA against its formulas in plain loops: the loss's tail, pruning, weights by norms. */
#include "lowrank_fixture.h"

#define HETLORA(...)                                                                               \
  SETS("federation.method=hetlora", "lowrank.ranks=[1, 2, 3, 4]", "lowrank.min_rank=1", __VA_ARGS__)

/* lambda sum over layers of |B[:, q:]| |A[q:, :]|, in double. */
static double penalty(const fc_trainable *t, const double *theta, int64_t q, double lambda) {
  size_t n = 0;
  double sum = 0;
  const fc_trainable_part *p = fc_trainable_parts(t, &n);
  for (size_t l = 0; l < n; l++) {
    double a = 0, b = 0;
    if (p[l].kind != 'A') continue;
    const double *A = theta + p[l].offset, *B = theta + p[l + 1].offset;
    for (int64_t i = q * p[l].cols; i < p[l].rows * p[l].cols; i++) a += A[i] * A[i];
    for (int64_t o = 0; o < p[l + 1].rows; o++)
      for (int64_t r = q; r < p[l].rows; r++) b += B[o * p[l].rows + r] * B[o * p[l].rows + r];
    sum += sqrt(a) * sqrt(b);
  }
  return lambda * sum;
}

static void the_tails_gradient_by_differences(void **state) {
  (void)state;
  fixture f = fixture_make(comm, HETLORA("hetlora.lambda=0.7", "hetlora.prune=0.6"));
  fc_round round = {.number = 1};
  OK(f.fed->method->plan(f.fed, &round));
  for (uint32_t k = 0; k < round.n; k++) {
    const fc_participant *p = &round.all[k];
    const fc_trainable *t = fc_trainable_of(f.fed, p);
    int64_t q = (int64_t)(0.6 * fc_trainable_lora(t).rank);
    size_t n = fc_trainable_count(t);
    float *theta = new_memory(n, sizeof *theta), *gradient = new_memory(n, sizeof *gradient);
    double *x = new_memory(n, sizeof *x);
    random_floats(k, n, theta);
    for (size_t i = 0; i < n; i++) x[i] = (double)theta[i];
    for (size_t i = 0; i < n; i++) gradient[i] = 2; /* it is added to */
    f.fed->method->regularise(f.fed, p, theta, gradient);
    for (size_t i = 0; i < n; i++) {
      double at = x[i], up, down;
      x[i] = at + 1e-5;
      up = penalty(t, x, q, 0.7);
      x[i] = at - 1e-5;
      down = penalty(t, x, q, 0.7);
      x[i] = at;
      CLOSE((double)gradient[i] - 2, (up - down) / 2e-5, 1e-5);
    }
    memset(theta, 0, n * sizeof *theta); /* no direction: nothing is added, and no NaN */
    f.fed->method->regularise(f.fed, p, theta, theta);
    for (size_t i = 0; i < n; i++) assert_true(theta[i] == 0);
    fc_free(theta);
    fc_free(gradient);
    fc_free(x);
  }
  drop_round(&round);
  fixture_drop(&f);
}

/* A round on made-up updates: global factors against sums in double. */
static void factors_are_weighted_by_their_products(void **state) {
  (void)state;
  fixture f = fixture_make(comm, HETLORA("federation.participants=6"));
  fc_federation *fed = f.fed;
  fc_round round = {.number = 1, .notes = fc_round_notes_none};
  OK(fed->method->plan(fed, &round));
  OK(fed->method->train(fed, &round)); /* for the state that the server looks at */
  for (uint32_t i = 0; i < round.n; i++) {
    int r = fc_trainable_lora(fc_trainable_of(fed, &round.all[i])).rank;
    random_floats(60 + i, fed->P, round.theta + i * fed->P);
    size_t n = 0;
    const fc_trainable_part *p = fc_trainable_parts(fed->task.trainable, &n);
    for (size_t l = 0; l < n; l++) /* beyond its rank a device has nothing */
      for (int64_t o = 0; p[l].kind != 'W' && o < p[l].rows; o++)
        for (int64_t c = 0; c < p[l].cols; c++)
          if ((p[l].kind == 'A' ? o : c) >= r)
            round.theta[i * fed->P + p[l].offset + (size_t)(o * p[l].cols + c)] = 0;
    fc_measure_change(fed, &round.all[i], round.theta + i * fed->P);
  }
  round.all[2].cost.delivered = false;
  memset(round.theta + 3 * fed->P, 0, fed->P * sizeof(float)); /* a device without anything */
  fc_measure_change(fed, &round.all[3], round.theta + 3 * fed->P);
  double *mean = mean_product(fed, &round), *expected = new_memory(fed->P, sizeof *expected);
  size_t n = 0;
  const fc_trainable_part *p = fc_trainable_parts(fed->task.trainable, &n);
  for (size_t l = 0; l < n; l++) {
    size_t count = (size_t)(p[l].rows * p[l].cols);
    const fc_trainable_part *a = p[l].kind == 'B' ? &p[l - 1] : &p[l], *b = a + 1;
    double weight[6] = {0}, total = 0;
    for (uint32_t i = 0; i < round.n; i++) {
      const float *x = round.theta + i * fed->P;
      if (p[l].kind == 'W') {
        weight[i] = share_of(&round, i);
      } else if (round.all[i].cost.delivered) {
        double *dense = new_memory((size_t)(b->rows * a->cols), sizeof *dense);
        for (int64_t o = 0; o < b->rows; o++)
          for (int64_t c = 0; c < a->cols; c++)
            for (int64_t r = 0; r < a->rows; r++)
              dense[o * a->cols + c] += (double)x[b->offset + (size_t)(o * a->rows + r)] *
                                        (double)x[a->offset + (size_t)(r * a->cols + c)];
        weight[i] = norm_of(dense, (size_t)(b->rows * a->cols));
        fc_free(dense);
      }
      total += weight[i];
    }
    if (p[l].kind != 'W') assert_true(weight[3] == 0 && weight[0] > 0);
    for (uint32_t i = 0; i < round.n; i++)
      for (size_t w = 0; w < count; w++)
        expected[p[l].offset + w] +=
            weight[i] / total * (double)round.theta[i * fed->P + p[l].offset + w];
  }
  OK(fed->method->server(fed, &round));
  for (size_t w = 0; w < fed->P; w++) CLOSE(fed->theta[w], expected[w], 2e-7);
  CLOSE_RELATIVE(round.notes.aggregation_error, error_of(fed, mean), 1e-6);
  fc_free(mean);
  fc_free(expected);
  drop_round(&round);
  fixture_drop(&f);
}

static void equal_devices_give_themselves(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS("federation.method=hetlora", "lowrank.ranks=[4]"));
  fc_round round = {.number = 1, .notes = fc_round_notes_none};
  OK(f.fed->method->plan(f.fed, &round));
  OK(f.fed->method->train(f.fed, &round));
  float *one = new_memory(f.fed->P, sizeof *one);
  random_floats(9, f.fed->P, one);
  for (uint32_t i = 0; i < round.n; i++) {
    memcpy(round.theta + i * f.fed->P, one, f.fed->P * sizeof *one);
    fc_measure_change(f.fed, &round.all[i], one);
  }
  OK(f.fed->method->server(f.fed, &round));
  for (size_t w = 0; w < f.fed->P; w++) CLOSE(f.fed->theta[w], one[w], 2e-7);
  CLOSE(round.notes.aggregation_error, 0, 1e-6);
  fc_free(one);
  drop_round(&round);
  fixture_drop(&f);
}

static void nothing_has_a_norm(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS("federation.method=hetlora", "lowrank.ranks=[4]",
                                      "federation.local.learning_rate=0"));
  fc_round round = {.number = 1, .notes = fc_round_notes_none};
  float *before = new_memory(f.fed->P, sizeof *before);
  memcpy(before, f.fed->theta, f.fed->P * sizeof *before);
  OK(f.fed->method->plan(f.fed, &round));
  OK(f.fed->method->train(f.fed, &round)); /* B stays zero */
  OK(f.fed->method->server(f.fed, &round));
  for (size_t w = 0; w < f.fed->P; w++) CLOSE(f.fed->theta[w], before[w], 1e-7);
  fc_free(before);
  drop_round(&round);
  fixture_drop(&f);
}

/* With a heavy penalty the tail shrinks and is cut off; ranks never grow, nor fall below the least.
 */
static void ranks_fall(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS("federation.method=hetlora", "lowrank.ranks=[4]",
                                      "lowrank.min_rank=2", "federation.participants=12",
                                      "hetlora.prune=0.8", "hetlora.lambda=100"));
  fc_federation *fed = f.fed;
  int rank[12], fell = 0, least = 4;
  for (int d = 0; d < 12; d++) rank[d] = 4;
  for (int64_t number = 1; number <= 6; number++) {
    fc_round round = {.number = number, .notes = fc_round_notes_none};
    double up = 0, down = 0;
    OK(fed->method->plan(fed, &round));
    for (uint32_t i = 0; i < round.n; i++)
      down += 32 * (double)fc_trainable_count(fc_trainable_of(fed, &round.all[i]));
    OK(fed->method->train(fed, &round));
    OK(fed->method->server(fed, &round));
    drop_round(&round);
    OK(fed->method->plan(fed, &round));
    for (uint32_t i = 0; i < round.n; i++) {
      int now = fc_trainable_lora(fc_trainable_of(fed, &round.all[i])).rank;
      uint32_t d = round.all[i].device;
      assert_in_range(now, 2, rank[d]);
      fell += now < rank[d];
      rank[d] = now;
      if (now < least) least = now;
      up += 32 * fc_ranks_weights(fed, now);
    }
    assert_true(up <= down);
    drop_round(&round);
    if (number == 1) assert_int_equal(fell, 0); /* B was zero: a tail can only have grown */
  }
  assert_true(fell > 12);
  assert_int_equal(least, 2);
  fixture_drop(&f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_tails_gradient_by_differences),
    cmocka_unit_test(factors_are_weighted_by_their_products),
    cmocka_unit_test(equal_devices_give_themselves),
    cmocka_unit_test(nothing_has_a_norm),
    cmocka_unit_test(ranks_fall),
};
SINGLE_RANK_MAIN(tests)
