/* reward.h - where the rewards of answers come from: a table of sources.
 *
 * `rule`: the environment's own reward. `model`: a model of preferences, learned from ranked pairs
 * of answers before training (reward_model.c). `judge`: any scorer outside (reward_judge.c). What
 * an invalid answer costs is taken off by the trainer, whatever the source. */
#ifndef POLICY_REWARD_H
#define POLICY_REWARD_H

#include "train.h"

typedef struct {
  const fc_comm *comm;
  const fc_config *cfg;
  const fc_scenario *scenario;
  const fc_trajectories *starts; /* pairs are made of; NULL: there are none */
  const fc_llm *llm;
} fc_reward_context;

typedef struct fc_reward fc_reward;
/* Collective. Of reward.source. */
fc_err fc_reward_create(const fc_reward_context *c, fc_reward **out);
void fc_reward_destroy(fc_reward **r); /* accepts NULL */
/* Collective. Learns what it needs; not called where a checkpoint has it. */
fc_err fc_reward_learn(fc_reward *r, volatile sig_atomic_t *stop);
/* Collective. score (n) of all answers, the same on all ranks. NUMERIC if one is not finite. */
fc_err fc_reward_score(fc_reward *r, const fc_answers *a, double *score);
/* Collective; Local. What was learned, in a checkpoint. */
void fc_reward_put(const fc_reward *r, fc_store_file *f);
fc_err fc_reward_get(fc_reward *r, const fc_store_reader *from);

typedef struct {
  const char *name;
  fc_err (*create)(const fc_reward_context *c, void **own); /* Collective; or NULL, as all below */
  void (*destroy)(void *own);
  fc_err (*learn)(void *own, volatile sig_atomic_t *stop);
  fc_err (*score)(void *own, const fc_answers *a, double *score); /* not NULL */
  void (*put)(const void *own, fc_store_file *f);
  fc_err (*get)(void *own, const fc_store_reader *from);
} fc_reward_source;
extern const fc_reward_source fc_reward_by_model, fc_reward_by_judge;

/* Local. The texts of an answer; the caller frees both. */
fc_err fc_answer_texts(const fc_llm *llm, const fc_answers *a, int64_t i, char **prompt,
                       char **answer);

#endif
