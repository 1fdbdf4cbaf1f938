/* method_fedbiot.c - FedBiOT [Wu+ 2024]: the emulator keeps some of the model's blocks, evenly
 * spread; the server aligns it with the original on public samples; devices tune a low-rank adapter
 * of the last blocks on it and stay near the adapter that they received. */
#include "cut.h"
#include "emulator.h"
#include <math.h>

typedef struct {
  fc_cut cut;
  fc_emulator *emulator;
  double factors; /* weights of the emulator's low-rank factors */
  float epsilon;
} fedbiot_state;

static void destroy(void *state) {
  fedbiot_state *s = state;
  if (!s) return;
  fc_emulator_destroy(&s->emulator);
  fc_free(s);
}

static fc_emulator_plan emulator_plan(const fc_federation *fed) {
  int layers = fc_model_get_shape(fed->task.model)->layers;
  int others = layers - (int)fc_config_int(fed->cfg, "adapter.last_blocks");
  int kept = (int)lround(others * (1.0 - fc_config_real(fed->cfg, "fedbiot.drop")));
  return (fc_emulator_plan){.kept = kept < 1 ? 1 : kept, .distills = true};
}

static fc_err more_bytes(const fc_federation *fed, int ranks, int threads, double *rank_bytes,
                         double *node_bytes) {
  FC_TRY(fc_cut_check(fed));
  fc_emulator_plan emulator = emulator_plan(fed);
  return fc_emulator_bytes(fed, &emulator, ranks, threads, rank_bytes, node_bytes);
}

static void check(fc_config *cfg) {
  fc_cut_check_options(cfg);
  fc_emulator_check_options(cfg);
}

static fc_err create(fc_federation *fed, void **state) {
  fedbiot_state *s = NULL;
  fc_err err = fc_cut_check(fed);
  if (err == FC_ERR_OK) err = fc_alloc(1, sizeof *s, &s);
  *state = s;
  FC_TRY(fc_agree(fed->comm, err));
  fc_emulator_plan emulator = emulator_plan(fed);
  FC_TRY(fc_emulator_create(fed, &emulator, &s->emulator));
  s->factors = (double)fc_emulator_factors(s->emulator);
  s->epsilon = (float)fc_config_real(fed->cfg, "fedbiot.epsilon");
  return fc_agree(fed->comm, fc_cut_of(fed, &s->cut));
}

static fc_err plan(fc_federation *fed, fc_round *round) {
  fedbiot_state *s = fed->method_state;
  FC_TRY(fc_plan_random(fed, round));
  if (round->number > 1) return FC_ERR_OK;
  return fc_emulator_tune(fed, s->emulator, NULL, fc_config_int(fed->cfg, "server.first_steps"),
                          round);
}

static bool sends_factors(const fc_config *cfg) {
  return fc_config_string(cfg, "fedbiot.dispatch")[0] == 'l';
}

static void bill_as(const fc_federation *fed, const fc_cut *cut, double factors,
                    fc_participant *p) {
  fc_cut_bill(fed, cut, p);
  if (sends_factors(fed->cfg)) p->load.downlink_bits = (factors + cut->update_weights) * cut->bits;
}

static void bill(const fc_federation *fed, const fc_round *round, fc_participant *p) {
  const fedbiot_state *s = fed->method_state;
  (void)round;
  bill_as(fed, &s->cut, s->factors, p);
}

/* Of the original, told in the proportion of blocks that the emulator keeps. */
static fc_err expect(const fc_federation *fed, fc_participant *p) {
  fc_cut cut;
  double factors = 0;
  fc_emulator_plan emulator = emulator_plan(fed);
  FC_TRY(fc_cut_of(fed, &cut));
  FC_TRY(fc_emulator_expect_factors(fed, &emulator, &factors));
  cut.cost.is_planned = true;
  p->pruning = 1.0 - (double)emulator.kept / cut.first;
  bill_as(fed, &cut, factors, p);
  p->pruning = 0;
  return FC_ERR_OK;
}

/* ---- epsilon |A - A_received|^2 over the merged weights ----------------------------------------
 */

static double dot(const float *x, const float *y, int64_t n, int64_t stride) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += (double)x[i * stride] * (double)y[i * stride];
  return sum;
}

/* D = g (B A - B0 A0):  dA += c B^T D, dB += c D A^T, c = 2 epsilon g. D is never formed: its
 * products with A and B need the factors' inner products alone. a, b: the parts A (R,I), B (O,R).
 */
static void pull_factors(const fc_trainable_part *a, const fc_trainable_part *b, double epsilon,
                         double g, const float *theta, const float *received, float *gradient) {
  const float *A = theta + a->offset, *B = theta + b->offset;
  const float *A0 = received + a->offset, *B0 = received + b->offset;
  float *dA = gradient + a->offset, *dB = gradient + b->offset;
  int64_t R = a->rows, I = a->cols, O = b->rows;
  double c = 2.0 * epsilon * g * g;
  for (int64_t r = 0; r < R; r++)
    for (int64_t q = 0; q < R; q++) {
      double bb = c * dot(B + r, B + q, O, R), bb0 = c * dot(B + r, B0 + q, O, R);
      double aa = c * dot(A + q * I, A + r * I, I, 1), aa0 = c * dot(A0 + q * I, A + r * I, I, 1);
      fc_k_axpy(dA + r * I, (float)bb, A + q * I, I);
      fc_k_axpy(dA + r * I, -(float)bb0, A0 + q * I, I);
      for (int64_t o = 0; o < O; o++)
        dB[o * R + r] += (float)(aa * (double)B[o * R + q] - aa0 * (double)B0[o * R + q]);
    }
}

void fc_fedbiot_pull(const fc_trainable *t, double epsilon, const float *theta,
                     const float *received, float *gradient) {
  size_t n = 0;
  const fc_trainable_part *p = fc_trainable_parts(t, &n);
  fc_lora_settings lora = fc_trainable_lora(t);
  for (size_t i = 0; i < n; i++) {
    if (p[i].kind == 'A')
      pull_factors(&p[i], &p[i + 1], epsilon, (double)lora.alpha / lora.rank, theta, received,
                   gradient);
    if (p[i].kind != 'W') continue;
    for (size_t k = p[i].offset, end = k + (size_t)(p[i].rows * p[i].cols); k < end; k++)
      gradient[k] += 2.0f * (float)epsilon * (theta[k] - received[k]);
  }
}

static void regularise(const fc_federation *fed, const fc_participant *p, const float *theta,
                       float *gradient) {
  const fedbiot_state *s = fed->method_state;
  fc_fedbiot_pull(fc_trainable_of(fed, p), (double)s->epsilon, theta, fed->theta, gradient);
}

/* ---- the rest of the round ------------------------------------------------------------------- */

static fc_err server(fc_federation *fed, fc_round *round) {
  fedbiot_state *s = fed->method_state;
  FC_TRY(fc_aggregate_mean(fed, round));
  return fc_emulator_tune(fed, s->emulator, NULL, fc_config_int(fed->cfg, "server.tune_steps"),
                          round);
}

/* The original model with the adapter, and the emulator with it. */
static fc_err evaluate(fc_federation *fed, fc_metrics *m) {
  fedbiot_state *s = fed->method_state;
  fc_metrics emulator = {0};
  FC_TRY(fc_emulator_evaluate_original(fed, s->emulator, m));
  FC_TRY(fc_evaluate_theta(fed, &emulator));
  m->emulator_loss = emulator.loss;
  return FC_ERR_OK;
}

static void save(fc_federation *fed, fc_store_file *f) {
  const fedbiot_state *s = fed->method_state;
  fc_emulator_save(fed, s->emulator, f);
}

static fc_err load(fc_federation *fed, const fc_store_reader *r) {
  fedbiot_state *s = fed->method_state;
  return fc_emulator_load(fed, s->emulator, r);
}

const fc_method fc_method_fedbiot = {
    .name = "fedbiot",
    .meaning = "devices tune the last blocks on an emulator with fewer blocks, which the server "
               "aligns with the original",
    .uses_radio = true,
    .create = create,
    .destroy = destroy,
    .plan = plan,
    .train = fc_train_from_global,
    .regularise = regularise,
    .bill = bill,
    .server = server,
    .evaluate = evaluate,
    .check = check,
    .expect = expect,
    .more_bytes = more_bytes,
    .save = save,
    .load = load,
};
