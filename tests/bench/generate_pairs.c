/* generate_pairs.c - fedcell's half of tests/bench/generate_compare.py: opens a model once and
 * continues a prompt greedily each time it is asked to.
 *
 *   bench_generate_pairs FOLDER f32|bf16 STEPS TOKENS        (TOKENS: "3,17,4")
 *
 * Answers every line of standard input with one of its own: seconds, then the new tokens. */
#include "fedcell/fc_generate.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_timer.h"
#include "fedcell/fc_weights.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4096 }; /* tokens of a prompt */
typedef struct {
  fc_model *model;
  float *weights;
  fc_bf16 *panels;
  int32_t tokens[MOST], *out;
} job;

static fc_err open_model(job *j, const char *folder, bool bf16) {
  fc_model_shape shape;
  FC_TRY(fc_weights_read_shape(folder, 0, &shape));
  FC_TRY(fc_model_create(&shape, &j->model));
  FC_TRY(fc_alloc(fc_model_weight_count(j->model), sizeof *j->weights, &j->weights));
  FC_TRY(fc_weights_read(j->model, folder, 1, j->weights));
  fc_model_set_weights(j->model, j->weights);
  if (!bf16) return FC_ERR_OK;
  FC_TRY(fc_alloc(fc_model_panel_count(j->model), sizeof *j->panels, &j->panels));
  fc_model_pack(j->model, j->panels);
  fc_model_set_panels(j->model, j->panels);
  return FC_ERR_OK;
}

static int read_tokens(const char *text, int32_t *tokens) {
  int n = 0;
  char *end = NULL;
  for (const char *at = text; *at && n < MOST; at = *end == ',' ? end + 1 : end) {
    tokens[n] = (int32_t)strtol(at, &end, 10);
    if (end == at) break;
    n++;
  }
  return n;
}

static fc_err answer(job *j, int steps, const char *text) {
  char line[16];
  fc_prompt p = {.tokens = j->tokens, .n = read_tokens(text, j->tokens)};
  const fc_generate_settings s = {.steps = steps, .top_p = 1.0, .stop = {-1, -1}};
  FC_TRY(fc_alloc((size_t)steps, sizeof *j->out, &j->out));
  while (fgets(line, sizeof line, stdin)) {
    int length = 0;
    const double begin = fc_wall_time_s();
    FC_TRY(fc_model_generate(j->model, NULL, NULL, &p, 1, &s, j->out, &length));
    printf("%.9f", fc_wall_time_s() - begin);
    for (int k = 0; k < length; k++) printf(" %d", j->out[k]);
    printf("\n");
    fflush(stdout);
  }
  return FC_ERR_OK;
}

int main(int argc, char **argv) {
  if (argc != 5 || atoi(argv[3]) < 1) {
    fprintf(stderr, "usage: bench_generate_pairs FOLDER f32|bf16 STEPS TOKENS\n");
    return 2;
  }
  job j = {0};
  fc_err err = open_model(&j, argv[1], strcmp(argv[2], "bf16") == 0);
  if (err == FC_ERR_OK) err = answer(&j, atoi(argv[3]), argv[4]);
  if (err != FC_ERR_OK)
    fprintf(stderr, "bench_generate_pairs: %s: %s\n", fc_err_text(err), fc_err_message());
  fc_model_destroy(&j.model);
  fc_free(j.weights);
  fc_free(j.panels);
  fc_free(j.out);
  return err != FC_ERR_OK;
}
