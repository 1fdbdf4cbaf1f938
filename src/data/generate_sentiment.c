/* generate_sentiment.c - film reviews from a grammar, positive or negative.
 *
 * A clause says something good or bad of a part of a film, one time in five by denying the
 * opposite ("is never dull"). A review is one clause (half of them), two that agree, or two that
 * contradict each other, joined by "but" (the second decides) or by "although" in front of either
 * (the other one decides). Counting words therefore reaches about three quarters; the rest needs
 * word order. About 10^9 different sentences. */
#include "generate.h"

static const char *const aspects[] = {
    "acting",  "script",    "plot",       "camera work", "music",   "dialogue",  "ending",
    "cast",    "story",     "first half", "humour",      "editing", "pacing",    "lead role",
    "staging", "narration", "romance",    "second act",  "premise", "set design"};
static const char *const films[] = {"film",    "movie",  "comedy", "drama",  "thriller",
                                    "western", "sequel", "remake", "satire", "documentary"};
static const char *const kinds[] = {"french",   "low-budget", "two-hour", "long-awaited", "quiet",
                                    "animated", "late-night", "costume",  "courtroom",    "new"};
static const char *const good_words[] = {
    "charming",  "gripping", "moving",     "clever", "delightful", "superb",
    "fresh",     "funny",    "tender",     "warm",   "brilliant",  "engaging",
    "memorable", "honest",   "thoughtful", "vivid",  "graceful",   "thrilling",
    "witty",     "touching", "inventive",  "lively", "rich",       "satisfying"};
static const char *const bad_words[] = {
    "dull",        "clumsy",    "tedious",     "shallow",  "bland",   "lifeless",
    "stale",       "boring",    "hollow",      "awkward",  "muddled", "sloppy",
    "forgettable", "lazy",      "predictable", "overlong", "dreary",  "incoherent",
    "tiresome",    "pointless", "crude",       "wooden",   "empty",   "irritating"};

typedef struct {
  const char *finite, *base;
} verb_phrase;
static const verb_phrase good_verbs[] = {
    {"comes alive", "come alive"},
    {"hits the mark", "hit the mark"},
    {"wins you over", "win you over"},
    {"rewards patience", "reward patience"},
    {"works from start to finish", "work from start to finish"},
    {"holds your attention", "hold your attention"},
    {"stays with you", "stay with you"},
    {"earns its laughs", "earn its laughs"}};
static const verb_phrase bad_verbs[] = {{"falls flat", "fall flat"},
                                        {"runs out of steam", "run out of steam"},
                                        {"wastes your time", "waste your time"},
                                        {"misses the point", "miss the point"},
                                        {"drags on", "drag on"},
                                        {"tries your patience", "try your patience"},
                                        {"loses its way", "lose its way"},
                                        {"grates on the nerves", "grate on the nerves"}};
static const char *const degrees[] = {"", "", "", "very ", "truly ", "rather ", "quite ", "so "};
static const char *const denials[] = {"is not", "is never", "is hardly", "is far from",
                                      "is anything but"};
static const char *const openings[] = {
    "in the end , ",        "all in all , ",          "for me , ",
    "at ninety minutes , ", "on a second viewing , ", "seen on a big screen , "};
static const char *const although[] = {"although", "while", "even though", "though"};
static const char *const but[] = {"but", "yet"};
static const char *const together[] = {"and", "and what is more ,", "just as"};

static void subject(fc_phrase *p, fc_rng *rng) {
  if (fc_chance(rng, 0.6)) {
    fc_say(p, "the %s ", FC_PICK(rng, aspects));
    return;
  }
  fc_say(p, "this %s", fc_chance(rng, 0.5) ? FC_PICK(rng, kinds) : "");
  if (p->text[p->n - 1] != ' ') fc_say(p, " ");
  fc_say(p, "%s ", FC_PICK(rng, films));
}

static void clause(fc_phrase *p, fc_rng *rng, bool good) {
  bool denied = fc_chance(rng, 0.2);
  bool words_good = good != denied; /* "never dull" is praise in bad words */
  subject(p, rng);
  if (fc_chance(rng, 0.6)) {
    const char *word = words_good ? FC_PICK(rng, good_words) : FC_PICK(rng, bad_words);
    const char *degree = FC_PICK(rng, degrees);
    if (denied)
      fc_say(p, "%s %s", FC_PICK(rng, denials), word);
    else
      fc_say(p, "is %s%s", degree, word);
    return;
  }
  verb_phrase verb = words_good ? FC_PICK(rng, good_verbs) : FC_PICK(rng, bad_verbs);
  if (!denied)
    fc_say(p, "%s", verb.finite);
  else if (fc_chance(rng, 0.5))
    fc_say(p, "does not %s", verb.base);
  else
    fc_say(p, "never %s", verb.finite);
}

static fc_err sample(fc_rng *rng, fc_rows *rows) {
  fc_phrase p = {.n = 0};
  bool good = fc_rng_below(rng, 2) == 1;
  double form = fc_rng_uniform(rng);
  if (fc_chance(rng, 0.25)) fc_say(&p, "%s", FC_PICK(rng, openings));
  if (form < 0.75) {
    clause(&p, rng, good);
    if (form >= 0.5) {
      fc_say(&p, " , %s ", FC_PICK(rng, together));
      clause(&p, rng, good);
    }
  } else if (form < 0.85) {
    clause(&p, rng, !good);
    fc_say(&p, " , %s ", FC_PICK(rng, but));
    clause(&p, rng, good);
  } else if (form < 0.925) {
    fc_say(&p, "%s ", FC_PICK(rng, although));
    clause(&p, rng, !good);
    fc_say(&p, " , ");
    clause(&p, rng, good);
  } else {
    clause(&p, rng, good);
    fc_say(&p, " , %s ", FC_PICK(rng, although));
    clause(&p, rng, !good);
  }
  fc_say(&p, " .");
  return fc_rows_add(rows, fc_said(&p), (fc_text){"", 0}, good);
}

const fc_generator fc_generate_sentiment = {.id = 1, .sample = sample};
