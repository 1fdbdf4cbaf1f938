/* generate_problems.c - word problems with worked answers, in the form of GSM8K.
 *
 * Somebody has a number of things; one to three events change it (buy, lose, double, share out);
 * the question asks for the number, for a total with somebody else's, or for what they sell for.
 * The answer works it out one line an event, with the calculation in <<...>> as GSM8K writes it,
 * and ends in `#### n`. Numbers stay below 2000, most are below 200, so that a small model can
 * learn the form at once and the sums with training. */
#include "generate.h"

static const char *const names[] = {"Ann",  "Ben",   "Carla", "David", "Emma",  "Felix",
                                    "Gina", "Henry", "Ida",   "Jon",   "Karin", "Leo",
                                    "Mia",  "Nils",  "Olga",  "Paul",  "Rosa",  "Tom"};
static const char *const things[] = {"apples",  "marbles", "stamps",  "books",  "pencils", "coins",
                                     "shells",  "cards",   "cookies", "beads",  "tickets", "stones",
                                     "buttons", "flowers", "candles", "bottles"};
static const char *const places[] = {"at the market", "from a neighbour", "on the way home",
                                     "at school",     "in the attic",     "on Sunday"};

typedef struct {
  fc_phrase question, answer;
  const char *name, *friend_name, *thing;
  int count;
} problem;

static void work_out(problem *q, int a, char op, int b, int result) {
  fc_say(&q->answer, " %d %c %d = <<%d%c%d=%d>>%d", a, op, b, a, op, b, result, result);
}

static void gain(problem *q, fc_rng *rng) {
  int more = fc_pick_int(rng, 2, 40);
  static const char *const verbs[] = {"finds", "buys", "gets"};
  const char *verb = FC_PICK(rng, verbs);
  fc_say(&q->question, " %s %s %d more %s.", q->name, verb, more, FC_PICK(rng, places));
  fc_say(&q->answer, "After that %s has", q->name);
  work_out(q, q->count, '+', more, q->count + more);
  fc_say(&q->answer, " %s.\n", q->thing);
  q->count += more;
}

static void lose(problem *q, fc_rng *rng) {
  int less = fc_pick_int(rng, 1, q->count - 2);
  if (fc_chance(rng, 0.5))
    fc_say(&q->question, " %s gives %d of them to %s.", q->name, less, q->friend_name);
  else
    fc_say(&q->question, " %s loses %d of them.", q->name, less);
  fc_say(&q->answer, "Then %s has", q->name);
  work_out(q, q->count, '-', less, q->count - less);
  fc_say(&q->answer, " %s left.\n", q->thing);
  q->count -= less;
}

static void multiply(problem *q, fc_rng *rng) {
  int factor = fc_pick_int(rng, 2, 3);
  fc_say(&q->question, " By summer %s has %s as many.", q->name,
         factor == 2 ? "twice" : "three times");
  fc_say(&q->answer, "By summer that makes");
  work_out(q, q->count, '*', factor, q->count * factor);
  fc_say(&q->answer, " %s.\n", q->thing);
  q->count *= factor;
}

static void share(problem *q, fc_rng *rng) {
  int parts = fc_pick_int(rng, 2, 5);
  while (q->count % parts != 0) parts--;
  if (parts < 2) {
    lose(q, rng);
    return;
  }
  fc_say(&q->question, " %s puts them into %d equal bags and keeps one bag.", q->name, parts);
  fc_say(&q->answer, "One bag holds");
  work_out(q, q->count, '/', parts, q->count / parts);
  fc_say(&q->answer, " %s.\n", q->thing);
  q->count /= parts;
}

static void event(problem *q, fc_rng *rng) {
  uint64_t what = fc_rng_below(rng, 6);
  if (what < 2 || q->count < 4)
    gain(q, rng);
  else if (what < 4 || q->count > 100)
    lose(q, rng);
  else if (what == 4)
    multiply(q, rng);
  else
    share(q, rng);
}

static void ask(problem *q, fc_rng *rng) {
  double form = fc_rng_uniform(rng);
  int other = fc_pick_int(rng, 2, 40), price = fc_pick_int(rng, 2, 5);
  if (form < 0.5) {
    fc_say(&q->question, " How many %s does %s have now?", q->thing, q->name);
  } else if (form < 0.75) {
    fc_say(&q->question, " %s has %d %s. How many do they have together?", q->friend_name, other,
           q->thing);
    fc_say(&q->answer, "Together they have");
    work_out(q, q->count, '+', other, q->count + other);
    fc_say(&q->answer, " %s.\n", q->thing);
    q->count += other;
  } else {
    fc_say(&q->question, " %s sells all of them for $%d each. How many dollars does %s earn?",
           q->name, price, q->name);
    fc_say(&q->answer, "%s earns", q->name);
    work_out(q, q->count, '*', price, q->count * price);
    fc_say(&q->answer, " dollars.\n");
    q->count *= price;
  }
}

static fc_err sample(fc_rng *rng, fc_rows *rows) {
  size_t n = sizeof names / sizeof *names;
  size_t who = (size_t)fc_rng_below(rng, n), shift = 1 + (size_t)fc_rng_below(rng, n - 1);
  problem q = {.name = names[who], .friend_name = names[(who + shift) % n]};
  q.thing = FC_PICK(rng, things);
  q.count = fc_pick_int(rng, 3, 60);
  fc_say(&q.question, "%s has %d %s.", q.name, q.count, q.thing);
  int events = fc_pick_int(rng, 1, 3);
  for (int i = 0; i < events; i++) event(&q, rng);
  ask(&q, rng);
  fc_say(&q.answer, "#### %d", q.count);
  return fc_rows_add(rows, fc_said(&q.question), fc_said(&q.answer), 0);
}

const fc_generator fc_generate_problems = {.id = 4, .sample = sample};
