/* llm.h - what the files of the language model share. */
#ifndef POLICY_LLM_H
#define POLICY_LLM_H

#include "fedcell/fc_llm.h"
#include "prompts.h"

struct fc_llm {
  fc_environment_settings set; /* of the scenario that prompts speak of */
  fc_prompts *prompts;
  fc_tokenizer *tokenizer;
  fc_model *model;
  float *weights;
  fc_bf16 *panels; /* NULL: products in f32 */
  bool is_embedded;
  fc_tokens prefix;
  int end, answer_max, length_max;
};

/* llm_text.c. Prefix, end and lengths for this scenario; USAGE where the model has no room. */
fc_err fc_llm_prepare_texts(fc_llm *llm, const fc_scenario *s);

/* llm_embedded.c. The shape that policy.* describe, unchecked. */
fc_model_shape fc_llm_embedded_shape(const fc_config *cfg, int vocab);
/* A tokeniser learned from prompts and answers, and random weights. */
fc_err fc_llm_embed(const fc_config *cfg, const fc_scenario *s, const fc_trajectories *t,
                    fc_llm *llm);

#endif
