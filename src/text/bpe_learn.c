/* bpe_learn.c - learns a byte-level BPE from texts [Sennrich+ 2016, algorithm 1]: the most frequent
 * pair of neighbouring tokens becomes a token, over and over. Pairs are counted within the
 * splitter's words, each different word once with its frequency; a merge touches only the words
 * that hold its pair, and a heap finds the next pair. The result depends on the texts alone: of
 * equally frequent pairs the first in the order of their bytes wins (left token, then right). */
#include "bpe.h"
#include "fedcell/fc_mem.h"
#include "utf8.h"
#include <string.h>

/* In the order in which fairseq and Hugging Face number them in RoBERTa. */
static const char *const special_names[] = {"<s>", "<pad>", "</s>", "<unk>", "<mask>"};
enum { SPECIAL_COUNT = sizeof special_names / sizeof special_names[0], MIN_FREQUENCY = 2 };

typedef struct {
  int32_t *ids; /* its tokens, in the learner's symbols */
  int32_t n;
  int64_t frequency;
} word;

typedef struct {
  int32_t left, right;
  int64_t count;  /* occurrences in the texts */
  int32_t *words; /* that held the pair at some time; may repeat */
  size_t word_count, word_capacity;
  int32_t touched_in; /* number of merges done when the count last rose */
} pair;

typedef struct {
  int64_t count; /* as it was when pushed */
  int32_t pair;
} heap_item;

typedef struct {
  fc_string_table spellings; /* different words; number = index into words */
  word *words;
  size_t word_capacity;
  int32_t *symbols;       /* slab of all words' ids */
  fc_string_table tokens; /* bytes of every token: 256 bytes, then merged ones */
  fc_pair_map pair_of;    /* (left, right) -> index into pairs */
  pair *pairs;
  size_t pair_count, pair_capacity;
  heap_item *heap;
  size_t heap_size, heap_capacity;
  fc_tokens touched; /* pairs that the current merge made more frequent */
  fc_bpe_merge *merges;
  size_t merge_count, merge_capacity;
} learner;

static void learner_free(learner *l) {
  for (size_t i = 0; i < l->pair_count; i++) fc_free(l->pairs[i].words);
  fc_string_table_free(&l->spellings);
  fc_string_table_free(&l->tokens);
  fc_pair_map_free(&l->pair_of);
  fc_tokens_free(&l->touched);
  fc_free(l->words);
  fc_free(l->symbols);
  fc_free(l->pairs);
  fc_free(l->heap);
  fc_free(l->merges);
}

/* ---- words and their frequencies ------------------------------------------------------------- */

static fc_err count_word(learner *l, fc_text spelling) {
  int32_t number;
  FC_TRY(fc_string_table_add(&l->spellings, spelling, &number));
  FC_TRY(fc_grow((size_t)number + 1, sizeof *l->words, &l->word_capacity, &l->words));
  l->words[number].frequency++;
  return FC_ERR_OK;
}

static fc_err count_words_in(learner *l, fc_split *cut) {
  for (fc_text piece;;) {
    FC_TRY(fc_split_next(cut, &piece));
    if (piece.length == 0) return FC_ERR_OK;
    FC_TRY(count_word(l, piece));
  }
}

static fc_err count_text(learner *l, const fc_splitter *splitter, fc_text text,
                         fc_buffer *scratch) {
  fc_text valid;
  fc_split cut;
  FC_TRY(fc_utf8_repair(text, scratch, &valid));
  FC_TRY(fc_split_begin(splitter, valid, &cut));
  fc_err err = count_words_in(l, &cut);
  fc_split_end(&cut);
  return err;
}

static fc_err count_texts(learner *l, const fc_text *texts, size_t n) {
  fc_splitter *splitter = NULL;
  fc_buffer scratch = {0};
  fc_err err = fc_splitter_create(FC_SPLIT_GPT2, &splitter);
  for (size_t i = 0; i < n && err == FC_ERR_OK; i++)
    err = count_text(l, splitter, texts[i], &scratch);
  fc_buffer_free(&scratch);
  fc_splitter_destroy(&splitter);
  return err;
}

/* Words begin as their bytes; a byte's symbol is its value. */
static fc_err spell_words(learner *l) {
  for (int byte = 0; byte < 256; byte++) {
    char c = (char)byte;
    int32_t number;
    FC_TRY(fc_string_table_add(&l->tokens, (fc_text){&c, 1}, &number));
  }
  FC_TRY(fc_alloc(l->spellings.bytes_size, sizeof *l->symbols, &l->symbols));
  int32_t *next = l->symbols;
  for (int32_t w = 0; w < l->spellings.n; w++) {
    fc_text spelling = fc_string_table_get(&l->spellings, w);
    FC_CHECK(spelling.length <= INT32_MAX, DATA, "a word of %zu bytes, at most %d can be learned",
             spelling.length, INT32_MAX);
    l->words[w].ids = next;
    l->words[w].n = (int32_t)spelling.length;
    for (size_t i = 0; i < spelling.length; i++) *next++ = (uint8_t)spelling.text[i];
  }
  return FC_ERR_OK;
}

/* ---- pairs ----------------------------------------------------------------------------------- */

static int compare_tokens(const learner *l, int32_t a, int32_t b) {
  fc_text x = fc_string_table_get(&l->tokens, a), y = fc_string_table_get(&l->tokens, b);
  int order = memcmp(x.text, y.text, x.length < y.length ? x.length : y.length);
  return order ? order : (x.length > y.length) - (x.length < y.length);
}

/* Whether item a is to be merged before item b. */
static bool before(const learner *l, heap_item a, heap_item b) {
  if (a.count != b.count) return a.count > b.count;
  const pair *p = &l->pairs[a.pair], *q = &l->pairs[b.pair];
  int order = compare_tokens(l, p->left, q->left);
  return (order ? order : compare_tokens(l, p->right, q->right)) < 0;
}

static fc_err heap_push(learner *l, int32_t pair_index) {
  heap_item item = {l->pairs[pair_index].count, pair_index};
  if (item.count < MIN_FREQUENCY) return FC_ERR_OK;
  FC_TRY(fc_grow(l->heap_size + 1, sizeof *l->heap, &l->heap_capacity, &l->heap));
  size_t i = l->heap_size++;
  for (; i > 0 && before(l, item, l->heap[(i - 1) / 2]); i = (i - 1) / 2)
    l->heap[i] = l->heap[(i - 1) / 2];
  l->heap[i] = item;
  return FC_ERR_OK;
}

static heap_item heap_pop(learner *l) {
  heap_item top = l->heap[0], last = l->heap[--l->heap_size];
  size_t i = 0;
  for (size_t child; (child = 2 * i + 1) < l->heap_size; i = child) {
    if (child + 1 < l->heap_size && before(l, l->heap[child + 1], l->heap[child])) child++;
    if (!before(l, l->heap[child], last)) break;
    l->heap[i] = l->heap[child];
  }
  l->heap[i] = last;
  return top;
}

static fc_err pair_at(learner *l, int32_t left, int32_t right, pair **out) {
  FC_CHECK(l->pair_count < INT32_MAX, NOMEM, "more than %d different pairs of tokens", INT32_MAX);
  int32_t fresh = (int32_t)l->pair_count, index;
  FC_TRY(fc_pair_map_add(&l->pair_of, left, right, fresh, &index));
  if (index == fresh) {
    FC_TRY(fc_grow(l->pair_count + 1, sizeof *l->pairs, &l->pair_capacity, &l->pairs));
    l->pairs[l->pair_count++] = (pair){.left = left, .right = right, .touched_in = -1};
  }
  *out = &l->pairs[index];
  return FC_ERR_OK;
}

static fc_err note_word(pair *p, int32_t w) {
  if (p->word_count > 0 && p->words[p->word_count - 1] == w) return FC_ERR_OK;
  FC_TRY(fc_grow(p->word_count + 1, sizeof *p->words, &p->word_capacity, &p->words));
  p->words[p->word_count++] = w;
  return FC_ERR_OK;
}

/* One more place in word w where right follows left. */
static fc_err add_pair(learner *l, int32_t left, int32_t right, int32_t w) {
  pair *p = NULL;
  FC_TRY(pair_at(l, left, right, &p));
  p->count += l->words[w].frequency;
  FC_TRY(note_word(p, w));
  int32_t now = (int32_t)l->merge_count;
  if (p->touched_in == now) return FC_ERR_OK;
  p->touched_in = now;
  return fc_tokens_push(&l->touched, (int32_t)(p - l->pairs));
}

static void subtract_pair(learner *l, int32_t left, int32_t right, int32_t w) {
  l->pairs[fc_pair_map_find(&l->pair_of, left, right)].count -= l->words[w].frequency;
}

static fc_err add_all_pairs(learner *l) {
  for (int32_t w = 0; w < l->spellings.n; w++)
    for (int32_t i = 0; i + 1 < l->words[w].n; i++)
      FC_TRY(add_pair(l, l->words[w].ids[i], l->words[w].ids[i + 1], w));
  return FC_ERR_OK;
}

static fc_err push_touched(learner *l) {
  for (size_t i = 0; i < l->touched.n; i++) FC_TRY(heap_push(l, l->touched.id[i]));
  l->touched.n = 0;
  return FC_ERR_OK;
}

/* ---- merging --------------------------------------------------------------------------------- */

/* Counts what joining left and right does to the pairs around them; -1: no neighbour. */
static fc_err recount_around(learner *l, int32_t w, fc_bpe_merge m, int32_t previous,
                             int32_t next) {
  subtract_pair(l, m.left, m.right, w);
  if (previous >= 0) {
    subtract_pair(l, previous, m.left, w);
    FC_TRY(add_pair(l, previous, m.result, w));
  }
  if (next >= 0) {
    subtract_pair(l, m.right, next, w);
    FC_TRY(add_pair(l, m.result, next, w));
  }
  return FC_ERR_OK;
}

/* Joins left and right wherever they are neighbours, from the left. Nothing happens in a word that
 * was noted twice or has lost the pair to another merge. */
static fc_err join_in_word(learner *l, int32_t w, fc_bpe_merge m) {
  int32_t *ids = l->words[w].ids, n = l->words[w].n, kept = 0;
  for (int32_t i = 0; i < n; kept++) {
    bool joins = ids[i] == m.left && i + 1 < n && ids[i + 1] == m.right;
    if (joins)
      FC_TRY(recount_around(l, w, m, kept > 0 ? ids[kept - 1] : -1, i + 2 < n ? ids[i + 2] : -1));
    ids[kept] = joins ? m.result : ids[i];
    i += joins ? 2 : 1;
  }
  l->words[w].n = kept;
  return FC_ERR_OK;
}

/* The joined token; an older one where another pair gave the same bytes. */
static fc_err joined_token(learner *l, const pair *p, int32_t *result) {
  fc_buffer b = {0};
  fc_text left = fc_string_table_get(&l->tokens, p->left);
  fc_text right = fc_string_table_get(&l->tokens, p->right);
  fc_err err = fc_buffer_add(&b, left.text, left.length);
  if (err == FC_ERR_OK) err = fc_buffer_add(&b, right.text, right.length);
  if (err == FC_ERR_OK) err = fc_string_table_add(&l->tokens, (fc_text){b.data, b.size}, result);
  fc_buffer_free(&b);
  return err;
}

static fc_err merge_pair(learner *l, int32_t pair_index) {
  fc_bpe_merge m = {l->pairs[pair_index].left, l->pairs[pair_index].right, -1};
  FC_TRY(joined_token(l, &l->pairs[pair_index], &m.result));
  FC_TRY(fc_grow(l->merge_count + 1, sizeof *l->merges, &l->merge_capacity, &l->merges));
  l->merges[l->merge_count++] = m;
  /* By index: new pairs may move the array of pairs. This pair's own list does not grow. */
  for (size_t i = 0; i < l->pairs[pair_index].word_count; i++)
    FC_TRY(join_in_word(l, l->pairs[pair_index].words[i], m));
  return push_touched(l);
}

static fc_err merge_most_frequent(learner *l, int32_t token_limit) {
  while (l->tokens.n < token_limit && l->heap_size > 0) {
    heap_item top = heap_pop(l);
    int64_t count = l->pairs[top.pair].count;
    if (count == top.count)
      FC_TRY(merge_pair(l, top.pair));
    else if (count < top.count)
      FC_TRY(heap_push(l, top.pair)); /* became rarer since; a rise is pushed when it happens */
  }
  return FC_ERR_OK;
}

/* ---- the vocabulary -------------------------------------------------------------------------- */

static fc_err add_name(fc_bpe *bpe, fc_text bytes, fc_buffer *scratch, int32_t *id) {
  scratch->size = 0;
  FC_TRY(fc_bpe_name_add(bytes, scratch));
  return fc_string_table_add(&bpe->names, (fc_text){scratch->data, scratch->size}, id);
}

/* Bytes in the order of their names, as Hugging Face's trainer numbers them: first those that stand
 * for themselves, then the shifted ones. */
static fc_err add_byte_names(const learner *l, fc_bpe *bpe, fc_buffer *scratch, int32_t *id_of) {
  for (int shifted = 0; shifted < 2; shifted++)
    for (int byte = 0; byte < 256; byte++)
      if ((fc_bpe_byte_to_code_point((uint8_t)byte) >= 256) == shifted)
        FC_TRY(add_name(bpe, fc_string_table_get(&l->tokens, byte), scratch, &id_of[byte]));
  return FC_ERR_OK;
}

static fc_err add_names(const learner *l, fc_bpe *bpe, fc_buffer *scratch, int32_t *id_of) {
  for (int i = 0; i < SPECIAL_COUNT; i++) {
    int32_t id;
    fc_text name = {special_names[i], strlen(special_names[i])};
    FC_TRY(fc_string_table_add(&bpe->names, name, &id));
  }
  FC_TRY(add_byte_names(l, bpe, scratch, id_of));
  for (int32_t t = 256; t < l->tokens.n; t++)
    FC_TRY(add_name(bpe, fc_string_table_get(&l->tokens, t), scratch, &id_of[t]));
  return FC_ERR_OK;
}

/* From the learner's symbols to a vocabulary: special tokens, bytes, merged tokens. */
static fc_err make_bpe(learner *l, fc_bpe *bpe) {
  int32_t *id_of = NULL;
  fc_buffer scratch = {0};
  fc_err err = fc_alloc((size_t)l->tokens.n, sizeof *id_of, &id_of);
  if (err == FC_ERR_OK) err = add_names(l, bpe, &scratch, id_of);
  for (size_t i = 0; i < l->merge_count && err == FC_ERR_OK; i++) {
    fc_bpe_merge *m = &l->merges[i];
    *m = (fc_bpe_merge){id_of[m->left], id_of[m->right], id_of[m->result]};
  }
  bpe->merges = l->merges;
  bpe->merge_count = l->merge_count;
  bpe->merge_capacity = l->merge_capacity;
  l->merges = NULL;
  fc_buffer_free(&scratch);
  fc_free(id_of);
  return err;
}

static fc_err learn(learner *l, const fc_text *texts, size_t n, int vocab_size, fc_bpe *bpe) {
  FC_TRY(count_texts(l, texts, n));
  FC_TRY(spell_words(l));
  FC_TRY(add_all_pairs(l));
  FC_TRY(push_touched(l));
  FC_TRY(merge_most_frequent(l, vocab_size - SPECIAL_COUNT));
  return make_bpe(l, bpe);
}

fc_err fc_tokenizer_learn_bpe(const fc_text *texts, size_t n, int vocab_size, fc_tokenizer **out) {
  *out = NULL;
  FC_CHECK(vocab_size >= 256 + SPECIAL_COUNT, USAGE,
           "a BPE vocabulary of %d entries, needed are at least %d (the bytes and %d special "
           "tokens)",
           vocab_size, 256 + SPECIAL_COUNT, SPECIAL_COUNT);
  learner l = {0};
  fc_bpe bpe = {0};
  fc_err err = learn(&l, texts, n, vocab_size, &bpe);
  learner_free(&l);
  if (err == FC_ERR_OK) return fc_bpe_finish(&bpe, "the learned vocabulary", out);
  fc_bpe_free(&bpe);
  return err;
}
