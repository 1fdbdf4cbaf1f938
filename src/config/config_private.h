/* config_private.h - what the files of this room share.
 *
 *   yaml.c      text -> yaml_document_t, syntax errors with file and line; file reading
 *   load.c      files, text, --set and defaults
 *   layer.c     a document over the options: nested names, sizes, duplicates, unknown names
 *   value.c     one YAML node -> the value of one option, by a table of types
 *   words.c     what an option allows, in words
 *   number.c    decimal text <-> int64 and double, exactly
 *   fault.c     collecting faults, telling them all at once
 *   table.c     the configuration object, look-up, getters
 *   dump.c      values as YAML
 *   compare.c   do two configurations say the same
 *   reference.c the option reference
 *   nearest.c   the hint for a mistyped name
 *   dist.c      quantities that vary over devices
 *   text.c      a growing piece of text
 *   sweep.c     the points of a sweep, their configurations and names (sweep.h)
 *   sweep_read.c, sweep_check.c   a sweep file; all points' faults at once
 *
 * The configuration owns its values, faults and source names; tables are borrowed. */
#ifndef FC_CONFIG_PRIVATE_H
#define FC_CONFIG_PRIVATE_H

#include "fedcell/fc_config.h"
#include <yaml.h>

enum {
  FC_NAME_SIZE = 256,    /* longest dotted name we look up, with its end */
  FC_SHOW_SIZE = 96,     /* a value in a message, shortened */
  FC_REASON_SIZE = 512,  /* what is wrong with a value */
  FC_FAULTS_KEPT = 256,  /* texts kept; further faults are only counted */
  FC_FAULT_LENGTH = 1000 /* longest line of the message */
};

/* ---- text.c ------------------------------------------------------------------------------ */
/* Growing text; after a failed allocation `err` stays and further calls do nothing. */
typedef struct {
  char *data; /* ends in NUL once anything was written */
  size_t length, capacity;
  fc_err err;
} fc_text;

void fc_text_add(fc_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void fc_text_bytes(fc_text *t, const char *bytes, size_t n);
/* Words of `words`, wrapped at `width` columns; each line starts with `indent` then `lead`. */
void fc_text_wrap(fc_text *t, size_t indent, const char *lead, size_t width, const char *words);
/* Hands the text over (fc_free) or returns the failure and frees it. */
fc_err fc_text_give(fc_text *t, char **out);
/* Copy of n bytes with an end. */
fc_err fc_text_copy(const char *bytes, size_t n, char **out);
/* Fits bytes into buf (size) on one line: control characters become '?', too long ends in "...",
 * UTF-8 sequences stay whole. */
void fc_text_fit(char *buf, size_t size, const char *bytes, size_t n);
/* Code point of the (valid) UTF-8 sequence at s, its length in *n. */
uint32_t fc_text_code_point(const char *s, size_t *n);

/* ---- number.c ---------------------------------------------------------------------------- */
typedef enum {
  FC_NUMBER_OK,
  FC_NUMBER_NONE,      /* not a decimal number at all: also nan, inf, hexadecimal */
  FC_NUMBER_NOT_WHOLE, /* int only */
  FC_NUMBER_TOO_LARGE, /* outside int64, or beyond the largest double */
  FC_NUMBER_TOO_SMALL  /* not zero, but would become zero as a double */
} fc_number_result;

fc_number_result fc_number_int(const char *text, int64_t *out);
fc_number_result fc_number_real(const char *text, double *out);
/* The fewest significant digits, from 6 to 17, that read back equal. */
enum { FC_NUMBER_SIZE = 40 };
void fc_number_write(double x, char buf[FC_NUMBER_SIZE]);

/* ---- value.c ----------------------------------------------------------------------------- */
/* Only the members of the option's type are used. */
typedef struct {
  bool is_set;
  bool truth;      /* BOOL */
  int64_t integer; /* INT */
  double real;     /* REAL */
  char *text;      /* STRING, CHOICE; owned */
  char **names;    /* NAMES (n); pointers and characters in one owned block */
  double *reals;   /* REALS (n), choices of a DIST (n); owned */
  size_t n;
  fc_dist dist; /* DIST; dist.choices borrows reals */
} fc_value;

typedef struct {
  char text[FC_REASON_SIZE]; /* "must be 1 to 10" */
  size_t line;               /* 1-based line of the offending part; 0: that of the option */
} fc_reason;

typedef struct {
  const char *name;   /* "int", as the reference prints it */
  const char *phrase; /* "must be " ... */
} fc_type_words;
const fc_type_words *fc_value_type_words(fc_option_type type);

/* OK, USAGE with *reason filled, or NOMEM. *out is all zero unless OK. */
fc_err fc_value_read(const fc_option *option, yaml_document_t *doc, yaml_node_t *node,
                     fc_value *out, fc_reason *reason);
/* The value of "": empty text or list; false for the types that have none. */
bool fc_value_is_emptiable(const fc_option *option);
fc_err fc_value_empty(const fc_option *option, fc_value *out);
void fc_value_clear(fc_value *v);

/* ---- words.c ----------------------------------------------------------------------------- */
bool fc_value_is_bounded(const fc_option *option);
/* Appends "a, b, c" to buf. */
void fc_value_choices(const fc_option *option, char *buf, size_t size);
/* What is allowed, "" where anything is: "1 to 100 Hz", "at least 0", "one of a, b". */
void fc_value_allowed(const fc_option *option, char *buf, size_t size);
/* What a value must be, in full: "a whole number, 1 to 100". */
void fc_value_must_be(const fc_option *option, char *buf, size_t size);

/* ---- yaml.c ------------------------------------------------------------------------------ */
/* On OK the caller deletes *doc with yaml_document_delete. USAGE sets *line (0: unknown) and the
 * problem; nothing is recorded by fc_fail. */
fc_err fc_yaml_parse(const char *text, size_t length, yaml_document_t *doc, size_t *line,
                     char *problem, size_t size);
/* Is it absent, or a plain scalar that YAML reads as null? */
bool fc_yaml_is_null(const yaml_node_t *node);
/* Text of a scalar without NUL inside, else NULL. */
const char *fc_yaml_scalar(const yaml_node_t *node);
/* A node on one line for messages, shortened. */
void fc_yaml_show(yaml_document_t *doc, yaml_node_t *node, char *buf, size_t size);
static inline size_t fc_yaml_line(const yaml_node_t *node) {
  return node->start_mark.line + 1; /* libyaml counts from 0 */
}

/* ---- table.c ----------------------------------------------------------------------------- */
typedef struct {
  const fc_option *option;
  size_t table; /* which table declared it */
  fc_value value;
  bool is_given;
  bool is_refused;    /* a value was given and is faulty */
  const char *source; /* file name or "--set ..." it came from, borrowed; NULL: default */
  size_t line;        /* 1-based; 0 for --set and defaults */
  size_t seen_layer;  /* the last layer that named it, and where: to notice duplicates */
  size_t seen_line;
} fc_slot;

struct fc_config {
  const fc_option_table *tables;
  size_t n_tables;
  fc_slot *slots; /* (n) in table order */
  size_t n;
  fc_slot **by_name; /* (n) sorted */
  char **sources;    /* (n_sources) owned names */
  size_t n_sources;
  const char *file; /* the latest file, borrowed from sources; NULL before the first */
  const char *size; /* its size that was laid over it, borrowed from sources; NULL: none */
  size_t n_layers;  /* documents laid over the defaults so far, sizes counted apart */
  char **faults;    /* (n_kept) */
  size_t n_kept, n_faults;
  fc_err failure; /* NOMEM met where no code can be returned; finish tells it */
};

fc_slot *fc_config_find(const fc_config *cfg, const char *name); /* NULL: no such option */
bool fc_config_is_group(const fc_config *cfg, const char *name); /* "cell" of "cell.x" */
/* Does the slot's table count (fc_option_table.study)? */
bool fc_config_counts(const fc_config *cfg, const fc_slot *slot);
/* For failures met where no code can be returned: finish tells them. */
void fc_config_note_failure(fc_config *cfg, fc_err err);
/* Keeps a copy of a source name for as long as the configuration lives; NULL when out of memory. */
const char *fc_config_keep_source(fc_config *cfg, const char *name);

/* ---- fault.c ----------------------------------------------------------------------------- */
/* Where a fault stands. */
typedef struct {
  const char *source;  /* file name, or "--set key=value" */
  size_t line;         /* 1-based; 0: none */
  const char *label;   /* put before the option's name: "sizes.laptop." or "" */
  const char *set_key; /* --set: its key, whose name and value the source shows; else NULL */
} fc_place;

/* name and value may be NULL. */
void fc_fault_add(fc_config *cfg, const fc_place *place, const char *name, const char *value,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));
/* Further faults are only counted: no need to search hints for them. */
bool fc_fault_is_full(const fc_config *cfg);

/* The slot takes the value over. */
void fc_slot_take(fc_slot *slot, const fc_place *place, size_t line,
                  const fc_value *value); /* table.c */

/* ---- layer.c ----------------------------------------------------------------------------- */
/* The size asked for: its name, NULL for the default; where, NULL for the command line. */
typedef struct {
  const char *name;
  const fc_place *from;
} fc_size;
/* Faults are collected; out of memory is noted for finish. */
void fc_layer_document(fc_config *cfg, yaml_document_t *doc, const fc_place *place,
                       const fc_size *size);
/* The document is the value of place->set_key. */
void fc_layer_assignment(fc_config *cfg, yaml_document_t *doc, const fc_place *place);
/* One option, or a group with a map, that stands at `place`. */
void fc_layer_option(fc_config *cfg, yaml_document_t *doc, const fc_place *place, const char *name,
                     yaml_node_t *value);
/* Calls visit for every pair of the map with a usable and new key, whose name is put behind
 * `prefix`; all other keys are faults of cfg. */
typedef void fc_pair_visit(void *arg, const char *name, size_t line, yaml_node_t *value);
void fc_layer_pairs(fc_config *cfg, yaml_document_t *doc, const fc_place *place, const char *prefix,
                    yaml_node_t *map, fc_pair_visit *visit, void *arg);

/* ---- load.c ------------------------------------------------------------------------------ */
/* fc_config_load_text, with a size that another file may have chosen. */
fc_err fc_load_sized(fc_config *cfg, const char *name, const char *text, size_t length,
                     const fc_size *size);
/* Gives a slot its default. A faulty default is our own slip, but told like any other fault. */
fc_err fc_load_default(fc_config *cfg, fc_slot *slot);

/* ---- dump.c ------------------------------------------------------------------------------ */
/* A value as one line of YAML (flow style). */
void fc_dump_value(fc_text *t, const fc_option *option, const fc_value *value);
/* Every option that counts below its groups, groups in order of first mention. leaf writes one
 * option. */
typedef void (*fc_dump_leaf)(fc_text *t, const fc_slot *slot, size_t indent, const char *key,
                             void *context);
/* Before a group's heading; may be NULL. */
typedef void (*fc_dump_heading)(fc_text *t, const fc_slot *first, size_t indent, void *context);
void fc_dump_tree(fc_text *t, const fc_config *cfg, fc_dump_leaf leaf, fc_dump_heading heading,
                  void *context);

/* ---- nearest.c --------------------------------------------------------------------------- */
/* Offer candidates one by one; `name` is the best so far, NULL if none is near. */
typedef struct {
  const char *word;
  const char *name;
  size_t cost;
} fc_nearest;
void fc_nearest_offer(fc_nearest *nearest, const char *candidate);

#endif
