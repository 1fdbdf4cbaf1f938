/* generate_topics.c - sentences on ten topics.
 *
 * Somebody of the topic does something with a thing of the topic. Half of the sentences also name
 * a person and a thing of another topic, in a subordinate clause in front or behind ("instead of
 * ..."), so that the topic is that of the main clause, not of most words; and some words belong to
 * several topics (score, court, field, bar, root, cell, ...). */
#include "generate.h"

enum { THINGS = 16, PEOPLE = 6, ACTS = 6 };

typedef struct {
  const char *people[PEOPLE], *acts[ACTS], *things[THINGS];
} topic;

const fc_label_name fc_topic_labels[FC_TOPICS] = {
    {"0", "cooking"},   {"1", "music"},   {"2", "sports"}, {"3", "space"},     {"4", "medicine"},
    {"5", "computers"}, {"6", "finance"}, {"7", "travel"}, {"8", "gardening"}, {"9", "politics"}};

static const topic topics[FC_TOPICS] = {
    {{"the cook", "the baker", "my grandmother", "the chef", "a guest", "the waiter"},
     {"stirred", "tasted", "burned", "served", "seasoned", "prepared"},
     {"soup", "bread", "sauce", "oven", "recipe", "pan", "onion", "dough", "spice", "kitchen",
      "stew", "dish", "root", "plate", "bar", "pepper"}},
    {{"the violinist", "the singer", "the conductor", "a drummer", "the pianist", "the choir"},
     {"rehearsed", "played", "recorded", "performed", "composed", "tuned"},
     {"sonata", "chorus", "guitar", "score", "melody", "concert", "rhythm", "opera", "pitch",
      "album", "trumpet", "key", "song", "bar", "record", "stage"}},
    {{"the striker", "the coach", "a runner", "the goalkeeper", "the referee", "the team"},
     {"missed", "won", "trained for", "scored in", "lost", "played"},
     {"match", "goal", "court", "league", "score", "penalty", "field", "race", "pitch",
      "tournament", "ball", "stadium", "record", "final", "medal", "season"}},
    {{"the astronaut", "the crew", "an astronomer", "the probe", "the agency", "the pilot"},
     {"orbited", "observed", "launched", "photographed", "measured", "explored"},
     {"moon", "rocket", "comet", "telescope", "planet", "crater", "galaxy", "satellite", "capsule",
      "field", "asteroid", "orbit", "stage", "star", "station", "mission"}},
    {{"the surgeon", "the nurse", "a patient", "the doctor", "the dentist", "the clinic"},
     {"treated", "examined", "diagnosed", "cured", "prescribed", "monitored"},
     {"fever", "wound", "vaccine", "cell", "infection", "heart", "tablet", "operation", "fracture",
      "root", "virus", "ward", "blood", "allergy", "lung", "dose"}},
    {{"the programmer", "the administrator", "a hacker", "the engineer", "the user", "the server"},
     {"compiled", "debugged", "crashed", "installed", "encrypted", "downloaded"},
     {"keyboard", "kernel", "network", "database", "key", "file", "screen", "virus", "tablet",
      "password", "root", "browser", "compiler", "cell", "script", "cloud"}},
    {{"the broker", "the banker", "an investor", "the accountant", "the auditor", "the trader"},
     {"sold", "invested in", "audited", "borrowed against", "lent out", "valued"},
     {"bond", "share", "loan", "bank", "market", "interest", "fund", "account", "debt", "dividend",
      "mortgage", "tax", "balance", "bar", "pension", "stock"}},
    {{"the tourist", "the guide", "a hiker", "the driver", "the captain", "our family"},
     {"visited", "crossed", "booked", "toured", "reached", "photographed"},
     {"hotel", "beach", "passport", "harbour", "train", "island", "bank", "museum", "ticket",
      "valley", "airport", "station", "suitcase", "border", "camp", "ferry"}},
    {{"the gardener", "the farmer", "my neighbour", "a botanist", "the florist", "the landlady"},
     {"planted", "watered", "pruned", "weeded", "harvested", "dug up"},
     {"rose", "hedge", "root", "tomato", "lawn", "seed", "tree", "compost", "field", "tulip", "bed",
      "stock", "orchard", "leaf", "greenhouse", "pepper"}},
    {{"the senator", "the minister", "a voter", "the mayor", "the party", "the delegate"},
     {"opposed", "passed", "debated", "vetoed", "campaigned for", "signed"},
     {"law", "election", "treaty", "parliament", "cabinet", "tax", "court", "ballot", "reform",
      "border", "budget", "coalition", "party line", "speech", "campaign", "bill"}}};

static const char *const adjectives[] = {"old",    "large", "new",   "strange",
                                         "famous", "small", "last",  "first",
                                         "other",  "best",  "whole", "expensive"};
static const char *const times[] = {"yesterday",      "last week",          "on monday",
                                    "in the morning", "for the first time", "after all"};
static const char *const links[] = {"and then", "because of", "together with", "but not",
                                    "next to"};
static void say_aside(fc_phrase *p, fc_rng *rng, const topic *other) {
  const char *who = FC_PICK(rng, other->people), *how = FC_PICK(rng, adjectives);
  const char *what = FC_PICK(rng, other->things);
  switch (fc_rng_below(rng, 4)) {
  case 0:
    fc_say(p, "instead of joining %s and the %s %s", who, how, what);
    break;
  case 1:
    fc_say(p, "unlike %s with the %s %s", who, how, what);
    break;
  case 2:
    fc_say(p, "as %s talked about the %s %s", who, how, what);
    break;
  default:
    fc_say(p, "having sent %s and the %s %s away", who, how, what);
    break;
  }
}

static void say_main(fc_phrase *p, fc_rng *rng, const topic *t) {
  /* A quarter of the main clauses leave the person unnamed: fewer words to go by. */
  fc_say(p, "%s ", fc_chance(rng, 0.25) ? "somebody" : FC_PICK(rng, t->people));
  fc_say(p, "%s the ", fc_chance(rng, 0.3) ? "remembered" : FC_PICK(rng, t->acts));
  if (fc_chance(rng, 0.5)) fc_say(p, "%s ", FC_PICK(rng, adjectives));
  fc_say(p, "%s", FC_PICK(rng, t->things));
  if (fc_chance(rng, 0.3)) {
    fc_say(p, " %s ", FC_PICK(rng, links));
    fc_say(p, "the %s", FC_PICK(rng, t->things));
  }
  if (fc_chance(rng, 0.3)) fc_say(p, " %s", FC_PICK(rng, times));
}

static fc_err sample(fc_rng *rng, fc_rows *rows) {
  fc_phrase p = {.n = 0};
  size_t label = (size_t)fc_rng_below(rng, FC_TOPICS);
  size_t shift = 1 + (size_t)fc_rng_below(rng, FC_TOPICS - 1);
  const topic *other = &topics[(label + shift) % FC_TOPICS];
  double form = fc_rng_uniform(rng);
  if (form < 0.25) {
    say_aside(&p, rng, other);
    fc_say(&p, " , ");
  }
  say_main(&p, rng, &topics[label]);
  if (form > 0.75) {
    fc_say(&p, " , ");
    say_aside(&p, rng, other);
  }
  fc_close_sentence(&p, ".");
  return fc_rows_add(rows, fc_said(&p), (fc_text){"", 0}, (int32_t)label);
}

const fc_generator fc_generate_topics = {.id = 2, .sample = sample};
