/* test_oort_rules.c - every rule by which the eps-greedy tool scores, explores and relaxes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "oort.h"
#include <math.h>
#include <string.h>

enum { MOST = 200 };
static const fc_oort_settings usual = {
    .wanted = 4,
    .exploration = 0.9,
    .exploration_decay = 0.95,
    .exploration_min = 0.2,
    .clip = 0.98,
    .uncertainty = 0.1,
    .time_penalty = 2,
    .energy_penalty = 2,
    .cut_off = 0.7,
    .window = 5,
    .threshold = 10,
    .pacer_delta = 5,
    .pacer_rounds = 20,
    .blacklist_rounds = -1,
    .blacklist_share = 0.3,
};

/* Devices that all are alike, unless a test says otherwise. */
typedef struct {
  fc_oort_settings set;
  fc_oort *o;
  double samples[MOST], loss[MOST], time_s[MOST], energy_j[MOST];
  uint8_t select[MOST];
} world;

static void make(world *w, const fc_oort_settings *set, int devices) {
  w->set = *set;
  for (int d = 0; d < MOST; d++) {
    w->samples[d] = 100;
    w->loss[d] = NAN;
    w->time_s[d] = 1;
    w->energy_j[d] = 1;
  }
  assert_int_equal(fc_oort_create(set, devices, &w->o), FC_ERR_OK);
}

static void choose(world *w, int64_t t, uint64_t draw) {
  fc_rng rng = fc_rng_open(draw, FC_RNG_TEST, (uint64_t)t, 0);
  fc_oort_choose(&w->set, w->o, t, w->samples, w->time_s, w->energy_j, &rng, w->select);
}

/* All devices take part in round t. */
static void all_take_part(world *w, int64_t t) {
  for (int d = 0; d < w->o->devices; d++)
    if (isnan(w->loss[d])) w->loss[d] = 1;
  fc_oort_learn(&w->set, w->o, t + 1, w->samples, w->loss);
}

static int count(const world *w) {
  int n = 0;
  for (int d = 0; d < w->o->devices; d++) n += w->select[d];
  return n;
}

#define CLOSE(value, expected)                                                                     \
  do {                                                                                             \
    double v_ = (value), e_ = (expected);                                                          \
    if (!(fabs(v_ - e_) <= 1e-12 * (1 + fabs(e_))))                                                \
      fail_msg("%s is %.17g, not %.17g", #value, v_, e_);                                          \
  } while (0)

/* ---- scores ---------------------------------------------------------------------------------- */

static void score_is_clipped_utility_and_uncertainty(void **state) {
  world w;
  (void)state;
  make(&w, &usual, 4);
  w.set.clip = 0.5; /* of four: the third */
  const double loss[] = {1, 2, 3, 9};
  memcpy(w.loss, loss, sizeof loss);
  w.samples[0] = 200; /* U = 200, 200, 300, 900 */
  fc_oort_learn(&w.set, w.o, 4, w.samples, w.loss);
  choose(&w, 7, 1);
  const double least = 0.999 * 200, range = 900 - least, more = sqrt(0.1 * log(7.0) / 3);
  CLOSE(w.o->score[0], (200 - least) / range + more);
  CLOSE(w.o->score[1], (200 - least) / range + more);
  CLOSE(w.o->score[2], (300 - least) / range + more);
  CLOSE(w.o->score[3], (300 - least) / range + more); /* clipped */
  fc_oort_destroy(&w.o);
}

static void equal_utilities_divide_by_no_zero(void **state) {
  world w;
  (void)state;
  make(&w, &usual, 3);
  for (int d = 0; d < 3; d++) w.samples[d] = 0; /* range 0: 1e-4 stands for it */
  all_take_part(&w, 1);
  choose(&w, 2, 1);
  for (int d = 0; d < 3; d++) CLOSE(w.o->score[d], sqrt(0.1 * log(2.0)));
  fc_oort_destroy(&w.o);
}

static void twice_the_time_is_a_quarter_of_the_score(void **state) {
  world w;
  double once = 0;
  (void)state;
  make(&w, &usual, 10);
  all_take_part(&w, 1);
  w.time_s[3] = 2; /* T is 1, the second of ten */
  choose(&w, 2, 1);
  once = w.o->score[3];
  CLOSE(once, w.o->score[4] / 4);
  w.time_s[3] = 4;
  choose(&w, 2, 1);
  CLOSE(w.o->score[3], once / 4);
  w.time_s[3] = 0.5; /* below T: no reward for it */
  choose(&w, 2, 1);
  CLOSE(w.o->score[3], w.o->score[4]);
  fc_oort_destroy(&w.o);
}

static void energy_has_a_penalty_of_its_own(void **state) {
  world w;
  (void)state;
  make(&w, &usual, 10);
  w.set.energy_penalty = 3;
  all_take_part(&w, 1);
  w.energy_j[3] = 2;
  w.time_s[3] = 2;
  w.energy_j[5] = INFINITY; /* cannot meet the deadline */
  choose(&w, 2, 1);
  CLOSE(w.o->score[3], w.o->score[4] / 32);
  CLOSE(w.o->score[5], 0);
  w.set.threshold = w.o->threshold = 100; /* no penalty at all */
  choose(&w, 2, 1);
  CLOSE(w.o->score[3], w.o->score[4]);
  fc_oort_destroy(&w.o);
}

static void percentile_is_one_of_the_values(void **state) {
  const double x[] = {5, 1, INFINITY, 3, 2};
  double room[5];
  (void)state;
  CLOSE(fc_oort_percentile(x, 5, 0, room), 1);
  CLOSE(fc_oort_percentile(x, 5, 19.9, room), 1);
  CLOSE(fc_oort_percentile(x, 5, 20, room), 2);
  CLOSE(fc_oort_percentile(x, 5, 60, room), 5);
  assert_true(isinf(fc_oort_percentile(x, 5, 99.9, room)));
  assert_true(isinf(fc_oort_percentile(x, 4, 100, room)));
  CLOSE(fc_oort_percentile(x, 1, 99.9, room), 5);
  CLOSE(fc_oort_penalty(3, INFINITY, 2), 1);
  CLOSE(fc_oort_penalty(INFINITY, 3, 2), 0);
}

/* ---- exploring ------------------------------------------------------------------------------- */

static void exploration_falls_to_a_fifth_within_thirty_rounds(void **state) {
  world w;
  (void)state;
  make(&w, &usual, MOST);
  for (int64_t t = 1; t <= 29; t++) choose(&w, t, 1);
  CLOSE(w.o->exploration, 0.9 * pow(0.95, 29));
  assert_true(w.o->exploration > 0.2);
  choose(&w, 30, 1);
  CLOSE(w.o->exploration, 0.2);
  choose(&w, 31, 1);
  CLOSE(w.o->exploration, 0.2);
  fc_oort_destroy(&w.o);
}

static void exploration_ends_once_all_are_known(void **state) {
  world w;
  (void)state;
  make(&w, &usual, 10);
  all_take_part(&w, 1);
  choose(&w, 2, 1);
  CLOSE(w.o->exploration, 0);
  assert_int_equal(count(&w), 4);
  choose(&w, 3, 1);
  CLOSE(w.o->exploration, 0);
  assert_int_equal(count(&w), 4);
  for (int d = 0; d < 10; d++) assert_int_equal(w.o->exploited[d], w.select[d]);
  fc_oort_destroy(&w.o);
}

/* Ten wanted, x = 0.855: one is exploited, nine are new. */
static void the_rest_is_explored(void **state) {
  world w;
  (void)state;
  make(&w, &usual, 100);
  w.set.wanted = 10;
  for (int d = 0; d < 5; d++) w.loss[d] = 1;
  fc_oort_learn(&w.set, w.o, 2, w.samples, w.loss);
  choose(&w, 2, 1);
  int known = 0;
  for (int d = 0; d < 5; d++) known += w.select[d];
  assert_int_equal(known, 1);
  assert_int_equal(count(&w), 10);
  fc_oort_destroy(&w.o);
}

/* Two of the best ten: those of few samples, and slow ones, are not looked at. */
static void explores_the_largest_within_a_window(void **state) {
  world w;
  int taken[30] = {0};
  (void)state;
  make(&w, &usual, 30);
  w.set.wanted = 2;
  for (int d = 10; d < 30; d++) w.samples[d] = 90;
  w.samples[10] = 1000;
  w.time_s[10] = 10; /* the largest, but a hundredth of it counts */
  w.samples[0] = 300;
  for (uint64_t i = 0; i < 4000; i++) {
    choose(&w, 1, i);
    assert_int_equal(count(&w), 2);
    for (int d = 0; d < 30; d++) taken[d] += w.select[d];
  }
  for (int d = 10; d < 30; d++) assert_int_equal(taken[d], 0);
  /* in proportion, without replacement: 300 of 1200 first, else 300 of 1100 */
  const double p = 0.25 + 0.75 * 300.0 / 1100.0;
  if (!(fabs(taken[0] / 4000.0 - p) <= 0.03)) fail_msg("%d of 4000, expected %g", taken[0], p);
  fc_oort_destroy(&w.o);
}

/* ---- exploiting ------------------------------------------------------------------------------ */

/* Scores 1, 0.8, 0.6, 0.3 and no more to explore: of the two best and the cut-off at 0.6, 0.7 of
 * which the last one does not have. */
static void draws_above_the_cut_off_alone(void **state) {
  world w;
  int taken[4] = {0};
  (void)state;
  make(&w, &usual, 4);
  w.set.wanted = 2;
  w.set.uncertainty = 0;
  w.set.clip = 1;
  const double loss[] = {10, 8, 6, 3}, zero = 0.999 * 3;
  memcpy(w.loss, loss, sizeof loss);
  fc_oort_learn(&w.set, w.o, 2, w.samples, w.loss);
  w.o->exploration = 0;
  for (uint64_t i = 0; i < 4000; i++) {
    choose(&w, 2, i);
    assert_int_equal(count(&w), 2);
    for (int d = 0; d < 4; d++) taken[d] += w.select[d];
  }
  assert_int_equal(taken[3], 0);
  const double s[] = {10 - zero, 8 - zero, 6 - zero}, sum = s[0] + s[1] + s[2];
  const double p = s[0] / sum + s[1] / sum * s[0] / (sum - s[1]) + s[2] / sum * s[0] / (sum - s[2]);
  if (!(fabs(taken[0] / 4000.0 - p) <= 0.03)) fail_msg("%d of 4000, expected %g", taken[0], p);
  fc_oort_destroy(&w.o);
}

static void few_devices_do_not_hurt(void **state) {
  (void)state;
  for (int devices = 1; devices <= 6; devices++)
    for (int wanted = 1; wanted <= devices; wanted++)
      for (int known = 0; known <= devices; known++) {
        world w;
        make(&w, &usual, devices);
        w.set.wanted = wanted;
        for (int d = 0; d < known; d++) w.loss[d] = 1;
        for (int d = 0; d < devices; d++) w.time_s[d] = w.energy_j[d] = INFINITY;
        fc_oort_learn(&w.set, w.o, 2, w.samples, w.loss);
        for (int64_t t = 2; t < 60; t++) {
          fc_oort_pace(&w.set, w.o, t);
          choose(&w, t, 1);
          assert_int_equal(count(&w), wanted);
        }
        fc_oort_destroy(&w.o);
      }
}

static void frequent_devices_are_left_out(void **state) {
  world w;
  (void)state;
  make(&w, &usual, 10);
  w.set.blacklist_rounds = 2;
  w.set.wanted = 10;
  w.set.blacklist_share = 0.25; /* two of ten */
  for (int64_t t = 1; t <= 2; t++) all_take_part(&w, t);
  choose(&w, 3, 1);
  assert_int_equal(count(&w), 10); /* twice is not more often than twice */
  for (int d = 0; d < 10; d++) w.loss[d] = d == 4 || d == 6 || d == 7 ? 1 : (double)NAN;
  fc_oort_learn(&w.set, w.o, 4, w.samples, w.loss);
  w.loss[4] = NAN;
  fc_oort_learn(&w.set, w.o, 5, w.samples, w.loss);
  choose(&w, 5, 1);
  assert_int_equal(count(&w), 8);
  assert_int_equal(w.select[6] + w.select[7], 0); /* the most frequent; 4 stays */
  fc_oort_destroy(&w.o);
}

/* ---- the pacer ------------------------------------------------------------------------------- */

/* The threshold at round 40 after mean utilities of `before` and `recent`. */
static double pace(double threshold, double before, double recent) {
  world w;
  make(&w, &usual, 2);
  w.o->threshold = threshold;
  memset(w.o->exploited, 1, 2);
  for (int64_t t = 1; t <= 40; t++) {
    fc_oort_pace(&w.set, w.o, t);
    if (t < 40) assert_true(w.o->threshold == threshold); /* not before */
    if (t == 40) break;
    w.loss[0] = t < 20 ? before : recent;
    w.loss[1] = t < 20 ? 3 * before : 3 * recent;
    fc_oort_learn(&w.set, w.o, t + 1, w.samples, w.loss);
  }
  threshold = w.o->threshold;
  fc_oort_destroy(&w.o);
  return threshold;
}

static void pacer_relaxes_when_flat_and_tightens_after_a_jump(void **state) {
  (void)state;
  /* 20 rounds against 19 of the same: 5 % more */
  CLOSE(pace(10, 1, 1), 15);
  CLOSE(pace(98, 1, 1), 100);
  CLOSE(pace(10, 1, 2), 10);
  CLOSE(pace(10, 1, 7), 5);
  CLOSE(pace(7, 1, 7), 5); /* at least pacer_delta */
  CLOSE(pace(10, 0, 0), 15);
}

static void only_exploited_devices_pace(void **state) {
  world w;
  (void)state;
  make(&w, &usual, 3);
  w.o->exploited[1] = 1;
  w.loss[0] = 5;
  w.loss[1] = 2;
  fc_oort_learn(&w.set, w.o, 2, w.samples, w.loss);
  CLOSE(w.o->history[1], 200);
  w.loss[1] = NAN; /* selected, but not served */
  fc_oort_learn(&w.set, w.o, 3, w.samples, w.loss);
  CLOSE(w.o->history[2], 0);
  fc_oort_destroy(&w.o);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(score_is_clipped_utility_and_uncertainty),
      cmocka_unit_test(equal_utilities_divide_by_no_zero),
      cmocka_unit_test(twice_the_time_is_a_quarter_of_the_score),
      cmocka_unit_test(energy_has_a_penalty_of_its_own),
      cmocka_unit_test(percentile_is_one_of_the_values),
      cmocka_unit_test(exploration_falls_to_a_fifth_within_thirty_rounds),
      cmocka_unit_test(exploration_ends_once_all_are_known),
      cmocka_unit_test(the_rest_is_explored),
      cmocka_unit_test(explores_the_largest_within_a_window),
      cmocka_unit_test(draws_above_the_cut_off_alone),
      cmocka_unit_test(few_devices_do_not_hurt),
      cmocka_unit_test(frequent_devices_are_left_out),
      cmocka_unit_test(pacer_relaxes_when_flat_and_tightens_after_a_jump),
      cmocka_unit_test(only_exploited_devices_pace),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
