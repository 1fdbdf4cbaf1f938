/* classify.c - local training, probes and accuracy of the classifier.
 *
 * Samples go through the CNN in chunks of a fixed size, whose gradients and losses are summed in
 * their order: no result depends on the threads. */
#include "classify.h"
#include "fedcell/fc_kernel.h"
#include "fedcell/fc_mem.h"
#include <math.h>
#include <omp.h>
#include <string.h>

enum { CHUNK = 64 }; /* samples at a time */

typedef struct {
  fc_cnn *cnn;
  float *dw, *part; /* (weights) */
  uint32_t *drawn;  /* (batch) */
} workspace;

struct fc_classify {
  const fc_scenario *s;
  int threads;
  workspace *work;
  size_t weights;
  uint32_t *probe; /* (N, probe_samples) */
  int *probes;     /* (N) how many of them a device has */
  uint32_t *test;  /* (tests) */
  int64_t tests;
  int64_t *correct; /* (chunks of the test samples) */
};

/* ---- samples --------------------------------------------------------------------------------- */

/* k distinct ones of the n samples, of the scenario's own draw. */
static void choose(const fc_scenario *s, uint64_t stage, uint64_t device, const uint32_t *samples,
                   size_t n, size_t k, uint32_t *out) {
  fc_rng rng = fc_rng_open(s->seed, FC_RNG_PROBE, stage, device);
  fc_rng_choose(&rng, (uint32_t)n, (uint32_t)k, out);
  for (size_t i = 0; i < k; i++) out[i] = samples[out[i]];
}

static fc_err choose_samples(fc_classify *c) {
  const fc_scenario *s = c->s;
  const size_t devices = (size_t)s->set.devices, most = (size_t)s->set.probe_samples;
  size_t n;
  FC_TRY(fc_alloc(devices * most, sizeof *c->probe, &c->probe));
  FC_TRY(fc_alloc(devices, sizeof *c->probes, &c->probes));
  for (size_t d = 0; d < devices; d++) {
    const uint32_t *own = fc_split_device(s->split, (uint32_t)d, &n);
    c->probes[d] = (int)(n < most ? n : most);
    choose(s, PROBE_OF_DEVICE, d, own, n, (size_t)c->probes[d], c->probe + d * most);
  }
  const uint32_t *test = fc_split_test(s->split, &n);
  c->tests = s->set.test_samples;
  FC_TRY(fc_alloc((size_t)c->tests, sizeof *c->test, &c->test));
  FC_TRY(fc_alloc((size_t)c->tests / CHUNK + 1, sizeof *c->correct, &c->correct));
  choose(s, PROBE_TEST, 0, test, n, (size_t)c->tests, c->test);
  return FC_ERR_OK;
}

/* ---- workspaces ------------------------------------------------------------------------------ */

static fc_err create(fc_classify *c) {
  FC_TRY(choose_samples(c));
  FC_TRY(fc_alloc((size_t)c->threads, sizeof *c->work, &c->work));
  for (int t = 0; t < c->threads; t++) {
    workspace *w = &c->work[t];
    FC_TRY(fc_cnn_create(&c->s->set.cnn, CHUNK, &w->cnn));
    FC_TRY(fc_alloc(c->weights, sizeof *w->dw, &w->dw));
    FC_TRY(fc_alloc(c->weights, sizeof *w->part, &w->part));
    FC_TRY(fc_alloc((size_t)c->s->set.batch, sizeof *w->drawn, &w->drawn));
  }
  return FC_ERR_OK;
}

fc_err fc_classify_create(const fc_scenario *s, fc_classify **out) {
  *out = NULL;
  FC_TRY(fc_alloc(1, sizeof **out, out));
  (*out)->s = s;
  (*out)->threads = omp_get_max_threads();
  (*out)->weights = fc_cnn_weight_count(&s->set.cnn);
  const fc_err err = create(*out);
  if (err != FC_ERR_OK) fc_classify_destroy(out);
  return err;
}

void fc_classify_destroy(fc_classify **classify) {
  fc_classify *c = *classify;
  if (!c) return;
  for (int t = 0; c->work && t < c->threads; t++) {
    fc_cnn_destroy(&c->work[t].cnn);
    fc_free(c->work[t].dw);
    fc_free(c->work[t].part);
    fc_free(c->work[t].drawn);
  }
  fc_free(c->work);
  fc_free(c->probe);
  fc_free(c->probes);
  fc_free(c->test);
  fc_free(c->correct);
  fc_free(c);
  *classify = NULL;
}

int fc_classify_threads(const fc_classify *c) {
  return c->threads;
}

/* ---- losses and gradients -------------------------------------------------------------------- */

typedef struct {
  const uint8_t *pixels[CHUNK];
  int32_t labels[CHUNK];
  fc_images images;
} chunk;

static void load(const fc_classify *c, const uint32_t *samples, int n, chunk *x) {
  for (int i = 0; i < n; i++) {
    const fc_sample sample = fc_dataset_sample(c->s->data, samples[i]);
    x->pixels[i] = sample.pixels;
    x->labels[i] = sample.label;
  }
  x->images = (fc_images){.n = n, .pixels = x->pixels, .labels = x->labels};
  if (!c->s->set.standard_pixels) return;
  x->images.mean = c->s->set.pixel_mean;
  x->images.sd = c->s->set.pixel_sd;
}

static double sum_of_squares(const float *x, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += (double)x[i] * x[i];
  return sum;
}

/* The mean over n samples; dw <- its gradient, NULL: not wanted. */
static fc_err mean_loss(const fc_classify *c, workspace *work, const float *w,
                        const uint32_t *samples, size_t n, float *dw, fc_probe *probe) {
  const bool whole = n <= CHUNK; /* at once, straight into dw */
  float *part = whole ? dw : work->part;
  fc_loss_result result = {0};
  double squares = 0;
  if (dw) memset(dw, 0, c->weights * sizeof *dw);
  for (size_t at = 0; at < n; at += CHUNK) {
    const int some = (int)(n - at < CHUNK ? n - at : CHUNK);
    chunk x;
    load(c, samples + at, some, &x);
    if (!dw) {
      FC_TRY(fc_cnn_loss(work->cnn, w, &x.images, &result));
    } else {
      if (!whole) memset(part, 0, c->weights * sizeof *part);
      FC_TRY(fc_cnn_grad(work->cnn, w, &x.images, part, &result));
      if (!whole) fc_k_axpy(dw, (float)some / (float)n, part, (int64_t)c->weights);
    }
    squares += sum_of_squares(fc_cnn_losses(work->cnn), some);
  }
  *probe = (fc_probe){.loss = result.loss_sum / (double)n, .rms = sqrt(squares / (double)n)};
  return FC_ERR_OK;
}

static workspace *own_work(fc_classify *c) {
  return &c->work[omp_get_thread_num()];
}

fc_err fc_classify_train(fc_classify *c, int device, uint64_t seed, uint64_t update, float *w) {
  const fc_environment_settings *set = &c->s->set;
  const fc_sgd step = {.learning_rate = (float)set->learning_rate};
  workspace *work = own_work(c);
  size_t all;
  const uint32_t *samples = fc_split_device(c->s->split, (uint32_t)device, &all);
  for (int i = 0; i < set->iterations; i++) { /* [TELLM (3)] */
    const uint32_t *batch = samples;
    size_t n = all;
    fc_probe ignored;
    if (set->batch > 0) {
      n = (size_t)fc_batch_draw(samples, all, set->batch, seed, update, (uint64_t)device, i,
                                work->drawn);
      batch = work->drawn;
    }
    FC_TRY(mean_loss(c, work, w, batch, n, work->dw, &ignored));
    fc_k_sgd(w, NULL, work->dw, step, i + 1, (int64_t)c->weights);
  }
  return FC_ERR_OK;
}

fc_err fc_classify_probe(fc_classify *c, int device, const float *w, float *dw, fc_probe *probe) {
  const uint32_t *samples = c->probe + (size_t)device * (size_t)c->s->set.probe_samples;
  return mean_loss(c, own_work(c), w, samples, (size_t)c->probes[device], dw, probe);
}

/* ---- accuracy -------------------------------------------------------------------------------- */

static fc_err count_correct(fc_classify *c, const float *w, int64_t at, int64_t *correct) {
  const int some = (int)(c->tests - at < CHUNK ? c->tests - at : CHUNK);
  fc_loss_result result = {0};
  chunk x;
  load(c, c->test + at, some, &x);
  FC_TRY(fc_cnn_loss(own_work(c)->cnn, w, &x.images, &result));
  *correct = result.correct;
  return FC_ERR_OK;
}

fc_err fc_classify_accuracy(fc_classify *c, const float *w, double *accuracy) {
  fc_err_carry carry = {0};
  int64_t correct = 0;
#pragma omp parallel for schedule(dynamic, 1) num_threads(c->threads)
  for (int64_t at = 0; at < c->tests; at += CHUNK)
    fc_err_carry_put(&carry, count_correct(c, w, at, &c->correct[at / CHUNK]));
  FC_TRY(fc_err_carry_raise(&carry));
  for (int64_t at = 0; at < c->tests; at += CHUNK) correct += c->correct[at / CHUNK];
  *accuracy = (double)correct / (double)c->tests;
  return FC_ERR_OK;
}
