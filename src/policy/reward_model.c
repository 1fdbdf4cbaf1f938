/* reward_model.c - rewards by a model of preferences [Ouyang+ 2022, (1)]: the policy's own language
 * model with a linear head on the last token of prompt and answer, trained on ranked pairs so that
 * ln sigma(score of the chosen - score of the rejected) is large. Its scores are then shifted and
 * scaled to mean 0 and deviation 1 over the pairs' answers. */
#include "fedcell/fc_log.h"
#include "fedcell/fc_mem.h"
#include "json_lines.h"
#include "reward.h"
#include <math.h>
#include <omp.h>
#include <string.h>

enum { HELD_OUT = 10, DRAWS = 20 }; /* one in so many pairs; tries to draw two unequal rewards */

/* Where a text's tokens lie in `tokens` of the model: the prompt, then the answer. */
typedef struct {
  size_t first;
  int prompt_n, answer_n;
} text_place;

typedef struct {
  text_place chosen, rejected;
} pair;

typedef struct {
  fc_reward_context c;
  int epochs, batch, micro_batch;
  uint64_t seed;
  fc_trainable *trainable;
  fc_descent *descent;
  fc_pass *passes;
  int threads;
  size_t P;
  float *theta; /* (P + width + 1) */
  double mean, deviation;
  pair *pairs;
  int64_t n, capacity; /* pairs */
  fc_tokens tokens, nothing;
} preference;

/* ---- pairs ----------------------------------------------------------------------------------- */

static fc_err add_pair(preference *m, text_place chosen, text_place rejected) {
  if (m->n == m->capacity) {
    int64_t capacity = 2 * m->capacity + 64;
    FC_TRY(fc_realloc((size_t)capacity, sizeof *m->pairs, &m->pairs));
    m->capacity = capacity;
  }
  m->pairs[m->n++] = (pair){chosen, rejected};
  return FC_ERR_OK;
}

/* The state of trajectory i before `round`, with what was chosen there. */
static fc_err recorded(preference *m, int i, int64_t round, fc_fl_state *state, text_place *out) {
  const fc_trajectories *t = m->c.starts;
  const fc_tokens *prefix = fc_llm_prefix(m->c.llm);
  out->first = m->tokens.n;
  FC_TRY(fc_trajectories_state(t, m->c.scenario, i, round, state));
  for (size_t k = 0; k < prefix->n; k++) FC_TRY(fc_tokens_push(&m->tokens, prefix->id[k]));
  FC_TRY(fc_llm_observe(m->c.llm, state, &m->tokens));
  out->prompt_n = (int)(m->tokens.n - out->first);
  const uint8_t *select = t->selected + ((int64_t)i * t->rounds + round - 1) * t->devices;
  FC_TRY(fc_llm_answer_tokens(m->c.llm, select, &m->tokens));
  out->answer_n = (int)(m->tokens.n - out->first) - out->prompt_n;
  return FC_ERR_OK;
}

/* Two trajectories in the same round, the rule says which did better. Rewards that are the same
 * rank nothing. */
static fc_err draw_pair(preference *m, int64_t number, fc_fl_state *state) {
  const fc_trajectories *t = m->c.starts;
  fc_rng rng = fc_rng_open(m->seed, FC_RNG_REPLAY, (uint64_t)number, UINT64_MAX);
  for (int draw = 0; draw < DRAWS; draw++) {
    int i = (int)fc_rng_below(&rng, (uint64_t)t->n), j = (int)fc_rng_below(&rng, (uint64_t)t->n);
    int64_t round = 1 + (int64_t)fc_rng_below(&rng, (uint64_t)t->rounds);
    double gap = t->reward[i * t->rounds + round - 1] - t->reward[j * t->rounds + round - 1];
    if (!(gap < 0) && !(gap > 0)) continue;
    text_place better, worse;
    FC_TRY(recorded(m, gap > 0 ? i : j, round, state, &better));
    FC_TRY(recorded(m, gap > 0 ? j : i, round, state, &worse));
    return add_pair(m, better, worse);
  }
  return FC_ERR_OK;
}

static fc_err pairs_by_rule(preference *m, int64_t wanted) {
  fc_fl_state *state = NULL;
  FC_CHECK(m->c.starts && m->c.starts->n > 1, USAGE,
           "a reward model learns from recorded trajectories or reward.ranking");
  FC_TRY(fc_fl_state_create(m->c.scenario, &state));
  fc_err err = FC_ERR_OK;
  for (int64_t i = 0; i < wanted && err == FC_ERR_OK; i++) err = draw_pair(m, i, state);
  fc_fl_state_destroy(&state);
  return err;
}

static fc_err read_text(preference *m, const char *prompt, const char *answer, const char *place,
                        text_place *out) {
  const fc_tokenizer *tokenizer = fc_llm_tokenizer(m->c.llm);
  int longest = fc_llm_length_max(m->c.llm);
  out->first = m->tokens.n;
  FC_TRY(fc_tokenizer_encode(tokenizer, prompt, strlen(prompt), &m->tokens));
  out->prompt_n = (int)(m->tokens.n - out->first);
  FC_TRY(fc_tokenizer_encode(tokenizer, answer, strlen(answer), &m->tokens));
  FC_TRY(fc_tokens_push(&m->tokens, fc_llm_end(m->c.llm)));
  out->answer_n = (int)(m->tokens.n - out->first) - out->prompt_n;
  FC_CHECK(out->prompt_n > 0 && (int)(m->tokens.n - out->first) <= longest, DATA,
           "%s: prompt and answer take %d tokens, of 1 to %d", place,
           (int)(m->tokens.n - out->first), longest);
  return FC_ERR_OK;
}

static fc_err take_pair(void *arg, const char *place, json_t *line) {
  preference *m = arg;
  const char *prompt = json_string_value(json_object_get(line, "prompt"));
  const char *chosen = json_string_value(json_object_get(line, "chosen"));
  const char *rejected = json_string_value(json_object_get(line, "rejected"));
  text_place better, worse;
  FC_CHECK(prompt && chosen && rejected, DATA,
           "%s: needs \"prompt\", \"chosen\" and \"rejected\" (texts)", place);
  FC_TRY(read_text(m, prompt, chosen, place, &better));
  FC_TRY(read_text(m, prompt, rejected, place, &worse));
  return add_pair(m, better, worse);
}

static fc_err make_pairs(preference *m) {
  const char *path = fc_config_string(m->c.cfg, "reward.ranking");
  int64_t wanted = fc_config_int(m->c.cfg, "reward.pairs");
  FC_TRY(*path ? fc_json_lines_read(path, take_pair, m) : pairs_by_rule(m, wanted));
  if (m->n > wanted) m->n = wanted;
  FC_CHECK(m->n >= 2, DATA, "%s: a reward model needs two ranked pairs, there are %lld",
           *path ? path : "the recorded trajectories", (long long)m->n);
  return FC_ERR_OK;
}

/* ---- scoring --------------------------------------------------------------------------------- */

static fc_linear_head head_of(const preference *m) {
  return (fc_linear_head){.width = fc_model_get_shape(fc_llm_model(m->c.llm))->width,
                          .speed = 1,
                          .weight = m->theta + m->P};
}

static double score_of(const fc_linear_head *head, const fc_pass *p, const fc_head_view *view,
                       int text) {
  return fc_linear_head_fwd(head, view->hidden + fc_pass_last_row(p, text) * head->width);
}

/* Targets play no part. */
static fc_err pass_over(const preference *m, fc_pass *p, fc_head_hook *hook, void *arg,
                        float *gradient) {
  fc_batch batch = p->batch;
  batch.targets = NULL;
  return fc_model_hook_grad(p->work, m->theta, &batch, hook, arg,
                            fc_rng_open(m->seed, FC_RNG_DROPOUT, 0, 0), gradient, NULL);
}

typedef struct {
  const preference *m;
  const fc_pass *pass;
  double *score;
} scoring;

static fc_err keep_scores(void *arg, const fc_head_view *view) {
  const scoring *s = arg;
  fc_linear_head head = head_of(s->m);
  for (int b = 0; b < fc_pass_texts(s->pass); b++)
    s->score[b] = (score_of(&head, s->pass, view, b) - s->m->mean) / s->m->deviation;
  return FC_ERR_OK;
}

typedef struct {
  preference *m;
  const fc_answers *answers;
  double *score;
} scoring_all;

static fc_err score_unit(void *arg, int thread, int64_t unit, float *gradient, double *sums) {
  const scoring_all *all = arg;
  fc_pass *p = &all->m->passes[thread];
  int64_t room = 2 * (int64_t)all->m->micro_batch, first = unit * room;
  int64_t end = first + room < all->answers->n ? first + room : all->answers->n;
  scoring s = {all->m, p, all->score + first};
  (void)gradient;
  sums[0] += (double)(end - first);
  fc_pass_clear(p);
  for (int64_t i = first; i < end; i++) fc_pass_add(p, fc_answers_get(all->answers, i), true);
  return pass_over(all->m, p, keep_scores, &s, NULL);
}

static fc_err model_score(void *own, const fc_answers *a, double *score) {
  preference *m = own;
  scoring_all all = {m, a, score};
  int64_t room = 2 * (int64_t)m->micro_batch;
  double scored = 0;
  for (int64_t i = 0; i < a->n; i++) score[i] = -INFINITY; /* until the one rank that has it */
  FC_TRY(fc_descent_measure(m->descent, (a->n + room - 1) / room, score_unit, &all, &scored, 1));
  return fc_comm_max(m->c.comm, score, (size_t)a->n);
}

/* ---- learning -------------------------------------------------------------------------------- */

enum { PAIRS, LOSS, RIGHT, SCORE, SCORE_SQUARED, SUMS };

typedef struct {
  preference *m;
  const uint32_t *order; /* (n) pairs */
  int64_t n;
} ranking;

typedef struct {
  const preference *m;
  const fc_pass *pass;
  float *head_gradient; /* NULL: forward only */
  double *sums;
} ranking_of_unit;

/* Texts 2k and 2k + 1 of the batch are a pair. */
static fc_err bradley_terry(void *arg, const fc_head_view *view) {
  const ranking_of_unit *u = arg;
  fc_linear_head head = head_of(u->m);
  for (int b = 0; b < fc_pass_texts(u->pass); b += 2) {
    double chosen = score_of(&head, u->pass, view, b);
    double rejected = score_of(&head, u->pass, view, b + 1), gap = chosen - rejected;
    u->sums[PAIRS] += 1;
    u->sums[LOSS] += gap > 0 ? log1p(exp(-gap)) : log1p(exp(gap)) - gap;
    u->sums[RIGHT] += gap > 0;
    u->sums[SCORE] += chosen + rejected;
    u->sums[SCORE_SQUARED] += chosen * chosen + rejected * rejected;
    for (int k = 0; k < 2 && u->head_gradient; k++) {
      int64_t row = fc_pass_last_row(u->pass, b + k) * head.width;
      double slope = (k ? 1 : -1) / (1 + exp(gap));
      fc_linear_head_bwd(&head, slope, view->hidden + row, view->dhidden + row, u->head_gradient);
    }
  }
  return FC_ERR_OK;
}

static fc_text_pair text_of(const preference *m, text_place at) {
  const int32_t *prompt = m->tokens.id + at.first;
  return (fc_text_pair){.prefix = &m->nothing,
                        .prompt = prompt,
                        .answer = prompt + at.prompt_n,
                        .prompt_n = at.prompt_n,
                        .answer_n = at.answer_n};
}

static fc_err rank_unit(void *arg, int thread, int64_t unit, float *gradient, double *sums) {
  const ranking *r = arg;
  fc_pass *p = &r->m->passes[thread];
  int64_t micro = r->m->micro_batch, first = unit * micro;
  ranking_of_unit u = {r->m, p, gradient ? gradient + r->m->P : NULL, sums};
  fc_pass_clear(p);
  for (int64_t i = first; i < first + micro && i < r->n; i++) {
    const pair *x = &r->m->pairs[r->order[i]];
    fc_pass_add(p, text_of(r->m, x->chosen), true);
    fc_pass_add(p, text_of(r->m, x->rejected), true);
  }
  return pass_over(r->m, p, bradley_terry, &u, gradient);
}

static int64_t units(const preference *m, int64_t n) {
  return (n + m->micro_batch - 1) / m->micro_batch;
}

static fc_err one_epoch(preference *m, int epoch, uint32_t *order, int64_t n,
                        volatile sig_atomic_t *stop) {
  fc_rng rng = fc_rng_open(m->seed, FC_RNG_REPLAY, (uint64_t)epoch, UINT64_MAX - 1);
  double sums[SUMS];
  bool wanted = false;
  FC_TRY(fc_comm_any(m->c.comm, stop, &wanted));
  FC_CHECK(!wanted, STOPPED, "stopped on request while the reward model was learned");
  fc_rng_shuffle(&rng, order, (size_t)n);
  for (int64_t first = 0; first < n; first += m->batch) {
    ranking r = {m, order + first, n - first < m->batch ? n - first : m->batch};
    FC_TRY(fc_descent_step(m->descent, m->theta, units(m, r.n), rank_unit, &r, sums, SUMS));
  }
  return FC_ERR_OK;
}

/* The last pairs are held out: told how many of them it ranks rightly. */
static fc_err learn_from(preference *m, uint32_t *order, volatile sig_atomic_t *stop) {
  int64_t held = m->n / HELD_OUT > 0 ? m->n / HELD_OUT : 1, n = m->n - held;
  double sums[SUMS], seen[SUMS];
  for (int64_t i = 0; i < m->n; i++) order[i] = (uint32_t)i;
  for (int epoch = 0; epoch < m->epochs; epoch++) FC_TRY(one_epoch(m, epoch, order, n, stop));
  ranking of_held = {m, order + n, held}, of_seen = {m, order, n};
  FC_TRY(fc_descent_measure(m->descent, units(m, held), rank_unit, &of_held, sums, SUMS));
  FC_TRY(fc_descent_measure(m->descent, units(m, n), rank_unit, &of_seen, seen, SUMS));
  m->mean = seen[SCORE] / (2 * seen[PAIRS]);
  m->deviation = sqrt(fmax(0, seen[SCORE_SQUARED] / (2 * seen[PAIRS]) - m->mean * m->mean)) + 1e-6;
  fc_log(FC_LOG_INFO, "the reward model ranks %.1f %% of %lld held-out pairs rightly (loss %.3f)",
         100 * sums[RIGHT] / sums[PAIRS], (long long)held, sums[LOSS] / sums[PAIRS]);
  return FC_ERR_OK;
}

static fc_err model_learn(void *own, volatile sig_atomic_t *stop) {
  preference *m = own;
  uint32_t *order = NULL;
  fc_err err = make_pairs(m);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)m->n, sizeof *order, &order);
  err = fc_agree(m->c.comm, err);
  if (err == FC_ERR_OK) err = learn_from(m, order, stop);
  fc_free(order);
  return err;
}

/* ---- the source ------------------------------------------------------------------------------ */

static void model_destroy(void *own) {
  preference *m = own;
  if (!m) return;
  fc_descent_destroy(&m->descent);
  fc_passes_destroy(&m->passes, m->threads);
  fc_trainable_destroy(&m->trainable);
  fc_tokens_free(&m->tokens);
  fc_free(m->pairs);
  fc_free(m->theta);
  fc_free(m);
}

static fc_optimizer_settings optimizer(const fc_config *cfg) {
  return (fc_optimizer_settings){.kind = fc_optimizer_find("adamw"),
                                 .learning_rate =
                                     (float)fc_config_real(cfg, "reward.learning_rate"),
                                 .beta1 = 0.9f,
                                 .beta2 = 0.999f,
                                 .eps = 1e-8f,
                                 .clip_norm = 1,
                                 .schedule = "constant"};
}

static fc_err make(preference *m) {
  const fc_model *model = fc_llm_model(m->c.llm);
  size_t head = (size_t)fc_model_get_shape(model)->width + 1;
  FC_TRY(fc_llm_trainable(m->c.llm, m->c.cfg, &m->trainable));
  m->P = fc_trainable_count(m->trainable);
  FC_TRY(fc_alloc(m->P + head, sizeof *m->theta, &m->theta));
  fc_trainable_init(m->trainable, m->seed, m->theta);
  return fc_passes_create(model, m->trainable, 2 * m->micro_batch, fc_llm_length_max(m->c.llm),
                          m->threads, &m->passes);
}

static fc_err model_create(const fc_reward_context *c, void **own) {
  preference *m = NULL;
  fc_err err = fc_alloc(1, sizeof *m, &m);
  if (err == FC_ERR_OK) {
    *m = (preference){.c = *c,
                      .epochs = (int)fc_config_int(c->cfg, "reward.epochs"),
                      .batch = (int)fc_config_int(c->cfg, "reward.batch"),
                      .micro_batch = (int)fc_config_int(c->cfg, "grpo.micro_batch"),
                      .seed = (uint64_t)fc_config_int(c->cfg, "grpo.seed"),
                      .threads = omp_get_max_threads(),
                      .deviation = 1};
    err = make(m);
  }
  *own = m;
  FC_TRY(fc_agree(c->comm, err));
  const fc_optimizer_settings o = optimizer(c->cfg);
  size_t head = (size_t)fc_model_get_shape(fc_llm_model(c->llm))->width + 1;
  return fc_descent_create(c->comm, &o, m->P + head, m->threads, &m->descent);
}

static void model_put(const void *own, fc_store_file *f) {
  const preference *m = own;
  int64_t first = 0, n = 0, all = (int64_t)(m->P + (size_t)head_of(m).width + 1);
  fc_comm_share(all, m->c.comm->size, m->c.comm->rank, &first, &n);
  fc_store_put_f32(f, "/state/reward_theta", "", "weights of the reward model", m->theta + first,
                   first, n, all);
  fc_store_put_number(f, "/state", "score_mean", m->mean);
  fc_store_put_number(f, "/state", "score_deviation", m->deviation);
}

static fc_err model_get(void *own, const fc_store_reader *from) {
  preference *m = own;
  int64_t all = (int64_t)(m->P + (size_t)head_of(m).width + 1);
  FC_TRY(fc_store_get_f32(from, "/state/reward_theta", 0, all, m->theta));
  FC_TRY(fc_store_get_number(from, "/state", "score_mean", &m->mean));
  return fc_store_get_number(from, "/state", "score_deviation", &m->deviation);
}

const fc_reward_source fc_reward_by_model = {.name = "model",
                                             .create = model_create,
                                             .destroy = model_destroy,
                                             .learn = model_learn,
                                             .score = model_score,
                                             .put = model_put,
                                             .get = model_get};
