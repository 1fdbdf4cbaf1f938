/* llm_embedded.c - a small LLaMA of our own, whose words are those of the prompts. */
#include "fedcell/fc_mem.h"
#include "llm.h"
#include <string.h>

/* ---- the tokeniser --------------------------------------------------------------------------- */

enum {
  LEARN_STATES = 256, /* prompts that it is learned from, at most */
  LEARN_TWICE = 2     /* a pair is merged from its second occurrence on */
};

typedef struct {
  fc_text *text;
  size_t n;
} texts;

/* `text` belongs to the list. */
static void add(texts *all, char *text) {
  all->text[all->n++] = (fc_text){text, strlen(text)};
}

/* The words of every prompt, and all numbers, which a few trajectories may not show. */
static fc_err add_common(const fc_llm *llm, texts *all) {
  for (int i = 0; i < LEARN_TWICE; i++) {
    char *text = NULL;
    FC_TRY(fc_prompts_prefix(llm->prompts, &llm->set, &text));
    add(all, text);
    FC_TRY(fc_prompts_numbers(&text));
    add(all, text);
  }
  return FC_ERR_OK;
}

static fc_err add_example(const fc_llm *llm, const fc_fl_state *state, const uint8_t *select,
                          texts *all) {
  char *text = NULL;
  FC_TRY(fc_prompts_observation(llm->prompts, &llm->set, state, NULL, &text));
  add(all, text);
  FC_TRY(fc_prompts_answer(llm->prompts, &llm->set, select, &text));
  add(all, text);
  return FC_ERR_OK;
}

/* Rounds of all trajectories at equal distances. */
static fc_err add_examples(const fc_llm *llm, const fc_scenario *s, const fc_trajectories *t,
                           texts *all) {
  int64_t rounds = t->n * t->rounds, n = rounds < LEARN_STATES ? rounds : LEARN_STATES;
  fc_fl_state *state = NULL;
  fc_err err = fc_fl_state_create(s, &state);
  for (int64_t i = 0; i < n && err == FC_ERR_OK; i++) {
    int64_t at = i * rounds / n;
    err = fc_trajectories_state(t, s, (int)(at / t->rounds), at % t->rounds + 1, state);
    if (err == FC_ERR_OK) err = add_example(llm, state, t->selected + at * t->devices, all);
  }
  fc_fl_state_destroy(&state);
  return err;
}

static fc_err learn_tokenizer(const fc_config *cfg, const fc_scenario *s, const fc_trajectories *t,
                              fc_llm *llm) {
  texts all = {0};
  FC_TRY(fc_alloc(2 * LEARN_TWICE + 2 * LEARN_STATES, sizeof *all.text, &all.text));
  fc_err err = add_common(llm, &all);
  if (err == FC_ERR_OK) err = add_examples(llm, s, t, &all);
  if (err == FC_ERR_OK)
    err = fc_tokenizer_learn_bpe(all.text, all.n, (int)fc_config_int(cfg, "policy.vocab"),
                                 &llm->tokenizer);
  for (size_t i = 0; i < all.n; i++) fc_free((char *)all.text[i].text);
  fc_free(all.text);
  return err;
}

/* ---- the model ------------------------------------------------------------------------------- */

fc_model_shape fc_llm_embedded_shape(const fc_config *cfg, int vocab) {
  return (fc_model_shape){.arch = fc_arch_find("llama"),
                          .layers = (int)fc_config_int(cfg, "policy.layers"),
                          .width = (int)fc_config_int(cfg, "policy.width"),
                          .heads = (int)fc_config_int(cfg, "policy.heads"),
                          .kv_heads = (int)fc_config_int(cfg, "policy.kv_heads"),
                          .ffn = (int)fc_config_int(cfg, "policy.ffn"),
                          .vocab = vocab,
                          .positions = (int)fc_config_int(cfg, "policy.positions")};
}

fc_err fc_llm_embed(const fc_config *cfg, const fc_scenario *s, const fc_trajectories *t,
                    fc_llm *llm) {
  llm->is_embedded = true;
  FC_TRY(learn_tokenizer(cfg, s, t, llm));
  fc_model_shape shape = fc_llm_embedded_shape(cfg, fc_tokenizer_vocab_size(llm->tokenizer));
  FC_TRY(fc_model_shape_check(&shape));
  FC_TRY(fc_model_create(&shape, &llm->model));
  FC_TRY(fc_alloc(fc_model_weight_count(llm->model), sizeof *llm->weights, &llm->weights));
  fc_model_init_weights(llm->model, (uint64_t)fc_config_int(cfg, "policy.seed"), false,
                        llm->weights);
  fc_model_set_weights(llm->model, llm->weights);
  return FC_ERR_OK;
}
