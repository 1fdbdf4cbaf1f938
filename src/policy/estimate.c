/* estimate.c - what a study will need, told before anything runs: the hungriest stage's memory, and
 * the stages' work, 2 FLOP a weight and token forward and 4 backward. */
#include "fedcell/fc_descent.h"
#include "fedcell/fc_machine.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_weights.h"
#include "llm.h"
#include "stages.h"
#include <math.h>
#include <string.h>

typedef struct {
  const fc_config *cfg;
  const fc_environment_settings *set;
  int ranks, threads;
} asked;

static bool is_embedded(const fc_config *cfg) {
  return strcmp(fc_config_string(cfg, "policy.model"), "embedded") == 0;
}

/* Tokens of a prompt with its answer, of which `together` begin alike and take that beginning once:
 * the lines through what 10 and 20 devices take with the project's templates, 255 and 397 tokens of
 * their own vocabulary, 360 and 612 of LLaMA-3's. */
static double text_tokens(const asked *a, double together) {
  return is_embedded(a->cfg) ? 105 / together + 8 + 14.2 * a->set->devices
                             : 100 / together + 8 + 25.2 * a->set->devices;
}

static double episodes_of_a_rank(const asked *a) {
  return ceil((double)fc_config_int(a->cfg, "grpo.episodes") / a->ranks);
}

static double larger(double a, double b) {
  return a > b ? a : b;
}

/* A round of the real environment with as many participants as a random choice has. */
static double round_flop(const asked *a, double test_samples) {
  const fc_environment_settings *e = a->set;
  const double participants = 0.5 * (e->select_min + e->devices);
  const double steps = (double)e->iterations * (e->batch > 0 ? e->batch : e->probe_samples);
  return fc_cnn_forward_flop(&e->cnn) * (3 * participants * (steps + e->probe_samples) +
                                         3.0 * e->devices * e->probe_samples + test_samples);
}

static double real_bytes(const asked *a) {
  const double weights = (double)fc_cnn_weight_count(&a->set->cnn);
  const int batch = a->set->batch > 0 ? a->set->batch : a->set->probe_samples;
  return sizeof(float) * weights * (2.0 * a->set->devices + 2) +
         a->threads * ((double)fc_cnn_bytes(&a->set->cnn, batch) + sizeof(float) * weights);
}

/* ---- the language model ---------------------------------------------------------------------- */

/* Models whose shape is known before somebody has fetched their weights. */
static const struct {
  const char *name, *family;
  fc_model_shape shape;
} published[] = {{"llama-3.2-1b",
                  "llama",
                  {.layers = 16,
                   .width = 2048,
                   .heads = 32,
                   .kv_heads = 8,
                   .ffn = 8192,
                   .vocab = 128256,
                   .positions = 131072}}};

static bool find_published(const char *name, fc_model_shape *shape) {
  for (size_t i = 0; i < sizeof published / sizeof *published; i++)
    if (strcmp(published[i].name, name) == 0) {
      *shape = published[i].shape;
      shape->arch = fc_arch_find(published[i].family);
      return true;
    }
  return false;
}

static fc_err find_shape(const fc_config *cfg, fc_model_shape *shape, bool *is_missing) {
  char *folder = NULL;
  fc_err err = fc_model_folder(cfg, "policy.model", "embedded", &folder);
  *is_missing = err == FC_ERR_IO && find_published(fc_config_string(cfg, "policy.model"), shape);
  if (*is_missing) return FC_ERR_OK;
  if (err == FC_ERR_OK) err = fc_weights_read_shape(folder, 0, shape);
  fc_free(folder);
  return err;
}

static fc_err policy_model(const fc_config *cfg, bool *is_missing, fc_model **model) {
  fc_model_shape shape;
  if (is_embedded(cfg))
    shape = fc_llm_embedded_shape(cfg, (int)fc_config_int(cfg, "policy.vocab"));
  else
    FC_TRY(find_shape(cfg, &shape, is_missing));
  FC_TRY(fc_model_shape_check(&shape));
  return fc_model_create(&shape, model);
}

static fc_err trainable_of(const fc_config *cfg, const fc_model *model, fc_trainable **out) {
  static const char *const linear[] = {"all-linear"}, *const all[] = {"all"};
  const int lora_rank = (int)fc_config_int(cfg, "policy.lora_rank");
  const fc_trainable_spec whole = {.saved = all, .n_saved = 1, .lora_rank = 1};
  const fc_trainable_spec factors = {.targets = linear,
                                     .n_targets = 1,
                                     .lora_rank = lora_rank,
                                     .alpha = (float)fc_config_real(cfg, "policy.lora_alpha")};
  return fc_trainable_create(model, lora_rank > 0 ? &factors : &whole, out);
}

/* Weights and their panels, playing a rank's episodes, and learning from them. */
static double training_bytes(const asked *a, const fc_model *model, const fc_trainable *t) {
  const int length = (int)text_tokens(a, 1);
  const int answers = (int)fc_config_int(a->cfg, "grpo.micro_batch");
  const int episodes = (int)episodes_of_a_rank(a);
  const fc_optimizer_settings adamw = {.kind = fc_optimizer_find("adamw")};
  const double weights = (double)fc_model_weight_count(model);
  const bool has_panels = fc_trainable_lora(t).rank > 0;
  return weights * sizeof(float) +
         (has_panels ? (double)fc_model_panel_count(model) * sizeof(fc_bf16) : 0.0) +
         2.0 * (double)fc_trainable_count(t) * sizeof(float) +
         (double)fc_descent_bytes(&adamw, fc_trainable_count(t), a->ranks) +
         (double)fc_generator_bytes(model, t, episodes, length) +
         a->threads * (double)fc_work_bytes(model, t, (int64_t)answers * length, answers, length,
                                            FC_WORK_TRAIN);
}

static fc_err add_policy(const asked *a, fc_policy_estimate *out) {
#define INT(name) (double)fc_config_int(a->cfg, name)
  fc_model *model = NULL;
  fc_trainable *t = NULL;
  FC_TRY(policy_model(a->cfg, &out->policy_is_missing, &model));
  fc_err err = trainable_of(a->cfg, model, &t);
  if (err == FC_ERR_OK) {
    const double rounds = INT("grpo.rounds");
    const double answers = INT("grpo.episodes") * (rounds > 0 ? rounds : (double)a->set->rounds);
    const double played = text_tokens(a, episodes_of_a_rank(a));
    const double learned = text_tokens(a, INT("grpo.micro_batch"));
    const fc_flop_count f = fc_trainable_flop_per_token(t, text_tokens(a, 1), false);
    out->policy_weights = fc_model_weight_count(model);
    out->trained_weights = fc_trainable_count(t);
    out->rank_bytes = larger(out->rank_bytes, training_bytes(a, model, t));
    out->warm_up_flop = 6.0 * (double)out->policy_weights *
                        text_tokens(a, INT("warm_up.micro_batch")) * INT("warm_up.batch") *
                        INT("warm_up.steps");
    /* playing, looking once more, and the epochs */
    out->training_flop =
        INT("grpo.iterations") * answers *
        (played * f.forward_flop +
         learned * (f.forward_flop + INT("grpo.epochs") * (f.forward_flop + f.backward_flop)));
  }
  fc_trainable_destroy(&t);
  fc_model_destroy(&model);
  return err;
#undef INT
}

/* ---- the whole ------------------------------------------------------------------------------- */

static fc_err add_stages(const asked *a, const fc_scenario *s, fc_policy_estimate *out) {
  const unsigned needs = fc_stages_needed(a->cfg);
  const double rounds = (double)a->set->rounds;
  const double trajectories = (double)fc_config_int(a->cfg, "trajectories.count");
  double bytes = 0;
  if (needs & 1u << FC_STAGE_TRAJECTORIES)
    out->collect_flop = trajectories * rounds * round_flop(a, (double)a->set->test_samples);
  if (needs & 1u << FC_STAGE_DYNAMICS) {
    FC_TRY(fc_dynamics_needs(a->cfg, s, a->ranks, a->threads, &out->dynamics_weights, &bytes));
    out->rank_bytes = larger(out->rank_bytes, bytes);
    out->dynamics_flop = 6.0 * (double)out->dynamics_weights * trajectories * rounds *
                         (1 - fc_config_real(a->cfg, "dynamics.held_out")) *
                         (double)fc_config_int(a->cfg, "dynamics.epochs");
  }
  if (needs & 1u << FC_STAGE_WARM_UP) FC_TRY(add_policy(a, out));
  if (!(needs & (1u << FC_STAGE_GRPO | 1u << FC_STAGE_PPO))) out->training_flop = 0;
  return FC_ERR_OK;
}

/* Of the learned environment, which is known by now: a step computes all rounds so far again. */
static fc_err estimate_trials(const asked *a, fc_policy_estimate *out) {
  fc_scenario *s = NULL;
  FC_TRY(fc_scenario_create(a->cfg, FC_EVALUATION, &s));
  const asked there = {a->cfg, fc_scenario_settings(s), a->ranks, a->threads};
  out->rounds = there.set->rounds;
  const double a_round = fc_is_judged_in_learned(a->cfg)
                             ? (double)(out->rounds + 1) * (double)out->dynamics_weights
                             : round_flop(&there, (double)there.set->test_samples);
  out->trials_flop = (double)(out->trials * out->rounds) * a_round;
  fc_scenario_destroy(&s);
  return FC_ERR_OK;
}

fc_err fc_policy_estimate_of(fc_config *cfg, int ranks, int threads, fc_policy_estimate *out) {
  fc_scenario *s = NULL;
  FC_TRY(fc_scenario_create(cfg, FC_TRAINING, &s));
  const asked a = {cfg, fc_scenario_settings(s), ranks, threads};
  *out = (fc_policy_estimate){.devices = a.set->devices,
                              .trials = fc_config_int(cfg, "evaluation.trials"),
                              .classifier_weights = fc_cnn_weight_count(&a.set->cnn),
                              .rank_bytes = real_bytes(&a),
                              .memory_bytes = (double)fc_machine_memory_bytes()};
  fc_err err = add_stages(&a, s, out);
  if (err == FC_ERR_OK) err = estimate_trials(&a, out);
  out->rank_bytes += (double)fc_scenario_bytes(s);
  out->node_bytes = ranks * out->rank_bytes;
  fc_scenario_destroy(&s);
  return err;
}
