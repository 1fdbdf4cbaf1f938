/* dynamics_network.c - the network of [TELLM, Algorithm 1, lines 5-8] for whole trajectories at
 * once: linear1, a GPT-2 decoder, linear2. What comes out for a value is its mean and ln of its
 * variance above the floor; the mean of the value itself, not of its change.
 */
#include "dynamics.h"
#include "fedcell/fc_mem.h"
#include <math.h>
#include <string.h>

fc_model_shape fc_network_shape(const fc_dynamics_settings *s, int64_t rounds) {
  return (fc_model_shape){.arch = fc_arch_find("gpt2"),
                          .layers = s->layers,
                          .width = s->width,
                          .heads = s->heads,
                          .vocab = 1, /* no tokens are embedded */
                          .positions = (int)rounds};
}

fc_err fc_network_create(const fc_model_shape *shape, int devices, double variance_floor,
                         fc_network *out) {
  static const char *const all[] = {"all"};
  const fc_trainable_spec spec = {.saved = all, .n_saved = 1, .lora_rank = 1};
  size_t F = (size_t)fc_feature_count(devices), D = (size_t)fc_value_count(devices);
  size_t C = (size_t)shape->width;
  *out = (fc_network){
      .features = (int)F, .values = (int)D, .width = (int)C, .variance_floor = variance_floor};
  fc_err err = fc_model_create(shape, &out->model);
  if (err == FC_ERR_OK)
    err = fc_alloc(fc_model_weight_count(out->model), sizeof(float), &out->weights);
  if (err == FC_ERR_OK) {
    fc_model_set_weights(out->model, out->weights);
    err = fc_trainable_create(out->model, &spec, &out->trainable);
  }
  if (err != FC_ERR_OK) {
    fc_network_destroy(out);
    return err;
  }
  out->linear1 = fc_trainable_count(out->trainable);
  out->linear2 = out->linear1 + C * (F + 1);
  out->count = out->linear2 + 2 * D * (C + 1);
  return FC_ERR_OK;
}

void fc_network_destroy(fc_network *n) {
  fc_trainable_destroy(&n->trainable);
  fc_model_destroy(&n->model);
  fc_free(n->weights);
  *n = (fc_network){0};
}

/* Uniform in +-1/sqrt(inputs). */
static void init_linear(float *w, size_t outputs, size_t inputs, fc_rng *rng) {
  double bound = 1 / sqrt((double)inputs);
  for (size_t i = 0; i < outputs * (inputs + 1); i++)
    w[i] = (float)(bound * (2 * fc_rng_uniform(rng) - 1));
}

void fc_network_init(const fc_network *n, uint64_t seed, float *theta) {
  /* the decoder numbers its tensors from 0 */
  fc_rng rng = fc_rng_open(seed, FC_RNG_WEIGHT_INIT, 0, UINT64_MAX);
  fc_model_init_weights(n->model, seed, false, n->weights);
  fc_trainable_init(n->trainable, seed, theta);
  init_linear(theta + n->linear1, (size_t)n->width, (size_t)n->features, &rng);
  init_linear(theta + n->linear2, 2 * (size_t)n->values, (size_t)n->width, &rng);
}

/* ---- one thread's buffers ---------------------------------------------------------------------
 */

fc_err fc_network_work_create(const fc_network *n, int64_t rows, int sequences, int length,
                              bool training, fc_network_work *out) {
  size_t C = (size_t)rows * (size_t)n->width, O = (size_t)rows * 2 * (size_t)n->values;
  *out = (fc_network_work){.network = n, .rows = rows};
  fc_err err = fc_work_create(n->model, n->trainable, rows, sequences, length,
                              training ? FC_WORK_TRAIN : FC_WORK_FORWARD, &out->work);
  if (err == FC_ERR_OK) err = fc_alloc(C, sizeof(float), &out->inputs);
  if (err == FC_ERR_OK) err = fc_alloc(O, sizeof(float), &out->out);
  if (err == FC_ERR_OK && training) err = fc_alloc(C, sizeof(float), &out->dinputs);
  if (err == FC_ERR_OK && training) err = fc_alloc(O, sizeof(float), &out->dout);
  if (err != FC_ERR_OK) fc_network_work_destroy(out);
  return err;
}

void fc_network_work_destroy(fc_network_work *w) {
  fc_work_destroy(&w->work);
  fc_free(w->inputs);
  fc_free(w->dinputs);
  fc_free(w->out);
  fc_free(w->dout);
  *w = (fc_network_work){0};
}

/* ---- values -----------------------------------------------------------------------------------
 */

double fc_network_mean(const fc_network_work *w, int64_t row, int d) {
  return (double)w->out[row * 2 * w->network->values + d];
}

double fc_network_variance(const fc_network_work *w, int64_t row, int d) {
  const fc_network *n = w->network;
  return n->variance_floor + exp((double)w->out[row * 2 * n->values + n->values + d]);
}

/* ---- loss -------------------------------------------------------------------------------------
 */

typedef struct {
  fc_network_work *w;
  const float *theta;
  const fc_network_batch *batch;
  float *dtheta;
  fc_network_loss *loss;
} passes;

/* One value's share `part` of the row's loss; dout gets its gradient (where it is wanted). */
static void value_loss(const passes *p, int64_t row, int d, double part, double *mse, double *nll) {
  const fc_network_work *w = p->w;
  int D = w->network->values;
  float y = p->batch->y[row * D + d];
  if (isnan(y)) return;
  double e = (double)y - fc_network_mean(w, row, d);
  double v = fc_network_variance(w, row, d);
  *mse += part * e * e;
  *nll += part * 0.5 * (log(v) + e * e / v);
  if (!p->dtheta) return;
  float *dout = w->dout + row * 2 * D;
  dout[d] = (float)(-2 * part * e);
  dout[D + d] = (float)(part * 0.5 * (1 - e * e / v) * (v - w->network->variance_floor) / v);
}

static void row_loss(const passes *p, int64_t row) {
  int D = p->w->network->values, known = 0;
  for (int d = 0; d < D - 1; d++) known += !isnan(p->batch->y[row * D + d]);
  fc_network_loss *sum = p->loss;
  for (int d = 0; d < D - 1; d++)
    value_loss(p, row, d, 1.0 / known, &sum->statistics_mse, &sum->nll);
  value_loss(p, row, D - 1, 1.0, &sum->accuracy_mse, &sum->nll);
  sum->rows++;
}

static fc_err linear2(void *arg, const fc_head_view *view) {
  const passes *p = arg;
  const fc_network *n = p->w->network;
  int C = n->width, O = 2 * n->values;
  const float *W = p->theta + n->linear2;
  fc_k_linear_fwd(p->w->out, O, view->hidden, C, W, C, W + (size_t)O * (size_t)C, view->rows, C, O,
                  false);
  if (!p->batch->y) return FC_ERR_OK;
  if (p->dtheta) memset(p->w->dout, 0, (size_t)(view->rows * O) * sizeof(float));
  for (int64_t row = 0; row < view->rows; row++) row_loss(p, row);
  if (!p->dtheta) return FC_ERR_OK;
  float *dW = p->dtheta + n->linear2;
  fc_k_linear_bwd_weight(dW, C, dW + (size_t)O * (size_t)C, p->w->dout, O, view->hidden, C,
                         view->rows, C, O);
  fc_k_linear_bwd_input(view->dhidden, C, p->w->dout, O, W, C, view->rows, C, O, false);
  return FC_ERR_OK;
}

fc_err fc_network_run(fc_network_work *w, const float *theta, const fc_network_batch *b,
                      float *dtheta, fc_network_loss *loss) {
  const fc_network *n = w->network;
  const float *W = theta + n->linear1;
  int C = n->width, F = n->features;
  int64_t rows = b->start[b->sequences];
  fc_network_loss unwanted = {0};
  passes p = {.w = w, .theta = theta, .batch = b, .dtheta = dtheta};
  p.loss = loss ? loss : &unwanted;
  FC_CHECK(rows <= w->rows, SHAPE, "%lld rows are more than the %lld there is room for",
           (long long)rows, (long long)w->rows);
  fc_k_linear_fwd(w->inputs, C, b->x, F, W, F, W + (size_t)C * (size_t)F, rows, F, C, false);
  bool drops = dtheta && b->dropout > 0;
  if (drops) fc_k_dropout(w->inputs, w->inputs, (float)b->dropout, b->rng, rows * C);
  const fc_batch batch = {.sequences = b->sequences, .start = b->start, .inputs = w->inputs};
  FC_TRY(fc_model_hook_grad(w->work, theta, &batch, linear2, &p, b->rng, dtheta,
                            dtheta ? w->dinputs : NULL));
  if (!dtheta) return FC_ERR_OK;
  if (drops) fc_k_dropout(w->dinputs, w->dinputs, (float)b->dropout, b->rng, rows * C);
  float *dW = dtheta + n->linear1;
  fc_k_linear_bwd_weight(dW, F, dW + (size_t)C * (size_t)F, w->dinputs, C, b->x, F, rows, F, C);
  return FC_ERR_OK;
}
