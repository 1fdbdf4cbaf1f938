/* batcher.c - mini-batches for the model: sequences without padding, and what is to be predicted.
 *
 * Causal LM: row i predicts token i + 1. Of a sample with prompt and answer only the rows whose
 * next token belongs to the answer count; texts without an answer (and texts of a classification
 * dataset, on which a base may be pre-trained) count whole.
 * Masked LM [Devlin+ 2019, 3.1]: 15 % of a sequence's tokens are to be predicted; of these 80 % are
 * replaced by [MASK], 10 % by any token of the vocabulary, 10 % stay. */
#include "corpus.h"
#include "fedcell/fc_mem.h"
#include <assert.h>
#include <string.h>

struct fc_batcher {
  int max_sequences;
  int64_t max_rows;
  int64_t *start;
  int32_t *tokens, *types, *targets, *labels;
  fc_batch batch;
};

static fc_err allocate(fc_batcher *b) {
  size_t rows = (size_t)b->max_rows, sequences = (size_t)b->max_sequences;
  FC_TRY(fc_alloc(sequences + 1, sizeof *b->start, &b->start));
  FC_TRY(fc_alloc(sequences, sizeof *b->labels, &b->labels));
  FC_TRY(fc_alloc(rows, sizeof *b->tokens, &b->tokens));
  FC_TRY(fc_alloc(rows, sizeof *b->types, &b->types));
  return fc_alloc(rows, sizeof *b->targets, &b->targets);
}

fc_err fc_batcher_create(int max_sequences, int64_t max_rows, fc_batcher **out) {
  assert(max_sequences >= 1 && max_rows >= 1);
  *out = NULL;
  FC_TRY(fc_alloc(1, sizeof **out, out));
  (*out)->max_sequences = max_sequences;
  (*out)->max_rows = max_rows;
  fc_err err = allocate(*out);
  if (err != FC_ERR_OK) fc_batcher_destroy(out);
  return err;
}

void fc_batcher_destroy(fc_batcher **b) {
  if (*b == NULL) return;
  fc_free((*b)->start);
  fc_free((*b)->labels);
  fc_free((*b)->tokens);
  fc_free((*b)->types);
  fc_free((*b)->targets);
  fc_free(*b);
  *b = NULL;
}

static void causal_targets(const fc_corpus *c, const int32_t *tokens, int length, int second,
                           int32_t *targets) {
  bool answered = c->task == FC_TASK_LM && second < length;
  for (int i = 0; i < length; i++) {
    bool counts = i + 1 < length && (!answered || i + 1 >= second);
    targets[i] = counts ? tokens[i + 1] : FC_TARGET_IGNORE;
  }
}

static bool is_special(const fc_special_tokens *s, int32_t id) {
  return id == s->cls || id == s->sep || id == s->pad || id == s->mask || id == s->unk ||
         id == s->bos || id == s->eos;
}

typedef struct {
  fc_special_tokens specials;
  int vocab;
  fc_rng rng;
} masker;

/* 15 % of the n maskable tokens: the whole part, and one more with the probability of the rest;
 * one at least. Which ones: selection sampling [Knuth2, 3.4.2 S]. */
static void masked_targets(masker *m, int32_t *tokens, int length, int32_t *targets) {
  int left = 0;
  for (int i = 0; i < length; i++) {
    targets[i] = FC_TARGET_IGNORE;
    if (!is_special(&m->specials, tokens[i])) left++;
  }
  int need = (int)(0.15 * left + fc_rng_uniform(&m->rng));
  if (need < 1 && left > 0) need = 1;
  for (int i = 0; i < length && need > 0; i++) {
    if (is_special(&m->specials, tokens[i])) continue;
    if (fc_rng_below(&m->rng, (uint64_t)left--) >= (uint64_t)need) continue;
    need--;
    targets[i] = tokens[i];
    double how = fc_rng_uniform(&m->rng);
    if (how < 0.8)
      tokens[i] = m->specials.mask;
    else if (how < 0.9)
      tokens[i] = (int32_t)fc_rng_below(&m->rng, (uint64_t)m->vocab);
  }
}

static fc_err check_room(const fc_batcher *b, const fc_corpus *c, const fc_batch_part *parts,
                         int n_parts) {
  int64_t rows = 0, n = 0;
  for (int p = 0; p < n_parts; p++) {
    n += parts[p].n;
    for (int i = 0; i < parts[p].n; i++)
      rows += c->start[parts[p].samples[i] + (size_t)1] - c->start[parts[p].samples[i]];
  }
  FC_CHECK(n >= 1 && n <= b->max_sequences, SHAPE, "a batch of %lld sequences, room is for 1 to %d",
           (long long)n, b->max_sequences);
  FC_CHECK(rows <= b->max_rows, SHAPE, "a batch of %lld tokens, room is for %lld", (long long)rows,
           (long long)b->max_rows);
  return FC_ERR_OK;
}

static void copy_sample(fc_batcher *b, const fc_corpus *c, int i, uint32_t sample) {
  int length, second;
  const int32_t *tokens = fc_corpus_tokens(c, sample, &length, &second);
  int64_t begin = b->start[i];
  memcpy(b->tokens + begin, tokens, (size_t)length * sizeof *tokens);
  for (int t = 0; t < length; t++) b->types[begin + t] = t >= second;
  b->labels[i] = c->label[sample];
  b->start[i + 1] = begin + length;
}

/* The samples of one part become the sequences from `first` on. */
static void add_part(fc_batcher *b, const fc_corpus *c, masker *m, const fc_batch_part *part,
                     fc_loss_kind kind, int first) {
  m->rng = part->masking;
  for (int i = first; i < first + part->n; i++) {
    uint32_t sample = part->samples[i - first];
    copy_sample(b, c, i, sample);
    int32_t *tokens = b->tokens + b->start[i], *targets = b->targets + b->start[i];
    int length = (int)(b->start[i + 1] - b->start[i]);
    if (kind == FC_LOSS_CAUSAL_LM) causal_targets(c, tokens, length, c->second[sample], targets);
    if (kind == FC_LOSS_MASKED_LM) masked_targets(m, tokens, length, targets);
  }
}

fc_err fc_batcher_fill_parts(fc_batcher *b, const fc_corpus *c, const fc_tokenizer *tok,
                             const fc_batch_part *parts, int n_parts, fc_loss_kind kind,
                             const fc_batch **out) {
  masker m = {0};
  int sequences = 0;
  FC_TRY(check_room(b, c, parts, n_parts));
  if (kind == FC_LOSS_MASKED_LM) {
    m.specials = fc_tokenizer_specials(tok);
    m.vocab = fc_tokenizer_vocab_size(tok);
    FC_CHECK(m.specials.mask >= 0, USAGE,
             "masked language modelling needs a tokeniser with a mask token; kind %s has none",
             fc_tokenizer_kind(tok));
  }
  b->start[0] = 0;
  for (int p = 0; p < n_parts; sequences += parts[p++].n)
    add_part(b, c, &m, &parts[p], kind, sequences);
  b->batch = (fc_batch){.sequences = sequences,
                        .start = b->start,
                        .tokens = b->tokens,
                        .types = c->use_types ? b->types : NULL,
                        .targets = kind == FC_LOSS_CLASSIFY ? NULL : b->targets,
                        .labels = b->labels};
  *out = &b->batch;
  return FC_ERR_OK;
}

fc_err fc_batcher_fill(fc_batcher *b, const fc_corpus *c, const fc_tokenizer *tok,
                       const uint32_t *samples, int n, fc_loss_kind kind, fc_rng masking,
                       const fc_batch **out) {
  const fc_batch_part part = {samples, n, masking};
  return fc_batcher_fill_parts(b, c, tok, &part, 1, kind, out);
}
