/* real.c - the real environment: the participants train the classifier, the base station averages
 * [TELLM (3), (4)], losses and gradients are estimated on probe samples.
 *
 * An episode is a global model, moved by updates; the seed of the episode is that of its start and
 * of all mini-batches. The devices of an update are shared out to threads; sums over devices go in
 * the devices' order. The local models of one update of one episode are kept, so that trying many
 * sets of devices (peek) trains each device once. */
#include "classify.h"
#include "fedcell/fc_kernel.h"
#include "fedcell/fc_mem.h"
#include <math.h>
#include <string.h>

typedef struct {
  uint64_t seed, updates;
  float *w;    /* (weights) the global model */
  double *rms; /* (N) of the samples' losses under it */
} learner;

typedef struct {
  const fc_scenario *s;
  fc_classify *classify;
  int devices, episodes, threads;
  size_t weights;
  learner *learner; /* (episodes) */
  /* The local models of an update of one episode, where `trained` says so. */
  int local_of;
  uint64_t local_update;
  uint8_t *trained; /* (N) */
  float *local;     /* (N, weights) */
  float *slope;     /* (N, weights) gradients of the local losses */
  float *mixed;     /* (weights) */
  double *share;    /* (N) */
} real;

static float *row(const real *r, float *matrix, int device) {
  return matrix + (size_t)device * r->weights;
}

/* out (weights) <- sum over devices of share x (N, weights); rows of share 0 are not looked at. */
static void mix(const real *r, const double *share, const float *x, float *out) {
  const int64_t n = (int64_t)r->weights;
#pragma omp parallel for schedule(static) num_threads(r->threads)
  for (int64_t i = 0; i < n; i++) {
    double sum = 0;
    for (int d = 0; d < r->devices; d++)
      if (share[d] != 0) sum += share[d] * (double)x[d * n + i];
    out[i] = (float)sum;
  }
}

/* ---- local training -------------------------------------------------------------------------- */

static fc_err train(real *r, const learner *l, int device) {
  float *w = row(r, r->local, device);
  memcpy(w, l->w, r->weights * sizeof *w);
  const fc_err err = fc_classify_train(r->classify, device, l->seed, l->updates, w);
  return err == FC_ERR_OK ? err
                          : fc_fail(err, "device %d diverges (environment.learning_rate is %g): %s",
                                    device, r->s->set.learning_rate, fc_err_message());
}

/* Has the local models of the selected devices ready. */
static fc_err train_selected(real *r, int episode, const uint8_t *select) {
  const learner *l = &r->learner[episode];
  fc_err_carry carry = {0};
  if (r->local_of != episode || r->local_update != l->updates)
    memset(r->trained, 0, (size_t)r->devices);
  r->local_of = episode;
  r->local_update = l->updates;
#pragma omp parallel for schedule(dynamic, 1) num_threads(r->threads)
  for (int n = 0; n < r->devices; n++)
    if (select[n] && !r->trained[n]) {
      const fc_err err = train(r, l, n);
      r->trained[n] = err == FC_ERR_OK;
      fc_err_carry_put(&carry, err);
    }
  return fc_err_carry_raise(&carry);
}

/* [TELLM (4)], over the participants' samples or, as printed, over all. */
static fc_err aggregate(real *r, const uint8_t *select, float *out) {
  double total = 0;
  for (int n = 0; n < r->devices; n++)
    if (select[n] || r->s->set.normalise_by_all) total += r->s->samples[n];
  for (int n = 0; n < r->devices; n++) r->share[n] = select[n] ? r->s->samples[n] / total : 0;
  mix(r, r->share, r->local, out);
  FC_CHECK(fc_k_first_not_finite(out, (int64_t)r->weights) == (int64_t)r->weights, NUMERIC,
           "the classifier's weights are not finite: environment.learning_rate is %g",
           r->s->set.learning_rate);
  return FC_ERR_OK;
}

/* ---- statistics ------------------------------------------------------------------------------ */

/* Losses of all devices under the global model; their gradients into dw (N, weights), NULL: not
 * wanted. */
static fc_err probe_all(real *r, learner *l, float *dw, fc_fl_state *state) {
  fc_err_carry carry = {0};
#pragma omp parallel for schedule(dynamic, 1) num_threads(r->threads)
  for (int n = 0; n < r->devices; n++) {
    fc_probe p = {0};
    fc_err_carry_put(&carry,
                     fc_classify_probe(r->classify, n, l->w, dw ? row(r, dw, n) : NULL, &p));
    state->loss[n] = p.loss;
    l->rms[n] = p.rms;
  }
  return fc_err_carry_raise(&carry);
}

static double share_of_equal_signs(const float *a, const float *b, size_t n) {
  size_t equal = 0;
  for (size_t i = 0; i < n; i++) equal += (a[i] > 0) == (b[i] > 0) && (a[i] < 0) == (b[i] < 0);
  return (double)equal / (double)n;
}

static double inner_product(const float *a, const float *b, size_t n) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
  return sum;
}

/* What the participants tell of their local models before the new global model is known. */
static fc_err probe_local(real *r, const learner *l, const uint8_t *select, fc_fl_state *state) {
  fc_err_carry carry = {0};
  fc_fl_state_no_participants(state);
#pragma omp parallel for schedule(dynamic, 1) num_threads(r->threads)
  for (int n = 0; n < r->devices; n++) {
    if (!select[n]) continue;
    fc_probe p = {0};
    fc_err_carry_put(
        &carry, fc_classify_probe(r->classify, n, row(r, r->local, n), row(r, r->slope, n), &p));
    state->local_loss[n] = p.loss;
    state->loss_rms[n] = l->rms[n];
  }
  return fc_err_carry_raise(&carry);
}

/* <grad F_n(w_n), grad F_G(w_G)>, F_G the mean of all devices' losses by samples. The local models
 * make room for the gradients at w_G. */
static fc_err compare(real *r, learner *l, const uint8_t *select, fc_fl_state *state) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(r->threads)
  for (int n = 0; n < r->devices; n++)
    if (select[n])
      state->same_sign[n] = share_of_equal_signs(row(r, r->local, n), l->w, r->weights);
  memset(r->trained, 0, (size_t)r->devices);
  FC_TRY(probe_all(r, l, r->local, state));
  double total = 0;
  for (int n = 0; n < r->devices; n++) total += r->s->samples[n];
  for (int n = 0; n < r->devices; n++) r->share[n] = r->s->samples[n] / total;
  mix(r, r->share, r->local, r->mixed);
#pragma omp parallel for schedule(dynamic, 1) num_threads(r->threads)
  for (int n = 0; n < r->devices; n++)
    if (select[n]) state->alignment[n] = inner_product(row(r, r->slope, n), r->mixed, r->weights);
  return FC_ERR_OK;
}

/* ---- the kind -------------------------------------------------------------------------------- */

static fc_err update(real *r, int episode, const uint8_t *select, fc_fl_state *state) {
  learner *l = &r->learner[episode];
  FC_TRY(train_selected(r, episode, select));
  FC_TRY(probe_local(r, l, select, state));
  FC_TRY(aggregate(r, select, l->w));
  l->updates++;
  FC_TRY(compare(r, l, select, state));
  return fc_classify_accuracy(r->classify, l->w, &state->accuracy);
}

static fc_err real_step(void *own, const int *which, int n, const uint8_t *select,
                        fc_fl_state *const *states) {
  real *r = own;
  for (int i = 0; i < n; i++)
    FC_TRY(update(r, which[i], select + (size_t)i * (size_t)r->devices, states[i]));
  return FC_ERR_OK;
}

static fc_err real_reset(void *own, const fc_episode *episode, int n, fc_fl_state *const *states) {
  real *r = own;
  r->local_of = -1;
  for (int i = 0; i < n; i++) {
    learner *l = &r->learner[i];
    l->seed = episode[i].seed;
    l->updates = 0;
    fc_cnn_init(&r->s->set.cnn, l->seed, l->w);
    fc_fl_state_no_participants(states[i]);
    FC_TRY(probe_all(r, l, NULL, states[i]));
    FC_TRY(fc_classify_accuracy(r->classify, l->w, &states[i]->accuracy));
  }
  return FC_ERR_OK;
}

static fc_err real_peek(void *own, int which, const uint8_t *select, double *accuracy) {
  real *r = own;
  FC_TRY(train_selected(r, which, select));
  FC_TRY(aggregate(r, select, r->mixed));
  return fc_classify_accuracy(r->classify, r->mixed, accuracy);
}

static void real_destroy(void *own) {
  real *r = own;
  if (!r) return;
  for (int i = 0; r->learner && i < r->episodes; i++) {
    fc_free(r->learner[i].w);
    fc_free(r->learner[i].rms);
  }
  fc_classify_destroy(&r->classify);
  fc_free(r->learner);
  fc_free(r->trained);
  fc_free(r->local);
  fc_free(r->slope);
  fc_free(r->mixed);
  fc_free(r->share);
  fc_free(r);
}

static const fc_environment_kind real_kind = {
    .reset = real_reset, .step = real_step, .peek = real_peek, .destroy = real_destroy};

static fc_err create(real *r) {
  const size_t devices = (size_t)r->devices;
  FC_TRY(fc_classify_create(r->s, &r->classify));
  r->threads = fc_classify_threads(r->classify);
  FC_TRY(fc_alloc((size_t)r->episodes, sizeof *r->learner, &r->learner));
  for (int i = 0; i < r->episodes; i++) {
    FC_TRY(fc_alloc(r->weights, sizeof(float), &r->learner[i].w));
    FC_TRY(fc_alloc(devices, sizeof(double), &r->learner[i].rms));
  }
  FC_TRY(fc_alloc(devices, sizeof *r->trained, &r->trained));
  FC_TRY(fc_alloc(devices * r->weights, sizeof(float), &r->local));
  FC_TRY(fc_alloc(devices * r->weights, sizeof(float), &r->slope));
  FC_TRY(fc_alloc(r->weights, sizeof(float), &r->mixed));
  return fc_alloc(devices, sizeof(double), &r->share);
}

fc_err fc_environment_open_real(const fc_scenario *s, int episodes, fc_environment **out) {
  real *r;
  *out = NULL;
  FC_TRY(fc_alloc(1, sizeof *r, &r));
  *r = (real){.s = s,
              .devices = s->set.devices,
              .episodes = episodes,
              .weights = fc_cnn_weight_count(&s->set.cnn),
              .local_of = -1};
  const fc_err err = create(r);
  if (err != FC_ERR_OK) {
    real_destroy(r);
    return err;
  }
  return fc_environment_open(s, episodes, &real_kind, r, out);
}
