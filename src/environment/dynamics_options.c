/* dynamics_options.c - dynamics.*; defaults are for the laptop's size, [TELLM] has GPT-2 small. */
#include "dynamics.h"
#include "fedcell/fc_hash.h"
#include "fedcell/fc_mem.h"

static const fc_option options[] = {
    {"dynamics.seed", FC_OPT_INT, "", "1", 0, 9007199254740991.0, NULL,
     "Seed of the first weights, of the order of trajectories and of which are held out."},
    {"dynamics.layers", FC_OPT_INT, "", "2", 1, 1024, NULL,
     "Blocks of the decoder that learns the dynamics; GPT-2 small has 12."},
    {"dynamics.width", FC_OPT_INT, "", "64", 1, 65536, NULL, "Its width; GPT-2 small has 768."},
    {"dynamics.heads", FC_OPT_INT, "", "4", 1, 65536, NULL,
     "Its heads, which divide the width; GPT-2 small has 12."},
    {"dynamics.epochs", FC_OPT_INT, "", "100", 1, 1e9, NULL,
     "Passes over the trajectories. Kept are the weights of the epoch with the least loss on those "
     "held out."},
    {"dynamics.batch", FC_OPT_INT, "trajectories", "8", 1, 1e6, NULL,
     "Trajectories of an optimiser step."},
    {"dynamics.held_out", FC_OPT_REAL, "", "0.2", 0, 0.9, NULL,
     "Share of the trajectories that are not trained on; 0: the last epoch's weights are kept."},
    {"dynamics.optimizer", FC_OPT_CHOICE, "", "adamw", FC_OPTION_ANY, fc_optimizer_name,
     "What takes the steps."},
    {"dynamics.learning_rate", FC_OPT_REAL, "", "1e-3", 0, 1e3, NULL, "Learning rate."},
    {"dynamics.beta1", FC_OPT_REAL, "", "0.9", 0, 1, NULL, "AdamW: decay of the first moment."},
    {"dynamics.beta2", FC_OPT_REAL, "", "0.999", 0, 1, NULL, "AdamW: decay of the second moment."},
    {"dynamics.weight_decay", FC_OPT_REAL, "", "0.1", 0, 1e3, NULL, "Weight decay."},
    {"dynamics.clip_norm", FC_OPT_REAL, "", "1", 0, 1e18, NULL,
     "Norm that a gradient is scaled down to; 0: any."},
    {"dynamics.schedule", FC_OPT_CHOICE, "", "cosine", FC_OPTION_ANY, fc_schedule_name,
     "How the learning rate falls over the steps."},
    {"dynamics.warmup", FC_OPT_REAL, "", "0.05", 0, 1, NULL,
     "Share of the steps over which it first rises."},
    {"dynamics.dropout", FC_OPT_REAL, "", "0.1", 0, 0.99, NULL,
     "Share of the decoder's inputs that are left out at random in training."},
    {"dynamics.variance_floor", FC_OPT_REAL, "", "1e-3", 1e-12, 1, NULL,
     "Least variance of a prediction, of standardised values."},
    {"dynamics.sample", FC_OPT_BOOL, "", "true", FC_OPTION_ANY, NULL,
     "What the learned environment answers: a draw from the Gaussian, or its mean."},
};
const fc_option_table fc_dynamics_options =
    FC_OPTION_TABLE("dynamics: the model of trajectories behind the learned environment", options);

#define INT(name)    fc_config_int(cfg, "dynamics." name)
#define REAL(name)   fc_config_real(cfg, "dynamics." name)
#define STRING(name) fc_config_string(cfg, "dynamics." name)

fc_dynamics_settings fc_dynamics_settings_read(const fc_config *cfg) {
  return (fc_dynamics_settings){
      .layers = (int)INT("layers"),
      .width = (int)INT("width"),
      .heads = (int)INT("heads"),
      .epochs = INT("epochs"),
      .batch = INT("batch"),
      .optimizer = {.kind = fc_optimizer_find(STRING("optimizer")),
                    .learning_rate = (float)REAL("learning_rate"),
                    .beta1 = (float)REAL("beta1"),
                    .beta2 = (float)REAL("beta2"),
                    .eps = 1e-8F,
                    .weight_decay = (float)REAL("weight_decay"),
                    .momentum = 0.9F,
                    .clip_norm = (float)REAL("clip_norm"),
                    .schedule = STRING("schedule")},
      .warmup = REAL("warmup"),
      .dropout = REAL("dropout"),
      .held_out = REAL("held_out"),
      .variance_floor = REAL("variance_floor"),
      .sample = fc_config_bool(cfg, "dynamics.sample"),
      .seed = (uint64_t)INT("seed"),
  };
}

/* *text <- itself and one more option. */
static fc_err add_option(const fc_config *cfg, const char *name, char **text) {
  char *value = NULL, *longer = NULL;
  FC_TRY(fc_config_text(cfg, name, &value));
  fc_err err = fc_format(&longer, "%s%s: %s\n", *text ? *text : "", name, value);
  fc_free(value);
  FC_TRY(err);
  fc_free(*text);
  *text = longer;
  return FC_ERR_OK;
}

static uint64_t hash_of(const fc_trajectories *t) {
  size_t n = (size_t)t->n, N = (size_t)t->devices, K = (size_t)t->rounds;
  uint64_t h = fc_hash_bytes(FC_HASH_START, t->accuracy, n * (K + 1) * sizeof *t->accuracy);
  h = fc_hash_bytes(h, t->statistics, n * (K + 1) * N * FC_STATISTICS * sizeof *t->statistics);
  return fc_hash_bytes(h, t->served, n * K * N * sizeof *t->served);
}

fc_err fc_dynamics_key(const fc_config *cfg, const fc_trajectories *t, char **out) {
  fc_err err = FC_ERR_OK;
  *out = NULL;
  for (size_t i = 0; i < sizeof options / sizeof options[0] && err == FC_ERR_OK; i++)
    err = add_option(cfg, options[i].name, out);
  char *whole = NULL;
  if (err == FC_ERR_OK)
    err = fc_format(&whole, "%s%d trajectories, %016llx\n", *out, t->n,
                    (unsigned long long)hash_of(t));
  fc_free(*out);
  *out = whole;
  return err;
}
