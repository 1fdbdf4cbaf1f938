/* splitter.h - cuts text into the words that byte-level BPE works within, by GPT-2's pattern
 * [Radford+ 2019] or LLaMA-3's. Every byte belongs to exactly one piece.
 *
 *   fc_split cut;
 *   FC_TRY(fc_split_begin(splitter, text, &cut));     // text must be valid UTF-8
 *   do FC_TRY(fc_split_next(&cut, &piece)); while (piece.length > 0);
 *   fc_split_end(&cut);
 *
 * A splitter is read-only and may be shared by threads; an fc_split belongs to one. All Local. */
#ifndef FC_TEXT_SPLITTER_H
#define FC_TEXT_SPLITTER_H

#include "fedcell/fc_tokenizer.h"

typedef struct fc_splitter fc_splitter;
typedef enum { FC_SPLIT_GPT2, FC_SPLIT_LLAMA3 } fc_split_pattern;
fc_err fc_splitter_create(fc_split_pattern pattern, fc_splitter **out);
void fc_splitter_destroy(fc_splitter **s);

typedef struct {
  const fc_splitter *splitter;
  fc_text text;
  size_t at;
  void *match; /* PCRE2's match data */
} fc_split;
fc_err fc_split_begin(const fc_splitter *s, fc_text text, fc_split *out);
/* An empty piece at the end of the text. Pieces are parts of the text. */
fc_err fc_split_next(fc_split *cut, fc_text *piece);
void fc_split_end(fc_split *cut);

#endif
