/* The FLOP count against counts made by hand. The shapes: width 8, inner width 12, 2 blocks,
 * vocabulary 17, 3 classes, sequences of 5 tokens. */
#include "fixture.h"

/* Multiply-adds per token of one block: Q, K, V 3*64, attention output 64, up and down 2*96. */
enum { BLOCK = 3 * 64 + 64 + 2 * 96 };

typedef struct {
  fc_model *model;
  fc_trainable *trainable;
} pair;

static pair open_pair(const char *family, const fc_trainable_spec *spec) {
  fc_model_shape shape = full_shape(family);
  pair p = {0};
  OK(fc_model_create(&shape, &p.model));
  OK(fc_trainable_create(p.model, spec, &p.trainable));
  return p;
}

static void close_pair(pair *p) {
  fc_trainable_destroy(&p->trainable);
  fc_model_destroy(&p->model);
}

static fc_flop_count count(const char *family, const fc_trainable_spec *spec, bool with_lm) {
  pair p = open_pair(family, spec);
  fc_flop_count c = fc_trainable_flop_per_token(p.trainable, 5.0, with_lm);
  close_pair(&p);
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

/* ---- scopes ---------------------------------------------------------------------------------- */

/* One of two heads and 5 of 12 neurons of GPT-2's first block: Q, K, V 3*4*8, attention output 8*4,
 * up and down 2*5*8. */
enum { CUT = 3 * 4 * 8 + 8 * 4 + 2 * 5 * 8, HEAD = 17 * 8 };
static const fc_block_view first_cut[] = {{1, 5}, {2, 12}};

/* Only the second block is trained. */
static void gpt2_emulator_and_adapter(void **state) {
  (void)state;
  static const char *const saved[] = {"all"};
  pair p = open_pair("gpt2", &(fc_trainable_spec){.saved = saved, .n_saved = 1});
  const fc_scope scope = {.view = first_cut, .first_block = 1, .next_block = 2};
  fc_flop_request r = {.sequence_length = 5.0, .with_lm_loss = true};
  double cut = 2.0 * 2 * (3 * 4), attention = 2.0 * 2 * (3 * 8);
  expect(fc_trainable_flop(p.trainable, &scope, &r), 2.0 * (CUT + BLOCK + HEAD) + cut + attention,
         4.0 * BLOCK + 2.0 * HEAD + 2.0 * attention);
  r.without_attention = true;
  expect(fc_trainable_flop(p.trainable, &scope, &r), 2.0 * (CUT + BLOCK + HEAD),
         4.0 * BLOCK + 2.0 * HEAD);
  r.without_head = true;
  expect(fc_trainable_flop(p.trainable, &scope, &r), 2.0 * (CUT + BLOCK), 4.0 * BLOCK);
  close_pair(&p);
}

/* An adapter's B has as many rows as are left, its A is whole. */
static void gpt2_cut_adapters(void **state) {
  (void)state;
  static const char *const targets[] = {"c_attn"};
  pair p = open_pair(
      "gpt2", &(fc_trainable_spec){.targets = targets, .n_targets = 1, .lora_rank = 2, .alpha = 4});
  fc_scope scope = {.view = first_cut};
  const fc_flop_request r = {
      .sequence_length = 5.0, .without_attention = true, .without_head = true};
  double forward = 2.0 * (CUT + BLOCK) + 4.0 * (8 + 12) + 4.0 * (8 + 24);
  double first = 4.0 * (8 + 12) + 4.0 * 12; /* dA, dB, dh */
  double second = 4.0 * (8 + 24) + 4.0 * 24;
  expect(fc_trainable_flop(p.trainable, &scope, &r), forward,
         2.0 * (CUT - 3 * 4 * 8) + 2.0 * BLOCK + first + second + 4.0 * 8);
  scope.first_block = 1; /* the second block's Q, K, V need no gradient of their input */
  scope.next_block = 2;
  expect(fc_trainable_flop(p.trainable, &scope, &r), forward, 2.0 * (BLOCK - 3 * 64) + second);
  scope.first_block = 0; /* the second block's adapter passes the gradient on */
  scope.next_block = 1;
  expect(fc_trainable_flop(p.trainable, &scope, &r), forward,
         2.0 * (CUT - 3 * 4 * 8) + 2.0 * BLOCK + first + 4.0 * (24 + 8));
  close_pair(&p);
}

static void weights_of_blocks(void **state) {
  (void)state;
  const fc_trainable_spec nothing = {0};
  enum { NORMS = 4 * 8 };
  pair p = open_pair("gpt2", &nothing);
  size_t whole = BLOCK + 24 + 8 + 12 + 8 + NORMS, cut = CUT + 12 + 8 + 5 + 8 + NORMS;
  assert_int_equal(fc_model_block_weights(p.model, NULL, 0, 2), 2 * whole);
  assert_int_equal(fc_model_block_weights(p.model, NULL, 1, 1), 0);
  assert_int_equal(fc_model_block_weights(p.model, first_cut, 0, 1), cut);
  assert_int_equal(fc_model_block_weights(p.model, first_cut, 0, 2), cut + whole);
  close_pair(&p);
  p = open_pair("llama", &nothing); /* gate, up and down of 5 neurons; norms without bias */
  const fc_block_view five[] = {{1, 5}, {1, 5}};
  assert_int_equal(fc_model_block_weights(p.model, five, 1, 2),
                   64 + 2 * 32 + 64 + 3 * 5 * 8 + NORMS / 2);
  close_pair(&p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gpt2_whole_with_tied_head), cmocka_unit_test(llama_with_value_adapters),
      cmocka_unit_test(bert_with_query_adapters),  cmocka_unit_test(roberta_head_alone),
      cmocka_unit_test(roberta_masked_lm_forward), cmocka_unit_test(gpt2_emulator_and_adapter),
      cmocka_unit_test(gpt2_cut_adapters),         cmocka_unit_test(weights_of_blocks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
