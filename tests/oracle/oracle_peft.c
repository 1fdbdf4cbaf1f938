/* oracle_peft.c - fedcell's side of test_peft_interchange.py.
 *
 *   oracle_peft FOLDER JOB.json IN OUT LOGITS.safetensors
 *
 * FOLDER is a Hugging Face model; JOB names the loss, what is trained and the sequences. theta
 * comes from the PEFT adapter in the folder IN ("-": random, nothing is zero), goes to the existing
 * folder OUT ("-": nowhere) in PEFT's format, and LOGITS gets the "logits" with it. Exit code 1
 * with a message when anything fails. */
#include "fedcell/fc_mem.h"
#include "fedcell/fc_peft.h"
#include "fedcell/fc_rng.h"
#include "fedcell/fc_safetensors.h"
#include "fedcell/fc_weights.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { NAMES = 32 };

typedef struct {
  json_t *json;
  fc_loss_kind kind;
  fc_model *model;
  float *weights, *theta, *logits;
  fc_trainable *trainable;
  fc_work *work;
  int64_t *start;
  int32_t *tokens;
} job;

static size_t names(const json_t *list, const char **out) {
  size_t n = json_array_size(list);
  for (size_t i = 0; i < n && i < NAMES; i++) out[i] = json_string_value(json_array_get(list, i));
  return n < NAMES ? n : NAMES;
}

static fc_err open_model(job *j, const char *folder) {
  fc_model_shape shape = {0};
  FC_TRY(fc_weights_read_shape(folder, (int)json_integer_value(json_object_get(j->json, "labels")),
                               &shape));
  FC_TRY(fc_model_create(&shape, &j->model));
  FC_TRY(fc_alloc(fc_model_weight_count(j->model), sizeof *j->weights, &j->weights));
  FC_TRY(fc_weights_read(j->model, folder, 1, j->weights));
  fc_model_set_weights(j->model, j->weights);
  return FC_ERR_OK;
}

static fc_err open_trainable(job *j, const char *in) {
  const char *targets[NAMES], *saved[NAMES];
  int layers = fc_model_get_shape(j->model)->layers;
  int last = (int)json_integer_value(json_object_get(j->json, "last_blocks")); /* 0: all */
  fc_trainable_spec spec = {.targets = targets,
                            .n_targets = names(json_object_get(j->json, "target_modules"), targets),
                            .saved = saved,
                            .n_saved = names(json_object_get(j->json, "modules_to_save"), saved),
                            .first_block = last ? layers - last : 0,
                            .next_block = last ? layers : 0,
                            .lora_rank = (int)json_integer_value(json_object_get(j->json, "rank")),
                            .alpha = (float)json_number_value(json_object_get(j->json, "alpha"))};
  FC_TRY(fc_trainable_create(j->model, &spec, &j->trainable));
  size_t n = fc_trainable_count(j->trainable);
  FC_TRY(fc_alloc(n, sizeof *j->theta, &j->theta));
  fc_trainable_init(j->trainable, 1, j->theta);
  if (strcmp(in, "-") != 0) return fc_peft_read(j->model, j->trainable, in, j->theta);
  fc_rng rng = fc_rng_open(7, FC_RNG_ADAPTER_INIT, 0, 0);
  for (size_t i = 0; i < n; i++) j->theta[i] += (float)(0.2 * fc_rng_normal(&rng));
  return FC_ERR_OK;
}

static fc_err read_batch(job *j, fc_batch *batch) {
  const json_t *list = json_object_get(j->json, "sequences");
  size_t n = json_array_size(list), rows = 0;
  for (size_t i = 0; i < n; i++) rows += json_array_size(json_array_get(list, i));
  FC_TRY(fc_alloc(n + 1, sizeof *j->start, &j->start));
  FC_TRY(fc_alloc(rows, sizeof *j->tokens, &j->tokens));
  rows = 0;
  for (size_t i = 0; i < n; i++) {
    const json_t *one = json_array_get(list, i);
    for (size_t k = 0; k < json_array_size(one); k++)
      j->tokens[rows++] = (int32_t)json_integer_value(json_array_get(one, k));
    j->start[i + 1] = (int64_t)rows;
  }
  *batch = (fc_batch){.sequences = (int32_t)n, .start = j->start, .tokens = j->tokens};
  return FC_ERR_OK;
}

static fc_err write_logits(job *j, const char *path) {
  fc_batch batch;
  FC_TRY(read_batch(j, &batch));
  const fc_model_shape *s = fc_model_get_shape(j->model);
  int64_t N = batch.start[batch.sequences];
  bool classes = j->kind == FC_LOSS_CLASSIFY;
  int64_t rows = classes ? batch.sequences : N, cols = classes ? s->labels : s->vocab;
  FC_TRY(fc_alloc((size_t)(rows * cols), sizeof *j->logits, &j->logits));
  FC_TRY(fc_work_create(j->model, j->trainable, N, batch.sequences, s->positions, FC_WORK_FORWARD,
                        &j->work));
  FC_TRY(fc_model_logits(j->work, j->theta, &batch, j->kind, j->logits));
  fc_safetensor_source out = {
      .name = "logits", .dims = 2, .shape = {rows, cols}, .data = j->logits};
  return fc_safetensors_write(path, &out, 1, NULL);
}

static fc_err run(job *j, char **argv) {
  json_error_t error;
  j->json = json_load_file(argv[2], 0, &error);
  FC_CHECK(j->json, DATA, "%s:%d: %s", argv[2], error.line, error.text);
  const char *loss = json_string_value(json_object_get(j->json, "loss"));
  FC_CHECK(loss, DATA, "%s: no loss", argv[2]);
  j->kind = strcmp(loss, "classify") == 0 ? FC_LOSS_CLASSIFY : FC_LOSS_CAUSAL_LM;
  FC_TRY(open_model(j, argv[1]));
  FC_TRY(open_trainable(j, argv[3]));
  if (strcmp(argv[4], "-") != 0)
    FC_TRY(fc_peft_write(j->model, j->trainable, j->theta, j->kind, NULL, argv[4]));
  return write_logits(j, argv[5]);
}

int main(int argc, char **argv) {
  if (argc != 6) {
    fprintf(stderr, "usage: oracle_peft FOLDER JOB.json IN|- OUT|- LOGITS.safetensors\n");
    return 2;
  }
  job j = {0};
  fc_err err = run(&j, argv);
  if (err != FC_ERR_OK) fprintf(stderr, "%s\n", fc_err_message());
  fc_work_destroy(&j.work);
  fc_trainable_destroy(&j.trainable);
  fc_model_destroy(&j.model);
  fc_free(j.weights);
  fc_free(j.theta);
  fc_free(j.logits);
  fc_free(j.start);
  fc_free(j.tokens);
  json_decref(j.json);
  return err != FC_ERR_OK;
}
