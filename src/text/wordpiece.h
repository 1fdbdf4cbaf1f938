/* wordpiece.h - BERT's tokeniser: text to words (bert_words.c), words to pieces (wordpiece.c)
 * [Devlin+ 2019]. All Local. */
#ifndef FC_TEXT_WORDPIECE_H
#define FC_TEXT_WORDPIECE_H

#include "text_file.h"
#include "tokenizer_kind.h"

/* Called for each word: its UTF-8 text and its length in code points. */
typedef fc_err (*fc_word_sink)(void *context, fc_text word, size_t code_points);
/* Splits text (any bytes) into words as BERT does: control characters dropped, CJK ideographs and
 * punctuation words of their own, and with lower_case accents stripped and letters lowered. */
fc_err fc_bert_words(fc_text text, bool lower_case, fc_word_sink sink, void *context);

/* vocab.txt from memory: one token a line, id = line - 1. DATA with file and line. */
fc_err fc_wordpiece_parse(const fc_text_file *vocabulary, bool lower_case, fc_tokenizer **out);

#endif
