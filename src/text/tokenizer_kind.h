/* tokenizer_kind.h - what a kind of tokeniser provides (src/text's inside).
 *
 * A kind is one constant descriptor; the table in tokenizer.c lists them. `model` is the kind's own
 * data, read-only after creation. All Local; encode and decode are thread-safe. */
#ifndef FC_TEXT_TOKENIZER_KIND_H
#define FC_TEXT_TOKENIZER_KIND_H

#include "buffer.h"
#include "fedcell/fc_tokenizer.h"
#include <stdbool.h>

typedef struct {
  const char *name;
  /* Any of these files in a folder tells the kind; NULL-terminated. */
  const char *signature_files[3];
  /* `file` is the signature file found, or the path the user gave; its folder holds the rest.
   * NULL only for a kind that needs no file. */
  fc_err (*load)(const char *folder, const char *file, fc_tokenizer **out);
  fc_err (*save)(const fc_tokenizer *tok, const char *folder);
  /* Text is any bytes. On error *out may hold a part; the caller undoes that. */
  fc_err (*encode)(const fc_tokenizer *tok, fc_text text, fc_tokens *out);
  /* Appends the text of ids, all within the vocabulary and none special. */
  fc_err (*decode)(const fc_tokenizer *tok, const int32_t *ids, size_t n, fc_buffer *out);
  void (*destroy_model)(void *model); /* accepts NULL */
  bool needs_file;
  bool begins_with_bos; /* its models have seen bos before every text */
} fc_tokenizer_kind_ops;

extern const fc_tokenizer_kind_ops fc_byte_kind, fc_bpe_kind, fc_wordpiece_kind, fc_llama2c_kind,
    fc_llama3_kind;

struct fc_tokenizer {
  const fc_tokenizer_kind_ops *ops;
  void *model;
  int32_t vocab_size;
  fc_special_tokens specials;
};

/* Takes over model, also when it fails. */
fc_err fc_tokenizer_wrap(const fc_tokenizer_kind_ops *ops, void *model, int32_t vocab_size,
                         fc_special_tokens specials, fc_tokenizer **out);
#define FC_NO_SPECIAL_TOKENS ((fc_special_tokens){-1, -1, -1, -1, -1, -1, -1})

/* As fc_tokenizer_decode, with the length of the text (which may contain zero bytes). */
fc_err fc_tokenizer_decode_text(const fc_tokenizer *tok, const int32_t *ids, size_t n,
                                fc_buffer *out);

#endif
