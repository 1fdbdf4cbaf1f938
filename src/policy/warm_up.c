/* warm_up.c - the warm start: supervised fine-tuning on the answers of the eps-greedy tool, or on
 * all that were recorded.
 *
 * An example is a round of one of these trajectories: the prompt of its state and the devices
 * that took part. The loss is that of the answer's tokens alone. Every step's examples are read
 * from the trajectories when they are needed, so nothing grows with their number. */
#include "fedcell/fc_data.h"
#include "fedcell/fc_descent.h"
#include "fedcell/fc_hash.h"
#include "fedcell/fc_mem.h"
#include "llm.h"
#include "train.h"
#include <math.h>
#include <omp.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  int64_t steps, validate_every, checkpoint_every;
  int batch, micro_batch, validation_answers;
  uint64_t seed;
  bool permute, learns_selected, learns_all;
  double held_out;
} settings;

typedef struct { /* one thread's */
  fc_fl_state *state;
  double *values; /* (VALUES, N) of a state whose devices have new numbers */
  uint8_t *select;
  uint32_t *order;   /* (N) device n of the prompt is order[n] of the trajectory */
  fc_tokens tokens;  /* of one example, or of a micro-batch's prompts */
  size_t *start;     /* (micro_batch + 1) prompts in tokens */
  fc_prompt *prompt; /* (micro_batch) */
  int32_t *answer;   /* (micro_batch, answer_max) */
  int *length;       /* (micro_batch) */
} reader;

typedef struct {
  settings set;
  const fc_scenario *scenario;
  const fc_trajectories *t;
  const fc_llm *llm;
  fc_trainable *trainable;
  float *theta;
  uint32_t *examples; /* (learned + held): trajectory * K + round - 1 */
  size_t learned, held;
  uint32_t *drawn; /* examples of the step */
  int n;
  int64_t step;
  int threads;
  reader *reader;  /* (threads) */
  fc_pass *passes; /* (threads) */
  fc_descent *descent;
} warm_up;

static settings settings_of(const fc_config *cfg) {
#define INT(name) fc_config_int(cfg, "warm_up." name)
  return (settings){.steps = INT("steps"),
                    .validate_every = INT("validate_every"),
                    .checkpoint_every = INT("checkpoint_every"),
                    .batch = (int)INT("batch"),
                    .micro_batch = (int)INT("micro_batch"),
                    .validation_answers = (int)INT("validation_answers"),
                    .seed = (uint64_t)INT("seed"),
                    .permute = fc_config_bool(cfg, "warm_up.permute"),
                    .learns_all = strcmp(fc_config_string(cfg, "warm_up.teacher"), "all") == 0,
                    .learns_selected =
                        strcmp(fc_config_string(cfg, "warm_up.answers"), "selected") == 0,
                    .held_out = fc_config_real(cfg, "warm_up.held_out")};
#undef INT
}

/* ---- examples -------------------------------------------------------------------------------- */

static const uint8_t *chosen_in(const warm_up *w, uint32_t example) {
  const uint8_t *rows = w->set.learns_selected ? w->t->selected : w->t->served;
  return rows + (size_t)example * (size_t)w->t->devices;
}

/* The rounds of trajectory i in which somebody was chosen. */
static size_t add_rounds(const warm_up *w, int i, uint32_t *examples) {
  size_t n = 0;
  for (int64_t round = 0; round < w->t->rounds; round++) {
    uint32_t example = (uint32_t)(i * w->t->rounds + round);
    if (memchr(chosen_in(w, example), 1, (size_t)w->t->devices)) examples[n++] = example;
  }
  return n;
}

static bool teaches(const warm_up *w, int i) {
  return w->set.learns_all || w->t->by_tool[i];
}

static fc_err list_examples(warm_up *w) {
  int teachers = 0, passed = 0;
  FC_CHECK(w->t->n * w->t->rounds <= INT32_MAX, USAGE, "more than %d recorded rounds", INT32_MAX);
  FC_TRY(fc_alloc((size_t)(w->t->n * w->t->rounds), sizeof *w->examples, &w->examples));
  for (int i = 0; i < w->t->n; i++) teachers += teaches(w, i);
  int learned = teachers - (int)ceil(w->set.held_out * teachers);
  for (int i = 0; i < w->t->n; i++) {
    if (!teaches(w, i)) continue;
    size_t n = add_rounds(w, i, w->examples + w->learned + w->held);
    *(passed++ < learned ? &w->learned : &w->held) += n;
  }
  FC_CHECK(w->learned > 0, USAGE,
           "the warm start has nothing to learn from: %d of %d trajectories have answers of "
           "warm_up.teacher = %s, warm_up.held_out = %g of them are kept for validation",
           teachers, w->t->n, w->set.learns_all ? "all" : "tool", w->set.held_out);
  return FC_ERR_OK;
}

/* ---- reading one ----------------------------------------------------------------------------- */

enum { VALUES = 10 }; /* arrays of a state that a prompt may tell */

/* The same devices with new numbers: *out borrows from the reader. */
static void number_anew(const reader *r, fc_fl_state *out) {
  const fc_fl_state *s = r->state;
  const double *from[VALUES] = {s->f_max_hz, s->p_max_w, s->gain,       s->com_j,     s->cmp_j,
                                s->samples,  s->loss,    s->local_loss, s->alignment, s->same_sign};
  int N = s->devices;
  double *to[VALUES];
  for (int v = 0; v < VALUES; v++) {
    to[v] = r->values + (size_t)v * (size_t)N;
    for (int n = 0; n < N; n++) to[v][n] = from[v][r->order[n]];
  }
  *out = *s;
  out->f_max_hz = to[0], out->p_max_w = to[1], out->gain = to[2], out->com_j = to[3];
  out->cmp_j = to[4], out->samples = to[5], out->loss = to[6], out->local_loss = to[7];
  out->alignment = to[8], out->same_sign = to[9];
  out->loss_rms = NULL;
}

/* Appends the observation of an example, its devices in the reader's order, and leaves whom it
 * chose in r->select. */
static fc_err read_example(const warm_up *w, reader *r, uint32_t example) {
  const uint8_t *chosen = chosen_in(w, example);
  fc_fl_state shown;
  FC_TRY(fc_trajectories_state(w->t, w->scenario, (int)(example / w->t->rounds),
                               example % w->t->rounds + 1, r->state));
  number_anew(r, &shown);
  for (int n = 0; n < w->t->devices; n++) r->select[n] = chosen[r->order[n]];
  return fc_llm_observe(w->llm, &shown, &r->tokens);
}

static void keep_order(const warm_up *w, reader *r) {
  for (int n = 0; n < w->t->devices; n++) r->order[n] = (uint32_t)n;
}

static fc_err add_text(const warm_up *w, reader *r, fc_pass *p, uint32_t example) {
  r->tokens.n = 0;
  FC_TRY(read_example(w, r, example));
  size_t prompt = r->tokens.n;
  FC_TRY(fc_llm_answer_tokens(w->llm, r->select, &r->tokens));
  const fc_text_pair x = {.prefix = fc_llm_prefix(w->llm),
                          .prompt = r->tokens.id,
                          .answer = r->tokens.id + prompt,
                          .prompt_n = (int)prompt,
                          .answer_n = (int)(r->tokens.n - prompt)};
  fc_pass_add(p, x, false);
  return FC_ERR_OK;
}

/* ---- a step ---------------------------------------------------------------------------------- */

enum { TARGETS, LOSS, LOSS_SUMS };
enum { ANSWERS, VALID, ANSWER_SUMS };

/* The gradient of the sum over targets. */
static fc_err sum_of_targets(void *arg, const fc_head_view *view) {
  double *sums = arg;
  for (int64_t i = 0; i < view->n; i++) {
    sums[LOSS] -= view->log_prob[i];
    if (view->weight) view->weight[i] = 1;
  }
  sums[TARGETS] += (double)view->n;
  return FC_ERR_OK;
}

/* Examples of a micro-batch, [*first, *first + count). */
static int share_of_unit(const warm_up *w, int64_t unit, int *first) {
  *first = (int)unit * w->set.micro_batch;
  return w->n - *first < w->set.micro_batch ? w->n - *first : w->set.micro_batch;
}

static int64_t units(const warm_up *w) {
  return (w->n + w->set.micro_batch - 1) / w->set.micro_batch;
}

/* A micro-batch of training (gradient) or of validation (NULL, numbers as they are). */
static fc_err one_unit(void *arg, int thread, int64_t unit, float *gradient, double *sums) {
  const warm_up *w = arg;
  reader *r = &w->reader[thread];
  fc_pass *p = &w->passes[thread];
  int first = 0, count = share_of_unit(w, unit, &first);
  fc_pass_clear(p);
  for (int b = 0; b < count; b++) {
    fc_rng rng = fc_rng_open(w->set.seed, FC_RNG_REPLAY, (uint64_t)w->step, (uint64_t)(first + b));
    keep_order(w, r);
    if (gradient && w->set.permute) fc_rng_shuffle(&rng, r->order, (size_t)w->t->devices);
    FC_TRY(add_text(w, r, p, w->drawn[first + b]));
  }
  fc_rng none = fc_rng_open(w->set.seed, FC_RNG_DROPOUT, (uint64_t)w->step, (uint64_t)unit);
  return fc_model_hook_grad(p->work, w->theta, &p->batch, sum_of_targets, sums, none, gradient,
                            NULL);
}

static fc_err add_prompt(const warm_up *w, reader *r, uint32_t example) {
  const fc_tokens *prefix = fc_llm_prefix(w->llm);
  for (size_t i = 0; i < prefix->n; i++) FC_TRY(fc_tokens_push(&r->tokens, prefix->id[i]));
  return read_example(w, r, example);
}

/* Greedy answers to a micro-batch. */
static fc_err answer_unit(void *arg, int thread, int64_t unit, float *gradient, double *sums) {
  const warm_up *w = arg;
  reader *r = &w->reader[thread];
  int first = 0, count = share_of_unit(w, unit, &first), most = fc_llm_answer_max(w->llm);
  const fc_generate_settings s = {.steps = most, .top_p = 1, .stop = {fc_llm_end(w->llm), -1}};
  (void)gradient;
  r->tokens.n = 0;
  keep_order(w, r);
  for (int b = 0; b < count; b++) {
    FC_TRY(add_prompt(w, r, w->drawn[first + b]));
    r->start[b + 1] = r->tokens.n;
  }
  for (int b = 0; b < count; b++)
    r->prompt[b] = (fc_prompt){.tokens = r->tokens.id + r->start[b],
                               .n = (int)(r->start[b + 1] - r->start[b])};
  FC_TRY(fc_model_generate(fc_llm_model(w->llm), w->trainable, w->theta, r->prompt, count, &s,
                           r->answer, r->length));
  for (int b = 0; b < count; b++)
    sums[VALID] +=
        fc_llm_read_answer(w->llm, r->answer + (size_t)b * (size_t)most, r->length[b], r->select);
  sums[ANSWERS] += count;
  return FC_ERR_OK;
}

/* Held-out examples at equal distances. */
static fc_err validate(warm_up *w, fc_warm_report *report) {
  double loss[LOSS_SUMS], answers[ANSWER_SUMS];
  w->n = (int)(w->held < (size_t)w->set.validation_answers ? w->held
                                                           : (size_t)w->set.validation_answers);
  if (w->n == 0) return FC_ERR_OK;
  for (int i = 0; i < w->n; i++)
    w->drawn[i] = w->examples[w->learned + (size_t)i * w->held / (size_t)w->n];
  FC_TRY(fc_descent_measure(w->descent, units(w), one_unit, w, loss, LOSS_SUMS));
  FC_TRY(fc_descent_measure(w->descent, units(w), answer_unit, w, answers, ANSWER_SUMS));
  report->validation_loss = loss[LOSS] / loss[TARGETS];
  report->validation_valid = answers[VALID] / answers[ANSWERS];
  return FC_ERR_OK;
}

static fc_err one_step(warm_up *w, fc_warm_report *report) {
  double sums[LOSS_SUMS];
  w->n = fc_batch_draw(w->examples, w->learned, w->set.batch, w->set.seed, 0, 0, w->step, w->drawn);
  FC_TRY(fc_descent_step(w->descent, w->theta, units(w), one_unit, w, sums, LOSS_SUMS));
  *report = (fc_warm_report){.step = w->step + 1,
                             .steps = w->set.steps,
                             .loss = sums[LOSS] / sums[TARGETS],
                             .validation_loss = NAN,
                             .validation_valid = NAN};
  if (report->step % w->set.validate_every != 0 && report->step != w->set.steps) return FC_ERR_OK;
  return validate(w, report);
}

/* ---- all steps ------------------------------------------------------------------------------- */

/* Everything that the result depends on. */
static fc_err make_key(const warm_up *w, const fc_config *cfg, char **key) {
  size_t rows = (size_t)(w->t->n * w->t->rounds), N = (size_t)w->t->devices;
  uint64_t h = FC_HASH_START;
  for (size_t i = 0; i < fc_warm_up_options.n; i++) {
    char *text = NULL;
    FC_TRY(fc_config_text(cfg, fc_warm_up_options.options[i].name, &text));
    h = fc_hash_bytes(h, text, strlen(text) + 1);
    fc_free(text);
  }
  h = fc_hash_bytes(h, w->llm->prefix.id, w->llm->prefix.n * sizeof *w->llm->prefix.id);
  h = fc_hash_bytes(h, w->theta, fc_trainable_count(w->trainable) * sizeof *w->theta);
  h = fc_hash_bytes(h, w->examples, (w->learned + w->held) * sizeof *w->examples);
  h = fc_hash_bytes(h, w->t->selected, rows * N);
  h = fc_hash_bytes(h, w->t->served, rows * N);
  return fc_format(key, "warm-up %016llx", (unsigned long long)h);
}

static fc_err save(const warm_up *w, const fc_warm_request *request, const char *key) {
  if (!request->checkpoint) return FC_ERR_OK;
  return fc_descent_save(w->descent, request->checkpoint, key, w->theta, (double)w->step);
}

static fc_err train(warm_up *w, const fc_comm *comm, const fc_warm_request *request,
                    const char *key) {
  double done = NAN;
  if (request->checkpoint)
    FC_TRY(fc_descent_load(w->descent, request->checkpoint, key, w->theta, &done));
  if (!isnan(done)) w->step = (int64_t)done;
  while (w->step < w->set.steps) {
    fc_warm_report report;
    bool stop = false;
    FC_TRY(fc_comm_any(comm, request->stop, &stop));
    if (stop) {
      FC_TRY(save(w, request, key));
      return fc_fail(FC_ERR_STOPPED, "stopped after step %lld of %lld of the warm start",
                     (long long)w->step, (long long)w->set.steps);
    }
    FC_TRY(one_step(w, &report));
    w->step++;
    if (request->on_step) request->on_step(request->arg, &report);
    if (w->step % w->set.checkpoint_every == 0 && w->step < w->set.steps)
      FC_TRY(save(w, request, key));
  }
  return FC_ERR_OK;
}

/* ---- setting up ------------------------------------------------------------------------------ */

static fc_err open_reader(const warm_up *w, reader *r) {
  size_t N = (size_t)w->t->devices, b = (size_t)w->set.micro_batch;
  FC_TRY(fc_fl_state_create(w->scenario, &r->state));
  FC_TRY(fc_alloc(VALUES * N, sizeof *r->values, &r->values));
  FC_TRY(fc_alloc(N, sizeof *r->select, &r->select));
  FC_TRY(fc_alloc(N, sizeof *r->order, &r->order));
  FC_TRY(fc_alloc(b + 1, sizeof *r->start, &r->start));
  FC_TRY(fc_alloc(b, sizeof *r->prompt, &r->prompt));
  FC_TRY(fc_alloc(b * (size_t)fc_llm_answer_max(w->llm), sizeof *r->answer, &r->answer));
  return fc_alloc(b, sizeof *r->length, &r->length);
}

static void close_reader(reader *r) {
  fc_fl_state_destroy(&r->state);
  fc_free(r->values);
  fc_free(r->select);
  fc_free(r->order);
  fc_tokens_free(&r->tokens);
  fc_free(r->start);
  fc_free(r->prompt);
  fc_free(r->answer);
  fc_free(r->length);
}

static void close_all(warm_up *w) {
  for (int i = 0; w->reader && i < w->threads; i++) close_reader(&w->reader[i]);
  fc_free(w->reader);
  fc_passes_destroy(&w->passes, w->threads);
  fc_free(w->examples);
  fc_free(w->drawn);
  fc_free(w->theta);
  fc_trainable_destroy(&w->trainable);
  fc_descent_destroy(&w->descent);
}

/* All weights of an embedded model; of one that knows a language already what policy.lora_rank
 * says. */
static fc_err pick_trainable(const fc_config *cfg, warm_up *w) {
  static const char *const all[] = {"all"};
  const fc_trainable_spec whole = {.saved = all, .n_saved = 1, .lora_rank = 1};
  if (w->llm->is_embedded) return fc_trainable_create(fc_llm_model(w->llm), &whole, &w->trainable);
  return fc_llm_trainable(w->llm, cfg, &w->trainable);
}

static fc_err open_all(const fc_config *cfg, warm_up *w) {
  int most = w->set.batch > w->set.validation_answers ? w->set.batch : w->set.validation_answers;
  FC_CHECK(w->t->devices == fc_scenario_settings(w->scenario)->devices, USAGE,
           "trajectories of %d devices, the scenario has %d", w->t->devices,
           fc_scenario_settings(w->scenario)->devices);
  FC_TRY(list_examples(w));
  FC_TRY(fc_alloc((size_t)most, sizeof *w->drawn, &w->drawn));
  FC_TRY(pick_trainable(cfg, w));
  FC_TRY(fc_alloc(fc_trainable_count(w->trainable), sizeof *w->theta, &w->theta));
  fc_trainable_init(w->trainable, w->set.seed, w->theta);
  FC_TRY(fc_alloc((size_t)w->threads, sizeof *w->reader, &w->reader));
  for (int i = 0; i < w->threads; i++) FC_TRY(open_reader(w, &w->reader[i]));
  return fc_passes_create(fc_llm_model(w->llm), w->trainable, w->set.micro_batch,
                          fc_llm_length_max(w->llm), w->threads, &w->passes);
}

static fc_optimizer_settings optimizer_of(const fc_config *cfg, const settings *s) {
  return (fc_optimizer_settings){.kind = fc_optimizer_find("adamw"),
                                 .learning_rate =
                                     (float)fc_config_real(cfg, "warm_up.learning_rate"),
                                 .beta1 = 0.9f,
                                 .beta2 = 0.98f,
                                 .eps = 1e-8f,
                                 .clip_norm = 1.0f,
                                 .schedule = fc_config_string(cfg, "warm_up.schedule"),
                                 .warmup_steps = s->steps / 20,
                                 .total_steps = s->steps};
}

static fc_err run(warm_up *w, const fc_comm *comm, const fc_config *cfg,
                  const fc_warm_request *request) {
  const fc_optimizer_settings o = optimizer_of(cfg, &w->set);
  char *key = NULL;
  fc_err err = open_all(cfg, w);
  if (err == FC_ERR_OK) err = make_key(w, cfg, &key);
  err = fc_agree(comm, err);
  if (err == FC_ERR_OK)
    err = fc_descent_create(comm, &o, fc_trainable_count(w->trainable), w->threads, &w->descent);
  if (err == FC_ERR_OK) err = train(w, comm, request, key);
  fc_free(key);
  return err;
}

fc_err fc_llm_warm_up(const fc_comm *comm, const fc_config *cfg, const fc_scenario *s,
                      const fc_trajectories *t, const fc_warm_request *request, fc_llm *llm) {
  warm_up w = {
      .set = settings_of(cfg), .scenario = s, .t = t, .llm = llm, .threads = omp_get_max_threads()};
  if (w.set.steps == 0) return FC_ERR_OK;
  fc_err err = run(&w, comm, cfg, request);
  if (err == FC_ERR_OK) err = fc_llm_merge(llm, w.trainable, w.theta);
  close_all(&w);
  err = fc_agree(comm, err);
  if (err == FC_ERR_OK && request->checkpoint && comm->rank == 0)
    unlink(request->checkpoint); /* gone already if none was written */
  return err;
}
