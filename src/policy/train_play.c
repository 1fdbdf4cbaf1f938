/* train_play.c - the answers of an iteration: each rank plays its own episodes, all side by
 * side, and ranks then give each other what came of them. Answers, and so all that follows from
 * them, depend on the episode alone, not on who plays it. */
#include "fedcell/fc_mem.h"
#include "train.h"
#include <string.h>

/* ---- answers --------------------------------------------------------------------------------- */

/* What ranks give each other of an answer: where, and how many bytes. */
enum { ROWS = 8 };
typedef struct {
  void **memory;
  size_t bytes;
} row;

static void rows_of(fc_answers *a, row rows[ROWS]) {
  const row all[ROWS] = {
      {(void **)&a->prompt, (size_t)a->prompt_max * sizeof *a->prompt},
      {(void **)&a->answer, (size_t)a->answer_max * sizeof *a->answer},
      {(void **)&a->prompt_n, sizeof *a->prompt_n},
      {(void **)&a->answer_n, sizeof *a->answer_n},
      {(void **)&a->invalid, sizeof *a->invalid},
      {(void **)&a->rule, sizeof *a->rule},
      {(void **)&a->accuracy, sizeof *a->accuracy},
      {(void **)&a->energy_j, sizeof *a->energy_j},
  };
  memcpy(rows, all, sizeof all);
}

fc_err fc_answers_create(const fc_llm *llm, fc_episodes of, fc_answers *a) {
  int answer = fc_llm_answer_max(llm);
  const fc_tokens *prefix = fc_llm_prefix(llm);
  *a = (fc_answers){.of = of,
                    .n = of.episodes * of.rounds,
                    .prompt_max = fc_llm_length_max(llm) - answer - (int)prefix->n,
                    .answer_max = answer,
                    .prefix = prefix};
  size_t n = (size_t)a->n, tokens = n * (size_t)answer;
  row rows[ROWS];
  rows_of(a, rows);
  fc_err err = FC_ERR_OK;
  for (int i = 0; i < ROWS && err == FC_ERR_OK; i++)
    err = fc_alloc(n, rows[i].bytes, rows[i].memory);
  if (err == FC_ERR_OK) err = fc_alloc(n, sizeof *a->reward, &a->reward);
  if (err == FC_ERR_OK) err = fc_alloc(n, sizeof *a->advantage, &a->advantage);
  if (err == FC_ERR_OK) err = fc_alloc(n, sizeof *a->value, &a->value);
  if (err == FC_ERR_OK) err = fc_alloc(n, sizeof *a->returns, &a->returns);
  if (err == FC_ERR_OK) err = fc_alloc(tokens, sizeof *a->old, &a->old);
  if (err == FC_ERR_OK) err = fc_alloc(tokens, sizeof *a->reference, &a->reference);
  return err; /* the caller destroys it */
}

void fc_answers_destroy(fc_answers *a) {
  row rows[ROWS];
  rows_of(a, rows);
  for (int i = 0; i < ROWS; i++) fc_free(*rows[i].memory);
  fc_free(a->reward);
  fc_free(a->advantage);
  fc_free(a->value);
  fc_free(a->returns);
  fc_free(a->old);
  fc_free(a->reference);
  *a = (fc_answers){0};
}

/* Every rank's answers to all. */
static fc_err exchange(const fc_comm *comm, fc_answers *a) {
  row rows[ROWS];
  rows_of(a, rows);
  for (int rank = 0; rank < comm->size; rank++) {
    int64_t first = 0, own = 0;
    fc_comm_share(a->of.episodes, comm->size, rank, &first, &own);
    for (int i = 0; i < ROWS; i++) {
      size_t bytes = (size_t)a->of.rounds * rows[i].bytes;
      FC_TRY(fc_comm_broadcast(comm, (char *)*rows[i].memory + (size_t)first * bytes,
                               (size_t)own * bytes, rank));
    }
  }
  return FC_ERR_OK;
}

/* ---- playing --------------------------------------------------------------------------------- */

fc_err fc_play_create(fc_play *r, fc_environment_opener *open, void *arg) {
  fc_err err = FC_ERR_OK;
  fc_comm_share(r->set->episodes, r->comm->size, r->comm->rank, &r->first, &r->own);
  if (r->own > 0) err = open(arg, (int)r->own, &r->environment);
  if (err == FC_ERR_OK && r->own > 0)
    err = fc_generator_create(fc_llm_model(r->llm), r->trainable, (int)r->own,
                              fc_llm_length_max(r->llm), &r->generator);
  return fc_agree(r->comm, err); /* the caller destroys it */
}

void fc_play_destroy(fc_play *r) {
  fc_environment_close(&r->environment);
  fc_generator_destroy(&r->generator);
}

/* Where a round's own work lies. Arrays of this rank's episodes. */
typedef struct {
  fc_prompt *prompts;
  fc_decision *decisions;
  fc_outcome *outcomes;
  fc_episode *episodes;
  uint8_t *select; /* (own, N) */
  int32_t *ids;    /* (own, answer_max) */
  int *length;
  fc_tokens tokens; /* of one observation */
} desk;

static fc_err desk_create(const fc_play *r, int answer_max, int devices, desk *d) {
  size_t own = (size_t)r->own;
  FC_TRY(fc_alloc(own, sizeof *d->prompts, &d->prompts));
  FC_TRY(fc_alloc(own, sizeof *d->decisions, &d->decisions));
  FC_TRY(fc_alloc(own, sizeof *d->outcomes, &d->outcomes));
  FC_TRY(fc_alloc(own, sizeof *d->episodes, &d->episodes));
  FC_TRY(fc_alloc(own * (size_t)devices, sizeof *d->select, &d->select));
  FC_TRY(fc_alloc(own * (size_t)answer_max, sizeof *d->ids, &d->ids));
  return fc_alloc(own, sizeof *d->length, &d->length);
}

static void desk_destroy(desk *d) {
  fc_free(d->prompts);
  fc_free(d->decisions);
  fc_free(d->outcomes);
  fc_free(d->episodes);
  fc_free(d->select);
  fc_free(d->ids);
  fc_free(d->length);
  fc_tokens_free(&d->tokens);
}

/* Number of an answer of this rank's episode e among all; t from 0. */
static int64_t number(const fc_play *r, const fc_answers *a, int64_t e, int64_t t) {
  return (r->first + e) * a->of.rounds + t;
}

/* Names an answer's draws: no other answer of the training has the same. */
static uint64_t draw_id(int64_t iteration, const fc_answers *a, int64_t i) {
  return (uint64_t)(iteration * a->n + i);
}

/* All episodes of a batch have the same seed, so that they begin in the same state. */
static fc_err begin(const fc_play *r, int64_t iteration, desk *d) {
  fc_rng rng = fc_rng_open(r->set->seed, FC_RNG_REPLAY, (uint64_t)iteration, 0);
  uint64_t seed = fc_rng_u64(&rng) >> 32; /* results keep seeds as doubles */
  for (int64_t e = 0; e < r->own; e++)
    d->episodes[e] =
        (fc_episode){.seed = seed, .id = (uint64_t)(iteration * r->set->episodes + r->first + e)};
  return fc_environment_reset(r->environment, d->episodes);
}

static fc_err observe(const fc_play *r, int64_t iteration, int64_t t, desk *d, fc_answers *a) {
  for (int64_t e = 0; e < r->own; e++) {
    int64_t i = number(r, a, e, t);
    int32_t *prompt = a->prompt + i * a->prompt_max;
    d->tokens.n = 0;
    FC_TRY(fc_llm_observe(r->llm, fc_environment_state(r->environment, (int)e), &d->tokens));
    memcpy(prompt, d->tokens.id, d->tokens.n * sizeof *prompt);
    a->prompt_n[i] = (int32_t)d->tokens.n;
    d->prompts[e] =
        (fc_prompt){.tokens = prompt, .n = a->prompt_n[i], .id = draw_id(iteration, a, i)};
  }
  return FC_ERR_OK;
}

static fc_err answer(const fc_play *r, const float *theta, int64_t t, desk *d, fc_answers *a) {
  int end = fc_llm_end(r->llm),
      devices = fc_scenario_settings(fc_environment_scenario(r->environment))->devices;
  const fc_generate_settings settings = {.steps = a->answer_max,
                                         .temperature = r->set->temperature,
                                         .top_p = r->set->top_p,
                                         .seed = r->set->seed,
                                         .stop = {end, -1}};
  FC_TRY(
      fc_generator_run(r->generator, theta, d->prompts, (int)r->own, &settings, d->ids, d->length));
  for (int64_t e = 0; e < r->own; e++) {
    int64_t i = number(r, a, e, t);
    int32_t *ids = d->ids + e * a->answer_max, n = d->length[e];
    uint8_t *select = d->select + e * devices;
    a->invalid[i] = !fc_llm_read_answer(r->llm, ids, n, select);
    d->decisions[e] = (fc_decision){.select = select};
    if (n < a->answer_max) ids[n++] = end; /* stopping was chosen as well */
    memcpy(a->answer + i * a->answer_max, ids, (size_t)n * sizeof *ids);
    a->answer_n[i] = n;
  }
  return FC_ERR_OK;
}

static fc_err step(const fc_play *r, int64_t t, desk *d, fc_answers *a) {
  FC_TRY(fc_environment_step(r->environment, d->decisions, d->outcomes));
  for (int64_t e = 0; e < r->own; e++) {
    int64_t i = number(r, a, e, t);
    a->rule[i] = d->outcomes[e].reward;
    a->accuracy[i] = d->outcomes[e].accuracy;
    a->energy_j[i] = d->outcomes[e].energy_j;
  }
  return FC_ERR_OK;
}

static fc_err play(const fc_play *r, int64_t iteration, const float *theta, desk *d,
                   fc_answers *a) {
  FC_TRY(fc_generator_set_prefix(r->generator, theta, a->prefix->id, (int)a->prefix->n));
  FC_TRY(begin(r, iteration, d));
  for (int64_t t = 0; t < a->of.rounds; t++) {
    FC_TRY(observe(r, iteration, t, d, a));
    FC_TRY(answer(r, theta, t, d, a));
    FC_TRY(step(r, t, d, a));
  }
  return FC_ERR_OK;
}

fc_err fc_play_run(fc_play *r, int64_t iteration, const float *theta, fc_answers *a) {
  fc_err err = FC_ERR_OK;
  if (r->own > 0) {
    desk d = {0};
    int devices = fc_scenario_settings(fc_environment_scenario(r->environment))->devices;
    err = desk_create(r, a->answer_max, devices, &d);
    if (err == FC_ERR_OK) err = play(r, iteration, theta, &d, a);
    desk_destroy(&d);
  }
  FC_TRY(fc_agree(r->comm, err));
  return exchange(r->comm, a);
}
