/* FLoRA's stacking: the base gains exactly the mean of the devices' products, and checkpoints,
 * results and exports know it. */
#include "lowrank_fixture.h"

#include <sys/stat.h>

#define FLORA(...) SETS("federation.method=flora", "lowrank.ranks=[1, 2, 3, 4]", __VA_ARGS__)

static float *copy_of_base(const fc_federation *fed) {
  size_t n = fc_model_weight_count(fed->task.model);
  float *copy = new_memory(n, sizeof *copy);
  memcpy(copy, fc_model_weights(fed->task.model), n * sizeof *copy);
  return copy;
}

/* The weights now are `before`, with `mean` (dense_count) added where there are adapters. */
static void expect_base(const fc_federation *fed, const float *before, const double *mean) {
  const float *now = fc_model_weights(fed->task.model);
  size_t n = fc_model_weight_count(fed->task.model), parts = 0, tensors = 0;
  double *expected = new_memory(n, sizeof *expected);
  for (size_t w = 0; w < n; w++) expected[w] = (double)before[w];
  const fc_trainable_part *p = fc_trainable_parts(fed->task.trainable, &parts);
  const fc_tensor *t = fc_model_tensors(fed->task.model, &tensors);
  for (size_t l = 0; l < parts; l++) {
    if (p[l].kind != 'A') continue;
    const fc_tensor *W = &t[p[l].tensor];
    for (size_t w = 0; w < (size_t)(W->rows * W->cols); w++) expected[W->offset + w] += *mean++;
  }
  for (size_t w = 0; w < n; w++) CLOSE(now[w], expected[w], 2e-6);
  fc_free(expected);
}

static void the_base_gains_the_mean(void **state) {
  (void)state;
  fixture f = fixture_make(comm, FLORA("federation.participants=8", "model.precision=f32"));
  fc_federation *fed = f.fed;
  fc_round round = {.number = 1, .notes = fc_round_notes_none};
  OK(fed->method->plan(fed, &round));
  train_at_random(fed, &round, 30);
  round.all[2].cost.delivered = false;
  float *before = copy_of_base(fed), *start = new_memory(fed->P, sizeof *start);
  memcpy(start, fed->theta, fed->P * sizeof *start);
  double *mean = mean_product(fed, &round);
  assert_true(norm_of(mean, dense_count(fed->task.trainable)) > 0.1);
  OK(fed->method->server(fed, &round));
  expect_base(fed, before, mean);
  CLOSE(round.notes.aggregation_error, 0, 1e-7);
  size_t n = 0;
  const fc_trainable_part *p = fc_trainable_parts(fed->task.trainable, &n);
  for (size_t l = 0; l < n; l++)
    for (size_t w = p[l].offset; w < p[l].offset + (size_t)(p[l].rows * p[l].cols); w++) {
      double expected = 0;
      for (uint32_t i = 0; i < round.n; i++)
        expected += share_of(&round, i) * (double)round.theta[i * fed->P + w];
      if (p[l].kind == 'W')
        CLOSE(fed->theta[w], expected, 3e-7);
      else
        assert_true(fed->theta[w] == start[w]);
    }
  fc_free(before);
  fc_free(start);
  fc_free(mean);
  drop_round(&round);
  fixture_drop(&f);
}

static void nothing_arrived(void **state) {
  (void)state;
  fixture f = fixture_make(comm, FLORA("model.precision=f32"));
  fc_federation *fed = f.fed;
  fc_round round = {.number = 1, .notes = fc_round_notes_none};
  double *zero = new_memory(dense_count(fed->task.trainable), sizeof *zero);
  OK(fed->method->plan(fed, &round));
  train_at_random(fed, &round, 30);
  for (uint32_t i = 0; i < round.n; i++) round.all[i].cost.delivered = false;
  float *before = copy_of_base(fed);
  OK(fed->method->server(fed, &round));
  expect_base(fed, before, zero);
  assert_true(isnan(round.notes.aggregation_error));
  fc_free(before);
  fc_free(zero);
  drop_round(&round);
  fixture_drop(&f);
}

/* Every device begins anew, and differently: A drawn, B zero, the modules the global ones. */
static void factors_begin_anew(void **state) {
  (void)state;
  fixture f = fixture_make(comm, FLORA("federation.local.learning_rate=0"));
  fc_federation *fed = f.fed;
  float first[2] = {0};
  for (int64_t number = 1; number <= 2; number++) {
    fc_round round = {.number = number, .notes = fc_round_notes_none};
    OK(fed->method->plan(fed, &round));
    OK(fed->method->train(fed, &round));
    size_t n = 0;
    const fc_trainable_part *p = fc_trainable_parts(fed->task.trainable, &n);
    for (uint32_t i = 0; i < round.n; i++) {
      const float *theta = round.theta + i * fed->P;
      for (size_t l = 0; l < n; l++)
        for (size_t w = p[l].offset; w < p[l].offset + (size_t)(p[l].rows * p[l].cols); w++) {
          if (p[l].kind == 'B') assert_true(theta[w] == 0);
          if (p[l].kind == 'W') assert_true(theta[w] == fed->theta[w]);
        }
      size_t a = 0;
      while (p[a].kind != 'A') a++;
      assert_true(theta[p[a].offset] != 0 && theta[p[a].offset] != first[0]);
      first[0] = theta[p[a].offset];
    }
    assert_true(first[0] != first[1]);
    first[1] = first[0];
    drop_round(&round);
  }
  fixture_drop(&f);
}

/* Down: the stack of the round before, with the modules; up: its own rank. */
static void costs(void **state) {
  (void)state;
  fixture f = fixture_make(comm, FLORA("federation.participants=3"));
  fc_federation *fed = f.fed;
  double stacked = 0;
  for (int64_t number = 1; number <= 3; number++) {
    fc_round round = {.number = number, .notes = fc_round_notes_none};
    double columns = 0;
    OK(fed->method->plan(fed, &round));
    OK(fed->method->train(fed, &round));
    for (uint32_t i = 0; i < round.n; i++) {
      int rank = fc_trainable_lora(fc_trainable_of(fed, &round.all[i])).rank;
      CLOSE(round.all[i].load.downlink_bits, 32 * fc_ranks_weights(fed, stacked), 0);
      CLOSE(round.all[i].load.uplink_bits, 32 * fc_ranks_weights(fed, rank), 0);
      if (round.all[i].cost.delivered) columns += rank;
    }
    OK(fed->method->server(fed, &round));
    stacked = columns;
    assert_true(columns > 0);
    drop_round(&round);
  }
  fixture_drop(&f);
}

/* ---- files ------------------------------------------------------------------------------------
 */

static fc_err run(const char *const *sets, const char *output, bool resume,
                  volatile sig_atomic_t *stop, float *theta, float *base) {
  fixture f = fixture_make(comm, sets);
  fc_run_summary summary;
  const fc_run_request request = {.output = output, .resume = resume, .stop = stop};
  fc_err err = fc_federation_run(f.fed, &request, &summary);
  memcpy(theta, f.fed->theta, f.fed->P * sizeof *theta);
  memcpy(base, fc_model_weights(f.fed->task.model),
         fc_model_weight_count(f.fed->task.model) * sizeof *base);
  fixture_drop(&f);
  return err;
}

/* The exported base is the merged one, to the bit; without it the adapter would be worth nothing.
 */
static void expect_export(const char *const *sets, const char *result, const float *base,
                          size_t weights) {
  fc_config *cfg = small_config(sets);
  char adapter[64] = "/tmp/fedcell-flora-XXXXXX", folder[64] = "/tmp/fedcell-flora-XXXXXX";
  char message[256];
  bool mean = false;
  assert_non_null(mkdtemp(adapter));
  assert_non_null(mkdtemp(folder));
  snprintf(message, sizeof message,
           "%s: the run has changed the base that its adapter belongs to; export that too (--base "
           "FOLDER)",
           result);
  FAILS(fc_federation_export(comm, cfg, result, adapter, NULL, FC_DTYPE_F32, &mean), USAGE,
        message);
  OK(fc_federation_export(comm, cfg, result, adapter, folder, FC_DTYPE_F32, &mean));
  fc_model_shape shape;
  fc_model *model = NULL;
  float *read = new_memory(weights, sizeof *read);
  OK(fc_weights_read_shape(folder, -1, &shape));
  OK(fc_model_create(&shape, &model));
  assert_int_equal(fc_model_weight_count(model), weights);
  OK(fc_weights_read(model, folder, 1, read));
  assert_memory_equal(read, base, weights * sizeof *read);
  fc_model_destroy(&model);
  fc_free(read);
  fc_config_destroy(&cfg);
  snprintf(message, sizeof message, "rm -rf %s %s", adapter, folder);
  assert_int_equal(system(message), 0);
}

static void files_know_the_merged_base(void **state) {
  (void)state;
  const char *const *sets = FLORA("federation.rounds=3", "model.precision=f32");
  fixture f = fixture_make(comm, sets);
  size_t P = f.fed->P, weights = fc_model_weight_count(f.fed->task.model);
  fixture_drop(&f);
  char whole[] = "/tmp/fedcell-flora-whole-XXXXXX", parts[] = "/tmp/fedcell-flora-parts-XXXXXX";
  float *theta[2], *base[2];
  for (int i = 0; i < 2; i++) {
    theta[i] = new_memory(P, sizeof(float));
    base[i] = new_memory(weights, sizeof(float));
  }
  close(mkstemp(whole));
  close(mkstemp(parts));
  OK(run(sets, whole, false, NULL, theta[0], base[0]));
  /* stopped after round 0, and continued */
  volatile sig_atomic_t stop = 1;
  assert_int_equal(run(sets, parts, false, &stop, theta[1], base[1]), FC_ERR_STOPPED);
  for (int i = 0; i < 2; i++)
    assert_int_equal(run(sets, parts, true, &stop, theta[1], base[1]), FC_ERR_STOPPED);
  OK(run(sets, parts, true, NULL, theta[1], base[1]));
  assert_memory_equal(theta[0], theta[1], P * sizeof(float));
  assert_memory_equal(base[0], base[1], weights * sizeof(float));
  expect_export(sets, whole, base[0], weights);
  unlink(whole);
  unlink(parts);
  for (int i = 0; i < 2; i++) {
    fc_free(theta[i]);
    fc_free(base[i]);
  }
}

static void faults(void **state) {
  (void)state;
  fc_config *cfg = small_config(SETS("federation.method=flora", "adapter.init=/x"));
  fc_cell *cell = NULL;
  FAILS(fc_check_configuration(cfg, &cell), USAGE,
        "--set adapter.init=/x: must be empty for federation.method = flora");
  fc_cell_destroy(&cell);
  fc_config_destroy(&cfg);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_base_gains_the_mean),    cmocka_unit_test(nothing_arrived),
    cmocka_unit_test(factors_begin_anew),         cmocka_unit_test(costs),
    cmocka_unit_test(files_know_the_merged_base), cmocka_unit_test(faults),
};
SINGLE_RANK_MAIN(tests)
