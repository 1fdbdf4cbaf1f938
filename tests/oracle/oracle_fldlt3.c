/* oracle_fldlt3.c - TD3 on FL-DLT3's recurrent networks for test_fldlt3_parity.py.
 *
 *   oracle_fldlt3 JOB.json DATA.safetensors OUT.safetensors
 *
 * JOB: the members of fc_td3_settings, and "steps". DATA: the episodes E as the replay holds them,
 * "state" (E, K, S), "action" (E, K, A), "reward" (E, K); and what networks read when all of them
 * run side by side, time-major: "rows/state", "rows/past", "rows/joint" (td3.h). NET is actor,
 * critic0, critic1. OUT gets "begin/NET.PART" and "begin_target/NET.PART", the first weights;
 * "out/NET", its outputs of the rows; "grad/NET.PART", of the first update that changes it; of the
 * updates "batch" (steps, batch), the episodes drawn, "noise" (steps batch K, A), the standard
 * normal numbers behind the target's actions, and "report/NAME" (1, steps), 0 for NaN; after them
 * "end/NET.PART" and "end_target/NET.PART". Exit code 1 with a message when anything fails. */
#include "../../src/policy/td3.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_rng.h"
#include "fedcell/fc_safetensors.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TENSORS = 200 };

typedef struct {
  fc_comm *comm;
  json_t *json;
  fc_safetensors *data;
  fc_td3 td3;
  fc_replay replay;
  int64_t steps;
  float *batch, *noise, *reports; /* (steps, batch), (steps, batch, K, A), (REPORTS, steps) */
  fc_safetensor_source tensors[TENSORS];
  char names[TENSORS][256];
  size_t n;
} job;

static double number(const job *j, const char *key) {
  return json_number_value(json_object_get(j->json, key));
}

/* ---- reading ----------------------------------------------------------------------------------
 */

static fc_td3_settings read_settings(const job *j) {
  return (fc_td3_settings){.states = (int)number(j, "states"),
                           .actions = (int)number(j, "actions"),
                           .rounds = (int)number(j, "rounds"),
                           .hidden = (int)number(j, "hidden"),
                           .predict = json_is_true(json_object_get(j->json, "predict")),
                           .learning_rate = number(j, "learning_rate"),
                           .gamma = number(j, "gamma"),
                           .tau = number(j, "tau"),
                           .delay = (int)number(j, "delay"),
                           .noise = number(j, "noise"),
                           .noise_limit = number(j, "noise_limit"),
                           .batch = (int)number(j, "batch"),
                           .seed = (uint64_t)number(j, "seed")};
}

static fc_err read_array(const job *j, const char *name, int64_t n, float *out) {
  const fc_safetensor *t = fc_safetensors_find(j->data, name);
  FC_CHECK(t && fc_safetensor_elements(t) == n, DATA, "the data have no %lld numbers %s",
           (long long)n, name);
  return fc_safetensor_read_f32(t, out);
}

static fc_err read_replay(job *j, const fc_td3_settings *s) {
  const fc_safetensor *reward = fc_safetensors_find(j->data, "reward");
  FC_CHECK(reward, DATA, "the data have no rewards");
  const int64_t rows = fc_safetensor_elements(reward);
  FC_TRY(fc_replay_create(s, rows, &j->replay));
  for (int64_t e = 0; e < rows / s->rounds; e++) fc_replay_put(&j->replay);
  FC_TRY(read_array(j, "state", rows * s->states, j->replay.state));
  FC_TRY(read_array(j, "action", rows * s->actions, j->replay.action));
  return read_array(j, "reward", rows, j->replay.reward);
}

/* ---- writing ----------------------------------------------------------------------------------
 */

static fc_err put(job *j, const char *name, int64_t rows, int64_t cols, const float *values) {
  float *copy = NULL;
  FC_CHECK(j->n < TENSORS, SHAPE, "more than %d tensors", TENSORS);
  FC_TRY(fc_alloc((size_t)(rows * cols), sizeof *copy, &copy));
  memcpy(copy, values, (size_t)(rows * cols) * sizeof *copy);
  snprintf(j->names[j->n], sizeof j->names[0], "%s", name);
  j->tensors[j->n] = (fc_safetensor_source){
      .name = j->names[j->n], .dims = 2, .shape = {rows, cols}, .data = copy};
  j->n++;
  return FC_ERR_OK;
}

static fc_err put_parts(job *j, const char *before, const fc_recurrent_shape *shape,
                        const float *theta) {
  fc_recurrent_part part[FC_RECURRENT_PARTS];
  char name[192];
  fc_recurrent_parts(shape, part);
  for (int i = 0; i < FC_RECURRENT_PARTS; i++) {
    snprintf(name, sizeof name, "%s.%s", before, part[i].name);
    FC_TRY(put(j, name, part[i].rows, part[i].cols, theta + part[i].offset));
  }
  return FC_ERR_OK;
}

static fc_err put_critics(job *j, const char *before, const float *critics) {
  char name[96];
  for (int c = 0; c < 2; c++) {
    snprintf(name, sizeof name, "%s/critic%d", before, c);
    FC_TRY(put_parts(j, name, &j->td3.critic_shape, critics + (size_t)c * j->td3.critic_count));
  }
  return FC_ERR_OK;
}

static fc_err put_actor(job *j, const char *before, const float *actor) {
  char name[96];
  snprintf(name, sizeof name, "%s/actor", before);
  return put_parts(j, name, &j->td3.actor_shape, actor);
}

/* `when`: begin or end. */
static fc_err put_networks(job *j, const char *when) {
  char target[32];
  snprintf(target, sizeof target, "%s_target", when);
  FC_TRY(put_actor(j, when, j->td3.actor));
  FC_TRY(put_actor(j, target, j->td3.actor_target));
  FC_TRY(put_critics(j, when, j->td3.critics));
  return put_critics(j, target, j->td3.critics_target);
}

/* ---- computing --------------------------------------------------------------------------------
 */

/* Targets differ from their networks from the beginning, so that none passes for the other; and all
 * heed what they read, which new networks hardly do. */
static void stir(float *theta, size_t n, uint64_t which) {
  fc_rng rng = fc_rng_open(2, FC_RNG_TEST, which, 0);
  for (size_t i = 0; i < n; i++) theta[i] += (float)(0.3 * fc_rng_normal(&rng));
}

static fc_err make(job *j) {
  const fc_td3_settings s = read_settings(j);
  j->steps = (int64_t)number(j, "steps");
  FC_TRY(read_replay(j, &s));
  FC_TRY(fc_td3_create(j->comm, &s, 1, &j->td3));
  fc_td3 *t = &j->td3;
  stir(t->actor, t->actor_count, 0);
  stir(t->actor_target, t->actor_count, 1);
  stir(t->critics, 2 * t->critic_count, 2);
  stir(t->critics_target, 2 * t->critic_count, 3);
  return FC_ERR_OK;
}

static fc_err put_out(job *j, const char *name, const fc_recurrent_shape *shape, const float *theta,
                      const char *rows_of_a) {
  const int K = j->td3.set.rounds;
  const int64_t E = fc_replay_held(&j->replay), rows = E * K;
  float *a = NULL, *b = NULL;
  fc_recurrent *r = NULL;
  FC_TRY(fc_alloc((size_t)(rows * shape->a), sizeof *a, &a));
  FC_TRY(fc_alloc((size_t)(rows * shape->b), sizeof *b, &b));
  FC_TRY(read_array(j, rows_of_a, rows * shape->a, a));
  FC_TRY(read_array(j, "rows/past", rows * shape->b, b));
  FC_TRY(fc_recurrent_create(shape, (int)E, K, false, &r));
  return put(j, name, rows, shape->outputs, fc_recurrent_forward(r, theta, a, b, (int)E, K));
}

static fc_err put_outs(job *j) {
  const fc_td3 *t = &j->td3;
  FC_TRY(put_out(j, "out/actor", &t->actor_shape, t->actor, "rows/state"));
  FC_TRY(put_out(j, "out/critic0", &t->critic_shape, t->critics, "rows/joint"));
  return put_out(j, "out/critic1", &t->critic_shape, t->critics + t->critic_count, "rows/joint");
}

/* *out (n) <- the gradient that an optimiser's first step saw: its first moment is (1 - beta1) of
 * it. */
static fc_err first_gradient(fc_descent *d, float **out) {
  const fc_optimizer *o = fc_descent_optimizer(d);
  FC_TRY(fc_alloc(o->n, sizeof **out, out));
  for (size_t i = 0; i < o->n; i++) (*out)[i] = o->state[i] / (1 - o->settings.beta1);
  return FC_ERR_OK;
}

static fc_err put_gradients(job *j) {
  float *gradient = NULL;
  if (j->td3.updates == 1) {
    FC_TRY(first_gradient(j->td3.critic_descent, &gradient));
    FC_TRY(put_critics(j, "grad", gradient));
  }
  if (j->td3.updates == j->td3.set.delay) {
    FC_TRY(first_gradient(j->td3.actor_descent, &gradient));
    FC_TRY(put_actor(j, "grad", gradient));
  }
  return FC_ERR_OK;
}

/* What update u drew: the stream is that of td3.c's smoothing. */
static void note_draws(job *j, int64_t u) {
  const fc_td3_settings *s = &j->td3.set;
  const int64_t numbers = (int64_t)s->rounds * s->actions;
  for (int64_t i = u * s->batch; i < (u + 1) * s->batch; i++) {
    fc_rng rng = fc_rng_open(s->seed, FC_RNG_EXPLORATION, (uint64_t)1 << 63, (uint64_t)i);
    j->batch[i] = (float)j->td3.episode[i - u * s->batch];
    for (int64_t k = 0; k < numbers; k++) j->noise[i * numbers + k] = (float)fc_rng_normal(&rng);
  }
}

enum { REPORTS = 5 };
static const char *const report_names[REPORTS] = {"report/value_loss", "report/value",
                                                  "report/critic_gradient", "report/actor_value",
                                                  "report/prediction_error"};

static void note_report(job *j, int64_t u, const fc_td3_report *r) {
  const double x[REPORTS] = {r->value_loss, r->value, r->critic_gradient, r->actor_value,
                             r->prediction_error};
  for (int i = 0; i < REPORTS; i++) j->reports[i * j->steps + u] = isnan(x[i]) ? 0 : (float)x[i];
}

static fc_err train(job *j) {
  const fc_td3_settings *s = &j->td3.set;
  const int64_t units = j->steps * s->batch, rows = units * s->rounds;
  FC_TRY(fc_alloc((size_t)units, sizeof *j->batch, &j->batch));
  FC_TRY(fc_alloc((size_t)(rows * s->actions), sizeof *j->noise, &j->noise));
  FC_TRY(fc_alloc((size_t)(REPORTS * j->steps), sizeof *j->reports, &j->reports));
  for (int64_t u = 0; u < j->steps; u++) {
    fc_td3_report report;
    FC_TRY(fc_td3_update(&j->td3, &j->replay, &report));
    note_draws(j, u);
    note_report(j, u, &report);
    FC_TRY(put_gradients(j));
  }
  FC_TRY(put(j, "batch", j->steps, s->batch, j->batch));
  FC_TRY(put(j, "noise", rows, s->actions, j->noise));
  for (int i = 0; i < REPORTS; i++)
    FC_TRY(put(j, report_names[i], 1, j->steps, j->reports + i * j->steps));
  return FC_ERR_OK;
}

static fc_err run(job *j, char **argv) {
  json_error_t problem;
  j->json = json_load_file(argv[1], 0, &problem);
  FC_CHECK(j->json, DATA, "%s:%d: %s", argv[1], problem.line, problem.text);
  FC_TRY(fc_safetensors_open(argv[2], &j->data));
  FC_TRY(make(j));
  FC_TRY(put_networks(j, "begin"));
  FC_TRY(put_outs(j));
  FC_TRY(train(j));
  FC_TRY(put_networks(j, "end"));
  return fc_safetensors_write(argv[3], j->tensors, j->n, NULL);
}

int main(int argc, char **argv) {
  static job j; /* the process's end frees what it holds */
  if (argc != 4) {
    fprintf(stderr, "usage: oracle_fldlt3 JOB.json DATA.safetensors OUT.safetensors\n");
    return 1;
  }
  setenv("OMPI_MCA_ess_singleton_isolated", "1", 0); /* no daemon for a process without mpirun */
  MPI_Init(&argc, &argv);
  fc_err err = fc_comm_create(&j.comm);
  if (err == FC_ERR_OK) err = run(&j, argv);
  if (err != FC_ERR_OK) fprintf(stderr, "oracle_fldlt3: %s\n", fc_err_message());
  fc_comm_destroy(&j.comm);
  MPI_Finalize();
  return err == FC_ERR_OK ? 0 : 1;
}
