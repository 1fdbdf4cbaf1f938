/* cut_options.c - the options of methods that cut the model in two [JCPBA] and of their baselines.
 */
#include "cut.h"
#include <string.h>

FC_OPTION_CHOICES(solver_name, "exact", "bcd")
FC_OPTION_CHOICES(importance_name, "fisher", "norm")
FC_OPTION_CHOICES(objective_name, "lm", "distill")
FC_OPTION_CHOICES(clock_name, "achieved", "planned")
FC_OPTION_CHOICES(dispatch_name, "full", "lora")
FC_OPTION_CHOICES(matching_name, "jbba", "crunch", "exact")
FC_OPTION_CHOICES(download_name, "full", "trainable")
FC_OPTION_CHOICES(budget_name, "latency", "energy", "participation")

static const fc_option options[] = {
    {"cost.clock", FC_OPT_CHOICE, "", "achieved", FC_OPTION_ANY, clock_name,
     "Work and sizes of a pruned model: of the whole heads and neurons that are kept, or linear in "
     "the pruning rate, as the plan has them."},
    {"cost.count_attention", FC_OPT_BOOL, "", "true", FC_OPTION_ANY, NULL,
     "Count the attention scores among the FLOP."},
    {"cost.count_head", FC_OPT_BOOL, "", "true", FC_OPTION_ANY, NULL,
     "Count the LM or classification head among the FLOP."},
    {"cost.fixed_bytes", FC_OPT_REAL, "byte", "0", 0, 1e18, NULL,
     "Memory that a device's training needs beside the weights of emulator and adapter; 0: counted "
     "(embeddings, gradients, optimiser state, activations as this program keeps them)."},

    {"jcpba.solver", FC_OPT_CHOICE, "", "exact", FC_OPTION_ANY, solver_name,
     "Pruning rates and bandwidth by the global optimum, or by the paper's alternation."},
    {"jcpba.pruning_min", FC_OPT_REAL, "", "0.1", 0, 1, NULL, "Least pruning rate of a device."},
    {"jcpba.pruning_max", FC_OPT_REAL, "", "0.9", 0, 1, NULL, "Greatest pruning rate."},
    {"jcpba.mean_max", FC_OPT_REAL, "", "0.5", 0, 1, NULL,
     "Greatest mean pruning rate over a round's devices; ubfp prunes all at this rate."},
    {"jcpba.gamma_min", FC_OPT_REAL, "", "0", 0, 1e30, NULL,
     "Above 0: the mean rate's limit is (gamma_min - xi - phi/(K N))/psi instead [JCPBA (10)], "
     "with "
     "K participants and N samples of an iteration."},
    {"jcpba.xi", FC_OPT_REAL, "", "0", -1e30, 1e30, NULL, "xi of that limit."},
    {"jcpba.phi", FC_OPT_REAL, "", "0", 0, 1e30, NULL, "phi of that limit."},
    {"jcpba.psi", FC_OPT_REAL, "", "1", 1e-30, 1e30, NULL, "psi of that limit."},
    {"jcpba.importance", FC_OPT_CHOICE, "", "fisher", FC_OPTION_ANY, importance_name,
     "What makes a head or neuron important: the squared gradient by a mask on it, on public "
     "samples, or the norm of its weights."},
    {"jcpba.importance_samples", FC_OPT_INT, "", "64", 1, 1e9, NULL,
     "Public samples for the gradients."},

    {"server.tune_steps", FC_OPT_INT, "steps", "0", 0, 1e6, NULL,
     "Steps in which the server tunes the emulator on the public part after a round (fedbiot: "
     "aligns it); 0: none, fedbiot needs some."},
    {"server.first_steps", FC_OPT_INT, "steps", "0", 0, 1e6, NULL,
     "The same before the first round."},
    {"server.objective", FC_OPT_CHOICE, "", "distill", FC_OPTION_ANY, objective_name,
     "What it learns: the task's loss, or to answer as the original model with the current "
     "adapter does. fedbiot always does the latter."},
    {"server.hidden_weight", FC_OPT_REAL, "", "1", 0, 1e6, NULL,
     "distill: weight of the squared distance of what enters the adapter, relative."},
    {"server.kl_weight", FC_OPT_REAL, "", "0.9", 0, 1e6, NULL,
     "distill: weight of the Kullback-Leibler distance of the answers."},
    {"server.batch", FC_OPT_INT, "sequences", "16", 1, 65536, NULL, "Public sequences of a step."},
    {"server.rank", FC_OPT_INT, "", "128", 1, 1024, NULL,
     "LoRA rank of what the server trains; it is merged into the emulator."},
    {"server.alpha", FC_OPT_REAL, "", "256", 0, 1e6, NULL, "Its LoRA scaling: alpha / rank."},
    {"server.learning_rate", FC_OPT_REAL, "", "1e-4", 0, 1e3, NULL, "Its learning rate (AdamW)."},

    {"fedbiot.drop", FC_OPT_REAL, "", "0.2727", 0, 0.999, NULL,
     "Share of the emulator's blocks that are left out (the paper's FLOP match 6 of 22)."},
    {"fedbiot.epsilon", FC_OPT_REAL, "", "0.1", 0, 1e6, NULL,
     "Weight of the devices' |adapter - received adapter|^2."},
    {"fedbiot.dispatch", FC_OPT_CHOICE, "", "full", FC_OPTION_ANY, dispatch_name,
     "Sent down every round: emulator and adapter, or their low-rank factors alone, to devices "
     "that hold the rest."},

    {"deft.matching", FC_OPT_CHOICE, "", "jbba", FC_OPTION_ANY, matching_name,
     "Blocks to devices: jointly with bandwidth (JBBA), at equal bandwidth (CRUNCH), or by full "
     "search (up to 12 participants)."},
    {"deft.download", FC_OPT_CHOICE, "", "full", FC_OPTION_ANY, download_name,
     "Sent down every round: the whole model, or what is trained of it."},

    {"splitlora.budget", FC_OPT_CHOICE, "", "latency", FC_OPTION_ANY, budget_name,
     "What the devices' scheduling keeps within a long-term limit."},
    {"splitlora.v", FC_OPT_REAL, "", "100", 0, 1e30, NULL,
     "Weight V of the learning bound against the queues (drift plus penalty)."},
    {"splitlora.rho", FC_OPT_REAL, "", "0.99", 1e-6, 1, NULL,
     "1 - eta mu of the bound: later rounds weigh more."},
    {"splitlora.limit", FC_OPT_REAL, "", "0.5", 0, 1e30, NULL,
     "latency, energy: the limit of the mean as a share of what it is in average rounds in which "
     "all that are drawn take part; participation: least share of rounds in which a device takes "
     "part."},
    {"splitlora.train_embedding", FC_OPT_BOOL, "", "false", FC_OPTION_ANY, NULL,
     "Count the gradient that goes back down to the device's embedding."},
};
const fc_option_table fc_cut_options =
    FC_OPTION_TABLE("cut: pruned, split and shared-out models", options);

fc_cost_settings fc_cost_settings_read(const fc_config *cfg) {
  return (fc_cost_settings){.is_planned = fc_config_string(cfg, "cost.clock")[0] == 'p',
                            .count_attention = fc_config_bool(cfg, "cost.count_attention"),
                            .count_head = fc_config_bool(cfg, "cost.count_head"),
                            .fixed_bytes = fc_config_real(cfg, "cost.fixed_bytes")};
}
