/* command_generate.c - fedcell generate: continues a text. */
#include "app.h"
#include "fedcell/fc_generate.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_tokenizer.h"
#include "fedcell/fc_weights.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_STEPS = 100 };

typedef struct {
  fc_tokenizer *tokenizer;
  fc_model *model;
  float *weights;
  fc_tokens ids; /* the prompt's, then all */
  int32_t *new_ids;
  char *text;
} generation;

static fc_err read_seed(const char *text, uint64_t *out) {
  char *end = NULL;
  if (!text) return FC_ERR_OK;
  errno = 0;
  *out = strtoull(text, &end, 10);
  FC_CHECK(!errno && end != text && !*end && text[0] != '-', USAGE,
           "generate --seed %s: must be a whole number from 0", text);
  return FC_ERR_OK;
}

static fc_err read_settings(const fc_arguments *a, fc_generate_settings *s) {
  *s = (fc_generate_settings){
      .steps = a->steps ? a->steps : DEFAULT_STEPS, .top_p = 1.0, .seed = 1, .stop = {-1, -1}};
  FC_TRY(fc_arguments_number("generate", "temperature", a->temperature, &s->temperature));
  FC_TRY(fc_arguments_number("generate", "top-p", a->top_p, &s->top_p));
  return read_seed(a->seed, &s->seed);
}

static fc_err open_model(generation *g, const char *path) {
  fc_model_shape shape;
  FC_TRY(fc_weights_read_shape(path, 0, &shape));
  FC_TRY(fc_model_create(&shape, &g->model));
  FC_TRY(fc_alloc(fc_model_weight_count(g->model), sizeof *g->weights, &g->weights));
  FC_TRY(fc_weights_read(g->model, path, 1, g->weights));
  fc_model_set_weights(g->model, g->weights);
  int tokens = fc_tokenizer_vocab_size(g->tokenizer);
  FC_CHECK(tokens <= shape.vocab, SHAPE, "the tokeniser has %d tokens, the model in %s only %d",
           tokens, path, shape.vocab);
  return FC_ERR_OK;
}

/* Begins with bos where the tokeniser's models expect it, or where there is nothing else. */
static fc_err read_prompt(generation *g, const char *prompt) {
  int32_t bos = fc_tokenizer_specials(g->tokenizer).bos;
  FC_CHECK(prompt || bos >= 0, USAGE,
           "generate: give a --prompt: the tokeniser has no token for the beginning of a text");
  if (!prompt || fc_tokenizer_begins_with_bos(g->tokenizer)) FC_TRY(fc_tokens_push(&g->ids, bos));
  return prompt ? fc_tokenizer_encode(g->tokenizer, prompt, strlen(prompt), &g->ids) : FC_ERR_OK;
}

static fc_err generate(const fc_arguments *a, generation *g) {
  fc_generate_settings s;
  int length = 0;
  FC_CHECK(a->model, USAGE, "generate: needs --model PATH");
  FC_TRY(read_settings(a, &s));
  FC_TRY(a->tokenizer ? fc_tokenizer_load(a->tokenizer, NULL, &g->tokenizer)
                      : fc_tokenizer_load_of_model(a->model, &g->tokenizer));
  FC_TRY(open_model(g, a->model));
  FC_TRY(read_prompt(g, a->prompt));
  fc_special_tokens specials = fc_tokenizer_specials(g->tokenizer);
  s.stop[0] = specials.bos;
  s.stop[1] = specials.eos;
  fc_prompt prompt = {.tokens = g->ids.id, .n = (int)g->ids.n};
  FC_TRY(fc_alloc((size_t)s.steps, sizeof *g->new_ids, &g->new_ids));
  FC_TRY(fc_model_generate(g->model, NULL, NULL, &prompt, 1, &s, g->new_ids, &length));
  for (int i = 0; i < length; i++) FC_TRY(fc_tokens_push(&g->ids, g->new_ids[i]));
  FC_TRY(fc_tokenizer_decode(g->tokenizer, g->ids.id, g->ids.n, &g->text));
  fc_app_say("%s\n", g->text);
  return FC_ERR_OK;
}

static fc_err generate_here(const fc_arguments *a) {
  generation g = {0};
  fc_err err = generate(a, &g);
  fc_free(g.text);
  fc_free(g.new_ids);
  fc_tokens_free(&g.ids);
  fc_model_destroy(&g.model);
  fc_free(g.weights);
  fc_tokenizer_destroy(&g.tokenizer);
  return err;
}

fc_err fc_command_generate(const fc_comm *comm, const fc_arguments *a) {
  return fc_agree(comm, comm->rank == 0 ? generate_here(a) : FC_ERR_OK);
}
