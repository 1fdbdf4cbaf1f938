/* Methods that cut, prune, thin out or share out the model: where nothing is cut away they are
 * fedlora, bit for bit; sizes and work against hand counts. */
#include "../../../src/federation/cut.h"
#include "../../../src/federation/emulator.h"
#include "single_rank.h"

#define CUT                                                                                        \
  "model.layers=4", "adapter.last_blocks=2", "adapter.dropout=0", "data.public_fraction=0.3",      \
      "cell.noise=total", "adapter.targets=[all-linear]"

static fc_round trained_round(fixture *f) {
  fc_round round = {.number = 1, .train_loss = NAN, .notes = fc_round_notes_none};
  OK(f->fed->method->plan(f->fed, &round));
  OK(f->fed->method->train(f->fed, &round));
  OK(f->fed->method->server(f->fed, &round));
  return round;
}

/* theta after the first round of these two methods is the same. */
static void expect_same_theta(const char *const *sets, const char *const *reference) {
  fixture a = fixture_make(comm, sets), b = fixture_make(comm, reference);
  fc_round ra = trained_round(&a), rb = trained_round(&b);
  assert_int_equal(a.fed->P, b.fed->P);
  assert_memory_equal(a.fed->theta, b.fed->theta, a.fed->P * sizeof(float));
  drop_round(&ra);
  drop_round(&rb);
  fixture_drop(&a);
  fixture_drop(&b);
}

static const char *const plain[] = {CUT, NULL};

static void without_pruning_it_is_fedlora(void **state) {
  (void)state;
  /* importance by norms, or without sorting: another order of heads would round otherwise */
  expect_same_theta(SETS(CUT, "federation.method=jcpba", "jcpba.pruning_min=0",
                         "jcpba.pruning_max=0", "jcpba.mean_max=0", "model.heads=1", "model.ffn=1",
                         "jcpba.importance=norm"),
                    SETS(CUT, "model.heads=1", "model.ffn=1"));
}

static void with_all_blocks_fedbiot_is_fedlora(void **state) {
  (void)state;
  expect_same_theta(SETS(CUT, "federation.method=fedbiot", "fedbiot.drop=0", "fedbiot.epsilon=0"),
                    plain);
}

static void a_single_owner_is_fedlora(void **state) {
  (void)state;
  expect_same_theta(SETS(CUT, "federation.method=deft", "federation.participants=1"),
                    SETS(CUT, "federation.participants=1"));
}

static void split_training_computes_what_fedlora_does(void **state) {
  (void)state;
  expect_same_theta(SETS(CUT, "federation.method=splitlora"), plain);
}

/* ---- sizes ----------------------------------------------------------------------------------- */

/* A block of width C and F neurons: norms 4 C, Q, K, V and out 4 (C^2 + C), MLP 2 C F + F + C. */
static double block_weights(double C, double kept_width, double F) {
  return 4 * C + 3 * (C * kept_width + kept_width) + C * kept_width + C + 2 * C * F + F + C;
}

static void sizes_of_both_parts(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS(CUT, "federation.method=jcpba", "jcpba.importance=norm"));
  fc_cut cut;
  OK(fc_cut_of(f.fed, &cut));
  assert_int_equal(cut.layers, 4);
  assert_int_equal(cut.first, 2);
  CLOSE(cut.emulator_weights, 2 * block_weights(16, 16, 24), 0);
  CLOSE(cut.update_weights, (double)f.fed->P, 0);
  CLOSE(cut.adapter_weights, 2 * block_weights(16, 16, 24) + (double)f.fed->P, 0);
  fc_block_view view[4];
  fc_cut_view(f.fed, &cut, 0.6, view); /* of 2 heads 0.8, of 24 neurons 9.6 */
  assert_int_equal(view[0].heads, 1);
  assert_int_equal(view[1].neurons, 10);
  assert_int_equal(view[2].heads, 2);
  assert_int_equal(view[3].neurons, 24);
  fc_cut_view(f.fed, &cut, 1.0, view); /* one of each stays */
  assert_int_equal(view[0].heads, 1);
  assert_int_equal(view[0].neurons, 1);
  fixture_drop(&f);
}

static void bills_by_what_is_kept_or_by_the_plan(void **state) {
  (void)state;
  for (int planned = 0; planned < 2; planned++) {
    fixture f = fixture_make(comm, SETS(CUT, "federation.method=jcpba", "jcpba.importance=norm",
                                        planned ? "cost.clock=planned" : "cost.clock=achieved"));
    fc_cut cut;
    fc_block_view view[4];
    OK(fc_cut_of(f.fed, &cut));
    fc_participant p = {.tokens = 100, .pruning = 0.6};
    fc_cut_view(f.fed, &cut, p.pruning, view);
    p.scope.view = view;
    fc_cut_bill(f.fed, &cut, &p);
    double emulator = planned ? 0.4 * 2 * block_weights(16, 16, 24) : 2 * block_weights(16, 8, 10);
    CLOSE_RELATIVE(p.load.downlink_bits, 32 * (cut.adapter_weights + emulator), 1e-12);
    CLOSE(p.load.uplink_bits, 32.0 * (double)f.fed->P, 0);
    double whole = fc_cut_flop(f.fed, &cut, &(fc_scope){0});
    double kept = planned ? whole - 0.6 * cut.emulator_flop : fc_cut_flop(f.fed, &cut, &p.scope);
    CLOSE_RELATIVE(p.load.flop, 100 * kept, 1e-12);
    CLOSE_RELATIVE(cut.adapter_flop + cut.emulator_flop, whole, 1e-12);
    fixture_drop(&f);
  }
}

/* All heads and neurons cost alike: at half of both the emulator costs half. */
static void the_emulators_work_is_linear(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS(CUT, "federation.method=jcpba", "jcpba.importance=norm"));
  fc_cut cut;
  fc_block_view view[4];
  OK(fc_cut_of(f.fed, &cut));
  fc_cut_view(f.fed, &cut, 0.5, view);
  double half = fc_cut_flop(f.fed, &cut, &(fc_scope){.view = view});
  CLOSE_RELATIVE(half, cut.adapter_flop + 0.5 * cut.emulator_flop, 1e-12);
  /* 2 FLOP a weight of the products, and the scores of attention: forward only */
  double length = cut.length, C = 16;
  CLOSE_RELATIVE(cut.emulator_flop, 2 * (2 * (4 * C * C + 2 * C * 24) + 4 * length * C), 1e-12);
  fixture_drop(&f);
}

/* ---- plans ----------------------------------------------------------------------------------- */

static void a_plan_keeps_its_promise(void **state) {
  (void)state;
  fixture f =
      fixture_make(comm, SETS(CUT, "federation.method=jcpba", "jcpba.importance=norm",
                              "cost.clock=planned", "data.max_length=8", "jcpba.mean_max=0.4"));
  fc_round round = trained_round(&f);
  double band = 0, rates = 0;
  for (uint32_t i = 0; i < round.n; i++) {
    band += round.all[i].bandwidth_hz;
    rates += round.all[i].pruning;
    assert_true(round.all[i].pruning >= 0.1 && round.all[i].pruning <= 0.9);
  }
  CLOSE_RELATIVE(band, 20e6, 1e-9);
  assert_true(rates / round.n <= 0.4 * (1 + 1e-9));
  assert_true(round.notes.lower_bound_s <= round.notes.planned_s);
  CLOSE_RELATIVE(round.notes.planned_s, round.notes.lower_bound_s, 1e-6);
  /* computing is planned for a mean length and takes next to nothing here; the link is exact */
  CLOSE_RELATIVE(round.latency_s, round.notes.planned_s, 1e-3);
  drop_round(&round);
  fixture_drop(&f);
}

static void uniform_plans_and_their_exceptions(void **state) {
  (void)state;
  fixture f = fixture_make(
      comm, SETS(CUT, "federation.method=ubfp", "jcpba.importance=norm", "jcpba.mean_max=0.53"));
  fc_round round = trained_round(&f);
  for (uint32_t i = 0; i < round.n; i++) {
    CLOSE(round.all[i].pruning, 0.53, 1e-12);
    CLOSE_RELATIVE(round.all[i].bandwidth_hz, 4e6, 1e-12);
  }
  drop_round(&round);
  fixture_drop(&f);
}

static void every_block_has_one_owner(void **state) {
  (void)state;
  fixture f = fixture_make(comm, SETS(CUT, "federation.method=deft", "adapter.last_blocks=4"));
  fc_round round = trained_round(&f);
  int owners[4] = {0};
  double band = 0;
  for (uint32_t i = 0; i < round.n; i++) {
    const fc_participant *p = &round.all[i];
    for (int b = p->scope.first_block; b < p->scope.next_block; b++) owners[b]++;
    band += p->bandwidth_hz;
  }
  for (int b = 0; b < 4; b++) assert_int_equal(owners[b], 1);
  assert_true(band <= 20e6 * (1 + 1e-9));
  assert_true(round.notes.lower_bound_s <= round.notes.planned_s * (1 + 1e-9));
  drop_round(&round);
  fixture_drop(&f);
}

/* ---- FedBiOT's parts ------------------------------------------------------------------------- */

static void emulators_keep_blocks_evenly(void **state) {
  (void)state;
  static const int kept[] = {0, 1, 2, 4, 5, 7, 8, 9, 11, 12, 14, 15, 16, 18, 19, 21};
  int layer[24];
  fc_emulator_blocks(24, 2, 16, layer);
  for (int i = 0; i < 16; i++) assert_int_equal(layer[i], kept[i]);
  assert_int_equal(layer[16], 22);
  assert_int_equal(layer[17], 23);
  fc_emulator_blocks(24, 2, 22, layer); /* all: in their order */
  for (int i = 0; i < 24; i++) assert_int_equal(layer[i], i);
  fc_emulator_blocks(4, 1, 1, layer);
  assert_int_equal(layer[0], 0);
  assert_int_equal(layer[1], 3);
}

/* epsilon |A - A_received|^2 of merged weights, formed in full. */
static double distance(const fc_trainable *t, const float *theta, const float *received) {
  size_t n = 0;
  const fc_trainable_part *p = fc_trainable_parts(t, &n);
  fc_lora_settings lora = fc_trainable_lora(t);
  double g = (double)lora.alpha / lora.rank, sum = 0;
  for (size_t i = 0; i < n; i++) {
    for (int64_t o = 0; p[i].kind == 'A' && o < p[i + 1].rows; o++)
      for (int64_t c = 0; c < p[i].cols; c++) {
        double d = 0;
        for (int64_t r = 0; r < p[i].rows; r++) {
          size_t b = p[i + 1].offset + (size_t)(o * p[i].rows + r);
          size_t a = p[i].offset + (size_t)(r * p[i].cols + c);
          d +=
              g * ((double)theta[b] * (double)theta[a] - (double)received[b] * (double)received[a]);
        }
        sum += d * d;
      }
    for (int64_t k = 0; p[i].kind == 'W' && k < p[i].rows * p[i].cols; k++) {
      double d = (double)theta[p[i].offset + (size_t)k] - (double)received[p[i].offset + (size_t)k];
      sum += d * d;
    }
  }
  return sum;
}

static void the_pull_is_the_gradient_of_the_distance(void **state) {
  (void)state;
  fixture f = fixture_make(comm, plain);
  const fc_trainable *t = f.fed->task.trainable;
  size_t P = f.fed->P;
  float *theta = new_memory(P, sizeof *theta), *received = new_memory(P, sizeof *theta);
  float *gradient = new_memory(P, sizeof *theta);
  random_floats(1, P, theta);
  random_floats(2, P, received);
  fc_fedbiot_pull(t, 0.1, theta, received, gradient);
  for (size_t i = 3; i < P; i += 97) {
    const float h = 1.0f / 256;
    float kept = theta[i];
    theta[i] = kept + h;
    double up = distance(t, theta, received);
    theta[i] = kept - h;
    double down = distance(t, theta, received);
    theta[i] = kept;
    double expected = 0.1 * (up - down) / (2.0 * (double)h);
    CLOSE((double)gradient[i], expected, 1e-4 * fabs(expected) + 1e-4);
  }
  fc_free(theta);
  fc_free(received);
  fc_free(gradient);
  fixture_drop(&f);
}

/* The loss of the server's only step after so many before the first round. */
static double server_loss_after(const char *first_steps) {
  fixture f =
      fixture_make(comm, SETS(CUT, "federation.method=fedbiot", "fedbiot.drop=0.5", first_steps,
                              "server.tune_steps=1", "server.learning_rate=3e-3", "server.rank=4",
                              "server.alpha=8"));
  fc_round round = trained_round(&f);
  double loss = round.notes.server_loss;
  drop_round(&round);
  fixture_drop(&f);
  return loss;
}

/* The server's steps bring the emulator's answers nearer to the original's. */
static void alignment_helps(void **state) {
  (void)state;
  double before = server_loss_after("server.first_steps=0");
  assert_true(server_loss_after("server.first_steps=40") < 0.7 * before);
}

/* ---- faults ---------------------------------------------------------------------------------- */

static void faults_are_told(void **state) {
  (void)state;
  static const struct {
    const char *set[3], *message;
  } cases[] = {
      {{"federation.method=jcpba"},
       "adapter.last_blocks = 0 (default): must be at least 1 and leave blocks to the emulator "
       "(model.layers = 1) for federation.method = jcpba"},
      {{"federation.method=deft"},
       "adapter.last_blocks = 0 (default): must be 2 to 96 for federation.method = deft, which "
       "shares "
       "these "
       "blocks out"},
      {{"federation.method=splitlora", "adapter.kind=full"},
       "adapter.kind=full: must be lora for federation.method = splitlora"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const char *sets[4] = {cases[i].set[0], cases[i].set[1], cases[i].set[2], NULL};
    fc_config *cfg = small_config(sets);
    assert_int_equal(fc_federation_check(cfg), FC_ERR_USAGE);
    if (!strstr(fc_err_message(), cases[i].message)) fail_msg("%s", fc_err_message());
    fc_config_destroy(&cfg);
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(without_pruning_it_is_fedlora),
    cmocka_unit_test(with_all_blocks_fedbiot_is_fedlora),
    cmocka_unit_test(a_single_owner_is_fedlora),
    cmocka_unit_test(split_training_computes_what_fedlora_does),
    cmocka_unit_test(sizes_of_both_parts),
    cmocka_unit_test(bills_by_what_is_kept_or_by_the_plan),
    cmocka_unit_test(the_emulators_work_is_linear),
    cmocka_unit_test(a_plan_keeps_its_promise),
    cmocka_unit_test(uniform_plans_and_their_exceptions),
    cmocka_unit_test(every_block_has_one_owner),
    cmocka_unit_test(emulators_keep_blocks_evenly),
    cmocka_unit_test(the_pull_is_the_gradient_of_the_distance),
    cmocka_unit_test(alignment_helps),
    cmocka_unit_test(faults_are_told),
};

SINGLE_RANK_MAIN(tests)
