/* An optimiser step goes down the gradient of the loss that objective.h describes, through the
 * language model, the value head, micro-batches and minibatches: against differences of the loss
 * along directions in the space of weights. */
#include "train_fixture.h"

static ground g;

/* A learner whose step changes theta by its gradient. */
typedef struct {
  fc_config *cfg;
  fc_llm *llm;
  fc_train_settings set;
  fc_trainable *trainable;
  fc_learner l;
  fc_answers a;
  size_t n; /* floats of theta */
} bench;

static bench make_bench(const char *algorithm, const char *settings) {
  bench b = {.cfg = train_config(g.folder, settings)};
  OK(fc_llm_load(b.cfg, g.warm, g.scenario, &b.llm));
  OK(fc_train_settings_read(b.cfg, g.scenario, algorithm, &b.set));
  b.set.objective.longest = fc_llm_answer_max(b.llm);
  b.set.optimizer = (fc_optimizer_settings){.kind = fc_optimizer_find("sgd"), .learning_rate = 1};
  b.set.value_rate = 3; /* three times as fast as the rest */
  OK(fc_llm_trainable(b.llm, b.cfg, &b.trainable));
  b.a = make_answers(&g, b.llm);
  const fc_model *model = fc_llm_model(b.llm);
  size_t P = fc_trainable_count(b.trainable);
  b.n = P + (b.set.is_ppo ? (size_t)fc_model_get_shape(model)->width + 1 : 0);
  b.l = (fc_learner){.comm = comm, .model = model, .threads = 2, .P = P};
  OK(fc_alloc(b.n, sizeof *b.l.theta, &b.l.theta));
  fc_trainable_init(b.trainable, 1, b.l.theta);
  fc_rng rng = fc_rng_open(3, FC_RNG_TEST, 0, 0);
  for (size_t i = P; i < b.n; i++) b.l.theta[i] = (float)(0.1 * fc_rng_normal(&rng));
  OK(fc_passes_create(model, b.trainable, b.set.micro_batch, fc_llm_length_max(b.llm), 2,
                      &b.l.passes));
  OK(fc_descent_create(comm, &b.set.optimizer, b.n, 2, &b.l.descent));
  return b;
}

static void drop_bench(bench *b) {
  fc_descent_destroy(&b->l.descent);
  fc_passes_destroy(&b->l.passes, 2);
  fc_trainable_destroy(&b->trainable);
  fc_free(b->l.theta);
  fc_answers_destroy(&b->a);
  fc_llm_destroy(&b->llm);
  fc_config_destroy(&b->cfg);
}

/* The old policy is the present one, as at an iteration's first step; reference and values are not.
 */
static void fill_answers(bench *b) {
  fc_rng rng = fc_rng_open(4, FC_RNG_TEST, 0, 0);
  fc_answers *a = &b->a;
  OK(fc_learner_look(&b->l, b->l.theta, a, a->old, b->set.is_ppo ? a->value : NULL));
  for (int64_t i = 0; i < a->n; i++) {
    a->advantage[i] = fc_rng_normal(&rng);
    a->returns[i] = fc_rng_normal(&rng);
    a->value[i] += 0.05 * fc_rng_normal(&rng);
    for (int64_t k = i * a->answer_max; k < i * a->answer_max + a->answer_n[i]; k++)
      a->reference[k] = a->old[k] + 0.2 * fc_rng_normal(&rng);
  }
}

/* The loss of all answers at theta, from what the model gives them there. */
static double loss_at(bench *b, const float *theta) {
  fc_answers *a = &b->a;
  double *log_prob = NULL, *value = NULL, loss = 0, tokens = 0;
  OK(fc_alloc((size_t)(a->n * a->answer_max), sizeof *log_prob, &log_prob));
  OK(fc_alloc((size_t)a->n, sizeof *value, &value));
  OK(fc_learner_look(&b->l, theta, a, log_prob, b->set.is_ppo ? value : NULL));
  for (int64_t i = 0; i < a->n; i++) tokens += a->answer_n[i];
  for (int64_t i = 0; i < a->n; i++) {
    float weight[64];
    double slope = 0;
    fc_objective_sums sums;
    const fc_objective_answer x = {
        .n = a->answer_n[i],
        .log_prob = log_prob + i * a->answer_max,
        .old = a->old + i * a->answer_max,
        .reference = b->set.objective.kl_beta > 0 ? a->reference + i * a->answer_max : NULL,
        .advantage = a->advantage[i]};
    assert_true(x.n <= 64);
    loss += fc_objective_of(&b->set.objective, tokens / (double)a->n, &x, weight, &sums);
    if (b->set.is_ppo)
      loss += b->set.value_weight *
              fc_value_loss(value[i], a->value[i], a->returns[i], b->set.value_limit, &slope);
  }
  fc_free(log_prob);
  fc_free(value);
  return loss / (double)a->n;
}

/* (L(theta + e v) - L(theta - e v)) / 2e */
static double slope_along(bench *b, const float *theta, const float *v, double e) {
  float *x = NULL;
  double side[2];
  OK(fc_alloc(b->n, sizeof *x, &x));
  for (int s = 0; s < 2; s++) {
    for (size_t i = 0; i < b->n; i++)
      x[i] = (float)((double)theta[i] + (s ? -e : e) * (double)v[i]);
    side[s] = loss_at(b, x);
  }
  fc_free(x);
  return (side[0] - side[1]) / (2 * e);
}

/* One step over all answers; theta is put back. */
static void take_step(bench *b, float *gradient) {
  uint8_t keep[ANSWERS];
  double sums[FC_STEP_SUMS], norm = 0;
  float *theta = NULL;
  memset(keep, 1, sizeof keep);
  OK(fc_alloc(b->n, sizeof *theta, &theta));
  memcpy(theta, b->l.theta, b->n * sizeof *theta);
  OK(fc_learner_update(&b->l, 0, &b->a, keep, ANSWERS, sums, &norm));
  assert_true(sums[FC_STEP_ANSWERS] == ANSWERS && norm > 0);
  for (size_t i = 0; i < b->n; i++) gradient[i] = theta[i] - b->l.theta[i];
  memcpy(b->l.theta, theta, b->n * sizeof *theta);
  fc_free(theta);
}

static void steps_go_down_the_gradient(void **state) {
  (void)state;
  static const struct {
    const char *algorithm, *settings;
  } forms[] = {{"grpo", "grpo.kl_beta=0.2"},
               {"grpo", "grpo.kl_beta=0.2\ngrpo.ratio=token\ngrpo.average=token"},
               {"grpo", "grpo.ratio=token\ngrpo.average=constant\npolicy.lora_rank=3"},
               {"ppo", "grpo.value.weight=0.7\ngrpo.value.clip=0"}};
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    char settings[256];
    snprintf(settings, sizeof settings,
             "%s\ngrpo.epochs=1\ngrpo.minibatch=%d\ngrpo.micro_batch=5\ngrpo.clip_low=0.9\n"
             "grpo.clip_high=9",
             forms[i].settings, ANSWERS);
    bench b = make_bench(forms[i].algorithm, settings);
    b.l.set = &b.set;
    float *gradient = NULL, *v = NULL;
    double squares = 0, head = 0, along = 0;
    OK(fc_alloc(b.n, sizeof *gradient, &gradient));
    OK(fc_alloc(b.n, sizeof *v, &v));
    fill_answers(&b);
    take_step(&b, gradient);
    for (size_t k = 0; k < b.n; k++) squares += (double)gradient[k] * (double)gradient[k];
    for (size_t k = b.l.P; k < b.n; k++) head += fabs((double)gradient[k]);
    assert_true(!b.set.is_ppo || head > 1e-3);
    for (size_t k = 0; k < b.n; k++) v[k] = (float)((double)gradient[k] / sqrt(squares));
    double slope = slope_along(&b, b.l.theta, v, 2e-3);
    print_message("%zu: slope %.6f, norm %.6f\n", i, slope, sqrt(squares));
    assert_close(slope, sqrt(squares), 0.01 * sqrt(squares));
    /* and along one in which the value head, or the rest, moves at random */
    fc_rng rng = fc_rng_open(5, FC_RNG_TEST, i, 0);
    for (size_t k = 0; k < b.n; k++) {
      v[k] = (float)(fc_rng_normal(&rng) / sqrt((double)b.n)) + v[k] * (k >= b.l.P);
      along += (double)v[k] * (double)gradient[k];
    }
    assert_close(slope_along(&b, b.l.theta, v, 2e-3), along, 0.01 * sqrt(squares));
    fc_free(gradient);
    fc_free(v);
    drop_bench(&b);
  }
}

static int make_all(void **state) {
  char folder[64];
  (void)state;
  make_scratch(folder);
  g = make_ground(comm, folder);
  return 0;
}

static int drop_all(void **state) {
  (void)state;
  drop_scratch(g.folder);
  drop_ground(&g);
  return 0;
}

static int run_all(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(steps_go_down_the_gradient)};
  return cmocka_run_group_tests(tests, make_all, drop_all);
}

int main(int argc, char **argv) {
  return one_rank_main(argc, argv, run_all);
}
