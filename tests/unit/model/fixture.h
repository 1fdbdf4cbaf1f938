/* fixture.h - small random models and ragged batches for the tests of this room. */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fedcell/fc_mem.h"
#include "fedcell/fc_model.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SEQUENCES = 4, ROWS = 12, VOCAB = 17, LABELS = 3, LONGEST = 6 };

/* Everything succeeded or the test fails with the message. */
#define OK(call)                                                                                   \
  do {                                                                                             \
    fc_err e_ = (call);                                                                            \
    if (e_ != FC_ERR_OK) fail_msg("%s: %s", fc_err_text(e_), fc_err_message());                    \
  } while (0)

#define FAILS(call, id, message)                                                                   \
  do {                                                                                             \
    assert_int_equal(call, FC_ERR_##id);                                                           \
    assert_string_equal(fc_err_message(), message);                                                \
  } while (0)

typedef struct {
  fc_model *model;
  float *weights;
  fc_trainable *trainable;
  float *theta;
  fc_work *work;
} setup;

static inline float *new_floats(size_t n) {
  float *x = NULL;
  OK(fc_alloc(n, sizeof *x, &x));
  return x;
}

static inline fc_model_shape small_shape(const char *family) {
  return (fc_model_shape){.arch = fc_arch_find(family),
                          .layers = 2,
                          .width = 8,
                          .heads = 2,
                          .kv_heads = strcmp(family, "llama") == 0 ? 1 : 2,
                          .ffn = 12,
                          .vocab = VOCAB,
                          .positions = 9};
}

/* Larger than training would start, so that every path matters. */
static inline void random_weights(const fc_model *m, uint64_t seed, float *w) {
  size_t n = 0;
  const fc_tensor *t = fc_model_tensors(m, &n);
  fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 0, 0);
  for (size_t i = 0; i < n; i++) {
    double base = strstr(t[i].name, "orm.weight") || strstr(t[i].name, "ln_") ? 1.0 : 0.0;
    if (strstr(t[i].name, ".bias")) base = 0.0;
    for (int64_t k = 0; k < t[i].rows * t[i].cols; k++)
      w[t[i].offset + (size_t)k] = (float)(base + 0.3 * fc_rng_normal(&rng));
  }
}

/* Gives theta's lora_B random values (they start at zero). */
static inline void random_lora_b(const fc_trainable *t, float *theta) {
  size_t n = 0;
  const fc_trainable_part *p = fc_trainable_parts(t, &n);
  fc_rng rng = fc_rng_open(5, FC_RNG_TEST, 1, 0);
  for (size_t i = 0; i < n; i++) {
    if (p[i].kind != 'B') continue;
    for (int64_t k = 0; k < p[i].rows * p[i].cols; k++)
      theta[p[i].offset + (size_t)k] = (float)(0.3 * fc_rng_normal(&rng));
  }
}

static inline setup open_setup(const fc_model_shape *shape, const fc_trainable_spec *spec,
                               bool training) {
  setup s = {0};
  OK(fc_model_create(shape, &s.model));
  s.weights = new_floats(fc_model_weight_count(s.model));
  random_weights(s.model, 1, s.weights);
  fc_model_set_weights(s.model, s.weights);
  OK(fc_trainable_create(s.model, spec, &s.trainable));
  s.theta = new_floats(fc_trainable_count(s.trainable));
  fc_trainable_init(s.trainable, 2, s.theta);
  OK(fc_work_create(s.model, s.trainable, ROWS, SEQUENCES, LONGEST,
                    training ? FC_WORK_TRAIN : FC_WORK_FORWARD, &s.work));
  return s;
}

/* The model's panels, set: its products run in bf16. */
static inline fc_bf16 *new_panels(fc_model *m) {
  fc_bf16 *panels = NULL;
  OK(fc_alloc(fc_model_panel_count(m), sizeof *panels, &panels));
  fc_model_pack(m, panels);
  fc_model_set_panels(m, panels);
  return panels;
}

static inline void close_setup(setup *s) {
  fc_work_destroy(&s->work);
  fc_trainable_destroy(&s->trainable);
  fc_model_destroy(&s->model);
  fc_free(s->theta);
  fc_free(s->weights);
}

/* Lengths 3, 1, 6, 2; targets with gaps. */
static inline fc_batch ragged_batch(void) {
  static const int64_t start[SEQUENCES + 1] = {0, 3, 4, 10, 12};
  static const int32_t tokens[ROWS] = {1, 16, 5, 0, 2, 2, 7, 11, 3, 9, 4, 15};
  static const int32_t targets[ROWS] = {16, 5, -1, -1, 2, 7, -1, 3, 9, 0, 15, -1};
  static const int32_t labels[SEQUENCES] = {2, 0, 1, 1};
  return (fc_batch){.sequences = SEQUENCES,
                    .start = start,
                    .tokens = tokens,
                    .targets = targets,
                    .labels = labels};
}

/* As ragged_batch with token types 0 and 1. */
static inline fc_batch typed_batch(void) {
  static const int32_t types[ROWS] = {0, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 1};
  fc_batch b = ragged_batch();
  b.types = types;
  return b;
}

static inline fc_batch batch_for(const char *family) {
  return strcmp(family, "bert") == 0 ? typed_batch() : ragged_batch();
}

static const char *const all_families[] = {"gpt2", "llama", "bert", "roberta"};
enum { N_FAMILIES = 4, FIRST_ENCODER = 2 };

/* The family's model with every head it can have. */
static inline fc_model_shape full_shape(const char *family) {
  fc_model_shape s = small_shape(family);
  s.labels = LABELS;
  s.lm_head = !fc_arch_is_causal(s.arch);
  s.untied_head = strcmp(family, "llama") == 0;
  return s;
}

static inline fc_loss_kind lm_kind(const fc_model_shape *s) {
  return fc_arch_is_causal(s->arch) ? FC_LOSS_CAUSAL_LM : FC_LOSS_MASKED_LM;
}

static inline int64_t logit_count(const fc_model_shape *s, fc_loss_kind kind) {
  return kind == FC_LOSS_CLASSIFY ? (int64_t)SEQUENCES * s->labels : (int64_t)ROWS * s->vocab;
}

#endif
