/* method_centralised.c - the yardstick with all data in one place: the server trains one model on
 * the union of all devices' samples. A round does as many optimiser steps as a participant does, on
 * batches as large as those of all participants together, so that work and number of steps are
 * those of `fedlora`. Data are taken to be there already: nothing crosses the radio; the simulated
 * time is the server's computing. */
#include "federation.h"
#include <math.h>
#include <string.h>

typedef struct {
  fc_parallel parallel;
  uint32_t *pooled; /* samples of all devices */
  size_t n;
  uint32_t *batch;
  int batch_size;
} central_state;

static void destroy(void *state) {
  central_state *s = state;
  if (!s) return;
  fc_parallel_destroy(&s->parallel);
  fc_free(s->pooled);
  fc_free(s->batch);
  fc_free(s);
}

static fc_err pool_samples(const fc_federation *fed, central_state *s) {
  for (uint32_t d = 0; d < fc_cell_devices(fed->cell); d++) {
    size_t n = 0;
    fc_split_device(fed->task.split, d, &n);
    s->n += n;
  }
  FC_TRY(fc_alloc(s->n, sizeof *s->pooled, &s->pooled));
  size_t at = 0;
  for (uint32_t d = 0; d < fc_cell_devices(fed->cell); d++) {
    size_t n = 0;
    const uint32_t *own = fc_split_device(fed->task.split, d, &n);
    memcpy(s->pooled + at, own, n * sizeof *own);
    at += n;
  }
  return FC_ERR_OK;
}

static fc_err create(fc_federation *fed, void **state) {
  const fc_local_settings *local = &fed->set.local;
  central_state *s = NULL;
  fc_err err = fc_alloc(1, sizeof *s, &s);
  *state = s;
  if (err == FC_ERR_OK) {
    /* check.c sees that this stays below 2^31 */
    s->batch_size = (int)(fc_participants_per_round(&fed->set, fc_cell_devices(fed->cell)) *
                          local->batch * local->accumulate);
    err = pool_samples(fed, s);
  }
  if (err == FC_ERR_OK) err = fc_alloc((size_t)s->batch_size, sizeof *s->batch, &s->batch);
  FC_TRY(fc_agree(fed->comm, err));
  s->parallel = (fc_parallel){.comm = fed->comm,
                              .task = &fed->task,
                              .threads = &fed->threads,
                              .loss = fed->task.loss,
                              .micro_batch = local->batch,
                              .seed = fed->seed,
                              .theta = fed->theta};
  return fc_parallel_create(&s->parallel, &local->optimizer, s->batch_size);
}

static double rank_bytes(const fc_federation_settings *s, int ranks, const fc_estimate *e) {
  int batch = (int)((int64_t)e->participants * s->local.batch * s->local.accumulate);
  return fc_parallel_bytes(&s->local.optimizer, batch, s->local.batch, ranks, e->trained_weights) +
         (double)(e->samples_train + batch) * sizeof(uint32_t);
}

static fc_err plan(fc_federation *fed, fc_round *round) {
  (void)fed;
  (void)round;
  return FC_ERR_OK; /* no device takes part */
}

static fc_err train(fc_federation *fed, fc_round *round) {
  central_state *s = fed->method_state;
  fc_loss_result loss = {0};
  int64_t steps = fed->set.local.iterations;
  for (int64_t i = 0; i < steps; i++) {
    int64_t step = (round->number - 1) * steps + i;
    int n = fc_batch_draw(s->pooled, s->n, s->batch_size, fed->seed, 0, UINT32_MAX, step, s->batch);
    FC_TRY(fc_parallel_step(&s->parallel, s->batch, n, step, &loss, &round->tokens));
  }
  round->train_loss = loss.count ? loss.loss_sum / (double)loss.count : (double)NAN;
  round->flop =
      round->tokens * (fed->flop_per_token.forward_flop + fed->flop_per_token.backward_flop);
  round->latency_s = round->flop / fed->set.server_flops;
  return FC_ERR_OK;
}

static fc_err server(fc_federation *fed, fc_round *round) {
  (void)fed;
  (void)round;
  return FC_ERR_OK; /* train() has stepped the model */
}

/* The optimiser's state is the same on all ranks: each writes its share. */
static void save(fc_federation *fed, fc_store_file *f) {
  const central_state *s = fed->method_state;
  const fc_optimizer *o = &s->parallel.optimizer;
  int64_t total = (int64_t)fc_optimizer_state_count(&o->settings, o->n), first = 0, own = 0;
  fc_comm_share(total, fed->comm->size, fed->comm->rank, &first, &own);
  fc_store_put_f32(f, "/state/centralised", "", "optimiser state", o->state + first, first, own,
                   total);
  fc_store_put_number(f, "/state", "optimizer_step", (double)o->step);
}

static fc_err load(fc_federation *fed, const fc_store_reader *r) {
  central_state *s = fed->method_state;
  fc_optimizer *o = &s->parallel.optimizer;
  double step = 0;
  FC_TRY(fc_store_get_number(r, "/state", "optimizer_step", &step));
  o->step = (int64_t)step;
  return fc_store_get_f32(r, "/state/centralised", 0,
                          (int64_t)fc_optimizer_state_count(&o->settings, o->n), o->state);
}

const fc_method fc_method_centralised = {
    .name = "centralised",
    .meaning = "all devices' data in one place: the server trains one model on their union with "
               "the same number of steps and samples",
    .pools_data = true,
    .create = create,
    .destroy = destroy,
    .plan = plan,
    .train = train,
    .server = server,
    .evaluate = fc_evaluate_theta,
    .save = save,
    .load = load,
    .rank_bytes = rank_bytes,
};
