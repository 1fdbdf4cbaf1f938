/* The FLOP count against counts made by hand. The shapes: width 8, inner width 12, 2 blocks,
 * vocabulary 17, 3 classes, sequences of 5 tokens. */
#include "fixture.h"

/* Multiply-adds per token of one block: Q, K, V 3*64, attention output 64, up and down 2*96. */
enum { BLOCK = 3 * 64 + 64 + 2 * 96 };

static fc_flop_count count(const char *family, const fc_trainable_spec *spec, bool with_lm) {
  fc_model_shape shape = full_shape(family);
  fc_model *m = NULL;
  fc_trainable *t = NULL;
  OK(fc_model_create(&shape, &m));
  OK(fc_trainable_create(m, spec, &t));
  fc_flop_count c = fc_trainable_flop_per_token(t, 5.0, with_lm);
  fc_trainable_destroy(&t);
  fc_model_destroy(&m);
  return c;
}

static void expect(fc_flop_count got, double forward, double backward) {
  if (!(fabs(got.forward_flop - forward) <= 1e-9) || !(fabs(got.backward_flop - backward) <= 1e-9))
    fail_msg("forward %.17g, not %.17g; backward %.17g, not %.17g", got.forward_flop, forward,
             got.backward_flop, backward);
}

static void gpt2_whole_with_tied_head(void **state) {
  (void)state;
  static const char *const saved[] = {"all"};
  fc_trainable_spec spec = {.saved = saved, .n_saved = 1};
  /* Attention: a token sees 3 of 5 on average; 2 products of 2 * 3 * 8 forward. */
  double weights = 2.0 * (2 * BLOCK + 17 * 8), attention = 2.0 * 2 * (2 * 3 * 8);
  expect(count("gpt2", &spec, true), weights + attention, 2.0 * weights + 2.0 * attention);
}

static void llama_with_value_adapters(void **state) {
  (void)state;
  static const char *const targets[] = {"v_proj"};
  fc_trainable_spec spec = {.targets = targets, .n_targets = 1, .lora_rank = 2, .alpha = 4.0F};
  /* One key and value head of width 4; gate, up and down; the head's own table. */
  enum { QKV = 64 + 2 * 32, LLAMA_BLOCK = QKV + 64 + 3 * 96 };
  double attention = 2.0 * 2 * (3 * 8), head = 2.0 * 17 * 8, adapter = 2.0 * 2 * (8 + 4);
  double forward = 2.0 * 2 * LLAMA_BLOCK + 2 * attention + 2 * adapter + head;
  double inputs = 2.0 * LLAMA_BLOCK + 2.0 * (LLAMA_BLOCK - QKV) + 4 * attention + head;
  double trained = 2 * (2.0 * 2 * (4 + 4 + 8)) + 2.0 * 2 * 8;
  expect(count("llama", &spec, true), forward, inputs + trained);
}

static void bert_with_query_adapters(void **state) {
  (void)state;
  static const char *const targets[] = {"query"}, *const saved[] = {"classifier"};
  fc_trainable_spec spec = {.targets = targets,
                            .n_targets = 1,
                            .lora_rank = 2,
                            .alpha = 4.0F,
                            .saved = saved,
                            .n_saved = 1};
  double head = 2.0 * (64 + 24) / 5.0; /* pooler and classifier, once in 5 tokens */
  double attention = 2.0 * (2 * 5 * 8), adapter = 2.0 * 2 * (8 + 8);
  double forward = 2.0 * 2 * BLOCK + 2 * attention + 2 * adapter + head;
  /* Input gradients: all of block 1; block 0 down to Q, K, V, whose own input needs none. */
  double inputs = 2.0 * BLOCK + 2.0 * (BLOCK - 3 * 64) + 4 * attention + head;
  /* Adapters: dB, dh, dA in both blocks, dx in block 1; weight gradient of the classifier. */
  double trained = 2 * (3 * 2.0 * 2 * 8) + 2.0 * 2 * 8 + 2.0 * 24 / 5.0;
  expect(count("bert", &spec, false), forward, inputs + trained);
}

static void roberta_head_alone(void **state) {
  (void)state;
  static const char *const saved[] = {"classifier"};
  fc_trainable_spec spec = {.saved = saved, .n_saved = 1};
  double head = 2.0 * (64 + 24) / 5.0, attention = 2.0 * (2 * 5 * 8);
  /* Backward: both weight gradients, the input gradient of out_proj only. */
  expect(count("roberta", &spec, false), 2.0 * 2 * BLOCK + 2 * attention + head,
         head + 2.0 * 24 / 5.0);
}

static void roberta_masked_lm_forward(void **state) {
  (void)state;
  fc_trainable_spec nothing = {0};
  expect(count("roberta", &nothing, true),
         2.0 * 2 * BLOCK + 2 * (2.0 * 2 * 5 * 8) + 2.0 * (64 + 17 * 8), 0.0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gpt2_whole_with_tied_head), cmocka_unit_test(llama_with_value_adapters),
      cmocka_unit_test(bert_with_query_adapters),  cmocka_unit_test(roberta_head_alone),
      cmocka_unit_test(roberta_masked_lm_forward),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
