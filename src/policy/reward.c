/* reward.c - the table of reward sources, and the simplest of them. */
#include "reward.h"
#include "fedcell/fc_mem.h"
#include <math.h>
#include <string.h>

static fc_err by_rule(void *own, const fc_answers *a, double *score) {
  (void)own;
  memcpy(score, a->rule, (size_t)a->n * sizeof *score);
  return FC_ERR_OK;
}

static const fc_reward_source rule = {.name = "rule", .score = by_rule};
static const fc_reward_source *const sources[] = {&rule, &fc_reward_by_model, &fc_reward_by_judge};
enum { SOURCES = sizeof sources / sizeof sources[0] };

static const char *source_name(size_t i) {
  return i < SOURCES ? sources[i]->name : NULL;
}

static const fc_option reward_options[] = {
    {"reward.source", FC_OPT_CHOICE, "", "rule", FC_OPTION_ANY, source_name,
     "Who rewards answers: `rule`: the environment [TELLM (12)]; `model`: a model that has learned "
     "from ranked pairs of answers (RLHF); `judge`: a scorer outside (RLAIF), reward.judge."},
    {"reward.invalid_penalty", FC_OPT_REAL, "", "0.5", 0, 1e6, NULL,
     "Taken off the reward of an answer that is no selection, whatever the source; its round is "
     "idle."},
    {"reward.ranking", FC_OPT_STRING, "", "", FC_OPTION_ANY, NULL,
     "Model: file of ranked pairs, one JSON object a line: {\"prompt\", \"chosen\", \"rejected\"}. "
     "Empty: pairs of the recorded trajectories, two selections of the same round, ranked by the "
     "rule."},
    {"reward.pairs", FC_OPT_INT, "pairs", "2000", 2, 1e7, NULL,
     "Model: pairs at most that are learned from, a tenth of them held out."},
    {"reward.epochs", FC_OPT_INT, "", "2", 1, 1000, NULL,
     "Model: times that they are gone through."},
    {"reward.batch", FC_OPT_INT, "pairs", "32", 1, 65536, NULL,
     "Model: pairs of an optimiser step."},
    {"reward.learning_rate", FC_OPT_REAL, "", "3e-4", 0, 1, NULL, "Model: of AdamW."},
    {"reward.judge", FC_OPT_STRING, "", "", FC_OPTION_ANY, NULL,
     "Judge: a shell command, started for every batch, that reads one JSON object a line, "
     "{\"prompt\", \"answer\"}, and writes one number a line, in the same order. Empty: "
     "reward.judge_scores, or else the rule stands in for a judge."},
    {"reward.judge_scores", FC_OPT_STRING, "", "", FC_OPTION_ANY, NULL,
     "Judge: a file of scores in place of a command, one JSON object a line: {\"answer\", "
     "\"score\"}, where \"prompt\" may say for which prompt alone."},
    {"reward.judge_timeout_s", FC_OPT_REAL, "s", "60", 0.01, 1e6, NULL,
     "Judge: how long it may be silent."},
};
const fc_option_table fc_reward_options =
    FC_OPTION_TABLE("reward: what answers are rewarded for", reward_options);

struct fc_reward {
  const fc_comm *comm;
  const fc_reward_source *source;
  void *own;
};

static const fc_reward_source *find(const char *name) {
  const fc_reward_source *found = sources[0];
  for (size_t i = 1; i < SOURCES; i++)
    if (strcmp(sources[i]->name, name) == 0) found = sources[i];
  return found;
}

fc_err fc_reward_create(const fc_reward_context *c, fc_reward **out) {
  fc_reward *r = NULL;
  *out = NULL;
  fc_err err = fc_agree(c->comm, fc_alloc(1, sizeof *r, &r)); /* a source may be Collective */
  if (err == FC_ERR_OK) {
    *r = (fc_reward){.comm = c->comm, .source = find(fc_config_string(c->cfg, "reward.source"))};
    if (r->source->create) err = r->source->create(c, &r->own);
    err = fc_agree(c->comm, err);
  }
  if (err != FC_ERR_OK) fc_reward_destroy(&r);
  *out = r;
  return err;
}

void fc_reward_destroy(fc_reward **reward) {
  fc_reward *r = *reward;
  if (!r) return;
  if (r->source && r->source->destroy) r->source->destroy(r->own);
  fc_free(r);
  *reward = NULL;
}

fc_err fc_reward_learn(fc_reward *r, volatile sig_atomic_t *stop) {
  return r->source->learn ? r->source->learn(r->own, stop) : FC_ERR_OK;
}

fc_err fc_reward_score(fc_reward *r, const fc_answers *a, double *score) {
  FC_TRY(r->source->score(r->own, a, score));
  for (int64_t i = 0; i < a->n; i++)
    FC_CHECK(isfinite(score[i]), NUMERIC, "the reward of episode %lld in round %lld is %g (%s)",
             (long long)(i / a->of.rounds), (long long)(i % a->of.rounds + 1), score[i],
             r->source->name);
  return FC_ERR_OK;
}

void fc_reward_put(const fc_reward *r, fc_store_file *f) {
  if (r->source->put) r->source->put(r->own, f);
}

fc_err fc_reward_get(fc_reward *r, const fc_store_reader *from) {
  return r->source->get ? r->source->get(r->own, from) : FC_ERR_OK;
}

fc_err fc_answer_texts(const fc_llm *llm, const fc_answers *a, int64_t i, char **prompt,
                       char **answer) {
  fc_tokens whole = {0};
  fc_err err = FC_ERR_OK;
  *prompt = *answer = NULL;
  for (size_t k = 0; k < a->prefix->n && err == FC_ERR_OK; k++)
    err = fc_tokens_push(&whole, a->prefix->id[k]);
  for (int k = 0; k < a->prompt_n[i] && err == FC_ERR_OK; k++)
    err = fc_tokens_push(&whole, a->prompt[i * a->prompt_max + k]);
  if (err == FC_ERR_OK) err = fc_tokenizer_decode(fc_llm_tokenizer(llm), whole.id, whole.n, prompt);
  if (err == FC_ERR_OK)
    err = fc_llm_answer_text(llm, a->answer + i * a->answer_max, a->answer_n[i], answer);
  fc_tokens_free(&whole);
  return err;
}
