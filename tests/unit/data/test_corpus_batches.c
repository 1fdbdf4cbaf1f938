/* From samples to sequences, batches and targets, with the byte tokeniser (a byte is its id). */
#include "data_test.h"
#include <math.h>

static fc_tokenizer *tok;
static fc_special_tokens sp;

static int start(void **state) {
  (void)state;
  if (fc_tokenizer_create_byte(&tok) != FC_ERR_OK) return 1;
  sp = fc_tokenizer_specials(tok);
  return 0;
}

static int stop(void **state) {
  (void)state;
  fc_tokenizer_destroy(&tok);
  return 0;
}

/* A dataset of one train row (and the same as test part) from csv text. */
static fc_dataset *open_rows(const char *task, const char *rows) {
  char text[4096], *folder = make_folder();
  snprintf(text, sizeof text, "label,text,second\n%s", rows);
  write_text(folder, "a.csv", text);
  fc_data_settings s = settings_of("csv", folder);
  s.train_file = s.test_file = "a.csv";
  s.task = task;
  if (strstr(rows, "pair") != NULL || strcmp(task, "lm") == 0) s.column_b = "second";
  fc_dataset *ds;
  assert_ok(fc_dataset_open(&s, 1, &ds));
  remove_file(folder, "a.csv");
  assert_int_equal(rmdir(folder), 0);
  return ds;
}

/* Letters stand for themselves, [ ] for cls and sep, $ for eos, / for a line end. */
static void expect_tokens(const fc_corpus *c, size_t sample, const char *expected, int second) {
  int length, begins;
  const int32_t *ids = fc_corpus_tokens(c, sample, &length, &begins);
  char text[256];
  assert_true(length < 255);
  for (int i = 0; i < length; i++)
    text[i] = ids[i] == sp.cls ? '[' : ids[i] == sp.sep ? ']' : ids[i] == '\n' ? '/' : (char)ids[i];
  text[length] = '\0';
  assert_string_equal(text, expected);
  assert_int_equal(begins, second);
}

static void sequences_of_an_encoder(void **state) {
  (void)state;
  fc_corpus *c;
  fc_dataset *ds = open_rows("classify", "x,abc,\n");
  fc_sequence_format f = {.frame = true, .use_types = true, .max_length = 8};
  assert_ok(fc_corpus_create(ds, tok, &f, &c));
  expect_tokens(c, 0, "[abc]", 5);
  assert_int_equal(fc_corpus_longest(c), 5);
  assert_int_equal(fc_corpus_label(c, 0), 0);
  fc_corpus_destroy(&c);
  fc_dataset_destroy(&ds);
  ds = open_rows("classify", "pair,abcdefgh,12345678\npair,ab,12345678\npair,abcdefgh,1\n");
  f.max_length = 10;
  assert_ok(fc_corpus_create(ds, tok, &f, &c));
  expect_tokens(c, 0, "[abcd]123]", 6); /* the longer first, b where equal */
  expect_tokens(c, 1, "[ab]12345]", 4);
  expect_tokens(c, 2, "[abcdef]1]", 8);
  fc_corpus_destroy(&c);
  f.double_sep = true;
  assert_ok(fc_corpus_create(ds, tok, &f, &c));
  expect_tokens(c, 0, "[abc]]123]", 6);
  expect_tokens(c, 5, "[abcde]]1]", 8); /* the test part is there too */
  assert_true(fc_corpus_bytes(c) >= 6 * (10 * 4 + 16));
  fc_corpus_destroy(&c);
  fc_dataset_destroy(&ds);
}

static void sequences_of_a_decoder(void **state) {
  (void)state;
  fc_corpus *c;
  fc_dataset *ds = open_rows("classify", "pair,abcdefgh,12345678\npair,a,b\n");
  fc_sequence_format f = {.max_length = 9};
  assert_ok(fc_corpus_create(ds, tok, &f, &c));
  expect_tokens(c, 0, "abcd/1234", 5);
  expect_tokens(c, 1, "a/b", 2);
  fc_corpus_destroy(&c);
  fc_dataset_destroy(&ds);
  ds = open_rows("lm", ",abcdefgh,123\n,a,123456789\n,ab,12\n,,12\n");
  assert_ok(fc_corpus_create(ds, tok, &f, &c));
  expect_tokens(c, 0, "efgh/123]", 5); /* the prompt loses its beginning; ] is also eos */
  expect_tokens(c, 1, "123456789", 0); /* the answer loses its end */
  expect_tokens(c, 2, "ab/12]", 3);
  expect_tokens(c, 3, "/12]", 1);
  fc_corpus_destroy(&c);
  f.max_length = 7;
  assert_fails(fc_corpus_create(ds, tok, &f, &c), FC_ERR_USAGE,
               "data.max_length = 7: must be at least 8");
  assert_null(c);
  fc_dataset_destroy(&ds);
}

static void images_have_no_tokens(void **state) {
  (void)state;
  fc_corpus *c;
  fc_dataset *ds;
  fc_data_settings s = settings_of("generated-digits", "");
  s.samples = s.test_samples = 1;
  assert_ok(fc_dataset_open(&s, 1, &ds));
  fc_sequence_format f = {.max_length = 9};
  assert_fails(fc_corpus_create(ds, tok, &f, &c), FC_ERR_USAGE,
               "the dataset holds images, but this model reads text");
  fc_dataset_destroy(&ds);
}

static void expect_targets(const fc_batch *batch, int sequence, const char *expected) {
  int64_t begin = batch->start[sequence], n = batch->start[sequence + 1] - begin;
  assert_int_equal(n, strlen(expected));
  for (int64_t i = 0; i < n; i++) {
    int32_t want = expected[i] == '.'   ? FC_TARGET_IGNORE
                   : expected[i] == ']' ? sp.eos
                                        : (expected[i] == '/' ? '\n' : expected[i]);
    assert_int_equal(batch->targets[begin + i], want);
  }
}

static const fc_rng no_rng;

static void causal_targets_leave_out_the_prompt(void **state) {
  (void)state;
  fc_corpus *c;
  fc_batcher *b;
  const fc_batch *batch;
  fc_dataset *ds = open_rows("lm", ",abcdefgh,123\n,a,123456789\n,ab,12\n");
  fc_sequence_format f = {.max_length = 9};
  const uint32_t samples[] = {2, 0, 1};
  assert_ok(fc_corpus_create(ds, tok, &f, &c));
  assert_ok(fc_batcher_create(3, 24, &b));
  assert_ok(fc_batcher_fill(b, c, tok, samples, 3, FC_LOSS_CAUSAL_LM, no_rng, &batch));
  assert_int_equal(batch->sequences, 3);
  assert_int_equal(batch->start[3], 24);
  expect_targets(batch, 0, "..12].");    /* ab/12] */
  expect_targets(batch, 1, "....123]."); /* efgh/123] */
  expect_targets(batch, 2, "23456789."); /* no prompt left: all but the first token */
  assert_null(batch->types);
  assert_int_equal(batch->tokens[5], sp.eos);
  assert_int_equal(batch->tokens[6], 'e');
  fc_batcher_destroy(&b);
  assert_null(b);
  assert_ok(fc_batcher_create(3, 23, &b));
  assert_fails(fc_batcher_fill(b, c, tok, samples, 3, FC_LOSS_CAUSAL_LM, no_rng, &batch),
               FC_ERR_SHAPE, "a batch of 24 tokens, room is for 23");
  fc_batcher_destroy(&b);
  assert_ok(fc_batcher_create(2, 100, &b));
  assert_fails(fc_batcher_fill(b, c, tok, samples, 3, FC_LOSS_CAUSAL_LM, no_rng, &batch),
               FC_ERR_SHAPE, "a batch of 3 sequences, room is for 1 to 2");
  fc_batcher_destroy(&b);
  fc_corpus_destroy(&c);
  fc_dataset_destroy(&ds);
}

static void labels_types_and_whole_texts(void **state) {
  (void)state;
  fc_corpus *c;
  fc_batcher *b;
  const fc_batch *batch;
  fc_dataset *ds = open_rows("classify", "pair,ab,1\nother,cd,2\n");
  fc_sequence_format f = {.frame = true, .use_types = true, .max_length = 16};
  const uint32_t samples[] = {0, 1};
  assert_ok(fc_corpus_create(ds, tok, &f, &c));
  assert_ok(fc_batcher_create(2, 12, &b));
  assert_ok(fc_batcher_fill(b, c, NULL, samples, 2, FC_LOSS_CLASSIFY, no_rng, &batch));
  assert_null(batch->targets);
  assert_int_equal(batch->labels[0], 1);
  assert_int_equal(batch->labels[1], 0);
  const int32_t types[] = {0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1}; /* [ab]1] */
  assert_memory_equal(batch->types, types, sizeof types);
  fc_batcher_destroy(&b);
  fc_corpus_destroy(&c);
  f = (fc_sequence_format){.max_length = 16}; /* a base is pre-trained on texts that have labels */
  assert_ok(fc_corpus_create(ds, tok, &f, &c));
  assert_ok(fc_batcher_create(2, 12, &b));
  assert_ok(fc_batcher_fill(b, c, tok, samples, 2, FC_LOSS_CAUSAL_LM, no_rng, &batch));
  expect_targets(batch, 0, "b/1."); /* ab/1 */
  fc_batcher_destroy(&b);
  fc_corpus_destroy(&c);
  fc_dataset_destroy(&ds);
}

/* Counts over many draws against the binomial spread (5 standard deviations). */
static void assert_share(int64_t count, int64_t of, double p) {
  double expected = p * (double)of, spread = sqrt((double)of * p * (1.0 - p));
  if (!(fabs((double)count - expected) <= 5.0 * spread))
    fail_msg("%lld of %lld, expected a share of %g", (long long)count, (long long)of, p);
}

static void masking_is_berts(void **state) {
  (void)state;
  fc_corpus *c;
  fc_batcher *b;
  const fc_batch *batch;
  fc_dataset *ds;
  fc_data_settings s = settings_of("generated-sentiment", "");
  s.samples = 400;
  assert_ok(fc_dataset_open(&s, 1, &ds));
  fc_sequence_format f = {.frame = true, .max_length = 128};
  assert_ok(fc_corpus_create(ds, tok, &f, &c));
  assert_ok(fc_batcher_create(1, 128, &b));
  int64_t normal = 0, chosen = 0, masked = 0, kept = 0;
  for (uint32_t i = 0; i < 400; i++) {
    fc_rng rng = fc_rng_open(1, FC_RNG_MASKING, 0, i);
    int length, of_this = 0;
    const int32_t *plain = fc_corpus_tokens(c, i, &length, NULL);
    assert_ok(fc_batcher_fill(b, c, tok, &i, 1, FC_LOSS_MASKED_LM, rng, &batch));
    for (int t = 0; t < length; t++) {
      bool special = plain[t] == sp.cls || plain[t] == sp.sep;
      if (batch->targets[t] == FC_TARGET_IGNORE) {
        assert_int_equal(batch->tokens[t], plain[t]);
      } else {
        assert_false(special);
        assert_int_equal(batch->targets[t], plain[t]);
        of_this++;
        masked += batch->tokens[t] == sp.mask;
        kept += batch->tokens[t] == plain[t];
        assert_true(batch->tokens[t] >= 0 && batch->tokens[t] < fc_tokenizer_vocab_size(tok));
      }
      normal += !special;
    }
    assert_true(of_this >= 1);
    chosen += of_this;
  }
  assert_share(chosen, normal, 0.15);
  assert_share(masked, chosen, 0.8 + 0.1 / 260);
  assert_share(kept, chosen, 0.1 + 0.1 / 260);
  fc_batcher_destroy(&b);
  fc_corpus_destroy(&c);
  fc_dataset_destroy(&ds);
}

static void one_masked_token_at_least_and_the_same_again(void **state) {
  (void)state;
  fc_corpus *c;
  fc_batcher *b;
  const fc_batch *batch;
  fc_dataset *ds = open_rows("classify", "x,ab,\ny,cdefghij,\n");
  fc_sequence_format f = {.frame = true, .max_length = 16};
  const uint32_t samples[] = {0, 1, 0};
  int first = 0, differ = 0;
  assert_ok(fc_corpus_create(ds, tok, &f, &c));
  assert_ok(fc_batcher_create(3, 32, &b));
  for (uint64_t round = 0; round < 200; round++) {
    int32_t targets[32], tokens[32];
    fc_rng rng = fc_rng_open(1, FC_RNG_MASKING, round, 0);
    assert_ok(fc_batcher_fill(b, c, tok, samples, 3, FC_LOSS_MASKED_LM, rng, &batch));
    size_t bytes = (size_t)batch->start[3] * sizeof(int32_t);
    memcpy(targets, batch->targets, bytes);
    memcpy(tokens, batch->tokens, bytes);
    for (int k = 0; k < 3; k += 2) { /* the two copies of "ab" */
      int64_t at = batch->start[k];
      assert_true((targets[at + 1] == 'a') != (targets[at + 2] == 'b'));
    }
    first += targets[1] == 'a';
    differ += targets[1] != targets[batch->start[2] + 1];
    assert_ok(fc_batcher_fill(b, c, tok, samples, 3, FC_LOSS_MASKED_LM, rng, &batch));
    assert_memory_equal(batch->targets, targets, bytes);
    assert_memory_equal(batch->tokens, tokens, bytes);
  }
  assert_share(first, 200, 0.5);
  assert_share(differ, 200, 0.5);
  fc_batcher_destroy(&b);
  fc_corpus_destroy(&c);
  fc_dataset_destroy(&ds);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sequences_of_an_encoder),
      cmocka_unit_test(sequences_of_a_decoder),
      cmocka_unit_test(images_have_no_tokens),
      cmocka_unit_test(causal_targets_leave_out_the_prompt),
      cmocka_unit_test(labels_types_and_whole_texts),
      cmocka_unit_test(masking_is_berts),
      cmocka_unit_test(one_masked_token_at_least_and_the_same_again),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
