/* test_weights_config.c - config.json of the families: what is read, and the message for each
 * thing that is missing, out of range or not implemented. */
#include "store_test.h"

#include "fedcell/fc_mem.h"
#include "fedcell/fc_weights.h"

static fc_err read_text(const char *text, int labels, fc_model_shape *shape) {
  write_text(scratch_path("config.json"), text);
  return fc_weights_read_shape(scratch, labels, shape);
}

/* As the published gpt2 folder has it, unused keys included. */
static const char *const GPT2 =
    "{\"activation_function\":\"gelu_new\",\"architectures\":[\"GPT2LMHeadModel\"],"
    "\"attn_pdrop\":0.1,\"bos_token_id\":50256,\"layer_norm_epsilon\":1e-05,\"model_type\":"
    "\"gpt2\","
    "\"n_ctx\":1024,\"n_embd\":768,\"n_head\":12,\"n_layer\":12,\"n_positions\":1024,"
    "\"vocab_size\":50257}";

static void gpt2(void **state) {
  (void)state;
  fc_model_shape s;
  assert_ok(read_text(GPT2, 0, &s));
  assert_ptr_equal(s.arch, fc_arch_find("gpt2"));
  assert_int_equal(s.layers, 12);
  assert_int_equal(s.width, 768);
  assert_int_equal(s.heads, 12);
  assert_int_equal(s.kv_heads, 12);
  assert_int_equal(s.ffn, 3072);
  assert_int_equal(s.vocab, 50257);
  assert_int_equal(s.positions, 1024);
  assert_int_equal(s.labels, 0);
  assert_false(s.lm_head);
  assert_true(s.norm_eps == 1e-5F);
  assert_int_equal(s.pool, FC_POOL_FIRST);
  assert_ok(read_text(GPT2, 4, &s));
  assert_int_equal(s.labels, 4);
}

#define BERT_KEYS                                                                                  \
  "\"hidden_act\":\"gelu\",\"hidden_size\":128,\"intermediate_size\":512,"                         \
  "\"layer_norm_eps\":1e-12,\"max_position_embeddings\":512,\"num_attention_heads\":2,"            \
  "\"num_hidden_layers\":3,\"type_vocab_size\":2,\"vocab_size\":30522"

static void encoders(void **state) {
  (void)state;
  fc_model_shape s;
  /* older folders have no model_type */
  assert_ok(read_text("{\"architectures\":[\"BertForMaskedLM\"]," BERT_KEYS "}", 0, &s));
  assert_ptr_equal(s.arch, fc_arch_find("bert"));
  assert_int_equal(s.layers, 3);
  assert_int_equal(s.ffn, 512);
  assert_int_equal(s.types, 2);
  assert_int_equal(s.positions, 512);
  assert_true(s.norm_eps == 1e-12F);
  assert_true(s.lm_head);
  assert_ok(
      read_text("{\"model_type\":\"roberta\",\"fedcell_pooling\":\"mean\"," BERT_KEYS "}", 0, &s));
  assert_ptr_equal(s.arch, fc_arch_find("roberta"));
  assert_false(s.lm_head);
  assert_int_equal(s.pool, FC_POOL_MEAN);
}

#define LLAMA_KEYS                                                                                 \
  "\"model_type\":\"llama\",\"hidden_act\":\"silu\",\"hidden_size\":64,\"intermediate_size\":172," \
  "\"num_attention_heads\":8,\"num_key_value_heads\":4,\"num_hidden_layers\":5,\"vocab_size\":"    \
  "512,"                                                                                           \
  "\"max_position_embeddings\":2048,\"rms_norm_eps\":1e-05"
#define SCALING_KEYS                                                                               \
  "\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"                               \
  "\"original_max_position_embeddings\":8192"

static void expect_llama3(const fc_model_shape *s) {
  assert_ptr_equal(s->arch, fc_arch_find("llama"));
  assert_int_equal(s->layers, 5);
  assert_int_equal(s->kv_heads, 4);
  assert_int_equal(s->positions, 2048);
  assert_true(s->norm_eps == 1e-5F);
  assert_true(s->rope_theta == 500000.0F);
  assert_true(s->rope_scaling.factor == 8.0F);
  assert_true(s->rope_scaling.low_freq_factor == 1.0F);
  assert_true(s->rope_scaling.high_freq_factor == 4.0F);
  assert_int_equal(s->rope_scaling.original_positions, 8192);
  assert_true(s->untied_head);
}

static void llama(void **state) {
  (void)state;
  fc_model_shape s;
  assert_ok(read_text("{" LLAMA_KEYS ",\"tie_word_embeddings\":true,\"head_dim\":8}", 0, &s));
  assert_true(s.rope_theta == 10000.0F);
  assert_true(s.rope_scaling.factor == 0.0F);
  assert_false(s.untied_head);
  assert_ok(read_text("{" LLAMA_KEYS ",\"rope_theta\":500000.0,\"rope_scaling\":{"
                      "\"rope_type\":\"llama3\"," SCALING_KEYS "}}",
                      0, &s));
  expect_llama3(&s);
  fc_model *m = NULL;
  assert_ok(fc_model_create(&s, &m));
  float *weights = NULL;
  assert_ok(fc_alloc(fc_model_weight_count(m), sizeof *weights, &weights));
  fc_model_init_weights(m, 1, false, weights);
  assert_ok(fc_weights_write(m, weights, scratch)); /* and back */
  assert_ok(fc_weights_read_shape(scratch, 0, &s));
  expect_llama3(&s);
  float *again = NULL;
  assert_ok(fc_alloc(fc_model_weight_count(m), sizeof *again, &again));
  assert_ok(fc_weights_read(m, scratch, 1, again));
  assert_memory_equal(again, weights, fc_model_weight_count(m) * sizeof *again);
  fc_free(again);
  fc_free(weights);
  fc_model_destroy(&m);
  assert_ok(read_text("{" LLAMA_KEYS ",\"rope_parameters\":{\"rope_theta\":500000.0,"
                      "\"rope_type\":\"llama3\"," SCALING_KEYS "}}",
                      0, &s));
  expect_llama3(&s);
  assert_ok(read_text("{" LLAMA_KEYS "}", 3, &s)); /* a classifier has no such head */
  assert_false(s.untied_head);
}

static void llama_that_is_not_implemented(void **state) {
  (void)state;
  fc_model_shape s;
  assert_fails(read_text("{" LLAMA_KEYS ",\"head_dim\":16}", 0, &s), FC_ERR_DATA,
               "%s/config.json: head_dim is 16, implemented is hidden_size / num_attention_heads");
  assert_fails(read_text("{" LLAMA_KEYS ",\"rope_theta\":0}", 0, &s), FC_ERR_DATA,
               "%s/config.json: rope_theta is not a number of 1 or more");
  assert_fails(read_text("{" LLAMA_KEYS ",\"rope_scaling\":{\"type\":\"yarn\"}}", 0, &s),
               FC_ERR_DATA,
               "%s/config.json: rope_scaling of type yarn is not implemented; implemented is "
               "llama3");
  assert_fails(read_text("{" LLAMA_KEYS ",\"rope_scaling\":{\"rope_type\":\"llama3\"}}", 0, &s),
               FC_ERR_DATA, "%s/config.json: rope_scaling has no factor above 0");
  assert_fails(read_text("{" LLAMA_KEYS ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":2,"
                         "\"low_freq_factor\":1,\"high_freq_factor\":4}}",
                         0, &s),
               FC_ERR_DATA,
               "%s/config.json: rope_scaling has no original_max_position_embeddings above 0");
  assert_fails(read_text("{" LLAMA_KEYS ",\"mlp_bias\":true}", 0, &s), FC_ERR_DATA,
               "%s/config.json: mlp_bias is true, implemented for llama is false");
}

static void labels_of_the_file(void **state) {
  (void)state;
  fc_model_shape s;
  const char *text =
      "{\"model_type\":\"bert\",\"architectures\":[\"BertForSequenceClassification\"],"
      "\"id2label\":{\"0\":\"a\",\"1\":\"b\",\"2\":\"c\"}," BERT_KEYS "}";
  assert_ok(read_text(text, -1, &s));
  assert_int_equal(s.labels, 3);
  assert_ok(read_text(text, 0, &s));
  assert_int_equal(s.labels, 0);
  assert_ok(read_text(
      "{\"model_type\":\"bert\",\"architectures\":[\"BertForSequenceClassification\"]," BERT_KEYS
      "}",
      -1, &s));
  assert_int_equal(s.labels, 2);
  assert_ok(read_text("{\"model_type\":\"bert\"," BERT_KEYS "}", -1, &s));
  assert_int_equal(s.labels, 0);
}

static void files(void **state) {
  (void)state;
  fc_model_shape s;
  assert_fails(fc_weights_read_shape(scratch_path("none"), 0, &s), FC_ERR_IO,
               "cannot read %s/none/config.json: is it a model folder?");
  assert_fails(read_text("{\"a\":1,\n\"b\"}", 0, &s), FC_ERR_DATA,
               "%s/config.json:2: ':' expected near '}'");
  assert_fails(read_text("[]", 0, &s), FC_ERR_DATA, "%s/config.json is not a JSON object");
  assert_fails(read_text("{}", 0, &s), FC_ERR_DATA,
               "%s/config.json: model_type (missing) is not supported; allowed are gpt2, llama, "
               "bert, roberta");
  assert_fails(read_text("{\"model_type\":\"t5\"}", 0, &s), FC_ERR_DATA,
               "%s/config.json: model_type t5 is not supported; allowed are gpt2, llama, bert, "
               "roberta");
}

static void sizes(void **state) {
  (void)state;
  fc_model_shape s;
  assert_fails(read_text("{\"model_type\":\"gpt2\"}", 0, &s), FC_ERR_DATA,
               "%s/config.json: n_layer is missing");
  assert_fails(read_text("{\"model_type\":\"gpt2\",\"n_layer\":2.5}", 0, &s), FC_ERR_DATA,
               "%s/config.json: n_layer is not a whole number");
  assert_fails(read_text("{\"model_type\":\"gpt2\",\"n_layer\":0}", 0, &s), FC_ERR_DATA,
               "%s/config.json: n_layer is 0, allowed is 1 to 2147483647");
  assert_fails(read_text("{\"model_type\":\"gpt2\",\"n_layer\":3000000000}", 0, &s), FC_ERR_DATA,
               "%s/config.json: n_layer is 3000000000, allowed is 1 to 2147483647");
  assert_fails(read_text("{\"model_type\":\"gpt2\",\"n_layer\":1,\"n_embd\":10,\"n_head\":3,"
                         "\"n_inner\":null,\"vocab_size\":5,\"n_positions\":4}",
                         0, &s),
               FC_ERR_SHAPE, "%s/config.json: model width 10 is not a multiple of its 3 heads");
  assert_fails(read_text("{\"model_type\":\"gpt2\",\"n_layer\":1,\"n_embd\":12,\"n_head\":3,"
                         "\"vocab_size\":5,\"n_positions\":4,\"layer_norm_epsilon\":0}",
                         0, &s),
               FC_ERR_DATA, "%s/config.json: layer_norm_epsilon is not a number between 0 and 1");
}

static void what_is_not_implemented(void **state) {
  (void)state;
  fc_model_shape s;
  assert_fails(read_text("{\"model_type\":\"gpt2\",\"activation_function\":\"relu\",\"n_layer\":1,"
                         "\"n_embd\":12,\"n_head\":3,\"vocab_size\":5,\"n_positions\":4}",
                         0, &s),
               FC_ERR_DATA,
               "%s/config.json: activation_function is \"relu\", implemented for gpt2 is "
               "\"gelu_new\"");
  /* a key of BERT_KEYS may not stand twice, so hidden_act is tried by itself */
  assert_fails(
      read_text("{\"model_type\":\"bert\",\"position_embedding_type\":\"relative_key\"," BERT_KEYS
                "}",
                0, &s),
      FC_ERR_DATA,
      "%s/config.json: position_embedding_type is \"relative_key\", implemented for bert "
      "is \"absolute\"");
  assert_fails(read_text("{\"model_type\":\"roberta\",\"pad_token_id\":0," BERT_KEYS "}", 0, &s),
               FC_ERR_DATA, "%s/config.json: pad_token_id is 0, implemented for roberta is 1");
  assert_fails(
      read_text("{\"model_type\":\"bert\",\"tie_word_embeddings\":false," BERT_KEYS "}", 0, &s),
      FC_ERR_DATA, "%s/config.json: tie_word_embeddings is false, implemented for bert is true");
  assert_fails(
      read_text("{\"model_type\":\"bert\",\"fedcell_pooling\":\"max\"," BERT_KEYS "}", 0, &s),
      FC_ERR_DATA, "%s/config.json: fedcell_pooling is max, allowed is first or mean");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gpt2),
      cmocka_unit_test(encoders),
      cmocka_unit_test(llama),
      cmocka_unit_test(llama_that_is_not_implemented),
      cmocka_unit_test(labels_of_the_file),
      cmocka_unit_test(files),
      cmocka_unit_test(sizes),
      cmocka_unit_test(what_is_not_implemented),
  };
  return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
