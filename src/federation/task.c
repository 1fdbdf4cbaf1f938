/* task.c - what every learning task needs of its set-up (made in base.c and pretrain.c). */
#include "federation.h"
#include <string.h>

static bool is_family(const fc_config *cfg, const char *family) {
  return strcmp(fc_config_string(cfg, "model.family"), family) == 0;
}

int fc_task_first_position(const fc_config *cfg) {
  return is_family(cfg, "roberta") ? 2 : 0;
}

fc_sequence_format fc_task_format(const fc_config *cfg) {
  const fc_arch *arch = fc_arch_find(fc_config_string(cfg, "model.family"));
  return (fc_sequence_format){.frame = !fc_arch_is_causal(arch),
                              .double_sep = is_family(cfg, "roberta"),
                              .use_types = is_family(cfg, "bert"),
                              .max_length = (int)fc_config_int(cfg, "data.max_length")};
}

void fc_task_destroy(fc_task_setup *task) {
  fc_trainable_destroy(&task->trainable);
  fc_weights_unshare(&task->weights);
  fc_model_destroy(&task->model);
  fc_corpus_destroy(&task->corpus);
  fc_tokenizer_destroy(&task->tokenizer);
  fc_split_destroy(&task->split);
  fc_dataset_destroy(&task->dataset);
}

double fc_task_mean_length(const fc_task_setup *task, uint32_t devices, int64_t *samples) {
  double tokens = 0;
  *samples = 0;
  for (uint32_t d = 0; d < devices; d++) {
    size_t n = 0;
    const uint32_t *own = fc_split_device(task->split, d, &n);
    for (size_t i = 0; i < n; i++) {
      int length = 0, second = 0;
      fc_corpus_tokens(task->corpus, own[i], &length, &second);
      tokens += length;
    }
    *samples += (int64_t)n;
  }
  return *samples ? tokens / (double)*samples : 1.0;
}
