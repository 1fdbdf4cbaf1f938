/* fuzz_tokenizer.c - arbitrary bytes to the tokenisers and to the readers of their files.
 *
 * The first byte chooses: text for the three kinds (with small vocabularies made in memory), a
 * vocab.txt, a vocab.json with merges (divided at the first zero byte), or texts to learn from.
 * What must hold: ids within the vocabulary, decode(encode(x)) == x for byte and, up to the
 * replacement of invalid UTF-8, for BPE; a reader either succeeds or fails with a message. */
#include "../../src/text/bpe.h"
#include "../../src/text/utf8.h"
#include "../../src/text/wordpiece.h"
#include "fedcell/fc_mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(cond)                                                                              \
  do {                                                                                             \
    if (!(cond)) {                                                                                 \
      fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #cond, fc_err_message());             \
      abort();                                                                                     \
    }                                                                                              \
  } while (0)

static const char sample[] = "the quick brown fox jumps over the lazy dog; the dogs, the foxes!  "
                             "don't   12 123 \xC3\xA9t\xC3\xA9 \xE6\x97\xA5\xE6\x9C\xAC \xF0\x9F"
                             "\x98\x80\xF0\x9F\x98\x80 aaaa aaaaaaaa  \n\n\t";
static const char pieces[] =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##a\nb\n##b\n##ab\naab\n,\n!\n1\n"
    "##1\ne\n##e\n\xE6\x97\xA5\n\xCE\xB1\n##\xCE\xB1\n##\xCC\x81\n";

static fc_tokenizer *byte_tok, *bpe_tok, *wordpiece_tok;

static void make_tokenizers(void) {
  if (byte_tok) return;
  fc_text text = {sample, sizeof sample - 1};
  fc_text_file file = {"vocab.txt", {pieces, sizeof pieces - 1}};
  REQUIRE(fc_tokenizer_create_byte(&byte_tok) == FC_ERR_OK);
  REQUIRE(fc_tokenizer_learn_bpe(&text, 1, 300, &bpe_tok) == FC_ERR_OK);
  REQUIRE(fc_wordpiece_parse(&file, true, &wordpiece_tok) == FC_ERR_OK);
}

/* Encodes and decodes; exact: what comes back must be `expected`. */
static void there_and_back(const fc_tokenizer *tok, fc_text text, const fc_text *expected) {
  fc_tokens ids = {0};
  fc_buffer back = {0};
  REQUIRE(fc_tokenizer_encode(tok, text.text, text.length, &ids) == FC_ERR_OK);
  for (size_t i = 0; i < ids.n; i++)
    REQUIRE(ids.id[i] >= 0 && ids.id[i] < fc_tokenizer_vocab_size(tok));
  REQUIRE(fc_tokenizer_decode_text(tok, ids.id, ids.n, &back) == FC_ERR_OK);
  if (expected) {
    REQUIRE(back.size == expected->length);
    REQUIRE(back.size == 0 || memcmp(back.data, expected->text, back.size) == 0);
  }
  fc_buffer_free(&back);
  fc_tokens_free(&ids);
}

static void feed_tokenizers(fc_text text) {
  make_tokenizers();
  fc_buffer scratch = {0};
  fc_text valid;
  REQUIRE(fc_utf8_repair(text, &scratch, &valid) == FC_ERR_OK);
  REQUIRE(fc_utf8_is_valid(valid.text, valid.length));
  there_and_back(byte_tok, text, &text);
  there_and_back(bpe_tok, text, &valid);
  there_and_back(wordpiece_tok, text, NULL);
  fc_buffer_free(&scratch);
}

/* A tokeniser that a reader accepted must work. */
static void try_out(fc_err err, fc_tokenizer *tok) {
  if (err != FC_ERR_OK) {
    REQUIRE(err == FC_ERR_DATA && !tok && fc_err_message()[0]);
    return;
  }
  there_and_back(tok, (fc_text){sample, sizeof sample - 1}, NULL);
  fc_tokenizer_destroy(&tok);
}

static void feed_vocab_txt(fc_text text) {
  fc_text_file file = {"vocab.txt", text};
  fc_tokenizer *tok = NULL;
  fc_err err = fc_wordpiece_parse(&file, true, &tok);
  try_out(err, tok);
}

static void feed_bpe_files(fc_text text) {
  const char *zero = text.length ? memchr(text.text, '\0', text.length) : NULL;
  size_t first = zero ? (size_t)(zero - text.text) : text.length;
  fc_text rest = {zero ? zero + 1 : NULL, zero ? text.length - first - 1 : 0};
  fc_text_file vocabulary = {"vocab.json", {text.text, first}}, merges = {"merges.txt", rest};
  fc_tokenizer *tok = NULL;
  fc_err err = fc_bpe_parse(&vocabulary, &merges, &tok);
  try_out(err, tok);
}

static void feed_learner(fc_text text) {
  fc_text halves[] = {{text.text, text.length / 2},
                      {text.text + text.length / 2, text.length - text.length / 2}};
  fc_tokenizer *tok = NULL;
  fc_buffer scratch = {0};
  fc_text valid;
  REQUIRE(fc_tokenizer_learn_bpe(halves, 2, 320, &tok) == FC_ERR_OK);
  REQUIRE(fc_utf8_repair(text, &scratch, &valid) == FC_ERR_OK);
  there_and_back(tok, text, &valid);
  fc_buffer_free(&scratch);
  fc_tokenizer_destroy(&tok);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static void (*const feeds[])(fc_text) = {feed_tokenizers, feed_vocab_txt, feed_bpe_files,
                                           feed_learner};
  if (size == 0) return 0;
  feeds[data[0] % 4]((fc_text){(const char *)data + 1, size - 1});
  return 0;
}
