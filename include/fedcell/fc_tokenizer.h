/* fc_tokenizer.h - text to tokens and back, equal to Hugging Face's.
 *
 *   fc_tokenizer_load(path, NULL, &tok);       // folder or file; kind found from the files there
 *   fc_tokens ids = {0};
 *   fc_tokenizer_encode(tok, text, length, &ids);     // appends, no special tokens
 *   ... fc_tokens_free(&ids);
 *
 * Kinds (src/text, one descriptor each): `byte` (ids 0-255 are bytes, then specials), `bpe`
 * (GPT-2/RoBERTa byte-level BPE: vocab.json + merges.txt or encoder.json + vocab.bpe), `wordpiece`
 * (vocab.txt, BERT uncased: NFD, accents stripped, lower case), `llama2c` (llama2.c's
 * tokenizer.bin: SentencePiece BPE by scores), `llama3` (LLaMA-3's tokenizer.model: byte-level BPE
 * by ids, then 256 special tokens). A loaded tokeniser is read-only and may be shared by threads.
 * All Local. */
#ifndef FC_TOKENIZER_H
#define FC_TOKENIZER_H

#include "fedcell/fc_err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct { /* growable; zero-initialise */
  int32_t *id;
  size_t n, capacity;
} fc_tokens;
fc_err fc_tokens_push(fc_tokens *t, int32_t id);
void fc_tokens_free(fc_tokens *t);

typedef struct fc_tokenizer fc_tokenizer;
const char *fc_tokenizer_name(size_t i); /* kinds; NULL past the end */

/* path: a folder, or the vocabulary file in it; kind `byte` needs none (NULL). kind NULL: found
 * from the files there (USAGE if none or two kinds' are). DATA with file and line for a malformed
 * file. wordpiece heeds "do_lower_case": false in the folder's tokenizer_config.json. */
fc_err fc_tokenizer_load(const char *path, const char *kind, fc_tokenizer **out);
/* The one that lies in a model's folder, or beside a model file. */
fc_err fc_tokenizer_load_of_model(const char *model, fc_tokenizer **out);
fc_err fc_tokenizer_create_byte(fc_tokenizer **out);
/* Learns byte-level BPE with at most vocab_size entries (256 bytes, specials, merges) from texts;
 * ties go to the pair that is first in byte order, so the result depends on the texts alone. Fewer
 * entries where no pair occurs twice any more. The specials are RoBERTa's, with the ids 0 to 4: <s>
 * <pad> </s> <unk> <mask>. Words do not reach across texts. */
typedef struct {
  const char *text;
  size_t length;
} fc_text;
fc_err fc_tokenizer_learn_bpe(const fc_text *texts, size_t n, int vocab_size, fc_tokenizer **out);
/* Writes what load reads (vocab.json + merges.txt, ...) into an existing folder. */
fc_err fc_tokenizer_save(const fc_tokenizer *tok, const char *folder);
void fc_tokenizer_destroy(fc_tokenizer **tok);

int fc_tokenizer_vocab_size(const fc_tokenizer *tok);
const char *fc_tokenizer_kind(const fc_tokenizer *tok);
/* Special tokens, -1 where the kind or vocabulary has none. cls/sep frame encoder inputs (RoBERTa:
 * <s>, </s>). */
typedef struct {
  int32_t cls, sep, pad, mask, unk, bos, eos;
} fc_special_tokens;
fc_special_tokens fc_tokenizer_specials(const fc_tokenizer *tok);
/* Whether a prompt begins with bos: the kind's models have seen it before every text. */
bool fc_tokenizer_begins_with_bos(const fc_tokenizer *tok);

/* Appends the ids of UTF-8 text; invalid UTF-8 is treated as Hugging Face's libraries treat the
 * replacement character. No special tokens are added or parsed. */
fc_err fc_tokenizer_encode(const fc_tokenizer *tok, const char *text, size_t length,
                           fc_tokens *out);
/* Text of ids, zero-terminated, special tokens skipped; caller frees with fc_free. USAGE for an id
 * outside the vocabulary. byte and bpe give exactly the tokens' bytes (ids cut within a character
 * leave invalid UTF-8); llama2c likewise, without the space that it puts before
 * a text; wordpiece puts a space between words and joins "##" pieces, without Hugging
 * Face's English clean-up of spaces before punctuation. */
fc_err fc_tokenizer_decode(const fc_tokenizer *tok, const int32_t *ids, size_t n, char **out);

#endif
