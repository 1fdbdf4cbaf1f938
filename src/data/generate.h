/* generate.h - embedded data: samples made from a seed, nothing to download.
 *
 * Sample i of a part is a function of (seed, generator, part, i) alone: asking for more samples
 * keeps the ones before. Each generator says in its own file what it makes and why it is not
 * trivial. Internal to the data room. */
#ifndef FC_DATA_GENERATE_H
#define FC_DATA_GENERATE_H

#include "fedcell/fc_rng.h"
#include "rows.h"

/* A text under construction; big enough for any sample (asserted). */
typedef struct {
  char text[2048];
  size_t n;
} fc_phrase;
void fc_say(fc_phrase *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
fc_text fc_said(const fc_phrase *p);
/* First letter to upper case, and `end` appended: a phrase becomes a sentence. */
void fc_close_sentence(fc_phrase *p, const char *end);

/* One of the words. At most one draw an expression: C leaves the order of arguments and of the
 * items of an initialiser open. */
#define FC_PICK(rng, words) ((words)[fc_rng_below((rng), sizeof(words) / sizeof *(words))])
/* Whole number in [low, high]. */
int fc_pick_int(fc_rng *rng, int low, int high);
bool fc_chance(fc_rng *rng, double p);

typedef struct {
  uint64_t id; /* part of every sample's stream: never renumber */
  int height, width;
  fc_err (*sample)(fc_rng *rng, fc_rows *rows); /* appends one */
} fc_generator;

extern const fc_generator fc_generate_sentiment, fc_generate_topics, fc_generate_entailment,
    fc_generate_problems, fc_generate_digits;
enum { FC_TOPICS = 10 };
extern const fc_label_name fc_topic_labels[FC_TOPICS];

/* n samples of part 0 (train) or 1 (test). */
fc_err fc_generate(const fc_generator *g, uint64_t seed, int part, size_t n, fc_rows *rows);

enum { FC_GENERATED_TRAIN = 8192, FC_GENERATED_TEST = 1024 }; /* where the settings say 0 */

#endif
