/* llm.c - the language model that chooses devices: where it comes from and goes to, what of it is
 * trained. */
#include "llm.h"
#include "fedcell/fc_federation.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_weights.h"
#include <string.h>

/* ---- coming and going ------------------------------------------------------------------------ */

/* After the weights are what they are; before, packs nothing. */
static void pack(fc_llm *llm) {
  if (!llm->panels) return;
  fc_model_pack(llm->model, llm->panels);
  fc_model_set_panels(llm->model, llm->panels);
}

/* Where all weights are trained none is frozen. */
bool fc_llm_is_bf16(const fc_config *cfg) {
  const char *precision = fc_config_string(cfg, "policy.precision");
  const bool has_frozen = fc_config_int(cfg, "policy.lora_rank") > 0;
  return strcmp(precision, "bf16") == 0 ||
         (strcmp(precision, "auto") == 0 && has_frozen && fc_k_bf16_is_fast());
}

static fc_err make_panels(const fc_config *cfg, fc_llm *llm) {
  if (!fc_llm_is_bf16(cfg)) return FC_ERR_OK;
  FC_TRY(fc_alloc(fc_model_panel_count(llm->model), sizeof *llm->panels, &llm->panels));
  pack(llm);
  return FC_ERR_OK;
}

/* Tokeniser, model and weights of a Hugging Face folder. */
static fc_err open_folder(const char *folder, fc_llm *llm) {
  fc_model_shape shape;
  FC_TRY(fc_weights_read_shape(folder, 0, &shape));
  FC_CHECK(fc_arch_is_causal(shape.arch), USAGE,
           "%s holds an encoder: a policy that writes needs a decoder", folder);
  FC_TRY(fc_tokenizer_load_of_model(folder, &llm->tokenizer));
  int vocab = fc_tokenizer_vocab_size(llm->tokenizer);
  FC_CHECK(vocab <= shape.vocab, SHAPE, "the tokeniser has %d tokens, the model in %s only %d",
           vocab, folder, shape.vocab);
  FC_TRY(fc_model_create(&shape, &llm->model));
  FC_TRY(fc_alloc(fc_model_weight_count(llm->model), sizeof *llm->weights, &llm->weights));
  FC_TRY(fc_weights_read(llm->model, folder, 0, llm->weights));
  fc_model_set_weights(llm->model, llm->weights);
  return FC_ERR_OK;
}

static fc_err fill(const fc_config *cfg, const char *folder, const fc_scenario *s,
                   const fc_trajectories *t, fc_llm *llm) {
  llm->set = *fc_scenario_settings(s);
  FC_TRY(folder ? open_folder(folder, llm) : fc_llm_embed(cfg, s, t, llm));
  FC_TRY(fc_llm_prepare_texts(llm, s));
  return make_panels(cfg, llm);
}

/* Takes the prompts over. folder NULL: the embedded model. */
static fc_err make(const fc_config *cfg, fc_prompts *prompts, const char *folder,
                   const fc_scenario *s, const fc_trajectories *t, fc_llm **out) {
  *out = NULL;
  fc_err err = fc_alloc(1, sizeof **out, out);
  if (err != FC_ERR_OK) {
    fc_prompts_destroy(&prompts);
    return err;
  }
  (*out)->prompts = prompts;
  err = fill(cfg, folder, s, t, *out);
  if (err != FC_ERR_OK) fc_llm_destroy(out);
  return err;
}

fc_err fc_llm_create(const fc_config *cfg, const fc_scenario *s, const fc_trajectories *t,
                     fc_llm **out) {
  bool is_embedded = strcmp(fc_config_string(cfg, "policy.model"), "embedded") == 0;
  fc_prompts *prompts = NULL;
  char *folder = NULL;
  *out = NULL;
  if (!is_embedded) FC_TRY(fc_model_folder(cfg, "policy.model", "embedded", &folder));
  fc_err err = fc_prompts_of(cfg, &prompts);
  if (err == FC_ERR_OK) err = make(cfg, prompts, folder, s, t, out);
  fc_free(folder);
  return err;
}

fc_err fc_llm_load(const fc_config *cfg, const char *folder, const fc_scenario *s, fc_llm **out) {
  fc_prompts *prompts = NULL;
  *out = NULL;
  FC_TRY(fc_prompts_read(folder, &prompts));
  return make(cfg, prompts, folder, s, NULL, out);
}

void fc_llm_destroy(fc_llm **out) {
  fc_llm *llm = *out;
  if (!llm) return;
  fc_prompts_destroy(&llm->prompts);
  fc_tokenizer_destroy(&llm->tokenizer);
  fc_model_destroy(&llm->model);
  fc_free(llm->weights);
  fc_free(llm->panels);
  fc_tokens_free(&llm->prefix);
  fc_free(llm);
  *out = NULL;
}

fc_err fc_llm_save(const fc_llm *llm, const fc_trainable *t, const float *theta,
                   const char *folder) {
  float *merged = NULL;
  const float *weights = llm->weights;
  if (theta) {
    FC_TRY(fc_alloc(fc_model_weight_count(llm->model), sizeof *merged, &merged));
    fc_trainable_merge(t, theta, merged);
    weights = merged;
  }
  fc_err err = fc_weights_write(llm->model, weights, folder);
  fc_free(merged);
  if (err == FC_ERR_OK) err = fc_tokenizer_save(llm->tokenizer, folder);
  return err == FC_ERR_OK ? fc_prompts_write(llm->prompts, folder) : err;
}

/* ---- what is trained ------------------------------------------------------------------------- */

fc_err fc_llm_merge(fc_llm *llm, const fc_trainable *t, const float *theta) {
  fc_trainable_merge(t, theta, llm->weights);
  int64_t n = (int64_t)fc_model_weight_count(llm->model);
  int64_t bad = fc_k_first_not_finite(llm->weights, n);
  FC_CHECK(bad == n, NUMERIC, "weight %lld of the policy is not finite", (long long)bad);
  pack(llm);
  return FC_ERR_OK;
}

fc_err fc_llm_trainable(const fc_llm *llm, const fc_config *cfg, fc_trainable **out) {
  static const char *const all[] = {"all"}, *const linear[] = {"all-linear"};
  int rank = (int)fc_config_int(cfg, "policy.lora_rank");
  fc_trainable_spec spec = {.saved = all, .n_saved = 1, .lora_rank = 1};
  if (rank > 0)
    spec = (fc_trainable_spec){.targets = linear,
                               .n_targets = 1,
                               .lora_rank = rank,
                               .alpha = (float)fc_config_real(cfg, "policy.lora_alpha")};
  return fc_trainable_create(llm->model, &spec, out);
}

/* ---- looking in ------------------------------------------------------------------------------ */

fc_model *fc_llm_model(const fc_llm *llm) {
  return llm->model;
}

const fc_tokenizer *fc_llm_tokenizer(const fc_llm *llm) {
  return llm->tokenizer;
}

int fc_llm_end(const fc_llm *llm) {
  return llm->end;
}

const fc_tokens *fc_llm_prefix(const fc_llm *llm) {
  return &llm->prefix;
}

int fc_llm_answer_max(const fc_llm *llm) {
  return llm->answer_max;
}

int fc_llm_length_max(const fc_llm *llm) {
  return llm->length_max;
}
