/* prompts.c - templates with named places, and the states that fill them [TELLM, Fig. 3].
 *
 * Quantities that span decades are told as 20 log10 of multiples of a unit: steps of 12 %, from one
 * unit to 89,000 of them. A derivative's inner product has a sign, so 50 stands for zero. */
#include "prompts.h"
#include "fedcell/fc_hash.h"
#include "fedcell/fc_mem.h"
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- what can be told ------------------------------------------------------------------------ */

enum { VALUE_MAX = 99, VALUE_SIZE = 16 };

/* What a template may speak of; each includes those before it. */
typedef enum { OF_SCENARIO, OF_STATE, OF_DEVICE, OF_ANSWER } scope;

typedef struct {
  const fc_environment_settings *set;
  const fc_fl_state *state;
  int device;
  const char *text;    /* {device_lines}, {selected} */
  const char *instead; /* of every rounded value */
} context;

static double decades(double x, double unit) {
  return 20 * log10(x / unit); /* x <= 0: -inf or NAN, see put_value */
}

/* 50 + 10 log10(1 + |x| / 0.001), below 50 where x < 0: 40 steps each way for four decades. */
static double signed_decades(double x) {
  return 50 + copysign(10 * log10(1 + fabs(x) / 1e-3), x);
}

static double at_most(double x, double most) {
  return x > most ? most : x; /* NAN and numbers below as they are */
}

#define SETTING(name, expression)                                                                  \
  static double name(const context *c) {                                                           \
    const fc_environment_settings *set = c->set;                                                   \
    return (double)(expression);                                                                   \
  }
SETTING(devices, set->devices)
SETTING(rounds, set->rounds)
SETTING(deadline, set->deadline_s)
SETTING(bandwidth, set->bandwidth_hz * 1e-6)
SETTING(select_min, set->select_min)
SETTING(sigma, set->sigma)
SETTING(rest, 1 - set->sigma)
SETTING(offset, set->energy_offset_j)
SETTING(model, set->model_bits * 1e-6)
#undef SETTING

#define STATE(name, expression)                                                                    \
  static double name(const context *c) {                                                           \
    const fc_fl_state *s = c->state;                                                               \
    int n = c->device;                                                                             \
    (void)s, (void)n;                                                                              \
    return expression;                                                                             \
  }
STATE(round_number, at_most((double)s->round, VALUE_MAX))
STATE(accuracy, 100 * s->accuracy)
STATE(device, n + 1)
STATE(samples, decades(s->samples[n], 1))
STATE(f_max, s->f_max_hz[n] * 1e-8)
STATE(p_max, 10 * log10(s->p_max_w[n] * 1e3))
STATE(gain, decades(s->gain[n], 1e-10))
STATE(com, decades(s->com_j[n], 1e-3))
STATE(cmp, decades(s->cmp_j[n], 1e-3))
STATE(loss, decades(s->loss[n], 1e-3))
STATE(local_loss, decades(s->local_loss[n], 1e-3))
STATE(alignment, signed_decades(s->alignment[n]))
STATE(same_sign, 100 * s->same_sign[n])
#undef STATE

typedef struct {
  const char *name;
  scope scope;
  enum { EXACT, ROUNDED, TEXT } kind;
  double (*value)(const context *c);
  const char *meaning;
} placeholder;

static const placeholder places[] = {
    {"devices", OF_SCENARIO, EXACT, devices, "number of devices"},
    {"rounds", OF_SCENARIO, EXACT, rounds, "rounds of an episode"},
    {"deadline_s", OF_SCENARIO, EXACT, deadline, "time that a round may take, in s"},
    {"bandwidth_mhz", OF_SCENARIO, EXACT, bandwidth, "band that the chosen devices share"},
    {"select_min", OF_SCENARIO, EXACT, select_min, "devices to choose at least"},
    {"sigma", OF_SCENARIO, EXACT, sigma, "weight of the accuracy in the reward"},
    {"one_minus_sigma", OF_SCENARIO, EXACT, rest, "weight of accuracy over energy in the reward"},
    {"energy_offset_j", OF_SCENARIO, EXACT, offset, "added to the energy in the reward"},
    {"model_mbit", OF_SCENARIO, EXACT, model, "size of an upload"},
    {"round", OF_STATE, ROUNDED, round_number, "round to choose for"},
    {"accuracy", OF_STATE, ROUNDED, accuracy, "test accuracy of the round before, in percent"},
    {"device_lines", OF_STATE, TEXT, NULL, "device.txt once for every device"},
    {"device", OF_DEVICE, EXACT, device, "number of a device, from 1"},
    {"samples", OF_DEVICE, ROUNDED, samples, "its samples; 20 log10"},
    {"f_max", OF_DEVICE, ROUNDED, f_max, "its highest clock frequency in 0.1 GHz"},
    {"p_max", OF_DEVICE, ROUNDED, p_max, "its highest power in dBm"},
    {"gain", OF_DEVICE, ROUNDED, gain, "power gain of its channel over 1e-10; 20 log10"},
    {"com", OF_DEVICE, ROUNDED, com, "its energy for the upload over 1 mJ; 20 log10"},
    {"cmp", OF_DEVICE, ROUNDED, cmp, "its energy for computing over 1 mJ; 20 log10"},
    {"loss", OF_DEVICE, ROUNDED, loss, "loss of the global model on its data over 0.001; 20 log10"},
    {"local_loss", OF_DEVICE, ROUNDED, local_loss,
     "the same of the model that it trained in the round before"},
    {"alignment", OF_DEVICE, ROUNDED, alignment,
     "<grad F_n, grad F_G>: 50 is zero, 10 more or less for each decade beyond 0.001"},
    {"same_sign", OF_DEVICE, ROUNDED, same_sign, "share of equal signs e(w_n, w_G) in percent"},
    {"selected", OF_ANSWER, TEXT, NULL, "numbers of the chosen devices, with commas"},
};
enum { PLACES = sizeof places / sizeof places[0] };

const char *fc_placeholder_name(size_t i) {
  return i < PLACES ? places[i].name : NULL;
}

const char *fc_placeholder_meaning(size_t i) {
  return i < PLACES ? places[i].meaning : NULL;
}

/* ---- texts that grow ------------------------------------------------------------------------- */

typedef struct {
  char *text; /* zero-terminated once something was put */
  size_t n, capacity;
} growing;

static fc_err put(growing *g, const char *text, size_t length) {
  if (!g->text || g->n + length + 1 > g->capacity) {
    size_t capacity = 2 * (g->n + length + 1);
    FC_TRY(fc_realloc(capacity, 1, &g->text));
    g->capacity = capacity;
  }
  memcpy(g->text + g->n, text, length);
  g->n += length;
  g->text[g->n] = '\0';
  return FC_ERR_OK;
}

static fc_err put_text(growing *g, const char *text) {
  return put(g, text, strlen(text));
}

/* What was written, or nothing after a failure. */
static fc_err hand_over(growing *g, fc_err err, char **out) {
  if (err == FC_ERR_OK) err = put(g, "", 0);
  *out = g->text;
  if (err == FC_ERR_OK) return FC_ERR_OK;
  fc_free(g->text);
  *out = NULL;
  return err;
}

/* ---- templates ------------------------------------------------------------------------------- */

enum { SYSTEM, TASK, OBSERVATION, DEVICE, ANSWER, TEMPLATES };
static const struct {
  const char *file;
  scope scope;
} files[TEMPLATES] = {[SYSTEM] = {"system.txt", OF_SCENARIO},
                      [TASK] = {"task.txt", OF_SCENARIO},
                      [OBSERVATION] = {"observation.txt", OF_STATE},
                      [DEVICE] = {"device.txt", OF_DEVICE},
                      [ANSWER] = {"answer.txt", OF_ANSWER}};

struct fc_prompts {
  growing text[TEMPLATES]; /* as in the files, without the line's ends at the end */
};

/* Texts that are put together from others stand in one template alone. */
static bool may_speak_of(scope template, const placeholder *place) {
  if (place->kind == TEXT) return place->scope == template;
  return place->scope <= (template == OF_ANSWER ? OF_SCENARIO : template);
}

static const placeholder *find_place(const char *name, size_t length) {
  for (int i = 0; i < PLACES; i++)
    if (strlen(places[i].name) == length && memcmp(places[i].name, name, length) == 0)
      return &places[i];
  return NULL;
}

/* A place in a template: text[open] is its brace, text[next] what follows it. */
typedef struct {
  size_t open, next;
  const placeholder *place; /* NULL: there is none, the rest is plain */
} spot;

static int line_of(const char *text, size_t at) {
  int line = 1;
  for (size_t i = 0; i < at; i++) line += text[i] == '\n';
  return line;
}

/* file: for messages. */
static fc_err next_spot(const char *text, size_t at, const char *file, spot *s) {
  const char *open = strchr(text + at, '{');
  *s = (spot){.open = at + strlen(text + at)};
  if (!open) return FC_ERR_OK;
  size_t length = strcspn(open + 1, "}\n");
  *s = (spot){.open = (size_t)(open - text), .next = (size_t)(open - text) + length + 2};
  FC_CHECK(open[1 + length] == '}', USAGE, "%s:%d: a { without its }", file,
           line_of(text, s->open));
  s->place = find_place(open + 1, length);
  FC_CHECK(s->place, USAGE, "%s:%d: {%.*s} is no placeholder", file, line_of(text, s->open),
           (int)length, open + 1);
  return FC_ERR_OK;
}

static fc_err check_places(const char *text, const char *file, scope of) {
  spot s = {0};
  for (size_t at = 0;; at = s.next) {
    FC_TRY(next_spot(text, at, file, &s));
    if (!s.place) return FC_ERR_OK;
    FC_CHECK(may_speak_of(of, s.place), USAGE, "%s:%d: {%s} has no value in this template", file,
             line_of(text, s.open), s.place->name);
  }
}

static fc_err read_file(const char *path, growing *g) {
  char chunk[4096];
  FILE *f = fopen(path, "r");
  FC_CHECK(f, IO, "%s: %s", path, strerror(errno));
  fc_err err = FC_ERR_OK;
  for (size_t n; err == FC_ERR_OK && (n = fread(chunk, 1, sizeof chunk, f)) > 0;)
    err = put(g, chunk, n);
  if (err == FC_ERR_OK && ferror(f)) err = fc_fail(FC_ERR_IO, "%s: %s", path, strerror(errno));
  fclose(f);
  FC_TRY(err);
  while (g->n > 0 && g->text[g->n - 1] == '\n') g->text[--g->n] = '\0';
  FC_CHECK(g->n > 0 && strlen(g->text) == g->n, USAGE, "%s: empty, or no text", path);
  return FC_ERR_OK;
}

static fc_err read_template(const char *folder, int i, growing *g) {
  char *path = NULL;
  FC_TRY(fc_format(&path, "%s/%s", folder, files[i].file));
  fc_err err = read_file(path, g);
  if (err == FC_ERR_OK) err = check_places(g->text, path, files[i].scope);
  fc_free(path);
  return err;
}

fc_err fc_prompts_read(const char *folder, fc_prompts **out) {
  fc_prompts *p = NULL;
  *out = NULL;
  FC_TRY(fc_alloc(1, sizeof *p, &p));
  fc_err err = FC_ERR_OK;
  for (int i = 0; i < TEMPLATES && err == FC_ERR_OK; i++)
    err = read_template(folder, i, &p->text[i]);
  if (err != FC_ERR_OK) fc_prompts_destroy(&p);
  *out = p;
  return err;
}

/* The project's own lie beside its experiments: where the program was built, else where it was
 * installed. */
fc_err fc_prompts_of(const fc_config *cfg, fc_prompts **out) {
  static const char *const own[] = {FEDCELL_SOURCE_DIR "/jobs/prompts", FEDCELL_DATADIR "/prompts"};
  const char *given = fc_config_string(cfg, "policy.prompts");
  if (*given) return fc_prompts_read(given, out);
  return fc_prompts_read(access(own[0], R_OK) == 0 ? own[0] : own[1], out);
}

void fc_prompts_destroy(fc_prompts **prompts) {
  if (!*prompts) return;
  for (int i = 0; i < TEMPLATES; i++) fc_free((*prompts)->text[i].text);
  fc_free(*prompts);
  *prompts = NULL;
}

uint64_t fc_prompts_hash(const fc_prompts *p, uint64_t hash) {
  for (int i = 0; i < TEMPLATES; i++) /* with the zero: texts cannot flow into each other */
    hash = fc_hash_bytes(hash, p->text[i].text, p->text[i].n + 1);
  return hash;
}

fc_err fc_prompts_write(const fc_prompts *p, const char *folder) {
  for (int i = 0; i < TEMPLATES; i++) {
    char *path = NULL;
    FC_TRY(fc_format(&path, "%s/%s", folder, files[i].file));
    FILE *f = fopen(path, "w");
    bool done = f && fprintf(f, "%s\n", p->text[i].text) >= 0;
    if (f && fclose(f) != 0) done = false;
    fc_err err = done ? FC_ERR_OK : fc_fail(FC_ERR_IO, "%s: %s", path, strerror(errno));
    fc_free(path);
    FC_TRY(err);
  }
  return FC_ERR_OK;
}

/* ---- filling --------------------------------------------------------------------------------- */

static fc_err put_value(growing *g, const placeholder *place, const context *c) {
  char number[VALUE_SIZE];
  if (place->kind == TEXT) return put_text(g, c->text);
  double x = place->value(c);
  if (place->kind == EXACT) {
    snprintf(number, sizeof number, "%.6g", x);
    return put_text(g, number);
  }
  if (c->instead) return put_text(g, c->instead);
  if (isnan(x)) return put_text(g, "-");
  if (isinf(x) && x > 0) return put_text(g, "inf");
  snprintf(number, sizeof number, "%d", (int)lrint(fmin(fmax(x, 0), VALUE_MAX)));
  return put_text(g, number);
}

static fc_err fill(growing *g, const growing *template, const context *c) {
  spot s = {0};
  for (size_t at = 0;; at = s.next) {
    FC_TRY(next_spot(template->text, at, "", &s));
    FC_TRY(put(g, template->text + at, s.open - at));
    if (!s.place) return FC_ERR_OK;
    FC_TRY(put_value(g, s.place, c));
  }
}

static fc_err fill_line(growing *g, const growing *template, const context *c) {
  FC_TRY(fill(g, template, c));
  return put_text(g, "\n");
}

fc_err fc_prompts_prefix(const fc_prompts *p, const fc_environment_settings *set, char **out) {
  growing g = {0};
  const context c = {.set = set};
  fc_err err = fill_line(&g, &p->text[SYSTEM], &c);
  if (err == FC_ERR_OK) err = fill_line(&g, &p->text[TASK], &c);
  return hand_over(&g, err, out);
}

fc_err fc_prompts_observation(const fc_prompts *p, const fc_environment_settings *set,
                              const fc_fl_state *state, const char *instead, char **out) {
  growing lines = {0}, g = {0};
  context c = {.set = set, .state = state, .instead = instead};
  fc_err err = FC_ERR_OK;
  for (; c.device < state->devices && err == FC_ERR_OK; c.device++) {
    if (c.device > 0) err = put_text(&lines, "\n");
    if (err == FC_ERR_OK) err = fill(&lines, &p->text[DEVICE], &c);
  }
  c.text = lines.text;
  if (err == FC_ERR_OK) err = fill_line(&g, &p->text[OBSERVATION], &c);
  fc_free(lines.text);
  return hand_over(&g, err, out);
}

fc_err fc_prompts_answer(const fc_prompts *p, const fc_environment_settings *set,
                         const uint8_t *select, char **out) {
  growing list = {0}, g = {0};
  fc_err err = put(&list, "", 0);
  for (int n = 0; n < set->devices && err == FC_ERR_OK; n++) {
    char number[VALUE_SIZE];
    if (!select[n]) continue;
    snprintf(number, sizeof number, "%s%d", list.n > 0 ? ", " : "", n + 1);
    err = put_text(&list, number);
  }
  context c = {.set = set, .text = list.text};
  if (err == FC_ERR_OK) err = fill(&g, &p->text[ANSWER], &c);
  fc_free(list.text);
  return hand_over(&g, err, out);
}

fc_err fc_prompts_numbers(char **out) {
  growing g = {0};
  fc_err err = put_text(&g, " - inf");
  for (int v = 0; v <= VALUE_MAX && err == FC_ERR_OK; v++) {
    char number[VALUE_SIZE];
    snprintf(number, sizeof number, " %d", v);
    err = put_text(&g, number);
  }
  return hand_over(&g, err, out);
}
