/* oracle_generate - greedy continuations for tests/oracle/test_generate_parity.py.
 *
 *   oracle_generate FOLDER STEPS PROMPT...
 *
 * Each PROMPT is a list of token ids, "3,17,4"; all are one batch. Prints one line of new ids for
 * each. Exit code 1 with a message when anything fails. */
#include "fedcell/fc_generate.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_weights.h"
#include <stdio.h>
#include <stdlib.h>

typedef struct {
  fc_model *model;
  float *weights;
  int32_t *tokens, *out;
  fc_prompt *prompts;
  int *length;
} job;

/* tokens: room for what the text can hold. */
static fc_prompt read_prompt(const char *text, int32_t *tokens, uint64_t id) {
  fc_prompt p = {.tokens = tokens, .id = id};
  char *end = NULL;
  for (const char *at = text; *at; at = *end == ',' ? end + 1 : end) {
    tokens[p.n] = (int32_t)strtol(at, &end, 10);
    if (end == at) break;
    p.n++;
  }
  return p;
}

static fc_err open_model(job *j, const char *folder) {
  fc_model_shape shape;
  FC_TRY(fc_weights_read_shape(folder, 0, &shape));
  FC_TRY(fc_model_create(&shape, &j->model));
  FC_TRY(fc_alloc(fc_model_weight_count(j->model), sizeof *j->weights, &j->weights));
  FC_TRY(fc_weights_read(j->model, folder, 1, j->weights));
  fc_model_set_weights(j->model, j->weights);
  return FC_ERR_OK;
}

static fc_err run(job *j, const char *folder, int steps, char **texts, int n) {
  enum { MOST = 4096 }; /* tokens of a prompt */
  FC_TRY(open_model(j, folder));
  FC_TRY(fc_alloc((size_t)n * MOST, sizeof *j->tokens, &j->tokens));
  FC_TRY(fc_alloc((size_t)n, sizeof *j->prompts, &j->prompts));
  FC_TRY(fc_alloc((size_t)n, sizeof *j->length, &j->length));
  FC_TRY(fc_alloc((size_t)n * (size_t)steps, sizeof *j->out, &j->out));
  for (int i = 0; i < n; i++)
    j->prompts[i] = read_prompt(texts[i], j->tokens + (size_t)i * MOST, (uint64_t)i);
  fc_generate_settings s = {.steps = steps, .top_p = 1.0, .stop = {-1, -1}};
  FC_TRY(fc_model_generate(j->model, NULL, NULL, j->prompts, n, &s, j->out, j->length));
  for (int i = 0; i < n; i++) {
    for (int k = 0; k < j->length[i]; k++)
      printf("%s%d", k ? "," : "", j->out[(size_t)i * (size_t)steps + (size_t)k]);
    printf("\n");
  }
  return FC_ERR_OK;
}

int main(int argc, char **argv) {
  if (argc < 4 || atoi(argv[2]) < 1) {
    fprintf(stderr, "usage: oracle_generate FOLDER STEPS PROMPT...\n");
    return 2;
  }
  job j = {0};
  fc_err err = run(&j, argv[1], atoi(argv[2]), argv + 3, argc - 3);
  if (err != FC_ERR_OK)
    fprintf(stderr, "oracle_generate: %s: %s\n", fc_err_text(err), fc_err_message());
  fc_model_destroy(&j.model);
  fc_free(j.weights);
  fc_free(j.tokens);
  fc_free(j.out);
  fc_free(j.prompts);
  fc_free(j.length);
  return err != FC_ERR_OK;
}
