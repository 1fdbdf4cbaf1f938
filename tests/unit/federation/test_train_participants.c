/* Local training of a participant, held bit for bit against a loop written here from the model, the
 * optimiser and the draws. */
#include "single_rank.h"
#include <omp.h>

static fc_round planned(fc_federation *fed, int64_t number) {
  fc_round round = {.number = number};
  OK(fc_plan_random(fed, &round));
  for (uint32_t i = 0; i < round.n; i++)
    memcpy(round.theta + i * fed->P, fed->theta, fed->P * sizeof(float));
  return round;
}

/* The learning rate of step `step` (from 0) of the whole run, in double. */
static double rate(const fc_federation *fed, const char *schedule, int64_t warmup, int64_t step) {
  double top = (double)fed->set.local.optimizer.learning_rate;
  int64_t total = fed->set.rounds * fed->set.local.iterations;
  if (step < warmup) return top * (double)step / (double)warmup;
  if (strcmp(schedule, "linear") != 0) return top;
  return top * (1.0 - (double)(step - warmup) / (double)(total - warmup));
}

typedef struct {
  float *theta;
  fc_loss_result loss;
  double tokens;
} trained;

/* AdamW from scratch over the round's mini-batches. */
static trained plain_training(fc_federation *fed, int64_t round, uint32_t device,
                              const char *schedule, int64_t warmup) {
  const fc_local_settings *local = &fed->set.local;
  fc_thread *t = &fed->threads.thread[0];
  size_t n = 0;
  const uint32_t *own = fc_split_device(fed->task.split, device, &n);
  trained out = {.theta = new_memory(fed->P, sizeof(float))};
  float *m = new_memory(fed->P, sizeof *m), *v = new_memory(fed->P, sizeof *v);
  float *gradient = new_memory(fed->P, sizeof *gradient);
  memcpy(out.theta, fed->theta, fed->P * sizeof(float));
  for (int64_t i = 0; i < local->iterations; i++) {
    memset(gradient, 0, fed->P * sizeof *gradient);
    for (int64_t a = 0; a < local->accumulate; a++) {
      uint32_t drawn[16];
      int64_t batch_number = i * local->accumulate + a;
      int count = fc_batch_draw(own, n, local->batch, fed->seed, (uint64_t)round, device,
                                batch_number, drawn);
      const fc_batch *batch = NULL;
      uint64_t stream = (uint64_t)batch_number * 4294967296u + device;
      OK(fc_batcher_fill(t->batcher, fed->task.corpus, fed->task.tokenizer, drawn, count,
                         fed->task.loss, fc_rng_open(0, FC_RNG_TEST, 0, 0), &batch));
      OK(fc_model_grad(t->work, out.theta, batch, fed->task.loss,
                       fc_rng_open(fed->seed, FC_RNG_DROPOUT, (uint64_t)round, stream), gradient,
                       &out.loss));
      out.tokens += (double)batch->start[count];
    }
    if (local->accumulate > 1)
      fc_k_scale(gradient, 1.0f / (float)local->accumulate, (int64_t)fed->P);
    const fc_optimizer_settings *o = &local->optimizer;
    double norm = sqrt(fc_k_sum_squares(gradient, (int64_t)fed->P));
    if (o->clip_norm > 0 && norm > (double)o->clip_norm)
      fc_k_scale(gradient, (float)((double)o->clip_norm / (norm + 1e-6)), (int64_t)fed->P);
    fc_adamw step = {(float)rate(fed, schedule, warmup, (round - 1) * local->iterations + i),
                     o->beta1, o->beta2, o->eps, o->weight_decay};
    fc_k_adamw(out.theta, m, v, gradient, step, i + 1, (int64_t)fed->P);
  }
  fc_free(m);
  fc_free(v);
  fc_free(gradient);
  return out;
}

static void expect_plain_training(const char *const *sets, int64_t number, const char *schedule,
                                  int64_t warmup) {
  fixture f = fixture_make(comm, sets);
  random_floats(3, f.fed->P, f.fed->theta); /* lora_B begins at zero: every path matters here */
  fc_round round = planned(f.fed, number);
  OK(fc_train_participants(f.fed, &round));
  for (uint32_t i = 0; i < round.n; i++) {
    const fc_participant *p = &round.all[i];
    trained plain = plain_training(f.fed, number, p->device, schedule, warmup);
    assert_memory_equal(round.theta + i * f.fed->P, plain.theta, f.fed->P * sizeof(float));
    assert_true(p->loss.loss_sum == plain.loss.loss_sum);
    assert_int_equal(p->loss.count, plain.loss.count);
    assert_int_equal(p->loss.correct, plain.loss.correct);
    assert_true(p->tokens == plain.tokens);
    fc_free(plain.theta);
  }
  drop_round(&round);
  fixture_drop(&f);
}

static void one_step_after_the_other(void **state) {
  (void)state;
  expect_plain_training(SETS("federation.local.iterations=3"), 1, "constant", 0);
}

static void accumulated_batches(void **state) {
  (void)state;
  expect_plain_training(SETS("federation.local.accumulate=3", "federation.local.clip_norm=0"), 2,
                        "constant", 0);
}

/* The schedule and the warm-up count the steps of the whole run, not those of a round. */
static void schedule_over_the_whole_run(void **state) {
  (void)state;
  const char *const *sets =
      SETS("federation.local.schedule=linear", "federation.local.warmup=3",
           "federation.local.iterations=4", "federation.local.weight_decay=0.01");
  expect_plain_training(sets, 1, "linear", 3);
  expect_plain_training(sets, 2, "linear", 3);
}

/* Not even the last bit knows how many devices shared a product. */
static void any_cohort_gives_the_same(void **state) {
  (void)state;
  const char *const cohorts[] = {"federation.cohort=1", "federation.cohort=2",
                                 "federation.cohort=5", "federation.cohort=0"};
  const char *const recompute[] = {"federation.recompute=false", "federation.recompute=true",
                                   "federation.recompute=true", "federation.recompute=false"};
  float *expected = NULL;
  int threads = omp_get_max_threads();
  omp_set_num_threads(1); /* else there is a cohort for every thread */
  for (int c = 0; c < 4; c++) {
    fixture f = fixture_make(comm, SETS(cohorts[c], recompute[c], "federation.local.accumulate=2"));
    random_floats(3, f.fed->P, f.fed->theta);
    assert_int_equal(f.fed->threads.cohort, c < 2 ? c + 1 : 5);
    fc_round round = planned(f.fed, 2);
    OK(fc_train_participants(f.fed, &round));
    size_t n = round.n * f.fed->P;
    if (!expected) {
      expected = new_memory(n, sizeof *expected);
      memcpy(expected, round.theta, n * sizeof *expected);
    }
    assert_memory_equal(round.theta, expected, n * sizeof *expected);
    drop_round(&round);
    fixture_drop(&f);
  }
  fc_free(expected);
  omp_set_num_threads(threads);
}

static void a_device_without_samples_keeps_its_model(void **state) {
  (void)state;
  fixture f =
      fixture_make(comm, SETS("population.devices=200", "data.min_samples=0", "data.split=sizes",
                              "data.size_alpha=0.05", "federation.participants=200"));
  fc_round round = planned(f.fed, 1);
  OK(fc_train_participants(f.fed, &round));
  int without = 0;
  for (uint32_t i = 0; i < round.n; i++) {
    if (round.all[i].samples > 0) continue;
    without++;
    assert_memory_equal(round.theta + i * f.fed->P, f.fed->theta, f.fed->P * sizeof(float));
    assert_true(round.all[i].tokens == 0 && round.all[i].loss.count == 0);
  }
  assert_true(without > 0);
  OK(fc_plan_deliver(f.fed, &round));
  OK(fc_aggregate_mean(f.fed, &round));
  drop_round(&round);
  fixture_drop(&f);
}

static void a_bad_update_names_round_and_device(void **state) {
  (void)state;
  fixture f = fixture_make(comm, NULL);
  fc_round round = planned(f.fed, 3);
  char beginning[64];
  round.theta[2 * f.fed->P] = NAN;
  assert_int_equal(fc_train_participants(f.fed, &round), FC_ERR_NUMERIC);
  snprintf(beginning, sizeof beginning, "round 3, device %u: ", round.all[2].device);
  assert_memory_equal(fc_err_message(), beginning, strlen(beginning));
  drop_round(&round);
  fixture_drop(&f);
}

static void memory_is_as_estimated(void **state) {
  (void)state;
  fixture f = fixture_make(comm, NULL);
  fc_threads threads = {0};
  size_t before = fc_mem_current_bytes();
  fc_thread_room room = {
      .cohort = 5, .batch = 4, .kind = FC_WORK_TRAIN, .optimizer = &f.fed->set.local.optimizer};
  OK(fc_threads_create(&f.fed->task, &room, 3, &threads));
  double taken = (double)(fc_mem_current_bytes() - before);
  CLOSE_RELATIVE((double)fc_threads_bytes(&f.fed->task, &room, 3), taken, 0.02);
  fc_threads_destroy(&threads);
  assert_int_equal(fc_mem_current_bytes(), before);
  fixture_drop(&f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(one_step_after_the_other),
    cmocka_unit_test(accumulated_batches),
    cmocka_unit_test(schedule_over_the_whole_run),
    cmocka_unit_test(any_cohort_gives_the_same),
    cmocka_unit_test(a_device_without_samples_keeps_its_model),
    cmocka_unit_test(a_bad_update_names_round_and_device),
    cmocka_unit_test(memory_is_as_estimated),
};
SINGLE_RANK_MAIN(tests)
