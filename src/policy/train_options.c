/* train_options.c - grpo.*: how the policy is trained with rewards. */
#include "train.h"
#include <string.h>

FC_OPTION_CHOICES(ratio_name, "response", "token")
FC_OPTION_CHOICES(average_name, "response", "token", "constant") /* fc_average */

static const fc_option grpo_options[] = {
    {"grpo.seed", FC_OPT_INT, "", "1", 0, 9007199254740991.0, NULL,
     "Seed of the episodes trained in, of the answers drawn there and of the steps' order."},
    {"grpo.iterations", FC_OPT_INT, "", "60", 1, 1e6, NULL,
     "Times that a batch of episodes is played and learned from."},
    {"grpo.episodes", FC_OPT_INT, "", "32", 1, 65536, NULL, "Episodes of a batch."},
    {"grpo.rounds", FC_OPT_INT, "rounds", "0", 0, 1e6, NULL,
     "Rounds of an episode; 0: as many as in the environment."},
    {"grpo.epochs", FC_OPT_INT, "", "1", 1, 1000, NULL,
     "Times that a batch's answers are gone through."},
    {"grpo.minibatch", FC_OPT_INT, "answers", "240", 1, 1e6, NULL, "Answers of an optimiser step."},
    {"grpo.micro_batch", FC_OPT_INT, "answers", "8", 1, 4096, NULL,
     "Answers that a thread takes at a time. It fixes the order of sums, ranks and threads do "
     "not."},
    {"grpo.learning_rate", FC_OPT_REAL, "", "1e-4", 1e-12, 1, NULL, "Of AdamW."},
    {"grpo.schedule", FC_OPT_CHOICE, "", "constant", FC_OPTION_ANY, fc_schedule_name,
     "How the learning rate goes over the training."},
    {"grpo.weight_decay", FC_OPT_REAL, "", "0", 0, 1, NULL, "Of AdamW."},
    {"grpo.clip_norm", FC_OPT_REAL, "", "1", 0, 1e9, NULL,
     "Gradients with a larger norm are scaled down to it; 0: never."},
    {"grpo.ratio", FC_OPT_CHOICE, "", "response", FC_OPTION_ANY, ratio_name,
     "Whose probability is compared with the old policy's and limited: the whole answer's "
     "[TELLM (31), (32)], or each token's (DeepSeekMath)."},
    {"grpo.clip_low", FC_OPT_REAL, "", "0.2", 0, 1, NULL, "The ratio counts down to 1 - clip_low."},
    {"grpo.clip_high", FC_OPT_REAL, "", "0.2", 0, 1e6, NULL,
     "The ratio counts up to 1 + clip_high (DAPO: 0.28)."},
    {"grpo.std", FC_OPT_BOOL, "", "true", FC_OPTION_ANY, NULL,
     "Normalised rewards are divided by their standard deviation; false: Dr. GRPO."},
    {"grpo.average", FC_OPT_CHOICE, "", "response", FC_OPTION_ANY, average_name,
     "How token terms are averaged: within an answer, then over answers (DeepSeekMath); over all "
     "tokens of a step (DAPO); over answers and the longest possible length (Dr. GRPO). With "
     "grpo.ratio: response it touches the KL penalty alone."},
    {"grpo.kl_beta", FC_OPT_REAL, "", "0", 0, 1e6, NULL,
     "Weight of the penalty for leaving the policy that training began with (k3 per token); 0: "
     "none, and it is not measured."},
    {"grpo.dynamic", FC_OPT_BOOL, "", "false", FC_OPTION_ANY, NULL,
     "Rounds in which all episodes have the same advantage take no part in steps (DAPO)."},
    {"grpo.gamma", FC_OPT_REAL, "", "1", 0, 1, NULL,
     "Discount of later rounds' rewards; 1: none [TELLM (30)]."},
    {"grpo.lambda", FC_OPT_REAL, "", "0.95", 0, 1, NULL,
     "PPO: of generalised advantage estimation."},
    {"grpo.value.weight", FC_OPT_REAL, "", "0.5", 0, 1e6, NULL, "PPO: of the value loss."},
    {"grpo.value.clip", FC_OPT_REAL, "", "0.2", 0, 1e6, NULL,
     "PPO: how far a value may move from the old one before the larger loss of both counts; 0: no "
     "limit. In units of a reward's standard deviation."},
    {"grpo.value.learning_rate", FC_OPT_REAL, "", "1e-3", 0, 1, NULL, "PPO: of the value head."},
    {"grpo.checkpoint_every", FC_OPT_INT, "iterations", "5", 1, 1e9, NULL,
     "A checkpoint is written after so many iterations, and on SIGUSR1 or SIGTERM."},
};
const fc_option_table fc_grpo_options =
    FC_OPTION_TABLE("grpo: training the policy with rewards", grpo_options);

/* The value's number among the choices. */
static int choice(const fc_config *cfg, const char *name, fc_option_choice of) {
  size_t i = 0;
  while (strcmp(of(i), fc_config_string(cfg, name)) != 0) i++;
  return (int)i;
}

static fc_objective objective(const fc_config *cfg) {
  return (fc_objective){.token_ratio = choice(cfg, "grpo.ratio", ratio_name) == 1,
                        .clip_low = fc_config_real(cfg, "grpo.clip_low"),
                        .clip_high = fc_config_real(cfg, "grpo.clip_high"),
                        .average = (fc_average)choice(cfg, "grpo.average", average_name),
                        .kl_beta = fc_config_real(cfg, "grpo.kl_beta")};
}

static fc_optimizer_settings optimizer(const fc_config *cfg) {
  return (fc_optimizer_settings){.kind = fc_optimizer_find("adamw"),
                                 .learning_rate = (float)fc_config_real(cfg, "grpo.learning_rate"),
                                 .beta1 = 0.9f,
                                 .beta2 = 0.999f,
                                 .eps = 1e-8f,
                                 .weight_decay = (float)fc_config_real(cfg, "grpo.weight_decay"),
                                 .clip_norm = (float)fc_config_real(cfg, "grpo.clip_norm"),
                                 .schedule = fc_config_string(cfg, "grpo.schedule")};
}

int64_t fc_train_steps(const fc_train_settings *s) {
  int64_t answers = s->episodes * s->rounds;
  return s->epochs * ((answers + s->minibatch - 1) / s->minibatch);
}

fc_err fc_train_settings_read(const fc_config *cfg, const fc_scenario *s, const char *algorithm,
                              fc_train_settings *out) {
  int64_t rounds = fc_config_int(cfg, "grpo.rounds"), most = fc_scenario_settings(s)->rounds;
  FC_CHECK(rounds <= most, USAGE, "grpo.rounds = %lld: the environment has %lld rounds",
           (long long)rounds, (long long)most);
  *out = (fc_train_settings){
      .is_ppo = strcmp(algorithm, "ppo") == 0,
      .iterations = fc_config_int(cfg, "grpo.iterations"),
      .rounds = rounds > 0 ? rounds : most,
      .episodes = (int)fc_config_int(cfg, "grpo.episodes"),
      .epochs = (int)fc_config_int(cfg, "grpo.epochs"),
      .minibatch = (int)fc_config_int(cfg, "grpo.minibatch"),
      .micro_batch = (int)fc_config_int(cfg, "grpo.micro_batch"),
      .optimizer = optimizer(cfg),
      .objective = objective(cfg),
      .divide = fc_config_bool(cfg, "grpo.std"),
      .drops = fc_config_bool(cfg, "grpo.dynamic") && strcmp(algorithm, "ppo") != 0,
      .gamma = fc_config_real(cfg, "grpo.gamma"),
      .lambda = fc_config_real(cfg, "grpo.lambda"),
      .value_weight = fc_config_real(cfg, "grpo.value.weight"),
      .value_limit = fc_config_real(cfg, "grpo.value.clip"),
      .value_rate = fc_config_real(cfg, "grpo.value.learning_rate"),
      .temperature = fc_config_real(cfg, "policy.temperature"),
      .top_p = fc_config_real(cfg, "policy.top_p"),
      .penalty = fc_config_real(cfg, "reward.invalid_penalty"),
      .seed = (uint64_t)fc_config_int(cfg, "grpo.seed"),
      .checkpoint_every = fc_config_int(cfg, "grpo.checkpoint_every"),
  };
  out->optimizer.total_steps = out->iterations * fc_train_steps(out);
  return FC_ERR_OK;
}
