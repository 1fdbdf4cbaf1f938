/* splitter.c - the patterns by PCRE2 with just-in-time compilation. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "splitter.h"
#include "fedcell/fc_mem.h"
#include "utf8.h"
#include <assert.h>
#include <pcre2.h>

/* GPT-2's pattern, encoder.py:  's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|
 * \s+(?!\S)|\s+  with \s written out (see FC_UTF8_SPACES). The alternatives together match any
 * character, so pieces follow each other without gaps. */
#define ANY_SPACES "[" FC_UTF8_SPACES "]+(?![^" FC_UTF8_SPACES "])|[" FC_UTF8_SPACES "]+"
static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" FC_UTF8_SPACES "\\p{L}\\p{N}]+|" ANY_SPACES;

/* LLaMA-3's, tokenizer.py:  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
 *  ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static const char llama3_pattern[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^" FC_UTF8_SPACES
    "\\p{L}\\p{N}]+[\\r\\n]*|[" FC_UTF8_SPACES "]*[\\r\\n]+|" ANY_SPACES;

static const char *const patterns[] = {
    [FC_SPLIT_GPT2] = gpt2_pattern, [FC_SPLIT_LLAMA3] = llama3_pattern};

struct fc_splitter {
  pcre2_code *code;
};

static fc_err pcre2_failure(fc_err e, const char *doing, int code) {
  PCRE2_UCHAR text[200];
  pcre2_get_error_message(code, text, sizeof text);
  return fc_fail(e, "%s: %s", doing, (const char *)text);
}

fc_err fc_splitter_create(fc_split_pattern pattern, fc_splitter **out) {
  *out = NULL;
  fc_splitter *s = NULL;
  FC_TRY(fc_alloc(1, sizeof *s, &s));
  int code = 0;
  PCRE2_SIZE where = 0;
  s->code = pcre2_compile((PCRE2_SPTR)patterns[pattern], PCRE2_ZERO_TERMINATED,
                          PCRE2_UTF | PCRE2_UCP, &code, &where, NULL);
  if (!s->code) {
    fc_free(s);
    return pcre2_failure(FC_ERR_NOMEM, "compiling the word pattern", code);
  }
  /* Where the system allows no executable memory this fails and pcre2_match interprets instead. */
  (void)pcre2_jit_compile(s->code, PCRE2_JIT_COMPLETE);
  *out = s;
  return FC_ERR_OK;
}

void fc_splitter_destroy(fc_splitter **s) {
  if (!*s) return;
  pcre2_code_free((*s)->code);
  fc_free(*s);
  *s = NULL;
}

fc_err fc_split_begin(const fc_splitter *s, fc_text text, fc_split *out) {
  *out = (fc_split){.splitter = s, .text = text};
  out->match = pcre2_match_data_create(1, NULL);
  FC_CHECK(out->match, NOMEM, "out of memory for the word pattern's match");
  return FC_ERR_OK;
}

fc_err fc_split_next(fc_split *cut, fc_text *piece) {
  *piece = (fc_text){cut->text.text + cut->at, 0};
  if (cut->at >= cut->text.length) return FC_ERR_OK;
  int code = pcre2_match(cut->splitter->code, (PCRE2_SPTR)cut->text.text, cut->text.length, cut->at,
                         PCRE2_NO_UTF_CHECK, cut->match, NULL);
  if (code < 0) return pcre2_failure(FC_ERR_DATA, "splitting text into words", code);
  assert(pcre2_get_ovector_pointer(cut->match)[0] == cut->at);
  size_t end = pcre2_get_ovector_pointer(cut->match)[1];
  *piece = (fc_text){cut->text.text + cut->at, end - cut->at};
  cut->at = end;
  return FC_ERR_OK;
}

void fc_split_end(fc_split *cut) {
  pcre2_match_data_free(cut->match);
  cut->match = NULL;
}
