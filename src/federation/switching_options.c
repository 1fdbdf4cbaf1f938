/* switching_options.c - the options of model switching [SW], and what must fit together in them. */
#include "switching.h"
#include <math.h>
#include <string.h>

FC_OPTION_CHOICES(formulas_name, "printed", "corrected")
FC_OPTION_CHOICES(delivery_name, "sinr", "bernoulli")
FC_OPTION_CHOICES(power_name, "adaptive", "max")
FC_OPTION_CHOICES(affinity_name, "none", "loss")
FC_OPTION_CHOICES(compute_bits_name, "sample", "model")

static const fc_option options[] = {
    {"switching.modules", FC_OPT_INT, "", "4", 1, FC_MODULES_MAX, NULL,
     "LoRA modules N that are learned side by side."},
    {"switching.max_subscriptions", FC_OPT_INT, "", "1", 1, FC_MODULES_MAX, NULL,
     "Modules s_t that a device may train in a round."},
    {"switching.participation", FC_OPT_REAL, "", "0.1", 0, 1, NULL,
     "Share v_n of its rounds in which a device should train each module, in the long run."},
    {"switching.mu", FC_OPT_REAL, "1/J", "1e5", 0, 1e18, NULL,
     "Weight of a joule against the learning bound; 0: energy is free."},
    {"switching.formulas", FC_OPT_CHOICE, "", "corrected", FC_OPTION_ANY, formulas_name,
     "The paper's formulas as printed, or with what their derivation gives (bound, success "
     "probability, power)."},
    {"switching.delivery", FC_OPT_CHOICE, "", "sinr", FC_OPTION_ANY, delivery_name,
     "What arrives: as for all methods, uploads whose SINR, with the interferers drawn, reaches "
     "cell.outage_snr_db; or drawn with the probability of the closed form. Either way within "
     "cell.deadline_s: devices that the band cannot serve by then sit the round out, those that "
     "need most of it first."},
    {"switching.power", FC_OPT_CHOICE, "", "adaptive", FC_OPTION_ANY, power_name,
     "Transmit power: what weighs arrival against energy best, up to population.tx_power_w, or "
     "always that."},
    {"switching.tolerance", FC_OPT_REAL, "", "1e-3", 0, 1, NULL,
     "Bandwidth and power alternate until no device's objective changes by more, relative."},
    {"switching.alternations", FC_OPT_INT, "", "10", 1, 1e6, NULL,
     "They alternate so often at most."},
    {"switching.step", FC_OPT_REAL, "", "0", 0, 1e18, NULL,
     "Step of the subscriptions' descent; 0: the linear problem's vertex, as printed."},
    {"switching.dual_step", FC_OPT_REAL, "", "1e4", 0, 1e18, NULL,
     "Step of the participation constraint's multipliers."},
    {"switching.affinity", FC_OPT_CHOICE, "", "none", FC_OPTION_ANY, affinity_name,
     "loss: a device is drawn to modules on which its training loss was low (an extension)."},
    {"switching.affinity_weight", FC_OPT_REAL, "1/nat", "1e4", 0, 1e18, NULL,
     "affinity loss: weight of a nat above the device's best module."},
    {"switching.xi", FC_OPT_REAL, "", "0.25", 1e-12, 1e12, NULL,
     "Strong convexity xi of the risk in the bound."},
    {"switching.eps", FC_OPT_REAL, "", "0.5", 1e-12, 1e12, NULL,
     "Lipschitz constant eps of the risk and its gradient."},
    {"switching.zeta1", FC_OPT_REAL, "", "3000", 0, 1e18, NULL,
     "Constant zeta_1 of the gradients' bound zeta_1 + zeta_2 |grad F|^2."},
    {"switching.zeta2", FC_OPT_REAL, "", "5e-4", 0, 1e18, NULL,
     "zeta_2; with K > 372 devices in a round, 372/K of it, as the bound needs."},
    {"switching.compute_bits", FC_OPT_CHOICE, "", "sample", FC_OPTION_ANY, compute_bits_name,
     "G^w of the computing energy: bits of a tokenised sample (32 a token), or of the base model, "
     "as printed."},
    {"switching.cycles_per_bit", FC_OPT_REAL, "", "737.5", 0, 1e12, NULL,
     "Cycles M to process a bit, for the computing energy of these methods."},
    {"switching.frequency_hz", FC_OPT_REAL, "Hz", "1.5e9", 0, 1e15, NULL,
     "Devices' clock f of that energy."},
    {"switching.capacitance", FC_OPT_REAL, "J s^2", "1e-27", 0, 1, NULL,
     "Energy coefficient rho of the chip: rho f^2 a cycle."},
};
const fc_option_table fc_switching_options =
    FC_OPTION_TABLE("switching: several modules, chosen by each device", options);

#define INT(name)   fc_config_int(cfg, "switching." name)
#define REAL(name)  fc_config_real(cfg, "switching." name)
#define IS(name, c) (fc_config_string(cfg, "switching." name)[0] == (c))

int fc_switching_modules(const fc_config *cfg) {
  return (int)INT("modules");
}

/* Constants of Theorem 1; the rest is 0. */
static fc_switching_settings bound_settings(const fc_config *cfg) {
  enum { FEW = 372 }; /* A stays positive up to here with the default constants */
  fc_federation_settings f = fc_federation_settings_read(cfg);
  int64_t devices = fc_config_int(cfg, "population.devices");
  double K = (double)fc_participants_per_round(&f, (uint32_t)devices);
  return (fc_switching_settings){.xi = REAL("xi"),
                                 .eps = REAL("eps"),
                                 .zeta1 = REAL("zeta1"),
                                 .zeta2 = REAL("zeta2") * (K > FEW ? FEW / K : 1.0),
                                 .devices = K,
                                 .formulas = IS("formulas", 'p') ? FC_FORMULAS_PRINTED
                                                                 : FC_FORMULAS_CORRECTED};
}

static double compute_bits(const fc_federation *fed) {
  const fc_config *cfg = fed->cfg;
  int64_t samples = 0;
  if (IS("compute_bits", 'm'))
    return (double)fc_model_weight_count(fed->task.model) * fed->set.bits_per_weight;
  return 32 * fc_task_mean_length(&fed->task, fc_cell_devices(fed->cell), &samples);
}

static void read_radio(const fc_federation *fed, fc_switching_settings *s) {
  const fc_config *cfg = fed->cfg;
  double threshold_db = fc_config_real(cfg, "cell.outage_snr_db");
  double deadline_s = fc_config_real(cfg, "cell.deadline_s");
  s->bandwidth_hz = fc_cell_bandwidth_hz(fed->cell);
  s->noise_w_per_hz = fc_cell_noise_w(fed->cell, 1.0);
  s->deadline_s = deadline_s > 0 ? deadline_s : (double)INFINITY;
  s->threshold = threshold_db > -300 ? pow(10, threshold_db / 10) : 0.0;
  s->density_per_m2 = fc_config_real(cfg, "cell.interferer_density_per_m2");
  s->interferer_power_w = fc_config_real(cfg, "cell.interferer_power_w");
  s->exponent = fc_config_real(cfg, "cell.pathloss_exponent");
  s->loss_at_1m = pow(10, fc_config_real(cfg, "cell.pathloss_reference_db") / 10) *
                  pow(fc_config_real(cfg, "cell.pathloss_reference_m"), -s->exponent);
}

fc_switching_settings fc_switching_settings_read(const fc_federation *fed) {
  const fc_config *cfg = fed->cfg;
  double step = REAL("step"), f = REAL("frequency_hz");
  fc_switching_settings s = bound_settings(cfg);
  s.modules = fc_switching_modules(cfg);
  s.most = (int)INT("max_subscriptions");
  s.participation = REAL("participation");
  s.mu = REAL("mu");
  s.is_drawn = IS("delivery", 'b');
  s.adapts_power = IS("power", 'a');
  s.tolerance = REAL("tolerance");
  s.alternations = (int)INT("alternations");
  s.step = step > 0 ? step : (double)NAN;
  s.dual_step = REAL("dual_step");
  s.loss_weight = IS("affinity", 'l') ? REAL("affinity_weight") : 0.0;
  s.compute_j_per_sample = compute_bits(fed) * f * f * REAL("capacitance") * REAL("cycles_per_bit");
  s.update_bits = (double)fed->P * fed->set.bits_per_weight;
  read_radio(fed, &s);
  return s;
}

/* 0 < A < 1 of Theorem 1, whatever arrives. */
static void check_bound(fc_config *cfg) {
  fc_switching_settings s = bound_settings(cfg);
  double least = fc_switching_rate(&s, 1), most = fc_switching_rate(&s, 0);
  if (!(least > 0 && most < 1))
    fc_config_fault(cfg, "switching.zeta2",
                    "A of the bound lies between %.4g and %.4g with %.0f devices in a round, not "
                    "within (0, 1); see switching.xi, eps, zeta2",
                    least, most, s.devices);
}

static void check_radio(fc_config *cfg) {
  if (strcmp(fc_config_string(cfg, "cell.pathloss"), "power-law") != 0)
    fc_config_fault(cfg, "cell.pathloss",
                    "must be power-law for model switching, as its success "
                    "probability has it");
  if (!(fc_config_real(cfg, "cell.pathloss_exponent") > 2))
    fc_config_fault(cfg, "cell.pathloss_exponent", "must be above 2 for model switching");
  if (strcmp(fc_config_string(cfg, "cell.noise"), "allocated") != 0)
    fc_config_fault(cfg, "cell.noise", "must be allocated for model switching");
  if (IS("formulas", 'p') && !(fc_config_real(cfg, "cell.interferer_density_per_m2") > 0))
    fc_config_fault(cfg, "cell.interferer_density_per_m2",
                    "must be above 0 for switching.formulas = printed, which divide by it");
}

void fc_switching_check(fc_config *cfg) {
  int64_t modules = INT("modules"), most = INT("max_subscriptions");
  if (most > modules)
    fc_config_fault(cfg, "switching.max_subscriptions", "must be at most switching.modules = %lld",
                    (long long)modules);
  if (REAL("participation") * (double)modules > (double)most)
    fc_config_fault(cfg, "switching.participation",
                    "must be at most max_subscriptions/modules = %.4g: no device could meet it",
                    (double)most / (double)modules);
  check_radio(cfg);
  check_bound(cfg);
}
