/* fc_config.h - one option table drives everything.
 *
 * Each room declares its options as a constant table of fc_option; the application hands all
 * tables to fc_config_create. Reading, validation, --set, sizes, the resolved dump, the reference
 * documentation and the nearest-name hint come from these tables alone.
 *
 *   FC_TRY(fc_config_create(tables, n, &cfg));
 *   FC_TRY(fc_config_load(cfg, "run.yaml", "laptop")); // collects faults, the first is not the end
 *   fc_config_set(cfg, "federation.rounds=20");        // --set, after the file and its size
 *   FC_TRY(fc_config_finish(cfg));                     // USAGE with all faults in the message
 *   double b = fc_config_real(cfg, "cell.bandwidth_hz");
 *
 * Getters assert that the name is in the table and has that type. Before finish they give what has
 * been read so far. All Local: every rank reads the same text (the application broadcasts it). */
#ifndef FC_CONFIG_H
#define FC_CONFIG_H

#include "fedcell/fc_err.h"
#include "fedcell/fc_rng.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
  FC_OPT_INT,    /* 64-bit; 1e6 is accepted where it is whole */
  FC_OPT_REAL,   /* finite double */
  FC_OPT_BOOL,   /* true | false */
  FC_OPT_STRING, /* free text, a path */
  FC_OPT_CHOICE, /* one of `choices` */
  FC_OPT_NAMES,  /* list of strings, each one of `choices` if given: [query, value] */
  FC_OPT_REALS,  /* list of numbers within the range */
  FC_OPT_DIST    /* a number, or how it varies over devices: {uniform: [a, b]},
                    {log_uniform: [a, b]}, {normal: [mean, sd]}, {choice: [a, b, c]};
                    every number the distribution can give must lie within the range
                    (normal draws are clipped to it) */
} fc_option_type;

/* Name of the i-th choice, NULL past the end. */
typedef const char *(*fc_option_choice)(size_t i);
/* Defines such a function for the names that follow. */
#define FC_OPTION_CHOICES(function, ...)                                                           \
  static const char *function(size_t i) {                                                          \
    static const char *const names[] = {__VA_ARGS__};                                              \
    return i < sizeof names / sizeof names[0] ? names[i] : NULL;                                   \
  }

typedef struct {
  const char *name; /* dotted: "cell.bandwidth_hz" */
  fc_option_type type;
  const char *unit;        /* "Hz", "s", ...; "" for a pure number or text */
  const char *dflt;        /* default as YAML text; NULL: required; "" : empty text or list */
  double min, max;         /* inclusive; INT, REAL, REALS, DIST. min > max: unbounded */
  fc_option_choice choice; /* CHOICE, NAMES; else NULL */
  const char *meaning;     /* one or two sentences for the reference */
} fc_option;

#define FC_OPTION_ANY 1.0, 0.0 /* no bounds */

typedef struct {
  const char *title; /* heading in the reference: "cell: radio and devices" */
  const fc_option *options;
  size_t n;
  const char *study; /* the table counts only where the CHOICE `study` has this value: elsewhere its
                        options are not dumped, and giving one is a fault; NULL: always */
} fc_option_table;
/* Initialises a table of an array of options. */
#define FC_OPTION_TABLE(table_title, array)                                                        \
  { .title = (table_title), .options = (array), .n = sizeof(array) / sizeof((array)[0]) }

/* A quantity that may vary over devices. */
typedef enum {
  FC_DIST_CONSTANT,
  FC_DIST_UNIFORM,
  FC_DIST_LOG_UNIFORM,
  FC_DIST_NORMAL,
  FC_DIST_CHOICE
} fc_dist_kind;
typedef struct {
  fc_dist_kind kind;
  double a, b;           /* constant: a; uniform, log_uniform: [a, b]; normal: mean a, sd b */
  const double *choices; /* choice: n values, borrowed from the configuration */
  size_t n;
  double min, max; /* clip, from the option's range; min > max: none */
} fc_dist;
/* One draw; consumes a fixed number of words per kind. */
double fc_dist_draw(const fc_dist *d, fc_rng *rng);
double fc_dist_mean(const fc_dist *d);

typedef struct fc_config fc_config;

/* The tables are borrowed and must outlive the configuration. A name that stands in two tables is
 * our own bug (assert). */
fc_err fc_config_create(const fc_option_table *tables, size_t n, fc_config **out);
/* An empty one of the same tables. */
fc_err fc_config_create_like(const fc_config *cfg, fc_config **out);
void fc_config_destroy(fc_config **cfg); /* accepts NULL; leaves *cfg == NULL */

#define FC_SIZE_DEFAULT "laptop"
/* Reads YAML from a file or from text (name is used in messages). `size` names the entry of the
 * top-level `sizes:` map to lay over the file's values; an unknown size is a fault. NULL:
 * FC_SIZE_DEFAULT where the file has it, else the file's values alone.
 * Semantic faults are collected (for finish); IO for an unreadable file and USAGE for broken YAML
 * (file, line, what the parser expected) are returned at once. */
fc_err fc_config_load(fc_config *cfg, const char *path, const char *size);
fc_err fc_config_load_text(fc_config *cfg, const char *name, const char *text, size_t length,
                           const char *size);
/* "key=value", value in YAML. Faults are collected and name "--set" instead of file and line. */
void fc_config_set(fc_config *cfg, const char *assignment);
/* Adds a fault found by a room that checks options against each other; it is told with file and
 * line of `name`. */
void fc_config_fault(fc_config *cfg, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* USAGE if any fault was collected; the message lists all, one a line:
 *   run.yaml:7: federation.rounds = -3: must be 1 to 1000000000
 *   run.yaml:9: federation.round: no such option; did you mean federation.rounds?          */
fc_err fc_config_finish(fc_config *cfg);

int64_t fc_config_int(const fc_config *cfg, const char *name);
double fc_config_real(const fc_config *cfg, const char *name);
bool fc_config_bool(const fc_config *cfg, const char *name);
const char *fc_config_string(const fc_config *cfg,
                             const char *name); /* STRING or CHOICE; borrowed */
/* NAMES: the i-th string, NULL past the end. */
const char *fc_config_name(const fc_config *cfg, const char *name, size_t i);
size_t fc_config_count(const fc_config *cfg, const char *name); /* NAMES, REALS: how many */
const double *fc_config_reals(const fc_config *cfg, const char *name);
fc_dist fc_config_dist(const fc_config *cfg, const char *name);
/* The size that was laid over the latest file's values, "" for none; borrowed. */
const char *fc_config_size(const fc_config *cfg);
/* Was it given by the user (file, size or --set), or is it the default? */
bool fc_config_is_given(const fc_config *cfg, const char *name);

/* Name of the first option whose value differs between two configurations of the same tables
 * (asserted), those named in `except` (n) left out; NULL if there is none. Borrowed from the
 * tables. */
const char *fc_config_first_difference(const fc_config *a, const fc_config *b,
                                       const char *const *except, size_t n);

/* An option's value as one line of YAML. Caller frees with fc_free. */
fc_err fc_config_text(const fc_config *cfg, const char *name, char **out);

/* The resolved configuration as YAML, every option in table order, defaults included: what the
 * result file stores and what `fedcell rerun` reads back. Caller frees with fc_free. */
fc_err fc_config_dump(const fc_config *cfg, char **out);
/* The same from tables alone: the option reference. format "text" | "md" | "yaml" (a commented
 * example file with all defaults) | "json". Caller frees with fc_free. */
fc_err fc_config_reference(const fc_option_table *tables, size_t n, const char *format, char **out);

/* Nearest of the names by edit distance, NULL if none is near; for messages of other rooms too. */
const char *fc_nearest_name(const char *word, fc_option_choice choice);

#endif
