/* options.c - the options of a run, its model, adapter, federation and pretraining. */
#include "cut.h"
#include "federation.h"
#include "ranks.h"
#include "switching.h"

FC_OPTION_CHOICES(pooling_name, "auto", "first", "mean")
FC_OPTION_CHOICES(precision_name, "auto", "f32", "bf16")
FC_OPTION_CHOICES(adapter_kind_name, "lora", "full")
FC_OPTION_CHOICES(weighting_name, "samples", "uniform")
FC_OPTION_CHOICES(objective_name, "masked_lm", "causal_lm", "auto")

FC_OPTION_CHOICES(study_name, FC_STUDY_FEDERATION, FC_STUDY_POLICY)

static const fc_option run_options[] = {
    {"study", FC_OPT_CHOICE, "", FC_STUDY_FEDERATION, FC_OPTION_ANY, study_name,
     "What is studied: `federation`: devices fine-tune a model together; `policy`: a policy that "
     "chooses the devices of a federation is trained and judged (T-ELLM). Options of the other "
     "study are refused."},
    {"experiment", FC_OPT_STRING, "", "run", FC_OPTION_ANY, NULL,
     "Name of the experiment; stands in the result file and in its default path."},
    {"seed", FC_OPT_INT, "", "1", 0, 9007199254740991.0, NULL,
     "Seed of every random draw of the run. Runs of different methods with the same seed are "
     "paired: same devices, data split, channels and participants."},
    {"data.seed", FC_OPT_INT, "", "1", 0, 9007199254740991.0, NULL,
     "Seed of generated data and of the public and test parts. Apart from `seed`, which splits the "
     "rest over the devices, so that runs of different seeds share test part and base."},
    {"checkpoint.every_rounds", FC_OPT_INT, "rounds", "10", 1, 1e9, NULL,
     "A checkpoint is written after so many rounds, and on SIGUSR1 or SIGTERM."},
    {"model.precision", FC_OPT_CHOICE, "", "auto", FC_OPTION_ANY, precision_name,
     "Products with frozen weights: in f32, or with weights and inputs rounded to bf16 and sums in "
     "f32. auto: bf16 where the CPU has instructions for it (AMX, AVX-512 BF16), unless all "
     "weights "
     "are trained. Adapters, norms, softmax, losses and gradients of weights are f32 always."},
    {"model.cache", FC_OPT_STRING, "", "", FC_OPTION_ANY, NULL,
     "Folder of pretrained embedded bases; empty: FEDCELL_CACHE, else XDG_CACHE_HOME/fedcell, else "
     "~/.cache/fedcell."},
    {"model.scratch", FC_OPT_STRING, "", "", FC_OPTION_ANY, NULL,
     "Folder for the temporary file in which the ranks of a node share the base weights; empty: "
     "TMPDIR, else /tmp. It needs 4 bytes a weight, in bf16 8."},
};
const fc_option_table fc_run_options = FC_OPTION_TABLE("run", run_options);

static const fc_option model_options[] = {
    {"model.family", FC_OPT_CHOICE, "", "bert", FC_OPTION_ANY, fc_arch_name,
     "Architecture of the transformer. With a model folder its config.json must agree."},
    {"model.base", FC_OPT_STRING, "", "embedded", FC_OPTION_ANY, NULL,
     "Base weights: `embedded` (a small base that `fedcell pretrain` makes on the public split and "
     "caches), `random`, or the path of a folder with config.json, model.safetensors and tokeniser "
     "files, or of a model file of llama2.c. A relative path that does not exist here is looked "
     "for under models/ in FEDCELL_DATA "
     "and in the cache (model.cache)."},
    {"model.tokenizer", FC_OPT_STRING, "", "", FC_OPTION_ANY, NULL,
     "Folder or file of the tokeniser; empty: the one in the model's folder or beside its file, "
     "the "
     "embedded base's own, or plain bytes for random weights."},
    {"model.pooling", FC_OPT_CHOICE, "", "auto", FC_OPTION_ANY, pooling_name,
     "What the classification head of an encoder sees: the first token, as BERT does, or the mean "
     "of all tokens. auto: as the base's config.json says (fedcell_pooling), else the first token. "
     "An embedded base says mean: a minute of pretraining does not teach a summary token."},
    {"model.layers", FC_OPT_INT, "", "2", 1, 1000, NULL, "Blocks of an embedded or random base."},
    {"model.width", FC_OPT_INT, "", "64", 1, 65536, NULL,
     "Width of the residual stream of an embedded or random base."},
    {"model.heads", FC_OPT_INT, "", "4", 1, 1024, NULL,
     "Attention heads of an embedded or random base; must divide the width."},
    {"model.kv_heads", FC_OPT_INT, "", "0", 0, 1024, NULL,
     "Key and value heads of an embedded or random base (llama: fewer than the heads, which they "
     "must divide); 0: as many as heads."},
    {"model.ffn", FC_OPT_INT, "", "256", 1, 262144, NULL,
     "Neurons of a block's feed-forward layer, embedded or random base."},
    {"model.vocab", FC_OPT_INT, "tokens", "4096", 300, 1000000, NULL,
     "Vocabulary of an embedded base: byte-level BPE learnt on the public split."},
};
const fc_option_table fc_model_options =
    FC_OPTION_TABLE("model: the transformer and its base", model_options);

static const fc_option adapter_options[] = {
    {"adapter.kind", FC_OPT_CHOICE, "", "lora", FC_OPTION_ANY, adapter_kind_name,
     "What is trained: low-rank factors beside the frozen base, or all weights (as method fedfull "
     "does whatever stands here)."},
    {"adapter.rank", FC_OPT_INT, "", "8", 1, 1024, NULL, "LoRA rank R."},
    {"adapter.alpha", FC_OPT_REAL, "", "16", 0, 1e6, NULL, "LoRA scaling: alpha / R."},
    {"adapter.dropout", FC_OPT_REAL, "", "0", 0, 0.99, NULL,
     "Dropout on the input of the adapters in training."},
    {"adapter.targets", FC_OPT_NAMES, "", "[query, value]", FC_OPTION_ANY, NULL,
     "Linear layers that get an adapter, named as PEFT's target_modules (query, key, value, dense, "
     "c_attn, c_proj, c_fc, q_proj, gate_proj, ...), or all-linear."},
    {"adapter.saved", FC_OPT_NAMES, "", "[head]", FC_OPTION_ANY, NULL,
     "Modules trained whole and exchanged with the adapter, as PEFT's modules_to_save: classifier, "
     "pooler, any module or tensor; head: the whole classification head. Ignored for language "
     "models, which have none."},
    {"adapter.last_blocks", FC_OPT_INT, "", "0", 0, 1000, NULL,
     "Train the last so many blocks and what follows them only (PEFT's layers_to_transform): the "
     "adapter of methods that cut the model in two. 0: no such limit."},
    {"adapter.init", FC_OPT_STRING, "", "", FC_OPTION_ANY, NULL,
     "Folder of a PEFT adapter (adapter_config.json, adapter_model.safetensors) from which "
     "training "
     "starts; it must have the rank, alpha and targets given here. Empty: A is drawn at random, B "
     "is zero."},
};
const fc_option_table fc_adapter_options =
    FC_OPTION_TABLE("adapter: what is trained", adapter_options);

static const fc_option federation_options[] = {
    {"federation.method", FC_OPT_CHOICE, "", "fedlora", FC_OPTION_ANY, fc_method_name,
     "How the devices learn together; `fedcell list methods` describes each."},
    {"federation.rounds", FC_OPT_INT, "rounds", "30", 1, 1e9, NULL, "Rounds at most."},
    {"federation.participants", FC_OPT_INT, "devices", "0", 0, 4294967295.0, NULL,
     "Devices drawn at random for a round; 0: by federation.fraction."},
    {"federation.fraction", FC_OPT_REAL, "", "0.2", 1e-9, 1, NULL,
     "Share of the devices that takes part in a round (at least one)."},
    {"federation.cohort", FC_OPT_INT, "devices", "0", 0, 65536, NULL,
     "Devices whose tokens a thread takes through the frozen weights in one product; costs memory, "
     "changes no result. 0: as many as make the products fast (see `fedcell check`)."},
    {"federation.recompute", FC_OPT_BOOL, "", "false", FC_OPTION_ANY, NULL,
     "Keep the blocks' inputs alone while training and compute the rest again in the backward "
     "pass: up to half more work with adapters (a third where all weights are trained), a fraction "
     "of the memory, the same result."},
    {"federation.weighting", FC_OPT_CHOICE, "", "samples", FC_OPTION_ANY, weighting_name,
     "Weights of the average: by a device's number of samples, or all equal."},
    {"federation.bits_per_weight", FC_OPT_INT, "bit", "32", 1, 64, NULL,
     "Bits that a weight takes on the simulated link."},
    {"federation.aggregation_error", FC_OPT_BOOL, "", "true", FC_OPTION_ANY, NULL,
     "fedlora, hetlora, flora: measure in every round how far the new product of factors is from "
     "the mean of the devices' products; takes time where participants are many."},
    {"federation.eval_every", FC_OPT_INT, "rounds", "1", 1, 1e9, NULL,
     "The test part is evaluated after so many rounds, and after the last."},
    {"federation.eval_devices", FC_OPT_INT, "devices", "0", 0, 4294967295.0, NULL,
     "Methods with a model a device are evaluated on so many devices, drawn once; 0: on all."},
    {"federation.server_flops", FC_OPT_REAL, "FLOP/s", "1e14", 1, 1e30, NULL,
     "Compute speed of the base station's server."},
    {"federation.local.iterations", FC_OPT_INT, "", "4", 1, 1e6, NULL,
     "Optimiser steps of a participant in a round."},
    {"federation.local.batch", FC_OPT_INT, "sequences", "8", 1, 65536, NULL,
     "Sequences of a mini-batch; a device with fewer samples uses all it has."},
    {"federation.local.accumulate", FC_OPT_INT, "", "1", 1, 4096, NULL,
     "Mini-batches whose gradients are averaged into one step."},
    {"federation.local.optimizer", FC_OPT_CHOICE, "", "adamw", FC_OPTION_ANY, fc_optimizer_name,
     "Optimiser of the devices; its state starts anew in every round."},
    {"federation.local.learning_rate", FC_OPT_REAL, "", "1e-3", 0, 1e3, NULL, "Learning rate."},
    {"federation.local.weight_decay", FC_OPT_REAL, "", "0", 0, 1e3, NULL,
     "Weight decay (decoupled for AdamW)."},
    {"federation.local.momentum", FC_OPT_REAL, "", "0", 0, 0.9999, NULL, "Momentum of SGD."},
    {"federation.local.beta1", FC_OPT_REAL, "", "0.9", 0, 0.999999, NULL, "AdamW's beta1."},
    {"federation.local.beta2", FC_OPT_REAL, "", "0.999", 0, 0.999999999, NULL, "AdamW's beta2."},
    {"federation.local.epsilon", FC_OPT_REAL, "", "1e-8", 0, 1, NULL, "AdamW's epsilon."},
    {"federation.local.clip_norm", FC_OPT_REAL, "", "1", 0, 1e30, NULL,
     "Gradients of larger norm are scaled down to it; 0: never."},
    {"federation.local.schedule", FC_OPT_CHOICE, "", "constant", FC_OPTION_ANY, fc_schedule_name,
     "Learning rate over the steps of the whole run (rounds x iterations)."},
    {"federation.local.warmup", FC_OPT_INT, "steps", "0", 0, 1e12, NULL,
     "Steps over which the learning rate rises from 0."},
};
const fc_option_table fc_federation_options =
    FC_OPTION_TABLE("federation: rounds and local training", federation_options);

static const fc_option stop_options[] = {
    {"stop.target_loss", FC_OPT_REAL, "nat", "0", 0, 1e6, NULL,
     "The run ends when the test loss reaches this; 0: never."},
    {"stop.target_accuracy", FC_OPT_REAL, "", "0", 0, 1, NULL,
     "The run ends when the test accuracy reaches this; 0: never."},
};
const fc_option_table fc_stop_options = FC_OPTION_TABLE("stop: ending early", stop_options);

static const fc_option pretrain_options[] = {
    {"pretrain.objective", FC_OPT_CHOICE, "", "auto", FC_OPTION_ANY, objective_name,
     "What the embedded base learns from the public split; auto: masked language modelling for "
     "encoders, causal for decoders."},
    {"pretrain.steps", FC_OPT_INT, "steps", "3000", 0, 1e9, NULL, "Optimiser steps."},
    {"pretrain.batch", FC_OPT_INT, "sequences", "64", 1, 65536, NULL, "Sequences of a step."},
    {"pretrain.micro_batch", FC_OPT_INT, "sequences", "16", 1, 65536, NULL,
     "Sequences that one thread takes at a time; part of the result, as sums are rounded by it."},
    {"pretrain.learning_rate", FC_OPT_REAL, "", "2e-3", 0, 1e3, NULL,
     "Peak learning rate of AdamW; warmed up over 5 % of the steps, then down by a cosine."},
    {"pretrain.weight_decay", FC_OPT_REAL, "", "0.01", 0, 1e3, NULL, "Weight decay."},
    {"pretrain.seed", FC_OPT_INT, "", "1", 0, 9007199254740991.0, NULL,
     "Seed of the initial weights and batches. Apart from the run's seed, so that runs share one "
     "base."},
};
const fc_option_table fc_pretrain_options =
    FC_OPTION_TABLE("pretrain: the embedded base", pretrain_options);

const fc_option_table *fc_federation_tables(size_t *n) {
  static fc_option_table tables[13];
  static const struct {
    const fc_option_table *table;
    const char *study;
  } all[] = {{&fc_run_options, NULL},
             {&fc_model_options, FC_STUDY_FEDERATION},
             {&fc_adapter_options, FC_STUDY_FEDERATION},
             {&fc_data_options, NULL},
             {&fc_split_options, NULL},
             {&fc_population_options, FC_STUDY_FEDERATION},
             {&fc_cell_options, FC_STUDY_FEDERATION},
             {&fc_federation_options, FC_STUDY_FEDERATION},
             {&fc_stop_options, FC_STUDY_FEDERATION},
             {&fc_pretrain_options, FC_STUDY_FEDERATION},
             {&fc_cut_options, FC_STUDY_FEDERATION},
             {&fc_lowrank_options, FC_STUDY_FEDERATION},
             {&fc_switching_options, FC_STUDY_FEDERATION}};
  *n = sizeof all / sizeof all[0];
  for (size_t i = 0; i < *n; i++) {
    tables[i] = *all[i].table;
    tables[i].study = all[i].study;
  }
  return tables;
}

fc_federation_settings fc_federation_settings_read(const fc_config *cfg) {
#define INT(name)    fc_config_int(cfg, "federation." name)
#define REAL(name)   fc_config_real(cfg, "federation." name)
#define STRING(name) fc_config_string(cfg, "federation." name)
  fc_federation_settings s = {
      .method = STRING("method"),
      .rounds = INT("rounds"),
      .participants = INT("participants"),
      .fraction = REAL("fraction"),
      .weight_by_samples = STRING("weighting")[0] == 's',
      .bits_per_weight = (int)INT("bits_per_weight"),
      .eval_every = INT("eval_every"),
      .eval_devices = INT("eval_devices"),
      .server_flops = REAL("server_flops"),
      .target_loss = fc_config_real(cfg, "stop.target_loss"),
      .target_accuracy = fc_config_real(cfg, "stop.target_accuracy"),
      .cohort = (int)INT("cohort"),
      .recompute = fc_config_bool(cfg, "federation.recompute"),
      .checkpoint_every = fc_config_int(cfg, "checkpoint.every_rounds"),
      .local = {.iterations = (int)INT("local.iterations"),
                .batch = (int)INT("local.batch"),
                .accumulate = (int)INT("local.accumulate"),
                .optimizer = {.kind = fc_optimizer_find(STRING("local.optimizer")),
                              .learning_rate = (float)REAL("local.learning_rate"),
                              .beta1 = (float)REAL("local.beta1"),
                              .beta2 = (float)REAL("local.beta2"),
                              .eps = (float)REAL("local.epsilon"),
                              .weight_decay = (float)REAL("local.weight_decay"),
                              .momentum = (float)REAL("local.momentum"),
                              .clip_norm = (float)REAL("local.clip_norm"),
                              .schedule = STRING("local.schedule"),
                              .warmup_steps = INT("local.warmup")}},
  };
  s.local.optimizer.total_steps = s.rounds * s.local.iterations;
  const fc_method *method = fc_method_find(s.method);
  s.modules = method && method->modules ? method->modules(cfg) : 1;
  return s;
#undef INT
#undef REAL
#undef STRING
}
