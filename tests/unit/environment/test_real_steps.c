/* The real environment: what a step does, tries and repeats. */
#include "environment_fixture.h"
#include "environment.h"
#include <omp.h>

enum { WEIGHTS_SEED = 5 };

static const uint8_t everyone[DEVICES] = {1, 1, 1, 1, 1, 1};
static const uint8_t some[DEVICES] = {1, 0, 1, 1, 0, 0};
static const uint8_t nobody[DEVICES];

static fc_environment *open_at(const fc_scenario *s, uint64_t seed) {
  fc_environment *e;
  assert_ok(fc_environment_open_real(s, 1, &e));
  assert_ok(fc_environment_reset(e, &(fc_episode){.seed = seed}));
  return e;
}

static fc_outcome step(fc_environment *e, const uint8_t *select) {
  fc_outcome o;
  assert_ok(fc_environment_step(e, &(fc_decision){.select = select}, &o));
  return o;
}

static void an_episode_runs_to_its_end(void **unused) {
  (void)unused;
  fc_scenario *s = scenario_of("");
  fc_environment *e = open_at(s, WEIGHTS_SEED);
  assert_int_equal(fc_environment_episodes(e), 1);
  assert_ptr_equal(fc_environment_scenario(e), s);
  const fc_fl_state *state = fc_environment_state(e, 0);
  assert_int_equal(state->round, 1);
  assert_true(state->accuracy >= 0 && state->accuracy < 0.4);
  double loss_before = 0;
  for (int n = 0; n < DEVICES; n++) {
    assert_close(state->loss[n], log(10), 0.5);
    assert_true(isnan(state->local_loss[n]) && isnan(state->loss_rms[n]));
    loss_before += state->loss[n];
  }
  for (int round = 1; round <= 3; round++) {
    double before[DEVICES];
    memcpy(before, state->loss, sizeof before);
    assert_false(fc_environment_is_over(e));
    assert_int_equal(state->round, round);
    const fc_outcome o = step(e, some);
    assert_int_equal(o.served, 3);
    assert_true(o.accuracy == state->accuracy && !o.idle);
    assert_true(o.energy_j == fc_environment_service(e, 0)->energy_j && o.energy_j > 0);
    for (int n = 0; n < DEVICES; n++) {
      assert_int_equal(isnan(state->local_loss[n]), !some[n]);
      assert_int_equal(isnan(state->alignment[n]), !some[n]);
      assert_int_equal(isnan(state->same_sign[n]), !some[n]);
      assert_true(!some[n] || state->loss_rms[n] >= before[n] - 1e-12); /* of the model before */
      assert_true(!some[n] || (state->same_sign[n] > 0.5 && state->same_sign[n] <= 1));
    }
  }
  assert_true(fc_environment_is_over(e));
  assert_int_equal(state->round, 4);
  double loss_after = 0;
  for (int n = 0; n < DEVICES; n++) loss_after += state->loss[n];
  assert_true(loss_after < loss_before);
  fc_environment_close(&e);
  assert_null(e);
  fc_environment_close(&e);
  fc_scenario_destroy(&s);
}

typedef struct {
  double accuracy[4], energy[4];
  double numbers[4][8 * DEVICES];
} record;

static void write_down(const fc_fl_state *s, double energy, int round, record *r) {
  const double *const array[] = {s->gain,       s->com_j,     s->cmp_j,     s->loss,
                                 s->local_loss, s->alignment, s->same_sign, s->loss_rms};
  for (int i = 0; i < 8; i++)
    memcpy(r->numbers[round] + (size_t)i * DEVICES, array[i], DEVICES * sizeof(double));
  r->accuracy[round] = s->accuracy;
  r->energy[round] = energy;
}

static record play(const fc_scenario *s, int threads, uint64_t seed, bool tries) {
  record r;
  memset(&r, 0, sizeof r);
  omp_set_num_threads(threads);
  fc_environment *e = open_at(s, seed);
  write_down(fc_environment_state(e, 0), 0, 0, &r);
  for (int round = 1; round <= 3; round++) {
    fc_outcome o = {0};
    if (tries) {
      assert_ok(fc_environment_peek(e, 0, &(fc_decision){.select = everyone}, &o));
      assert_ok(fc_environment_peek(e, 0, &(fc_decision){.select = some}, &o));
    }
    const double promised = o.accuracy;
    o = step(e, round == 2 ? everyone : some);
    if (tries && round != 2) assert_true(o.accuracy == promised);
    write_down(fc_environment_state(e, 0), o.energy_j, round, &r);
  }
  fc_environment_close(&e);
  return r;
}

static void threads_and_tries_change_no_bit(void **unused) {
  (void)unused;
  static const char *const ways[] = {"", "environment.step=full-batch"};
  for (int i = 0; i < 2; i++) {
    fc_scenario *s = scenario_of(ways[i]);
    const record one = play(s, 1, 5, false), two = play(s, 2, 5, false);
    const record tried = play(s, 2, 5, true), other = play(s, 2, 6, false);
    assert_memory_equal(&one, &two, sizeof one);
    assert_memory_equal(&one, &tried, sizeof one);
    assert_memory_not_equal(&one, &other, sizeof one);
    fc_scenario_destroy(&s);
  }
}

/* Episodes side by side are what they are alone; one of them idles for a round. */
static void episodes_do_not_meet(void **unused) {
  (void)unused;
  fc_scenario *s = scenario_of("");
  fc_environment *both, *alone[2] = {open_at(s, 8), open_at(s, 9)};
  const fc_episode episodes[] = {{.seed = 8, .id = 0}, {.seed = 9, .id = 1}};
  assert_ok(fc_environment_open_real(s, 2, &both));
  assert_ok(fc_environment_reset(both, episodes));
  for (int round = 1; round <= 3; round++) {
    const fc_decision d[] = {{.select = round == 2 ? nobody : some}, {.select = everyone}};
    fc_outcome o[2], single;
    assert_ok(fc_environment_step(both, d, o));
    for (int i = 0; i < 2; i++) {
      assert_ok(fc_environment_step(alone[i], &d[i], &single));
      assert_memory_equal(&single.reward, &o[i].reward, sizeof(double));
      assert_memory_equal(fc_environment_state(alone[i], 0)->loss,
                          fc_environment_state(both, i)->loss, DEVICES * sizeof(double));
    }
  }
  for (int i = 0; i < 2; i++) fc_environment_close(&alone[i]);
  fc_environment_close(&both);
  fc_scenario_destroy(&s);
}

static void an_idle_round_learns_nothing(void **unused) {
  (void)unused;
  fc_scenario *s = scenario_of("environment.idle_reward=-1");
  fc_environment *e = open_at(s, WEIGHTS_SEED);
  const fc_fl_state *state = fc_environment_state(e, 0);
  step(e, some);
  const double accuracy = state->accuracy, loss = state->loss[1], gain = state->gain[1];
  fc_outcome o;
  assert_ok(fc_environment_peek(e, 0, &(fc_decision){.select = nobody}, &o));
  assert_true(o.idle && o.reward == -1 && o.accuracy == accuracy);
  o = step(e, nobody);
  assert_true(o.idle && o.reward == -1 && o.accuracy == accuracy && o.energy_j == 0);
  assert_true(state->accuracy == accuracy && state->loss[1] == loss && state->gain[1] != gain);
  assert_int_equal(state->round, 3);
  for (int n = 0; n < DEVICES; n++) assert_true(isnan(state->local_loss[n]));
  fc_environment_close(&e);
  fc_scenario_destroy(&s);
}

/* One participant: its local model becomes the global one, or as printed its share of it. */
static void the_printed_average_shrinks_the_model(void **unused) {
  (void)unused;
  static const uint8_t one[DEVICES] = {0, 0, 0, 1, 0, 0};
  static const char *const ways[] = {"", "environment.normalise=all"};
  double loss[2], local[2], sign[2];
  for (int i = 0; i < 2; i++) {
    fc_scenario *s = scenario_of(ways[i]);
    fc_environment *e = open_at(s, WEIGHTS_SEED);
    const fc_fl_state *state = fc_environment_state(e, 0);
    step(e, one);
    loss[i] = state->loss[3];
    local[i] = state->local_loss[3];
    sign[i] = state->same_sign[3];
    fc_environment_close(&e);
    fc_scenario_destroy(&s);
  }
  assert_close(loss[0], local[0], 1e-6);
  assert_true(local[0] == local[1]);
  assert_true(sign[0] == 1 && sign[1] == 1);                      /* scaled: the signs stay */
  assert_true(fabs(loss[1] - log(10)) < fabs(loss[0] - log(10))); /* it says little */
  assert_true(loss[1] - local[1] > 1e-3);
}

/* All devices full-batch with one step: the average is one step of the mean gradient, so that every
 * inner product is checked by the loss: F_G falls by about rate |grad F_G|^2. */
static void alignments_add_up_to_the_slope(void **unused) {
  (void)unused;
  fc_scenario *s = scenario_of("environment.step=full-batch\nenvironment.iterations=1\n"
                               "environment.learning_rate=1e-3\nenvironment.probe_samples=100000");
  fc_environment *e = open_at(s, WEIGHTS_SEED);
  const fc_fl_state *state = fc_environment_state(e, 0);
  double before = 0, after = 0, slope = 0;
  for (int n = 0; n < DEVICES; n++) before += state->samples[n] / 900 * state->loss[n];
  assert_int_equal(step(e, everyone).served, DEVICES);
  for (int n = 0; n < DEVICES; n++) {
    after += state->samples[n] / 900 * state->loss[n];
    slope += state->samples[n] / 900 * state->alignment[n];
  }
  assert_true(slope > 0);
  assert_relative(before - after, 1e-3 * slope, 0.02);
  fc_environment_close(&e);
  fc_scenario_destroy(&s);
}

/* Small steps on the same samples would lower the loss alike in each round. */
static void every_round_draws_its_own_batches(void **unused) {
  (void)unused;
  static const uint8_t one[DEVICES] = {1};
  fc_scenario *s = scenario_of("environment.iterations=1\nenvironment.learning_rate=1e-3");
  fc_environment *e = open_at(s, WEIGHTS_SEED);
  const fc_fl_state *state = fc_environment_state(e, 0);
  const double start = state->loss[0];
  step(e, one);
  const double first = start - state->loss[0];
  step(e, one);
  const double second = start - first - state->loss[0];
  assert_true(fabs(second - first) > 0.03 * fabs(first));
  fc_environment_close(&e);
  fc_scenario_destroy(&s);
}

static void a_rate_too_high_is_told(void **unused) {
  (void)unused;
  fc_scenario *s = scenario_of("");
  s->set.learning_rate = 1e38; /* beyond what the option takes */
  fc_environment *e = open_at(s, WEIGHTS_SEED);
  fc_outcome o;
  const fc_err err = fc_environment_step(e, &(fc_decision){.select = everyone}, &o);
  assert_int_equal(err, FC_ERR_NUMERIC);
  assert_non_null(strstr(fc_err_message(), "environment.learning_rate is 1e+38"));
  fc_environment_close(&e);
  fc_scenario_destroy(&s);
}

static void a_failed_allocation_leaves_nothing(void **unused) {
  (void)unused;
  fc_scenario *s = scenario_of("");
  const size_t before = fc_mem_current_bytes();
  bool failed = true;
  for (size_t at = 1; failed && at < 1000; at++) {
    fc_environment *e;
    fc_mem_fail_at(at);
    const fc_err err = fc_environment_open_real(s, 2, &e);
    fc_mem_fail_at(0);
    failed = err != FC_ERR_OK;
    if (failed) assert_int_equal(err, FC_ERR_NOMEM);
    fc_environment_close(&e);
    assert_int_equal(fc_mem_current_bytes(), before);
  }
  assert_false(failed);
  fc_scenario_destroy(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_episode_runs_to_its_end),
      cmocka_unit_test(threads_and_tries_change_no_bit),
      cmocka_unit_test(episodes_do_not_meet),
      cmocka_unit_test(an_idle_round_learns_nothing),
      cmocka_unit_test(the_printed_average_shrinks_the_model),
      cmocka_unit_test(alignments_add_up_to_the_slope),
      cmocka_unit_test(every_round_draws_its_own_batches),
      cmocka_unit_test(a_rate_too_high_is_told),
      cmocka_unit_test(a_failed_allocation_leaves_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
