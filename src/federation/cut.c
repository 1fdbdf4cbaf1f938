/* cut.c - sizes and work of emulator and adapter; see cut.h. */
#include "cut.h"
#include <math.h>
#include <string.h>

fc_err fc_cut_check(const fc_federation *fed) {
  int layers = fc_model_get_shape(fed->task.model)->layers;
  int64_t last = fc_config_int(fed->cfg, "adapter.last_blocks");
  FC_CHECK(last >= 1 && last < layers, USAGE,
           "adapter.last_blocks is %lld: method %s cuts the model's %d blocks into an emulator and "
           "an adapter, so that 1 to %d may be the adapter's",
           (long long)last, fed->method->name, layers, layers - 1);
  return FC_ERR_OK;
}

/* Of other bases the number of blocks shows when they are read: fc_cut_check. */
void fc_cut_check_options(fc_config *cfg) {
  const char *base = fc_config_string(cfg, "model.base");
  bool is_told = strcmp(base, "random") == 0 || strcmp(base, "embedded") == 0;
  int64_t last = fc_config_int(cfg, "adapter.last_blocks");
  int64_t layers = fc_config_int(cfg, "model.layers");
  if (last < 1 || (is_told && last >= layers))
    fc_config_fault(cfg, "adapter.last_blocks",
                    "must be at least 1 and leave blocks to the emulator (model.layers = %lld) for "
                    "federation.method = %s",
                    (long long)layers, fc_config_string(cfg, "federation.method"));
}

bool fc_rates_are_proportional(const fc_federation *fed) {
  return strcmp(fc_config_string(fed->cfg, "cell.noise"), "total") == 0 &&
         strcmp(fc_config_string(fed->cfg, "cell.server_power"), "full") == 0;
}

double fc_cut_flop(const fc_federation *fed, const fc_cut *cut, const fc_scope *scope) {
  const fc_flop_request request = {.sequence_length = cut->length,
                                   .with_lm_loss = fed->task.loss != FC_LOSS_CLASSIFY,
                                   .without_attention = !cut->cost.count_attention,
                                   .without_head = !cut->cost.count_head};
  fc_flop_count f = fc_trainable_flop(fed->task.trainable, scope, &request);
  return f.forward_flop + f.backward_flop;
}

static void fill_view(const fc_federation *fed, const fc_cut *cut, int heads, int neurons,
                      fc_block_view *view) {
  const fc_model_shape *s = fc_model_get_shape(fed->task.model);
  for (int i = 0; i < cut->layers; i++)
    view[i] =
        i < cut->first ? (fc_block_view){heads, neurons} : (fc_block_view){s->kv_heads, s->ffn};
}

static int kept(double pruning, int n) {
  int keep = (int)lround((1.0 - pruning) * n);
  return keep < 1 ? 1 : keep;
}

void fc_cut_view(const fc_federation *fed, const fc_cut *cut, double pruning, fc_block_view *view) {
  const fc_model_shape *s = fc_model_get_shape(fed->task.model);
  fill_view(fed, cut, kept(pruning, s->kv_heads), kept(pruning, s->ffn), view);
}

/* The work is linear in the heads and in the neurons that are kept: what each of them costs, from
 * models that keep one head or one neuron only. */
static fc_err split_flop(const fc_federation *fed, fc_cut *cut) {
  const fc_model_shape *s = fc_model_get_shape(fed->task.model);
  fc_block_view *view = NULL;
  FC_TRY(fc_alloc((size_t)cut->layers, sizeof *view, &view));
  double whole = fc_cut_flop(fed, cut, &(fc_scope){0}), heads = 0, neurons = 0;
  if (s->kv_heads > 1) {
    fill_view(fed, cut, 1, s->ffn, view);
    heads = (whole - fc_cut_flop(fed, cut, &(fc_scope){.view = view})) / (s->kv_heads - 1);
  }
  if (s->ffn > 1) {
    fill_view(fed, cut, s->kv_heads, 1, view);
    neurons = (whole - fc_cut_flop(fed, cut, &(fc_scope){.view = view})) / (s->ffn - 1);
  }
  cut->emulator_flop = heads * s->kv_heads + neurons * s->ffn;
  cut->adapter_flop = whole - cut->emulator_flop;
  fc_free(view);
  return FC_ERR_OK;
}

/* Embeddings, gradients, optimiser state and activations: what this program itself would take. */
static double counted_bytes(const fc_federation *fed, const fc_cut *cut) {
  const fc_task_setup *task = &fed->task;
  const fc_local_settings *local = &fed->set.local;
  double in_blocks = (double)fc_model_block_weights(task->model, NULL, 0, cut->layers);
  double others = (double)fc_model_weight_count(task->model) - in_blocks;
  size_t states = fc_optimizer_state_count(&local->optimizer, fed->P);
  int longest = fc_corpus_longest(task->corpus);
  size_t work = fc_work_bytes(task->model, task->trainable, (int64_t)local->batch * longest,
                              local->batch, longest, FC_WORK_TRAIN);
  return others * cut->bits / 8 + (double)(fed->P + states) * sizeof(float) + (double)work;
}

/* What is trained outside of the blocks, and low-rank factors: sent down beside the blocks. */
static double beside_blocks(const fc_federation *fed, const fc_cut *cut) {
  size_t n = 0, tensors = 0;
  double weights = 0;
  const fc_trainable_part *part = fc_trainable_parts(fed->task.trainable, &n);
  const fc_tensor *tensor = fc_model_tensors(fed->task.model, &tensors);
  for (size_t i = 0; i < n; i++)
    if (part[i].kind != 'W' || tensor[part[i].tensor].layer < cut->first)
      weights += (double)(part[i].rows * part[i].cols);
  return weights;
}

fc_err fc_cut_of(const fc_federation *fed, fc_cut *cut) {
  const fc_model *model = fed->task.model;
  int layers = fc_model_get_shape(model)->layers;
  int64_t samples = 0;
  *cut = (fc_cut){.cost = fc_cost_settings_read(fed->cfg),
                  .length = fc_task_mean_length(&fed->task, fc_cell_devices(fed->cell), &samples),
                  .bits = fed->set.bits_per_weight,
                  .layers = layers,
                  .first = layers - (int)fc_config_int(fed->cfg, "adapter.last_blocks"),
                  .update_weights = (double)fed->P};
  cut->emulator_weights = (double)fc_model_block_weights(model, NULL, 0, cut->first);
  cut->adapter_weights =
      (double)fc_model_block_weights(model, NULL, cut->first, layers) + beside_blocks(fed, cut);
  cut->fixed_bytes = cut->cost.fixed_bytes > 0 ? cut->cost.fixed_bytes : counted_bytes(fed, cut);
  return split_flop(fed, cut);
}

/* Weights of the emulator and FLOP a token at p's rate. */
static void kept_work(const fc_federation *fed, const fc_cut *cut, const fc_participant *p,
                      double *weights, double *flop) {
  if (cut->cost.is_planned) {
    *weights = (1.0 - p->pruning) * cut->emulator_weights;
    *flop = cut->adapter_flop + (1.0 - p->pruning) * cut->emulator_flop;
    return;
  }
  *weights = (double)fc_model_block_weights(fed->task.model, p->scope.view, 0, cut->first);
  *flop = fc_cut_flop(fed, cut, &p->scope);
}

void fc_cut_bill(const fc_federation *fed, const fc_cut *cut, fc_participant *p) {
  double weights = 0, flop = 0;
  kept_work(fed, cut, p, &weights, &flop);
  p->load = (fc_work_load){.flop = p->tokens * flop,
                           .downlink_bits = (cut->adapter_weights + weights) * cut->bits,
                           .uplink_bits = cut->update_weights * cut->bits};
}
