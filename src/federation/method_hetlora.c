/* method_hetlora.c - HetLoRA [Cho+ 2024]: devices of their own LoRA rank r_k.
 *
 * Down: the first r_k columns of B and rows of A, with the same scale alpha/R for all. A device
 * adds lambda |B[:, q:r_k]|_F |A[q:r_k, :]|_F,   q = floor(prune r_k), over the layers to its loss;
 * where that sum is less after training than before, its rank falls to q for good, and only so much
 * is sent. Up: zero-padded to R; a layer's factors are averaged with s_k = |B_k A_k|_F / sum_j |B_j
 * A_j|_F, alike where nothing has a norm. Modules trained whole are averaged as FedAvg does. */
#include "factors.h"
#include "fedcell/fc_mean.h"
#include "ranks.h"
#include <math.h>
#include <string.h>

typedef struct {
  fc_ranks *ranks;
  double prune, lambda;
  double *tail;  /* (count) of own participants before training */
  int64_t *kept; /* (count) LoRA rank after it */
} hetlora_state;

static void destroy(void *state) {
  hetlora_state *s = state;
  if (!s) return;
  fc_ranks_destroy(&s->ranks);
  fc_free(s->tail);
  fc_free(s->kept);
  fc_free(s);
}

static fc_err create(fc_federation *fed, void **state) {
  hetlora_state *s = NULL;
  fc_err err = fc_alloc(1, sizeof *s, &s);
  *state = s;
  if (err == FC_ERR_OK) err = fc_ranks_create(fed, true, &s->ranks);
  if (err == FC_ERR_OK) {
    s->prune = fc_config_real(fed->cfg, "hetlora.prune");
    s->lambda = fc_config_real(fed->cfg, "hetlora.lambda");
  }
  return fc_agree(fed->comm, err);
}

static fc_err plan(fc_federation *fed, fc_round *round) {
  hetlora_state *s = fed->method_state;
  return fc_ranks_plan(fed, s->ranks, round);
}

/* ---- what lies beyond q -----------------------------------------------------------------------
 */

static int64_t kept_of(const hetlora_state *s, int64_t rank) {
  return (int64_t)floor(s->prune * (double)rank);
}

/* Norms of B[:, q:] and A[q:, :] of the layer whose A is `a`. */
typedef struct {
  double b, a;
} tail_norms;
static tail_norms norms_beyond(const fc_trainable_part *a, const float *theta, int64_t q) {
  const fc_trainable_part *b = a + 1;
  double sum = 0;
  for (int64_t o = 0; o < b->rows; o++)
    sum += fc_k_sum_squares(theta + b->offset + (size_t)(o * b->cols + q), b->cols - q);
  const float *rows = theta + a->offset + (size_t)(q * a->cols);
  return (tail_norms){sqrt(sum), sqrt(fc_k_sum_squares(rows, (a->rows - q) * a->cols))};
}

/* sum over layers of |B[:, q:]|_F |A[q:, :]|_F. */
static double tail_of(const hetlora_state *s, const fc_trainable *t, const float *theta) {
  size_t n = 0;
  double sum = 0;
  int64_t q = kept_of(s, fc_trainable_lora(t).rank);
  const fc_trainable_part *part = fc_trainable_parts(t, &n);
  for (size_t i = 0; i < n; i++) {
    if (part[i].kind != 'A') continue;
    tail_norms norms = norms_beyond(&part[i], theta, q);
    sum += norms.b * norms.a;
  }
  return sum;
}

/* d/dB = lambda |A| B/|B|, d/dA = lambda |B| A/|A|; 0 where a norm is. */
static void regularise(const fc_federation *fed, const fc_participant *p, const float *theta,
                       float *gradient) {
  const hetlora_state *s = fed->method_state;
  const fc_trainable *t = fc_trainable_of(fed, p);
  int64_t q = kept_of(s, fc_trainable_lora(t).rank);
  size_t n = 0;
  const fc_trainable_part *part = fc_trainable_parts(t, &n);
  for (size_t i = 0; i < n; i++) {
    const fc_trainable_part *a = &part[i], *b = a + 1;
    if (a->kind != 'A') continue;
    tail_norms norms = norms_beyond(a, theta, q);
    if (!(norms.a > 0 && norms.b > 0)) continue;
    size_t beyond = a->offset + (size_t)(q * a->cols);
    fc_k_axpy(gradient + beyond, (float)(s->lambda * norms.b / norms.a), theta + beyond,
              (a->rows - q) * a->cols);
    for (int64_t o = 0; o < b->rows; o++) {
      beyond = b->offset + (size_t)(o * b->cols + q);
      fc_k_axpy(gradient + beyond, (float)(s->lambda * norms.a / norms.b), theta + beyond,
                b->cols - q);
    }
  }
}

/* ---- a round ----------------------------------------------------------------------------------
 */

/* The rank that the participant keeps. */
static int64_t pruned(const fc_federation *fed, const fc_participant *p, double before,
                      const float *theta) {
  const hetlora_state *s = fed->method_state;
  const fc_trainable *t = fc_trainable_of(fed, p);
  int64_t rank = fc_trainable_lora(t).rank, q = kept_of(s, rank);
  int64_t least = fc_config_int(fed->cfg, "lowrank.min_rank");
  if (q < least) q = least;
  return q < rank && tail_of(s, t, theta) < before ? q : rank;
}

/* Room for own participants. */
static fc_err make_room(hetlora_state *s, const fc_round *round) {
  FC_TRY(fc_realloc(round->count, sizeof *s->tail, &s->tail));
  return fc_realloc(round->count, sizeof *s->kept, &s->kept);
}

/* The new ranks become known everywhere. */
static fc_err tell_ranks(fc_federation *fed, const fc_round *round) {
  const hetlora_state *s = fed->method_state;
  double *own = NULL, *all = NULL;
  fc_err err = fc_alloc(round->count, sizeof *own, &own);
  if (err == FC_ERR_OK) err = fc_alloc(round->n, sizeof *all, &all);
  err = fc_agree(fed->comm, err);
  for (uint32_t i = 0; err == FC_ERR_OK && i < round->count; i++) own[i] = (double)s->kept[i];
  if (err == FC_ERR_OK) err = fc_plan_gather(fed, round, own, all);
  for (uint32_t i = 0; err == FC_ERR_OK && i < round->n; i++)
    s->ranks->rank[round->all[i].device] = (int64_t)all[i];
  fc_free(own);
  fc_free(all);
  return err;
}

static fc_err train(fc_federation *fed, fc_round *round) {
  hetlora_state *s = fed->method_state;
  FC_TRY(fc_agree(fed->comm, make_room(s, round)));
  fc_ranks_narrow(fed, round);
  for (uint32_t i = 0; i < round->count; i++)
    s->tail[i] = tail_of(s, fc_trainable_of(fed, &round->all[round->first + i]),
                         round->theta + (size_t)i * fed->P);
  FC_TRY(fc_agree(fed->comm, fc_train_participants(fed, round)));
  for (uint32_t i = 0; i < round->count; i++)
    s->kept[i] =
        pruned(fed, &round->all[round->first + i], s->tail[i], round->theta + (size_t)i * fed->P);
  FC_TRY(fc_ranks_widen(fed, round, s->kept));
  FC_TRY(tell_ranks(fed, round));
  return fc_plan_deliver(fed, round);
}

/* The rank that it came with goes down, the one that it keeps up. */
static void bill(const fc_federation *fed, const fc_round *round, fc_participant *p) {
  const hetlora_state *s = fed->method_state;
  (void)round;
  double down = (double)fc_trainable_count(fc_trainable_of(fed, p));
  fc_ranks_bill(fed, s->ranks, p, down, fc_ranks_weights(fed, (double)s->ranks->rank[p->device]));
}

/* ---- the server -------------------------------------------------------------------------------
 */

/* weight (count) <- |B_k A_k|_F of own participants' layer, relative to all that arrived. */
static fc_err weigh_layer(const fc_federation *fed, const fc_round *round, const fc_delivery *d,
                          const fc_trainable_part *a, double *weight) {
  const fc_trainable_part *b = a + 1;
  double sums[2], *both = weight + round->count; /* (count, 2): norm, 1 if it arrived */
  for (uint32_t i = 0; i < round->count; i++) {
    const float *theta = round->theta + (size_t)i * fed->P;
    int64_t r = (int64_t)d->rank[round->first + i];
    both[2 * i] =
        fc_product_norm(b->rows, a->cols, r, theta + b->offset, b->cols, theta + a->offset);
    both[2 * i + 1] = r > 0;
  }
  FC_TRY(fc_exact_sums(fed->comm, both, round->count, 2, sums));
  int by = sums[0] > 0 ? 0 : 1;
  for (uint32_t i = 0; i < round->count; i++) weight[i] = both[2 * i + by] / sums[by];
  return FC_ERR_OK;
}

/* Both factors of a layer lie next to each other. `mean` has room for them. */
static fc_err average_layer(fc_federation *fed, const fc_round *round, const double *weight,
                            const fc_trainable_part *a, float *mean) {
  const fc_trainable_part *b = a + 1;
  int64_t n = a->rows * a->cols + b->rows * b->cols;
  double largest = 0;
  fc_mean *m = NULL;
  for (uint32_t i = 0; i < round->count; i++)
    if (weight[i] > 0)
      largest = fc_exact_larger(
          largest, (double)fc_k_max_abs(round->theta + (size_t)i * fed->P + a->offset, n));
  FC_TRY(fc_mean_create(fed->comm, (size_t)n, largest, &m));
  fc_mean_add(m, round->theta + a->offset, (int64_t)fed->P, NULL, weight, round->count);
  fc_err err = fc_mean_take(m, mean);
  if (fed->comm->rank == 0) memcpy(fed->theta + a->offset, mean, (size_t)n * sizeof *mean);
  fc_mean_destroy(&m);
  return err;
}

static fc_err average_layers(fc_federation *fed, fc_round *round, const fc_delivery *d) {
  size_t n = 0;
  const fc_trainable_part *part = fc_trainable_parts(fed->task.trainable, &n);
  double *weight = NULL; /* (count), and weigh_layer's own */
  float *mean = NULL;
  fc_err err = fc_alloc((size_t)round->count * 3, sizeof *weight, &weight);
  if (err == FC_ERR_OK) err = fc_alloc(fed->P, sizeof *mean, &mean);
  err = fc_agree(fed->comm, err);
  for (size_t i = 0; err == FC_ERR_OK && i < n; i++) {
    if (part[i].kind != 'A') continue;
    err = weigh_layer(fed, round, d, &part[i], weight);
    if (err == FC_ERR_OK) err = average_layer(fed, round, weight, &part[i], mean);
  }
  if (err == FC_ERR_OK) err = fc_comm_broadcast(fed->comm, fed->theta, fed->P * sizeof(float), 0);
  fc_free(weight);
  fc_free(mean);
  return err;
}

/* The mean first, for the modules trained whole; then the layers' own weights replace its factors.
 */
static fc_err server(fc_federation *fed, fc_round *round) {
  const hetlora_state *s = fed->method_state;
  fc_delivery d = {0};
  FC_TRY(fc_aggregate_mean(fed, round));
  fc_err err = fc_delivery_find(fed, round, s->kept, &d);
  if (err == FC_ERR_OK && d.any) err = average_layers(fed, round, &d);
  if (err == FC_ERR_OK && fc_config_bool(fed->cfg, "federation.aggregation_error"))
    err = fc_factors_error(fed, round, &d);
  fc_delivery_destroy(&d);
  return err;
}

static void save(fc_federation *fed, fc_store_file *f) {
  const hetlora_state *s = fed->method_state;
  fc_ranks_save(fed, s->ranks, f);
}

static fc_err load(fc_federation *fed, const fc_store_reader *r) {
  hetlora_state *s = fed->method_state;
  return fc_ranks_load(s->ranks, r);
}

const fc_method fc_method_hetlora = {
    .name = "hetlora",
    .meaning =
        "devices of their own LoRA rank: truncated down, padded and averaged by the norms of "
        "their products; ranks are pruned on the way",
    .uses_radio = true,
    .create = create,
    .destroy = destroy,
    .check = fc_ranks_check,
    .plan = plan,
    .train = train,
    .server = server,
    .evaluate = fc_evaluate_theta,
    .regularise = regularise,
    .bill = bill,
    .expect = fc_ranks_expect,
    .more_bytes = fc_layers_more_bytes,
    .save = save,
    .load = load,
};
