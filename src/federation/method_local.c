/* method_local.c - the yardstick without communication: the same devices take part in the same
 * rounds and do the same work on the same batches as in `fedlora`, but each keeps its own model and
 * nothing is sent. Test figures are means over the devices' models.
 *
 * A device's model lives on the rank that hosts it, from its first participation on; before that it
 * is the base. */
#include "federation.h"
#include <math.h>
#include <omp.h>
#include <string.h>

typedef struct {
  int64_t first, count; /* hosted devices */
  float **theta;        /* (count) each (P) or NULL: still the base */
} local_state;

static void destroy(void *state) {
  local_state *s = state;
  if (!s) return;
  for (int64_t d = 0; s->theta && d < s->count; d++) fc_free(s->theta[d]);
  fc_free(s->theta);
  fc_free(s);
}

static fc_err create(fc_federation *fed, void **state) {
  local_state *s = NULL;
  fc_err err = fc_alloc(1, sizeof *s, &s);
  if (err == FC_ERR_OK) {
    fc_comm_share(fc_cell_devices(fed->cell), fed->comm->size, fed->comm->rank, &s->first,
                  &s->count);
    err = fc_alloc((size_t)s->count, sizeof *s->theta, &s->theta);
  }
  *state = s;
  return fc_agree(fed->comm, err);
}

static float *model_of(const fc_federation *fed, uint32_t device) {
  const local_state *s = fed->method_state;
  float *own = s->theta[device - s->first];
  return own ? own : fed->theta;
}

/* The device's own model becomes `theta`. */
static fc_err keep(fc_federation *fed, uint32_t device, const float *theta) {
  local_state *s = fed->method_state;
  float **own = &s->theta[device - s->first];
  if (!*own) FC_TRY(fc_alloc(fed->P, sizeof(float), own));
  memcpy(*own, theta, fed->P * sizeof(float));
  return FC_ERR_OK;
}

static fc_err train(fc_federation *fed, fc_round *round) {
  for (uint32_t i = 0; i < round->count; i++)
    memcpy(round->theta + (size_t)i * fed->P, model_of(fed, round->all[round->first + i].device),
           fed->P * sizeof(float));
  fc_err err = fc_train_participants(fed, round);
  for (uint32_t i = 0; i < round->count && err == FC_ERR_OK; i++)
    err = keep(fed, round->all[round->first + i].device, round->theta + (size_t)i * fed->P);
  FC_TRY(fc_agree(fed->comm, err));
  return fc_plan_deliver(fed, round);
}

static fc_err server(fc_federation *fed, fc_round *round) {
  (void)fed;
  (void)round;
  return FC_ERR_OK; /* the server sees nothing */
}

/* Devices whose models are evaluated: all, or a fixed random choice. Ascending. */
static fc_err evaluated_devices(const fc_federation *fed, uint32_t **device, uint32_t *n) {
  uint32_t devices = fc_cell_devices(fed->cell);
  *n = fed->set.eval_devices == 0 || fed->set.eval_devices > devices
           ? devices
           : (uint32_t)fed->set.eval_devices;
  FC_TRY(fc_alloc(*n, sizeof **device, device));
  fc_rng rng = fc_rng_open(fed->seed, FC_RNG_SELECTION, UINT64_MAX, 0);
  fc_rng_choose(&rng, devices, *n, *device);
  return FC_ERR_OK;
}

/* Columns of a device's row: its loss and accuracy, and whether the test part has targets at all.
 */
enum { LOSS, ACCURACY, COUNTED, SUMS };

/* rows (own,SUMS): of each hosted device among `device`; *own of them. */
static fc_err evaluate_hosted(fc_federation *fed, const uint32_t *device, uint32_t n, double *rows,
                              int64_t *own) {
  const local_state *s = fed->method_state;
  uint32_t first = 0, count = 0;
  while (first < n && device[first] < s->first) first++;
  while (first + count < n && device[first + count] < s->first + s->count) count++;
  fc_err_carry carry = {0};
#pragma omp parallel for schedule(dynamic, 1) num_threads(fed->threads.n)
  for (uint32_t i = 0; i < count; i++) {
    fc_loss_result r = {0};
    fc_err_carry_put(&carry, fc_evaluate_alone(fed, &fed->threads.thread[omp_get_thread_num()],
                                               model_of(fed, device[first + i]), &r));
    double *row = rows + (size_t)i * SUMS;
    row[LOSS] = r.count ? r.loss_sum / (double)r.count : 0.0;
    row[ACCURACY] = r.count ? (double)r.correct / (double)r.count : 0.0;
    row[COUNTED] = r.count > 0;
  }
  *own = count;
  return fc_err_carry_raise(&carry);
}

static fc_err evaluate(fc_federation *fed, fc_metrics *m) {
  uint32_t *device = NULL, n = 0;
  double *rows = NULL, sums[SUMS];
  int64_t own = 0;
  fc_err err = evaluated_devices(fed, &device, &n);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)n * SUMS, sizeof *rows, &rows);
  if (err == FC_ERR_OK) err = evaluate_hosted(fed, device, n, rows, &own);
  FC_TRY_GOTO(err, fc_agree(fed->comm, err), done);
  FC_TRY_GOTO(err, fc_exact_sums(fed->comm, rows, own, SUMS, sums), done);
  m->loss = sums[COUNTED] > 0 ? sums[LOSS] / n : (double)NAN;
  m->accuracy = sums[COUNTED] > 0 ? sums[ACCURACY] / n : (double)NAN;
done:
  fc_free(device);
  fc_free(rows);
  return err;
}

/* ---- checkpoints: the models of all devices that have one, in device order ---- */

static int64_t models_held(const local_state *s) {
  int64_t n = 0;
  for (int64_t d = 0; d < s->count; d++) n += s->theta[d] != NULL;
  return n;
}

static void save(fc_federation *fed, fc_store_file *f) {
  const local_state *s = fed->method_state;
  int64_t held = models_held(s), before = 0, total = 0, *has = NULL;
  float *models = NULL;
  fc_err err = fc_alloc((size_t)s->count, sizeof *has, &has);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)held * fed->P, sizeof *models, &models);
  if (err == FC_ERR_OK) {
    float *next = models;
    for (int64_t d = 0; d < s->count; d++) {
      has[d] = s->theta[d] != NULL;
      if (!has[d]) continue;
      memcpy(next, s->theta[d], fed->P * sizeof(float));
      next += fed->P;
    }
  }
  err = fc_agree(fed->comm, err);
  if (err == FC_ERR_OK) err = fc_comm_prefix(fed->comm, held, &before, &total);
  int64_t P = (int64_t)fed->P;
  if (err == FC_ERR_OK) {
    fc_store_put_i64(f, "/state/local_has", "", "1 where a device has a model of its own", has,
                     s->first, s->count, fc_cell_devices(fed->cell));
    fc_store_put_f32(f, "/state/local", "", "models of those devices, in device order", models,
                     before * P, held * P, total * P);
  } else {
    fc_store_put_failure(f, err);
  }
  fc_free(has);
  fc_free(models);
}

static fc_err load(fc_federation *fed, const fc_store_reader *r) {
  local_state *s = fed->method_state;
  int64_t devices = fc_cell_devices(fed->cell), at = 0, *has = NULL, P = (int64_t)fed->P;
  FC_TRY(fc_alloc((size_t)devices, sizeof *has, &has));
  fc_err err = fc_store_get_i64(r, "/state/local_has", 0, devices, has);
  for (int64_t d = 0; d < s->first && err == FC_ERR_OK; d++) at += has[d];
  for (int64_t d = 0; d < s->count && err == FC_ERR_OK; d++) {
    if (!has[s->first + d]) continue;
    err = fc_alloc(fed->P, sizeof(float), &s->theta[d]);
    if (err == FC_ERR_OK) err = fc_store_get_f32(r, "/state/local", at++ * P, P, s->theta[d]);
  }
  fc_free(has);
  return err;
}

static size_t device_bytes(size_t P) {
  return P * sizeof(float);
}

const fc_method fc_method_local = {
    .name = "local",
    .meaning = "no communication: every device trains its own model on its own data; test figures "
               "are means over the devices' models",
    .keeps_device_models = true,
    .create = create,
    .destroy = destroy,
    .plan = fc_plan_random,
    .train = train,
    .server = server,
    .evaluate = evaluate,
    .save = save,
    .load = load,
    .device_bytes = device_bytes,
};
