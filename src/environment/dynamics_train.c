/* dynamics_train.c - training on recorded trajectories [TELLM, Algorithm 1, lines 1-15]. A step's
 * units are trajectories (fc_descent.h), so the result does not depend on ranks and threads. */
#include "dynamics.h"
#include "fedcell/fc_descent.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_store.h"
#include <math.h>
#include <omp.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  const fc_comm *comm;
  const fc_dynamics_request *request;
  fc_dynamics_settings set;
  fc_dynamics *d; /* theta: the best weights so far */
  fc_dynamics_rows rows;
  uint32_t *order; /* (n): trajectories to train on, in this epoch's order, then those held out */
  int64_t n_train, n_held;
  int threads;
  fc_network_work *work; /* (threads) */
  fc_descent *descent;
  float *theta;  /* as trained so far */
  char *key;     /* of checkpoints */
  int64_t epoch; /* epochs done */
  double best;   /* least loss on the trajectories held out */
  fc_dynamics_report report;
} training;

/* ---- before and after --------------------------------------------------------------------------
 */

/* Which are held out, the last of `order`, depends on how many there are and the seed alone. */
static void part(const training *tr) {
  fc_rng rng = fc_rng_open(tr->set.seed, FC_RNG_PARTS, 0, 0);
  size_t n = (size_t)(tr->n_train + tr->n_held);
  for (size_t i = 0; i < n; i++) tr->order[i] = (uint32_t)i;
  fc_rng_shuffle(&rng, tr->order, n);
}

/* At least one is trained on. */
static fc_err divide(training *tr, int n) {
  int64_t held = llround(tr->set.held_out * n);
  FC_CHECK(n >= 1, DATA, "there are no trajectories to learn the dynamics from");
  if (held == 0 && tr->set.held_out > 0) held = 1;
  if (held > n - 1) held = n - 1;
  tr->n_held = held;
  tr->n_train = n - held;
  FC_TRY(fc_alloc((size_t)n, sizeof *tr->order, &tr->order));
  part(tr);
  return FC_ERR_OK;
}

static fc_err note_seen(const training *tr, const fc_trajectories *t) {
  FC_TRY(fc_alloc((size_t)tr->n_train, sizeof *tr->d->seen, &tr->d->seen));
  tr->d->n_seen = (int)tr->n_train;
  for (int64_t i = 0; i < tr->n_train; i++) tr->d->seen[i] = t->episode[tr->order[i]];
  return FC_ERR_OK;
}

static int64_t steps_per_epoch(const training *tr) {
  return (tr->n_train + tr->set.batch - 1) / tr->set.batch;
}

static fc_err make_network(training *tr, const fc_scenario *s) {
  fc_model_shape shape = fc_network_shape(&tr->set, tr->d->rounds);
  fc_network *network = &tr->d->network;
  FC_TRY(
      fc_network_create(&shape, fc_scenario_settings(s)->devices, tr->set.variance_floor, network));
  FC_TRY(fc_alloc(network->count, sizeof(float), &tr->d->theta));
  FC_TRY(fc_alloc(network->count, sizeof(float), &tr->theta));
  fc_network_init(network, tr->set.seed, tr->theta);
  tr->threads = omp_get_max_threads();
  FC_TRY(fc_alloc((size_t)tr->threads, sizeof *tr->work, &tr->work));
  for (int i = 0; i < tr->threads; i++)
    FC_TRY(
        fc_network_work_create(network, tr->d->rounds, 1, (int)tr->d->rounds, true, &tr->work[i]));
  return FC_ERR_OK;
}

/* What a rank does alone. */
static fc_err prepare(training *tr, const fc_config *cfg, const fc_scenario *s,
                      const fc_trajectories *t) {
  const fc_environment_settings *set = fc_scenario_settings(s);
  FC_CHECK(t->devices == set->devices && t->rounds == set->rounds, DATA,
           "the trajectories are of %d devices and %lld rounds, the environment has %d and %lld",
           t->devices, (long long)t->rounds, set->devices, (long long)set->rounds);
  FC_TRY(fc_alloc(1, sizeof *tr->d, &tr->d));
  tr->d->sample = tr->set.sample;
  tr->d->rounds = t->rounds;
  FC_TRY(divide(tr, t->n));
  FC_TRY(note_seen(tr, t));
  FC_TRY(fc_encoding_create(s, &tr->d->encoding));
  FC_TRY(fc_encoding_fit(&tr->d->encoding, t, tr->order, (size_t)tr->n_train));
  FC_TRY(fc_dynamics_rows_create(&tr->d->encoding, t, &tr->rows));
  FC_TRY(make_network(tr, s));
  FC_TRY(fc_dynamics_key(cfg, t, &tr->key));
  tr->set.optimizer.total_steps = tr->set.epochs * steps_per_epoch(tr);
  tr->set.optimizer.warmup_steps = llround(tr->set.warmup * (double)tr->set.optimizer.total_steps);
  return FC_ERR_OK;
}

static void clean_up(training *tr) {
  for (int i = 0; tr->work && i < tr->threads; i++) fc_network_work_destroy(&tr->work[i]);
  fc_free(tr->work);
  fc_descent_destroy(&tr->descent);
  fc_dynamics_rows_destroy(&tr->rows);
  fc_free(tr->order);
  fc_free(tr->theta);
  fc_free(tr->key);
}

/* ---- checkpoints: weights, optimiser, and the best weights so far -------------------------------
 */

static fc_err save(const training *tr) {
  const char *path = tr->request->checkpoint;
  int64_t first = 0, own = 0, n = (int64_t)tr->d->network.count;
  fc_store_file *f = NULL;
  if (!path) return FC_ERR_OK;
  fc_comm_share(n, tr->comm->size, tr->comm->rank, &first, &own);
  FC_TRY(fc_store_write_begin(tr->comm, path, &f));
  fc_descent_put(tr->descent, f, tr->key, tr->theta, (double)tr->epoch);
  fc_store_put_f32(f, "/state/best", "", "weights of the best epoch", tr->d->theta + first, first,
                   own, n);
  fc_store_put_number(f, "/state", "best_loss", tr->best);
  return fc_store_write_end(&f);
}

static fc_err load(training *tr, const char *path) {
  int64_t n = (int64_t)tr->d->network.count;
  double epoch = 0;
  fc_store_reader *r = NULL;
  FC_TRY(fc_store_open(path, &r));
  fc_err err = fc_descent_get(tr->descent, r, path, tr->key, tr->theta, &epoch);
  if (err == FC_ERR_OK) err = fc_store_get_f32(r, "/state/best", 0, n, tr->d->theta);
  if (err == FC_ERR_OK) err = fc_store_get_number(r, "/state", "best_loss", &tr->best);
  fc_store_close(&r);
  tr->epoch = (int64_t)epoch;
  return err;
}

static fc_err resume(training *tr) {
  const char *path = tr->request->checkpoint;
  /* one rank looks, so that all take the same way */
  int64_t there = path && access(path, R_OK) == 0;
  FC_TRY(fc_comm_broadcast(tr->comm, &there, sizeof there, 0));
  return there ? fc_agree(tr->comm, load(tr, path)) : FC_ERR_OK;
}

/* ---- an epoch ---------------------------------------------------------------------------------
 */

/* What a unit adds up; sums[0], its weight, counts rows. The mean over a batch's rows is Algorithm
 * 1's mean over trajectories of means over their rounds, where none is idle. */
enum { ROWS, STATISTICS, ACCURACY, NLL, SUMS };

typedef struct {
  const training *tr;
  const uint32_t *trajectory; /* of each unit */
  const float *theta;
  uint64_t step; /* names the dropout masks */
} pass;

static fc_err one_trajectory(void *arg, int thread, int64_t unit, float *gradient, double *sums) {
  const pass *p = arg;
  const training *tr = p->tr;
  const fc_network *n = &tr->d->network;
  const int64_t *start = tr->rows.start + p->trajectory[unit];
  const int64_t own_start[2] = {0, start[1] - start[0]};
  const fc_network_batch batch = {
      .sequences = 1,
      .start = own_start,
      .x = tr->rows.x + start[0] * n->features,
      .y = tr->rows.y + start[0] * n->values,
      .dropout = tr->set.dropout,
      .rng = fc_rng_open(tr->set.seed, FC_RNG_DROPOUT, p->step, (uint64_t)unit)};
  fc_network_loss loss = {0};
  FC_TRY(fc_network_run(&tr->work[thread], p->theta, &batch, gradient, &loss));
  sums[ROWS] += (double)loss.rows;
  sums[STATISTICS] += loss.statistics_mse;
  sums[ACCURACY] += loss.accuracy_mse;
  sums[NLL] += loss.nll;
  return FC_ERR_OK;
}

/* Those to train on in an order that the epoch's number gives alone. */
static void shuffle(const training *tr) {
  fc_rng rng = fc_rng_open(tr->set.seed, FC_RNG_BATCH, (uint64_t)tr->epoch, 0);
  part(tr);
  fc_rng_shuffle(&rng, tr->order, (size_t)tr->n_train);
}

static double mean_of(const double *sums, int c) {
  return sums[ROWS] > 0 ? sums[c] / sums[ROWS] : NAN;
}

static fc_err train_epoch(training *tr) {
  double all[SUMS] = {0};
  shuffle(tr);
  for (int64_t first = 0; first < tr->n_train; first += tr->set.batch) {
    int64_t left = tr->n_train - first;
    double sums[SUMS];
    pass p = {.tr = tr,
              .trajectory = tr->order + first,
              .theta = tr->theta,
              .step = (uint64_t)fc_descent_optimizer(tr->descent)->step};
    FC_TRY(fc_descent_step(tr->descent, tr->theta, left < tr->set.batch ? left : tr->set.batch,
                           one_trajectory, &p, sums, SUMS));
    for (int c = 0; c < SUMS; c++) all[c] += sums[c];
  }
  tr->report.loss = mean_of(all, STATISTICS) + mean_of(all, ACCURACY) + mean_of(all, NLL);
  tr->report.statistics_mse = mean_of(all, STATISTICS);
  tr->report.accuracy_mse = mean_of(all, ACCURACY);
  return FC_ERR_OK;
}

/* Weights that do better than all before on the trajectories held out (or any, without such) are
 * kept. */
static fc_err validate(training *tr) {
  double sums[SUMS] = {0};
  pass p = {.tr = tr, .trajectory = tr->order + tr->n_train, .theta = tr->theta};
  if (tr->n_held > 0)
    FC_TRY(fc_descent_measure(tr->descent, tr->n_held, one_trajectory, &p, sums, SUMS));
  fc_dynamics_report *r = &tr->report;
  r->validation_statistics_mse = mean_of(sums, STATISTICS);
  r->validation_accuracy_mse = mean_of(sums, ACCURACY);
  r->validation_loss =
      r->validation_statistics_mse + r->validation_accuracy_mse + mean_of(sums, NLL);
  if (tr->n_held > 0 && !(r->validation_loss < tr->best)) return FC_ERR_OK;
  tr->best = tr->n_held > 0 ? r->validation_loss : (double)INFINITY;
  memcpy(tr->d->theta, tr->theta, tr->d->network.count * sizeof *tr->theta);
  return FC_ERR_OK;
}

static fc_err epochs(training *tr) {
  enum { EPOCHS_PER_CHECKPOINT = 10 };
  while (tr->epoch < tr->set.epochs) {
    bool stop = false;
    FC_TRY(fc_comm_any(tr->comm, tr->request->stop, &stop));
    if (stop || (tr->epoch > 0 && tr->epoch % EPOCHS_PER_CHECKPOINT == 0)) FC_TRY(save(tr));
    if (stop)
      return fc_fail(FC_ERR_STOPPED, "stopped after %lld of %lld epochs of the dynamics",
                     (long long)tr->epoch, (long long)tr->set.epochs);
    FC_TRY(train_epoch(tr));
    FC_TRY(validate(tr));
    tr->epoch++;
    tr->report.epoch = tr->epoch;
    tr->report.epochs = tr->set.epochs;
    if (tr->request->on_epoch) tr->request->on_epoch(tr->request->arg, &tr->report);
  }
  return FC_ERR_OK;
}

fc_err fc_dynamics_train(const fc_comm *comm, const fc_config *cfg, const fc_scenario *s,
                         const fc_trajectories *t, const fc_dynamics_request *request,
                         fc_dynamics **out) {
  training tr = {.comm = comm,
                 .request = request,
                 .set = fc_dynamics_settings_read(cfg),
                 .best = (double)INFINITY};
  *out = NULL;
  fc_err err = fc_agree(comm, prepare(&tr, cfg, s, t));
  if (err == FC_ERR_OK)
    err = fc_descent_create(comm, &tr.set.optimizer, tr.d->network.count, tr.threads, &tr.descent);
  if (err == FC_ERR_OK) err = resume(&tr);
  if (err == FC_ERR_OK) err = epochs(&tr);
  if (err == FC_ERR_OK && request->checkpoint && comm->rank == 0) unlink(request->checkpoint);
  clean_up(&tr);
  if (err != FC_ERR_OK) fc_dynamics_destroy(&tr.d);
  *out = tr.d;
  return err;
}
