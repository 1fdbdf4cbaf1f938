/* corpus.c - the token ids of all samples, one behind the other.
 *
 * How a sample becomes a sequence (nl: the ids of a line end):
 *   framed               [cls] a [sep]            [cls] a [sep] b [sep]      (RoBERTa: [sep] [sep])
 *   classify, unframed   a                        a nl b
 *   lm, unframed         a [eos]                  a nl b [eos]
 * [eos] only where the tokeniser has one: it is how a model learns to stop. */
#include "corpus.h"
#include "fedcell/fc_mem.h"
#include <assert.h>
#include <string.h>

/* What is needed while the samples are encoded. */
typedef struct {
  const fc_tokenizer *tok;
  fc_special_tokens specials;
  fc_tokens a, b, line_end; /* of the current sample; of "\n" */
  fc_tokens all;            /* becomes the corpus's tokens */
  bool has_b;
} writer;

static fc_err put(writer *w, const int32_t *ids, size_t n) {
  if (w->all.n + n > w->all.capacity) {
    size_t grown = w->all.capacity + w->all.capacity / 2 + n + 1024;
    FC_TRY(fc_realloc(grown, sizeof *ids, &w->all.id));
    w->all.capacity = grown;
  }
  if (n > 0) memcpy(w->all.id + w->all.n, ids, n * sizeof *ids);
  w->all.n += n;
  return FC_ERR_OK;
}

/* Cuts the ends of a and b until both fit into `room`: always the longer one, b where they are
 * equally long, as Hugging Face's `longest_first`. */
static void cut_longest_first(writer *w, size_t room) {
  size_t half = (room + 1) / 2, beside_b = w->b.n < room ? room - w->b.n : 0;
  size_t most = beside_b > half ? beside_b : half;
  if (w->a.n + w->b.n <= room) return;
  if (w->a.n > most) w->a.n = most;
  if (w->b.n > room - w->a.n) w->b.n = room - w->a.n;
}

static fc_err put_framed(writer *w, const fc_sequence_format *f, size_t begin, int32_t *second) {
  int seps = !w->has_b ? 1 : f->double_sep ? 3 : 2;
  cut_longest_first(w, (size_t)(f->max_length - 1 - seps));
  FC_TRY(put(w, &w->specials.cls, 1));
  FC_TRY(put(w, w->a.id, w->a.n));
  for (int i = 0; i < (seps == 1 ? 1 : seps - 1); i++) FC_TRY(put(w, &w->specials.sep, 1));
  *second = (int32_t)(w->all.n - begin);
  if (!w->has_b) return FC_ERR_OK;
  FC_TRY(put(w, w->b.id, w->b.n));
  return put(w, &w->specials.sep, 1);
}

static fc_err put_plain(writer *w, const fc_sequence_format *f, size_t begin, int32_t *second) {
  size_t between = w->has_b ? w->line_end.n : 0;
  cut_longest_first(w, (size_t)f->max_length - between);
  FC_TRY(put(w, w->a.id, w->a.n));
  FC_TRY(put(w, w->line_end.id, between));
  *second = (int32_t)(w->all.n - begin);
  return put(w, w->b.id, w->b.n);
}

/* The answer's beginning is kept, and in front of it what there is room for of the prompt's end. */
static fc_err put_prompt(writer *w, const fc_sequence_format *f, size_t begin, int32_t *second) {
  size_t most = (size_t)f->max_length;
  fc_tokens *prompt = &w->a, *answer = &w->b;
  for (size_t i = 0; w->has_b && i < w->line_end.n; i++)
    FC_TRY(fc_tokens_push(prompt, w->line_end.id[i]));
  if (w->specials.eos >= 0) FC_TRY(fc_tokens_push(w->has_b ? answer : prompt, w->specials.eos));
  if (answer->n > most) answer->n = most;
  size_t room = most - answer->n, kept = prompt->n < room ? prompt->n : room;
  FC_TRY(put(w, w->has_b ? prompt->id + (prompt->n - kept) : prompt->id, kept));
  *second = (int32_t)(w->all.n - begin);
  return put(w, answer->id, answer->n);
}

static fc_err add_sample(fc_corpus *c, writer *w, const fc_sequence_format *f, size_t i,
                         const fc_sample *s) {
  size_t begin = w->all.n;
  w->a.n = w->b.n = 0;
  w->has_b = s->b.length > 0;
  FC_TRY(fc_tokenizer_encode(w->tok, s->a.text, s->a.length, &w->a));
  if (w->has_b) FC_TRY(fc_tokenizer_encode(w->tok, s->b.text, s->b.length, &w->b));
  if (f->frame)
    FC_TRY(put_framed(w, f, begin, &c->second[i]));
  else if (c->task == FC_TASK_LM)
    FC_TRY(put_prompt(w, f, begin, &c->second[i]));
  else
    FC_TRY(put_plain(w, f, begin, &c->second[i]));
  FC_CHECK(w->all.n > begin, DATA, "sample %zu has no tokens: its text is blank", i + 1);
  c->label[i] = s->label;
  c->start[i + 1] = (int64_t)w->all.n;
  if ((int)(w->all.n - begin) > c->longest) c->longest = (int)(w->all.n - begin);
  return FC_ERR_OK;
}

static fc_err fill(fc_corpus *c, writer *w, const fc_dataset *ds, const fc_sequence_format *f) {
  FC_TRY(fc_alloc(c->samples + 1, sizeof *c->start, &c->start));
  FC_TRY(fc_alloc(c->samples, sizeof *c->second, &c->second));
  FC_TRY(fc_alloc(c->samples, sizeof *c->label, &c->label));
  FC_TRY(fc_tokenizer_encode(w->tok, "\n", 1, &w->line_end));
  for (size_t i = 0; i < c->samples; i++) {
    fc_sample s = fc_dataset_sample(ds, i);
    FC_TRY(add_sample(c, w, f, i, &s));
  }
  FC_TRY(fc_realloc(w->all.n, sizeof *w->all.id, &w->all.id));
  c->tokens = w->all.id; /* handed over */
  w->all = (fc_tokens){0};
  return FC_ERR_OK;
}

static fc_err check(const fc_dataset *ds, const fc_tokenizer *tok, const fc_sequence_format *f) {
  fc_special_tokens specials = fc_tokenizer_specials(tok);
  FC_CHECK(fc_dataset_task(ds) != FC_TASK_IMAGE, USAGE,
           "the dataset holds images, but this model reads text");
  FC_CHECK(f->max_length >= 8, USAGE, "data.max_length = %d: must be at least 8", f->max_length);
  FC_CHECK(!f->frame || (specials.cls >= 0 && specials.sep >= 0), USAGE,
           "an encoder needs a tokeniser with [CLS] and [SEP] (or <s> and </s>); kind %s has none "
           "here",
           fc_tokenizer_kind(tok));
  return FC_ERR_OK;
}

fc_err fc_corpus_create(const fc_dataset *ds, const fc_tokenizer *tok,
                        const fc_sequence_format *format, fc_corpus **out) {
  *out = NULL;
  FC_TRY(check(ds, tok, format));
  FC_TRY(fc_alloc(1, sizeof **out, out));
  fc_corpus *c = *out;
  c->samples = fc_dataset_train_count(ds) + fc_dataset_test_count(ds);
  c->task = fc_dataset_task(ds);
  c->use_types = format->use_types;
  writer w = {.tok = tok, .specials = fc_tokenizer_specials(tok)};
  fc_err err = fill(c, &w, ds, format);
  fc_tokens_free(&w.a);
  fc_tokens_free(&w.b);
  fc_tokens_free(&w.line_end);
  fc_tokens_free(&w.all);
  if (err != FC_ERR_OK) fc_corpus_destroy(out);
  return err;
}

void fc_corpus_destroy(fc_corpus **c) {
  if (*c == NULL) return;
  fc_free((*c)->tokens);
  fc_free((*c)->start);
  fc_free((*c)->second);
  fc_free((*c)->label);
  fc_free(*c);
  *c = NULL;
}

size_t fc_corpus_bytes(const fc_corpus *c) {
  return sizeof *c + (size_t)c->start[c->samples] * sizeof *c->tokens +
         (c->samples + 1) * sizeof *c->start + c->samples * (sizeof *c->second + sizeof *c->label);
}

const int32_t *fc_corpus_tokens(const fc_corpus *c, size_t sample, int *length, int *second) {
  assert(sample < c->samples);
  if (length != NULL) *length = (int)(c->start[sample + 1] - c->start[sample]);
  if (second != NULL) *second = c->second[sample];
  return c->tokens + c->start[sample];
}

int32_t fc_corpus_label(const fc_corpus *c, size_t sample) {
  assert(sample < c->samples);
  return c->label[sample];
}

int fc_corpus_longest(const fc_corpus *c) {
  return c->longest;
}
