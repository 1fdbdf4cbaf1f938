/* bert_words.c - BERT's normalisation and word splitting, in the order of Hugging Face's fast
 * tokeniser: clean, space CJK ideographs, decompose and strip accents, lower, split. Its classes:
 * control is Cc, Cf and Co except tab and newlines; punctuation is P* and all ASCII that is neither
 * letter, digit, space nor control; white space is Unicode's. */
#include "fedcell/fc_mem.h"
#include "utf8.h"
#include "wordpiece.h"
#include <utf8proc.h>

typedef struct {
  bool lower_case;
  fc_word_sink sink;
  void *context;
  int32_t *word; /* code points of the word so far, decomposed */
  size_t n, capacity;
  fc_buffer utf8;
} splitting;

static bool is_dropped(int32_t c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  if (c == 0 || c == FC_UTF8_REPLACEMENT) return true;
  utf8proc_category_t category = utf8proc_category(c);
  return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
         category == UTF8PROC_CATEGORY_CO;
}

/* The blocks of CJK ideographs that BERT spaces out; not Hangul, Hiragana or Katakana
 * [Devlin+ 2019, tokenization.py _is_chinese_char]. */
static bool is_cjk(int32_t c) {
  static const int32_t blocks[][2] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},
                                      {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F},
                                      {0x2B820, 0x2CEAF}, {0x2F800, 0x2FA1F}};
  if (c < blocks[0][0]) return false;
  for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
    if (c >= blocks[i][0] && c <= blocks[i][1]) return true;
  return false;
}

static bool is_punctuation(int32_t c) {
  if (c < 0x80)
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
  utf8proc_category_t category = utf8proc_category(c);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

/* Puts combining marks into canonical order [Unicode 15, 3.11, D109]: stable, by class, between
 * starters. */
static void reorder_marks(int32_t *c, size_t n) {
  for (size_t i = 1; i < n; i++) {
    int class = utf8proc_get_property(c[i])->combining_class;
    if (class == 0) continue;
    int32_t mark = c[i];
    size_t k = i;
    for (; k > 0 && utf8proc_get_property(c[k - 1])->combining_class > class; k--) c[k] = c[k - 1];
    c[k] = mark;
  }
}

static fc_err end_word(splitting *s) {
  if (s->n == 0) return FC_ERR_OK;
  if (s->lower_case) reorder_marks(s->word, s->n);
  s->utf8.size = 0;
  for (size_t i = 0; i < s->n; i++) {
    char bytes[FC_UTF8_MAX];
    size_t n = fc_utf8_put(s->word[i], bytes);
    FC_TRY(fc_buffer_add(&s->utf8, bytes, n));
  }
  size_t code_points = s->n;
  s->n = 0;
  return s->sink(s->context, (fc_text){s->utf8.data, s->utf8.size}, code_points);
}

/* A code point after normalisation: part of a word, a word, or the end of one. */
static fc_err put(splitting *s, int32_t c) {
  if (fc_utf8_is_space(c)) return end_word(s);
  bool alone = is_punctuation(c);
  if (alone) FC_TRY(end_word(s));
  FC_TRY(fc_grow(s->n + 1, sizeof *s->word, &s->capacity, &s->word));
  s->word[s->n++] = c;
  return alone ? end_word(s) : FC_ERR_OK;
}

static fc_err decompose_and_put(splitting *s, int32_t c) {
  int32_t parts[32]; /* no canonical decomposition is longer than four */
  utf8proc_ssize_t n = utf8proc_decompose_char(c, parts, 32, UTF8PROC_DECOMPOSE, NULL);
  FC_CHECK(n > 0 && n <= 32, DATA, "no decomposition of U+%04X: %s", (unsigned)c,
           utf8proc_errmsg(n < 0 ? n : UTF8PROC_ERROR_OVERFLOW));
  for (utf8proc_ssize_t i = 0; i < n; i++)
    if (utf8proc_category(parts[i]) != UTF8PROC_CATEGORY_MN)
      FC_TRY(put(s, utf8proc_tolower(parts[i])));
  return FC_ERR_OK;
}

static fc_err normalise_and_put(splitting *s, int32_t c) {
  if (c < 0x80) {
    if (is_dropped(c)) return FC_ERR_OK;
    return put(s, s->lower_case && c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  }
  if (is_dropped(c)) return FC_ERR_OK;
  bool spaced = is_cjk(c);
  if (spaced) FC_TRY(end_word(s));
  FC_TRY(s->lower_case ? decompose_and_put(s, c) : put(s, c));
  return spaced ? end_word(s) : FC_ERR_OK;
}

fc_err fc_bert_words(fc_text text, bool lower_case, fc_word_sink sink, void *context) {
  splitting s = {.lower_case = lower_case, .sink = sink, .context = context};
  fc_err err = FC_ERR_OK;
  for (size_t i = 0; i < text.length && err == FC_ERR_OK;) {
    int32_t c = fc_utf8_next(text.text, text.length, &i);
    if (c >= 0) err = normalise_and_put(&s, c); /* ill-formed: U+FFFD, which BERT drops */
  }
  if (err == FC_ERR_OK) err = end_word(&s);
  fc_free(s.word);
  fc_buffer_free(&s.utf8);
  return err;
}
