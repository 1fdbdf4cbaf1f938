/* options.c - environment.* and evaluation.*; defaults are those of [TELLM, Table II] and of the
 * assumptions that the README names beside it. */
#include "environment.h"
#include "fedcell/fc_solver.h"
#include <math.h>
#include <string.h>

FC_OPTION_CHOICES(step_name, "minibatch", "full-batch")
FC_OPTION_CHOICES(pixels_name, "standard", "unit")
FC_OPTION_CHOICES(normalise_name, "selected", "all")
FC_OPTION_CHOICES(bandwidth_name, "equal", "optimal") /* fc_altd_bandwidth */
FC_OPTION_CHOICES(tool_name, "exact", "altd")         /* fc_altd_method */
FC_OPTION_CHOICES(environment_name, "real", "learned")

static const fc_option environment_options[] = {
    {"environment.seed", FC_OPT_INT, "", "1", 0, 9007199254740991.0, NULL,
     "Seed of the devices and of how they divide the data. Apart from `seed`, which names "
     "episodes, "
     "so that all trials meet the same devices."},
    {"environment.devices", FC_OPT_INT, "devices", "20", 1, 100000, NULL, "Devices N."},
    {"environment.rounds", FC_OPT_INT, "rounds", "100", 1, 1e6, NULL, "Rounds K of an episode."},
    {"environment.iterations", FC_OPT_INT, "", "5", 1, 1e6, NULL,
     "Local steps I of a participant in a round."},
    {"environment.step", FC_OPT_CHOICE, "", "minibatch", FC_OPTION_ANY, step_name,
     "A local step goes down the gradient of a mini-batch, or of all samples of the device. Time "
     "and energy are billed by all samples either way."},
    {"environment.batch", FC_OPT_INT, "samples", "64", 1, 65536, NULL, "Samples of a mini-batch."},
    {"environment.learning_rate", FC_OPT_REAL, "", "0.1", 0, 1e3, NULL,
     "Learning rate of the local steps (SGD)."},
    {"environment.channels", FC_OPT_REALS, "", "[32, 64]", 1, 4096, NULL,
     "Channels of the classifier's two convolutions."},
    {"environment.hidden", FC_OPT_INT, "", "512", 1, 65536, NULL,
     "Neurons of the classifier's dense layer."},
    {"environment.pixels", FC_OPT_CHOICE, "", "standard", FC_OPTION_ANY, pixels_name,
     "What the classifier sees of a pixel: its value less the mean of all training images' pixels, "
     "divided by their standard deviation; or its value from 0 to 1, from which the first rounds "
     "learn little."},
    {"environment.probe_samples", FC_OPT_INT, "samples", "64", 1, 1e6, NULL,
     "Samples of a device, drawn once, on which the losses and gradients that an agent sees are "
     "estimated."},
    {"environment.test_samples", FC_OPT_INT, "samples", "0", 0, 1e9, NULL,
     "Test samples, drawn once, on which the accuracy of a round is measured; 0: all."},
    {"environment.normalise", FC_OPT_CHOICE, "", "selected", FC_OPTION_ANY, normalise_name,
     "The new model is the sum of the participants' ones, weighted by samples over the samples of "
     "the participants, or over those of all devices as [TELLM (4)] prints it, which shrinks the "
     "model."},
    {"environment.cycles_per_sample", FC_OPT_REAL, "cycles", "7e5", 0, 1e18, NULL,
     "Processor cycles C that a sample takes in a local step."},
    {"environment.switched_capacitance", FC_OPT_REAL, "J s^2", "1e-28", 0, 1, NULL,
     "Effective switched capacitance zeta: a cycle at frequency f takes zeta f^2."},
    {"environment.f_max_hz", FC_OPT_DIST, "Hz", "{uniform: [0.5e9, 4e9]}", 1, 1e15, NULL,
     "Highest processor frequency of a device."},
    {"environment.p_max_w", FC_OPT_DIST, "W", "{log_uniform: [0.001, 1]}", 1e-12, 1e6, NULL,
     "Highest transmit power of a device."},
    {"environment.gain", FC_OPT_DIST, "", "{log_uniform: [1e-7, 1e-6]}", 1e-30, 1, NULL,
     "Power gain of a device's channel, drawn anew in every round."},
    {"environment.bandwidth_hz", FC_OPT_REAL, "Hz", "2e6", 1, 1e12, NULL,
     "Bandwidth of the uplink, shared by the participants of a round."},
    {"environment.noise_dbm_per_hz", FC_OPT_REAL, "dBm/Hz", "-174", -250, 0, NULL,
     "Density of the noise at the base station."},
    {"environment.model_bits", FC_OPT_REAL, "bit", "53.21e6", 1, 1e18, NULL,
     "Size of an upload. It does not follow environment.channels: a small classifier may stand for "
     "the paper's."},
    {"environment.deadline_s", FC_OPT_REAL, "s", "15", 1e-9, 1e9, NULL,
     "Time T_QoS that a round may take."},
    {"environment.bandwidth", FC_OPT_CHOICE, "", "equal", FC_OPTION_ANY, bandwidth_name,
     "Shares of the band: equal, or as takes the least energy."},
    {"environment.tool", FC_OPT_CHOICE, "", "altd", FC_OPTION_ANY, tool_name,
     "What allocates frequency and power: altd alternates between them, exact finds a root; they "
     "agree."},
    {"environment.sigma", FC_OPT_REAL, "", "0.8", 0, 1, NULL,
     "Weight of the accuracy in the reward (1-sigma) accuracy/energy + sigma accuracy."},
    {"environment.energy_offset_j", FC_OPT_REAL, "J", "1", 0, 1e9, NULL,
     "Added to the energy in the reward. 0: as [TELLM (12)] prints it, where a round of next to no "
     "energy and no learning is worth more than any other."},
    {"environment.idle_reward", FC_OPT_REAL, "", "0", -1e9, 1e9, NULL,
     "Reward of a round in which nobody could be served."},
    {"environment.select_min", FC_OPT_INT, "devices", "5", 1, 100000, NULL,
     "Devices that the task asks an agent to choose at least."},
};
const fc_option_table fc_environment_options = FC_OPTION_TABLE(
    "environment: federated learning in which an agent chooses the devices", environment_options);

static const fc_option evaluation_options[] = {
    {"evaluation.environment", FC_OPT_CHOICE, "", "real", FC_OPTION_ANY, environment_name,
     "Where policies are judged: in the real environment, whose devices train the classifier, or "
     "in the learned one that policies are trained in, where a model of trajectories tells what "
     "comes of a choice. Channels, and what a choice costs, are the same in both."},
    {"evaluation.scenario", FC_OPT_INT, "", "1", 1, 2, NULL,
     "1: the devices that the policy was trained with. 2: their highest frequencies mirrored in "
     "the range of environment.f_max_hz, their highest powers drawn anew."},
    {"evaluation.deadline_s", FC_OPT_REAL, "s", "0", 0, 1e9, NULL,
     "Time that a round may take where policies are judged; 0: environment.deadline_s."},
    {"evaluation.alpha", FC_OPT_REAL, "", "0", 0, 1e6, NULL,
     "Concentration of the devices' mixes of classes where policies are judged; 0: data.alpha."},
    {"evaluation.trials", FC_OPT_INT, "episodes", "10", 1, 1e6, NULL,
     "Episodes in which a policy is judged."},
    {"evaluation.rounds", FC_OPT_INT, "rounds", "0", 0, 1e6, NULL,
     "Rounds of such an episode; 0: environment.rounds."},
};
const fc_option_table fc_evaluation_options = FC_OPTION_TABLE(
    "evaluation: how the environment in which policies are judged differs", evaluation_options);

/* ---- reading --------------------------------------------------------------------------------- */

static int choice_index(const fc_config *cfg, const char *name, fc_option_choice choice) {
  const char *value = fc_config_string(cfg, name);
  int i = 0;
  while (strcmp(choice((size_t)i), value) != 0) i++;
  return i;
}

static fc_err read_shape(const fc_config *cfg, fc_cnn_shape *shape) {
  const double *channels = fc_config_reals(cfg, "environment.channels");
  const size_t n = fc_config_count(cfg, "environment.channels");
  FC_CHECK(n == 2, USAGE, "environment.channels has %zu numbers, must have 2", n);
  for (int i = 0; i < 2; i++) {
    FC_CHECK(channels[i] == floor(channels[i]), USAGE,
             "environment.channels: %g is not a whole number", channels[i]);
    shape->channels[i] = (int)channels[i];
  }
  shape->hidden = (int)fc_config_int(cfg, "environment.hidden");
  return FC_ERR_OK;
}

static void evaluate_elsewhere(const fc_config *cfg, fc_environment_settings *set) {
  const double deadline_s = fc_config_real(cfg, "evaluation.deadline_s");
  const int64_t rounds = fc_config_int(cfg, "evaluation.rounds");
  if (deadline_s > 0) set->deadline_s = deadline_s;
  if (rounds > 0) set->rounds = rounds;
}

fc_err fc_environment_settings_read(const fc_config *cfg, fc_environment_use use,
                                    fc_environment_settings *set) {
  const bool full = choice_index(cfg, "environment.step", step_name) == 1;
  *set = (fc_environment_settings){
      .devices = (int)fc_config_int(cfg, "environment.devices"),
      .rounds = fc_config_int(cfg, "environment.rounds"),
      .iterations = (int)fc_config_int(cfg, "environment.iterations"),
      .batch = full ? 0 : (int)fc_config_int(cfg, "environment.batch"),
      .learning_rate = fc_config_real(cfg, "environment.learning_rate"),
      .standard_pixels = choice_index(cfg, "environment.pixels", pixels_name) == 0,
      .probe_samples = (int)fc_config_int(cfg, "environment.probe_samples"),
      .test_samples = fc_config_int(cfg, "environment.test_samples"),
      .normalise_by_all = choice_index(cfg, "environment.normalise", normalise_name) == 1,
      .cycles_per_sample = fc_config_real(cfg, "environment.cycles_per_sample"),
      .switched_capacitance = fc_config_real(cfg, "environment.switched_capacitance"),
      .bandwidth_hz = fc_config_real(cfg, "environment.bandwidth_hz"),
      .noise_psd_w_per_hz =
          pow(10.0, (fc_config_real(cfg, "environment.noise_dbm_per_hz") - 30.0) / 10.0),
      .model_bits = fc_config_real(cfg, "environment.model_bits"),
      .deadline_s = fc_config_real(cfg, "environment.deadline_s"),
      .allocation = choice_index(cfg, "environment.bandwidth", bandwidth_name),
      .tool = choice_index(cfg, "environment.tool", tool_name),
      .sigma = fc_config_real(cfg, "environment.sigma"),
      .energy_offset_j = fc_config_real(cfg, "environment.energy_offset_j"),
      .idle_reward = fc_config_real(cfg, "environment.idle_reward"),
      .select_min = (int)fc_config_int(cfg, "environment.select_min"),
  };
  FC_CHECK(set->select_min <= set->devices, USAGE,
           "environment.select_min is %d, but environment.devices only %d", set->select_min,
           set->devices);
  if (use == FC_EVALUATION) evaluate_elsewhere(cfg, set);
  return read_shape(cfg, &set->cnn);
}
