/* nearest.c - which known name was meant: edit distance with swaps of neighbours (Damerau-
 * Levenshtein in its "optimal string alignment" form), over the whole name and over its last dotted
 * component, so that an option written into the wrong group is found too. */
#include "config_private.h"
#include <ctype.h>
#include <string.h>

enum {
  LONGEST = 80,         /* longer words get no hint */
  STEP = 32,            /* cost of one edit; below it stand the tie breakers */
  OTHER_GROUP = 2,      /* a name from another group counts as this many edits more */
  CONTAINED = 16 * STEP /* last resort: the word is a part of the name */
};

static size_t min_size(size_t a, size_t b) {
  return a < b ? a : b;
}

static bool same_letter(char a, char b) {
  return tolower((unsigned char)a) == tolower((unsigned char)b);
}

static size_t edit_distance(const char *a, size_t na, const char *b, size_t nb) {
  size_t rows[3][LONGEST + 1]; /* the row before the last, the last, this one */
  if (na > LONGEST || nb > LONGEST) return SIZE_MAX;
  for (size_t j = 0; j <= nb; j++) rows[0][j] = j;
  for (size_t i = 1; i <= na; i++) {
    size_t *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
    now[0] = i;
    for (size_t j = 1; j <= nb; j++) {
      size_t change = last[j - 1] + (same_letter(a[i - 1], b[j - 1]) ? 0 : 1);
      now[j] = min_size(change, 1 + min_size(last[j], now[j - 1]));
      if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) && same_letter(a[i - 2], b[j - 1])) {
        now[j] = min_size(now[j], before[j - 2] + 1);
      }
    }
  }
  return rows[na % 3][nb];
}

/* So many edits still leave a word of n letters recognisable. */
static size_t edit_limit(size_t n) {
  return n < 2 ? 0 : n < 6 ? 1 : n / 3;
}

static const char *last_component(const char *name) {
  const char *dot = strrchr(name, '.');
  return dot ? dot + 1 : name;
}

/* Length of the leading components that both names share, dots included. */
static size_t common_components(const char *a, const char *b) {
  size_t n = 0;
  for (size_t i = 0; a[i] && a[i] == b[i]; i++) {
    if (a[i] == '.') n = i + 1;
  }
  return n;
}

/* Does `word` stand in `name` between underscores or ends? */
static bool contains_word(const char *name, const char *word) {
  size_t n = strlen(word);
  for (const char *at = strstr(name, word); at; at = strstr(at + 1, word)) {
    if ((at == name || at[-1] == '_') && (at[n] == '\0' || at[n] == '_')) return true;
  }
  return false;
}

static size_t cost_of(const char *word, const char *name) {
  size_t shared = common_components(word, name);
  size_t n = strlen(word), n_name = strlen(name);
  size_t distance = edit_distance(word + shared, n - shared, name + shared, n_name - shared);
  if (distance <= edit_limit(n - shared)) return distance * STEP;

  const char *last = last_component(word), *last_name = last_component(name);
  size_t n_last = strlen(last);
  size_t between_groups =
      edit_distance(word, (size_t)(last - word), name, (size_t)(last_name - name));
  size_t tie = min_size(between_groups, STEP - 1);
  distance = edit_distance(last, n_last, last_name, strlen(last_name));
  if (distance <= edit_limit(n_last)) return (distance + OTHER_GROUP) * STEP + tie;
  if (n_last >= 4 && contains_word(last_name, last)) return CONTAINED + tie;
  return SIZE_MAX;
}

void fc_nearest_offer(fc_nearest *nearest, const char *candidate) {
  size_t cost = cost_of(nearest->word, candidate);
  if (cost == SIZE_MAX || (nearest->name && cost >= nearest->cost)) return;
  nearest->name = candidate;
  nearest->cost = cost;
}

const char *fc_nearest_name(const char *word, fc_option_choice choice) {
  fc_nearest nearest = {.word = word};
  const char *name;
  for (size_t i = 0; (name = choice(i)) != NULL; i++) fc_nearest_offer(&nearest, name);
  return nearest.name;
}
