/* fc_llm.h - the language model that chooses devices: observations as text in, answers as text out.
 *
 *   fc_llm_create(cfg, scenario, trajectories, &llm);     // or fc_llm_load(folder, ...)
 *   fc_llm_observe(llm, state, &tokens);                  // the part of the prompt after the
 * prefix fc_llm_answer_tokens(llm, select, &tokens);           // "Selected devices: 1, 4, 7" and
 * the end fc_llm_read_answer(llm, ids, n, select);              // false: an invalid action
 *
 * A prompt is prefix (role, task, constraints, format: the same for a whole run) + observation (one
 * line a device). The templates are files (policy.prompts). The model is a LLaMA-architecture
 * decoder: small and of its own vocabulary, or a Hugging Face folder with its tokeniser. */
#ifndef FC_LLM_H
#define FC_LLM_H

#include "fedcell/fc_generate.h"
#include "fedcell/fc_tokenizer.h"
#include "fedcell/fc_trajectory.h"
#include <signal.h>

typedef struct fc_llm fc_llm;

/* Local, the same on all ranks. policy.model "embedded": a tokeniser learned from prompts and
 * answers of these trajectories and random weights (seed policy.seed); else the folder's. */
fc_err fc_llm_create(const fc_config *cfg, const fc_scenario *s, const fc_trajectories *t,
                     fc_llm **out);
/* Local. What fc_llm_save wrote; the prompts are made for this scenario (its deadline, band, limits
 * may differ from those of training). */
fc_err fc_llm_load(const fc_config *cfg, const char *folder, const fc_scenario *s, fc_llm **out);
/* Local. A Hugging Face folder (config.json, model.safetensors, tokeniser) and the templates; must
 * exist. theta as in fc_llm_trainable is merged in; NULL: the weights as they are. */
fc_err fc_llm_save(const fc_llm *llm, const fc_trainable *t, const float *theta,
                   const char *folder);
void fc_llm_destroy(fc_llm **llm); /* accepts NULL */

/* Local. Whether its products with frozen weights run in bf16 (policy.precision; fc_precision_agree
 * first). */
bool fc_llm_is_bf16(const fc_config *cfg);
fc_model *fc_llm_model(const fc_llm *llm);
const fc_tokenizer *fc_llm_tokenizer(const fc_llm *llm);
int fc_llm_end(const fc_llm *llm); /* the token that ends an answer */
/* Merges theta into the model's own weights and packs them again where products run in bf16. */
fc_err fc_llm_merge(fc_llm *llm, const fc_trainable *t, const float *theta);
/* LoRA on all linear layers (policy.lora_rank), or all weights (0). The caller destroys it. */
fc_err fc_llm_trainable(const fc_llm *llm, const fc_config *cfg, fc_trainable **out);

/* Borrowed. */
const fc_tokens *fc_llm_prefix(const fc_llm *llm);
/* Appends. */
fc_err fc_llm_observe(const fc_llm *llm, const fc_fl_state *state, fc_tokens *out);
fc_err fc_llm_answer_tokens(const fc_llm *llm, const uint8_t *select, fc_tokens *out);
/* The longest answer that may be generated, and the longest prompt with it. */
int fc_llm_answer_max(const fc_llm *llm);
int fc_llm_length_max(const fc_llm *llm);
/* Any list of distinct device numbers in range, at least one; what else is said does not matter as
 * long as it holds no other number. False: select is all 0. `text` variant: for tests and judges.
 */
bool fc_llm_read_answer(const fc_llm *llm, const int32_t *ids, int n, uint8_t *select);
bool fc_answer_read(const char *text, int devices, uint8_t *select);
/* The whole prompt and an answer as text; caller frees. */
fc_err fc_llm_prompt_text(const fc_llm *llm, const fc_fl_state *state, char **out);
fc_err fc_llm_answer_text(const fc_llm *llm, const int32_t *ids, int n, char **out);

/* Supervised fine-tuning on the answers in the trajectories that warm_up.teacher names (the warm
 * start). */
typedef struct {
  int64_t step, steps;
  double loss;                              /* per answer token, this step */
  double validation_loss, validation_valid; /* NAN between validations: loss; share of greedy
                                               answers that are valid */
} fc_warm_report;
typedef struct {
  void (*on_step)(void *arg, const fc_warm_report *r); /* all ranks; may be NULL */
  void *arg;
  const char *checkpoint; /* as in fc_dynamics_request */
  volatile sig_atomic_t *stop;
} fc_warm_request;
/* Collective. Trains all weights of an embedded model, of one from a folder what fc_llm_trainable
 * says (warm_up.*), and leaves them in the model; the same bits on any number of ranks. */
fc_err fc_llm_warm_up(const fc_comm *comm, const fc_config *cfg, const fc_scenario *s,
                      const fc_trajectories *t, const fc_warm_request *request, fc_llm *llm);

extern const fc_option_table fc_policy_options;  /* policy.* */
extern const fc_option_table fc_warm_up_options; /* warm_up.* */

#endif
