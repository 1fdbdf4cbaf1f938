/* arguments.c - the command line of a subcommand: one table of options drives reading and help.
 *
 * Options are written out in full, --name VALUE or --name=VALUE, before or after the operand; "--"
 * ends them. Abbreviations are refused: a script that uses one would break with the next option. */
#include "app.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum { FLAG, TEXT, COUNT, SETS } option_kind;

typedef struct {
  const char *name;
  option_kind kind;
  size_t offset;     /* of the field in fc_arguments */
  const char *value; /* what it takes, for the help */
  const char *meaning;
} option;

#define AT(field) offsetof(fc_arguments, field)
static const option options[] = {
    {"set", SETS, AT(set), "KEY=VALUE", "lay a value over the file's; may be given many times"},
    {"size", TEXT, AT(size), "NAME",
     "lay the file's `sizes: NAME` over its values (default: " FC_SIZE_DEFAULT
     ", where the file has it)"},
    {"output", TEXT, AT(output), "OUT.h5",
     "result file (default: results/<experiment>-<method>-seed<seed>.h5; behind <experiment> "
     "stands a size other than " FC_SIZE_DEFAULT ")"},
    {"resume", FLAG, AT(resume), NULL, "continue from the checkpoint, if there is one"},
    {"overwrite", FLAG, AT(overwrite), NULL, "replace an existing result or checkpoint"},
    {"quiet", FLAG, AT(quiet), NULL, "no progress lines"},
    {"again", FLAG, AT(again), NULL, "make it anew, even if the cache has it"},
    {"base", TEXT, AT(base), "FOLDER", "write the base model there too, as a Hugging Face folder"},
    {"case", TEXT, AT(bench_case), "FILE.json",
     "generate, train: measure this model and these tokens"},
    {"dtype", TEXT, AT(dtype), "TYPE", "of the base: float32 (default), float16 or bfloat16"},
    {"quick", FLAG, AT(quick), NULL, "tiny sizes: to see that it works, not how fast"},
    {"json", FLAG, AT(json), NULL, "print for programs"},
    {"format", TEXT, AT(format), "FORMAT", "text (default), md, yaml or json"},
    {"ranks", COUNT, AT(ranks), "N", "told for so many ranks on a node (default: as now)"},
    {"threads", COUNT, AT(threads), "N", "told for so many threads a rank (default: as now)"},
    {"list", FLAG, AT(list), NULL, "number and name of every point"},
    {"count", FLAG, AT(count), NULL, "how many points there are"},
    {"index", COUNT, AT(index), "N",
     "run point N, or continue it (default: SLURM_ARRAY_TASK_ID); nothing where it is finished"},
    {"folder", TEXT, AT(folder), "DIR",
     "where --index puts results (default: results/<sweep>, or results/<sweep>-<size> with "
     "--size)"},
    {"status", TEXT, AT(status), "DIR", "which points are finished, begun, failed, missing in DIR"},
    {"missing", FLAG, AT(missing), NULL,
     "with --status: the numbers of all that are not finished, as sbatch --array= takes them"},
    {"needs", FLAG, AT(needs), NULL, "memory and work of the points, from the data themselves"},
    {"check", FLAG, AT(check), NULL, "does it hold all that a result file must? Tells what not"},
    {"pretrain", FLAG, AT(pretrain), NULL, "make the embedded bases of all points that lack one"},
    {"target-loss", TEXT, AT(target_loss), "X", "cost until the test loss is at most X"},
    {"target-accuracy", TEXT, AT(target_accuracy), "X",
     "cost until the test accuracy is at least X (default: 0.9 of the middle group's fall in "
     "loss)"},
    {"model", TEXT, AT(model), "PATH", "model folder, or a model file of llama2.c"},
    {"tokenizer", TEXT, AT(tokenizer), "PATH",
     "its tokeniser (default: in the model folder, beside a model file)"},
    {"prompt", TEXT, AT(prompt), "TEXT", "what to continue (default: the beginning of a text)"},
    {"steps", COUNT, AT(steps), "N", "new tokens, at most (default: 100)"},
    {"temperature", TEXT, AT(temperature), "T", "0 (default): always the likeliest token"},
    {"top-p", TEXT, AT(top_p), "P", "draw among the likeliest with this share (default: 1, all)"},
    {"seed", TEXT, AT(seed), "S", "seed of the draws (default: 1)"},
    {"help", FLAG, AT(help), NULL, "this text"},
};
enum { OPTIONS = sizeof options / sizeof options[0] };

static const char *option_name(size_t i) {
  return i < OPTIONS ? options[i].name : NULL;
}

/* Does the command take it? Every command can tell its usage. */
static bool takes(const fc_command *c, const option *o) {
  if (strcmp(o->name, "help") == 0) return true;
  size_t length = strlen(o->name);
  for (const char *at = c->options; (at = strstr(at, o->name)); at += length)
    if ((at == c->options || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
      return true;
  return false;
}

static const option *find(const fc_command *c, const char *name, size_t length) {
  for (size_t i = 0; i < OPTIONS; i++)
    if (strlen(options[i].name) == length && strncmp(options[i].name, name, length) == 0 &&
        takes(c, &options[i]))
      return &options[i];
  return NULL;
}

/* The option that the user may have meant: what the word abbreviates, else the nearest name. */
static const option *meant(const fc_command *c, const char *name) {
  for (size_t i = 0; i < OPTIONS; i++)
    if (*name && strncmp(options[i].name, name, strlen(name)) == 0 && takes(c, &options[i]))
      return &options[i];
  const char *near = fc_nearest_name(name, option_name);
  return near ? find(c, near, strlen(near)) : NULL;
}

static fc_err no_option(const fc_command *c, const char *word, const char *name, size_t length) {
  char copy[64];
  snprintf(copy, sizeof copy, "%.*s", (int)(length < 63 ? length : 63), name);
  const option *near = meant(c, copy);
  if (near)
    return fc_fail(FC_ERR_USAGE, "%s: no option %s; did you mean --%s?", c->name, word, near->name);
  return fc_fail(FC_ERR_USAGE, "%s: no option %s; see fedcell %s --help", c->name, word, c->name);
}

static fc_err read_count(const fc_command *c, const option *o, const char *text, int *out) {
  char *end = NULL;
  errno = 0;
  long value = strtol(text, &end, 10);
  FC_CHECK(!errno && !*end && value >= 1 && value <= 1000000, USAGE,
           "%s --%s %s: must be a whole number from 1 to 1000000", c->name, o->name, text);
  *out = (int)value;
  return FC_ERR_OK;
}

fc_err fc_arguments_number(const char *command, const char *name, const char *text, double *out) {
  char *end = NULL;
  if (!text) return FC_ERR_OK;
  errno = 0;
  *out = strtod(text, &end);
  FC_CHECK(!errno && end != text && !*end && isfinite(*out), USAGE, "%s --%s %s: must be a number",
           command, name, text);
  return FC_ERR_OK;
}

static fc_err store(const fc_command *c, const option *o, const char *value, fc_arguments *a) {
  void *field = (char *)a + o->offset;
  switch (o->kind) {
  case FLAG:
    *(bool *)field = true;
    return FC_ERR_OK;
  case TEXT:
    *(const char **)field = value;
    return FC_ERR_OK;
  case COUNT:
    return read_count(c, o, value, field);
  case SETS:
    break;
  }
  FC_CHECK(a->sets < FC_SETS_MAX, USAGE, "%s --set: at most %d of them", c->name, FC_SETS_MAX);
  a->set[a->sets++] = value;
  return FC_ERR_OK;
}

/* Takes the option at argv[*i], and its value, which may be the next word. */
static fc_err read_option(const fc_command *c, int argc, char **argv, int *i, fc_arguments *a) {
  const char *word = argv[*i], *name = word + 2, *equals = strchr(word, '=');
  if (strcmp(word, "-h") == 0) {
    a->help = true;
    return FC_ERR_OK;
  }
  size_t length = word[1] != '-' ? 0 : equals ? (size_t)(equals - name) : strlen(name);
  const option *o = find(c, name, length);
  if (!o) return no_option(c, word, name, length);
  const char *value = equals ? equals + 1 : NULL;
  if (o->kind == FLAG) {
    FC_CHECK(!value, USAGE, "%s %s: --%s takes no value", c->name, word, o->name);
    return store(c, o, NULL, a);
  }
  /* an option in the value's place is one that was forgotten; --name=--value says it is meant */
  if (!value && *i + 1 < argc && strncmp(argv[*i + 1], "--", 2) != 0) value = argv[++*i];
  FC_CHECK(value && *value, USAGE, "%s --%s: needs a value: --%s %s", c->name, o->name, o->name,
           o->value);
  return store(c, o, value, a);
}

/* Does it take any number of operands, "PATH..."? */
static bool takes_many(const fc_command *c) {
  return c->operand && strstr(c->operand, "...");
}

/* How many operands the command wants: words of what the help calls them. */
static int operands_of(const fc_command *c) {
  int n = c->operand != NULL;
  for (const char *at = c->operand ? c->operand : ""; *at; at++) n += *at == ' ';
  return n;
}

fc_err fc_arguments_read(const fc_command *c, int argc, char **argv, fc_arguments *a) {
  *a = (fc_arguments){.argc = argc, .argv = argv};
  bool ended = false;
  int operands = 0;
  for (int i = 1; i < argc; i++) {
    if (!ended && strcmp(argv[i], "--") == 0) {
      ended = true;
    } else if (!ended && argv[i][0] == '-' && argv[i][1] != '\0') {
      FC_TRY(read_option(c, argc, argv, &i, a));
    } else {
      if (takes_many(c)) {
        FC_CHECK(operands < FC_OPERANDS_MAX, USAGE, "%s: at most %d paths; name a folder of them",
                 c->name, FC_OPERANDS_MAX);
        a->operands[operands] = argv[i];
      }
      *(operands == 1 && operands_of(c) == 2 ? &a->operand2 : &a->operand) = argv[i];
      operands++;
    }
  }
  if (a->help) return FC_ERR_OK;
  FC_CHECK(c->operand || operands == 0, USAGE, "%s: takes no argument %s; see fedcell %s --help",
           c->name, a->operand, c->name);
  a->n_operands = (size_t)operands;
  FC_CHECK(operands == operands_of(c) || (takes_many(c) && operands > 0), USAGE,
           "%s: needs %s%s, got %d; see fedcell %s --help", c->name,
           takes_many(c)         ? "at least one "
           : operands_of(c) == 1 ? "one "
                                 : "",
           c->operand, operands, c->name);
  return FC_ERR_OK;
}

void fc_arguments_usage(const fc_command *c) {
  fc_app_say("usage: fedcell %s%s%s [OPTION]...\n\n%s.\n\n", c->name, c->operand ? " " : "",
             c->operand ? c->operand : "", c->meaning);
  for (size_t i = 0; i < OPTIONS; i++) {
    const option *o = &options[i];
    char form[40];
    snprintf(form, sizeof form, "--%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
    if (takes(c, o)) fc_app_say("  %-18s %s\n", form, o->meaning);
  }
}
