/* fc_generate.h - text from a decoder, token by token.
 *
 *   fc_prompt p = {.tokens = ids, .n = n_ids};
 *   fc_generate_settings s = {.steps = 100, .top_p = 1, .stop = {eos, -1}};   // greedy
 *   fc_model_generate(model, NULL, NULL, &p, 1, &s, out, &length);    // out: 100 ids
 *
 * All prompts advance together as one batch of different lengths; keys and values of what has been
 * read are kept, so that a token costs one row of every product. A sequence's tokens depend on its
 * own prompt, id and the settings alone, not on what else is in the batch. Local. */
#ifndef FC_GENERATE_H
#define FC_GENERATE_H

#include "fedcell/fc_err.h"
#include "fedcell/fc_model.h"

typedef struct {
  const int32_t *tokens; /* (n), n >= 1 */
  int n;
  uint64_t id; /* names the sequence's random draws */
} fc_prompt;

enum { FC_GENERATE_STOPS = 2 };
typedef struct {
  int steps;                       /* new tokens of a sequence, at most */
  double temperature;              /* 0: always the likeliest token, the lowest of equals */
  double top_p;                    /* in (0,1]: draw among the likeliest tokens that have this share
                                      together [Holtzman+ 2020]; 1: among all */
  uint64_t seed;                   /* the draw at position p is that of (seed, GENERATION, p, id) */
  int32_t stop[FC_GENERATE_STOPS]; /* tokens that end a sequence, themselves left out; -1: none */
} fc_generate_settings;

/* ---- many calls with the same model -----------------------------------------------------------
 *
 *   fc_generator_create(model, t, 32, 256, &g);                // one thread's, kept
 *   fc_generator_set_prefix(g, theta, prefix, n_prefix);       // what all prompts begin with
 *   fc_generator_run(g, theta, prompts, n, &s, out, &length);  // prompts without the prefix
 *
 * The prefix' keys and values are computed once and shared by all prompts. What comes out is, bit
 * for bit, what fc_model_generate gives of the whole prompts, with any number of threads: those
 * that OpenMP had when the generator was created share the prompts of a small model, and the
 * products of a large one; inside a parallel region it keeps to its thread. */
typedef struct fc_generator fc_generator;
/* Of up to max_prompts at a time, none longer with prefix and steps than max_length (which the last
 * new token need not fit: it is not read). */
fc_err fc_generator_create(const fc_model *model, const fc_trainable *t, int max_prompts,
                           int max_length, fc_generator **out);
void fc_generator_destroy(fc_generator **g); /* accepts NULL; leaves *g == NULL */
size_t fc_generator_bytes(const fc_model *model, const fc_trainable *t, int max_prompts,
                          int max_length);
/* n may be 0: none, as after creation and after a failure. Has to be called again when theta or the
 * model's weights have changed. */
fc_err fc_generator_set_prefix(fc_generator *g, const float *theta, const int32_t *tokens, int n);
/* Errors as fc_model_generate. */
fc_err fc_generator_run(fc_generator *g, const float *theta, const fc_prompt *prompts, int n,
                        const fc_generate_settings *s, int32_t *out, int *length);

/* out (n, steps), length (n): the new tokens of each. t and theta as in fc_work_create; may be
 * NULL. USAGE for settings out of range or an encoder; SHAPE if a prompt and its steps exceed the
 * model's positions; DATA for a token out of range; NUMERIC if logits are not finite. */
fc_err fc_model_generate(const fc_model *model, const fc_trainable *t, const float *theta,
                         const fc_prompt *prompts, int n, const fc_generate_settings *s,
                         int32_t *out, int *length);

#endif
