/* Generation: kept keys and values against whole forward passes, batches, draws, what is refused.
 */
#include "fedcell/fc_generate.h"
#include "fixture.h"

enum { STEPS = 5, PROMPTS = 3 };
static const int32_t first[] = {1, 16, 5, 0}, second[] = {7}, third[] = {3, 3, 9};
static const fc_prompt prompts[PROMPTS] = {{first, 4, 0}, {second, 1, 1}, {third, 3, 2}};
static const char *const decoders[] = {"gpt2", "llama"};

static fc_generate_settings greedy(void) {
  return (fc_generate_settings){.steps = STEPS, .top_p = 1.0, .seed = 1, .stop = {-1, -1}};
}

typedef struct {
  fc_model *model;
  float *weights;
} decoder;

static decoder open_decoder(const char *family) {
  decoder d = {0};
  fc_model_shape shape = small_shape(family);
  if (strcmp(family, "llama") == 0) shape.rope_scaling = (fc_rope_scaling){8.0F, 1.0F, 4.0F, 8};
  OK(fc_model_create(&shape, &d.model));
  d.weights = new_floats(fc_model_weight_count(d.model));
  random_weights(d.model, 3, d.weights);
  /* Small token tables: with the tied head a large one would repeat the last token for ever. */
  size_t n = 0;
  fc_k_scale(d.weights, 0.2F, fc_model_tensors(d.model, &n)->rows * shape.width);
  fc_model_set_weights(d.model, d.weights);
  return d;
}

static void close_decoder(decoder *d) {
  fc_model_destroy(&d->model);
  fc_free(d->weights);
}

/* Token by token with a whole forward pass each, and the largest logit. */
static void uncached(const fc_model *m, const fc_prompt *p, int32_t *out) {
  enum { LONGEST_TEXT = 16 };
  int32_t tokens[LONGEST_TEXT];
  float logits[LONGEST_TEXT * VOCAB];
  fc_work *w = NULL;
  OK(fc_work_create(m, NULL, LONGEST_TEXT, 1, LONGEST_TEXT, FC_WORK_FORWARD, &w));
  memcpy(tokens, p->tokens, (size_t)p->n * sizeof *tokens);
  for (int n = p->n; n < p->n + STEPS; n++) {
    int64_t start[2] = {0, n};
    fc_batch b = {.sequences = 1, .start = start, .tokens = tokens};
    OK(fc_model_logits(w, NULL, &b, FC_LOSS_CAUSAL_LM, logits));
    const float *last = logits + (int64_t)(n - 1) * VOCAB;
    int32_t best = 0;
    for (int32_t i = 1; i < VOCAB; i++)
      if (last[i] > last[best]) best = i;
    tokens[n] = out[n - p->n] = best;
  }
  fc_work_destroy(&w);
}

static void greedy_is_the_uncached_argmax(void **state) {
  (void)state;
  for (size_t f = 0; f < 2; f++) {
    decoder d = open_decoder(decoders[f]);
    fc_generate_settings s = greedy();
    int32_t got[PROMPTS][STEPS], want[STEPS];
    int length[PROMPTS], different = 0;
    memset(got, -1, sizeof got);
    OK(fc_model_generate(d.model, NULL, NULL, prompts, PROMPTS, &s, got[0], length));
    for (int i = 0; i < PROMPTS; i++) {
      uncached(d.model, &prompts[i], want);
      assert_int_equal(length[i], STEPS);
      assert_memory_equal(got[i], want, sizeof want);
      for (int k = 1; k < STEPS; k++) different += want[k] != want[0];
    }
    assert_true(different > 0); /* not one token for ever */
    close_decoder(&d);
  }
}

static void a_text_does_not_depend_on_the_batch(void **state) {
  (void)state;
  for (size_t f = 0; f < 2; f++) {
    decoder d = open_decoder(decoders[f]);
    fc_generate_settings s = greedy();
    int32_t all[PROMPTS][STEPS], one[STEPS];
    int length[PROMPTS], alone = 0;
    s.temperature = 1.5;
    s.top_p = 0.8;
    OK(fc_model_generate(d.model, NULL, NULL, prompts, PROMPTS, &s, all[0], length));
    for (int i = 0; i < PROMPTS; i++) {
      OK(fc_model_generate(d.model, NULL, NULL, &prompts[i], 1, &s, one, &alone));
      assert_int_equal(alone, length[i]);
      assert_memory_equal(one, all[i], sizeof one);
    }
    close_decoder(&d);
  }
}

/* A sequence that ends leaves the others as they are. */
static void stop_tokens_end_a_sequence(void **state) {
  (void)state;
  decoder d = open_decoder("llama");
  fc_generate_settings s = greedy();
  int32_t free_run[PROMPTS][STEPS], got[PROMPTS][STEPS];
  int length[PROMPTS], expected[PROMPTS];
  OK(fc_model_generate(d.model, NULL, NULL, prompts, PROMPTS, &s, free_run[0], length));
  s.stop[1] = free_run[0][2];
  OK(fc_model_generate(d.model, NULL, NULL, prompts, PROMPTS, &s, got[0], length));
  for (int i = 0; i < PROMPTS; i++) {
    for (expected[i] = 0; expected[i] < STEPS; expected[i]++)
      if (free_run[i][expected[i]] == s.stop[1]) break;
    assert_int_equal(length[i], expected[i]);
    assert_memory_equal(got[i], free_run[i], (size_t)length[i] * sizeof got[0][0]);
  }
  assert_true(length[0] <= 2);
  close_decoder(&d);
}

/* Counts of the first token in many draws against softmax(logits / T) and its nucleus. */
static void draws_follow_the_probabilities(void **state) {
  (void)state;
  enum { DRAWS = 4000 };
  decoder d = open_decoder("gpt2");
  fc_work *w = NULL;
  float logits[VOCAB];
  int64_t start[2] = {0, 1};
  fc_batch b = {.sequences = 1, .start = start, .tokens = second};
  OK(fc_work_create(d.model, NULL, 1, 1, 1, FC_WORK_FORWARD, &w));
  OK(fc_model_logits(w, NULL, &b, FC_LOSS_CAUSAL_LM, logits));
  fc_work_destroy(&w);
  double p[VOCAB], sum = 0.0, nucleus = 0.0;
  for (int i = 0; i < VOCAB; i++) sum += p[i] = exp((double)logits[i] / 0.7);
  bool kept[VOCAB] = {false};
  int members = 0;
  while (nucleus < 0.6) {
    int best = -1;
    for (int i = 0; i < VOCAB; i++)
      if (!kept[i] && (best < 0 || p[i] > p[best])) best = i;
    kept[best] = true;
    nucleus += p[best] / sum;
    members++;
  }
  assert_in_range(members, 2, VOCAB - 1);
  fc_generate_settings s = greedy();
  s.steps = 1;
  s.temperature = 0.7;
  for (int limited = 0; limited < 2; limited++) {
    int count[VOCAB] = {0}, length = 0;
    s.top_p = limited ? 0.6 : 1.0;
    for (uint64_t k = 0; k < DRAWS; k++) {
      fc_prompt one = {second, 1, k};
      int32_t token = -1;
      OK(fc_model_generate(d.model, NULL, NULL, &one, 1, &s, &token, &length));
      count[token]++;
    }
    for (int i = 0; i < VOCAB; i++) {
      double share = limited ? (kept[i] ? p[i] / sum / nucleus : 0.0) : p[i] / sum;
      double deviation = sqrt(share * (1.0 - share) * DRAWS);
      if (!(fabs(count[i] - share * DRAWS) <= 4.5 * deviation))
        fail_msg("token %d: %d draws, expected %g", i, count[i], share * DRAWS);
    }
  }
  close_decoder(&d);
}

static void refuses_what_cannot_be(void **state) {
  (void)state;
  decoder d = open_decoder("llama"), encoder = open_decoder("bert");
  fc_generate_settings s = greedy();
  int32_t out[PROMPTS * 8];
  int length[PROMPTS];
  static const int32_t outside[] = {VOCAB};
  const fc_prompt none = {first, 0, 0}, bad = {outside, 1, 0};
#define REFUSES(id, message, model, prompt)                                                        \
  FAILS(fc_model_generate(model, NULL, NULL, prompt, 1, &s, out, length), id, message)
  REFUSES(USAGE, "generation needs a decoder; bert is an encoder", encoder.model, prompts);
  REFUSES(USAGE, "prompt 0 is empty: it needs a token to begin with", d.model, &none);
  REFUSES(DATA, "token 17 at position 0 of prompt 0, allowed is 0 to 16", d.model, &bad);
  s.steps = 7;
  REFUSES(SHAPE, "a prompt of 4 tokens and 7 steps: the model has 9 positions", d.model, prompts);
  s.steps = 6; /* the last one fills the last position */
  OK(fc_model_generate(d.model, NULL, NULL, prompts, 1, &s, out, length));
  s.steps = 0;
  REFUSES(USAGE, "generation of 0 steps: allowed is 1 or more", d.model, prompts);
  s = greedy();
  s.temperature = NAN;
  REFUSES(USAGE, "temperature is nan, allowed is 0 or more", d.model, prompts);
  s = greedy();
  s.top_p = 1.5;
  REFUSES(USAGE, "top_p is 1.5, allowed is above 0 to 1", d.model, prompts);
  s = greedy();
  d.weights[fc_model_find_tensor(d.model, "norm.weight")->offset] = NAN;
  REFUSES(NUMERIC, "the logits of sequence 0 after 4 tokens are not finite", d.model, prompts);
#undef REFUSES
  close_decoder(&d);
  close_decoder(&encoder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(greedy_is_the_uncached_argmax),
      cmocka_unit_test(a_text_does_not_depend_on_the_batch),
      cmocka_unit_test(stop_tokens_end_a_sequence),
      cmocka_unit_test(draws_follow_the_probabilities),
      cmocka_unit_test(refuses_what_cannot_be),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
