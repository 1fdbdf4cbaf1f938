/* generate_entailment.c - a question and a sentence: does the sentence hold the answer?
 *
 * Form of QNLI. The question asks for one property of a town, a person or a building with an
 * invented name. The sentence tells one or two properties. entailment (label 0): the asked one, of
 * the asked thing. not_entailment (1): other properties of the same thing (two out of three), or
 * the asked property of another thing of that kind. So it takes both the kind of question (when,
 * who, how many, ...) and the name; either alone leaves a part of the samples wrong. */
#include "generate.h"
#include <stdio.h>
#include <string.h>

enum { NAME = 48, PROPERTIES = 6 };

static const char *const heads[] = {"Al",  "Bre", "Cor", "Dan", "El",  "Fal", "Gar", "Hol",
                                    "Ir",  "Kel", "Lor", "Mar", "Nor", "Ost", "Per", "Ros",
                                    "Sel", "Tor", "Ul",  "Ver", "Wen", "Yar", "Zel", "Bir"};
static const char *const middles[] = {"a",   "be", "den", "fi", "go", "ha", "ka", "li",
                                      "mon", "ne", "ra",  "si", "ti", "vo", "wi", "za"};
static const char *const town_ends[] = {"burg", "ford",  "ton", "ville",
                                        "stad", "haven", "by",  "wick"};
static const char *const person_ends[] = {"n", "s", "rik", "la", "no", "ta", "mar", "sen"};
static const char *const buildings[] = {"Tower",  "Bridge",  "Castle", "Library",
                                        "Church", "Theatre", "Mill",   "Palace"};
static const char *const crafts[] = {"glass",   "clocks",    "cheese", "cloth", "paper",   "ships",
                                     "violins", "porcelain", "salt",   "wine",  "leather", "maps"};
static const char *const jobs[] = {"judge",   "painter", "physician", "sailor",   "printer",
                                   "teacher", "mason",   "engineer",  "gardener", "poet"};
static const char *const stones[] = {"granite", "oak", "brick", "marble", "iron", "sandstone"};
static const char *const sides[] = {"north", "south", "east", "west"};

typedef enum {
  VALUE_YEAR,
  VALUE_MANY,
  VALUE_FEW,
  VALUE_PERSON,
  VALUE_TOWN,
  VALUE_CRAFT,
  VALUE_JOB,
  VALUE_STONE,
  VALUE_SIDE
} value_kind;

/* '@' stands for the thing, '#' for the value. */
typedef struct {
  const char *question[2], *statement[2];
  value_kind value;
} property;

static const property properties[3][PROPERTIES] = {
    {/* towns */
     {{"When was @ founded ?", "In which year did @ become a town ?"},
      {"@ was founded in #", "settlers built the first houses of @ in #"},
      VALUE_YEAR},
     {{"How many people live in @ ?", "What is the population of @ ?"},
      {"@ has # inhabitants", "about # people live in @"},
      VALUE_MANY},
     {{"Who is the mayor of @ ?", "Who governs @ ?"},
      {"the mayor of @ is called #", "@ is governed by #"},
      VALUE_PERSON},
     {{"What is @ known for ?", "Which goods does @ export ?"},
      {"@ is known for its #", "most families of @ live by selling #"},
      VALUE_CRAFT},
     {{"Where is @ located ?", "Near which other town does @ lie ?"},
      {"@ lies a day's walk from #", "the road from # leads to @"},
      VALUE_TOWN},
     {{"Through which part of @ does the river flow ?", "On which side of @ is the river ?"},
      {"the river flows through the # of @", "@ has its river in the #"},
      VALUE_SIDE}},
    {/* persons */
     {{"When was @ born ?", "What is the year of birth of @ ?"},
      {"@ was born in #", "the birth of @ is recorded for #"},
      VALUE_YEAR},
     {{"Where did @ grow up ?", "In which town did @ spend childhood ?"},
      {"@ grew up in #", "the childhood home of @ stood in #"},
      VALUE_TOWN},
     {{"Who taught @ ?", "Who was the teacher of @ ?"},
      {"@ was taught by #", "# had @ as a pupil"},
      VALUE_PERSON},
     {{"What was the profession of @ ?", "What did @ do for a living ?"},
      {"@ worked as a #", "the town employed @ as its #"},
      VALUE_JOB},
     {{"How many children did @ have ?", "How large was the family of @ ?"},
      {"@ raised # children", "# sons and daughters were born to @"},
      VALUE_FEW},
     {{"What did @ collect ?", "What filled the house of @ ?"},
      {"@ was a collector of #", "the house of @ was full of #"},
      VALUE_CRAFT}},
    {/* buildings */
     {{"When was @ built ?", "In which year was @ finished ?"},
      {"@ was finished in #", "the stones of @ were laid in #"},
      VALUE_YEAR},
     {{"Who designed @ ?", "Who was the architect of @ ?"},
      {"@ was designed by #", "the plans of @ came from #"},
      VALUE_PERSON},
     {{"How many steps does @ have ?", "How many steps lead up to @ ?"},
      {"@ has # steps", "visitors of @ climb # steps"},
      VALUE_MANY},
     {{"What is @ made of ?", "Which material was used for @ ?"},
      {"@ is made of #", "builders chose # for @"},
      VALUE_STONE},
     {{"In which town does @ stand ?", "Where can @ be found ?"},
      {"@ stands in #", "# is proud of @"},
      VALUE_TOWN},
     {{"What is stored in @ ?", "What does @ hold today ?"},
      {"@ is used to store #", "today @ holds old #"},
      VALUE_CRAFT}}};

static void make_name(fc_rng *rng, int kind, char *out) {
  const char *head = FC_PICK(rng, heads), *middle = FC_PICK(rng, middles);
  if (kind == 0) snprintf(out, NAME, "%s%s%s", head, middle, FC_PICK(rng, town_ends));
  if (kind == 1) snprintf(out, NAME, "%s%s%s", head, middle, FC_PICK(rng, person_ends));
  if (kind == 2) {
    const char *building = FC_PICK(rng, buildings);
    snprintf(out, NAME, "the %s%s %s", head, middle, building);
  }
}

static void make_value(fc_rng *rng, value_kind kind, char *out) {
  switch (kind) {
  case VALUE_YEAR:
    snprintf(out, NAME, "%d", fc_pick_int(rng, 1100, 1990));
    break;
  case VALUE_MANY:
    snprintf(out, NAME, "%d", fc_pick_int(rng, 20, 990));
    break;
  case VALUE_FEW:
    snprintf(out, NAME, "%d", fc_pick_int(rng, 2, 12));
    break;
  case VALUE_PERSON:
    make_name(rng, 1, out);
    break;
  case VALUE_TOWN:
    make_name(rng, 0, out);
    break;
  case VALUE_CRAFT:
    snprintf(out, NAME, "%s", FC_PICK(rng, crafts));
    break;
  case VALUE_JOB:
    snprintf(out, NAME, "%s", FC_PICK(rng, jobs));
    break;
  case VALUE_STONE:
    snprintf(out, NAME, "%s", FC_PICK(rng, stones));
    break;
  case VALUE_SIDE:
    snprintf(out, NAME, "%s", FC_PICK(rng, sides));
    break;
  }
}

static void fill_in(fc_phrase *p, const char *form, const char *thing, const char *value) {
  for (const char *c = form; *c != '\0'; c++) {
    if (*c == '@')
      fc_say(p, "%s", thing);
    else if (*c == '#')
      fc_say(p, "%s", value);
    else
      fc_say(p, "%c", *c);
  }
}

static void tell(fc_phrase *p, fc_rng *rng, const property *what, const char *thing) {
  char value[NAME] = "";
  make_value(rng, what->value, value);
  fill_in(p, FC_PICK(rng, what->statement), thing, value);
}

/* A property other than `a` and `b`. */
static int other_property(fc_rng *rng, int a, int b) {
  int i;
  do {
    i = (int)fc_rng_below(rng, PROPERTIES);
  } while (i == a || i == b);
  return i;
}

static fc_err sample(fc_rng *rng, fc_rows *rows) {
  static const char *const joins[] = {" , and ", " ; ", " , while "};
  fc_phrase question = {.n = 0}, sentence = {.n = 0};
  char thing[NAME], other[NAME];
  int kind = (int)fc_rng_below(rng, 3), asked = (int)fc_rng_below(rng, PROPERTIES);
  bool entailed = fc_rng_below(rng, 2) == 0, same_thing = entailed || fc_chance(rng, 2.0 / 3.0);
  make_name(rng, kind, thing);
  do make_name(rng, kind, other);
  while (strcmp(thing, other) == 0);
  const char *about = same_thing ? thing : other;
  int first = entailed || !same_thing ? asked : other_property(rng, asked, asked);
  int second = other_property(rng, asked, first);
  bool two = fc_chance(rng, 0.5), swap = two && fc_chance(rng, 0.5);
  fill_in(&question, FC_PICK(rng, properties[kind][asked].question), thing, "");
  tell(&sentence, rng, &properties[kind][swap ? second : first], about);
  if (two) {
    fc_say(&sentence, "%s", FC_PICK(rng, joins));
    tell(&sentence, rng, &properties[kind][swap ? first : second], about);
  }
  fc_close_sentence(&sentence, " .");
  return fc_rows_add(rows, fc_said(&question), fc_said(&sentence), entailed ? 0 : 1);
}

const fc_generator fc_generate_entailment = {.id = 3, .sample = sample};
