/* fldlt3_options.c - fldlt3.*: how the agent FL-DLT3 is trained. */
#include "fldlt3.h"

static const fc_option options[] = {
    {"fldlt3.hidden", FC_OPT_INT, "", "128", 1, 8192, NULL,
     "Width of the networks' dense layers and LSTM (FL-DLT3: 512)."},
    {"fldlt3.learning_rate", FC_OPT_REAL, "", "3e-4", 1e-12, 1, NULL,
     "Of Adam, actor and critics."},
    {"fldlt3.gamma", FC_OPT_REAL, "", "0.99", 0, 1, NULL, "Discount of later rounds' rewards."},
    {"fldlt3.tau", FC_OPT_REAL, "", "5e-3", 0, 1, NULL,
     "Share of the way that the target networks go towards the others."},
    {"fldlt3.delay", FC_OPT_INT, "updates", "2", 1, 1e6, NULL,
     "The actor learns, and targets follow, every so many updates of the critics (FL-DLT3: 10)."},
    {"fldlt3.target_noise", FC_OPT_REAL, "", "0.2", 0, 10, NULL,
     "Deviation of the noise on the target's actions, which range from -1 to 1 (FL-DLT3: 0.5)."},
    {"fldlt3.target_noise_limit", FC_OPT_REAL, "", "0.5", 0, 10, NULL,
     "Largest such noise (FL-DLT3: none)."},
    {"fldlt3.exploration", FC_OPT_REAL, "", "0.1", 0, 10, NULL,
     "Deviation of the noise on actions while training (FL-DLT3: 0.5)."},
    {"fldlt3.random_episodes", FC_OPT_INT, "episodes", "64", 0, 1e9, NULL,
     "First episodes, with random actions, during which nothing is learned."},
    {"fldlt3.batch", FC_OPT_INT, "episodes", "16", 1, 4096, NULL,
     "Episodes that an update learns from (FL-DLT3: 45)."},
    {"fldlt3.replay", FC_OPT_INT, "rounds", "5e5", 1, 1e9, NULL,
     "Latest rounds that are kept to learn from, in whole episodes."},
    {"fldlt3.updates", FC_OPT_INT, "", "1", 0, 1e6, NULL, "Updates per episode."},
    {"fldlt3.wave", FC_OPT_INT, "episodes", "8", 1, 4096, NULL,
     "Episodes that are played side by side before their updates; lowered to what divides "
     "grpo.episodes. More let more ranks play."},
    {"fldlt3.predict", FC_OPT_BOOL, "", "false", FC_OPTION_ANY, NULL,
     "The actor also learns to tell the next state."},
};
const fc_option_table fc_fldlt3_options =
    FC_OPTION_TABLE("fldlt3: the agent FL-DLT3 (TD3 with an LSTM)", options);

#define INT(name)  fc_config_int(cfg, "fldlt3." name)
#define REAL(name) fc_config_real(cfg, "fldlt3." name)

fc_err fc_fldlt3_settings_read(const fc_config *cfg, const fc_scenario *s,
                               fc_fldlt3_settings *out) {
  const int devices = fc_scenario_settings(s)->devices;
  fc_train_settings train;
  FC_TRY(fc_train_settings_read(cfg, s, "fldlt3", &train));
  *out = (fc_fldlt3_settings){
      .td3 = {.states = fc_fldlt3_states(devices),
              .actions = fc_fldlt3_actions(devices),
              .rounds = (int)train.rounds,
              .hidden = (int)INT("hidden"),
              .predict = fc_config_bool(cfg, "fldlt3.predict"),
              .learning_rate = REAL("learning_rate"),
              .gamma = REAL("gamma"),
              .tau = REAL("tau"),
              .delay = (int)INT("delay"),
              .noise = REAL("target_noise"),
              .noise_limit = REAL("target_noise_limit"),
              .batch = (int)INT("batch"),
              .seed = train.seed},
      .iterations = train.iterations,
      .episodes = train.episodes,
      .wave = (int)INT("wave"),
      .noise = REAL("exploration"),
      .random = INT("random_episodes"),
      .replay = INT("replay"),
      .updates = (int)INT("updates"),
      .checkpoint_every = train.checkpoint_every,
  };
  if (out->wave > out->episodes) out->wave = out->episodes;
  while (out->episodes % out->wave != 0) out->wave--;
  return FC_ERR_OK;
}
