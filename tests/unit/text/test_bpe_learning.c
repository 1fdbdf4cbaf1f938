/* The BPE learner: order of merges, ties, limits, the same result again, saved and loaded. */
#include "text_helpers.h"
#include <stdbool.h>

static const fc_bpe *learned(fc_text text, int vocab_size, fc_tokenizer **tok) {
  expect_ok(fc_tokenizer_learn_bpe(&text, 1, vocab_size, tok));
  return (*tok)->model;
}

/* The merges as "left right|left right", by the names in the vocabulary. */
static void expect_merges(const fc_bpe *bpe, const char *expected) {
  fc_buffer b = {0};
  for (size_t i = 0; i < bpe->merge_count; i++) {
    fc_text left = fc_string_table_get(&bpe->names, bpe->merges[i].left);
    fc_text right = fc_string_table_get(&bpe->names, bpe->merges[i].right);
    if (i) expect_ok(fc_buffer_add(&b, "|", 1));
    expect_ok(fc_buffer_add(&b, left.text, left.length));
    expect_ok(fc_buffer_add(&b, " ", 1));
    expect_ok(fc_buffer_add(&b, right.text, right.length));
  }
  expect_ok(fc_buffer_terminate(&b));
  assert_string_equal(b.data, expected);
  fc_buffer_free(&b);
}

#define G "\xC4\xA0" /* how names write a space */

static void test_order_and_ties(void **state) {
  (void)state;
  fc_tokenizer *tok;
  /* "bc" three times, then "ab" and "xab" twice (the first in byte order first), "xy" only once */
  expect_merges(learned(TEXT("bc\nbc\nbc\nab\nxab\nxy"), 400, &tok), "b c|a b");
  fc_tokenizer_destroy(&tok);
  /* "zq" starts without a space: (z,q) three times, as often as (a,b), (Ġ,a) */
  expect_merges(learned(TEXT("zq zq zq ab ab ab"), 263, &tok), G " a|" G "a b");
  fc_tokenizer_destroy(&tok);
  /* of (b,a), (a,b), (a,a) with two each the first in byte order */
  expect_merges(learned(TEXT("ba\nba\nab\nab\naa\naa"), 264, &tok), "a a|a b|b a");
  fc_tokenizer_destroy(&tok);
}

/* Overlapping pairs count at each place, but join from the left without overlap. */
static void test_runs(void **state) {
  (void)state;
  fc_tokenizer *tok;
  expect_merges(learned(TEXT("aaaaaaa"), 400, &tok), "a a|aa aa");
  expect_ids(tok, TEXT("aaaaaaa"), IDS(262, 261, 5 + 'a' - '!'));
  fc_tokenizer_destroy(&tok);
}

/* The definition taken literally: all pairs counted anew for each merge, no heap, no lists. */
enum { WORDS = 120, LENGTH = 14, MERGES = 100, TOKENS = 256 + MERGES };

typedef struct {
  char spelling[TOKENS][LENGTH * 2];
  int tokens, ids[WORDS][LENGTH], n[WORDS];
  int count[TOKENS][TOKENS];
} naive;

static bool better(const naive *l, int a, int b, int c, int d) {
  if (l->count[a][b] != l->count[c][d]) return l->count[a][b] > l->count[c][d];
  int order = strcmp(l->spelling[a], l->spelling[c]);
  return (order ? order : strcmp(l->spelling[b], l->spelling[d])) < 0;
}

static void naive_best(naive *l, int best[2]) {
  memset(l->count, 0, sizeof l->count);
  for (int w = 0; w < WORDS; w++)
    for (int i = 0; i + 1 < l->n[w]; i++) l->count[l->ids[w][i]][l->ids[w][i + 1]]++;
  best[0] = best[1] = 0;
  for (int a = 1; a < l->tokens; a++)
    for (int b = 1; b < l->tokens; b++)
      if (l->count[a][b] && better(l, a, b, best[0], best[1])) {
        best[0] = a;
        best[1] = b;
      }
}

static void naive_join(naive *l, const int best[2]) {
  for (int w = 0; w < WORDS; w++) {
    int kept = 0;
    for (int i = 0; i < l->n[w]; kept++) {
      bool joins = i + 1 < l->n[w] && l->ids[w][i] == best[0] && l->ids[w][i + 1] == best[1];
      l->ids[w][kept] = joins ? l->tokens : l->ids[w][i];
      i += joins ? 2 : 1;
    }
    l->n[w] = kept;
  }
  char joined[sizeof l->spelling[0]];
  snprintf(joined, sizeof joined, "%s%s", l->spelling[best[0]], l->spelling[best[1]]);
  memcpy(l->spelling[l->tokens++], joined, sizeof joined);
}

/* Random words of few letters: many ties and overlaps. */
static size_t random_words(unsigned seed, naive *l, char text[WORDS * (LENGTH + 1)]) {
  size_t size = 0;
  for (int w = 0; w < WORDS; w++) {
    l->n[w] = 1 + (int)(seed % LENGTH);
    for (int i = 0; i < l->n[w]; i++) {
      seed = seed * 1664525u + 1013904223u;
      text[size++] = (char)(l->ids[w][i] = "aabc"[seed >> 30]);
    }
    text[size++] = '\n';
  }
  return size;
}

static void test_against_the_definition(void **state) {
  (void)state;
  static naive l;
  static char text[WORDS * (LENGTH + 1)];
  for (unsigned seed = 1; seed <= 5; seed++) {
    memset(&l, 0, sizeof l);
    for (l.tokens = 0; l.tokens < 256; l.tokens++) l.spelling[l.tokens][0] = (char)l.tokens;
    size_t size = random_words(seed, &l, text);
    fc_tokenizer *tok;
    const fc_bpe *bpe = learned((fc_text){text, size}, 261 + MERGES, &tok);
    for (size_t i = 0; i < bpe->merge_count; i++) {
      int best[2];
      naive_best(&l, best);
      fc_text left = fc_bpe_token_bytes(bpe, bpe->merges[i].left);
      fc_text right = fc_bpe_token_bytes(bpe, bpe->merges[i].right);
      assert_int_equal(strlen(l.spelling[best[0]]), left.length);
      assert_memory_equal(l.spelling[best[0]], left.text, left.length);
      assert_int_equal(strlen(l.spelling[best[1]]), right.length);
      assert_memory_equal(l.spelling[best[1]], right.text, right.length);
      naive_join(&l, best);
    }
    assert_true(bpe->merge_count > MERGES / 2);
    fc_tokenizer_destroy(&tok);
  }
}

static void test_vocabulary_layout(void **state) {
  (void)state;
  fc_tokenizer *tok;
  learned(TEXT("hello hello"), 262, &tok);
  assert_string_equal(fc_tokenizer_kind(tok), "bpe");
  assert_int_equal(fc_tokenizer_vocab_size(tok), 262);
  fc_special_tokens s = fc_tokenizer_specials(tok);
  assert_int_equal(s.cls, 0);
  assert_int_equal(s.bos, 0);
  assert_int_equal(s.pad, 1);
  assert_int_equal(s.sep, 2);
  assert_int_equal(s.eos, 2);
  assert_int_equal(s.unk, 3);
  assert_int_equal(s.mask, 4);
  expect_ids(tok, TEXT("!"), IDS(5)); /* the bytes follow in the order of their names */
  expect_ids(tok, TEXT(" "), IDS(5 + 188 + 32));
  fc_tokenizer_destroy(&tok);
}

static void test_limits(void **state) {
  (void)state;
  fc_tokenizer *tok;
  expect_failure(
      fc_tokenizer_learn_bpe(NULL, 0, 260, &tok), FC_ERR_USAGE,
      "a BPE vocabulary of 260 entries, needed are at least 261 (the bytes and 5 special "
      "tokens)");
  assert_null(tok);
  expect_ok(fc_tokenizer_learn_bpe(NULL, 0, 1000, &tok)); /* nothing to learn from */
  assert_int_equal(fc_tokenizer_vocab_size(tok), 261);
  expect_decoded(tok, IDS(0, 5, 2), 3, "!");
  fc_tokenizer_destroy(&tok);
  learned(TEXT("every word here occurs once"), 1000, &tok);
  assert_true(fc_tokenizer_vocab_size(tok) < 1000);
  fc_tokenizer_destroy(&tok);
  learned(TEXT("aa aa aa"), 261, &tok);
  assert_int_equal(fc_tokenizer_vocab_size(tok), 261);
  fc_tokenizer_destroy(&tok);
}

/* How the text is divided makes no difference as long as no word is cut; invalid bytes are read as
 * encoding reads them. */
static void test_depends_on_the_words_alone(void **state) {
  (void)state;
  fc_text whole = TEXT("to be or not to be\nthat is the question \xFF\xFF\xFF");
  fc_text parts[] = {TEXT("that is the question \xFF\xFF\xFF"), TEXT(""),
                     TEXT("to be or not to be"), TEXT("\n")};
  fc_tokenizer *a, *b;
  expect_ok(fc_tokenizer_learn_bpe(&whole, 1, 300, &a));
  expect_ok(fc_tokenizer_learn_bpe(parts, 4, 300, &b));
  const fc_bpe *x = a->model, *y = b->model;
  assert_int_equal(x->merge_count, y->merge_count);
  assert_memory_equal(x->merges, y->merges, x->merge_count * sizeof *x->merges);
  assert_int_equal(x->names.bytes_size, y->names.bytes_size);
  assert_memory_equal(x->names.bytes, y->names.bytes, x->names.bytes_size);
  expect_ids(a, TEXT("\xFF"),
             IDS(fc_string_table_find(&x->names, TEXT("\xC3\xAF\xC2\xBF\xC2\xBD"))));
  fc_tokenizer_destroy(&a);
  fc_tokenizer_destroy(&b);
}

static void test_save_and_load(void **state) {
  (void)state;
  const char *folder = temporary_folder();
  fc_text text =
      TEXT("\"quotes\" \\ back\\slash \"quotes\" \xC3\xA9t\xC3\xA9 \xC3\xA9t\xC3\xA9 tab\t\ttab");
  fc_tokenizer *tok, *again;
  const fc_bpe *a = learned(text, 320, &tok);
  expect_ok(fc_tokenizer_save(tok, folder));
  expect_ok(fc_tokenizer_load(folder, NULL, &again));
  const fc_bpe *b = again->model;
  assert_int_equal(a->names.n, b->names.n);
  assert_memory_equal(a->names.bytes, b->names.bytes, a->names.bytes_size);
  assert_int_equal(a->merge_count, b->merge_count);
  assert_memory_equal(a->merges, b->merges, a->merge_count * sizeof *a->merges);
  fc_special_tokens s = fc_tokenizer_specials(tok), t = fc_tokenizer_specials(again);
  assert_memory_equal(&s, &t, sizeof s);
  fc_tokenizer_destroy(&tok);
  fc_tokenizer_destroy(&again);
  remove_folder(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_order_and_ties),
      cmocka_unit_test(test_runs),
      cmocka_unit_test(test_against_the_definition),
      cmocka_unit_test(test_vocabulary_layout),
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_depends_on_the_words_alone),
      cmocka_unit_test(test_save_and_load),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
