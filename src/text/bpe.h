/* bpe.h - byte-level BPE: the model that reader, learner and encoder share [Sennrich+ 2016],
 * [Radford+ 2019].
 *
 * A token's *name* is how vocabulary files write it: its bytes through byte_alphabet, so that no
 * name contains a space or a control character. All Local. */
#ifndef FC_TEXT_BPE_H
#define FC_TEXT_BPE_H

#include "pair_map.h"
#include "splitter.h"
#include "string_table.h"
#include "text_file.h"
#include "tokenizer_kind.h"

typedef struct {
  int32_t left, right, result;
} fc_bpe_merge; /* rank = position in the list: the first is the most wanted */

typedef struct {
  fc_string_table names; /* number = id */
  fc_bpe_merge *merges;
  size_t merge_count, merge_capacity;
  /* LLaMA-3's way: a word that is a token is taken as it is, and the most wanted merge is the one
   * whose result has the lowest id; its own pattern cuts the words. */
  bool by_ids;
  /* The rest follows from these; fc_bpe_finish makes it. */
  fc_splitter *splitter;
  int32_t byte_id[256]; /* where the vocabulary lacks a byte: the unknown token's id */
  fc_pair_map ranks;    /* (left, right) -> position in merges */
  fc_buffer bytes;      /* what the tokens stand for, one behind the other */
  size_t *bytes_end;    /* (names.n) */
  /* Byte strings that the merges turn into exactly one token, and that token: looking a word up
   * here first saves most of the merging. */
  fc_string_table whole_words;
  int32_t *whole_word_id;
  size_t whole_word_capacity;
} fc_bpe;

/* Code point of a byte in token names: printable Latin-1 as itself, the others 256, 257, ...
 * [Radford+ 2019, encoder.py bytes_to_unicode]. */
int32_t fc_bpe_byte_to_code_point(uint8_t byte);
/* Appends the name of some bytes. */
fc_err fc_bpe_name_add(fc_text bytes, fc_buffer *out);

/* Makes a tokeniser of names and merges, whose ids must be within names. Takes over *bpe (zeroes
 * it), also on failure. `source` begins the message when the vocabulary is unusable. */
fc_err fc_bpe_finish(fc_bpe *bpe, const char *source, fc_tokenizer **out);
void fc_bpe_free(fc_bpe *bpe);

/* The vocabulary readers, from memory. DATA with file and line where the files are malformed. */
fc_err fc_bpe_parse(const fc_text_file *vocabulary, const fc_text_file *merges, fc_tokenizer **out);
fc_err fc_bpe_load(const char *folder, const char *path, fc_tokenizer **out);
fc_err fc_bpe_save(const fc_tokenizer *tok, const char *folder);

/* What the kinds share, of fc_tokenizer_kind_ops. */
fc_err fc_bpe_encode(const fc_tokenizer *tok, fc_text text, fc_tokens *out);
fc_err fc_bpe_decode(const fc_tokenizer *tok, const int32_t *ids, size_t n, fc_buffer *out);
void fc_bpe_destroy_model(void *model);

/* The bytes of a token. */
fc_text fc_bpe_token_bytes(const fc_bpe *bpe, int32_t id);
/* Appends the ids of one word (a piece of the splitter's). */
fc_err fc_bpe_encode_word(const fc_bpe *bpe, fc_text word, fc_tokens *out);

#endif
