/* utf8.h - UTF-8 in and out. Invalid input is read as U+FFFD, one for each maximal subpart of an
 * ill-formed sequence [Unicode 15, 3.9, table 3-8]: what Python's bytes.decode(errors="replace")
 * gives, hence what Hugging Face's tokenisers see. All Local. */
#ifndef FC_TEXT_UTF8_H
#define FC_TEXT_UTF8_H

#include "buffer.h"
#include "fedcell/fc_tokenizer.h"
#include <stdbool.h>
#include <stdint.h>

enum { FC_UTF8_MAX = 4, FC_UTF8_REPLACEMENT = 0xFFFD };

/* The code point at text[*at]; moves *at behind it. -1 for an ill-formed sequence, *at then stands
 * behind its maximal subpart. Needs *at < n. */
int32_t fc_utf8_next(const char *text, size_t n, size_t *at);
/* Writes a code point (a Unicode scalar value); returns the number of bytes. */
size_t fc_utf8_put(int32_t code_point, char out[FC_UTF8_MAX]);
bool fc_utf8_is_valid(const char *text, size_t n);
/* *out is text itself where that is valid, else a repaired copy kept in `scratch`. */
fc_err fc_utf8_repair(fc_text text, fc_buffer *scratch, fc_text *out);

/* Unicode's White_Space property [Unicode 15, PropList.txt]. A list of its own because the
 * libraries' \s and isspace disagree about U+180E, U+0085 and U+001C-001F. FC_UTF8_SPACES is the
 * same set as the inside of a PCRE2 class. */
bool fc_utf8_is_space(int32_t code_point);
#define FC_UTF8_SPACES                                                                             \
  "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"      \
  "\\x{205f}\\x{3000}"

#endif
