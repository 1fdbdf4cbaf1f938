/* bench_trainer.c - see bench_trainer.h. */
#include "bench_trainer.h"
#include "bench.h"
#include "bench_case.h"
#include "fedcell/fc_comm.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_optimizer.h"
#include "fedcell/fc_peft.h"
#include "fedcell/fc_weights.h"
#include <omp.h>
#include <string.h>

/* What a thread needs for a cohort. */
typedef struct {
  fc_work *work;
  fc_member *members;       /* (cohort) */
  fc_optimizer *optimizers; /* (cohort) */
  float *gradients;         /* (cohort, P) */
  float *states;            /* (cohort, optimiser state) */
} thread_room;

struct fc_trainer {
  fc_trainer_case c;
  fc_bench_model m;
  fc_trainable *trainable;
  fc_optimizer_settings optimizer;
  size_t P;
  float *initial;            /* (P) */
  float *theta;              /* (devices, P) */
  int32_t *tokens, *targets; /* (devices, batch, length) */
  int64_t *start;            /* (cohort x batch + 1): all sequences are of one length */
  double *loss;              /* (steps, devices) */
  int threads;
  thread_room *room; /* (threads) */
};

/* ---- set-up ---------------------------------------------------------------------------------- */

static fc_err create_adapter(fc_trainer *t) {
  static const char *const targets[] = {"c_attn"};
  const fc_trainable_spec spec = {.targets = targets, .n_targets = 1, .lora_rank = 8, .alpha = 16};
  FC_TRY(fc_trainable_create(t->m.model, &spec, &t->trainable));
  t->P = fc_trainable_count(t->trainable);
  FC_TRY(fc_alloc(t->P, sizeof(float), &t->initial));
  fc_trainable_init(t->trainable, 2, t->initial);
  if (t->c.adapter) FC_TRY(fc_peft_read(t->m.model, t->trainable, t->c.adapter, t->initial));
  return fc_alloc((size_t)t->c.devices * t->P, sizeof(float), &t->theta);
}

/* Every token but a sequence's last has the next one as its target. */
static fc_err create_tokens(fc_trainer *t) {
  const fc_trainer_case *c = &t->c;
  size_t n = (size_t)c->devices * (size_t)c->batch * (size_t)c->length;
  size_t sequences = (size_t)c->cohort * (size_t)c->batch;
  FC_TRY(fc_alloc(n, sizeof *t->tokens, &t->tokens));
  FC_TRY(fc_alloc(n, sizeof *t->targets, &t->targets));
  FC_TRY(fc_alloc(sequences + 1, sizeof *t->start, &t->start));
  fc_rng rng = fc_rng_open(3, FC_RNG_TEST, 0, 0);
  for (size_t i = 0; i < n; i++)
    t->tokens[i] = c->tokens ? c->tokens[i] : (int32_t)fc_rng_below(&rng, (uint64_t)c->shape.vocab);
  for (size_t i = 0; i < n; i++)
    t->targets[i] = (i + 1) % (size_t)c->length ? t->tokens[i + 1] : FC_TARGET_IGNORE;
  for (size_t s = 0; s <= sequences; s++) t->start[s] = (int64_t)s * c->length;
  return fc_alloc((size_t)c->steps * (size_t)c->devices, sizeof *t->loss, &t->loss);
}

static fc_err create_room(const fc_trainer *t, thread_room *r) {
  const fc_trainer_case *c = &t->c;
  size_t cohort = (size_t)c->cohort;
  int sequences = c->cohort * c->batch;
  FC_TRY(fc_work_create(t->m.model, t->trainable, (int64_t)sequences * c->length, sequences,
                        c->length, FC_WORK_TRAIN, &r->work));
  FC_TRY(fc_alloc(cohort, sizeof *r->members, &r->members));
  FC_TRY(fc_alloc(cohort, sizeof *r->optimizers, &r->optimizers));
  FC_TRY(fc_alloc(cohort * t->P, sizeof(float), &r->gradients));
  return fc_alloc(cohort * fc_optimizer_state_count(&t->optimizer, t->P), sizeof(float),
                  &r->states);
}

static fc_err create(fc_trainer *t) {
  FC_TRY(fc_bench_model_create(t->c.shape, t->c.weights, t->c.bf16, &t->m));
  FC_TRY(create_adapter(t));
  FC_TRY(create_tokens(t));
  t->threads = omp_get_max_threads();
  FC_TRY(fc_alloc((size_t)t->threads, sizeof *t->room, &t->room));
  for (int i = 0; i < t->threads; i++) FC_TRY(create_room(t, &t->room[i]));
  return FC_ERR_OK;
}

fc_err fc_trainer_create(const fc_trainer_case *c, fc_trainer **out) {
  FC_TRY(fc_alloc(1, sizeof **out, out));
  (*out)->c = *c;
  (*out)->optimizer = (fc_optimizer_settings){.kind = fc_optimizer_find("adamw"),
                                              .learning_rate = c->learning_rate,
                                              .beta1 = 0.9F,
                                              .beta2 = 0.999F,
                                              .eps = 1e-8F,
                                              .schedule = "constant"};
  fc_err err = create(*out);
  if (err != FC_ERR_OK) fc_trainer_destroy(out);
  return err;
}

void fc_trainer_destroy(fc_trainer **trainer) {
  fc_trainer *t = *trainer;
  if (!t) return;
  for (int i = 0; t->room && i < t->threads; i++) {
    fc_work_destroy(&t->room[i].work);
    fc_free(t->room[i].members);
    fc_free(t->room[i].optimizers);
    fc_free(t->room[i].gradients);
    fc_free(t->room[i].states);
  }
  fc_free(t->room);
  fc_free(t->loss);
  fc_free(t->start);
  fc_free(t->targets);
  fc_free(t->tokens);
  fc_free(t->theta);
  fc_free(t->initial);
  fc_trainable_destroy(&t->trainable);
  fc_bench_model_destroy(&t->m);
  fc_free(t);
  *trainer = NULL;
}

/* ---- work ------------------------------------------------------------------------------------ */

/* One step of devices [first, first + n). */
static fc_err step(const fc_trainer *t, thread_room *r, int first, int n, int number) {
  const fc_trainer_case *c = &t->c;
  int64_t row = (int64_t)first * c->batch * c->length;
  memset(r->gradients, 0, (size_t)n * t->P * sizeof(float));
  for (int j = 0; j < n; j++)
    r->members[j] = (fc_member){.sequences = c->batch,
                                .theta = t->theta + (size_t)(first + j) * t->P,
                                .dtheta = r->gradients + (size_t)j * t->P};
  fc_batch batch = {.sequences = n * c->batch,
                    .start = t->start,
                    .tokens = t->tokens + row,
                    .targets = t->targets + row};
  FC_TRY(fc_model_cohort_grad(r->work, r->members, n, &batch, FC_LOSS_CAUSAL_LM, NULL));
  for (int j = 0; j < n; j++) {
    const fc_loss_result *loss = &r->members[j].result;
    t->loss[number * c->devices + first + j] = loss->loss_sum / (double)loss->count;
    FC_TRY(fc_optimizer_step(&r->optimizers[j], t->theta + (size_t)(first + j) * t->P,
                             r->gradients + (size_t)j * t->P));
  }
  return FC_ERR_OK;
}

static fc_err train_cohort(const fc_trainer *t, thread_room *r, int first, int n) {
  size_t state = fc_optimizer_state_count(&t->optimizer, t->P);
  for (int j = 0; j < n; j++) {
    memcpy(t->theta + (size_t)(first + j) * t->P, t->initial, t->P * sizeof(float));
    r->optimizers[j] = fc_optimizer_bind(&t->optimizer, t->P, r->states + (size_t)j * state);
  }
  for (int s = 0; s < t->c.steps; s++) FC_TRY(step(t, r, first, n, s));
  return FC_ERR_OK;
}

fc_err fc_trainer_run(void *trainer) {
  fc_trainer *t = trainer;
  int cohorts = (t->c.devices + t->c.cohort - 1) / t->c.cohort;
  if (cohorts < t->threads && t->c.devices >= t->threads) cohorts = t->threads;
  fc_err_carry carry = {0};
#pragma omp parallel for schedule(dynamic, 1) num_threads(cohorts < t->threads ? 1 : t->threads)
  for (int i = 0; i < cohorts; i++) {
    int64_t first = 0, n = 0;
    fc_comm_share(t->c.devices, cohorts, i, &first, &n);
    fc_err_carry_put(&carry, train_cohort(t, &t->room[omp_get_thread_num()], (int)first, (int)n));
  }
  return fc_err_carry_raise(&carry);
}

const fc_trainer_case *fc_trainer_get_case(const fc_trainer *t) {
  return &t->c;
}

double fc_trainer_tokens(const fc_trainer *t) {
  return (double)t->c.devices * t->c.batch * t->c.length * t->c.steps;
}

double fc_trainer_flop(const fc_trainer *t) {
  fc_flop_count f = fc_trainable_flop_per_token(t->trainable, t->c.length, true);
  return fc_trainer_tokens(t) * (f.forward_flop + f.backward_flop);
}

double fc_trainer_loss(const fc_trainer *t, int number) {
  double sum = 0;
  for (int d = 0; d < t->c.devices; d++) sum += t->loss[number * t->c.devices + d];
  return sum / t->c.devices;
}

/* ---- a case from a file ---------------------------------------------------------------------- */

/* Sequences of equal length, one for each batch of each device. */
static fc_err read_tokens(const char *path, const json_t *sequences, fc_trainer_case *c,
                          int32_t **out) {
  int n = 0;
  FC_TRY(fc_bench_case_tokens(path, sequences, &n, &c->length, out));
  FC_CHECK(n == (int64_t)c->devices * c->batch, DATA,
           "%s: %d sequences of tokens for %d devices x %d a batch", path, n, c->devices, c->batch);
  FC_CHECK(c->length >= 2, DATA, "%s: sequences must have at least 2 tokens", path);
  c->tokens = *out;
  return FC_ERR_OK;
}

static fc_err read_case(const char *path, json_t *o, fc_trainer_case *c, int32_t **tokens) {
  const char *precision = NULL;
  const json_t *sequences = NULL;
  double learning_rate = 0;
  json_error_t error;
  FC_CHECK(json_unpack_ex(o, &error, 0, "{s:s, s:s, s:o, s:i, s:i, s:i, s:F, s:i, s:s}", "model",
                          &c->weights, "adapter", &c->adapter, "tokens", &sequences, "devices",
                          &c->devices, "batch", &c->batch, "steps", &c->steps, "learning_rate",
                          &learning_rate, "cohort", &c->cohort, "precision", &precision) == 0,
           DATA, "%s: %s", path, error.text);
  c->learning_rate = (float)learning_rate;
  FC_TRY(fc_bench_case_precision(path, precision, &c->bf16));
  FC_CHECK(c->devices >= 1 && c->batch >= 1 && c->steps >= 1 && c->cohort >= 1, DATA,
           "%s: devices, batch, steps and cohort must be at least 1", path);
  FC_CHECK(c->cohort <= c->devices, DATA, "%s: cohort is %d, must be at most devices, which is %d",
           path, c->cohort, c->devices);
  FC_TRY(read_tokens(path, sequences, c, tokens));
  return fc_weights_read_shape(c->weights, 0, &c->shape);
}

fc_err fc_trainer_open(const char *path, fc_trainer **out) {
  fc_trainer_case c = {0};
  int32_t *tokens = NULL;
  json_t *o = NULL;
  *out = NULL;
  FC_TRY(fc_bench_case_load(path, &o));
  fc_err err = read_case(path, o, &c, &tokens);
  if (err == FC_ERR_OK) err = fc_trainer_create(&c, out);
  fc_free(tokens);
  if (*out) (*out)->c.tokens = NULL;
  if (*out) (*out)->c.weights = (*out)->c.adapter = NULL; /* they go with the file's text */
  json_decref(o);
  return err;
}
