/* bpe_word.c - one word to tokens: the wanted-most merge among all neighbours is done first, the
 * leftmost of equals, until none is left [Sennrich+ 2016]. A heap of possible merges over a linked
 * list of symbols makes this O(n log n), so that a megabyte without a space is no trouble. */
#include "bpe.h"
#include "fedcell/fc_mem.h"

typedef struct {
  int32_t id;
  int32_t previous, next; /* positions; -1: none */
} symbol;

typedef struct {
  int32_t order, at; /* the least first */
  int32_t rank;      /* this merge could join the symbols at `at` and behind it */
} candidate;

/* Each join removes its candidate and adds at most two, so 2 n candidates are room enough. */
typedef struct {
  const fc_bpe *bpe;
  symbol *symbols;
  candidate *heap;
  size_t heap_size;
} workspace;

enum { SMALL_WORD = 48 }; /* longer words take their memory from the heap */

static bool before(candidate a, candidate b) {
  return a.order != b.order ? a.order < b.order : a.at < b.at;
}

static void heap_push(workspace *w, candidate c) {
  size_t i = w->heap_size++;
  for (; i > 0 && before(c, w->heap[(i - 1) / 2]); i = (i - 1) / 2)
    w->heap[i] = w->heap[(i - 1) / 2];
  w->heap[i] = c;
}

static candidate heap_pop(workspace *w) {
  candidate top = w->heap[0], last = w->heap[--w->heap_size];
  size_t i = 0;
  for (size_t child; (child = 2 * i + 1) < w->heap_size; i = child) {
    if (child + 1 < w->heap_size && before(w->heap[child + 1], w->heap[child])) child++;
    if (!before(w->heap[child], last)) break;
    w->heap[i] = w->heap[child];
  }
  w->heap[i] = last;
  return top;
}

/* Adds the merge of the symbols at `at` and behind it, if there is one. */
static void consider(workspace *w, int32_t at) {
  if (at < 0 || w->symbols[at].next < 0) return;
  int32_t next = w->symbols[at].next;
  int32_t rank = fc_pair_map_find(&w->bpe->ranks, w->symbols[at].id, w->symbols[next].id);
  if (rank < 0) return;
  heap_push(w, (candidate){w->bpe->by_ids ? w->bpe->merges[rank].result : rank, at, rank});
}

static void start(workspace *w, fc_text word) {
  int32_t n = (int32_t)word.length;
  for (int32_t i = 0; i < n; i++)
    w->symbols[i] = (symbol){w->bpe->byte_id[(uint8_t)word.text[i]], i - 1, i + 1 < n ? i + 1 : -1};
  w->heap_size = 0;
  for (int32_t i = 0; i < n; i++) consider(w, i);
}

/* Joins the symbols of a candidate unless an earlier join changed them. */
static void join(workspace *w, candidate c) {
  const fc_bpe_merge *merge = &w->bpe->merges[c.rank];
  symbol *left = &w->symbols[c.at];
  if (left->id != merge->left || left->next < 0) return;
  symbol *right = &w->symbols[left->next];
  if (right->id != merge->right) return;
  left->id = merge->result;
  left->next = right->next;
  right->id = -1; /* no merge names it: candidates that start here are void */
  if (left->next >= 0) w->symbols[left->next].previous = c.at;
  consider(w, left->previous);
  consider(w, c.at);
}

static fc_err merge_word(workspace *w, fc_text word, fc_tokens *out) {
  start(w, word);
  while (w->heap_size > 0) join(w, heap_pop(w));
  for (int32_t i = word.length ? 0 : -1; i >= 0; i = w->symbols[i].next)
    FC_TRY(fc_tokens_push(out, w->symbols[i].id));
  return FC_ERR_OK;
}

static fc_err merge_long_word(const fc_bpe *bpe, fc_text word, fc_tokens *out) {
  FC_CHECK(word.length < INT32_MAX / 2, DATA, "a word of %zu bytes, at most %d can be encoded",
           word.length, INT32_MAX / 2 - 1);
  workspace w = {.bpe = bpe};
  fc_err err = fc_alloc(word.length, sizeof *w.symbols, &w.symbols);
  if (err == FC_ERR_OK) err = fc_alloc(2 * word.length, sizeof *w.heap, &w.heap);
  if (err == FC_ERR_OK) err = merge_word(&w, word, out);
  fc_free(w.symbols);
  fc_free(w.heap);
  return err;
}

fc_err fc_bpe_encode_word(const fc_bpe *bpe, fc_text word, fc_tokens *out) {
  int32_t known = fc_string_table_find(&bpe->whole_words, word);
  if (known >= 0) return fc_tokens_push(out, bpe->whole_word_id[known]);
  if (word.length > SMALL_WORD) return merge_long_word(bpe, word, out);
  symbol symbols[SMALL_WORD];
  candidate heap[2 * SMALL_WORD];
  workspace w = {.bpe = bpe, .symbols = symbols, .heap = heap};
  return merge_word(&w, word, out);
}
