/* Kind `llama2c`: merging by score, bytes, the space in front, malformed files, the real one. */
#include "llama2c_tokenizer.h"
#include "text_helpers.h"

enum { UNK, BOS, EOS, BYTE_C3, BYTE_A9, SPACE, A, B, AB, BA, SPACE_A, ABA };

static void add_token(fc_buffer *b, float score, const char *name) {
  int32_t length = (int32_t)strlen(name);
  expect_ok(fc_buffer_add(b, &score, sizeof score));
  expect_ok(fc_buffer_add(b, &length, sizeof length));
  expect_ok(fc_buffer_add(b, name, (size_t)length));
}

static fc_buffer small_file(void) {
  fc_buffer b = {0};
  int32_t longest = 7;
  expect_ok(fc_buffer_add(&b, &longest, sizeof longest));
  add_token(&b, 0.0F, "<unk>");
  add_token(&b, 0.0F, "\n<s>\n");
  add_token(&b, 0.0F, "\n</s>\n");
  add_token(&b, 0.0F, "<0xC3>");
  add_token(&b, 0.0F, "<0xA9>");
  add_token(&b, -9.0F, " ");
  add_token(&b, -9.0F, "a");
  add_token(&b, -9.0F, "b");
  add_token(&b, -2.0F, "ab");
  add_token(&b, -1.0F, "ba");
  add_token(&b, -3.0F, " a");
  add_token(&b, -4.0F, "aba");
  return b;
}

static fc_err parse(const fc_buffer *b, size_t size, fc_tokenizer **out) {
  fc_text_file file = {"t.bin", {b->data, size}};
  return fc_llama2c_tokenizer_parse(&file, out);
}

static fc_tokenizer *small_tokenizer(void) {
  fc_tokenizer *tok = NULL;
  fc_buffer b = small_file();
  expect_ok(parse(&b, b.size, &tok));
  fc_buffer_free(&b);
  return tok;
}

static void merges_by_score(void **state) {
  (void)state;
  fc_tokenizer *tok = small_tokenizer();
  expect_ids(tok, TEXT("ab"), IDS(SPACE, AB));       /* "ab" before " a" */
  expect_ids(tok, TEXT("aba"), IDS(SPACE_A, BA));    /* "ba" before "ab", then " a" */
  expect_ids(tok, TEXT("baba"), IDS(SPACE, BA, BA)); /* the first of equals */
  expect_ids(tok, TEXT("bab a"), IDS(SPACE, BA, B, SPACE_A));
  expect_ids(tok, TEXT(""), IDS(-1));
  assert_int_equal(fc_tokenizer_vocab_size(tok), 12);
  assert_true(fc_tokenizer_begins_with_bos(tok));
  fc_tokenizer_destroy(&tok);
}

static void bytes_stand_for_what_is_lacking(void **state) {
  (void)state;
  fc_tokenizer *tok = small_tokenizer();
  expect_ids(tok, TEXT("\xC3\xA9"), IDS(SPACE, BYTE_C3, BYTE_A9));
  expect_ids(tok, TEXT("\xC3"), IDS(SPACE, BYTE_C3)); /* no UTF-8 */
  expect_ids(tok, TEXT("z"), IDS(SPACE, UNK));
  expect_decoded(tok, IDS(BOS, SPACE_A, BYTE_C3, BYTE_A9, SPACE_A, EOS), 6, "a\xC3\xA9 a");
  expect_decoded(tok, IDS(SPACE, AB), 2, "ab");
  fc_tokenizer_destroy(&tok);
}

static void malformed_files(void **state) {
  (void)state;
  fc_tokenizer *tok = NULL;
  fc_buffer b = small_file();
#define REFUSES(size, message) expect_failure(parse(&b, size, &tok), FC_ERR_DATA, message)
  REFUSES(3, "t.bin: 3 bytes are no tokeniser of llama2.c");
  REFUSES(4, "t.bin: 0 tokens, but <unk>, <s> and </s> must be the first");
  REFUSES(10, "t.bin: the file ends within token 0");
  REFUSES(b.size - 1, "t.bin: the file ends within token 11");
#undef REFUSES
  fc_buffer_free(&b);
}

static void a_saved_one_reads_back(void **state) {
  (void)state;
  char folder[] = "/tmp/fedcell-llama2c-XXXXXX", path[64];
  assert_non_null(mkdtemp(folder));
  fc_tokenizer *tok = small_tokenizer(), *again = NULL;
  expect_ok(fc_tokenizer_save(tok, folder));
  expect_ok(fc_tokenizer_load(folder, NULL, &again));
  assert_string_equal(fc_tokenizer_kind(again), "llama2c");
  expect_ids(again, TEXT("bab a"), IDS(SPACE, BA, B, SPACE_A));
  snprintf(path, sizeof path, "%s/tokenizer.bin", folder);
  assert_int_equal(unlink(path) | rmdir(folder), 0);
  fc_tokenizer_destroy(&tok);
  fc_tokenizer_destroy(&again);
}

/* In a model's folder, or beside a model file, which need not be there. */
static void of_a_model(void **state) {
  (void)state;
  char folder[] = "/tmp/fedcell-text-XXXXXX", path[64], message[160];
  fc_tokenizer *tok = small_tokenizer(), *found = NULL;
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/model.bin", folder);
  snprintf(message, sizeof message, "%s: the folder holds no tokeniser", folder);
  assert_int_equal(fc_tokenizer_load_of_model(path, &found), FC_ERR_USAGE);
  assert_memory_equal(fc_err_message(), message, strlen(message));
  assert_null(found);
  expect_ok(fc_tokenizer_save(tok, folder));
  const char *models[] = {folder, path};
  for (int i = 0; i < 2; i++) {
    expect_ok(fc_tokenizer_load_of_model(models[i], &found));
    expect_ids(found, TEXT("aba"), IDS(SPACE_A, BA));
    fc_tokenizer_destroy(&found);
  }
  fc_tokenizer_destroy(&tok);
  snprintf(path, sizeof path, "%s/tokenizer.bin", folder);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(rmdir(folder), 0);
}

static void the_real_one(void **state) {
  (void)state;
  const char *path = "../shared/tokenizers/llama2c/tok512.bin";
  if (access(path, R_OK) != 0) skip();
  fc_tokenizer *tok = NULL;
  expect_ok(fc_tokenizer_load(path, NULL, &tok));
  assert_int_equal(fc_tokenizer_vocab_size(tok), 512);
  static const char text[] = "Once upon a time, caf\xC3\xA9 \xF0\x9F\x98\x80\n  <tab>\t.";
  fc_tokens ids = {0};
  expect_ok(fc_tokenizer_encode(tok, text, sizeof text - 1, &ids));
  expect_decoded(tok, ids.id, ids.n, text);
  assert_true(ids.n < sizeof text);
  fc_tokens_free(&ids);
  expect_ids(tok, TEXT("Once upon a time"), IDS(403, 407, 261, 378));
  fc_tokenizer_destroy(&tok);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(merges_by_score), cmocka_unit_test(bytes_stand_for_what_is_lacking),
      cmocka_unit_test(malformed_files), cmocka_unit_test(a_saved_one_reads_back),
      cmocka_unit_test(of_a_model),      cmocka_unit_test(the_real_one),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
