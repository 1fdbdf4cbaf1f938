/* Rounds of model switching: links that end together, who arrives, averages module by module, the
 * ensemble, the recorded bound, and the faults of a configuration. */
#include "../../../src/federation/switching.h"
#include "single_rank.h"

#define CELL                                                                                       \
  "federation.method=switching", "cell.pathloss=power-law", "cell.radius_m=67",                    \
      "cell.interferer_density_per_m2=1e-5", "cell.outage_snr_db=0", "cell.noise_dbm_per_hz=-162"

/* Plan and bill of a round in which nobody has trained. */
static fc_round planned(fc_federation *fed, int64_t number) {
  fc_round round = {.number = number, .notes = fc_round_notes_none};
  OK(fed->method->plan(fed, &round));
  OK(fc_plan_deliver(fed, &round));
  return round;
}

static void uploads_end_together(void **state) {
  (void)state;
  const char *const most[] = {"switching.max_subscriptions=1", "switching.max_subscriptions=3"};
  for (int i = 0; i < 2; i++) {
    fixture f =
        fixture_make(comm, SETS(CELL, "federation.participants=12", most[i], "switching.mu=1e7"));
    fc_round round = planned(f.fed, 1);
    double share = 0, lowest_w = 1;
    int modules[12] = {0};
    assert_int_equal(round.n, 12 * (i == 0 ? 1 : 3));
    for (uint32_t k = 0; k < round.n; k++) {
      const fc_participant *p = &round.all[k];
      share += p->bandwidth_hz / 20e6;
      CLOSE_RELATIVE(p->cost.uplink_s, round.notes.delay_s, 1e-9);
      CLOSE_RELATIVE(p->cost.uplink_j, p->power_w * round.notes.delay_s, 1e-9);
      assert_true(p->power_w > 0 && p->power_w <= 0.2);
      lowest_w = fmin(lowest_w, p->power_w);

      assert_false(modules[p->device] >> p->module & 1); /* once each */
      modules[p->device] |= 1 << p->module;
    }
    CLOSE(share, 1, 1e-6);        /* [SW, Theorem 2] */
    assert_true(lowest_w < 0.19); /* as energy is dear */
    assert_true(round.notes.bandwidth_steps >= 1);
    if (i == 0)
      for (int d = 0; d < 12; d++) assert_int_equal(modules[d], 1 << d % 4); /* round robin */
    drop_round(&round);
    fixture_drop(&f);
  }
}

/* Qhat of a device [SW (14)], corrected, at any power. */
static double qhat(const fc_switching *s, const fc_ue *u, double delay_s, double power_w) {
  double weight = (8 * 0.25 * s->set.zeta2 * fc_switching_own(s, u)->bound + 4 * 3000) / 0.5;
  double lambda = 0;
  OK(fc_switching_success(s, u->distance_m, power_w, u->share, &lambda));
  return weight * (1 - lambda) + s->set.mu * power_w * delay_s;
}

/* After one alternation each device's power is the best at the shares and the delay of full power,
 * by a fine search; after many, all together are better off. */
static void powers_are_the_best(void **state) {
  (void)state;
  static const char *const power[] = {"switching.power=max", "switching.alternations=1",
                                      "switching.alternations=20"};
  double total[3] = {0}, delay_s = 0;
  static fc_ue full[12];
  for (int i = 0; i < 3; i++) {
    fixture f = fixture_make(comm, SETS(CELL, "federation.participants=12", "switching.modules=1",
                                        "switching.mu=1e6", power[i]));
    fc_round round = planned(f.fed, 1);
    const fc_switching *s = f.fed->method_state;
    assert_int_equal(s->ue_count, 12);
    for (uint32_t k = 0; k < 12; k++) {
      const fc_ue *u = &s->ue[k];
      double best = INFINITY;
      total[i] += qhat(s, u, round.notes.delay_s, u->power_w);
      if (i == 0) full[k] = *u;
      if (i == 0) delay_s = round.notes.delay_s;
      for (double P = 1e-6; P <= 0.2; P *= 1.01) best = fmin(best, qhat(s, &full[k], delay_s, P));
      if (i == 1) assert_true(qhat(s, &full[k], delay_s, u->power_w) <= best * (1 + 1e-4));
    }
    drop_round(&round);
    fixture_drop(&f);
  }
  assert_true(total[1] < total[0] && total[2] <= total[1]);
}

/* ---- delivery -------------------------------------------------------------------------------- */

typedef struct {
  double arrived, expected, n; /* share that arrived; mean of the closed form */
} frequency;

static frequency deliveries(const char *const *sets, int rounds) {
  fixture f = fixture_make(comm, sets);
  frequency q = {0, 0, 0};
  const fc_switching *s = f.fed->method_state;
  for (int64_t t = 1; t <= rounds; t++) {
    fc_round round = planned(f.fed, t);
    for (uint32_t i = 0; i < round.n; i++) {
      const fc_participant *p = &round.all[i];
      double distance_m = fc_cell_position(f.fed->cell, (uint64_t)t, p->device).distance_m, lambda;
      OK(fc_switching_success(s, distance_m, p->power_w, p->bandwidth_hz / 20e6, &lambda));
      q.arrived += p->cost.delivered;
      q.expected += lambda;
      q.n++;
    }
    drop_round(&round);
  }
  q.arrived /= q.n;
  q.expected /= q.n;
  fixture_drop(&f);
  return q;
}

#define MANY                                                                                       \
  "population.devices=150", "federation.participants=150", "cell.mobility=redraw",                 \
      "data.samples=400", "switching.power=max"

static void drawn_deliveries_follow_the_closed_form(void **state) {
  (void)state;
  frequency q = deliveries(
      SETS(CELL, MANY, "switching.delivery=bernoulli", "cell.radius_m=150", "cell.outage_snr_db=5"),
      30);
  assert_in_range((int)(100 * q.expected), 40, 90); /* there is something to see */
  CLOSE(q.arrived, q.expected, 4 * 0.5 / sqrt(q.n));
}

/* The cell's own interferers, noise and fading against the closed forms, which are approximations:
 * the measured error is told. */
static void simulated_deliveries_are_near_the_closed_form(void **state) {
  (void)state;
  static const char *const thresholds[] = {"cell.outage_snr_db=-15", "cell.outage_snr_db=0",
                                           "cell.outage_snr_db=15"};
  for (int i = 0; i < 3; i++) {
    frequency c = deliveries(SETS(CELL, MANY, "cell.radius_m=150", thresholds[i]), 20);
    frequency p = deliveries(
        SETS(CELL, MANY, "cell.radius_m=150", thresholds[i], "switching.formulas=printed"), 20);
    printf("%s: arrived %.3f, corrected %.3f, printed %.3f\n", thresholds[i], c.arrived, c.expected,
           p.expected);
    CLOSE(c.expected, c.arrived, 0.03);
  }
}

static void without_a_threshold_all_arrive(void **state) {
  (void)state;
  for (int drawn = 0; drawn < 2; drawn++) {
    const char *delivery = drawn ? "switching.delivery=bernoulli" : "switching.delivery=sinr";
    frequency q = deliveries(SETS(CELL, delivery, "cell.outage_snr_db=-300"), 3);
    assert_true(q.arrived == 1 && q.expected == 1);
  }
}

/* [SW (4)]: tau D G f^2 rho M, and what the upload takes. */
static void computing_energy_by_hand(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS(CELL, "switching.compute_bits=model"));
  fc_round round = planned(f.fed, 1);
  double bits = 32.0 * (double)fc_model_weight_count(f.fed->task.model);
  for (uint32_t i = 0; i < round.n; i++) {
    const fc_participant *p = &round.all[i];
    double D = fmin(p->samples, 4);
    CLOSE_RELATIVE(p->cost.compute_j, 2 * D * bits * 1.5e9 * 1.5e9 * 1e-27 * 737.5, 1e-12);
    CLOSE_RELATIVE(p->cost.energy_j, p->cost.compute_j + p->cost.uplink_j, 1e-12);
  }
  drop_round(&round);
  fixture_drop(&f);
}

/* ---- averages and ensemble ------------------------------------------------------------------- */

static void modules_are_averaged_apart(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS(CELL, "federation.participants=12"));
  size_t P = f.fed->P;
  fc_round round = planned(f.fed, 1);
  float *before = new_memory(4 * P, sizeof *before);
  random_floats(4, round.n * P, round.theta);
  for (uint32_t i = 0; i < round.n; i++) {
    round.all[i].cost.delivered = round.all[i].module != 2 && i != 4; /* nobody of module 2 */
    fc_measure_change(f.fed, &round.all[i], round.theta + i * P);
  }
  memcpy(before, f.fed->theta, 4 * P * sizeof *before);
  OK(fc_aggregate_mean(f.fed, &round));
  for (int m = 0; m < 4; m++)
    for (size_t w = 0; w < P; w++) {
      double sum = 0, weight = 0;
      for (uint32_t i = 0; i < round.n; i++) {
        if (!round.all[i].cost.delivered || round.all[i].module != m) continue;
        sum += round.all[i].samples * (double)round.theta[i * P + w];
        weight += round.all[i].samples;
      }
      double expected = weight > 0 ? sum / weight : (double)before[(size_t)m * P + w];
      CLOSE((double)f.fed->theta[(size_t)m * P + w], expected, 1e-6);
    }
  assert_memory_equal(f.fed->theta + 2 * P, before + 2 * P, P * sizeof(float));
  assert_memory_not_equal(before, before + P, P * sizeof(float)); /* each with draws of its own */
  fc_free(before);
  drop_round(&round);
  fixture_drop(&f);
}

static void one_module_is_the_plain_model(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS(CELL, "switching.modules=1"));
  fc_metrics plain, together;
  random_floats(8, f.fed->P, f.fed->theta);
  OK(fc_evaluate_theta(f.fed, &plain));
  OK(fc_evaluate_ensemble(f.fed, &together));
  CLOSE_RELATIVE(together.loss, plain.loss, 1e-6);
  assert_true(together.accuracy == plain.accuracy);
  fixture_drop(&f);
}

/* One sample after the other, in double precision. */
static void the_ensemble_by_hand(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS(CELL, "switching.modules=3", "federation.local.batch=7"));
  fc_thread *t = &f.fed->threads.thread[0];
  fc_metrics m, first;
  double loss = 0, correct = 0;
  size_t n = 0;
  const uint32_t *test = fc_split_test(f.fed->task.split, &n);
  fc_rng none = fc_rng_open(0, FC_RNG_TEST, 0, 0);
  random_floats(8, 3 * f.fed->P, f.fed->theta);
  for (size_t w = 0; w < f.fed->P; w++)
    f.fed->theta[w] *= 20; /* one that is surer than the others */
  for (size_t i = 0; i < n; i++) {
    const fc_batch *batch = NULL;
    double mean = 0;
    OK(fc_batcher_fill(t->batcher, f.fed->task.corpus, f.fed->task.tokenizer, test + i, 1,
                       f.fed->task.loss, none, &batch));
    for (int k = 0; k < 3; k++) {
      float z[2];
      OK(fc_model_logits(t->work, f.fed->theta + (size_t)k * f.fed->P, batch, f.fed->task.loss, z));
      double p1 = 1 / (1 + exp((double)z[0] - (double)z[1]));
      loss -= log(batch->labels[0] ? p1 : 1 - p1) / 3 / (double)n;
      mean += p1 / 3;
    }
    correct += (mean > 0.5) == batch->labels[0];
  }
  OK(fc_evaluate_ensemble(f.fed, &m));
  CLOSE_RELATIVE(m.loss, loss, 1e-5);
  CLOSE(m.accuracy, correct / (double)n, 1e-12);
  OK(fc_evaluate_theta(f.fed, &first));
  assert_true(fabs(first.loss - m.loss) > 1e-4); /* the modules differ */
  fixture_drop(&f);
}

/* ---- whole runs ------------------------------------------------------------------------------ */

static fc_err run_round(fc_federation *fed, int64_t number, fc_round *round) {
  *round = (fc_round){.number = number, .notes = fc_round_notes_none};
  FC_TRY(fed->method->plan(fed, round));
  FC_TRY(fed->method->train(fed, round));
  return fed->method->server(fed, round);
}

/* The recursion of [SW (6)] from what the rounds themselves tell. */
static void the_bound_is_recorded(void **state) {
  (void)state;
  for (int printed = 0; printed < 2; printed++) {
    fixture f = fixture_make(
        comm, SETS(CELL, printed ? "switching.formulas=printed" : "switching.formulas=corrected"));
    double past[4] = {0}, before = 0;
    for (int64_t t = 1; t <= 4; t++) {
      fc_round round = {.number = t, .notes = fc_round_notes_none};
      double missing[4] = {0}, phi = 0, norm2 = 0;
      size_t test = 0;
      OK(f.fed->method->plan(f.fed, &round));
      const fc_switching *s = f.fed->method_state;
      for (uint32_t i = 0; i < s->ue_count; i++)
        for (int n = 0; n < 4; n++)
          missing[n] += s->ue[i].share_of_data *
                        fc_switching_missing(&s->set, s->ue[i].seen.success,
                                             fc_switching_own(s, &s->ue[i])[n].subscribed);
      OK(f.fed->method->train(f.fed, &round));
      OK(f.fed->method->server(f.fed, &round));
      fc_split_test(f.fed->task.split, &test);
      const float *w = fc_model_weights(f.fed->task.model);
      for (size_t i = 0; i < fc_model_weight_count(f.fed->task.model); i++)
        norm2 += (double)w[i] * (double)w[i];
      for (int n = 0; n < 4; n++) {
        double A = fc_switching_rate(&s->set, missing[n]);
        assert_true(A > 0 && A < 1);
        past[n] = (1 - A) * past[n] + fc_switching_offset(&s->set, missing[n]);
        phi += (1 - A) * s->risk[n] / 4 + past[n] +
               0.5 / 4 * A * sqrt(4 * 3000 / (0.25 * 0.25 * (double)test));
      }
      CLOSE_RELATIVE(round.notes.risk_bound, phi + 2.5 / 4 * norm2, 1e-9);
      assert_true(round.notes.risk_bound > round.train_loss && round.notes.risk_bound > before);
      before = round.notes.risk_bound;
      drop_round(&round);
    }
    fixture_drop(&f);
  }
}

static void one_shot_stays_and_online_moves_on(void **state) {
  (void)state;
  static const char *const methods[] = {"federation.method=switching-oneshot",
                                        "federation.method=switching"};
  for (int online = 0; online < 2; online++) {
    fixture f = fixture_make(comm, SETS(CELL, "federation.participants=12", methods[online]));
    int module[12] = {0}, moved = 0;
    for (int64_t t = 1; t <= 6; t++) {
      fc_round round;
      OK(run_round(f.fed, t, &round));
      assert_int_equal(round.n, 12);
      for (uint32_t i = 0; i < 12; i++) {
        moved += t > 2 && round.all[i].module != module[i];
        module[i] = round.all[i].module;
      }
      drop_round(&round);
    }
    if (online)
      assert_true(moved >= 24);
    else
      assert_int_equal(moved, 0);
    fixture_drop(&f);
  }
}

/* With energy so dear that nobody subscribes, rounds go on, and the multipliers bring them back. */
static void rounds_without_anybody(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS(CELL, "federation.participants=12", "switching.mu=1e18",
                                      "switching.power=max", "federation.method=switching-greedy"));
  fc_round round;
  OK(run_round(f.fed, 1, &round));
  drop_round(&round);
  OK(run_round(f.fed, 2, &round));
  assert_int_equal(round.n, 0);
  assert_true(round.latency_s == 0 && round.energy_j == 0 && round.notes.delay_s == 0);
  CLOSE(round.notes.participation_shortfall, 0.1, 1e-12);
  drop_round(&round);
  fixture_drop(&f);
}

/* ---- faults ---------------------------------------------------------------------------------- */

static void expect_fault(const char *const *sets, const char *message) {
  fc_config *cfg = small_config(sets);
  fc_cell *cell = NULL;
  FAILS(fc_check_configuration(cfg, &cell), USAGE, message);
  fc_cell_destroy(&cell);
  fc_config_destroy(&cfg);
}

static void what_does_not_fit_is_told(void **state) {
  (void)state;
  expect_fault(SETS(CELL, "switching.modules=2", "switching.max_subscriptions=3"),
               "--set switching.max_subscriptions=3: must be at most switching.modules = 2");
  expect_fault(SETS(CELL, "switching.participation=0.3"),
               "--set switching.participation=0.3: must be at most max_subscriptions/modules = "
               "0.25: no device could meet it");
  expect_fault(SETS(CELL, "cell.interferer_density_per_m2=0", "cell.pathloss=fixed"),
               "--set cell.pathloss=fixed: must be power-law for model switching, as its success "
               "probability has it");
  expect_fault(SETS(CELL, "cell.noise=total"),
               "--set cell.noise=total: must be allocated for model switching");
  expect_fault(SETS(CELL, "switching.formulas=printed", "cell.interferer_density_per_m2=0"),
               "--set cell.interferer_density_per_m2=0: must be above 0 for switching.formulas = "
               "printed, which divide by it");
  expect_fault(SETS(CELL, "switching.zeta2=0.05"),
               "--set switching.zeta2=0.05: A of the bound lies between -0.2 and 0 with 5 devices "
               "in a round, not within (0, 1); see switching.xi, eps, zeta2");
}

/* Constants that hold for few devices hold for many, as zeta2 is scaled. */
static void many_devices_keep_the_bound(void **state) {
  (void)state;
  fc_config *cfg =
      small_config(SETS(CELL, "population.devices=100000", "federation.participants=100000",
                        "switching.formulas=printed"));
  fc_cell *cell = NULL;
  OK(fc_check_configuration(cfg, &cell));
  fc_cell_destroy(&cell);
  fc_config_destroy(&cfg);
}

static void only_classification(void **state) {
  (void)state;
  fc_config *cfg = small_config(SETS(CELL, "model.family=gpt2", "data.dataset=generated-problems",
                                     "data.split=iid", "adapter.targets=[c_attn]"));
  fc_federation *fed = NULL;
  FAILS(fc_federation_create(comm, cfg, &fed), USAGE,
        "method switching needs a classification data set: its modules answer together");
  fc_federation_destroy(&fed);
  fc_config_destroy(&cfg);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(uploads_end_together),
    cmocka_unit_test(powers_are_the_best),
    cmocka_unit_test(drawn_deliveries_follow_the_closed_form),
    cmocka_unit_test(simulated_deliveries_are_near_the_closed_form),
    cmocka_unit_test(without_a_threshold_all_arrive),
    cmocka_unit_test(computing_energy_by_hand),
    cmocka_unit_test(modules_are_averaged_apart),
    cmocka_unit_test(one_module_is_the_plain_model),
    cmocka_unit_test(the_ensemble_by_hand),
    cmocka_unit_test(the_bound_is_recorded),
    cmocka_unit_test(one_shot_stays_and_online_moves_on),
    cmocka_unit_test(rounds_without_anybody),
    cmocka_unit_test(what_does_not_fit_is_told),
    cmocka_unit_test(many_devices_keep_the_bound),
    cmocka_unit_test(only_classification),
};
SINGLE_RANK_MAIN(tests)
