/* llm_text.c - states to tokens, tokens to selections, and how long they can be. */
#include "fedcell/fc_mem.h"
#include "llm.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Appends; text is freed. */
static fc_err encode(const fc_llm *llm, char *text, fc_tokens *out) {
  fc_err err = fc_tokenizer_encode(llm->tokenizer, text, strlen(text), out);
  fc_free(text);
  return err;
}

/* ---- to tokens ------------------------------------------------------------------------------- */

static fc_err observe(const fc_llm *llm, const fc_fl_state *state, const char *instead,
                      fc_tokens *out) {
  char *text = NULL;
  FC_TRY(fc_prompts_observation(llm->prompts, &llm->set, state, instead, &text));
  return encode(llm, text, out);
}

fc_err fc_llm_observe(const fc_llm *llm, const fc_fl_state *state, fc_tokens *out) {
  size_t before = out->n, most = (size_t)(llm->length_max - llm->answer_max) - llm->prefix.n;
  FC_TRY(observe(llm, state, NULL, out));
  FC_CHECK(out->n - before <= most, SHAPE,
           "an observation of %zu tokens, %zu were expected at most: numbers in device.txt need "
           "a space between them",
           out->n - before, most);
  return FC_ERR_OK;
}

fc_err fc_llm_answer_tokens(const fc_llm *llm, const uint8_t *select, fc_tokens *out) {
  char *text = NULL;
  FC_TRY(fc_prompts_answer(llm->prompts, &llm->set, select, &text));
  FC_TRY(encode(llm, text, out));
  return fc_tokens_push(out, llm->end);
}

/* ---- from tokens ----------------------------------------------------------------------------- */

bool fc_llm_read_answer(const fc_llm *llm, const int32_t *ids, int n, uint8_t *select) {
  char *text = NULL;
  memset(select, 0, (size_t)llm->set.devices);
  if (fc_llm_answer_text(llm, ids, n, &text) != FC_ERR_OK) return false;
  bool valid = fc_answer_read(text, llm->set.devices, select);
  fc_free(text);
  return valid;
}

fc_err fc_llm_answer_text(const fc_llm *llm, const int32_t *ids, int n, char **out) {
  assert(n >= 0);
  return fc_tokenizer_decode(llm->tokenizer, ids, (size_t)n, out);
}

fc_err fc_llm_prompt_text(const fc_llm *llm, const fc_fl_state *state, char **out) {
  char *prefix = NULL, *observation = NULL;
  fc_err err = fc_prompts_prefix(llm->prompts, &llm->set, &prefix);
  if (err == FC_ERR_OK)
    err = fc_prompts_observation(llm->prompts, &llm->set, state, NULL, &observation);
  if (err == FC_ERR_OK) err = fc_format(out, "%s%s", prefix, observation);
  fc_free(prefix);
  fc_free(observation);
  return err;
}

/* ---- lengths --------------------------------------------------------------------------------- */

static fc_err make_prefix(fc_llm *llm) {
  char *text = NULL;
  fc_special_tokens special = fc_tokenizer_specials(llm->tokenizer);
  if (fc_tokenizer_begins_with_bos(llm->tokenizer) && special.bos >= 0)
    FC_TRY(fc_tokens_push(&llm->prefix, special.bos));
  FC_TRY(fc_prompts_prefix(llm->prompts, &llm->set, &text));
  return encode(llm, text, &llm->prefix);
}

/* Numbers stand between spaces, so none has more tokens beside some others than beside itself. */
static fc_err longest_observation(const fc_llm *llm, const fc_scenario *s, int *longest) {
  fc_fl_state *state = NULL;
  char *numbers = NULL, *rest = NULL;
  fc_tokens tokens = {0};
  *longest = 0;
  fc_err err = fc_fl_state_create(s, &state);
  if (err == FC_ERR_OK) err = fc_prompts_numbers(&numbers);
  for (char *number = numbers ? strtok_r(numbers, " ", &rest) : NULL; number && err == FC_ERR_OK;
       number = strtok_r(NULL, " ", &rest)) {
    tokens.n = 0;
    err = observe(llm, state, number, &tokens);
    if (err == FC_ERR_OK && (int)tokens.n > *longest) *longest = (int)tokens.n;
  }
  fc_tokens_free(&tokens);
  fc_free(numbers);
  fc_fl_state_destroy(&state);
  return err;
}

static fc_err longest_answer(fc_llm *llm) {
  uint8_t *select = NULL;
  fc_tokens tokens = {0};
  FC_TRY(fc_alloc((size_t)llm->set.devices, 1, &select));
  memset(select, 1, (size_t)llm->set.devices);
  fc_err err = fc_llm_answer_tokens(llm, select, &tokens);
  llm->answer_max = (int)tokens.n;
  fc_tokens_free(&tokens);
  fc_free(select);
  return err;
}

fc_err fc_llm_prepare_texts(fc_llm *llm, const fc_scenario *s) {
  int observation = 0, positions = fc_model_get_shape(llm->model)->positions;
  llm->end = fc_tokenizer_specials(llm->tokenizer).eos;
  FC_CHECK(llm->end >= 0, USAGE, "the tokeniser (%s) has no token that ends a text",
           fc_tokenizer_kind(llm->tokenizer));
  FC_TRY(make_prefix(llm));
  FC_TRY(longest_observation(llm, s, &observation));
  FC_TRY(longest_answer(llm));
  llm->length_max = (int)llm->prefix.n + observation + llm->answer_max;
  FC_CHECK(llm->length_max <= positions, USAGE,
           "a prompt with its answer may take %d tokens, the model has %d positions%s",
           llm->length_max, positions, llm->is_embedded ? " (policy.positions)" : "");
  return FC_ERR_OK;
}
