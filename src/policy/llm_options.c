/* llm_options.c - policy.* and warm_up.*. */
#include "fedcell/fc_agent.h"
#include "fedcell/fc_llm.h"
#include "fedcell/fc_optimizer.h"

FC_OPTION_CHOICES(precision_name, "auto", "f32", "bf16")
FC_OPTION_CHOICES(answers_name, "served", "selected")
FC_OPTION_CHOICES(teacher_name, "tool", "all")

static const fc_option policy_options[] = {
    {"policy.agent", FC_OPT_CHOICE, "", "grpo", FC_OPTION_ANY, fc_agent_name,
     "Who chooses the devices: `fedcell list agents`."},
    {"policy.seed", FC_OPT_INT, "", "1", 0, 9007199254740991.0, NULL,
     "Seed of the embedded model's weights. Apart from `seed`, which names the episodes in which a "
     "policy is judged."},
    {"policy.model", FC_OPT_STRING, "", "embedded", FC_OPTION_ANY, NULL,
     "The language model: `embedded` (a small LLaMA with random weights and a tokeniser that is "
     "learned from the prompts), or the path of a folder with config.json, model.safetensors and "
     "tokeniser files of a decoder (LLaMA 3.2 1B), looked for as with model.base."},
    {"policy.prompts", FC_OPT_STRING, "", "", FC_OPTION_ANY, NULL,
     "Folder of the templates system.txt, task.txt, observation.txt, device.txt and answer.txt; "
     "empty: the project's own (jobs/prompts)."},
    {"policy.layers", FC_OPT_INT, "", "4", 1, 1000, NULL, "Blocks of the embedded model."},
    {"policy.width", FC_OPT_INT, "", "160", 1, 65536, NULL,
     "Width of the embedded model's residual stream."},
    {"policy.heads", FC_OPT_INT, "", "5", 1, 1024, NULL,
     "Attention heads of the embedded model; must divide the width."},
    {"policy.kv_heads", FC_OPT_INT, "", "0", 0, 1024, NULL,
     "Key and value heads of the embedded model, which must divide the heads; 0: as many."},
    {"policy.ffn", FC_OPT_INT, "", "448", 1, 262144, NULL,
     "Neurons of a block's feed-forward layer of the embedded model."},
    {"policy.vocab", FC_OPT_INT, "tokens", "1024", 300, 1000000, NULL,
     "Vocabulary of the embedded model at most: byte-level BPE learned from prompts and answers."},
    {"policy.positions", FC_OPT_INT, "tokens", "512", 1, 1e6, NULL,
     "Longest prompt with its answer that the embedded model takes."},
    {"policy.precision", FC_OPT_CHOICE, "", "auto", FC_OPTION_ANY, precision_name,
     "Products with frozen weights of the language model: as model.precision. auto: bf16 where the "
     "CPU has instructions for it, unless all weights are trained."},
    {"policy.lora_rank", FC_OPT_INT, "", "0", 0, 1024, NULL,
     "Rank of the adapters on all linear layers that are trained with rewards (and in the warm "
     "start of a model from a folder); 0: all weights are trained."},
    {"policy.lora_alpha", FC_OPT_REAL, "", "16", 0, 1e6, NULL, "LoRA scaling: alpha / rank."},
    {"policy.temperature", FC_OPT_REAL, "", "1", 0, 100, NULL,
     "Temperature at which answers are drawn in training; where policies are judged the likeliest "
     "answer counts."},
    {"policy.top_p", FC_OPT_REAL, "", "1", 1e-6, 1, NULL,
     "Draws in training are among the likeliest tokens that have this share together."},
};
const fc_option_table fc_policy_options =
    FC_OPTION_TABLE("policy: the language model that chooses the devices", policy_options);

static const fc_option warm_up_options[] = {
    {"warm_up.steps", FC_OPT_INT, "steps", "400", 0, 1e9, NULL,
     "Optimiser steps of the warm start, in which the language model learns to answer as was "
     "answered in the trajectories (warm_up.teacher); 0: none."},
    {"warm_up.batch", FC_OPT_INT, "answers", "32", 1, 1e6, NULL, "Answers of a step."},
    {"warm_up.micro_batch", FC_OPT_INT, "answers", "2", 1, 1e6, NULL,
     "Answers that a thread takes at a time; the result depends on it, as on the batch, but not on "
     "the ranks."},
    {"warm_up.learning_rate", FC_OPT_REAL, "", "1e-3", 0, 10, NULL, "Learning rate (AdamW)."},
    {"warm_up.schedule", FC_OPT_CHOICE, "", "cosine", FC_OPTION_ANY, fc_schedule_name,
     "How the learning rate falls over the steps, after a rise over the first twentieth of them."},
    {"warm_up.answers", FC_OPT_CHOICE, "", "served", FC_OPTION_ANY, answers_name,
     "What is learned of a round: the devices that were served, or all that the tool had selected, "
     "of which some could not meet the deadline."},
    {"warm_up.teacher", FC_OPT_CHOICE, "", "tool", FC_OPTION_ANY, teacher_name,
     "Whose answers are learned: the eps-greedy tool's, as in the paper, or those of all recorded "
     "trajectories, the random ones too. The tool always names as few devices as it may; a policy "
     "that has learned to count like it hardly ever tries more when it is trained with rewards."},
    {"warm_up.permute", FC_OPT_BOOL, "", "true", FC_OPTION_ANY, NULL,
     "Number the devices anew for every answer, so that the model learns to read what is told of "
     "them, and not which numbers are often right."},
    {"warm_up.held_out", FC_OPT_REAL, "", "0.1", 0, 0.9, NULL,
     "Share of the tool's trajectories, the last ones, that are kept for validation."},
    {"warm_up.validate_every", FC_OPT_INT, "steps", "100", 1, 1e9, NULL,
     "Validation after so many steps, and after the last one."},
    {"warm_up.validation_answers", FC_OPT_INT, "answers", "64", 1, 1e6, NULL,
     "Answers of a validation at most."},
    {"warm_up.checkpoint_every", FC_OPT_INT, "steps", "100", 1, 1e9, NULL,
     "A checkpoint is written after so many steps, and on SIGUSR1 or SIGTERM."},
    {"warm_up.seed", FC_OPT_INT, "", "1", 0, 9007199254740991.0, NULL,
     "Seed of the batches and of the devices' new numbers."},
};
const fc_option_table fc_warm_up_options = FC_OPTION_TABLE(
    "warm_up: what the language model learns before it is rewarded", warm_up_options);
