/* agent_llm.c - the language model chooses [TELLM, Fig. 3]: observations in, answers out, all
 * episodes as one batch. The agents differ in how their model was trained. */
#include "agent.h"
#include "fedcell/fc_generate.h"
#include "fedcell/fc_llm.h"
#include "fedcell/fc_mem.h"
#include <string.h>

typedef struct {
  fc_agent_context context;
  fc_llm *llm;
  fc_generator *generator;
  fc_generate_settings settings;
  fc_episode *episode; /* (episodes) */
  fc_tokens *tokens;   /* (episodes) prompts after the prefix */
  fc_prompt *prompts;  /* (episodes) */
  int32_t *answers;    /* (episodes, settings.steps) */
  int *length;         /* (episodes) */
} speaker;

static void destroy(void *own) {
  speaker *s = own;
  for (int i = 0; s->tokens && i < s->context.episodes; i++) fc_tokens_free(&s->tokens[i]);
  fc_free(s->tokens);
  fc_free(s->episode);
  fc_free(s->prompts);
  fc_free(s->answers);
  fc_free(s->length);
  fc_generator_destroy(&s->generator);
  fc_llm_destroy(&s->llm);
  fc_free(s);
}

static fc_generate_settings read_settings(const fc_agent_context *c, const fc_llm *llm) {
  return (fc_generate_settings){.steps = fc_llm_answer_max(llm),
                                .temperature =
                                    c->greedy ? 0 : fc_config_real(c->cfg, "policy.temperature"),
                                .top_p = c->greedy ? 1 : fc_config_real(c->cfg, "policy.top_p"),
                                .seed = c->seed,
                                .stop = {fc_llm_end(llm), -1}};
}

static fc_err make_room(speaker *s) {
  const fc_agent_context *c = &s->context;
  const size_t n = (size_t)c->episodes;
  FC_TRY(fc_llm_load(c->cfg, c->folder, c->scenario, &s->llm));
  s->settings = read_settings(c, s->llm);
  FC_TRY(fc_generator_create(fc_llm_model(s->llm), NULL, c->episodes, fc_llm_length_max(s->llm),
                             &s->generator));
  const fc_tokens *prefix = fc_llm_prefix(s->llm);
  FC_TRY(fc_generator_set_prefix(s->generator, NULL, prefix->id, (int)prefix->n));
  FC_TRY(fc_alloc(n, sizeof *s->episode, &s->episode));
  FC_TRY(fc_alloc(n, sizeof *s->tokens, &s->tokens));
  FC_TRY(fc_alloc(n, sizeof *s->prompts, &s->prompts));
  FC_TRY(fc_alloc(n, sizeof *s->length, &s->length));
  return fc_alloc(n * (size_t)s->settings.steps, sizeof *s->answers, &s->answers);
}

static fc_err create(const fc_agent_context *c, void **own) {
  speaker *s = NULL;
  FC_TRY(fc_alloc(1, sizeof *s, &s));
  s->context = *c;
  fc_err err = make_room(s);
  if (err == FC_ERR_OK)
    *own = s;
  else
    destroy(s);
  return err;
}

static fc_err begin(void *own, const fc_episode *episode, int n) {
  speaker *s = own;
  memcpy(s->episode, episode, (size_t)n * sizeof *episode);
  return FC_ERR_OK;
}

static fc_err choose(void *own, const fc_fl_state *const *states, const int *which, int n,
                     fc_choice *choices) {
  speaker *s = own;
  for (int i = 0; i < n; i++) {
    fc_rng rng = fc_agent_rng(&s->context, &s->episode[which[i]], states[i]->round);
    s->tokens[i].n = 0;
    FC_TRY(fc_llm_observe(s->llm, states[i], &s->tokens[i]));
    s->prompts[i] = (fc_prompt){s->tokens[i].id, (int)s->tokens[i].n, fc_rng_u64(&rng)};
  }
  FC_TRY(fc_generator_run(s->generator, NULL, s->prompts, n, &s->settings, s->answers, s->length));
  for (int i = 0; i < n; i++)
    choices[i].invalid =
        !fc_llm_read_answer(s->llm, s->answers + (size_t)i * (size_t)s->settings.steps,
                            s->length[i], choices[i].select);
  return FC_ERR_OK;
}

#define SPEAKER(id, its_name, its_meaning)                                                         \
  const fc_agent_kind fc_agent_##id = {.name = (its_name),                                         \
                                       .meaning = (its_meaning),                                   \
                                       .is_trained = true,                                         \
                                       .speaks = true,                                             \
                                       .create = create,                                           \
                                       .destroy = destroy,                                         \
                                       .begin = begin,                                             \
                                       .choose = choose};
SPEAKER(grpo, "grpo", "T-ELLM: a language model, trained by GRPO in the learned environment")
SPEAKER(ppo, "ppo", "the same, trained by PPO with a value head")
SPEAKER(warm_up, "warm-up",
        "the language model after its warm start on recorded answers (warm_up.teacher)")
