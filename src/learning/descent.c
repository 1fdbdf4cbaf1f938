/* descent.c - data-parallel steps: units in lanes, lanes over ranks and threads, lanes' gradients
 * summed in 64-bit fixed point, whose common scale leaves room for the sum of all lanes. */
#include "fedcell/fc_descent.h"
#include "fedcell/fc_kernel.h"
#include "fedcell/fc_mem.h"
#include <assert.h>
#include <math.h>
#include <omp.h>
#include <string.h>
#include <unistd.h>

struct fc_descent {
  const fc_comm *comm;
  int threads;
  int64_t first, own; /* this rank's lanes */
  size_t P;
  fc_optimizer optimizer;
  float *gradients; /* (own or 1, P): the first lane's place also takes the sum */
  int64_t *sum;     /* (P) */
  double *sums;     /* (own, FC_DESCENT_SUMS) */
};

static size_t places(int64_t own) {
  return own > 0 ? (size_t)own : 1;
}

size_t fc_descent_bytes(const fc_optimizer_settings *o, size_t P, int ranks) {
  int64_t first = 0, own = 0;
  fc_comm_share(FC_DESCENT_LANES, ranks, 0, &first, &own);
  return P * (places(own) * sizeof(float) + sizeof(int64_t)) +
         fc_optimizer_state_count(o, P) * sizeof(float);
}

fc_err fc_descent_create(const fc_comm *comm, const fc_optimizer_settings *o, size_t P, int threads,
                         fc_descent **out) {
  fc_descent *d = NULL;
  float *state = NULL;
  *out = NULL;
  fc_err err = fc_alloc(1, sizeof *d, &d);
  if (err == FC_ERR_OK) {
    *d = (fc_descent){.comm = comm, .threads = threads, .P = P};
    fc_comm_share(FC_DESCENT_LANES, comm->size, comm->rank, &d->first, &d->own);
    err = fc_alloc(places(d->own) * P, sizeof *d->gradients, &d->gradients);
  }
  if (err == FC_ERR_OK) err = fc_alloc(P, sizeof *d->sum, &d->sum);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)d->own * FC_DESCENT_SUMS, sizeof *d->sums, &d->sums);
  if (err == FC_ERR_OK) err = fc_alloc(fc_optimizer_state_count(o, P), sizeof *state, &state);
  if (err == FC_ERR_OK) d->optimizer = fc_optimizer_bind(o, P, state);
  err = fc_agree(comm, err);
  if (err != FC_ERR_OK) fc_descent_destroy(&d);
  *out = d;
  return err;
}

void fc_descent_destroy(fc_descent **descent) {
  fc_descent *d = *descent;
  if (!d) return;
  fc_free(d->gradients);
  fc_free(d->sum);
  fc_free(d->sums);
  fc_free(d->optimizer.state);
  fc_free(d);
  *descent = NULL;
}

fc_optimizer *fc_descent_optimizer(fc_descent *d) {
  return &d->optimizer;
}

/* ---- a step ---------------------------------------------------------------------------------- */

typedef struct {
  int64_t units;
  fc_descent_unit *unit;
  void *arg;
} work;

static fc_err one_lane(const fc_descent *d, const work *w, int64_t i, float *gradient) {
  int64_t first = 0, count = 0;
  double *sums = d->sums + i * FC_DESCENT_SUMS;
  fc_comm_share(w->units, FC_DESCENT_LANES, (int)(d->first + i), &first, &count);
  memset(sums, 0, FC_DESCENT_SUMS * sizeof *sums);
  if (gradient) memset(gradient, 0, d->P * sizeof *gradient);
  for (int64_t u = first; u < first + count; u++)
    FC_TRY(w->unit(w->arg, omp_get_thread_num(), u, gradient, sums));
  return FC_ERR_OK;
}

static fc_err own_lanes(const fc_descent *d, const work *w, float *gradients) {
  fc_err_carry carry = {0};
#pragma omp parallel for schedule(dynamic, 1) num_threads(d->threads)
  for (int64_t i = 0; i < d->own; i++)
    fc_err_carry_put(&carry, one_lane(d, w, i, gradients ? gradients + (size_t)i * d->P : NULL));
  return fc_err_carry_raise(&carry);
}

static fc_err add_up_sums(const fc_descent *d, double *sums, int n) {
  fc_sum sum[FC_DESCENT_SUMS] = {0};
  const fc_reduction over = fc_comm_reduction(d->comm);
  assert(n >= 1 && n <= FC_DESCENT_SUMS);
  for (int64_t i = 0; i < d->own; i++)
    for (int c = 0; c < n; c++) fc_sum_add(&sum[c], d->sums[i * FC_DESCENT_SUMS + c]);
  FC_TRY(fc_sum_over(&over, sum, (size_t)n));
  for (int c = 0; c < n; c++) {
    sums[c] = fc_sum_value(&sum[c]);
    FC_CHECK(isfinite(sums[c]), NUMERIC, "a sum over the micro-batches of a step is %g", sums[c]);
  }
  return FC_ERR_OK;
}

/* The power of two by which `lanes` values up to `largest` and their sum fit into 62 bits. */
static double fixed_scale(double largest) {
  int exponent = 0;
  frexp(largest * FC_DESCENT_LANES, &exponent);
  exponent = 62 - exponent;
  return ldexp(1.0, exponent < 1000 ? exponent : 1000);
}

/* gradients[0] <- sum of all lanes of all ranks, over `weight`. */
static fc_err sum_gradients(fc_descent *d, double weight) {
  int64_t P = (int64_t)d->P;
  const double one = 1.0;
  double largest = 0;
  for (int64_t i = 0; i < d->own; i++) {
    double x = (double)fc_k_max_abs(d->gradients + (size_t)i * d->P, P);
    if (!(x <= largest)) largest = x; /* a NaN stays: the comparison after it is false as well */
    if (isnan(x)) break;
  }
  FC_TRY(fc_comm_max(d->comm, &largest, 1));
  FC_CHECK(isfinite(largest), NUMERIC, "a gradient is not finite (learning rate %g too high?)",
           (double)d->optimizer.settings.learning_rate);
  double scale = fixed_scale(largest);
  memset(d->sum, 0, d->P * sizeof *d->sum);
  for (int64_t i = 0; i < d->own; i++)
    fc_k_fixed_sum(d->sum, d->gradients + (size_t)i * d->P, P, NULL, &one, 1, scale, P);
  FC_TRY(fc_comm_sum_i64(d->comm, d->sum, d->P));
  fc_k_fixed_get(d->gradients, d->sum, scale * weight, P);
  return FC_ERR_OK;
}

fc_err fc_descent_measure(fc_descent *d, int64_t units, fc_descent_unit *unit, void *arg,
                          double *sums, int n_sums) {
  const work w = {.units = units, .unit = unit, .arg = arg};
  FC_TRY(fc_agree(d->comm, own_lanes(d, &w, NULL)));
  return add_up_sums(d, sums, n_sums);
}

fc_err fc_descent_step(fc_descent *d, float *theta, int64_t units, fc_descent_unit *unit, void *arg,
                       double *sums, int n_sums) {
  const work w = {.units = units, .unit = unit, .arg = arg};
  FC_TRY(fc_agree(d->comm, own_lanes(d, &w, d->gradients)));
  FC_TRY(add_up_sums(d, sums, n_sums));
  if (!(sums[0] > 0)) return FC_ERR_OK;
  FC_TRY(sum_gradients(d, sums[0]));
  return fc_optimizer_step(&d->optimizer, theta, d->gradients);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

void fc_descent_put(const fc_descent *d, fc_store_file *f, const char *key, const float *theta,
                    double number) {
  const fc_optimizer *o = &d->optimizer;
  const struct {
    const char *path, *meaning;
    const float *x;
    size_t n;
  } vectors[] = {{"/state/theta", "trained weights", theta, d->P},
                 {"/state/optimizer", "state of the optimiser", o->state,
                  fc_optimizer_state_count(&o->settings, d->P)}};
  fc_store_put_text(f, "/state", "key", key);
  fc_store_put_number(f, "/state", "number", number);
  fc_store_put_number(f, "/state", "optimizer_steps", (double)o->step);
  for (size_t v = 0; v < sizeof vectors / sizeof vectors[0]; v++) {
    int64_t first = 0, own = 0, n = (int64_t)vectors[v].n;
    fc_comm_share(n, d->comm->size, d->comm->rank, &first, &own);
    fc_store_put_f32(f, vectors[v].path, "", vectors[v].meaning, vectors[v].x + first, first, own,
                     n);
  }
}

fc_err fc_descent_save(const fc_descent *d, const char *path, const char *key, const float *theta,
                       double number) {
  fc_store_file *f = NULL;
  FC_TRY(fc_store_write_begin(d->comm, path, &f));
  fc_descent_put(d, f, key, theta, number);
  return fc_store_write_end(&f);
}

static fc_err check_key(const fc_store_reader *r, const char *path, const char *key) {
  char *then = NULL;
  FC_TRY(fc_store_get_text(r, "/state", "key", &then));
  fc_err err = FC_ERR_OK;
  if (strcmp(then, key) != 0)
    err = fc_fail(FC_ERR_USAGE,
                  "%s was made with another configuration; continue with the same one, or remove "
                  "it to start anew",
                  path);
  fc_free(then);
  return err;
}

fc_err fc_descent_get(fc_descent *d, const fc_store_reader *r, const char *path, const char *key,
                      float *theta, double *number) {
  fc_optimizer *o = &d->optimizer;
  double steps = 0;
  FC_TRY(check_key(r, path, key));
  FC_TRY(fc_store_get_number(r, "/state", "number", number));
  FC_TRY(fc_store_get_number(r, "/state", "optimizer_steps", &steps));
  FC_TRY(fc_store_get_f32(r, "/state/theta", 0, (int64_t)d->P, theta));
  FC_TRY(fc_store_get_f32(r, "/state/optimizer", 0,
                          (int64_t)fc_optimizer_state_count(&o->settings, d->P), o->state));
  o->step = (int64_t)steps;
  return FC_ERR_OK;
}

static fc_err load(fc_descent *d, const char *path, const char *key, float *theta, double *number) {
  fc_store_reader *r = NULL;
  FC_TRY(fc_store_open(path, &r));
  fc_err err = fc_descent_get(d, r, path, key, theta, number);
  fc_store_close(&r);
  return err;
}

fc_err fc_descent_load(fc_descent *d, const char *path, const char *key, float *theta,
                       double *number) {
  /* one rank looks, so that all take the same way */
  int64_t there = access(path, R_OK) == 0;
  *number = NAN;
  FC_TRY(fc_comm_broadcast(d->comm, &there, sizeof there, 0));
  return there ? fc_agree(d->comm, load(d, path, key, theta, number)) : FC_ERR_OK;
}
