/* dynamics_rollout.c - episodes that the network continues. Each step computes the whole history
 * again: at K rounds that is K/2 times the work of a cache, and still far less than an agent that
 * reads and writes text takes. */
#include "dynamics.h"
#include "fedcell/fc_mem.h"
#include <assert.h>
#include <math.h>
#include <string.h>

fc_err fc_rollout_create(const fc_dynamics *d, int episodes, fc_rollout *out) {
  const fc_network *n = &d->network;
  size_t K = (size_t)d->rounds, rows = (size_t)episodes * K, F = (size_t)n->features;
  *out = (fc_rollout){.d = d, .episodes = episodes};
  fc_err err =
      fc_network_work_create(n, (int64_t)rows, episodes, (int)d->rounds, false, &out->work);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)episodes, sizeof *out->length, &out->length);
  if (err == FC_ERR_OK) err = fc_alloc(rows * F, sizeof *out->history, &out->history);
  if (err == FC_ERR_OK) err = fc_alloc(rows * F, sizeof *out->x, &out->x);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)episodes + 1, sizeof *out->start, &out->start);
  if (err != FC_ERR_OK) fc_rollout_destroy(out);
  return err;
}

void fc_rollout_destroy(fc_rollout *r) {
  fc_network_work_destroy(&r->work);
  fc_free(r->length);
  fc_free(r->history);
  fc_free(r->x);
  fc_free(r->start);
  *r = (fc_rollout){0};
}

static float *row(const fc_rollout *r, int i, int64_t at) {
  return r->history + (i * r->d->rounds + at) * r->d->network.features;
}

void fc_rollout_push(fc_rollout *r, int i, const float *values, const uint8_t *select) {
  assert(r->length[i] < r->d->rounds);
  fc_encoding_features(&r->d->encoding, values, select, row(r, i, r->length[i]++));
}

fc_err fc_rollout_predict(fc_rollout *r, const int *which, int n, double *mean, double *sd) {
  const fc_network *net = &r->d->network;
  size_t F = (size_t)net->features;
  int D = net->values;
  if (n == 0) return FC_ERR_OK;
  for (int i = 0; i < n; i++) {
    int64_t length = r->length[which[i]];
    r->start[i + 1] = r->start[i] + length;
    memcpy(r->x + (size_t)r->start[i] * F, row(r, which[i], 0), (size_t)length * F * sizeof(float));
  }
  const fc_network_batch batch = {.sequences = n, .start = r->start, .x = r->x};
  FC_TRY(fc_network_run(&r->work, r->d->theta, &batch, NULL, NULL));
  for (int i = 0; i < n; i++)
    for (int d = 0; d < D; d++) {
      int64_t last = r->start[i + 1] - 1;
      mean[i * D + d] = fc_network_mean(&r->work, last, d);
      if (sd) sd[i * D + d] = sqrt(fc_network_variance(&r->work, last, d));
    }
  return FC_ERR_OK;
}
