/* bench_models.c - the models that benchmarks run on. */
#include "bench.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_weights.h"

static const struct {
  const char *name, *family;
  int layers, width, heads, kv_heads, ffn, vocab, positions;
} models[] = {
    {"LLaMA d64 L5", "llama", 5, 64, 8, 4, 172, 512, 512}, /* as stories260K */
    {"GPT-2 d64 L2", "gpt2", 2, 64, 4, 4, 256, 2048, 256},
    {"GPT-2 d256 L4", "gpt2", 4, 256, 4, 4, 1024, 8192, 256},
    {"GPT-2 124M", "gpt2", 12, 768, 12, 12, 3072, 50257, 1024},
};
enum { MODELS = sizeof models / sizeof models[0] };

const char *fc_bench_model_name(size_t i) {
  return i < MODELS ? models[i].name : NULL;
}

fc_model_shape fc_bench_model_shape(size_t i) {
  return (fc_model_shape){.arch = fc_arch_find(models[i].family),
                          .layers = models[i].layers,
                          .width = models[i].width,
                          .heads = models[i].heads,
                          .kv_heads = models[i].kv_heads,
                          .ffn = models[i].ffn,
                          .vocab = models[i].vocab,
                          .positions = models[i].positions};
}

static fc_err create(fc_bench_model *m, fc_model_shape shape, const char *folder, bool bf16) {
  FC_TRY(fc_model_shape_check(&shape));
  FC_TRY(fc_model_create(&shape, &m->model));
  FC_TRY(fc_alloc(fc_model_weight_count(m->model), sizeof *m->weights, &m->weights));
  if (folder)
    FC_TRY(fc_weights_read(m->model, folder, 1, m->weights));
  else
    fc_model_init_weights(m->model, 1, false, m->weights);
  fc_model_set_weights(m->model, m->weights);
  if (!bf16) return FC_ERR_OK;
  FC_TRY(fc_alloc(fc_model_panel_count(m->model), sizeof *m->panels, &m->panels));
  fc_model_pack(m->model, m->panels);
  fc_model_set_panels(m->model, m->panels);
  return FC_ERR_OK;
}

fc_err fc_bench_model_create(fc_model_shape shape, const char *folder, bool bf16,
                             fc_bench_model *out) {
  *out = (fc_bench_model){0};
  fc_err err = create(out, shape, folder, bf16);
  if (err != FC_ERR_OK) fc_bench_model_destroy(out);
  return err;
}

void fc_bench_model_destroy(fc_bench_model *m) {
  fc_model_destroy(&m->model);
  fc_free(m->weights);
  fc_free(m->panels);
  *m = (fc_bench_model){0};
}
